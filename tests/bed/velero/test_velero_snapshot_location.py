# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""velero_snapshot_location against real Velero 1.17.2: stored as asked for, the plugin listed by the server, and told what is not proven."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bed.conftest import InstalledVelero
from tests.bed.driver import READ_VERBS, Bed
from tests.plays.in_process import Ran, run

MODULE, KIND = "velero_snapshot_location", "volumesnapshotlocations"
PROBED = "serverstatusrequests"


def ensure(options: dict[str, Any], *, check: bool = False) -> Ran:
    """Run the module; a failure is the test's."""
    ran = run(MODULE, options, check=check)
    assert not ran.failed, ran["msg"]
    return ran


def refused(options: dict[str, Any]) -> str:
    """Run the module, which has to fail without a write; returns its sentence."""
    ran = run(MODULE, options)
    assert ran.failed, ran.result
    assert ran["changed"] is False
    return str(ran["msg"])


def writes(bed: Bed, mark: int) -> list[str]:
    """Return the requests that the API server got from the module since a mark and that change something."""
    events = (event for event in bed.audit(mark) if event["verb"] not in READ_VERBS)
    return [f"{event['verb']} {event['requestURI']}" for event in events if event["objectRef"]["resource"] != PROBED]


@pytest.fixture
def name(velero: InstalledVelero, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name for a snapshot location of this test, gone afterwards with everything it left."""
    chosen = f"shots-{abs(hash(request.node.name)) % 10**8}-{int(time.time()) % 10000}"
    yield chosen
    run(MODULE, velero.options(name=chosen, state="absent"))


def test_made_again_changed_removed(velero: InstalledVelero, name: str) -> None:
    """Check mode predicts, the real run does it, the next one writes nothing, and the question to the server leaves nothing behind."""
    content = velero.credentials
    options = velero.snapshot_options(name, credential={"name": f"{name}-keys", "content": content})
    mark = velero.bed.audit_mark()
    predicted = ensure(options, check=True)
    assert writes(velero.bed, mark) == []
    made = ensure(options)
    assert [predicted[part] for part in ("changed", "diff", "requests")] == [made[part] for part in ("changed", "diff", "requests")]
    assert made["snapshot_location"]["plugin"] == "velero.io/aws"
    assert made.warnings == predicted.warnings == []
    there = velero.location(name, KIND)
    assert there is not None
    assert there["spec"] == {
        "provider": "aws", "config": {"region": velero.bed.s3.region}, "credential": {"name": f"{name}-keys", "key": "cloud"},
    }  # fmt: skip
    secret = velero.secret(f"{name}-keys")
    assert secret is not None
    assert base64.b64decode(secret["data"]["cloud"]).decode() == content
    assert velero.bed.s3.secret_key not in json.dumps(made.result)
    mark = velero.bed.audit_mark()
    assert ensure(options | {"provider": "velero.io/aws"}).written == []
    assert writes(velero.bed, mark) == []
    changed = ensure(velero.options(name=name, config={"region": "elsewhere", "enableSharedConfig": True}))
    assert [line.split()[0] for line in changed.written] == ["PATCH"]
    after = velero.location(name, KIND)
    assert after is not None
    assert after["spec"] == there["spec"] | {"config": {"region": "elsewhere", "enableSharedConfig": "true"}}
    gone = ensure(velero.options(name=name, state="absent"))
    assert [line.split()[0] for line in gone.written] == ["DELETE", "DELETE"]
    assert velero.location(name, KIND) is None
    assert velero.secret(f"{name}-keys") is None
    assert ensure(velero.options(name=name, state="absent")).written == []
    left = velero.bed.kubectl("-n", velero.namespace, "get", f"{PROBED}.velero.io", "-o", "name")
    assert "serverops-circleci" not in left


def test_a_provider_without_a_plugin(velero: InstalledVelero, name: str) -> None:
    """The server lists its plugins itself: one that it does not have is named with its image before anything is written."""
    options = velero.snapshot_options(name, provider="gcp", config={})
    message = refused(options)
    assert "(v1.17.2) lists no VolumeSnapshotter plugin velero.io/gcp, only velero.io/aws" in message
    assert "velero/velero-plugin-for-gcp" in message
    assert velero.location(name, KIND) is None
    (warning,) = ensure(options, check=True).warnings
    assert "by an earlier task" in warning


def test_what_cannot_work(velero: InstalledVelero, name: str) -> None:
    """Aws without a region, and a Secret that is not there, are refused before anything is written."""
    assert "option config.region" in refused(velero.snapshot_options(name, config={}))
    message = refused(velero.snapshot_options(name, credential={"name": "nowhere"}))
    assert f"Secret {velero.namespace}/nowhere does not exist" in message
    assert "has no key other" in refused(velero.snapshot_options(name, credential={"name": "cloud-credentials", "key": "other"}))
    assert ensure(velero.snapshot_options(name, credential={"name": "cloud-credentials"}))["changed"]


def test_what_velero_says_to_nobody(velero: InstalledVelero, name: str) -> None:
    """A setting that no plugin knows is told, and a second location of a provider; that Velero refuses a backup then is so."""
    first = ensure(velero.snapshot_options(name))
    assert first.warnings == []
    second = ensure(velero.snapshot_options(f"{name}-b", config={"region": "elsewhere", "s3Url": "http://nowhere.invalid"}))
    assert any("config.s3Url" in warning for warning in second.warnings)
    assert any(f"has the snapshot locations {name} too" in warning for warning in second.warnings)
    try:
        velero.velero.cli("backup", "create", name, "--include-namespaces", "default", "--wait")
        text = velero.bed.kubectl("-n", velero.namespace, "get", "backups.velero.io", name, "-o", "json")
        status = json.loads(text)["status"]
        assert status["phase"] == "FailedValidation"
        assert "more than one possible volume snapshot location" in status["validationErrors"][0]
    finally:
        velero.bed.kubectl("-n", velero.namespace, "delete", "backups.velero.io", name)
        ensure(velero.options(name=f"{name}-b", state="absent"))


def test_not_while_a_backup_runs_and_told_whose_snapshots_it_made(velero: InstalledVelero, name: str) -> None:
    """A location is not removed under a backup that names it; of a finished one with snapshots it is said what becomes of them."""
    ensure(velero.snapshot_options(name))
    backup: dict[str, Any] = {
        "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": f"{name}-b", "namespace": velero.namespace},
        "spec": {"volumeSnapshotLocations": [name], "storageLocation": "default"}, "status": {"phase": "InProgress"},
    }  # fmt: skip
    velero.bed.kubectl("apply", "-f", "-", input=json.dumps(backup))
    try:
        assert f"Velero still works on backup {name}-b" in refused(velero.options(name=name, state="absent"))
        backup["status"] = {"phase": "Completed", "volumeSnapshotsAttempted": 1, "volumeSnapshotsCompleted": 1}
        velero.bed.kubectl("apply", "-f", "-", input=json.dumps(backup))
        (warning,) = ensure(velero.snapshot_options(name, config={"region": "elsewhere"}), check=True).warnings
        assert "is another place now" in warning
        gone = ensure(velero.options(name=name, state="absent"))
        assert gone["backups"]["names"] == [f"{name}-b"]
        assert any("cannot be restored or deleted without it" in warning for warning in gone.warnings)
    finally:
        velero.bed.kubectl("-n", velero.namespace, "delete", "backups.velero.io", f"{name}-b", "--ignore-not-found")


@pytest.mark.parametrize("first", [MODULE, "velero_storage_location"])
def test_a_secret_that_a_location_of_the_other_kind_uses_stays(velero: InstalledVelero, name: str, first: str) -> None:
    """A Secret that was made for one location stays when another uses it too, of whatever kind they are."""
    content = {"name": f"{name}-keys", "content": velero.credentials}
    options = {MODULE: velero.snapshot_options(name), "velero_storage_location": velero.location_options(name)}
    other = next(module for module in options if module != first)
    for module, credential in ((first, content), (other, {"name": f"{name}-keys"})):
        made = run(module, options[module] | {"credential": credential})
        assert not made.failed, made["msg"]
    assert len(run(first, velero.options(name=name, state="absent")).written) == 1
    assert velero.secret(f"{name}-keys") is not None
    run(other, velero.options(name=name, state="absent"))
    velero.bed.kubectl("-n", velero.namespace, "delete", "secret", f"{name}-keys")


def test_where_no_server_runs(bed: Bed, velero: InstalledVelero) -> None:
    """Without a server the location is stored and the missing proof told; without a namespace check mode says what it would do."""
    namespace = "shots-idle"
    options = velero.snapshot_options("idle", namespace=namespace)
    assert any(f"namespace {namespace} does not exist" in warning for warning in ensure(options, check=True).warnings)
    assert f"namespace {namespace} does not exist" in refused(options)
    bed.kubectl("create", "namespace", namespace)
    try:
        made = ensure(options)
        assert made["changed"]
        assert made["snapshot_location"]["plugin"] is None
        (warning,) = made.warnings
        assert "did not answer a ServerStatusRequest within 10 s; whether it has the plugin velero.io/aws" in warning
    finally:
        bed.kubectl("delete", "namespace", namespace, "--wait=false")
