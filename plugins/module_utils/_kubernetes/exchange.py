# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to an API server over urllib3: one exchange, or a stream of lines, and what the server's error answers mean.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import time
import urllib.parse
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import OperationError
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Answer, Broken, Request
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import tls
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.connection import Connection

try:
    import urllib3
    import urllib3.exceptions
    import urllib3.response

    HTTP: Any = urllib3.exceptions
    HEADERS: Any = vars(urllib3.response)["HTTPHeaderDict"]  # in urllib3 2 a public name, in 1.26 only here
except ImportError:
    HTTP = HEADERS = None  # Connection.from_options says so before an exchange is made

LONGEST_CONNECT = 10.0
"""Seconds to wait for a TCP and TLS connection."""
CHUNK = 65536


class Exchange:
    """Send requests of a connection; implements the transport's Exchange."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __call__(self, request: Request, timeout: float) -> Answer:
        """Send a request and return its whole answer within about `timeout` seconds.

        Raises Broken when it failed below HTTP, and OperationError when a repeat would not help (TLS, login).
        A 401 makes one new credential where that is possible, and is sent again with it: it was not carried out.
        """
        ends = time.monotonic() + timeout
        answer = self._once(request, timeout)
        left = ends - time.monotonic()
        if answer.status == 401 and left > 0 and self.connection.renew():
            answer = self._once(request, max(1.0, left))
        return answer

    def _once(self, request: Request, timeout: float) -> Answer:
        ends = time.monotonic() + timeout
        with self.opened(request, timeout) as response, _said(request):
            body = bytearray()
            for chunk in response.stream(CHUNK, decode_content=True):
                body += chunk
                if time.monotonic() > ends:
                    raise Broken(f"the answer did not end within {timeout:.0f} s", sent=True)
            return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, bytes(body))

    @contextlib.contextmanager
    def opened(self, request: Request, timeout: float, read_timeout: float | None = None) -> Iterator[Any]:
        """Send a request and give the urllib3 response with its body unread; its connection is closed if the body was not read to its end."""
        headers = HEADERS()
        for name, value in self.connection.headers():
            headers.add(name, value)
        headers.add("Accept", request.media_type or "application/json, */*")
        body = None
        if request.body is not None:
            body = json.dumps(request.body).encode()
            headers.add("Content-Type", request.content_type)
        url = self.connection.base_url + request.path
        if request.query:
            url += "?" + urllib.parse.urlencode(request.query)
        limits = urllib3.Timeout(connect=min(timeout, LONGEST_CONNECT), read=read_timeout or timeout)
        with _said(request), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that certificates are not verified is what the user asked for
            response = self.connection.pool.request_encode_url(
                request.method,
                url,
                body=body,
                headers=headers,
                timeout=limits,
                retries=False,
                redirect=False,
                preload_content=False,
                enforce_content_length=True,
            )
        try:
            yield response
        except BaseException:
            response.close()
            raise
        if response.connection is not None:  # urllib3 has given it back to the pool when the body was read to its end
            response.close()


@contextlib.contextmanager
def _said(request: Request) -> Iterator[None]:
    """Turn what urllib3 raises into Broken, or into an error where a repeat would not help."""
    try:
        yield
    except (HTTP.HTTPError, OSError) as error:
        raise _failure(request, error) from None


def _failure(request: Request, error: Exception) -> Exception:
    told = tls.explain(_innermost(error))
    if told is not None:
        return OperationError(request.operation, request.target, *told)
    if isinstance(error, HTTP.ProxyError):
        inner = _innermost(error)
        if re.search(r"Tunnel connection failed: 407", str(inner)):
            return OperationError(
                request.operation, request.target, "the proxy requires a login", "Give it in option proxy: http://user:password@host:port"
            )
        return Broken(f"the proxy was not usable ({words(inner)})", sent=False)
    if isinstance(error, (HTTP.NewConnectionError, HTTP.ConnectTimeoutError)):
        return Broken(f"no connection to the server ({words(_innermost(error))})", sent=False)
    if isinstance(error, HTTP.ReadTimeoutError):
        return Broken("the server took the request and did not answer in time", sent=True)
    if isinstance(error, HTTP.LocationValueError):
        return OperationError(
            request.operation, request.target, "the address of the server is not a URL", "Correct host, or server in the kubeconfig"
        )
    return Broken(f"the connection broke ({words(_innermost(error))})", sent=True)


def _inner(error: BaseException) -> BaseException | None:
    for candidate in (*error.args, getattr(error, "original_error", None), getattr(error, "reason", None), error.__cause__):
        if isinstance(candidate, BaseException) and candidate is not error:
            return candidate
    return None


def _innermost(error: BaseException) -> BaseException:
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        error = _inner(error) or error
    return error


def words(error: BaseException) -> str:
    """Say an error without Python's own decoration (object addresses, class paths)."""
    if isinstance(error, (http.client.IncompleteRead, HTTP.IncompleteRead, HTTP.InvalidChunkLength)):
        return "the answer was cut"
    if isinstance(error, HTTP.NewConnectionError) and isinstance(error.__context__, OSError):
        error = error.__context__  # urllib3 1.26 names it nowhere else
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = re.sub(r"<[^>]*>(, '|: )?", "", str(error)).strip("()' ")
    return text or type(error).__name__


