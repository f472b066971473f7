# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a backup, its entry in results, and the trend of a series."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_trend, backup_view
from ansible_collections.serverops.circleci.plugins.module_utils._velero.backup_view import Details
from ansible_collections.serverops.circleci.plugins.module_utils._velero.coverage import Coverage

NOW = datetime(2026, 11, 21, 13, 0, 0, tzinfo=UTC)
COVERED = Details(coverage=Coverage("known"))
UNCOVERED = Details(coverage=Coverage("known", ({"namespace": "app", "claim": "data", "reason": "no pod uses it"},)))


def backup(phase: str | None = "Completed", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "b", "namespace": "velero", "creationTimestamp": "2026-11-21T12:00:00Z", "labels": {"velero.io/schedule-name": "daily"}},
        "spec": {"includedNamespaces": ["app"], "storageLocation": "default"},
        "status": {
            "phase": phase,
            "startTimestamp": "2026-11-21T12:00:01Z",
            "completionTimestamp": "2026-11-21T12:00:11Z",
            "expiration": "2026-12-21T12:00:00Z",
            "progress": {"itemsBackedUp": 20, "totalItems": 20},
            **status,
        },
    }


def volume(phase: str = "Completed", **over: Any) -> dict[str, Any]:
    return {
        "namespace": "app", "pod": "db-0", "volume": "files", "claim": "data", "method": "fs_backup", "uploader": "kopia", "phase": phase,
        "bytes": 7, "node": "n1", "message": None, **over,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("item", "details", "good", "words", "advice"),
    [
        (backup(), COVERED, True, "", ""),
        (backup(), UNCOVERED, False, "holds no data of app/data (no pod uses it)", "excluded_volumes"),
        (backup(), Details(coverage=Coverage("unknown", missing="the store is away")), None, "not known: the store is away", "reach the store"),
        (backup(), Details(), None, "was not looked at", "reach the store"),
        (backup(errors=2), COVERED, False, "counts 2 errors", "remove it"),
        (backup(expiration="2026-11-21T12:59:59Z"), COVERED, False, "expired at", "Make a new backup"),
        (
            backup(),
            Details(coverage=Coverage("known"), gone="its contents are gone: 404"),
            False,
            "its contents are gone",
            "what became of the bucket",
        ),
        (backup(), Details([volume("InProgress", claim=None)], Coverage("known")), False, "volume files of app/db-0 is InProgress", "remove it"),
        (backup("PartiallyFailed", errors=1), Details([volume("Failed", message="x")]), False, "is incomplete (1 errors): the copy of", "remove it"),
        (backup("PartiallyFailed", errors=1), Details(results={"errors": ["velero: y"], "warnings": []}), False, "velero: y", "remove it"),
        (backup("PartiallyFailed"), Details(), False, "Velero gives no reason", "remove it"),
        (backup("Failed", failureReason="upload broke"), Details(), False, "it failed: upload broke", "take another name"),
        (backup("Failed", failureReason="backup already exists in object storage"), Details(), False, "does not list", "Take another name"),
        (backup("FailedValidation", validationErrors=["no such place"]), Details(), False, "refused it: no such place", "remove it"),
        (backup("FailedValidation"), Details(), False, "it gives no reason", "remove it"),
        (backup("Deleting"), Details(), False, "is being deleted", ""),
        (backup("InProgress"), Details(), False, "not finished (phase InProgress)", ""),
        (backup("FinalizingPartiallyFailed"), Details(), False, "not finished", ""),
        (backup("WaitingForPluginOperationsPartiallyFailed"), Details(), False, "not finished", ""),
        (backup(None), COVERED, False, "not finished (phase New)", ""),
        (backup("Sparkling"), COVERED, False, "not finished (phase Sparkling)", ""),
    ],
)
def test_verdicts(item: dict[str, Any], details: Details, good: bool | None, words: str, advice: str) -> None:
    found, text = backup_view.verdict(item, details, NOW)
    assert found is good
    assert words in text
    assert bool(text) is (good is not True)
    if advice:
        assert advice in backup_view.next_step(item, details, NOW)


