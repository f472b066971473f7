# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore's plan, and its wait on a made-up clock: joined, refused, orphaned by an old server, left by a silent one, gone with its backup."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Plan
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import DeadlineOver, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    restore,
    restore_guards,
    restore_options,
    restore_outcome,
    restore_wait,
    server,
    unfinished,
    validation,
)

Document = dict[str, Any]
NOW = validation.parse_time("2026-11-28T12:00:00Z")
GOOD = restore_guards.Situation(
    backup={"metadata": {"name": "b"}, "spec": {"includedNamespaces": ["app"]}, "status": {"phase": "Completed"}},
    location={"status": {"phase": "Available"}},
)


def options(**over: Any) -> Document:
    """Return options as the module gets them."""
    given = {"name": "r", "backup_name": "b", **over}
    checked = ArgumentSpecValidator(dict(restore_options.ARGUMENTS)).validate({name: value for name, value in given.items() if value is not None})
    assert not checked.error_messages
    result: Document = checked.validated_parameters
    return result


def managed(given: Document, *, check: bool = False) -> restore.Restore:
    """Return a restore that is not connected to anything."""
    return restore.Restore(given, SimpleNamespace(server_time=lambda: NOW), Context(check_mode=check))  # type: ignore[arg-type]


def planned(given: Document, *, check: bool = False, **observed: Any) -> Plan:
    """Return the plan for options and what there is."""
    return managed(given, check=check).plan(restore.Observed(**{"backup_name": "b", **observed}))


def live(phase: str = "Completed", **over: Any) -> Document:
    """Return a restore that exists."""
    metadata = {"name": "r", "namespace": "velero", "uid": "u", **over.pop("metadata", {})}
    return {"kind": "Restore", "metadata": metadata, "spec": {"backupName": "b", **over.pop("spec", {})}, "status": {"phase": phase, **over}}


def test_made() -> None:
    plan = planned(options(labels={"a": 1}, namespace_mapping={"app": "drill"}), situation=GOOD)
    (step,) = plan.steps
    assert step.request.body == {
        "apiVersion": "velero.io/v1",
        "kind": "Restore",
        "metadata": {"name": "r", "labels": {"a": "1"}},
        "spec": {"backupName": "b", "namespaceMapping": {"app": "drill"}},
    }
    assert plan.after == {"restore": {"name": "r", "backup_name": "b", "namespace_mapping": {"app": "drill"}, "labels": {"a": "1"}}}


def test_of_a_schedule_is_marked() -> None:
    plan = planned(options(backup_name=None, schedule_name="nightly"), backup_name="nightly-1", situation=GOOD)
    assert plan.steps[0].request.body["metadata"]["annotations"] == {restore_options.SCHEDULE: "nightly"}
    assert plan.steps[0].request.body["spec"]["backupName"] == "nightly-1"


@pytest.mark.parametrize("phase", ["", "New", "InProgress", "Finalizing", "WaitingForPluginOperationsPartiallyFailed", "Completed"])
def test_one_that_runs_or_is_good_is_left_alone(phase: str) -> None:
    plan = planned(options(), restore=live(phase))
    assert plan.steps == ()
    assert plan.before == plan.after


@pytest.mark.parametrize("phase", ["PartiallyFailed", "Failed", "FailedValidation"])
def test_one_that_failed_before_is_told(phase: str) -> None:
    with pytest.raises(NotProven) as caught:
        planned(options(), restore=live(phase, failureReason="no store", validationErrors=["no backup"]))
    assert "made before and is not good" in caught.value.seen
    assert "no store" in caught.value.seen
    assert "state absent" in caught.value.next_step


def test_one_that_this_task_made_is_judged_by_the_proof() -> None:
    mine = managed(options())
    mine.made = True
    assert mine.plan(restore.Observed(restore=live("Failed"), backup_name="b")).steps == ()


def test_another_one_of_the_same_name_is_refused() -> None:
    with pytest.raises(NotProven, match="differs in namespace_mapping"):
        planned(options(), restore=live("InProgress", spec={"namespaceMapping": {"app": "drill"}}))


def test_one_in_deletion_is_refused() -> None:
    with pytest.raises(NotProven, match="it is being deleted"):
        planned(options(), restore=live(metadata={"deletionTimestamp": "x"}))


@pytest.mark.parametrize(
    ("observed", "told"),
    [
        ({"installed": False}, "not installed"),
        ({"namespace_exists": False}, "namespace velero does not exist"),
        ({"situation": restore_guards.Situation()}, "there is no Backup"),
    ],
)
def test_what_an_earlier_task_would_make_is_told_in_check_mode(observed: Document, told: str) -> None:
    with pytest.raises(NotProven, match=told):
        planned(options(), **observed)
    plan = planned(options(), check=True, **observed)
    assert plan.changed
    assert told in plan.warnings[0]


def test_removed() -> None:
    (step,) = planned(options(state="absent"), restore=live()).steps
    assert (step.request.method, step.request.body["preconditions"]) == ("DELETE", {"uid": "u"})
    assert planned(options(state="absent")).steps == ()
    assert planned(options(state="absent"), restore=live(metadata={"deletionTimestamp": "x"})).steps == ()


