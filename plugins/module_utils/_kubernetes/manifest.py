# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Named objects as manifests that can be applied again, the addresses of Services, and whether one may do something.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Definition
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import arguments as login
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource, session
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.resource import Resource

KINDS: dict[str, Resource] = {kind.kind: kind for kind in (resource.CONFIG_MAP, resource.SECRET, resource.SERVICE)}
"""The kinds that are read."""

ARGUMENTS: dict[str, dict[str, Any]] = {
    **login.ARGUMENTS,
    "objects": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "kind": {"type": "str", "required": True, "choices": list(KINDS)},
            "namespace": {"type": "str", "required": True},
            "name": {"type": "str"},
            "selector": {"type": "str"},
        },
    },
    "access": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "verb": {"type": "str", "required": True},
            "group": {"type": "str", "default": ""},
            "resource": {"type": "str", "required": True},
            "namespace": {"type": "str", "default": ""},
        },
    },
}

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME = re.compile(rf"{_NAMESPACE.pattern}(\.{_NAMESPACE.pattern})*")
_WORD = re.compile(r"[a-z]+")
_GROUP = re.compile(rf"|{_NAME.pattern}")
SERVERS_OWN = ("creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields", "ownerReferences",
               "resourceVersion", "selfLink", "uid")  # fmt: skip
"""Fields of metadata that belong to the object that was read, and not to one that is made of its manifest."""
SERVICES_OWN = ("clusterIP", "clusterIPs", "healthCheckNodePort")
"""Fields of a Service's spec that its cluster gave it."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def manifest(item: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what its server wrote into it: it can be applied to another cluster, and is equal as long as nobody changes it."""
    metadata = {name: value for name, value in item["metadata"].items() if name not in SERVERS_OWN}
    annotations = {name: value for name, value in (metadata.get("annotations") or {}).items() if name != LAST_APPLIED}
    metadata = {name: value for name, value in metadata.items() if name != "annotations"} | ({"annotations": annotations} if annotations else {})
    kept = {name: value for name, value in item.items() if name not in ("metadata", "status")}
    if item["kind"] == resource.SERVICE.kind and isinstance(kept.get("spec"), Mapping):
        headless = kept["spec"].get("clusterIP") == "None"
        kept["spec"] = {name: value for name, value in kept["spec"].items() if name not in SERVICES_OWN or (headless and name == "clusterIP")}
        for port in kept["spec"].get("ports") or []:
            port.pop("nodePort", None)
    return kept | {"metadata": metadata}


def addresses(service: Mapping[str, Any]) -> list[str]:
    """Return where a load balancer answers: addresses and host names of a Service's status, in its order."""
    entries = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return [str(entry.get("hostname") or entry.get("ip")) for entry in entries if entry.get("hostname") or entry.get("ip")]


def shown(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object as the result has it."""
    entry: dict[str, Any] = {"kind": item["kind"], "namespace": item["metadata"]["namespace"], "name": item["metadata"]["name"]}
    if item["kind"] == resource.SERVICE.kind:
        entry |= {"type": (item.get("spec") or {}).get("type") or "ClusterIP", "addresses": addresses(item)}
    return entry | {"manifest": manifest(item)}


def check(options: Mapping[str, Any]) -> None:
    """Refuse what Kubernetes would not take as a name; sends nothing."""
    for entry in options["objects"]:
        _matches("objects.namespace", entry["namespace"], _NAMESPACE)
        if entry.get("name") is not None:
            _matches("objects.name", entry["name"], _NAME)
            if entry.get("selector") is not None:
                raise InputError("objects.selector", f"it was given together with the name {entry['name']!r}", "Leave out one of the two")
    for entry in options["access"]:
        _matches("access.verb", entry["verb"], _WORD)
        _matches("access.group", entry["group"], _GROUP)
        _matches("access.resource", entry["resource"], _WORD)
        if entry["namespace"]:
            _matches("access.namespace", entry["namespace"], _NAMESPACE)


def _matches(option: str, value: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(value) or len(value) > 253:
        raise InputError(option, f"{value!r} is not what Kubernetes takes there", "Use lower-case letters and digits as the API has it")


def find(options: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return the objects that are there, the names of those that are not, and what of the access is allowed."""
    check(options)
    api = session.log_in(options, context)
    found: list[dict[str, Any]] = []
    missing: list[str] = []
    for wanted in options["objects"]:
        items = _items(api, wanted)
        if not items and wanted.get("name") is not None:
            missing.append(KINDS[wanted["kind"]].target(wanted["namespace"], wanted["name"]))
        # what was asked for twice is there once
        found += [entry for entry in map(shown, items) if entry not in found]
    access = [dict(wanted) | {"allowed": _allowed(api, wanted)} for wanted in options["access"]]
    return {"changed": False, "objects": found, "missing": missing, "access": access}


def _items(api: Api, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    kind = KINDS[wanted["kind"]]
    if wanted.get("name") is not None:
        item = api.get(kind, wanted["namespace"], wanted["name"])
        return [item] if item else []
    items = api.list(kind, wanted["namespace"], label_selector=wanted.get("selector") or "").items
    return sorted(items, key=lambda item: str(item["metadata"]["name"]))


def _allowed(api: Api, wanted: Mapping[str, Any]) -> bool:
    return api.access(wanted["verb"], Resource(wanted["group"], "", wanted["resource"], wanted["resource"]), wanted["namespace"])


DEFINITION = Definition("kubernetes_info", ARGUMENTS, find, secrets=login.secrets_in)
