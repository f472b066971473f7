# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the benchmark: python -m tests.bench [--repetitions N]. Needs root and the gates' environment.

Only ratios of one run count: hosts differ, and one host differs from minute to minute. So what is compared runs in turns,
and each number is the median of its repetitions. With SERVEROPS_BED=<name> it uses a bed that runs and has no Velero
(driver up --bare).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bed.conftest import InstalledVelero, installed, started
from tests.bed.driver import Bed
from tests.bench import backups, installing, plays
from tests.plays.in_process import run

BUILD = Path(os.environ.get("SERVEROPS_BUILD") or Path(__file__).resolve().parents[2] / "build")
MANY = plays.LOCATIONS + 1
MOST_INSTALLATIONS = 3
"""Fresh installations per run: the CLI's take 20 s each, and differ little."""


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


@contextmanager
def bed_of_run() -> Iterator[Bed]:
    """The bed that SERVEROPS_BED names, on which no Velero may be, or one for this run alone."""
    named = os.environ.get("SERVEROPS_BED")
    bed, made = started(named or f"bench-{os.getpid()}")
    try:
        yield bed
    finally:
        if made and not named:
            bed.down()


@contextmanager
def locations(velero: InstalledVelero) -> Iterator[list[str]]:
    """Have twenty locations that are as the tasks want them."""
    names = [f"bench-{number}" for number in range(plays.LOCATIONS)]
    try:
        for name in names:
            ran = run("velero_storage_location", plays.location(velero, name))
            if ran.failed:
                raise plays.NotMeasuredError(f"location {name}: {ran['msg']}")
        yield names
    finally:
        for name in names:
            velero.bed.kubectl("-n", velero.namespace, "delete", "backupstoragelocations.velero.io", name, "--ignore-not-found")


def measured(velero: InstalledVelero, names: list[str], repetitions: int) -> dict[str, list[float]]:
    """Return seconds of every play, one after the other and that again, by its name."""
    timed = [
        *(plays.ping(count) for count in (1, MANY)),
        *(plays.read(velero, count) for count in (1, MANY)),
        *(plays.read_by_k8s_info(velero, count) for count in (1, MANY)),
        plays.ping(plays.LOCATIONS),
        plays.compare(velero, names),
    ]
    for play in timed:
        # what is read from disk for the first time is not to be measured
        if play.results == 1:
            play.seconds()
    found: dict[str, list[float]] = {play.name: [] for play in timed}
    for number in range(repetitions):
        for play in timed:
            found[play.name].append(play.seconds())
        load = " ".join(f"{value:.1f}" for value in os.getloadavg())
        say(f"  repetition {number + 1} of {repetitions} (load {load}): " + ", ".join(f"{name} {took[-1]:.2f} s" for name, took in found.items()))
    return found


def slope(found: dict[str, list[float]], what: str) -> float:
    """Return the seconds of one more task in a play: the median over the repetitions."""
    return statistics.median((many - one) / (MANY - 1) for one, many in zip(found[f"1 {what}"], found[f"{MANY} {what}"], strict=True))


def rows(found: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return the ratios with their goals."""
    # a slope below a millisecond is noise, and a ratio to it would be none
    ours = max(0.001, slope(found, "velero_info"))
    whole = {name: statistics.median(took) for name, took in found.items()}
    compared = whole[f"{plays.LOCATIONS} velero_storage_location"] / whole[f"{plays.LOCATIONS} ping"]
    return [
        {"name": "a read, against ping", "value": round(slope(found, "ping") / ours, 1), "unit": "x faster", "goal": 5, "better": "higher"},
        {"name": "a read, against k8s_info", "value": round(slope(found, "k8s_info") / ours, 1), "unit": "x faster", "goal": 15, "better": "higher"},
        {"name": "20 locations compared, against 20 ping", "value": round(compared, 3), "unit": "of the time", "goal": 0.5, "better": "lower"},
    ]


def backed_up(velero: InstalledVelero, repetitions: int) -> list[dict[str, Any]]:
    """Return the numbers of backups with their goals."""
    lags = [backups.lag(velero, number) for number in range(repetitions)]
    say(f"lag between Velero's end and the task's: {', '.join(f'{value:.2f} s' for value in lags)}")
    again = backups.again(velero)
    young = [again() for _unused in range(repetitions)]
    say(f"a backup that is new enough: {', '.join(f'{took:.2f} s with {count} requests' for took, count in young)}")
    cost = {0: backups.reading(velero.bed, backups.EMPTY)}
    with backups.many(velero.bed) as fill:
        for count in (backups.FEW, backups.MANY):
            fill(count)
            cost[count] = backups.reading(velero.bed, backups.NAMESPACE)
    for count, one in cost.items():
        say(f"{count} backups read: {one['seconds']:.2f} s, {one['megabytes']:.0f} MiB, {one['requests']:.0f} requests")
    return backups.rows(lags, cost, young)


def main() -> int:
    """Measure; 0 when every goal is reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    repetitions = parser.parse_args().repetitions
    began = time.monotonic()
    with bed_of_run() as bed:
        place = installing.place_on(bed)
        made = installing.fresh(place, min(repetitions, MOST_INSTALLATIONS), say)
        idle = installing.again(place, repetitions, say)
        with locations(installed(bed, "1.17.2")) as names:
            say(f"{len(names)} locations ready ({time.monotonic() - began:.0f} s, load {' '.join(f'{value:.1f}' for value in os.getloadavg())})")
            found = measured(installed(bed, "1.17.2"), names, repetitions)
        table = rows(found) + installing.rows(made, idle) + backed_up(installed(bed, "1.17.2"), repetitions)
    say(f"\n  {'play':<36}{'median':>10}{'least':>10}{'most':>10}")
    for name, took in {**made, **idle, **found}.items():
        say(f"  {name:<36}{statistics.median(took):>8.2f} s{min(took):>8.2f} s{max(took):>8.2f} s")
    say("")
    for what in ("ping", "velero_info", "k8s_info"):
        say(f"  one more {what:<19}{1000 * slope(found, what):>8.0f} ms")
    say("")
    reached = True
    for row in table:
        good = row["value"] >= row["goal"] if row["better"] == "higher" else row["value"] <= row["goal"]
        reached = reached and good
        say(f"  {row['name']:<76}{row['value']:>8} {row['unit']}, goal {row['goal']}{'' if good else '  MISSED'}")
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "bench.json").write_text(json.dumps(table, indent=1) + "\n")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
