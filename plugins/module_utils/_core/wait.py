# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a thing to come into force: a stream of observations, a judge, a deadline, and lines for a person meanwhile.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import DeadlineOver

Seen = TypeVar("Seen")

PROGRESS_EVERY = 10.0
"""Seconds between two progress lines about the same state; a new state is told at once."""


@dataclass(frozen=True)
class Done:
    """The thing is proven."""

    value: Any
    last: str


@dataclass(frozen=True)
class Pending:
    """Not yet; `last` says in a few words what was seen."""

    last: str


@dataclass(frozen=True)
class Waited(Generic[Seen]):
    """The end of a wait: the observation that was judged done, the judge's value, seconds, and the last state in words."""

    seen: Seen
    value: Any
    seconds: float
    last: str

    def shown(self) -> dict[str, Any]:
        """Return the `waited` part of a result."""
        return {"seconds": round(self.seconds, 1), "last": self.last}


def wait(
    observations: Iterator[Seen],
    judge: Callable[[Seen], Done | Pending],
    deadline: Deadline,
    progress: Callable[[str], None],
    operation: str,
    target: str,
    next_step: str,
) -> Waited[Seen]:
    """Take observations until the judge says Done, or raise DeadlineOver with what was last seen.

    observations: yields at each change and at least about once a second, so that the deadline is kept. The judge raises an error
    of its own when the state cannot become better by waiting.
    """
    start = deadline.elapsed()
    last, told, told_at = "nothing was seen yet", "", start
    for seen in observations:
        verdict = judge(seen)
        if isinstance(verdict, Done):
            return Waited(seen, verdict.value, deadline.elapsed() - start, verdict.last)
        last = verdict.last
        now = deadline.elapsed()
        if last != told or now - told_at >= PROGRESS_EVERY:
            progress(f"{target}: {last} ({now - start:.0f} s of at most {deadline.seconds - start:.0f} s)")
            told, told_at = last, now
        if deadline.over:
            break
    raise DeadlineOver(operation, target, f"not done after {deadline.elapsed() - start:.0f} s; last seen: {last}", next_step)
