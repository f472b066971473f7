# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret shows itself in any form, in neither way, on success, failure, exception or in check mode; and a planted leak is found.

The playbooks have no secret in their text, since from ansible-core 2.19 on the core prints a failing task's own lines: all secrets
come by a variables file, as the documentation of the modules says.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.bed.ways.audited import clean
from tests.bed.ways.backup_cases import BACKUP, BACKUPS, SMALL
from tests.bed.ways.both import WAYS, hosts
from tests.bed.ways.canaries import Seen, watch
from tests.bed.ways.cases import INFO, INSTALL, LOCATION, SNAPSHOT
from tests.bed.ways.changed_copy import changed_copy
from tests.bed.ways.proxy import Proxy
from tests.bed.ways.world import World

pytestmark = pytest.mark.timeout(900)
PASSWORD = "c@nary/of the:proxy%7"
QUOTED = "c%40nary%2Fof%20the%3Aproxy%257"


@dataclass(frozen=True)
class Nest:
    """The canaries by name, and the variables of the plays, which hold them."""

    world: World
    canaries: dict[str, str]
    values: dict[str, Any]


@pytest.fixture(scope="module")
def nest(world: World) -> Iterator[Nest]:
    """Secrets that work on the bed, and wrong ones."""
    proxy = Proxy("ways", PASSWORD)
    config = world.kubeconfig
    key_data = config["users"][0]["user"]["client-key-data"]
    client_key = Path(world.client["key"]).read_text()
    by_token = json.loads(json.dumps(config))
    by_token["users"][0]["user"] = {"token": world.token}
    s3 = world.bed.s3
    wrong = "[default]\naws_access_key_id=AKIACANARYOFNOBODY01\naws_secret_access_key=canary/of+a+wrong/secret/key/0123456789abc\n"
    broken = "canary of a file\nthat no parser = takes\n"
    gcp = world.bed.gcs.service_account_key("ways-canary").read_text()
    canaries = {
        "client key data": key_data,
        "client key": client_key,
        "token": world.token,
        "wrong api key": "canary-of-an-api-key-that-nobody-gave",
        "credentials": world.velero.credentials,
        "secret key": s3.secret_key,
        "wrong credentials": wrong,
        "wrong secret key": "canary/of+a+wrong/secret/key/0123456789abc",
        "broken credentials": broken,
        "service account key": gcp,
        "private key": json.loads(gcp)["private_key"],
        "proxy password": PASSWORD,
        "repository password": "canary-of-a-repository's/pass word",
    }
    values = {
        "by_certificate": config,
        "by_token": by_token,
        "token": world.token,
        "wrong_api_key": canaries["wrong api key"],
        "proxy": f"http://ways:{QUOTED}@{proxy.address}",
        "wrong_proxy": f"http://somebody:{QUOTED}@{proxy.address}",
        "credentials": world.velero.credentials,
        "wrong_credentials": wrong,
        "broken_credentials": broken,
        "service_account": gcp,
        "repository_password": canaries["repository password"],
    }
    yield Nest(world, canaries, values)
    proxy.close()


