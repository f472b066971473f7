# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates of the Python and YAML sources: ruff, mypy, ansible-lint."""

from __future__ import annotations

import re
import shutil

from . import stage
from .gate import GateError, Outcome, Workplace

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def ruff(place: Workplace) -> Outcome:
    """No finding of the linter, and every file formatted."""
    form = place.run("ruff", "format", "--no-cache", "--check", "--output-format=concise")
    found = place.run("ruff", "check", "--no-cache", "--output-format=concise")
    counts = {kind: int(count) for count, kind in re.findall(r"(\d+) files? (would be reformatted|already formatted)", form.text)}
    bad = len(re.findall(r"^\S+:\d+:\d+: ", found.text, re.MULTILINE)) + counts.get("would be reformatted", 0)
    if (found.status or form.status) and not bad:
        raise GateError(f"ruff: exit status {found.status} and {form.status} without a finding")
    return Outcome(counts.get("already formatted", 0), bad)


def mypy(place: Workplace) -> Outcome:
    """Strict types in the plugins, and in the programs of the tests that people start themselves."""
    total = Outcome()
    packages = {
        f"ansible_collections.{stage.COLLECTION}.plugins": place.tree,
        "tests.gates": place.collection,
        "tests.bed.driver": place.collection,
        "tests.bed.circleci_server": place.collection,
        "tests.demo": place.collection,
    }
    for package, base in packages.items():
        if not (base / package.replace(".", "/")).is_dir():
            raise GateError(f"mypy: there is no package {package}")
        # no cache of an earlier run: mypy takes one whose files changed meanwhile for current, and then finds what is not there
        choice = ("--config-file", place.collection / "pyproject.toml", "--cache-dir", place.scratch / "cache", "--no-color-output")
        done = place.run("mypy", *choice, "-p", package, also={"MYPYPATH": str(base)})
        clean = re.search(r"no issues found in (\d+) source files?", done.text)
        found = re.search(r"Found (\d+) errors? in \d+ files? \(checked (\d+) source files?\)", done.text)
        if done.status == 0 and clean:
            total += Outcome(int(clean.group(1)))
        else:
            total += Outcome(0, int(found.group(1)) if found else 1)
    return total


def ansible_lint(place: Workplace) -> Outcome:
    """Profile production with the opt-in rules that fit, without one exception."""
    ignores = [path for path in stage.members() if path.name == ".ansible-lint-ignore" or path.match("tests/sanity/ignore*")]
    if ignores:
        raise GateError(f"no finding may be ignored, but there is {', '.join(map(str, ignores))}")
    done = place.run("ansible-lint", "--offline", "--nocolor", "-p")
    shutil.rmtree(place.collection / ".ansible", ignore_errors=True)
    found = re.search(r"(\d+) failure\(s\), (\d+) warning\(s\) in (\d+) files", ANSI.sub("", done.text))
    if not found:
        raise GateError(f"ansible-lint: exit status {done.status} and no count")
    bad, warnings, files = map(int, found.groups())
    return Outcome(files, bad + warnings or int(done.status != 0))
