# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""velero_install on real Velero 1.17.2: made, found as made, changed in every way, broken in every way, removed and back, each proven."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import install, rollout

from tests.bed.driver import READ_VERBS
from tests.bed.velero.installable import Installable, installable
from tests.plays.in_process import Ran, run

MODULE = "velero_install"
ROTATED = ("install-rotated", "install-rotated-secret-0123456789")
WRONG = "[default]\naws_access_key_id=AKIAUNKNOWN0000\naws_secret_access_key=some-secret-that-is-wrong\n"
WIDGETS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.org"},
    "spec": {
        "group": "example.org",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}],
    },
}
WIDGET = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "own", "namespace": "velero"}}
SHORT_PATIENCE = 8.0
"""Seconds of the same trouble that are enough where the whole half minute is no part of what is shown."""


@pytest.fixture(scope="module")
def place() -> Iterator[Installable]:
    """A bed of its own without Velero."""
    yield from installable("1.17.2")


def ensure(options: dict[str, Any], *, check: bool = False) -> Ran:
    """Run the module; a failure is the test's."""
    ran = run(MODULE, options, check=check)
    assert not ran.failed, ran["msg"]
    return ran


def refused(options: dict[str, Any], seconds: float) -> str:
    """Run the module, which has to fail within so many seconds; returns its sentence."""
    began = time.monotonic()
    ran = run(MODULE, options)
    assert ran.failed, ran.result
    assert time.monotonic() - began < seconds, ran["msg"]
    assert "Traceback" not in ran["msg"]
    assert "defect" not in ran["msg"]
    return str(ran["msg"])


def writes(place: Installable, mark: int) -> list[str]:
    """Return what the module wrote since a mark, as the API server saw it; what only asks a question is left out."""
    lines = [f"{event['verb']} {event['requestURI'].partition('?')[0]}" for event in place.bed.audit(mark) if event["verb"] not in READ_VERBS]
    return [line for line in lines if "serverstatusrequests" not in line]


def test_made_as_predicted_and_found_as_made(place: Installable) -> None:
    """A fresh installation is what check mode said; the server's own answer, agents and location are in the result; again nothing is written."""
    place.remove(crds=True)
    options = place.options()
    mark = place.bed.audit_mark()
    predicted = ensure(options, check=True)
    assert writes(place, mark) == []
    made = ensure(options)
    assert made["changed"]
    for part in ("changed", "diff", "requests"):
        assert predicted[part] == made[part], part
    assert sorted(line.split()[0] for line in writes(place, mark)) == ["create"] * len(made.written)
    entry = made["installation"]
    assert entry["server"]["version"] == "v1.17.2"
    assert entry["server"]["ready"]
    assert {"kind": "ObjectStore", "name": "velero.io/aws"} in entry["server"]["plugins"]
    assert [(agent["node"], agent["ready"]) for agent in entry["node_agents"]] == [("n1", True)]
    assert [(location["name"], location["phase"]) for location in entry["storage_locations"]] == [("default", "Available")]
    assert place.bed.s3.secret_key not in json.dumps(made.result)

    mark = place.bed.audit_mark()
    again = ensure(options)
    assert not again["changed"]
    assert again.written == []
    assert writes(place, mark) == []
    # everything twice, the server's answer, and the log of an agent that has just started
    assert len(list(place.bed.audit(mark))) <= 29
    (told,) = run("velero_info", {**place.login, "gather": sorted(install.GATHERED)})["velero"]
    assert {**again["installation"], "storage_locations": []} == {**told, "storage_locations": []}, "what is told without a third look is the same"


