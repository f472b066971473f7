# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""velero_backup against real Velero 1.17.2: made, found, joined, judged whatever happens meanwhile, and removed so that it stays away."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.bed.conftest import InstalledVelero
from tests.bed.driver import READ_VERBS
from tests.bed.velero.backed_up import Application, claim, meanwhile, pod
from tests.plays.in_process import Ran, run

pytestmark = pytest.mark.timeout(900)
MODULE = "velero_backup"


def good(options: dict[str, Any], *, check: bool = False) -> Ran:
    """Run the module; a failure is the test's."""
    ran = run(MODULE, options, check=check)
    assert not ran.failed, ran["msg"]
    return ran


def refused(options: dict[str, Any], seconds: float, *, check: bool = False) -> str:
    """Run the module, which has to fail within so many seconds; returns its sentence."""
    began = time.monotonic()
    ran = run(MODULE, options, check=check)
    assert ran.failed, ran.result
    assert time.monotonic() - began < seconds
    assert "Traceback" not in ran["msg"]
    return str(ran["msg"])


@pytest.fixture(scope="module")
def app(velero: InstalledVelero) -> Iterator[Application]:
    """An application whose only claim is copied."""
    made = Application(velero, f"app-{uuid.uuid4().hex[:5]}")
    made.make()
    yield made
    made.remove()


@pytest.fixture
def own(velero: InstalledVelero) -> Iterator[Application]:
    """An application of this test alone, that it may break."""
    made = Application(velero, f"own-{uuid.uuid4().hex[:5]}")
    made.make()
    yield made
    made.remove()


@pytest.fixture
def name(velero: InstalledVelero) -> Iterator[str]:
    """A name for a backup of this test, removed afterwards."""
    chosen = f"b-{uuid.uuid4().hex[:8]}"
    yield chosen
    run(MODULE, velero.options(name=chosen, state="absent"))


def writes(velero: InstalledVelero, mark: int) -> list[str]:
    """Return the requests since a mark that change something, those for throw-away objects left out."""
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in velero.bed.audit(mark)
        if event["verb"] not in READ_VERBS and "/downloadrequests" not in event["requestURI"]
    ]


# made, found, joined, new enough


def test_made_and_found(velero: InstalledVelero, app: Application, name: str) -> None:
    """A backup is made, proven and told at once when Velero is done; the second run writes nothing; another content is refused."""
    options = app.options(name, ttl="72h", labels={"made-by": "test"})
    predicted = good(options, check=True)
    made = good(options)
    lag = datetime.now(UTC) - datetime.fromisoformat(made["backup"]["completed"].replace("Z", "+00:00"))
    assert predicted["diff"] == made["diff"]
    assert predicted["requests"] == made["requests"]
    entry = made["backup"]
    assert (entry["good"], entry["phase"], entry["coverage"], entry["verdict"]) == (True, "Completed", "known", "")
    assert entry["unreached"] is None
    assert lag.total_seconds() < 2  # the stamp has whole seconds
    (volume,) = [volume for volume in entry["volumes"] if volume["claim"] == "data"]
    assert (volume["method"], volume["uploader"], volume["phase"], volume["node"]) == ("fs_backup", "kopia", "Completed", "n1")
    assert volume["bytes"] >= 2_000_000
    assert entry["template"]["ttl"] == "72h0m0s"
    assert entry["labels"]["made-by"] == "test"
    assert entry["progress"]["done"] == entry["progress"]["total"] > 0
    assert any("volumes" in line and "items" in line for line in made.progress)

    mark = velero.bed.audit_mark()
    again = good(options)
    assert not again["changed"]
    assert again["requests"] == []
    assert writes(velero, mark) == []
    message = refused({**options, "included_namespaces": ["default"]}, 5)
    assert f"included_namespaces is {app.namespace}, not default" in message
    assert "cannot be changed" in message
    assert "selector" in refused({**options, "selector": "app=db"}, 5)
    assert json.loads(app.kubectl("get", "downloadrequests.velero.io", "-o", "json"))["items"] == []


