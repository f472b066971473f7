# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP proxy on loopback that asks for a user and a password and tunnels (CONNECT) to loopback only."""

from __future__ import annotations

import base64
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Proxy:
    """A proxy; tunnels counts those that were opened."""

    def __init__(self, user: str, password: str) -> None:
        self.tunnels = 0
        wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
                return

            def do_CONNECT(self) -> None:
                self.close_connection = True
                host, _colon, port = self.path.rpartition(":")
                if self.headers.get("Proxy-Authorization") != wanted or host != "127.0.0.1":
                    self.send_error(407 if host == "127.0.0.1" else 403)
                    return
                with socket.create_connection((host, int(port)), timeout=10) as upstream:
                    proxy.tunnels += 1
                    self.send_response(200)
                    self.end_headers()
                    carry(self.connection, upstream)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()


def carry(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    while True:
        for source in select.select([one, other], [], [])[0]:
            try:
                data = source.recv(65536)
            except OSError:
                return
            if not data:
                return
            (other if source is one else one).sendall(data)
