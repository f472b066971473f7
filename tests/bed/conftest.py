# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The running bed and the Velero on it that the tests share.

With SERVEROPS_BED=<name> a bed that runs already is used and left as it is (for developing); without it one is made and taken down.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.bed.driver import Bed, BedError
from tests.bed.driver.velero import Velero


@dataclass(frozen=True)
class InstalledVelero:
    """Velero on a bed, with the options of the modules that reach it."""

    bed: Bed
    velero: Velero
    bucket: str

    @property
    def namespace(self) -> str:
        """Return the namespace that Velero runs in."""
        return self.velero.namespace

    @property
    def login(self) -> dict[str, Any]:
        """Return the login options, as administrator."""
        return {"kubeconfig": str(self.bed.kubeconfig)}

    @property
    def credentials(self) -> str:
        """Return a valid credentials file of the bed's S3 server."""
        return self.bed.s3.credentials_file.read_text()

    def options(self, **over: Any) -> dict[str, Any]:
        """Return module options with login, namespace and a deadline; None leaves an option out."""
        merged = {**self.login, "namespace": self.namespace, "timeout": 90, **over}
        return {name: value for name, value in merged.items() if value is not None}

    def location_options(self, name: str, **over: Any) -> dict[str, Any]:
        """Return the options of a valid location with a prefix of its own on the bed's S3 server."""
        config = {"region": self.bed.s3.region, "s3ForcePathStyle": "true", "s3Url": self.bed.s3.endpoint_inside}
        return self.options(**{"name": name, "provider": "aws", "bucket": self.bucket, "prefix": name, "config": config, **over})

    def snapshot_options(self, name: str, **over: Any) -> dict[str, Any]:
        """Return the options of a valid snapshot location."""
        return self.options(**{"name": name, "provider": "aws", "config": {"region": self.bed.s3.region}, **over})

    def location(self, name: str, kind: str = "backupstoragelocations") -> dict[str, Any] | None:
        """Return a location as the cluster has it; kind: storage or snapshot locations."""
        text = self.bed.kubectl("-n", self.namespace, "get", f"{kind}.velero.io", name, "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def secret(self, name: str) -> dict[str, Any] | None:
        """Return a Secret as the cluster has it."""
        text = self.bed.kubectl("-n", self.namespace, "get", "secret", name, "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None


def started(name: str) -> tuple[Bed, bool]:
    """Return the bed of this name, and whether it was started now."""
    try:
        return Bed.attach(name), False
    except BedError:
        return Bed.up(name), True


def installed(bed: Bed, version: str, namespace: str = "velero") -> InstalledVelero:
    """Return Velero on a bed, put there by its own CLI when it is not there."""
    bucket = f"store-{namespace}"
    velero = Velero(bed, version, namespace)
    bed.s3.make_bucket(bucket)  # also on a bed whose Velero stores elsewhere
    if not bed.kubectl("get", "namespace", namespace, "--ignore-not-found", "-o", "name").strip():
        velero.install(bucket)
    return InstalledVelero(bed, velero, bucket)


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """The bed of this run."""
    named = os.environ.get("SERVEROPS_BED")
    running, made = started(named or f"test-{uuid.uuid4().hex[:6]}")
    yield running
    if made and not named:
        running.down()


@pytest.fixture(scope="session")
def velero(bed: Bed) -> InstalledVelero:
    """Velero 1.17.2 in the namespace velero, storing on the bed's S3 server."""
    return installed(bed, "1.17.2")
