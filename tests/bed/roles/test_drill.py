# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role drill with a backup that would do harm: what must not come does not, what comes gets nowhere, and without a policy it would."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.bed.conftest import InstalledVelero
from tests.bed.driver import Bed
from tests.bed.roles import poisoned
from tests.bed.roles.book import run_book, told
from tests.plays import Played

SCRATCH = "drill-scratch"
BACKUP = "poisoned-backup"
RUNS = "deployments,statefulsets,daemonsets,replicasets,jobs,cronjobs,services,ingresses,pods"
CHECK = {"name": "the data are there", "stateful_set": "database", "command": "cat /data/kept", "matches": "^precious of database$"}


def extra(bed: Bed, **over: Any) -> dict[str, Any]:
    """Return the variables of a drill of the poisoned backup."""
    given: dict[str, Any] = {
        "velero_kubeconfig": str(bed.kubeconfig),
        "drill_source_namespace": poisoned.NAMESPACE,
        "drill_scratch_namespace": SCRATCH,
        "drill_stateful_sets": ["database"],
        "drill_backup_name": BACKUP,
        "drill_probe_image": poisoned.IMAGE,
        "drill_checks": [CHECK],
    }
    return given | over


def exists(bed: Bed, namespace: str = SCRATCH) -> bool:
    """Tell whether a namespace is there."""
    return bool(bed.kubectl("get", "namespace", namespace, "--ignore-not-found", "-o", "name").strip())


def record(bed: Bed) -> dict[str, Any]:
    """Return the record of the last drill."""
    return json.loads(json.loads(bed.kubectl("-n", "velero", "get", "configmap", "velero-drill", "-o", "json"))["data"]["record"])


def drill(folder: Path, bed: Bed, *arguments: str, **over: Any) -> Played:
    """Run the playbook."""
    return run_book("drill", folder, "s3_compatible", extra(bed, **over), *arguments)


@pytest.fixture(scope="module")
def backup(velero: InstalledVelero) -> Iterator[Bed]:
    """A backup of the poisoned namespace, in which everything is silent now: whoever calls later was restored."""
    bed = velero.bed
    poisoned.poison(bed)
    before = poisoned.counted(bed)
    assert set(before) >= {"database-main", "database-init", "other-main", "deployment"}, "everything calls, else a silence later shows nothing"
    velero.velero.cli("backup", "create", BACKUP, "--include-namespaces", poisoned.NAMESPACE, "--wait", timeout=300)
    poisoned.silence(bed)
    yield bed
    velero.velero.cli("backup", "delete", BACKUP, "--confirm")
    bed.kubectl("delete", "namespace", SCRATCH, "--ignore-not-found", "--timeout=60s", timeout=70)
    poisoned.remove(bed)


@pytest.fixture
def looks(tmp_path: Path) -> Path:
    """A file of tasks that writes down what is in the drill's namespace while it is there, and gives the probe time to call."""
    seen = tmp_path / "seen.json"
    script = f"sleep 5; kubectl --kubeconfig {{{{ velero_kubeconfig }}}} -n {SCRATCH} get {RUNS},pvc,secrets -o json > {seen}"
    tasks = [{"name": "Look", "ansible.builtin.shell": f"export PATH={{{{ kubectl_folder }}}}:$PATH; {script}", "changed_when": False}]
    path = tmp_path / "look.yml"
    path.write_text(json.dumps(tasks))
    return path


def seen(looks: Path) -> list[tuple[str, str]]:
    """Return kind and name of what was seen."""
    return [(item["kind"], item["metadata"]["name"]) for item in json.loads((looks.parent / "seen.json").read_text())["items"]]


def kubectl_folder(bed: Bed) -> str:
    """Return where the bed's kubectl is."""
    return str(Path(bed.kubectl_command(bed.kubeconfig)[0]).parent)


def result_of(played: Played, task: str) -> Mapping[str, Any]:
    """Return the result of the last task of this name."""
    return [result.result for result in played.results if result.task.endswith(task)][-1]


@pytest.mark.timeout(900)
def test_a_poisoned_backup_does_no_harm(backup: Bed, looks: Path, tmp_path: Path) -> None:
    """Neither LoadBalancer, CronJob, Deployment nor the set that was not named comes, and the probe inside the one that was gets nowhere."""
    before = poisoned.counted(backup)
    began = time.monotonic()
    played = drill(tmp_path / "drill", backup, drill_verify_tasks=str(looks), kubectl_folder=kubectl_folder(backup))
    assert played.rc == 0, told(played)
    there = seen(looks)
    # Secrets hold nothing that runs
    assert sorted(item for item in there if item[0] != "Secret") == [("PersistentVolumeClaim", "data-database-0"), ("Pod", "database-0")]
    assert ("Secret", "settings") in there
    assert poisoned.counted(backup) == before
    assert not exists(backup)
    kept = record(backup)
    assert (kept["result"], kept["isolation"], kept["backup"], kept["pods"]) == ("good", "proven", BACKUP, ["database-0"])
    assert kept["checks"] == ["the data are there", "look.yml"]
    assert 0 < kept["rto"] < time.monotonic() - began
    assert kept["rpo"] > 0
    # nothing of it is left: no volume, no restore
    volumes = json.loads(backup.kubectl("get", "persistentvolumes", "-o", "json"))["items"]
    assert [item["metadata"]["name"] for item in volumes if item["spec"].get("claimRef", {}).get("namespace") == SCRATCH] == []
    restores = json.loads(backup.kubectl("-n", "velero", "get", "restores.velero.io", "-o", "json"))["items"]
    assert [item["metadata"]["name"] for item in restores if item["metadata"]["name"].startswith("drill-")] == []


