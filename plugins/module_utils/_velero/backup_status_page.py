# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of backup_status as texts and measures for a page: numbers in words, rows of tables, the geometry of the chart.

Pure. Nothing here is HTML: the template escapes every text. Private to this collection; may change without notice.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._velero.backup_status import in_words, parsed
from ansible_collections.serverops.circleci.plugins.module_utils._velero.backup_status import shown as moment

WORDS = {
    "good": "A restore would bring back what the target asks for.",
    "stale": "There is a backup, but not the proof that is asked for.",
    "broken": "As things are, a restore would not succeed, or no backup can be made.",
}
WIDE, NARROW = 720.0, 360.0
"""Widths of the two drawings: texts in a drawing shrink with it, so a phone gets one of its own with fewer bars."""
NARROW_BARS = 12
CHART_HEIGHT = 200.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 8.0, 12.0, 28.0
WIDEST_BAR = 26.0
OPEN_ROWS = 10
"""Rows of the table of backups that are seen at once; the older ones are folded."""
LEAST_BAR = 3.0
"""Height of a bar with hardly a value: a backup that is there has to be seen."""
METHODS = {"fs_backup": "files", "snapshot": "snapshot", "csi_snapshot": "CSI snapshot", "data_upload": "CSI snapshot, moved"}

# What the reader's clock adds: how old the page is, and that its word "good" has run out. Without it the page says the same by its times.
SCRIPT = """\
(function () {
  var root = document.documentElement, made = Date.parse(root.dataset.made), until = Date.parse(root.dataset.until);
  function words(ms) {
    var min = Math.floor(ms / 60000), h = Math.floor(min / 60), d = Math.floor(h / 24);
    return d ? d + " d " + h % 24 + " h" : h ? h + " h " + min % 60 + " min" : min + " min";
  }
  function look() {
    var now = Date.now(), over = root.dataset.state === "good" && until && now > until;
    document.getElementById("old").textContent = now > made ? "(" + words(now - made) + " ago)" : "";
    document.getElementById("over").hidden = !over;
  }
  look();
  setInterval(look, 30000);
})();
"""


def size(count: float | None) -> str:
    """Return a number of bytes for a person: "0 B", "1.5 GiB"."""
    if count is None:
        return "?"
    number = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError("not reached")


def verdict(good: bool | None, finished: bool = True) -> dict[str, str]:
    """Return a backup's verdict as a class of the style sheet, a word, and a sign that is no colour."""
    if not finished:
        return {"kind": "running", "word": "running", "sign": "…"}
    if good is None:
        return {"kind": "unknown", "word": "unknown", "sign": "?"}
    return {"kind": "good", "word": "good", "sign": "✓"} if good else {"kind": "bad", "word": "not good", "sign": "✗"}


def _round_up(value: float, base: float) -> float:
    """Return the next number above that makes an axis end well: 1, 2 or 5 times a power of ten, or of 1024 and two for bytes."""
    if value <= 0:
        return 1.0
    if base == 1024:
        power = base ** math.floor(math.log(value, base))
        step = 1.0
        while step * power < value:
            step *= 2
        return step * power
    for step in (1, 2, 3, 5, 10, 15, 30, 60):
        if value <= step:
            return float(step)
    for unit in (60, 3600):
        for step in (1, 2, 5, 10, 15, 30, 60):
            if value <= step * unit:
                return float(step * unit)
    return math.ceil(value / 86400) * 86400.0


def chart(backups: Iterable[Mapping[str, Any]], most: int, width: float = WIDE) -> dict[str, Any] | None:
    """Return the bars of the newest backups by time, as measures in a drawing of width by CHART_HEIGHT; None without any.

    Bars are as high as the backup is big, or took long where no size is known. They stand side by side by their order, not by their time:
    two that were made within a minute are two bars.
    """
    shown = [backup for backup in backups if backup["finished"]][:most][::-1]
    if not shown:
        return None
    measure = "bytes" if any(backup.get("bytes") for backup in shown) else "duration"
    values = [float(backup.get(measure) or 0) for backup in shown]
    top = _round_up(max(values), 1024 if measure == "bytes" else 10)
    height = CHART_HEIGHT - TOP - BOTTOM
    step = (width - LEFT - RIGHT) / len(shown)
    thick = min(step * 0.72, WIDEST_BAR)
    told = size if measure == "bytes" else in_words
    bars = []
    for number, (backup, value) in enumerate(zip(shown, values, strict=True)):
        tall = max(value / top * height, LEAST_BAR)
        said = verdict(backup["good"])
        bars.append(
            {
                "x": round(LEFT + step * number + (step - thick) / 2, 1),
                "y": round(TOP + height - tall, 1),
                "width": round(thick, 1),
                "height": round(tall, 1),
                "middle": round(LEFT + step * (number + 0.5), 1),
                "kind": said["kind"],
                "sign": said["sign"],
                "text": f"{backup['name']}: {said['word']}, {moment(backup['started'] or backup['created'])}, "
                f"{size(backup.get('bytes'))} in {in_words(backup.get('duration'))}",
            }
        )
    lines = [
        {"y": round(TOP + height - height * part, 1), "text": told(top * part) if part else "0"} for part in (0.0, 0.5, 1.0)
    ]  # fmt: skip
    return {
        "measure": "size" if measure == "bytes" else "duration",
        "width": width,
        "height": CHART_HEIGHT,
        "left": LEFT,
        "right": width - RIGHT,
        "base": TOP + height,
        "bars": bars,
        "lines": lines,
        "labels": _labels(shown, step, 8 if width > NARROW else math.inf),
        "text": _summary(shown),
    }


