# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup is asked to hold: the options that velero_backup and velero_schedule share, their checks, and the spec that they mean.

Sources: the CRD of Velero 1.5 to 1.18; what the server fills in was read from objects on 1.8.1, 1.10.3 and 1.17.2.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError
from ansible_collections.serverops.circleci.plugins.module_utils._velero import duration, location_options, selector

Spec = dict[str, Any]

_STRINGS = {"type": "list", "elements": "str"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "included_namespaces": _STRINGS,
    "excluded_namespaces": _STRINGS,
    "included_resources": _STRINGS,
    "excluded_resources": _STRINGS,
    "included_cluster_scoped_resources": _STRINGS,
    "excluded_cluster_scoped_resources": _STRINGS,
    "included_namespace_scoped_resources": _STRINGS,
    "excluded_namespace_scoped_resources": _STRINGS,
    "include_cluster_resources": {"type": "bool"},
    "selector": {"type": "str"},
    "or_selectors": _STRINGS,
    "ordered_resources": {"type": "dict"},
    "snapshot_volumes": {"type": "bool"},
    "default_volumes_to_fs_backup": {"type": "bool"},
    "snapshot_move_data": {"type": "bool"},
    "data_mover": {"type": "str"},
    "storage_location": {"type": "str"},
    "volume_snapshot_locations": _STRINGS,
    "ttl": {"type": "str"},
    "csi_snapshot_timeout": {"type": "str"},
    "item_operation_timeout": {"type": "str"},
    "resource_policies_configmap": {"type": "str"},
    "parallel_files_upload": {"type": "int"},
    "volume_group_snapshot_label_key": {"type": "str", "no_log": False},
    "hooks": {"type": "dict"},
}
"""Argument spec of the template of a backup. An option that is left out is left to Velero."""

_FIELDS: dict[str, tuple[str, ...]] = {
    "included_namespaces": ("includedNamespaces",),
    "excluded_namespaces": ("excludedNamespaces",),
    "included_resources": ("includedResources",),
    "excluded_resources": ("excludedResources",),
    "included_cluster_scoped_resources": ("includedClusterScopedResources",),
    "excluded_cluster_scoped_resources": ("excludedClusterScopedResources",),
    "included_namespace_scoped_resources": ("includedNamespaceScopedResources",),
    "excluded_namespace_scoped_resources": ("excludedNamespaceScopedResources",),
    "include_cluster_resources": ("includeClusterResources",),
    "selector": ("labelSelector",),
    "or_selectors": ("orLabelSelectors",),
    "ordered_resources": ("orderedResources",),
    "snapshot_volumes": ("snapshotVolumes",),
    "default_volumes_to_fs_backup": ("defaultVolumesToFsBackup",),
    "snapshot_move_data": ("snapshotMoveData",),
    "data_mover": ("datamover",),
    "storage_location": ("storageLocation",),
    "volume_snapshot_locations": ("volumeSnapshotLocations",),
    "ttl": ("ttl",),
    "csi_snapshot_timeout": ("csiSnapshotTimeout",),
    "item_operation_timeout": ("itemOperationTimeout",),
    "resource_policies_configmap": ("resourcePolicy",),
    "parallel_files_upload": ("uploaderConfig", "parallelFilesUpload"),
    "volume_group_snapshot_label_key": ("volumeGroupSnapshotLabelKey",),
    "hooks": ("hooks",),
}
"""Where each option stands in the spec of a Backup."""

RENAMED = {"defaultVolumesToRestic": "defaultVolumesToFsBackup"}
"""Fields of older releases (restic up to 1.9), and what they are called since."""

