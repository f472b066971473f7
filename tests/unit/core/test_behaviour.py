# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read, plan, apply, prove: what is done again, what never is, and what a person is told in each case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import (
    REPLANS,
    Context,
    Definition,
    Plan,
    Step,
    ensure,
    perform,
    secrets_of,
)
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import AnswerLost, Conflict, Forbidden, NotProven, OperationError
from ansible_collections.serverops.circleci.plugins.module_utils._core.secret import MASK
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Answer, Broken, Effect, Request, Transport


@dataclass
class Server:
    """Things by name. Each write first takes the next fault: a status, "lost" (it takes effect), or "cut" (it does not)."""

    things: dict[str, Any] = field(default_factory=dict)
    faults: list[Any] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    meanwhile: list[Any] = field(default_factory=list)

    def __call__(self, request: Request, _timeout: float) -> Answer:
        self.asked.append(f"{request.method} {request.path}")
        if request.effect is Effect.READ:
            return Answer(200, {}, b"")
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            if self.meanwhile:
                self.things.update(self.meanwhile.pop(0))
            return Answer(fault, {}, b"")
        if fault == "cut":
            raise Broken("cut on the way", sent=True)
        self.things[request.path] = request.body
        if fault == "lost":
            raise Broken("cut on the way back", sent=True)
        return Answer(200, {}, b"")


@dataclass
class Things:
    """Wants things at paths; POST makes one that is not there, PATCH changes one."""

    wanted: Mapping[str, Any]
    server: Server
    context: Context
    repeatable: bool = False
    reads: int = 0
    proofs: list[Plan] = field(default_factory=list)
    proof: Exception | None = None

    def __post_init__(self) -> None:
        self.transport = Transport(
            self.server, self.context.guard(), Deadline(60, sleep=lambda seconds: None), lambda request, answer: ("no", ""), self.context.record
        )

    def read(self) -> dict[str, Any]:
        self.reads += 1
        self.transport.send(Request("GET", "/", "read", "things"))
        return dict(self.server.things)

    def plan(self, observed: dict[str, Any]) -> Plan:
        steps = tuple(
            Step(
                Request("PATCH" if path in observed else "POST", path, "set", path, Effect.WRITE, body=value, repeatable=self.repeatable),
                "it differs",
            )
            for path, value in self.wanted.items()
            if observed.get(path) != value
        )
        return Plan(
            steps, dict(observed), {**observed, **self.wanted}, tuple(f"{path} was {observed[path]}" for path in self.wanted if path in observed)
        )

    def apply(self, step: Step) -> None:
        self.transport.send(step.request)

    def prove(self, plan: Plan, observed: dict[str, Any]) -> dict[str, Any]:
        self.proofs.append(plan)
        if self.proof:
            raise self.proof
        return {"things": dict(self.server.things)}

    def predicted(self, plan: Plan, observed: dict[str, Any]) -> dict[str, Any]:
        return {"things": dict(plan.after)}


def written(*entries: str) -> list[dict[str, str]]:
    return [{"method": entry.split()[0], "path": entry.split()[1]} for entry in entries]


def writes(server: Server) -> list[str]:
    return [entry for entry in server.asked if not entry.startswith("GET")]


def test_a_change_is_made_proven_and_told() -> None:
    server, context = Server({"/a": 1}), Context()
    managed = Things({"/a": 2, "/b": 3}, server, context)
    result = ensure(managed, context)
    assert result == {
        "changed": True,
        "diff": {"before": {"/a": 1}, "after": {"/a": 2, "/b": 3}},
        "requests": written("PATCH /a", "POST /b"),
        "things": {"/a": 2, "/b": 3},
    }
    assert context.warnings == ["/a was 1"]
    assert len(managed.proofs) == 1


