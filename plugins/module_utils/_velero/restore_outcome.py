# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore has brought back: the volumes that the backup has for it, claims and workloads, read and judged.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, Forbidden
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._velero import restore_options, restore_view, server, volume_copies

Document = dict[str, Any]
RESTORED_BY = "velero.io/restore-name"
"""Label that Velero gives to everything that a restore makes, and to the PodVolumeRestores and DataDownloads of a restore."""
WORKLOADS = (resource.DEPLOYMENT, resource.STATEFUL_SET, resource.DAEMON_SET)


def of(name: str) -> str:
    """Return the selector of what belongs to a restore."""
    return f"{RESTORED_BY}={volume_copies.label_value(name)}"


def read_volumes(api: Api, namespace: str, name: str) -> list[dict[str, Any]]:
    """Return the volumes that a restore has begun to bring back, as results show them."""
    items = api.list(resource.POD_VOLUME_RESTORE, namespace, label_selector=of(name)).items
    with contextlib.suppress(Absent):  # up to 1.11 there is no such kind
        items += api.list(resource.DATA_DOWNLOAD, namespace, label_selector=of(name)).items
    return [restore_view.volume_view(item) for item in items]


@dataclass(frozen=True)
class Wanted:
    """A volume that has to come back: where it was, and the pod or claim that it comes back to."""

    source: str
    namespace: str
    pod: str | None
    volume: str
    claim: str | None

    @property
    def text(self) -> str:
        """Return the words for it in a sentence."""
        return restore_view.volume_name({"namespace": self.namespace, "pod": self.pod, "volume": self.volume, "claim": self.claim})


def wanted_volumes(
    copies: Iterable[Mapping[str, Any]], spec: Mapping[str, Any], labelled_pods: Iterable[tuple[str, str]] | None = None
) -> list[Wanted]:
    """Return the volumes of a backup that a restore with this spec has to bring back. Pure.

    copies: as volume_copies returns them. Snapshots that were not moved come back as volumes, which shows in their claims alone.
    labelled_pods: (namespace, name) of the pods that the restore made, where a selector decides which ones it takes; None when there is no
    selector, or when they cannot be known yet.
    """
    if spec.get("restorePVs") is False:
        return []
    found = []
    by_label = selects(spec)
    pods = None if labelled_pods is None else set(labelled_pods)
    for copy in copies:
        source, claim = str(copy["namespace"]), copy["claim"]
        if copy["phase"] != volume_copies.DONE or not restore_options.takes_namespace(spec, source):
            continue
        target = restore_options.target_of(spec, source)
        if copy["method"] == "fs_backup":
            wanted = Wanted(source, target, str(copy["pod"]), str(copy["volume"]), claim)
            taken = restore_options.takes_volume_data(spec) and (pods is None or (target, wanted.pod) in pods)
        else:
            wanted = Wanted(source, target, None, str(claim), claim)
            taken = copy["method"] == "data_upload" and restore_options.takes_resource(spec, *restore_options.CLAIMS) and not by_label
        if taken:
            found.append(wanted)
    return sorted(found, key=lambda item: (item.namespace, item.pod or "", item.volume))


def selects(spec: Mapping[str, Any]) -> bool:
    """Tell whether a restore takes only what has certain labels."""
    return bool(spec.get("labelSelector") or spec.get("orLabelSelectors"))


def with_claims(volumes: Sequence[Mapping[str, Any]], wanted: Iterable[Wanted]) -> list[dict[str, Any]]:
    """Return volumes with the claims that the backup names for them."""
    claims = {(item.namespace, item.pod, item.volume): item.claim for item in wanted}
    return [{**volume, "claim": volume.get("claim") or claims.get((volume["namespace"], volume["pod"], volume["volume"]))} for volume in volumes]


def missing_volumes(wanted: Iterable[Wanted], volumes: Iterable[Mapping[str, Any]]) -> list[Wanted]:
    """Return the wanted volumes that were not restored to the end. Pure."""
    done = {(item["namespace"], item["pod"], item["volume"]) for item in volumes if item["phase"] == "Completed" and item["pod"]}
    done |= {(item["namespace"], None, item["claim"]) for item in volumes if item["phase"] == "Completed" and not item["pod"]}
    return [item for item in wanted if (item.namespace, item.pod, item.volume) not in done]


