# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A wrong value of each option, and each forbidden combination: one sentence that names the option, the same both ways, before any write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.bed.ways import specification
from tests.bed.ways.audited import clean, writes
from tests.bed.ways.both import comparable, ran, task, told
from tests.bed.ways.cases import INFO, LOCATION
from tests.bed.ways.world import World
from tests.plays import TaskResult
from tests.plays.in_process import DEFINITIONS

pytestmark = pytest.mark.timeout(1200)
ANY_TEXT = {
    "no_proxy": "a list of names, of which none has to match",
    "impersonate_user": "any name may be a user; whether it may do anything is the server's answer",
    "eks.cluster_name": "only AWS knows its clusters; that it is required is tried",
    "eks.region": "only AWS knows its regions",
    "eks.role_arn": "only AWS knows its roles",
    "gke.cluster_name": "only Google knows its clusters; that it is required is tried",
    "gke.location": "only Google knows its regions; that it is required is tried",
    "gke.project": "only Google knows its projects; that it is required is tried",
}
"""Options of which no value is wrong in itself, and why."""
CLOUD_EXCLUDES = ("kubeconfig", "context", "api_key", "client_cert", "client_key")


@dataclass(frozen=True)
class Bad:
    """A wrong task: the module, the option that the message has to name, and its options."""

    module: str
    option: str
    options: dict[str, Any]


def base(module: str, world: World) -> dict[str, Any]:
    """Return the options of a right task."""
    return world.velero.location_options("ways-bad") if module == LOCATION else world.velero.options(gather=["storage_locations"])


def nested(path: str, value: Any, around: Mapping[str, Any]) -> dict[str, Any]:
    """Return the option by which a value stands at a path, with the other required options around it."""
    outer, _dot, inner = path.partition(".")
    return {outer: dict(around) | {inner: value}} if inner else {outer: value}


