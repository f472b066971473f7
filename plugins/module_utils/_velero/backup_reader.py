# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can be found out about one backup: its copies of volumes, its own lists in the store, the cluster's claims, and what follows.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, Forbidden
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_template, backup_view, coverage, volume_copies
from ansible_collections.serverops.circleci.plugins.module_utils._velero.download_request import Fetched, Store

Document = dict[str, Any]
LOG_LINES = 50
"""Lines at the end of a backup's log that are shown."""


def locations_of(api: Api, namespace: str) -> dict[str, Document]:
    """Return the storage locations by name; none where they may not be read."""
    try:
        return {item["metadata"]["name"]: item for item in api.list(resource.BACKUP_STORAGE_LOCATION, namespace).items}
    except (Absent, Forbidden):
        return {}


@dataclass
class Reader:
    """Reads backups of one Velero. What several backups have in common (claims, pods, stores) is read once.

    excluded_volumes: claims that need no copy, as "namespace/claim" with patterns of a shell. from_store: whether a backup's own lists are
    read from the store (two requests and two downloads for each), or its claims judged by what is in the cluster now.
    """

    api: Api
    context: Context
    namespace: str
    excluded_volumes: Iterable[str] = ()
    from_store: bool = True
    locations: Mapping[str, Document] | None = None
    _store: Store | None = field(default=None, init=False)
    _namespaces: dict[str, str] | None = field(default=None, init=False)
    _volumes: dict[str, Document] | None = field(default=None, init=False)
    _live: dict[tuple[str, ...], coverage.Live] = field(default_factory=dict, init=False)

    @property
    def store(self) -> Store:
        """Return the stores, made at the first use."""
        if self._store is None:
            known = self.locations if self.locations is not None else locations_of(self.api, self.namespace)
            self._store = Store(self.api, self.context, self.namespace, known)
        return self._store

    def entry(self, backup: Mapping[str, Any], gather: Iterable[str] = ("volumes",)) -> backup_view.Entry:
        """Return a backup as results show it. gather: of volumes, results, log."""
        return backup_view.shown(backup, self.details(backup, gather), self.api.server_time())

    def details(
        self, backup: Mapping[str, Any], gather: Iterable[str] = ("volumes",), volumes: list[volume_copies.Volume] | None = None
    ) -> backup_view.Details:
        """Return what can be found out about a backup. volumes: its copies, where they were read already."""
        wanted, name, phase = set(gather), str(backup["metadata"]["name"]), backup_view.phase_of(backup)
        copies = volumes if volumes is not None else volume_copies.read(self.api, self.namespace, backup) if "volumes" in wanted else []
        asked = _Asked(self.store if self._may_ask(phase, wanted) else None, name, backup_view.storage_location(backup) or "")
        found = backup_view.NOT_READ
        if "volumes" in wanted and phase == "Completed":
            found, copies = self._coverage(backup, copies, asked)
        results = log = None
        status = backup.get("status") or {}
        troubled = bool(status.get("errors")) or phase == "PartiallyFailed"
        if "results" in wanted or (troubled and asked.store is not None):
            results = backup_view.results_in_words(asked.json("BackupResults"))
        if "log" in wanted:
            log = _tail(asked.fetch("BackupLog"))
        gone = asked.gone if phase == "Completed" else ""
        return backup_view.Details(copies, found, results, log, asked.unreached, gone)

    def _may_ask(self, phase: str, wanted: set[str]) -> bool:
        # for a backup that Velero refused nothing is in the store, and the server never answers
        in_store = phase in backup_view.FINAL - {"FailedValidation"}
        return in_store and (self.from_store or bool(wanted & {"results", "log"}))

    def _coverage(
        self, backup: Mapping[str, Any], copies: list[volume_copies.Volume], asked: _Asked
    ) -> tuple[coverage.Coverage, list[volume_copies.Volume]]:
        spec = backup.get("spec") or {}
        scope = coverage.listed(asked.json("BackupResourceList")) if asked.store is not None else None
        live: coverage.Live | None = None
        if scope is None:
            live = self.live(spec)
            why = asked.unreached or asked.gone or "the backup's own list was not read"
            scope = coverage.guessed(backup, live, why)
        if any(volume["phase"] == volume_copies.DONE and not volume["claim"] for volume in copies) and _left(scope, copies):
            live = live or self.live(spec)
            copies = coverage.named(copies, live)
        skipped: dict[str, str] = {}
        if _left(scope, copies) and asked.store is not None:
            more, skipped = self._snapshots(backup, asked)
            copies = copies + [volume for volume in more if not _has(copies, volume)]
        if _left(scope, copies):
            live = live or self.live(spec)
            snapshots = _snapshots_counted(backup)
            if snapshots and (asked.store is None or asked.unreached):
                why = asked.unreached or "the store was not read"
                scope = coverage.Scope((), coverage.UNKNOWN, f"{why}, and of which claims it has {snapshots} snapshots stands there alone")
        return (
            coverage.judge(scope, copies, live or coverage.Live(), excluded_volumes=self.excluded_volumes, skipped=skipped, spec=spec),
            copies,
        )

    def _snapshots(self, backup: Mapping[str, Any], asked: _Asked) -> tuple[list[volume_copies.Volume], dict[str, str]]:
        """Return the snapshots of a backup, which stand in the store only; its form depends on the release."""
        infos = asked.fetch("BackupVolumeInfos")
        if infos.data is not None:
            return volume_copies.of_volume_infos(infos.json())
        status, found = backup.get("status") or {}, []
        if status.get("volumeSnapshotsCompleted"):
            live = self.live(backup.get("spec") or {})
            claims = {
                str((item.get("spec") or {}).get("volumeName")): (str(item["metadata"].get("namespace")), str(item["metadata"]["name"]))
                for item in live.claims or ()
            }
            found += volume_copies.of_native_snapshots(asked.json("BackupVolumeSnapshots"), claims)
        if status.get("csiVolumeSnapshotsCompleted"):
            found += volume_copies.of_csi_snapshots(asked.json("CSIBackupVolumeSnapshots"))
        return found, {}

    def live(self, spec: Mapping[str, Any]) -> coverage.Live:
        """Return claims, pods and volumes of the namespaces that a spec names; of all of them when it names none, or patterns."""
        named = tuple(sorted(spec.get("includedNamespaces") or ()))
        where = ("",) if not named or any("*" in name or "?" in name for name in named) else named
        if where not in self._live:
            self._live[where] = self._read_live(where)
        return self._live[where]

    def _read_live(self, where: tuple[str, ...]) -> coverage.Live:
        claims = self._all(resource.PERSISTENT_VOLUME_CLAIM, where)
        pods = self._all(resource.POD, where)
        if self._namespaces is None:
            found = self._all(resource.NAMESPACE, ("",), metadata_only=True)
            self._namespaces = {item["metadata"]["name"]: str(item["metadata"].get("creationTimestamp") or "") for item in found or ()}
        if claims and self._volumes is None:
            self._volumes = {item["metadata"]["name"]: item for item in self._all(resource.PERSISTENT_VOLUME, ("",)) or ()}
        return coverage.Live(claims, pods, self._volumes or {}, self._namespaces)

    def _all(self, kind: resource.Resource, where: tuple[str, ...], *, metadata_only: bool = False) -> tuple[Document, ...] | None:
        try:
            return tuple(item for namespace in where for item in self.api.list(kind, namespace, metadata_only=metadata_only).items)
        except Forbidden:
            return None