def test_what_runs_is_not_removed_and_what_is_orphaned_is() -> None:
    with pytest.raises(NotProven, match="Velero still works on it"):
        planned(options(state="absent"), restore=live("InProgress"), work=unfinished.Work(running=("Restore r (InProgress)",)))
    plan = planned(options(state="absent"), restore=live("InProgress"), work=unfinished.Work(orphans=("Restore r (InProgress)",)))
    assert plan.changed
    assert "nobody works on it any more" in plan.warnings[0]


def test_a_finalizer_without_a_server_is_told_before() -> None:
    held = live(metadata={"finalizers": [restore.FINALIZER]})
    with pytest.raises(NotProven, match="only it takes the finalizer"):
        planned(options(state="absent"), restore=held, server_trouble="it is silent")
    assert planned(options(state="absent"), restore=live(), server_trouble="it is silent").changed


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ("found a restore with status InProgress during the server starting", "started anew"),
        ("NoSuchKey: the key does not exist", "The store lacks"),
        ("dial tcp: connection refused", "did not answer"),
        ("2 errors; volumes not restored: app/web-0:data Failed", "node agent"),
        ("anything", "log of the restore"),
    ],
)
def test_next_step(seen: str, told: str) -> None:
    assert told in restore.next_step(seen)


# the wait


class Turns:
    """A restore that is seen in turns, a second apart, with its volumes, an answer of the server, and pods."""

    def __init__(self, *seen: Document | None, seconds: float = 600) -> None:
        self.seen = seen
        self.now = 0.0
        self.volumes: list[Document] = []
        self.answer: tuple[str | None, list[Document]] | None = ("v1.17.2", [])
        self.pods: dict[str, list[Document]] = {}
        self.restores: list[Document] = []
        self.deadline = Deadline(seconds, lambda: self.now, self.sleep)
        self.asked = 0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def snapshots(self, *_unused: Any, **_more: Any) -> Iterator[Document | None]:
        turn = 0
        while not self.deadline.over:
            yield self.seen[min(turn, len(self.seen) - 1)]
            turn += 1
            self.now += 1

    def ask_once(self, *_unused: Any) -> Any:
        self.asked += 1
        return self.answer

    def list(self, kind: resource.Resource, _namespace: str = "", *, label_selector: str = "") -> Any:
        return SimpleNamespace(items=self.restores if kind is resource.RESTORE else self.pods.get(label_selector, []))

    def get(self, *_unused: Any) -> Document:
        return pod("web-0", "2026-11-28T12:00:10Z")

    def wait(self, monkeypatch: pytest.MonkeyPatch, expected: int = 0) -> tuple[restore_wait.RestoreWait, list[str]]:
        """Return the wait over these turns, and the lines that it tells."""
        monkeypatch.setattr(restore_wait, "snapshots", self.snapshots)
        monkeypatch.setattr(server, "ask_once", self.ask_once)
        monkeypatch.setattr(restore_outcome, "read_volumes", lambda *_unused: self.volumes)
        lines: list[str] = []
        api = SimpleNamespace(transport=SimpleNamespace(deadline=self.deadline), list=self.list, get=self.get)
        return restore_wait.RestoreWait(api, "velero", "r", "Restore velero/r", lines.append, expected), lines  # type: ignore[arg-type]


def pod(name: str, started: str, node: str = "n1") -> Document:
    """Return a pod whose container was started at a time."""
    ready = {"type": "Ready", "status": "True"}
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": node},
        "status": {"conditions": [ready], "containerStatuses": [{"name": "c", "state": {"running": {"startedAt": started}}}]},
    }


RUNNING = live("InProgress", startTimestamp="2026-11-28T12:00:00Z")


