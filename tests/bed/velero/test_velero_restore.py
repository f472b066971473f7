# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""velero_restore and velero_restore_info against real Velero 1.17.2: what is lost comes back, and what cannot come back is told before or after."""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.bed.conftest import InstalledVelero
from tests.bed.velero.restoring import Application, bucket, change, lose, object_of, until
from tests.bed.ways.audited import writes
from tests.plays.in_process import Ran, run

pytestmark = pytest.mark.timeout(600)
MODULE = "velero_restore"


def ensure(options: dict[str, Any], *, check: bool = False, module: str = MODULE) -> Ran:
    """Run the module; a failure is the test's."""
    ran = run(module, options, check=check)
    assert not ran.failed, ran["msg"]
    return ran


def refused(options: dict[str, Any], seconds: float = 60) -> str:
    """Run the module, which has to fail within so many seconds; returns its sentence."""
    began = time.monotonic()
    ran = run(MODULE, options)
    assert ran.failed, ran.result
    assert time.monotonic() - began < seconds
    assert "Traceback" not in ran["msg"]
    return str(ran["msg"])


@pytest.fixture(scope="module")
def application(velero: InstalledVelero) -> Iterator[Application]:
    """An application that runs, and its backup `kept`."""
    application = Application(velero, "restored").make()
    if object_of(velero, "backups", "kept") is None:
        assert application.backup("kept") == "Completed"
    yield application
    application.lose()
    velero.velero.cli("backup", "delete", "kept", "--confirm")


@pytest.fixture
def app(application: Application) -> Application:
    """The application, running."""
    return application.kept()


@pytest.fixture
def name(velero: InstalledVelero) -> Iterator[str]:
    """A name for a restore, for its namespaces and further backups; gone afterwards with everything it left."""
    chosen = f"rst-{uuid.uuid4().hex[:8]}"
    yield chosen
    velero.bed.kubectl("-n", velero.namespace, "delete", "restores.velero.io", chosen, f"{chosen}-2", "--ignore-not-found", timeout=90)
    lose(velero, chosen, f"{chosen}-2")


def meanwhile(options: dict[str, Any], ready: Callable[[], Any], act: Callable[[], Any], seconds: float = 200) -> Ran:
    """Run the module in a thread, act once something is seen, and return what came of it."""
    came: list[Ran] = []
    thread = threading.Thread(target=lambda: came.append(run(MODULE, options)), daemon=True)
    thread.start()
    until(ready, 60, 0.05)
    act()
    thread.join(seconds)
    assert came, f"no end within {seconds:.0f} s"
    return came[0]


def phase(velero: InstalledVelero, name: str) -> str:
    """Return a restore's phase."""
    return str(((object_of(velero, "restores", name) or {}).get("status") or {}).get("phase") or "")


def test_what_is_lost_comes_back(velero: InstalledVelero, app: Application, name: str) -> None:
    """Predicted, then restored with its data; a second run writes nothing; a later loss is not called restored."""
    app.lose()
    options = velero.options(name=name, backup_name="kept", timeout=120)
    mark = velero.bed.audit_mark()
    predicted = ensure(options, check=True)
    assert writes(velero, mark) == []
    made = ensure(options)
    assert predicted["diff"] == made["diff"]
    assert predicted["requests"] == made["requests"]
    restore = made["restore"]
    assert restore["good"] is True
    assert {(item["volume"], item["claim"], item["phase"]) for item in restore["volumes"]} == {
        ("data", "data", "Completed"),
        ("scratch", None, "Completed"),
    }
    assert [(item["name"], item["phase"]) for item in restore["claims"]] == [("data", "Bound")]
    assert [(item["kind"], item["ready"], item["available"]) for item in restore["workloads"]] == [("Deployment", 1, True)]
    assert restore["namespaces"] == {"restored": "restored"}
    assert any("kube-root-ca.crt" in text for text in restore["results"]["warnings"])
    assert made.warnings == [], "one about kube-root-ca.crt is normal"
    assert app.content() == "precious"
    assert any("volumes" in line for line in made.progress)

    mark = velero.bed.audit_mark()
    again = ensure(options)
    assert not again["changed"]
    assert again["restore"]["good"] is True
    assert writes(velero, mark) == []
    assert "differs in included_resources" in refused({**options, "included_resources": ["configmaps"]}, 10)

    told = ensure(velero.options(name=name, gather=["volumes", "workloads", "results", "log"]), module="velero_restore_info")
    assert [item["good"] for item in told["restores"]] == [True]
    assert told["restores"][0]["log_tail"]

    app.lose()
    message = refused(options, 20)
    assert "what it restored is not there any more: namespace restored does not exist" in message
    told = ensure(velero.options(name=name), module="velero_restore_info")
    assert told["restores"][0]["good"] is False
    assert "namespace restored does not exist" in told["restores"][0]["verdict"]


