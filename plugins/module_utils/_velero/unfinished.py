# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Velero is still working on: backups, restores and data movements that a restart of its server would break off.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Done, Pending, Waited, wait
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._velero import validation

Document = dict[str, Any]
FINISHED = frozenset({"Completed", "PartiallyFailed", "Failed", "FailedValidation", "Canceled"})
"""Final phases of the kinds below; every other one, also one that nobody knows, is unfinished."""
KINDS = (resource.BACKUP, resource.RESTORE, resource.DATA_UPLOAD, resource.DATA_DOWNLOAD)
ORPHANS_UP_TO = (1, 8)
"""The last release line whose server, when it starts, leaves what another one has begun unfinished for ever; newer ones mark it as failed."""
LOOK_EVERY = 1.0
NAMES_SHOWN = 10


@dataclass(frozen=True)
class Work:
    """What is unfinished, by name ("Backup nightly (InProgress)"), and what of it nobody works on any more."""

    running: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Return the names of what runs, for a message."""
        return shortened(self.running)


def shortened(names: Iterable[str]) -> str:
    """Return names for a message; the count is always whole."""
    known = list(names)
    more = f" and {len(known) - NAMES_SHOWN} more" if len(known) > NAMES_SHOWN else ""
    return ", ".join(known[:NAMES_SHOWN]) + more


def read(api: Api, namespace: str) -> tuple[Document, ...]:
    """Return the objects that are in no final phase; none where the kinds are not known."""
    found: list[Document] = []
    for kind in KINDS:
        try:
            items = api.list(kind, namespace).items
        except Absent:
            continue
        found += [item for item in items if (item.get("status") or {}).get("phase") not in FINISHED]
    return tuple(found)


def judge(objects: Iterable[Mapping[str, Any]], line: tuple[int, int] | None, server_since: datetime | None) -> Work:
    """Tell what runs from what is orphaned.

    line: the release line of the server that runs, None when it is not known. server_since: when its pod was made, None when no server
    runs: nobody works on anything then, and a restart breaks nothing off.
    """
    running: list[str] = []
    orphans: list[str] = []
    for item in objects:
        name = f"{item.get('kind')} {item['metadata']['name']} ({(item.get('status') or {}).get('phase') or 'New'})"
        began = validation.parse_time((item.get("status") or {}).get("startTimestamp"))
        left = server_since is None or (line is not None and line <= ORPHANS_UP_TO and began is not None and began < server_since)
        (orphans if left else running).append(name)
    return Work(tuple(sorted(running)), tuple(sorted(orphans)))


def told(policy: str, work: Work, target: str) -> list[str]:
    """Return what to warn of before a restart or removal under a policy (option unfinished); NotProven when it forbids it."""
    warnings = [f"{target}: nobody works on {shortened(work.orphans)} any more; it is not waited for."] if work.orphans else []
    if not work.running:
        return warnings
    if policy == "fail":
        raise NotProven(
            "restart",
            target,
            f"Velero still works on {work.text}",
            "Wait until it is finished, or give unfinished wait to do so, or ignore to break it off",
        )
    ends = "its restart or removal breaks off" if policy == "ignore" else "it is restarted or removed only when Velero has finished"
    return [*warnings, f"{target}: {ends} {work.text}."]


def settle(policy: str, look: Callable[[], Work], deadline: Deadline, context: Context, target: str) -> None:
    """Do what the policy says right before a restart or removal: wait until nothing is unfinished, refuse, or go on."""
    work = look()
    for warning in told(policy, work, target):
        context.warn(warning)
    if work.running and policy == "wait":
        _wait_until_idle(look, deadline, context.progress, target)


def _wait_until_idle(look: Callable[[], Work], deadline: Deadline, progress: Callable[[str], None], target: str) -> Waited[Work]:
    """Look until nothing is unfinished; DeadlineOver names what still runs."""

    def looks() -> Iterator[Work]:
        while True:
            yield look()
            deadline.pause(LOOK_EVERY)

    def verdict(work: Work) -> Done | Pending:
        return Pending(f"Velero still works on {work.text}") if work.running else Done(None, "nothing is unfinished")

    return wait(
        looks(),
        verdict,
        deadline,
        progress,
        "restart or remove",
        target,
        "Raise timeout, wait until it is finished, or give unfinished ignore to break it off",
    )
