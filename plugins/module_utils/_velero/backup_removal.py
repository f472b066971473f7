# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing a backup with what it stores, so that it stays away: by a DeleteBackupRequest, and proven.

A Backup object that is deleted itself comes back with the server's next look into the bucket. The exceptions are those of which nothing is
in the bucket: one that Velero refused (FailedValidation), and one whose name was taken there by another.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Plan, Step
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, Forbidden, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Done, Pending, wait
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.watch import snapshots
from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_progress, backup_template, backup_view, volume_copies

Document = dict[str, Any]

UID_LABEL = "velero.io/backup-uid"
PROCESSED = "Processed"
TROUBLE_AFTER = 10.0
"""Seconds without progress after which it is looked whether a server runs."""
SHOWN = 10
REOPENS = "re-establish on BSL change"
"""Part of the error of a removal soon after a change of the location (1.17.2): the server opens its repository anew every five minutes."""
AFTER_A_CHANGE = "Run the task again in five minutes: after a change of its location Velero first opens the repository of the copies anew"


@dataclass(frozen=True)
class Observed:
    """What exists: the backup, the requests to delete it, the Restores made from it, its storage location (None when it is not there)."""

    backup: Document | None
    requests: tuple[Document, ...] = ()
    restores: tuple[str, ...] = ()
    location: Document | None = None


