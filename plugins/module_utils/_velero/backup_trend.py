# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the newest backup of a series is suddenly smaller than those before it: data that went, or that is no longer in the backup.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._velero.volume_copies import size_shown

Entry = Mapping[str, Any]

COMPARED = 5
"""How many backups before the newest make the baseline."""
FEWEST = 2
SHRUNK = 0.5
"""The part of the baseline below which a backup counts as shrunk."""
MEASURES = ("bytes", "objects", "volumes")

_NO_SCOPE = ("ttl", "storage_location", "csi_snapshot_timeout", "item_operation_timeout", "parallel_files_upload")
"""What of a template says nothing about how much a backup holds."""


def of(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Return a trend for each series (backups of the same template) that has enough finished backups. entries: the newest first.

    Each: {series, newest, shrunk, text, bytes, objects, volumes, baseline: {bytes, objects, volumes, backups}}; the baseline is the median of
    the backups before.
    """
    series: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry["phase"] == "Completed":
            key = json.dumps({name: value for name, value in entry["template"].items() if name not in _NO_SCOPE}, sort_keys=True)
            series.setdefault(key, []).append(entry)
    return [_trend(json.loads(key), found) for key, found in sorted(series.items()) if len(found) > FEWEST]


def _measures(entry: Entry) -> dict[str, int]:
    finished = sum(volume["phase"] == "Completed" for volume in entry["volumes"])
    return {"bytes": int(entry["bytes"]), "objects": int(entry["progress"]["done"]), "volumes": finished}


def _shown(measure: str, amount: int) -> str:
    return size_shown(amount) if measure == "bytes" else f"{amount} {measure}"


def _trend(template: Mapping[str, Any], found: list[Entry]) -> dict[str, Any]:
    newest, before = _measures(found[0]), [_measures(entry) for entry in found[1 : 1 + COMPARED]]
    baseline = {name: int(statistics.median(one[name] for one in before)) for name in MEASURES}
    less = [name for name in MEASURES if newest[name] < baseline[name] * SHRUNK]
    parts = [f"{_shown(name, newest[name])} instead of {_shown(name, baseline[name])}" for name in less]
    text = f"backup {found[0]['name']} holds much less than the {len(before)} before it: {', '.join(parts)}" if less else ""
    return {
        "series": dict(template),
        "newest": found[0]["name"],
        "shrunk": bool(less),
        "text": text,
        **newest,
        "baseline": {**baseline, "backups": len(before)},
    }
