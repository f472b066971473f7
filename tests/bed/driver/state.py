# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is recorded about a bed, and the lock that lets one driver at a time change it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .paths import RUNTIME, BedError, write


def folder(name: str) -> Path:
    """Folder of the bed's sockets and state file."""
    return RUNTIME / name


def read(name: str) -> dict[str, Any] | None:
    """The recorded state; None when there is none."""
    try:
        return dict(json.loads((folder(name) / "state.json").read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return {}


def save(name: str, state: dict[str, Any]) -> None:
    """Record the state in one step, readable by root only."""
    write(folder(name) / "state.json", json.dumps(state, indent=1, sort_keys=True) + "\n", 0o600)


def names() -> list[str]:
    """Names of the beds that left anything below /run."""
    return sorted(path.name for path in RUNTIME.iterdir() if path.is_dir()) if RUNTIME.is_dir() else []


@contextlib.contextmanager
def locked(name: str, wait: float = 30) -> Iterator[Path]:
    """Hold the bed's folder for this driver; the kernel frees it when the driver dies. BedError after wait seconds."""
    end = time.monotonic() + wait
    while True:
        folder(name).mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            handle = os.open(folder(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # the driver that held it may have removed the folder
            if folder(name).exists() and os.fstat(handle).st_ino == folder(name).stat().st_ino:
                break
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(handle)
                raise BedError(f"another driver has been changing bed {name} for {wait:.0f} s; wait for it or end it") from None
        except FileNotFoundError:
            pass
        os.close(handle)
        time.sleep(0.05)
    try:
        yield folder(name)
    finally:
        os.close(handle)
