# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transport: what is repeated, what never is, what stops a write, and what the record says afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core import errors
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import (
    LONGEST_TRY,
    TRIES,
    Answer,
    Broken,
    Effect,
    Guard,
    Record,
    Request,
    Transport,
)

JSON = {"content-type": "application/json"}
OK = Answer(200, JSON, b'{"kind": "Thing"}')


def answer(status: int, **headers: str) -> Answer:
    return Answer(status, {**JSON, **headers}, b'{"kind": "Status"}')


class Server:
    """Gives the scripted answers in turn, the last one for ever, and keeps what it was asked. Its clock moves only by sleeping."""

    def __init__(self, *script: Answer | Exception, seconds: float = 60.0, each: float = 0.0, guard: Guard | None = None) -> None:
        self.script = list(script)
        self.asked: list[Request] = []
        self.timeouts: list[float] = []
        self.slept: list[float] = []
        self.now = 100.0
        self.each = each
        self.record = Record()
        self.deadline = Deadline(seconds, lambda: self.now, self.sleep)
        self.transport = Transport(self.exchange, guard or Guard(), self.deadline, self.explain, self.record)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def exchange(self, request: Request, timeout: float) -> Answer:
        self.asked.append(request)
        self.timeouts.append(timeout)
        self.now += self.each
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        return step

    @staticmethod
    def explain(_request: Request, got: Answer) -> tuple[str, str]:
        return f"it said {got.status}", "Do something"


def request(effect: Effect, *, repeatable: bool | None = None, method: str = "", accept: tuple[int, ...] = ()) -> Request:
    return Request(method or {"read": "GET"}.get(effect.value, "POST"), "/things/x", "touch", "Thing x", effect, repeatable=repeatable, accept=accept)


# what may be sent again: (effect, repeatable) -> harmless to repeat
REPEATS = [
    (Effect.READ, None, True),
    (Effect.READ, True, True),
    (Effect.READ, False, False),
    (Effect.PROBE, None, True),
    (Effect.PROBE, False, False),
    (Effect.WRITE, None, False),
    (Effect.WRITE, True, True),
    (Effect.WRITE, False, False),
]
UNCLEAR: dict[str, Callable[[], Answer | Exception]] = {
    "cut": lambda: Broken("the connection broke", sent=True),
    "garbage": lambda: Answer(200, JSON, b'{"kind": "Thi'),
    "emptied": lambda: Answer(200, JSON, b""),
    "not JSON at all": lambda: Answer(201, {"content-type": "application/json;charset=utf-8"}, b"<html>"),
    **{str(status): (lambda status=status: answer(status)) for status in (408, 500, 502, 503, 504, 507, 520)},  # type: ignore[misc]
}
UNTAKEN: dict[str, Callable[[], Answer | Exception]] = {"refused connection": lambda: Broken("no connection", sent=False), "429": lambda: answer(429)}
FINAL = {400: errors.Invalid, 401: errors.Unauthenticated, 403: errors.Forbidden, 404: errors.Absent, 409: errors.Conflict, 410: errors.Expired,
         422: errors.Invalid, 405: errors.Refused, 302: errors.Refused, 304: errors.Refused}  # fmt: skip


@pytest.mark.parametrize(("effect", "repeatable", "harmless"), REPEATS)
def test_may_repeat(effect: Effect, repeatable: bool | None, harmless: bool) -> None:
    assert request(effect, repeatable=repeatable).may_repeat is harmless


@pytest.mark.parametrize("kind", UNCLEAR)
@pytest.mark.parametrize(("effect", "repeatable", "harmless"), REPEATS)
def test_a_request_with_an_unclear_end_is_repeated_only_where_that_is_harmless(
    effect: Effect, repeatable: bool | None, harmless: bool, kind: str
) -> None:
    server = Server(UNCLEAR[kind](), OK)
    asked = request(effect, repeatable=repeatable)
    if harmless:
        assert server.transport.send(asked) is OK
        assert len(server.asked) == 2
    else:
        with pytest.raises(errors.AnswerLost) as told:
            server.transport.send(asked)
        assert len(server.asked) == 1
        assert "not known whether it took effect" in str(told.value)
    assert server.record.written == ([asked] if effect is Effect.WRITE else [])
    assert server.record.counts[effect] == len(server.asked)


@pytest.mark.parametrize("kind", UNTAKEN)
@pytest.mark.parametrize(("effect", "repeatable", "harmless"), REPEATS)
def test_what_the_server_did_not_take_is_sent_again_whatever_it_is(effect: Effect, repeatable: bool | None, harmless: bool, kind: str) -> None:
    server = Server(UNTAKEN[kind](), UNTAKEN[kind](), OK)
    asked = request(effect, repeatable=repeatable)
    assert asked.may_repeat is harmless
    assert server.transport.send(asked) is OK
    assert len(server.asked) == 3
    assert server.record.written == ([asked] if effect is Effect.WRITE else [])


