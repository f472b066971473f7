# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates that run test suites: pure ones on every supported ansible-core, and those on the bed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .gate import GateError, Outcome, Workplace


def suite(*folders: str, name: str = "dev", root: bool = False) -> Callable[[Workplace], Outcome]:
    """The gate of the tests in some folders, on one environment."""

    def work(place: Workplace) -> Outcome:
        for folder in folders:
            if not any((place.collection / folder).rglob("test_*.py")):
                raise GateError(f"there is no test in {folder}")
        return place.pytest(*folders, name=name, root=root)

    return work


def measured(folder: str, report: str) -> Callable[[Workplace], Outcome]:
    """The gate of tests on the bed that also have to leave a report in the clone's folder `build`."""
    run = suite(folder, root=True)

    def work(place: Workplace) -> Outcome:
        wanted = Path(place.variables("dev")["SERVEROPS_BUILD"]) / report
        wanted.unlink(missing_ok=True)
        outcome = run(place)
        if not wanted.is_file():
            raise GateError(f"{folder}: the tests left no {wanted}")
        return outcome

    return work


def bed_programs(place: Workplace) -> Outcome:
    """Build or find in the cache what the bed is made of, at low priority, so that other gates can run meanwhile."""
    done = place.run("nice", "-n", "19", "python", "-m", "tests.bed.driver", "build", root=True)
    return Outcome(1, 0) if done.status == 0 else Outcome(0, 1)
