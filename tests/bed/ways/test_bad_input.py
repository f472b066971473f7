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
from tests.bed.ways.backup_cases import BACKUP, BACKUPS, SMALL, wrong_backups, wrong_infos
from tests.bed.ways.both import comparable, ran, task, told
from tests.bed.ways.cases import INFO, INSTALL, KUBERNETES, LOCATION, SNAPSHOT
from tests.bed.ways.restore_cases import RESTORE, RESTORES, SCHEDULE, bad_lists, bad_restores, bad_schedules, restore_options, schedule_options
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
    """A wrong task: the module, the option that the message has to name, its options. once: what refuses it is tried both ways by others."""

    module: str
    option: str
    options: dict[str, Any]
    once: bool = False


def base(module: str, world: World) -> dict[str, Any]:
    """Return the options of a right task."""
    if module == KUBERNETES:
        return {**world.velero.login, "objects": [{"kind": "Secret", "namespace": "default", "name": "ways-bad"}]}
    if module == SNAPSHOT:
        return world.velero.snapshot_options("ways-bad")
    if module == INSTALL:
        # a namespace in which nothing is, so that whatever is missing is told
        return world.install_options(namespace="ways-bad")
    if module == BACKUP:
        return world.velero.options(name="ways-bad", **{**SMALL, "included_resources": None})
    if module == BACKUPS:
        return world.velero.options(name="ways-bad")
    if module == RESTORE:
        return restore_options(world, "ways-bad")
    if module == SCHEDULE:
        return schedule_options(world, "ways-bad")
    if module == RESTORES:
        return world.velero.options(name="ways-bad")
    return world.velero.location_options("ways-bad") if module == LOCATION else world.velero.options(gather=["storage_locations"])


def nested(path: str, value: Any, around: Mapping[str, Any]) -> dict[str, Any]:
    """Return the option by which a value stands at a path, with the other required options around it."""
    outer, _dot, inner = path.partition(".")
    return {outer: dict(around) | {inner: value}} if inner else {outer: value}


