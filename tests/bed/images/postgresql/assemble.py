# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the root file system of the bed's PostgreSQL image together from the distribution's own packages, without installing them.

usage: assemble.py DESTINATION   (an empty or missing directory)

What apt would install for `postgresql` on an empty machine is asked of apt (a simulation), the needed packages are downloaded and unpacked,
and of them only the server's programs, the libraries these load, its data files, one locale and the time zones go into the image.
The machine's own packages stay as they are: nothing of it is installed, started or read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAMS = ("initdb", "pg_ctl", "pg_dump", "pg_dumpall", "pg_isready", "pg_restore", "postgres", "psql")
# Modules of the server that the bed never loads; llvmjit alone would bring 100 MB.
UNUSED_MODULES = re.compile(r"^(llvmjit|.*_plperl|.*_plpython|plpython|plperl|pltcl|jsonb_plp|hstore_pl|ltree_pl)")
TOP_LEVEL_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


class AssembleError(Exception):
    """The image cannot be put together; the text says what was done, what was seen and what to do."""


def run(*argv: str, cwd: Path | None = None) -> str:
    """Standard output of a program; AssembleError with the end of its standard error when it fails."""
    env = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        raise AssembleError(f"{' '.join(argv[:3])} ended with {done.returncode}: {done.stderr.strip()[-400:]}")
    return done.stdout


def closure(empty_status: Path) -> dict[str, str]:
    """Package name to version of everything that PostgreSQL needs on an empty machine, as apt resolves it."""
    empty_status.write_text("")
    empty_machine = ("-o", f"Dir::State::status={empty_status}")
    text = run("apt-get", "install", "--simulate", "--no-install-recommends", *empty_machine, "postgresql", "busybox-static")
    return dict(re.findall(r"^Inst (\S+) \((\S+)", text, re.MULTILINE))


def server_package(packages: dict[str, str]) -> tuple[str, str]:
    """Name of the server's package and its major version ("postgresql-15", "15")."""
    for name in packages:
        if match := re.fullmatch(r"postgresql-(\d+)", name):
            return name, match.group(1)
    raise AssembleError("apt knows no package postgresql-NN; run `apt-get update` and look at `apt-cache policy postgresql`")


def download(packages: dict[str, str], folder: Path) -> None:
    """Unpack the packages that can hold a needed file into folder/root."""
    wanted = [
        f"{name}={version}"
        for name, version in packages.items()
        if (name.startswith(("lib", "zlib", "postgresql-")) and not name.startswith(("libllvm", "libperl", "libz3", "libjson")))
        or name in ("busybox-static", "tzdata", "tzdata-legacy")
    ]
    archives = folder / "archives"
    archives.mkdir()
    # apt's own sandbox user cannot write into a private temporary directory
    fetch = ("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *wanted)
    try:
        run(*fetch, cwd=archives)
    except AssembleError:
        # the lists are older than the archive (a security update replaced a version): read them again, once
        run("apt-get", "update", "-q")
        fresh = closure(folder / "status")
        run(*fetch[:5], *(f"{item.split('=')[0]}={fresh[item.split('=')[0]]}" for item in wanted if item.split("=")[0] in fresh), cwd=archives)
    root = folder / "root"
    for link, target in TOP_LEVEL_LINKS.items():
        (root / target).mkdir(parents=True, exist_ok=True)
        (root / link).symlink_to(target)
    for archive in sorted(archives.glob("*.deb")):
        # through tar: dpkg-deb --extract would replace the links of the merged /usr by directories
        with subprocess.Popen(("dpkg-deb", "--fsys-tarfile", str(archive)), stdout=subprocess.PIPE) as unpack:
            subprocess.run(("tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", str(root)), stdin=unpack.stdout, check=True)
        if unpack.returncode:
            raise AssembleError(f"dpkg-deb cannot read {archive.name}: it ended with {unpack.returncode}")


def libraries(root: Path, files: list[Path]) -> set[Path]:
    """The shared libraries (and the loader) that the files load, found by the unpacked loader itself; each must be in root."""
    loader = next(iter(sorted((root / "usr").glob("lib*/ld-linux-*.so.*"))), None)
    if loader is None:
        raise AssembleError("the package libc6 brought no loader ld-linux-*.so.*")
    library_path = ":".join(str(folder) for folder in sorted({f.parent for f in (root / "usr/lib").rglob("lib*.so.*")}))
    found = {loader}
    for file in files:
        text = run(str(loader), "--library-path", library_path, "--list", str(file))
        if missing := re.findall(r"^\s*(\S+) => not found", text, re.MULTILINE):
            raise AssembleError(f"{file.name} needs {', '.join(missing)}, which no downloaded package brings; add the package to download()")
        found.update(Path(path) for path in re.findall(r"=> (/\S+)", text))
    for path in found:
        if not path.is_relative_to(root):
            raise AssembleError(f"library {path} came from this machine and not from the packages")
    return found


def copy(root: Path, destination: Path, path: Path) -> None:
    """Copy a file to its own place below destination, and what a link points at."""
    target = destination / path.relative_to(root)
    if target.exists() or target.is_symlink():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        pointed = path.readlink()
        target.symlink_to(pointed)
        copy(root, destination, root / pointed.relative_to("/") if pointed.is_absolute() else Path(os.path.normpath(path.parent / pointed)))
    else:
        shutil.copy2(path, target)


def assemble(destination: Path) -> str:
    """Fill destination with the image's root; the answer is the version of the server ("15.20-0+deb12u1")."""
    if destination.exists() and any(destination.iterdir()):
        raise AssembleError(f"{destination} is not empty; give an empty or missing directory")
    destination.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="postgresql-image-") as name:
        folder = Path(name).resolve()
        packages = closure(folder / "status")
        package, major = server_package(packages)
        download(packages, folder)
        root = folder / "root"
        home = root / "usr/lib/postgresql" / major
        programs = [home / "bin" / program for program in PROGRAMS]
        modules = [module for module in sorted((home / "lib").glob("*.so")) if not UNUSED_MODULES.match(module.name)]
        share = root / "usr/share/postgresql" / major
        data = [path for path in share.rglob("*") if (path.is_file() or path.is_symlink()) and "man" not in path.relative_to(share).parts]
        zones = [
            path
            for path in (root / "usr/share/zoneinfo").rglob("*")
            if not path.is_dir() and path.relative_to(root / "usr/share/zoneinfo").parts[0] not in ("posix", "right", "localtime")
        ]
        locale = [path for path in (root / "usr/lib/locale/C.utf8").rglob("*") if path.is_file()]
        if not locale:
            raise AssembleError("the package libc-bin brought no locale C.utf8")
        for link, target in TOP_LEVEL_LINKS.items():
            (destination / target).mkdir(parents=True, exist_ok=True)
            (destination / link).symlink_to(target)
        for path in [*programs, *modules, *data, *zones, *locale, *libraries(root, [*programs, *modules])]:
            copy(root, destination, path)
        # the packages keep the programs where no PATH looks, below the major version
        (destination / "usr/local/bin").mkdir(parents=True)
        for program in programs:
            (destination / "usr/local/bin" / program.name).symlink_to(f"/{program.relative_to(root)}")
        shutil.copy2(root / "usr/bin/busybox", destination / "usr/bin/busybox")
        return f"{packages[package]}"


def main() -> int:
    """Command line; 0 when the directory is filled."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: assemble.py DESTINATION\n")
        return 2
    try:
        version = assemble(Path(sys.argv[1]))
    except AssembleError as error:
        sys.stderr.write(f"PostgreSQL image: {error}\n")
        return 1
    sys.stdout.write(f"PostgreSQL {version}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
