# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of the clone in the folder layout that Ansible's tools ask for, outside the clone."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import machine

NAMESPACE, NAME = "serverops", "circleci"
COLLECTION = f"{NAMESPACE}.{NAME}"


def members() -> list[Path]:
    """Files of the clone that belong to the tree: tracked or new, not ignored, relative to its root."""
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
    listed = subprocess.run(command, cwd=machine.ROOT, capture_output=True, text=True, check=True).stdout
    paths = [Path(name) for name in listed.split("\0") if name]
    return sorted(path for path in paths if (machine.ROOT / path).is_symlink() or (machine.ROOT / path).is_file())


def copy(tree: Path) -> Path:
    """Copy the clone to `tree`/ansible_collections/serverops/circleci and return that folder.

    A symbolic link in its place would not do: ansible-test resolves it and then refuses to run. A copy inside the clone
    would be git-ignored, and ansible-test then tests nothing and exits 0.
    """
    collection = tree / "ansible_collections" / NAMESPACE / NAME
    shutil.rmtree(collection, ignore_errors=True)
    for path in members():
        target = collection / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(machine.ROOT / path, target, follow_symlinks=False)
    return collection


@contextmanager
def tree() -> Iterator[Path]:
    """A folder for a copy, kept to this process; several runs at once get one each, and its name is stable for caches."""
    clone = machine.digest_of(str(machine.ROOT))
    for number in range(64):
        place = machine.cache() / "trees" / f"{clone}-{number}"
        place.mkdir(parents=True, exist_ok=True)
        handle = os.open(place / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        try:
            yield place
        finally:
            os.close(handle)
        return
    raise RuntimeError(f"64 runs of the gates are going on in {machine.ROOT}")
