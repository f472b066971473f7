# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A choice of all faults: none makes a module lie, do a thing twice, run past its deadline, or leave what the next run cannot finish."""

from __future__ import annotations

import pytest

from tests.bed.driver import Bed
from tests.faults import bed_of_run, fault_proxy, suite
from tests.faults.scenarios import SAMPLED

SAMPLE = 60
SEED = 1


@pytest.mark.timeout(900)
def test_sample(bed: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    """A seeded choice with every kind of fault and every sampled scenario in it; `make faults` tries all of all."""

    def say(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)

    report = suite.run(bed, bed_of_run.SAMPLE_WORKERS, SAMPLE, SEED, say, scenarios=SAMPLED)
    bed_of_run.show(report, say)
    assert [str(outcome.case) for outcome in report.outcomes if not outcome.good] == []
    assert report.good
    assert len(report.outcomes) == SAMPLE
    assert {outcome.case.fault.kind for outcome in report.outcomes} == set(fault_proxy.KINDS)
    assert {outcome.case.scenario.name for outcome in report.outcomes} == {scenario.name for scenario in SAMPLED}
