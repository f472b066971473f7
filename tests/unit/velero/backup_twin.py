# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A twin of an API server and a Velero that makes and deletes backups, on one made-up clock, for tests without I/O."""

from __future__ import annotations

import copy
import email.utils
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Answer, Broken, Effect, Request, Transport
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import objects
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.exchange import explain
from ansible_collections.serverops.circleci.plugins.module_utils._velero import download_request, selector

Object = dict[str, Any]
ZERO = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
OLD = "2026-11-01T00:00:00Z"


class VeleroTwin:
    """Objects by "kind/namespace/name", and a Velero that works on them as time passes.

    seconds: how long a backup takes. outcome: what becomes of a backup (phase and what else its status has). copied: claims ("app/data") that
    get a finished copy. faults: for each write in turn None, "lost" (done, answer lost), "cut" (not done, answer lost) or a status. forbidden:
    kinds that may not be read. stored: documents of the store by (kind, backup); reachable: whether they can be fetched from here.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.store: dict[str, Object] = {}
        self.version = 0
        self.seconds = 10.0
        self.outcome: Callable[[Object], Object] = lambda backup: {"phase": "Completed"}
        self.copied: list[str] = ["app/data"]
        self.faults: list[Any] = []
        self.writes: list[str] = []
        self.requests: list[str] = []
        self.forbidden: set[str] = set()
        self.stored: dict[tuple[str, str], Any] = {}
        self.reachable = True
        self.serving = True
        self.deletion_errors: list[str] = []
        for name, made in (("kube-system", OLD), ("velero", OLD), ("app", OLD)):
            self.put("namespaces", "", name, {"metadata": {"creationTimestamp": made}})
        self.put(
            "backupstoragelocations",
            "velero",
            "default",
            {"spec": {"default": True}, "status": {"phase": "Available", "lastValidationTime": OLD}},
        )
        self.claim("app/data")

    # what stands there

    def put(self, kind: str, namespace: str, name: str, item: Object) -> Object:
        self.version += 1
        made = copy.deepcopy(item)
        about = {"name": name, "namespace": namespace or None, "uid": f"uid-{self.version}", "creationTimestamp": self.stamp()}
        made["metadata"] = {**about, **made.get("metadata", {}), "resourceVersion": str(self.version)}
        self.store[f"{kind}/{namespace}/{name}"] = made
        return made

    def claim(self, key: str, phase: str = "Bound") -> None:
        namespace, _slash, name = key.partition("/")
        item = {"metadata": {"creationTimestamp": OLD}, "spec": {"volumeName": f"pv-{name}"} if phase == "Bound" else {}, "status": {"phase": phase}}
        self.put("persistentvolumeclaims", namespace, name, item)

    def backup(self, name: str, age: float | None = 60.0, claims: tuple[str, ...] = ("app/data",), **over: Any) -> Object:
        """A finished backup of namespace app that ended so many seconds ago; None is one under way."""
        ended = self.stamp(-(age or 0))
        status = {"phase": "Completed", "startTimestamp": ended, "completionTimestamp": ended} if age is not None else {"phase": "InProgress"}
        spec = {"includedNamespaces": ["app"], "storageLocation": "default", "ttl": "720h0m0s"}
        item = {"metadata": {"creationTimestamp": ended}, "spec": spec | over.pop("spec", {}), "status": status | over.pop("status", {})}
        self._copy(name, claims)
        self.stored[("BackupResourceList", name)] = {"v1/PersistentVolumeClaim": ["app/data"]}
        return self.put("backups", "velero", name, item)

    def _copy(self, backup: str, claims: tuple[str, ...] | list[str]) -> None:
        for number, key in enumerate(claims):
            namespace, _slash, name = key.partition("/")
            labels, annotations = {"velero.io/backup-name": backup}, {"velero.io/pvc-name": name}
            spec = {"pod": {"namespace": namespace, "name": "db-0"}, "volume": name, "node": "n1", "uploaderType": "kopia"}
            status = {"phase": "Completed", "snapshotID": "s", "progress": {"bytesDone": 7, "totalBytes": 7}}
            item = {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec, "status": status}
            self.put("podvolumebackups", "velero", f"{backup}-{number}", item)

    # time

    def stamp(self, seconds: float = 0.0) -> str:
        return (ZERO + timedelta(seconds=int(self.now + seconds))).strftime("%Y-%m-%dT%H:%M:%SZ")

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.serving:
            self._velero()

    def _velero(self) -> None:
        for key, item in list(self.store.items()):
            kind, namespace, name = key.split("/")
            if kind == "backups":
                self._work_on(name, item)
            elif kind == "downloadrequests" and (item["spec"]["target"]["kind"], item["spec"]["target"]["name"]) in self.stored:
                self.put(kind, namespace, name, item | {"status": {"downloadURL": _address(item["spec"]["target"])}})
            elif kind == "deletebackuprequests" and not item.get("status"):
                self._delete(name, item)

    def _work_on(self, name: str, item: Object) -> None:
        status = item.get("status") or {}
        if not status.get("phase"):
            spec = {"includedNamespaces": ["*"], "storageLocation": "default", "ttl": "720h0m0s"} | item["spec"]
            outcome = self.outcome(item)
            phase = "FailedValidation" if outcome["phase"] == "FailedValidation" else "InProgress"
            began = {"phase": phase, "startTimestamp": self.stamp(), "progress": {"totalItems": 2}}
            self.put("backups", "velero", name, item | {"spec": spec, "status": began | (outcome if phase != "InProgress" else {})})
        elif status["phase"] == "InProgress" and "startTimestamp" in status and self.now >= self._began(status) + self.seconds:
            self._copy(name, self.copied)
            self.stored.setdefault(("BackupResourceList", name), {"v1/PersistentVolumeClaim": ["app/data"]})
            ended = {"completionTimestamp": self.stamp(), "progress": {"itemsBackedUp": 2, "totalItems": 2}}
            self.put("backups", "velero", name, item | {"status": status | ended | self.outcome(item)})

    @staticmethod
    def _began(status: Object) -> float:
        return (datetime.fromisoformat(status["startTimestamp"]) - ZERO).total_seconds()

    def _delete(self, name: str, item: Object) -> None:
        if self.deletion_errors:
            self.put("deletebackuprequests", "velero", name, item | {"status": {"phase": "Processed", "errors": list(self.deletion_errors)}})
            return
        wanted = item["spec"]["backupName"]
        for key, other in list(self.store.items()):
            kind = key.split("/", 1)[0]
            of_it = kind in {"restores", "deletebackuprequests"} and other["spec"]["backupName"] == wanted
            if of_it or key == f"backups/velero/{wanted}":
                del self.store[key]

    # the API server

    def __call__(self, request: Request, _timeout: float) -> Answer:
        self.sleep(0.01)
        self.requests.append(f"{request.method} {request.path}")
        kind, namespace, name = self._where(request.path)
        if kind in self.forbidden:
            return self.answer(403, {"kind": "Status", "message": "no", "details": {"name": "x"}})
        if request.method == "GET":
            return self._read(kind, namespace, name, request)
        if request.effect is Effect.WRITE:
            self.writes.append(f"{request.method} {kind}")
            fault = self.faults.pop(0) if self.faults else None
            if isinstance(fault, int):
                return self.answer(fault, {"kind": "Status", "message": "no", "details": {"name": "x"}})
            if fault == "cut":
                raise Broken("cut", sent=True)
            answer = self._write(kind, namespace, name, request)
            if fault == "lost":
                raise Broken("cut", sent=True)
            return answer
        return self._write(kind, namespace, name, request)

    @staticmethod
    def _where(path: str) -> tuple[str, str, str]:
        parts = path.strip("/").split("/")
        rest = parts[3:] if parts[0] == "apis" else parts[2:]
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        return (*[*rest, "", ""][:1], namespace, [*rest, "", ""][1]) if rest else ("", "", "")

    def _read(self, kind: str, namespace: str, name: str, request: Request) -> Answer:
        if not kind:
            return self.answer(200, {"gitVersion": "v1.36.2"})
        if name:
            item = self.store.get(f"{kind}/{namespace}/{name}")
            return self.answer(200, item) if item else self.answer(404, {"kind": "Status", "message": "gone", "details": {"name": name}})
        found = [item for key, item in sorted(self.store.items()) if key.startswith(f"{kind}/{namespace}/" if namespace else f"{kind}/")]
        wanted = selector.parse(request.query["labelSelector"]) if request.query.get("labelSelector") else None
        found = [item for item in found if selector.matches(wanted, item["metadata"].get("labels"))]
        return self.answer(200, {"items": found, "metadata": {"resourceVersion": str(self.version)}})

    def _write(self, kind: str, namespace: str, name: str, request: Request) -> Answer:
        if request.method == "DELETE":
            return self.answer(200, self.store.pop(f"{kind}/{namespace}/{name}", {"metadata": {}}))
        assert request.method == "POST"
        name = request.body["metadata"]["name"]
        if f"{kind}/{namespace}/{name}" in self.store:
            return self.answer(409, {"kind": "Status", "reason": "AlreadyExists", "details": {"name": name}})
        return self.answer(201, self.put(kind, namespace, name, request.body))

    def answer(self, status: int, document: Object) -> Answer:
        date = email.utils.format_datetime(ZERO + timedelta(seconds=int(self.now)), usegmt=True)
        return Answer(status, {"content-type": "application/json", "date": date}, json.dumps(document).encode())

    # what stands between a task and it

    def api(self, context: Context, seconds: float) -> objects.Api:
        deadline = Deadline(seconds, clock=lambda: self.now, sleep=self.sleep)
        return objects.Api(Transport(self, context.guard(), deadline, explain, context.record))

    def snapshots(self, api: objects.Api, kind: Any, namespace: str, name: str, *, deadline: Deadline, **_rest: Any) -> Iterator[Object | None]:
        """In place of the watch: a look every half a second."""
        while not deadline.over and not api.transport.deadline.over:
            yield api.get(kind, namespace, name)
            self.sleep(0.5)


def _address(target: Object) -> str:
    return f"http://store/{target['kind']}/{target['name']}?signature-that-is-secret"


class Fetching(download_request.Store):
    """A store whose addresses lead to the twin's documents."""

    twin: VeleroTwin

    def _read(self, url: str, _location: Any) -> download_request.Fetched:
        if not self.twin.reachable:
            return download_request.Fetched(None, "the store's address store is not reachable from here: refused")
        _store, kind, name = url.partition("?")[0].removeprefix("http://").split("/")
        found = self.twin.stored.get((kind, name))
        if found is None:
            return download_request.Fetched(None, "the store at store does not have it", missing=True)
        return download_request.Fetched(json.dumps(found).encode())