def required_around(arguments: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return values for the required options beside an inner one."""
    outer, _dot, inner = path.partition(".")
    beside = arguments[outer].get("options") or {}
    return {name: "ways" for name, spec in beside.items() if spec.get("required") and name != inner}


def by_type(arguments: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Yield (path, options to set, options to leave out) for everything that Ansible's own checks refuse: by type, choice and requirement."""
    for path in specification.paths(arguments):
        spec = specification.at(arguments, path)
        around = required_around(arguments, path)
        wrong = None
        if spec.get("choices"):
            wrong = "no-such-choice"
        elif spec.get("type") in {"bool", "int", "dict"}:
            wrong = "perhaps"
        elif spec.get("type") == "list":
            wrong = {"no": "list"}
        if wrong is not None:
            yield path, nested(path, wrong, around), ()
        if spec.get("required"):
            outer, _dot, inner = path.partition(".")
            yield (path, {outer: around}, ()) if inner else (path, {}, (outer,))


def by_login(world: World) -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Yield (option, options to set, options to leave out) of logins that cannot work."""
    missing, file = str(world.folder / "no-such-file"), world.file("no-certificate.pem", "no certificate\n")
    kubeconfig, client = world.kubeconfig, world.client
    gke = {"cluster_name": "ways", "location": "europe-west1", "project": "ways"}
    eks = {"cluster_name": "ways", "region": "eu-west-1"}
    alone = ("kubeconfig",)
    yield "kubeconfig", {"kubeconfig": missing}, ()
    yield "kubeconfig", {"kubeconfig": 17}, ()
    yield "kubeconfig", {"kubeconfig": {"clusters": "none"}}, ()
    yield "kubeconfig", {"kubeconfig": kubeconfig | {"clusters": []}}, ()
    yield "context", {"context": "nowhere"}, ()
    yield "host", {"host": "api.example.com"}, ()
    yield "host", {"host": world.bed.api_server}, alone
    yield "api_key", {"api_key": "a-key-without-a-host"}, alone
    yield "client_cert", {"client_cert": missing, "client_key": client["key"]}, ()
    yield "client_cert", {"client_cert": client["certificate"]}, ()
    yield "client_cert", {"client_cert": file, "client_key": client["key"]}, ()
    yield "client_key", {"client_cert": client["certificate"], "client_key": missing}, ()
    yield "client_key", {"client_key": client["key"]}, ()
    yield "ca_cert", {"ca_cert": missing}, ()
    yield "ca_cert", {"ca_cert": file}, ()
    yield "proxy", {"proxy": "socks5://127.0.0.1:9"}, ()
    yield "proxy", {"proxy": "127.0.0.1"}, ()
    yield "impersonate_groups", {"impersonate_groups": ["system:masters"]}, ()
    yield "eks.profile", {"eks": eks | {"profile": "nobody"}, "host": world.bed.api_server, "ca_cert": str(world.bed.ca_file)}, alone
    yield "gke.service_account_file", {"gke": gke | {"service_account_file": missing}}, alone
    yield "timeout", {"timeout": 0}, ()
    yield "timeout", {"timeout": -5}, ()
    for cloud, value, other, its in (("eks", eks, "gke", gke), ("gke", gke, "eks", eks)):
        yield other if cloud == "eks" else "eks", {cloud: value, other: its}, alone
        for name in CLOUD_EXCLUDES:
            if name == "kubeconfig":
                yield name, {cloud: value}, ()
            else:
                yield name, {cloud: value, name: client["key"]}, alone


def by_meaning(module: str, world: World) -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Yield (option, options to set, options to leave out) of values that have the right type and cannot work."""
    yield "namespace", {"namespace": "Not A Name"}, ()
    if module == INFO:
        return
    config: dict[str, Any] = world.velero.location_options("any")["config"]
    content = world.velero.credentials
    secret = {"name": "ways-bad", "content": content}
    yield "name", {"name": "Not_A_Name"}, ()
    yield "provider", {"provider": "aws/"}, ()
    yield "provider", {}, ("provider",)
    yield "bucket", {"bucket": "bucket/folder"}, ()
    yield "bucket", {"bucket": "x"}, ()
    yield "bucket", {}, ("bucket",)
    yield "prefix", {"prefix": "one//two"}, ()
    yield "prefix", {"prefix": "../two"}, ()
    for name, value in (("bucket", "twice"), ("region", ["a"]), ("region", "'eu'"), ("s3Url", "minio:9000"), ("s3ForcePathStyle", "yes please")):
        yield f"config.{name}", {"config": config | {name: value}}, ()
    yield "object_storage_ca_cert", {"object_storage_ca_cert": "no certificate"}, ()
    yield "credential.name", {"credential": secret | {"name": "Not A Name"}}, ()
    yield "credential.key", {"credential": secret | {"key": "a/b"}}, ()
    for text in (" ", "no INI file", "[other]\na = b\n", "[default]\naws_access_key_id = without-its-partner\n"):
        yield "credential.content", {"credential": secret | {"content": text}}, ()
    for text in ("no JSON", '{"type": "service_account"}'):
        yield "credential.content", {"provider": "gcp", "config": {}, "credential": secret | {"content": text}}, ()
    yield "validation_frequency", {"validation_frequency": "often"}, ()
    yield "backup_sync_period", {"backup_sync_period": "-1m"}, ()


def bad(module: str, world: World) -> list[Bad]:
    """Return the wrong tasks of a module."""
    arguments = DEFINITIONS[module].arguments
    found = []
    for option, over, left_out in (*by_type(arguments), *by_login(world), *by_meaning(module, world)):
        options = {name: value for name, value in (base(module, world) | over).items() if name not in left_out}
        found.append(Bad(module, option, options))
    return found


def without_case(arguments: Mapping[str, Any], listed: list[Bad]) -> list[str]:
    """Return the options of which no wrong value is tried."""
    done = {one.option for one in listed} | {one.option.partition(".")[0] for one in listed}
    return [path for path in specification.paths(arguments) if path not in done | set(ANY_TEXT)]


@dataclass(frozen=True)
class Refused:
    """What became of all wrong tasks, by way, and what was written meanwhile."""

    listed: list[Bad]
    results: dict[str, list[TaskResult]]
    written: list[str]


@pytest.fixture(scope="module")
def refused(world: World, tmp_path_factory: pytest.TempPathFactory) -> Refused:
    """Run all wrong tasks in the controller process, and as modules all but the logins of velero_info, which are those of the other module."""
    clean(world.velero)
    mark = world.bed.audit_mark()
    listed = [one for module in DEFINITIONS for one in bad(module, world)]
    results = {}
    for way in ("controller", "module"):
        chosen = [(number, one) for number, one in enumerate(listed) if way == "controller" or not repeated(one)]
        tasks = [(way, task(f"{number} {one.module} {one.option}", one.module, one.options)) for number, one in chosen]
        results[way] = ran(tmp_path_factory.mktemp(way), tasks, world.environment).results
    return Refused(listed, results, writes(world.velero, mark))


def repeated(one: Bad) -> bool:
    """Tell whether a wrong task of velero_info is tried with the other module, by the very same argument spec."""
    name = one.option.partition(".")[0]
    return one.module == INFO and DEFINITIONS[INFO].arguments[name] is DEFINITIONS[LOCATION].arguments.get(name)


def test_every_option_has_a_wrong_case(world: World) -> None:
    """Each option is tried with a wrong value, or it is said why there is none."""
    for module, definition in DEFINITIONS.items():
        assert without_case(definition.arguments, bad(module, world)) == []


def test_an_option_without_a_wrong_case_is_noticed(world: World) -> None:
    """A new option that nobody thought of is reported: the check above can fail."""
    arguments = dict(DEFINITIONS[INFO].arguments) | {"colour": {"type": "str"}}
    assert without_case(arguments, bad(INFO, world)) == ["colour"]


@pytest.mark.parametrize("way", ["controller", "module"])
def test_one_sentence_names_the_option(refused: Refused, way: str) -> None:
    """Each is refused, by one line without a traceback that names the option."""
    wrong = []
    for result in refused.results[way]:
        number, _name, option = result.task.split()
        message = str(result.result.get("msg", ""))
        named = all(part in message for part in option.split("."))
        plain = "\n" not in message and "Traceback" not in message and "defect" not in message
        if result.status != "failed" or not named or not plain or result.result.get("changed") or result.result.get("requests"):
            wrong.append(f"{told(result)} (options {refused.listed[int(number)].options.keys()})")
    assert wrong == []


def test_same_words(refused: Refused) -> None:
    """Both ways say the same."""
    here = {result.task: result for result in refused.results["controller"]}
    assert len(refused.results["module"]) > 60
    different = [
        f"{told(result)}\n{told(here[result.task])}"
        for result in refused.results["module"]
        if comparable(result.result) != comparable(here[result.task].result)
    ]
    assert different == []


def test_nothing_was_written(refused: Refused) -> None:
    """The API server's audit log has no write of ours."""
    assert refused.written == []
