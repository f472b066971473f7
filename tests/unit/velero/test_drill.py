# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill brings up: the newest good backup, the pods of the named sets and no others, or the reasons why not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.serverops.circleci.plugins.filter.drill import FilterModule

from tests.unit.velero import status_samples as samples

Change = Callable[[dict[str, Any]], Any]


def raw() -> dict[str, Any]:
    """Return what the filter is given where nothing stands in the way."""
    return {
        "velero": [samples.velero()],
        "backups": [samples.backup("new", 2), samples.backup("old", 26)],
        "there": [],
        "velero_namespace": "velero",
        "namespace": "scratch",
        "source": "circleci-server",
        "stateful_sets": ["postgresql", "redis-master"],
        "wanted": "",
    }


def planned(*changes: Change) -> dict[str, Any]:
    """Return the plan with these changes."""
    given = copy.deepcopy(raw())
    for change in changes:
        change(given)
    return FilterModule().filters()["drill_plan"](given)


def copied(pod: str, **over: Any) -> dict[str, Any]:
    """Return a finished copy of a pod's volume."""
    return {"namespace": "circleci-server", "pod": pod, "claim": f"data-{pod}", "phase": "Completed", **over}


def test_the_pods_of_the_named_sets() -> None:
    plan = planned()
    assert plan["obstacles"] == []
    assert plan["backup"]["name"] == "new"
    assert plan["pods"] == ["postgresql-0", "redis-master-0"]
    assert plan["selector"] == "statefulset.kubernetes.io/pod-name in (postgresql-0,redis-master-0)"


def test_the_newest_good_backup_is_taken() -> None:
    plan = planned(lambda given: given["backups"].insert(0, samples.failed("newest", 1)))
    assert (plan["backup"]["name"], plan["obstacles"]) == ("new", [])
    plan = planned(lambda given: given["backups"][0].update(good=None, verdict="out of reach"))
    assert plan["backup"]["name"] == "old"


def test_names_that_only_look_like_those_of_a_set() -> None:
    def change(given: dict[str, Any]) -> None:
        given["stateful_sets"] = ["postgresql"]
        given["backups"][0]["volumes"] = [
            copied("postgresql-0"),
            copied("postgresql-12"),
            copied("postgresql-ha-0"),
            copied("my-postgresql-0"),
            copied("postgresql-7d9f8-24567"),
            copied("postgresql-x"),
            copied("postgresql-²"),
            copied("postgresql"),
            copied("postgresql-3", namespace="elsewhere"),
            copied("postgresql-4", phase="Failed"),
        ]

    assert planned(change)["pods"] == ["postgresql-0", "postgresql-12"]


OBSTACLES: dict[str, tuple[Change, str]] = {
    "no Velero": (lambda given: given.update(velero=[]), "there is no Velero in namespace velero: run the playbook velero.yml"),
    "server down": (lambda given: given["velero"][0]["server"].update(ready=False, problem="it is gone."), "Velero does not work: it is gone"),
    "no backup": (lambda given: given.update(backups=[]), "there is no finished backup of namespace circleci-server: run the playbook backup.yml"),
    "named backup": (lambda given: given.update(backups=[], wanted="it"), "there is no finished backup it: run the playbook backup.yml"),
    "unfinished": (
        lambda given: given.update(backups=[samples.backup("now", 0.1, phase="InProgress", good=None)]),
        "there is no finished backup of namespace circleci-server: run the playbook backup.yml",
    ),
    "none good": (
        lambda given: given.update(backups=[samples.failed("bad", 1)]),
        "no backup is known to be good; the newest, bad, is not because 1 error, and the volume circleci-server/data-postgresql-0 is not in it",
    ),
    "set without a copy": (
        lambda given: given["stateful_sets"].append("nomad-server"),
        "backup new has no finished copy of a volume of nomad-server in namespace circleci-server: "
        "name stateful sets that have one, since a drill of others proves nothing",
    ),
    "claim left out": (
        lambda given: given["backups"][0].update(
            excluded=["circleci-server/wal-postgresql-0", "circleci-server/data-vault-0", "other/data-postgresql-0"]
        ),
        "backup new has no copy of wal-postgresql-0, which would come back as the volume that it was: "
        "back it up, or leave its stateful set out of drill_stateful_sets",
    ),
    "claim uncovered": (
        lambda given: given["backups"][0].update(uncovered=[{"namespace": "circleci-server", "claim": "wal-postgresql-1", "reason": "x"}]),
        "backup new has no copy of wal-postgresql-1, which would come back as the volume that it was: "
        "back it up, or leave its stateful set out of drill_stateful_sets",
    ),
    "somebody's namespace": (
        lambda given: given.update(there=[{"metadata": {"name": "scratch", "labels": {"app": "x"}}}]),
        "namespace scratch exists and was not made by a drill, so it is not touched: name another one in drill_scratch_namespace",
    ),
    "a namespace without labels": (
        lambda given: given.update(there=[{"metadata": {"name": "scratch"}}]),
        "namespace scratch exists and was not made by a drill, so it is not touched: name another one in drill_scratch_namespace",
    ),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_obstacles(name: str) -> None:
    change, sentence = OBSTACLES[name]
    assert planned(change)["obstacles"] == [sentence]


def test_what_an_earlier_drill_left_is_no_obstacle() -> None:
    left = {"metadata": {"name": "scratch", "labels": {"serverops.circleci/drill": "scratch"}}}
    assert planned(lambda given: given.update(there=[left]))["obstacles"] == []


def pod(name: str, ready: bool = True, **status: Any) -> dict[str, Any]:
    """Return a pod."""
    conditions = [{"type": "Ready", "status": "True" if ready else "False", "message": "containers with unready status: [main]"}]
    return {"metadata": {"name": name}, "status": {"phase": "Running", "conditions": conditions, **status}}


TROUBLE: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "all is well": ([pod("a-0")], []),
    "missing": ([], ["pod a-0 is not there"]),
    "one too many": ([pod("a-0"), pod("b-0")], ["pod b-0 is there and nobody asked for it"]),
    "not ready": ([pod("a-0", False)], ["pod a-0 is not ready: containers with unready status: [main]"]),
    "no image": (
        [pod("a-0", False, containerStatuses=[{"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}])],
        ["pod a-0 is not ready: main: ImagePullBackOff no such image"],
    ),
    "crashes": (
        [
            pod(
                "a-0",
                False,
                containerStatuses=[
                    {"name": "main", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 3}}},
                ],
            )
        ],
        ["pod a-0 is not ready: main: CrashLoopBackOff, it ended with 3"],
    ),
    "still in its guard": (
        [
            pod(
                "a-0",
                False,
                initContainerStatuses=[{"name": "drill-guard", "state": {"running": {}}}],
                containerStatuses=[{"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}],
            )
        ],
        ["pod a-0 is not ready: its init container drill-guard has not ended"],
    ),
    "no status": ([{"metadata": {"name": "a-0"}}], ["pod a-0 is not ready: it has no status"]),
}


@pytest.mark.parametrize("name", TROUBLE)
def test_trouble(name: str) -> None:
    pods, sentences = TROUBLE[name]
    assert FilterModule().filters()["drill_trouble"](pods, ["a-0"]) == sentences


def test_the_filters_refuse_what_they_cannot_read() -> None:
    found = FilterModule().filters()
    with pytest.raises(AnsibleFilterError, match="takes a dictionary"):
        found["drill_plan"]([])
    with pytest.raises(AnsibleFilterError, match="takes a list of pods"):
        found["drill_trouble"]({}, [])
