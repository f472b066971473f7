# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The case list of each module, computed from its argument spec: the options of every case, and what in the spec no case tries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bed.ways import specification
from tests.bed.ways.backup_cases import BACKUP, BACKUPS, backup_tasks, info_tasks
from tests.bed.ways.restore_cases import (
    RESTORE,
    RESTORES,
    SCHEDULE,
    restore_options,
    schedule_options,
    tried_lists,
    tried_restores,
    tried_schedules,
)
from tests.bed.ways.world import DEAD, World
from tests.plays.in_process import DEFINITIONS

KUBERNETES = "kubernetes_info"
INFO, LOCATION, SNAPSHOT, INSTALL = "velero_info", "velero_storage_location", "velero_snapshot_location", "velero_install"


@dataclass(frozen=True)
class Case:
    """A task: a name that can be part of an object's name, the module, its options, those of a task that runs before, whether it only checks."""

    name: str
    module: str
    options: dict[str, Any]
    before: dict[str, Any] | None = None
    check: bool = False


def login_values(world: World) -> dict[str, list[dict[str, Any]]]:
    """Return for each login option the logins in which it is tried, right ones and wrong ones; each is complete."""
    direct, client, file = world.direct, world.client, {"kubeconfig": str(world.bed.kubeconfig)}
    mutual = {"host": world.bed.api_server, "ca_cert": str(world.bed.ca_file)}
    without_key = {name: value for name, value in direct.items() if name != "api_key"}
    gke = {"cluster_name": "ways", "location": "europe-west1", "project": "ways"}
    gke_key = str(world.bed.gcs.service_account_key("ways", token_uri=f"{DEAD}/token"))
    return {
        "kubeconfig": [file, {"kubeconfig": world.kubeconfig}, {"kubeconfig": str(world.folder / "no-such-file")}],
        "context": [file | {"context": "bed"}, file | {"context": "nowhere"}],
        "host": [direct, direct | {"host": "https://127.0.0.1:9", "timeout": 2}],
        "api_key": [direct | {"api_key": "wrong-token-of-nobody"}],
        "client_cert": [mutual | {"client_cert": client["certificate"], "client_key": client["key"]}],
        "client_key": [
            mutual | {"cert_file": client["certificate"], "key_file": client["key"]},
            mutual | {"client_cert": client["certificate"], "client_key": client["certificate"]},
        ],
        "ca_cert": [
            without_key | {"api_key": world.token},
            direct | {"ca_cert": str(world.bed.s3.ca_file)},
            _renamed(direct, "ca_cert", "ssl_ca_cert"),
        ],
        "validate_certs": [
            {"host": direct["host"], "api_key": direct["api_key"], "validate_certs": False},
            direct | {"validate_certs": True},
            direct | {"verify_ssl": True},
        ],
        "proxy": [
            file | {"proxy": f"http://{world.proxy_login}@{world.proxy.address}"},
            file | {"proxy": f"http://somebody:wrong-password@{world.proxy.address}", "timeout": 5},
        ],
        "no_proxy": [file | {"proxy": DEAD, "no_proxy": "127.0.0.0/8"}],
        "impersonate_user": [file | {"impersonate_user": "somebody"}],
        "impersonate_groups": [file | {"impersonate_user": "somebody", "impersonate_groups": ["system:masters"]}],
        # the token is made here and the bed's server does not know its issuer: the same refusal is wanted both ways
        "eks": [direct_cloud(mutual, "eks", {"cluster_name": "ways", "region": "eu-west-1", "profile": "ways"})],
        "eks.role_arn": [direct_cloud(mutual, "eks", {"cluster_name": "ways", "region": "eu-west-1", "role_arn": "arn:aws:iam::1:role/ways"})],
        "gke": [direct_cloud(mutual, "gke", gke | {"service_account_file": gke_key})],
        "timeout": [file | {"timeout": 30}],
    }


