# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three virtual environments: made from locks with hashes, kept in the cache, named by Python and lock."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import machine

LOCKS = machine.ROOT / "requirements"
COLLECTIONS = ("kubernetes.core",)  # what the benchmarks compare with
LEFT_OUT = re.compile(r"ansible_collections/[^/]+/[^/]+/(tests|docs|changelogs|\.github|\.azure-pipelines)/")

SOMEBODYS_OWN = ("ANSIBLE_", "AWS_", "GOOGLE_", "K8S_AUTH_", "KUBECONFIG", "MYPY", "PYTEST_")

Say = Callable[[str], None]


class SetUpError(Exception):
    """An environment could not be made: which, by which command, and the end of what the command said."""


@dataclass(frozen=True)
class Environment:
    """A ready virtual environment."""

    name: str
    path: Path
    python: machine.Python

    @property
    def bin(self) -> Path:
        """Folder of its programs."""
        return self.path / "bin"

    @property
    def interpreter(self) -> Path:
        """Its Python."""
        return self.bin / "python"

    @property
    def site_packages(self) -> Path:
        """Folder of its libraries, the one place where every Ansible tool finds other collections."""
        return self.path / "lib" / f"python{self.python.minor}" / "site-packages"

    def core(self) -> str:
        """Version of its ansible-core."""
        code = "from importlib.metadata import version; print(version('ansible-core'))"
        return subprocess.run([str(self.interpreter), "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock on a path, so that two runs do not make the same thing at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def call(what: str, *command: str | Path, cwd: Path | None = None) -> None:
    """Run one step of a set-up.

    Raises:
        SetUpError: the command failed; carries the last lines it wrote.
    """
    argv = [str(part) for part in command]
    done = subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-25:])
        raise SetUpError(f"{what}: exit status {done.returncode} of {' '.join(str(part) for part in command)}\n{tail}")


def installer(python: machine.Python, say: Say) -> Path | None:
    """Get uv, which installs an environment in seconds; None when it cannot be had, then pip does it in a minute."""
    home = machine.cache() / "boot" / python.version
    program = home / "bin" / "uv"
    with alone(home):
        if program.exists():
            return program
        shutil.rmtree(home, ignore_errors=True)
        say("installer: uv into a virtual environment of its own")
        try:
            call("installer", python.path, "-m", "venv", home)
            call("installer", home / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "uv>=0.9")
        except SetUpError as error:
            say(f"installer: no uv ({str(error).splitlines()[-1]}), pip will be slower")
            shutil.rmtree(home, ignore_errors=True)
            return None
    return program


def install(environment: Environment, lock: Path, uv: Path | None, say: Say) -> None:
    """Install exactly what a lock names, by uv or, where that does not work, by pip.

    Raises:
        SetUpError: a package could not be had or its hash differs.
    """
    if uv:
        try:
            call(environment.name, uv, "pip", "sync", "--quiet", "--python", environment.interpreter, "--require-hashes", lock)
        except SetUpError as error:
            say(f"{environment.name}: uv failed ({str(error).splitlines()[-1].strip()}), pip tries")
        else:
            return
    call(environment.name, environment.bin / "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r", lock)


def make(name: str, python: machine.Python, say: Say) -> Environment:
    """Make one environment, or find it in the cache.

    Args:
        name: the lock's name: `dev`, `c216` or `c219`.
        python: the interpreter to build on.
        say: takes a line of progress.

    Raises:
        SetUpError: a package could not be had or its hash differs.
    """
    lock = LOCKS / f"{name}.txt"
    path = machine.cache() / "venv" / f"{name}-{python.version}-{machine.digest(lock)}"
    environment = Environment(name, path, python)
    done = path / ".complete"
    uv = None if done.exists() else installer(python, say)
    with alone(path):
        if not done.exists():
            begun = time.monotonic()
            count = sum(1 for line in lock.read_text().splitlines() if "==" in line)
            say(f"{name}: {count} packages of requirements/{name}.txt on Python {python.version}")
            shutil.rmtree(path, ignore_errors=True)
            call(name, python.path, "-m", "venv", path)
            install(environment, lock, uv, say)
            call(name, environment.interpreter, "-m", "compileall", "-q", "-j", "0", "-x", "lib2to3|/tests?/", environment.site_packages)
            done.touch()
            say(f"{name}: ready after {time.monotonic() - begun:.0f} s")
    return environment


