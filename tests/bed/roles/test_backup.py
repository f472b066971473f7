# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role backup by its playbook: made and proven, found as asked, stores that nobody protects named, escrow that never loses what it held."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bed.conftest import InstalledVelero
from tests.bed.driver import READ_VERBS
from tests.bed.roles.book import run_book, told
from tests.bed.velero.restoring import Application
from tests.bed.ways import canaries
from tests.plays import CORES, Played, environment, variables

pytestmark = pytest.mark.timeout(900)  # each runs several plays
NAMESPACE = "role-backup"
PASSWORD = "the password of the escrow"
KEYSET = "keyset-of-the-role-backup-0123456789"
OBJECTS = [
    {"kind": "Secret", "namespace": NAMESPACE, "name": "signing-keys", "protects": "keysets"},
    {"kind": "ConfigMap", "namespace": NAMESPACE, "name": "settings", "protects": "console_configuration"},
]
PROBES = {"downloadrequests", "serverstatusrequests", "selfsubjectaccessreviews"}


@pytest.fixture(scope="module")
def application(velero: InstalledVelero) -> Iterator[Application]:
    """An application with a claim and a Secret with its keysets."""
    application = Application(velero, NAMESPACE, copied="data,scratch").make()
    keep_keyset(application, KEYSET)
    yield application
    application.lose()


def keep_keyset(application: Application, value: str) -> None:
    """Write the Secret with the keysets."""
    data = {"signing-key": base64.b64encode(value.encode()).decode()}
    metadata = {"name": "signing-keys", "namespace": NAMESPACE}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    application.velero.bed.kubectl("apply", "-f", "-", input=json.dumps(secret))


def extra(application: Application, folder: Path, **over: Any) -> dict[str, Any]:
    """Return the variables of a backup of the application in which every store is protected; None leaves one out."""
    proof = folder / "proof"
    proof.touch()
    bucket = {"name": "artifacts", "kind": "object_storage", "protection": "replicated", "proof": {"file": str(proof)}}
    given: dict[str, Any] = {
        "velero_kubeconfig": str(application.velero.bed.kubeconfig),
        "backup_included_namespaces": [NAMESPACE],
        "backup_newer_than": "1h",
        "backup_required_stores": ["postgresql", "object_storage", "keysets", "console_configuration"],
        "backup_inside_claims": {"postgresql": f"{NAMESPACE}/data"},
        "backup_outside_stores": [bucket],
        "backup_escrow_file": str(folder / "escrow.vault"),
        "backup_escrow_password": PASSWORD,
        "backup_escrow_objects": OBJECTS,
        "backup_report_file": str(folder / "report.json"),
    }
    return {name: value for name, value in (given | over).items() if value is not None}


def viewed(folder: Path, password: str = PASSWORD) -> dict[str, Any]:
    """Return the escrow file as ansible-vault decrypts it."""
    secret = folder / "password"
    secret.write_text(password)
    argv = [str(environment("newest") / "bin/ansible-vault"), "view", "--vault-password-file", str(secret), str(folder / "escrow.vault")]
    done = subprocess.run(argv, env=variables("newest", folder), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def of(played: Played, task: str) -> dict[str, Any]:
    """Return the result of a task by the end of its name."""
    return next(result.result for result in played.results if result.task.endswith(task))


def writes(application: Application, mark: int) -> list[str]:
    """Return what the playbook changed in the cluster since a mark; questions aside."""
    events = (event for event in application.velero.bed.audit(mark) if event["verb"] not in READ_VERBS)
    return [event["requestURI"] for event in events if event["objectRef"]["resource"] not in PROBES]


def test_made_proven_and_then_nothing_to_do(application: Application, tmp_path: Path) -> None:
    """The report says where each store is, escrow can be read by ansible-vault alone, and a second run on every core changes nothing."""
    made = run_book("backup", tmp_path / "made", "s3_compatible", extra(application, tmp_path, backup_newer_than="1s"))
    assert made.rc == 0, told(made)
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["good"], report["changed"], report["backup"]["good"]) == (True, True, True)
    assert {entry["kind"]: entry["where"] for entry in report["stores"]} == {
        "postgresql": "backup", "object_storage": "outside", "keysets": "escrow", "console_configuration": "escrow",
    }  # fmt: skip
    escrow = viewed(tmp_path)
    assert [item["kind"] for item in escrow["items"]] == ["Secret", "ConfigMap"]
    assert base64.b64decode(escrow["items"][0]["data"]["signing-key"]).decode() == KEYSET
    assert set(escrow["items"][0]["metadata"]) <= {"name", "namespace", "annotations", "labels"}
    assert (tmp_path / "escrow.vault").stat().st_mode & 0o777 == 0o600
    kept, mark = (tmp_path / "escrow.vault").read_bytes(), application.velero.bed.audit_mark()
    for core in CORES:
        again = run_book("backup", tmp_path / core, "s3_compatible", extra(application, tmp_path), core=core)
        assert again.rc == 0, told(again)
        # the report has ages, so it is written anew
        assert [result.task for result in again.results if result.result.get("changed") and "Keep the report" not in result.task] == []
    assert writes(application, mark) == []
    assert (tmp_path / "escrow.vault").read_bytes() == kept


