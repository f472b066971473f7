# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed that a run of the suite uses, and where its report goes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bed.conftest import started
from tests.bed.driver import Bed
from tests.faults.suite import Report

WORKERS = 8
"""Veleros at once. Most of a case is waiting, so more than one per core."""
SAMPLE_WORKERS = 5
"""For a few cases it does not pay to install more."""
BUILD = Path(os.environ.get("SERVEROPS_BUILD") or Path(__file__).resolve().parents[2] / "build")


@contextmanager
def bed() -> Iterator[Bed]:
    """The bed that SERVEROPS_BED names, or one for this run alone."""
    named = os.environ.get("SERVEROPS_BED")
    running, made = started(named or f"faults-{os.getpid()}")
    try:
        yield running
    finally:
        if made and not named:
            running.down()


def show(report: Report, say: Callable[[str], None]) -> None:
    """Print the table."""
    for line in report.table():
        say(line)
    for line in (*report.leftovers, *report.disagreements):
        say(f"  {line}")


def write(report: Report) -> None:
    """Write build/faults.json."""
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "faults.json").write_text(json.dumps(report.rows(), indent=1) + "\n")