def test_definitions_by_job_and_by_file(place: Installable, tmp_path: Path) -> None:
    """The wanted image's own Job, or a file, brings the definitions; those that are there already are not written from a file."""
    place.remove(crds=True)
    made = ensure(place.options(crds_from="job", velero_program=None))
    assert [line for line in made.written if "/jobs" in line] == [
        "POST /apis/batch/v1/namespaces/velero/jobs",
        "DELETE /apis/batch/v1/namespaces/velero/jobs/serverops-circleci-crds",
    ]
    assert sum("customresourcedefinitions" in line for line in made.written) == 13
    assert not ensure(place.options(crds_from="job", velero_program=None))["changed"]
    names = place.bed.kubectl("get", "customresourcedefinitions", "-l", "component=velero", "-o", "name").split()
    assert len(names) == 13
    place.bed.kubectl("annotate", *names, "serverops.circleci/crds-")
    file = tmp_path / "crds.yaml"
    file.write_text(place.velero.cli("install", "--crds-only", "--dry-run", "-o", "yaml"))
    assert ensure(place.options(crds_from="file", crds_file=str(file), velero_program=None)).written == []
    place.bed.kubectl("patch", names[0], "--type", "json", "-p", json.dumps([{"op": "replace", "path": "/spec/names/shortNames", "value": ["shrt"]}]))
    marked = ensure(place.options(crds_from="job", velero_program=None))
    assert sum("customresourcedefinitions" in line for line in marked.written) == 13, "unmarked ones are written, and marked"
    assert "shrt" not in place.bed.kubectl("get", names[0], "-o", "jsonpath={.spec.names.shortNames}"), "what the text does not have goes"
    file.write_text(file.read_text().replace("kind: CustomResourceDefinition", "kind: Secret", 1))
    place.bed.kubectl("annotate", names[0], "serverops.circleci/crds-")
    message = refused(place.options(crds_from="file", crds_file=str(file), velero_program=None), 10)
    assert "Secret" in message
    ensure(place.options())


@pytest.mark.full
def test_what_is_there_was_made_by_the_programme(place: Installable) -> None:
    """What Velero's own program made is taken over: nothing is restarted, and only the one server at a time is seen to."""
    place.remove(crds=True)
    place.velero.install(place.bucket)
    taken = ensure(place.options())
    assert [line for line in taken.written if "customresourcedefinitions" not in line] == ["PATCH /apis/apps/v1/namespaces/velero/deployments/velero"]
    assert taken["diff"]["after"].get("pods_made_anew") is None
    assert not ensure(place.options())["changed"]


def test_another_bucket(place: Installable) -> None:
    """Another bucket is proven by a validation of its own; nothing is restarted."""
    made = ensure(place.options())
    stamp = made["installation"]["storage_locations"][0]["last_validation_time"]
    changed = ensure(place.options(bucket=place.other_bucket, prefix="deep/er"))
    (location,) = changed["installation"]["storage_locations"]
    assert (location["bucket"], location["prefix"], location["phase"]) == (place.other_bucket, "deep/er", "Available")
    assert location["last_validation_time"] > stamp
    assert "pods_made_anew" not in changed["diff"]["after"]
    assert not ensure(place.options(bucket=place.other_bucket, prefix="deep/er"))["changed"]
    assert ensure(place.options(prefix=""))["changed"]


def test_rotated_key(place: Installable) -> None:
    """Another key goes into the Secret, server and agents are made anew, and the validation is one of the new server."""
    ensure(place.options())
    before = place.pods()
    access, secret = place.account(*ROTATED)
    content = f"[default]\naws_access_key_id={access}\naws_secret_access_key={secret}\n"
    options = place.options(credential={"content": content})
    predicted = ensure(options, check=True)
    changed = ensure(options)
    for part in ("changed", "diff", "requests"):
        assert predicted[part] == changed[part], part
    assert changed["diff"]["after"]["pods_made_anew"] == ["DaemonSet velero/node-agent", "Deployment velero/velero"]
    assert secret not in json.dumps(changed.result)
    assert not before & place.pods(), "every pod is a new one"
    assert not ensure(options)["changed"]
    # whoever changes it: pods that are older than the Secret are made anew
    time.sleep(1.1)
    place.change_secret(place.credentials)
    assert ensure(place.options())["diff"]["after"]["pods_made_anew"]
    assert not ensure(place.options())["changed"]


