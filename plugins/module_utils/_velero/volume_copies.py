# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copies of volumes that a backup has: files by restic or kopia, snapshots of a provider, CSI snapshots, and snapshots moved to the store.

Pure, but for `read`. Private to this collection; may change without notice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, Forbidden
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api

Document = dict[str, Any]
Volume = dict[str, Any]
"""One copy: {namespace, pod, volume, claim, method, uploader, phase, bytes, node, message}, the last with None where it is not known.

method: fs_backup, snapshot, csi_snapshot or data_upload. claim: None for a volume of a pod that is no claim, such as an emptyDir.
bytes: what was read so far, for a finished one its size.
"""

BACKUP_LABEL = "velero.io/backup-name"
CLAIM_ANNOTATION = "velero.io/pvc-name"
DONE = "Completed"
STOPPED = frozenset({DONE, "Failed", "Canceled"})


def label_value(name: str) -> str:
    """Return a name as Velero writes it into a label: a long one is cut, and its hash put behind it."""
    return name if len(name) <= 63 else name[:57] + hashlib.sha256(name.encode()).hexdigest()[:6]


def read(api: Api, namespace: str, backup: Mapping[str, Any] | str) -> list[Volume]:
    """Return the copies of volumes of a backup that are objects of the cluster. Snapshots are not; they stand in the store.

    backup: the object, or its name where the object is not at hand.
    """
    if isinstance(backup, str):
        backup = {"metadata": {"name": backup}, "spec": {"snapshotMoveData": True}}
    return [
        of_data_upload(item) if item["kind"] == resource.DATA_UPLOAD.kind else of_pod_volume_backup(item) for item in read_raw(api, namespace, backup)
    ]


def read_raw(api: Api, namespace: str, backup: Mapping[str, Any]) -> list[Document]:
    """Return the PodVolumeBackups of a backup, and its DataUploads when snapshots are moved (the server fills in whether they are)."""
    label = f"{BACKUP_LABEL}={label_value(str(backup['metadata']['name']))}"
    found = api.list(resource.POD_VOLUME_BACKUP, namespace, label_selector=label).items
    if (backup.get("spec") or {}).get("snapshotMoveData"):
        try:
            found += api.list(resource.DATA_UPLOAD, namespace, label_selector=label).items
        except (Absent, Forbidden):
            return found  # then they are missing as copies
    return found


def of_pod_volume_backup(item: Mapping[str, Any]) -> Volume:
    """Return a PodVolumeBackup as a copy. A Completed one without a snapshot is none, unless the volume was empty."""
    spec, status = item.get("spec") or {}, item.get("status") or {}
    pod, progress = spec.get("pod") or {}, status.get("progress") or {}
    phase = str(status.get("phase") or "New")
    message = str(status.get("message") or "") or None
    if phase == DONE and not status.get("snapshotID") and "empty" not in (message or ""):
        phase, message = "Failed", message or "it says Completed and names no snapshot of the volume"
    return {
        "namespace": pod.get("namespace"),
        "pod": pod.get("name"),
        "volume": spec.get("volume"),
        "claim": (item["metadata"].get("annotations") or {}).get(CLAIM_ANNOTATION),
        "method": "fs_backup",
        "uploader": spec.get("uploaderType") or "restic",
        "phase": phase,
        "bytes": int(progress.get("totalBytes" if phase == DONE else "bytesDone") or 0),
        "node": spec.get("node"),
        "message": message,
    }


def total_bytes(item: Mapping[str, Any]) -> int:
    """Return the size of what a PodVolumeBackup or DataUpload copies, 0 when it is not known yet."""
    return int(((item.get("status") or {}).get("progress") or {}).get("totalBytes") or 0)


def of_data_upload(item: Mapping[str, Any]) -> Volume:
    """Return a DataUpload as a copy."""
    spec, status = item.get("spec") or {}, item.get("status") or {}
    phase, progress = str(status.get("phase") or "New"), status.get("progress") or {}
    return {
        "namespace": spec.get("sourceNamespace"),
        "pod": None,
        "volume": None,
        "claim": spec.get("sourcePVC"),
        "method": "data_upload",
        "uploader": spec.get("datamover") or "velero",
        "phase": phase,
        "bytes": int(progress.get("totalBytes" if phase == DONE else "bytesDone") or 0),
        "node": status.get("node"),
        "message": status.get("message") or None,
    }


def of_volume_infos(infos: Any) -> tuple[list[Volume], dict[str, str]]:
    """Return the snapshots in a backup's list of volumes (BackupVolumeInfos, from 1.13), and by claim why Velero left it out."""
    found: list[Volume] = []
    skipped: dict[str, str] = {}
    for info in infos if isinstance(infos, list) else []:
        claim, namespace = info.get("pvcName"), info.get("pvcNamespace")
        if info.get("skipped"):
            skipped[f"{namespace}/{claim}"] = str(info.get("skippedReason") or "Velero left it out")
            continue
        volume = _of_info(info)
        if volume is not None:
            found.append({"namespace": namespace, "pod": None, "volume": info.get("pvName"), "claim": claim, **volume})
    return found, skipped


