# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster past the proxy: brings a storage location into a wanted state, and tells what is really there."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.faults.fault_proxy import Upstream

LOCATION = "faulted"
SECRET = "faulted-credentials"
KEY = "cloud"
OWNER = {"labels": {"app.kubernetes.io/managed-by": "serverops.circleci"}, "annotations": {"serverops.circleci/storage-location": LOCATION}}
"""What the module writes on a Secret that it makes for a location; part of its contract, so written here in full."""
SERVER = "velero-server"
PERIOD = "15s"
"""Time between two validations of the location: what has to wait for the next one does not take a minute."""


@dataclass(frozen=True)
class Location:
    """A state of the location under test. account: whose credentials its own Secret has."""

    prefix: str
    account: str
    bucket: str = ""
    default: bool = False
    access_mode: str = "ReadWrite"

    @property
    def usable(self) -> bool:
        """Tell whether Velero can work with it: it names no bucket of its own, which would not exist."""
        return not self.bucket


@dataclass(frozen=True)
class Store:
    """The object store of the suite: bucket, the location's config, the credentials file of each account, and the server's access log."""

    bucket: str
    config: dict[str, str]
    credentials: dict[str, str]
    accounts: dict[str, str]
    access_log: Path


class Cluster:
    """Velero's objects in one namespace, through a connection of its own."""

    def __init__(self, upstream: Upstream, namespace: str, store: Store) -> None:
        self.namespace = namespace
        self.store = store
        self._upstream = upstream
        self._connection: http.client.HTTPSConnection | None = None
        self._log_mark = 0
        self.locations = f"/apis/velero.io/v1/namespaces/{namespace}/backupstoragelocations"
        self.secrets = f"/api/v1/namespaces/{namespace}/secrets"
        self.status_requests = f"/apis/velero.io/v1/namespaces/{namespace}/serverstatusrequests"

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """Send a request; return status and document."""
        headers = {"User-Agent": "fault-suite", "Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json"}
        data = json.dumps(body) if body is not None else None
        for _unused in range(2):
            if self._connection is None:
                self._connection = self._upstream.connect()
            try:
                self._connection.request(method, path, body=data, headers=headers)
                response = self._connection.getresponse()
                return response.status, json.loads(response.read() or b"{}")
            except (OSError, http.client.HTTPException):
                with contextlib.suppress(OSError):
                    self._connection.close()
                self._connection = None
        raise RuntimeError(f"{method} {path}: the API server does not answer")

    def _wanted(self, method: str, path: str, body: Any = None, *others: int) -> dict[str, Any]:
        status, document = self.ask(method, path, body)
        if status >= 300 and status not in others:
            raise RuntimeError(f"{method} {path}: {status} {document.get('message')}")
        return document

    def location(self, name: str = LOCATION) -> dict[str, Any] | None:
        """Return a location."""
        status, document = self.ask("GET", f"{self.locations}/{name}")
        return document if status == 200 else None

    def secret(self) -> dict[str, Any] | None:
        """Return the location's own Secret."""
        status, document = self.ask("GET", f"{self.secrets}/{SECRET}")
        return document if status == 200 else None

    def defaults(self) -> list[str]:
        """Return the names of the locations that are the default."""
        items = self._wanted("GET", self.locations)["items"]
        return sorted(item["metadata"]["name"] for item in items if item["spec"].get("default"))

    def spec(self, wanted: Location) -> dict[str, Any]:
        """Return the spec that a state has in the cluster, in full."""
        return {
            "provider": "aws",
            "objectStorage": {"bucket": wanted.bucket or self.store.bucket, "prefix": f"{self.namespace}-{wanted.prefix}"},
            "config": dict(self.store.config),
            "credential": {"name": SECRET, "key": KEY},
            "accessMode": wanted.access_mode,
            "default": wanted.default,
            "validationFrequency": PERIOD,
        }

    def _data(self, wanted: Location) -> dict[str, str]:
        return {KEY: base64.b64encode(self.store.credentials[wanted.account].encode()).decode()}

    # what is there

    def differences(self, wanted: Location | None) -> list[str]:
        """Return in words what is not as in the state; nothing when all is."""
        location, secret = self.location(), self.secret()
        if wanted is None:
            return [f"{what} is still there" for what, found in (("the location", location), ("its own Secret", secret)) if found is not None]
        if location is None:
            return ["the location is not there"]
        found = _normal(location["spec"])
        asked = _normal(self.spec(wanted))
        told = [
            f"{name} is {found.get(name)}, wanted {asked.get(name)}"
            for name in sorted(found.keys() | asked.keys())
            if found.get(name) != asked.get(name)
        ]
        if secret is None:
            told.append("its Secret is not there")
        elif secret.get("data") != self._data(wanted):
            told.append("its Secret has another content")
        if wanted.default and self.defaults() != [LOCATION]:
            told.append(f"the defaults are {self.defaults()}")
        return told

    def unproven(self) -> list[str]:
        """Return in words what speaks against the location being validated in its present state: own reckoning, not the module's."""
        location, secret = self.location(), self.secret()
        if location is None:
            return ["the location is not there"]
        status = location.get("status") or {}
        stamp = time_of(status.get("lastValidationTime"))
        # Velero reads a Secret through a cache, so that a validation in the very second of its change says nothing
        changed = max([*written(location, "f:spec"), *(moment + timedelta(seconds=1) for moment in written(secret or {}, "f:data"))], default=None)
        if status.get("phase") != "Available":
            return [f"Velero says {status.get('phase')}: {status.get('message')}"]
        if stamp is None or (changed is not None and stamp < changed):
            return [f"the last validation is of {stamp}, the last change of {changed}"]
        return []

    def mark(self) -> None:
        """Begin to look into the store's access log from here on."""
        self._log_mark = self.store.access_log.stat().st_size

    def unasked(self, wanted: Location) -> list[str]:
        """Return in words that nobody listed the location's folder with its credentials since the mark; nothing when somebody did."""
        with self.store.access_log.open("rb") as log:
            log.seek(self._log_mark)
            lines = log.read().decode(errors="replace").splitlines()
        account, folder = self.store.accounts[wanted.account], f"prefix={self.namespace}-{wanted.prefix}%2F 200 "
        asked = any(f" {account} " in line and folder in line for line in lines)
        return [] if asked else [f"the store was not asked for {folder.partition(' ')[0]} by {account} since the task began"]

    # stages

    def stage(self, wanted: Location | None) -> None:
        """Bring the location and its Secret into a state, and wait until Velero has judged it. The location `default` is the default unless it is."""
        self._stage_default(wanted)
        if wanted is None:
            self._wanted("DELETE", f"{self.locations}/{LOCATION}", None, 404)
            self._wanted("DELETE", f"{self.secrets}/{SECRET}", None, 404)
            self._until(lambda: not self.differences(None), "the location is gone")
            return
        if not self.differences(wanted) and self._judged(wanted, None):
            return
        secret = self.secret()
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, **OWNER}, "type": "Opaque", "data": self._data(wanted)}
        if secret is None:
            self._wanted("POST", self.secrets, body)
        elif secret["data"] != body["data"]:
            self._wanted("PATCH", f"{self.secrets}/{SECRET}", {"data": body["data"]})
        self._next_second()
        location = self.location()
        document: dict[str, Any] = {"apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "spec": self.spec(wanted)}
        if location is not None and _normal(location["spec"]) == _normal(document["spec"]):
            # a spec that differs in nothing would not be validated anew
            self._wanted("DELETE", f"{self.locations}/{LOCATION}")
            location = None
        if location is None:
            self._wanted("POST", self.locations, document | {"metadata": {"name": LOCATION}})
        else:
            kept = {
                "metadata": {"name": LOCATION, "resourceVersion": location["metadata"]["resourceVersion"]},
                "status": location.get("status") or {},
            }
            self._wanted("PUT", f"{self.locations}/{LOCATION}", document | kept)
        self._stage_default(wanted)
        before = time_of(((location or {}).get("status") or {}).get("lastValidationTime"))
        self._until(lambda: not self.differences(wanted) and self._judged(wanted, before), f"Velero judges {wanted}")

    def _stage_default(self, wanted: Location | None) -> None:
        other = not (wanted is not None and wanted.default)
        found = self.location("default")
        if found is None:
            raise RuntimeError(f"namespace {self.namespace} has no location default")
        if bool(found["spec"].get("default")) != other:
            self._wanted("PATCH", f"{self.locations}/default", {"spec": {"default": other}})

    def _judged(self, wanted: Location, before: datetime | None) -> bool:
        status = (self.location() or {}).get("status") or {}
        stamp = time_of(status.get("lastValidationTime"))
        new = stamp is not None and (before is None or stamp > before)
        return new and status.get("phase") == ("Available" if wanted.usable else "Unavailable") and (not wanted.usable or not self.unproven())

    def _next_second(self) -> None:
        """Let the second of the last validation and of the last write to the Secret pass: stamps are whole seconds."""
        stamp = time_of(((self.location() or {}).get("status") or {}).get("lastValidationTime"))
        for moment in [*([stamp] if stamp else []), *written(self.secret() or {}, "f:data")]:
            left = (moment + timedelta(seconds=1)).timestamp() - time.time()
            time.sleep(min(1.0, max(0.0, left)))

    def _until(self, done: Any, what: str, seconds: float = 60) -> None:
        ends = time.monotonic() + seconds
        while not done():
            if time.monotonic() > ends:
                raise RuntimeError(f"namespace {self.namespace}: waited {seconds:.0f} s until {what}; there is {json.dumps(self.location())}")
            time.sleep(0.1)

    def old_status_requests(self, age: float) -> list[str]:
        """Return the names of ServerStatusRequests that are older than so many seconds."""
        items = self._wanted("GET", self.status_requests)["items"]
        now = time.time()
        created = {item["metadata"]["name"]: time_of(item["metadata"]["creationTimestamp"]) for item in items}
        return [name for name, time_made in created.items() if time_made is not None and now - time_made.timestamp() > age]


def _normal(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a spec without what says nothing: absent, empty, the default."""
    return {name: value for name, value in spec.items() if value not in (None, "", {}, False) and (name, value) != ("accessMode", "ReadWrite")}


def time_of(text: str | None) -> datetime | None:
    """Return a Kubernetes timestamp."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def written(document: dict[str, Any], part: str) -> list[datetime]:
    """Return when anybody but Velero's server wrote a part of an object."""
    entries = (document.get("metadata") or {}).get("managedFields") or []
    times = [time_of(entry.get("time")) for entry in entries if entry.get("manager") != SERVER and part in (entry.get("fieldsV1") or {})]
    return [time for time in times if time is not None]
