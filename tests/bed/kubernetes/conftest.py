# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace of its own on the bed, with a ServiceAccount that may read ConfigMaps and nothing else."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Guard, Transport
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.connection import Connection
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.exchange import Exchange, explain
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api

from tests.bed.driver import Bed


@dataclass(frozen=True)
class Place:
    """A namespace on a bed."""

    bed: Bed
    namespace: str

    def token(self, account: str) -> str:
        """Return a token of a ServiceAccount of the namespace, good for an hour."""
        return self.bed.kubectl("-n", self.namespace, "create", "token", account, "--duration", "1h").strip()

    @property
    def admin(self) -> dict[str, Any]:
        """Return the administrator's kubeconfig as a mapping."""
        content: dict[str, Any] = yaml.safe_load(self.bed.kubeconfig.read_text())
        return content

    def account(self, name: str) -> str:
        return f"system:serviceaccount:{self.namespace}:{name}"

    def object(self, *arguments: str) -> Any:
        return json.loads(self.bed.kubectl("-n", self.namespace, "get", *arguments, "-o", "json"))


def open_api(options: dict[str, Any], seconds: float = 30, **rest: Any) -> Api:
    connection = Connection.from_options(options, **({"environ": {}} | rest))
    return Api(Transport(Exchange(connection), Guard(), Deadline(seconds), explain))


@pytest.fixture(scope="session")
def place(bed: Bed) -> Iterator[Place]:
    """A namespace with the ServiceAccount `reader`, removed at the end."""
    made = Place(bed, f"login-{uuid.uuid4().hex[:6]}")
    bed.kubectl("create", "namespace", made.namespace)
    bed.kubectl("-n", made.namespace, "create", "serviceaccount", "reader")
    bed.kubectl("-n", made.namespace, "create", "role", "reader", "--verb=get,list", "--resource=configmaps")
    bed.kubectl("-n", made.namespace, "create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={made.namespace}:reader")
    bed.kubectl("-n", made.namespace, "create", "configmap", "here", "--from-literal=a=1")
    yield made
    bed.kubectl("delete", "namespace", made.namespace, "--wait=false")


@pytest.fixture
def admin(place: Place) -> Api:
    return open_api({"kubeconfig": str(place.bed.kubeconfig)})


@pytest.fixture(scope="session")
def web(place: Place) -> str:
    """The name of a running pod that serves `hello` on port 8080."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": place.namespace},
        "spec": {
            "containers": [
                {
                    "name": "web",
                    "image": "localhost/bb:1",
                    "imagePullPolicy": "Never",
                    "command": ["sh", "-c", "mkdir /tmp/w && echo hello > /tmp/w/index.html && echo started && exec httpd -f -p 8080 -h /tmp/w"],
                }
            ]
        },
    }
    place.bed.kubectl("apply", "-f", "-", input=json.dumps(manifest))
    ends = time.monotonic() + 90
    while place.object("pod", "web")["status"].get("phase") != "Running":
        assert time.monotonic() < ends, place.object("pod", "web")["status"]
        time.sleep(0.5)
    return "web"


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Write a file of a test and return its path."""

    def write(name: str, content: Any) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return str(path)

    return write