def required_around(arguments: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return values for the required options beside an inner one."""
    outer, _dot, inner = path.partition(".")
    beside = arguments[outer].get("options") or {}
    return {name: (spec.get("choices") or ["ways"])[0] for name, spec in beside.items() if spec.get("required") and name != inner}


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
        outer, _dot, inner = path.partition(".")
        several = bool(inner) and arguments[outer].get("type") == "list"
        if wrong is not None:
            over = nested(path, wrong, around)
            yield path, {name: [value] for name, value in over.items()} if several else over, ()
        if spec.get("required"):
            yield (path, {outer: [around] if several else around}, ()) if inner else (path, {}, (outer,))


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
    if module == KUBERNETES:
        yield from by_meaning_of_a_reading()
        return
    yield "namespace", {"namespace": "Not A Name"}, ()
    if module == INFO:
        return
    if module == INSTALL:
        yield from by_meaning_of_an_installation(world)
        return
    if module in (BACKUP, BACKUPS):
        yield from wrong_backups() if module == BACKUP else wrong_infos()
        return
    if module in (RESTORE, RESTORES, SCHEDULE):
        yield from {RESTORE: bad_restores, RESTORES: bad_lists, SCHEDULE: bad_schedules}[module]()
        return
    config: dict[str, Any] = base(module, world)["config"]
    content = world.velero.credentials
    secret = {"name": "ways-bad", "content": content}
    yield "name", {"name": "Not_A_Name"}, ()
    yield "provider", {"provider": "aws/"}, ()
    yield "provider", {}, ("provider",)
    yield "credential.name", {"credential": secret | {"name": "Not A Name"}}, ()
    yield "credential.key", {"credential": secret | {"key": "a/b"}}, ()
    for text in (" ", "no INI file", "[other]\na = b\n", "[default]\naws_access_key_id = without-its-partner\n"):
        yield "credential.content", {"credential": secret | {"content": text}}, ()
    for text in ("no JSON", '{"type": "service_account"}'):
        yield "credential.content", {"provider": "gcp", "config": {}, "credential": secret | {"content": text}}, ()
    if module == SNAPSHOT:
        for name, value in (("credentialsFile", "/credentials"), ("region", ["a"]), ("region", "'eu'"), ("enableSharedConfig", "yes please")):
            yield f"config.{name}", {"config": config | {name: value}}, ()
        yield "config.region", {"config": {"profile": "default"}}, ()
        yield "config.region", {}, ("config",)
        return
    yield "bucket", {"bucket": "bucket/folder"}, ()
    yield "bucket", {"bucket": "x"}, ()
    yield "bucket", {}, ("bucket",)
    yield "prefix", {"prefix": "one//two"}, ()
    yield "prefix", {"prefix": "../two"}, ()
    for name, value in (("bucket", "twice"), ("region", ["a"]), ("region", "'eu'"), ("s3Url", "minio:9000"), ("s3ForcePathStyle", "yes please")):
        yield f"config.{name}", {"config": config | {name: value}}, ()
    yield "object_storage_ca_cert", {"object_storage_ca_cert": "no certificate"}, ()
    yield "validation_frequency", {"validation_frequency": "often"}, ()
    yield "backup_sync_period", {"backup_sync_period": "-1m"}, ()


def by_meaning_of_a_reading() -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Yield the same for kubernetes_info."""
    entry = {"kind": "Secret", "namespace": "default", "name": "ways-bad"}
    question = {"verb": "list", "group": "apps", "resource": "deployments", "namespace": "default"}
    for name, value in (("namespace", "Not A Name"), ("name", "a/b"), ("selector", "a=b")):
        yield f"objects.{name}", {"objects": [entry | {name: value}]}, ()
    for name, value in (("verb", "LIST"), ("group", "a/b"), ("resource", "a/b"), ("namespace", "*")):
        yield f"access.{name}", {"access": [question | {name: value}]}, ()


def by_meaning_of_an_installation(world: World) -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Yield the same for velero_install."""
    there = {"namespace": world.velero.namespace}
    yield "version", {"version": "1.17"}, ()
    yield "version", {"version": "3.0.0"}, ()
    yield "version", {}, ("version",)
    yield "version", {"version": "1.17.2", "image": "velero/velero:v1.16.2"}, ()
    yield "version", {"image": "velero/velero:latest"}, ("version",)
    yield "image", {"image": "Not An Image"}, ()
    yield "registry", {"registry": "https://registry.example.com"}, ()
    yield "image_pull_secrets", {"image_pull_secrets": ["Not A Name"]}, ()
    yield "plugins", {"plugins": ["Not An Image"]}, ()
    yield "plugins", {"plugins": ["a/velero-plugin-for-aws:v1", "b/velero-plugin-for-aws:v2"]}, ()
    yield "plugins", {}, ("plugins",)
    yield "provider", {"provider": "aws/"}, ()
    yield "provider", {}, ("provider",)
    yield "bucket", {"bucket": "bucket/folder"}, ()
    yield "bucket", {}, ("bucket",)
    yield "prefix", {"prefix": "one//two"}, ()
    yield "backup_location_config.region", {"backup_location_config": {"region": ["a"]}}, ()
    yield "backup_location_config.s3Url", {"backup_location_config": {"s3Url": "minio:9000"}}, ()
    yield "object_storage_ca_cert", {"object_storage_ca_cert": "no certificate"}, ()
    yield "bucket", {"no_default_backup_location": True}, ()
    yield "snapshot_location_config", {"snapshot_location_config": {"region": "a"}}, ()
    yield "snapshot_location_config.region", {"use_volume_snapshots": True, "snapshot_location_config": {"region": {}}}, ()
    yield "credential.name", {"credential": {"name": "Not A Name"}}, ()
    yield "credential.key", {"credential": {"key": "a/b"}}, ()
    yield "credential.content", {"credential": {"content": "no INI file"}}, ()
    yield "credential", {}, ("credential",)
    yield "no_secret", {"no_secret": True}, ()
    yield "service_account_name", {"service_account_name": "Not A Name"}, ()
    yield "service_account_annotations", {"service_account_name": "other", "service_account_annotations": {"a": "b"}}, ()
    yield "features", {"features": ["not a feature"]}, ()
    yield "kubelet_root_dir", {"kubelet_root_dir": "relative"}, ()
    yield "uploader_type", {"uploader_type": "restic"}, ()
    for option in ("default_repo_maintain_frequency", "garbage_collection_frequency", "pod_volume_operation_timeout"):
        yield option, {option: "often"}, ()
    yield "item_block_worker_count", {"item_block_worker_count": 0}, ()
    yield "concurrent_backups", {"concurrent_backups": 2}, ()
    yield "csi_snapshot_early_frequent_polling", {"csi_snapshot_early_frequent_polling": True}, ()
    for option in ("backup_repository_configmap", "repo_maintenance_job_configmap", "node_agent_configmap"):
        yield option, {option: "Not A Name"}, ()
    for option in ("server_priority_class_name", "node_agent_priority_class_name"):
        yield option, {option: "Not A Name"}, ()
    yield "keep_latest_maintenance_jobs", {"keep_latest_maintenance_jobs": 2}, ()
    for option in ("maintenance_job_resources", "resources", "node_agent_resources"):
        for kind in ("requests", "limits"):
            for name in ("cpu", "memory"):
                yield f"{option}.{kind}.{name}", {option: {kind: {name: "much"}}}, ()
        yield f"{option}.requests.cpu", {option: {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}, ()
    yield "maintenance_job_resources", {"maintenance_job_resources": {"requests": {"cpu": "1"}}}, ()
    for option in ("node_selector", "node_agent_node_selector", "labels", "pod_labels", "namespace_labels"):
        yield option, {option: {"not a label": "x"}}, ()
        yield option, {option: {"a": "not a value!"}}, ()
    yield "labels", {"labels": {"app.kubernetes.io/managed-by": "ways"}}, ()
    for option in ("annotations", "pod_annotations"):
        yield option, {option: {"not a name": "x"}}, ()
    for option in ("tolerations", "node_agent_tolerations"):
        yield option, {option: [{"colour": "blue"}]}, ()
    for option in ("affinity", "node_agent_affinity"):
        yield option, {option: {"colour": "blue"}}, ()
    for option in ("env", "node_agent_env"):
        yield option, {option: {"not a name": "x"}}, ()
    for option in ("server_args", "node_agent_args"):
        yield option, {option: {"--with-dashes": "x"}}, ()
        yield option, {option: {"log-levle": "debug"}}, ()
    for option in ("node_agent_resources", "privileged_node_agent", "default_volumes_to_fs_backup"):
        value = True if option != "node_agent_resources" else {"requests": {"cpu": "1"}}
        yield option, {option: value, "use_node_agent": False}, ()
    yield "repository_password", {"repository_password": ""}, ()
    yield "repository_password", there | {"repository_password": "another-than-the-one-in-use"}, ()
    yield "crds_file", {"crds_from": "file"}, ()
    yield "crds_file", {"crds_file": "/nowhere"}, ()
    yield "crds_file", {"crds_from": "file", "crds_file": str(world.folder / "no-such-file"), "version": "1.18.1"}, ()
    yield "velero_program", {"crds_from": "cli", "velero_program": str(world.folder / "no-such-program"), "version": "1.18.1"}, ()
    yield "velero_program", {"crds_from": "cli", "velero_program": str(world.bed.velero("1.17.2")), "version": "1.18.1"}, ()
    yield "remove_crds", {"remove_crds": True}, ()
    yield "version", there | {"version": "1.16.2"}, ()


def bad(module: str, world: World) -> list[Bad]:
    """Return the wrong tasks of a module."""
    arguments = DEFINITIONS[module].arguments
    found = []
    typed = list(by_type(arguments))
    for number, (option, over, left_out) in enumerate((*typed, *by_login(world), *by_meaning(module, world))):
        options = {name: value for name, value in (base(module, world) | over).items() if name not in left_out}
        found.append(Bad(module, option, options, once=module not in (INFO, LOCATION, SNAPSHOT) and number % 5 > 0))
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
    """Run all wrong tasks in the controller process, and as modules all but those that velero_storage_location has by the same argument spec."""
    clean(world.velero)
    mark = world.bed.audit_mark()
    listed = [one for module in DEFINITIONS for one in bad(module, world)]
    results = {}
    for way in ("controller", "module"):
        chosen = [(number, one) for number, one in enumerate(listed) if way == "controller" or not repeated(one)]
        tasks = [(way, task(f"{number} {one.module} {one.option}", one.module, one.options)) for number, one in chosen]
        results[way] = ran(tmp_path_factory.mktemp(way), tasks, world.environment).results
    there = world.bed.kubectl("get", "namespaces", "ways-bad", "--ignore-not-found", "-o", "name").split()
    return Refused(listed, results, [*writes(world.velero, mark), *there])


def repeated(one: Bad) -> bool:
    """Tell whether a wrong task is tried with velero_storage_location, by the very same argument spec, or by others like it."""
    name = one.option.partition(".")[0]
    return one.once or (one.module != LOCATION and DEFINITIONS[one.module].arguments[name] is DEFINITIONS[LOCATION].arguments.get(name))


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
