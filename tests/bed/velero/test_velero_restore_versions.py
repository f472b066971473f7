# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores and schedules on Velero 1.10.3 and 1.8.1, by restic and by kopia: the same truth from servers that say less and forget more."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.bed.conftest import InstalledVelero, started
from tests.bed.driver.velero import Velero
from tests.bed.velero.restoring import Application, lose, object_of, until
from tests.bed.ways.audited import writes
from tests.plays.in_process import Ran, run

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Older:
    """An older Velero, with an application and its backup `kept`."""

    velero: InstalledVelero
    app: Application
    line: tuple[int, int]


@pytest.fixture(scope="module", params=[("1.8.1", None), ("1.10.3", "restic"), ("1.10.3", "kopia")], ids=["1.8.1", "1.10.3-restic", "1.10.3-kopia"])
def older(request: pytest.FixtureRequest) -> Iterator[Older]:
    """A bed of its own for each version and uploader."""
    version, uploader = request.param
    named = os.environ.get("SERVEROPS_BED")
    suffix = f"{version.replace('.', '')}{uploader or ''}"
    bed, made = started(f"{named}-{suffix}" if named else f"test-{uuid.uuid4().hex[:6]}-{suffix}")
    velero = Velero(bed, version)
    place = bed.s3.make_bucket("store-velero")
    if not bed.kubectl("get", "namespace", "velero", "--ignore-not-found", "-o", "name").strip():
        velero.install(place, uploader=uploader)
    whole = InstalledVelero(bed, velero, place)
    app = Application(whole, "restored").make()
    if object_of(whole, "backups", "kept") is None:
        assert app.backup("kept") == "Completed"
    major, minor, _patch = (int(part) for part in version.split("."))
    yield Older(whole, app, (major, minor))
    if made:
        bed.down()


def ensure(module: str, options: dict[str, Any], *, check: bool = False) -> Ran:
    """Run a module; a failure is the test's."""
    ran = run(module, options, check=check)
    assert not ran.failed, ran["msg"]
    return ran


def test_lost_and_back(older: Older) -> None:
    """Predicted, restored with its data, found as made, listed, removed."""
    velero, app = older.velero, older.app.kept()
    app.lose()
    options = velero.options(name="back", backup_name="kept", timeout=200)
    predicted = ensure("velero_restore", options, check=True)
    made = ensure("velero_restore", options)
    assert predicted["diff"] == made["diff"]
    assert made["restore"]["good"] is True
    assert {(item["volume"], item["phase"]) for item in made["restore"]["volumes"]} == {("data", "Completed"), ("scratch", "Completed")}
    assert [(item["name"], item["phase"]) for item in made["restore"]["claims"]] == [("data", "Bound")]
    assert app.content() == "precious"
    mark = velero.bed.audit_mark()
    assert not ensure("velero_restore", options)["changed"]
    assert writes(velero, mark) == []
    (told,) = ensure("velero_restore_info", velero.options(name="back", gather=["volumes", "workloads", "results", "log"]))["restores"]
    assert told["good"] is True
    assert told["results"] is not None
    assert told["log_tail"]
    assert ensure("velero_restore", velero.options(name="back", state="absent"))["changed"]
    assert object_of(velero, "restores", "back") is None


def test_what_the_release_does_not_know_is_refused(older: Older) -> None:
    """The API server would drop the field and Velero restore without it."""
    options = older.velero.options(name="never", backup_name="kept", namespace_mapping={"restored": "never"})
    ran = run("velero_restore", {**options, "write_sparse_files": True})
    assert "option write_sparse_files: the installed Restore has no field" in ran["msg"]
    ran = run("velero_restore", {**options, "existing_resource_policy": "update"}, check=True)
    assert ran.failed is (older.line < (1, 9)), ran.result


