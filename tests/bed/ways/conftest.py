# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plays of these tests need beside the bed: a namespace without a server, a doorway, a remote host, another path to a Python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed.conftest import InstalledVelero
from tests.bed.driver import Bed
from tests.bed.ways.doorway import Doorway
from tests.bed.ways.proxy import Proxy
from tests.bed.ways.remote import Remote
from tests.bed.ways.world import ACCOUNT, World, token_of_administrator

IDLE = "ways-idle"


@pytest.fixture(scope="session")
def idle(bed: Bed, velero: InstalledVelero) -> Iterator[str]:
    """A namespace in which Velero's kinds are known and nobody validates: a task that proves a location there waits until its deadline."""
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": IDLE}}
    bed.kubectl("apply", "-f", "-", input=json.dumps(manifest))
    yield IDLE
    bed.kubectl("delete", "namespace", IDLE, "--wait=false")


@pytest.fixture(scope="session")
def doorway(bed: Bed) -> Iterator[Doorway]:
    """Plain HTTP to the bed's API server."""
    way = Doorway(bed.kubeconfig)
    yield way
    way.close()


@pytest.fixture(scope="session")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A host that plays reach by ssh."""
    host = Remote(tmp_path_factory.mktemp("sshd"))
    yield host
    host.close()


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for links."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="session")
def world(velero: InstalledVelero, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The values that options are tried with."""
    proxy = Proxy("ways", "open sesame")
    folder = tmp_path_factory.mktemp("world")
    folder.chmod(0o700)
    yield World(velero, folder, proxy, "ways:open%20sesame", token_of_administrator(velero.bed))
    proxy.close()
    velero.bed.kubectl("delete", "clusterrolebinding", ACCOUNT)
    velero.bed.kubectl("delete", "serviceaccount", ACCOUNT, "-n", "default")
