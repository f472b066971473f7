# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds out, before anything is started, what this machine lacks for a bed; on Debian and Ubuntu installs the missing packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import cgroups, programs
from .node import cni_plugins, which
from .paths import BedError, cache, say

#: Program to the Debian package that brings it.
PROGRAMS = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "restic": "restic",
    "ip": "iproute2",
    "iptables": "iptables",
    "ipset": "ipset",
    "nft": "nftables",
    "openssl": "openssl",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "umount": "mount",
    "ldd": "libc-bin",
}
#: What the tests on the bed need besides: a real remote host on loopback, a look at every program that is started, and pictures of the status page.
TEST_PROGRAMS = {"sshd": "openssh-server", "ssh": "openssh-client", "strace": "strace", "chromium": "chromium"}
#: Services that their packages start and that nobody here wants: the bed and its tests run their own.
SERVICES = {"etcd-server": "etcd", "containerd": "containerd", "openssh-server": "ssh"}
GIB = 1 << 30
#: Free bytes needed to run a bed, and to build the programs in cold Go caches.
RUN_SPACE = 3 * GIB
BUILD_SPACE = 18 * GIB
FAMILY_SPACE = 5 * GIB
BUILD_MEMORY = 5 * GIB
RUN_MEMORY = 2 * GIB

#: Features that a new network and mount namespace must offer: what for, shell command.
FEATURES = {
    "overlayfs on the cache's file system (images)": "mkdir l u w m && mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m",
    "veth pairs (networks of pods)": "ip link add serverops0 type veth peer name serverops1",
    "nftables with NAT (kube-proxy)": "nft add table ip t && nft add chain ip t c '{ type nat hook prerouting priority 0; }'",
    "ip_set (NetworkPolicies)": "ipset create serverops hash:ip",
    "iptables matches comment, mark, addrtype (NetworkPolicies)": (
        "iptables -A FORWARD -m comment --comment x -m mark --mark 1 -m addrtype --dst-type LOCAL -j ACCEPT"
    ),
    "iptables matches physdev, conntrack, limit and target NFLOG (NetworkPolicies)": (
        "iptables -A FORWARD -m physdev --physdev-is-bridged -m conntrack --ctstate NEW -j REJECT && "
        "iptables -A FORWARD -m limit --limit 1/minute -j NFLOG --nflog-group 100"
    ),
    "iptables match set (NetworkPolicies)": "ipset create s4 hash:ip && iptables -A FORWARD -m set --match-set s4 src -j ACCEPT",
    "IP forwarding in a network namespace": "echo 1 > /proc/sys/net/ipv4/ip_forward",
}


def missing_packages(tests: bool = False) -> dict[str, str]:
    """What is missing to the Debian package that brings it; tests: also for the tests on the bed."""
    missing = {}
    for program, package in {**PROGRAMS, **(TEST_PROGRAMS if tests else {})}.items():
        try:
            which(program)
        except BedError:
            missing[f"program {program}"] = package
    try:
        cni_plugins()
    except BedError:
        missing["the CNI plugins ptp, portmap and host-local"] = "containernetworking-plugins"
    busybox = Path("/bin/busybox")
    if not busybox.is_file() or subprocess.run(["ldd", str(busybox)], capture_output=True, check=False).returncode == 0:
        missing["a static /bin/busybox"] = "busybox-static"
    if programs.go_on_machine() is None:
        try:
            import ensurepip  # noqa: F401
        except ImportError:
            missing["Python's venv (Go comes by it)"] = "python3-venv"
    return missing


def is_debian() -> bool:
    """Whether apt-get installs packages here."""
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return False
    return bool(re.search(r"^ID(_LIKE)?=.*\b(debian|ubuntu)\b", text, re.MULTILINE)) and shutil.which("apt-get") is not None


def install(packages: list[str]) -> None:
    """Install Debian packages; their services are not left running. BedError with apt's last lines."""
    say(f"installing Debian packages: {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=180", *packages]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        # the package lists may be missing or older than the archive: read them once
        subprocess.run(["apt-get", "update", "-q"], capture_output=True, env=environment, check=False)
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        last = " | ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-4:])
        raise BedError(f"apt-get install {' '.join(packages)} failed: {last}; install them yourself")
    for package in packages:
        if package in SERVICES and shutil.which("systemctl") and Path("/run/systemd/system").is_dir():
            subprocess.run(["systemctl", "disable", "--now", SERVICES[package]], capture_output=True, check=False)
            say(f"  the service {SERVICES[package]} of package {package} was disabled: the bed runs its own")


