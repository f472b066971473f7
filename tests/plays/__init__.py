# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs plays in one of the test environments and returns every task's result as the core handed it to its callbacks."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CORES = {"newest": "SERVEROPS_DEV", "2.19": "SERVEROPS_C219", "2.16": "SERVEROPS_C216"}
"""The environments by ansible-core, and the variables in which the gates hand over their paths."""
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "ANSIBLE_COLLECTIONS_PATH")


@dataclass(frozen=True)
class TaskResult:
    """One task's result on one host."""

    task: str
    host: str
    status: str
    result: dict[str, Any]


@dataclass(frozen=True)
class Played:
    """A finished ansible-playbook: exit code, what it printed, every task's result in order."""

    rc: int
    stdout: str
    stderr: str
    results: list[TaskResult]

    @property
    def last(self) -> dict[str, Any]:
        """Return the last task's result."""
        if not self.results:
            raise AssertionError(f"no task ran (rc {self.rc}):\n{self.stdout[-3000:]}\n{self.stderr[-3000:]}")
        return self.results[-1].result


def environment(core: str) -> Path:
    """Return the folder of the environment with this ansible-core; a missing one is an error, not a skip."""
    path = os.environ.get(CORES[core])
    if not path or not Path(path, "bin", "ansible-playbook").exists():
        raise AssertionError(f"the environment for ansible-core {core} is not there ({CORES[core]}={path}); run the tests by make")
    return Path(path)


def variables(core: str, home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a clean set of environment variables for a command of an environment. home: where Ansible keeps its files."""
    result = {name: os.environ[name] for name in KEPT if name in os.environ}
    result["PATH"] = f"{environment(core) / 'bin'}:{result.get('PATH', '')}"
    result |= {
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_HOME": str(home / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(home / "ansible/tmp"),
        "ANSIBLE_ASYNC_DIR": str(home / "ansible/async"),
        "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"),
        "ANSIBLE_CALLBACKS_ENABLED": "record",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
    }
    return result | dict(extra or {})


def command(core: str, playbook: Path, arguments: Sequence[str] = ()) -> list[str]:
    """Return the command line that runs a playbook; without an inventory localhost is the implicit one."""
    return [str(environment(core) / "bin/ansible-playbook"), str(playbook), *arguments]


def written(home: Path, plays: Any, name: str = "play.yml") -> Path:
    """Write plays into a folder as JSON, which is YAML, and return the file."""
    path = home / name
    path.write_text(json.dumps(plays, indent=1))
    path.chmod(0o600)
    return path


def tasks_of(tasks: Sequence[Mapping[str, Any]], **keywords: Any) -> list[dict[str, Any]]:
    """Return one play on localhost with these tasks; keywords are the play's own (vars, module_defaults, become …)."""
    return [{"hosts": "localhost", "gather_facts": False, **keywords, "tasks": list(tasks)}]


def play(
    plays: Any,
    *,
    core: str = "newest",
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    home: Path | None = None,
    timeout: float = 300,
) -> Played:
    """Run plays (see tasks_of) to their end and return what came of them. home: a folder of the caller's, else a passing one."""
    if home is None:
        with tempfile.TemporaryDirectory(prefix="serverops-play-") as folder:
            return play(plays, core=core, arguments=arguments, env=env, home=Path(folder), timeout=timeout)
    record = home / "results.jsonl"
    record.unlink(missing_ok=True)
    done = subprocess.run(
        command(core, written(home, plays), arguments),
        env=variables(core, home, {"SERVEROPS_RECORD": str(record), **(env or {})}),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Played(done.returncode, done.stdout, done.stderr, recorded(record))


def recorded(record: Path) -> list[TaskResult]:
    """Return the results in a file that the callback wrote, also of a play that is still running or was killed."""
    if not record.exists():
        return []
    lines = [json.loads(line) for line in record.read_text().splitlines() if line.endswith("}")]
    return [TaskResult(line["task"], line["host"], line["status"], line["result"]) for line in lines]
