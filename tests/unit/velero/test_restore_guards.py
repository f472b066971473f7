# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be true before a restore is made: each guard with the sentence that it refuses with, and what only warns."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError, NotProven, OperationError
from ansible_collections.serverops.circleci.plugins.module_utils._velero import crd_fields, restore_guards

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
TARGET = "Restore velero/r"
OPTIONS: dict[str, Any] = {
    "namespace": "velero",
    "allow_partially_failed": False,
    "uncovered_volumes": "fail",
    "excluded_volumes": [],
    "existing_claims": "fail",
}
COPY = {"namespace": "app", "pod": "web-0", "volume": "data", "claim": "data", "method": "fs_backup", "uploader": "kopia", "phase": "Completed"}
GOOD = restore_guards.Situation(
    backup={
        "metadata": {"name": "b", "annotations": {"velero.io/source-cluster-k8s-gitversion": "v1.30.1"}},
        "spec": {"includedNamespaces": ["app"]},
        "status": {"phase": "Completed", "expiration": "2026-12-28T12:00:00Z"},
    },
    location={"metadata": {"name": "default"}, "status": {"phase": "Available"}},
    copies=(COPY,),
    namespaces={"app": None},
    claims=frozenset({("app", "data")}),
    version="v1.17.2",
    kubernetes="v1.36.2",
)


def backup(**status: Any) -> dict[str, Any]:
    """Return the backup with another status."""
    good: dict[str, Any] = GOOD.backup or {}
    return {**good, "status": {**good["status"], **status}}


def check(found: restore_guards.Situation, spec: dict[str, Any] | None = None, **options: Any) -> list[str]:
    """Run the guards."""
    return restore_guards.check(OPTIONS | options, {"backupName": "b", **(spec or {})}, TARGET, found, NOW)


def test_a_good_situation_has_nothing_to_tell() -> None:
    assert check(GOOD) == []


@pytest.mark.parametrize(
    ("change", "spec", "told"),
    [
        ({"backup": None}, {}, "there is no Backup velero/b"),
        ({"backup": backup(phase="InProgress")}, {}, "is not finished (phase InProgress)"),
        ({"backup": backup(phase="FinalizingPartiallyFailed")}, {}, "is not finished"),
        ({"backup": backup(phase="Failed", failureReason="no store")}, {}, "backup b is Failed: no store"),
        ({"backup": backup(phase="FailedValidation", validationErrors=["no location"])}, {}, "FailedValidation: no location"),
        ({"backup": backup(phase="PartiallyFailed", errors=2)}, {}, "PartiallyFailed with 2 errors"),
        ({"backup": backup(errors=1)}, {}, "Completed with 1 errors"),
        ({"backup": backup(phase="Deleting")}, {}, "being deleted"),
        ({"backup": backup(expiration="2026-11-28T12:00:00Z")}, {}, "expired at 2026-11-28T12:00:00Z"),
        ({"gone": "its contents are gone: 404"}, {}, "its contents are gone"),
        ({"location": None}, {}, "location default, which does not exist"),
        ({"location": {"status": {"phase": "Unavailable", "message": "NoSuchBucket"}}}, {}, "says Unavailable: NoSuchBucket"),
        ({"location": {}}, {}, "says nothing yet"),
        ({"trouble": "it is silent"}, {}, "nobody would carry it out: it is silent"),
        ({"version": "v1.8.1"}, {}, "copied by kopia, and Velero v1.8.1 cannot read"),
        ({"version": "v1.19.0", "copies": ({**COPY, "uploader": "restic"},)}, {}, "copied by restic, and Velero v1.19.0"),
        ({"version": "v1.11.0", "copies": ({**COPY, "method": "data_upload"},)}, {}, "copied by data mover"),
        ({}, {"includedResources": ["pods", "persistentvolumeclaims"]}, "without persistentvolumes among its resources"),
        ({"uncovered": ({"namespace": "app", "claim": "logs", "reason": "no pod uses it"},)}, {}, "1 claims: app/logs (no pod uses it)"),
        ({"namespaces": {"app": {"metadata": {"deletionTimestamp": "x"}}}}, {}, "namespace app, which it restores into, is being deleted"),
        ({"namespaces": {"app": {"metadata": {}, "status": {"phase": "Terminating"}}}}, {}, "is being deleted"),
        ({"there": frozenset({("app", "data")})}, {}, "claims of the backup exist already: app/data"),
        ({"there": frozenset({("drill", "data")})}, {"namespaceMapping": {"app": "drill"}}, "exist already: drill/data"),
    ],
)
def test_refused(change: dict[str, Any], spec: dict[str, Any], told: str) -> None:
    with pytest.raises(NotProven) as caught:
        check(replace(GOOD, **change), spec)
    assert told in caught.value.seen
    assert caught.value.next_step


