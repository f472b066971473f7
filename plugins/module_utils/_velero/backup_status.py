# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the backups of an installation are worth, in one word: facts about Velero, its backups and the last drill -> findings -> state.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._velero import duration, location_view

FORMAT = 1
GOOD, STALE, BROKEN, NOTE = "good", "stale", "broken", "note"
WORST_FIRST = (BROKEN, STALE, NOTE)
"""Levels of findings. broken: nothing could be restored now, or no backup be made. stale: what there is, is not proven (any more).
note: worth doing, and no reason to doubt the last proven backup."""
FINAL = frozenset({"Completed", "PartiallyFailed", "Failed", "FailedValidation"})
STUCK = timedelta(hours=24)
"""A backup that is unfinished for longer is taken to be stuck: Velero itself gives the contents of a volume four hours."""
TIMELESS_LEFT_OUT = frozenset({"age", "generated", "digest", "until"})
"""Keys whose values change by the mere passing of time."""


@dataclass(frozen=True)
class Finding:
    """Something that a person should know: how bad it is, what was seen, and what to do about it."""

    level: str
    what: str
    do: str


def parsed(text: Any) -> datetime | None:
    """Return a time as Kubernetes writes it; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def written(moment: datetime) -> str:
    """Return a time as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown(text: Any) -> str:
    """Return a time for a person: "2026-11-28 12:30 UTC"."""
    found = parsed(text)
    return found.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if found else "?"


