# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot location of a cluster past the proxy: brings it into a wanted state, and tells what is really there."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from tests.faults.cluster import KEY, LOCATION, Cluster

SECRET = "faulted-snapshot-credentials"
OWNER = {"labels": {"app.kubernetes.io/managed-by": "serverops.circleci"}, "annotations": {"serverops.circleci/snapshot-location": LOCATION}}
"""What the module writes on a Secret that it makes for a snapshot location; part of its contract, so written here in full."""


@dataclass(frozen=True)
class Snapshots:
    """A state of the snapshot location under test. account: whose credentials its own Secret has."""

    region: str
    account: str


class SnapshotCluster:
    """The snapshot location and its Secret in the namespace of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._location = f"{cluster.locations.rpartition('/')[0]}/volumesnapshotlocations"
        self._secrets = cluster.secrets

    def _wanted(self, wanted: Snapshots) -> tuple[dict[str, Any], dict[str, str]]:
        spec = {"provider": "aws", "config": {"region": wanted.region}, "credential": {"name": SECRET, "key": KEY}}
        return spec, {KEY: base64.b64encode(self._cluster.store.credentials[wanted.account].encode()).decode()}

    def _found(self) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        answers = (self._cluster.ask("GET", path) for path in (f"{self._location}/{LOCATION}", f"{self._secrets}/{SECRET}"))
        location, secret = (document if status == 200 else None for status, document in answers)
        return location, secret

    def differences(self, wanted: Snapshots | None) -> list[str]:
        """Return in words what is not as in the state; nothing when all is."""
        location, secret = self._found()
        if wanted is None:
            return [
                f"{what} is still there" for what, found in (("the snapshot location", location), ("its own Secret", secret)) if found is not None
            ]
        spec, data = self._wanted(wanted)
        told = []
        if location is None or location["spec"] != spec:
            told.append(f"the snapshot location is {location and location['spec']}, wanted {spec}")
        if secret is None or secret.get("data") != data:
            told.append("its Secret is not there" if secret is None else "its Secret has another content")
        return told

    def unproven(self) -> list[str]:
        """Velero proves nothing of a snapshot location."""
        return []

    def unasked(self, _wanted: Snapshots) -> list[str]:
        """Velero asks nobody either."""
        return []

    def stage(self, wanted: Snapshots | None) -> None:
        """Bring the snapshot location and its Secret into a state."""
        location, secret = self._found()
        spec, data = self._wanted(wanted) if wanted is not None else ({}, {})
        bodies = (
            (self._location, LOCATION, location, {"apiVersion": "velero.io/v1", "kind": "VolumeSnapshotLocation", "spec": spec}, {}),
            (self._secrets, SECRET, secret, {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data}, OWNER),
        )
        for path, name, found, body, about in bodies:
            if wanted is None:
                status, document = self._cluster.ask("DELETE", f"{path}/{name}")
            elif found is None:
                status, document = self._cluster.ask("POST", path, body | {"metadata": {"name": name, **about}})
            else:
                version = {"resourceVersion": found["metadata"]["resourceVersion"]}
                status, document = self._cluster.ask("PUT", f"{path}/{name}", body | {"metadata": {"name": name, **about, **version}})
            if status >= 300 and not (wanted is None and status == 404):
                raise RuntimeError(f"{path}: {status} {document.get('message')}")
        if left := self.differences(wanted):
            raise RuntimeError(f"namespace {self._cluster.namespace}: {'; '.join(left)}")
