# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy between a module and the API server that writes every request down and does one wanted thing to one of them."""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import json
import os
import secrets
import select
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REFUSED = ("500", "429", "reset", "hung", "killed")
"""Kinds that keep a request from the API server: an error answer, a reset connection, no answer, the module's process killed."""
LOST = ("500 done", "reset done", "hung done", "killed done", "cut", "cut framed")
"""Kinds that let it through and lose the answer: as above, half of the body and the end, half of the body that claims to be whole."""
STALE = ("stale", "stale of run")
"""Kinds that answer a read with what it would have been earlier: in an older state of the cluster, or earlier in the same run."""
LATE = ("late",)
"""A request that is held until the client gives up and then carried out."""
KINDS = (*REFUSED, *LOST, *STALE, *LATE)

HOLD = 90.0
"""Seconds for which a hung request is held at most; longer than any deadline of the suite."""
_HOP = {"connection", "host", "authorization", "transfer-encoding", "content-length", "user-agent", "accept-encoding", "keep-alive"}


def key_of(method: str, target: str) -> str:
    """Return what makes two requests the same: method, path and query without what differs from run to run."""
    parts = urllib.parse.urlsplit(target)
    query = urllib.parse.parse_qs(parts.query)
    shown = {name: values[0] for name, values in sorted(query.items()) if name not in ("resourceVersion", "timeoutSeconds", "allowWatchBookmarks")}
    # the throw-away objects have random names
    path = parts.path
    if "/serverstatusrequests/" in path or "/downloadrequests/" in path:
        path = path.rsplit("/", 1)[0] + "/*"
    if "serverops-circleci-" in shown.get("fieldSelector", ""):
        shown["fieldSelector"] = "*"
    return f"{method} {path}" + (f"?{urllib.parse.urlencode(shown)}" if shown else "")


@dataclass(frozen=True)
class Fault:
    """Do `kind` to the `occurrence`-th (from 1) request with this key."""

    kind: str
    key: str
    occurrence: int = 1

    def __str__(self) -> str:
        return f"{self.kind} at {self.key}" + (f" (no. {self.occurrence})" if self.occurrence > 1 else "")


@dataclass
class Seen:
    """One request as the proxy saw it. status: the API server's answer, None when it did not get the request or gave none."""

    index: int
    method: str
    target: str
    key: str
    occurrence: int
    body: bytes = b""
    status: int | None = None
    fault: str = ""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def is_watch(self) -> bool:
        return self.method == "GET" and "watch=1" in self.target

    @property
    def is_probe(self) -> bool:
        """Tell whether it changes nothing that a person would call theirs, although it is no GET."""
        return self.method != "GET" and any(word in self.path for word in ("/serverstatusrequests", "/downloadrequests", "accessreviews"))

    @property
    def is_write(self) -> bool:
        return self.method != "GET" and not self.is_probe

    @property
    def took_effect(self) -> bool:
        return self.is_write and self.status is not None and self.status < 300


@dataclass
class Run:
    """What happens between two calls of `begin`: the requests, and whether the fault was done."""

    label: str
    fault: Fault | None = None
    kill: Callable[[], None] = lambda: None
    requests: list[Seen] = field(default_factory=list)
    delivered: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    trouble: list[str] = field(default_factory=list)
    late_over: threading.Event = field(default_factory=threading.Event)
    answers: dict[str, Answered] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, method: str, target: str, body: bytes) -> tuple[Seen, bool]:
        """Write a request down; tell whether the fault is for it."""
        key = key_of(method, target)
        with self.lock:
            occurrence = 1 + sum(1 for seen in self.requests if seen.key == key)
            seen = Seen(len(self.requests), method, target, key, occurrence, body)
            self.requests.append(seen)
            mine = self.fault is not None and (self.fault.key, self.fault.occurrence) == (key, occurrence)
            if mine and self.fault:
                seen.fault = self.fault.kind
        return seen, mine