def test_resources_plugin_arguments_and_more(place: Installable) -> None:
    """The server changes in what was asked for, once; what somebody else put there stays."""
    ensure(place.options())
    by_hand = [
        {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "BY_HAND", "value": "yes"}},
        {"op": "add", "path": "/metadata/annotations/by~1hand", "value": "yes"},
    ]
    place.bed.kubectl("-n", "velero", "patch", "deployment", "velero", "--type", "json", "-p", json.dumps(by_hand))
    options = place.options(
        resources={"requests": {"cpu": "0.3"}, "limits": {"memory": "614400Ki"}},
        # the bed's alias of the only build of the plugin
        plugins=["velero/velero-plugin-for-aws:v1.4.1"],
        server_args={"log-level": "debug", "item-operation-sync-frequency": "20s"},
        node_agent_args={"log-level": "debug"},
        env={"SOME_WORD": "here"},
        labels={"team": "backup"},
        annotations={"example.com/why": "a test"},
        pod_labels={"kind": "server"},
        default_repo_maintain_frequency="2h",
        node_agent_resources={"requests": {"cpu": "10m", "memory": "32Mi"}},
    )
    changed = ensure(options)
    server = changed["installation"]["server"]
    assert server["plugin_images"] == ["velero/velero-plugin-for-aws:v1.4.1"]
    assert {"kind": "ObjectStore", "name": "velero.io/aws"} in server["plugins"]
    live = place.deployment()
    container = live["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {"requests": {"cpu": "300m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "600Mi"}}
    assert {"--log-level=debug", "--item-operation-sync-frequency=20s", "--default-repo-maintain-frequency=2h0m0s"} <= set(container["args"])
    assert {entry["name"]: entry.get("value") for entry in container["env"]}.items() >= {"BY_HAND": "yes", "SOME_WORD": "here"}.items()
    assert live["metadata"]["annotations"].items() >= {"by/hand": "yes", "example.com/why": "a test"}.items()
    assert (place.location() or {})["metadata"]["labels"] == {"component": "velero", "team": "backup"}
    mark = place.bed.audit_mark()
    assert ensure(options).written == []
    assert writes(place, mark) == []
    lifted = ensure(place.options(server_args={"log-level": None}, env={"SOME_WORD": None}, plugins=["velero/velero-plugin-for-aws:v1.14.3"]))
    assert lifted["changed"]
    assert "--log-level=debug" not in place.deployment()["spec"]["template"]["spec"]["containers"][0]["args"]


def test_an_argument_that_the_server_would_refuse(place: Installable) -> None:
    """Arguments that ended before the wanted release are not handed to its server, and a warning names them."""
    ensure(place.options())
    ran = ensure(place.options(server_args={"keep-latest-maintenance-jobs": 3}))
    assert any("keep-latest-maintenance-jobs" in warning for warning in ran.warnings)
    assert not ran["changed"]
    assert "log-level is one" in refused(place.options(server_args={"log-levle": "debug"}), 5)
    message = refused(place.options(maintenance_job_resources={"requests": {"cpu": "1"}}), 5)
    assert "repo_maintenance_job_configmap" in message


@pytest.mark.parametrize(
    ("over", "cause", "advice"),
    [
        ({"bucket": "no-such-bucket"}, "NoSuchBucket", "Make the bucket"),
        ({"backup_location_config": {"region": "elsewhere"}}, "region", "backup_location_config.region"),
        ({"backup_location_config": {"s3Url": "http://10.233.0.1:9"}}, "connection refused", "address of the store"),
        ({"credential": {"content": WRONG}}, "InvalidAccessKeyId", "credential.content"),
        ({"ca": True}, "certificate", "object_storage_ca_cert"),
    ],
    ids=["bucket", "region", "endpoint", "key", "CA"],
)
def test_what_cannot_store(place: Installable, over: dict[str, Any], cause: str, advice: str) -> None:
    """Each wrong setting of the location gets the server's cause and what to do, no secret, and its repair is proven."""
    good = place.options()
    if over.pop("ca", False):
        over = {
            "backup_location_config": {"s3Url": place.bed.s3.tls_endpoint_inside},
            "object_storage_ca_cert": place.bed.s3.wrong_ca_file.read_text(),
        }
    config = good["backup_location_config"] | over.get("backup_location_config", {})
    message = refused(good | over | {"backup_location_config": config}, 40)
    assert cause in message
    assert advice in message
    assert "some-secret-that-is-wrong" not in message
    assert place.bed.s3.secret_key not in message
    healed = ensure(good | ({"object_storage_ca_cert": ""} if "object_storage_ca_cert" in over else {}))
    assert healed["installation"]["storage_locations"][0]["phase"] == "Available"


@pytest.mark.full
def test_wrong_image(place: Installable) -> None:
    """An image that cannot be had is told after half a minute, not at the end of the task's time."""
    message = refused(place.options(image="velero/nowhere:v1.17.2", timeout=300), 60)
    assert "velero/nowhere:v1.17.2" in message
    assert "ImagePull" in message
    assert "Correct image" in message
    assert ensure(place.options(image="velero/velero:v1.17.2"))["installation"]["server"]["ready"]


