# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups on Velero 1.10.3 and 1.8.1, whose servers copy by restic, name fields otherwise, and look after less of what a killed one had begun."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from tests.bed.conftest import installed, started
from tests.bed.velero.backed_up import Application, claim, meanwhile, pod
from tests.plays.in_process import run

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]
MODULE = "velero_backup"


@pytest.fixture(scope="module", params=["1.10.3", "1.8.1"])
def app(request: pytest.FixtureRequest) -> Iterator[Application]:
    """An application on a bed of its own for each version."""
    version = str(request.param)
    named = os.environ.get("SERVEROPS_BED")
    suffix = version.replace(".", "")
    bed, made = started(f"{named}-{suffix}" if named else f"test-{uuid.uuid4().hex[:6]}-{suffix}")
    try:
        application = Application(installed(bed, version), f"app-{uuid.uuid4().hex[:5]}")
        application.make()
        yield application
        application.remove()
    finally:
        if made and not named:
            bed.down()


@pytest.fixture
def name(app: Application) -> Iterator[str]:
    """A name for a backup of this test, removed afterwards."""
    chosen = f"b-{uuid.uuid4().hex[:8]}"
    yield chosen
    run(MODULE, app.velero.options(name=chosen, state="absent"))


def test_made_found_removed(app: Application, name: str) -> None:
    """A backup is made and covered by restic's copies, found again, new enough, and removed for good."""
    made = run(MODULE, app.options(name, ttl="72h"))
    assert not made.failed, made["msg"]
    entry = made["backup"]
    assert (entry["good"], entry["coverage"], entry["unreached"]) == (True, "known", None)
    (volume,) = [volume for volume in entry["volumes"] if volume["claim"] == "data"]
    assert (volume["uploader"], volume["phase"]) == ("restic", "Completed")
    assert volume["bytes"] >= 2_000_000
    again = run(MODULE, app.options(name, ttl="72h"))
    assert not again.failed, again["msg"]
    assert again.written == []
    young = run(MODULE, app.options(None, newer_than="10m"))
    assert young["backup"]["name"] == name
    info = run("velero_backup_info", app.velero.options(name=name, gather=["volumes", "results", "log"]))
    assert info["backups"][0]["good"] is True
    assert info["backups"][0]["log_tail"]
    gone = run(MODULE, app.velero.options(name=name, state="absent"))
    assert not gone.failed, gone["msg"]
    assert app.backup(name) is None
    assert app.stored(name) == []


def test_uncovered_and_by_default(app: Application, name: str) -> None:
    """A pod without an annotation is not copied, which is told; with files copied by default it is, under the release's own name for that."""
    app.apply(claim(app.namespace, "plain"), pod(app.namespace, "plain", {"files": "plain"}, None))
    app.wait_running("plain")
    try:
        missed = run(MODULE, app.options(name))
        assert missed.failed
        assert f"{app.namespace}/plain (annotation" in missed["msg"]
        whole = run(MODULE, app.options(f"{name}-all", default_volumes_to_fs_backup=True))
        assert not whole.failed, whole["msg"]
        assert whole["backup"]["template"]["default_volumes_to_fs_backup"] is True
        assert {"data", "plain"} <= {volume["claim"] for volume in whole["backup"]["volumes"]}
        assert run(MODULE, app.options(f"{name}-all", default_volumes_to_fs_backup=True)).written == []
    finally:
        run(MODULE, app.velero.options(name=f"{name}-all", state="absent"))
        app.velero.bed.kubectl("-n", app.namespace, "delete", "pod,pvc", "plain")


def test_a_field_of_a_later_release(app: Application, name: str) -> None:
    """What the API server would drop is refused by its option, with the release that brought it."""
    refused = run(MODULE, app.options(name, snapshot_move_data=False))
    assert refused.failed
    assert "option snapshot_move_data" in refused["msg"]
    assert "1.12" in refused["msg"]
    assert app.backup(name) is None


def test_server_killed_in_the_middle(app: Application, name: str) -> None:
    """Up to 1.8 nobody finishes what a killed server had begun: that is told in time, and not waited for."""

    def kill() -> None:
        app.wait_phase(name, "InProgress")
        app.kubectl("delete", "pod", "-l", "deploy=velero", "--grace-period=0", "--force")

    ran = meanwhile(app.slow(name, 30), kill)
    assert ran.failed, ran.result
    app.kubectl("rollout", "status", "deployment/velero", "--timeout=60s")
    if app.velero.velero.version == "1.8.1":
        assert "never finishes such a one" in ran["msg"]
        app.kubectl("delete", "backups.velero.io", name)
    else:
        assert "it failed" in ran["msg"]
