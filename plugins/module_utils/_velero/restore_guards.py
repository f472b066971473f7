# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be true before a restore is made: the backup, its location, its volumes, the server, and the place that it goes to.

Velero itself checks little of this: it restores an incomplete backup, brings no data into a claim that exists, and drops fields that it does
not know. Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._velero import crd_fields, restore_options, restore_view, server, validation

Document = dict[str, Any]
SOON = timedelta(hours=1)
"""A backup that expires within this time may be removed while it is restored, and the restore with it."""
KOPIA_FROM = (1, 10)
RESTIC_UP_TO = (1, 18)
MOVER_FROM = (1, 12)
"""Release lines whose server can bring such copies of volumes back."""
NEXT = "Run velero_backup_info to see which backups there are"


@dataclass(frozen=True)
class Situation:
    """What was read before a restore is made.

    copies: the copies of volumes that the backup has. uncovered: claims of it without one, each with its reason; None when it cannot be
    known, and unknown then says why. gone: why the backup is known not to be in the store any more. namespaces: every namespace that is
    restored into, with what there is of it. claims: those of the backup as (namespace, name). there: claims in those namespaces, likewise.
    fields: what is known of the fields that a Restore has here, None when only such are asked for that every release has.
    """

    backup: Document | None = None
    location: Document | None = None
    copies: tuple[Document, ...] = ()
    uncovered: tuple[Mapping[str, Any], ...] | None = ()
    unknown: str = ""
    gone: str = ""
    namespaces: Mapping[str, Document | None] = field(default_factory=dict)
    claims: frozenset[tuple[str, str]] = frozenset()
    there: frozenset[tuple[str, str]] = frozenset()
    fields: crd_fields.Fields | None = None
    version: str | None = None
    trouble: str = ""
    kubernetes: str | None = None


def newest_first(backups: Iterable[Document]) -> list[Document]:
    """Return the finished backups of a schedule, the one that ended last first."""
    done = [item for item in backups if (item.get("status") or {}).get("completionTimestamp")]
    return sorted(done, key=lambda item: str(item["status"]["completionTimestamp"]), reverse=True)


def none_good(schedule: str, backups: Iterable[Document], verdicts: Iterable[str]) -> NotProven:
    """Return the error for a schedule without a good backup. verdicts: of the finished ones that were looked at."""
    told = list(verdicts)
    unfinished = [f"{item['metadata']['name']} is {(item.get('status') or {}).get('phase') or 'New'}" for item in backups]
    seen = restore_view.named(told) or restore_view.named(unfinished) or "it has no backups"
    return NotProven("find", f"the newest good backup of Schedule {schedule}", seen, "Make a backup, or name one in backup_name")


def check(options: Mapping[str, Any], spec: Mapping[str, Any], target: str, found: Situation, now: datetime) -> list[str]:
    """Return what has to be told before the restore is made; NotProven when it must not be made."""
    warnings = check_backup(options, spec, target, found, now)
    _check_location(target, found)
    if found.gone:
        raise NotProven("make", target, f"backup {spec['backupName']}: {found.gone}", "Take another backup, and look what became of the bucket")
    warnings += _check_server(target, found)
    warnings += _check_volumes(options, spec, target, found)
    _check_place(options, spec, target, found)
    if found.fields is not None:
        crd_fields.refuse_dropped(found.fields, spec, restore_options.option_of)
    return warnings


def check_backup(options: Mapping[str, Any], spec: Mapping[str, Any], target: str, found: Situation, now: datetime) -> list[str]:
    """Check what the backup says of itself."""
    name = spec["backupName"]
    if found.backup is None:
        seen = f"there is no Backup {options['namespace']}/{name}"
        raise NotProven("make", target, seen, f"{NEXT}; a location that was just added lists its backups within a minute or two")
    status = found.backup.get("status") or {}
    phase = status.get("phase") or "New"
    if "deletionTimestamp" in found.backup["metadata"] or phase == "Deleting":
        raise NotProven("make", target, f"backup {name} is being deleted", "Take another backup")
    if phase in ("Failed", "FailedValidation"):
        reason = status.get("failureReason") or "; ".join(status.get("validationErrors") or []) or "it gives no reason"
        raise NotProven("make", target, f"backup {name} is {phase}: {reason}", f"Take another backup. {NEXT}")
    if phase not in restore_view.FINISHED:
        raise NotProven("make", target, f"backup {name} is not finished (phase {phase})", "Wait until it is, or take another backup")
    warnings = []
    if phase == "PartiallyFailed" or status.get("errors"):
        seen = f"backup {name} is {phase} with {status.get('errors') or 'some'} errors, so something is missing in it"
        if not options["allow_partially_failed"]:
            raise NotProven("make", target, seen, "Take another backup, or give allow_partially_failed to restore what there is")
        warnings.append(f"{target}: {seen}.")
    expires = validation.parse_time(status.get("expiration"))
    if expires is not None and expires <= now:
        seen = f"backup {name} expired at {validation.shown_time(expires)}: Velero removes it, and a restore of it, at any moment"
        raise NotProven("make", target, seen, "Take another backup; or raise status.expiration of this one first")
    if expires is not None and expires - now < SOON:
        warnings.append(
            f"{target}: backup {name} expires at {validation.shown_time(expires)}; Velero removes a backup's restores with it, also one that runs."
        )
    for namespace in spec.get("includedNamespaces") or []:
        scope = found.backup.get("spec") or {}
        if namespace != "*" and not restore_options.in_scope(namespace, scope.get("includedNamespaces"), scope.get("excludedNamespaces")):
            raise InputError(
                "included_namespaces", f"backup {name} does not have namespace {namespace}", "Name one that it has, or take another backup"
            )
    return warnings