def test_a_namespace_that_the_backup_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="does not have namespace other"):
        check(GOOD, {"includedNamespaces": ["other"]})


def test_a_field_that_the_cluster_would_drop_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        check(replace(GOOD, fields=crd_fields.Fields("Restore", schema={"properties": {"backupName": {}}})), {"existingResourcePolicy": "update"})
    assert caught.value.option == "existing_resource_policy"


@pytest.mark.parametrize(
    ("change", "options", "told"),
    [
        ({"backup": backup(phase="PartiallyFailed", errors=2)}, {"allow_partially_failed": True}, "PartiallyFailed with 2 errors"),
        ({"backup": backup(expiration="2026-11-28T12:30:00Z")}, {}, "expires at 2026-11-28T12:30:00Z"),
        ({"uncovered": ({"namespace": "app", "claim": "logs", "reason": ""},)}, {"uncovered_volumes": "warn"}, "app/logs"),
        ({"uncovered": None, "unknown": "no store"}, {}, "is not known: no store"),
        ({"kubernetes": "v1.29.0"}, {}, "comes from Kubernetes v1.30.1 and this is v1.29.0"),
    ],
)
def test_warned_of(change: dict[str, Any], options: dict[str, Any], told: str) -> None:
    warnings = check(replace(GOOD, **change), **options)
    assert len(warnings) == 1
    assert told in warnings[0]


@pytest.mark.parametrize(
    ("change", "spec", "options"),
    [
        ({"uncovered": ({"namespace": "app", "claim": "cache-1", "reason": ""},)}, {}, {"excluded_volumes": ["app/cache-*"]}),
        ({"uncovered": ({"namespace": "other", "claim": "x", "reason": ""},)}, {"includedNamespaces": ["app"]}, {}),
        ({"uncovered": ({"namespace": "app", "claim": "x", "reason": ""},)}, {"restorePVs": False}, {}),
        ({"there": frozenset({("app", "data")})}, {}, {"existing_claims": "keep"}),
        ({"there": frozenset({("app", "data")})}, {"namespaceMapping": {"app": "drill"}}, {}),
        ({"there": frozenset({("app", "data")})}, {"includedResources": ["configmaps"]}, {}),
        ({"version": None}, {}, {}),
        ({"version": "v1.8.1", "copies": ({**COPY, "uploader": "restic"},)}, {}, {}),
        ({}, {"includedResources": ["configmaps"]}, {}),
    ],
)
def test_let_through(change: dict[str, Any], spec: dict[str, Any], options: dict[str, Any]) -> None:
    assert check(replace(GOOD, **change), spec, **options) == []


def test_the_newest_backup_of_a_schedule_is_looked_at_first() -> None:
    old, new, running = ({"metadata": {"name": name}, "status": status} for name, status in (
        ("old", {"completionTimestamp": "2026-11-27T03:00:00Z"}), ("new", {"completionTimestamp": "2026-11-28T03:00:00Z"}), ("running", {}),
    ))  # fmt: skip
    assert [item["metadata"]["name"] for item in restore_guards.newest_first([old, running, new])] == ["new", "old"]


def test_a_schedule_without_a_good_backup_says_what_it_has() -> None:
    error: OperationError = restore_guards.none_good("nightly", [{"metadata": {"name": "a"}, "status": {"phase": "InProgress"}}], [])
    assert "a is InProgress" in str(error)
    assert "b: broken" in str(restore_guards.none_good("nightly", [], ["b: broken"]))
    assert "it has no backups" in str(restore_guards.none_good("nightly", [], []))