def test_nothing_to_do_is_proven_too_and_writes_nothing() -> None:
    server, context = Server({"/a": 2}), Context()
    managed = Things({"/a": 2}, server, context)
    result = ensure(managed, context)
    assert (result["changed"], result["requests"]) == (False, [])
    assert result["diff"]["before"] == result["diff"]["after"]
    assert writes(server) == []
    assert len(managed.proofs) == 1


def test_check_mode_predicts_and_sends_no_write() -> None:
    server, context = Server({"/a": 1}), Context(check_mode=True)
    managed = Things({"/a": 2, "/b": 3}, server, context)
    result = ensure(managed, context)
    real_context = Context()
    real = ensure(Things({"/a": 2, "/b": 3}, Server({"/a": 1}), real_context), real_context)
    assert result == real
    assert context.warnings == real_context.warnings
    assert writes(server) == []
    assert managed.proofs == []
    assert context.record.counts[Effect.WRITE] == 0


def test_after_a_conflict_it_looks_and_plans_anew() -> None:
    server, context = Server({"/a": 1}, faults=[409], meanwhile=[{"/a": 7}]), Context()
    managed = Things({"/a": 2}, server, context)
    result = ensure(managed, context)
    assert result["changed"] is True
    assert result["requests"] == written("PATCH /a")
    # nothing was written before, so the difference is the one to what stood there at the write
    assert result["diff"] == {"before": {"/a": 7}, "after": {"/a": 2}}
    assert context.warnings == ["/a was 1", "/a was 7"]
    # at first, after the conflict, and once more after the change
    assert managed.reads == 3


class Lagging(Things):
    """Things of which some looks show an older state: the states by number of look, from 1."""

    older: Mapping[int, dict[str, Any]] = {}

    def read(self) -> dict[str, Any]:
        fresh = super().read()
        return dict(self.older.get(self.reads, fresh))


@pytest.mark.parametrize(("look", "older"), [(1, {"/a": 2}), (1, {"/a": 9}), (2, {"/a": 1}), (2, {"/a": 2})])
def test_one_look_at_an_older_state_is_not_believed(look: int, older: dict[str, Any]) -> None:
    server, context = Server({"/a": 1}), Context()
    managed = Lagging({"/a": 2}, server, context)
    managed.older = {look: older}
    result = ensure(managed, context)
    assert server.things == {"/a": 2}
    assert result["changed"] is True
    assert result["requests"]


def test_one_look_at_an_older_state_after_a_conflict_is_not_believed() -> None:
    server, context = Server({"/a": 1}, faults=[409], meanwhile=[{"/a": 7}]), Context()
    managed = Lagging({"/a": 2}, server, context)
    managed.older = {2: {"/a": 2}}
    result = ensure(managed, context)
    assert server.things == {"/a": 2}
    assert result["requests"] == written("PATCH /a")


def test_what_is_undone_again_and_again_is_an_error() -> None:
    server, context = Server({"/a": 1}), Context()
    managed = Lagging({"/a": 2}, server, context)
    managed.older = {look: {"/a": 1} for look in range(1, 20)}
    with pytest.raises(NotProven, match="set /a: it was done, and has to be done again"):
        ensure(managed, context)
    assert len(writes(server)) == REPLANS
    assert managed.proofs == []


def test_somebody_else_did_the_same_in_between() -> None:
    server, context = Server({"/a": 1}, faults=[409], meanwhile=[{"/a": 2}]), Context()
    result = ensure(Things({"/a": 2}, server, context), context)
    assert result["changed"] is False
    assert result["requests"] == []
    assert result["diff"]["before"] == result["diff"]["after"]


def test_the_diff_begins_before_the_first_write() -> None:
    server, context = Server({"/a": 1, "/b": 1}, faults=[None, 409]), Context()
    result = ensure(Things({"/a": 2, "/b": 2}, server, context), context)
    assert result["diff"] == {"before": {"/a": 1, "/b": 1}, "after": {"/a": 2, "/b": 2}}
    assert result["requests"] == written("PATCH /a", "PATCH /b")