@pytest.mark.parametrize(
    ("over", "cause"),
    [
        ({"image": "velero/nowhere:v1.17.2"}, "velero/nowhere:v1.17.2"),
        ({"plugins": ["velero/velero-plugin-for-aws:v9.9.9"]}, "velero-plugin-for-aws:v9.9.9"),
        ({"server_args": {"default-backup-ttl": "never"}}, "invalid argument"),
        pytest.param({"node_selector": {"nobody": "has-it"}}, "node(s)", marks=pytest.mark.full),
        ({"credential": {"name": "cloud-credentials", "key": "absent"}}, "has no key absent"),
        pytest.param(
            {"image": "velero/velero:v1.17.2", "version": None, "node_agent_env": {"TZ": "x"}, "node_agent_args": {"resource-timeout": "never"}},
            "invalid argument",
            marks=pytest.mark.full,
        ),
    ],
    ids=["image", "plugin", "argument", "nodes", "key of the Secret", "agent's argument"],
)
def test_what_cannot_run(place: Installable, over: dict[str, Any], cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What keeps the pods from running is told early, with the pod's reason or its last words, and its repair is proven."""
    monkeypatch.setattr(rollout, "PATIENCE", SHORT_PATIENCE)
    message = refused(place.options(timeout=300) | over, 60)
    assert cause in message
    undone = {
        "image": "velero/velero:v1.17.2",
        "server_args": {"default-backup-ttl": None},
        "node_agent_args": {"resource-timeout": None},
        "node_selector": {},
        "node_agent_env": {"TZ": None},
    }
    healed = ensure(place.options(**undone))
    assert healed["installation"]["server"]["ready"]
    assert not ensure(place.options(**undone))["changed"]


@pytest.mark.full
def test_a_namespace_that_lets_no_agent_in(place: Installable, monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace of somebody else's is not relabelled unasked; that its pod security refuses the agents is told, and the labels heal it."""
    monkeypatch.setattr(rollout, "PATIENCE", SHORT_PATIENCE)
    place.remove()
    place.bed.kubectl("create", "namespace", "velero")
    place.bed.kubectl("label", "namespace", "velero", "pod-security.kubernetes.io/enforce=baseline")
    message = refused(place.options(timeout=300), 60)
    assert "DaemonSet velero/node-agent" in message
    assert "violates PodSecurity" in message
    assert "namespace_labels" in message
    healed = ensure(place.options(namespace_labels={"pod-security.kubernetes.io/enforce": "privileged"}))
    assert all(agent["ready"] for agent in healed["installation"]["node_agents"])
    gone = ensure(place.options(state="absent"))
    assert any("was not made for Velero" in warning for warning in gone.warnings)
    place.bed.kubectl("delete", "namespace", "velero")


@pytest.fixture
def working(place: Installable) -> Iterator[Callable[[str], None]]:
    """Start a backup that takes seven seconds, because a hook in a pod of its namespace does."""
    ensure(place.options())
    place.slow_application("slow", 7)
    names: list[str] = []

    def start(name: str) -> None:
        names.append(name)
        place.velero.cli("backup", "create", name, "--include-namespaces", "slow")
        place.until(lambda: place.phase(name) == "InProgress", f"backup {name} runs")

    yield start
    for name in names:
        place.until(lambda name=name: place.phase(name) not in {"InProgress", "Finalizing", ""}, f"backup {name} is over", 60)
    place.bed.kubectl("delete", "namespace", "slow", "--wait=false")


def test_a_backup_runs_meanwhile(place: Installable, working: Callable[[str], None]) -> None:
    """fail refuses and names it, wait finishes it first, ignore breaks it off and says so; what needs no restart waits for nothing."""
    stamp = int(time.time())
    working(f"first-{stamp}")
    more = place.options(server_args={"log-level": "warning"})
    message = refused(more | {"unfinished": "fail"}, 5)
    assert f"first-{stamp}" in message
    assert "log-level" not in json.dumps(place.deployment()["spec"]["template"])
    began = time.monotonic()
    assert ensure(place.options(namespace_labels={"seen": "yes"}))["changed"]
    assert time.monotonic() - began < 3
    assert place.phase(f"first-{stamp}") == "InProgress"
    waited = ensure(more)
    assert place.phase(f"first-{stamp}") == "Completed"
    assert any(f"first-{stamp}" in warning for warning in waited.warnings)
    assert any(f"first-{stamp}" in line for line in waited.progress)

    working(f"second-{stamp}")
    ignored = ensure(place.options(server_args={"log-level": "info"}, unfinished="ignore"))
    assert any("breaks off" in warning and f"second-{stamp}" in warning for warning in ignored.warnings)
    place.until(lambda: place.phase(f"second-{stamp}") == "Failed", "the new server marks what the old one left as failed")


def test_absent_and_back(place: Installable) -> None:
    """Everything goes but what is in the bucket; an installation that stores there lists the old backups again."""
    ensure(place.options())
    name = f"kept-{int(time.time())}"
    place.velero.cli("backup", "create", name, "--include-namespaces", "default", "--include-resources", "configmaps", "--wait")
    place.velero.cli("restore", "create", f"{name}-restored", "--from-backup", name, "--wait")
    place.velero.cli("schedule", "create", "nightly", "--schedule", "0 3 * * *")
    stored = [key for key in place.bed.s3.keys(place.bucket) if f"backups/{name}/" in key]
    predicted = ensure(place.options(state="absent"), check=True)
    gone = ensure(place.options(state="absent"))
    assert any("Schedules nightly go too" in warning for warning in gone.warnings)
    assert predicted["diff"] == gone["diff"]
    assert predicted["requests"] == gone["requests"]
    assert gone["installation"] is None
    assert name in gone["backups"]["names"]
    assert "stay in their bucket" in gone["backups"]["fate"]
    assert not place.bed.kubectl("get", "namespace", "velero", "--ignore-not-found", "-o", "name").strip()
    assert not place.bed.kubectl("get", "clusterrolebinding", "velero", "--ignore-not-found", "-o", "name").strip()
    assert [key for key in place.bed.s3.keys(place.bucket) if f"backups/{name}/" in key] == stored
    assert not ensure(place.options(state="absent"))["changed"]
    back = ensure(place.options(server_args={"backup-sync-period": "5s"}))
    assert back["changed"]
    assert not any("customresourcedefinitions" in line for line in back.written)
    place.until(lambda: place.phase(name) == "Completed", "the old backup is listed again", 90)


@pytest.mark.full
def test_absent_with_a_restore_and_no_server(place: Installable) -> None:
    """A Restore that a server would have to let go of holds nothing up when there is no server any more."""
    ensure(place.options())
    body = {
        "apiVersion": "velero.io/v1",
        "kind": "Restore",
        "metadata": {"name": "held", "namespace": "velero", "finalizers": ["restores.velero.io/external-resources-finalizer"]},
        "spec": {"backupName": "nowhere"},
        "status": {"phase": "Completed"},
    }
    place.bed.kubectl("-n", "velero", "scale", "deployment", "velero", "--replicas=0")
    place.until(lambda: not place.pods("deploy=velero"), "the server is gone")
    upload = {
        "apiVersion": "velero.io/v2alpha1",
        "kind": "DataUpload",
        "metadata": {"name": "held", "namespace": "velero", "finalizers": ["velero.io/data-upload-download-finalizer"]},
        "spec": {
            "backupStorageLocation": "default",
            "operationTimeout": "10m",
            "snapshotType": "CSI",
            "sourceNamespace": "default",
            "sourcePVC": "x",
        },
    }
    place.bed.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [body, upload]}))
    predicted = ensure(place.options(state="absent"), check=True)
    began = time.monotonic()
    gone = ensure(place.options(state="absent"))
    assert time.monotonic() - began < 30
    assert predicted["requests"] == gone["requests"]
    assert [line.rpartition("/")[2] for line in gone.written if line.startswith("PATCH")] == ["held", "held"]


