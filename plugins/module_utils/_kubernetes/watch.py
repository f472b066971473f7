# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Following objects as they change: list, watch, and list again whenever the watch cannot be trusted any more.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import json
import math
import queue
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, cast

from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import DeadlineOver, Refused, Unreachable, refused
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Answer, Broken, Effect, Request
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource as requests
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.exchange import CHUNK, LONGEST_CONNECT, Exchange, explain
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api, Document
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.resource import Resource

WINDOW = 10
"""Seconds for which one watch is asked; the server ends it then, and a new one goes on where it stopped."""
GRACE = 3.0
"""Seconds after the end of its window at which a watch counts as hung."""
TICK = 1.0
LONGEST_PAUSE = 2.0
STALE_LISTS = 3
"""How many lists in a row that are older than what was seen already are thrown away before one is believed (a restored etcd)."""


def snapshots(
    api: Api,
    resource: Resource,
    namespace: str,
    name: str,
    *,
    deadline: Deadline | None = None,
    start_version: str = "",
    known: Document | None = None,
    tick: float = TICK,
) -> Iterator[Document | None]:
    """Yield one object (None when it is not there) at once, then whenever it changes, and about every `tick` seconds when it does not.

    deadline: the transport's by default; the iteration ends when it is over, without an error, so that the caller can say what was
    last seen. start_version and known: begin after a resourceVersion at which the object was read, without a list.
    Closed, hung and cut streams, lines that are no JSON and an expired resourceVersion lead to a new list. Raises what a list
    raises the first time; later on a server that is not reachable or busy is waited for, and only a refusal is raised (Forbidden
    names the verb "watch" when only that is missing).
    """
    view = _View(api, resource, namespace, name, "")
    view.start(start_version, [known] if known else [])
    for _unused in _follow(api, view, deadline or api.transport.deadline, tick):
        items = view.items()
        yield items[0] if items else None


def listings(
    api: Api,
    resource: Resource,
    namespace: str = "",
    *,
    label_selector: str = "",
    deadline: Deadline | None = None,
    start_version: str = "",
    known: Iterable[Document] = (),
    tick: float = TICK,
) -> Iterator[list[Document]]:
    """Yield all objects of a kind, sorted by namespace and name, as `snapshots` does for one. An empty namespace means all."""
    view = _View(api, resource, namespace, "", label_selector)
    view.start(start_version, known)
    for _unused in _follow(api, view, deadline or api.transport.deadline, tick):
        yield view.items()


def _follow(api: Api, view: _View, deadline: Deadline, tick: float) -> Iterator[None]:
    """Keep a view up to date; yield whenever it may have changed, and at least about every `tick` seconds."""
    view.ready()
    yield
    pause = 0.0
    while not deadline.over:
        began = time.monotonic()
        window = _Window(api, view.request(max(1, min(WINDOW, math.ceil(deadline.remaining())))))
        trusted = True
        try:
            for event in window.events(tick, deadline):
                if event is not None:
                    trusted = view.apply(event)
                    if not trusted:
                        break
                yield
            trusted = trusted and not window.broken
        finally:
            window.close()
        # a stream that ends at once, again and again, must not become a storm of requests
        pause = min(LONGEST_PAUSE, max(0.2, pause * 2)) if time.monotonic() - began < 1.0 else 0.0
        if not trusted and not deadline.over:
            view.read_again()
            yield
        if pause and not deadline.over:
            deadline.pause(pause)
            yield


