# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules as the controller does, each in a process forked from one that has imported everything, so that it can be killed.

As a program it is that process: it reads one job per line, answers with the child's pid, and with its result when it has ended.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PLAIN = "tests.plays.in_process:run"
"""What runs a module: called with its name and options, answers with something that has `result` and `warnings`."""


@dataclass(frozen=True)
class Ended:
    """How a run ended. result: None when the process was killed. said: what it wrote to its terminal."""

    result: dict[str, Any] | None
    seconds: float
    warnings: list[str] = field(default_factory=list)
    said: str = ""
    signal: int = 0

    @property
    def failed(self) -> bool:
        return self.result is not None and bool(self.result.get("failed"))

    @property
    def succeeded(self) -> bool:
        return self.result is not None and not self.result.get("failed")

    @property
    def changed(self) -> bool:
        return bool(self.result and self.result.get("changed"))

    @property
    def text(self) -> str:
        """Everything that a person could have seen."""
        return json.dumps([self.result, self.warnings], ensure_ascii=False) + self.said


class Starter:
    """Starts modules one after the other. Use it as a context manager."""

    def __enter__(self) -> Starter:
        self._process = subprocess.Popen([sys.executable, "-m", __spec__.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._child: int | None = None
        self._lock = threading.Lock()
        return self

    def __exit__(self, *_unused: object) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(timeout=30)

    def _line(self) -> dict[str, Any]:
        text = self._process.stdout.readline() if self._process.stdout else ""
        if not text:
            raise RuntimeError(f"the process that starts modules has ended (status {self._process.poll()})")
        return dict(json.loads(text))

    def run(self, module: str, options: Mapping[str, Any], runner: str = PLAIN) -> Ended:
        """Run a module to its end, or to its death by `kill`."""
        if self._process.stdin is None:
            raise RuntimeError("the process that starts modules was not started")
        self._process.stdin.write(json.dumps({"module": module, "options": dict(options), "runner": runner}) + "\n")
        self._process.stdin.flush()
        pid = int(self._line()["pid"])
        with self._lock:
            self._child = pid
        # the child goes on only now, so that a kill always finds its pid
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        ended = self._line()
        with self._lock:
            self._child = None
        return Ended(**ended)

    def kill(self) -> None:
        """SIGKILL the module's process, and nothing when there is none."""
        with self._lock:
            if self._child is not None:
                # not reaped before `_child` is None: the pid is still its
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._child, signal.SIGKILL)


def _job(job: Mapping[str, Any], out: int) -> None:
    module_name, _colon, function = str(job["runner"]).partition(":")
    runner = getattr(importlib.import_module(module_name), function)
    ran = runner(job["module"], job["options"])
    with os.fdopen(out, "w") as file:
        json.dump({"result": ran.result, "warnings": list(ran.warnings)}, file)


def _run_child(line: str) -> dict[str, Any]:
    read, write = os.pipe()
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(read)
                os.dup2(said.fileno(), 2)
                os.read(0, 1)
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, 0)
                os.dup2(said.fileno(), 1)
                _job(json.loads(line), write)
                status = 0
            except BaseException:  # noqa: BLE001  the traceback is what the suite looks for
                import traceback

                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        os.close(write)
        _tell({"pid": pid})
        with os.fdopen(read) as file:
            text = file.read()
        # the child's end is seen without reaping it, so that its pid stays its own until the answer is out
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        seconds = time.monotonic() - began
        said.seek(0)
        ended: dict[str, Any] = {"seconds": seconds, "said": said.read().decode(errors="replace")}
        _unused, status = os.waitpid(pid, 0)
        ended["signal"] = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        ended |= json.loads(text) if text and not ended["signal"] else {"result": None}
        if ended["result"] is None and not ended["signal"]:
            ended["result"] = {"failed": True, "msg": f"the module's process ended with status {status} and without a result"}
        return ended


def _tell(document: Mapping[str, Any]) -> None:
    os.write(1, (json.dumps(document) + "\n").encode())


def _lines() -> Any:
    """Yield lines of standard input, read byte by byte: what follows belongs to the child."""
    line = b""
    while byte := os.read(0, 1):
        if byte != b"\n":
            line += byte
        elif line:
            yield line.decode()
            line = b""


def main() -> None:
    """Import what the runs need, then start one after the other."""
    importlib.import_module(PLAIN.partition(":")[0])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in _lines():
        _tell(_run_child(line))


if __name__ == "__main__":
    main()
