# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deadlines and waits on a clock of the test's own: how long, what is told meanwhile, how it ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import DeadlineOver, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Done, Pending, wait
from hypothesis import given
from hypothesis import strategies as st


class Time:
    """A clock that moves only by sleeping."""

    def __init__(self) -> None:
        self.now = 5000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def deadline(self, seconds: float) -> Deadline:
        return Deadline(seconds, self.clock, self.sleep)


def test_a_deadline_counts_down_to_zero_and_not_below() -> None:
    time = Time()
    deadline = time.deadline(10)
    assert (deadline.elapsed(), deadline.remaining(), deadline.over) == (0, 10, False)
    time.now += 9.5
    assert (deadline.elapsed(), deadline.remaining(), deadline.over) == (9.5, 0.5, False)
    time.now += 0.5
    assert (deadline.remaining(), deadline.over) == (0, True)
    time.now += 100
    assert deadline.remaining() == 0


@given(st.floats(0, 50), st.lists(st.floats(-5, 20), max_size=10))
def test_pauses_never_pass_the_end(seconds: float, pauses: list[float]) -> None:
    time = Time()
    deadline = time.deadline(seconds)
    for pause in pauses:
        deadline.pause(pause)
    assert all(slept > 0 for slept in time.slept)
    assert time.now - 5000.0 <= seconds + 1e-6


def ticks(time: Time, deadline: Deadline, *, every: float = 1.0, states: list[str] | None = None) -> Iterator[str]:
    """Observations that end when the deadline is over, as those of a watch do."""
    number = 0
    while not deadline.over:
        yield (states[min(number, len(states) - 1)] if states else "same")
        number += 1
        time.now += every


def run(states: list[str], seconds: float = 60.0, every: float = 1.0, already: float = 0.0) -> tuple[Time, list[str], object]:
    time = Time()
    deadline = time.deadline(seconds + already)
    time.now += already
    told: list[str] = []

    def judge(seen: str) -> Done | Pending:
        if seen == "broken":
            raise NotProven("prove", "Thing x", "it is broken", "Repair it")
        return Done("value", "it is done") if seen == "done" else Pending(seen)

    end: object
    try:
        end = wait(ticks(time, deadline, every=every, states=states), judge, deadline, told.append, "prove", "Thing x", "Look at it")
    except (DeadlineOver, NotProven) as error:
        end = error
    return time, told, end


def test_done_at_once_is_told_in_the_result_only() -> None:
    _time, told, end = run(["done"])
    assert told == []
    assert (end.seen, end.value, end.seconds, end.last) == ("done", "value", 0.0, "it is done")  # type: ignore[attr-defined]
    assert end.shown() == {"seconds": 0.0, "last": "it is done"}  # type: ignore[attr-defined]


def test_a_new_state_is_told_at_once_and_the_same_one_every_ten_seconds() -> None:
    _time, told, end = run(["a", "a", "b", *["b"] * 24, "c", "done"])
    assert [line.split(": ", 1)[1] for line in told] == [
        "a (0 s of at most 60 s)",
        "b (2 s of at most 60 s)",
        "b (12 s of at most 60 s)",
        "b (22 s of at most 60 s)",
        "c (27 s of at most 60 s)",
    ]
    assert all(line.startswith("Thing x: ") for line in told)
    assert end.shown() == {"seconds": 28.0, "last": "it is done"}  # type: ignore[attr-defined]


def test_seconds_count_from_the_beginning_of_the_wait_not_of_the_task() -> None:
    _time, told, end = run(["a", "done"], seconds=60, already=30)
    assert told == ["Thing x: a (0 s of at most 60 s)"]
    assert end.seconds == 1.0  # type: ignore[attr-defined]


def test_the_end_of_the_time_says_what_was_last_seen_and_what_to_do() -> None:
    time, _told, end = run(["a", "b"], seconds=7)
    assert isinstance(end, DeadlineOver)
    assert str(end) == "prove Thing x: not done after 7 s; last seen: b. Look at it."
    assert time.now - 5000 <= 7


def test_observations_that_go_on_past_the_end_are_not_followed() -> None:
    time = Time()
    deadline = time.deadline(3)

    def forever() -> Iterator[str]:
        while True:
            time.now += 1
            yield "x"

    with pytest.raises(DeadlineOver, match="not done after 3 s; last seen: x"):
        wait(forever(), Pending, deadline, lambda text: None, "prove", "Thing x", "Look")


def test_done_in_the_last_moment_counts() -> None:
    time = Time()
    deadline = time.deadline(1)

    def late() -> Iterator[str]:
        time.now += 1
        yield "x"

    assert wait(late(), lambda seen: Done(1, seen), deadline, lambda text: None, "prove", "Thing x", "Look").value == 1


def test_no_observation_at_all_is_said() -> None:
    with pytest.raises(DeadlineOver, match="last seen: nothing was seen yet"):
        wait(iter(()), Pending, Time().deadline(3), lambda text: None, "prove", "Thing x", "Look")


def test_a_judge_that_sees_no_hope_ends_the_wait_at_once() -> None:
    time, told, end = run(["a", "broken", "done"])
    assert isinstance(end, NotProven)
    assert time.now == 5001
    assert len(told) == 1
