# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Velero keeps in the store about a backup or restore, read through a DownloadRequest and the signed URL that answers it.

The URL is the object store's own address: whoever runs the task has to reach it. Where it cannot, that is said and nothing fails.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import secrets
import ssl
import time
import urllib.parse
import urllib.request
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Conflict, DeadlineOver, Forbidden, Invalid, OperationError
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Done, Pending, wait
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import exchange, resource, tls
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.watch import snapshots

try:
    import urllib3
except ImportError:
    urllib3 = None  # type: ignore[assignment]  # Connection.from_options says so before anything is asked

ANSWER_WITHIN = 5.0
"""Seconds in which a running server answers (seen: 0.1 s). For what was never uploaded it never answers, and says nothing."""
CONNECT_WITHIN = 3.0
READ_WITHIN = 20.0
LARGEST = 256 * 1024 * 1024
"""Bytes of one unpacked document at most."""
CHUNK = 65536
LARGEST_ERROR = 16384
MISSING = ("NoSuchKey", "BlobNotFound")
"""Codes by which S3 and Google Cloud Storage, and Azure, say that there is no such object."""


@dataclass(frozen=True)
class Fetched:
    """A document as bytes, unpacked; or why there is none. missing: the store was reached and does not have it."""

    data: bytes | None
    reason: str = ""
    missing: bool = False

    def json(self) -> Any:
        """Return the document as JSON, None when there is none or it is no JSON."""
        try:
            return json.loads(self.data) if self.data is not None else None
        except ValueError:
            return None


@dataclass
class Store:
    """The stores of a Velero installation, as far as the task can reach them.

    locations: BackupStorageLocations by name, for their CA. silent: why the server was not asked again; unreached: by host why it was not
    tried again, so that a list of backups does not wait for each of them.
    """

    api: Api
    context: Context
    namespace: str
    locations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    silent: str = ""
    unreached: dict[str, str] = field(default_factory=dict)

    def fetch(self, kind: str, name: str, location: str = "") -> Fetched:
        """Return one document, such as BackupResourceList of a backup. location: the storage location that it is in."""
        if self.silent:
            return Fetched(None, self.silent)
        try:
            url = self._url(kind, name)
        except (Forbidden, DeadlineOver) as error:
            if self.api.transport.deadline.over:
                raise
            self.silent = f"Velero's server gave no address for it ({error.seen})"
            return Fetched(None, self.silent)
        except Invalid:
            return Fetched(None, f"this Velero does not offer {kind}")
        # whoever has the address may read the object for ten minutes
        self.context.mask.add(urllib.parse.urlsplit(url).query or None)
        return self._read(url, self.locations.get(location) or {})

    def _url(self, kind: str, name: str) -> str:
        """Make a DownloadRequest, return the address that it is answered with, and remove it again.

        The server removes answered requests itself after ten minutes, so one that stays behind (a killed task) does no harm.
        """
        own = f"serverops-circleci-{secrets.token_hex(5)}"
        body = {"metadata": {"name": own}, "spec": {"target": {"kind": kind, "name": name}}}
        what = resource.DOWNLOAD_REQUEST
        try:
            made = self.api.create(what, self.namespace, body)
        except Conflict:
            made = {}  # the name is ours alone: an earlier try arrived and its answer was lost
        limit = Deadline(min(ANSWER_WITHIN, self.api.transport.deadline.remaining()))

        def judge(seen: dict[str, Any] | None) -> Done | Pending:
            address = ((seen or {}).get("status") or {}).get("downloadURL")
            return Done(address, "answered") if address else Pending("no answer yet")

        target = f"Velero's server for {kind} of {name}"
        version = str((made.get("metadata") or {}).get("resourceVersion") or "")
        seen = snapshots(self.api, what, self.namespace, own, deadline=limit, start_version=version, known=made or None)
        try:
            return str(wait(seen, judge, limit, lambda text: None, "ask", target, "Look into its log").value)
        except DeadlineOver:
            last = judge(self.api.get(what, self.namespace, own))  # a watch that hung shows nothing
            if isinstance(last, Done):
                return str(last.value)
            raise
        finally:
            with contextlib.suppress(OperationError):
                self.api.send(dataclasses.replace(resource.delete(what, self.namespace, own), repeatable=True))

    def _read(self, url: str, location: Mapping[str, Any]) -> Fetched:
        parts = urllib.parse.urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        if host in self.unreached:
            return Fetched(None, self.unreached[host])
        limit = min(READ_WITHIN, max(0.5, self.api.transport.deadline.remaining()))
        try:
            with contextlib.closing(_opened(url, location, limit)) as response:
                if response.status == 404 and _says_missing(response.read(LARGEST_ERROR, decode_content=True)):
                    return Fetched(None, f"the store at {host} does not have it", missing=True)
                if response.status != 200:
                    return Fetched(None, f"the store at {host} answered with status {response.status}")
                return Fetched(_unpacked(response, time.monotonic() + limit))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            told = tls.explain(_innermost(error))
            seen = told[0] if told else exchange.words(_innermost(error))
            self.unreached[host] = f"the store's address {host} is not reachable from here: {seen}"
            return Fetched(None, self.unreached[host])
        except (ValueError, zlib.error) as error:
            return Fetched(None, f"what the store at {host} gave is no readable document ({error})")


