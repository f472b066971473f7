# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a restore is shown to a person: its spec in the words of the options, its volumes, and the sentence that says whether it is good.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._velero import restore_options, validation

Document = Mapping[str, Any]
NAMES_SHOWN = 5
"""Names of volumes, claims or messages in a sentence; the count is always whole."""
FINISHED = ("Completed", "PartiallyFailed", "Failed", "FailedValidation")
NORMAL_WARNING = re.compile(r"kube-root-ca\.crt|openshift-service-ca\.crt")
"""What Velero warns of at each restore from 1.10 on: a ConfigMap that the cluster itself puts into every namespace."""


@dataclass
class Details:
    """What was found out about a restore beside the object itself.

    missing: in words, the volumes of the backup that did not come back. counted: whether the backup is there, so that they could be counted.
    lost: in words, what was restored and is not there any more.
    """

    namespaces: Mapping[str, str] = field(default_factory=dict)
    volumes: Sequence[Mapping[str, Any]] = ()
    missing: Sequence[str] = ()
    counted: bool = False
    lost: Sequence[str] = ()
    claims: Sequence[Mapping[str, Any]] = ()
    workloads: Sequence[Mapping[str, Any]] = ()
    results: Mapping[str, list[str]] | None = None
    log_tail: Sequence[str] | None = None
    unreached: str | None = None


def phase_of(restore: Document) -> str:
    """Return the phase; New when the server has not set one."""
    return str((restore.get("status") or {}).get("phase") or "New")


