# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""velero_schedule against real Velero 1.17.2: accepted by the server or refused before and after, and nothing written the second time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.bed.conftest import InstalledVelero
from tests.bed.velero.restoring import change, object_of, until
from tests.bed.ways.audited import writes
from tests.plays.in_process import Ran, run

pytestmark = pytest.mark.timeout(300)
MODULE = "velero_schedule"


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


@pytest.fixture
def name(velero: InstalledVelero) -> Iterator[str]:
    """A name for a schedule, gone afterwards with its backups."""
    chosen = f"plan-{uuid.uuid4().hex[:8]}"
    yield chosen
    velero.bed.kubectl("-n", velero.namespace, "delete", "schedules.velero.io", chosen, "--ignore-not-found")
    velero.velero.cli("backup", "delete", "--selector", f"velero.io/schedule-name={chosen}", "--confirm")


def test_made_changed_and_left_alone(velero: InstalledVelero, name: str) -> None:
    """Predicted as done; accepted by the server each time; the second run of every state writes nothing; the rest of the template stays."""
    template = {"included_namespaces": ["default"], "ttl": "72h", "default_volumes_to_fs_backup": True}
    states: list[dict[str, Any]] = [
        {"schedule": "0 3 * * *", **template, "labels": {"team": "ci"}, "skip_immediately": True},
        {"schedule": "@every 6h"},
        {"ttl": "48h", "selector": "app=web"},
        {"selector": "app in (web,db)", "annotations": {"why": "tests"}},
        {"or_selectors": ["app=web", "tier=db"]},
        {"paused": True, "ordered_resources": {"pods": ["default/a", "default/b"]}},
        {"paused": False, "skip_immediately": True},
        {"hooks": {"resources": [{"name": "x", "pre": [{"exec": {"command": ["true"], "timeout": "30s"}}]}]}},
        {"csi_snapshot_timeout": "20m", "item_operation_timeout": "2h", "parallel_files_upload": 4, "use_owner_references_in_backup": True},
    ]
    for state in states:
        options = velero.options(name=name, **state)
        mark = velero.bed.audit_mark()
        predicted = ensure(options, check=True)
        assert writes(velero, mark) == []
        real = ensure(options)
        assert predicted["diff"] == real["diff"], state
        assert predicted["requests"] == real["requests"]
        assert real["changed"], state
        assert len(writes(velero, mark)) == 1
        assert real["schedule"]["phase"] == "Enabled"
        mark = velero.bed.audit_mark()
        again = ensure(options)
        assert not again["changed"], again["diff"]
        assert writes(velero, mark) == []
    there = (object_of(velero, "schedules", name) or {})["spec"]
    assert there["schedule"] == "@every 6h"
    assert there["template"]["includedNamespaces"] == ["default"]
    assert there["template"]["ttl"] == "48h0m0s"
    assert "labelSelector" not in there["template"]
    assert there["skipImmediately"] is False, "the server has set it back"
    assert (object_of(velero, "schedules", name) or {})["metadata"]["labels"] == {"team": "ci"}


def test_the_next_run_is_the_one_that_comes(velero: InstalledVelero, name: str) -> None:
    """The predicted time is the one at which Velero makes the backup, but for its look once a minute; it is then the last good one."""
    made = ensure(velero.options(name=name, schedule="* * * * *", included_namespaces=["kube-public"], ttl="1h"))
    predicted = datetime.fromisoformat(made["schedule"]["next_run"])
    assert timedelta(0) < predicted - datetime.now(UTC) <= timedelta(seconds=61)
    until(lambda: ((object_of(velero, "schedules", name) or {}).get("status") or {}).get("lastBackup"), 150, 1)
    last = datetime.fromisoformat((object_of(velero, "schedules", name) or {})["status"]["lastBackup"])
    assert predicted <= last <= predicted + timedelta(seconds=75)
    paused = ensure(velero.options(name=name, paused=True))
    assert paused["schedule"]["next_run"] is None
    until(lambda: (ensure(velero.options(name=name))["schedule"]["last_good_backup"] or {}).get("name"), 90, 1)
    found = ensure(velero.options(name=name))["schedule"]["last_good_backup"]
    assert found["name"].startswith(f"{name}-")


