# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running ansible-playbook that tests look at, interrupt and kill."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.plays import TaskResult, command, recorded, variables, written


def until(look: Callable[[], Any], seconds: float, what: str) -> Any:
    """Look until there is something; AssertionError after so many seconds."""
    end = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)
    return seen


class Started:
    """An ansible-playbook in a session of its own; lines holds what it printed, each with its time."""

    def __init__(self, plays: Any, home: Path, core: str, arguments: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        self._record = home / "results.jsonl"
        self._record.unlink(missing_ok=True)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # what a shell starts in the background ignores Ctrl-C, and hands that on; a person's ansible-playbook does not
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.lines: list[tuple[float, str]] = []
        self.process = subprocess.Popen(
            command(core, written(home, plays), arguments),
            env=variables(core, home, {"SERVEROPS_RECORD": str(self._record), "PYTHONUNBUFFERED": "1", **(env or {})}),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), line.rstrip("\n")))

    @property
    def text(self) -> str:
        """Return everything that was printed."""
        return "\n".join(line for _at, line in self.lines)

    @property
    def results(self) -> list[TaskResult]:
        """Return the results so far."""
        return recorded(self._record)

    def members(self) -> list[int]:
        """Return the processes of this play that still run: its environment marks them, also workers in sessions of their own."""
        mark = f"SERVEROPS_RECORD={self._record}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                # a process that has ended and is not yet collected has no environment any more
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def ended(self, seconds: float) -> int:
        """Wait for the end and return the exit status."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s:\n{self.text}") from None
        self._reader.join(5)
        return status

    def close(self) -> None:
        """End what is left of it."""
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
