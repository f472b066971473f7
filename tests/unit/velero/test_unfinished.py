# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unfinished work: what counts, what is orphaned, and what each policy does before a restart."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import DeadlineOver, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._velero import unfinished

SINCE = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
TARGET = "Deployment velero/velero"


def backup(name: str, phase: str, started: str | None = None) -> dict[str, Any]:
    return {"kind": "Backup", "metadata": {"name": name}, "status": {"phase": phase, "startTimestamp": started}}


EARLIER, LATER = "2026-11-21T11:59:00Z", "2026-11-21T12:00:30Z"


@pytest.mark.parametrize(
    ("line", "since", "running", "orphans"),
    [
        ((1, 17), SINCE, ["Backup a (InProgress)", "Backup b (InProgress)"], []),
        ((1, 8), SINCE, ["Backup b (InProgress)"], ["Backup a (InProgress)"]),
        (None, SINCE, ["Backup a (InProgress)", "Backup b (InProgress)"], []),
        ((1, 17), None, [], ["Backup a (InProgress)", "Backup b (InProgress)"]),
    ],
    ids=["a newer server marks them itself", "up to 1.8 they stay", "unknown version", "no server"],
)
def test_orphans(line: tuple[int, int] | None, since: datetime | None, running: list[str], orphans: list[str]):
    work = unfinished.judge([backup("a", "InProgress", EARLIER), backup("b", "InProgress", LATER)], line, since)
    assert (list(work.running), list(work.orphans)) == (running, orphans)


def test_names_are_shortened_and_counted():
    text = unfinished.shortened(f"b{number}" for number in range(13))
    assert text.endswith("b9 and 3 more")


def test_policies():
    work = unfinished.Work(("Backup a (InProgress)",), ("Backup o (InProgress)",))
    with pytest.raises(NotProven, match="Backup a"):
        unfinished.told("fail", work, TARGET)
    assert any("breaks off" in text for text in unfinished.told("ignore", work, TARGET))
    assert any("only when" in text for text in unfinished.told("wait", work, TARGET))
    assert len(unfinished.told("fail", unfinished.Work((), ("Backup o (InProgress)",)), TARGET)) == 1
    assert unfinished.told("fail", unfinished.Work(), TARGET) == []


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_waiting_ends_when_idle_and_at_the_deadline():
    clock = Clock()
    looks = iter([unfinished.Work(("Backup a (InProgress)",))] * 4 + [unfinished.Work()] * 9)
    context = Context()
    unfinished.settle("wait", lambda: next(looks), Deadline(60, clock, clock.sleep), context, TARGET)
    assert clock.now == 3
    assert len(context.warnings) == 1
    clock.now = 0.0
    with pytest.raises(DeadlineOver, match="Backup a"):
        unfinished.settle("wait", lambda: unfinished.Work(("Backup a (InProgress)",)), Deadline(5, clock, clock.sleep), Context(), TARGET)
    assert 5 <= clock.now < 7


def test_ignoring_waits_for_nothing():
    context = Context()
    unfinished.settle("ignore", lambda: unfinished.Work(("Backup a (InProgress)",)), Deadline(0.001), context, TARGET)
    assert "Backup a" in context.warnings[0]
