# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and changing Kubernetes objects over a transport, with what each operation needs to be true: pages, lost answers, conflicts.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import base64
import email.utils
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import AnswerLost, Expired, Malformed, OperationError, refused
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Answer, Request, Transport
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource as requests
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.exchange import explain, unknown_kind
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.resource import Resource

Document = dict[str, Any]
Kept = TypeVar("Kept")
Verbs = list[str]

LOOK_SECONDS = 3.0
"""How long an object whose creation got no answer is looked for: the request may still be on its way."""
LOOK_PAUSES = (0.0, 0.3, 0.7, 2.0)


@dataclass(frozen=True)
class Listing:
    """All objects of a list, and the resourceVersion at which they were read."""

    items: list[Document]
    resource_version: str


class Api:
    """The objects of one cluster."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._date: tuple[datetime, float] | None = None

    def send(self, request: Request) -> Answer:
        """Send a request; remembers the server's clock."""
        answer = self.transport.send(request)
        stamp = email.utils.parsedate_to_datetime(answer.headers["date"]) if "date" in answer.headers else None
        if stamp is not None:
            self._date = (stamp, time.monotonic())
        return answer

    def server_time(self) -> datetime:
        """Return the time on the server's clock (whole seconds, UTC): of its last answer, plus what has passed since."""
        if self._date is None:
            self.send(requests.server_version())
        if self._date is None:
            raise Malformed("read", "the server's clock", "its answers have no Date header", "Look what stands between here and the API server")
        stamp, at = self._date
        return stamp + timedelta(seconds=int(time.monotonic() - at))

    def server_version(self) -> Document:
        """Return the API server's /version document (gitVersion, major, minor)."""
        return _document(requests.server_version(), self.send(requests.server_version()))

    def get(self, resource: Resource, namespace: str, name: str) -> Document | None:
        """Return an object, or None when it is not there. Raises Absent when the server does not know the kind."""
        request = requests.get(resource, namespace, name)
        answer = self.send(request)
        if answer.status == 404:
            if unknown_kind(answer):
                raise refused(request.operation, request.target, 404, *explain(request, answer))
            return None
        return _document(request, answer)

    def list(
        self, resource: Resource, namespace: str = "", *, label_selector: str = "", field_selector: str = "", metadata_only: bool = False
    ) -> Listing:
        """Return all objects of a kind in a namespace (in all of them when it is empty), read in pages.

        When the server has dropped the list between two pages, it is read once more from the start. Raises Absent when the server
        does not know the kind. metadata_only: without spec and status.
        """
        try:
            return self._pages(resource, namespace, label_selector, field_selector, metadata_only)
        except Expired:
            return self._pages(resource, namespace, label_selector, field_selector, metadata_only)

    def scan(self, resource: Resource, namespace: str, keep: Callable[[Document], Kept | None], *, label_selector: str = "") -> tuple[Kept, ...]:
        """Return what `keep` makes of each object of a kind (None leaves it out), page by page, so that long lists need little memory.

        When the server has dropped the list between two pages, it is read once more from the start.
        """
        try:
            return self._scanned(resource, namespace, keep, label_selector)
        except Expired:
            return self._scanned(resource, namespace, keep, label_selector)

    def _scanned(self, resource: Resource, namespace: str, keep: Callable[[Document], Kept | None], label_selector: str) -> tuple[Kept, ...]:
        pages = self._each_page(resource, namespace, label_selector, "", metadata_only=False)
        return tuple(kept for page in pages for kept in map(keep, page.items) if kept is not None)

    def _pages(self, resource: Resource, namespace: str, label_selector: str, field_selector: str, metadata_only: bool) -> Listing:
        items: list[Document] = []
        version = ""
        for page in self._each_page(resource, namespace, label_selector, field_selector, metadata_only=metadata_only):
            items += page.items
            version = page.resource_version
        return Listing(items, version)

    def _each_page(self, resource: Resource, namespace: str, label_selector: str, field_selector: str, *, metadata_only: bool) -> Iterator[Listing]:
        token = ""
        while True:
            request = requests.list_page(
                resource,
                namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                continue_token=token,
                metadata_only=metadata_only,
            )
            page = _document(request, self.send(request))
            if "items" not in page or not isinstance(page["items"] or [], list):
                raise Malformed(request.operation, request.target, "the answer is not a list", "Check the address of the server")
            # items of a list do not say what they are
            items = [{"apiVersion": resource.api_version, "kind": resource.kind} | item for item in page["items"] or []]
            about = page.get("metadata") or {}
            yield Listing(items, str(about.get("resourceVersion") or ""))
            token = str(about.get("continue") or "")
            if not token:
                return

    def create(self, resource: Resource, namespace: str, body: Mapping[str, Any], *, known_uid: str = "", dry_run: bool = False) -> Document:
        """Make an object and return it as the server stored it. Raises Conflict when the name is taken.

        When the answer got lost, the object is looked up by its name: one that has what was sent, and is not the one that was
        there before (known_uid), is ours. Otherwise AnswerLost is raised: it is never sent twice.
        """
        return self._made(requests.create(resource, namespace, body, dry_run=dry_run), known_uid)

    def carry_out(self, request: Request) -> None:
        """Send a planned request. A creation whose answer got lost is looked up by its name, never sent again."""
        if request.method == "POST":
            self._made(request, "")
        else:
            self.send(request)

    def _made(self, request: Request, known_uid: str) -> Document:
        try:
            return _document(request, self.send(request))
        except AnswerLost:
            found = self._looked_up(request, known_uid)
            if found is None:
                raise
            return found

    def _looked_up(self, request: Request, known_uid: str) -> Document | None:
        name = str(request.body.get("metadata", {}).get("name") or "")
        if not name:
            return None  # a generated name: nothing to look for
        look = Request("GET", f"{request.path}/{quote(name, safe=':')}", "look for", request.target, accept=(404,))
        for pause in LOOK_PAUSES:
            self.transport.deadline.pause(pause)
            try:
                answer = self.send(look)
            except OperationError:
                return None
            if answer.status == 404:
                continue
            found = _document(look, answer)
            if found["metadata"]["uid"] != known_uid:
                return found if holds(found, request.body) else None
        return None

    def patch(
        self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any], *, subresource: str = "", dry_run: bool = False
    ) -> Document:
        """Change fields by a merge patch (null removes, lists are replaced) and return the object."""
        request = requests.merge_patch(resource, namespace, name, patch, subresource=subresource, dry_run=dry_run)
        return _document(request, self.send(request))

    def json_patch(
        self, resource: Resource, namespace: str, name: str, operations: Iterable[Mapping[str, Any]], *, subresource: str = ""
    ) -> Document:
        """Change an object by RFC 6902 operations and return it."""
        request = requests.json_patch(resource, namespace, name, operations, subresource=subresource)
        return _document(request, self.send(request))

    def apply(
        self,
        resource: Resource,
        namespace: str,
        body: Mapping[str, Any],
        *,
        field_manager: str = requests.FIELD_MANAGER,
        force: bool = False,
        dry_run: bool = False,
    ) -> Document:
        """Apply an object on the server's side and return it. Raises Conflict, which names managers and fields, unless force is given."""
        request = requests.server_side_apply(resource, namespace, body, field_manager=field_manager, force=force, dry_run=dry_run)
        return _document(request, self.send(request))

    def replace(self, resource: Resource, namespace: str, body: Mapping[str, Any], *, subresource: str = "") -> Document:
        """Put a whole object in the place of the one with the same resourceVersion, and return it. Raises Conflict when it has changed."""
        request = requests.replace(resource, namespace, body, subresource=subresource)
        return _document(request, self.send(request))

    def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str = "", resource_version: str = "", propagation: str = "Background"
    ) -> Document | None:
        """Delete an object; return it (it may stay until its finalizers are done), or None when it was not there (any more).

        Give its uid: an object of the same name that somebody made since is then left alone (Conflict).
        """
        request = requests.delete(resource, namespace, name, uid=uid, resource_version=resource_version, propagation=propagation)
        answer = self.send(request)
        return None if answer.status == 404 else _document(request, answer)

    def access(self, verb: str, resource: Resource, namespace: str = "", *, name: str = "", subresource: str = "") -> bool:
        """Ask the server whether we may do something; an empty namespace asks for all of them."""
        request = requests.access_review(verb, resource, namespace, name=name, subresource=subresource)
        return bool((_document(request, self.send(request)).get("status") or {}).get("allowed"))

    def missing_verbs(self, verbs: Iterable[str], resource: Resource, namespace: str = "") -> Verbs:
        """Return those of the verbs that we may not do."""
        return [verb for verb in verbs if not self.access(verb, resource, namespace)]

    def pod_log(self, namespace: str, pod: str, *, container: str = "", tail_lines: int = 100, previous: bool = False) -> str:
        """Return the last lines of a container's log. Raises Invalid while the container has not started, Absent when the pod is gone."""
        request = requests.log(namespace, pod, container=container, tail_lines=tail_lines, previous=previous)
        return self.send(request).body.decode("utf-8", "replace")


def holds(found: Any, sent: Any) -> bool:
    """Tell whether an object has everything that was sent: mappings may have more, all else is equal. stringData is looked for in data."""
    if isinstance(sent, Mapping):
        if not isinstance(found, Mapping):
            return False
        for name, value in sent.items():
            if value is None:
                continue
            if name == "stringData" and isinstance(value, Mapping):
                if not holds(found.get("data") or {}, {key: _base64(str(text)) for key, text in value.items()}):
                    return False
            elif value in ({}, []) and name not in found:
                continue
            elif name not in found or not holds(found[name], value):
                return False
        return True
    if isinstance(sent, list):
        return isinstance(found, list) and len(found) == len(sent) and all(holds(left, right) for left, right in zip(found, sent, strict=True))
    return bool(found == sent)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _document(request: Request, answer: Answer) -> Document:
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        kind = answer.headers.get("content-type", "no content type")
        raise Malformed(
            request.operation,
            request.target,
            f"the answer (status {answer.status}, {kind}) is not a JSON object",
            "Check that the address is that of a Kubernetes API server",
        )
    return document
