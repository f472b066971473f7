# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates that run test suites: pure ones on every supported ansible-core, and those on the bed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .gate import GateError, Outcome, Workplace


def suite(*folders: str, name: str = "dev", root: bool = False, without: Sequence[str] = ()) -> Callable[[Workplace], Outcome]:
    """The gate of the tests in some folders or files, on one environment. without: folders and files below them that another gate has."""

    def work(place: Workplace) -> Outcome:
        for folder in (*folders, *without):
            there = place.collection / folder
            if not there.is_file() and not any(there.rglob("test_*.py")):
                raise GateError(f"there is no test in {folder}")
        return place.pytest(*folders, *(f"--ignore={path}" for path in without), name=name, root=root)

    return work


def reached(row: Mapping[str, Any]) -> bool:
    """Whether a row of a report meets its goal."""
    value, goal = row["value"], row["goal"]
    return bool(value >= goal if row["better"] == "higher" else value <= goal)


def measured(package: str) -> Callable[[Workplace], Outcome]:
    """The gate of a program that measures on the bed and leaves build/<its last name>.json: one row, one goal."""

    def work(place: Workplace) -> Outcome:
        wanted = Path(place.extra["SERVEROPS_BUILD"]) / f"{package.rpartition('.')[2]}.json"
        wanted.unlink(missing_ok=True)
        done = place.run("python", "-m", package, root=True)
        if not wanted.is_file():
            raise GateError(f"{package}: exit status {done.status}, and it left no {wanted}")
        rows = json.loads(wanted.read_text())
        missed = [row for row in rows if not reached(row)]
        for row in missed:
            place.note(f"{row['name']}: {row['value']} {row['unit']}, goal {row['goal']} ({row['better']} is better)")
        return Outcome(len(rows) - len(missed), len(missed) or int(done.status != 0))

    return work


def bed_programs(place: Workplace) -> Outcome:
    """Build or find in the cache what the bed is made of, at low priority, so that other gates can run meanwhile."""
    done = place.run("nice", "-n", "19", "python", "-m", "tests.bed.driver", "build", root=True)
    return Outcome(1, 0) if done.status == 0 else Outcome(0, 1)
