# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of the bed's driver that need no bed: names, templates, cache keys, image archives, reports of failures."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.bed.driver import audit, cgroups, control, images, preflight, processes, programs, state
from tests.bed.driver.bed import FAMILIES
from tests.bed.driver.paths import IMAGES, MARK, REPOSITORY, BedError, check_name, fill
from tests.bed.driver.storage import signature_v4

GO = programs.Go("/nowhere/go", "go1.26.0")


@pytest.mark.parametrize("name", ["serverops", "test-1a2b3c", "a", "x9"])
def test_names_of_beds(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "Upper", "9a", "a_b", "a/b", "a-", "bed-n2", "bed-n12", "x" * 40])
def test_names_that_would_be_mistaken_for_something_else(name: str) -> None:
    with pytest.raises(BedError, match="bed name"):
        check_name(name)


def test_a_template_with_a_value_missing_is_an_error() -> None:
    assert "unix:///s/containerd.sock" in fill("kubelet.yaml.in", run="/r", sockets="/s", cgroup="c", dns_address="1.2.3.4", cpu_reserved="0")
    with pytest.raises(BedError, match="@CGROUP@"):
        fill("kubelet.yaml.in", run="/r", sockets="/s", dns_address="1.2.3.4", cpu_reserved="0")


def test_a_refused_version_is_said_in_one_sentence() -> None:
    text = """go: downloading example.com/a v1.0.0
example.com/x/y: example.com/x@v9.9.9: reading https://proxy.example/example.com/x/@v/v9.9.9.zip: 403 Forbidden
        server response: This module version is not available
"""
    assert programs.first_sentence_of_go_error(text) == "version not available from the module proxy: example.com/x@v9.9.9"
    assert programs.first_sentence_of_go_error("go: downloading a v1\n# pkg\nfile.go:1: undefined: x\n") == "# pkg | file.go:1: undefined: x"


def test_the_key_of_a_family_changes_with_everything_that_changes_the_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = tmp_path / "one"
    family.mkdir()
    (family / "build.json").write_text(json.dumps({"purpose": "a", "programs": ["x"]}))
    (family / "go.mod").write_text("module one\n")
    monkeypatch.setattr(programs, "TOOLS", tmp_path)

    def key(version: str = "go1.26.0") -> str:
        return programs.Family("one", programs.Go("/nowhere/go", version)).key

    keys = [key()]
    (family / "build.json").write_text(json.dumps({"purpose": "b", "programs": ["x"]}))
    assert key() == keys[0], "the purpose is only words"
    keys.append(key("go1.26.1"))
    for name, text in (
        ("go.sum", "sum"),
        ("main.go", "package main"),
        ("go.mod", "module two\n"),
        ("build.json", '{"programs": ["x"], "tags": ["t"]}'),
    ):
        (family / name).write_text(text)
        keys.append(key())
    assert len(set(keys)) == len(keys)
    with pytest.raises(BedError, match=r"build\.json is missing"):
        programs.Family("absent", GO)


def test_every_image_names_programs_that_its_families_build() -> None:
    table = images.of_all({name: programs.Family(name, GO) for name in FAMILIES})
    assert set.union(*(image.programs for image in table.values())) <= set(FAMILIES)
    for path in IMAGES.glob("*/image.json"):
        for entry in json.loads(path.read_text())["contents"]:
            if "program" in entry:
                family, program = entry["program"].split("/")
                assert program in programs.Family(family, GO).recipe["programs"], path


def test_an_image_is_written_with_equal_bytes_and_nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for turn in ("a", "b"):
        monkeypatch.setenv("SERVEROPS_CACHE", str(tmp_path / turn))
        image = images.Image(IMAGES / "bb", {})
        image.write()
        digests.add(hashlib.sha256(image.archive.read_bytes()).hexdigest())
        with tarfile.open(image.archive) as archive:
            manifest = json.load(archive.extractfile("manifest.json"))[0]
            layer_file = archive.extractfile(manifest["Layers"][0])
            config = json.load(archive.extractfile(manifest["Config"]))
            assert manifest["RepoTags"] == ["localhost/bb:1"]
            with tarfile.open(fileobj=layer_file) as layer:
                members = {member.name: member for member in layer.getmembers()}
        assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}
        assert members["bin/sh"].linkname == "/bin/busybox"
        assert members["tmp"].mode == 0o1777
        assert config["config"]["Cmd"] == ["/bin/sh"]
    assert len(digests) == 1


def test_velero_117_says_that_it_is_built_on_upstream_kopia() -> None:
    labels = json.loads((IMAGES / "velero117/image.json").read_text())["config"]["Labels"]
    assert "upstream kopia" in labels["org.opencontainers.image.description"]


def test_a_process_is_known_by_its_start_and_by_its_mark() -> None:
    name = f"marked-{os.getpid()}"
    with subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], env={**os.environ, MARK: name}, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        start = processes.start_time(child.pid)
        assert start is not None
        assert processes.alive(child.pid, start)
        assert not processes.alive(child.pid, start + 1)
        assert not processes.kill(child.pid, start + 1), "another process of this id must not be hit"
        assert child.poll() is None
        assert processes.marked(name) == {child.pid}
        assert processes.end_all(name) == 1
        assert child.wait() == -signal.SIGKILL
        assert not processes.alive(child.pid, start)


