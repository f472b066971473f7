# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wait for a restore's end: progress for a person, and whether anybody still works on it.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, DeadlineOver, Forbidden, NotProven, OperationError
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Done, Pending, Waited, wait
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.watch import snapshots
from ansible_collections.serverops.circleci.plugins.module_utils._velero import restore_outcome, restore_view, server, unfinished, validation

Document = dict[str, Any]
LOOK_AFTER = 20.0
"""Seconds without any progress after which the server is asked whether it is there, and again at each such time."""
SILENT_AT_MOST = 120.0
"""Seconds of silence of the server after which nobody is thought to work on the restore any more."""
VOLUMES_EVERY = 1.0
"""Seconds between two looks at the volumes."""
AGENTS = ("name=node-agent", "name=restic")
"""Labels of a node agent's pods, from 1.10 and before."""


@dataclass
class RestoreWait:
    """The wait for one restore. expected: how many volumes the backup has for it."""

    api: Api
    namespace: str
    name: str
    target: str
    progress: Callable[[str], None]
    expected: int = 0
    volumes: list[dict[str, Any]] = field(default_factory=list, init=False)
    _seen: Any = field(default=None, init=False)
    _moved_at: float = field(default=0.0, init=False)
    _asked_at: float = field(default=0.0, init=False)
    _silent_since: float | None = field(default=None, init=False)
    _looked_at: float = field(default=-VOLUMES_EVERY, init=False)
    _said: str = field(default="", init=False)
    _phase: str | None = field(default=None, init=False)
    _was_there: bool = field(default=False, init=False)

    @property
    def _deadline(self) -> Deadline:
        return self.api.transport.deadline

    def until_finished(self) -> Waited[Document]:
        """Wait until the restore is in a final phase, whichever; NotProven when it cannot get there any more."""
        self._moved_at = self._asked_at = self._deadline.elapsed()

        def judge(seen: Document | None) -> Done | Pending:
            if seen is None:
                return self._gone()
            self._was_there = True
            if "deletionTimestamp" in seen["metadata"]:
                raise NotProven(
                    "restore", self.target, "somebody deletes it", "Look who does, and whether its backup is deleted too, before restoring again"
                )
            status = seen.get("status") or {}
            finished = status.get("phase") in restore_view.FINISHED
            self._look_at_volumes(now=finished or status.get("phase") != self._phase)
            self._phase = status.get("phase")
            text = self._progress(seen)
            return Done(status["phase"], text) if finished else Pending(text + self._trouble(seen))

        seen = snapshots(self.api, resource.RESTORE, self.namespace, self.name)
        step = "Velero goes on with it: run the task again with a longer timeout to wait on. Look at the volume or object that it stands at"
        waited: Waited[Any] = wait(seen, judge, self._deadline, self.progress, "restore", self.target, step)
        return waited

    def _gone(self) -> Done | Pending:
        if not self._was_there:
            return Pending("it is not there yet")
        raise NotProven(
            "restore",
            self.target,
            "it is not there any more: it was deleted, or its backup was, which removes its restores as well",
            "What has been restored so far stays. Look whether the backup is there; then restore again",
        )

    def _look_at_volumes(self, *, now: bool) -> None:
        time = self._deadline.elapsed()
        if now or time - self._looked_at >= VOLUMES_EVERY:
            self._looked_at = time
            # at the end of the time what was seen before is told
            with contextlib.suppress(DeadlineOver):
                self.volumes = restore_outcome.read_volumes(self.api, self.namespace, self.name)

    def _progress(self, seen: Document) -> str:
        return restore_view.progress_text(seen.get("status") or {}, self.volumes, self.expected)

    def _trouble(self, seen: Document) -> str:
        """Return what is to be told when nothing moves; NotProven when nobody works on it any more."""
        now = self._deadline.elapsed()
        status = seen.get("status") or {}
        moved = (status.get("phase"), status.get("progress"), [(item["phase"], item["bytes"]) for item in self.volumes])
        if moved != self._seen:
            self._seen, self._moved_at, self._said, self._silent_since = moved, now, "", None
            return ""
        if now - max(self._moved_at, self._asked_at) < LOOK_AFTER:
            return self._said
        self._asked_at = now
        self._said = self._ask(seen, now)
        return self._said

    def _ask(self, seen: Document, now: float) -> str:
        try:
            answer = server.ask_once(self.api, self.namespace, self._deadline)
        except (Forbidden, Absent, DeadlineOver):
            return ""
        if answer is None:
            self._silent_since = self._moved_at if self._silent_since is None else self._silent_since
            silent = self._deadline.elapsed() - self._silent_since
            if silent >= SILENT_AT_MOST:
                raise NotProven(
                    "restore",
                    self.target,
                    f"{self._progress(seen)}, and Velero's server has not answered for {silent:.0f} s",
                    "Run velero_info, which says what is wrong with it. A server that starts marks the restore as failed (from 1.9); remove it then",
                )
            return f"; Velero's server does not answer, for {silent:.0f} s now"
        self._silent_since = None
        line = server.minor_version(answer[0])
        if line is not None and line <= unfinished.ORPHANS_UP_TO:
            self._look_for_orphans(seen, str(answer[0]))
        return self._held_up(seen)

    def _look_for_orphans(self, seen: Document, version: str) -> None:
        """Raise NotProven when the server or a node agent of a release that forgets its work was started anew after the work began."""
        step = "Remove the restore by state absent, and what it has made, and restore again"
        begun = validation.parse_time((seen.get("status") or {}).get("startTimestamp"))
        since = started_at(self._pods("deploy=velero"))
        if begun and since and since > begun:
            text = f"Velero's server was started anew at {validation.shown_time(since)}, and {version} never ends what it had begun before"
            raise NotProven("restore", self.target, text, step)
        for item in self.volumes:
            since = started_at(self._agents_of(item)) if item["phase"] == "InProgress" else None
            if begun and since and since > begun:
                name = restore_view.volume_name(item)
                text = f"its node agent was started anew at {validation.shown_time(since)}, and {version} never ends what it had begun before: {name}"
                raise NotProven("restore", self.target, text, step)

    def _agents_of(self, volume: Mapping[str, Any]) -> Sequence[Document]:
        """Return the pods of the node agent on the node of a volume's pod."""
        try:
            pod = self.api.get(resource.POD, str(volume["namespace"]), str(volume["pod"])) or {}
        except OperationError:
            return ()
        node = (pod.get("spec") or {}).get("nodeName")
        return [agent for label in AGENTS for agent in self._pods(label) if (agent.get("spec") or {}).get("nodeName") == node]

    def _held_up(self, seen: Document) -> str:
        """Return what an answering server may wait for: another restore, or a node without an agent."""
        if ((seen.get("status") or {}).get("phase") or "New") == "New":
            others = [
                item["metadata"]["name"]
                for item in self.api.list(resource.RESTORE, self.namespace).items
                if item["metadata"]["name"] != self.name and ((item.get("status") or {}).get("phase") or "New") not in restore_view.FINISHED
            ]
            return f"; Velero carries out one restore after the other, and still works on {restore_view.named(others)}" if others else ""
        if any(item["phase"] not in restore_view.FINISHED for item in self.volumes) or len(self.volumes) < self.expected:
            agents = [pod for label in AGENTS for pod in self._pods(label)]
            if not agents:
                return "; there is no node agent, which has to restore its volumes"
            bad = [(pod["metadata"]["name"], server.pod_problem(pod)) for pod in agents]
            named = [f"{name} is {problem[0]}" for name, problem in bad if problem]
            return f"; node agents that do not work: {restore_view.named(named)}" if named else ""
        return ""

    def _pods(self, label: str) -> Sequence[Document]:
        try:
            return self.api.list(resource.POD, self.namespace, label_selector=label).items
        except OperationError:
            return ()


