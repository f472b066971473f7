# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs gates: makes the environments, copies the clone, runs each gate with its own log, and ends with one count.

Usage: python3 -m tests.gates [--list] NAME...
A name is a gate or a set of gates (lint, units, test, test-full); `setup` only makes the environments, `lock` pins
them anew, `generated` writes anew what is made of documentation, `demo` shows it all on a bed that it leaves
running, `demo-down` ends that one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import documentation, environments, machine, package, sanity, source, stage, suites, text
from .gate import Gate, GateError, Outcome, Result, Workplace, as_root

BUILD = machine.ROOT / "build"
BEAT = 30.0
MOST_NAMED = 10  # failed tests of one gate that the summary names
EVERY = ("dev", "c216", "c219")
# what waits for Velero most of the time, so that a second bed beside the first one takes half of the time away
BACKUPS = ("tests/bed/roles", *(f"tests/bed/velero/test_velero_{noun}.py" for noun in ("backup", "restore", "schedule")))

GATES = {
    gate.name: gate
    for gate in (
        Gate("headers", "licence header in every file", text.headers),
        Gate("words", "no registry host, no path of one machine", text.words),
        Gate("ruff", "linter and formatter", source.ruff),
        Gate("mypy", "strict types", source.mypy),
        Gate("changelog", "fragments", documentation.changelog),
        Gate("specification", "documentation equals argument spec", documentation.specification),
        Gate("examples", "EXAMPLES: options and syntax", documentation.examples),
        Gate("roles", "roles equal the modules that they call", documentation.roles),
        Gate("plugin-docs", "antsibull-docs", documentation.plugin_docs),
        Gate("build", "artifact", package.build),
        Gate("execution-environment", "ansible-builder", package.execution_environment),
        Gate("ansible-lint", "profile production", source.ansible_lint),
        Gate("importer", "galaxy-importer", package.importer),
        Gate("sanity", "ansible-test on the main ansible-core", sanity.sanity("dev")),
        Gate("sanity-2.19", "ansible-test on 2.19", sanity.sanity("c219"), ("dev", "c219")),
        Gate("sanity-2.16", "ansible-test on 2.16", sanity.sanity("c216"), ("dev", "c216")),
        Gate("pages", "documentation site", documentation.pages),
        Gate("unit", "unit tests on the main ansible-core", suites.suite("tests/unit")),
        Gate("unit-2.19", "unit tests on 2.19", suites.suite("tests/unit", name="c219"), ("c219",)),
        Gate("unit-2.16", "unit tests on 2.16", suites.suite("tests/unit", name="c216"), ("c216",)),
        Gate("smoke", "one play on the main ansible-core", suites.suite("tests/smoke")),
        Gate("smoke-2.19", "one play on 2.19", suites.suite("tests/smoke", name="c219"), ("c219",)),
        Gate("smoke-2.16", "one play on 2.16", suites.suite("tests/smoke", name="c216"), ("c216",)),
        Gate("bed-programs", "what the bed is made of", suites.bed_programs, counts=False),
        Gate("bed", "tests on real components", suites.suite("tests/bed", root=True, without=BACKUPS), EVERY),
        Gate("bed-backups", "tests of backups and of the roles on another bed, beside", suites.suite(*BACKUPS, root=True), EVERY),
        Gate("faults-sample", "some faults at requests of the modules", suites.suite("tests/faults", root=True), EVERY),
        Gate("faults", "every fault at every request of the modules", suites.measured("tests.faults"), EVERY),
        Gate("bench", "task times", suites.measured("tests.bench"), EVERY),
    )
}
LINT = (
    *("headers", "words", "ruff", "mypy", "changelog", "specification", "examples", "roles", "plugin-docs", "build", "execution-environment"),
    *("ansible-lint", "importer", "sanity"),
)
UNITS = ("unit", "unit-2.19", "unit-2.16", "smoke", "smoke-2.19", "smoke-2.16")
BED = ("bed-programs", "bed", "bed-backups", "faults-sample")
SETS = {
    "lint": LINT,
    "units": UNITS,
    "test": (*LINT, *UNITS, *BED),
    "test-full": (*LINT, "sanity-2.19", "sanity-2.16", "pages", *UNITS, *BED, "faults"),
    "faults": ("bed-programs", "faults"),
    "bench": ("bed-programs", "bench"),
}
WHOLE = {"test-full", "faults", "bench"}  # sets in which tests marked `full` run too
MEASURED = ("faults", "bench")  # their reports are shown, green or not
ON_BED = {"bed-programs", "bed", "bed-backups", "faults-sample", *MEASURED}
BESIDE = {"bed-programs": "", "bed-backups": "bed"}  # runs beside the gate that is named, or beside all others


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def last_line(log: Path) -> str:
    """The end of a log as one short line."""
    if not log.exists():
        return ""
    with log.open("rb") as seen:
        seen.seek(max(log.stat().st_size - 4096, 0))
        lines = [line.strip() for line in seen.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:100] if lines else ""


