# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what a location needs is there, and the wait until it and its Secret are gone: the same for storage and for snapshot locations.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Forbidden
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Done, Pending, Waited, wait
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.resource import Resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.watch import snapshots

Document = dict[str, Any]


@dataclass(frozen=True)
class Neighbours:
    """A location and the others of its kind in the namespace, read by one request. namespace_exists: True also where that is not known."""

    location: Document | None
    others: tuple[Document, ...]
    namespace_exists: bool


def read(api: Api, kind: Resource, namespace: str, name: str) -> Neighbours:
    """Read a location with its neighbours. Raises Absent when the cluster does not know the kind."""
    items = api.list(kind, namespace).items
    location = next((item for item in items if item["metadata"]["name"] == name), None)
    others = tuple(item for item in items if item["metadata"]["name"] != name)
    return Neighbours(location, others, bool(items) or namespace_exists(api, namespace))


def namespace_exists(api: Api, namespace: str) -> bool:
    """Tell whether a namespace exists."""
    try:
        return api.get(resource.NAMESPACE, "", namespace) is not None
    except Forbidden:
        # rights in one namespace only: whether it exists shows at the first write
        return True


def judge_gone(seen: Document | None) -> Done | Pending:
    """Judge one look at what is to go."""
    if seen is None:
        return Done(None, "gone")
    finalizers = ", ".join(seen["metadata"].get("finalizers") or [])
    return Pending(f"still there{f', held by finalizers {finalizers}' if finalizers else ''}")


def wait_until_gone(api: Api, context: Context, kind: Resource, namespace: str, name: str) -> Waited[Any]:
    """Wait until a location is gone, and every Secret that the task has written to; return the wait for the location."""
    first = _gone(api, context, kind, namespace, name)
    for secret in _written_secrets(context, namespace):
        _gone(api, context, resource.SECRET, namespace, secret)
    return first


def _written_secrets(context: Context, namespace: str) -> Iterable[str]:
    start = resource.SECRET.path(namespace) + "/"
    return [request.path.removeprefix(start) for request in context.record.written if request.path.startswith(start)]


def _gone(api: Api, context: Context, kind: Resource, namespace: str, name: str) -> Waited[Any]:
    seen = snapshots(api, kind, namespace, name)
    deadline, target = api.transport.deadline, kind.target(namespace, name)
    return wait(seen, judge_gone, deadline, context.progress, "remove", target, "Look for finalizers on the object")