def _check_location(target: str, found: Situation) -> None:
    backup = found.backup or {}
    name = (backup.get("spec") or {}).get("storageLocation") or "default"
    if found.location is None:
        seen = f"its backup is stored in location {name}, which does not exist here"
        raise NotProven("make", target, seen, "Make it by velero_storage_location")
    status = found.location.get("status") or {}
    if status.get("phase") != "Available":
        said = f": {status['message']}" if status.get("message") else ""
        seen = f"its backup is stored in location {name}, of which Velero says {status.get('phase') or 'nothing yet'}{said}"
        raise NotProven("make", target, seen, "Run velero_storage_location for it, which says what is wrong")


def _check_server(target: str, found: Situation) -> list[str]:
    if found.trouble:
        raise NotProven(
            "make", target, f"nobody would carry it out: {found.trouble}", "Run velero_info, which says what is wrong with Velero's server"
        )
    line = server.minor_version(found.version)
    kinds = {_kind(copy) for copy in found.copies}
    if line is not None:
        for kind, right in (
            ("kopia", line >= KOPIA_FROM),
            ("restic", line <= RESTIC_UP_TO),
            ("data mover", line >= MOVER_FROM),
        ):
            if kind in kinds and not right:
                seen = f"its backup has volumes copied by {kind}, and Velero {found.version} cannot read those"
                raise NotProven("make", target, seen, f"Install a version of Velero that reads {kind}")
    source = ((found.backup or {}).get("metadata", {}).get("annotations") or {}).get("velero.io/source-cluster-k8s-gitversion")
    before, here = server.minor_version(source), server.minor_version(found.kubernetes)
    if before and here and here < before:
        return [
            f"{target}: the backup comes from Kubernetes {source} and this is {found.kubernetes}: kinds that only the newer one has are not restored."
        ]
    return []


def _kind(copy: Mapping[str, Any]) -> str:
    return str(copy["uploader"]) if copy["method"] == "fs_backup" else "data mover" if copy["method"] == "data_upload" else ""


def _check_volumes(options: Mapping[str, Any], spec: Mapping[str, Any], target: str, found: Situation) -> list[str]:
    if spec.get("restorePVs") is False:
        return []
    if (
        found.copies
        and not restore_options.takes_volume_data(spec)
        and any(restore_options.takes_resource(spec, *kind) for kind in (restore_options.PODS, restore_options.CLAIMS))
    ):
        lacking = [
            kind[0]
            for kind in (restore_options.PODS, restore_options.CLAIMS, restore_options.VOLUMES)
            if not restore_options.takes_resource(spec, *kind)
        ]
        if restore_options.takes_resource(spec, *restore_options.PODS) and restore_options.takes_resource(spec, *restore_options.CLAIMS):
            seen = f"without {', '.join(lacking)} among its resources Velero brings claims back empty and says nothing"
            raise NotProven("make", target, seen, f"Add {', '.join(lacking)} to included_resources, or give restore_volumes false")
    warnings = []
    if found.uncovered is None:
        warnings.append(f"{target}: whether the backup has a copy of every volume is not known: {found.unknown}.")
    lost = [
        item
        for item in found.uncovered or ()
        if restore_options.takes_namespace(spec, str(item["namespace"]))
        and not restore_options.is_excluded(str(item["namespace"]), str(item["claim"]), options["excluded_volumes"])
    ]
    if lost:
        named = restore_view.named(
            f"{item['namespace']}/{item['claim']}{f' ({item_reason})' if (item_reason := item.get('reason')) else ''}" for item in lost
        )
        seen = f"the backup has no copy of the data of {len(lost)} claims: {named}"
        if options["uncovered_volumes"] == "fail":
            raise NotProven("make", target, seen, "Take another backup, name them in excluded_volumes, or give uncovered_volumes warn")
        warnings.append(f"{target}: {seen}.")
    return warnings


def _check_place(options: Mapping[str, Any], spec: Mapping[str, Any], target: str, found: Situation) -> None:
    for name, namespace in sorted(found.namespaces.items()):
        if namespace is not None and ("deletionTimestamp" in namespace["metadata"] or (namespace.get("status") or {}).get("phase") == "Terminating"):
            seen = f"namespace {name}, which it restores into, is being deleted"
            raise NotProven("make", target, seen, "Wait until it is gone; if it stays, look for finalizers on what is in it")
    if options["existing_claims"] == "keep" or not restore_options.takes_resource(spec, *restore_options.CLAIMS):
        return
    wanted = {
        (restore_options.target_of(spec, namespace), claim) for namespace, claim in found.claims if restore_options.takes_namespace(spec, namespace)
    }
    both = sorted(wanted & found.there)
    if both:
        named = restore_view.named(f"{namespace}/{claim}" for namespace, claim in both)
        seen = f"{len(both)} claims of the backup exist already: {named}. Velero keeps what exists, so their data would stay or be mixed with its own"
        raise NotProven(
            "make", target, seen, "Remove them with what uses them, restore into another namespace by namespace_mapping, or give existing_claims keep"
        )