@pytest.mark.timeout(1500)
def test_a_network_that_takes_no_notice_is_found_out_and_there_the_probe_calls(backup: Bed, looks: Path, tmp_path: Path) -> None:
    """Refused where policies are not enforced; told to go on all the same, the probe gets out: the silence above was the policy's doing."""
    before = poisoned.counted(backup)
    backup.stop_process("kube-router")
    try:
        refused = drill(tmp_path / "refused", backup)
        assert refused.rc == 2
        assert "does not enforce network policies" in refused.last["msg"], told(refused)
        assert not exists(backup)
        assert poisoned.counted(backup) == before, "nothing was restored"
        assert (record(backup)["result"], record(backup)["isolation"]) == ("refused", "not proven")
        control = drill(
            tmp_path / "control", backup, drill_isolation="unproven", drill_verify_tasks=str(looks), kubectl_folder=kubectl_folder(backup)
        )
        assert control.rc == 0, told(control)
        after = poisoned.counted(backup) - before
        assert after["database-main"] > 0
        assert after["database-init"] > 0
        assert set(after) == {"database-main", "database-init"}, "what must not come does not come here either"
        assert record(backup)["isolation"] == "not proven"
    finally:
        backup.start_process("kube-router")


@pytest.mark.timeout(900)
def test_a_check_that_fails_fails_the_drill_and_everything_is_removed(backup: Bed, tmp_path: Path) -> None:
    """The failure is named, the namespace is gone, the record says so, and a leftover of a drill that was killed is no obstacle."""
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SCRATCH, "labels": {"serverops.circleci/drill": "scratch"}}}
    left = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "left", "namespace": SCRATCH}}
    backup.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [space, left]}))
    check = CHECK | {"name": "something else is there", "matches": "^worthless", "retries": 1}
    played = drill(tmp_path / "home", backup, drill_checks=[check])
    assert played.rc == 2
    assert "something else is there: its answer is not what it should be (precious of database)" in played.last["msg"], told(played)
    assert not exists(backup)
    kept = record(backup)
    assert (kept["result"], kept["rto"], kept["checks"]) == ("failed", None, [])
    assert "something else is there" in kept["message"]


OBSTACLES: dict[str, tuple[dict[str, Any], str]] = {
    "set that is not there": ({"drill_stateful_sets": ["database", "nobody"]}, "has no finished copy of a volume of nobody in namespace poisoned"),
    "backup that is not there": ({"drill_backup_name": "nobody"}, "there is no finished backup nobody"),
    "no Velero": ({"velero_namespace": "nobody"}, "there is no Velero in namespace nobody"),
    "the namespace itself": ({"drill_scratch_namespace": poisoned.NAMESPACE}, "a namespace that is used for nothing else"),
    "somebody's namespace": ({"drill_scratch_namespace": poisoned.COUNTING}, "exists and was not made by a drill"),
    "login that others do not know": ({"drill_eks": {"cluster_name": "x"}}, "cannot log in to EKS or GKE by itself"),
    "check without a command": ({"drill_checks": [{"name": "x", "pod": "y"}]}, "needs command or sql"),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_stands_in_the_way_is_told_before_anything_is_written(backup: Bed, tmp_path: Path, name: str) -> None:
    """Refused with the reason; nothing is made, and no namespace is touched."""
    over, words = OBSTACLES[name]
    mark = backup.audit_mark()
    played = drill(tmp_path / "home", backup, **over)
    assert played.rc == 2
    assert words in played.last["msg"], told(played)
    writes = [event for event in backup.audit(mark) if event["verb"] in {"create", "update", "patch", "delete"}]
    assert [event["requestURI"] for event in writes if event["objectRef"]["resource"] not in {"serverstatusrequests", "downloadrequests"}] == []


def test_check_mode_says_what_would_come(backup: Bed, tmp_path: Path) -> None:
    """Nothing is written, and the pods are named."""
    played = drill(tmp_path / "home", backup, "--check")
    assert played.rc == 0, told(played)
    assert result_of(played, "What would be done")["msg"] == [f"backup {BACKUP} into namespace {SCRATCH}", "pods database-0"]
    assert not exists(backup)
    empty = drill(tmp_path / "empty", backup, "--check", velero_namespace="nobody")
    assert empty.rc == 0, told(empty)
    assert result_of(empty, "What would be done")["msg"][0].startswith("not now, because there is no Velero in namespace nobody")