def in_words(seconds: float | None) -> str:
    """Return a length of time for a person, in its two largest units: "3 d 4 h", "12 min", "8 s"."""
    if seconds is None:
        return "?"
    if 0 < abs(seconds) < 1:
        return "under 1 s"
    left = round(abs(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return ("-" if seconds < 0 else "") + " ".join(parts)


def _listed(names: Iterable[str], most: int = 5) -> str:
    known = list(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more


def clock(backups: Iterable[Mapping[str, Any]], fallback: datetime) -> datetime:
    """Return the time on the API server's clock: that of the completion of a backup and the backup's age by that clock."""
    for backup in backups:
        completed, age = parsed(backup.get("completed")), backup.get("age")
        if completed and isinstance(age, int | float):
            return completed + timedelta(seconds=age)
    return fallback


def entry(backup: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return a backup of velero_backup_info as the page lists it."""
    volumes = backup.get("volumes") or []
    completed = parsed(backup.get("completed"))
    age = backup.get("age")
    if age is None and completed:
        age = (now - completed).total_seconds()
    return {
        "name": str(backup.get("name")),
        "phase": backup.get("phase") or "New",
        "good": backup.get("good"),
        "finished": (backup.get("phase") or "New") in FINAL,
        "verdict": backup.get("verdict") or "",
        "created": backup.get("created"),
        "started": backup.get("started"),
        "completed": backup.get("completed"),
        "expires": backup.get("expires"),
        "age": age,
        "duration": backup.get("duration"),
        "bytes": backup.get("bytes"),
        "errors": backup.get("errors") or 0,
        "warnings": backup.get("warnings") or 0,
        "volumes": len(volumes),
        "storage_location": backup.get("storage_location"),
        "schedule": backup.get("schedule"),
    }


def coverage(backup: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return which claims a backup has the contents of, which it has not and why, and which were left out on purpose."""
    if backup is None:
        return None
    covered = [
        {key: volume.get(key) for key in ("namespace", "claim", "pod", "volume", "method", "phase", "bytes")}
        for volume in backup.get("volumes") or []
        if volume.get("phase") == "Completed" or volume.get("phase") is None
    ]
    return {
        "backup": backup.get("name"),
        "known": backup.get("coverage") or "unknown",
        "covered": covered,
        "uncovered": [dict(item) for item in backup.get("uncovered") or []],
        "excluded": [str(name) for name in backup.get("excluded") or []],
    }


def velero_findings(velero: Mapping[str, Any] | None, namespace: str) -> Iterator[Finding]:
    """Yield what is wrong with the installation of Velero and its node agents."""
    if velero is None:
        yield Finding(BROKEN, f"There is no Velero in namespace {namespace}.", "Run the playbook velero.yml, or set status_namespace to Velero's.")
        return
    server = velero.get("server") or {}
    if not server.get("ready"):
        yield Finding(
            BROKEN,
            f"Velero's server does not work: {str(server.get('problem') or 'no reason is known').rstrip('.')}.",
            "Remove the cause, then run the playbook velero.yml, which proves that it works.",
        )
    for agent in velero.get("node_agents") or []:
        if not agent.get("ready"):
            words = ": ".join(str(agent[key]).rstrip(".") for key in ("reason", "message") if agent.get(key))
            yield Finding(
                NOTE,
                f"The node agent of {agent.get('node') or 'a node'} does not run{': ' + words if words else ''}.",
                "Until it runs, volumes of pods on this node get into no backup and out of none.",
            )


def location_findings(locations: Iterable[Mapping[str, Any]], needed: str | None) -> Iterator[Finding]:
    """Yield what is wrong with storage locations. needed: the location of the last proven backup."""
    known = list(locations)
    if not known:
        yield Finding(BROKEN, "Velero has no storage location.", "Run the playbook velero.yml with a bucket.")
        return
    for location in known:
        if location.get("phase") == "Available":
            continue
        matters = location.get("default") or location.get("name") == needed or len(known) == 1
        message = location_view.tidied(str(location.get("message") or "")).rstrip(".")
        yield Finding(
            BROKEN if matters else NOTE,
            f"Storage location {location.get('name')} is {location.get('phase') or 'not validated yet'}{': ' + message if message else ''}.",
            f"{location_view.next_step(message)}.",
        )
    if needed and needed not in {location.get("name") for location in known}:
        yield Finding(
            BROKEN,
            f"The last proven backup lies in storage location {needed}, which does not exist any more.",
            "Add a location of this name that points to the same bucket.",
        )


def backup_findings(
    backups: list[dict[str, Any]], proven: Mapping[str, Any] | None, target: float, now: datetime, may_have: int | None
) -> Iterator[Finding]:
    """Yield what is wrong with the backups, newest first. target: seconds that the last proven one may be old. may_have: see judge()."""
    finished = [backup for backup in backups if backup["finished"]]
    newest = finished[0] if finished else None
    if proven is None:
        if newest is None:
            seen = "There is no finished backup"
        elif newest["good"] is None:
            seen = f"No backup is proven; of the newest, {newest['name']}, it cannot be known whether it is good: {newest['verdict'].rstrip('.')}"
        else:
            seen = (
                f"No backup is good; the newest, {newest['name']}, is not because {newest['verdict'].rstrip('.') or 'it is ' + str(newest['phase'])}"
            )
        if may_have is not None and len(backups) >= may_have:
            seen += f" (the newest {may_have} were looked at)"
        yield Finding(BROKEN, f"{seen}.", "Remove the cause, then run the playbook backup.yml, which proves what it made.")
    elif proven["age"] is not None and proven["age"] > target:
        yield Finding(
            STALE,
            f"The last proven backup, {proven['name']}, is {in_words(proven['age'])} old; the target is {in_words(target)}.",
            "Run the playbook backup.yml, and look why the schedule made none.",
        )
    if proven is not None and newest is not None and newest["name"] != proven["name"]:
        reason = newest["verdict"].rstrip(".")
        said = f"The newest backup, {newest['name']}, is {newest['phase']} and not good"
        if newest["good"] is None:
            said = f"It cannot be known whether the newest backup, {newest['name']}, is good"
        yield Finding(NOTE, f"{said}{': ' + reason if reason else ''}.", "Remove the cause, then run the playbook backup.yml.")
    expires = parsed(proven["expires"]) if proven else None
    if proven and expires and (expires - now).total_seconds() < target:
        yield Finding(
            NOTE,
            f"The last proven backup, {proven['name']}, expires in {in_words(max((expires - now).total_seconds(), 0))}.",
            "Give backups a longer ttl than the target of their age.",
        )
    for backup in backups:
        began = parsed(backup["started"]) or parsed(backup["created"])
        if not backup["finished"] and began and now - began > STUCK:
            yield Finding(
                NOTE,
                f"Backup {backup['name']} is {backup['phase']} since {in_words((now - began).total_seconds())}.",
                "Nobody seems to work on it any more: look into Velero's log, then remove it with velero_backup and state absent.",
            )


def coverage_findings(covered: Mapping[str, Any] | None, trend: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield what the newest backups leave out, and series of backups that are suddenly smaller."""
    if covered:
        missing = [f"{item.get('namespace')}/{item.get('claim')}" for item in covered["uncovered"]]
        if missing:
            reason = covered["uncovered"][0].get("reason")
            yield Finding(
                NOTE,
                f"Backup {covered['backup']} has no contents of {_listed(missing)}{': ' + str(reason) if reason else ''}.",
                "Annotate the pods, or back up all volumes by default; name claims that need no copy in backup_excluded_volumes.",
            )
    for series in trend:
        if series.get("shrunk"):
            yield Finding(
                NOTE, f"{str(series.get('text') or 'A backup is suddenly smaller').rstrip('.')}.", "Look which volumes or objects are missing."
            )


def schedule_findings(schedules: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield schedules that make no backups."""
    for schedule in schedules:
        errors = "; ".join(str(error) for error in schedule.get("validation_errors") or [])
        if errors or schedule.get("phase") == "FailedValidation":
            yield Finding(
                NOTE, f"Schedule {schedule.get('name')} is refused by Velero: {errors or 'no reason given'}.", "Correct it with velero_schedule."
            )
        elif schedule.get("paused"):
            yield Finding(NOTE, f"Schedule {schedule.get('name')} is paused.", "Lift the pause when the reason for it is over.")


def drill_findings(drill: Mapping[str, Any] | None, target: float, now: datetime) -> Iterator[Finding]:
    """Yield what is wrong with the last drill. target: seconds after which another one is due, 0 for never."""
    if drill is None:
        if target:
            yield Finding(NOTE, "No restore was ever rehearsed here.", "Run the playbook drill.yml.")
        return
    result, message = drill.get("result"), str(drill.get("message") or "").rstrip(".")
    if result == "failed":
        yield Finding(
            BROKEN,
            f"The last drill, of backup {drill.get('backup')}, failed{': ' + message if message else ''}.",
            "Remove the cause and run the playbook drill.yml again: until one succeeds, nothing says that a restore would.",
        )
    elif result != "good":
        yield Finding(
            NOTE, f"The last drill was not carried out{': ' + message if message else ''}.", "Remove the cause and run the playbook drill.yml."
        )
    finished = parsed(drill.get("finished"))
    if result == "good" and target and finished and (now - finished).total_seconds() > target:
        yield Finding(NOTE, f"The last drill was {in_words((now - finished).total_seconds())} ago.", "Run the playbook drill.yml.")


def store_findings(stores: Iterable[Mapping[str, Any]] | None, wanted: str, now: datetime) -> Iterator[Finding]:
    """Yield what is not protected beside the backup. stores: of the report of the role backup, None without one; wanted: the report's file."""
    if stores is None:
        if wanted:
            yield Finding(
                STALE,
                f"Nothing is known about the stores outside Velero's backup: there is no report {wanted}.",
                "Run the playbook backup.yml with backup_report_file set to this path.",
            )
        return
    for store in stores:
        proven, limit = parsed(store.get("proven")), store.get("limit")
        if not store.get("good"):
            yield Finding(STALE, f"{str(store.get('verdict') or store.get('kind')).rstrip('.')}.", "Put it right, then run the playbook backup.yml.")
        elif proven and isinstance(limit, int | float) and (now - proven).total_seconds() > limit:
            yield Finding(
                STALE,
                f"{store.get('name')}: proven {in_words((now - proven).total_seconds())} ago, the limit is {in_words(limit)}.",
                "Look why its protection did not run since, then run the playbook backup.yml.",
            )


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _timeless(inner) for key, inner in value.items() if key not in TIMELESS_LEFT_OUT}
    if isinstance(value, list):
        return [_timeless(inner) for inner in value]
    return value


def digest(facts: Mapping[str, Any]) -> str:
    """Return what stands for everything that facts say beside the passing of time: a finding counts by its level and object, not by its ages."""
    kept = {key: value for key, value in facts.items() if key not in ("findings", "sentence")}
    kept["findings"] = sorted({finding["level"] for finding in facts.get("findings") or []})
    kept["number"] = len(facts.get("findings") or [])
    for location in kept.get("locations") or []:
        location.pop("last_validation_time", None)
    return hashlib.sha256(json.dumps(_timeless(kept), sort_keys=True, default=str).encode()).hexdigest()


def sentence(state: str, proven: Mapping[str, Any] | None, target: float, now: datetime, findings: list[Finding]) -> str:
    """Return what the state's word means here."""
    if state == GOOD and proven:
        left = target - (proven["age"] or 0)
        return f"The last proven backup is {in_words(proven['age'])} old. This holds until {shown(written(now + timedelta(seconds=left)))}."
    return next(finding.what for finding in findings if finding.level == state)


def judge(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that the page says, as plain data.

    raw: velero (of velero_info, with schedules and last_drill), backups (newest first) and trend of velero_backup_info,
    stores (of the report of the role backup, None without one), report (that report's path), namespace, title, target and drill_target
    (durations), unread (why the cluster could not be read, empty when it could), made (time on the controller), may_have (how many backups were
    asked for, None for all).
    """
    installations = list(raw.get("velero") or [])
    velero = installations[0] if installations else None
    given = [dict(backup) for backup in raw.get("backups") or []]
    now = clock(given, parsed(raw.get("made")) or datetime.now(UTC))
    target = duration.seconds(str(raw.get("target") or "24h"))
    drill_target = duration.seconds(str(raw.get("drill_target") or "0"))
    backups = [entry(backup, now) for backup in given]
    proven = next((backup for backup in backups if backup["good"] is True), None)
    newest = next((one for one in given if (one.get("phase") or "New") in FINAL), None)
    trend = raw.get("trend") or []
    trend = [trend] if isinstance(trend, Mapping) else list(trend)
    locations = list((velero or {}).get("storage_locations") or [])
    schedules = list((velero or {}).get("schedules") or [])
    drill = (velero or {}).get("last_drill") or None
    stores = raw.get("stores")
    covered = coverage(newest)
    unread = [str(reason).rstrip(".") for reason in raw.get("unread") or [] if reason]
    findings = [Finding(BROKEN, f"The cluster could not be asked: {reason}.", "Remove the cause, then make this page anew.") for reason in unread]
    if not unread:
        findings += velero_findings(velero, str(raw.get("namespace") or "velero"))
    if velero is not None:
        findings += location_findings(locations, proven["storage_location"] if proven else None)
    if not unread or backups:
        findings += backup_findings(backups, proven, target, now, raw.get("may_have"))
    findings += coverage_findings(covered, trend)
    findings += schedule_findings(schedules)
    if not unread or drill:
        findings += drill_findings(drill, drill_target, now)
    findings += store_findings(stores, str(raw.get("report") or ""), now)
    findings.sort(key=lambda finding: WORST_FIRST.index(finding.level))
    state = findings[0].level if findings and findings[0].level != NOTE else GOOD
    facts: dict[str, Any] = {
        "format": FORMAT,
        "title": str(raw.get("title") or "Backups"),
        "namespace": str(raw.get("namespace") or "velero"),
        "generated": written(now),
        "state": state,
        "sentence": sentence(state, proven, target, now, findings),
        "target": target,
        "drill_target": drill_target,
        "until": written(now + timedelta(seconds=target - (proven["age"] or 0))) if proven else None,
        "proven": proven,
        "backups": backups,
        "coverage": covered,
        "drill": dict(drill) if drill else None,
        "server": dict((velero or {}).get("server") or {}) or None,
        "node_agents": [dict(agent) for agent in (velero or {}).get("node_agents") or []],
        "locations": [dict(location) for location in locations],
        "schedules": [dict(schedule) for schedule in schedules],
        "stores": None if stores is None else [dict(store) for store in stores],
        "trend": [dict(series) for series in trend],
        "findings": [{"level": finding.level, "what": finding.what, "do": finding.do} for finding in findings],
    }
    facts["digest"] = digest(json.loads(json.dumps(facts, default=str)))
    return facts