def test_into_another_namespace(velero: InstalledVelero, app: Application, name: str) -> None:
    """Volumes and workloads come up beside the ones that run, which stay as they are; a kind that is left out does not exist."""
    app.write("precious")
    options = velero.options(name=name, backup_name="kept", namespace_mapping={"restored": name}, excluded_resources=["configmaps"], timeout=120)
    made = ensure(options)
    assert made["restore"]["namespaces"] == {"restored": name}
    assert {item["namespace"] for item in made["restore"]["volumes"]} == {name}
    assert app.content(name) == "precious"
    assert "settings" not in velero.bed.kubectl("-n", name, "get", "configmaps", "-o", "name")
    assert "differs in namespace_mapping" in refused({**options, "namespace_mapping": None}, 10)

    gone = ensure(velero.options(name=name, state="absent"))
    assert gone["changed"]
    assert object_of(velero, "restores", name) is None
    assert app.content(name) == "precious", "what was restored stays"
    assert not ensure(velero.options(name=name, state="absent"))["changed"]


def test_guards_before_anything_is_written(velero: InstalledVelero, app: Application, name: str) -> None:
    """Everything that would make the restore useless is told within seconds, and nothing is written."""
    elsewhere = {"namespace_mapping": {"restored": name}}
    options = velero.options(name=name, backup_name="kept", **elsewhere)
    mark = velero.bed.audit_mark()
    assert "there is no Backup velero/nobody" in refused({**options, "backup_name": "nobody"}, 10)
    assert "claims of the backup exist already: restored/data" in refused({**options, "namespace_mapping": None}, 10)
    assert "without persistentvolumes among its resources" in refused({**options, "included_resources": ["pods", "persistentvolumeclaims"]}, 10)
    assert "does not have namespace other" in refused({**options, "included_namespaces": ["other"]}, 10)
    assert "no backups" in refused(velero.options(name=name, schedule_name="nobody"), 10)
    assert writes(velero, mark) == []
    absent = ensure({**options, "backup_name": "nobody"}, check=True)
    assert any("there is no Backup nobody" in text for text in absent.warnings)

    was = (object_of(velero, "backups", "kept") or {})["status"]["expiration"]
    past = (datetime.now(UTC) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    change(velero, "backups", "kept", {"status": {"expiration": past}})
    try:
        assert f"backup kept expired at {past}" in refused(options, 10)
    finally:
        change(velero, "backups", "kept", {"status": {"expiration": was}})

    finalizer = ["serverops.circleci/test"]
    velero.bed.kubectl("create", "namespace", f"{name}-2")
    velero.bed.kubectl("patch", "namespace", f"{name}-2", "--type", "merge", "-p", f'{{"metadata": {{"finalizers": {finalizer}}}}}'.replace("'", '"'))
    velero.bed.kubectl("delete", "namespace", f"{name}-2", "--wait=false")
    try:
        assert f"namespace {name}-2, which it restores into, is being deleted" in refused(
            {**options, "namespace_mapping": {"restored": f"{name}-2"}}, 10
        )
    finally:
        velero.bed.kubectl("patch", "namespace", f"{name}-2", "--type", "merge", "-p", '{"metadata": {"finalizers": null}}')

    place = bucket(velero)
    change(velero, "backupstoragelocations", "default", {"spec": {"objectStorage": {"bucket": "no-such-bucket"}}})
    try:
        until(lambda: (velero.location("default") or {})["status"]["phase"] == "Unavailable", 60)
        assert "of which Velero says Unavailable" in refused(options, 20)
    finally:
        change(velero, "backupstoragelocations", "default", {"spec": {"objectStorage": {"bucket": place}}})
        until(lambda: (velero.location("default") or {})["status"]["phase"] == "Available", 60)
    assert object_of(velero, "restores", name) is None


def test_a_backup_without_the_data(velero: InstalledVelero, app: Application, name: str) -> None:
    """A pod that does not ask for a copy of its claim: Velero calls the backup Completed, and it is not restored unless told."""
    other = Application(velero, f"{name}-2", copied="scratch").make()
    assert other.backup(name) == "Completed"
    try:
        options = velero.options(name=name, backup_name=name, namespace_mapping={f"{name}-2": name}, timeout=120)
        message = refused(options, 20)
        assert f"no copy of the data of 1 claims: {name}-2/data" in message
        assert "excluded_volumes" in message
        made = ensure({**options, "excluded_volumes": [f"{name}-2/da*"]})
        assert [item["volume"] for item in made["restore"]["volumes"]] == ["scratch"]
        assert [(item["name"], item["phase"]) for item in made["restore"]["claims"]] == [("data", "Bound")]
    finally:
        velero.velero.cli("backup", "delete", name, "--confirm")


def test_a_backup_that_failed(velero: InstalledVelero, app: Application, name: str) -> None:
    """Refused with Velero's reason: FailedValidation, and PartiallyFailed unless it is allowed."""
    velero.velero.cli("backup", "create", name, "--include-namespaces", "restored,no-such-namespace", "--wait", timeout=200)
    try:
        options = velero.options(name=name, backup_name=name, namespace_mapping={"restored": name}, timeout=120)
        message = refused(options, 20)
        assert f"backup {name} is PartiallyFailed with 1 errors" in message
        assert "allow_partially_failed" in message
        made = ensure({**options, "allow_partially_failed": True})
        assert made["restore"]["good"] is True
        assert any("PartiallyFailed" in text for text in made.warnings)
        change(velero, "backups", name, {"status": {"phase": "FailedValidation", "validationErrors": ["no such thing"]}})
        assert f"backup {name} is FailedValidation: no such thing" in refused({**options, "name": f"{name}-2"}, 20)
        change(velero, "backups", name, {"status": {"phase": "InProgress"}})
        assert "is not finished (phase InProgress)" in refused({**options, "name": f"{name}-2"}, 20)
    finally:
        change(velero, "backups", name, {"status": {"phase": "PartiallyFailed", "validationErrors": None}})
        velero.velero.cli("backup", "delete", name, "--confirm")


def _without_data(velero: InstalledVelero, folder: str) -> Callable[[], None]:
    """Move a folder of the bucket away; returns what puts it back."""
    there = velero.bed.s3.path(bucket(velero), folder)
    kept = velero.bed.s3.path(f"aside-{uuid.uuid4().hex[:6]}")
    shutil.move(there, kept)

    def back() -> None:
        if there.exists():
            shutil.rmtree(there)
        shutil.move(kept, there)

    return back


def test_the_bucket_is_emptied(velero: InstalledVelero, app: Application, name: str) -> None:
    """The backup's files are gone: told before. The data of its volumes are gone: the restore is PartiallyFailed, and the volumes are named."""
    options = velero.options(name=name, backup_name="kept", namespace_mapping={"restored": name}, timeout=200)
    back = _without_data(velero, "backups/kept")
    try:
        message = refused(options, 30)
    finally:
        back()
    assert "backup kept: its contents are gone" in message
    assert object_of(velero, "restores", name) is None

    back = _without_data(velero, "kopia")
    try:
        message = refused(options, 200)
    finally:
        back()
    assert "phase PartiallyFailed" in message
    assert f"{name}/app-" in message
    assert "data" in message
    assert "state absent" in message
    again = refused(options, 10)
    assert "it was made before and is not good: phase PartiallyFailed" in again


def test_the_server_is_killed_in_the_middle(velero: InstalledVelero, app: Application, name: str) -> None:
    """The server that starts marks the restore as failed, and the task says why and what to do."""
    options = velero.options(name=name, backup_name="kept", namespace_mapping={"restored": name}, timeout=200)
    ran = meanwhile(
        options,
        lambda: phase(velero, name) == "InProgress",
        lambda: velero.bed.kubectl("-n", velero.namespace, "delete", "pod", "-l", "deploy=velero", "--grace-period=0", "--force"),
    )
    velero.velero.wait()
    assert ran.failed
    assert ran["changed"] is True
    assert "phase Failed" in ran["msg"]
    assert "started anew in the middle" in ran["msg"]


def test_the_node_agent_is_killed_in_the_middle(velero: InstalledVelero, app: Application, name: str) -> None:
    """The agent comes back and goes on, or the volume fails: whichever, the answer is true."""
    options = velero.options(name=name, backup_name="kept", namespace_mapping={"restored": name}, timeout=200)
    ran = meanwhile(
        options,
        lambda: phase(velero, name) == "InProgress" and object_of(velero, "restores", name),
        lambda: velero.bed.kubectl("-n", velero.namespace, "delete", "pod", "-l", "name=node-agent", "--grace-period=0", "--force"),
    )
    velero.velero.wait()
    if ran.failed:
        assert "not restored" in ran["msg"]
    else:
        assert ran["restore"]["good"] is True
        assert app.content(name) == "precious"


def test_the_backup_is_deleted_in_the_middle(velero: InstalledVelero, app: Application, name: str) -> None:
    """Velero removes the restore with the backup; the task says so at once."""
    assert app.backup(name) == "Completed"
    options = velero.options(name=name, backup_name=name, namespace_mapping={"restored": name}, timeout=200)
    ran = meanwhile(
        options,
        lambda: phase(velero, name) == "InProgress",
        lambda: velero.velero.cli("backup", "delete", name, "--confirm"),
    )
    assert ran.failed or ran["restore"]["good"] is True
    if ran.failed:
        assert "backup" in ran["msg"]
        assert "somebody deletes it" in ran["msg"] or "it is not there any more" in ran["msg"]
    until(lambda: object_of(velero, "backups", name) is None, 120)


def test_a_workload_that_does_not_come_up(velero: InstalledVelero, app: Application, name: str) -> None:
    """Completed is not enough: the workload is named, with the reason, at the deadline; ignored it is only told."""
    other = Application(velero, f"{name}-2").make()
    other.kubectl("set", "image", "deployment/app", "c=localhost/no-such-image:1")
    until(lambda: "ImagePull" in other.kubectl("get", "pods") or "ErrImage" in other.kubectl("get", "pods"), 60)
    other.backup(name)
    try:
        options = velero.options(name=name, backup_name=name, namespace_mapping={f"{name}-2": name}, uncovered_volumes="warn", timeout=120)
        message = refused(options, 140)
        assert f"Deployment {name}/app has 0 of 1 pods" in message
        assert "Image" in message
        joined = ensure({**options, "workloads": "ignore"})
        assert not joined["changed"]
        assert joined["restore"]["workloads"][0]["available"] is False
    finally:
        velero.velero.cli("backup", "delete", name, "--confirm")


def test_joined(velero: InstalledVelero, app: Application, name: str) -> None:
    """A restore that runs is joined: nothing is written, and its end is waited for."""
    velero.velero.cli("restore", "create", name, "--from-backup", "kept", "--namespace-mappings", f"restored:{name}")
    mark = velero.bed.audit_mark()
    joined = ensure(velero.options(name=name, backup_name="kept", namespace_mapping={"restored": name}, timeout=120))
    assert not joined["changed"]
    assert writes(velero, mark) == []
    assert joined["restore"]["good"] is True


def test_a_stopped_server(velero: InstalledVelero, app: Application, name: str) -> None:
    """No restore is made that nobody would carry out, and none is removed that would hang in deletion."""
    made = ensure(velero.options(name=name, backup_name="kept", namespace_mapping={"restored": name}, included_resources=["configmaps"], timeout=60))
    assert made["restore"]["volumes"] == []
    velero.bed.kubectl("-n", velero.namespace, "scale", "deployment/velero", "--replicas=0")
    try:
        until(lambda: not velero.bed.kubectl("-n", velero.namespace, "get", "pods", "-l", "deploy=velero", "-o", "name").strip(), 60)
        options = velero.options(name=f"{name}-2", backup_name="kept", namespace_mapping={"restored": f"{name}-2"})
        assert "Velero's server did not answer" in refused(options, 40)
        assert object_of(velero, "restores", f"{name}-2") is None
        message = refused(velero.options(name=name, state="absent"), 30)
        assert "restores.velero.io/external-resources-finalizer" in message
        assert (object_of(velero, "restores", name) or {})["metadata"].get("deletionTimestamp") is None
    finally:
        velero.bed.kubectl("-n", velero.namespace, "scale", "deployment/velero", "--replicas=1")
        velero.velero.wait()
    assert ensure(velero.options(name=name, state="absent"))["changed"]