def _says_missing(body: bytes) -> bool:
    """Tell whether the body of a 404 is that of an object store without the object.

    A bare 404 proves nothing: a private address of the store may belong to something else where the task runs (seen: a gateway that
    answers for the whole network).
    """
    return any(f"<Code>{code}</Code>".encode() in body for code in MISSING)


def _innermost(error: BaseException) -> BaseException:
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        inner = [item for item in (*error.args, getattr(error, "reason", None), error.__cause__) if isinstance(item, BaseException)]
        error = inner[0] if inner else error
    return error


def _opened(url: str, location: Mapping[str, Any], limit: float) -> Any:
    """Open the address with the CA of the location, through the proxy that the environment names; the body is unread."""
    spec = location.get("spec") or {}
    context: ssl.SSLContext | None = None
    if url.startswith("https:"):
        # not create_default_context: from Python 3.13 on it refuses CAs without key identifiers, which Velero accepts
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_default_certs()
        authority = (spec.get("objectStorage") or {}).get("caCert")
        if authority:
            context.load_verify_locations(cadata=base64.b64decode(authority).decode("ascii", "ignore"))
        if str((spec.get("config") or {}).get("insecureSkipTLSVerify")).lower() == "true":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    parts = urllib.parse.urlsplit(url)
    proxy = None if urllib.request.proxy_bypass(parts.hostname or "") else urllib.request.getproxies().get(parts.scheme)
    options: dict[str, Any] = {"ssl_context": context} if context else {}
    pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
    timeout = urllib3.Timeout(connect=min(CONNECT_WITHIN, limit), read=limit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that certificates are not verified is what the location says
        return pool.request("GET", url, timeout=timeout, retries=False, redirect=False, preload_content=False, decode_content=False)


def _unpacked(response: Any, ends: float) -> bytes:
    """Read a body and unpack it when it is gzip, which Velero's documents are."""
    raw, unpack = bytearray(), None
    first = True
    for chunk in response.stream(CHUNK, decode_content=False):
        if first and chunk:
            unpack = zlib.decompressobj(wbits=31) if chunk[:2] == b"\x1f\x8b" else None
            first = False
        raw += unpack.decompress(chunk, LARGEST + 1 - len(raw)) if unpack else chunk
        if len(raw) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST // 1024**2} MiB")
        if time.monotonic() > ends:
            raise ValueError("it did not end in time")
    if unpack is not None and not unpack.eof:
        raise ValueError("it is cut")
    return bytes(raw)
