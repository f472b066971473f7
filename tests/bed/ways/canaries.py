# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a play under strace and looks for secrets, in every form, in all that it printed, returned, started, wrote and left behind."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.plays import command, variables, written

SHORTEST = 8
"""Lines of a secret that are shorter are not looked for: they are ordinary words."""
PUBLIC = re.compile(r"-----(BEGIN|END) [A-Z ]+-----|\[[a-z]+\]|[{}]")
"""Lines inside a secret that everybody knows."""
CREATED = re.compile(r'openat\([^,]+, "(?P<path>[^"]+)", [A-Z_|0-9x]*O_CREAT[A-Z_|0-9x]*, 0?(?P<mode>[0-7]+)\)\s+= \d+')
CORE = re.compile(r"/temporary/(local|remote)(/|$)|/ansible_[^/]*payload|/pymp-|/ansible-moduletmp")
"""Temporary folders of ansible-core itself; what it makes there under a narrow umask looks open in strace."""
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
    """Everything that can be seen of a run.

    texts: by where they stand. made: files and folders that our code made where temporary ones belong, with their modes.
    holding: folders in which the core kept a file that held a secret, with their modes.
    """

    rc: int
    texts: dict[str, str]
    made: list[tuple[str, int]]
    holding: list[tuple[str, int]]

    def leaks(self, secrets: Mapping[str, str]) -> list[str]:
        """Return where which secret shows itself in which form."""
        looked_for = {unbroken(text): what for name, secret in secrets.items() for what, text in forms(name, secret)}
        texts = {where: unbroken(text) for where, text in self.texts.items()}
        return [f"{where}: {what}" for where, text in texts.items() for form, what in looked_for.items() if form in text]

    def open_to_others(self) -> list[str]:
        """Return the temporary files that somebody else might read, and the folders in which the core keeps a file that holds a secret.

        The core makes a module's file with the mode that the umask allows (0644 for a moment), in a folder of mode 0700: the folder protects it.
        """
        return [f"{path} {mode:o}" for path, mode in [*self.made, *self.holding] if mode & 0o077]


def unbroken(text: str) -> str:
    """Return a text without white space: a secret that was wrapped over two lines is still one."""
    return "".join(text.split())


class Watcher:
    """Looks again and again at the files in a folder, and keeps the folders of those that hold a secret, with their modes."""

    def __init__(self, folder: Path, secrets: Iterable[str]) -> None:
        self._folder = folder
        self._secrets = [form for secret in secrets for form in (secret, json.dumps(secret)[1:-1])]
        self._over = threading.Event()
        self._looked: set[tuple[str, int]] = set()
        self.holding: set[tuple[str, int]] = set()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self._look()

    def _look(self) -> None:
        for folder, _folders, names in os.walk(self._folder):
            for name in names:
                # what is gone again was either empty or is seen at the next file of its kind
                with contextlib.suppress(OSError):
                    path = Path(folder, name)
                    state = path.stat()
                    if (str(path), state.st_mtime_ns) in self._looked:
                        continue
                    text = path.read_text(errors="replace")
                    self._looked.add((str(path), state.st_mtime_ns))
                    if any(secret in text for secret in self._secrets):
                        self.holding.add((folder, Path(folder).stat().st_mode & 0o777))

    def end(self) -> list[tuple[str, int]]:
        """Stop and return what was kept."""
        self._over.set()
        self._thread.join()
        return sorted(self.holding)


def watch(plays: Any, home: Path, arguments: Sequence[str], env: Mapping[str, str], secrets: Iterable[str], core: str = "newest") -> Seen:
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
    watcher = Watcher(temporary, secrets)
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
    holding = watcher.end()
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
        if (found := CREATED.search(line) or MADE.search(line)) and found["path"].startswith(f"{temporary}/") and not CORE.search(found["path"]):
            made.append((found["path"], int(found["mode"], 8) & ~0o022))
    return Seen(done.returncode, texts, made, holding)
