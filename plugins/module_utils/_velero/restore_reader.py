# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can be found out about one restore: its volumes, what it made, its results in the store, and the namespaces that it went to.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Forbidden
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    backup_reader,
    backup_view,
    download_request,
    restore_options,
    restore_outcome,
    restore_view,
    validation,
    volume_copies,
)

Document = dict[str, Any]
LOG_LINES = 50
"""Lines at the end of a restore's log that are shown."""


@dataclass
class Reader:
    """Reads restores of one Velero. What several restores have in common (backups, stores) is read once."""

    api: Api
    context: Context
    namespace: str
    _store: download_request.Store | None = field(default=None, init=False)
    _backups: dict[str, Document | None] = field(default_factory=dict, init=False)
    _copies: dict[str, list[volume_copies.Volume]] = field(default_factory=dict, init=False)

    def backup_of(self, restore: Document) -> Document | None:
        """Return the backup that a restore is made from, None when it is not there (any more)."""
        name = str((restore.get("spec") or {}).get("backupName") or "")
        if name and name not in self._backups:
            self._backups[name] = self.api.get(resource.BACKUP, self.namespace, name)
        return self._backups.get(name)

    def copies_of(self, restore: Document) -> list[volume_copies.Volume]:
        """Return the copies of volumes that a restore's backup has and the cluster knows."""
        name = str((restore.get("spec") or {}).get("backupName") or "")
        backup = self.backup_of(restore)
        if backup is not None and name not in self._copies:
            self._copies[name] = volume_copies.read(self.api, self.namespace, backup)
        return self._copies.get(name, [])

    def namespaces(self, restore: Document) -> dict[str, str]:
        """Return the namespaces of the backup that a restore takes, as far as they are named anywhere, each with the one that it goes to."""
        spec, scope = restore.get("spec") or {}, (self.backup_of(restore) or {}).get("spec") or {}
        sources = {str(copy["namespace"]) for copy in self.copies_of(restore)} | set(spec.get("namespaceMapping") or {})
        sources |= {str(name) for names in (scope.get("includedNamespaces"), spec.get("includedNamespaces")) for name in names or []}
        return {
            source: restore_options.target_of(spec, source)
            for source in sorted(sources)
            if not set(source) & set("*?") and restore_options.takes_namespace(spec, source)
        }

    def lost(self, restore: Document, wanted: Iterable[restore_outcome.Wanted], brought: restore_outcome.Brought) -> list[str]:
        """Return in words what of a finished restore is not there any more: namespaces that are gone or were made anew, claims."""
        completed = validation.parse_time((restore.get("status") or {}).get("completionTimestamp"))
        found = []
        for target in sorted(set(self.namespaces(restore).values())):
            try:
                there = self.api.get(resource.NAMESPACE, "", target)
            except Forbidden:
                continue
            born = validation.parse_time(there["metadata"].get("creationTimestamp")) if there else None
            if there is None:
                found.append(f"namespace {target} does not exist")
            elif born and completed and born > completed:
                found.append(f"namespace {target} is newer than the restore")
        claims = [item for item in wanted if restore_outcome.is_lost(item, brought)]
        return found + [f"claim {item.namespace}/{item.claim} is not the one that it made" for item in claims]

    def fetch(self, kind: str, restore: Document) -> download_request.Fetched:
        """Return a document of a finished restore from the store."""
        if self._store is None:
            self._store = download_request.Store(self.api, self.context, self.namespace, backup_reader.locations_of(self.api, self.namespace))
        phase = restore_view.phase_of(restore)
        if phase == "FailedValidation" or phase not in restore_view.FINISHED:
            return download_request.Fetched(None, f"a restore that is {phase} has nothing in the store")
        backup = self.backup_of(restore)
        location = backup_view.storage_location(backup) if backup else None
        return self._store.fetch(kind, str(restore["metadata"]["name"]), location or "")

    def results(self, restore: Document) -> dict[str, list[str]] | None:
        """Return the errors and warnings of a finished restore in words; None where the store does not give them."""
        return backup_view.results_in_words(self.fetch("RestoreResults", restore).json())

    def details(self, restore: Document, gather: Iterable[str]) -> restore_view.Details:
        """Return what can be found out. gather: of volumes, workloads, results, log."""
        wanted, name = set(gather), str(restore["metadata"]["name"])
        found = restore_view.Details(namespaces=self.namespaces(restore))
        brought = restore_outcome.Brought()
        if wanted & {"volumes", "workloads"}:
            brought = restore_outcome.read_brought(self.api, name, found.namespaces.values())
        if "volumes" in wanted:
            spec = restore.get("spec") or {}
            expected = restore_outcome.wanted_volumes(self.copies_of(restore), spec, brought.pod_names if restore_outcome.selects(spec) else None)
            found.volumes = restore_outcome.with_claims(restore_outcome.read_volumes(self.api, self.namespace, name), expected)
            found.missing = [item.text for item in restore_outcome.missing_volumes(expected, found.volumes)]
            found.counted = self.backup_of(restore) is not None
            found.claims = restore_outcome.claim_views(brought)
            found.lost = self.lost(restore, expected, brought) if restore_view.phase_of(restore) == "Completed" else ()
        if "workloads" in wanted:
            found.workloads = restore_outcome.workload_views(brought)
        if "results" in wanted:
            fetched = self.fetch("RestoreResults", restore)
            found.results, found.unreached = backup_view.results_in_words(fetched.json()), fetched.reason or None
        if "log" in wanted:
            fetched = self.fetch("RestoreLog", restore)
            found.log_tail = fetched.data.decode("utf-8", "replace").splitlines()[-LOG_LINES:] if fetched.data is not None else None
            found.unreached = found.unreached or fetched.reason or None
        return found
