# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role restore by its playbook: what was lost is back and what follows is told; what cannot be restored is told before anything is made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bed.circleci_server import installation
from tests.bed.conftest import InstalledVelero
from tests.bed.driver import READ_VERBS
from tests.bed.roles.book import run_book, told
from tests.bed.velero.restoring import Application
from tests.plays import CORES

pytestmark = pytest.mark.timeout(900)  # each runs several plays
NAMESPACE = "role-restore"
BACKUP = "role-restore"
SERVICE = "nomad-server-external"
PROBES = {"downloadrequests", "serverstatusrequests", "selfsubjectaccessreviews"}


def address(application: Application) -> str:
    """Return where the load balancer answers now."""
    return application.kubectl("get", "service", SERVICE, "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")


def extra(application: Application, **over: Any) -> dict[str, Any]:
    """Return the variables of a restore of the application's backup; None leaves one out."""
    given: dict[str, Any] = {
        "velero_kubeconfig": str(application.velero.bed.kubeconfig),
        "restore_backup_name": BACKUP,
        "restore_included_namespaces": [NAMESPACE],
        "restore_dns_names": {SERVICE: ["nomad.example.com"]},
        "restore_nomad_clients": ["client-1"],
    }
    return {name: value for name, value in (given | over).items() if value is not None}


@pytest.fixture(scope="module")
def application(velero: InstalledVelero, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """An application with a load balancer, and its backup by the role backup, which remembers where that answered."""
    installation.start_load_balancers(velero.bed)
    application = Application(velero, NAMESPACE).make()
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE},
        "spec": {"type": "LoadBalancer", "selector": {"app": "app"}, "ports": [{"port": 4647}]},
    }
    velero.bed.kubectl("apply", "-f", "-", input=json.dumps(service))
    application.kubectl("wait", f"service/{SERVICE}", "--for=jsonpath={.status.loadBalancer.ingress}", "--timeout=30s")
    given = {
        "velero_kubeconfig": str(velero.bed.kubeconfig),
        "backup_name": BACKUP,
        "backup_included_namespaces": [NAMESPACE],
        "backup_required_stores": [],
        "backup_outside_stores": [],
        "backup_escrow_objects": [],
    }
    made = run_book("backup", tmp_path_factory.mktemp("backup"), "s3_compatible", given)
    assert made.rc == 0, told(made)
    yield application
    application.lose()
    velero.velero.cli("backup", "delete", BACKUP, "--confirm")


def writes(application: Application, mark: int) -> list[str]:
    """Return what the playbook changed in the cluster since a mark; questions aside."""
    events = (event for event in application.velero.bed.audit(mark) if event["verb"] not in READ_VERBS)
    return [event["requestURI"] for event in events if event["objectRef"]["resource"] not in PROBES]


def test_lost_restored_told_and_then_nothing_to_do(application: Application, tmp_path: Path) -> None:
    """The data are back, the owner's checks have run, the address moved and what names it is told; a second run on every core writes nothing."""
    before = address(application)
    application.lose()
    checks = tmp_path / "checks.yml"
    seen = tmp_path / "seen"
    checks.write_text(
        json.dumps([{"name": "Look", "ansible.builtin.copy": {"content": "{{ restore_result.name }}", "dest": str(seen), "mode": "0600"}}])
    )
    given = extra(application, restore_verify_tasks=str(checks), restore_follow_up_file=str(tmp_path / "follow-up.json"))
    predicted = run_book("restore", tmp_path / "predicted", "s3_compatible", given, "--check")
    assert predicted.rc == 0, told(predicted)
    assert not seen.exists()
    played = run_book("restore", tmp_path / "home", "s3_compatible", given)
    assert played.rc == 0, told(played)
    assert application.content() == "precious"
    assert seen.read_text() == BACKUP
    after = address(application)
    follow_up = json.loads((tmp_path / "follow-up.json").read_text())
    (entry,) = follow_up["load_balancers"]
    assert (entry["state"], entry["before"], entry["after"]) == ("moved", [before], [after])
    assert follow_up["steps"][0] == f"Change the DNS records of nomad.example.com from {before} to {after}."
    assert follow_up["nomad"] == {"clients": ["client-1"], "server": [after], "moved": True}
    mark = application.velero.bed.audit_mark()
    for core in CORES:
        again = run_book("restore", tmp_path / core, "s3_compatible", given, core=core)
        assert again.rc == 0, told(again)
        assert [result.task for result in again.results if result.result.get("changed")] == []
    assert writes(application, mark) == []


def test_what_the_owner_finds_wrong_fails_the_runbook(application: Application, tmp_path: Path) -> None:
    """A restore that is proven by Velero is not done while the owner's own checks fail."""
    application.kept()
    checks = tmp_path / "checks.yml"
    checks.write_text(json.dumps([{"name": "Look", "ansible.builtin.fail": {"msg": "the owner misses a table"}}]))
    name = "role-restore-checked"
    given = extra(application, restore_verify_tasks=str(checks), restore_name=name, restore_namespace_mapping={NAMESPACE: name})
    try:
        played = run_book("restore", tmp_path / "home", "s3_compatible", given)
        assert played.rc == 2
        assert played.last["msg"] == "the owner misses a table"
        assert application.content(name) == "precious"
    finally:
        application.lose(name)
        application.velero.bed.kubectl("-n", application.velero.namespace, "delete", "restores.velero.io", name, "--ignore-not-found", timeout=90)


def test_what_cannot_be_restored_is_told_before(application: Application, tmp_path: Path) -> None:
    """A backup that is not there, and EKS without an instance: one sentence each, and nothing is written."""
    mark = application.velero.bed.audit_mark()
    missing = run_book("restore", tmp_path / "missing", "s3_compatible", extra(application, restore_backup_name="not-there", restore_find_within=2))
    assert missing.rc == 2
    assert missing.last["msg"].startswith("There is no backup not-there 2 s after Velero could read the bucket.")
    over = {"restore_platform": "eks", "restore_name": "role-restore-eks", "restore_namespace_mapping": {NAMESPACE: "role-restore-eks"}}
    eks = run_book("restore", tmp_path / "eks", "s3_compatible", extra(application, **over))
    assert eks.rc == 2
    assert eks.last["msg"].startswith("On EKS an instance of CircleCI Server has to be installed before one can be restored")
    assert "role-restore-eks" in eks.last["msg"]
    assert writes(application, mark) == []


@pytest.mark.parametrize("core", CORES)
def test_a_new_cluster_is_predicted(application: Application, tmp_path: Path, core: str) -> None:
    """On an empty cluster check mode says that Velero would be installed, goes through to the end, and writes nothing."""
    mark = application.velero.bed.audit_mark()
    over = {"velero_namespace": "role-restore-nothing", "restore_new_cluster": True, "restore_backup_name": None}
    played = run_book("restore", tmp_path / "home", "s3_compatible", extra(application, **over), "--check", core=core)
    assert played.rc == 0, told(played)
    assert any(result.task.endswith("Velero as wanted") and result.result["changed"] for result in played.results)
    assert writes(application, mark) == []
