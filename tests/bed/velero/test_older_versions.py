# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The locations on Velero 1.10.3 and 1.8.1: the same truth from servers that validate at other moments and say less."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator

import pytest

from tests.bed.conftest import InstalledVelero, installed, started
from tests.plays.in_process import run

pytestmark = pytest.mark.full
MODULE = "velero_storage_location"


@pytest.fixture(scope="module", params=["1.10.3", "1.8.1"])
def older(request: pytest.FixtureRequest) -> Iterator[InstalledVelero]:
    """A bed of its own for each version."""
    version = str(request.param)
    named = os.environ.get("SERVEROPS_BED")
    suffix = version.replace(".", "")
    bed, made = started(f"{named}-{suffix}" if named else f"test-{uuid.uuid4().hex[:6]}-{suffix}")
    yield installed(bed, version)
    if made and not named:
        bed.down()


def test_made_again_changed_removed(older: InstalledVelero) -> None:
    """A location is made, found as made, changed and removed, each proven."""
    options = older.location_options("older", validation_frequency="5s", timeout=180)
    made = run(MODULE, options)
    assert not made.failed, made["msg"]
    assert made["storage_location"]["phase"] == "Available"
    again = run(MODULE, options)
    assert not again.failed, again["msg"]
    assert again.written == []
    changed = run(MODULE, {**options, "prefix": "older-two"})
    assert not changed.failed, changed["msg"]
    assert changed["storage_location"]["last_validation_time"] > made["storage_location"]["last_validation_time"]
    gone = run(MODULE, older.options(name="older", state="absent"))
    assert not gone.failed, gone["msg"]
    assert older.location("older") is None


def test_wrong_bucket_and_repaired(older: InstalledVelero) -> None:
    """A missing bucket is told with its cause, from the log where the status has no message; the repair is proven."""
    options = older.location_options("wrong", validation_frequency="5s", timeout=180)
    bad = run(MODULE, {**options, "bucket": "no-such-bucket"})
    assert bad.failed
    assert "NoSuchBucket" in bad["msg"]
    good = run(MODULE, options)
    assert not good.failed, good["msg"]
    run(MODULE, older.options(name="wrong", state="absent"))


def test_wrong_key(older: InstalledVelero) -> None:
    """A wrong key of the location's own is told as such, and nothing of it is shown; the right key heals it."""
    wrong = older.credentials.replace(older.bed.s3.secret_key, "a-secret-that-is-wrong")
    options = older.location_options("keys", validation_frequency="5s", timeout=180)
    bad = run(MODULE, {**options, "credential": {"name": "keys", "content": wrong}})
    assert bad.failed
    assert "SignatureDoesNotMatch" in bad["msg"]
    assert "a-secret-that-is-wrong" not in bad["msg"]
    good = run(MODULE, {**options, "credential": {"name": "keys", "content": older.credentials}})
    assert not good.failed, good["msg"]
    run(MODULE, older.options(name="keys", state="absent"))


def test_found_as_asked_on_an_idle_server(older: InstalledVelero) -> None:
    """A server that has not validated for long is made to, or does it by itself: nothing is written, and the stamp is young."""
    options = older.location_options("idle", validation_frequency="5s", timeout=180)
    assert not run(MODULE, options).failed
    time.sleep(40)
    again = run(MODULE, options)
    assert not again.failed, again["msg"]
    assert again.written == []
    run(MODULE, older.options(name="idle", state="absent"))


def test_snapshot_location(older: InstalledVelero) -> None:
    """A snapshot location is stored as asked for; credentials of its own are refused where Velero would drop them."""
    snapshots = "velero_snapshot_location"
    options = older.snapshot_options("older")
    made = run(snapshots, options)
    assert not made.failed, made["msg"]
    assert made["snapshot_location"]["plugin"] == "velero.io/aws"
    assert made.warnings == []
    assert run(snapshots, options).written == []
    own = run(snapshots, {**options, "credential": {"name": "older", "content": older.credentials}})
    if older.velero.version == "1.8.1":
        assert "option credential: the installed custom resource has no place for it" in own["msg"]
        assert own["changed"] is False
        assert older.secret("older") is None
    else:
        assert own["snapshot_location"]["credential"] == {"name": "older", "key": "cloud"}
    assert not run(snapshots, older.options(name="older", state="absent")).failed
    assert older.location("older", "volumesnapshotlocations") is None
    assert older.secret("older") is None
