# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this machine has: its Pythons, its cache folder, and whether it can run the gates at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEWEST_FIRST = ("3.13", "3.12", "3.11")
FLOOR = "3.11"
GIB = 2**30
ENVIRONMENTS_NEED = 3 * GIB


@dataclass(frozen=True)
class Python:
    """An interpreter that was seen to start and to be able to make virtual environments."""

    path: Path
    version: str

    @property
    def minor(self) -> str:
        """Version without the patch level, such as `3.13`."""
        return self.version.rpartition(".")[0]


def cache() -> Path:
    """Folder for everything that outlives a run; never inside the clone."""
    chosen = os.environ.get("SERVEROPS_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "serverops-circleci"


def digest(*paths: Path) -> str:
    """Twelve hexadecimal digits that name the contents of files."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.read_bytes())
    return total.hexdigest()[:12]


def candidates(minor: str) -> list[Path]:
    """Where a Python of this minor version may lie: pyenv's real prefixes first, since its shims may refuse to start."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    prefixes = sorted(pyenv.glob(f"versions/{minor}.*/bin/python{minor}"), reverse=True)
    places = [Path(place) / f"python{minor}" for place in ("/usr/local/bin", "/usr/bin")]
    found = shutil.which(f"python{minor}")
    return [path for path in [*prefixes, *places, *([Path(found)] if found else [])] if path.exists()]


def start(path: Path) -> Python | None:
    """Start an interpreter and import what a virtual environment needs; None when either fails."""
    code = "import ensurepip, ssl, sys, venv; print('.'.join(map(str, sys.version_info[:3])))"
    try:
        done = subprocess.run([str(path), "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Python(path, done.stdout.strip()) if done.returncode == 0 else None


def pythons() -> dict[str, Python]:
    """The first usable interpreter of each supported minor version."""
    usable: dict[str, Python] = {}
    for minor in NEWEST_FIRST:
        for path in candidates(minor):
            seen = start(path)
            if seen and seen.minor == minor:
                usable[minor] = seen
                break
    return usable


def missing(*, bed: bool) -> list[str]:
    """Say at once, one sentence each, what this machine lacks; empty when it can run the gates.

    Args:
        bed: whether the bed of real components is wanted too, which needs root.
    """
    found = pythons()
    lacks: list[str] = []
    if FLOOR not in found:
        lacks.append(f"Python {FLOOR} (the floor of the collection) with the modules venv and ensurepip: install it, for example by pyenv.")
    if not shutil.which("git"):
        lacks.append("git: it lists the files that belong to the tree.")
    else:
        listed = subprocess.run(("git", "ls-files", "--cached"), cwd=ROOT, capture_output=True, text=True, check=False)
        if listed.returncode:
            lacks.append(f"a clone that git reads: in {ROOT} it says: {' '.join(listed.stderr.split())}")
    place = cache()
    try:
        place.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place).free
    except OSError as error:
        lacks.append(f"a cache folder: {place} cannot be made ({error.strerror}); name another in SERVEROPS_CACHE.")
    else:
        if free < ENVIRONMENTS_NEED:
            lacks.append(
                f"disk: {free / GIB:.1f} GiB free at {place}, {ENVIRONMENTS_NEED / GIB:.0f} GiB wanted; SERVEROPS_CACHE names another place."
            )
        if place.resolve().is_relative_to(ROOT):
            lacks.append(f"a cache outside the clone: {place} lies in it; name another in SERVEROPS_CACHE.")
    if bed and os.geteuid() != 0 and not shutil.which("sudo"):
        lacks.append("root or sudo: the bed makes namespaces, mounts and cgroups.")
    return lacks


def digest_of(text: str) -> str:
    """Twelve hexadecimal digits that name a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