def was_there(wanted: Wanted, brought: Brought) -> bool:
    """Tell whether the pod that a volume belongs to exists and was not made by the restore. Pure."""
    pods = [(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in brought.pods]
    return (wanted.namespace, wanted.pod) in pods and (wanted.namespace, wanted.pod) not in brought.pod_names


def is_lost(wanted: Wanted, brought: Brought) -> bool:
    """Tell whether the claim of a volume that came back is not among what the restore made any more. Pure."""
    claims = {(claim["metadata"]["namespace"], claim["metadata"]["name"]) for claim in brought.claims}
    return wanted.claim is not None and (wanted.namespace, wanted.claim) not in claims and not was_there(wanted, brought)


@dataclass(frozen=True)
class Brought:
    """The claims and workloads that a restore made, as they are now, and all pods beside them. label: what stands in the label of its objects."""

    label: str = ""
    claims: tuple[Document, ...] = ()
    workloads: tuple[Document, ...] = ()
    pods: tuple[Document, ...] = ()
    waiting_classes: frozenset[str] = frozenset()

    @property
    def pod_names(self) -> list[tuple[str, str]]:
        """Return namespace and name of each pod that the restore made."""
        return [
            (pod["metadata"]["namespace"], pod["metadata"]["name"])
            for pod in self.pods
            if (pod["metadata"].get("labels") or {}).get(RESTORED_BY) == self.label
        ]


def read_brought(api: Api, name: str, namespaces: Iterable[str]) -> Brought:
    """Read what carries a restore's label in all namespaces, or in these where the rights do not reach further."""
    places = [""]
    selector = of(name)

    def listed(kind: resource.Resource, label_selector: str = selector) -> list[Document]:
        nonlocal places
        try:
            return [item for place in places for item in api.list(kind, place, label_selector=label_selector).items]
        except Forbidden:
            if places != [""]:
                raise
            places = sorted(namespaces)
            return [item for place in places for item in api.list(kind, place, label_selector=label_selector).items]

    claims = listed(resource.PERSISTENT_VOLUME_CLAIM)
    workloads = [item for kind in WORKLOADS for item in listed(kind)]
    waiting: frozenset[str] = frozenset()
    if any((claim.get("status") or {}).get("phase") != "Bound" for claim in claims):
        try:
            classes = api.list(resource.STORAGE_CLASS).items
        except Forbidden:
            classes = []
        waiting = frozenset(item["metadata"]["name"] for item in classes if item.get("volumeBindingMode") == "WaitForFirstConsumer")
    touched = {item["metadata"]["namespace"] for item in (*claims, *workloads)}
    pods = [pod for place in sorted(touched | set(namespaces)) for pod in api.list(resource.POD, place).items]
    return Brought(volume_copies.label_value(name), tuple(claims), tuple(workloads), tuple(pods), waiting)


def claim_views(brought: Brought) -> list[dict[str, Any]]:
    """Return the claims as results show them. waits: for its first pod, which nothing makes; it is bound once there is one. Pure."""
    used = {
        (pod["metadata"]["namespace"], volume["persistentVolumeClaim"]["claimName"])
        for pod in brought.pods
        for volume in (pod.get("spec") or {}).get("volumes") or []
        if volume.get("persistentVolumeClaim")
    }
    views = []
    for claim in brought.claims:
        about, spec = claim["metadata"], claim.get("spec") or {}
        phase = (claim.get("status") or {}).get("phase") or "Pending"
        waits = phase == "Pending" and spec.get("storageClassName") in brought.waiting_classes and (about["namespace"], about["name"]) not in used
        views.append(
            {"namespace": about["namespace"], "name": about["name"], "phase": phase, "volume": spec.get("volumeName") or None, "waits": waits}
        )
    return sorted(views, key=lambda item: (item["namespace"], item["name"]))


def workload_views(brought: Brought) -> list[dict[str, Any]]:
    """Return the workloads as results show them. ready: pods that are available; reason: what keeps the first other one from it. Pure."""
    views = []
    for item in brought.workloads:
        about, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
        current = int(status.get("observedGeneration") or 0) >= int(about.get("generation") or 0)
        if item["kind"] == "DaemonSet":
            wanted, ready = int(status.get("desiredNumberScheduled") or 0), int(status.get("numberAvailable") or 0)
        else:
            wanted = int(spec.get("replicas", 1))
            # StatefulSets tell the available ones only since Kubernetes 1.22
            ready = int(status.get("availableReplicas", status.get("readyReplicas") if item["kind"] == "StatefulSet" else 0) or 0)
        ready = ready if current else 0
        views.append(
            {
                "kind": item["kind"],
                "namespace": about["namespace"],
                "name": about["name"],
                "ready": ready,
                "wanted": wanted,
                "available": current and ready >= wanted,
                "reason": None if current and ready >= wanted else _why(item, brought.pods),
            }
        )
    return sorted(views, key=lambda view: (view["namespace"], view["kind"], view["name"]))


def _why(workload: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> str:
    labels = ((workload.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    own = [
        pod
        for pod in pods
        if pod["metadata"]["namespace"] == workload["metadata"]["namespace"]
        and labels
        and all((pod["metadata"].get("labels") or {}).get(key) == value for key, value in labels.items())
    ]
    for pod in own:
        problem = server.pod_problem(pod)
        if problem:
            return f"pod {pod['metadata']['name']} is {problem[0]}{f': {problem[1]}' if problem[1] else ''}"
    for condition in (workload.get("status") or {}).get("conditions") or []:
        if condition.get("reason") == "FailedCreate":
            return str(condition.get("message"))
    return "it is not available yet" if own else "it has no pods"


def unbound(claims: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return in words the claims that ought to be bound and are not."""
    return [f"claim {item['namespace']}/{item['name']} is {item['phase']}" for item in claims if item["phase"] != "Bound" and not item["waits"]]


def unavailable(workloads: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return in words the workloads that are not available."""
    return [
        f"{item['kind']} {item['namespace']}/{item['name']} has {item['ready']} of {item['wanted']} pods ({item['reason']})"
        for item in workloads
        if not item["available"]
    ]
