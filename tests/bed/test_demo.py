# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: killed at the end of each of its stages and started again it goes on, comes to its proof, and can be shown a second time."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed.driver import down
from tests.bed.driver.paths import REPOSITORY, cache
from tests.demo.stages import STAGES

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]
NAME = "demo-test"
ENDED = re.compile(r"== (\d+)/\d+ done in")
BEGUN = re.compile(r"== (\d+)/\d+ (?!done)(?!.*done before)")


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """No bed and no files of this demo before and after."""
    argv = [sys.executable, "-m", "tests.demo", "--down", "--name", NAME]
    subprocess.run(argv, cwd=REPOSITORY, check=True)
    yield
    subprocess.run(argv, cwd=REPOSITORY, check=True)
    assert not down(NAME)
    assert not (cache() / "demo" / NAME).exists()


def shown(log: Path, kill_after: int = 0) -> list[int]:
    """Run the demo, and kill it with everything that it started when it says that a stage (from 1) is done. Returns the stages that it began."""
    begun = []
    argv = [sys.executable, "-m", "tests.demo", "--name", NAME]
    with (
        log.open("a") as kept,
        subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo,
    ):
        assert demo.stdout is not None
        for line in demo.stdout:
            kept.write(line)
            if found := BEGUN.match(line):
                begun.append(int(found.group(1)))
            found = ENDED.match(line)
            if found and int(found.group(1)) == kill_after:
                os.kill(demo.pid, signal.SIGKILL)
                break
        demo.stdout.read()
    assert demo.returncode == (-signal.SIGKILL if kill_after else 0), log.read_text()[-3000:]
    return begun


def test_killed_at_each_stage_and_shown_twice(tmp_path: Path) -> None:
    """After each kill only what was not done is begun; the proof says that every row is back; the second time everything is begun again."""
    log = tmp_path / "log"
    number = len(STAGES)
    for stage in range(1, number):
        assert shown(log, kill_after=stage) == [stage], log.read_text()[-3000:]
    assert shown(log) == [number]
    rows = re.search(r"rows, same checksum +(\d+) +(\d+)", log.read_text())
    assert rows
    assert rows.group(1) == rows.group(2) != "0"
    page = re.search(r"^  page +(\S+)$", log.read_text(), re.MULTILINE)
    assert page
    assert Path(page.group(1)).stat().st_size > 1000
    log.unlink()
    assert shown(log) == list(range(1, number + 1))
    assert "PROOF" in log.read_text()