def test_schedules(older: Older) -> None:
    """Made, changed, paused where the release can, refused by the server, removed."""
    velero = older.velero
    options = velero.options(name="plan", schedule="0 3 * * *", included_namespaces=["default"], default_volumes_to_fs_backup=True)
    for state in ({}, {"ttl": "72h"}, {"schedule": "@every 6h"}):
        options |= state
        predicted = ensure("velero_schedule", options, check=True)
        real = ensure("velero_schedule", options)
        assert predicted["diff"] == real["diff"]
        assert real["changed"]
        assert real["schedule"]["phase"] == "Enabled"
        mark = velero.bed.audit_mark()
        assert not ensure("velero_schedule", options)["changed"]
        assert writes(velero, mark) == []
    assert real["schedule"]["template"]["default_volumes_to_fs_backup"] is True
    paused = run("velero_schedule", velero.options(name="plan", paused=True))
    assert paused.failed is (older.line < (1, 10)), paused.result
    zoned = run("velero_schedule", velero.options(name="plan", schedule="CRON_TZ=UTC 0 3 * * *", paused=None if paused.failed else False))
    assert "a time zone is only known from Velero 1.15 on" in zoned["msg"]
    if not paused.failed:
        ensure("velero_schedule", velero.options(name="plan", paused=False))
    assert ensure("velero_schedule", velero.options(name="plan", state="absent"))["changed"]


def test_a_schedule_that_was_refused(older: Older) -> None:
    """From 1.10 a correction is accepted; before, the server never looks again, which is told."""
    velero = older.velero
    bad = {"apiVersion": "velero.io/v1", "kind": "Schedule", "metadata": {"name": "bad"}, "spec": {"schedule": "0 3 * *", "template": {}}}
    velero.bed.kubectl("-n", velero.namespace, "apply", "-f", "-", input=json.dumps(bad))
    until(lambda: (object_of(velero, "schedules", "bad") or {}).get("status", {}).get("phase") == "FailedValidation", 30)
    ran = run("velero_schedule", velero.options(name="bad", schedule="0 3 * * *", timeout=60))
    if older.line < (1, 10):
        assert "remove the schedule first" in ran["msg"]
    else:
        assert ran["schedule"]["phase"] == "Enabled", ran.result
    ensure("velero_schedule", velero.options(name="bad", state="absent"))


def test_the_server_is_killed_in_the_middle(older: Older) -> None:
    """From 1.9 the next server marks the restore as failed; before, it is an orphan for ever, which is told in bounded time, and can be removed."""
    velero = older.velero
    older.app.kept().write("precious", megabytes=40)
    assert older.app.backup("larger") == "Completed"
    options = velero.options(name="killed", backup_name="larger", namespace_mapping={"restored": "killed"}, timeout=300)
    came: list[Ran] = []
    thread = threading.Thread(target=lambda: came.append(run("velero_restore", options)), daemon=True)
    # without an agent the volumes wait, and the restore is in the middle for sure
    agent = "restic" if older.line < (1, 10) else "node-agent"
    velero.bed.kubectl(
        "-n", velero.namespace, "patch", "daemonset", agent, "-p", '{"spec": {"template": {"spec": {"nodeSelector": {"no": "node"}}}}}'
    )
    try:
        thread.start()
        until(lambda: ((object_of(velero, "restores", "killed") or {}).get("status") or {}).get("phase") == "InProgress", 60)
        velero.bed.kubectl("-n", velero.namespace, "delete", "pod", "-l", "deploy=velero", "--grace-period=0", "--force")
        thread.join(200)
    finally:
        patch = '[{"op": "remove", "path": "/spec/template/spec/nodeSelector"}]'
        velero.bed.kubectl("-n", velero.namespace, "patch", "daemonset", agent, "--type", "json", "-p", patch)
    velero.velero.wait()
    assert came, "no end in time"
    (ran,) = came
    assert ran.failed
    assert ran["changed"] is True
    assert ("never ends what it had begun before" if older.line < (1, 9) else "phase Failed") in ran["msg"]
    assert ensure("velero_restore", velero.options(name="killed", state="absent", timeout=60))["changed"]
    lose(velero, "killed")
