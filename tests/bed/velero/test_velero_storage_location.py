# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""velero_storage_location against real Velero 1.17.2: the right verdict in bounded time, whatever is wrong, and no secret in it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.bed.conftest import InstalledVelero
from tests.bed.driver import READ_VERBS, Bed
from tests.bed.driver.velero import Velero
from tests.plays.in_process import Ran, run

MODULE = "velero_storage_location"


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
    assert time.monotonic() - began < seconds
    assert "Traceback" not in ran["msg"]
    return str(ran["msg"])


def writes(bed: Bed, mark: int) -> list[str]:
    """Return the requests that the API server got from the module since a mark and that change something."""
    return [f"{event['verb']} {event['requestURI']}" for event in bed.audit(mark) if event["verb"] not in READ_VERBS]


@pytest.fixture
def name(velero: InstalledVelero, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name for a location of this test, gone afterwards with everything it left."""
    chosen = f"loc-{abs(hash(request.node.name)) % 10**8}-{int(time.time()) % 10000}"
    yield chosen
    run(MODULE, velero.options(name=chosen, state="absent"))


def test_made_again_changed(velero: InstalledVelero, name: str) -> None:
    """A new location is available by a validation of its own; the second run writes nothing; a change is proven anew."""
    options = velero.location_options(name)
    mark = velero.bed.audit_mark()
    made = ensure(options)
    assert made["changed"]
    assert made["storage_location"]["phase"] == "Available"
    assert made.written == [f"POST /apis/velero.io/v1/namespaces/{velero.namespace}/backupstoragelocations"]
    assert len(writes(velero.bed, mark)) == 1
    assert made["waited"]["seconds"] < 10

    mark = velero.bed.audit_mark()
    again = ensure(options)
    assert not again["changed"]
    assert again.written == []
    assert writes(velero.bed, mark) == []

    stamp = made["storage_location"]["last_validation_time"]
    changed = ensure({**options, "prefix": f"{name}-other", "access_mode": "ReadOnly"})
    assert changed["changed"]
    assert changed["diff"]["before"]["storage_location"]["prefix"] == name
    assert changed["diff"]["after"]["storage_location"]["prefix"] == f"{name}-other"
    assert changed["storage_location"]["last_validation_time"] > stamp
    there = velero.location(name)
    assert there is not None
    assert there["spec"]["accessMode"] == "ReadOnly"
    assert there["spec"]["config"] == options["config"], "what was not asked for is left alone"


def test_check_mode_predicts(velero: InstalledVelero, name: str) -> None:
    """Check mode writes nothing and says what the real run then does."""
    options = velero.location_options(name, credential={"name": f"{name}-keys", "content": velero.credentials})
    mark = velero.bed.audit_mark()
    predicted = ensure(options, check=True)
    assert writes(velero.bed, mark) == []
    assert velero.location(name) is None
    real = ensure(options)
    assert predicted["diff"] == real["diff"]
    assert predicted["requests"] == real["requests"]
    assert predicted["changed"] is real["changed"] is True


def test_own_credentials(velero: InstalledVelero, name: str) -> None:
    """The Secret is made for the location, kept, changed, proven, and removed with it; nothing shows its content."""
    access, secret = velero.bed.s3.make_account(f"{name}-key", f"{name}-secret-0123456789")
    velero.bed.s3.put_policy(velero.bucket, _policy(velero.bucket, access))
    content = f"[default]\naws_access_key_id={access}\naws_secret_access_key={secret}\n"
    options = velero.location_options(name, credential={"name": f"{name}-keys", "content": content})
    made = ensure(options)
    assert [line.split()[0] for line in made.written] == ["POST", "POST"]
    there = velero.secret(f"{name}-keys")
    assert there is not None
    assert base64.b64decode(there["data"]["cloud"]).decode() == content
    assert secret not in json.dumps(made.result)
    assert not ensure(options)["changed"]

    wrong = content.replace(secret, "not-the-secret-at-all")
    message = refused({**options, "credential": {"name": f"{name}-keys", "content": wrong}}, 100)
    assert "SignatureDoesNotMatch" in message
    assert "correct credential.content" in message
    assert "not-the-secret-at-all" not in message
    assert secret not in message

    healed = ensure(options)
    assert healed["changed"]
    assert healed["storage_location"]["phase"] == "Available"
    gone = ensure(velero.options(name=name, state="absent"))
    assert len(gone.written) == 2
    assert velero.secret(f"{name}-keys") is None


def _policy(bucket: str, account: str) -> dict[str, Any]:
    objects, whole = f"arn:aws:s3:::{bucket}/*", f"arn:aws:s3:::{bucket}"
    allow = {"Effect": "Allow", "Principal": {"AWS": [account]}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {**allow, "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "Resource": objects},
            {**allow, "Action": ["s3:ListBucket"], "Resource": whole},
        ],
    }


def test_credentials_that_are_missing(velero: InstalledVelero, name: str) -> None:
    """A Secret that is referred to has to exist, with its key, before anything is written."""
    mark = velero.bed.audit_mark()
    message = refused(velero.location_options(name, credential={"name": "nowhere"}), 10)
    assert f"Secret {velero.namespace}/nowhere does not exist" in message
    message = refused(velero.location_options(name, credential={"name": "cloud-credentials", "key": "other"}), 10)
    assert "has no key other" in message
    assert writes(velero.bed, mark) == []
    assert ensure(velero.location_options(name, credential={"name": "cloud-credentials"}))["storage_location"]["phase"] == "Available"


def test_the_only_default(velero: InstalledVelero, name: str) -> None:
    """Only one location is the default, an older one can take it back, and the server does not undo either."""
    ensure(velero.location_options(name))
    assert (velero.location("default") or {})["spec"].get("default") is True
    taken = ensure(velero.options(name=name, default=True))
    assert taken["diff"]["before"]["other_defaults"] == ["default"]
    assert not (velero.location("default") or {})["spec"].get("default")
    assert not ensure(velero.options(name=name, default=True))["changed"]
    back = ensure(velero.options(name="default", default=True))
    assert back["changed"]
    time.sleep(2)  # the server looks at a change within this time, and would strip the older of two defaults
    assert (velero.location("default") or {})["spec"].get("default") is True
    assert not (velero.location(name) or {})["spec"].get("default")
    second = ensure(velero.location_options(f"{name}-b", default=True))
    assert second["storage_location"]["default"] is True
    assert not (velero.location("default") or {})["spec"].get("default")
    ensure(velero.options(name="default", default=True))
    gone = ensure(velero.options(name=f"{name}-b", state="absent"))
    assert not gone.warnings


@pytest.mark.parametrize(
    ("over", "cause", "advice"),
    [
        ({"bucket": "no-such-bucket"}, "NoSuchBucket", "Make the bucket"),
        ({"config": {"region": "elsewhere"}}, "region", "config.region"),
        ({"config": {"s3Url": "http://10.233.0.1:9"}}, "connection refused", "address of the store"),
        ({"config": {"s3Url": "http://nowhere.invalid"}}, "lookup nowhere.invalid", "address of the store"),
        ({"config": {"colour": "blue"}}, "invalid keys", "from config"),
        ({"provider": "example.com/none"}, "unable to locate ObjectStore plugin", "Install the provider's plugin"),
    ],
    ids=["bucket", "region", "port", "host", "setting", "provider"],
)
def test_what_cannot_work(velero: InstalledVelero, name: str, over: dict[str, Any], cause: str, advice: str) -> None:
    """Each wrong setting gets a sentence with the cause and what to do, and repairing it is proven."""
    good = velero.location_options(name)
    bad = {**good, **over, "config": {**good["config"], **over.get("config", {})}}
    message = refused(bad, 60)
    assert "Unavailable" in message
    assert cause.lower() in message.lower()
    assert advice in message
    assert "requestid" not in message.lower().replace(" ", "")
    assert ensure(good)["storage_location"]["phase"] == "Available"


def test_wrong_key_of_a_new_location(velero: InstalledVelero, name: str) -> None:
    """An unknown access key is told as such."""
    content = "[default]\naws_access_key_id=AKIAUNKNOWN0000\naws_secret_access_key=some-secret-that-is-wrong\n"
    message = refused(velero.location_options(name, credential={"name": f"{name}-keys", "content": content}), 60)
    assert "InvalidAccessKeyId" in message
    assert "some-secret-that-is-wrong" not in message


def test_tls_in_front_of_the_store(velero: InstalledVelero, name: str) -> None:
    """A store with a CA of its own is refused without the CA, and available with it."""
    bed = velero.bed
    options = velero.location_options(name, config={"region": bed.s3.region, "s3ForcePathStyle": "true", "s3Url": bed.s3.tls_endpoint_inside})
    other = bed.s3.wrong_ca_file.read_text()
    message = refused({**options, "object_storage_ca_cert": other}, 60)
    assert "certificate" in message
    assert "object_storage_ca_cert" in message
    good = ensure({**options, "object_storage_ca_cert": bed.s3.ca_file.read_text()})
    assert good["storage_location"]["phase"] == "Available"
    assert not ensure({**options, "object_storage_ca_cert": bed.s3.ca_file.read_text().strip() + "\n\n"})["changed"]


def test_absent_keeps_what_is_stored(velero: InstalledVelero, name: str) -> None:
    """The bucket's contents stay, and the answer says what becomes of the backups; made again, they are there again."""
    options = velero.location_options(name, backup_sync_period="5s")
    ensure(options)
    velero.velero.cli("backup", "create", f"{name}-b", "--storage-location", name, "--include-namespaces", "default", "--wait")
    stored = velero.bed.s3.keys(velero.bucket)
    gone = ensure(velero.options(name=name, state="absent"))
    assert gone["backups"]["names"] == [f"{name}-b"]
    assert "stay in the bucket" in gone["backups"]["fate"]
    assert any(f"{name}" in warning and "cannot be restored" in warning for warning in gone.warnings)
    assert velero.location(name) is None
    assert velero.bed.s3.keys(velero.bucket) == stored
    again = ensure(velero.options(name=name, state="absent"))
    assert not again["changed"]
    assert again["backups"]["count"] == 0
    ensure(options)
    assert f"{name}-b" in velero.velero.cli("backup", "get")
    velero.velero.cli("backup", "delete", f"{name}-b", "--confirm")


def test_not_while_a_backup_runs(velero: InstalledVelero, name: str) -> None:
    """A location is not removed under a backup that Velero still works on."""
    ensure(velero.location_options(name))
    stuck = {
        "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": f"{name}-stuck", "namespace": velero.namespace},
        "spec": {"storageLocation": name}, "status": {"phase": "InProgress"},
    }  # fmt: skip
    velero.bed.kubectl("apply", "-f", "-", input=json.dumps(stuck))
    try:
        message = refused(velero.options(name=name, state="absent"), 10)
        assert f"{name}-stuck" in message
        assert velero.location(name) is not None
    finally:
        velero.bed.kubectl("-n", velero.namespace, "delete", "backups.velero.io", f"{name}-stuck")