def add_collections(environment: Environment, say: Say) -> None:
    """Put the collections that tests compare with into the environment, taken from the PyPI package `ansible`."""
    lock = LOCKS / "collections.txt"
    names = ",".join(COLLECTIONS)
    done = environment.path / f".collections-{machine.digest(lock)}-{names}"
    with alone(done):
        if done.exists():
            return
        say(f"{environment.name}: collections {names}")
        wheels = machine.cache() / "wheels" / machine.digest(lock)
        if not list(wheels.glob("ansible-*.whl")):
            # the wheel holds plain files: which Python they are for does not matter here
            choice = ("--only-binary", ":all:", "--python-version", "3.13", "--no-deps", "--require-hashes", "--quiet")
            pip = (environment.python.path, "-m", "pip", "--disable-pip-version-check", "download")
            call("collections", *pip, *choice, "--dest", wheels, "--requirement", lock)
        wheel = next(iter(wheels.glob("ansible-*.whl")))
        wanted = tuple(f"ansible_collections/{name.replace('.', '/')}/" for name in COLLECTIONS)
        with zipfile.ZipFile(wheel) as archive:
            members = [item for item in archive.infolist() if item.filename.startswith(wanted) and not LEFT_OUT.match(item.filename)]
            for name, prefix in zip(COLLECTIONS, wanted, strict=True):
                if not any(item.filename.startswith(prefix) for item in members):
                    raise SetUpError(f"collections: {wheel.name} has no {name}")
            archive.extractall(environment.site_packages, members)
        done.touch()


def main_python(found: dict[str, machine.Python]) -> machine.Python:
    """The newest usable Python; the lock gives it the newest ansible-core that it takes."""
    return next(found[minor] for minor in machine.NEWEST_FIRST if minor in found)


def everything(say: Say, *, names: tuple[str, ...] = ("dev", "c216", "c219")) -> dict[str, Environment]:
    """Make the environments that are asked for.

    Raises:
        SetUpError: a Python or a package is missing.
    """
    found = machine.pythons()
    if machine.FLOOR not in found:
        raise SetUpError(f"no usable Python {machine.FLOOR}: c216 and c219 are made on it")
    newest = main_python(found)
    if newest.minor == machine.FLOOR:
        say("only Python 3.11 here: the main suite runs on ansible-core 2.19, not on the newest one")
    ready = {name: make(name, newest if name == "dev" else found[machine.FLOOR], say) for name in names}
    if "dev" in ready:
        add_collections(ready["dev"], say)
    return ready


def variables(environment: Environment, tree: Path) -> dict[str, str]:
    """Process environment in which the tools of a virtual environment find the staged collection and nobody's own settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(SOMEBODYS_OWN)}
    kept.pop("PYTHONHOME", None)
    return {
        **kept,
        "PATH": f"{environment.bin}{os.pathsep}{kept.get('PATH', os.defpath)}",
        "VIRTUAL_ENV": str(environment.path),
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "SERVEROPS_CACHE": str(machine.cache()),
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_COLLECTIONS_PATH": str(tree),
        "ANSIBLE_HOME": str(machine.cache() / "ansible"),
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
    }


def lock(say: Say) -> None:
    """Pin the newest versions that requirements/*.in allow, with their hashes.

    Raises:
        SetUpError: uv is missing or no set of versions fits.
    """
    found = machine.pythons()
    uv = installer(main_python(found), say)
    if not uv:
        raise SetUpError("lock: uv is needed for it and could not be installed")
    general = ("pip", "compile", "--quiet", "--upgrade", "--no-header", "--generate-hashes")
    kinds: dict[str, tuple[str, ...]] = {
        "dev": ("--universal", "--python-version", machine.FLOOR),
        "c216": ("--python-version", machine.FLOOR),
        "c219": ("--python-version", machine.FLOOR),
        "collections": ("--no-deps", "--python-version", machine.NEWEST_FIRST[0]),
    }
    for name, kind in kinds.items():
        say(f"lock: requirements/{name}.txt")
        # without the old file: uv keeps the pins that it finds in there
        target = LOCKS / f"{name}.txt"
        fresh = target.with_suffix(".new")
        call("lock", uv, *general, *kind, f"{name}.in", "--output-file", fresh.name, cwd=LOCKS)
        fresh.replace(target)