_OLD_FILTERS = ("included_resources", "excluded_resources", "include_cluster_resources")
_NEW_FILTERS = tuple(f"{word}_{scope}_scoped_resources" for word in ("included", "excluded") for scope in ("cluster", "namespace"))
_DURATIONS = ("ttl", "csi_snapshot_timeout", "item_operation_timeout")
_SETS = ("included_namespaces", "excluded_namespaces", "included_resources", "excluded_resources", *_NEW_FILTERS, "volume_snapshot_locations")
_INCLUDES = ("included_namespaces", "included_resources")
"""Lists of which nothing and "*" mean the same."""
_SWITCHES = ("snapshot_volumes", "default_volumes_to_fs_backup", "snapshot_move_data")

SCOPE = (
    "included_namespaces",
    "excluded_namespaces",
    *_OLD_FILTERS,
    *_NEW_FILTERS,
    "selector",
    "or_selectors",
)
"""Options that narrow what a backup holds. Left out they mean "everything", so a backup with one of them is not one that was asked for without."""

FILLED_IN: dict[str, frozenset[str]] = {
    "excluded_resources": frozenset({"volumesnapshots.snapshot.storage.k8s.io", "volumesnapshotcontents.snapshot.storage.k8s.io"}),
    "excluded_namespace_scoped_resources": frozenset({"volumesnapshots.snapshot.storage.k8s.io"}),
    "excluded_cluster_scoped_resources": frozenset({"volumesnapshotcontents.snapshot.storage.k8s.io"}),
}
"""What the server adds to lists by itself (seen on 1.17.2)."""

_NAMESPACE = re.compile(r"\*|[a-z0-9*?](?:[-a-z0-9*?]{0,61}[a-z0-9*?])?")
_RESOURCE = re.compile(r"\*|[a-zA-Z0-9](?:[-a-zA-Z0-9.*]*[a-zA-Z0-9*])?")
_ORDERED = re.compile(r"[^\s,/]+(?:/[^\s,/]+)?")


# checks


def checked(options: Mapping[str, Any]) -> None:
    """Refuse every value and combination that Velero would not take, or would take and make a failed backup of."""
    for option in ("included_namespaces", "excluded_namespaces"):
        _check_list(options, option, _NAMESPACE, "Write names of namespaces, or * for all")
    for option in ("included_resources", "excluded_resources", *_NEW_FILTERS):
        _check_list(options, option, _RESOURCE, "Write them as in pods, deployments.apps or *")
    _check_pairs(options)
    _check_filters(options)
    _check_selectors(options)
    _check_durations(options)
    for option in ("storage_location", "resource_policies_configmap"):
        if options.get(option) is not None:
            location_options.check_name(option, str(options[option]))
    for name in options.get("volume_snapshot_locations") or []:
        location_options.check_name("volume_snapshot_locations", str(name))
    files, key = options.get("parallel_files_upload"), options.get("volume_group_snapshot_label_key")
    if files is not None and files < 1:
        raise InputError("parallel_files_upload", f"{files} is less than one", "Give how many files are uploaded at once")
    if key is not None and not selector.KEY.fullmatch(key):
        raise InputError("volume_group_snapshot_label_key", f"{key!r} is not the key of a label", "Write it as in team.example/group")
    _ordered(options.get("ordered_resources"))
    _check_hooks(options.get("hooks"))
    if options.get("data_mover") is not None and not str(options["data_mover"]).strip():
        raise InputError("data_mover", "it is empty", "Leave it out for Velero's own")


def _check_list(options: Mapping[str, Any], option: str, form: re.Pattern[str], advice: str) -> None:
    for item in options.get(option) or []:
        if not form.fullmatch(str(item)):
            raise InputError(option, f"{item!r} is not a name", advice)
    values = options.get(option) or []
    if "*" in values and len(set(values)) > 1 and option.startswith("included"):
        raise InputError(option, "* stands beside names", "Write * alone, or the names alone")
    if "*" in values and option.startswith("excluded"):
        raise InputError(option, "* excludes everything", "Name what is to be left out")


def _check_pairs(options: Mapping[str, Any]) -> None:
    for included in [name for name in _SETS if name.startswith("included")]:
        excluded = included.replace("included", "excluded")
        both = sorted(set(options.get(included) or []) & set(options.get(excluded) or []))
        if both:
            raise InputError(excluded, f"{', '.join(both)} stands in {included} too", "Name it in one of them")