def test_groups_of_another_bed_are_not_taken_for_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("serverops-bed-a-n1", "serverops-bed-a-n2", "serverops-bed-a-b-n1", "serverops-bed-ab-n1", "other"):
        (tmp_path / "cpu" / name).mkdir(parents=True)
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    assert sorted(path.name for path in cgroups.find(processes.cgroup_prefix("a"))) == ["serverops-bed-a-n1", "serverops-bed-a-n2"]


def test_control_groups_on_version_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    for folder in (tmp_path, tmp_path / "serverops-bed-a-n1"):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        (folder / "cgroup.subtree_control").write_text("")
    assert cgroups.is_v2()
    assert cgroups.missing_controllers() == []
    cgroups.make("serverops-bed-a-n1")
    # one write per controller: the last one stays in an ordinary file
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+pids"
    assert (tmp_path / "serverops-bed-a-n1/cgroup.subtree_control").read_text() == "+pids"
    cgroups.hold("serverops-bed-a-n1", 4711)
    assert (tmp_path / "serverops-bed-a-n1/host/cgroup.procs").read_text() == "4711"
    assert cgroups.processes("serverops-bed-a") == {4711}
    (tmp_path / "cgroup.controllers").write_text("cpu io\n")
    assert cgroups.missing_controllers() == ["cpuset", "memory", "pids"]


def test_a_second_driver_waits_for_the_lock_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "RUNTIME", tmp_path)
    with state.locked("one"), pytest.raises(BedError, match="another driver"), state.locked("one", wait=0.2):
        pass
    with state.locked("one"):
        pass


def test_the_first_process_ends_when_the_driver_dies_before_it_recorded_it(tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text("{}")
    go_read, go_write = os.pipe()
    report_read, report_write = os.pipe()
    subprocess.run(
        [sys.executable, "-m", "tests.bed.driver.supervisor", str(settings), str(go_read), str(report_write)],
        cwd=REPOSITORY,
        pass_fds=(go_read, report_write),
        check=True,
    )
    pid = int(os.read(report_read, 32))
    start = processes.start_time(pid)
    assert processes.alive(pid, start)
    for number in (go_read, go_write, report_read, report_write):
        os.close(number)
    end = time.monotonic() + 10
    while processes.alive(pid, start):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_audit_log_gives_each_request_once_with_its_end(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"

    def event(number: int, stage: str, verb: str = "get", user: str = "admin") -> str:
        return json.dumps({"auditID": str(number), "stage": stage, "verb": verb, "user": {"username": user}, "userAgent": "agent/1"}) + "\n"

    log.write_text(event(0, "RequestReceived") + event(0, "ResponseComplete"))
    mark = audit.mark(log)
    with log.open("a") as file:
        file.write(event(1, "RequestReceived") + event(2, "RequestReceived", "watch") + event(1, "ResponseComplete"))
        file.write(event(3, "RequestReceived", user="other") + event(4, "RequestReceived", "list") + '{"auditID": "5", "st')
    began = time.monotonic()
    found = [(entry["auditID"], entry["stage"]) for entry in audit.events(log, mark, user="admin", settle=0.2)]
    assert found == [("1", "ResponseComplete"), ("2", "RequestReceived"), ("4", "RequestReceived")]
    assert time.monotonic() - began >= 0.2, "the end of request 4 was not waited for"
    assert list(audit.events(log, mark, user="admin", user_agent="other", settle=0)) == []


def test_too_little_space_is_said_with_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "RUN_SPACE", 1 << 60)
    assert "running a bed needs" in preflight.space_problems(0)[0]
    assert "building 3 tool families" in preflight.space_problems(3)[0]


def test_without_root_the_preflight_says_so_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert preflight.check(FAMILIES) == ["root is needed: namespaces, mounts and control groups are made; run it by sudo"]


def test_the_end_of_a_log_is_shown_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("one\ntwo\nthree\n")
    assert control.tail(tmp_path / "log", 2) == f"two | three (log: {tmp_path}/log)"
    assert "no log" in control.tail(tmp_path / "absent")


def test_signature_version_4_covers_method_path_query_and_body() -> None:
    def signature(**changes: object) -> str:
        values = {
            "method": "GET",
            "host": "h",
            "path": "/b/k",
            "query": "a=1&b",
            "body": b"",
            "access_key": "k",
            "secret_key": "s",
            "region": "r",
            **changes,
        }
        return signature_v4(**values)["authorization"].rsplit("=", 1)[1]

    changed = ({"method": "PUT"}, {"host": "i"}, {"path": "/b/l"}, {"query": "a=2&b"}, {"body": b"x"}, {"secret_key": "t"}, {"region": "q"})
    assert len({signature(), *(signature(**change) for change in changed)}) == len(changed) + 1
