# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests as data, and the one gate that every request passes: check mode, a living parent, the deadline, safe repetition, the record.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import (
    AnswerLost,
    DeadlineOver,
    ParentGone,
    Unreachable,
    WriteInCheckMode,
    refused,
)


class Effect(str, Enum):
    """What a request does to the state that a person would call theirs."""

    READ = "read"
    PROBE = "probe"
    WRITE = "write"


@dataclass(frozen=True)
class Request:
    """One HTTP request, ready to be sent, shown in a plan, or listed in a result.

    path: absolute, without query. operation and target: words for errors ("create", "Secret velero/x").
    body: a JSON value, or None. repeatable: a second arrival changes nothing more, so it may be sent again when an answer is lost.
    accept: statuses besides 2xx that are an answer and not an error. media_type: the form that is asked for, where it is not plain JSON.
    """

    method: str
    path: str
    operation: str
    target: str
    effect: Effect = Effect.READ
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = "application/json"
    repeatable: bool | None = None
    accept: tuple[int, ...] = ()
    media_type: str = ""

    @property
    def may_repeat(self) -> bool:
        """Tell whether sending it twice is harmless: reads and probes are, a write only when it says so."""
        return self.effect is not Effect.WRITE if self.repeatable is None else self.repeatable

    def shown(self) -> dict[str, str]:
        """Return method and path for the `requests` list of a result: no body and no query, so no secret."""
        return {"method": self.method, "path": self.path}


@dataclass(frozen=True)
class Answer:
    """A whole answer: status, headers with lower-case names, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON; ValueError when it is not."""
        return json.loads(self.body)


class Broken(Exception):
    """An exchange failed below HTTP. `sent` is False only when the request is known not to have left."""

    def __init__(self, detail: str, *, sent: bool) -> None:
        self.detail = detail
        self.sent = sent
        super().__init__(detail)


class Exchange(Protocol):
    """Send one request within so many seconds and return its whole answer, or raise Broken."""

    def __call__(self, request: Request, timeout: float) -> Answer:
        """Exchange a request for an answer."""


Explain = Callable[[Request, Answer], tuple[str, str]]
"""Turn an error answer into (what was seen, what to do next)."""

LONGEST_TRY = 15.0
"""Seconds for one try of a request; the deadline of the task may make it shorter."""
TRIES = 5


def _busy(status: int) -> bool:
    """Tell whether a status may be another one a moment later. Of these only 429 says that the request was not carried out."""
    return status in {408, 429} or status >= 500


@dataclass
class Guard:
    """What may stop a write: check mode, or that nobody waits for the result any more."""

    check_mode: bool = False
    parent_alive: Callable[[], bool] = lambda: True


@dataclass
class Record:
    """What a task sent: every write that took effect or may have, and how many requests of each effect."""

    written: list[Request] = field(default_factory=list)
    counts: dict[Effect, int] = field(default_factory=lambda: dict.fromkeys(Effect, 0))


@dataclass
class _Tries:
    """How often a request was sent. unsure: it is a write, and a try that got no clear answer may have taken effect."""

    count: int = 0
    unsure: bool = False