@pytest.mark.parametrize("phase", ["Completed", "PartiallyFailed", "Failed", "FailedValidation"])
def test_every_end_is_an_end(monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    waiting, lines = Turns(live("New"), RUNNING, RUNNING, live(phase)).wait(monkeypatch)
    assert waiting.until_finished().value == phase
    assert len(lines) == 2, "the same state is not told at each look"


def test_a_phase_that_only_sounds_final_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(live("FinalizingPartiallyFailed"), seconds=10)
    with pytest.raises(DeadlineOver, match="phase FinalizingPartiallyFailed"):
        turns.wait(monkeypatch)[0].until_finished()


def test_one_that_vanishes_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(RUNNING, RUNNING, None)
    with pytest.raises(NotProven, match="its backup was, which removes its restores"):
        turns.wait(monkeypatch)[0].until_finished()
    assert turns.now < 5


def test_one_that_is_not_there_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Turns(None, live("Completed")).wait(monkeypatch)[0].until_finished().value == "Completed"


def test_one_that_somebody_deletes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(RUNNING, live("InProgress", metadata={"deletionTimestamp": "x"}))
    with pytest.raises(NotProven, match="somebody deletes it"):
        turns.wait(monkeypatch)[0].until_finished()


def test_a_silent_server_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(RUNNING)
    turns.answer = None
    waiting, lines = turns.wait(monkeypatch)
    with pytest.raises(NotProven, match="has not answered for"):
        waiting.until_finished()
    assert restore_wait.SILENT_AT_MOST <= turns.now < restore_wait.SILENT_AT_MOST + 2 * restore_wait.LOOK_AFTER
    assert any("does not answer" in line for line in lines)


def test_a_server_that_answers_is_waited_for_to_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(RUNNING, seconds=100)
    with pytest.raises(DeadlineOver, match="phase InProgress"):
        turns.wait(monkeypatch)[0].until_finished()
    assert 3 <= turns.asked <= 5


def test_an_old_server_that_was_started_anew_has_forgotten_it(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(RUNNING)
    turns.answer = ("v1.8.1", [])
    turns.pods = {"deploy=velero": [pod("velero-1", "2026-11-28T12:00:30Z")]}
    with pytest.raises(NotProven, match="never ends what it had begun before"):
        turns.wait(monkeypatch)[0].until_finished()
    assert turns.now < 30


def test_an_old_server_that_runs_since_before_works_on(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(*[RUNNING] * 60, live("Completed"))
    turns.answer = ("v1.8.1", [])
    turns.pods = {"deploy=velero": [pod("velero-1", "2026-11-28T11:00:00Z")], "name=restic": [pod("restic-1", "2026-11-28T11:00:00Z")]}
    assert turns.wait(monkeypatch)[0].until_finished().value == "Completed"


def test_an_old_agent_that_was_started_anew_has_forgotten_its_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(RUNNING)
    turns.answer = ("v1.8.1", [])
    turns.pods = {"deploy=velero": [pod("velero-1", "2026-11-28T11:00:00Z")], "name=restic": [pod("restic-1", "2026-11-28T12:00:30Z")]}
    turns.volumes = [
        {"namespace": "app", "pod": "web-0", "volume": "data", "claim": None, "phase": "InProgress", "bytes": 0, "total": 9, "message": None}
    ]
    turns.pods["name=restic"].append(pod("restic-2", "2026-11-28T11:00:00Z", "n2"))
    with pytest.raises(NotProven, match="never ends what it had begun before: app/web-0:data"):
        turns.wait(monkeypatch)[0].until_finished()


def test_another_nodes_agent_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(*[RUNNING] * 60, live("Completed"))
    turns.answer = ("v1.8.1", [])
    turns.pods = {"name=restic": [pod("restic-1", "2026-11-28T11:00:00Z"), pod("restic-2", "2026-11-28T12:00:30Z", "n2")]}
    turns.volumes = [
        {"namespace": "app", "pod": "web-0", "volume": "data", "claim": None, "phase": "InProgress", "bytes": 0, "total": 9, "message": None}
    ]
    assert turns.wait(monkeypatch)[0].until_finished().value == "Completed"


def test_what_it_waits_behind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(live("New"), seconds=60)
    turns.restores = [live("InProgress", metadata={"name": "other"}), live("Completed", metadata={"name": "done"})]
    waiting, lines = turns.wait(monkeypatch)
    with pytest.raises(DeadlineOver, match="still works on other"):
        waiting.until_finished()
    assert not any("done" in line for line in lines)


def test_a_node_agent_that_does_not_work_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(RUNNING, seconds=60)
    with pytest.raises(DeadlineOver, match="there is no node agent"):
        turns.wait(monkeypatch, expected=1)[0].until_finished()
    broken = Turns(RUNNING, seconds=60)
    broken.pods = {"name=node-agent": [{"metadata": {"name": "node-agent-1"}, "status": {"phase": "Pending"}}]}
    with pytest.raises(DeadlineOver, match="node-agent-1 is NotReady"):
        broken.wait(monkeypatch, expected=1)[0].until_finished()


def test_what_is_not_available_in_time_is_named() -> None:
    turns = Turns(RUNNING, seconds=30)
    claim = {"metadata": {"namespace": "app", "name": "data"}, "spec": {}, "status": {"phase": "Pending"}}
    brought = restore_outcome.Brought("r", (claim,))
    with pytest.raises(NotProven, match="waits for claim app/data is Pending"):
        restore_wait.until_available(lambda: brought, True, turns.deadline, lambda text: None, "Restore velero/r")
    bound = restore_outcome.Brought("r", ({**claim, "status": {"phase": "Bound"}},))
    assert restore_wait.until_available(lambda: bound, True, turns.deadline, lambda text: None, "Restore velero/r").last == "everything is available"


def test_the_end_of_the_time_within_a_look_is_told_with_what_was_seen_last() -> None:
    turns = Turns(RUNNING, seconds=30)
    claim = {"metadata": {"namespace": "app", "name": "data"}, "spec": {}, "status": {"phase": "Pending"}}
    looks = [restore_outcome.Brought("r", (claim,))]

    def look() -> restore_outcome.Brought:
        if not looks:
            raise DeadlineOver("list", "claims", "the deadline of 30 s was over before an answer came")
        return looks.pop()

    with pytest.raises(NotProven, match="last seen: Completed, and waits for claim app/data is Pending"):
        restore_wait.until_available(look, True, turns.deadline, lambda text: None, "Restore velero/r")
