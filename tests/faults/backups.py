# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backup of a cluster past the proxy: brings it into a wanted state, and tells what is really there, in the cluster and in the store."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.cluster import Cluster

BACKUP = "faulted-backup"
SCOPE = {"includedNamespaces": ["default"], "includedResources": ["configmaps"]}
FINAL = ("Completed", "PartiallyFailed", "Failed", "FailedValidation")


@dataclass(frozen=True)
class Backed:
    """A state of the backup under test: it is there, and good. ttl: how long it is kept."""

    ttl: str = "72h0m0s"


class BackupCluster:
    """The backup in the namespace of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        base = f"/apis/velero.io/v1/namespaces/{cluster.namespace}"
        self._backup, self._all = f"{base}/backups/{BACKUP}", f"{base}/backups"
        self._requests = f"{base}/deletebackuprequests"

    def options(self, wanted: Backed | None) -> dict[str, Any]:
        """Return the options of velero_backup for a state."""
        if wanted is None:
            return {"name": BACKUP, "state": "absent"}
        return {"name": BACKUP, "included_namespaces": ["default"], "included_resources": ["configmaps"], "ttl": wanted.ttl}

    def _found(self) -> dict[str, Any] | None:
        status, document = self._cluster.ask("GET", self._backup)
        return document if status == 200 else None

    def _left(self) -> list[dict[str, Any]]:
        _status, document = self._cluster.ask("GET", self._requests)
        return [item for item in document.get("items") or [] if item["spec"]["backupName"] == BACKUP]

    def stored(self) -> list[Path]:
        """Return the folders of the backup in the store, of this namespace's Velero alone."""
        data = self._cluster.store.access_log.parents[2] / "s3"
        return [path for path in data.glob(f"*/**/backups/{BACKUP}") if self._cluster.namespace in str(path.relative_to(data))]

    def differences(self, wanted: Backed | None) -> list[str]:
        """Return in words what is not as in the state; nothing when all is."""
        found, stored = self._found(), self.stored()
        if wanted is None:
            told = [f"the backup is still there, {(found.get('status') or {}).get('phase')}"] if found else []
            told += [f"the store still has {path}" for path in stored]
            return told + [f"the request {item['metadata']['name']} is still there" for item in self._left()]
        if found is None:
            return ["the backup is not there"]
        told = [f"{name} is {found['spec'].get(name)}" for name, value in {**SCOPE, "ttl": wanted.ttl}.items() if found["spec"].get(name) != value]
        return told + ([] if stored else ["the store has nothing of it"])

    def unproven(self) -> list[str]:
        """Return in words what speaks against the backup being good."""
        status = (self._found() or {}).get("status") or {}
        return [] if status.get("phase") == "Completed" and not status.get("errors") else [f"Velero says {status}"]

    def unasked(self, _wanted: Backed) -> list[str]:
        """What is in the store shows that Velero has worked."""
        return []

    def stage(self, wanted: Backed | None) -> None:
        """Bring the backup into a state, by Velero."""
        if not self.differences(wanted) and (wanted is None or not self.unproven()):
            return
        self._remove()
        if wanted is not None:
            body = {"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": BACKUP}, "spec": {**SCOPE, "ttl": wanted.ttl}}
            self._sent("POST", self._all, body | {"spec": body["spec"] | {"storageLocation": "default"}})
        self._until(lambda: not self.differences(wanted) and (wanted is None or not self.unproven()), f"the backup is {wanted}")

    def _remove(self) -> None:
        if self._found() is not None:
            self._until(lambda: self._phase() in (None, "Deleting", *FINAL), "Velero is done with it")
        if self._phase() == "FailedValidation":
            self._sent("DELETE", self._backup)
        elif self._found() is not None and not self._left():
            body = {"apiVersion": "velero.io/v1", "kind": "DeleteBackupRequest", "metadata": {"generateName": f"{BACKUP}-"}}
            self._sent("POST", self._requests, body | {"spec": {"backupName": BACKUP}})
        self._until(self._gone, "the backup is gone")

    def _gone(self) -> bool:
        """Tell whether it is gone; what the store has of one that a removed Velero took along would be listed again only after a minute."""
        if self._found() is None:
            for path in self.stored():
                shutil.rmtree(path, ignore_errors=True)
        return not self.differences(None)

    def _phase(self) -> str | None:
        found = self._found()
        return None if found is None else str((found.get("status") or {}).get("phase") or "New")

    def _sent(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        status, document = self._cluster.ask(method, path, body)
        if status >= 300 and status not in (404, 409):
            raise RuntimeError(f"{method} {path}: {status} {document.get('message')}")

    def _until(self, done: Callable[[], bool], what: str, seconds: float = 60) -> None:
        ends = time.monotonic() + seconds
        while not done():
            if time.monotonic() > ends:
                raise RuntimeError(f"namespace {self._cluster.namespace}: waited {seconds:.0f} s until {what}; there is {self._found()}")
            time.sleep(0.1)
