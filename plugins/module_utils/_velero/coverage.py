# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which persistent volume claims a backup has to hold, which of them have a finished copy, and why the others have none.

A backup that says Completed may hold a claim's object without its data: Velero copies the files of a claim only through a running pod that
asks for it, and leaves the others out without a warning.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_template, selector, validation
from ansible_collections.serverops.circleci.plugins.module_utils._velero.volume_copies import DONE, Volume, finished_claims

Document = dict[str, Any]

CLAIMS_IN_LIST = "v1/PersistentVolumeClaim"
"""The key of a backup's resource list under which its claims stand, as "namespace/name"."""
INCLUDE_ANNOTATION = "backup.velero.io/backup-volumes"
EXCLUDE_ANNOTATION = "backup.velero.io/backup-volumes-excludes"

KNOWN, PARTLY, UNKNOWN = "known", "partly", "unknown"


@dataclass(frozen=True)
class Live:
    """What the cluster has now: claims, pods, volumes by name. A list that may not be read is None."""

    claims: tuple[Document, ...] | None = None
    pods: tuple[Document, ...] | None = None
    volumes: Mapping[str, Document] = field(default_factory=dict)
    namespaces: Mapping[str, str] = field(default_factory=dict)
    """When each namespace was made, by name."""

    def claim(self, key: str) -> Document | None:
        """Return a claim by "namespace/name"."""
        return next((item for item in self.claims or () if key_of(item) == key), None)

    def pods_of(self, key: str) -> list[Document]:
        """Return the pods that use a claim."""
        return [pod for pod in self.pods or () if key in claims_of_pod(pod).values()]


@dataclass(frozen=True)
class Scope:
    """The claims that a backup has to hold ("namespace/name"), and how well that is known.

    known: from the backup's own list; partly: from what is in the cluster now; unknown: neither could be read.
    """

    claims: tuple[str, ...]
    source: str
    missing: str = ""
    """Why it is not known, in words."""


@dataclass(frozen=True)
class Coverage:
    """What is said of the claims in scope. uncovered: [{namespace, claim, reason}]; excluded and unbound: "namespace/name"."""

    source: str
    uncovered: tuple[Document, ...] = ()
    excluded: tuple[str, ...] = ()
    unbound: tuple[str, ...] = ()
    missing: str = ""


def key_of(item: Mapping[str, Any]) -> str:
    """Return "namespace/name" of an object."""
    return f"{item['metadata'].get('namespace')}/{item['metadata']['name']}"


def claims_of_pod(pod: Mapping[str, Any]) -> dict[str, str]:
    """Return the claims of a pod ("namespace/name") by the names of its volumes; those that it makes for itself are among them."""
    namespace, found = pod["metadata"].get("namespace"), {}
    for volume in (pod.get("spec") or {}).get("volumes") or []:
        if volume.get("persistentVolumeClaim"):
            found[volume["name"]] = f"{namespace}/{volume['persistentVolumeClaim'].get('claimName')}"
        elif volume.get("ephemeral"):
            found[volume["name"]] = f"{namespace}/{pod['metadata']['name']}-{volume['name']}"
    return found


# what is in scope


def listed(document: Any) -> Scope | None:
    """Return the scope by a backup's own resource list; None when it is none."""
    if not isinstance(document, Mapping):
        return None
    return Scope(tuple(sorted(str(name) for name in document.get(CLAIMS_IN_LIST) or [])), KNOWN)


def guessed(backup: Mapping[str, Any], live: Live, why: str) -> Scope:
    """Return the scope by what is in the cluster now. why: why the backup's own list is not known.

    A namespace that is younger than the backup, or not there, says nothing of what was in it: this may be another cluster.
    """
    spec, status = backup.get("spec") or {}, backup.get("status") or {}
    began = validation.parse_time(status.get("startTimestamp"))
    if live.claims is None:
        return Scope((), UNKNOWN, f"{why}, and the claims in the cluster may not be read")
    if not _holds_claims(spec):
        return Scope((), PARTLY)
    named = [name for name in spec.get("includedNamespaces") or [] if "*" not in name]
    strange = sorted(name for name in named or ["kube-system"] if not _older(live.namespaces.get(name), began))
    if strange and live.namespaces:
        return Scope((), UNKNOWN, f"{why}, and namespace {', '.join(strange)} is not there or younger than the backup")
    claims = [item for item in live.claims if backup_template.includes_namespace(spec, str(item["metadata"].get("namespace")))]
    claims = [item for item in claims if _older(item["metadata"].get("creationTimestamp"), began) and _selected(spec, item, live)]
    return Scope(tuple(sorted(key_of(item) for item in claims)), PARTLY)


def _older(made: str | None, than: datetime | None) -> bool:
    time = validation.parse_time(made)
    return time is not None and (than is None or time <= than)


def _holds_claims(spec: Mapping[str, Any]) -> bool:
    """Tell whether a spec's filters let claims in at all."""
    names = {"persistentvolumeclaims", "persistentvolumeclaim", "pvc", "pods", "pod", "po", "*"}
    claims = names - {"pods", "pod", "po"}
    for included, excluded in (
        ("includedResources", "excludedResources"),
        ("includedNamespaceScopedResources", "excludedNamespaceScopedResources"),
    ):
        wanted = {str(name).lower() for name in spec.get(included) or ["*"]}
        left_out = {str(name).lower() for name in spec.get(excluded) or []}
        # a pod brings its claims along
        if not wanted & names or left_out & claims:
            return False
    return True


