# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed comes, goes and leaves nothing behind, whatever was killed meanwhile; two beds at once do not disturb each other.

Each test compares a listing of the machine taken before with one taken after: processes, namespaces, mounts, control groups, sockets, files.
Other beds may live on the machine meanwhile: what belongs to them, by name, is left out of the listing.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bed.driver import Bed, BedError, down, lose, state
from tests.bed.driver.paths import MARK, REPOSITORY, RUNTIME, cache

NAMES = ("lifecycle-one", "lifecycle-two")
#: Folders whose whole contents are compared, with the depth; in the shared ones only names that a component of the bed would use.
FOLDERS = {Path("/run"): 4, Path("/var/lib"): 3, Path("/var/log"): 2, Path("/etc"): 2, Path("/opt"): 2, Path("/usr/libexec"): 2}
SHARED_FOLDERS = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
OWN_NAMES = re.compile(r"serverops-bed|containerd|ctd-|runc|kube|etcd|cni|velero|versity|gcs|coredns|go-build", re.IGNORECASE)


def of_another_bed(text: str) -> bool:
    """Whether a path, a command line or a group is of a bed that is not one of these tests'."""
    found = re.findall(r"(?:serverops-bed[-/.]|/beds/)([a-z0-9-]+?)(?=-n\d+\b|[/\s\0.]|$)", text)
    return bool(found) and not any(name in NAMES for name in found)


def processes() -> set[str]:
    """Command lines of all processes that belong to a bed of these tests by mark, group or arguments."""
    found = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            arguments = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            groups = (folder / "cgroup").read_text()
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        mine = any(f"{MARK}={name}".encode() in environment or f"serverops-bed-{name}" in groups or f"/{name}/" in arguments for name in NAMES)
        if mine:
            found.add(f"{folder.name} {arguments[:100]}")
    return found


def namespaces() -> set[str]:
    """Network and process namespaces, those of other beds left out."""
    own: set[str] = set()
    others: set[str] = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                links = {str((folder / "ns" / kind).readlink()) for kind in ("net", "pid", "mnt")}
                other = of_another_bed((folder / "cgroup").read_text())
            except OSError:
                continue
            (others if other else own).update(links)
    return own - others


def control_groups() -> set[str]:
    """All control groups, those of other beds left out."""
    return {folder for folder, _folders, _files in os.walk("/sys/fs/cgroup") if not of_another_bed(folder)}


def mounts() -> set[str]:
    """Mounts of this machine."""
    return {" ".join(line.split()[:3]) for line in Path("/proc/self/mounts").read_text().splitlines()}


def unix_sockets() -> set[str]:
    """Unix sockets with a name that a component of these tests' beds could have made."""
    names = {line.split()[7] for line in Path("/proc/net/unix").read_text().splitlines()[1:] if len(line.split()) > 7}
    return {name for name in names if OWN_NAMES.search(name) and not of_another_bed(name)}


def network_names() -> set[str]:
    """Interfaces of this machine and its named network namespaces."""
    named = {path.name for path in Path("/run/netns").iterdir()} if Path("/run/netns").is_dir() else set()
    return {name for _index, name in socket.if_nameindex()} | named


def files() -> set[str]:
    """Files and folders where a component could have left something."""
    found = set()
    for root, depth in {**FOLDERS, cache() / "beds": 2, cache() / "work": 2}.items():
        for folder, folders, names in os.walk(root):
            if len(Path(folder).relative_to(root).parts) >= depth - 1:
                folders.clear()
            found.update(f"{folder}/{name}" for name in (*folders, *names))
    for root in SHARED_FOLDERS:
        found.update(str(path) for path in root.iterdir() if OWN_NAMES.search(path.name))
    keep = re.compile(r"^/(etc|var/lib)/(apt|dpkg|systemd|ld\.so)|/work/(lock|\d+-)|^/run/netns")
    return {path for path in found if not of_another_bed(path) and not keep.search(path)}


LISTINGS = {
    "processes": processes,
    "namespaces": namespaces,
    "control groups": control_groups,
    "mounts": mounts,
    "unix sockets": unix_sockets,
    "network": network_names,
    "files": files,
}
#: What of it stays while a bed of these tests lives: used to see that the listing would have noticed one.
SEEN_WHILE_UP = ("processes", "namespaces", "control groups", "files")


def listing() -> dict[str, set[str]]:
    return {what: take() for what, take in LISTINGS.items()}


