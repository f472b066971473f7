# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restore and the schedule of a cluster past the proxy: brings them into a wanted state, and tells what is really there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.faults.backups import BACKUP, FINAL, Backed, BackupCluster
from tests.faults.cluster import Cluster

RESTORE, SCHEDULE = "faulted-restore", "faulted-schedule"


@dataclass(frozen=True)
class Restored:
    """A state of the restore under test: it was made from the backup under test, and is good. policy: what it did with what exists."""

    policy: str = "none"


@dataclass(frozen=True)
class Planned:
    """A state of the schedule under test."""

    schedule: str = "0 3 1 1 *"
    ttl: str = "72h0m0s"


class _Part:
    """What both have in common: one object of Velero, by name."""

    def __init__(self, cluster: Cluster, plural: str, name: str) -> None:
        self._cluster = cluster
        self._all = f"/apis/velero.io/v1/namespaces/{cluster.namespace}/{plural}"
        self._one = f"{self._all}/{name}"
        self._name = name

    def _found(self) -> dict[str, Any] | None:
        status, document = self._cluster.ask("GET", self._one)
        return document if status == 200 else None

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


class RestoreCluster(_Part):
    """The restore in the namespace of a cluster. It puts the backup's namespace beside itself, under a name that belongs to this cluster."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster, "restores", RESTORE)
        self._mapping = {"default": f"{cluster.namespace}-copy"}

    def options(self, wanted: Restored | None) -> dict[str, Any]:
        """Return the options of velero_restore for a state."""
        if wanted is None:
            return {"name": RESTORE, "state": "absent"}
        return {"name": RESTORE, "backup_name": BACKUP, "namespace_mapping": self._mapping, "existing_resource_policy": wanted.policy}

    def _spec(self, wanted: Restored) -> dict[str, Any]:
        return {"backupName": BACKUP, "namespaceMapping": self._mapping, "existingResourcePolicy": wanted.policy}

    def differences(self, wanted: Restored | None) -> list[str]:
        """Return in words what is not as in the state; nothing when all is."""
        found = self._found()
        if wanted is None:
            return [f"the restore is still there, {self._phase()}"] if found else []
        if found is None:
            return ["the restore is not there"]
        return [f"{name} is {found['spec'].get(name)}" for name, value in self._spec(wanted).items() if found["spec"].get(name) != value]

    def unproven(self) -> list[str]:
        """Return in words what speaks against the restore being good: its phase, and the namespace that it was to make."""
        status, _document = self._cluster.ask("GET", f"/api/v1/namespaces/{self._mapping['default']}")
        told = [] if status == 200 else ["the namespace that it was to make is not there"]
        return told + ([] if self._phase() == "Completed" else [f"Velero says {self._phase()}"])

    def unasked(self, _wanted: Restored) -> list[str]:
        """Its namespace shows that Velero has worked."""
        return []

    def stage(self, wanted: Restored | None) -> None:
        """Bring the restore into a state, by Velero; the backup that it is made from is there in every one."""
        BackupCluster(self._cluster).stage(Backed())
        if not self.differences(wanted) and (wanted is None or not self.unproven()):
            return
        if self._found() is not None:
            self._until(lambda: self._phase() in (None, *FINAL), "Velero is done with it")
            self._sent("DELETE", self._one)
            self._until(lambda: self._found() is None, "the restore is gone")
        if wanted is not None:
            body = {"apiVersion": "velero.io/v1", "kind": "Restore", "metadata": {"name": RESTORE}, "spec": self._spec(wanted)}
            self._sent("POST", self._all, body)
            self._until(lambda: not self.differences(wanted) and not self.unproven(), f"the restore is {wanted}")


class ScheduleCluster(_Part):
    """The schedule in the namespace of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster, "schedules", SCHEDULE)

    def options(self, wanted: Planned | None) -> dict[str, Any]:
        """Return the options of velero_schedule for a state."""
        if wanted is None:
            return {"name": SCHEDULE, "state": "absent"}
        return {"name": SCHEDULE, "schedule": wanted.schedule, "included_namespaces": ["default"], "ttl": wanted.ttl}

    def _spec(self, wanted: Planned) -> dict[str, Any]:
        return {"schedule": wanted.schedule, "template": {"includedNamespaces": ["default"], "ttl": wanted.ttl}}

    def differences(self, wanted: Planned | None) -> list[str]:
        """Return in words what is not as in the state; nothing when all is."""
        found = self._found()
        if wanted is None:
            return ["the schedule is still there"] if found else []
        if found is None:
            return ["the schedule is not there"]
        spec, template = found["spec"], found["spec"].get("template") or {}
        told = [] if spec.get("schedule") == wanted.schedule else [f"schedule is {spec.get('schedule')}"]
        return told + [f"{name} is {template.get(name)}" for name, value in self._spec(wanted)["template"].items() if template.get(name) != value]

    def unproven(self) -> list[str]:
        """Return in words what speaks against the server having accepted it."""
        return [] if self._phase() == "Enabled" else [f"Velero says {self._phase()}"]

    def unasked(self, _wanted: Planned) -> list[str]:
        """Velero asks nobody about a schedule."""
        return []

    def stage(self, wanted: Planned | None) -> None:
        """Bring the schedule into a state, and wait until the server has accepted it."""
        if self.differences(wanted):
            self._sent("DELETE", self._one)
            self._until(lambda: self._found() is None, "the schedule is gone")
            if wanted is not None:
                body = {"apiVersion": "velero.io/v1", "kind": "Schedule", "metadata": {"name": SCHEDULE}, "spec": self._spec(wanted)}
                self._sent("POST", self._all, body)
        self._until(lambda: not self.differences(wanted) and (wanted is None or not self.unproven()), f"the schedule is {wanted}")
