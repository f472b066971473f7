# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which fields of a Velero object the cluster would keep: an API server drops unknown ones without a word.

Read from the live custom resource definition; where that may not be read, from the server's version.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import DeadlineOver, Forbidden, InputError
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.resource import Resource
from ansible_collections.serverops.circleci.plugins.module_utils._velero import server

Path = tuple[str, ...]

SINCE: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "Backup": {
        "metadata": (1, 7),
        "orLabelSelectors": (1, 9),
        "csiSnapshotTimeout": (1, 9),
        "defaultVolumesToFsBackup": (1, 10),
        "includedClusterScopedResources": (1, 11),
        "excludedClusterScopedResources": (1, 11),
        "includedNamespaceScopedResources": (1, 11),
        "excludedNamespaceScopedResources": (1, 11),
        "itemOperationTimeout": (1, 11),
        "resourcePolicy": (1, 11),
        "snapshotMoveData": (1, 12),
        "datamover": (1, 12),
        "uploaderConfig": (1, 13),
        "volumeGroupSnapshotLabelKey": (1, 17),
    },
    "Restore": {
        "preserveNodePorts": (1, 6),
        "existingResourcePolicy": (1, 9),
        "restoreStatus": (1, 9),
        "orLabelSelectors": (1, 9),
        "itemOperationTimeout": (1, 11),
        "resourceModifier": (1, 12),
        "uploaderConfig": (1, 13),
    },
    "Schedule": {"useOwnerReferencesInBackup": (1, 6), "paused": (1, 10), "skipImmediately": (1, 13)},
}
"""By kind the fields of a spec that came after 1.5, and with which release."""


@dataclass(frozen=True)
class Fields:
    """What is known of a kind's spec: its schema, or else the release line of the server; neither when it cannot be known."""

    kind: str
    schema: Mapping[str, Any] | None = None
    line: tuple[int, int] | None = None

    def knows(self, *path: str) -> bool:
        """Tell whether the cluster keeps a field of the spec; True where it cannot be known."""
        if self.schema is not None:
            return _has(self.schema, path)
        since = SINCE.get(self.kind, {}).get(path[0])
        return self.line is None or since is None or self.line >= since

    def dropped(self, spec: Mapping[str, Any]) -> list[str]:
        """Return the fields of a spec that the API server would drop, as in "uploaderConfig.parallelFilesUpload"."""
        if self.schema is not None:
            return [".".join(path) for path in _unknown(self.schema, spec)]
        return [name for name in spec if not self.knows(name)]


def needed(kind: str, spec: Mapping[str, Any]) -> bool:
    """Tell whether a spec has a field that not every release knows; a spec of base fields needs no look at the cluster."""
    return any(name in SINCE.get(kind, {}) for name in spec)


def read(api: Api, kind: Resource, namespace: str, path: Path = ("spec",)) -> Fields:
    """Return what is known of a kind's fields. path: from the object to what is looked at, as in ("spec", "template")."""
    try:
        definition = api.get(resource.CUSTOM_RESOURCE_DEFINITION, "", f"{kind.plural}.{kind.group}")
    except Forbidden:
        return Fields(kind.kind, line=_line(api, namespace))
    for version in ((definition or {}).get("spec") or {}).get("versions") or []:
        if version.get("name") == kind.version and version.get("served"):
            schema: Any = (version.get("schema") or {}).get("openAPIV3Schema") or {}
            for name in path:
                schema = (schema.get("properties") or {}).get(name) or {}
            return Fields(kind.kind, schema=schema)
    return Fields(kind.kind)


def _line(api: Api, namespace: str) -> tuple[int, int] | None:
    try:
        answer = server.ask_once(api, namespace, api.transport.deadline)
    except (Forbidden, DeadlineOver):
        return None
    return server.minor_version(answer[0]) if answer else None


def refuse_dropped(fields: Fields, spec: Mapping[str, Any], option_of: Callable[[str], str]) -> None:
    """Refuse a spec of which the cluster would drop a field. option_of: the option that a field comes from."""
    for name in fields.dropped(spec):
        since = SINCE.get(fields.kind, {}).get(name.split(".", maxsplit=1)[0])
        from_release = f" (it came with Velero {since[0]}.{since[1]})" if since else ""
        raise InputError(
            option_of(name),
            f"the installed {fields.kind} has no field {name}{from_release}, so the API server would drop it without a word",
            "Leave the option out, or upgrade Velero and its custom resource definitions",
        )


def _has(schema: Mapping[str, Any], path: Iterable[str]) -> bool:
    for name in path:
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            return True
        properties = schema.get("properties") or {}
        if name not in properties:
            return bool(schema.get("additionalProperties"))
        schema = properties[name]
    return True


def _unknown(schema: Mapping[str, Any], value: Any, at: Path = ()) -> Iterator[Path]:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if isinstance(value, list):
        for item in value:
            yield from _unknown(schema.get("items") or {}, item, at)
        return
    if not isinstance(value, Mapping) or not (schema.get("properties") or at == ()):
        return
    for name, item in value.items():
        inner = (schema.get("properties") or {}).get(name)
        if inner is not None:
            yield from _unknown(inner, item, (*at, name))
        elif not schema.get("additionalProperties"):
            yield (*at, name)