class _View:
    """What is known of the objects, and at which resourceVersion."""

    def __init__(self, api: Api, resource: Resource, namespace: str, name: str, label_selector: str) -> None:
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._name = name
        self._label_selector = label_selector
        self._objects: dict[tuple[str, str], Document] = {}
        self._stale = 0
        self.version = ""

    def request(self, seconds: int) -> Request:
        return requests.watch(
            self._resource, self._namespace, resource_version=self.version, seconds=seconds, name=self._name, label_selector=self._label_selector
        )

    def start(self, version: str, known: Iterable[Document]) -> None:
        """Take what the caller has read already, if it has."""
        self.version = version
        if version:
            self.take(known)

    def ready(self) -> None:
        """List, unless the caller has."""
        if not self.version:
            self.read()

    def items(self) -> list[Document]:
        return [self._objects[key] for key in sorted(self._objects)]

    def take(self, items: Iterable[Document]) -> None:
        self._objects = {_key(item): item for item in items if not self._name or item["metadata"]["name"] == self._name}

    def read(self) -> None:
        selector = f"metadata.name={self._name}" if self._name else ""
        listing = self._api.list(self._resource, self._namespace, label_selector=self._label_selector, field_selector=selector)
        if _older(listing.resource_version, self.version) and self._stale < STALE_LISTS:
            self._stale += 1
            return
        self._stale = 0
        self.version = listing.resource_version
        self.take(listing.items)

    def read_again(self) -> None:
        """List anew. A server that is away or busy is left for the next round."""
        try:
            self.read()
        except (Unreachable, DeadlineOver):
            return
        except Refused as refusal:
            if refusal.status != 429 and (refusal.status or 0) < 500:
                raise

    def apply(self, event: Document) -> bool:
        """Take an event of a watch; False when it says that a new list is needed."""
        kind, item = event.get("type"), event.get("object")
        if kind not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK") or not isinstance(item, dict) or "metadata" not in item:
            return False
        self.version = str(item["metadata"].get("resourceVersion") or self.version)
        if kind == "BOOKMARK" or (self._name and item["metadata"].get("name") != self._name):
            return True
        if kind == "DELETED":
            self._objects.pop(_key(item), None)
        else:
            self._objects[_key(item)] = item
        return True


class _Window:
    """One watch request, read by a thread, so that whoever waits for it is not held up by a silent server."""

    def __init__(self, api: Api, request: Request) -> None:
        self._transport = api.transport
        self._exchange = cast(Exchange, api.transport.exchange)  # a stream is opened where whole answers come from
        self._request = request
        self._seconds = float(request.query["timeoutSeconds"])
        self._lines: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._socket: socket.socket | None = None
        self.broken = False
        self._transport.record.counts[Effect.READ] += 1
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def events(self, tick: float, deadline: Deadline) -> Iterator[Document | None]:
        """Yield events, and None when none came for `tick` seconds, until the stream ends; then `broken` tells how."""
        ends = time.monotonic() + self._seconds + GRACE + LONGEST_CONNECT
        while not deadline.over:
            try:
                came = self._lines.get(timeout=max(0.01, min(tick, deadline.remaining())))
            except queue.Empty:
                if time.monotonic() > ends:
                    self.broken = True
                    return
                yield None
                continue
            if came is None:
                return
            if isinstance(came, Answer):
                self._refused(came)
                return
            if isinstance(came, Exception):
                if not isinstance(came, Broken):
                    raise came
                self.broken = True
                return
            try:
                event = json.loads(came)
            except ValueError:
                event = None
            if not isinstance(event, dict):
                self.broken = True
                return
            yield event

    def _refused(self, answer: Answer) -> None:
        self.broken = True
        if answer.status == 401 and self._exchange.connection.renew():
            return
        if answer.status == 410 or answer.status == 429 or answer.status >= 500:
            return
        raise refused(self._request.operation, self._request.target, answer.status, *explain(self._request, answer))

    def _read(self) -> None:
        """Run in the thread: put lines, then None for a clean end, an Answer for an error status, or an exception."""
        try:
            with self._exchange.opened(self._request, LONGEST_CONNECT, self._seconds + GRACE) as response:
                self._socket = getattr(response.connection, "sock", None)
                rest = b""
                # without chunks urllib3 would wait until the buffer is full
                for chunk in response.stream(CHUNK if response.chunked or response.status != 200 else 1, decode_content=True):
                    rest += chunk
                    if response.status == 200 and b"\n" in rest:
                        *lines, rest = rest.split(b"\n")
                        for line in lines:
                            if line.strip():
                                self._lines.put(line)
                if response.status != 200:
                    headers = {name.lower(): value for name, value in response.headers.items()}
                    self._lines.put(Answer(response.status, headers, rest))
                elif rest.strip():
                    self._lines.put(Broken("the stream was cut within a line", sent=True))
                else:
                    self._lines.put(None)
        except Exception as error:  # noqa: BLE001  handed to the thread that waits
            named = type(error).__module__.startswith("ansible_collections.")
            self._lines.put(error if named else Broken(f"the stream broke ({type(error).__name__})", sent=True))

    def close(self) -> None:
        """End the thread's wait: shut the socket down below TLS, whose own shutdown is not made for two threads."""
        if self._thread.is_alive() and self._socket is not None:
            try:
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except (OSError, ValueError):
                return


def _key(item: Document) -> tuple[str, str]:
    about = item["metadata"]
    return str(about.get("namespace") or ""), str(about.get("name") or "")


def _older(version: str, than: str) -> bool:
    return version.isdigit() and than.isdigit() and int(version) < int(than)