def direct_cloud(mutual: Mapping[str, Any], option: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return a login by a cloud of which neither the endpoint nor the CA have to be asked for."""
    return {**mutual, option: value, "timeout": 20}


def _renamed(options: Mapping[str, Any], name: str, alias: str) -> dict[str, Any]:
    return {alias if item == name else item: value for item, value in options.items()}


def _login_cases(module: str, world: World, base: Mapping[str, Any]) -> Iterator[Case]:
    for option, logins in login_values(world).items():
        for number, login in enumerate(logins, 1):
            yield Case(f"{option.replace('.', '-').replace('_', '-')}-{number}", module, {**base, **login})


def _info_cases(world: World) -> Iterator[Case]:
    yield from _login_cases(INFO, world, {"namespace": world.velero.namespace, "gather": ["storage_locations"]})
    for choice in DEFINITIONS[INFO].arguments["gather"]["choices"]:
        yield Case(f"gather-{choice.replace('_', '-')}", INFO, world.velero.options(gather=[choice]))
    yield Case("everything", INFO, world.velero.options())
    yield Case("namespace-nobody", INFO, world.velero.options(namespace="ways-nobody"))
    yield Case("namespace-wrong", INFO, world.velero.options(namespace="Not A Name"))


def _kubernetes_cases(world: World) -> Iterator[Case]:
    secret = {"kind": "Secret", "namespace": world.velero.namespace, "name": "cloud-credentials"}
    yield from _few_login_cases(KUBERNETES, world, {"objects": [secret | {"name": "ways-never-made"}]})
    login = world.velero.login
    yield Case("objects-missing", KUBERNETES, {**login, "objects": [secret | {"name": "ways-absent"}, secret | {"namespace": "ways-nobody"}]})
    for kind in DEFINITIONS[KUBERNETES].arguments["objects"]["options"]["kind"]["choices"]:
        yield Case(f"kind-{kind.lower()}", KUBERNETES, {**login, "objects": [{"kind": kind, "namespace": "default"}]})
    yield Case("selected", KUBERNETES, {**login, "objects": [{"kind": "Secret", "namespace": "default", "selector": "ways=nobody"}]})
    yield Case("selector-wrong", KUBERNETES, {**login, "objects": [{"kind": "Secret", "namespace": "default", "selector": "a=(b"}]})
    review = {"verb": "create", "group": "velero.io", "resource": "backups", "namespace": world.velero.namespace}
    yield Case("access", KUBERNETES, {**login, "access": [review, {"verb": "list", "resource": "pods"}]})


def location_values(world: World) -> dict[str, list[dict[str, Any]]]:
    """Return for each option of a location what it is tried with, on top of a valid location; None leaves an option out."""
    s3 = world.bed.s3
    valid = {"region": s3.region, "s3ForcePathStyle": "true", "s3Url": s3.endpoint_inside}
    secure = {"config": valid | {"s3Url": s3.tls_endpoint_inside}, "object_storage_ca_cert": s3.ca_file.read_text()}
    secret = {"name": "ways-made", "content": world.velero.credentials}
    return {
        "name": [{}, {"name": "Not_A_Name"}],
        "namespace": [{"namespace": world.velero.namespace}, {"namespace": "ways-nobody"}],
        "state": [{"state": "present"}],
        "provider": [{"provider": "velero.io/aws"}, {"provider": "nobody/knows", "timeout": 20}],
        "bucket": [{"bucket": world.velero.bucket}, {"bucket": "ways-no-such-bucket"}],
        "prefix": [{"prefix": "/ways/inner/"}, {"prefix": "a//b"}],
        "config": [{"config": valid | {"s3ForcePathStyle": True}}, {"config": valid | {"bucket": "twice"}}],
        "object_storage_ca_cert": [secure, secure | {"object_storage_ca_cert": "no certificate"}, {"object_storage_ca_cert": ""}],
        "credential.name": [{"credential": secret}, {"credential": {"name": "ways-absent"}}],
        "credential.key": [{"credential": secret | {"name": "ways-made-too", "key": "other"}}],
        "credential.content": [{"credential": secret | {"content": "no INI file"}}],
        "access_mode": [{"access_mode": choice} for choice in DEFINITIONS[LOCATION].arguments["access_mode"]["choices"]],
        "default": [{"default": False}, {"default": True}],
        "validation_frequency": [{"validation_frequency": "90s"}, {"validation_frequency": "often"}],
        "backup_sync_period": [{"backup_sync_period": "2m"}, {"backup_sync_period": "-1m"}],
    }


def snapshot_values(world: World) -> dict[str, list[dict[str, Any]]]:
    """Return for each option of a snapshot location what it is tried with, on top of a valid one."""
    region = {"region": world.bed.s3.region}
    secret = {"name": "ways-shot", "content": world.velero.credentials}
    return {
        "name": [{}, {"name": "Not_A_Name"}],
        "namespace": [{"namespace": world.velero.namespace}, {"namespace": "ways-nobody"}],
        "state": [{"state": "present"}],
        "provider": [{"provider": "velero.io/aws"}, {"provider": "nobody/knows"}],
        "config": [{"config": region | {"enableSharedConfig": True}}, {"config": {}}, {"config": region | {"colour": "blue"}}],
        "credential.name": [{"credential": secret}, {"credential": {"name": "ways-absent"}}],
        "credential.key": [{"credential": secret | {"name": "ways-shot-too", "key": "other"}}],
        "credential.content": [{"credential": secret | {"content": "no INI file"}}],
    }


def _few_login_cases(module: str, world: World, base: Mapping[str, Any]) -> Iterator[Case]:
    """Yield one case for each thing that there is to try: every login was tried by the other module."""
    done: set[str] = set()
    for case in _login_cases(module, world, base):
        new = set(specification.tried(DEFINITIONS[module].arguments, case.options)) - done
        if any("=" not in item or item.startswith("validate_certs") for item in new):
            yield case
        done |= new


def _snapshot_cases(world: World) -> Iterator[Case]:
    yield from _few_login_cases(SNAPSHOT, world, {"name": "ways-never-made", "namespace": world.velero.namespace, "state": "absent"})
    for option, values in snapshot_values(world).items():
        for number, value in enumerate(values, 1):
            name = f"{option.replace('.', '-')}-{number}"
            yield Case(name, SNAPSHOT, world.velero.snapshot_options(f"ways-{name}") | value)
    made = world.velero.snapshot_options("ways-removed", credential={"name": "ways-shot-removed", "content": world.velero.credentials})
    yield Case("removed", SNAPSHOT, world.velero.options(name="ways-removed", state="absent"), before=made)
    other = {"name": "ways-changed", "credential": {"name": "ways-shot-changed", "content": world.velero.credentials}}
    yield Case("changed", SNAPSHOT, made | other | {"config": {"region": "elsewhere"}}, before=made | other)


def _location_cases(world: World) -> Iterator[Case]:
    yield from _few_login_cases(LOCATION, world, {"name": "ways-never-made", "namespace": world.velero.namespace, "state": "absent"})
    for option, values in location_values(world).items():
        for number, value in enumerate(values, 1):
            name = f"ways-{option.replace('.', '-').replace('_', '-')}-{number}"
            yield Case(name.removeprefix("ways-"), LOCATION, world.velero.location_options(name) | value)
    made = world.velero.location_options("ways-removed", credential={"name": "ways-removed", "content": world.velero.credentials})
    yield Case("removed", LOCATION, world.velero.options(name="ways-removed", state="absent"), before=made)
    yield Case("changed", LOCATION, made | {"name": "ways-changed", "prefix": "other"}, before=made | {"name": "ways-changed", "prefix": "one"})


INSTALL_CHANGE: dict[str, Any] = {
    "resources": {"requests": {"cpu": "0.4", "memory": "120Mi"}, "limits": {"cpu": "1000m", "memory": "550Mi"}},
    "env": {"WAYS": "seen"},
    "server_args": {"item-operation-sync-frequency": "11s"},
    "pod_labels": {"ways": "seen"},
    "pod_annotations": {"ways": "seen"},
    "labels": {"ways": "seen"},
    "annotations": {"ways": "seen"},
    "namespace_labels": {"ways-namespace": "seen"},
}
"""What one case of velero_install changes on the shared Velero; INSTALL_BACK takes it back."""
INSTALL_BACK: dict[str, Any] = {
    "resources": {"requests": {"cpu": "500m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
    "env": {"WAYS": None},
    "server_args": {"item-operation-sync-frequency": None},
    "pod_labels": {"ways": None},
    "pod_annotations": {"ways": None},
    "labels": {"ways": None},
    "annotations": {"ways": None},
    "namespace_labels": {"ways-namespace": None},
}


def install_checks(world: World) -> dict[str, dict[str, Any]]:
    """Return by name what velero_install is asked for in check mode, on top of the options of the shared Velero; None leaves an option out."""
    amounts = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    place = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    tolerations = [{"key": "ways", "operator": "Exists", "effect": "NoSchedule"}]
    switches = ("default_volumes_to_fs_backup", "default_snapshot_move_data", "disable_informer_cache", "schedule_skip_immediately")
    agents = ("use_node_agent_windows", "privileged_node_agent", "node_agent_disable_host_path")
    absent = {"state": "absent"}
    return {
        "server": {
            **dict.fromkeys(switches, True),
            "image": "velero/velero:v1.17.2",
            "image_pull_secrets": ["ways"],
            "image_pull_policy": "Always",
            "features": ["EnableCSI"],
            "restore_only": True,
            "uploader_type": "kopia",
            "default_repo_maintain_frequency": "2h",
            "garbage_collection_frequency": "90m",
            "pod_volume_operation_timeout": "5h",
            "item_block_worker_count": 2,
            "backup_repository_configmap": "ways-repositories",
            "repo_maintenance_job_configmap": "ways-jobs",
            "server_priority_class_name": "ways",
            "node_selector": {"ways": "yes"},
            "tolerations": tolerations,
            "affinity": place,
            "service_account_annotations": {"ways": "yes"},
            "unfinished": "ignore",
            "allow_skipped_minors": True,
        },
        "agents": {
            **dict.fromkeys(agents, True),
            "kubelet_root_dir": "/var/lib/ways",
            "node_agent_resources": amounts,
            "node_agent_priority_class_name": "ways",
            "node_agent_node_selector": {"ways": "yes"},
            "node_agent_tolerations": tolerations,
            "node_agent_affinity": place,
            "node_agent_env": {"WAYS": "yes"},
            "node_agent_args": {"log-level": "debug"},
            "node_agent_configmap": "ways-agents",
            "unfinished": "fail",
            "image_pull_policy": "IfNotPresent",
        },
        "off": {
            **dict.fromkeys((*switches, *agents), False),
            "use_node_agent": False,
            "csi_snapshot_early_frequent_polling": False,
            "no_secret": False,
            "allow_skipped_minors": False,
            "restore_only": False,
            "remove_crds": False,
            "no_default_backup_location": False,
            "image_pull_policy": "Never",
            "unfinished": "wait",
        },
        "elsewhere": {
            "registry": "registry.example.com:5000/mirror",
            "prefix": "ways",
            "object_storage_ca_cert": world.bed.s3.ca_file.read_text(),
            "use_volume_snapshots": True,
            "snapshot_location_config": {"region": "ways"},
        },
        "without-secret": {"credential": None, "no_secret": True, "service_account_name": "default"},
        "without-location": {"no_default_backup_location": True, "bucket": None, "backup_location_config": None},
        "another-secret": {"credential": {"name": "ways-absent", "key": "other"}},
        "fresh": {"namespace": "ways-fresh", "repository_password": "a password of ways", "crds_from": "job"},
        "by-program": {"crds_from": "cli", "velero_program": str(world.bed.velero("1.17.2"))},
        "by-wrong-program": {"version": "1.18.1", "crds_from": "cli", "velero_program": str(world.bed.velero("1.17.2"))},
        "by-file": {"crds_from": "file", "crds_file": world.file("crds.yaml", "kind: List\n"), "version": "1.18.1", "image": None},
        "later-polling": {"csi_snapshot_early_frequent_polling": True},
        "later-backups": {"concurrent_backups": 2},
        "earlier-jobs": {"keep_latest_maintenance_jobs": 2},
        "earlier-resources": {"maintenance_job_resources": amounts},
        "earlier-uploader": {"uploader_type": "restic"},
        "earlier-version": {"version": "1.16.2"},
        "absent": absent,
        "absent-whole": absent | {"remove_crds": True},
        "present": {"state": "present"},
    }


def _install_cases(world: World) -> Iterator[Case]:
    yield from _few_login_cases(INSTALL, world, {"namespace": "ways-nobody", "state": "absent"})
    for name, over in install_checks(world).items():
        yield Case(f"check-{name}", INSTALL, world.install_options(**over), check=True)
    yield Case("as-it-is", INSTALL, world.install_options())
    yield Case("changed", INSTALL, world.install_options(**INSTALL_CHANGE))


def _backup_cases(world: World) -> Iterator[Case]:
    yield from _few_login_cases(BACKUP, world, {"name": "ways-never-made", "namespace": world.velero.namespace, "state": "absent"})
    for name, options, before, check in backup_tasks(world):
        yield Case(name, BACKUP, options, before=before, check=check)
    yield from _few_login_cases(BACKUPS, world, {"name": "ways-never-made", "namespace": world.velero.namespace})
    for name, options in info_tasks(world):
        yield Case(name, BACKUPS, options)


def _restore_cases(world: World) -> Iterator[Case]:
    for module, right, tried in ((RESTORE, restore_options, tried_restores), (SCHEDULE, schedule_options, tried_schedules)):
        yield from _few_login_cases(module, world, {"name": "ways-never-made", "namespace": world.velero.namespace, "state": "absent"})
        for name, over, check in tried(world):
            yield Case(name, module, right(world, f"ways-{name}", **over), check=check)
        made = right(world, "ways-removed")
        yield Case("removed", module, world.velero.options(name="ways-removed", state="absent"), before=made)
    yield from _few_login_cases(RESTORES, world, {"name": "ways-never-made", "namespace": world.velero.namespace})
    for name, over, _check in tried_lists(world):
        yield Case(name, RESTORES, world.velero.options(**over))


def cases(world: World) -> list[Case]:
    """Return the cases of all modules; backups before the many locations of both kinds, among which Velero would have to be told which to take."""
    stored = [*_backup_cases(world), *_restore_cases(world)]
    read = [*_kubernetes_cases(world), *_info_cases(world)]
    return [*read, *stored, *_location_cases(world), *_snapshot_cases(world), *_install_cases(world)]


def untried(listed: list[Case]) -> list[str]:
    """Return what the argument specs offer and no case tries."""
    left = []
    for module, definition in DEFINITIONS.items():
        done = {item for case in listed if case.module == module for item in specification.tried(definition.arguments, case.options)}
        left += [f"{module}: {item}" for item in specification.to_try(definition.arguments) if item not in done]
    return left
