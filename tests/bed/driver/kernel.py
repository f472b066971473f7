# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few system calls that Python's standard library does not offer: namespaces, mounts, death of the parent."""

from __future__ import annotations

import ctypes
import os

NEW_MOUNTS = 0x00020000
NEW_PROCESSES = 0x20000000
NEW_NETWORK = 0x40000000

MOUNT_BIND = 0x1000
MOUNT_RECURSIVE = 0x4000
MOUNT_PRIVATE = 0x40000
MOUNT_SHARED = 0x100000
MOUNT_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8

_SET_PARENT_DEATH_SIGNAL = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Move this process (for processes: its later children) into new namespaces. OSError when the kernel refuses."""
    _check(_libc.unshare(flags), f"unshare {flags:#x}")


def enter_network(pid: int | str) -> None:
    """Move the calling thread into the network namespace of a process."""
    handle = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(handle, NEW_NETWORK), f"enter the network namespace of process {pid}")
    finally:
        os.close(handle)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). OSError names source and target."""
    _check(_libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()), f"mount {source} at {target}")


def die_with_parent(signal_number: int) -> None:
    """Ask for a signal when the thread that started this process ends; for use between fork and exec."""
    _libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal_number, 0, 0, 0)
