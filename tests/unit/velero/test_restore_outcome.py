# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore has to bring back, and how what it brought back is judged and told."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import restore_outcome, restore_view

Document = dict[str, Any]


def copy(namespace: str = "app", pod: str = "web-0", volume: str = "data", **over: Any) -> Document:
    """Return a copy of a volume as a backup has it."""
    return {"namespace": namespace, "pod": pod, "volume": volume, "claim": "claim", "method": "fs_backup", "phase": "Completed", **over}


def done(namespace: str = "app", pod: str | None = "web-0", volume: str = "data", **over: Any) -> Document:
    """Return a volume that a restore brought back."""
    return {
        "namespace": namespace,
        "pod": pod,
        "volume": volume,
        "claim": None,
        "phase": "Completed",
        "bytes": 1,
        "total": 1,
        "message": None,
        **over,
    }


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ({}, 1),
        ({"restorePVs": False}, 0),
        ({"includedNamespaces": ["other"]}, 0),
        ({"excludedNamespaces": ["app"]}, 0),
        ({"includedResources": ["pods", "persistentvolumeclaims"]}, 0),
        ({"excludedResources": ["pods"]}, 0),
        ({"excludedResources": ["services"]}, 1),
    ],
)
def test_wanted_volumes_by_scope(spec: Document, count: int) -> None:
    assert len(restore_outcome.wanted_volumes([copy()], spec)) == count


def test_wanted_volumes_go_where_they_are_mapped_to() -> None:
    (wanted,) = restore_outcome.wanted_volumes([copy()], {"namespaceMapping": {"app": "drill"}})
    assert (wanted.source, wanted.namespace, wanted.pod, wanted.claim) == ("app", "drill", "web-0", "claim")
    assert wanted.text == "drill/web-0:data (claim claim)"


def test_a_copy_that_failed_cannot_be_wanted_back() -> None:
    assert restore_outcome.wanted_volumes([copy(phase="Failed")], {}) == []


def test_with_a_selector_only_pods_that_came_are_wanted() -> None:
    copies = [copy(), copy(pod="db-0")]
    spec = {"labelSelector": {"matchLabels": {"a": "b"}}}
    assert [item.pod for item in restore_outcome.wanted_volumes(copies, spec, [("app", "db-0")])] == ["db-0"]


def test_moved_snapshots_are_wanted_by_their_claim() -> None:
    moved = copy(pod=None, volume=None, method="data_upload")
    (wanted,) = restore_outcome.wanted_volumes([moved], {})
    assert restore_outcome.missing_volumes([wanted], []) == [wanted]
    assert restore_outcome.missing_volumes([wanted], [done(pod=None, volume="pv-1", claim="claim")]) == []
    # a snapshot of the provider comes back as a volume, which shows in its claim alone
    assert restore_outcome.wanted_volumes([copy(pod=None, method="csi_snapshot")], {}) == []


@pytest.mark.parametrize(
    ("volumes", "missing"),
    [
        ([], ["app/web-0:data (claim claim)"]),
        ([done()], []),
        ([done(phase="InProgress")], ["app/web-0:data (claim claim)"]),
        ([done(namespace="other")], ["app/web-0:data (claim claim)"]),
        ([done(pod="web-1")], ["app/web-0:data (claim claim)"]),
        ([done(volume="logs")], ["app/web-0:data (claim claim)"]),
    ],
)
def test_missing_volumes(volumes: list[Document], missing: list[str]) -> None:
    wanted = restore_outcome.wanted_volumes([copy()], {})
    assert [item.text for item in restore_outcome.missing_volumes(wanted, volumes)] == missing


def named(kind: str, name: str, labels: Document | None = None, **more: Any) -> Document:
    """Return an object in namespace app."""
    return {"kind": kind, "metadata": {"namespace": "app", "name": name, "labels": labels or {}, "generation": 1}, **more}


MADE = {restore_outcome.RESTORED_BY: "r"}


def claim(phase: str, storage_class: str = "fast") -> Document:
    """Return a claim that the restore made."""
    return named("PersistentVolumeClaim", "data", MADE, spec={"storageClassName": storage_class}, status={"phase": phase})