def test_a_bad_expression_is_never_written(velero: InstalledVelero, name: str) -> None:
    """Refused in words before anything is written; the server's own refusal of one that came another way is told with its reason."""
    mark = velero.bed.audit_mark()
    for text, told in (("0 3 * *", "it has 4 fields"), ("0 3 * * 7", "Sunday is 0"), ("0 0 31 2 *", "never runs"), ("@nightly", "is not one of")):
        assert told in refused(velero.options(name=name, schedule=text), 5)
    assert writes(velero, mark) == []
    ensure(velero.options(name=name, schedule="0 3 * * *"))
    change(velero, "schedules", name, {"spec": {"schedule": "0 3 * *"}})
    until(lambda: (object_of(velero, "schedules", name) or {})["status"]["phase"] == "FailedValidation", 20)
    message = refused(velero.options(name=name, ttl="24h"), 20)
    assert "Velero's server says FailedValidation" in message
    assert "0 3 * *" in message
    healed = ensure(velero.options(name=name, schedule="0 3 * * *"))
    assert healed["schedule"]["phase"] == "Enabled"


def test_a_zone_that_the_server_does_not_know(velero: InstalledVelero, name: str) -> None:
    """The image of the server may lack the time zones that are known here: whichever, the answer is the server's."""
    ran = run(MODULE, velero.options(name=name, schedule="CRON_TZ=Europe/Berlin 0 3 * * *"))
    phase = (object_of(velero, "schedules", name) or {})["status"]["phase"]
    if ran.failed:
        assert phase == "FailedValidation"
        assert "Europe/Berlin" in ran["msg"]
        assert ran["changed"] is True
    else:
        assert phase == "Enabled"
        assert datetime.fromisoformat(ran["schedule"]["next_run"]).hour in {1, 2}


def test_a_paused_one_is_not_looked_at(velero: InstalledVelero, name: str) -> None:
    """Velero gives a schedule that is made paused no phase; the task ends all the same, and accepts it once it goes on."""
    made = ensure(velero.options(name=name, schedule="0 3 * * *", paused=True))
    assert made["schedule"]["phase"] is None
    assert made["waited"]["last"] == "paused: the server does not look at it"
    assert ensure(velero.options(name=name, paused=False))["schedule"]["phase"] == "Enabled"


def test_a_location_and_a_namespace_that_are_not_there(velero: InstalledVelero, name: str) -> None:
    """Each backup would fail: refused. A missing namespace only makes it incomplete: told."""
    assert "there is no location nowhere" in refused(velero.options(name=name, schedule="@daily", storage_location="nowhere"), 5)
    assert object_of(velero, "schedules", name) is None
    made = ensure(velero.options(name=name, schedule="@daily", included_namespaces=["not-there"]))
    assert "there is no namespace not-there" in made.warnings[0]


def test_removed(velero: InstalledVelero, name: str) -> None:
    """Its backups stay; those that belong to it go with it, which is told."""
    ensure(velero.options(name=name, schedule="@yearly", included_namespaces=["kube-public"], use_owner_references_in_backup=True))
    velero.velero.cli("backup", "create", f"{name}-1", "--from-schedule", name, "--wait")
    uid = (object_of(velero, "schedules", name) or {})["metadata"]["uid"]
    owned = bool((object_of(velero, "backups", f"{name}-1") or {})["metadata"].get("ownerReferences"))
    predicted = ensure(velero.options(name=name, state="absent"), check=True)
    gone = ensure(velero.options(name=name, state="absent"))
    assert predicted["diff"] == gone["diff"]
    assert predicted.warnings == gone.warnings
    assert bool(gone.warnings) is owned, uid
    assert object_of(velero, "schedules", name) is None
    assert not ensure(velero.options(name=name, state="absent"))["changed"]


def test_a_stopped_server(velero: InstalledVelero, name: str) -> None:
    """A change that nobody accepts is no success, and the task says that the server is silent; its answer is seen when it is back."""
    velero.bed.kubectl("-n", velero.namespace, "scale", "deployment/velero", "--replicas=0")
    try:
        until(lambda: not velero.bed.kubectl("-n", velero.namespace, "get", "pods", "-l", "deploy=velero", "-o", "name").strip(), 60)
        message = refused(velero.options(name=name, schedule="@daily", timeout=30), 45)
        assert "phase New" in message
        assert "Velero's server does not answer" in message
    finally:
        velero.bed.kubectl("-n", velero.namespace, "scale", "deployment/velero", "--replicas=1")
        velero.velero.wait()
    again = ensure(velero.options(name=name, schedule="@daily"))
    assert not again["changed"]
    assert again["schedule"]["phase"] == "Enabled"
