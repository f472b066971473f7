# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of volumes: what each kind of object says, and what of it is no copy at all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Forbidden
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._velero import volume_copies as copies


def pod_volume_backup(claim: str | None = "data", **status: Any) -> dict[str, Any]:
    """As 1.17.2 writes it."""
    return {
        "kind": "PodVolumeBackup",
        "metadata": {"name": "b-x", "annotations": {"velero.io/pvc-name": claim} if claim else {}, "labels": {"velero.io/backup-name": "b"}},
        "spec": {"node": "n1", "pod": {"kind": "Pod", "name": "db-0", "namespace": "app"}, "volume": "files", "uploaderType": "kopia"},
        "status": {"phase": "Completed", "snapshotID": "abc", "progress": {"bytesDone": 3, "totalBytes": 3}, **status},
    }


def test_a_finished_one() -> None:
    assert copies.of_pod_volume_backup(pod_volume_backup()) == {
        "namespace": "app", "pod": "db-0", "volume": "files", "claim": "data", "method": "fs_backup", "uploader": "kopia",
        "phase": "Completed", "bytes": 3, "node": "n1", "message": None,
    }  # fmt: skip
    assert copies.finished_claims([copies.of_pod_volume_backup(pod_volume_backup())]) == {"app/data"}


@pytest.mark.parametrize(
    ("status", "phase", "size"),
    [
        ({"phase": "InProgress", "progress": {"bytesDone": 5, "totalBytes": 9}}, "InProgress", 5),
        ({"phase": "Failed", "message": "no space"}, "Failed", 3),
        ({"phase": None}, "New", 3),
        ({"snapshotID": None, "progress": {}}, "Failed", 0),
        ({"snapshotID": "", "message": "volume was empty so no snapshot was taken", "progress": {}}, "Completed", 0),
    ],
)
def test_phases(status: dict[str, Any], phase: str, size: int) -> None:
    found = copies.of_pod_volume_backup(pod_volume_backup(**status))
    assert (found["phase"], found["bytes"]) == (phase, size)
    assert bool(copies.finished_claims([found])) is (phase == "Completed")
    if phase == "Failed":
        assert found["message"]


def test_a_volume_that_is_no_claim() -> None:
    found = copies.of_pod_volume_backup(pod_volume_backup(None))
    assert found["claim"] is None
    assert copies.finished_claims([found]) == set()


def data_upload(**status: Any) -> dict[str, Any]:
    return {
        "kind": "DataUpload",
        "metadata": {"name": "b-y"},
        "spec": {"sourceNamespace": "app", "sourcePVC": "data"},
        "status": {"phase": "Completed", "node": "n2", "progress": {"bytesDone": 4, "totalBytes": 7}, **status},
    }


def test_moved_snapshots() -> None:
    found = copies.of_data_upload(data_upload())
    assert (found["claim"], found["method"], found["uploader"], found["phase"], found["bytes"]) == ("data", "data_upload", "velero", "Completed", 7)
    assert copies.of_data_upload(data_upload(phase="InProgress"))["bytes"] == 4


INFOS: list[dict[str, Any]] = [
    {"pvcName": "data", "pvcNamespace": "app", "pvName": "pv-1", "backupMethod": "PodVolumeBackup", "result": "succeeded", "pvbInfo": {"size": 3}},
    {"pvcName": "native", "pvcNamespace": "app", "pvName": "pv-2", "backupMethod": "NativeSnapshot", "result": "succeeded", "nativeSnapshotInfo": {}},
    {"pvcName": "broken", "pvcNamespace": "app", "backupMethod": "NativeSnapshot", "result": "failed", "nativeSnapshotInfo": {"snapshotHandle": "s"}},
    {"pvcName": "csi", "pvcNamespace": "app", "backupMethod": "CSISnapshot", "csiSnapshotInfo": {"snapshotHandle": "h", "size": 9}},
    {"pvcName": "nothing", "pvcNamespace": "app", "backupMethod": "CSISnapshot", "csiSnapshotInfo": {}},
    {
        "pvcName": "moved", "pvcNamespace": "app", "backupMethod": "CSISnapshot", "snapshotDataMoved": True,
        "snapshotDataMovementInfo": {"phase": "Completed", "size": 5, "uploaderType": "kopia"},
    },
    {
        "pvcName": "stuck", "pvcNamespace": "app", "backupMethod": "CSISnapshot", "snapshotDataMoved": True,
        "snapshotDataMovementInfo": {"phase": "InProgress"}, "csiSnapshotInfo": {"snapshotHandle": "h"},
    },
    {"pvcName": "left", "pvcNamespace": "app", "skipped": True, "skippedReason": "by policy"},
]  # fmt: skip


