# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates that read the tree as text: licence headers, and what must not stand in it."""

from __future__ import annotations

import re
from pathlib import Path

from . import machine, stage
from .gate import Outcome, Workplace

IDENTIFIER = "SPDX-License-Identifier: GPL-3.0-or-later"
HEADER = (
    "# Copyright (c) 2026, serverops.circleci contributors",
    "# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)",
    f"# {IDENTIFIER}",
)
WITH_IDENTIFIER = {".c", ".cfg", ".conf", ".go", ".in", ".j2", ".rst", ".service", ".sh", ".toml", ".yaml", ".yml"}
NAMED = {"Makefile", "run", ".ansible-lint", ".gitignore", ".yamllint", "bindep.txt", "requirements.txt"}
# written by tools, or the licence and prose themselves
WITHOUT = ("LICENSE", "*.md", "go.mod", "go.sum", "requirements/*.txt", "changelogs/changelog.yaml", "changelogs/fragments/*")

# patterns and not names, so that this file does not hold what it looks for
FORBIDDEN = {
    "host name of a package registry": re.compile(
        r"pypi\.org|pythonhosted\.org|proxy\.golang\.org|sum\.golang\.org|goproxy\.[a-z]+|registry\.npmjs\.org|crates\.io|rubygems\.org"
        r"|(?:deb|security|ftp)\.debian\.org|(?:archive|security|ports)\.ubuntu\.com"
    ),
    "path of one machine": re.compile(r"(?<![\w./${}*-])/(?:work|root|opt/wheels|home/[a-z]+)/[\w.]|/tmp/(?:bash_jobs|venvs\.txt)"),
    "line left by a merge": re.compile(r"^(?:<{7} |={7}$|>{7} )", re.MULTILINE),
    "private key": re.compile(r"^-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----$", re.MULTILINE),
}


def text_of(path: Path) -> str | None:
    """A member's text; None for a binary file."""
    data = (machine.ROOT / path).read_bytes()
    if b"\0" in data[:8192]:
        return None
    return data.decode("utf-8", "replace")


def headers(place: Workplace) -> Outcome:
    """Every file that can carry a licence header carries it; a Python file the whole of it."""
    passed, failed = 0, 0
    for path in stage.members():
        if any(path.match(pattern) for pattern in WITHOUT):
            continue
        text = text_of(path)
        if text is None or (machine.ROOT / path).is_symlink():
            continue
        top = text.splitlines()[:10]
        script = bool(top) and top[0].startswith("#!")
        if path.suffix == ".py" or (script and "python" in top[0]):
            body = top[1:] if script else top
            good = tuple(body[:3]) == HEADER
        elif path.suffix in WITH_IDENTIFIER or path.name in NAMED or script:
            good = any(IDENTIFIER in line for line in top)
        else:
            continue
        passed, failed = passed + good, failed + (not good)
        if not good:
            place.note(f"{path}: no licence header in its first lines")
    return Outcome(passed, failed)


def words(place: Workplace) -> Outcome:
    """No file names a package registry's host or a path of one machine, and none has a leftover or a private key."""
    passed, failed = 0, 0
    for path in stage.members():
        text = text_of(path)
        if text is None:
            continue
        found = [(what, match) for what, pattern in FORBIDDEN.items() for match in pattern.finditer(text)]
        for what, match in found:
            place.note(f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {what}: {match.group(0).strip()}")
        passed, failed = passed + (not found), failed + bool(found)
    return Outcome(passed, failed)