def _check_filters(options: Mapping[str, Any]) -> None:
    old = [name for name in _OLD_FILTERS if options.get(name) not in (None, [])]
    new = [name for name in _NEW_FILTERS if options.get(name)]
    if old and new:
        advice = f"Leave out {' and '.join(old)}, or the filters by scope"
        raise InputError(new[0], f"it excludes {old[0]}: Velero takes either kind of filter", advice)


def _check_selectors(options: Mapping[str, Any]) -> None:
    if options.get("selector") and options.get("or_selectors"):
        raise InputError("or_selectors", "it excludes selector", "Give one of them")
    for option in ("selector", "or_selectors"):
        given = options.get(option)
        for text in [given] if isinstance(given, str) else given or []:
            try:
                selector.parse(text)
            except ValueError as error:
                advice = "Write it as for kubectl, as in app=web,tier in (db, cache)"
                raise InputError(option, f"{text!r} is no label selector: {error}", advice) from None


def _check_durations(options: Mapping[str, Any]) -> None:
    for option in _DURATIONS:
        if options.get(option) is None:
            continue
        try:
            length = duration.nanoseconds(options[option])
        except ValueError as error:
            raise InputError(option, f"{options[option]!r} is {error}", "Write it as in 30m, 4h or 720h") from None
        if length <= 0:
            raise InputError(option, f"{options[option]!r} is no time; Velero would take its own default", "Leave it out for the default")


def _check_hooks(hooks: Mapping[str, Any] | None) -> None:
    if hooks is None:
        return
    unknown = sorted(set(hooks) - {"resources"})
    if unknown or not isinstance(hooks.get("resources", []), list):
        seen = f"it has {', '.join(unknown)}" if unknown else "resources is no list"
        raise InputError("hooks", seen, "Write it as in the API: a list under resources")
    for number, item in enumerate(hooks.get("resources", []), 1):
        if not isinstance(item, Mapping) or not item.get("name"):
            raise InputError("hooks", f"resources, item {number} has no name", "Give each its name")


