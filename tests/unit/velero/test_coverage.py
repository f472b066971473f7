# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which claims a backup has to hold, which have a copy, and why the others have none: above all, that nothing counts as copied that is not."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import coverage
from ansible_collections.serverops.circleci.plugins.module_utils._velero.coverage import Live, Scope

OLD, BEGAN, LATE = "2026-11-01T00:00:00Z", "2026-11-21T12:00:00Z", "2026-11-21T12:00:05Z"
NAMESPACES = {"app": OLD, "web": OLD, "kube-system": OLD, "young": LATE}


def claim(key: str, *, phase: str = "Bound", volume: str = "pv-1", made: str = OLD, labels: dict[str, str] | None = None) -> dict[str, Any]:
    namespace, _slash, name = key.partition("/")
    spec = {"volumeName": volume} if phase == "Bound" else {}
    return {
        "metadata": {"namespace": namespace, "name": name, "creationTimestamp": made, "labels": labels or {}},
        "spec": spec,
        "status": {"phase": phase},
    }


def pod(key: str, claims: dict[str, str], *, phase: str = "Running", annotations: dict[str, str] | None = None, **labels: str) -> dict[str, Any]:
    namespace, _slash, name = key.partition("/")
    return {
        "metadata": {"namespace": namespace, "name": name, "annotations": annotations or {}, "labels": labels},
        "spec": {"volumes": [{"name": volume, "persistentVolumeClaim": {"claimName": one}} for volume, one in claims.items()]},
        "status": {"phase": phase},
    }


def copy(key: str, phase: str = "Completed", **over: Any) -> dict[str, Any]:
    namespace, _slash, name = key.partition("/")
    return {
        "namespace": namespace, "pod": "db-0", "volume": "files", "claim": name or None, "method": "fs_backup", "uploader": "kopia", "phase": phase,
        "bytes": 1, "node": "n1", "message": None, **over,
    }  # fmt: skip


def backup(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "b"}, "spec": spec, "status": {"phase": "Completed", "startTimestamp": BEGAN}}


def live(*claims: dict[str, Any], pods: tuple[dict[str, Any], ...] = (), **over: Any) -> Live:
    return Live(**{"claims": claims, "pods": pods, "namespaces": NAMESPACES, **over})


# scope


def test_a_backups_own_list() -> None:
    found = coverage.listed({"v1/PersistentVolumeClaim": ["app/b", "app/a"], "v1/Pod": ["app/db-0"]})
    assert found == Scope(("app/a", "app/b"), "known")
    assert coverage.listed({"v1/Pod": []}) == Scope((), "known"), "a backup without claims is covered"
    assert coverage.listed(None) is None
    assert coverage.listed([]) is None


@pytest.mark.parametrize(
    ("spec", "claims"),
    [
        ({"includedNamespaces": ["app"]}, ("app/one", "app/two")),
        ({"includedNamespaces": ["*"], "excludedNamespaces": ["app"]}, ("web/three",)),
        ({}, ("app/one", "app/two", "web/three")),
        ({"labelSelector": {"matchLabels": {"tier": "db"}}}, ("app/one",)),
        ({"labelSelector": {"matchLabels": {"of": "pod"}}}, ("app/two",)),
        ({"orLabelSelectors": [{"matchLabels": {"tier": "db"}}, {"matchLabels": {"of": "pod"}}]}, ("app/one", "app/two")),
        ({"includedResources": ["configmaps"]}, ()),
        ({"includedResources": ["pods"]}, ("app/one", "app/two", "web/three")),
        ({"excludedResources": ["persistentvolumeclaims"]}, ()),
        ({"excludedNamespaceScopedResources": ["pvc"]}, ()),
        ({"includedNamespaceScopedResources": ["pods"]}, ("app/one", "app/two", "web/three")),
    ],
)
def test_what_is_in_the_cluster(spec: dict[str, Any], claims: tuple[str, ...]) -> None:
    seen = live(
        claim("app/one", labels={"tier": "db"}),
        claim("app/two"),
        claim("app/late", made=LATE),
        claim("web/three"),
        pods=(pod("app/db-0", {"files": "two"}, of="pod"),),
    )
    assert coverage.guessed(backup(**spec), seen, "the store is away") == Scope(claims, "partly")


@pytest.mark.parametrize(
    ("spec", "seen", "missing"),
    [
        ({"includedNamespaces": ["app"]}, Live(None, None), "may not be read"),
        ({"includedNamespaces": ["gone"]}, live(), "namespace gone is not there"),
        ({"includedNamespaces": ["young"]}, live(), "namespace young is not there or younger"),
        ({}, live(namespaces={"app": OLD, "kube-system": LATE}), "younger than the backup"),
    ],
    ids=["rights", "gone", "young", "another-cluster"],
)
def test_another_cluster_says_nothing(spec: dict[str, Any], seen: Live, missing: str) -> None:
    """An empty cluster after a loss has no claims, and that is no proof that the backup needed none."""
    scope = coverage.guessed(backup(**spec), seen, "the store is away")
    assert scope.source == "unknown"
    assert missing in scope.missing
    assert "the store is away" in scope.missing
    judged = coverage.judge(scope, [], seen)
    assert (judged.source, judged.uncovered) == ("unknown", ())