@dataclass(frozen=True)
class Answered:
    """A whole answer of the API server."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes


class Authority:
    """A CA of the proxy's own and a certificate for 127.0.0.1, made in a folder by openssl."""

    def __init__(self, folder: Path) -> None:
        self.ca = folder / "proxy-ca.crt"
        self.certificate = folder / "proxy.crt"
        self.key = folder / "proxy.key"
        own = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-sha256")
        ca_key = folder / "proxy-ca.key"
        self._openssl("req", "-x509", *own, "-subj", "/CN=fault proxy CA", "-keyout", ca_key, "-out", self.ca,
                      "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
        self._openssl("req", "-x509", *own, "-subj", "/CN=fault proxy", "-CA", self.ca, "-CAkey", ca_key,
                      "-keyout", self.key, "-out", self.certificate,
                      "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE")  # fmt: skip
        ca_key.unlink()
        self.key.chmod(0o600)

    @staticmethod
    def _openssl(*argv: str | Path) -> None:
        done = subprocess.run(["openssl", *map(str, argv)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"openssl {argv[0]} failed: {done.stderr.strip()[-300:]}; OpenSSL 3.0 or newer is needed")


class Upstream:
    """The API server behind the proxy, and who the proxy is there: the client certificate of a kubeconfig with inline data."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        document = json.loads(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        parts = urllib.parse.urlsplit(cluster["server"])
        self.host, self.port = str(parts.hostname), int(parts.port or 443)
        self.context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        pair = folder / "upstream.pem"
        pair.touch(0o600)
        pair.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        self.context.load_cert_chain(pair)
        pair.unlink()

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self.host, self.port, timeout=HOLD, context=self.context)


class FaultProxy:
    """Listens on 127.0.0.1 and forwards to the API server. Use it as a context manager; `begin` starts a run.

    token: what a client has to send as its bearer token. kubeconfig: a file (mode 0600) that names proxy, CA and token.
    """

    def __init__(self, upstream: Upstream, authority: Authority, folder: Path, name: str) -> None:
        self.upstream = upstream
        self.token = f"token-{secrets.token_hex(16)}"
        self.older: dict[str, Answered] = {}
        """Answers of an older state of the cluster by key, for the kind `stale`."""
        self.run = Run("idle")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.certificate, authority.key)
        self._server = _Server(self, context)
        self.port = int(self._server.server_address[1])
        self.kubeconfig = folder / f"{name}.kubeconfig"
        self.kubeconfig.touch(0o600)
        self.kubeconfig.write_text(json.dumps(self._described(authority)))
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.2), daemon=True)

    def _described(self, authority: Authority) -> dict[str, Any]:
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority-data": base64.b64encode(authority.ca.read_bytes()).decode()}
        return {
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": cluster}], "users": [{"name": "proxy", "user": {"token": self.token}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        }  # fmt: skip

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self.run.over.set()
        self._server.shutdown()
        self._server.server_close()

    def begin(self, label: str, fault: Fault | None = None) -> Run:
        """End the run that is going on and start the next one. label: what the API server's audit log shows as the user agent."""
        self.run.over.set()
        self.run = Run(label, fault)
        return self.run

    def remember(self, keys: Iterator[str] | list[str]) -> None:
        """Ask the API server now what reads with these keys would get, and keep it as the older state."""
        self.older = {}
        connection = self.upstream.connect()
        with contextlib.closing(connection):
            for key in dict.fromkeys(keys):
                method, _space, target = key.partition(" ")
                if method != "GET" or "*" in urllib.parse.unquote(target):
                    continue
                watch = "watch=1" in target
                asked = "&".join(part for part in target.partition("?")[2].split("&") if part and not part.startswith("watch="))
                path = target.partition("?")[0]
                connection.request("GET", path + (f"?{asked}" if asked else ""), headers={"User-Agent": "fault-proxy"})
                response = connection.getresponse()
                answered = Answered(response.status, response.reason, response.getheaders(), response.read())
                self.older[key] = as_watch(answered) if watch else answered


def as_watch(listing: Answered) -> Answered:
    """Return the stream that a watch of the listed state would begin with."""
    if listing.status != 200:
        return listing
    document = json.loads(listing.body)
    kind = str(document["kind"]).removesuffix("List")
    lines = [
        json.dumps({"type": "ADDED", "object": {"apiVersion": document["apiVersion"], "kind": kind} | item}) for item in document.get("items") or []
    ]
    return Answered(200, "OK", listing.headers, "".join(f"{line}\n" for line in lines).encode())


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, proxy: FaultProxy, context: ssl.SSLContext) -> None:
        self.proxy = proxy
        self.context = context
        super().__init__(("127.0.0.1", 0), _Connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is not news; anything else ends the run as trouble."""
        self.proxy.run.trouble.append(_told())


def _told() -> str:
    import sys

    error = sys.exc_info()[1]
    return f"{type(error).__name__}: {error}"


class _ClientGone(Exception):
    """The client closed its connection, or we did."""


class _Connection(http.server.BaseHTTPRequestHandler):
    """One connection of a client; has its own connection to the API server, kept for its requests."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        self.run = self.server.proxy.run
        self.raw: socket.socket = self.request
        self.raw.settimeout(30)
        self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = self.server.context.wrap_socket(self.raw, server_side=True, do_handshake_on_connect=False)
        self.upstream: http.client.HTTPSConnection | None = None
        self.lost = False
        super().setup()

    def handle(self) -> None:
        try:
            self.request.do_handshake()
            self.request.settimeout(None)
            super().handle()
        except (_ClientGone, OSError, ssl.SSLError, ValueError):
            self.close_connection = True

    def finish(self) -> None:
        if self.upstream is not None:
            self.upstream.close()
        if not self.lost:
            with contextlib.suppress(OSError, ssl.SSLError, ValueError):
                super().finish()
            with contextlib.suppress(OSError):
                self.request.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing; the run's record says it."""

    # ---------------------------------------------------------------------------------------------------------------------------------------

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {self.server.proxy.token}":
            self._answer(_status(401, "Unauthorized", "Unauthorized"))
            return
        seen, mine = self.run.take(self.command, self.path, body)
        if not mine or self.run.fault is None:
            self._forward(seen)
            return
        kind = self.run.fault.kind
        if kind in STALE:
            self._stale(seen, kind)
        elif kind in LATE:
            self._late(seen)
        elif kind in LOST:
            self._lose(seen, kind)
        else:
            self._keep_from(kind)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _any  # noqa: N815

    # answers

    def _answer(self, answered: Answered, length: int | None = None, body: bytes | None = None) -> None:
        """Write an answer; length and body may lie."""
        content = answered.body if body is None else body
        self.send_response_only(answered.status, answered.reason)
        for name, value in answered.headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def _begin_stream(self, status: int, reason: str, headers: list[tuple[str, str]]) -> None:
        self.send_response_only(status, reason)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    # the API server

    def _sent(self, seen: Seen) -> http.client.HTTPResponse:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        headers["User-Agent"] = self.run.label
        for again in (False, True):
            if self.upstream is None:
                self.upstream = self.server.proxy.upstream.connect()
            try:
                self.upstream.request(seen.method, seen.target, body=seen.body or None, headers=headers)
                response = self.upstream.getresponse()
            except (OSError, http.client.HTTPException):
                # a kept connection that the API server closed meanwhile; a fresh one that fails is trouble of the suite
                fresh = self.upstream.sock is None or again
                self.upstream.close()
                self.upstream = None
                if fresh or seen.method != "GET":
                    self.run.trouble.append(f"{seen.method} {seen.path}: the API server did not answer: {_told()}")
                    raise _ClientGone from None
                continue
            seen.status = response.status
            return response
        raise _ClientGone

    def _whole(self, seen: Seen) -> Answered:
        response = self._sent(seen)
        answered = Answered(response.status, response.reason, response.getheaders(), response.read())
        if seen.method == "GET":
            self.run.answers.setdefault(seen.key, answered)
        return answered

    def _forward(self, seen: Seen) -> None:
        if seen.is_watch:
            self._stream(seen)
        else:
            self._answer(self._whole(seen))

    def _stream(self, seen: Seen) -> None:
        response = self._sent(seen)
        if response.status != 200:
            self._answer(Answered(response.status, response.reason, response.getheaders(), response.read()))
            return
        self._begin_stream(200, "OK", response.getheaders())
        told = b""
        while data := response.read1(65536):
            told += data
            if seen.occurrence == 1:
                # now and not at the end: a client closes a watch as soon as it has seen enough
                self.run.answers[seen.key] = Answered(200, "OK", response.getheaders(), told)
            self._chunk(data)
        self._chunk(b"")

    # faults

    def _gone(self, *, reset: bool = True) -> None:
        """End the connection, by RST or in an orderly way without saying more."""
        self.lost = True
        if reset:
            self.raw_option()
        with contextlib.suppress(OSError, ValueError):
            handle = self.request.detach()
            os.close(handle)
        raise _ClientGone

    def raw_option(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _hold(self) -> None:
        """Say nothing until the client is gone, the run is over, or HOLD is."""
        ends = time.monotonic() + HOLD
        while time.monotonic() < ends and not self.run.over.is_set():
            readable, _writable, _failed = select.select([self.request], [], [], 0.1)
            if readable:
                return

    def _done(self) -> None:
        self.run.delivered.set()

    def _keep_from(self, kind: str) -> None:
        if kind == "500":
            self._done()
            self._answer(_status(500, "Internal Server Error", "etcdserver: request timed out", "InternalError"))
        elif kind == "429":
            self._done()
            self._answer(_status(429, "Too Many Requests", "the server has received too many requests", "TooManyRequests", ("Retry-After", "1")))
        elif kind == "hung":
            self._done()
            self._hold()
            self._gone()
        elif kind == "killed":
            self._done()
            self.run.kill()
            self._gone()
        else:
            self._done()
            self._gone()

    def _lose(self, seen: Seen, kind: str) -> None:
        if seen.is_watch:
            self._lose_stream(seen, kind)
            return
        answered = self._whole(seen)
        self._done()
        half = answered.body[: len(answered.body) // 2]
        if kind == "500 done":
            self._answer(_status(500, "Internal Server Error", "etcdserver: request timed out", "InternalError"))
        elif kind == "cut":
            self._answer(answered, length=len(answered.body), body=half)
            self._gone(reset=False)
        elif kind == "cut framed":
            self._answer(answered, body=half)
        else:
            if kind == "hung done":
                self._hold()
            elif kind == "killed done":
                self.run.kill()
            self._gone()

    def _lose_stream(self, seen: Seen, kind: str) -> None:
        response = self._sent(seen)
        if kind in ("cut", "cut framed"):
            self._begin_stream(200, "OK", response.getheaders())
            data = response.read1(65536)
            self._done()
            self._chunk(data[: max(1, len(data) // 2)] or b"{")
            if kind == "cut framed":
                self._chunk(b"")
                return
            self._gone(reset=False)
        self._done()
        if kind == "hung done":
            self._begin_stream(200, "OK", response.getheaders())
            self._hold()
        elif kind == "killed done":
            self.run.kill()
        self._gone()

    def _stale(self, seen: Seen, kind: str) -> None:
        answered = self.run.answers.get(seen.key) if kind == "stale of run" else self.server.proxy.older.get(seen.key)
        if answered is None:
            # not delivered: the plan was wrong, and the suite says so
            self._forward(seen)
            return
        self._done()
        if seen.is_watch and answered.status == 200:
            self._begin_stream(200, "OK", answered.headers)
            if answered.body:
                self._chunk(answered.body)
            self._chunk(b"")
        else:
            fresh = [(name, value) for name, value in answered.headers if name.lower() != "date"]
            self._answer(Answered(answered.status, answered.reason, [*fresh, ("Date", self.date_time_string())], answered.body))

    def _late(self, seen: Seen) -> None:
        self._done()
        self._hold()
        try:
            self._whole(seen)
        finally:
            self.run.late_over.set()
        self._gone()


def _status(code: int, reason: str, message: str, word: str = "", *headers: tuple[str, str]) -> Answered:
    """Return an error answer in the API server's form."""
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": word or reason, "code": code}
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    return Answered(code, reason, [("Content-Type", "application/json"), ("Date", date), *headers], json.dumps(body).encode())
