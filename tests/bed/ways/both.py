# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs tasks in the controller process or as modules, and makes their results comparable."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.plays import Played, TaskResult, environment, play

COLLECTION = "serverops.circleci"
WAYS = ("controller", "module")
# differs between two runs by its nature: where it ran, what was handed over, how long it took, when the server looked
DROPPED = frozenset({"ran", "invocation", "waited", "last_validation_time", "last_synced_time", "resourceVersion", "age", "duration"})
CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\(\d+ s ago\)"), "(AGO)"),
    (re.compile(r"after \d+ s"), "after SECONDS"),
    (re.compile(r"marker [0-9a-f]{8}"), "marker"),
    (re.compile(r"\bways-young-\d{14}\b"), "ways-young-STAMP"),
    (re.compile(r"\b(velero-[0-9a-f]{6,10}|node-agent)-[a-z0-9]{5}\b"), "POD"),
    (re.compile(r"(Request ?I[dD]|Host ?I[dD])(: ?|=)[^, ]+"), r"\1"),
)
COREADDED = frozenset({"exception", "failed"})


def comparable(value: Any) -> Any:
    """Return a result without what differs between two runs of the same."""
    if isinstance(value, str):
        for pattern, word in CHANGING:
            value = pattern.sub(word, value)
        # the core lists the valid booleans in an order of its own each time
        listed = re.search(r"(?s)Valid booleans include: (.*)", value)
        return value.replace(listed[1], ", ".join(sorted(listed[1].split(", ")))) if listed else value
    if isinstance(value, Mapping):
        return {name: comparable(item) for name, item in value.items() if name not in DROPPED | COREADDED}
    return [comparable(item) for item in value] if isinstance(value, list) else value


def hosts(folder: Path, core: str = "newest") -> Path:
    """Write an inventory of two hosts on this machine: controller (the running Python), and module (the same by another path)."""
    link = folder / f"environment-{core}"
    if not link.exists():
        link.symlink_to(environment(core))
    inventory = folder / "inventory.json"
    local = {"ansible_connection": "local"}
    known = {
        "controller": local | {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "module": local | {"ansible_python_interpreter": str(link / "bin/python")},
    }
    inventory.write_text(json.dumps({"all": {"hosts": known}}))
    return inventory


def task(name: str, module: str, options: Mapping[str, Any], **keywords: Any) -> dict[str, Any]:
    """Return a task that may fail."""
    return {"name": name, f"{COLLECTION}.{module}": dict(options), "ignore_errors": True, **keywords}


def ran(
    folder: Path,
    tasks: Sequence[tuple[str, Mapping[str, Any]]],
    env: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    core: str = "newest",
    timeout: float = 900,
) -> Played:
    """Run tasks in order, each with the way in which it has to run; AssertionError when one ran another way."""
    inventory = hosts(folder, core)
    plays = [{"hosts": way, "gather_facts": False, "tasks": [one]} for way, one in tasks]
    done = play(plays, core=core, home=folder, arguments=["-i", str(inventory), *arguments], env=env, timeout=timeout)
    assert len(done.results) == len(tasks), f"{len(done.results)} of {len(tasks)} tasks ran:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    for (way, one), result in zip(tasks, done.results, strict=True):
        assert result.result.get("ran") == way, f"{one['name']} had to run in the {way} way: {result.result}"
    return done


def told(result: TaskResult) -> str:
    """Return what went wrong, for messages of tests."""
    return f"{result.task}: {result.status}: {result.result.get('msg', result.result)}"
