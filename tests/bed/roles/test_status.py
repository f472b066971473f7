# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role status on a real Velero: predicted, written, said again without a change, and honest about what is old, gone or silent."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bed.conftest import InstalledVelero
from tests.bed.roles.book import run_book, told
from tests.plays import CORES, Played

BACKUP = "status-proven"
SPACE = "status-space"
PAGE, FACTS = "index.html", "status.json"


@pytest.fixture(scope="module")
def proven(velero: InstalledVelero) -> Iterator[InstalledVelero]:
    """A backup that is good: of a namespace without volumes."""
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "something", "namespace": SPACE}},
    ]
    velero.bed.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    velero.bed.kubectl("-n", "velero", "delete", "configmap", "velero-drill", "--ignore-not-found")
    velero.velero.cli("backup", "create", BACKUP, "--include-namespaces", SPACE, "--wait")
    velero.velero.cli("schedule", "create", BACKUP, "--schedule", "0 3 * * *", "--include-namespaces", SPACE)
    yield velero
    velero.velero.cli("schedule", "delete", BACKUP, "--confirm")
    velero.velero.cli("backup", "delete", BACKUP, "--confirm")
    velero.bed.kubectl("delete", "namespace", SPACE, "--timeout=60s", timeout=70)


def status(folder: Path, velero: InstalledVelero, *arguments: str, core: str = "newest", **over: Any) -> Played:
    """Run the playbook."""
    given = {"velero_kubeconfig": str(velero.bed.kubeconfig), "status_directory": str(folder / "site"), "status_target": "2h"}
    return run_book("status", folder / "home", "s3_compatible", given | over, *arguments, core=core)


def changed(played: Played) -> list[str]:
    """Return the tasks that say that they changed something."""
    return [result.task.rpartition(" : ")[2] for result in played.results if result.result.get("changed")]


def facts(folder: Path) -> dict[str, Any]:
    """Return what stands in the JSON file."""
    return json.loads((folder / "site" / FACTS).read_text())


@pytest.mark.parametrize("core", CORES)
def test_predicted_written_and_said_again(proven: InstalledVelero, tmp_path: Path, core: str) -> None:
    """Check mode writes nothing; the second run writes the time anew, and has changed nothing; another target is a change."""
    predicted = status(tmp_path, proven, "--check", core=core)
    assert predicted.rc == 0, told(predicted)
    assert changed(predicted) == ["A folder for the page"]
    assert not (tmp_path / "site").exists()
    made = status(tmp_path, proven, core=core)
    assert made.rc == 0, told(made)
    assert changed(made) == ["A folder for the page", "The page", "The same facts for programs"]
    first = facts(tmp_path)
    assert (first["state"], first["proven"]["name"], first["target"]) == ("good", BACKUP, 7200)
    (schedule,) = (item for item in first["schedules"] if item["name"] == BACKUP)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT03:00:00Z", schedule["next_run"])
    page = (tmp_path / "site" / PAGE).read_text()
    assert '<strong class="word" id="state">Good</strong>' in page
    assert BACKUP in page
    again = status(tmp_path, proven, core=core)
    assert again.rc == 0, told(again)
    assert changed(again) == []
    assert facts(tmp_path)["generated"] > first["generated"]
    other = status(tmp_path, proven, "--check", core=core, status_target="1s")
    assert changed(other) == ["The page", "The same facts for programs"]
    late = status(tmp_path, proven, core=core, status_target="1s", status_fail_in=["stale", "broken"])
    assert late.rc == 2
    assert late.last["msg"].startswith(f"stale: The last proven backup, {BACKUP}, is ")
    assert facts(tmp_path)["state"] == "stale"


def test_what_cannot_be_asked_is_broken_and_no_old_word_stays(proven: InstalledVelero, tmp_path: Path) -> None:
    """A cluster that does not answer, and one without Velero: the page that said good says broken."""
    assert status(tmp_path, proven).rc == 0
    assert facts(tmp_path)["state"] == "good"
    silent = status(tmp_path, proven, velero_host="https://127.0.0.1:9", status_timeout=5, velero_kubeconfig="/dev/null", velero_api_key="x")
    assert silent.rc == 0, told(silent)
    assert facts(tmp_path)["state"] == "broken"
    assert facts(tmp_path)["sentence"].startswith("The cluster could not be asked: ")
    assert '<strong class="word" id="state">Broken</strong>' in (tmp_path / "site" / PAGE).read_text()
    absent = status(tmp_path, proven, velero_namespace="nobody", status_fail_in=["broken"])
    assert absent.rc == 2
    assert facts(tmp_path)["sentence"] == "There is no Velero in namespace nobody."


def test_a_location_that_is_lost_is_broken(proven: InstalledVelero, tmp_path: Path) -> None:
    """The bucket of the only location is another one, which does not exist: what is in the cluster cannot be restored."""

    def patch(bucket: str) -> None:
        text = json.dumps({"spec": {"objectStorage": {"bucket": bucket}}})
        proven.bed.kubectl("-n", "velero", "patch", "backupstoragelocations.velero.io", "default", "--type", "merge", "-p", text)
        phase = "Available" if bucket == proven.bucket else "Unavailable"
        wanted = ("wait", f"--for=jsonpath={{.status.phase}}={phase}", "backupstoragelocations.velero.io/default", "--timeout=60s")
        proven.bed.kubectl("-n", "velero", *wanted, timeout=70)

    patch("no-such-bucket")
    try:
        played = status(tmp_path, proven)
        assert played.rc == 0, told(played)
        found = facts(tmp_path)
        assert found["state"] == "broken"
        assert any(
            item["what"].startswith("Storage location default is Unavailable") and "Make the bucket" in item["do"] for item in found["findings"]
        )
    finally:
        patch(proven.bucket)


def test_metrics_and_rules_and_no_half_written_file(proven: InstalledVelero, tmp_path: Path) -> None:
    """On another file system than Ansible's own files: the collector never sees another name that it would read."""
    shared = Path("/dev/shm") / f"serverops-status-{tmp_path.name}"
    shared.mkdir()
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.update(path.name for path in shared.iterdir() if path.name.endswith(".prom"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        played = status(tmp_path, proven, status_metrics_file=str(shared / "backups.prom"), status_alerts_file=str(tmp_path / "rules.yml"))
        assert played.rc == 0, told(played)
        text = (shared / "backups.prom").read_text()
        assert 'serverops_backup_state{velero="velero",state="good"} 1' in text
        assert oct((shared / "backups.prom").stat().st_mode & 0o777) == "0o644"
        assert "alert: LastProvenBackupTooOld" in (tmp_path / "rules.yml").read_text()
        assert "{{ $labels.velero }}" in (tmp_path / "rules.yml").read_text()
    finally:
        over.set()
        watcher.join()
        for path in sorted(shared.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        shared.rmdir()
    assert seen == {"backups.prom"}