def test_conflicts_without_end_are_an_error() -> None:
    server, context = Server({"/a": 1}, faults=[409] * 50), Context()
    managed = Things({"/a": 2}, server, context)
    with pytest.raises(Conflict):
        ensure(managed, context)
    assert len(writes(server)) == REPLANS
    assert context.record.written == []
    assert managed.proofs == []


def test_a_lost_change_that_took_effect_is_looked_up_and_not_sent_again() -> None:
    server, context = Server({"/a": 1}, faults=["lost"]), Context()
    managed = Things({"/a": 2}, server, context)
    result = ensure(managed, context)
    assert result["changed"] is True
    assert result["requests"] == written("PATCH /a")
    assert writes(server) == ["PATCH /a"]
    assert result["diff"]["before"] == {"/a": 1}
    assert len(managed.proofs) == 1


def test_a_lost_change_that_took_no_effect_is_planned_anew() -> None:
    server, context = Server({"/a": 1}, faults=["cut"]), Context()
    result = ensure(Things({"/a": 2}, server, context), context)
    assert writes(server) == ["PATCH /a", "PATCH /a"]
    assert server.things == {"/a": 2}
    assert result["changed"] is True


def test_a_lost_change_does_not_keep_another_thing_from_being_made() -> None:
    server, context = Server({"/a": 1}, faults=["lost"]), Context()
    ensure(Things({"/a": 2, "/b": 3}, server, context), context)
    assert writes(server) == ["PATCH /a", "POST /b"]


def test_a_lost_creation_is_never_sent_again() -> None:
    server, context = Server({}, faults=["cut"]), Context()
    managed = Things({"/b": 3}, server, context)
    with pytest.raises(AnswerLost):
        ensure(managed, context)
    assert writes(server) == ["POST /b"]
    assert [request.path for request in context.record.written] == ["/b"]
    assert managed.proofs == []


def test_a_lost_creation_that_took_effect_is_found() -> None:
    server, context = Server({}, faults=["lost"]), Context()
    result = ensure(Things({"/b": 3}, server, context), context)
    assert writes(server) == ["POST /b"]
    assert result["requests"] == written("POST /b")


def test_answers_lost_without_end_are_an_error() -> None:
    server, context = Server({"/a": 1}, faults=["cut"] * 50), Context()
    with pytest.raises(AnswerLost):
        ensure(Things({"/a": 2}, server, context), context)
    assert len(writes(server)) == REPLANS


@pytest.mark.parametrize("fault", [403, 422])
def test_a_refusal_is_not_planned_anew(fault: int) -> None:
    server, context = Server({"/a": 1}, faults=[fault]), Context()
    managed = Things({"/a": 2}, server, context)
    with pytest.raises(OperationError):
        ensure(managed, context)
    assert managed.reads == 1


# perform: what a person gets

ARGUMENTS: dict[str, Any] = {
    "token": {"type": "str", "no_log": True},
    "plain": {"type": "str"},
    "nested": {"type": "dict", "options": {"key": {"type": "str", "no_log": True}, "name": {"type": "str"}}},
    "items": {"type": "list", "elements": "dict", "options": {"key": {"type": "str", "no_log": True}}},
    "bag": {"type": "dict", "no_log": True},
}


def define(behaviour: Any, **rest: Any) -> Definition:
    return Definition("demo_module", ARGUMENTS, behaviour, **rest)


def test_secrets_of_finds_every_option_that_is_not_logged() -> None:
    options = {
        "token": "one",
        "plain": "seen",
        "nested": {"key": "two", "name": "seen"},
        "items": [{"key": "three"}, {"key": None}, "no mapping"],
        "bag": {"a": ["four", {"b": 5}], "c": True, "d": None},
    }
    assert secrets_of(options, ARGUMENTS) == ["one", "two", "three", "four", "5"]
    assert secrets_of({}, ARGUMENTS) == []
    assert secrets_of({"nested": "a text", "items": None}, ARGUMENTS) == []


