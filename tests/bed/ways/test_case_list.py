# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The computed case list of each module: equal in both ways, nothing written by a second run, and a prediction that comes true."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.bed.conftest import InstalledVelero
from tests.bed.ways.audited import as_installed, clean, writes
from tests.bed.ways.backup_cases import BACKUP
from tests.bed.ways.both import comparable, ran, task, told
from tests.bed.ways.cases import INSTALL, LOCATION, SNAPSHOT, Case, cases, untried
from tests.bed.ways.restore_cases import RESTORE, SCHEDULE, make_source
from tests.bed.ways.world import World
from tests.plays import TaskResult

# one play of all cases as modules is long on a busy machine
pytestmark = pytest.mark.timeout(2400)
PAIRS = 32
AS_MODULE = 8
"""Every so many pairs one is run in the module way."""
SEED = 20261121
OTHERS = {"backup", "backups", "restore", "restores", "schedule"}
"""Nouns of results beside those of installations and locations."""


@dataclass(frozen=True)
class Told:
    """What the case list came to: results of both ways by case, those of the second runs, and what these wrote."""

    listed: list[Case]
    first: dict[str, dict[str, TaskResult]]
    second: dict[str, dict[str, TaskResult]]
    written: dict[str, list[str]]
    written_first: dict[str, list[str]]


def identity(case: Case) -> str:
    """Return a case's name with its module."""
    return f"{case.module} {case.name}"


def first_runs(folder: Path, listed: list[Case], way: str, env: dict[str, str]) -> dict[str, TaskResult]:
    """Run all cases once, each after the task that has to come before it."""
    tasks = []
    for case in listed:
        if case.before:
            tasks.append((way, task(f"before {identity(case)}", case.module, case.before)))
        tasks.append((way, task(identity(case), case.module, case.options, **({"check_mode": True} if case.check else {}))))
    return {result.task: result for result in ran(folder, tasks, env).results}


def kept(case: Case, result: TaskResult) -> bool:
    """Tell whether a second run has to find everything as asked: a success, and one that may write at all."""
    if case.module == INSTALL:
        return result.status == "ok" and not case.check and "version" in case.options and case.name != "as-it-is"
    if case.module in (BACKUP, RESTORE, SCHEDULE):
        return result.status == "ok" and not case.check and case.options.get("name") != "ways-never-made"
    return case.module in (LOCATION, SNAPSHOT) and result.status == "ok" and case.options["name"] != "ways-never-made"


