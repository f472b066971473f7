# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every condition under which a task runs in the controller process or as a module, on each supported ansible-core, by real plays."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.bed.ways.doorway import Doorway, Passed
from tests.bed.ways.remote import Remote
from tests.bed.ways.started import Started, until
from tests.plays import CORES, TaskResult, environment, play, tasks_of, variables

INFO = "serverops.circleci.velero_info"
LOCATION = "serverops.circleci.velero_storage_location"
NOBODY = "ways-nobody"
"""A namespace that nobody makes: reading it is quick and finds nothing."""
GROUP = "group/serverops.circleci.all"
# root becomes root: the way to do it that every Debian has
BECOME = {"become": True, "become_method": "ansible.builtin.su", "become_user": "root"}


@dataclass(frozen=True)
class Condition:
    """A task under a condition, and where it has to run. keywords are the task's, play the play's."""

    name: str
    ran: str
    host: str = "localhost"
    keywords: dict[str, Any] = field(default_factory=dict)
    play: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] | None = None
    action: str = INFO


CONDITIONS = [
    Condition("implicit localhost", "controller"),
    Condition("host with a local connection", "controller", "plain"),
    Condition("connection local on the task", "controller", "nameless", {"connection": "local"}),
    Condition("delegate_to localhost from an ssh host", "controller", "far", {"delegate_to": "localhost"}),
    Condition("delegate_to localhost from an ssh host with an interpreter of its own", "controller", "far_other", {"delegate_to": "localhost"}),
    Condition("delegate_to a local host", "controller", "far", {"delegate_to": "plain"}),
    Condition("delegate_to localhost in a loop", "controller", "far_other", {"delegate_to": "localhost", "loop": [1, 2]}),
    Condition("delegate_to a local host with another Python", "module", "plain", {"delegate_to": "other"}),
    Condition("ssh", "module", "far"),
    Condition("delegate_to a remote host", "module", "localhost", {"delegate_to": "far"}),
    Condition("become on the task", "module", keywords=BECOME),
    Condition("become on the play", "module", play=BECOME),
    Condition("become by a variable", "module", "becoming"),
    Condition("become global and false on the task", "controller", keywords={"become": False}, play=BECOME),
    Condition("environment set", "module", keywords={"environment": {"WAYS": "set"}}),
    Condition("environment of the play set", "module", play={"environment": {"WAYS": "set"}}),
    Condition("environment empty", "controller", keywords={"environment": {}}),
    Condition("environment of the play empty", "controller", play={"environment": {}}),
    Condition("environment templated to empty", "controller", keywords={"environment": "{{ nothing }}"}, play={"vars": {"nothing": {}}}),
    Condition("environment templated to something", "module", keywords={"environment": "{{ some }}"}, play={"vars": {"some": {"WAYS": "set"}}}),
    Condition("interpreter auto", "controller", "auto"),
    Condition("interpreter auto_silent", "controller", "auto_silent"),
    Condition("interpreter the running one", "controller", "same"),
    Condition("interpreter templated", "controller", "templated"),
    Condition("another Python", "module", "other"),
    Condition("another Python by a variable of the task", "module", keywords={"vars": {"ansible_python_interpreter": "{{ other_python }}"}}),
    Condition("loop", "controller", keywords={"loop": ["a", "b"]}),
    Condition("loop as module", "module", "other", {"loop": ["a", "b"]}),
    Condition("defaults of the group", "controller", play={"module_defaults": {GROUP: "DEFAULTS"}}, arguments={"gather": ["storage_locations"]}),
    Condition(
        "defaults of the group as module",
        "module",
        "other",
        play={"module_defaults": {GROUP: "DEFAULTS"}},
        arguments={"gather": ["storage_locations"]},
    ),
    Condition("defaults of the module", "controller", play={"module_defaults": {INFO: "DEFAULTS"}}, arguments={"gather": ["storage_locations"]}),
    Condition(
        "defaults of the module as module",
        "module",
        "other",
        play={"module_defaults": {INFO: "DEFAULTS"}},
        arguments={"gather": ["storage_locations"]},
    ),
    Condition("short name", "controller", play={"collections": ["serverops.circleci"]}, action="velero_info"),
    Condition("short name as module", "module", "other", play={"collections": ["serverops.circleci"]}, action="velero_info"),
    Condition("async with poll", "module", keywords={"async": 60, "poll": 1}),
]
# the same wrong arguments both ways: unknown, not a choice, of another type, missing, unknown inside a suboption
WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown": (INFO, {"colour": "red"}, "Unsupported parameters for (serverops.circleci.velero_info) module: colour"),
    "choice": (INFO, {"gather": ["weather"]}, "value of gather must be one or more of: server"),
    "type": (INFO, {"timeout": "soon"}, "timeout"),
    "text for a mapping": (INFO, {"eks": "perhaps"}, "argument 'eks' is of type"),
    "missing": (LOCATION, {"provider": "aws"}, "missing required arguments: name"),
    "missing in a suboption": (LOCATION, {"name": "a", "credential": {"key": "k"}}, "missing required arguments: name found in credential"),
    "unknown in a suboption": (LOCATION, {"name": "a", "credential": {"name": "k", "colour": "red"}}, "credential.colour"),
}