def test_the_entry() -> None:
    entry = backup_view.shown(backup(), Details([volume(), volume(claim=None)], Coverage("known", excluded=("app/x",), unbound=("app/y",))), NOW)
    assert entry["good"] is True
    assert (entry["duration"], entry["age"], entry["bytes"]) == (10, 3589, 14)
    assert (entry["schedule"], entry["storage_location"]) == ("daily", "default")
    assert entry["template"] == {"included_namespaces": ["app"], "storage_location": "default"}
    assert (entry["excluded"], entry["unbound"], entry["uncovered"]) == (["app/x"], ["app/y"], [])
    new = backup_view.shown({"metadata": {"name": "n"}}, Details(), NOW)
    assert (new["phase"], new["good"], new["age"], new["duration"], new["template"], new["storage_location"]) == ("New", False, None, None, {}, None)


def test_results_in_words() -> None:
    document = {
        "errors": {"velero": ["a "], "cluster": ["b"], "namespaces": {"web": ["d"], "app": ["c", "c"]}},
        "warnings": {"namespaces": None},
    }
    assert backup_view.results_in_words(document) == {"errors": ["a", "cluster: b", "namespace app: c", "namespace web: d"], "warnings": []}
    assert backup_view.results_in_words(None) is None
    assert backup_view.shortened(["1", "2", "3"], 2) == "1; 2 and 1 more"


def series(*amounts: tuple[int, int], **over: Any) -> list[dict[str, Any]]:
    """Entries, the newest first, by bytes and items."""
    return [
        {
            "name": f"b-{number}", "phase": "Completed", "bytes": size, "progress": {"done": items, "total": items}, "volumes": [volume()],
            "template": {"included_namespaces": ["app"], "ttl": f"{number}h0m0s"}, **over,
        }
        for number, (size, items) in enumerate(amounts)
    ]  # fmt: skip


def test_a_backup_that_is_suddenly_smaller() -> None:
    (trend,) = backup_trend.of(series((40_000, 20), (100_000, 20), (110_000, 21), (90_000, 19)))
    assert trend["shrunk"] is True
    assert trend["text"] == "backup b-0 holds much less than the 3 before it: 40.0 kB instead of 100 kB"
    assert trend["baseline"] == {"bytes": 100_000, "objects": 20, "volumes": 1, "backups": 3}
    assert trend["series"] == {"included_namespaces": ["app"]}
    (fewer,) = backup_trend.of(series((100, 3), (100, 20), (100, 20)))
    assert fewer["text"].endswith("3 objects instead of 20 objects")
    gone = [*series((0, 20), volumes=[]), *series((100, 20), (100, 20))]
    assert "0 volumes instead of 1 volumes" in backup_trend.of(gone)[0]["text"]


def test_no_trend_or_none_to_tell() -> None:
    assert backup_trend.of(series((100, 20), (100, 20))) == [], "two say nothing"
    assert backup_trend.of(series((1, 1), (100, 20), (100, 20), phase="Failed")) == []
    (steady,) = backup_trend.of(series((60, 20), (100, 20), (100, 20)))
    assert (steady["shrunk"], steady["text"]) == (False, "")
    (grown,) = backup_trend.of(series((900, 90), (100, 20), (100, 20)))
    assert grown["shrunk"] is False
    (recovered,) = backup_trend.of(series((100, 20), (1, 1), (100, 20), (100, 20), (100, 20), (100, 20), (5000, 900)))
    assert recovered["shrunk"] is False, "one bad one among five does not move the median"
    assert recovered["baseline"]["backups"] == 5
    two = backup_trend.of([*series((1, 1), (9, 9), (9, 9)), *series((9, 9), (9, 9), (9, 9), template={"included_namespaces": ["web"]})])
    assert [trend["shrunk"] for trend in two] == [True, False]
