# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a backup that Velero works on: how far it is, and what holds it up.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, DeadlineOver, Forbidden, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Done, Pending, Waited, wait
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.watch import snapshots
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    backup_view,
    location_view,
    server,
    unfinished,
    validation,
    volume_copies,
)

Document = dict[str, Any]

LOOK_EVERY = 5.0
"""Seconds between two looks at the volumes; the backup itself is watched."""
TROUBLE_EVERY = 10.0
"""Seconds between two looks at what may hold it up: server, node agents, storage location."""
GONE_AFTER = 5.0
"""Seconds for which a backup that was seen has to be missing until it counts as removed: a server may lag behind."""
GOES_ON = "The backup goes on by itself: run the task again to join it, with a longer timeout"


@dataclass
class _Watcher:
    """What is known of a backup while it runs, so that the looks beside the watch are few."""

    api: Api
    namespace: str
    name: str
    uid: str
    text: str = ""
    told: tuple[str, float | None] = ("", None)
    volumes: str = ""
    looked: float | None = None
    trouble: str = ""
    troubled: float | None = None
    missing_since: float | None = None
    backup: Mapping[str, Any] = field(default_factory=dict)

    def judge(self, seen: Document | None) -> Done | Pending:
        """Say whether Velero is done."""
        now = self.api.transport.deadline.elapsed()
        if seen is None or (self.uid and seen["metadata"]["uid"] != self.uid):
            return self._missing(now)
        self.missing_since, self.uid, self.backup = None, str(seen["metadata"]["uid"]), seen
        phase = backup_view.phase_of(seen)
        if phase in backup_view.FINAL:
            return Done(phase, f"phase {phase}")
        if phase == backup_view.DELETING or "deletionTimestamp" in seen["metadata"]:
            raise NotProven("make", self._target, "somebody deletes it", "Look who does, and run the task again")
        if self.looked is None:
            self.looked, self.troubled = now, now - TROUBLE_EVERY / 2
        elif now - self.looked >= LOOK_EVERY:
            self.looked = now
            self._look(seen, phase, now)
        return Pending(self._words(seen, phase) + self.volumes + self.trouble)

    def _look(self, seen: Mapping[str, Any], phase: str, now: float) -> None:
        """Look how far the volumes are, and now and then what holds it up. At the end of the task's time what was seen before stands."""
        try:
            self.volumes = self._volumes(phase)
            if self.troubled is None or now - self.troubled >= TROUBLE_EVERY:
                self.troubled, self.trouble = now, self._trouble(seen, phase)
        except DeadlineOver:
            return

    @property
    def _target(self) -> str:
        return resource.BACKUP.target(self.namespace, self.name)

    def _missing(self, now: float) -> Pending:
        self.missing_since = now if self.missing_since is None else self.missing_since
        if self.uid and now - self.missing_since >= GONE_AFTER:
            raise NotProven(
                "make",
                self._target,
                "it is gone while Velero worked on it: somebody removed it",
                "Look who did; what Velero has written of it may be listed again",
            )
        return Pending("it is not there; an old state was seen")

    def _copies(self) -> list[Document]:
        try:
            return volume_copies.read_raw(self.api, self.namespace, self.backup)
        except (Absent, Forbidden):
            return []

    def _words(self, seen: Mapping[str, Any], phase: str) -> str:
        """Return how far it is by the backup itself; the numbers stand still between two looks, so that not each of them is told."""
        progress = (seen.get("status") or {}).get("progress") or {}
        key = (phase, self.looked)
        if key != self.told:
            items = f", {progress.get('itemsBackedUp') or 0} of {progress['totalItems']} items" if progress.get("totalItems") else ""
            self.told, self.text = key, f"phase {phase}{items}"
        return self.text

    def _volumes(self, phase: str) -> str:
        if phase == "New":
            return ""
        copies = self._copies()
        volumes, waiting = volume_copies.progress_shown(copies), volume_copies.held_up(copies)
        parts = [volumes] if volumes else []
        parts += [f"not begun: {backup_view.shortened(waiting, 3)}"] if waiting else []
        return "".join(f", {part}" for part in parts)

    def _trouble(self, seen: Mapping[str, Any], phase: str) -> str:
        """Return what may hold it up, in words; NotProven when nobody will ever finish it."""
        found = [*self._location(seen), *self._workers(seen, phase)]
        return "".join(f"; {text}" for text in found)

    def _location(self, seen: Mapping[str, Any]) -> list[str]:
        name = backup_view.storage_location(seen)
        if not name:
            return []
        try:
            location = self.api.get(resource.BACKUP_STORAGE_LOCATION, self.namespace, name)
        except (Absent, Forbidden):
            return []
        if location is None:
            return [f"its storage location {name} is gone"]
        status = location.get("status") or {}
        if status.get("phase") in {None, "Available"}:
            return []
        message = location_view.tidied(str(status.get("message") or ""))
        return [f"its storage location {name} is {status['phase']}{f': {message}' if message else ''}"]

    def _workers(self, seen: Mapping[str, Any], phase: str) -> list[str]:
        workers = read_workers(self.api, self.namespace)
        if workers is None:
            return []
        if workers.is_orphan(seen):
            raise NotProven(
                "make",
                self._target,
                f"Velero's server was started anew since this backup began, and this release ({workers.version}) never finishes such a one",
                "Remove the object (kubectl delete), and make another backup",
            )
        if phase == "New" and workers.restore_only:
            advice = "Start it without restore_only, with velero_install"
            raise NotProven("make", self._target, "Velero's server only restores (--restore-only)", advice)
        found = [workers.problem] if workers.problem else []
        if phase == "New" and not found:
            return self._queue()
        if phase != "New":
            copies = self._copies()
            open_ones = [item for item in copies if (item.get("status") or {}).get("phase") not in volume_copies.STOPPED]
            nodes = {str((item.get("spec") or {}).get("node")) for item in open_ones}
            found += [f"no node agent is ready on node {node}" for node in sorted(nodes - workers.agents) if node not in {"None", ""}]
        return found

    def _queue(self) -> list[str]:
        """Return what Velero works on first: up to 1.17 it makes one backup after the other."""

        def working(item: Document) -> str | None:
            phase = backup_view.phase_of(item)
            return None if phase in backup_view.FINAL | {"New", backup_view.DELETING} else f"{item['metadata']['name']} (phase {phase})"

        running = sorted(self.api.scan(resource.BACKUP, self.namespace, working))
        return [f"it waits behind backup {backup_view.shortened(running, 3)}"] if running else []