def started_at(pods: Sequence[Mapping[str, Any]]) -> datetime | None:
    """Return when the container was started that runs since the shortest time; None when none runs."""
    times = [
        validation.parse_time(((item.get("state") or {}).get("running") or {}).get("startedAt"))
        for pod in pods
        for item in (pod.get("status") or {}).get("containerStatuses") or []
    ]
    known = [time for time in times if time is not None]
    return max(known) if known else None


def until_available(
    look: Callable[[], restore_outcome.Brought], workloads: bool, deadline: Deadline, progress: Callable[[str], None], target: str
) -> Waited[Any]:
    """Wait until what a restore has made is bound and available; DeadlineOver names what is not, and why."""

    def looks() -> Any:
        pause = 0.3
        while True:
            yield look()
            deadline.pause(pause)
            pause = min(2.0, pause * 1.5)

    last = ""

    def judge(brought: restore_outcome.Brought) -> Done | Pending:
        nonlocal last
        lacking = restore_outcome.unbound(restore_outcome.claim_views(brought))
        if workloads:
            lacking += restore_outcome.unavailable(restore_outcome.workload_views(brought))
        last = f"Completed, and waits for {restore_view.named(lacking)}"
        return Pending(last) if lacking else Done(None, "everything is available")

    step = "Look at what is named here; run the task again to wait on, or give workloads ignore"
    try:
        return wait(looks(), judge, deadline, progress, "prove", target, step)
    except DeadlineOver as over:
        seen = over.seen if "last seen" in over.seen else f"not done after {deadline.elapsed():.0f} s; last seen: {last or 'Completed'}"
        raise NotProven("prove", target, seen, step) from None
