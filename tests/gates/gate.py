# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gate is, what it gets to work with, and what it answers."""

from __future__ import annotations

import os
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import environments, stage


class GateError(Exception):
    """A gate could not do its work; the text says what was seen and what to do."""


@dataclass(frozen=True)
class Outcome:
    """How many things a gate looked at, and how they came out."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def good(self) -> bool:
        """Something passed, and nothing else happened: a gate that looked at nothing is not green."""
        return self.passed > 0 and not self.failed and not self.skipped

    def __add__(self, other: Outcome) -> Outcome:
        """Both together."""
        return Outcome(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)


@dataclass(frozen=True)
class Done:
    """A finished command."""

    status: int
    text: str


LONGEST_REASON = 300
"""Characters of a failed test's reason in the summary; the log has all of it."""
HANDED_TO_ROOT = (
    "ANSIBLE_",
    "LC_",
    "PATH",
    "PYTHON",
    "SERVEROPS_",
    "VIRTUAL_ENV",
    "SSL_CERT_FILE",
    "PIP_CERT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)


def as_root(command: list[str], variables: Mapping[str, str]) -> list[str]:
    """The command as root runs it: by sudo, with the variables that it needs, when this process is not root."""
    if os.geteuid() == 0:
        return command
    return ["sudo", "env", *(f"{key}={value}" for key, value in variables.items() if key.upper().startswith(HANDED_TO_ROOT)), *command]


def named_failures(report: ET.Element) -> list[str]:
    """Each failed test of a JUnit report in one line: its name, and the first line of why."""
    found = []
    for case in report.iter("testcase"):
        for verdict in (*case.findall("failure"), *case.findall("error")):
            why = (verdict.get("message") or "").strip().partition("\n")[0]
            found.append(f"{case.get('classname')}::{case.get('name')}: {why[:LONGEST_REASON]}")
    return found


@dataclass
class Workplace:
    """What a gate works with: environments, the staged copy, a folder of its own and a log."""

    ready: Mapping[str, environments.Environment]
    tree: Path
    collection: Path
    scratch: Path
    log: Path
    full: bool = False
    extra: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Write a line to the gate's log."""
        with self.log.open("a", encoding="utf-8") as out:
            out.write(f"{text}\n")

    def variables(self, name: str) -> dict[str, str]:
        """Process environment for programs of one virtual environment."""
        paths = {f"SERVEROPS_{key.upper()}": str(value.path) for key, value in self.ready.items()}
        return {**environments.variables(self.ready[name], self.tree), **paths, **self.extra}

    def run(
        self,
        *command: str | Path,
        name: str = "dev",
        cwd: Path | None = None,
        root: bool = False,
        also: Mapping[str, str] | None = None,
    ) -> Done:
        """Run a command in a virtual environment; its output goes to the log as it comes.

        Args:
            command: program and arguments; a bare program name is looked up in the virtual environment first.
            name: the environment's name.
            cwd: where to run, by default the staged copy.
            root: run by sudo when this process is not root.
            also: further variables.
        """
        known = {**self.variables(name), **(also or {})}
        argv = [str(part) for part in command]
        own = self.ready[name].bin / argv[0]
        if "/" not in argv[0] and own.exists():
            argv[0] = str(own)
        if root:
            argv = as_root(argv, known)
        self.note(f"$ {' '.join(argv)}")
        start = self.log.stat().st_size
        with self.log.open("ab") as out:
            done = subprocess.run(argv, cwd=cwd or self.collection, env=known, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False)
        with self.log.open("rb") as seen:
            seen.seek(start)
            text = seen.read().decode("utf-8", "replace")
        self.note(f"= exit status {done.returncode}")
        return Done(done.returncode, text)

    def checked(self, *command: str | Path, name: str = "dev", cwd: Path | None = None, also: Mapping[str, str] | None = None) -> str:
        """Run a command that has to succeed and return its output.

        Raises:
            GateError: it did not.
        """
        done = self.run(*command, name=name, cwd=cwd, also=also)
        if done.status:
            raise GateError(f"{command[0]}: exit status {done.status}")
        return done.text

    def pytest(self, *arguments: str | Path, name: str = "dev", root: bool = False) -> Outcome:
        """Run pytest and take the numbers from its own report, not from its prose."""
        report = self.scratch / f"pytest-{name}.xml"
        report.unlink(missing_ok=True)
        choice = () if self.full else ("-m", "not full")
        done = self.run("python", "-m", "pytest", "-q", *choice, f"--junitxml={report}", *arguments, name=name, root=root)
        if not report.exists():
            raise GateError(f"pytest ended with status {done.status} and left no report")
        root_element = ET.parse(report).getroot()
        self.failures += named_failures(root_element)
        numbers = [{key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")} for suite in root_element.iter("testsuite")]
        bad = sum(each["failures"] + each["errors"] for each in numbers)
        skipped = sum(each["skipped"] for each in numbers)
        passed = sum(each["tests"] for each in numbers) - bad - skipped
        if done.status and not bad:
            self.note(f"pytest: exit status {done.status} without a failed test")
            bad = 1
        return Outcome(max(passed, 0), bad, skipped)

    def counted(self, module: str, *arguments: str | Path) -> Outcome:
        """Run one of our own checks, which ends with a line `N passed, M failed`."""
        done = self.run("python", "-m", f"ansible_collections.{stage.COLLECTION}.tests.gates.{module}", *arguments)
        found = re.findall(r"^(\d+) passed, (\d+) failed$", done.text, re.MULTILINE)
        if not found:
            raise GateError(f"{module}: exit status {done.status} and no count")
        passed, bad = map(int, found[-1])
        return Outcome(passed, bad or int(done.status != 0))


@dataclass(frozen=True)
class Gate:
    """One thing that must hold."""

    name: str
    about: str
    work: Callable[[Workplace], Outcome]
    needs: tuple[str, ...] = ("dev",)
    counts: bool = True  # a step that prepares counts nothing


@dataclass(frozen=True)
class Result:
    """A gate's line in the table."""

    name: str
    outcome: Outcome
    seconds: float
    counts: bool
    failures: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether the run may go on to be green."""
        return self.outcome.good if self.counts else not self.outcome.failed
