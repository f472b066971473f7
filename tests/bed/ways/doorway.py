# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A doorway to the API server: forwards plain HTTP from loopback, writes down who went through when, and holds requests back on demand."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

WRITES = ("POST", "PUT", "PATCH", "DELETE")
HELD_FOR = 60.0
"""Seconds after which a request that nobody releases goes on."""


@dataclass(frozen=True)
class Passed:
    """A request that came to the doorway: seconds on the monotonic clock, method, path with query."""

    at: float
    method: str
    path: str


def login_of(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    """Return host:port and a TLS context with the client certificate of a kubeconfig in which everything is inline."""
    config = json.loads(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile("wb", suffix=".pem") as both:
        both.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        both.flush()
        context.load_cert_chain(both.name)
    return urllib.parse.urlsplit(cluster["server"]).netloc, context


class Doorway:
    """A plain HTTP server on loopback whose requests reach the API server with the kubeconfig's client certificate."""

    def __init__(self, kubeconfig: Path) -> None:
        self._upstream, self._context = login_of(kubeconfig)
        self._hold: Callable[[Passed], bool] = lambda passed: False
        self._released = threading.Event()
        self.arrived = threading.Event()
        self.passed: list[Passed] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Let everybody go and end the server."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def writes(self) -> list[Passed]:
        """Return the requests that came and may change something."""
        return [passed for passed in self.passed if passed.method in WRITES]

    @contextmanager
    def holding(self, which: Callable[[Passed], bool]) -> Iterator[None]:
        """Hold back the requests that match until the end of the block; arrived is set when the first one came."""
        self.arrived.clear()
        self._released.clear()
        self._hold = which
        try:
            yield
        finally:
            self._hold = lambda passed: False
            self._released.set()

    def _come(self, passed: Passed) -> None:
        self.passed.append(passed)
        if self._hold(passed):
            self.arrived.set()
            self._released.wait(HELD_FOR)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        doorway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
                return

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                doorway._come(Passed(time.monotonic(), self.command, self.path))
                connection = http.client.HTTPSConnection(doorway._upstream, context=doorway._context, timeout=300)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in {"host", "connection", "authorization"}}
                try:
                    connection.request(self.command, self.path, body or None, headers)
                    answer = connection.getresponse()
                    self.send_response(answer.status)
                    for name, value in answer.getheaders():
                        if name.lower() not in {"transfer-encoding", "content-length", "connection"}:
                            self.send_header(name, value)
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    while piece := answer.read1(65536):
                        self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                        self.wfile.flush()
                    self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    # the client went away, or the API server did: either side sees it
                    self.close_connection = True
                finally:
                    connection.close()

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815

        return Handler