@contextmanager
def heartbeat(name: str, log: Path) -> Iterator[None]:
    """Print what a long gate is at, every half minute."""
    over = threading.Event()
    begun = time.monotonic()

    def beat() -> None:
        while not over.wait(BEAT):
            say(f"  … {name} {time.monotonic() - begun:.0f} s: {last_line(log)}")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def run(gate: Gate, place: Workplace) -> Result:
    """Run one gate; whatever goes wrong in it is its failure."""
    begun = time.monotonic()
    try:
        outcome = gate.work(place)
    except GateError as error:
        place.note(str(error))
        outcome = Outcome(0, 1)
    except Exception:
        place.note(traceback.format_exc())
        outcome = Outcome(0, 1)
    if gate.counts and outcome == Outcome():
        place.note(f"{gate.name}: looked at nothing")
        outcome = Outcome(0, 1)
    failures = place.failures or ([last_line(place.log)] if not outcome.good and gate.counts else [])
    return Result(gate.name, outcome if gate.counts else Outcome(0, outcome.failed), time.monotonic() - begun, gate.counts, tuple(failures))


def show(result: Result, log: Path) -> None:
    """Print a gate's line and, when it is not green, the end of its log."""
    outcome = result.outcome
    numbers = f"{outcome.passed:>6} passed" if result.counts else " " * 13
    others = "".join(f"  {count} {word}" for count, word in ((outcome.failed, "FAILED"), (outcome.skipped, "SKIPPED")) if count)
    say(f"  {result.name:<22}{numbers}  {result.seconds:>7.1f} s{others}")
    if not result.good:
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-40:]:
            say(f"      | {line}")
        say(f"      log: {log}")


def report(path: Path) -> None:
    """Print the table that the benchmarks or the fault tests left."""
    if not path.is_file():
        return
    say(f"\n{path.relative_to(machine.ROOT)}")
    for row in json.loads(path.read_text()):
        say(f"  {row['name']:<60} {row['value']:>12} {row['unit']:<10} goal {row['goal']} ({row['better']} is better)")


def chosen(names: list[str]) -> list[Gate]:
    """Gates that the names stand for, each once, in the order given."""
    wanted: dict[str, Gate] = {}
    for name in names:
        if name not in SETS and name not in GATES:
            raise SystemExit(f"{name} is no gate and no set of gates; python3 -m tests.gates --list shows them.")
        wanted |= {each: GATES[each] for each in SETS.get(name, (name,))}
    return list(wanted.values())


def preflight(*, bed: bool) -> None:
    """Stop before anything long when this machine cannot run what is wanted."""
    lacks = machine.missing(bed=bed)
    if lacks:
        say("This machine lacks:")
        for sentence in lacks:
            say(f"  - {sentence}")
        raise SystemExit(2)
    found = ", ".join(python.version for python in machine.pythons().values())
    free = shutil.disk_usage(machine.cache()).free / machine.GIB
    say(f"Python {found}; {free:.0f} GiB free at {machine.cache()}")
    if bed:
        # the driver asks for root itself, and needs no more than this Python
        done = subprocess.run([sys.executable, "-m", "tests.bed.driver", "preflight", "--tests"], cwd=machine.ROOT, check=False)
        if done.returncode:
            raise SystemExit(2)


def workplace(gate: Gate, ready: dict[str, environments.Environment], tree: Path, collection: Path, *, full: bool) -> Workplace:
    """A gate's own log and empty folder."""
    scratch = tree / "scratch" / gate.name
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    log = BUILD / "logs" / f"{gate.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    return Workplace(ready, tree, collection, scratch, log, full, {"SERVEROPS_BUILD": str(BUILD)})


class Beside:
    """A gate that runs in a thread of its own."""

    def __init__(self, gate: Gate, place: Workplace) -> None:
        self.place = place
        self._results: list[Result] = []
        self._thread = threading.Thread(target=lambda: self._results.append(run(gate, place)), daemon=True)
        self._thread.start()

    def result(self) -> Result:
        """Wait for its end."""
        self._thread.join()
        return self._results[0]


