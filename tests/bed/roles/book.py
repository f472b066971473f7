# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the playbooks that are shipped, with the inventories that are shipped and variables of the test's own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.plays import Played, command, recorded, variables

ROOT = Path(__file__).resolve().parents[3]


def run_book(
    book: str,
    home: Path,
    inventory: str,
    extra: Mapping[str, Any],
    *arguments: str,
    files: tuple[str, ...] = (),
    core: str = "newest",
    timeout: float = 600,
) -> Played:
    """Run a playbook of the collection by its name with an inventory; extra: variables that take precedence over it, in a file of mode 0600."""
    home.mkdir(exist_ok=True)
    given = home / "extra.json"
    given.touch(0o600)
    given.write_text(json.dumps(extra))
    record = home / "results.jsonl"
    record.unlink(missing_ok=True)
    chosen = [part for file in (*files, f"@{given}") for part in ("-e", file)]
    done = subprocess.run(
        command(core, ROOT / "playbooks" / f"{book}.yml", ["-i", str(ROOT / "inventories" / inventory), *chosen, *arguments]),
        env=variables(core, home, {"SERVEROPS_RECORD": str(record)}),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Played(done.returncode, done.stdout, done.stderr, recorded(record))


def ours(played: Played) -> list[dict[str, Any]]:
    """Return the results of the collection's own tasks, items of loops one by one."""
    return [result.result for result in played.results if "ran" in result.result]


def told(played: Played) -> str:
    """Return the end of what a play printed."""
    return (played.stdout + played.stderr)[-3000:]