def left_over(before: dict[str, set[str]]) -> dict[str, set[str]]:
    """What is there and was not before; looks again for three seconds, since other programs of the machine come and go."""
    new = {what: found - before[what] for what, found in listing().items()}
    end = time.monotonic() + 3
    while any(new.values()) and time.monotonic() < end:
        time.sleep(0.2)
        new = {what: found & new[what] for what, found in listing().items()}
    return {what: found for what, found in new.items() if found}


def listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """No bed of these tests before and after each test."""
    for name in NAMES:
        down(name)
    yield
    for name in NAMES:
        down(name)


@pytest.fixture
def before(_clean: None) -> dict[str, set[str]]:
    return listing()


def assert_gone(before: dict[str, set[str]], *ports: int) -> None:
    assert left_over(before) == {}
    assert [port for port in ports if listening(port)] == []
    remembered = Path.home() / ".kube/cache"
    assert [path for port in ports for path in remembered.glob(f"*/127.0.0.1_{port}*")] == []


def ports_of(bed: Bed) -> tuple[int, ...]:
    return bed.api_port, bed.s3.port, int(bed.s3.tls_endpoint_outside.rsplit(":", 1)[1])


def runs(name: str) -> bool:
    try:
        Bed.attach(name)
    except BedError:
        return False
    return True


def wait_until(done: Callable[[], bool], complaint: str) -> None:
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end, complaint
        time.sleep(0.1)


def assert_works(bed: Bed) -> None:
    assert bed.broken() == {}
    assert all(pod["ready"] for pod in bed.pods())
    assert f"node/{bed.nodes()[0]}" in bed.kubectl("get", "nodes", "-o", "name")


def test_up_and_down_with_a_second_node(before: dict[str, set[str]]) -> None:
    bed = Bed.up(NAMES[0])
    bed.add_node(2)
    assert_works(bed)
    assert bed.kubectl("get", "nodes", "-o", "name").split() == ["node/n1", "node/n2"]
    assert set(SEEN_WHILE_UP) <= set(left_over(before))
    bed.delete_node(2)
    assert bed.nodes() == ["n1"]
    assert not any("n2" in group for group in control_groups() if NAMES[0] in group)
    assert_works(bed)
    ports = ports_of(bed)
    assert all(listening(port) for port in ports)
    bed.down()
    assert_gone(before, *ports)
    assert not runs(NAMES[0])


