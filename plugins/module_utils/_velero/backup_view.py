# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup as results show it, and the verdict on it: what a restore of it would bring back.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_template, coverage, validation, volume_copies
from ansible_collections.serverops.circleci.plugins.module_utils._velero.volume_copies import Volume

Entry = dict[str, Any]

FINAL = frozenset({"Completed", "PartiallyFailed", "Failed", "FailedValidation"})
"""Phases that do not change any more. Every other one, also one that nobody knows, is unfinished; Deleting is told apart."""
DELETING = "Deleting"
SCHEDULE_LABEL = "velero.io/schedule-name"
LOCATION_LABEL = "velero.io/storage-location"
TAKEN = "already exists in object storage"
"""Part of the failureReason of a backup whose name is taken in the store by one that the cluster does not list (seen on 1.17.2)."""
SHOWN = 5
"""Claims, messages and volumes in one sentence at most; results have them all."""

NOT_READ = coverage.Coverage(coverage.UNKNOWN, missing="it was not looked at")


@dataclass(frozen=True)
class Details:
    """What was found out about a backup beside the object itself.

    results: {"errors": [...], "warnings": [...]} in words, None when not read. log_tail: last lines, None when not asked for. unreached: why
    the store could not be read. gone: why the backup is known not to be in the store any more.
    """

    volumes: Sequence[Volume] = ()
    coverage: coverage.Coverage = NOT_READ
    results: Mapping[str, list[str]] | None = None
    log_tail: Sequence[str] | None = None
    unreached: str | None = None
    gone: str = ""


def phase_of(backup: Mapping[str, Any]) -> str:
    """Return the phase; New when the server has not set one."""
    return str((backup.get("status") or {}).get("phase") or "New")


def is_finished(backup: Mapping[str, Any]) -> bool:
    """Tell whether Velero is done with a backup, well or not."""
    return phase_of(backup) in FINAL


def completed_at(backup: Mapping[str, Any]) -> datetime | None:
    """Return when a backup ended, by the clock of Velero's server."""
    return validation.parse_time((backup.get("status") or {}).get("completionTimestamp"))


def storage_location(backup: Mapping[str, Any]) -> str | None:
    """Return the storage location of a backup; None for one that does not say it yet."""
    named = (backup.get("spec") or {}).get("storageLocation") or (backup["metadata"].get("labels") or {}).get(LOCATION_LABEL)
    return str(named) if named else None


def schedule_of(backup: Mapping[str, Any]) -> str | None:
    """Return the Schedule that a backup was made by."""
    return (backup["metadata"].get("labels") or {}).get(SCHEDULE_LABEL)


def is_expired(backup: Mapping[str, Any], now: datetime) -> bool:
    """Tell whether a backup's time is over: the server may remove it at any moment."""
    ends = validation.parse_time((backup.get("status") or {}).get("expiration"))
    return ends is not None and ends <= now


def shortened(texts: Iterable[str], limit: int = SHOWN) -> str:
    """Return texts as one; the count is always whole."""
    known = list(texts)
    more = f" and {len(known) - limit} more" if len(known) > limit else ""
    return "; ".join(known[:limit]) + more


# the verdict


def verdict(backup: Mapping[str, Any], details: Details, now: datetime) -> tuple[bool | None, str]:
    """Return (good, why not). Good means: Completed, without errors, still there, and every claim in scope has a finished copy.

    None means that it cannot be known; the text then says what is missing.
    """
    phase, status = phase_of(backup), backup.get("status") or {}
    if phase != "Completed":
        return False, _unlike_completed(phase, status, details)
    errors = int(status.get("errors") or 0)
    if errors:
        return False, f"it says Completed and counts {errors} errors{_told(details)}"
    if is_expired(backup, now):
        return False, f"it expired at {status['expiration']}: Velero may remove it at any moment"
    if details.gone:
        return False, details.gone
    failed = [volume for volume in details.volumes if volume["phase"] != volume_copies.DONE and not volume["claim"]]
    if failed:
        return False, f"it says Completed, and {_volumes_shown(failed)}"
    if details.coverage.source == coverage.UNKNOWN:
        return None, f"whether every volume has a copy is not known: {details.coverage.missing}"
    if details.coverage.uncovered:
        return False, f"it holds no data of {uncovered_shown(details.coverage.uncovered)}"
    return True, ""


def uncovered_shown(uncovered: Iterable[Mapping[str, Any]]) -> str:
    """Return the claims without a copy, each with its reason."""
    return shortened(f"{item['namespace']}/{item['claim']} ({item['reason']})" for item in uncovered)


def _volumes_shown(volumes: Iterable[Volume]) -> str:
    return shortened(
        f"the copy of volume {volume['volume'] or volume['claim']} of {volume['namespace']}/{volume['pod'] or volume['claim']} "
        f"is {volume['phase']}{': ' + volume['message'] if volume['message'] else ''}"
        for volume in volumes
    )


def _told(details: Details) -> str:
    errors = (details.results or {}).get("errors") or []
    return f": {shortened(errors)}" if errors else ""


