# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read, plan, apply, prove: the four steps of every managed thing, always in this order, and what a person gets told of them.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import AnswerLost, Conflict, NotProven, OperationError
from ansible_collections.serverops.circleci.plugins.module_utils._core.secret import Mask
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Guard, Record, Request

REPLANS = 3
"""How often a task reads and plans anew when somebody else changed the object between its read and its write."""


@dataclass(frozen=True)
class Finished:
    """A program that has ended: its exit status and what it printed."""

    status: int
    output: str
    errors: str


RunProgram = Callable[[Sequence[str], float], Finished]
"""Run a program (no shell) for at most so many seconds. OSError when it cannot be started, TimeoutError when it was ended for its time."""


def _no_programs(argv: Sequence[str], seconds: float) -> Finished:
    raise OSError(f"{argv[0]} cannot be run here within {seconds:g} s: this task was given no way to run programs")


@dataclass
class Context:
    """What a task is given besides its options, in the same form for both ways to run.

    progress takes one line for a person and is silent where nobody can see it; warnings is appended to. run_program: the only way to
    start a program, since modules and actions have different ones.
    """

    check_mode: bool = False
    mask: Mask = field(default_factory=Mask)
    progress: Callable[[str], None] = lambda text: None
    parent_alive: Callable[[], bool] = lambda: True
    warnings: list[str] = field(default_factory=list)
    record: Record = field(default_factory=Record)
    run_program: RunProgram = _no_programs

    def guard(self) -> Guard:
        """Return what may stop a write of this task."""
        return Guard(self.check_mode, self.parent_alive)

    def warn(self, text: str) -> None:
        """Add a warning, once."""
        if text not in self.warnings:
            self.warnings.append(text)


@dataclass(frozen=True)
class Step:
    """One write of a plan and the reason for it."""

    request: Request
    reason: str


@dataclass(frozen=True)
class Plan:
    """What would be done: steps in order, the two sides of the diff, warnings. Data only, made without I/O."""

    steps: tuple[Step, ...] = ()
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Tell whether there is anything to do."""
        return bool(self.steps)


Observed = TypeVar("Observed")


class Managed(Protocol, Generic[Observed]):
    """A managed thing. `plan` is pure; `apply` sends what the plan says; `prove` looks again and raises NotProven or DeadlineOver."""

    def read(self) -> Observed:
        """Return what exists, normalised."""

    def plan(self, observed: Observed) -> Plan:
        """Return what has to be done, without I/O."""

    def apply(self, step: Step) -> None:
        """Send one step of the plan."""

    def prove(self, plan: Plan, observed: Observed) -> dict[str, Any]:
        """Return the result's own part (the object under its noun, `waited`) once the effect is seen to be in force."""

    def predicted(self, plan: Plan, observed: Observed) -> dict[str, Any]:
        """Return the result's own part for check mode, from the plan alone."""


def ensure(managed: Managed[Observed], context: Context) -> dict[str, Any]:
    """Carry a managed thing through its steps and return the task's result."""
    observed = managed.read()
    plan = managed.plan(observed)
    first = plan
    for warning in plan.warnings:
        context.warn(warning)
    if context.check_mode:
        own = managed.predicted(plan, observed)
        return _result(first, plan.changed, [step.request.shown() for step in plan.steps], own)
    for left in reversed(range(REPLANS)):
        error: OperationError | None = None
        try:
            for step in plan.steps:
                managed.apply(step)
        except (Conflict, AnswerLost) as caught:
            # somebody else was first, or a change may have arrived
            error = caught
        # one look is not enough, also after a success: it may have been answered by a server that lags behind
        seen = managed.read()
        then = managed.plan(seen)
        if error is None and not then.changed:
            observed = observed if plan.changed else seen
            break
        observed, plan = seen, then
        if not context.record.written:
            # nothing is done yet, so the difference to tell is the one to what is there now
            first = plan
        for warning in plan.warnings:
            context.warn(warning)
        if error is not None and plan.changed and (not left or (isinstance(error, AnswerLost) and not _may_go_on(plan, context.record))):
            raise error
        if plan.changed and not left:
            step = plan.steps[0]
            raise NotProven(
                step.request.operation, step.request.target, f"it was done, and has to be done again ({step.reason})", "Look who else changes it"
            )
    own = managed.prove(plan, observed)
    written = [request.shown() for request in context.record.written]
    return _result(first, bool(written), written, own)


def _may_go_on(plan: Plan, record: Record) -> bool:
    """Tell whether what is left of a plan may be sent after an answer was lost: not when it would make something a second time."""
    made = {request.path for request in record.written if request.method == "POST"}
    return all(step.request.method != "POST" or step.request.path not in made for step in plan.steps)


def _result(plan: Plan, changed: bool, requests: list[dict[str, str]], own: Mapping[str, Any]) -> dict[str, Any]:
    return {"changed": changed, "diff": {"before": plan.before, "after": plan.after}, "requests": requests, **own}


Behaviour = Callable[[Mapping[str, Any], Context], dict[str, Any]]
"""Options as validated, and the context, to a result; raises OperationError."""


@dataclass(frozen=True)
class Definition:
    """A module as data: its name, argument spec, the constraints between its options, and what it does.

    secrets: finds what is secret in options that are not no_log as a whole (a password in a URL, a key in an inline file).
    """

    name: str
    arguments: Mapping[str, Any]
    behaviour: Behaviour
    constraints: Mapping[str, Any] = field(default_factory=dict)
    secrets: Callable[[Mapping[str, Any]], Iterable[str]] = lambda options: ()

    def secrets_of(self, options: Mapping[str, Any]) -> list[str]:
        """Return everything in the options, validated or raw, that must not be printed."""
        return [*secrets_of(options, self.arguments), *self.secrets(options)]


def secrets_of(options: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """Return the values of all options marked no_log, those of sub-options included."""
    found: list[str] = []
    for name, spec in arguments.items():
        value = options.get(name)
        if value is None:
            continue
        if spec.get("no_log") is True:
            found.extend(_leaves(value))
        elif spec.get("options"):
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, Mapping):
                    found.extend(secrets_of(item, spec["options"]))
    return found


def _leaves(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in _leaves(item)]
    return [] if value is None or isinstance(value, bool) else [str(value)]


def perform(definition: Definition, options: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Run a module's behaviour and return its result, masked. Failures become one sentence; BaseException passes through."""
    context.mask.add(*definition.secrets_of(options))
    try:
        result = definition.behaviour(options, context)
    except OperationError as error:
        result = _failure(str(error), context)
    except Exception as error:  # pylint: disable=broad-exception-caught  # noqa: BLE001  the last resort: a defect of ours is told without a traceback
        result = _failure(f"{definition.name}: unexpected {type(error).__name__}: {error}. Please report this as a defect", context)
    # the names at the top are the contract with Ansible: a secret that happens to be part of "failed" must not hide a failure
    masked: dict[str, Any] = {name: context.mask.value(value) for name, value in result.items()}
    context.warnings[:] = [context.mask.text(warning) for warning in context.warnings]
    return masked


def _failure(text: str, context: Context) -> dict[str, Any]:
    written = [request.shown() for request in context.record.written]
    return {"failed": True, "changed": bool(written), "msg": text, "requests": written}