def plays(nest: Nest, way: str) -> list[dict[str, Any]]:
    """Return tasks with all canaries: successes, failures, check mode, wrong arguments; each result is registered, shown and kept as a fact."""
    world = nest.world
    direct = {"host": world.bed.api_server, "ca_cert": str(world.bed.ca_file), "timeout": 60, "namespace": world.velero.namespace}
    valid = {name: value for name, value in world.velero.location_options("ways-canary").items() if name != "kubeconfig"}
    inline = {"kubeconfig": "{{ by_certificate }}", "proxy": "{{ proxy }}"}
    secret = {"name": "ways-canary", "content": "{{ credentials }}"}
    info, location, snapshot, install = (f"serverops.circleci.{name}" for name in (INFO, LOCATION, SNAPSHOT, INSTALL))
    shots = {name: value for name, value in world.velero.snapshot_options("ways-canary").items() if name != "kubeconfig"}
    shot = secret | {"name": "ways-canary-shot"}
    installed = {name: value for name, value in world.install_options().items() if name not in ("kubeconfig", "credential")}
    backup, backups = f"serverops.circleci.{BACKUP}", f"serverops.circleci.{BACKUPS}"
    small_of_info = {"namespace": world.velero.namespace, "name": "ways-canary", "timeout": 60}
    small = small_of_info | SMALL
    listed: list[tuple[str, dict[str, Any]]] = [
        ("predicted", {location: valid | inline | {"credential": secret}, "check_mode": True}),
        ("made", {location: valid | inline | {"credential": secret}}),
        ("made again", {location: valid | {"kubeconfig": "{{ by_token }}", "credential": secret}}),
        ("read by token", {info: direct | {"api_key": "{{ token }}", "proxy": "{{ proxy }}"}}),
        (
            "service account",
            {
                location: valid | inline | {"provider": "gcp", "config": {}, "credential": secret | {"content": "{{ service_account }}"}},
                "check_mode": True,
            },
        ),
        ("wrong key of the store", {location: valid | inline | {"prefix": "other", "credential": secret | {"content": "{{ wrong_credentials }}"}}}),
        ("no credentials file", {location: valid | inline | {"credential": secret | {"content": "{{ broken_credentials }}"}}}),
        ("snapshots predicted", {snapshot: shots | inline | {"credential": shot}, "check_mode": True}),
        ("snapshots made", {snapshot: shots | inline | {"credential": shot}}),
        ("snapshots changed", {snapshot: shots | {"kubeconfig": "{{ by_token }}", "credential": shot | {"content": "{{ wrong_credentials }}"}}}),
        ("snapshots of nobody", {snapshot: shots | inline | {"provider": "nobody/knows", "credential": shot}}),
        ("no credentials file of snapshots", {snapshot: shots | inline | {"credential": shot | {"content": "{{ broken_credentials }}"}}}),
        ("wrong api key", {info: direct | {"api_key": "{{ wrong_api_key }}"}}),
        ("wrong login at the proxy", {info: direct | {"api_key": "{{ token }}", "proxy": "{{ wrong_proxy }}", "timeout": 3}}),
        ("proxy of another kind", {info: direct | {"api_key": "{{ token }}", "proxy": "{{ proxy | replace('http', 'socks5') }}"}}),
        ("content as a path", {info: {"kubeconfig": "{{ by_certificate | to_json }} "}}),
        ("wrong choice", {info: inline | {"gather": ["weather"]}}),
        ("installed as it is", {install: installed | inline | {"credential": {"content": "{{ credentials }}"}}}),
        (
            "installed anew",
            {
                install: installed
                | inline
                | {
                    "credential": {"content": "{{ wrong_credentials }}"},
                    "namespace": "ways-fresh",
                    "repository_password": "{{ repository_password }}",
                },
                "check_mode": True,
            },
        ),
        ("another password", {install: installed | inline | {"repository_password": "{{ repository_password }}"}}),
        ("no credentials file for the server", {install: installed | inline | {"credential": {"content": "{{ broken_credentials }}"}}}),
        ("backup made", {backup: small | inline | {"name": "ways-canary"}}),
        ("backup read", {backups: small_of_info | {"kubeconfig": "{{ by_token }}", "proxy": "{{ proxy }}", "gather": ["volumes", "results", "log"]}}),
        ("backup of a wrong login", {backup: direct | {"api_key": "{{ wrong_api_key }}", "name": "ways-canary", "state": "absent"}}),
        ("unknown option", {location: valid | inline | {"credential": secret, "colour": "{{ token }}"}}),
        ("wrong type", {location: valid | inline | {"timeout": "{{ token }}", "api_key": "{{ token }}"}}),
    ]
    tasks: list[dict[str, Any]] = []
    for number, (name, task) in enumerate(listed):
        tasks.append({"name": name, **task, "register": f"result_{number}", "ignore_errors": True})
        tasks.append({"name": f"show {name}", "ansible.builtin.debug": {"var": f"result_{number}"}})
        tasks.append({"name": f"keep {name}", "ansible.builtin.set_fact": {f"fact_{number}": f"{{{{ result_{number} }}}}", "cacheable": True}})
    return [{"hosts": way, "gather_facts": False, "vars_files": ["secrets.json"], "tasks": tasks}]