@pytest.mark.parametrize("effect", Effect)
@pytest.mark.parametrize(("status", "error"), FINAL.items())
def test_a_refusal_is_final_and_no_write_is_recorded(effect: Effect, status: int, error: type[errors.Refused]) -> None:
    server = Server(answer(status))
    with pytest.raises(error, match=rf"^touch Thing x: it said {status}\. Do something\.$") as told:
        server.transport.send(request(effect))
    assert told.value.__class__ is error
    assert told.value.status == status
    assert len(server.asked) == 1
    assert server.record.written == []


@pytest.mark.parametrize("effect", Effect)
def test_tries_end(effect: Effect) -> None:
    server = Server(Broken("no connection", sent=False))
    with pytest.raises(errors.Unreachable, match=rf"no connection \({TRIES} tries\)"):
        server.transport.send(request(effect))
    assert len(server.asked) == TRIES
    assert server.record.written == []


@pytest.mark.parametrize("status", [429, 503])
def test_tries_of_a_read_on_a_busy_server_end_with_its_words(status: int) -> None:
    server = Server(answer(status))
    with pytest.raises(errors.Refused, match=rf"it said {status} \({TRIES} tries\)") as told:
        server.transport.send(request(Effect.READ))
    assert told.value.status == status
    assert len(server.asked) == TRIES


def test_a_write_refused_with_429_to_the_end_is_not_recorded() -> None:
    server = Server(answer(429))
    with pytest.raises(errors.Refused):
        server.transport.send(request(Effect.WRITE))
    assert len(server.asked) == TRIES
    assert server.record.written == []


@pytest.mark.parametrize("kind", UNCLEAR)
def test_a_repeatable_write_without_any_clear_answer_is_lost_and_recorded(kind: str) -> None:
    server = Server(UNCLEAR[kind]())
    asked = request(Effect.WRITE, repeatable=True)
    with pytest.raises(errors.AnswerLost):
        server.transport.send(asked)
    assert len(server.asked) == TRIES
    assert server.record.written == [asked]


def test_a_repeatable_write_that_may_have_arrived_stays_unsure_when_the_rest_of_the_tries_never_leave() -> None:
    server = Server(Broken("cut", sent=True), Broken("no connection", sent=False))
    asked = request(Effect.WRITE, repeatable=True)
    with pytest.raises(errors.AnswerLost):
        server.transport.send(asked)
    assert server.record.written == [asked]


@pytest.mark.parametrize(
    ("then", "error"),
    [(answer(403), errors.Forbidden), (answer(409), errors.Conflict), (errors.OperationError("send", "x", "no login"), errors.OperationError)],
)
def test_a_repeatable_write_that_is_refused_after_a_try_that_may_have_arrived_stays_in_the_record(
    then: Answer | Exception, error: type[Exception]
) -> None:
    server = Server(Broken("cut", sent=True), then)
    asked = request(Effect.WRITE, repeatable=True)
    with pytest.raises(error):
        server.transport.send(asked)
    assert server.record.written == [asked]


def test_a_login_that_fails_below_the_transport_is_not_a_write() -> None:
    server = Server(errors.OperationError("log in", "cluster", "the certificate is of another"))
    with pytest.raises(errors.OperationError):
        server.transport.send(request(Effect.WRITE))
    assert server.record.written == []


def test_statuses_that_a_request_accepts_are_answers() -> None:
    gone = answer(404)
    server = Server(gone)
    asked = request(Effect.WRITE, method="DELETE", accept=(404,))
    assert server.transport.send(asked) is gone
    assert server.record.written == [asked]


def test_an_empty_answer_is_whole_where_no_body_is_owed() -> None:
    for whole in (Answer(204, JSON, b""), Answer(200, {}, b""), Answer(200, {"content-type": "text/plain"}, b"no json")):
        assert Server(whole).transport.send(request(Effect.READ)) is whole


def test_a_write_in_check_mode_is_an_error_and_sends_nothing() -> None:
    server = Server(OK, guard=Guard(check_mode=True))
    with pytest.raises(errors.WriteInCheckMode, match="check mode"):
        server.transport.send(request(Effect.WRITE))
    assert server.asked == []
    assert server.record.written == []
    assert server.transport.send(request(Effect.READ)) is OK
    assert server.transport.send(request(Effect.PROBE)) is OK
    assert server.record.counts == {Effect.READ: 1, Effect.PROBE: 1, Effect.WRITE: 0}


def test_no_write_once_the_parent_is_gone() -> None:
    server = Server(OK, guard=Guard(parent_alive=lambda: False))
    with pytest.raises(errors.ParentGone):
        server.transport.send(request(Effect.WRITE))
    assert server.asked == []
    assert server.transport.send(request(Effect.READ)) is OK