def execute(gates: list[Gate], *, full: bool) -> list[Result]:
    """Run the gates one after the other, those of BESIDE beside others."""
    # tests start plays on every core, whatever they run on themselves
    needs = EVERY if any(set(gate.needs) - {"dev"} for gate in gates) else ("dev",)
    ready = environments.everything(say, names=needs)
    results: list[Result] = []
    with stage.tree() as tree:
        collection = stage.copy(tree)
        say(f"{len(stage.members())} files; main environment: ansible-core {ready['dev'].core()} on Python {ready['dev'].python.version}\n")
        started: dict[str, Beside] = {}

        def start_beside(other: str) -> None:
            for gate in gates:
                if BESIDE.get(gate.name) == other:
                    started[gate.name] = Beside(gate, workplace(gate, ready, tree, collection, full=full))

        start_beside("")
        # what looks at the tree first, what the bed's programs are needed for last
        for gate in [*(gate for gate in gates if gate.name not in ON_BED), *(gate for gate in gates if gate.name in ON_BED)]:
            start_beside(gate.name)
            desk = started.get(gate.name)
            place = desk.place if desk else workplace(gate, ready, tree, collection, full=full)
            with heartbeat(gate.name, place.log):
                result = desk.result() if desk else run(gate, place)
            show(result, place.log)
            results.append(result)
    return results


def conclude(results: list[Result], begun: float) -> int:
    """Print the table and the closing line; 0 only when everything is green."""
    total = Outcome()
    say(f"\n  {'gate':<22}{'passed':>8}{'failed':>8}{'skipped':>8}{'seconds':>9}")
    for result in results:
        total += result.outcome
        outcome = result.outcome
        say(f"  {result.name:<22}{outcome.passed:>8}{outcome.failed:>8}{outcome.skipped:>8}{result.seconds:>9.1f}")
    say(f"  {'':<46}{time.monotonic() - begun:>9.1f}\n")
    # named once more at the end: whoever sees only the last lines of a run has to know what to look at
    for result in results:
        if not result.good:
            for line in result.failures[:MOST_NAMED]:
                say(f"  {result.name}: {line}")
            say(f"  {result.name}: log: {BUILD / 'logs' / result.name}.log")
    say(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return int(not all(result.good for result in results))


def main(names: list[str]) -> int:
    """Do what the names say."""
    begun = time.monotonic()
    if not names or "--help" in names or "-h" in names:
        say(str(__doc__).strip())
        return 0 if names else 2
    if names == ["--list"]:
        for gate in GATES.values():
            sets = ", ".join(name for name, members in SETS.items() if gate.name in members)
            say(f"  {gate.name:<22} {gate.about} ({sets})")
        return 0
    if names in (["setup"], ["lock"]):
        preflight(bed=False)
        if names == ["lock"]:
            environments.lock(say)
        for environment in environments.everything(say).values():
            say(f"{environment.name:<5} ansible-core {environment.core():<8} {environment.path}")
        return 0
    if names == ["generated"]:
        preflight(bed=False)
        ready = environments.everything(say, names=("dev",))["dev"]
        with stage.tree() as tree:
            program = ("-m", f"ansible_collections.{stage.COLLECTION}.tests.gates.roles", str(machine.ROOT))
            where, known = stage.copy(tree), environments.variables(ready, tree)
            return subprocess.run([str(ready.interpreter), *program], cwd=where, env=known, check=False).returncode
    if names in (["demo"], ["demo-down"]):
        preflight(bed=True)
        ready = environments.everything(say, names=("dev",))["dev"]
        command = as_root(
            [str(ready.interpreter), "-m", "tests.demo", *(["--down"] if names == ["demo-down"] else [])], environments.variables(ready, machine.ROOT)
        )
        return subprocess.run(command, cwd=machine.ROOT, env=environments.variables(ready, machine.ROOT), check=False).returncode
    gates = chosen(names)
    preflight(bed=any(gate.name in ON_BED for gate in gates))
    results = execute(gates, full=bool(WHOLE & set(names)))
    for name in MEASURED:
        if GATES[name] in gates:
            report(BUILD / f"{name}.json")
    return conclude(results, begun)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except environments.SetUpError as failure:
        sys.exit(f"Setting up failed.\n{failure}")
    except KeyboardInterrupt:
        sys.exit(130)
