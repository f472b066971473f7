# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The EXAMPLES of every module, each as a play that can be run; as a program, checks their options and syntax."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

COLLECTION = "serverops.circleci"
Play = dict[str, Any]


def program(name: str) -> str:
    """A program of the virtual environment that runs this."""
    return str(Path(sys.executable).with_name(name))


def documented() -> dict[str, dict[str, Any]]:
    """Documentation of every module by its full name, with keys `doc`, `examples`, `return`, or `error`."""
    command = (program("ansible-doc"), "--metadata-dump", "--no-fail-on-errors", COLLECTION)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    modules: dict[str, dict[str, Any]] = json.loads(done.stdout)["all"].get("module", {})
    return modules


def plays_of(name: str, entry: dict[str, Any]) -> list[Play]:
    """EXAMPLES of one module as plays; a list of tasks becomes one play on localhost."""
    content = yaml.safe_load(entry.get("examples") or "") or []
    if content and all("hosts" in item for item in content):
        return list(content)
    return [{"name": f"EXAMPLES of {name}", "hosts": "localhost", "gather_facts": False, "tasks": content}] if content else []


def plays() -> Iterator[tuple[str, Play]]:
    """Every module with each of its plays: what a test on the bed runs."""
    for name, entry in sorted(documented().items()):
        for play in plays_of(name, entry):
            yield name, play


def tasks_of(play: Play) -> Iterator[dict[str, Any]]:
    """Tasks of a play, those in blocks included."""
    waiting = [task for key in ("pre_tasks", "tasks", "post_tasks", "handlers") for task in play.get(key) or []]
    while waiting:
        task = waiting.pop(0)
        waiting[:0] = [inner for key in ("block", "rescue", "always") for inner in task.get(key) or []]
        yield task


def findings(name: str, entry: dict[str, Any], modules: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What is wrong with a module's EXAMPLES."""
    if "error" in entry:
        yield entry["error"]
        return
    used = 0
    for play in plays_of(name, entry):
        for task in tasks_of(play):
            if not task.get("name"):
                yield "a task without a name"
            for module in set(task) & set(modules):
                used += module == name
                options = modules[module]["doc"]["options"]
                known = set(options) | {alias for option in options.values() for alias in option.get("aliases", [])}
                given = task[module] or {}
                if not isinstance(given, dict):
                    yield f"options of {module} are no mapping"
                    continue
                yield from (f"{module} has no option {option}" for option in sorted(set(given) - known))
                lacking = {option for option, spec in options.items() if spec.get("required") and not {option, *spec.get("aliases", [])} & set(given)}
                if not play.get("module_defaults"):
                    yield from (f"{module} is used without its option {option}" for option in sorted(lacking))
    if not used:
        yield "its EXAMPLES do not use it"


def main(folder: Path) -> int:
    """Write one playbook per module below `folder`, check them all, and print a count."""
    folder.mkdir(parents=True, exist_ok=True)
    modules = documented()
    bad: dict[str, list[str]] = {}
    files: list[Path] = []
    for name, entry in sorted(modules.items()):
        bad[name] = list(findings(name, entry, modules))
        if "error" not in entry and plays_of(name, entry):
            files.append(folder / f"{name}.yml")
            files[-1].write_text(yaml.safe_dump(plays_of(name, entry), sort_keys=False))
    if files:
        command = (program("ansible-playbook"), "--syntax-check", "--inventory", "localhost,", *map(str, files))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            bad["syntax"] = [done.stderr.strip()]
    for name, sentences in bad.items():
        for sentence in sentences:
            print(f"{name}: {sentence}")
    failed = sum(1 for sentences in bad.values() if sentences)
    print(f"{len(modules) - sum(1 for name in modules if bad[name])} passed, {failed} failed")
    return int(bool(failed) or not modules)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