def explain(request: Request, answer: Answer) -> tuple[str, str]:
    """Return (what was seen, what to do next) for an error answer of the API server; no value of a Secret is in it."""
    status = _status(answer)
    message = _safe(request, str(status.get("message") or "")) or f"status {answer.status}"
    if answer.status == 401:
        return (
            "the server does not accept the credentials (401)",
            "Check that the token or certificate is of this cluster and has not expired; log in anew",
        )
    if answer.status == 403:
        return _forbidden(message)
    if answer.status == 404:
        if unknown_kind(answer):
            return (
                "the server does not know this kind of object (404)",
                "Install what brings it (its CustomResourceDefinition), or check the address of the server",
            )
        return f"{message} (404)", "Check name and namespace"
    if answer.status == 409:
        return _conflict(status, message)
    if answer.status == 410:
        return f"{message} (410)", "Read it again"
    if answer.status in (400, 422):
        return _invalid(request, answer.status, status, message)
    if 300 <= answer.status < 400:
        return f"the server answers with a redirect ({answer.status})", "Give the address of the API server itself, not of a login page"
    if answer.status == 429:
        return f"the server is busy (429): {message}", "Run the task again later"
    return f"{message} ({answer.status})" if str(answer.status) not in message else message, "Look at the API server and its log"


def unknown_kind(answer: Answer) -> bool:
    """Tell a 404 for a path that the server does not serve (no such kind) from one for an object that is not there."""
    if answer.status != 404:
        return False
    status = _status(answer)
    details = status.get("details") or {}
    return not status or not details.get("name") or "could not find the requested resource" in str(status.get("message"))


def _status(answer: Answer) -> Mapping[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, Mapping) and document.get("kind") == "Status" else {}


def _safe(request: Request, message: str) -> str:
    """Return a message of the server without what it quotes of the body: it may be a value of a Secret."""
    message = re.sub(r", error found in #\d+ byte of .*", "", message, flags=re.DOTALL)
    if "/secrets" in request.path and request.method != "GET":
        message = re.sub(r'(Invalid value|Unsupported value|Duplicate value): (?:"(?:[^"\\]|\\.)*"|[^,\]]*?)(?=: |,|\]|$)', r"\1", message)
    return message.strip()


_RBAC = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)"| at the cluster scope)?'
)


def _forbidden(message: str) -> tuple[str, str]:
    found = _RBAC.search(message)
    if found is None:
        return f"forbidden (403): {message}", "Look who refused it: a quota, an admission webhook, or missing permissions"
    namespace = found["namespace"]
    where = f"in namespace {namespace}" if namespace else "in the whole cluster"
    role = f"a Role in namespace {namespace}" if namespace else "a ClusterRole"
    return (
        f"user {found['user']} may not {found['verb']} {found['resource']} {where} (403)",
        f'Grant it by {role}: apiGroups ["{found["group"]}"], resources ["{found["resource"]}"], verbs ["{found["verb"]}"]',
    )


def _conflict(status: Mapping[str, Any], message: str) -> tuple[str, str]:
    causes = [cause for cause in (status.get("details") or {}).get("causes") or [] if cause.get("reason") == "FieldManagerConflict"]
    if causes:
        fields = "; ".join(f"{cause.get('field')} ({cause.get('message')})" for cause in causes)
        return f"other managers own fields that are to be changed (409): {fields}", "Leave these fields to them, or take them over by force"
    if status.get("reason") == "AlreadyExists":
        return "it exists already (409)", "Run the task again; it looks first"
    return f"somebody else changed it at the same time (409): {message}", "Run the task again"


def _invalid(request: Request, code: int, status: Mapping[str, Any], message: str) -> tuple[str, str]:
    causes = (status.get("details") or {}).get("causes") or []
    fields = [f"{cause.get('field')}: {_safe(request, str(cause.get('message') or ''))}" for cause in causes if cause.get("field")]
    return f"the server does not accept it ({code}): {'; '.join(fields) or message}", "Correct the named fields" if fields else "Correct the object"
