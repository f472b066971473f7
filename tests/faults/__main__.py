# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the fault suite: python -m tests.faults [--sample N] [--workers N] [--only TEXT]. Needs root and the gates' environment.

With SERVEROPS_BED=<name> it uses a bed that runs; without, it starts one and takes it down.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.faults import bed_of_run, suite


def main() -> int:
    """Run the suite; 0 when every fault was delivered and nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--sample", type=int, help="so many cases, chosen by the seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=bed_of_run.WORKERS, help="Veleros at once (%(default)s)")
    parser.add_argument("--only", default="", help="cases whose name contains this text")
    chosen = parser.parse_args()
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {line}", flush=True)

    with bed_of_run.bed() as running:
        report = suite.run(running, chosen.workers, chosen.sample, chosen.seed, say, only=lambda case: chosen.only in str(case))
    bed_of_run.show(report, say)
    if chosen.sample is None and not chosen.only:
        # a choice must not pass for the whole
        bed_of_run.write(report)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