def _labels(shown: list[Mapping[str, Any]], step: float, more_than: float) -> list[dict[str, Any]]:
    """Return the days under the bars: the first and the last one, and one in the middle of more bars than more_than."""
    places = sorted({0, len(shown) // 2 if len(shown) > more_than else 0, len(shown) - 1})
    labels = []
    for place in places:
        when = parsed(shown[place]["started"] or shown[place]["created"])
        anchor = "start" if place == 0 else "end" if place == len(shown) - 1 else "middle"
        x = LEFT + step * place if anchor == "start" else LEFT + step * (place + 1) if anchor == "end" else LEFT + step * (place + 0.5)
        labels.append({"x": round(x, 1), "anchor": anchor, "text": _day(when)})
    return labels if len(shown) > 1 else labels[:1]


def _day(when: datetime | None) -> str:
    return when.strftime("%b %d, %H:%M") if when else "?"


def _summary(shown: list[Mapping[str, Any]]) -> str:
    good = sum(backup["good"] is True for backup in shown)
    bad = sum(backup["good"] is False for backup in shown)
    unknown = len(shown) - good - bad
    words = [f"{good} good", f"{bad} not good"] + ([f"{unknown} unknown"] if unknown else [])
    which = "The last finished backup" if len(shown) == 1 else f"The last {len(shown)} finished backups, oldest first"
    return f"{which}: {', '.join(words)}."


def gauge(age: float | None, target: float) -> dict[str, Any]:
    """Return the age of the last proven backup on a scale that ends at twice the target: parts of it in percent."""
    share = 100.0 if age is None else min(max(age / (2 * target) * 100 if target else 100.0, 0.0), 100.0)
    return {
        "share": round(share, 1),
        "late": age is None or age > target,
        "age": in_words(age) if age is not None else "none",
        "target": in_words(target),
    }


def store_row(store: Mapping[str, Any]) -> dict[str, Any]:
    """Return a store of the report of the role backup: what it is, where its copy is, and the proof in words."""
    where = str(store.get("where") or "")
    proof = {"backup": "this backup's own verdict", "escrow": "read back and compared"}.get(where, "none")
    if store.get("proven"):
        proof = moment(store["proven"])
    good = bool(store.get("good"))
    word = "not protected" if where == "nowhere" else "protected" if good else "not proven"
    accepted = good and bool(store.get("verdict"))
    return {
        "name": str(store.get("kind") or "").replace("_", " "),
        "what": str(store.get("name") or "") if store.get("name") != store.get("kind") else "",
        "protection": str(store.get("protection") or ""),
        "proof": str(store["verdict"]) if store.get("verdict") and where == "outside" else proof,
        "verdict": {"kind": "unknown", "word": "accepted", "sign": "–"}
        if accepted
        else {"kind": "good" if good else "bad", "word": word, "sign": "✓" if good else "✗"},
    }


def page(facts: Mapping[str, Any], shown: int = 30) -> dict[str, Any]:
    """Return everything that the template prints. shown: how many backups the chart and the table have."""
    proven, covered, drill = facts.get("proven"), facts.get("coverage"), facts.get("drill")
    count = len(covered["covered"]) if covered else 0
    missing = len(covered["uncovered"]) if covered else 0
    now = parsed(facts["generated"])
    agents = facts.get("node_agents") or []
    return {
        "meaning": WORDS[facts["state"]],
        "made": moment(facts["generated"]),
        "until": moment(facts["until"]) if facts.get("until") else "",
        "script": SCRIPT,
        "script_hash": "sha256-" + base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode(),
        "gauge": gauge(proven["age"] if proven else None, facts["target"]),
        "charts": [
            {"class": name, **drawn}
            for name, most, width in (("broad", shown, WIDE), ("slim", min(shown, NARROW_BARS), NARROW))
            if (drawn := chart(facts["backups"], most, width))
        ],
        "proven": {
            "name": proven["name"],
            "completed": moment(proven["completed"]),
            "size": size(proven["bytes"]),
            "duration": in_words(proven["duration"]),
            "volumes": proven["volumes"],
            "location": proven["storage_location"] or "?",
            "expires": moment(proven["expires"]) if proven.get("expires") else "never",
        }
        if proven
        else None,
        "findings": [{"kind": {"broken": "bad", "stale": "unknown", "note": "note"}[finding["level"]], **finding} for finding in facts["findings"]],
        "backups": [
            {
                "name": backup["name"],
                "verdict": verdict(backup["good"], backup["finished"]),
                "phase": backup["phase"],
                "why": backup["verdict"],
                "started": moment(backup["started"] or backup["created"]),
                "age": in_words(backup["age"]) if backup["age"] is not None else "",
                "size": size(backup["bytes"]),
                "duration": in_words(backup["duration"]) if backup["duration"] is not None else "",
                "volumes": backup["volumes"],
                "schedule": backup["schedule"] or "by hand",
            }
            for backup in facts["backups"][:shown]
        ],
        "open_rows": OPEN_ROWS,
        "left_out": max(len(facts["backups"]) - shown, 0),
        "coverage": {
            "backup": covered["backup"],
            "known": covered["known"],
            "count": count,
            "all": count + missing,
            "rows": [
                *(
                    {
                        "claim": f"{item.get('namespace')}/{item.get('claim')}",
                        "verdict": {"kind": "bad", "word": "no copy", "sign": "✗"},
                        "how": str(item.get("reason") or ""),
                        "size": "",
                    }
                    for item in covered["uncovered"]
                ),
                *(
                    {
                        "claim": f"{item.get('namespace')}/{item.get('claim') or str(item.get('pod')) + ':' + str(item.get('volume'))}",
                        "verdict": {"kind": "good", "word": "copied", "sign": "✓"},
                        "how": METHODS.get(str(item.get("method")), str(item.get("method") or "?")),
                        "size": size(item.get("bytes")),
                    }
                    for item in covered["covered"]
                ),
                *(
                    {"claim": name, "verdict": {"kind": "unknown", "word": "left out", "sign": "–"}, "how": "on purpose", "size": ""}
                    for name in covered["excluded"]
                ),
            ],
        }
        if covered
        else None,
        "drill": _drill(drill, now) if drill else None,
        "agents": [
            {
                "node": agent.get("node") or "?",
                "verdict": {"kind": "good", "word": "ready", "sign": "✓"}
                if agent.get("ready")
                else {"kind": "bad", "word": "not ready", "sign": "✗"},
                "why": ": ".join(str(agent[key]) for key in ("reason", "message") if agent.get(key)),
            }
            for agent in agents
        ],
        "agents_ready": sum(bool(agent.get("ready")) for agent in agents),
        "locations": [
            {
                "name": location.get("name"),
                "place": "/".join(str(location[key]) for key in ("bucket", "prefix") if location.get(key)),
                "default": bool(location.get("default")),
                "mode": "read only" if location.get("access_mode") == "ReadOnly" else "",
                "verdict": {"kind": "good", "word": "available", "sign": "✓"}
                if location.get("phase") == "Available"
                else {"kind": "bad", "word": str(location.get("phase") or "not validated").lower(), "sign": "✗"},
                "validated": moment(location.get("last_validation_time")) if location.get("last_validation_time") else "never",
            }
            for location in facts.get("locations") or []
        ],
        "schedules": [_schedule(schedule, now) for schedule in facts.get("schedules") or []],
        "stores": [store_row(store) for store in facts.get("stores") or []],
    }


def _schedule(schedule: Mapping[str, Any], now: datetime | None) -> dict[str, Any]:
    following = parsed(schedule.get("next_run"))
    said = moment(schedule.get("next_run")) if following else ""
    if following and now and following >= now:
        said += f" (in {in_words((following - now).total_seconds())})"
    refused = schedule.get("phase") == "FailedValidation"
    state = {"kind": "good", "word": "enabled", "sign": "✓"}
    if schedule.get("paused") or refused:
        state, said = {"kind": "bad" if refused else "unknown", "word": "refused" if refused else "paused", "sign": "✗" if refused else "–"}, "none"
    return {
        "name": schedule.get("name"),
        "cron": schedule.get("schedule"),
        "verdict": state,
        "next": said or "not known",
        "last": moment(schedule["last_backup"]) if schedule.get("last_backup") else "never",
    }


def _drill(drill: Mapping[str, Any], now: datetime | None) -> dict[str, Any]:
    finished = parsed(drill.get("finished"))
    result = drill.get("result")
    return {
        "verdict": {
            "good": {"kind": "good", "word": "good", "sign": "✓"},
            "failed": {"kind": "bad", "word": "failed", "sign": "✗"},
        }.get(str(result), {"kind": "unknown", "word": "not carried out", "sign": "?"}),
        "backup": drill.get("backup") or "?",
        "finished": moment(drill.get("finished")),
        "ago": in_words((now - finished).total_seconds()) if finished and now else "?",
        "timed": drill.get("rto") is not None,
        "rpo": in_words(drill.get("rpo")) if drill.get("rpo") is not None else "–",
        "rto": in_words(drill.get("rto")) if drill.get("rto") is not None else "–",
        "message": str(drill.get("message") or ""),
        "sets": ", ".join(str(name) for name in drill.get("stateful_sets") or []),
        "checks": ", ".join(str(name) for name in drill.get("checks") or []),
        "isolation": str(drill.get("isolation") or ""),
    }