def test_two_beds_at_once(before: dict[str, set[str]]) -> None:
    one, two = Bed.up(NAMES[0]), Bed.up(NAMES[1])
    assert not set(ports_of(one)) & set(ports_of(two))
    one.kubectl("create", "namespace", "only-in-one")
    one.s3.make_bucket("only-in-one")
    assert "only-in-one" not in two.kubectl("get", "namespaces", "-o", "name")
    assert two.s3.request("HEAD", "/only-in-one", keys=(two.s3.access_key, two.s3.secret_key))[0] == 404
    # the administrator of one is nobody in the other
    stranger = subprocess.run(
        [*one.kubectl_command(one.kubeconfig), f"--server={two.api_server}", "get", "nodes"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert stranger.returncode != 0
    assert "certificate" in stranger.stderr
    ports = ports_of(one)
    one.down()
    assert not any(listening(port) for port in ports)
    assert_works(two)
    # killed as a machine's memory killer would do it: the bed's first process, and with it everything inside
    os.kill(two.first_process_id(), signal.SIGKILL)
    wait_until(lambda: not runs(NAMES[1]), "the death of PID 1 was not noticed")
    two.down()
    assert_gone(before, *ports, *ports_of(two))


def test_start_over_the_remains(before: dict[str, set[str]]) -> None:
    bed = Bed.up(NAMES[0])
    for line in sorted(processes(), key=lambda line: int(line.split()[0])):
        try:
            os.kill(int(line.split()[0]), signal.SIGKILL)
        except ProcessLookupError:
            continue
    assert (RUNTIME / NAMES[0] / "state.json").exists()
    again = Bed.up(NAMES[0])
    assert_works(again)
    with pytest.raises(BedError, match="runs already"):
        Bed.up(NAMES[0])
    assert_works(again)
    # the relay alone: the bed lives on, says what is dead, and goes as any other
    os.kill(again.process_id("relay"), signal.SIGKILL)
    wait_until(lambda: again.health()["relay"] != "ok", "the death of the relay was not noticed")
    assert "ended with status -9" in again.health()["relay"]
    with pytest.raises(BedError):
        again.kubectl("get", "nodes", "--request-timeout=2s", timeout=10)
    again.start_process("relay")
    assert_works(again)
    again.stop_process("relay", signal_number=signal.SIGKILL)
    again.down()
    assert_gone(before, *ports_of(bed), *ports_of(again))


def kill_driver(moment: str, *arguments: str) -> None:
    """Start the driver for the first of the test's beds and kill it at a moment: a line of its output, a path below the bed's sockets, or a phase."""
    argv = [sys.executable, "-m", "tests.bed.driver", *arguments, "--name", NAMES[0]]
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as driver:
        seen: list[str] = []
        assert driver.stdout is not None
        if moment == "API server ready":
            for line in driver.stdout:
                seen.append(line)
                if moment in line:
                    break
        elif moment == "lost":
            while (state.read(NAMES[0]) or {}).get("phase") != moment and driver.poll() is None:
                time.sleep(0.001)
        else:
            place = RUNTIME / NAMES[0] / ("n1/control.sock" if moment == "control.sock" else moment)
            while not place.exists() and driver.poll() is None:
                time.sleep(0.002)
        driver.kill()
        driver.wait()
        assert driver.returncode == -signal.SIGKILL, f"the driver ended before it could be killed: {seen}"


@pytest.mark.parametrize("moment", ["state.json", "control.sock", "API server ready"])
def test_driver_killed_while_starting(before: dict[str, set[str]], moment: str) -> None:
    kill_driver(moment, "up", "--bare")
    down(NAMES[0])
    assert_gone(before)


def identity(bed: Bed) -> tuple[str, str, bytes]:
    """What tells one cluster from another: uid of a namespace that every cluster has, uid of the node, authority."""
    uids = [bed.kubectl("get", what, "-o", "jsonpath={.metadata.uid}") for what in ("namespace/kube-system", "node/n1")]
    return uids[0], uids[1], bed.ca_file.read_bytes()


def assert_store_stayed(bed: Bed, keys: tuple[str, str], account: tuple[str, str]) -> None:
    assert (bed.s3.access_key, bed.s3.secret_key) == keys
    for who in (keys, account):
        assert bed.s3.request("GET", "/kept/folder/object", keys=who) == (200, b"what the cluster is made of again")


def test_the_cluster_is_lost_and_the_store_stays(before: dict[str, set[str]], tmp_path: Path) -> None:
    """Killed in the middle of the loss and of the new start: a new cluster comes up beside the same store, and the old one is nowhere."""
    bed = Bed.up(NAMES[0])
    bed.kubectl("create", "namespace", "lost-with-the-cluster")
    (bed.run_dir / "volumes" / "somebodys-data").write_text("lost too")
    bed.s3.make_bucket("kept")
    assert bed.s3.request("PUT", "/kept/folder/object", body=b"what the cluster is made of again")[0] == 200
    account = ("somebody", "secret-of-somebody")
    bed.s3.account_for("kept", *account)
    keys, ports, storage = (bed.s3.access_key, bed.s3.secret_key), ports_of(bed), bed.s3.ca_file.read_bytes()
    known = [identity(bed)]
    old_kubeconfig = tmp_path / "kubeconfig"
    old_kubeconfig.write_text(bed.kubeconfig.read_text())

    kill_driver("lost", "lose")
    with pytest.raises(BedError, match="does not run"):
        Bed.attach(NAMES[0])
    kill_driver("control.sock", "up", "--bare")
    bed = Bed.up(NAMES[0])
    assert_works(bed)
    known.append(identity(bed))
    assert_store_stayed(bed, keys, account)
    bed.lose()
    assert lose(NAMES[0]) is False
    assert [path.name for path in (bed.run_dir / "s3").iterdir()] == ["kept"]
    assert not any((bed.run_dir / folder).exists() for folder in ("volumes", "n1", "kubeconfig"))
    kill_driver("API server ready", "up", "--bare")
    bed = Bed.up(NAMES[0])
    assert_works(bed)
    known.append(identity(bed))
    assert_store_stayed(bed, keys, account)

    assert all(len(set(values)) == len(known) for values in zip(*known, strict=True)), known
    assert "lost-with-the-cluster" not in bed.kubectl("get", "namespaces", "-o", "name")
    assert list((bed.run_dir / "volumes").iterdir()) == []
    assert (ports_of(bed), bed.s3.ca_file.read_bytes()) == (ports, storage)
    # whoever could log in to the lost cluster cannot log in to the new one
    stranger = subprocess.run([*bed.kubectl_command(old_kubeconfig), "get", "nodes"], capture_output=True, text=True, check=False)
    assert stranger.returncode != 0
    assert "certificate" in stranger.stderr
    bed.down()
    assert_gone(before, *ports)
    with pytest.raises(BedError, match="does not run"):
        lose(NAMES[0])
