# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a restore: their checks, the spec that they ask for, and how it is compared with that of a restore that exists.

A Restore cannot be changed once it is made, so an option that is left out is compared as what Velero does without it: a restore into other
namespaces is another restore. Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import arguments as login
from ansible_collections.serverops.circleci.plugins.module_utils._velero import duration, location_options, selector

RESOURCE_LISTS: dict[str, Any] = {
    "included_resources": {"type": "list", "elements": "str"},
    "excluded_resources": {"type": "list", "elements": "str"},
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    **login.ARGUMENTS,
    "timeout": {"type": "int", "default": 3600},
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "velero"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "backup_name": {"type": "str"},
    "schedule_name": {"type": "str"},
    "included_namespaces": {"type": "list", "elements": "str"},
    "excluded_namespaces": {"type": "list", "elements": "str"},
    **RESOURCE_LISTS,
    "namespace_mapping": {"type": "dict"},
    "selector": {"type": "str"},
    "or_selectors": {"type": "list", "elements": "str"},
    "restore_volumes": {"type": "bool"},
    "include_cluster_resources": {"type": "bool"},
    "preserve_node_ports": {"type": "bool"},
    "existing_resource_policy": {"type": "str", "choices": ["none", "update"]},
    "restore_status": {"type": "dict", "options": RESOURCE_LISTS},
    "resource_modifier_configmap": {"type": "str"},
    "item_operation_timeout": {"type": "str"},
    "write_sparse_files": {"type": "bool"},
    "parallel_files_download": {"type": "int"},
    "hooks": {"type": "dict"},
    "labels": {"type": "dict"},
    "annotations": {"type": "dict"},
    "allow_partially_failed": {"type": "bool", "default": False},
    "uncovered_volumes": {"type": "str", "choices": ["fail", "warn"], "default": "fail"},
    "excluded_volumes": {"type": "list", "elements": "str", "default": []},
    "existing_claims": {"type": "str", "choices": ["fail", "keep"], "default": "fail"},
    "workloads": {"type": "str", "choices": ["wait", "ignore"], "default": "wait"},
}
CONSTRAINTS: dict[str, Any] = {
    "mutually_exclusive": [("backup_name", "schedule_name"), ("selector", "or_selectors")],
}

SCHEDULE = "serverops.circleci/schedule"
"""Annotation of a Restore of the newest good backup of a schedule: the schedule's name. Velero fills in spec.scheduleName by itself."""
NEVER_RESTORED = (
    "nodes",
    "events",
    "events.events.k8s.io",
    "backups.velero.io",
    "restores.velero.io",
    "resticrepositories.velero.io",
    "csinodes.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
    "backuprepositories.velero.io",
)
"""What Velero never restores; its server adds these to spec.excludedResources (1.5 to 1.17) and refuses them as included ones."""
LISTS = {
    "included_namespaces": "includedNamespaces",
    "excluded_namespaces": "excludedNamespaces",
    "included_resources": "includedResources",
    "excluded_resources": "excludedResources",
}
PLAIN = {
    "restore_volumes": "restorePVs",
    "include_cluster_resources": "includeClusterResources",
    "preserve_node_ports": "preserveNodePorts",
    "existing_resource_policy": "existingResourcePolicy",
    "hooks": "hooks",
}
WHOLE = ("*", "")
"""What means "all" in a list of names."""
_VOLUME = re.compile(r"[^/\s]+/[^/\s]+")


def check(options: Mapping[str, Any]) -> None:
    """Refuse every value and combination that could not become a restore."""
    location_options.check_name("name", str(options["name"]))
    location_options.check_name("namespace", str(options["namespace"]), label=True)
    if options["state"] == "absent":
        return
    if not options.get("backup_name") and not options.get("schedule_name"):
        raise InputError("backup_name", "a restore needs a backup", "Give backup_name, or schedule_name for the newest good backup of a schedule")
    for option in ("backup_name", "schedule_name"):
        if options.get(option):
            location_options.check_name(option, str(options[option]))
    for kind in ("namespaces", "resources"):
        check_lists(f"included_{kind}", options.get(f"included_{kind}"), f"excluded_{kind}", options.get(f"excluded_{kind}"))
    _check_resources(options)
    for source, target in (options.get("namespace_mapping") or {}).items():
        for name in (str(source), str(target)):
            location_options.check_name("namespace_mapping", name, label=True)
    targets = [str(target) for target in (options.get("namespace_mapping") or {}).values()]
    twice = sorted({target for target in targets if targets.count(target) > 1})
    if twice:
        raise InputError("namespace_mapping", f"two namespaces are mapped to {twice[0]}", "Give each a namespace of its own")
    if options.get("item_operation_timeout") is not None:
        check_duration("item_operation_timeout", options["item_operation_timeout"])
    if options.get("parallel_files_download") is not None and options["parallel_files_download"] < 1:
        raise InputError("parallel_files_download", f"{options['parallel_files_download']} is not a number of files", "Give 1 or more")
    if options.get("resource_modifier_configmap"):
        location_options.check_name("resource_modifier_configmap", str(options["resource_modifier_configmap"]))
    for text in options.get("excluded_volumes") or []:
        if not _VOLUME.fullmatch(str(text)):
            raise InputError(
                "excluded_volumes", f"{text!r} is not NAMESPACE/CLAIM", "Write it as in circleci-server/data-postgresql-0; * stands for any text"
            )
    hooks = options.get("hooks")
    if hooks is not None and (set(hooks) - {"resources"} or not isinstance(hooks.get("resources", []), list)):
        raise InputError("hooks", "it is not a list under resources", "Write it as in the API")
    for option in ("labels", "annotations"):
        check_texts(option, options.get(option))
    for option in ("selector", "or_selectors"):
        given = options.get(option)
        for text in [given] if isinstance(given, str) else given or []:
            try:
                selector.parse(text)
            except ValueError as error:
                raise InputError(
                    option, f"{text!r} is no label selector: {error}", "Write it as for kubectl, as in app=web,tier in (db, cache)"
                ) from None