@dataclass(frozen=True)
class Workers:
    """The pods that do Velero's work. since: when the server's container was last started. agents: nodes with a ready agent."""

    problem: str
    since: datetime | None
    version: str | None
    restore_only: bool
    agents: frozenset[str]

    def is_orphan(self, backup: Mapping[str, Any]) -> bool:
        """Tell whether nobody will ever finish a backup: up to 1.8 a server does not look after what the one before had begun."""
        began = validation.parse_time((backup.get("status") or {}).get("startTimestamp"))
        line = server.minor_version(self.version)
        return bool(began and self.since and began < self.since and line and line <= unfinished.ORPHANS_UP_TO)


def read_workers(api: Api, namespace: str) -> Workers | None:
    """Return the pods that do Velero's work; None when they may not be read, or there are none that are known."""
    try:
        pods = api.list(resource.POD, namespace).items
    except Forbidden:
        return None
    agents = {str((pod.get("spec") or {}).get("nodeName")) for pod in pods if server.agent_container(_workload(pod)) and server.pod_ready(pod)}
    servers = [(pod, container) for pod in pods if (container := server.server_container(_workload(pod)))]
    if not servers:
        return Workers("Velero's server is not running: there is no pod of it", None, None, False, frozenset(agents))
    ready = [(pod, container) for pod, container in servers if server.pod_ready(pod)]
    pod, container = (ready or servers)[0]
    trouble = server.pod_problem(pod)
    problem = f"Velero's server is not ready: pod {pod['metadata']['name']} is {': '.join(part for part in trouble if part)}" if trouble else ""
    started = [
        ((item.get("state") or {}).get("running") or {}).get("startedAt")
        for item in (pod.get("status") or {}).get("containerStatuses") or []
        if item.get("name") == container.get("name")
    ]
    words = [str(word) for word in [*(container.get("command") or []), *(container.get("args") or [])]]
    return Workers(
        problem,
        validation.parse_time(started[0]) if started else None,
        server.image_version(str(container.get("image") or "")),
        any(word in {"--restore-only", "--restore-only=true"} for word in words),
        frozenset(agents),
    )


def _workload(pod: Mapping[str, Any]) -> Document:
    return {"spec": {"template": {"spec": pod.get("spec") or {}}}}


def is_orphan(api: Api, namespace: str, backup: Mapping[str, Any]) -> bool:
    """Tell whether an unfinished backup will never be finished by anybody."""
    workers = read_workers(api, namespace)
    return workers is not None and workers.is_orphan(backup)


def wait_until_finished(api: Api, context: Context, namespace: str, name: str, known: Document | None) -> Waited[Any]:
    """Wait until Velero is done with a backup, well or not; the judge's value is its phase. known: the backup as it was last read."""
    about = (known or {}).get("metadata") or {}
    name = str(about.get("name") or name)
    watcher = _Watcher(api, namespace, name, str(about.get("uid") or ""))
    deadline = api.transport.deadline
    seen = snapshots(api, resource.BACKUP, namespace, name, deadline=deadline, start_version=str(about.get("resourceVersion") or ""), known=known)
    return wait(seen, watcher.judge, deadline, context.progress, "make", resource.BACKUP.target(namespace, name), GOES_ON)