def test_an_unbound_claim_is_named_unless_it_waits_for_its_first_pod() -> None:
    brought = restore_outcome.Brought("r", (claim("Pending"),), waiting_classes=frozenset({"late"}))
    assert restore_outcome.unbound(restore_outcome.claim_views(brought)) == ["claim app/data is Pending"]
    waiting = restore_outcome.Brought("r", (claim("Pending", "late"),), waiting_classes=frozenset({"late"}))
    assert restore_outcome.unbound(restore_outcome.claim_views(waiting)) == []
    pod = named("Pod", "web-0", spec={"volumes": [{"name": "x"}, {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]})
    used = restore_outcome.Brought("r", (claim("Pending", "late"),), (), (pod,), frozenset({"late"}))
    assert restore_outcome.unbound(restore_outcome.claim_views(used)) == ["claim app/data is Pending"]
    assert restore_outcome.unbound(restore_outcome.claim_views(restore_outcome.Brought("r", (claim("Bound"),)))) == []


@pytest.mark.parametrize(
    ("kind", "spec", "status", "ready", "wanted", "available"),
    [
        ("Deployment", {"replicas": 2}, {"observedGeneration": 1, "availableReplicas": 2}, 2, 2, True),
        ("Deployment", {"replicas": 2}, {"observedGeneration": 1, "availableReplicas": 1}, 1, 2, False),
        ("Deployment", {"replicas": 2}, {"observedGeneration": 0, "availableReplicas": 2}, 0, 2, False),
        ("Deployment", {}, {"observedGeneration": 1}, 0, 1, False),
        ("Deployment", {"replicas": 0}, {"observedGeneration": 1}, 0, 0, True),
        ("StatefulSet", {"replicas": 1}, {"observedGeneration": 1, "readyReplicas": 1}, 1, 1, True),
        ("StatefulSet", {"replicas": 1}, {"observedGeneration": 1, "readyReplicas": 1, "availableReplicas": 0}, 0, 1, False),
        ("DaemonSet", {}, {"observedGeneration": 1, "desiredNumberScheduled": 3, "numberAvailable": 3}, 3, 3, True),
        ("DaemonSet", {}, {"observedGeneration": 1, "desiredNumberScheduled": 3}, 0, 3, False),
    ],
)
def test_workloads(kind: str, spec: Document, status: Document, ready: int, wanted: int, available: bool) -> None:
    (view,) = restore_outcome.workload_views(restore_outcome.Brought("r", (), (named(kind, "web", MADE, spec=spec, status=status),)))
    assert (view["ready"], view["wanted"], view["available"]) == (ready, wanted, available)
    assert bool(view["reason"]) is not available
    assert len(restore_outcome.unavailable([view])) == (0 if available else 1)


def test_a_workload_that_is_not_available_says_why() -> None:
    waiting = {"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    pod = named("Pod", "web-0", {"app": "web"}, status={"phase": "Pending", "containerStatuses": [waiting]})
    workload = named("Deployment", "web", MADE, spec={"replicas": 1, "selector": {"matchLabels": {"app": "web"}}}, status={"observedGeneration": 1})
    (view,) = restore_outcome.workload_views(restore_outcome.Brought("r", (), (workload,), (pod,)))
    assert view["reason"] == "pod web-0 is ImagePullBackOff: no such image"


def test_lost_and_kept() -> None:
    (wanted,) = restore_outcome.wanted_volumes([copy()], {})
    mine, strange = named("Pod", "web-0", MADE), named("Pod", "web-0", {restore_outcome.RESTORED_BY: "other"})
    held = named("PersistentVolumeClaim", "claim", MADE)
    assert not restore_outcome.is_lost(wanted, restore_outcome.Brought("r", (held,)))
    assert restore_outcome.is_lost(wanted, restore_outcome.Brought("r", (), (), (mine,)))
    assert restore_outcome.was_there(wanted, restore_outcome.Brought("r", (), (), (strange,)))
    assert not restore_outcome.was_there(wanted, restore_outcome.Brought("r", (), (), (mine,)))
    assert not restore_outcome.was_there(wanted, restore_outcome.Brought("r"))


def test_volumes_as_they_are_told() -> None:
    restored = {
        "kind": "PodVolumeRestore",
        "spec": {"pod": {"namespace": "app", "name": "web-0"}, "volume": "data"},
        "status": {"phase": "InProgress", "progress": {"bytesDone": 17, "totalBytes": 40}, "node": "n1"},
    }
    view = restore_view.volume_view(restored)
    assert (view["phase"], view["bytes"], view["total"], view["node"]) == ("InProgress", 17, 40, "n1")
    moved = {"kind": "DataDownload", "spec": {"targetVolume": {"namespace": "app", "pvc": "claim", "pv": "pv-1"}}}
    assert restore_view.volume_view(moved) == {
        "namespace": "app", "pod": None, "volume": "pv-1", "claim": "claim", "phase": "New", "bytes": 0, "total": None, "node": None, "message": None,
    }  # fmt: skip


def test_progress() -> None:
    status = {"phase": "InProgress", "progress": {"itemsRestored": 3, "totalItems": 8}}
    volumes = [done(bytes=2_000_000, total=2_000_000), done(phase="InProgress", bytes=500_000, total=1_000_000)]
    assert restore_view.progress_text(status, volumes, 3) == "phase InProgress, 3 of 8 objects, 1 of 3 volumes (2.5 MB of 3.0 MB)"
    assert restore_view.progress_text({}, []) == "phase New"


def restore(phase: str, **status: Any) -> Document:
    """Return a restore in a phase."""
    return {"metadata": {"name": "r"}, "spec": {"backupName": "b"}, "status": {"phase": phase, **status}}


@pytest.mark.parametrize(
    ("item", "details", "good", "told"),
    [
        (restore("InProgress"), {}, None, "not finished (phase InProgress)"),
        (restore("Completed"), {"counted": True}, True, ""),
        (restore("Completed"), {}, None, "its backup is not there"),
        (restore("Completed"), {"counted": True, "missing": ["app/web-0:data"]}, False, "volumes were not restored: app/web-0:data"),
        (restore("Completed"), {"counted": True, "volumes": [done(phase="Canceled")]}, False, "volumes were not restored: app/web-0:data"),
        (restore("Failed", failureReason="no store"), {}, False, "phase Failed; no store"),
        (restore("FailedValidation", validationErrors=["no backup"]), {}, False, "no backup"),
        (restore("PartiallyFailed", errors=2), {"results": {"errors": ["a", "b"]}}, False, "2 errors; errors: a, b"),
        (
            restore("Completed"),
            {"counted": True, "claims": [{"namespace": "app", "name": "data", "phase": "Lost", "waits": False}]},
            False,
            "claim app/data is Lost",
        ),
        (
            restore("Completed"),
            {"counted": True, "workloads": [{"kind": "Deployment", "namespace": "app", "name": "web", "available": False, "reason": "no pods"}]},
            False,
            "Deployment app/web is not available (no pods)",
        ),
    ],
)
def test_verdict(item: Document, details: Document, good: bool | None, told: str) -> None:
    verdict = restore_view.verdict(item, restore_view.Details(**details))
    assert verdict[0] is good
    assert told in verdict[1]
    assert bool(verdict[1]) is not (good is True)


def test_warnings_that_every_restore_has_are_not_told() -> None:
    normal = "namespace app: could not restore, ConfigMap:kube-root-ca.crt already exists"
    assert restore_view.telling_warnings({"warnings": [normal, "another"]}) == ["another"]
    assert restore_view.telling_warnings(None) == []


def test_entry() -> None:
    entry = restore_view.entry(restore("Completed", startTimestamp="2026-11-28T12:00:00Z", completionTimestamp="2026-11-28T12:01:30Z", warnings=1))
    assert (entry["duration"], entry["backup"], entry["warnings"], entry["good"], entry["results"]) == (90, "b", 1, None, None)


def test_spec_view_leaves_out_what_is_not_set() -> None:
    assert restore_view.spec_view("r", {"backupName": "b", "hooks": {}, "preserveNodePorts": False}) == {"name": "r", "backup_name": "b"}
    view = restore_view.spec_view(
        "r", {"backupName": "b", "restorePVs": False}, {"labels": {"a": "b"}, "annotations": {"serverops.circleci/schedule": "s"}}
    )
    assert view == {"name": "r", "backup_name": "b", "restore_volumes": False, "labels": {"a": "b"}}


def test_names_are_cut_and_counted() -> None:
    assert restore_view.named(str(number) for number in range(7)) == "0, 1, 2, 3, 4 and 2 more"