def check_lists(included_option: str, included: Iterable[str] | None, excluded_option: str, excluded: Iterable[str] | None) -> None:
    """Refuse what Velero's server would refuse of a pair of lists: something beside "*", "*" as excluded, a name in both."""
    inside, outside = [str(item) for item in included or []], [str(item) for item in excluded or []]
    if "*" in inside and len(inside) > 1:
        raise InputError(included_option, "* stands beside other names", "Give * alone, or leave it out")
    if "*" in outside:
        raise InputError(excluded_option, "* would leave nothing", "Name what is to be left out")
    both = sorted(set(inside) & set(outside))
    if both:
        raise InputError(excluded_option, f"{', '.join(both)} stands in {included_option} as well", "Name it in one of them")


def _check_resources(options: Mapping[str, Any]) -> None:
    never = sorted(set(options.get("included_resources") or []) & set(NEVER_RESTORED))
    if never:
        raise InputError("included_resources", f"Velero never restores {', '.join(never)}", "Leave them out")


def check_duration(option: str, text: str) -> None:
    """Refuse what is no duration."""
    try:
        duration.nanoseconds(str(text))
    except ValueError as error:
        raise InputError(option, f"{text!r} is {error}", "Write it as in 30m or 4h") from None


def check_texts(option: str, texts: Mapping[str, Any] | None) -> None:
    """Refuse labels or annotations whose values are no single texts."""
    for name, value in (texts or {}).items():
        if isinstance(value, (Mapping, list)) or value is None:
            raise InputError(f"{option}.{name}", "it is not a single value", "Give a text")


def texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    """Return labels or annotations as the API takes them: texts only. YAML's true becomes "true"."""
    return {str(name): str(value).lower() if isinstance(value, bool) else str(value) for name, value in (values or {}).items()}


def spec_of(options: Mapping[str, Any], backup_name: str) -> dict[str, Any]:
    """Return the spec of the Restore that the options ask for."""
    spec: dict[str, Any] = {"backupName": backup_name}
    for option, name in LISTS.items():
        if options.get(option):
            spec[name] = [str(item) for item in options[option]]
    for option, name in PLAIN.items():
        if options.get(option) is not None:
            spec[name] = options[option]
    if options.get("namespace_mapping"):
        spec["namespaceMapping"] = {str(source): str(target) for source, target in options["namespace_mapping"].items()}
    if options.get("selector"):
        spec["labelSelector"] = selector.parse(options["selector"])
    if options.get("or_selectors"):
        spec["orLabelSelectors"] = [selector.parse(text) for text in options["or_selectors"]]
    if options.get("restore_status"):
        status = options["restore_status"]
        spec["restoreStatus"] = {LISTS[name]: list(status[name]) for name in RESOURCE_LISTS if status.get(name)}
    if options.get("resource_modifier_configmap"):
        spec["resourceModifier"] = {"kind": "configmap", "name": str(options["resource_modifier_configmap"])}
    if options.get("item_operation_timeout") is not None:
        spec["itemOperationTimeout"] = duration.canonical(str(options["item_operation_timeout"]))
    uploader = {
        name: options[option]
        for option, name in (("write_sparse_files", "writeSparseFiles"), ("parallel_files_download", "parallelFilesDownload"))
        if options.get(option) is not None
    }
    if uploader:
        spec["uploaderConfig"] = uploader
    return spec