def spec_view(name: str, spec: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a restore's wanted side in the words of the options; what is not set, and what the server fills in, is left out."""
    plain = restore_options.canonical(spec)
    view: dict[str, Any] = {"name": name, "backup_name": plain["backupName"] or None}
    for option, place in (*restore_options.LISTS.items(), *restore_options.PLAIN.items()):
        view[option] = plain[place]
    view |= {"namespace_mapping": plain["namespaceMapping"], "selector": plain["labelSelector"], "or_selectors": plain["orLabelSelectors"]}
    view |= {"restore_status": plain["restoreStatus"], "resource_modifier_configmap": (plain["resourceModifier"] or {}).get("name")}
    view |= {
        "write_sparse_files": plain["uploaderConfig"].get("writeSparseFiles"),
        "parallel_files_download": plain["uploaderConfig"].get("parallelFilesDownload"),
    }
    if view["existing_resource_policy"] == "none":
        view["existing_resource_policy"] = None
    for kind in ("labels", "annotations"):
        own = {key: value for key, value in ((metadata or {}).get(kind) or {}).items() if key != restore_options.SCHEDULE}
        view[kind] = own
    return {key: value for key, value in view.items() if value not in (None, [], {}, False) or (value is False and key in KEPT_FALSE)}


KEPT_FALSE = ("restore_volumes", "include_cluster_resources", "write_sparse_files")
"""Options of which false is not what Velero does without them."""


def volume_view(item: Document) -> dict[str, Any]:
    """Return a PodVolumeRestore or DataDownload as results show it. bytes: restored so far; total: of all of it, None when not known."""
    spec, status = item.get("spec") or {}, item.get("status") or {}
    progress = status.get("progress") or {}
    view: dict[str, Any] = {
        "phase": status.get("phase") or "New",
        "bytes": int(progress.get("bytesDone") or 0),
        "total": int(progress["totalBytes"]) if progress.get("totalBytes") else None,
        "node": status.get("node") or None,
        "message": status.get("message") or None,
    }
    if item.get("kind") == "DataDownload":
        target = spec.get("targetVolume") or {}
        return {"namespace": target.get("namespace"), "pod": None, "volume": target.get("pv") or None, "claim": target.get("pvc") or None} | view
    pod = spec.get("pod") or {}
    return {"namespace": pod.get("namespace"), "pod": pod.get("name"), "volume": spec.get("volume"), "claim": None} | view


def items_view(status: Mapping[str, Any]) -> dict[str, int]:
    """Return how many objects are restored of how many."""
    progress = status.get("progress") or {}
    return {"done": int(progress.get("itemsRestored") or 0), "total": int(progress.get("totalItems") or 0)}


def size(amount: float) -> str:
    """Return a number of bytes for a person: "17.3 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


def progress_text(status: Mapping[str, Any], volumes: Sequence[Mapping[str, Any]], expected: int = 0) -> str:
    """Return in one line how far a restore is: phase, objects, volumes with their bytes."""
    text = f"phase {status.get('phase') or 'New'}"
    items = items_view(status)
    if items["total"]:
        text += f", {items['done']} of {items['total']} objects"
    if volumes or expected:
        done = sum(volume["phase"] == "Completed" for volume in volumes)
        text += f", {done} of {max(expected, len(volumes))} volumes"
        total = sum(volume["total"] or 0 for volume in volumes)
        if total:
            text += f" ({size(sum(volume['bytes'] for volume in volumes))} of {size(total)})"
    return text


def named(names: Iterable[str]) -> str:
    """Return names for a sentence; the count is always whole."""
    known = list(names)
    more = f" and {len(known) - NAMES_SHOWN} more" if len(known) > NAMES_SHOWN else ""
    return ", ".join(known[:NAMES_SHOWN]) + more


def telling_warnings(results: Mapping[str, Any] | None) -> list[str]:
    """Return the warnings of a restore's results without those that every restore has."""
    return [text for text in (results or {}).get("warnings") or [] if not NORMAL_WARNING.search(text)]


def failure(restore: Document, volumes: Sequence[Mapping[str, Any]], results: Mapping[str, Any] | None) -> str:
    """Return in one sentence why a finished restore is not Completed."""
    status = restore.get("status") or {}
    parts = [f"phase {status.get('phase')}"]
    if status.get("validationErrors"):
        parts.append("; ".join(str(text) for text in status["validationErrors"]))
    if status.get("failureReason"):
        parts.append(str(status["failureReason"]))
    if status.get("errors"):
        parts.append(f"{status['errors']} errors")
    broken = [
        f"{volume_name(volume)} {volume['phase']}: {volume['message'] or 'no reason given'}" for volume in volumes if volume["phase"] not in GOOD
    ]
    if broken:
        parts.append(f"volumes not restored: {named(broken)}")
    if (results or {}).get("errors"):
        parts.append(f"errors: {named(results['errors'])}")  # type: ignore[index]
    return "; ".join(parts)


GOOD = ("Completed",)


def volume_name(volume: Mapping[str, Any]) -> str:
    """Return the words for a volume in a sentence."""
    if volume.get("pod"):
        claim = f" (claim {volume['claim']})" if volume.get("claim") else ""
        return f"{volume['namespace']}/{volume['pod']}:{volume['volume']}{claim}"
    return f"{volume['namespace']}/{volume.get('claim') or volume.get('volume')}"


def verdict(restore: Document, details: Details) -> tuple[bool | None, str]:
    """Return (good, why not) of a restore as it is now; None while it runs, or when it cannot be known."""
    phase = phase_of(restore)
    if phase not in FINISHED:
        return None, f"it is not finished (phase {phase})"
    if phase != "Completed":
        return False, failure(restore, details.volumes, details.results)
    broken = [volume_name(volume) for volume in details.volumes if volume["phase"] not in GOOD]
    if broken or details.missing:
        return False, f"it says Completed, and volumes were not restored: {named([*broken, *details.missing])}"
    if details.lost:
        return False, f"what it restored is not there any more: {named(details.lost)}"
    if not details.counted:
        return None, "its backup is not there, so whether every volume came back is not known"
    lacking = [
        f"claim {item['namespace']}/{item['name']} is {item['phase']}" for item in details.claims if item["phase"] != "Bound" and not item["waits"]
    ]
    lacking += [
        f"{item['kind']} {item['namespace']}/{item['name']} is not available ({item['reason']})"
        for item in details.workloads
        if not item["available"]
    ]
    return (False, f"everything was restored, and {named(lacking)}") if lacking else (True, "")


def entry(
    restore: Document,
    *,
    volumes: Sequence[Mapping[str, Any]] = (),
    claims: Sequence[Mapping[str, Any]] = (),
    workloads: Sequence[Mapping[str, Any]] = (),
    namespaces: Mapping[str, str] | None = None,
    results: Mapping[str, Any] | None = None,
    verdict: tuple[bool | None, str] = (None, ""),
) -> dict[str, Any]:
    """Return a restore as results show it. duration in seconds, times as ISO strings, results only when they were read."""
    metadata, status, spec = restore["metadata"], restore.get("status") or {}, restore.get("spec") or {}
    started, completed = (validation.parse_time(status.get(name)) for name in ("startTimestamp", "completionTimestamp"))
    return {
        "name": metadata["name"],
        "namespace": metadata.get("namespace"),
        "backup": spec.get("backupName") or None,
        "phase": status.get("phase") or "New",
        "good": verdict[0],
        "verdict": verdict[1],
        "created": metadata.get("creationTimestamp"),
        "started": status.get("startTimestamp"),
        "completed": status.get("completionTimestamp"),
        "duration": int((completed - started).total_seconds()) if started and completed else None,
        "progress": items_view(status),
        "errors": int(status.get("errors") or 0),
        "warnings": int(status.get("warnings") or 0),
        "validation_errors": list(status.get("validationErrors") or []),
        "failure_reason": status.get("failureReason") or None,
        "results": dict(results) if results is not None else None,
        "volumes": [dict(volume) for volume in volumes],
        "claims": [dict(claim) for claim in claims],
        "workloads": [dict(workload) for workload in workloads],
        "namespaces": dict(namespaces or {}),
    }