def test_new_enough(velero: InstalledVelero, app: Application, name: str) -> None:
    """A good backup of the same content satisfies newer_than, whatever its name; one of less, of another place or too old does not."""
    good(app.options(name))
    asked = app.options(None, newer_than="10m", name_prefix="young")
    mark = velero.bed.audit_mark()
    found = good(asked)
    assert found["backup"]["name"] == name
    assert not found["changed"]
    assert writes(velero, mark) == []
    assert sum(1 for _event in velero.bed.audit(mark)) <= 9
    time.sleep(2)
    for other in ({"newer_than": "1s"}, {"selector": "app=db"}, {"included_namespaces": [app.namespace, "default"]}):
        planned = good({**asked, **other}, check=True)
        assert planned["changed"], other
        assert planned["backup"]["name"].startswith("young-")
    half = good(app.options(f"{name}-half", included_resources=["configmaps"]))
    assert half["backup"]["good"], "there is no claim in it"
    try:
        assert good(asked)["backup"]["name"] == name, "a backup of less is not one of all"
    finally:
        good(velero.options(name=f"{name}-half", state="absent"))
    time.sleep(2)
    made = good({**asked, "newer_than": "1s"})
    try:
        assert made["changed"]
        assert made["backup"]["name"].startswith("young-20")
    finally:
        good(velero.options(name=made["backup"]["name"], state="absent"))


def test_joined(app: Application, name: str) -> None:
    """A backup that somebody else has begun is waited for and not made twice, by name and by age."""
    app.velero.velero.cli("backup", "create", name, "--include-namespaces", app.namespace)
    joined = good(app.options(None, newer_than="1s"))
    assert not joined["changed"]
    assert joined["requests"] == []
    assert joined["backup"]["name"] == name
    assert joined["backup"]["good"]


def test_interrupted_and_run_again(app: Application, name: str) -> None:
    """A task whose time is over says that the backup goes on; the next one joins it."""
    options = app.slow(name)
    message = refused({**options, "timeout": 3}, 5)
    assert "goes on by itself" in message
    again = good(options)
    assert not again["changed"]
    assert again["backup"]["good"]


# verdicts


def test_partially_failed_by_a_broken_volume(own: Application, name: str) -> None:
    """A volume that cannot be read makes the task fail, with the volume and Velero's words for it."""
    own.break_volume("db")
    message = refused(own.options(name), 90)
    assert "is incomplete" in message
    assert "data" in message
    assert f"{own.namespace}/db" in message
    assert "state absent" in message
    assert "is incomplete" in refused(own.options(name), 10), "it stays what it is"
    assert "young-" in good(own.options(None, newer_than="1h", name_prefix="young"), check=True)["backup"]["name"], "it satisfies nobody"


def test_failed_at_the_end(velero: InstalledVelero, app: Application, name: str) -> None:
    """A store that takes nothing makes the backup fail at its end; what Velero says of it is told."""
    bucket, location = f"readable-{name}", f"readable-{name}"
    access, secret = velero.bed.s3.make_account(f"{name}-key", f"{name}-secret-0123456789")
    velero.bed.s3.make_bucket(bucket)
    allow = {"Effect": "Allow", "Principal": {"AWS": [access]}}
    statement = [
        {**allow, "Action": ["s3:GetObject"], "Resource": f"arn:aws:s3:::{bucket}/*"},
        {**allow, "Action": ["s3:ListBucket"], "Resource": f"arn:aws:s3:::{bucket}"},
    ]
    velero.bed.s3.put_policy(bucket, {"Version": "2012-10-17", "Statement": statement})
    content = f"[default]\naws_access_key_id={access}\naws_secret_access_key={secret}\n"
    options = velero.location_options(location, bucket=bucket, prefix=None, credential={"name": location, "content": content})
    made = run("velero_storage_location", options)
    assert not made.failed, made["msg"]
    try:
        message = refused(app.options(name, storage_location=location, included_resources=["configmaps"]), 90)
        assert "it failed" in message
        assert "AccessDenied" in message
        assert secret not in message
    finally:
        app.kubectl("delete", "backups.velero.io", name)
        assert not run("velero_storage_location", velero.options(name=location, state="absent")).failed


def test_refused_by_velero(app: Application, name: str) -> None:
    """FailedValidation is told with Velero's reasons, and such a backup can be removed."""
    message = refused(app.options(name, volume_snapshot_locations=["nowhere"]), 20)
    assert "Velero refused it" in message
    assert "nowhere" in message
    gone = good(app.velero.options(name=name, state="absent"))
    assert gone.written == [f"DELETE /apis/velero.io/v1/namespaces/{app.velero.namespace}/backups/{name}"]
    assert app.backup(name) is None