@dataclass
class Ground:
    """One ansible-core with everything that its plays refer to."""

    core: str
    home: Path
    inventory: Path
    doorway: Doorway
    namespace: str
    results: dict[str, list[TaskResult]] = field(default_factory=dict)
    printed: str = ""

    def info(self) -> dict[str, Any]:
        """Return the options of a quick read."""
        return {"host": self.doorway.url, "namespace": NOBODY, "gather": ["storage_locations"]}

    def name(self, name: str) -> str:
        """Return a location's name, one of its own for each core."""
        return f"{name}-{self.core}"

    def location(self, name: str, **over: Any) -> dict[str, Any]:
        """Return the options of a location that nobody will validate."""
        base = {"host": self.doorway.url, "namespace": self.namespace, "name": self.name(name), "provider": "aws", "bucket": "ways", "timeout": 4}
        return base | over

    def result(self, name: str) -> dict[str, Any]:
        """Return the last result of a task."""
        return self.results[name][-1].result

    def folder(self, name: str) -> Path:
        """Return a new folder for one more ansible-playbook."""
        path = self.home / name
        path.mkdir()
        return path


def hosts(core: str, remote: Remote, elsewhere: Path) -> dict[str, dict[str, Any]]:
    """Return the inventory's hosts with their variables."""
    link = elsewhere / core
    if not link.exists():
        link.symlink_to(environment(core))
    # the same environment under another path: the libraries are there, and the path differs
    other, running = str(link / "bin/python"), str(running_python(core))
    local = {"ansible_connection": "local"}
    return {
        "plain": local,
        "nameless": {},
        "becoming": local | {"ansible_become": True, "ansible_become_method": "ansible.builtin.su", "ansible_python_interpreter": running},
        "auto": local | {"ansible_python_interpreter": "auto"},
        "auto_silent": local | {"ansible_python_interpreter": "auto_silent"},
        "same": local | {"ansible_python_interpreter": running},
        "templated": local | {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "other": local | {"ansible_python_interpreter": other},
        "far": remote.variables(running),
        "far_other": remote.variables(other),
    }


def running_python(core: str) -> str:
    """Return the path under which ansible-playbook of an environment runs its Python: that of its first line."""
    with (environment(core) / "bin/ansible-playbook").open() as script:
        return script.readline().removeprefix("#!").strip()


def plays(ground: Ground, other: str) -> list[dict[str, Any]]:
    """Return all conditions as one list of plays."""
    made: list[dict[str, Any]] = []

    def add(name: str, task: dict[str, Any], host: str = "localhost", keywords: dict[str, Any] | None = None) -> None:
        keywords = dict(keywords or {})
        merged = {"other_python": other, **keywords.pop("vars", {})}
        made.append({"hosts": host, "gather_facts": False, "vars": merged, **keywords, "tasks": [{"name": name, "ignore_errors": True, **task}]})

    for condition in CONDITIONS:
        keywords = json.loads(json.dumps(condition.play))
        for group in keywords.get("module_defaults", {}):
            keywords["module_defaults"][group] = {"host": ground.doorway.url, "namespace": NOBODY}
        add(condition.name, {condition.action: condition.arguments or ground.info(), **condition.keywords}, condition.host, keywords)
    for name, (module, arguments, _words) in WRONG.items():
        for way, host in (("controller", "same"), ("module", "other")):
            add(f"wrong: {name}, {way}", {module: {"host": ground.doorway.url, **arguments}}, host)
    for way, host in (("controller", "same"), ("module", "other")):
        planned = ground.location("ways-planned", credential={"name": "ways-not-there"})
        add(f"check and diff, {way}", {LOCATION: planned, "check_mode": True, "diff": True}, host)
        add(f"check without diff, {way}", {LOCATION: planned | {"bucket": "ways-not-shown"}, "check_mode": True, "diff": False}, host)
        tagged = {"part": "{{ word }}-tagged", "region": "{{ region }}", "number": "{{ 3 }}"}
        options = planned | {"bucket": "{{ word }}-bucket", "config": tagged, "prefix": "{{ word }}"}
        add(f"tagged, {way}", {LOCATION: options, "check_mode": True}, host, {"vars": {"word": "spoken", "region": "eu-1"}})
    made.append(
        {
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [
                {"name": "async without poll", INFO: ground.info(), "async": 60, "poll": 0, "register": "job"},
                {
                    "name": "its end",
                    "ansible.builtin.async_status": {"jid": "{{ job.ansible_job_id }}"},
                    "register": "seen",
                    "until": "seen.finished",
                    "retries": 200,
                    "delay": 0.2,
                },
            ],
        }
    )
    waiting = ground.location("ways-hushed", timeout=2)
    add("no_log", {LOCATION: waiting, "no_log": True})
    return made


@pytest.fixture(scope="module", params=list(CORES))
def ground(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, doorway: Doorway, remote: Remote, elsewhere: Path, idle: str
) -> Iterator[Ground]:
    """One ansible-core, and what its plays of all conditions came to."""
    core = str(request.param)
    home = tmp_path_factory.mktemp(f"core-{core}")
    inventory = home / "inventory.json"
    known = hosts(core, remote, elsewhere)
    inventory.write_text(json.dumps({"all": {"hosts": known}}))
    made = Ground(core, home, inventory, doorway, idle)
    done = play(plays(made, known["other"]["ansible_python_interpreter"]), core=core, arguments=["-i", str(inventory)], home=made.folder("all"))
    for result in done.results:
        made.results.setdefault(result.task, []).append(result)
    made.printed = done.stdout + done.stderr
    assert done.rc == 0, made.printed[-3000:]
    return made


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_where_it_runs(ground: Ground, condition: Condition) -> None:
    """The task succeeds, and runs where it should."""
    found = ground.results[condition.name]
    for result in found:
        assert result.status in {"ok", "item-ok"}, result.result
    answers = [result.result for result in found if "results" not in result.result]
    assert len(answers) == len(condition.keywords.get("loop", [1]))
    for answer in answers:
        assert answer["velero"] == []
        assert answer["ran"] == condition.ran
    if "async" in condition.keywords:
        assert answers[0]["ansible_job_id"]


def test_async_without_poll(ground: Ground) -> None:
    """The job goes to the background and its end is the module's result."""
    job, end = ground.result("async without poll"), ground.result("its end")
    assert job["ansible_job_id"] == end["ansible_job_id"]
    assert job["finished"] in (0, False)
    assert "velero" not in job
    assert end["finished"] in (1, True)
    assert end["ran"] == "module"
    assert end["velero"] == []


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(ground: Ground, name: str) -> None:
    """Ansible's own checks give the same words both ways, and nothing is sent."""
    controller, module = ground.result(f"wrong: {name}, controller"), ground.result(f"wrong: {name}, module")
    assert (controller["ran"], module["ran"]) == ("controller", "module")
    assert {result.status for way in ("controller", "module") for result in ground.results[f"wrong: {name}, {way}"]} == {"failed"}
    assert controller["msg"] == module["msg"]
    assert WRONG[name][2] in controller["msg"]


def test_check_mode_and_diff_of_a_task(ground: Ground) -> None:
    """check_mode on the task plans and writes nothing, diff on the task shows the plan, and both ways agree, warnings included."""
    assert not [passed for passed in ground.doorway.writes if "ways-planned" in passed.path]
    for name in ("check and diff", "check without diff"):
        controller, module = ground.result(f"{name}, controller"), ground.result(f"{name}, module")
        assert (controller.pop("ran"), module.pop("ran")) == ("controller", "module")
        module.pop("invocation", None)
        assert controller == module
        assert controller["changed"] is True
        assert [request["method"] for request in controller["requests"]] == ["POST"]
        target, secret = f"BackupStorageLocation {ground.namespace}/{ground.name('ways-planned')}", f"Secret {ground.namespace}/ways-not-there"
        assert controller["warnings"] == [f"{target}: {secret} does not exist; an earlier task has to make it"]
    assert ground.printed.count('"bucket": "ways"') >= 2
    assert "ways-not-shown" not in ground.printed
    assert "[WARNING]: BackupStorageLocation" in ground.printed


def test_templated_values(ground: Ground) -> None:
    """Values that come out of templates (tagged strings from ansible-core 2.19 on) are what they say, both ways."""
    controller, module = ground.result("tagged, controller"), ground.result("tagged, module")
    assert controller["diff"] == module["diff"]
    after = controller["diff"]["after"]["storage_location"]
    assert after["bucket"] == "spoken-bucket"
    assert after["config"] == {"part": "spoken-tagged", "region": "eu-1", "number": "3"}
    assert after["prefix"] == "spoken"


def test_no_log(ground: Ground) -> None:
    """A task with no_log shows no progress; that it would have shown some is seen in test_progress."""
    assert any(passed.method == "POST" for passed in ground.doorway.writes)
    assert "censored" in ground.result("no_log")
    # the failure's own message is printed by ansible-core 2.19 and newer, whatever no_log says
    assert "s of at most" not in ground.printed


def test_interpreter_of_the_configuration(ground: Ground) -> None:
    """Without a variable the configured interpreter counts, here another one."""
    known = json.loads(ground.inventory.read_text())["all"]["hosts"]
    done = play(
        [{"hosts": "plain", "gather_facts": False, "tasks": [{INFO: ground.info()}]}],
        core=ground.core,
        arguments=["-i", str(ground.inventory)],
        env={"ANSIBLE_PYTHON_INTERPRETER": known["other"]["ansible_python_interpreter"]},
        home=ground.folder("configured"),
    )
    assert done.last["ran"] == "module"


@pytest.fixture
def running(ground: Ground, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Start plays of one task and end them with the test."""
    begun: list[Started] = []

    def start(task: dict[str, Any], host: str = "localhost") -> Started:
        home = ground.folder(f"{re.sub(r'[^a-z]+', '-', request.node.name)}-{len(begun)}")
        begun.append(Started([{"hosts": host, "gather_facts": False, "tasks": [task]}], home, ground.core, ["-i", str(ground.inventory)]))
        return begun[-1]

    yield start
    for one in begun:
        one.close()


def test_progress(ground: Ground, running: Any) -> None:
    """A wait in the controller process tells its state at once, names the object, and is silent as a module."""
    name = f"BackupStorageLocation {ground.namespace}/{ground.name('ways-progress')}"
    run = running({LOCATION: ground.location("ways-progress", timeout=5)})
    assert run.ended(60) == 2
    told = [at for at, line in run.lines if line.startswith(name)]
    failed = next(at for at, line in run.lines if "fatal:" in line or "FAILED" in line or "[ERROR]" in line)
    assert told, run.text
    assert failed - told[0] > 2, "the line came with the result and not while the task waited"
    result = run.results[-1].result
    assert result["ran"] == "controller"
    assert result["changed"] is True
    assert result["msg"].startswith(f"prove {name}: not done after")


def test_task_timeout(ground: Ground, running: Any) -> None:
    """A task's own timeout ends a wait in the controller process in time."""
    began = time.monotonic()
    run = running({LOCATION: ground.location("ways-timeout", timeout=60), "timeout": 2})
    assert run.ended(30) == 2
    assert time.monotonic() - began < 20
    assert re.search(r"\(2\)|2 second", run.results[-1].result["msg"]), run.text
    assert run.members() == []


def first_read(name: str) -> Any:
    """Return what matches the first request of a location task."""
    return lambda passed: passed.method == "GET" and "backupstoragelocations" in passed.path


def quiet(doorway: Doorway, since: int, seconds: float) -> list[Passed]:
    """Return the writes that come within some seconds, those before the mark left out."""
    time.sleep(seconds)
    return doorway.writes[since:]


@pytest.mark.parametrize("way", ["same", "other"])
def test_interrupted(ground: Ground, running: Any, way: str) -> None:
    """Ctrl-C while a request is under way: everything ends, nothing is written after, nothing is left, in both ways."""
    before = len(ground.doorway.writes)
    with ground.doorway.holding(first_read("ways-interrupted")):
        run = running({LOCATION: ground.location("ways-interrupted", timeout=60)}, way)
        assert ground.doorway.arrived.wait(60), run.text
        os.killpg(run.process.pid, signal.SIGINT)
        run.ended(15)
        until(lambda: not run.members(), 10, f"the end of {run.members()}")
    assert quiet(ground.doorway, before, 1.5) == []
    left = [str(path) for path in (ground.home / run_folder(run) / "ansible/tmp").rglob("*")]
    assert left == []


def run_folder(run: Started) -> str:
    """Return the name of the folder that a play was started in."""
    return Path(str(run.process.args[1])).parent.name


def test_parent_killed(ground: Ground, running: Any) -> None:
    """kill -9 of ansible-playbook: its worker sees it before the next write, writes nothing, and ends."""
    before = len(ground.doorway.writes)
    with ground.doorway.holding(first_read("ways-orphan")):
        run = running({LOCATION: ground.location("ways-orphan", timeout=60)})
        assert ground.doorway.arrived.wait(60), run.text
        run.process.kill()
        run.ended(10)
        assert run.members(), "the worker is gone already, so nothing is shown here"
    until(lambda: not run.members(), 20, "the end of the worker")
    assert quiet(ground.doorway, before, 1) == []


RUNNER = """
import json, sys, time
import ansible_runner

seen = []
ansible_runner.run(
    private_data_dir=sys.argv[1], playbook=sys.argv[2], inventory="localhost,", quiet=True, envvars=json.loads(sys.argv[3]),
    event_handler=lambda event: seen.append((time.monotonic(), event["event"], event.get("stdout", ""))),
)
print(json.dumps(seen))
"""


def test_progress_under_ansible_runner(doorway: Doorway, idle: str, tmp_path: Path) -> None:
    """Under ansible-runner, which AWX uses, progress comes as live events of kind verbose."""
    core = "newest"
    options = {"host": doorway.url, "namespace": idle, "name": "ways-events", "provider": "aws", "bucket": "ways", "timeout": 5}
    book = tmp_path / "play.yml"
    book.write_text(json.dumps([{**tasks_of([{LOCATION: options}])[0], "connection": "local"}]))
    env = variables(core, tmp_path)
    python = environment(core) / "bin/python"
    given = {name: env[name] for name in ("ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_HOME", "ANSIBLE_LOCAL_TEMP") if name in env}
    done = subprocess.run(
        [python, "-c", RUNNER, tmp_path, book, json.dumps(given)], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    events = json.loads(done.stdout.strip().splitlines()[-1])
    told = [at for at, kind, text in events if kind == "verbose" and text.startswith(f"BackupStorageLocation {idle}/ways-events")]
    failed = next(at for at, kind, _text in events if kind == "runner_on_failed")
    assert told, events
    assert failed - told[0] > 2
    shutil.rmtree(tmp_path / "artifacts", ignore_errors=True)
