# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the bed's container images straight from Python, one per folder of tests/bed/images, into a cache keyed by content.

An image's folder holds image.json:
  purpose     one sentence
  names       complete image names, the first is the main one ("docker.io/velero/velero:v1.17.2")
  when        "up" (every bed imports it at start) or "asked" (imported by Bed.import_images or by what needs it); default "up"
  config      what an image config knows: Env, User, Entrypoint, Cmd, WorkingDir, Labels
  contents    list of entries, later ones win:
    {"directory": "/tmp", "mode": "1777", "owner": [0, 0]}
    {"link": "/bin/sh", "target": "busybox"}
    {"text": "...", "to": "/etc/passwd", "mode": "0644"}
    {"program": "velero117/velero", "to": "/velero"}             a program of a tool family
    {"machine": "/usr/bin/restic", "to": "/usr/bin/restic"}      a file of this machine with the libraries it loads
    {"folder": "rootfs"}                                         a folder beside image.json becomes part of /
    {"applets": "/bin"}                                          links for every applet of this machine's busybox
    {"cloud_ca": "/etc/ssl/certs/ca-certificates.crt"}           the bed's cloud CA as the only trusted one
    {"assemble": "assemble.py"}                                  a program beside image.json that fills the directory it is given
Owners are root unless an entry says otherwise, times are zero: equal inputs give equal bytes.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from . import pki
from .paths import IMAGES, BedError, cache, say
from .programs import Family, drop_stale

#: Part of every key: raise it when the way of writing changes.
RECIPE = "1"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass
class Entry:
    """One file, directory or link of the layer; content is bytes or the path of a file."""

    kind: str
    mode: int
    content: bytes | Path = b""
    target: str = ""
    owner: tuple[int, int] = (0, 0)


def libraries(path: Path) -> list[Path]:
    """Shared libraries and loader of a program of this machine, as its loader finds them; none for a static one."""
    done = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        return []
    return [Path(found) for found in re.findall(r"(?:=> )?(/\S+) \(0x", done.stdout)]


def machine_program(path: str) -> Path:
    """The real file of a program of this machine. BedError when it is missing."""
    real = Path(path).resolve()
    if not real.is_file():
        raise BedError(f"{path} is missing on this machine; run `python3 -m tests.bed.driver preflight`")
    return real


