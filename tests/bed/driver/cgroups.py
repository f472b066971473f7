# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control group of its own per node, on cgroup v1 (also hybrid) and v2."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from .paths import BedError

ROOT = Path("/sys/fs/cgroup")
#: Controllers that a kubelet wants; those that the machine lacks are left out, except the needed ones.
WANTED_V2 = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma")
NEEDED = ("cpu", "cpuset", "memory", "pids")


def is_v2() -> bool:
    """Whether the machine has only the unified hierarchy."""
    return (ROOT / "cgroup.controllers").is_file()


def hierarchies() -> list[Path]:
    """The v1 hierarchies that are mounted below /sys/fs/cgroup, links left out."""
    return [path for path in sorted(ROOT.iterdir()) if path.is_dir() and not path.is_symlink()] if ROOT.is_dir() else []


def missing_controllers() -> list[str]:
    """The needed controllers that this machine does not offer."""
    if is_v2():
        offered = set((ROOT / "cgroup.controllers").read_text().split())
    else:
        offered = {name for path in ROOT.iterdir() for name in path.name.split(",")} if ROOT.is_dir() else set()
    return [name for name in NEEDED if name not in offered]


def find(prefix: str) -> list[Path]:
    """Top directories of the groups named prefix or prefix-n<number> (a bed's nodes), in every hierarchy."""
    wanted = re.compile(re.escape(prefix) + r"(-n\d+)?")
    return [path for place in ([ROOT] if is_v2() else hierarchies()) for path in place.iterdir() if wanted.fullmatch(path.name) and path.is_dir()]


def make(name: str) -> None:
    """Make the group in every hierarchy, ready for a kubelet's cgroupRoot. BedError when the machine refuses."""
    try:
        if is_v2():
            enable(ROOT)
            (ROOT / name / "host").mkdir(parents=True, exist_ok=True)
            enable(ROOT / name)
            return
        for path in hierarchies():
            if path.name == "unified":
                continue  # runc makes what it needs there
            (path / name).mkdir(exist_ok=True)
            if (path / "cpuset.cpus").exists():
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (path / name / file).write_text((path / file).read_text())
    except OSError as error:
        raise BedError(f"control group {name} cannot be made: {error}; the bed needs root on the machine itself, not in a container") from error


def enable(group: Path) -> None:
    """Hand the wanted controllers on to the children of a v2 group. BedError when a needed one is refused."""
    offered = (group / "cgroup.controllers").read_text().split()
    for controller in WANTED_V2:
        if controller not in offered:
            continue
        try:
            (group / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError as error:
            if controller in NEEDED:
                raise BedError(f"controller {controller} cannot be enabled below {group}: {error}; is this a container?") from error


def hold(name: str, pid: int) -> None:
    """Move a process into the group, so that all its later children are found there."""
    if is_v2():
        # the inner node of a v2 tree may hold no process: a leaf beside kubepods does
        (ROOT / name / "host" / "cgroup.procs").write_text(str(pid))
        return
    for controller in ("freezer", "pids"):
        if (ROOT / controller / name).is_dir():
            (ROOT / controller / name / "cgroup.procs").write_text(str(pid))
            return


def processes(prefix: str) -> set[int]:
    """Ids of all processes in the groups of a bed."""
    found: set[int] = set()
    for top in find(prefix):
        for folder, _folders, files in os.walk(top):
            if "cgroup.procs" in files:
                try:
                    found.update(int(word) for word in Path(folder, "cgroup.procs").read_text().split())
                except OSError:
                    continue  # the group went away meanwhile
    return found


def remove(prefix: str, deadline: float = 15) -> None:
    """Remove the groups of a bed, whose processes are gone. BedError names what stays after the deadline (seconds)."""
    end = time.monotonic() + deadline
    while tops := find(prefix):
        for top in tops:
            for folder, _folders, _files in os.walk(top, topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError:
                    continue  # a process in it is still ending
        if time.monotonic() > end:
            raise BedError(f"control groups stay: {', '.join(map(str, find(prefix)))}; look at their cgroup.procs")
        if find(prefix):
            time.sleep(0.05)