@dataclass
class Removal:
    """One backup that is not wanted."""

    options: Mapping[str, Any]
    api: Api
    context: Context
    _looked: float | None = field(default=None, init=False)
    _trouble: str = field(default="", init=False)

    @property
    def _name(self) -> str:
        return str(self.options["name"])

    @property
    def _namespace(self) -> str:
        return str(self.options["namespace"])

    @property
    def _target(self) -> str:
        return resource.BACKUP.target(self._namespace, self._name)

    # read

    def read(self) -> Observed:
        """Read the backup, and when it is there what its removal concerns."""
        try:
            backup = self.api.get(resource.BACKUP, self._namespace, self._name)
        except Absent:
            return Observed(None)
        if backup is None:
            return Observed(None)
        name = backup_view.storage_location(backup)
        location = self.api.get(resource.BACKUP_STORAGE_LOCATION, self._namespace, name) if name else None
        return Observed(backup, self._requests(), self._restores(), location)

    def _requests(self) -> tuple[Document, ...]:
        """Return the requests to delete the backup; those that others made may lack the label."""
        return tuple(self.api.scan(resource.DELETE_BACKUP_REQUEST, self._namespace, lambda item: item if self._is_of(item) else None))

    def _restores(self) -> tuple[str, ...]:
        try:
            found = self.api.scan(resource.RESTORE, self._namespace, lambda item: str(item["metadata"]["name"]) if self._is_of(item) else None)
        except Forbidden:
            return ()
        return tuple(sorted(found))

    def _is_of(self, item: Mapping[str, Any]) -> bool:
        return (item.get("spec") or {}).get("backupName") == self._name

    # plan

    def plan(self, observed: Observed) -> Plan:
        """Return the step that removes it. Pure."""
        backup = observed.backup
        if backup is None:
            return Plan()
        before: Document = {"backup": {"name": self._name, **backup_template.template_of(backup.get("spec") or {})}}
        phase = backup_view.phase_of(backup)
        taken = backup_view.TAKEN in str((backup.get("status") or {}).get("failureReason") or "")
        if "deletionTimestamp" in backup["metadata"]:
            return Plan((), before, {})  # it is on its way out, held by a finalizer
        if phase == "FailedValidation" or taken:
            uid = str(backup["metadata"]["uid"])
            step = Step(resource.delete(resource.BACKUP, self._namespace, self._name, uid=uid), "nothing of it is in the store")
            told = [f"{self._target}: the store holds another backup of this name; Velero lists it at its next look there."] if taken else []
            return Plan((step,), before, {}, tuple(told))
        if phase not in backup_view.FINAL | {backup_view.DELETING}:
            raise NotProven("remove", self._target, f"Velero still works on it (phase {phase})", "Wait until it is finished")
        if observed.restores:
            before["restores"] = list(observed.restores)
        warnings = [self._of_restores(observed.restores)] if observed.restores else []
        request = self._request_of(backup, observed.requests)
        if any(self._is_under_way(item) or item["metadata"]["name"] == request["metadata"]["name"] for item in observed.requests):
            return Plan((), before, {}, tuple(warnings))
        self._refuse_location(backup, observed.location)
        step = Step(resource.create(resource.DELETE_BACKUP_REQUEST, self._namespace, request), "the backup is not wanted")
        return Plan((step,), before, {}, tuple(warnings))

    def _of_restores(self, names: tuple[str, ...]) -> str:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return f"{self._target}: the Restore objects made from it go with it: {', '.join(names[:SHOWN])}{more}. What they restored stays."

    @staticmethod
    def _is_under_way(request: Mapping[str, Any]) -> bool:
        return (request.get("status") or {}).get("phase") != PROCESSED

    def _request_of(self, backup: Mapping[str, Any], requests: tuple[Document, ...]) -> Document:
        """Return the request to make. Its name depends on the backup and the requests that failed before, so that a lost one is found again."""
        failed = sorted(str(item["metadata"]["uid"]) for item in requests if not self._is_under_way(item) and not self._is_own(item))
        uid = str(backup["metadata"]["uid"])
        mark = hashlib.sha256("\n".join([uid, *failed]).encode()).hexdigest()[:10]
        labels = {volume_copies.BACKUP_LABEL: volume_copies.label_value(self._name), UID_LABEL: uid}
        return {"metadata": {"name": f"{self._name[:240]}-{mark}", "labels": labels}, "spec": {"backupName": self._name}}

    def _is_own(self, request: Mapping[str, Any]) -> bool:
        """Tell whether this task made a request."""
        name = request["metadata"]["name"]
        return any(sent.method == "POST" and (sent.body or {}).get("metadata", {}).get("name") == name for sent in self.context.record.written)

    def _refuse_location(self, backup: Mapping[str, Any], location: Mapping[str, Any] | None) -> None:
        """Refuse what Velero would refuse, before anything is written."""
        name = backup_view.storage_location(backup)
        if location is None:
            raise NotProven(
                "remove",
                self._target,
                f"its storage location {name} is not there, so what it stores cannot be removed",
                "Make the location again (velero_storage_location), or remove it with its Backup objects",
            )
        if (location.get("spec") or {}).get("accessMode") == "ReadOnly":
            raise NotProven("remove", self._target, f"its storage location {name} is read-only", "Set its access_mode to ReadWrite first")
        status = location.get("status") or {}
        if status.get("phase") == "Unavailable":
            message = f": {status['message']}" if status.get("message") else ""
            seen = f"its storage location {name} is Unavailable{message}"
            raise NotProven("remove", self._target, seen, "Repair it first (velero_storage_location)")

    # apply and prove

    def apply(self, step: Step) -> None:
        """Send a step."""
        self.api.carry_out(step.request)

    def predicted(self, plan: Plan, observed: Observed) -> Document:
        """Return the result's part for check mode."""
        return {"backup": None}

    def prove(self, plan: Plan, observed: Observed) -> Document:
        """Look until the backup, its Restores and the requests to delete it are gone."""
        if observed.backup is None and not self.context.record.written:
            return {"backup": None}
        deadline = self.api.transport.deadline
        uid = str(observed.backup["metadata"]["uid"]) if observed.backup else ""
        by_request = not any(sent.method == "DELETE" for sent in self.context.record.written)
        seen = snapshots(self.api, resource.BACKUP, self._namespace, self._name, deadline=deadline)

        def judge(backup: Document | None) -> Done | Pending:
            if backup is not None and (not uid or backup["metadata"]["uid"] == uid):
                return Pending(self._left(backup, by_request=by_request))
            if not by_request:
                return Done(None, "gone")
            left = [item for item in self._requests() if not uid or (item["metadata"].get("labels") or {}).get(UID_LABEL, uid) == uid]
            restores = self._restores()
            if left or restores:
                self._raise_errors(left)
                names = [f"DeleteBackupRequest {item['metadata']['name']}" for item in left] + [f"Restore {name}" for name in restores]
                return Pending(f"the backup is gone; still there: {', '.join(names[:SHOWN])}")
            return Done(None, "gone")

        waited = wait(seen, judge, deadline, self.context.progress, "remove", self._target, "Look into the log of Velero's server")
        return {"backup": None, "waited": waited.shown()}

    def _left(self, backup: Mapping[str, Any], *, by_request: bool) -> str:
        finalizers = ", ".join(backup["metadata"].get("finalizers") or [])
        text = f"still there, phase {backup_view.phase_of(backup)}{f', held by finalizers {finalizers}' if finalizers else ''}"
        if not by_request:
            return text
        requests = self._requests()
        self._raise_errors(requests)
        states = sorted({str((item.get("status") or {}).get("phase") or "New") for item in requests})
        return f"{text}, request {', '.join(states) or 'not there'}{self._why(requests)}"

    def _why(self, requests: tuple[Document, ...]) -> str:
        """Return what keeps a request from being worked on, looked at now and then."""
        now = self.api.transport.deadline.elapsed()
        self._looked = now if self._looked is None else self._looked
        if now - self._looked >= TROUBLE_AFTER and requests:
            self._looked = now
            workers = backup_progress.read_workers(self.api, self._namespace)
            self._trouble = f"; {workers.problem}" if workers and workers.problem else ""
        return self._trouble

    def _raise_errors(self, requests: tuple[Document, ...] | list[Document]) -> None:
        """Raise what the server says when it has given up; requests that failed before this task are past."""
        if any(self._is_under_way(item) for item in requests):
            return
        own = [item for item in requests if self._is_own(item)] or list(requests)
        errors = [str(text) for item in own for text in (item.get("status") or {}).get("errors") or []]
        if errors:
            raise NotProven(
                "remove",
                self._target,
                f"Velero could not remove it: {self.context.mask.text(backup_view.shortened(errors))}",
                AFTER_A_CHANGE if any(REOPENS in text for text in errors) else "Correct the cause and run the task again",
            )
