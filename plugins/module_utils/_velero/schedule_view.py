# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a schedule is shown to a person: its spec in the words of the options, and when it runs next.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_template, cron, validation

Document = Mapping[str, Any]


def spec_view(name: str, spec: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a schedule's wanted side in the words of the options; what is not set is left out.

    Without skip_immediately: the server sets it back once it has done it.
    """
    view: dict[str, Any] = {
        "name": name,
        "schedule": spec.get("schedule"),
        "paused": bool(spec.get("paused")),
        "use_owner_references_in_backup": bool(spec.get("useOwnerReferencesInBackup")),
        "template": backup_template.template_of(spec.get("template") or {}),
    }
    for kind in ("labels", "annotations"):
        if (metadata or {}).get(kind):
            view[kind] = dict((metadata or {})[kind])
    return view


def next_run(schedule: Document, now: datetime) -> str | None:
    """Return when Velero makes the next backup, as a timestamp in UTC; None while it is paused, or when it cannot be known.

    Velero counts from the last backup, or from the time when the schedule was made or last skipped, and looks once a minute whether the time
    has come: a run that is overdue comes at its next look.
    """
    spec, status = schedule.get("spec") or {}, schedule.get("status") or {}
    if spec.get("paused"):
        return None
    try:
        read = cron.parse(str(spec.get("schedule") or ""))
    except ValueError:
        return None
    created, last, skipped = (
        validation.parse_time(text)
        for text in ((schedule.get("metadata") or {}).get("creationTimestamp"), status.get("lastBackup"), status.get("lastSkipped"))
    )
    base = last or created or now
    if skipped is not None and skipped > base:
        base = skipped
    found = read.next_run(base)
    return validation.shown_time(max(found, now)) if found else None


def newest_good(backups: Iterable[Document]) -> dict[str, Any] | None:
    """Return name and end of the newest backup that is Completed without errors; None when there is none."""
    good = [item for item in backups if (item.get("status") or {}).get("phase") == "Completed" and not (item.get("status") or {}).get("errors")]
    newest = max(good, key=lambda item: str(item["status"].get("completionTimestamp") or ""), default=None)
    return {"name": newest["metadata"]["name"], "completed": newest["status"].get("completionTimestamp")} if newest else None


def shown(schedule: Document, now: datetime, backups: Iterable[Document] = ()) -> dict[str, Any]:
    """Return a schedule as results show it."""
    metadata, spec, status = schedule.get("metadata") or {}, schedule.get("spec") or {}, schedule.get("status") or {}
    return {
        "name": metadata.get("name"),
        "namespace": metadata.get("namespace"),
        "phase": status.get("phase") or None,
        "schedule": spec.get("schedule"),
        "paused": bool(spec.get("paused")),
        "use_owner_references_in_backup": bool(spec.get("useOwnerReferencesInBackup")),
        "next_run": next_run(schedule, now),
        "last_backup": status.get("lastBackup") or None,
        "last_good_backup": newest_good(backups),
        "validation_errors": list(status.get("validationErrors") or []),
        "template": backup_template.template_of(spec.get("template") or {}),
    }
