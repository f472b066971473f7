# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the bed keeps things: caches outside the clone, one run directory and one folder of sockets per bed."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

BED_SOURCES = Path(__file__).resolve().parent.parent
REPOSITORY = BED_SOURCES.parent.parent
TOOLS = BED_SOURCES / "tools"
IMAGES = BED_SOURCES / "images"
TEMPLATES = BED_SOURCES / "templates"
TWINS = BED_SOURCES / "twins"

#: Folder of the beds' sockets and state files; short, because the path of a Unix socket has at most 107 bytes.
RUNTIME = Path("/run/serverops-bed")

#: Environment variable by which every process of a bed is found, whatever became of the state file.
MARK = "SERVEROPS_BED_MARK"

DEFAULT_NAME = "serverops"
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?(?<!-n\d)(?<!-n\d\d)")

_started = time.monotonic()


class BedError(Exception):
    """Something of the bed failed; the text says what was done, what was seen and what to do next."""


def check_name(name: str) -> str:
    """The name itself; BedError when it cannot be the name of a bed."""
    if not _NAME.fullmatch(name):
        raise BedError(f"bed name {name!r}: use a lower-case letter and up to 29 more letters, digits and hyphens, and no -n<number> at the end")
    return name


def cache() -> Path:
    """The cache directory: SERVEROPS_CACHE, else serverops-circleci below XDG_CACHE_HOME or ~/.cache. Made when missing."""
    given = os.environ.get("SERVEROPS_CACHE")
    if given:
        folder = Path(given).absolute()
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "serverops-circleci"
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        give_to_caller(folder)
    return folder


def give_to_caller(path: Path) -> None:
    """Under sudo: make the person who called the owner of something that is meant for them."""
    if os.environ.get("SUDO_UID", "").isdigit() and os.geteuid() == 0:
        os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ.get("SUDO_GID", "-1")))


def say(text: str) -> None:
    """One line of progress on standard output, with the seconds since the driver started."""
    print(f"[{time.monotonic() - _started:6.1f} s] {text}", flush=True)


def fill(template: str, **values: object) -> str:
    """Text of templates/<template> with every @NAME@ replaced; BedError for a name without value."""
    text = (TEMPLATES / template).read_text()

    def value(match: re.Match[str]) -> str:
        try:
            return str(values[match.group(1).lower()])
        except KeyError:
            raise BedError(f"template {template} wants @{match.group(1)}@, which nobody gave") from None

    return re.sub(r"@([A-Z][A-Z0-9_]*)@", value, text)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file in one step: readers see the old or the new text, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    fresh.chmod(mode)
    fresh.replace(path)
