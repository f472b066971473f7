# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the Kubernetes tests: certificates, twins, a home without a kubeconfig, and the proof that no file stays behind."""

from __future__ import annotations

import base64
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Guard, Transport
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.connection import Connection
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.exchange import Exchange, explain
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.tests.unit.kubernetes.twins import ApiTwin, Authority


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give each test a TMPDIR of its own and a home, and look that nothing is left in the first."""
    folder, home = tmp_path / "tmpdir", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("HOME", str(home))
    for name in ("KUBECONFIG", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "KUBERNETES_SERVICE_HOST", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority("cluster CA")


@pytest.fixture(scope="session")
def stranger() -> Authority:
    return Authority("somebody else's CA")


@pytest.fixture(scope="session")
def server_certificate(authority: Authority) -> tuple[str, str]:
    return authority.issue("kube-apiserver", ["127.0.0.1"], ["cluster.test"])


@pytest.fixture
def twin(tmp_path: Path, server_certificate: tuple[str, str]) -> Iterator[ApiTwin]:
    made = ApiTwin(server_certificate, tmp_path)
    yield made
    made.close()


@pytest.fixture
def plain_twin(tmp_path: Path) -> Iterator[ApiTwin]:
    """A twin without TLS: quicker, for what is not about TLS."""
    made = ApiTwin(None, tmp_path)
    yield made
    made.close()


@pytest.fixture
def mutual_twin(tmp_path: Path, server_certificate: tuple[str, str], authority: Authority) -> Iterator[ApiTwin]:
    """A twin that wants a client certificate of the cluster's CA."""
    made = ApiTwin(server_certificate, tmp_path, authority.pem)
    yield made
    made.close()


@pytest.fixture
def api(plain_twin: ApiTwin) -> Api:
    """An API of the plain twin, with ten seconds."""
    return open_api({"host": plain_twin.url}, 10)


def open_api(options: dict[str, Any], seconds: float = 20.0, check_mode: bool = False, **rest: Any) -> Api:
    connection = Connection.from_options(options, **({"environ": {}} | rest))
    # pauses between two tries are cut short; their length is the core's business
    deadline = Deadline(seconds, sleep=lambda pause: time.sleep(min(pause, 0.02)))
    return Api(Transport(Exchange(connection), Guard(check_mode=check_mode), deadline, explain))


Kubeconfig = Callable[..., dict[str, Any]]


@pytest.fixture
def kubeconfig(twin: ApiTwin, authority: Authority) -> Kubeconfig:
    """Make the content of a kubeconfig for the twin: user is its user entry, cluster adds to or replaces fields of the cluster entry."""

    def make(user: dict[str, Any] | None = None, name: str = "one", **cluster: Any) -> dict[str, Any]:
        about = {"server": twin.url, "certificate-authority-data": base64.b64encode(authority.pem.encode()).decode()} | cluster
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": f"cluster-{name}", "cluster": {key: value for key, value in about.items() if value is not None}}],
            "users": [{"name": f"user-{name}", "user": user or {}}],
            "contexts": [{"name": name, "context": {"cluster": f"cluster-{name}", "user": f"user-{name}"}}],
        }

    return make