def _ordered(value: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the order as the API takes it: one text per kind, names parted by commas."""
    result: dict[str, str] = {}
    for kind, names in (value or {}).items():
        items = names.split(",") if isinstance(names, str) else names
        if not isinstance(items, list) or not items or not all(isinstance(name, str) and _ORDERED.fullmatch(name.strip()) for name in items):
            seen = f"{kind} has no list of names such as namespace/name"
            raise InputError("ordered_resources", seen, "Write it as in pods: [app/db-0, app/web-0]")
        result[str(kind)] = ",".join(name.strip() for name in items)
    return result


# the spec


def spec_of(options: Mapping[str, Any]) -> Spec:
    """Return the spec of a Backup that the options ask for; what an option leaves out is not in it.

    Durations as Go prints them, default_volumes_to_fs_backup under the name that it has since 1.10 (see `fitted`).
    """
    spec: Spec = {}
    for option, path in _FIELDS.items():
        if options.get(option) is None:
            continue
        value = _written(option, options[option])
        if len(path) == 1:
            spec[path[0]] = value
        else:
            spec.setdefault(path[0], {})[path[1]] = value
    return spec


def _written(option: str, value: Any) -> Any:
    if option == "selector":
        return selector.parse(value)
    if option == "or_selectors":
        return [selector.parse(text) for text in value]
    if option in _DURATIONS:
        return duration.canonical(value)
    if option == "resource_policies_configmap":
        return {"kind": "configmap", "name": value}
    if option == "ordered_resources":
        return _ordered(value)
    return value


def fitted(spec: Mapping[str, Any], knows: Callable[[str], bool]) -> Spec:
    """Return a spec with the names that an older release has for its fields. knows: tells whether the release knows a field of the spec."""
    result = dict(spec)
    for older, newer in RENAMED.items():
        if newer in result and not knows(newer) and knows(older):
            result[older] = result.pop(newer)
    return result


# comparing


@dataclass(frozen=True)
class _Value:
    """An option's value in canonical form, and as a person is shown it."""

    compared: Any
    shown: Any


def _found(spec: Mapping[str, Any], option: str) -> Any:
    value: Any = spec
    for name in _FIELDS[option]:
        value = value.get(name) if isinstance(value, Mapping) else None
    if value is None:
        for older, newer in RENAMED.items():
            if _FIELDS[option] == (newer,):
                value = spec.get(older)
    return value


def _canonical(option: str, value: Any) -> _Value:
    """Return a value of a spec with everything that means the same written the same; None for what says nothing."""
    if value is None:
        return _Value(None, None)
    if option in _SETS:
        items = sorted({str(item) for item in value} - FILLED_IN.get(option, frozenset()))
        if option in _INCLUDES and items == ["*"]:
            items = []
        return _Value(items or None, items or None)
    if option == "selector":
        text = selector.shown(value)
        return _Value(text or None, text or None)
    if option == "or_selectors":
        texts = sorted(selector.shown(item) for item in value)
        return _Value(texts or None, texts or None)
    if option in _DURATIONS:
        try:
            text = duration.canonical(str(value))
        except ValueError:
            text = str(value)
        return _Value(text, text)
    if option == "resource_policies_configmap":
        name = value.get("name") if isinstance(value, Mapping) else None
        return _Value(name, name)
    if option == "ordered_resources":
        return _Value(dict(value) or None, {kind: str(names).split(",") for kind, names in value.items()} or None)
    if option == "hooks":
        pruned = _without_empty(value)
        return _Value(pruned or None, pruned or None)
    return _Value(value, value)


def _without_empty(value: Any) -> Any:
    """Return a value without what is empty or null: the server writes such fields or leaves them out as it pleases."""
    if isinstance(value, Mapping):
        inner = {name: _without_empty(item) for name, item in value.items()}
        return {name: item for name, item in inner.items() if item not in (None, {}, [], "")}
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    return value


def same(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """Return the options in which a live spec differs from what a wanted one says; fields that the wanted one leaves out are not compared."""
    different = []
    for option in _FIELDS:
        asked = _found(wanted, option)
        if asked is None:
            continue
        there = _found(live, option)
        if option in _SWITCHES and there is None:
            there = False if asked is False else None
        if _canonical(option, asked).compared != _canonical(option, there).compared:
            different.append(option)
    return different


def same_scope(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """Return the options in which a live spec differs from a wanted one; what narrows a backup is compared also where it is left out."""
    different = set(same(wanted, live))
    for option in SCOPE:
        asked, there = _canonical(option, _found(wanted, option)).compared, _canonical(option, _found(live, option)).compared
        if option == "include_cluster_resources" and asked is None and there is True:
            continue  # more than the default
        if asked != there:
            different.add(option)
    return [option for option in _FIELDS if option in different]


def template_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec in the words of the options; what says nothing is left out."""
    shown = {option: _canonical(option, _found(spec, option)).shown for option in _FIELDS}
    return {option: value for option, value in shown.items() if value is not None}


def value_shown(spec: Mapping[str, Any], option: str) -> str:
    """Return an option's value in a spec as a text for a message."""
    value = _canonical(option, _found(spec, option)).shown
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def includes_namespace(spec: Mapping[str, Any], namespace: str) -> bool:
    """Tell whether a backup of this spec holds a namespace's objects."""
    included = spec.get("includedNamespaces") or ["*"]
    return ("*" in included or namespace in included) and namespace not in (spec.get("excludedNamespaces") or [])


def option_of(field: str) -> str:
    """Return the option that a field of the spec comes from."""
    for option, path in _FIELDS.items():
        if ".".join(path) == field or path[0] == field.split(".", maxsplit=1)[0]:
            return option
    return field