class Image:
    """One image of tests/bed/images and its archive in the cache."""

    def __init__(self, folder: Path, families: dict[str, Family]) -> None:
        self.folder = folder
        self.name = folder.name
        self.families = families
        self.recipe: dict[str, Any] = json.loads((folder / "image.json").read_text())
        self.names: list[str] = self.recipe["names"]
        self.at_start = self.recipe.get("when", "up") == "up"

    @property
    def programs(self) -> set[str]:
        """Tool families whose programs it contains."""
        return {entry["program"].split("/")[0] for entry in self.recipe["contents"] if "program" in entry}

    @cached_property
    def key(self) -> str:
        """SHA-256 over the folder's files and everything that the contents refer to."""
        digest = hashlib.sha256(f"{RECIPE} {os.uname().machine}\n".encode())
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(self.folder)} {path.stat().st_mode & 0o111} ".encode() + path.read_bytes())
        for entry in self.recipe["contents"]:
            if "program" in entry:
                digest.update(self.families[entry["program"].split("/")[0]].key.encode())
            elif "machine" in entry or "applets" in entry:
                program = machine_program(entry.get("machine", "/bin/busybox"))
                for path in (program, *libraries(program)):
                    digest.update(f"{path} ".encode() + hashlib.sha256(path.read_bytes()).digest())
            elif "cloud_ca" in entry:
                digest.update((pki.cloud_authority() / "ca.crt").read_bytes())
        return digest.hexdigest()

    @property
    def archive(self) -> Path:
        """Where the archive is, once written."""
        return cache() / "images" / self.name / f"{self.key[:20]}.tar"

    def entries(self, work: Path) -> dict[str, Entry]:
        """Path (without leading slash) to entry of everything in the image."""
        found: dict[str, Entry] = {}
        for number, entry in enumerate(self.recipe["contents"]):
            for path, made in self._entry(entry, work / str(number)):
                clean = path.strip("/")
                for depth in range(1, len(clean.split("/"))):
                    found.setdefault("/".join(clean.split("/")[:depth]), Entry("directory", 0o755))
                found[clean] = made
        return found

    def _entry(self, entry: dict[str, Any], work: Path) -> Iterator[tuple[str, Entry]]:
        owner = (int(entry.get("owner", [0, 0])[0]), int(entry.get("owner", [0, 0])[1]))
        if "directory" in entry:
            yield entry["directory"], Entry("directory", int(entry.get("mode", "0755"), 8), owner=owner)
        elif "link" in entry:
            yield entry["link"], Entry("link", 0o777, target=entry["target"])
        elif "text" in entry:
            yield entry["to"], Entry("file", int(entry.get("mode", "0644"), 8), entry["text"].encode(), owner=owner)
        elif "program" in entry:
            family, program = entry["program"].split("/")
            yield entry["to"], Entry("file", 0o755, self.families[family].program(program))
        elif "machine" in entry:
            program = machine_program(entry["machine"])
            yield entry["to"], Entry("file", 0o755, program)
            for library in libraries(program):
                yield str(library), Entry("file", 0o755, library.resolve())
        elif "applets" in entry:
            text = subprocess.run([str(machine_program("/bin/busybox")), "--list"], capture_output=True, text=True, check=True).stdout
            for applet in text.split():
                if applet != "busybox":
                    yield f"{entry['applets']}/{applet}", Entry("link", 0o777, target="/bin/busybox")
        elif "cloud_ca" in entry:
            yield entry["cloud_ca"], Entry("file", 0o644, pki.cloud_authority() / "ca.crt")
        elif "folder" in entry:
            yield from tree(self.folder / entry["folder"])
        elif "assemble" in entry:
            done = subprocess.run([sys.executable, str(self.folder / entry["assemble"]), str(work)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise BedError(f"image {self.name}: {entry['assemble']} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
            yield from tree(work)
        else:
            raise BedError(f"image {self.name}: contents entry {entry} is of no known kind")

    def write(self) -> None:
        """Write the archive (format docker-archive) into the cache in one step."""
        self.archive.parent.mkdir(parents=True, exist_ok=True)
        base = cache() / "work"
        base.mkdir(exist_ok=True)
        drop_stale(base)
        with tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-image-", dir=base) as temporary:
            work = Path(temporary)
            layer = work / "layer.tar"
            with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as tar:
                for path, entry in sorted(self.entries(work).items()):
                    add(tar, path, entry)
            with layer.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            config = json.dumps(
                {
                    "architecture": ARCHITECTURES.get(os.uname().machine, os.uname().machine),
                    "os": "linux",
                    "created": "1970-01-01T00:00:00Z",
                    "config": self.recipe.get("config", {}),
                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                    "history": [{"created": "1970-01-01T00:00:00Z", "created_by": f"tests/bed/images/{self.name}"}],
                },
                sort_keys=True,
            ).encode()
            config_name = f"{hashlib.sha256(config).hexdigest()}.json"
            manifest = json.dumps([{"Config": config_name, "RepoTags": self.names, "Layers": [f"{digest}/layer.tar"]}]).encode()
            archive = work / "archive.tar"
            with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
                add(tar, "manifest.json", Entry("file", 0o644, manifest))
                add(tar, config_name, Entry("file", 0o644, config))
                add(tar, f"{digest}/layer.tar", Entry("file", 0o644, layer))
            archive.replace(self.archive)
        for old in self.archive.parent.glob("*.tar"):
            if old != self.archive and time.time() - old.stat().st_mtime > 7 * 86400:
                old.unlink(missing_ok=True)


def tree(folder: Path) -> Iterator[tuple[str, Entry]]:
    """Everything below a folder as entries, with its modes."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            yield name, Entry("link", 0o777, target=str(path.readlink()))
        elif path.is_dir():
            yield name, Entry("directory", mode)
        else:
            yield name, Entry("file", mode, path)


def add(tar: tarfile.TarFile, path: str, entry: Entry) -> None:
    """Append one entry to a tar file, with nothing of this machine in its header."""
    info = tarfile.TarInfo(path)
    info.mode = entry.mode
    info.uid, info.gid = entry.owner
    if entry.kind == "directory":
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif entry.kind == "link":
        info.type = tarfile.SYMTYPE
        info.linkname = entry.target
        tar.addfile(info)
    elif isinstance(entry.content, bytes):
        info.size = len(entry.content)
        tar.addfile(info, io.BytesIO(entry.content))
    else:
        info.size = entry.content.stat().st_size
        with entry.content.open("rb") as file:
            tar.addfile(info, file)


def of_all(families: dict[str, Family]) -> dict[str, Image]:
    """Every image by its folder's name, written or not."""
    return {path.parent.name: Image(path.parent, families) for path in sorted(IMAGES.glob("*/image.json"))}


def write(images: Iterable[Image]) -> None:
    """Write the archives that the cache lacks; the programs in them have to be built."""
    images = list(images)
    if all(image.archive.is_file() for image in images):
        return
    (cache() / "images").mkdir(exist_ok=True)
    with (cache() / "images" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [image for image in images if not image.archive.is_file()]
        for number, image in enumerate(missing, 1):
            start = time.monotonic()
            image.write()
            say(f"  image {number} of {len(missing)}: {image.name}: {image.archive.stat().st_size >> 20} MiB in {time.monotonic() - start:.1f} s")


def drop_work() -> None:
    """Remove what drivers that were killed left in the cache's work folder."""
    drop_stale(cache() / "work")
    for path in cache().glob(".cloud-ca-*"):
        shutil.rmtree(path, ignore_errors=True)