@pytest.mark.full
def test_absent_leaves_what_is_somebody_elses(place: Installable) -> None:
    """A namespace that holds something else stays, with that and nothing of Velero's; definitions that others use stay."""
    ensure(place.options())
    place.bed.kubectl("-n", "velero", "create", "configmap", "somebody-elses")
    elsewhere = {
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {"name": "other", "namespace": "default"},
        "spec": {"provider": "aws", "objectStorage": {"bucket": "x"}},
    }
    place.bed.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [elsewhere, WIDGETS]}))
    place.bed.kubectl("wait", "--for=condition=established", f"customresourcedefinition/{WIDGETS['metadata']['name']}", "--timeout=30s")
    place.bed.kubectl("apply", "-f", "-", input=json.dumps(WIDGET))
    try:
        message = refused(place.options(state="absent", remove_crds=True), 10)
        assert "default" in message
        assert "remove_crds" in message
        gone = ensure(place.options(state="absent"))
        assert any("ConfigMap somebody-elses, Widget own" in warning for warning in gone.warnings)
        left = place.bed.kubectl("-n", "velero", "get", "deployments,daemonsets,pods,backupstoragelocations.velero.io", "-o", "name").split()
        assert left == []
        assert place.bed.kubectl("-n", "velero", "get", "configmap", "somebody-elses", "-o", "name").strip()
    finally:
        place.bed.kubectl("-n", "default", "delete", "backupstoragelocations.velero.io", "other")
        place.bed.kubectl("delete", "customresourcedefinition", WIDGETS["metadata"]["name"])
        place.bed.kubectl("delete", "namespace", "velero")
    whole = ensure(place.options(state="absent", remove_crds=True))
    assert any("customresourcedefinitions" in line for line in whole.written)
    assert not place.bed.kubectl("get", "customresourcedefinitions", "-l", "component=velero", "-o", "name").strip()