def test_uncovered_volumes(own: Application, name: str) -> None:
    """Velero says Completed, and the claims without data are named: no annotation, no pod, no running pod. One that was never bound is none."""
    space = own.namespace
    idle = pod(space, "idle", {"files": "idle"}, "files", "true")
    idle["spec"]["restartPolicy"] = "Never"
    own.apply(
        *(claim(space, each) for each in ("plain", "left", "never", "cache-1", "idle")),
        pod(space, "plain", {"files": "plain"}, None),
        pod(space, "left", {"files": "left"}, "files"),
        pod(space, "cache", {"files": "cache-1"}, None),
        idle,
    )
    own.wait_running("plain", "left", "cache")
    own.velero.bed.kubectl("-n", space, "delete", "pod", "left")
    own.velero.bed.kubectl("-n", space, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/idle", "--timeout=30s")
    message = refused(own.options(name, excluded_volumes=[f"{space}/cache-*"]), 120)
    assert f"{space}/plain (annotation backup.velero.io/backup-volumes of pod plain does not name volume files" in message
    assert f"{space}/left (no pod uses it" in message
    assert f"{space}/idle (pod idle is not running (Succeeded)" in message
    assert "never" not in message
    assert f"{space}/data" not in message
    assert "default_volumes_to_fs_backup" in message
    warned = good(own.options(name, excluded_volumes=[f"{space}/cache-*"], uncovered_volumes="warn"))
    entry = warned["backup"]
    assert entry["good"] is False
    assert sorted(item["claim"] for item in entry["uncovered"]) == ["idle", "left", "plain"]
    assert entry["excluded"] == [f"{space}/cache-1"]
    assert entry["unbound"] == [f"{space}/never"]
    assert any("holds no data of" in warning for warning in warned.warnings)
    assert good(own.options(name, excluded_volumes=[f"{space}/*"]))["backup"]["good"]


def test_all_volumes_by_default(own: Application, name: str) -> None:
    """With files copied by default the same pod without an annotation is covered."""
    own.apply(claim(own.namespace, "plain"), pod(own.namespace, "plain", {"files": "plain"}, None))
    own.wait_running("plain")
    made = good(own.options(name, default_volumes_to_fs_backup=True))
    assert {volume["claim"] for volume in made["backup"]["volumes"]} >= {"data", "plain"}
    assert made["backup"]["good"]


def test_location_lost_in_the_middle(velero: InstalledVelero, app: Application, name: str) -> None:
    """A storage location that goes while Velero works: the task ends in time and says so. Velero itself hangs until its server is started anew."""
    location = f"lost-{name}"
    assert not run("velero_storage_location", velero.location_options(location)).failed
    options = app.slow(name, storage_location=location, timeout=60)

    def lose() -> None:
        app.wait_phase(name, "InProgress")
        app.kubectl("delete", "backupstoragelocations.velero.io", location)

    ran = meanwhile(options, lose)
    try:
        assert ran.failed, ran.result
        assert f"its storage location {location} is gone" in ran["msg"]
        # the server does one backup after the other, so whoever comes next waits behind this one
        message = refused(app.options(f"{name}-next", timeout=20), 25)
        assert f"it waits behind backup {name}" in message
    finally:
        app.kubectl("delete", "pod", "-l", "deploy=velero", "--grace-period=0", "--force")
        app.kubectl("rollout", "status", "deployment/velero", "--timeout=60s")
        app.kubectl("delete", "backups.velero.io", name, "--ignore-not-found")
        app.wait_phase(f"{name}-next", "Completed")
        good(velero.options(name=f"{name}-next", state="absent"))


def test_node_agent_killed_in_the_middle(app: Application, name: str) -> None:
    """Whatever becomes of the copy when the node agent dies, the answer is true, and comes in time."""

    def kill() -> None:
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            if app.kubectl("get", "podvolumebackups.velero.io", "-l", f"velero.io/backup-name={name}", "-o", "name").strip():
                break
            time.sleep(0.1)
        app.kubectl("delete", "pod", "-l", "name=node-agent", "--grace-period=0", "--force")

    ran = meanwhile(app.options(name, timeout=150), kill)
    status = (app.backup(name) or {})["status"]
    assert ran.failed is (status["phase"] != "Completed"), (ran.result, status)
    if ran.failed:
        assert "is incomplete" in ran["msg"]
        assert "data" in ran["msg"]
    else:
        assert {volume["phase"] for volume in ran["backup"]["volumes"]} == {"Completed"}
    app.kubectl("rollout", "status", "daemonset/node-agent", "--timeout=60s")


def test_server_killed_in_the_middle(app: Application, name: str) -> None:
    """A server that dies leaves the backup to the next one, which marks it as failed."""

    def kill() -> None:
        app.wait_phase(name, "InProgress")
        app.kubectl("delete", "pod", "-l", "deploy=velero", "--grace-period=0", "--force")

    ran = meanwhile(app.slow(name, 30), kill)
    assert ran.failed, ran.result
    assert "it failed" in ran["msg"]
    assert "InProgress" in ran["msg"], "Velero's own words for it"
    app.kubectl("rollout", "status", "deployment/velero", "--timeout=60s")


def test_no_server(app: Application, name: str) -> None:
    """Without a server the deadline is kept and the message says what is missing."""
    app.kubectl("scale", "deployment/velero", "--replicas=0")
    app.kubectl("wait", "--for=delete", "pod", "-l", "deploy=velero", "--timeout=60s")
    try:
        message = refused(app.options(name, timeout=15), 20)
        assert "Velero's server is not running" in message
    finally:
        app.kubectl("scale", "deployment/velero", "--replicas=1")
        app.kubectl("rollout", "status", "deployment/velero", "--timeout=60s")
    assert good(app.options(name))["backup"]["good"]


def test_bucket_emptied(app: Application, name: str) -> None:
    """A backup whose contents were removed from the bucket is not good any more, though the cluster still says Completed."""
    good(app.options(name))
    app.empty_store(name)
    message = refused(app.options(name), 20)
    assert "its contents are gone" in message or app.backup(name) is None
    planned = good(app.options(None, newer_than="1h", name_prefix="young"), check=True)
    assert planned["backup"]["name"].startswith("young-")


def test_name_taken_in_the_bucket(app: Application, name: str) -> None:
    """A name that the store knows and the cluster does not: the right sentence, and removing the record keeps what is stored."""
    good(app.options(name))
    stored = app.stored(name)
    assert stored
    app.kubectl("delete", "backups.velero.io", name)
    message = refused(app.options(name), 30)
    assert "the store holds a backup of this name that the cluster does not list" in message
    assert "Take another name" in message
    gone = good(app.velero.options(name=name, state="absent"))
    assert [line.split()[0] for line in gone.written] == ["DELETE"]
    assert any("another backup of this name" in warning for warning in gone.warnings)
    assert app.stored(name) == stored
    app.wait_phase(name, "Completed", seconds=90)


# refused before anything is written


def test_refused_before_anything_is_written(velero: InstalledVelero, app: Application, name: str) -> None:
    """A location that cannot take it, a namespace that is not there, a field that would be dropped: told, and nothing is written."""
    location = f"shut-{name}"
    assert not run("velero_storage_location", velero.location_options(location, access_mode="ReadOnly")).failed
    mark = velero.bed.audit_mark()
    try:
        assert "is read-only" in refused(app.options(name, storage_location=location), 5)
        assert "there is no storage location nowhere" in refused(app.options(name, storage_location="nowhere"), 5)
        assert "namespace not-there does not exist" in refused(app.options(name, included_namespaces=["not-there"]), 5)
        assert writes(velero, mark) == []
        planned = good(app.options(name, included_namespaces=["not-there"]), check=True)
        assert any("not-there does not exist" in warning for warning in planned.warnings)
    finally:
        run("velero_storage_location", velero.options(name=location, state="absent"))
    bad = run("velero_storage_location", velero.location_options(f"bad-{name}", bucket="no-such-bucket"))
    assert bad.failed
    try:
        assert "is Unavailable" in refused(app.options(name, storage_location=f"bad-{name}"), 5)
    finally:
        run("velero_storage_location", velero.options(name=f"bad-{name}", state="absent"))


def test_a_field_that_the_cluster_would_drop(velero: InstalledVelero, app: Application, name: str) -> None:
    """A definition without a field, as after an upgrade of the image alone: the option is refused by name."""
    kind = "customresourcedefinitions/backups.velero.io"
    whole = json.loads(velero.bed.kubectl("get", kind, "-o", "json"))
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/uploaderConfig"
    velero.bed.kubectl("patch", kind, "--type", "json", "-p", json.dumps([{"op": "remove", "path": path}]))
    try:
        mark = velero.bed.audit_mark()
        message = refused(app.options(name, parallel_files_upload=2), 5)
        assert "option parallel_files_upload" in message
        assert "would drop it" in message
        assert "1.13" in message
        assert writes(velero, mark) == []
    finally:
        removed = whole["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["uploaderConfig"]
        velero.bed.kubectl("patch", kind, "--type", "json", "-p", json.dumps([{"op": "add", "path": path, "value": removed}]))
    made = good(app.options(name, parallel_files_upload=2))
    assert made["backup"]["template"]["parallel_files_upload"] == 2


def test_before_velero_is_there(velero: InstalledVelero) -> None:
    """In a namespace without Velero check mode says what it would do; the real run says what is missing."""
    options = velero.options(name="early", namespace="no-velero-here")
    planned = good(options, check=True)
    assert planned["changed"]
    assert any("namespace no-velero-here does not exist" in warning for warning in planned.warnings)
    assert "Install Velero first" in refused(options, 10)


# removed


def test_removed_for_good(velero: InstalledVelero, app: Application, name: str) -> None:
    """A backup goes from cluster and store with the Restores made from it, and is told of before; the second run writes nothing."""
    good(app.options(name, included_resources=["configmaps"]))
    velero.velero.cli("restore", "create", f"{name}-r", "--from-backup", name, "--namespace-mappings", f"{app.namespace}:{app.namespace}-r", "--wait")
    try:
        predicted = good(velero.options(name=name, state="absent"), check=True)
        assert predicted["diff"]["before"]["restores"] == [f"{name}-r"]
        gone = good(velero.options(name=name, state="absent"))
        assert [line.rsplit("/", 1)[-1] for line in gone.written] == ["deletebackuprequests"]
        assert predicted["requests"] == gone["requests"]
        assert predicted["diff"] == gone["diff"]
        assert any(f"{name}-r" in warning for warning in gone.warnings)
        assert gone["waited"]["last"] == "gone"
        assert app.backup(name) is None
        left = app.kubectl("get", "restores.velero.io,deletebackuprequests.velero.io", "-o", "name")
        assert name not in left
        assert app.stored(name) == []
        mark = velero.bed.audit_mark()
        again = good(velero.options(name=name, state="absent"))
        assert not again["changed"]
        assert writes(velero, mark) == []
    finally:
        velero.bed.kubectl("delete", "namespace", f"{app.namespace}-r", "--ignore-not-found", "--wait=false")


def test_not_removed(velero: InstalledVelero, app: Application, name: str) -> None:
    """A backup that Velero works on, or in a location that is read-only or gone, is refused before anything is written."""
    location = f"shut-{name}"
    # a store of its own: below the one of the installation it would be a foreign folder, and that location Unavailable
    velero.bed.s3.make_bucket(location)
    place = {"bucket": location}
    assert not run("velero_storage_location", velero.location_options(location, **place)).failed
    options = app.slow(name, 8, storage_location=location)
    refusals: list[str] = []

    def remove() -> None:
        app.wait_phase(name, "InProgress")
        refusals.append(refused(velero.options(name=name, state="absent"), 5))

    made = meanwhile(options, remove)
    assert not made.failed, made["msg"]
    assert made["backup"]["unreached"], "this location has no address for outside of the cluster"
    assert made["backup"]["coverage"] == "partly"
    assert "Velero still works on it (phase InProgress)" in refusals[0]
    try:
        assert not run("velero_storage_location", velero.location_options(location, access_mode="ReadOnly", **place)).failed
        mark = velero.bed.audit_mark()
        assert "is read-only" in refused(velero.options(name=name, state="absent"), 5)
        assert not run("velero_storage_location", velero.location_options(location, access_mode="ReadWrite", **place)).failed
        app.kubectl("delete", "backupstoragelocations.velero.io", location)
        assert "is not there" in refused(velero.options(name=name, state="absent"), 5)
        assert not [line for line in writes(velero, mark) if "deletebackuprequests" in line]
    finally:
        # by hand: after a change of a location 1.17.2 removes nothing from it until it has opened its repository anew, up to five minutes
        app.kubectl("delete", "backupstoragelocations.velero.io", location, "--ignore-not-found")
        app.kubectl("delete", "backups.velero.io", name, "--ignore-not-found")
