# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod's port on our loopback: bytes both ways, the login, and what a person is told when it fails."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, Forbidden, OperationError
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.connection import Connection
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.port_forward import PortForward
from ansible_collections.serverops.circleci.tests.unit.kubernetes.twins import Authority, PortForwardTwin, ProxyTwin, status_document


@pytest.fixture
def far(tmp_path: Path, server_certificate: tuple[str, str]) -> Iterator[PortForwardTwin]:
    made = PortForwardTwin(server_certificate, tmp_path)
    yield made
    made.close()


@pytest.fixture
def options(far: PortForwardTwin, authority: Authority, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "ca.crt").write_text(authority.pem)
    return {"host": far.url, "api_key": "canary-token", "ca_cert": str(tmp_path / "ca.crt")}


def forward(options: dict[str, Any]) -> PortForward:
    return PortForward(Connection.from_options(options, environ={}), "velero", "pod-1", 8080)


def exchanged(address: tuple[str, int], data: bytes) -> bytes:
    """Send data, and read until as much has come back, or the end."""
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        back = b""
        while len(back) < len(data) and (part := client.recv(65536)):
            back += part
        return back


def test_bytes_go_both_ways(options, far):
    with forward(options) as opened:
        assert opened.address[0] == "127.0.0.1"
        assert exchanged(opened.address, b"hello") == b"HELLO"
        large = bytes(range(97, 123)) * 20_000
        assert exchanged(opened.address, large) == large.upper()
        assert opened.failures == []
    line, headers = far.arrived[0]
    assert line == "GET /api/v1/namespaces/velero/pods/pod-1/portforward?ports=8080 HTTP/1.1"
    assert (headers["authorization"], headers["sec-websocket-protocol"]) == ("Bearer canary-token", "v4.channel.k8s.io")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(opened.address, timeout=5)


def test_through_a_proxy(options, far):
    proxy = ProxyTwin("me:secret word")
    with forward(options | {"proxy": f"http://me:secret%20word@127.0.0.1:{proxy.port}"}) as opened:
        assert exchanged(opened.address, b"hello") == b"HELLO"
    assert len(proxy.connected) == 2
    proxy.close()


def test_nothing_listens_in_the_pod(options, far):
    far.says = b"error forwarding port 8080 to pod: connection refused"
    with forward(options) as opened:
        assert exchanged(opened.address, b"hello") == b""
        assert opened.failures == ["error forwarding port 8080 to pod: connection refused"]


def test_an_answer_for_another_port_is_not_taken(options, far):
    far.announced = 9090
    with forward(options) as opened:
        assert exchanged(opened.address, b"hello") == b""
        assert opened.failures == ["forward port 8080 of Pod velero/pod-1: the server answered for another port."]


def test_a_missing_permission(options, far):
    message = 'pods "pod-1" is forbidden: User "jane" cannot create resource "pods/portforward" in API group "" in the namespace "velero"'
    far.status = status_document(403, "Forbidden", message)
    with pytest.raises(Forbidden) as caught, forward(options):
        pass
    assert str(caught.value) == (
        "forward port 8080 of Pod velero/pod-1: user jane may not create pods/portforward in namespace velero (403). "
        'Grant it by a Role in namespace velero: apiGroups [""], resources ["pods/portforward"], verbs ["create"].'
    )


def test_a_pod_that_is_not_there(options, far):
    far.status = status_document(404, "NotFound", 'pods "pod-1" not found', name="pod-1")
    with pytest.raises(Absent) as caught, forward(options):
        pass
    assert str(caught.value) == 'forward port 8080 of Pod velero/pod-1: pods "pod-1" not found (404). Check name and namespace.'


def test_a_server_that_is_not_there(options):
    with pytest.raises(OperationError) as caught, forward(options | {"host": "https://127.0.0.1:9"}):
        pass
    assert str(caught.value) == (
        "forward port 8080 of Pod velero/pod-1: no connection (Connection refused). Check the address, the network and the proxy settings."
    )


def test_another_ca(options, stranger, tmp_path):
    (tmp_path / "other.crt").write_text(stranger.pem)
    with (
        pytest.raises(OperationError, match="is not signed by a CA that is trusted here"),
        forward(options | {"ca_cert": str(tmp_path / "other.crt")}),
    ):
        pass