def test_storage_cut_off(velero: InstalledVelero, name: str) -> None:
    """With the store cut off the phase stands still at Available; the task does not believe it and ends in time."""
    options = velero.location_options(name, validation_frequency="3s")
    ensure(options)
    policy = {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "cut-off", "namespace": velero.namespace},
        "spec": {
            "podSelector": {"matchLabels": {"deploy": "velero"}}, "policyTypes": ["Egress"],
            "egress": [
                {"to": [{"ipBlock": {"cidr": "10.233.0.10/32"}}], "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
                {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": port, "protocol": "TCP"} for port in (velero.bed.api_port, 443)]},
            ],
        },
    }  # fmt: skip
    velero.bed.kubectl("apply", "-f", "-", input=json.dumps(policy))
    try:
        time.sleep(2)
        message = refused({**options, "prefix": f"{name}-new", "timeout": 45}, 55)
        assert "last validated" in message or "Unavailable" in message
    finally:
        velero.bed.kubectl("-n", velero.namespace, "delete", "networkpolicy", "cut-off")
    time.sleep(5)  # a validation that tries for the last time while the policy goes is over by then
    assert ensure({**options, "prefix": f"{name}-new", "timeout": 120})["storage_location"]["phase"] == "Available"


def test_before_velero_is_there(bed: Bed, velero: InstalledVelero) -> None:
    """In a namespace without Velero check mode says what it would do; the real run says what is missing, and writes nothing."""
    options = velero.location_options("early", namespace="no-velero-here")
    predicted = ensure(options, check=True)
    assert predicted["changed"]
    assert any("does not exist" in warning for warning in predicted.warnings)
    mark = bed.audit_mark()
    assert "namespace no-velero-here does not exist" in refused(options, 10)
    assert writes(bed, mark) == []


def test_somebody_else_changes_it_meanwhile(velero: InstalledVelero, name: str) -> None:
    """A change by hand shortly before is not covered by an older validation."""
    options = velero.location_options(name, validation_frequency="1h")
    made = ensure(options)
    before = datetime.fromisoformat(made["storage_location"]["last_validation_time"].replace("Z", "+00:00"))
    time.sleep(1.1)
    velero.bed.kubectl(
        "-n",
        velero.namespace,
        "patch",
        "backupstoragelocations.velero.io",
        name,
        "--type",
        "merge",
        "-p",
        json.dumps({"spec": {"objectStorage": {"prefix": f"{name}/by-hand"}}}),
    )
    found = ensure({**options, "prefix": f"{name}/by-hand"})
    assert not found["changed"]
    assert datetime.fromisoformat(found["storage_location"]["last_validation_time"].replace("Z", "+00:00")) > before


@pytest.fixture(scope="module")
def google(bed: Bed, velero: InstalledVelero) -> Iterator[InstalledVelero]:
    """A second Velero on the bed, with the plugin for Google Cloud Storage."""
    namespace = "velero-google"
    installed = Velero(bed, "1.17.2", namespace)
    if not bed.kubectl("get", "namespace", namespace, "--ignore-not-found", "-o", "name").strip():
        installed.install("store-google", provider="gcp", node_agent=False)
    yield InstalledVelero(bed, installed, "store-google")
    bed.kubectl("delete", "namespace", namespace, "--wait=false")


def test_google_cloud_storage(google: InstalledVelero) -> None:
    """A location with a service account's key is available; another key and half a key get their sentences."""
    gcs = google.bed.gcs
    key = gcs.service_account_key("own").read_text()
    options = google.options(name="google", provider="gcp", bucket="store-google", prefix="own", credential={"name": "google-key", "content": key})
    assert ensure(options)["storage_location"]["phase"] == "Available"
    assert not ensure(options)["changed"]
    wrong = gcs.wrong_key("own").read_text()
    message = refused({**options, "name": "google-wrong", "credential": {"name": "google-wrong-key", "content": wrong}}, 60)
    assert "Invalid JWT Signature" in message
    assert json.loads(wrong)["private_key"].splitlines()[1] not in message
    half = json.dumps({name: value for name, value in json.loads(key).items() if name != "private_key"})
    message = refused({**options, "name": "google-half", "credential": {"name": "google-half-key", "content": half}}, 5)
    assert "credential.content" in message
    assert "private_key" in message
    for made in ("google", "google-wrong"):
        ensure(google.options(name=made, state="absent"))