def _of_info(info: Mapping[str, Any]) -> Volume | None:
    method = info.get("backupMethod")
    names = {"NativeSnapshot": ("snapshot", "nativeSnapshotInfo"), "CSISnapshot": ("csi_snapshot", "csiSnapshotInfo")}
    if method not in names:
        return None  # copies of files are objects of the cluster
    word, part = names[method]
    about = info.get(part) or {}
    moved = info.get("snapshotDataMovementInfo") or {}
    if info.get("snapshotDataMoved"):
        word, about = "data_upload", moved
    done = _succeeded(info, about, moved=bool(info.get("snapshotDataMoved")))
    return {
        "method": word,
        "uploader": moved.get("uploaderType") or None,
        "phase": DONE if done else "Failed",
        "bytes": int(about.get("size") or 0),
        "node": None,
        "message": None if done else str(info.get("message") or f"Velero says {info.get('result') or 'nothing of its end'}"),
    }


def _succeeded(info: Mapping[str, Any], about: Mapping[str, Any], *, moved: bool) -> bool:
    """Tell whether a snapshot is there. `result` came with 1.14; before, a handle is what there is to see."""
    if info.get("result"):
        return bool(info["result"] == "succeeded")
    if moved:
        return bool(about.get("phase") == DONE)
    return bool(about.get("snapshotHandle"))


def of_native_snapshots(snapshots: Any, claim_of: Mapping[str, tuple[str, str]]) -> list[Volume]:
    """Return the entries of BackupVolumeSnapshots (up to 1.12). claim_of: (namespace, claim) by the name of the persistent volume."""
    found = []
    for item in snapshots if isinstance(snapshots, list) else []:
        spec, status = item.get("spec") or {}, item.get("status") or {}
        name = str(spec.get("persistentVolumeName") or "")
        namespace, claim = claim_of.get(name, (None, None))
        done = status.get("phase") == DONE and bool(status.get("providerSnapshotID"))
        found.append(_snapshot(namespace, name, claim, "snapshot", done=done))
    return found


def of_csi_snapshots(snapshots: Any) -> list[Volume]:
    """Return the entries of CSIBackupVolumeSnapshots (1.9 to 1.12)."""
    found = []
    for item in snapshots if isinstance(snapshots, list) else []:
        claim = ((item.get("spec") or {}).get("source") or {}).get("persistentVolumeClaimName")
        done = bool((item.get("status") or {}).get("readyToUse"))
        found.append(_snapshot(item["metadata"].get("namespace"), None, claim, "csi_snapshot", done=done))
    return found


def _snapshot(namespace: str | None, volume: str | None, claim: str | None, method: str, *, done: bool) -> Volume:
    return {
        "namespace": namespace,
        "pod": None,
        "volume": volume,
        "claim": claim,
        "method": method,
        "uploader": None,
        "phase": DONE if done else "Failed",
        "bytes": 0,
        "node": None,
        "message": None,
    }


def finished_claims(volumes: Iterable[Volume]) -> set[str]:
    """Return the claims ("namespace/name") that have at least one finished copy."""
    return {f"{volume['namespace']}/{volume['claim']}" for volume in volumes if volume["claim"] and volume["phase"] == DONE}


def size_shown(size: int) -> str:
    """Return bytes for a person."""
    amount, units = float(size), ["B", "kB", "MB", "GB", "TB", "PB"]
    while amount >= 1000 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.0f} {units[0]}" if units[0] == "B" or amount >= 100 else f"{amount:.1f} {units[0]}"


def progress_shown(items: Iterable[Mapping[str, Any]]) -> str:
    """Return how far copies of volumes are (PodVolumeBackups and DataUploads as the cluster has them); empty when there are none."""
    known = list(items)
    if not known:
        return ""
    done = sum((item.get("status") or {}).get("phase") in STOPPED for item in known)
    copied = sum(int(((item.get("status") or {}).get("progress") or {}).get("bytesDone") or 0) for item in known)
    total = sum(total_bytes(item) for item in known)
    return f"{done} of {len(known)} volumes, {size_shown(copied)} of {size_shown(max(total, copied))}"


def held_up(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the copies that nobody has begun, as "volume data of pod app/db-0 on node n1 (New)"."""
    found = []
    for item in items:
        phase = (item.get("status") or {}).get("phase") or "New"
        if phase in {"New", "Accepted", "Prepared"}:
            spec = item.get("spec") or {}
            pod = spec.get("pod") or {}
            what = f"volume {spec.get('volume')} of pod {pod.get('namespace')}/{pod.get('name')}" if pod else f"claim {spec.get('sourcePVC')}"
            where = f" on node {spec['node']}" if spec.get("node") else ""
            found.append(f"{what}{where} ({phase})")
    return sorted(found)