def test_a_write_is_not_repeated_once_the_parent_is_gone() -> None:
    alive = [True, False]
    server = Server(answer(429), OK, guard=Guard(parent_alive=lambda: alive.pop(0)))
    with pytest.raises(errors.ParentGone):
        server.transport.send(request(Effect.WRITE))
    assert len(server.asked) == 1
    assert server.record.written == []


@pytest.mark.parametrize(("asked_for", "expected"), [("3", 3.0), ("0", 0.0), ("600", 10.0)])
def test_retry_after_is_kept_but_not_for_ever(asked_for: str, expected: float) -> None:
    server = Server(answer(429, **{"retry-after": asked_for}), OK)
    assert server.transport.send(request(Effect.WRITE)) is OK
    assert server.slept == ([expected] if expected else [])


@pytest.mark.parametrize("asked_for", ["Wed, 21 Oct 2026 07:28:00 GMT", "soon", "-1", "²", "1.5", ""])
def test_a_retry_after_that_is_no_number_of_seconds_falls_back(asked_for: str) -> None:
    server = Server(answer(429, **{"retry-after": asked_for}), OK)
    assert server.transport.send(request(Effect.READ)) is OK
    assert len(server.slept) == 1
    assert 0.1 < server.slept[0] < 1.0


def test_pauses_grow() -> None:
    server = Server(Broken("x", sent=False))
    with pytest.raises(errors.Unreachable):
        server.transport.send(request(Effect.READ))
    assert len(server.slept) == TRIES - 1
    for number, slept in enumerate(server.slept, 1):
        assert 0.7 * 0.1 * 2**number <= slept <= 1.3 * 0.1 * 2**number


@pytest.mark.parametrize("seconds", [0.5, 2.0, 5.0, 16.0])
@pytest.mark.parametrize("script", [Broken("no connection", sent=False), answer(429, **{"retry-after": "10"}), answer(503)])
def test_the_deadline_is_kept(script: Answer | Exception, seconds: float) -> None:
    server = Server(script, seconds=seconds, each=0.4)
    started = server.now
    with pytest.raises(errors.OperationError):
        server.transport.send(request(Effect.READ))
    # a try is never given more than what is left, except the tenth of a second that any try needs
    assert server.now - started <= seconds + 0.4 + 0.1
    assert all(timeout <= LONGEST_TRY for timeout in server.timeouts)


def test_the_deadline_message_says_what_was_seen_last() -> None:
    server = Server(answer(429, **{"retry-after": "10"}), seconds=3)
    with pytest.raises(errors.DeadlineOver, match=r"deadline of 3 s was over .* last seen: it said 429"):
        server.transport.send(request(Effect.WRITE))
    assert server.slept == [3.0]
    assert server.record.written == []


def test_nothing_is_sent_after_the_deadline() -> None:
    server = Server(OK, seconds=1)
    server.now += 2
    with pytest.raises(errors.DeadlineOver, match=r"the deadline of 1 s was over before an answer came\."):
        server.transport.send(request(Effect.WRITE))
    assert server.asked == []
    assert server.record.written == []


def test_a_repeatable_write_that_the_deadline_cuts_short_is_lost_and_recorded() -> None:
    server = Server(Broken("hung", sent=True), seconds=15, each=15)
    asked = request(Effect.WRITE, repeatable=True)
    with pytest.raises(errors.AnswerLost, match="hung"):
        server.transport.send(asked)
    assert server.record.written == [asked]


def test_one_try_gets_at_most_its_share_of_the_deadline() -> None:
    for seconds, expected in ((3.0, 3.0), (100.0, LONGEST_TRY)):
        server = Server(OK, seconds=seconds)
        server.transport.send(request(Effect.READ))
        assert server.timeouts == [expected]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_end_from_outside_passes_and_leaves_the_write_in_the_record(stop: type[BaseException]) -> None:
    server = Server(OK)

    def exchange(_request: Request, _timeout: float) -> Answer:
        raise stop

    server.transport.exchange = exchange
    with pytest.raises(stop):
        server.transport.send(request(Effect.WRITE, repeatable=True))
    assert len(server.record.written) == 1


def test_two_equal_writes_are_two_entries_and_a_refused_third_takes_none_of_them_away() -> None:
    server = Server(OK, OK, answer(409))
    asked = request(Effect.WRITE)
    for _number in range(2):
        server.transport.send(asked)
    with pytest.raises(errors.Conflict):
        server.transport.send(asked)
    assert server.record.written == [asked, asked]
    assert server.record.counts[Effect.WRITE] == 3


def test_a_request_is_shown_without_body_and_query() -> None:
    secret: Any = {"data": {"key": "canary-value"}}
    shown = Request("PATCH", "/api/v1/x", "change", "Secret x", Effect.WRITE, query={"token": "canary-query"}, body=secret).shown()
    assert shown == {"method": "PATCH", "path": "/api/v1/x"}
