# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What velero_restore_info does: the restores of a Velero, each with what it brought back and a verdict.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Definition
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, InputError
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import arguments as login
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource, session
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._velero import location_options, restore_reader, restore_view

Document = dict[str, Any]
ARGUMENTS: dict[str, dict[str, Any]] = {
    **login.ARGUMENTS,
    "namespace": {"type": "str", "default": "velero"},
    "name": {"type": "str"},
    "backup_name": {"type": "str"},
    "newest": {"type": "int"},
    "gather": {"type": "list", "elements": "str", "choices": ["volumes", "workloads", "results", "log"], "default": ["volumes", "workloads"]},
}


def _read(api: Api, options: Mapping[str, Any]) -> list[Document]:
    """Return the wanted restores, the newest first; none where the kind is not known."""
    namespace, backup = str(options["namespace"]), options.get("backup_name")
    try:
        if options.get("name"):
            one = api.get(resource.RESTORE, namespace, str(options["name"]))
            found = [one] if one is not None else []
        else:
            found = api.list(resource.RESTORE, namespace).items
    except Absent:
        return []
    found = [item for item in found if backup is None or (item.get("spec") or {}).get("backupName") == backup]
    found.sort(key=lambda item: (str(item["metadata"].get("creationTimestamp") or ""), str(item["metadata"]["name"])), reverse=True)
    return found[: options["newest"]] if options.get("newest") else found


def find(options: Mapping[str, Any], context: Context) -> Document:
    """Return the restores that are asked for. Nothing is written but throw-away requests."""
    _check(options)
    gather = set(options["gather"])
    api = session.log_in(options, context)
    reader = restore_reader.Reader(api, context, str(options["namespace"]))
    return {"changed": False, "restores": [_entry(reader, item, gather) for item in _read(api, options)]}


def _entry(reader: restore_reader.Reader, restore: Document, gather: set[str]) -> Document:
    details = reader.details(restore, gather)
    entry = restore_view.entry(
        restore,
        volumes=details.volumes,
        claims=details.claims,
        workloads=details.workloads,
        namespaces=details.namespaces,
        results=details.results,
        verdict=restore_view.verdict(restore, details),
    )
    return {**entry, "log_tail": list(details.log_tail) if details.log_tail is not None else None, "unreached": details.unreached}


def _check(options: Mapping[str, Any]) -> None:
    location_options.check_name("namespace", str(options["namespace"]), label=True)
    for option in ("name", "backup_name"):
        if options.get(option) is not None:
            location_options.check_name(option, str(options[option]))
    if options.get("newest") is not None and options["newest"] < 1:
        raise InputError("newest", f"{options['newest']} is less than one", "Give how many of the newest are wanted")


DEFINITION = Definition("velero_restore_info", ARGUMENTS, find, secrets=login.secrets_in)