def _unlike_completed(phase: str, status: Mapping[str, Any], details: Details) -> str:
    if phase == "FailedValidation":
        return f"Velero refused it: {shortened(str(text) for text in status.get('validationErrors') or []) or 'it gives no reason'}"
    if phase == DELETING:
        return "it is being deleted"
    if phase not in FINAL:
        return f"it is not finished (phase {phase})"
    why = str(status.get("failureReason") or "")
    if TAKEN in why:
        return "it was not made: the store holds a backup of this name that the cluster does not list"
    failed = [volume for volume in details.volumes if volume["phase"] != volume_copies.DONE]
    parts = [why] if why else []
    parts += [_volumes_shown(failed)] if failed else []
    told = _told(details)
    if told:
        parts.append(told.removeprefix(": "))
    count = int(status.get("errors") or 0)
    word = "failed" if phase == "Failed" else f"is incomplete ({count} errors)" if count else "is incomplete"
    return f"it {word}{': ' + '; '.join(parts) if parts else ', and Velero gives no reason'}"


def next_step(backup: Mapping[str, Any], details: Details, now: datetime) -> str:
    """Return what to do about a backup that is not good."""
    phase, status = phase_of(backup), backup.get("status") or {}
    name = backup["metadata"]["name"]
    again = f"Correct the cause, then remove it (state absent) and run the task again, or take another name than {name}"
    if TAKEN in str(status.get("failureReason") or ""):
        return "Take another name, or remove this record (state absent); the server then lists the one in the store within its sync period"
    if phase == "Completed" and details.gone:
        return "Make a new backup, and look what became of the bucket"
    if phase == "Completed" and is_expired(backup, now):
        return "Make a new backup"
    if phase == "Completed" and details.coverage.source == coverage.UNKNOWN:
        return "Let this machine reach the store, or grant it to list claims and pods"
    if phase == "Completed" and details.coverage.uncovered:
        return (
            f"Name the volumes in annotation {coverage.INCLUDE_ANNOTATION} of their pods, or set default_volumes_to_fs_backup; "
            f"claims that need no copy go into excluded_volumes. Then make another backup: this one stays as it is ({name})"
        )
    return again


# the entry


def shown(backup: Mapping[str, Any], details: Details, now: datetime) -> Entry:
    """Return a backup as an entry of results. now: the API server's time."""
    metadata, spec, status = backup["metadata"], backup.get("spec") or {}, backup.get("status") or {}
    good, text = verdict(backup, details, now)
    began, ended = validation.parse_time(status.get("startTimestamp")), completed_at(backup)
    progress = status.get("progress") or {}
    return {
        "name": metadata["name"],
        "namespace": metadata.get("namespace"),
        "phase": phase_of(backup),
        "good": good,
        "verdict": text,
        "created": metadata.get("creationTimestamp"),
        "started": status.get("startTimestamp"),
        "completed": status.get("completionTimestamp"),
        "expires": status.get("expiration"),
        "duration": int((ended - began).total_seconds()) if began and ended else None,
        "age": max(0, int((now - ended).total_seconds())) if ended else None,
        "storage_location": storage_location(backup),
        "schedule": schedule_of(backup),
        "template": backup_template.template_of(spec),
        "labels": dict(metadata.get("labels") or {}),
        "annotations": dict(metadata.get("annotations") or {}),
        "progress": {"done": int(progress.get("itemsBackedUp") or 0), "total": int(progress.get("totalItems") or 0)},
        "errors": int(status.get("errors") or 0),
        "warnings": int(status.get("warnings") or 0),
        "validation_errors": [str(item) for item in status.get("validationErrors") or []],
        "failure_reason": status.get("failureReason") or None,
        "volumes": [dict(volume) for volume in details.volumes],
        "bytes": sum(int(volume["bytes"]) for volume in details.volumes),
        "coverage": details.coverage.source,
        "uncovered": [dict(item) for item in details.coverage.uncovered],
        "excluded": list(details.coverage.excluded),
        "unbound": list(details.coverage.unbound),
        "results": {name: list(items) for name, items in details.results.items()} if details.results is not None else None,
        "log_tail": list(details.log_tail) if details.log_tail is not None else None,
        "unreached": details.unreached,
    }


def results_in_words(document: Any) -> dict[str, list[str]] | None:
    """Return BackupResults or RestoreResults (errors and warnings by scope) as lists of sentences; None when it is no such document.

    Scopes: velero, cluster, and namespaces by name.
    """
    if not isinstance(document, Mapping):
        return None
    return {kind: _sentences(document.get(kind) or {}) for kind in ("errors", "warnings")}


def _sentences(scopes: Mapping[str, Any]) -> list[str]:
    found = [str(text).strip() for text in scopes.get("velero") or []]
    found += [f"cluster: {str(text).strip()}" for text in scopes.get("cluster") or []]
    for namespace, texts in sorted((scopes.get("namespaces") or {}).items()):
        found += [f"namespace {namespace}: {str(text).strip()}" for text in texts or []]
    return list(dict.fromkeys(found))