def test_a_failure_after_a_write_says_changed_and_lists_it() -> None:
    def behave(_options: Mapping[str, Any], context: Context) -> dict[str, Any]:
        managed = Things({"/a": 2, "/b": 1}, Server({"/a": 1}), context)
        managed.proof = NotProven("prove", "Thing x", "it is not in force", "Look")
        return ensure(managed, context)

    assert perform(define(behave), {}, Context()) == {
        "failed": True,
        "changed": True,
        "msg": "prove Thing x: it is not in force. Look.",
        "requests": written("PATCH /a", "POST /b"),
    }


@pytest.mark.parametrize(
    ("faults", "changed", "listed"), [([403], False, []), ([None, 403], True, written("POST /a")), (["cut"], True, written("POST /a"))]
)
def test_a_failure_lists_what_was_written_before_it_and_what_was_lost(faults: list[Any], changed: bool, listed: list[dict[str, str]]) -> None:
    result = perform(define(lambda options, context: ensure(Things({"/a": 2, "/b": 1}, Server({}, faults), context), context)), {}, Context())
    assert (result["failed"], result["changed"], result["requests"]) == (True, changed, listed)


def test_an_unexpected_exception_is_one_sentence_without_a_traceback() -> None:
    def behave(_options: Mapping[str, Any], _context: Context) -> dict[str, Any]:
        raise ZeroDivisionError("division by canary-value")

    result = perform(define(behave), {"token": "canary-value"}, Context())
    assert result == {
        "failed": True,
        "changed": False,
        "msg": f"demo_module: unexpected ZeroDivisionError: division by {MASK}. Please report this as a defect",
        "requests": [],
    }
    assert "Traceback" not in result["msg"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit, type("TaskTimeout", (BaseException,), {})])
def test_an_end_from_outside_passes_through(stop: type[BaseException]) -> None:
    def behave(_options: Mapping[str, Any], _context: Context) -> dict[str, Any]:
        raise stop

    with pytest.raises(stop):
        perform(define(behave), {}, Context())


def test_results_warnings_and_failures_are_masked() -> None:
    def behave(_options: Mapping[str, Any], context: Context) -> dict[str, Any]:
        context.warn("seen canary-value")
        context.mask.add("learned-later")
        return {"changed": True, "thing": {"a": ["canary-value", "learned-later", {"canary-value": 1}]}}

    context = Context()
    result = perform(define(behave), {"nested": {"key": "canary-value"}}, context)
    assert result == {"changed": True, "thing": {"a": [MASK, MASK, {MASK: 1}]}}
    assert context.warnings == [f"seen {MASK}"]

    def fail(_options: Mapping[str, Any], _context: Context) -> dict[str, Any]:
        raise Forbidden("read", "Thing canary-value", "it says canary-value", "Use canary-value")

    assert "canary" not in str(perform(define(fail), {"token": "canary-value"}, Context()))


def test_secrets_inside_other_options_are_masked_by_the_definition() -> None:
    definition = define(
        lambda options, context: {"changed": False, "text": options["plain"]}, secrets=lambda options: [options["plain"].split(":")[1]]
    )
    assert perform(definition, {"plain": "user:canary-value"}, Context())["text"] == f"user:{MASK}"


@pytest.mark.parametrize("secret", ["failed", "a", "e", "msg", "changed", "requests"])
def test_a_secret_that_is_an_ordinary_word_hides_no_failure(secret: str) -> None:
    def fail(_options: Mapping[str, Any], _context: Context) -> dict[str, Any]:
        raise NotProven("prove", "Thing x", "it is not in force")

    result = perform(define(fail), {"token": secret}, Context())
    assert result["failed"] is True
    assert set(result) == {"failed", "changed", "msg", "requests"}


def test_a_warning_is_told_once() -> None:
    context = Context()
    context.warn("one")
    context.warn("one")
    context.warn("two")
    assert context.warnings == ["one", "two"]
