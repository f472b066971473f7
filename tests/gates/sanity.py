# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gate of ansible-test's sanity tests: on this machine, without a container, and with its tests counted."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from . import environments, machine
from .gate import GateError, Outcome, Workplace

# tests that each ansible-core has for a collection; a run with fewer has tested less and still exits 0
TESTS = {"2.16": 32, "2.19": 24, "2.20": 24, "2.21": 24}
BOOTSTRAP = Path(__file__).with_name("get_pip.py")


ASK_PIP = (
    "import sys; from types import SimpleNamespace; from ansible_test._internal.python_requirements import get_venv_packages;"
    "print(get_venv_packages(SimpleNamespace(version=sys.argv[1]))['pip'])"
)


def bootstrap(environment: environments.Environment, place: Workplace, home: Path) -> None:
    """Put the stand-in where this ansible-test looks for the script that brings pip into its virtual environments."""
    version = place.checked("python", "-c", ASK_PIP, environment.python.minor, name=environment.name).strip()
    folder = home / ".ansible" / "test" / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(BOOTSTRAP, folder / f"get_pip_{version.replace('.', '_')}.py")


def sanity(name: str) -> Callable[[Workplace], Outcome]:
    """The gate for one environment."""

    def work(place: Workplace) -> Outcome:
        environment = place.ready[name]
        core = environment.core().rpartition(".")[0]
        if core not in TESTS:
            raise GateError(f"ansible-test: nobody wrote down how many tests ansible-core {core} has")
        home = machine.cache() / "ansible-test" / core
        with environments.alone(home):
            bootstrap(environment, place, home)
            # its virtual environments stay in this home, one per sanity test
            done = place.run(
                "ansible-test", "sanity", "--local", "--color", "no", "--python", environment.python.minor, name=name, also={"HOME": str(home)}
            )
        shutil.rmtree(place.collection / "tests" / "output", ignore_errors=True)
        ran = len(re.findall(r"^Running sanity test ", done.text, re.MULTILINE))
        skipped = len(re.findall(r"Skipping (?:sanity )?tests?\b", done.text))
        listed = re.search(r"The (\d+) sanity test\(s\) listed below", done.text)
        failed = int(listed.group(1)) if listed else int(done.status != 0)
        if ran != TESTS[core]:
            place.note(f"ansible-core {core} has {TESTS[core]} sanity tests, {ran} ran")
            failed += 1
        place.note("\n".join(line for line in done.text.splitlines() if line.startswith(("ERROR:", "FATAL:")))[:20000])
        return Outcome(max(ran - failed - skipped, 0), failed, skipped)

    return work