@dataclass
class _Asked:
    """The store as one backup sees it: what was asked for it, and what is known from the answers."""

    store: Store | None
    name: str
    location: str
    unreached: str | None = None
    gone: str = ""

    def json(self, kind: str) -> Any:
        """Return a document of the backup as JSON, None when there is none."""
        fetched = self.fetch(kind)
        document = fetched.json()
        if fetched.data is not None and document is None:
            # something else answers at the store's address
            self.unreached = self.unreached or f"what the store's address gave as {kind} is no JSON"
        return document

    def fetch(self, kind: str) -> Fetched:
        """Return a document of the backup; remembers why not."""
        if self.store is None:
            return Fetched(None, "the store was not asked")
        fetched = self.store.fetch(kind, self.name, self.location)
        if fetched.missing and kind == "BackupResourceList":
            # every release writes this one at the end of every backup
            self.gone = f"its contents are gone: {fetched.reason}"
        elif fetched.data is None and not fetched.missing and "does not offer" not in fetched.reason:
            self.unreached = self.unreached or fetched.reason
        return fetched


def _snapshots_counted(backup: Mapping[str, Any]) -> int:
    """Return how many snapshots Velero counts of a backup; of which volumes stands in the store."""
    status = backup.get("status") or {}
    return sum(int(status.get(name) or 0) for name in ("volumeSnapshotsCompleted", "csiVolumeSnapshotsCompleted"))


def _left(scope: coverage.Scope, copies: list[volume_copies.Volume]) -> bool:
    return bool(set(scope.claims) - volume_copies.finished_claims(copies))


def _has(copies: list[volume_copies.Volume], volume: volume_copies.Volume) -> bool:
    key = ("namespace", "claim", "method")
    return any(all(copy[name] == volume[name] for name in key) for copy in copies)


def _tail(fetched: Fetched) -> list[str] | None:
    if fetched.data is None:
        return None
    return fetched.data.decode("utf-8", "replace").splitlines()[-LOG_LINES:]


def template_of(backup: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a backup was asked to hold, in the words of the options."""
    return backup_template.template_of(backup.get("spec") or {})


def age(backup: Mapping[str, Any], now: datetime) -> float | None:
    """Return the seconds since a backup ended, None for one that has not."""
    ended = backup_view.completed_at(backup)
    return (now - ended).total_seconds() if ended else None
