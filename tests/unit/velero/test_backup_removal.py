# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing a backup: by request and proven, refused before it is written, and never what somebody else stored."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, ensure
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import AnswerLost, DeadlineOver, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._velero.backup_removal import Removal
from ansible_collections.serverops.circleci.tests.unit.velero.backup_twin import VeleroTwin


def remove(twin: VeleroTwin, *, check: bool = False, seconds: float = 60.0, warnings: list[str] | None = None) -> dict[str, Any]:
    context = Context(check_mode=check, warnings=[] if warnings is None else warnings)
    return ensure(Removal({"name": "b", "namespace": "velero"}, twin.api(context, seconds), context), context)


def restore(twin: VeleroTwin, name: str, backup: str) -> None:
    twin.put("restores", "velero", name, {"spec": {"backupName": backup}})


def test_removed(velero_twin: VeleroTwin) -> None:
    velero_twin.backup("b")
    velero_twin.backup("kept")
    restore(velero_twin, "r1", "b")
    restore(velero_twin, "r2", "kept")
    warnings: list[str] = []
    predicted = remove(velero_twin, check=True)
    assert velero_twin.writes == []
    result = remove(velero_twin, warnings=warnings)
    assert velero_twin.writes == ["POST deletebackuprequests"]
    assert predicted["diff"] == result["diff"]
    assert predicted["requests"] == result["requests"]
    assert result["diff"]["before"]["restores"] == ["r1"]
    assert result["backup"] is None
    assert result["waited"]["last"] == "gone"
    assert "r1" in warnings[0]
    assert "r2" not in warnings[0]
    left = {key for key in velero_twin.store if key.split("/")[0] in {"backups", "restores", "deletebackuprequests"}}
    assert left == {"backups/velero/kept", "restores/velero/r2"}
    again = remove(velero_twin)
    assert not again["changed"]
    assert again["diff"] == {"before": {}, "after": {}}
    assert "waited" not in again


@pytest.mark.parametrize("status", [{"phase": "FailedValidation"}, {"phase": "Failed", "failureReason": "backup already exists in object storage"}])
def test_of_which_nothing_is_in_the_store(velero_twin: VeleroTwin, status: dict[str, Any]) -> None:
    """A request would remove what another backup of this name has there."""
    velero_twin.backup("b", status=status)
    warnings: list[str] = []
    result = remove(velero_twin, warnings=warnings)
    assert velero_twin.writes == ["DELETE backups"]
    assert result["waited"]["last"] == "gone"
    assert bool(warnings) is (status["phase"] == "Failed")


@pytest.mark.parametrize("fault", ["lost", "cut"])
def test_a_lost_answer(velero_twin: VeleroTwin, fault: str) -> None:
    velero_twin.backup("b")
    velero_twin.serving = False
    velero_twin.faults = [fault]
    velero_twin.serving = True
    if fault == "lost":
        assert remove(velero_twin)["changed"]
    else:
        with pytest.raises(AnswerLost):
            remove(velero_twin)
        assert remove(velero_twin)["changed"]
    assert "backups/velero/b" not in velero_twin.store


def test_killed_and_run_again(velero_twin: VeleroTwin) -> None:
    velero_twin.backup("b")
    velero_twin.serving = False
    with pytest.raises(DeadlineOver, match="request New; Velero's server is not running"):
        remove(velero_twin, seconds=20)
    velero_twin.serving = True
    assert not remove(velero_twin)["changed"]
    assert velero_twin.writes == ["POST deletebackuprequests"]


def test_errors_of_the_request(velero_twin: VeleroTwin) -> None:
    velero_twin.backup("b")
    velero_twin.deletion_errors = ["the store said no"]
    for _again in range(2):
        with pytest.raises(NotProven, match="the store said no"):
            remove(velero_twin)
    assert velero_twin.writes == ["POST deletebackuprequests"] * 2, "one for each task"
    velero_twin.deletion_errors = []
    assert remove(velero_twin)["changed"]
    assert not [key for key in velero_twin.store if key.startswith(("backups/", "deletebackuprequests/"))]


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"status": {"phase": "InProgress"}}, "still works on it (phase InProgress)"),
        ({"status": {"phase": "FinalizingPartiallyFailed"}}, "still works on it"),
        ({"status": {"phase": None}}, "still works on it (phase New)"),
        ({"spec": {"storageLocation": "lost"}}, "storage location lost is not there"),
        ({"spec": {"storageLocation": "shut"}}, "is read-only"),
        ({"spec": {"storageLocation": "away"}}, "is Unavailable: no bucket"),
    ],
)
def test_refused_before_anything_is_written(velero_twin: VeleroTwin, over: dict[str, Any], words: str) -> None:
    velero_twin.put("backupstoragelocations", "velero", "shut", {"spec": {"accessMode": "ReadOnly"}, "status": {"phase": "Available"}})
    velero_twin.put("backupstoragelocations", "velero", "away", {"spec": {}, "status": {"phase": "Unavailable", "message": "no bucket"}})
    velero_twin.serving = False
    velero_twin.backup("b", **over)
    for check in (True, False):
        with pytest.raises(NotProven) as raised:
            remove(velero_twin, check=check)
        assert words in str(raised.value)
        assert raised.value.next_step
    assert velero_twin.writes == []


def test_half_removed(velero_twin: VeleroTwin) -> None:
    """A removal that broke off leaves phase Deleting; a new request finishes it."""
    velero_twin.backup("b", status={"phase": "Deleting"})
    velero_twin.put(
        "deletebackuprequests", "velero", "old", {"spec": {"backupName": "b"}, "status": {"phase": "Processed", "errors": ["the store was away"]}}
    )
    assert remove(velero_twin)["changed"]
    assert velero_twin.writes == ["POST deletebackuprequests"]
    assert not [key for key in velero_twin.store if key.startswith(("backups/", "deletebackuprequests/"))]


def test_no_velero(velero_twin: VeleroTwin) -> None:
    assert not remove(velero_twin)["changed"]