# copies


def judged(scope: list[str], volumes: list[dict[str, Any]], seen: Live | None = None, **rest: Any) -> coverage.Coverage:
    return coverage.judge(Scope(tuple(scope), "known"), volumes, seen or live(), **rest)


def test_covered() -> None:
    assert judged(["app/data"], [copy("app/data")]) == coverage.Coverage("known")
    assert judged([], []) == coverage.Coverage("known")
    again = judged(["app/data"], [copy("app/data", "Failed"), copy("app/data")])
    assert again.uncovered == (), "one finished copy is enough"


@pytest.mark.parametrize(
    "volumes",
    [
        [],
        [copy("app/data", "InProgress")],
        [copy("app/data", "Failed")],
        [copy("app/data", "Canceled")],
        [copy("web/data")],
        [copy("app/other")],
        [copy("app/")],
    ],
    ids=["none", "running", "failed", "canceled", "other-namespace", "other-claim", "no-claim"],
)
def test_not_covered(volumes: list[dict[str, Any]]) -> None:
    (item,) = judged(["app/data"], volumes, live(claim("app/data"))).uncovered
    assert (item["namespace"], item["claim"]) == ("app", "data")
    assert item["reason"]


def test_excluded_and_unbound() -> None:
    seen = live(claim("app/never", phase="Pending"), claim("app/data"))
    found = judged(["app/never", "app/cache-1", "app/cache-2", "app/data"], [copy("app/data")], seen, excluded_volumes=["app/cache-*"])
    assert found.excluded == ("app/cache-1", "app/cache-2")
    assert found.unbound == ("app/never",)
    assert found.uncovered == ()
    lost = live({**claim("app/lost"), "status": {"phase": "Lost"}})
    assert judged(["app/lost"], [], lost).uncovered, "one that was bound has lost something"
    assert judged(["app/gone"], [], live()).uncovered, "one that is not there any more may have been bound"
    assert not coverage.is_excluded("other/cache-1", ["app/*"])


@pytest.mark.parametrize(
    ("seen", "volumes", "skipped", "spec", "words"),
    [
        (live(), [copy("app/data", "Failed", message="no space left")], {}, {}, "fs_backup) is Failed: no space left"),
        (live(claim("app/data")), [], {"app/data": "by policy"}, {}, "left it out: by policy"),
        (live(claim("app/data")), [], {"app/data": "no snapshotter"}, {}, "no pod uses it"),
        (Live(None, None), [], {"app/data": "no snapshotter"}, {}, "left it out: no snapshotter"),
        (Live(None, None), [], {}, {}, "there is no copy"),
        (live(), [], {}, {}, "not in the cluster any more"),
        (live(claim("app/data"), volumes={"pv-1": {"spec": {"hostPath": {"path": "/x"}}}}), [], {}, {}, "hostPath, which Velero cannot copy"),
        (live(claim("app/data")), [], {}, {}, "no pod uses it"),
        (live(claim("app/data"), pods=(pod("app/db", {"v": "data"}, phase="Pending"),)), [], {}, {}, "pod db is not running (Pending)"),
        (live(claim("app/data"), pods=(pod("app/db", {"v": "data"}),)), [], {}, {}, "does not name volume v"),
        (
            live(claim("app/data"), pods=(pod("app/db", {"v": "data"}, annotations={"backup.velero.io/backup-volumes-excludes": "x, v"}),)),
            [], {}, {"defaultVolumesToFsBackup": True}, "leaves volume v out",
        ),
        (
            live(claim("app/data"), pods=(pod("app/db", {"v": "data"}, annotations={"backup.velero.io/backup-volumes": "v"}),)),
            [], {}, {}, "asks for a copy of volume v, and there is none",
        ),
        (live(claim("app/data"), pods=None), [], {}, {}, "there is no copy"),
    ],
)  # fmt: skip
def test_reasons(seen: Live, volumes: list[dict[str, Any]], skipped: dict[str, str], spec: dict[str, Any], words: str) -> None:
    (item,) = judged(["app/data"], volumes, seen, skipped=skipped, spec=spec).uncovered
    assert words in item["reason"]


def test_claims_of_pods() -> None:
    own = pod("app/db-0", {"files": "data"})
    own["spec"]["volumes"] += [{"name": "tmp", "emptyDir": {}}, {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}]
    assert coverage.claims_of_pod(own) == {"files": "app/data", "scratch": "app/db-0-scratch"}


def test_claims_that_a_copy_does_not_name() -> None:
    """Releases that leave the claim out of the copy: it is taken from the pod."""
    unnamed = [copy("app/", pod="db-0", volume="files"), copy("app/", pod="db-0", volume="tmp"), copy("app/", pod="gone", volume="files")]
    found = coverage.named(unnamed, live(pods=(pod("app/db-0", {"files": "data"}),)))
    assert [volume["claim"] for volume in found] == ["data", None, None]
