# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Twins on loopback: an API server that records what arrives and answers as told, a proxy, and the certificates for both."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import http.server
import ipaddress
import json
import select
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority that signs server and client certificates for a test."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._sign(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def _sign(self, subject: x509.Name, key: Any, *extensions: x509.ExtensionType) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())

    def issue(self, name: str, addresses: Iterable[str] = (), names: Iterable[str] = ()) -> tuple[str, str]:
        """Return certificate and key (PEM)."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        known = [*(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses), *(x509.DNSName(each) for each in names)]
        certificate = self._sign(subject, key.public_key(), *([x509.SubjectAlternativeName(known)] if known else []))
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


@dataclass
class Arrived:
    """A request as the twin saw it. certificate: the common name of the client's certificate, or empty."""

    method: str
    path: str
    query: dict[str, str]
    headers: list[tuple[str, str]]
    body: Any
    certificate: str

    def header(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each.lower() == name.lower()]


@dataclass
class Reply:
    """What the twin answers. lines: sent one chunk each, as a watch; fault: reset, close, hang or cut instead of a whole answer."""

    status: int = 200
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    lines: Iterable[bytes] | None = None
    fault: str = ""
    text: bytes | None = None
    chunked: bool = True


def status_document(code: int, reason: str, message: str, **details: Any) -> dict[str, Any]:
    """Return a Status as an API server sends it."""
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message, "details": details}


def refusal(code: int, reason: str, message: str, **details: Any) -> Reply:
    return Reply(code, status_document(code, reason, message, **details))