@pytest.mark.full
def test_password_of_the_repositories(place: Installable) -> None:
    """A password of one's own is there before the server could make one; another one than that in use is refused, and so is losing it unheard."""
    place.remove()
    options = place.options(repository_password="a-password-of-ones-own")
    made = ensure(options)
    assert "a-password-of-ones-own" not in json.dumps(made.result)
    assert not ensure(options)["changed"]
    message = refused(place.options(repository_password="another-password-by-mistake"), 5)
    assert "repository_password" in message
    assert "another-password-by-mistake" not in message
    gone = ensure(place.options(state="absent"))
    assert any("repository_password" in warning for warning in gone.warnings)
    ensure(place.options())
    assert "static" not in json.dumps(ensure(place.options(), check=True).result)


@pytest.mark.parametrize(
    ("label", "who"),
    [("app.kubernetes.io/managed-by=Helm", "Helm"), ("app.kubernetes.io/managed-by=oadp-operator", "OADP")],
    ids=["Helm", "OADP"],
)
def test_what_another_tool_made(place: Installable, label: str, who: str) -> None:
    """An installation of another tool is refused by name, present or absent, and left alone."""
    ensure(place.options())
    place.bed.kubectl("-n", "velero", "label", "deployment", "velero", label)
    try:
        mark = place.bed.audit_mark()
        for state in ("present", "absent"):
            assert who in refused(place.options(state=state, bucket=place.other_bucket), 10)
        assert writes(place, mark) == []
    finally:
        place.bed.kubectl("-n", "velero", "label", "deployment", "velero", f"{label.partition('=')[0]}-")


def test_older_version_is_refused(place: Installable) -> None:
    """Going back is refused before anything is written."""
    ensure(place.options())
    mark = place.bed.audit_mark()
    message = refused(place.options(version="1.16.2"), 10)
    assert "going back" in message
    assert writes(place, mark) == []


def test_gcp_with_a_key(place: Installable) -> None:
    """The guide's variant with a JSON key against the GCS server; a key that Google does not know is told as such."""
    place.remove()
    place.bed.import_images("plugin-for-gcp")
    bucket = place.bed.gcs.make_bucket("install-gcs")
    options = place.options(
        provider="gcp",
        plugins=["velero/velero-plugin-for-gcp:v1.14.2"],
        bucket=bucket,
        backup_location_config=None,
        credential={"content": place.bed.gcs.service_account_key("install").read_text()},
    )
    made = ensure(options)
    assert made["installation"]["storage_locations"][0]["phase"] == "Available"
    assert not ensure(options)["changed"]
    wrong = place.bed.gcs.wrong_key("install").read_text()
    message = refused(options | {"credential": {"content": wrong}}, 40)
    assert "credential" in message
    assert json.loads(wrong)["private_key"].splitlines()[1] not in message
    place.remove()


def test_two_nodes_one_short_of_cpu(place: Installable, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's Pending agent: the failure has the scheduler's reason and the node, and so has velero_info; asking for less heals it."""
    ensure(place.options())
    if "n2" not in place.bed.nodes():
        place.bed.add_node(2, cpu_reserved="1900m")
    try:
        place.until(lambda: len(place.pods("name=node-agent")) == 2, "each node has an agent")
        monkeypatch.setattr(rollout, "PATIENCE", SHORT_PATIENCE)
        message = refused(place.options(node_agent_resources={"requests": {"cpu": "500m"}}), 60)
        assert "Insufficient cpu" in message
        assert "node-agent" in message
        info = run("velero_info", place.login | {"namespace": "velero"})
        pending = [agent for agent in info["velero"][0]["node_agents"] if not agent["ready"]]
        assert [(agent["node"], agent["reason"]) for agent in pending] == [("n2", "Unschedulable")]
        assert "Insufficient cpu" in pending[0]["message"]
        healed = ensure(place.options(node_agent_resources={"requests": {"cpu": "10m"}}))
        assert all(agent["ready"] for agent in healed["installation"]["node_agents"])
    finally:
        place.bed.delete_node(2)