def settled(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result without the write by which another location gives up being the default after one was made as the default.

    Velero's server strips the other one, too, at the same moment: whoever comes first does it, and ours is then refused and not needed.
    """
    requests = result.get("requests") or []
    if not any(request["method"] == "POST" and request["path"].endswith("/backupstoragelocations") for request in requests):
        return result
    return {**result, "requests": [request for request in requests if not request["path"].endswith("/backupstoragelocations/default")]}


@pytest.fixture(scope="module")
def both(velero: InstalledVelero, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """All cases in the controller process, again as modules; then, from the same start, all as modules and again in the controller process."""
    listed = cases(world)
    first: dict[str, dict[str, TaskResult]] = {}
    second: dict[str, dict[str, TaskResult]] = {}
    written: dict[str, list[str]] = {}
    written_first: dict[str, list[str]] = {}
    for way, other in (("controller", "module"), ("module", "controller")):
        clean(velero)
        as_installed(world)
        make_source(velero)
        mark = velero.bed.audit_mark()
        first[way] = first_runs(tmp_path_factory.mktemp(f"first-{way}"), listed, way, world.environment)
        written_first[way] = writes(velero, mark, accepted=True)
        again = [(other, task(identity(case), case.module, case.options)) for case in listed if kept(case, first[way][identity(case)])]
        mark = velero.bed.audit_mark()
        done = ran(tmp_path_factory.mktemp(f"second-{other}"), again, world.environment)
        second[other] = {result.task: result for result in done.results}
        written[other] = writes(velero, mark)
    yield Told(listed, first, second, written, written_first)
    clean(velero)
    as_installed(world)


def test_every_option_has_a_case(world: World) -> None:
    """Whatever the argument specs offer is tried."""
    assert untried(cases(world)) == []


def test_an_option_without_a_case_is_noticed(world: World) -> None:
    """Without the cases that try an option it is reported: the check above can fail."""
    listed = [case for case in cases(world) if "prefix" not in case.options and "context" not in case.options]
    assert untried(listed)[:1] == ["kubernetes_info: context"]
    assert "velero_storage_location: prefix" in untried(listed)


def test_both_ways_agree(both: Told) -> None:
    """Every case has the same outcome, result, message and warnings in both ways."""
    different = []
    for case in both.listed:
        one, other = (both.first[way][identity(case)] for way in ("controller", "module"))
        if one.status != other.status or settled(comparable(one.result)) != settled(comparable(other.result)):
            different.append(f"{told(one)}\n  {comparable(one.result)}\n  {other.status} {comparable(other.result)}")
    assert different == []
    outcomes = [both.first["controller"][identity(case)].status for case in both.listed]
    assert outcomes.count("ok") > len(both.listed) / 2, "a list in which nearly all fails shows little"
    assert outcomes.count("failed") > 10


def test_results_keep_their_contract(both: Told) -> None:
    """A success has its noun, a failure one sentence without a traceback, and every location task lists its writes."""
    for way, results in both.first.items():
        for name, result in results.items():
            value = result.result
            if result.status == "ok":
                assert (OTHERS | {"objects", "velero", "storage_location", "snapshot_location", "installation"}) & set(value), told(result)
            else:
                assert value["msg"], (way, name)
                assert "Traceback" not in value["msg"]
                assert "defect" not in value["msg"], told(result)
            if name.startswith((LOCATION, SNAPSHOT, INSTALL, SCHEDULE, f"{BACKUP} ", f"{RESTORE} ")) and result.status == "ok":
                assert bool(value["requests"]) is value["changed"], told(result)


@pytest.mark.parametrize("way", ["controller", "module"])
def test_second_run_writes_nothing(both: Told, way: str) -> None:
    """A second run of every successful case changes nothing, by its own result and by the API server's audit log."""
    assert len(both.second[way]) >= 18
    assert [
        told(result) for result in both.second[way].values() if result.status != "ok" or result.result["changed"] or result.result["requests"]
    ] == []
    assert both.written[way] == []


def test_first_runs_write(both: Told) -> None:
    """The first runs did write, and each result lists exactly what the API server accepted."""
    checks = {identity(case) for case in both.listed if case.check}
    for way in ("controller", "module"):
        changed = [result for name, result in both.first[way].items() if name in both.second["controller"] and result.result["changed"]]
        assert len(changed) >= 18
        real = [result for name, result in both.first[way].items() if name not in checks]
        requests = [f"{request['method']} {request['path']}" for result in real for request in result.result.get("requests", [])]
        assert sorted(as_audited(both.written_first[way])) == sorted(requests)


def as_audited(written: list[str]) -> list[str]:
    """Return the audit log's lines in the words of a result: method, and path without its query."""
    methods = {"create": "POST", "patch": "PATCH", "update": "PUT", "delete": "DELETE"}
    return [f"{methods[line.split()[0]]} {line.split()[1].partition('?')[0]}" for line in written]


def states(velero: InstalledVelero, count: int) -> Iterator[dict[str, Any]]:
    """Yield options of random states of one location, each of them reachable: what is not in them is left as it is."""
    chance = random.Random(SEED)
    s3 = velero.bed.s3
    plain = {"region": s3.region, "s3ForcePathStyle": "true", "s3Url": s3.endpoint_inside}
    for number in range(count):
        state: dict[str, Any] = {
            "prefix": f"ways/{number}",
            "config": chance.choice([plain, plain | {"s3ForcePathStyle": True}, plain | {"publicUrl": s3.endpoint_outside}]),
        }
        if chance.random() < 0.3:
            state |= {"config": plain | {"s3Url": s3.tls_endpoint_inside}, "object_storage_ca_cert": s3.ca_file.read_text()}
        elif chance.random() < 0.3:
            state["object_storage_ca_cert"] = ""
        for option, values in (
            ("access_mode", ["ReadWrite", "ReadOnly"]),
            ("validation_frequency", ["45s", "1m", "60s", "1h30m"]),
            ("backup_sync_period", ["1m", "0", "90s"]),
            ("default", [True, False]),
            ("provider", ["aws", "velero.io/aws"]),
        ):
            if chance.random() < 0.5:
                state[option] = chance.choice(values)
        if chance.random() < 0.4:
            content = velero.credentials + chance.choice(["", "# another\n", f"# {number}\n"])
            state["credential"] = {"name": chance.choice(["ways-pair-one", "ways-pair-two"]), "content": content}
        if number % 9 == 8:
            state = {"state": "absent"}
        yield {**velero.location_options("ways-pair", **state), **({"prefix": None} if number % 11 == 10 else {})}


def snapshot_states(velero: InstalledVelero, count: int) -> Iterator[dict[str, Any]]:
    """Yield the same of one snapshot location; every other one has another region than the one before it."""
    chance = random.Random(SEED)
    for number in range(count):
        state: dict[str, Any] = {"config": {"region": f"ways-{number // 2}"} | chance.choice([{}, {"profile": "default"}, {"colour": number}])}
        if chance.random() < 0.5:
            state["provider"] = chance.choice(["aws", "velero.io/aws"])
        if chance.random() < 0.5:
            content = velero.credentials + chance.choice(["", "# another\n", f"# {number}\n"])
            state["credential"] = {"name": chance.choice(["ways-pair-one", "ways-pair-two"]), "content": content}
        yield velero.snapshot_options("ways-pair", **({"state": "absent"} if number % 9 == 8 else state))


@pytest.mark.parametrize(("module", "some"), [(LOCATION, states), (SNAPSHOT, snapshot_states)], ids=[LOCATION, SNAPSHOT])
def test_prediction_comes_true(velero: InstalledVelero, tmp_path: Path, module: str, some: Callable[..., Iterator[dict[str, Any]]]) -> None:
    """From state to state: the diff, the requests and the warnings of check mode are those of the real run that follows."""
    clean(velero)
    tasks = []
    for number, state in enumerate(some(velero, PAIRS)):
        way = "module" if number % AS_MODULE == AS_MODULE - 1 else "controller"
        options = {name: value for name, value in state.items() if value is not None}
        tasks.append((way, task(f"{number} predicted", module, options, check_mode=True)))
        tasks.append((way, task(f"{number} real", module, options)))
    results = ran(tmp_path, tasks).results
    clean(velero)
    wrong = []
    for predicted, real in zip(results[::2], results[1::2], strict=True):
        assert predicted.status == real.status == "ok", f"{told(predicted)}\n{told(real)}"
        both_sides = settled(predicted.result), settled(real.result)
        if any(both_sides[0].get(part) != both_sides[1].get(part) for part in ("changed", "diff", "requests", "warnings")):
            wrong.append(f"{predicted.task}: {predicted.result}\n{real.result}")
    assert wrong == []
    changed = sum(1 for result in results[1::2] if result.result["changed"])
    assert changed >= (30 if module == LOCATION else 20)