def test_what_nobody_protects_is_named_and_backed_up_all_the_same(application: Application, tmp_path: Path) -> None:
    """Undeclared kinds, a late proof and one that is not there fail the runbook by name; the backup is made."""
    late, gone = tmp_path / "late", tmp_path / "gone"
    late.touch()
    os.utime(late, (time.time() - 3 * 86400,) * 2)
    stores = [
        {"name": "artifacts", "kind": "object_storage", "protection": "replicated", "proof": {"file": str(late)}},
        {"name": "certificates", "kind": "nomad_certificates", "protection": "kept elsewhere", "proof": {"file": str(gone)}},
    ]
    required = ["postgresql", "mongodb", "object_storage", "nomad_certificates"]
    over = {"backup_outside_stores": stores, "backup_required_stores": required, "backup_escrow_file": None}
    played = run_book("backup", tmp_path / "home", "s3_compatible", extra(application, tmp_path, **over) | {"backup_escrow_objects": []})
    assert played.rc == 2
    said = of(played, "Stop when something is not protected")["msg"]
    assert "artifacts: last proven 3 days ago" in said
    assert f"certificates: its proof, file {gone}, is not there" in said
    assert "mongodb: it is neither in the backup nor in escrow" in said
    assert "postgresql" not in said
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["good"], report["backup"]["good"]) == (False, True)


def test_escrow_loses_nothing(application: Application, tmp_path: Path) -> None:
    """A file of another password is left alone, a changed keyset keeps the old file beside the new, an object that is not there is named."""
    given = extra(application, tmp_path)
    assert run_book("backup", tmp_path / "first", "s3_compatible", given).rc == 0
    kept = (tmp_path / "escrow.vault").read_bytes()
    wrong = run_book("backup", tmp_path / "wrong", "s3_compatible", given | {"backup_escrow_password": "another"})
    assert wrong.rc == 2
    assert "cannot be decrypted with backup_escrow_password" in wrong.last["msg"]
    assert (tmp_path / "escrow.vault").read_bytes() == kept
    missing = [*OBJECTS, OBJECTS[0] | {"name": "not-there"}]
    gone = run_book("backup", tmp_path / "gone", "s3_compatible", given | {"backup_escrow_objects": missing})
    assert gone.rc == 2
    assert f"Secret {NAMESPACE}/not-there" in gone.last["msg"]
    assert (tmp_path / "escrow.vault").read_bytes() == kept
    keep_keyset(application, "another keyset")
    try:
        changed = run_book("backup", tmp_path / "changed", "s3_compatible", given)
    finally:
        keep_keyset(application, KEYSET)
    assert changed.rc == 0, told(changed)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["escrow"]["changed"]
    assert Path(report["escrow"]["previous"]).read_bytes() == kept
    assert base64.b64decode(viewed(tmp_path)["items"][0]["data"]["signing-key"]) == b"another keyset"


def test_what_keeps_a_backup_from_being_made_is_told_before(application: Application, tmp_path: Path) -> None:
    """A location that is read-only, a login that may not, an escrow without a password: one sentence each, and nothing is written."""
    velero = application.velero
    mark = velero.bed.audit_mark()
    nobody = {"backup_impersonate_user": "nobody", "backup_impersonate_groups": ["system:authenticated"]}
    refused = run_book("backup", tmp_path / "nobody", "s3_compatible", extra(application, tmp_path) | nobody)
    assert refused.rc == 2
    without = run_book("backup", tmp_path / "without", "s3_compatible", extra(application, tmp_path, backup_escrow_password=None))
    assert without.rc == 2
    assert without.last["msg"] == "backup_escrow_password is not set; give it in a vaulted file"
    patch = ("-n", velero.namespace, "patch", "backupstoragelocations.velero.io", "default", "--type", "merge", "-p")
    velero.bed.kubectl(*patch, json.dumps({"spec": {"accessMode": "ReadOnly"}}))
    try:
        played = run_book("backup", tmp_path / "home", "s3_compatible", extra(application, tmp_path))
    finally:
        velero.bed.kubectl(*patch, json.dumps({"spec": {"accessMode": "ReadWrite"}}))
    assert played.rc == 2
    assert played.last["msg"] == "No backup can be made: location default is ReadOnly, set its access_mode to ReadWrite"
    assert writes(application, mark) == []


@pytest.mark.parametrize("core", CORES)
def test_an_empty_cluster_is_no_error_in_check_mode(application: Application, tmp_path: Path, core: str) -> None:
    """Where an earlier play would have installed Velero, check mode goes through to the end and writes nothing."""
    mark = application.velero.bed.audit_mark()
    given = extra(application, tmp_path, velero_namespace="role-backup-nothing", backup_report_file=None)
    played = run_book("backup", tmp_path / "home", "s3_compatible", given, "--check", "--diff", core=core)
    assert played.rc == 0, told(played)
    assert writes(application, mark) == []
    assert not (tmp_path / "escrow.vault").exists()
    real = run_book("backup", tmp_path / "real", "s3_compatible", given, core=core)
    assert real.rc == 2
    assert "there is no Velero in namespace role-backup-nothing, install it by playbooks/velero.yml" in real.last["msg"]


def test_no_secret_shows_itself(application: Application, tmp_path: Path) -> None:
    """At -vvvv --diff: neither the password nor what is in escrow is in any output, result, argument or file, whether it ends well or not."""
    for password, rc in ((PASSWORD, 0), ("another password of the escrow", 2)):
        with tempfile.TemporaryDirectory(prefix="role-") as folder:
            home = Path(folder)
            vault = home / "secrets.json"
            vault.touch(0o600)
            vault.write_text(json.dumps({"backup_escrow_password": password}))
            given = extra(application, tmp_path, backup_escrow_password=None)
            play = {"hosts": "localhost", "gather_facts": False, "vars_files": ["secrets.json"],
                    "roles": [{"role": "serverops.circleci.backup", "vars": given}]}  # fmt: skip
            values = {"password": password, "keyset": KEYSET}
            seen = canaries.watch([play], home, [], {}, values.values())
            assert seen.rc == rc, seen.texts["stdout"][-2000:]
            assert seen.leaks(values) == []
            assert seen.open_to_others() == []
