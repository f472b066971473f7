# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the first process of a node, and talks to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import cgroups, processes
from .node import Node
from .paths import MARK, REPOSITORY, BedError


def launch(node: Node, inherited: list[int], record: Callable[[int, int], None]) -> None:
    """Start the node's first process (PID 1 of its own namespaces); inherited: numbers of sockets that it hands on to its processes.

    record(process id, start time) is called before the process may do anything; when the driver dies before that, the process ends by itself.
    Returns when the node answers. BedError with the end of its log when it does not.
    """
    config = node.run / "conf" / "supervisor.json"
    config.write_text(json.dumps(node.supervisor(), indent=1))
    log = node.run / "log" / "supervisor.log"
    go_read, go_write = os.pipe()
    report_read, report_write = os.pipe()
    try:
        with log.open("w") as output:
            starter = subprocess.Popen(
                [sys.executable, "-m", "tests.bed.driver.supervisor", str(config), str(go_read), str(report_write)],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=(go_read, report_write, *inherited),
                env={**os.environ, MARK: node.bed},
            )
        os.close(report_write)
        report_write = -1
        reported = os.read(report_read, 32)
        starter.wait()
        start = processes.start_time(int(reported)) if reported else None
        if start is None:
            raise BedError(f"the first process of node {node.name} did not start: {tail(log)}")
        pid = int(reported)
        cgroups.make(node.cgroup)
        record(pid, start)
        cgroups.hold(node.cgroup, pid)
        os.write(go_write, b"g")
    finally:
        for number in (go_read, go_write, report_read, report_write):
            if number >= 0:
                os.close(number)
    deadline = time.monotonic() + 20
    while True:
        try:
            ask(node.sockets / "control.sock", {"do": "list"})
            return
        except (BedError, OSError):
            if not processes.alive(pid, start):
                raise BedError(f"the first process of node {node.name} ended: {tail(log)}") from None
            if time.monotonic() > deadline:
                raise BedError(f"the first process of node {node.name} does not answer after 20 s: {tail(log)}") from None
            time.sleep(0.02)


def tail(log: Path, lines: int = 6) -> str:
    """The last lines of a log in one line, and where the rest is."""
    try:
        text = " | ".join(log.read_text(errors="replace").strip().splitlines()[-lines:])
    except OSError as error:
        text = f"no log: {error}"
    return f"{text or 'no output'} (log: {log})"


def ask(control: Path, request: dict[str, Any], timeout: float = 90) -> dict[str, Any]:
    """Send one request to a supervisor. BedError with its answer when it refuses, OSError when nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(str(control))
        connection.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(connection.makefile("r").readline() or '{"error": "no answer"}')
    if "error" in answer:
        raise BedError(f"supervisor: {answer['error']}")
    return answer
