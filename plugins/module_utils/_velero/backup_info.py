# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What velero_backup_info does: the backups of a Velero, each with its verdict, and whether one is suddenly smaller than those before it.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Definition
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, Forbidden, InputError
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import arguments as login
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource, session
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    backup_template,
    backup_trend,
    backup_view,
    location_options,
    volume_copies,
)
from ansible_collections.serverops.circleci.plugins.module_utils._velero.backup_reader import Reader

Document = dict[str, Any]

ARGUMENTS: dict[str, dict[str, Any]] = {
    **login.ARGUMENTS,
    "namespace": {"type": "str", "default": "velero"},
    "name": {"type": "str"},
    "schedule": {"type": "str"},
    "storage_location": {"type": "str"},
    "included_namespace": {"type": "str"},
    "phases": {"type": "list", "elements": "str"},
    "newest": {"type": "int"},
    "gather": {"type": "list", "elements": "str", "choices": ["volumes", "results", "log"], "default": ["volumes"]},
    "excluded_volumes": {"type": "list", "elements": "str", "default": []},
}


def _selected(options: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    """Tell whether a backup is one of those that are asked for."""
    wanted = {name: options.get(name) for name in ("schedule", "storage_location", "included_namespace", "phases")}
    spec = item.get("spec") or {}
    return (
        (wanted["schedule"] is None or backup_view.schedule_of(item) == wanted["schedule"])
        and (wanted["storage_location"] is None or backup_view.storage_location(item) == wanted["storage_location"])
        and (wanted["included_namespace"] is None or backup_template.includes_namespace(spec, wanted["included_namespace"]))
        and (not wanted["phases"] or backup_view.phase_of(item) in wanted["phases"])
    )


_KEPT = ("name", "namespace", "creationTimestamp", "uid", "labels", "annotations")


def _slim(item: Document) -> Document:
    """Return of a backup what its entry is made of."""
    metadata = {name: item["metadata"][name] for name in _KEPT if name in item["metadata"]}
    return {"metadata": metadata, "spec": item.get("spec") or {}, "status": item.get("status") or {}}


def _read(api: Api, options: Mapping[str, Any]) -> list[Document]:
    """Return the wanted backups, the newest first; none where the kind is not known."""
    namespace = str(options["namespace"])
    try:
        if options.get("name"):
            one = api.get(resource.BACKUP, namespace, str(options["name"]))
            found = [_slim(one)] if one is not None and _selected(options, one) else []
        else:
            found = list(api.scan(resource.BACKUP, namespace, lambda item: _slim(item) if _selected(options, item) else None))
    except Absent:
        return []
    found.sort(key=lambda item: (str(item["metadata"].get("creationTimestamp") or ""), str(item["metadata"]["name"])), reverse=True)
    return found[: options["newest"]] if options.get("newest") else found


def _copies(api: Api, namespace: str, names: Mapping[str, str]) -> dict[str, list[volume_copies.Volume]]:
    """Return the copies of volumes by backup, read as a whole. names: of the backups, by what stands in the label."""
    found: dict[str, list[volume_copies.Volume]] = {}

    def keep(of: Callable[[Mapping[str, Any]], volume_copies.Volume]) -> Callable[[Document], tuple[str, volume_copies.Volume] | None]:
        def one(item: Document) -> tuple[str, volume_copies.Volume] | None:
            name = names.get(str((item["metadata"].get("labels") or {}).get(volume_copies.BACKUP_LABEL)))
            return (name, of(item)) if name else None

        return one

    for kind, of in ((resource.POD_VOLUME_BACKUP, volume_copies.of_pod_volume_backup), (resource.DATA_UPLOAD, volume_copies.of_data_upload)):
        try:
            for name, volume in api.scan(kind, namespace, keep(of)):
                found.setdefault(name, []).append(volume)
        except (Absent, Forbidden):
            if kind is resource.POD_VOLUME_BACKUP:
                raise  # without them every claim would look uncovered
            continue
    return found


def find(options: Mapping[str, Any], context: Context) -> Document:
    """Return the backups that are asked for and their trend. Nothing is written but throw-away requests."""
    namespace, gather = str(options["namespace"]), set(options["gather"])
    _check(options)
    api = session.log_in(options, context)
    found = _read(api, options)
    # one by one they would need a request each
    few = len(found) == 1
    copies = None
    if "volumes" in gather and found and not few:
        copies = _copies(api, namespace, {volume_copies.label_value(item["metadata"]["name"]): item["metadata"]["name"] for item in found})
    reader = Reader(api, context, namespace, options["excluded_volumes"], from_store=few or "results" in gather)
    entries: list[Document] = []
    shared: dict[str, Any] = {}
    found.reverse()
    while found:
        # what was read goes as its entry is made, and what is equal in several is kept once: there may be thousands
        item = found.pop()
        known = copies.pop(item["metadata"]["name"], []) if copies is not None else None
        entry = backup_view.shown(item, reader.details(item, gather, known), api.server_time())
        entries.append({name: _shared(value, shared) for name, value in entry.items()})
    return {"changed": False, "backups": entries, "trend": backup_trend.of(entries)}


def _shared(value: Any, known: dict[str, Any]) -> Any:
    """Return a text or a small mapping that is equal to one of those before as that very one."""
    if isinstance(value, str):
        return known.setdefault(value, value)
    if isinstance(value, dict):
        return known.setdefault(json.dumps(value, sort_keys=True), value)
    return value


def _check(options: Mapping[str, Any]) -> None:
    location_options.check_name("namespace", str(options["namespace"]), label=True)
    for option in ("name", "schedule", "storage_location", "included_namespace"):
        if options.get(option) is not None:
            location_options.check_name(option, str(options[option]))
    if options.get("newest") is not None and options["newest"] < 1:
        raise InputError("newest", f"{options['newest']} is less than one", "Give how many of the newest are wanted")
    for item in options["excluded_volumes"]:
        if str(item).count("/") != 1 or not all(str(item).split("/")):
            raise InputError("excluded_volumes", f"{item!r} is not namespace/claim", "Write it as in app/cache or app/tmp-*")


DEFINITION = Definition("velero_backup_info", ARGUMENTS, find, secrets=login.secrets_in)
