# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of backup_status in the text format of Prometheus, for the textfile collector of the node exporter.

Times are given beside ages: an alert on a time also fires when nobody writes the file any more. Pure. Private to this collection.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._velero.backup_status import BROKEN, GOOD, STALE, parsed

PREFIX = "serverops_backup_"
Labels = dict[str, str]


@dataclass(frozen=True)
class Metric:
    """One metric: its name without PREFIX, what it tells, and its values by labels. All are gauges."""

    name: str
    about: str
    samples: list[tuple[Labels, float]] = field(default_factory=list)


def _seconds(text: Any) -> float | None:
    found = parsed(text)
    return found.timestamp() if found else None


def _one(name: str, about: str, value: Any) -> Iterator[Metric]:
    """Yield a metric without labels of its own; none without a value, since a zero would be a lie."""
    if value is not None:
        yield Metric(name, about, [({}, float(value))])


def metrics(facts: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield every metric of the facts."""
    proven, drill, covered = facts.get("proven") or {}, facts.get("drill") or {}, facts.get("coverage")
    yield Metric(
        "state",
        "Whether the backups are in this state (1) or not (0).",
        [({"state": state}, float(facts["state"] == state)) for state in (GOOD, STALE, BROKEN)],
    )
    yield from _one("status_timestamp_seconds", "When this was found out.", _seconds(facts["generated"]))
    yield from _one("target_seconds", "How old the last proven backup may be.", facts["target"])
    yield from _one("last_proven_timestamp_seconds", "When the last proven backup was completed.", _seconds(proven.get("completed")))
    yield from _one("last_proven_age_seconds", "Age of the last proven backup when this was found out.", proven.get("age"))
    yield from _one("last_proven_bytes", "Bytes of volumes in the last proven backup.", proven.get("bytes"))
    yield from _one("last_proven_duration_seconds", "How long the last proven backup took.", proven.get("duration"))
    yield from _one("last_proven_expiration_timestamp_seconds", "When the last proven backup expires.", _seconds(proven.get("expires")))
    verdicts = {"good": True, "not_good": False, "unknown": None}
    finished = [backup for backup in facts["backups"] if backup["finished"]]
    yield Metric(
        "backups",
        "Number of backups that were looked at, by verdict.",
        [
            *(({"verdict": word}, float(sum(backup["good"] is value for backup in finished))) for word, value in verdicts.items()),
            ({"verdict": "unfinished"}, float(len(facts["backups"]) - len(finished))),
        ],
    )
    if covered:
        yield from _one("covered_volumes", "Volumes whose contents the newest finished backup has.", len(covered["covered"]))
        yield from _one("uncovered_volumes", "Volumes whose contents the newest finished backup has not.", len(covered["uncovered"]))
    yield Metric(
        "findings",
        "Number of things to do, by what they make of the state.",
        [({"level": level}, float(sum(item["level"] == level for item in facts["findings"]))) for level in (BROKEN, STALE, "note")],
    )
    if facts.get("server") is not None:
        yield from _one("velero_ready", "Whether Velero's server works.", bool(facts["server"].get("ready")))
    if agents := facts.get("node_agents"):
        working = [({"node": str(agent.get("node"))}, float(bool(agent.get("ready")))) for agent in agents]
        yield Metric("node_agent_ready", "Whether the node agent of a node works.", working)
    if locations := facts.get("locations"):
        usable = [({"location": str(location.get("name"))}, float(location.get("phase") == "Available")) for location in locations]
        yield Metric("location_available", "Whether a storage location was found usable.", usable)
    runs = [({"schedule": str(item.get("name"))}, _seconds(item.get("next_run"))) for item in facts.get("schedules") or [] if not item.get("paused")]
    if known := [(label, value) for label, value in runs if value is not None]:
        yield Metric("schedule_next_run_timestamp_seconds", "When a schedule makes its next backup.", known)
    if facts.get("stores") is not None:
        unprotected = sum(not store.get("good") for store in facts["stores"])
        yield from _one("unprotected_stores", "Stores that are protected neither by the backup nor otherwise, or without proof.", unprotected)
    if drill:
        yield from _one("drill_success", "Whether the last drill succeeded.", drill.get("result") == "good")
        yield from _one("drill_timestamp_seconds", "When the last drill ended.", _seconds(drill.get("finished")))
        yield from _one("drill_rpo_seconds", "Age of the data that the last drill brought back.", drill.get("rpo"))
        yield from _one("drill_rto_seconds", "How long the last drill took from its restore to the last check.", drill.get("rto"))
    yield from _one("drill_target_seconds", "How long ago the last drill may be, 0 for any time.", facts["drill_target"])


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)


def text(facts: Mapping[str, Any]) -> str:
    """Return the metrics as text. Each carries the namespace of Velero, so that one machine can have several files."""
    lines = []
    for metric in metrics(facts):
        name = PREFIX + metric.name
        about = metric.about.replace("\\", "\\\\").replace("\n", "\\n")
        lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
        seen = set()
        for labels, value in metric.samples:
            inner = ",".join(f'{key}="{_escaped(word)}"' for key, word in {"velero": facts["namespace"], **labels}.items())
            if inner in seen:
                continue  # a collector refuses the whole file for one repeated sample
            seen.add(inner)
            lines.append(f"{name}{{{inner}}} {_number(value)}")
    return "\n".join(lines) + "\n"
