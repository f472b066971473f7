# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts: when a workload runs as written, what is wrong with a pod, and when the same trouble is lasting."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._velero import rollout


def pod(name: str, created: str = "2026-11-21T12:00:00Z", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": name, "generateName": "velero-x-", "creationTimestamp": created},
        "spec": {"nodeName": "n1"},
        "status": status,
    }


def waiting(reason: str, message: str = "", last: int = 0) -> dict[str, Any]:
    status: dict[str, Any] = {"name": "velero", "state": {"waiting": {"reason": reason, "message": message}}, "restartCount": 1}
    if last:
        status["lastState"] = {"terminated": {"exitCode": last, "reason": "Error"}}
    return status


READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        ({"containerStatuses": [waiting("ErrImagePull", "not found")]}, rollout.IMAGE, "not found"),
        ({"initContainerStatuses": [waiting("ImagePullBackOff", "Back-off")]}, rollout.IMAGE, "Back-off"),
        ({"containerStatuses": [waiting("CrashLoopBackOff", "back-off", last=1)]}, rollout.CRASH, "exit code 1"),
        ({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}, rollout.NODE, "0/1 nodes"),
        ({"containerStatuses": [waiting("CreateContainerConfigError", "secret not found")]}, rollout.OTHER, "secret not found"),
        ({"containerStatuses": [waiting("ContainerCreating")], "phase": "Pending"}, "", "Pending"),
    ],
)
def test_trouble_has_a_kind(status: dict[str, Any], kind: str, words: str):
    trouble = rollout.trouble_of([pod("a", **status)])
    assert trouble is not None
    assert trouble.kind == kind
    assert words in trouble.text


def test_a_pod_that_started_again_after_an_error_is_in_trouble_though_it_is_ready():
    running = {"name": "velero", "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 2}}}
    trouble = rollout.trouble_of([pod("a", **READY, containerStatuses=[running])])
    assert trouble is not None
    assert (trouble.kind, trouble.container) == (rollout.CRASH, "velero")
    assert rollout.trouble_of([pod("a", **READY)]) is None


def test_pods_on_their_way_out_do_not_count():
    leaving = pod("a", containerStatuses=[waiting("ErrImagePull")])
    leaving["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    assert rollout.trouble_of([leaving]) is None
    order = rollout.newest([pod("b", "2026-11-21T12:00:02Z"), leaving, pod("c", "2026-11-21T12:00:01Z")])
    assert [item["metadata"]["name"] for item in order] == ["c", "b"]


def test_only_lasting_trouble_is_told():
    now = [0.0]
    patience = rollout.Patience(30, lambda: now[0])
    image = rollout.trouble_of([pod("a", containerStatuses=[waiting("ErrImagePull", "no such image")])])
    backing_off = rollout.trouble_of([pod("a", containerStatuses=[waiting("ImagePullBackOff", "no such image")])])
    patience.look(image, "prove", "Deployment velero/velero")
    now[0] = 29.0
    patience.look(backing_off, "prove", "Deployment velero/velero")
    now[0] = 30.0
    with pytest.raises(NotProven, match="no such image") as told:
        patience.look(image, "prove", "Deployment velero/velero")
    assert "Correct image" in told.value.next_step
    now[0] = 31.0
    patience.look(None, "prove", "Deployment velero/velero")
    now[0] = 40.0
    patience.look(image, "prove", "Deployment velero/velero")
    now[0] = 69.0
    patience.look(image, "prove", "Deployment velero/velero")


def test_last_words_are_asked_for_only_when_needed_and_masked():
    now = [0.0]
    patience = rollout.Patience(10, lambda: now[0])
    crash = rollout.trouble_of([pod("a", containerStatuses=[waiting("CrashLoopBackOff", "", last=1)])])
    asked: list[int] = []

    def more() -> str:
        asked.append(1)
        return "the password is hidden-secret"

    for moment in (0.0, 5.0):
        now[0] = moment
        patience.look(crash, "prove", "x", more=more)
    assert asked == []
    now[0] = 10.0
    with pytest.raises(NotProven, match=r"last words: the password is \*"):
        patience.look(crash, "prove", "x", lambda text: text.replace("hidden-secret", "***"), more)


@pytest.mark.parametrize(
    ("status", "done"),
    [
        ({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}, True),
        ({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}, False),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 1}, False),
        ({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1}, False),
        ({}, False),
    ],
)
def test_when_a_deployment_runs_as_written(status: dict[str, Any], done: bool):
    deployment = {"metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": status}
    assert (rollout.deployment_state(deployment) == "") is done


def test_pods_that_are_refused_are_told():
    condition = {"type": "ReplicaFailure", "reason": "FailedCreate", "message": "violates PodSecurity", "lastUpdateTime": "2026-11-21T12:00:05Z"}
    deployment = {"metadata": {"name": "velero"}, "spec": {}, "status": {"conditions": [condition]}}

    def told(second: int, pods: list[dict[str, Any]]) -> rollout.Trouble | None:
        since = datetime(2026, 11, 21, 12, 0, second, tzinfo=UTC)
        return rollout._refused(None, deployment, resource.DEPLOYMENT, "velero", pods, since)  # type: ignore[arg-type]

    new, old = told(4, []), told(6, [])
    assert new is not None
    assert old is not None
    assert (new.kind, old.kind) == (rollout.REFUSED, ""), "what was told before may be over"
    assert "violates PodSecurity" in new.text
    assert told(4, [pod("a")]) is None


def test_a_deployment_that_is_scaled_down_is_told():
    assert "scaled to 0" in rollout.deployment_state({"metadata": {"generation": 1}, "spec": {"replicas": 0}})


@pytest.mark.parametrize(
    ("status", "done"),
    [
        ({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberReady": 2}, True),
        ({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberReady": 1}, False),
        ({"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberReady": 2}, False),
        ({"observedGeneration": 2, "desiredNumberScheduled": 0}, True),
    ],
)
def test_when_a_daemon_set_runs_as_written(status: dict[str, Any], done: bool):
    assert (rollout.daemon_set_state({"metadata": {"generation": 2}, "spec": {}, "status": status}) == "") is done
