# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""velero_backup_info against the twin: filters, verdicts, what costs requests, and what is known without the store."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Forbidden, InputError
from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_info
from ansible_collections.serverops.circleci.tests.unit.velero.backup_twin import VeleroTwin


@pytest.fixture
def find(velero_twin: VeleroTwin, monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(**options: Any) -> dict[str, Any]:
        checked = ArgumentSpecValidator(dict(backup_info.ARGUMENTS)).validate(options)
        assert not checked.error_messages
        monkeypatch.setattr(backup_info.session, "log_in", lambda _options, context: velero_twin.api(context, 60))
        velero_twin.requests.clear()
        result = backup_info.find(checked.validated_parameters, Context(check_mode=True))
        assert result["changed"] is False
        return result

    return run


def names(result: dict[str, Any]) -> list[str]:
    return [entry["name"] for entry in result["backups"]]


def test_none(velero_twin: VeleroTwin, find: Any) -> None:
    assert find() == {"changed": False, "backups": [], "trend": []}
    assert find(name="b")["backups"] == []
    velero_twin.forbidden = set()


def test_filters(velero_twin: VeleroTwin, find: Any) -> None:
    velero_twin.backup("one", 300)
    velero_twin.backup("two", 200, spec={"includedNamespaces": ["web"], "storageLocation": "other"})
    three = velero_twin.backup("three", 100, status={"phase": "Failed"})
    three["metadata"]["labels"] = {"velero.io/schedule-name": "daily"}
    assert names(find()) == ["three", "two", "one"]
    assert names(find(newest=2)) == ["three", "two"]
    assert names(find(schedule="daily")) == ["three"]
    assert names(find(storage_location="other")) == ["two"]
    assert names(find(included_namespace="app")) == ["three", "one"]
    assert names(find(phases=["Completed"])) == ["two", "one"]
    assert names(find(name="one")) == ["one"]
    assert names(find(name="one", phases=["Failed"])) == []


def test_many_need_few_requests(velero_twin: VeleroTwin, find: Any) -> None:
    for number in range(50):
        velero_twin.backup(f"b{number:02}", 100.0 - number)
    result = find()
    assert len(result["backups"]) == 50
    assert all(entry["good"] is True and entry["coverage"] == "partly" and entry["bytes"] == 7 for entry in result["backups"])
    assert len(velero_twin.requests) <= 9, velero_twin.requests
    assert not [line for line in velero_twin.requests if not line.startswith("GET")]
    find(gather=[])
    assert len(velero_twin.requests) <= 2
    assert find(gather=[], newest=1)["backups"][0]["good"] is None


def test_one_is_read_from_the_store(velero_twin: VeleroTwin, find: Any) -> None:
    velero_twin.backup("one")
    assert find(name="one")["backups"][0]["coverage"] == "known"
    velero_twin.reachable = False
    entry = find(name="one", gather=["volumes", "results", "log"])["backups"][0]
    assert (entry["coverage"], entry["good"], entry["results"], entry["log_tail"]) == ("partly", True, None, None)
    assert "not reachable" in entry["unreached"]


def test_results_of_several(velero_twin: VeleroTwin, find: Any) -> None:
    velero_twin.backup("one", 300)
    velero_twin.backup("two", 200, status={"phase": "PartiallyFailed", "errors": 1})
    for name in ("one", "two"):
        velero_twin.stored[("BackupResults", name)] = {"errors": {"velero": [f"in {name}"]}, "warnings": {}}
        velero_twin.stored[("BackupLog", name)] = "log"
    result = find(gather=["volumes", "results", "log"])
    assert [entry["results"]["errors"] for entry in result["backups"]] == [["in two"], ["in one"]]
    assert [entry["coverage"] for entry in result["backups"]] == ["unknown", "known"]
    assert [entry["log_tail"] for entry in result["backups"]] == [['"log"'], ['"log"']]
    assert "in two" in result["backups"][0]["verdict"]


def test_another_cluster(velero_twin: VeleroTwin, find: Any) -> None:
    """After a loss the namespace is not there yet: without the store nobody knows what the backup had to hold."""
    velero_twin.backup("one")
    del velero_twin.store["namespaces//app"]
    velero_twin.reachable = False
    (entry,) = find()["backups"]
    assert entry["good"] is None
    assert "namespace app is not there" in entry["verdict"]


def test_snapshots(velero_twin: VeleroTwin, find: Any) -> None:
    """Of which claim a snapshot is stands in the store; without it nobody knows, and with it they count."""
    velero_twin.backup("one", 300, (), status={"volumeSnapshotsAttempted": 1, "volumeSnapshotsCompleted": 1})
    velero_twin.stored[("BackupVolumeInfos", "one")] = [
        {"pvcName": "data", "pvcNamespace": "app", "backupMethod": "NativeSnapshot", "result": "succeeded", "nativeSnapshotInfo": {}}
    ]
    (entry,) = find(name="one")["backups"]
    assert (entry["good"], [volume["method"] for volume in entry["volumes"]]) == (True, ["snapshot"])
    velero_twin.backup("two", 200)
    unknown = find()["backups"][1]
    assert unknown["good"] is None
    assert "1 snapshots" in unknown["verdict"]
    velero_twin.reachable = False
    assert find(name="one")["backups"][0]["good"] is None


def test_not_allowed_to_see_copies(velero_twin: VeleroTwin, find: Any) -> None:
    velero_twin.backup("one", 300)
    velero_twin.backup("two", 200)
    velero_twin.forbidden = {"podvolumebackups"}
    with pytest.raises(Forbidden):
        find()


def test_uncovered(velero_twin: VeleroTwin, find: Any) -> None:
    velero_twin.backup("one", 300, ())
    velero_twin.backup("two", 200)
    assert [entry["good"] for entry in find()["backups"]] == [True, False]
    assert [entry["good"] for entry in find(excluded_volumes=["app/data"])["backups"]] == [True, True]


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"newest": 0}, "newest"),
        ({"name": "Not_A_Name"}, "name"),
        ({"schedule": "Not_A_Name"}, "schedule"),
        ({"included_namespace": "Not_A_Name"}, "included_namespace"),
        ({"namespace": "Not_A_Name"}, "namespace"),
        ({"excluded_volumes": ["x"]}, "excluded_volumes"),
    ],
)
def test_bad_input(find: Any, options: dict[str, Any], option: str) -> None:
    with pytest.raises(InputError) as raised:
        find(**options)
    assert raised.value.option == option