def seen_in(nest: Nest, home: Path, what: list[dict[str, Any]], env: dict[str, str] | None = None) -> Seen:
    """Run plays with the canaries in a variables file of mode 0600."""
    vault = home / "secrets.json"
    vault.touch(0o600)
    vault.write_text(json.dumps(nest.values))
    return watch(what, home, ["-i", str(hosts(home))], env or {}, nest.canaries.values())


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder with a short path: below a long one the core's own socket in TMPDIR has no place."""
    with tempfile.TemporaryDirectory(prefix="ways-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("way", WAYS)
def test_nowhere(nest: Nest, way: str, home: Path) -> None:
    """Output at -vvvv --diff, results, facts, process arguments and files: nothing, on success, failure, wrong arguments and in check mode."""
    clean(nest.world.velero)
    seen = seen_in(nest, home, plays(nest, way))
    results = {line["task"]: line for line in map(json.loads, seen.texts["results"].splitlines())}
    ours = {name: line for name, line in results.items() if "ran" in line["result"]}
    assert {line["result"]["ran"] for line in ours.values()} == {way}
    outcome = {name: line["status"] for name, line in ours.items()}
    good = {"predicted", "made", "made again", "read by token", "service account", "installed as it is", "installed anew"}
    good |= {"snapshots predicted", "snapshots made", "snapshots changed", "backup made", "backup read"}
    assert outcome == {name: "ok" if name in good else "failed" for name in outcome}, [line["result"].get("msg") for line in ours.values()]
    assert len(outcome) == 26
    assert "execve(" in seen.texts["process arguments"]
    assert [name for name in seen.texts if name.startswith("file facts")], "the facts were not kept, so nothing was looked at"
    assert seen.leaks(nest.canaries) == []
    # a module is handed its options in a file; the controller process needs none
    assert bool(seen.holding) is (way == "module"), seen.holding
    assert seen.open_to_others() == []
    assert [name for name in seen.texts if name.startswith("file temporary")] == []
    clean(nest.world.velero)


def one_task(nest: Nest, way: str) -> list[dict[str, Any]]:
    """Return a play with one task in check mode that has all kinds of secrets."""
    options = nest.world.velero.location_options("ways-canary") | {
        "kubeconfig": "{{ by_token }}",
        "proxy": "{{ proxy }}",
        "credential": {"name": "ways-canary", "content": "{{ credentials }}"},
    }
    task = {"name": "one", f"serverops.circleci.{LOCATION}": options, "check_mode": True, "ignore_errors": True}
    return [{"hosts": way, "gather_facts": False, "vars_files": ["secrets.json"], "tasks": [task]}]


@pytest.mark.parametrize("way", WAYS)
def test_exception(nest: Nest, way: str, home: Path, tmp_path: Path) -> None:
    """An exception that nobody foresaw, with all options in its text: told in one sentence, and nothing in it."""
    env = changed_copy(tmp_path / "copy", "raise RuntimeError(f'not foreseen: {dict(options)!r}')")
    seen = seen_in(nest, home, one_task(nest, way), env)
    (line,) = map(json.loads, seen.texts["results"].splitlines())
    assert "unexpected RuntimeError: not foreseen" in line["result"]["msg"]
    assert "********" in line["result"]["msg"]
    assert line["result"]["ran"] == way
    assert "Traceback" not in seen.texts["stdout"] + seen.texts["stderr"]
    assert seen.leaks(nest.canaries) == []


# what is planted, and where it has to be found
PLANTED = {
    "printed as base64": ("import base64; print(base64.b64encode(options['credential']['content'].encode()).decode())", "std"),
    "progress without the mask": (
        "from ansible.utils.display import Display; Display().display(options['credential']['content'].splitlines()[-1])",
        "stdout",
    ),
    "result without the mask": (
        "type(context.mask).value = lambda self, value: value; type(context.mask).text = lambda self, text: text\n"
        "return {'changed': False, 'seen': options['credential']['content']}",
        "results",
    ),
    "process argument, URL-quoted": (
        "import subprocess; subprocess.run(['true', options['proxy'].rpartition('@')[0].removeprefix('http://ways:')])",
        "process arguments",
    ),
    "file left behind": (
        "import os, tempfile; number, path = tempfile.mkstemp(); os.write(number, options['credential']['content'].encode())",
        "file temporary",
    ),
}


@pytest.mark.parametrize("leak", PLANTED)
def test_planted_leak_is_found(nest: Nest, leak: str, home: Path, tmp_path: Path) -> None:
    """The same look finds each leak that is planted in a copy of the collection."""
    body, where = PLANTED[leak]
    env = changed_copy(tmp_path / "copy", body)
    seen = seen_in(nest, home, one_task(nest, "controller"), env)
    assert any(found.startswith(where) for found in seen.leaks(nest.canaries)), (seen.leaks(nest.canaries), seen.texts["stdout"][-1500:])


def test_planted_open_file_is_found(nest: Nest, home: Path, tmp_path: Path) -> None:
    """A temporary file that others may read is noticed though it is gone when the run ends."""
    body = "import os, tempfile; path = tempfile.gettempdir() + '/open'; os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)); os.unlink(path)"
    seen = seen_in(nest, home, one_task(nest, "controller"), changed_copy(tmp_path / "copy", body))
    assert [found for found in seen.open_to_others() if found.endswith("/open 644")]