def kernel_problems() -> list[str]:
    """Kernel features that are missing, one sentence each."""
    problems = []
    if controllers := cgroups.missing_controllers():
        problems.append(f"control group controllers {', '.join(controllers)} are not there (looked in {cgroups.ROOT})")
    done = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        return [
            *problems,
            f"namespaces cannot be made: {done.stderr.strip()}; the bed needs root on the machine itself, not in an unprivileged container",
        ]
    work = cache() / "work"
    work.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-preflight-", dir=work) as folder:
        try:
            os.setxattr(folder, "user.serverops", b"1")
        except OSError as error:
            problems.append(f"the file system of {cache()} has no user attributes, which the S3 server needs: {error.strerror}; set SERVEROPS_CACHE")
        names = list(FEATURES)
        script = f"cd {folder}\n" + "".join(
            f'( {FEATURES[name]} ) >/dev/null 2>{folder}/e || echo "{number} $(head -c 200 {folder}/e)"\n' for number, name in enumerate(names)
        )
        done = subprocess.run(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script], capture_output=True, text=True, check=False
        )
        for line in done.stdout.splitlines():
            number, _space, seen = line.partition(" ")
            if number.isdigit():
                problems.append(f"the kernel lacks {names[int(number)]}: {seen}")
    return problems


def version_problems() -> list[str]:
    """Programs of this machine that are too old."""
    problems = []
    for program, arguments, oldest in (("etcd", ["--version"], (3, 4)), ("containerd", ["--version"], (1, 6)), ("openssl", ["version"], (3, 0))):
        try:
            text = subprocess.run([which(program), *arguments], capture_output=True, text=True, check=False).stdout
        except BedError:
            continue
        match = re.search(r"(\d+)\.(\d+)\.\d", text)
        if match and (int(match.group(1)), int(match.group(2))) < oldest:
            problems.append(f"{program} {match.group(0)} is too old: the bed needs {oldest[0]}.{oldest[1]} or newer")
    return problems


def space_problems(unbuilt: int) -> list[str]:
    """What is missing in disk space and memory, given the number of tool families that have to be built."""
    problems = []
    wanted = RUN_SPACE + (min(BUILD_SPACE, FAMILY_SPACE + unbuilt * GIB * 2) if unbuilt else 0)
    free = shutil.disk_usage(cache()).free
    if free < wanted:
        what = f"building {unbuilt} tool families and running a bed" if unbuilt else "running a bed"
        problems.append(
            f"{free / GIB:.1f} GiB are free at {cache()}; {what} needs {wanted / GIB:.0f} GiB: free some, or set SERVEROPS_CACHE to another disk"
        )
    memory = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
    needed = BUILD_MEMORY if unbuilt else RUN_MEMORY
    if memory and int(memory.group(1)) * 1024 < needed:
        problems.append(
            f"{int(memory.group(1)) / 1024 / 1024:.1f} GiB of memory are available; {'building' if unbuilt else 'a bed'} needs {needed / GIB:.0f} GiB"
        )
    return problems


def require(families: tuple[str, ...], may_install: bool = True, tests: bool = False) -> None:
    """BedError with everything that this machine lacks; tests: also for the tests on the bed."""
    problems = check(families, may_install, tests)
    if problems:
        raise BedError("this machine cannot run the bed:\n" + "\n".join(f"  - {problem}" for problem in problems))


def check(families: tuple[str, ...], may_install: bool = True, tests: bool = False) -> list[str]:
    """Everything that is missing, one sentence each; packages are installed first where that is possible and allowed."""
    if os.geteuid() != 0:
        return ["root is needed: namespaces, mounts and control groups are made; run it by sudo"]
    problems = []
    missing = missing_packages(tests)
    if missing and may_install and is_debian():
        install(sorted(set(missing.values())))
        missing = missing_packages(tests)
    problems += [f"{what} is missing: install {package} (Debian's name of the package)" for what, package in missing.items()]
    problems += version_problems()
    if not missing:
        problems += kernel_problems()
    unbuilt = len(families)
    found = programs.go_on_machine()
    if found:
        unbuilt = sum(not programs.Family(name, found).built for name in families)
    return problems + space_problems(unbuilt)
