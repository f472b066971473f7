# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds, identifies and ends the processes of a bed without ever touching another one."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from . import cgroups
from .paths import MARK, BedError


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot: together with the id it names one process for ever. None when it is gone."""
    try:
        text = Path("/proc", str(pid), "stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    # state Z: ended already, only its exit status is left
    return None if fields[0] in "ZX" else int(fields[19])


def alive(pid: int | None, start: int | None) -> bool:
    """Whether exactly this process still runs."""
    return pid is not None and start is not None and start_time(pid) == start


def marked(name: str) -> set[int]:
    """Ids of the processes that carry the mark of the bed in their environment."""
    wanted = f"{MARK}={name}".encode()
    found = set()
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                environment = (path / "environ").read_bytes()
            except OSError:
                continue  # gone, or a kernel thread
            if wanted in environment.split(b"\0"):
                found.add(int(path.name))
    return found


def cgroup_prefix(name: str) -> str:
    """Beginning of the names of the bed's control groups; each node appends a hyphen and its name."""
    return f"serverops-bed-{name}"


def find(name: str) -> set[int]:
    """Ids of every process of the bed: those in its control groups and those with its mark, this process left out."""
    return (cgroups.processes(cgroup_prefix(name)) | marked(name)) - {os.getpid()}


def kill(pid: int, start: int | None, number: int = signal.SIGKILL) -> bool:
    """Send a signal to exactly this process (start as start_time gives it); False when it is gone."""
    try:
        handle = os.pidfd_open(pid)
    except (ProcessLookupError, FileNotFoundError):
        return False  # newer kernels answer "no such file" for one that ends just now
    try:
        if start is None or start_time(pid) != start:
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def end_all(name: str, deadline: float = 20) -> int:
    """Kill every process of the bed and wait until none is left; the answer is how many were seen. BedError after the deadline."""
    seen: set[int] = set()
    end = time.monotonic() + deadline
    while left := {pid: start for pid in find(name) if (start := start_time(pid)) is not None}:
        seen.update(left)
        for pid, start in left.items():
            kill(pid, start)
        if time.monotonic() > end:
            raise BedError(f"processes {sorted(left)} of bed {name} do not end after SIGKILL; look at /proc/PID/stack")
        time.sleep(0.02)
    return len(seen)
