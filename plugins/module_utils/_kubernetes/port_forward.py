# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A port of a pod made reachable on this machine's loopback, through the API server, over a websocket.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys
import threading
import time
import urllib.parse
from types import TracebackType
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import LibraryMissing, OperationError, refused
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Answer, Request
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import tls
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.connection import Connection
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.exchange import explain, words
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.resource import POD

PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1
CONNECT_SECONDS = 10.0
LINGER_SECONDS = 5.0
"""How long the pod's side is still read after a client has sent its last byte, counted from the last answer."""


class PortForward:
    """A context manager: while it is open, `address` (127.0.0.1, port) leads to a port of a pod.

    Each connection to it is a websocket of its own, as with kubectl. `failures` lists what the pod's side said of connections
    that failed ("connection refused" when nothing listens there). Entering makes one connection as a proof and raises
    Refused (no permission, no such pod), or OperationError.
    """

    def __init__(self, connection: Connection, namespace: str, pod: str, port: int) -> None:
        self._connection = connection
        self._port = port
        self._request = Request(
            "GET", POD.path(namespace, pod, "portforward"), f"forward port {port} of", POD.target(namespace, pod), query={"ports": str(port)}
        )
        self._listener: socket.socket | None = None
        self._closing = threading.Event()
        self.failures: list[str] = []
        self.address = ("127.0.0.1", 0)

    def __enter__(self) -> PortForward:
        """Listen, and prove that the API server lets us through."""
        self._open().close()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = ("127.0.0.1", self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop listening, and end what is still open."""
        self._closing.set()
        if self._listener is not None:
            # close alone does not wake the thread that waits in accept
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _open(self) -> Any:
        """Return a connected websocket."""
        try:
            import websocket
        except ImportError as error:
            raise LibraryMissing("kubernetes", sys.executable, f"its part websocket-client: {error}", "a port-forward") from None
        connection = self._connection
        url = urllib.parse.urlsplit(connection.base_url)
        scheme = "wss" if url.scheme == "https" else "ws"
        settings: dict[str, Any] = {}
        if scheme == "wss":
            settings["sslopt"] = {"context": connection.context} | ({"server_hostname": connection.server_name} if connection.server_name else {})
        if connection.proxy:
            proxy, login = connection.proxy_parts()
            parts = urllib.parse.urlsplit(proxy)
            settings |= {"http_proxy_host": parts.hostname, "http_proxy_port": parts.port or 80, "proxy_type": "http", "http_no_proxy": []}
            if login:
                user, _colon, password = login.partition(":")
                settings["http_proxy_auth"] = (user, password)
        else:
            settings["http_no_proxy"] = ["*"]
        for renewed in (False, True):
            try:
                return websocket.create_connection(
                    f"{scheme}://{url.netloc}{url.path}{self._request.path}?{urllib.parse.urlencode(self._request.query)}",
                    timeout=CONNECT_SECONDS,
                    header=[f"{name}: {value}" for name, value in connection.headers()],
                    subprotocols=[PROTOCOL],
                    suppress_origin=True,
                    enable_multithread=True,
                    **settings,
                )
            except websocket.WebSocketBadStatusException as error:
                if error.status_code == 401 and not renewed and connection.renew():
                    continue
                body = error.resp_body if isinstance(error.resp_body, bytes) else b""
                answer = Answer(error.status_code, {"content-type": "application/json"}, body)
                raise refused(self._request.operation, self._request.target, error.status_code, *explain(self._request, answer)) from None
            except (websocket.WebSocketException, OSError) as error:
                told = tls.explain(error) or (f"no connection ({words(error)})", "Check the address, the network and the proxy settings")
                raise OperationError(self._request.operation, self._request.target, *told) from None
        raise OperationError(self._request.operation, self._request.target, "the server does not accept the credentials (401)", "Log in anew")

    def _accept(self) -> None:
        listener = self._listener
        while listener is not None and not self._closing.is_set():
            try:
                client, _peer = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            channel = None
            try:
                channel = self._open()
                self._relay(client, channel)
            except OperationError as error:
                self.failures.append(str(error))
            except Exception as error:  # noqa: BLE001  the client sees a closed connection, the caller reads failures
                self.failures.append(f"the connection broke ({type(error).__name__})")
            finally:
                if channel is not None:
                    with contextlib.suppress(Exception):
                        channel.close(timeout=1)

    def _relay(self, client: socket.socket, channel: Any) -> None:
        """Carry bytes both ways until one side ends. Frames begin with the channel; the first of each channel holds the port."""
        announced: set[int] = set()
        near = [client]
        quiet_since = time.monotonic()
        while not self._closing.is_set() and (near or time.monotonic() - quiet_since < LINGER_SECONDS):
            tls_socket = channel.sock
            waiting = bool(getattr(tls_socket, "pending", lambda: 0)())
            readable = [tls_socket] if waiting else select.select([*near, tls_socket], [], [], 0.5)[0]
            if client in readable:
                data = client.recv(65536)
                if data:
                    channel.send_binary(bytes([DATA]) + data)
                else:
                    near = []  # it sends no more, but may still read; this protocol cannot tell the pod so
            if tls_socket in readable:
                code, frame = channel.recv_data()
                quiet_since = time.monotonic()
                if code == 8:  # close
                    return
                if not frame:
                    continue
                number, payload = frame[0], frame[1:]
                if number not in announced:
                    announced.add(number)
                    if struct.unpack("<H", payload[:2])[0] != self._port:
                        raise OperationError(self._request.operation, self._request.target, "the server answered for another port", "")
                    payload = payload[2:]
                if number == ERROR and payload:
                    self.failures.append(payload.decode("utf-8", "replace").strip())
                    return
                if number == DATA and payload:
                    client.sendall(payload)