class Transport:
    """Send requests through an exchange, under a guard and a deadline.

    Repeats a request only where a repeat cannot harm: reads, probes, writes marked repeatable, anything that was refused with 429
    (the server did not take it), and anything that never left. For every other write with a lost answer it raises AnswerLost;
    the caller looks the object up and never sends the write again.
    The record lists every write that was sent and not refused, also one whose answer was lost, and one that was refused only after
    an earlier try of it may have arrived.
    """

    def __init__(self, exchange: Exchange, guard: Guard, deadline: Deadline, explain: Explain, record: Record | None = None) -> None:
        self.exchange = exchange
        self._guard = guard
        self._explain = explain
        self.deadline = deadline
        self.record = Record() if record is None else record

    def send(self, request: Request) -> Answer:
        """Send a request and return its answer (status 2xx or one that the request accepts)."""
        write = request.effect is Effect.WRITE
        if write:
            self._before_write(request)
            self.record.written.append(request)
        tries = _Tries()
        try:
            return self._send(request, tries)
        except AnswerLost:
            raise
        except Exception:
            # refused, or never sent: this write is known not to have taken effect, unless an earlier try of it may have
            if write and not tries.unsure:
                self.record.written.remove(request)
            raise

    def _before_write(self, request: Request) -> None:
        if self._guard.check_mode:
            raise WriteInCheckMode(request.operation, request.target, "a write was about to be sent in check mode", "Please report this as a defect")
        if not self._guard.parent_alive():
            raise ParentGone(
                request.operation,
                request.target,
                "the process that started this task has ended",
                "Run the task again; it continues where this one stopped",
            )

    def _send(self, request: Request, tries: _Tries) -> Answer:
        seen = ""
        while True:
            if self.deadline.over:
                text = f"the deadline of {self.deadline.seconds:g} s was over before an answer came"
                raise self._too_late(request, f"{text}; last seen: {seen}" if seen else text, unsure=tries.unsure)
            if tries.count and request.effect is Effect.WRITE:
                self._before_write(request)
            tries.count += 1
            self.record.counts[request.effect] += 1
            try:
                answer = _whole(self.exchange(request, min(LONGEST_TRY, max(0.1, self.deadline.remaining()))))
            except Broken as broken:
                seen, after = broken.detail, None
                if broken.sent and not request.may_repeat:
                    raise self._lost(request, seen) from None
                tries.unsure = tries.unsure or (broken.sent and request.effect is Effect.WRITE)
                if tries.count >= TRIES:
                    if tries.unsure:
                        raise self._lost(request, seen) from None
                    raise Unreachable(
                        request.operation, request.target, f"{seen} ({tries.count} tries)", "Check the address, the network and the proxy settings"
                    ) from None
            else:
                if 200 <= answer.status < 300 or answer.status in request.accept:
                    return answer
                seen, next_step = self._explain(request, answer)
                if not _busy(answer.status):
                    raise refused(request.operation, request.target, answer.status, seen, next_step)
                if answer.status != 429 and not request.may_repeat:
                    raise self._lost(request, seen)
                tries.unsure = tries.unsure or (answer.status != 429 and request.effect is Effect.WRITE)
                if tries.count >= TRIES:
                    if tries.unsure:
                        raise self._lost(request, seen)
                    raise refused(request.operation, request.target, answer.status, f"{seen} ({tries.count} tries)", next_step)
                after = answer.headers.get("retry-after")
            self.deadline.pause(_pause(tries.count, after))

    def _lost(self, request: Request, seen: str) -> AnswerLost:
        return AnswerLost(
            request.operation,
            request.target,
            f"the answer was lost ({seen}), so it is not known whether it took effect",
            "Run the task again; it looks first",
        )

    def _too_late(self, request: Request, seen: str, *, unsure: bool) -> AnswerLost | DeadlineOver:
        if unsure:
            return self._lost(request, seen)
        return DeadlineOver(request.operation, request.target, seen, "Raise timeout, or look why the server is slow")


def _whole(answer: Answer) -> Answer:
    """Refuse a body that claims to be JSON and is not: it was cut or replaced on the way."""
    owed = 200 <= answer.status < 300 and answer.status != 204
    if (answer.body or owed) and "json" in answer.headers.get("content-type", ""):
        try:
            answer.json()
        except ValueError:
            raise Broken(f"the answer (status {answer.status}) says it is JSON and is not", sent=True) from None
    return answer


def _pause(tried: int, retry_after: str | None) -> float:
    """Seconds before the next try: what the server asks for (at most 10), else doubling from 0.1 with a random part."""
    if retry_after and retry_after.isdecimal():
        return min(10.0, float(retry_after))
    return min(3.0, 0.1 * 2.0**tried) * random.uniform(0.7, 1.3)  # noqa: S311  not for security