def test_the_list_of_volumes() -> None:
    found, skipped = copies.of_volume_infos(INFOS)
    assert copies.finished_claims(found) == {"app/native", "app/csi", "app/moved"}
    assert {volume["claim"]: volume["method"] for volume in found} == {
        "native": "snapshot", "broken": "snapshot", "csi": "csi_snapshot", "nothing": "csi_snapshot", "moved": "data_upload", "stuck": "data_upload",
    }  # fmt: skip
    assert skipped == {"app/left": "by policy"}
    assert all(volume["message"] for volume in found if volume["phase"] != "Completed")
    assert copies.of_volume_infos(None) == ([], {})
    assert copies.of_volume_infos({"not": "a list"}) == ([], {})


def test_the_lists_of_older_releases() -> None:
    native = [
        {"spec": {"persistentVolumeName": "pv-1"}, "status": {"phase": "Completed", "providerSnapshotID": "s-1"}},
        {"spec": {"persistentVolumeName": "pv-2"}, "status": {"phase": "Failed"}},
        {"spec": {"persistentVolumeName": "pv-3"}, "status": {"phase": "Completed", "providerSnapshotID": "s-3"}},
    ]
    found = copies.of_native_snapshots(native, {"pv-1": ("app", "data"), "pv-2": ("app", "other")})
    assert copies.finished_claims(found) == {"app/data"}
    assert len(found) == 3
    csi = [
        {"metadata": {"namespace": "app"}, "spec": {"source": {"persistentVolumeClaimName": "one"}}, "status": {"readyToUse": True}},
        {"metadata": {"namespace": "app"}, "spec": {"source": {"persistentVolumeClaimName": "two"}}, "status": {"readyToUse": False}},
    ]
    assert copies.finished_claims(copies.of_csi_snapshots(csi)) == {"app/one"}
    assert copies.of_native_snapshots(None, {}) == copies.of_csi_snapshots(None) == []


def test_labels() -> None:
    assert copies.label_value("b" * 63) == "b" * 63
    long = copies.label_value("b" * 64)
    assert len(long) == 63
    assert long.startswith("b" * 57)
    assert long != copies.label_value("b" * 65)


def test_read() -> None:
    asked: list[Any] = []

    def listed(kind: resource.Resource, _namespace: str, *, label_selector: str) -> Any:
        asked.append((kind.kind, label_selector))
        if kind is resource.DATA_UPLOAD and len(asked) > 2:
            raise Forbidden("list", "x", "no")
        return SimpleNamespace(items=[pod_volume_backup()] if kind is resource.POD_VOLUME_BACKUP else [data_upload()])

    api: Any = SimpleNamespace(list=listed)
    plain = {"metadata": {"name": "b"}, "spec": {"snapshotMoveData": False}}
    assert [volume["method"] for volume in copies.read(api, "velero", plain)] == ["fs_backup"]
    assert asked == [("PodVolumeBackup", "velero.io/backup-name=b")]
    asked.clear()
    moving = {"metadata": {"name": "b"}, "spec": {"snapshotMoveData": True}}
    assert [volume["method"] for volume in copies.read(api, "velero", moving)] == ["fs_backup", "data_upload"]
    assert [volume["method"] for volume in copies.read(api, "velero", moving)] == ["fs_backup"]
    asked.clear()
    assert [volume["method"] for volume in copies.read(api, "velero", "b")] == ["fs_backup", "data_upload"]


def test_progress_in_words() -> None:
    running = pod_volume_backup(phase="InProgress", progress={"bytesDone": 1_500_000, "totalBytes": 3_000_000})
    waiting = pod_volume_backup(phase="New", progress={})
    assert copies.progress_shown([]) == ""
    assert copies.progress_shown([pod_volume_backup(), running, waiting]) == "1 of 3 volumes, 1.5 MB of 3.0 MB"
    assert copies.held_up([running, waiting, data_upload(phase="Accepted")]) == [
        "claim data (Accepted)",
        "volume files of pod app/db-0 on node n1 (New)",
    ]


@pytest.mark.parametrize(("size", "shown"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456, "123 kB"), (5 * 10**12, "5.0 TB")])
def test_sizes(size: int, shown: str) -> None:
    assert copies.size_shown(size) == shown
