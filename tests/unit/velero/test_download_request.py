# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents out of the store: signed addresses on a server of this test, packed, missing, cut, unreachable, behind TLS."""

from __future__ import annotations

import base64
import gzip
import http.server
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import DeadlineOver
from ansible_collections.serverops.circleci.plugins.module_utils._velero import download_request
from ansible_collections.serverops.circleci.plugins.module_utils._velero.download_request import Fetched, Store
from ansible_collections.serverops.circleci.tests.unit.kubernetes.twins import Authority
from ansible_collections.serverops.circleci.tests.unit.velero.backup_twin import VeleroTwin

TEXT = b'{"v1/PersistentVolumeClaim": ["app/data"]}'


class StoreServer:
    """A web server that gives one body at every address. closes: breaks off in the middle."""

    def __init__(self, status: int, body: bytes, context: ssl.SSLContext | None = None, *, closes: bool = False) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body) + (10 if closes else 0)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
                """Say nothing."""

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing: a client that refuses the certificate is what a test is about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = (
            f"{'https' if context else 'http'}://127.0.0.1:{self._server.server_address[1]}/bucket/backups/b/list.json.gz?X-Sig=secret-signature"
        )
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    context = Context()
    return Store(VeleroTwin().api(context, 30), context, "velero")


def read(store: Store, status: int, body: bytes, **rest: Any) -> Fetched:
    server = StoreServer(status, body, **rest)
    try:
        return store._read(server.url, {})
    finally:
        server.close()


def test_packed_and_plain(store: Store) -> None:
    assert read(store, 200, gzip.compress(TEXT)).json() == {"v1/PersistentVolumeClaim": ["app/data"]}
    assert read(store, 200, TEXT).data == TEXT
    assert read(store, 200, gzip.compress(b"no JSON")).json() is None
    assert read(store, 200, b"").data == b""


@pytest.mark.parametrize(
    ("status", "body", "rest", "missing", "words"),
    [
        (404, b"<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>", {}, True, "does not have it"),
        (404, b"", {}, False, "answered with status 404"),
        (404, b"<Error><Code>NoSuchBucket</Code></Error>", {}, False, "answered with status 404"),
        (403, b"", {}, False, "status 403"),
        (200, gzip.compress(TEXT)[:-9], {}, False, "it is cut"),
        (200, gzip.compress(TEXT), {"closes": True}, False, "not reachable"),
        (200, b"\x1f\x8bno gzip at all", {}, False, "no readable document"),
    ],
)
def test_what_is_no_document(store: Store, status: int, body: bytes, rest: dict[str, Any], missing: bool, words: str) -> None:
    fetched = read(store, status, body, **rest)
    assert fetched.data is None
    assert fetched.json() is None
    assert fetched.missing is missing
    assert words in fetched.reason
    assert "secret-signature" not in fetched.reason


def test_too_large(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_request, "LARGEST", 1000)
    assert "larger than" in read(store, 200, gzip.compress(b"0" * 100_000)).reason


def test_unreachable_once(store: Store) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        for path in ("a", "b"):
            fetched = store._read(f"http://{host}/{path}?X-Sig=secret-signature", {})
            assert fetched.reason == f"the store's address {host} is not reachable from here: Connection refused"
            assert not fetched.missing
    assert list(store.unreached) == [host]


def test_tls(store: Store, tmp_path: Path) -> None:
    authority = Authority("store CA")
    certificate, key = authority.issue("store", ["127.0.0.1"])
    (tmp_path / "certificate.pem").write_text(certificate)
    (tmp_path / "key.pem").write_text(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    server = StoreServer(200, gzip.compress(TEXT), context)
    try:
        with_ca = {"spec": {"objectStorage": {"caCert": base64.b64encode(authority.pem.encode()).decode()}}}
        assert store._read(server.url, with_ca).data == TEXT
        assert store._read(server.url, {"spec": {"config": {"insecureSkipTLSVerify": "true"}}}).data == TEXT
        refused = store._read(server.url, {})
        assert refused.data is None
        assert "certificate" in refused.reason.lower()
    finally:
        server.close()


# the request for the address


@pytest.fixture
def asking(velero_twin: VeleroTwin) -> Store:
    context = Context()
    return Store(velero_twin.api(context, 60), context, "velero")


def test_the_request_is_removed_again(velero_twin: VeleroTwin, asking: Store) -> None:
    velero_twin.stored[("BackupLog", "b")] = "text"
    assert asking._url("BackupLog", "b") == "http://store/BackupLog/b?signature-that-is-secret"
    assert not [key for key in velero_twin.store if key.startswith("downloadrequests")]
    assert velero_twin.writes == [], "it is a probe"


def test_a_server_that_gives_no_address(velero_twin: VeleroTwin, asking: Store) -> None:
    """For what was never uploaded it never answers; it is not asked a second time."""
    began = velero_twin.now
    assert "no answer yet" in asking.fetch("BackupLog", "b").reason
    assert velero_twin.now - began < 2 * download_request.ANSWER_WITHIN
    made = len([line for line in velero_twin.requests if line.startswith("POST")])
    assert asking.fetch("BackupResults", "b").data is None
    assert len([line for line in velero_twin.requests if line.startswith("POST")]) == made
    assert not [key for key in velero_twin.store if key.startswith("downloadrequests")]


def test_not_allowed(velero_twin: VeleroTwin, asking: Store) -> None:
    velero_twin.forbidden = {"downloadrequests"}
    fetched = asking.fetch("BackupLog", "b")
    assert fetched.data is None
    assert "gave no address" in fetched.reason


def test_the_deadline_is_the_tasks(velero_twin: VeleroTwin) -> None:
    context = Context()
    hasty = Store(velero_twin.api(context, 2), context, "velero")
    with pytest.raises(DeadlineOver):
        hasty.fetch("BackupLog", "b")
