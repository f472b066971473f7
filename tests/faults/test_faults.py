# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No fault at any request makes a module lie, do a thing twice, run past its deadline, or leave what the next run cannot finish."""

from __future__ import annotations

import pytest

from tests.bed.driver import Bed
from tests.faults import bed_of_run, fault_proxy, suite

SAMPLE = 60
SEED = 1


def check(bed: Bed, capsys: pytest.CaptureFixture[str], sample: int | None) -> suite.Report:
    """Run cases with their progress shown, write the report, and return it when all is well."""

    def say(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)

    report = suite.run(bed, bed_of_run.WORKERS, sample, SEED, say)
    bed_of_run.conclude(report, say)
    bad = [str(outcome.case) for outcome in report.outcomes if not outcome.good]
    assert not bad
    assert report.good
    return report


@pytest.mark.timeout(900)
def test_sample(bed: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    """A seeded choice with every kind of fault and every scenario in it."""
    report = check(bed, capsys, SAMPLE)
    assert len(report.outcomes) == SAMPLE
    assert {outcome.case.fault.kind for outcome in report.outcomes} == set(fault_proxy.KINDS)
    assert {outcome.case.scenario.name for outcome in report.outcomes} == {scenario.name for scenario in suite.SCENARIOS}


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_every_fault(bed: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    """Every kind at every request of the clean runs; writes over the report of the sample."""
    report = check(bed, capsys, None)
    assert len(report.outcomes) > 5 * report.requests