def canonical(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a restore's spec with everything that means the same written the same, and without what the server fills in."""
    copy: dict[str, Any] = json.loads(json.dumps(spec))
    result: dict[str, Any] = {"backupName": copy.get("backupName") or ""}
    for name in ("includedNamespaces", "includedResources"):
        listed = sorted(item for item in copy.get(name) or [])
        result[name] = [] if any(item in WHOLE for item in listed) else listed
    result["excludedNamespaces"] = sorted(copy.get("excludedNamespaces") or [])
    result["excludedResources"] = sorted(set(copy.get("excludedResources") or []) - set(NEVER_RESTORED))
    result["namespaceMapping"] = copy.get("namespaceMapping") or {}
    result["existingResourcePolicy"] = copy.get("existingResourcePolicy") or "none"
    result["labelSelector"] = selector.shown(copy.get("labelSelector")) or None
    result["orLabelSelectors"] = sorted(selector.shown(item) for item in copy.get("orLabelSelectors") or []) or None
    for name in ("restoreStatus", "resourceModifier"):
        result[name] = copy.get(name) or None
    for name in ("restorePVs", "includeClusterResources"):
        result[name] = copy.get(name)
    result["preserveNodePorts"] = bool(copy.get("preserveNodePorts"))
    result["hooks"] = {name: value for name, value in (copy.get("hooks") or {}).items() if value}
    uploader = copy.get("uploaderConfig") or {}
    result["uploaderConfig"] = {name: value for name, value in uploader.items() if value}
    return result


def differing(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Return the names of the options in which two specs ask for different restores."""
    left, right = canonical(wanted), canonical(there)
    found = {option_of(name) for name in left if left[name] != right[name]}
    if wanted.get("itemOperationTimeout") is not None and not _same_duration(wanted["itemOperationTimeout"], there.get("itemOperationTimeout")):
        found.add("item_operation_timeout")
    return sorted(found)


def _same_duration(left: Any, right: Any) -> bool:
    try:
        return duration.nanoseconds(str(left)) == duration.nanoseconds(str(right))
    except ValueError:
        return bool(left == right)


def option_of(field: str) -> str:
    """Return the option that a field of the spec comes from ("uploaderConfig.writeSparseFiles" too)."""
    whole, field = field, field.split(".", maxsplit=1)[0]
    others = {
        "backupName": "backup_name",
        "namespaceMapping": "namespace_mapping",
        "labelSelector": "selector",
        "orLabelSelectors": "or_selectors",
        "restoreStatus": "restore_status",
        "resourceModifier": "resource_modifier_configmap",
        "itemOperationTimeout": "item_operation_timeout",
        "uploaderConfig": "parallel_files_download" if whole.endswith("parallelFilesDownload") else "write_sparse_files",
    }
    return {name: option for option, name in (*LISTS.items(), *PLAIN.items())}.get(field) or others.get(field, field)


def in_scope(name: str, included: Iterable[str] | None, excluded: Iterable[str] | None) -> bool:
    """Tell whether a name is within a pair of lists; an empty list of included names, and "*", mean all."""
    inside = list(included or [])
    return (not inside or any(item in WHOLE or item == name for item in inside)) and name not in (excluded or [])


def takes_resource(spec: Mapping[str, Any], plural: str, *others: str) -> bool:
    """Tell whether a restore takes objects of a kind. others: further names that users give to it ("pvc")."""
    included, excluded = spec.get("includedResources") or [], spec.get("excludedResources") or []
    names = {plural, *others}
    return (not included or any(item in WHOLE or item in names for item in included)) and not names & set(excluded)


PODS = ("pods", "pod", "po")
CLAIMS = ("persistentvolumeclaims", "persistentvolumeclaim", "pvc")
VOLUMES = ("persistentvolumes", "persistentvolume", "pv")


def takes_volume_data(spec: Mapping[str, Any]) -> bool:
    """Tell whether a restore brings file-system backups of volumes back: only with pods, claims *and* volumes among its resources."""
    return all(takes_resource(spec, *names) for names in (PODS, CLAIMS, VOLUMES))


def takes_namespace(spec: Mapping[str, Any], namespace: str) -> bool:
    """Tell whether a restore takes a namespace of the backup."""
    return in_scope(namespace, spec.get("includedNamespaces"), spec.get("excludedNamespaces"))


def target_of(spec: Mapping[str, Any], namespace: str) -> str:
    """Return the namespace that a namespace of the backup is restored into."""
    return str((spec.get("namespaceMapping") or {}).get(namespace, namespace))


def is_excluded(namespace: str, claim: str, patterns: Iterable[str]) -> bool:
    """Tell whether a claim needs no copy, by the option excluded_volumes."""
    return any(fnmatch.fnmatchcase(f"{namespace}/{claim}", pattern) for pattern in patterns)