class ApiTwin:
    """A server on 127.0.0.1. answer: what it says; by default an empty object. tokens: those it takes (all when empty).

    serve_form: bodies are not JSON but forms, kept as text. own_date: answers have a Date header.
    """

    def __init__(self, server_certificate: tuple[str, str] | None, folder: Path, client_authority: str = "") -> None:
        self.arrived: list[Arrived] = []
        self.tokens: set[str] = set()
        self.answer: Callable[[Arrived], Reply] = lambda request: Reply(document={"kind": "Twin"})
        self.serve_form = False
        self.own_date = True
        self.closing = threading.Event()
        twin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def _serve(self) -> None:
                twin.serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  names of the standard library

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
                """Say nothing."""

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing: clients that break off are what the tests are about."""

            def finish_request(self, request: Any, client_address: Any) -> None:
                if twin.tls is not None:
                    request.settimeout(10)
                    request = twin.tls.wrap_socket(request, server_side=True)
                super().finish_request(request, client_address)

        self.tls: ssl.SSLContext | None = None
        if server_certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            for name, text in zip(("server.crt", "server.key"), server_certificate, strict=True):
                (folder / name).write_text(text)
            self.tls.load_cert_chain(folder / "server.crt", folder / "server.key")
            if client_authority:
                self.tls.load_verify_locations(cadata=client_authority)
                self.tls.verify_mode = ssl.CERT_REQUIRED
        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if server_certificate else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def paths(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.arrived]

    def serve(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length") or 0)
        raw = handler.rfile.read(length) if length else b""
        path, _mark, query = handler.path.partition("?")
        peer = handler.connection.getpeercert() if isinstance(handler.connection, ssl.SSLSocket) and self.tls and self.tls.verify_mode else None
        names = [value for part in (peer or {}).get("subject", ()) for name, value in part if name == "commonName"]
        request = Arrived(
            handler.command,
            path,
            {name: value[0] for name, value in _query(query).items()},
            list(handler.headers.items()),
            (raw.decode() if self.serve_form else json.loads(raw)) if raw else None,
            names[0] if names else "",
        )
        self.arrived.append(request)
        token = (request.header("authorization") or [""])[0].removeprefix("Bearer ")
        reply = refusal(401, "Unauthorized", "Unauthorized") if self.tokens and token not in self.tokens else self.answer(request)
        if reply.fault == "hang":
            self.closing.wait(30)
            return
        if reply.fault in ("reset", "close"):
            if reply.fault == "reset":
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            socket.socket.close(handler.connection)
            return
        self._write(handler, reply)

    def _write(self, handler: http.server.BaseHTTPRequestHandler, reply: Reply) -> None:
        (handler.send_response if self.own_date else handler.send_response_only)(reply.status)
        body = reply.text if reply.text is not None else json.dumps(reply.document).encode()
        for name, value in ({"Content-Type": "application/json"} | reply.headers).items():
            handler.send_header(name, value)
        if reply.lines is None:
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            if reply.fault == "cut":
                handler.wfile.write(body[: len(body) // 2])
                handler.close_connection = True
                handler.wfile.flush()
                socket.socket.shutdown(handler.connection, socket.SHUT_RDWR)
            else:
                handler.wfile.write(body)
            return
        if reply.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        else:
            handler.send_header("Connection", "close")
            handler.close_connection = True
        handler.end_headers()
        for line in reply.lines:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line) if reply.chunked else line)
            handler.wfile.flush()
        if reply.fault == "cut":
            handler.close_connection = True
            socket.socket.shutdown(handler.connection, socket.SHUT_RDWR)
        elif reply.chunked:
            handler.wfile.write(b"0\r\n\r\n")


def _query(text: str) -> dict[str, list[str]]:
    from urllib.parse import parse_qs

    return parse_qs(text)


class ProxyTwin:
    """An HTTP proxy on 127.0.0.1 that knows CONNECT. login: user:password that it requires, or empty."""

    def __init__(self, login: str = "") -> None:
        self.connected: list[str] = []
        self._tunnels: list[socket.socket] = []
        twin = self
        expected = "Basic " + base64.b64encode(login.encode()).decode() if login else ""

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                line = self.rfile.readline().decode()
                headers: dict[str, str] = {}
                while (header := self.rfile.readline().decode().strip()) != "":
                    name, _colon, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                method, target, _version = line.split()
                if method != "CONNECT" or (expected and headers.get("proxy-authorization") != expected):
                    self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                    return
                twin.connected.append(target)
                host, _colon, port = target.rpartition(":")
                with socket.create_connection((host, int(port))) as far:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                    twin._tunnels.append(far)
                    _pump(self.connection, far)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def cut(self) -> None:
        """Cut all tunnels that are open."""
        tunnels, self._tunnels = self._tunnels, []
        for tunnel in tunnels:
            with contextlib.suppress(OSError):
                tunnel.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _pump(near: socket.socket, far: socket.socket) -> None:
    while True:
        readable = select.select([near, far], [], [], 20)[0]
        if not readable:
            return
        for source, sink in ((near, far), (far, near)):
            if source in readable:
                data = source.recv(65536)
                if not data:
                    return
                sink.sendall(data)


def event(kind: str, name: str, version: int, **rest: Any) -> bytes:
    """Return a line of a watch."""
    return json.dumps({"type": kind, "object": document(name, version, **rest)}).encode() + b"\n"


def document(name: str, version: int, **rest: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "ns", "resourceVersion": str(version)}, **rest}


def pauses(*parts: bytes | float) -> Iterator[bytes]:
    """Yield lines, and sleep where a number stands."""
    import time

    for part in parts:
        if isinstance(part, bytes):
            yield part
        else:
            time.sleep(part)


class PortForwardTwin:
    """The port-forward end of an API server, with TLS: answers each connection in capitals, or as `says` tells.

    status: instead of 101, with a Status as its body. says: bytes of the error channel instead of an echo. port: the one announced.
    """

    def __init__(self, certificate: tuple[str, str], folder: Path, port: int = 8080) -> None:
        self.arrived: list[tuple[str, dict[str, str]]] = []
        self.status: dict[str, Any] | None = None
        self.says = b""
        self.announced = port
        twin = self
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for name, text in zip(("forward.crt", "forward.key"), certificate, strict=True):
            (folder / name).write_text(text)
        context.load_cert_chain(folder / "forward.crt", folder / "forward.key")

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with context.wrap_socket(self.request, server_side=True) as secured:
                    twin.serve(secured)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self, secured: ssl.SSLSocket) -> None:
        stream = secured.makefile("rb")
        line = stream.readline().decode().strip()
        headers: dict[str, str] = {}
        while (header := stream.readline().decode().strip()) != "":
            name, _colon, value = header.partition(":")
            headers[name.lower()] = value.strip()
        self.arrived.append((line, headers))
        if self.status is not None:
            body = json.dumps(self.status).encode()
            secured.sendall(
                b"HTTP/1.1 %d No\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (self.status["code"], len(body)) + body
            )
            return
        accept = base64.b64encode(
            hashlib.sha1((headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode(), usedforsecurity=False).digest()
        ).decode()
        secured.sendall(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
            "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n".encode()
        )
        for channel in (0, 1):
            self._send(secured, bytes([channel]) + struct.pack("<H", self.announced))
        if self.says:
            self._send(secured, b"\x01" + self.says)
        while True:
            head = stream.read(2)
            if len(head) < 2 or head[0] & 15 == 8:
                return
            size = head[1] & 127
            if size > 125:
                size = int.from_bytes(stream.read(2 if size == 126 else 8), "big")
            mask, data = stream.read(4), stream.read(size)
            plain = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
            self._send(secured, plain[:1] + plain[1:].upper())

    @staticmethod
    def _send(secured: ssl.SSLSocket, payload: bytes) -> None:
        size = len(payload)
        head = (
            bytes([130, size])
            if size < 126
            else bytes([130, 126]) + size.to_bytes(2, "big")
            if size < 65536
            else bytes([130, 127]) + size.to_bytes(8, "big")
        )
        secured.sendall(head + payload)