def _selected(spec: Mapping[str, Any], claim: Mapping[str, Any], live: Live) -> bool:
    """Tell whether a claim is let in by the label selectors: by its own labels, or by those of a pod that uses it."""
    wanted = [*([spec["labelSelector"]] if spec.get("labelSelector") else []), *(spec.get("orLabelSelectors") or [])]
    if not wanted:
        return True
    holders = [claim, *live.pods_of(key_of(claim))]
    return any(selector.matches(one, holder["metadata"].get("labels")) for one in wanted for holder in holders)


# what has a copy


def is_excluded(key: str, patterns: Iterable[str]) -> bool:
    """Tell whether a claim is named by the user as one that needs no copy; patterns as of a shell."""
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)


def named(volumes: Iterable[Volume], live: Live) -> list[Volume]:
    """Return copies with the claim filled in from the pod that is there now, where the copy does not say it (older releases)."""
    pods = {key_of(pod): pod for pod in live.pods or ()}
    result = []
    for volume in volumes:
        pod = pods.get(f"{volume['namespace']}/{volume['pod']}")
        if volume["claim"] or pod is None:
            result.append(volume)
        else:
            key = claims_of_pod(pod).get(str(volume["volume"]))
            result.append({**volume, "claim": key.partition("/")[2] if key else None})
    return result


def judge(
    scope: Scope,
    volumes: Sequence[Volume],
    live: Live,
    *,
    excluded_volumes: Iterable[str] = (),
    skipped: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Coverage:
    """Say which claims in scope have no finished copy, and why.

    skipped: by claim what Velero's own list says of why it left it out. spec: of the backup, for the reasons.
    """
    if scope.source == UNKNOWN:
        return Coverage(UNKNOWN, missing=scope.missing)
    covered = finished_claims(volumes)
    excluded, unbound, uncovered = [], [], []
    patterns = tuple(excluded_volumes)
    for key in scope.claims:
        if is_excluded(key, patterns):
            excluded.append(key)
        elif key in covered:
            continue
        elif _never_bound(live.claim(key)):
            unbound.append(key)
        else:
            namespace, _slash, claim = key.partition("/")
            uncovered.append({"namespace": namespace, "claim": claim, "reason": reason(key, volumes, live, skipped or {}, spec or {})})
    return Coverage(scope.source, tuple(uncovered), tuple(excluded), tuple(unbound), scope.missing)


def _never_bound(claim: Mapping[str, Any] | None) -> bool:
    """Tell whether a claim has no volume and never had one, so that there is nothing to lose."""
    return claim is not None and (claim.get("status") or {}).get("phase") == "Pending" and not (claim.get("spec") or {}).get("volumeName")


def reason(key: str, volumes: Iterable[Volume], live: Live, skipped: Mapping[str, str], spec: Mapping[str, Any]) -> str:
    """Return why a claim has no finished copy, as far as it can be seen."""
    tried = [volume for volume in volumes if f"{volume['namespace']}/{volume['claim']}" == key]
    if tried:
        last = tried[-1]
        words = f": {last['message']}" if last["message"] else ""
        return f"its copy ({last['method']}) is {last['phase']}{words}"
    told = f"Velero left it out: {skipped[key]}" if key in skipped else ""
    if "polic" in told:
        return told
    # what Velero says of the others is only that no snapshotter takes the volume
    return _reason_seen(key, live, spec) or told or "there is no copy of its data"


def _reason_seen(key: str, live: Live, spec: Mapping[str, Any]) -> str:
    """Return what in the cluster explains it; empty when nothing does."""
    if live.claims is None:
        return ""
    claim = live.claim(key)
    if claim is None:
        return "there is no copy of its data, and the claim is not in the cluster any more"
    volume = live.volumes.get(str((claim.get("spec") or {}).get("volumeName") or ""))
    if volume is not None and "hostPath" in (volume.get("spec") or {}):
        return "its volume is a hostPath, which Velero cannot copy"
    if live.pods is None:
        return ""
    pods = live.pods_of(key)
    if not pods:
        return "no pod uses it, and Velero copies files only through a running pod"
    return _reason_of_pods(key, pods, spec)


def _reason_of_pods(key: str, pods: Sequence[Document], spec: Mapping[str, Any]) -> str:
    running = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]
    if not running:
        pod = pods[0]
        phase = (pod.get("status") or {}).get("phase") or "no phase"
        return f"pod {pod['metadata']['name']} is not running ({phase}), and Velero leaves its volumes out"
    pod = running[0]
    name = next(volume for volume, claim in claims_of_pod(pod).items() if claim == key)
    by_default = bool(spec.get("defaultVolumesToFsBackup") or spec.get("defaultVolumesToRestic"))
    annotations = pod["metadata"].get("annotations") or {}
    chosen = [word.strip() for word in str(annotations.get(EXCLUDE_ANNOTATION if by_default else INCLUDE_ANNOTATION) or "").split(",")]
    if by_default and name in chosen:
        return f"annotation {EXCLUDE_ANNOTATION} of pod {pod['metadata']['name']} leaves volume {name} out"
    if not by_default and name not in chosen:
        return (
            f"annotation {INCLUDE_ANNOTATION} of pod {pod['metadata']['name']} does not name volume {name}, "
            "files are not copied by default, and there is no snapshot of it"
        )
    return f"pod {pod['metadata']['name']} asks for a copy of volume {name}, and there is none; it may have started later than the backup"


def unfinished(volumes: Iterable[Volume]) -> list[Volume]:
    """Return the copies that have no good end."""
    return [volume for volume in volumes if volume["phase"] != DONE]
