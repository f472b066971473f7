# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a play under strace and looks for secrets, in every form, in all that it printed, returned, started, wrote and left behind."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.plays import command, variables, written

SHORTEST = 8
"""Lines of a secret that are shorter are not looked for: they are ordinary words."""
PUBLIC = re.compile(r"-----(BEGIN|END) [A-Z ]+-----|\[[a-z]+\]|[{}]")
"""Lines inside a secret that everybody knows."""
CREATED = re.compile(r'openat\([^,]+, "(?P<path>[^"]+)", [A-Z_|0-9x]*O_CREAT[A-Z_|0-9x]*, 0?(?P<mode>[0-7]+)\)\s+= \d+')
MADE = re.compile(r'mkdir(?:at)?\((?:[^",]+, )?"(?P<path>[^"]+)", 0?(?P<mode>[0-7]+)\)\s+= 0')


def forms(name: str, secret: str) -> Iterator[tuple[str, str]]:
    """Yield (what it is, text) for each form in which a secret may show itself."""
    parts = {name: secret}
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        parts |= {f"{name}, line {number}": line for number, line in enumerate(lines, 1) if len(line) >= SHORTEST and not PUBLIC.fullmatch(line)}
    for what, part in parts.items():
        yield what, part
        yield f"{what}, base64", base64.b64encode(part.encode()).decode().rstrip("=")
        yield f"{what}, JSON-escaped", json.dumps(part)[1:-1]
        yield f"{what}, URL-quoted", urllib.parse.quote(part, safe="")


@dataclass(frozen=True)
class Seen:
    """Everything that can be seen of a run: texts by where they stand, and files and folders made, each with its mode."""

    rc: int
    texts: dict[str, str]
    made: list[tuple[str, int]]

    def leaks(self, secrets: Mapping[str, str]) -> list[str]:
        """Return where which secret shows itself in which form."""
        looked_for = {text: what for name, secret in secrets.items() for what, text in forms(name, secret)}
        return [f"{where}: {what}" for where, text in self.texts.items() for form, what in looked_for.items() if form in text]

    def open_to_others(self) -> list[str]:
        """Return the files and folders, of those made where temporary ones belong, that somebody else might read."""
        return [f"{path} {mode:o}" for path, mode in self.made if mode & 0o077]


def watch(plays: Any, home: Path, arguments: Sequence[str], env: Mapping[str, str], core: str = "newest") -> Seen:
    """Run plays at -vvvv --diff under strace. home: a folder for all that Ansible writes; secrets.json in it is the caller's."""
    assert shutil.which("strace"), "strace is missing; install Debian package strace"
    house, temporary, trace, record = home / "house", home / "temporary", home / "trace", home / "results.jsonl"
    house.mkdir()
    temporary.mkdir(mode=0o700)
    given = {
        "SERVEROPS_RECORD": str(record),
        "HOME": str(house),
        "TMPDIR": str(temporary),
        "ANSIBLE_LOCAL_TEMP": str(temporary / "local"),
        "ANSIBLE_REMOTE_TMP": str(temporary / "remote"),
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(home / "facts"),
        **env,
    }
    book = written(home, plays)
    # execve without -v: arguments in full, the environment only counted
    tracer = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-s",
        "200000",
        "-e",
        "trace=execve,openat,mkdir,mkdirat",
        "-e",
        "signal=none",
        "-o",
        str(trace),
    ]
    done = subprocess.run(
        [*tracer, *command(core, book, ["-vvvv", "--diff", *arguments])],
        env=variables(core, home, given),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    traced = trace.read_text(errors="replace").splitlines()
    texts = {
        "stdout": done.stdout,
        "stderr": done.stderr,
        "results": record.read_text() if record.exists() else "",
        "process arguments": "\n".join(line for line in traced if "execve(" in line),
    }
    own = {trace, record, home / "secrets.json", home / "inventory.json"}
    for path in sorted(home.rglob("*")):
        if path.is_file() and path not in own and not path.is_symlink() and "environment-" not in str(path):
            texts[f"file {path.relative_to(home)}"] = path.read_text(errors="replace")
    made = []
    for line in traced:
        if (found := CREATED.search(line) or MADE.search(line)) and found["path"].startswith(f"{temporary}/"):
            made.append((found["path"], int(found["mode"], 8) & ~0o022))
    return Seen(done.returncode, texts, made)
