# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every object of an installation, for every release line: what the options ask for is in it, is put back when it drifts, and the rest is listed."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    location_options,
    manifests,
    release,
    snapshot_location,
    storage_location,
    workload,
)
from ansible_collections.serverops.circleci.plugins.module_utils._velero.release import Release

Object = dict[str, Any]
Step = str | int

# one release of each line, and those patches that changed something
VERSIONS = (
    "1.6.0", "1.6.3", "1.7.2", "1.8.1", "1.9.5", "1.9.6", "1.10.1", "1.10.3", "1.11.1", "1.12.0", "1.12.1", "1.12.4",
    "1.13.2", "1.14.1", "1.15.2", "1.16.1", "1.16.2", "1.17.2", "1.18.0", "1.18.1",
)  # fmt: skip
CREDENTIAL = {"name": "cloud-credentials", "key": "cloud", "content": "[default]\naws_access_key_id=A\naws_secret_access_key=canary\n"}
BOTH = {"requests": {"cpu": "300m", "memory": "300Mi"}, "limits": {"cpu": "3", "memory": "3Gi"}}
AFFINITY = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "podAffinityTerm": {"topologyKey": "zone"}}]}}
EVERYTHING: Object = {
    "namespace": "velero", "provider": "aws", "bucket": "circleci-backups", "prefix": "team", "plugins": ["velero/velero-plugin-for-aws:v1.2.0"],
    "registry": "registry.example.com", "image_pull_secrets": ["registry"], "image_pull_policy": "Always",
    "backup_location_config": {"region": "us-east-1"}, "object_storage_ca_cert": "PEM", "snapshot_location_config": {"region": "us-east-1"},
    "use_volume_snapshots": True, "credential": CREDENTIAL, "service_account_annotations": {"role": "r"}, "features": ["EnableCSI"],
    "restore_only": True, "use_node_agent": True, "use_node_agent_windows": True, "privileged_node_agent": True, "kubelet_root_dir": "/srv/kubelet",
    "uploader_type": "kopia", "default_volumes_to_fs_backup": True, "default_snapshot_move_data": True, "disable_informer_cache": True,
    "schedule_skip_immediately": True, "csi_snapshot_early_frequent_polling": True, "default_repo_maintain_frequency": "36h",
    "garbage_collection_frequency": "90m", "pod_volume_operation_timeout": "5h", "item_block_worker_count": 3, "concurrent_backups": 2,
    "backup_repository_configmap": "r", "repo_maintenance_job_configmap": "j", "node_agent_configmap": "a", "keep_latest_maintenance_jobs": 4,
    "maintenance_job_resources": BOTH, "resources": BOTH, "node_agent_resources": BOTH, "server_priority_class_name": "high",
    "node_agent_priority_class_name": "high", "node_selector": {"pool": "a"}, "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": AFFINITY, "node_agent_node_selector": {"pool": "b"}, "node_agent_tolerations": [{"operator": "Exists"}],
    "node_agent_affinity": AFFINITY, "env": {"HTTPS_PROXY": "http://p"}, "node_agent_env": {"HTTPS_PROXY": "http://p"},
    "server_args": {"log-level": "debug"}, "node_agent_args": {"log-level": "debug"}, "pod_annotations": {"note": "n"}, "pod_labels": {"team": "t"},
    "labels": {"team": "t"}, "annotations": {"note": "n"}, "namespace_labels": {"team": "t"}, "repository_password": "canary-password",
}  # fmt: skip


def everything(wanted: Release, **over: Any) -> Object:
    """Return all options that a release knows."""
    options = {**EVERYTHING, "version": wanted.text, **over}
    return {name: value for name, value in options.items() if release.knows(name, wanted) and value is not None}


def kinds(objects: list[Object]) -> list[str]:
    return [item["kind"] for item in objects]


@pytest.fixture(params=VERSIONS)
def wanted(request: pytest.FixtureRequest) -> Release:
    return release.parse(request.param)


def test_the_versions_cover_every_line() -> None:
    assert {release.parse(text).line for text in VERSIONS} == set(release.KNOWN)


def named(objects: list[Object], kind: str, name: str | None = None) -> Object:
    found = [item for item in objects if item["kind"] == kind and name in {None, item["metadata"]["name"]}]
    assert len(found) == 1, (kind, name, kinds(objects))
    return found[0]


def test_everything_in_the_order_of_the_cli(wanted: Release) -> None:
    """What the CLI makes, with the Secret of the repositories and the restore helper's image beside the credentials."""
    objects = manifests.rendered(everything(wanted), wanted)
    helper = ["ConfigMap"] if wanted.line < (1, 16) else []
    agents = ["DaemonSet", "DaemonSet"] if wanted.line >= (1, 16) else ["DaemonSet"]
    head = ["Namespace", "ClusterRoleBinding", "ServiceAccount", "Secret", "Secret"]
    assert kinds(objects) == [*head, *helper, "BackupStorageLocation", "VolumeSnapshotLocation", "Deployment", *agents]
    for item in objects:
        assert item["metadata"]["labels"]["component"] == "velero"
        assert item["metadata"]["labels"]["team"] == "t"
        assert item["metadata"]["annotations"]["note"] == "n"
        assert ("namespace" in item["metadata"]) is (item["kind"] not in {"Namespace", "ClusterRoleBinding"})


def test_each_object_only_when_it_is_wanted(wanted: Release) -> None:
    options = {"namespace": "velero", "version": wanted.text}
    assert kinds(manifests.rendered({**options, "no_default_backup_location": True, "use_volume_snapshots": False}, wanted)) == [
        "Namespace", "ClusterRoleBinding", "ServiceAccount", "Deployment",
    ]  # fmt: skip
    own = {**options, "provider": "aws", "bucket": "b", "service_account_name": "backup", "credential": {**CREDENTIAL, "content": None}}
    objects = manifests.rendered(own, wanted)
    assert kinds(objects) == ["Namespace", "BackupStorageLocation", "VolumeSnapshotLocation", "Deployment"]
    pod = named(objects, "Deployment")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "backup"
    # a Secret that somebody else makes is mounted all the same
    assert pod["volumes"][-1]["secret"]["secretName"] == "cloud-credentials"


def test_names_depend_on_the_namespace(wanted: Release) -> None:
    objects = manifests.rendered(everything(wanted, namespace="backup"), wanted)
    binding = named(objects, "ClusterRoleBinding")
    assert binding["metadata"]["name"] == "velero-backup"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "namespace": "backup", "name": "velero"}]
    assert binding["apiVersion"] == "rbac.authorization.k8s.io/v1"
    assert named(objects, "Namespace")["metadata"]["name"] == "backup"


def test_secrets_carry_their_texts(wanted: Release) -> None:
    objects = manifests.rendered(everything(wanted), wanted)
    secret = named(objects, "Secret", "cloud-credentials")
    assert location_options.decoded(secret["data"]["cloud"]) == CREDENTIAL["content"]
    password = named(objects, "Secret", manifests.repository_secret_name(wanted))
    assert {key: location_options.decoded(text) for key, text in password["data"].items()} == {"repository-password": "canary-password"}
    # other keys of a Secret that is there stay, and so does the password of repositories
    other = manifests.adjusted_secret({**secret, "data": {"other": "eA=="}}, everything(wanted))
    assert other is not None
    assert set(other["data"]) == {"other", "cloud"}
    there = {**password, "data": {"repository-password": "eA=="}}
    assert (manifests.repository_secret(everything(wanted), wanted, there) or {})["data"] == there["data"]
    assert manifests.adjusted_secret(None, everything(wanted, no_secret=True)) is None


def test_an_image_of_ones_own_registry_also_for_restores(wanted: Release) -> None:
    objects = manifests.rendered(everything(wanted), wanted)
    images = {named(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"]}
    assert images == {f"registry.example.com/velero/velero:v{wanted.text}"}
    helper = manifests.restore_helper(everything(wanted), wanted)
    if wanted.line >= (1, 16):
        assert helper is None
    else:
        kind = "velero-restic-restore-helper" if wanted.line < (1, 10) else "velero-restore-helper"
        assert (helper or {})["data"] == {"image": f"registry.example.com/velero/{kind}:v{wanted.text}"}
    assert manifests.restore_helper(everything(wanted, registry=None), wanted) is None


def test_a_namespace_that_is_there_keeps_its_labels() -> None:
    there = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "velero", "labels": {"owner": "them"}}}
    wanted = release.parse("1.17.2")
    after = manifests.adjusted_namespace(there, {"namespace": "velero", "namespace_labels": {"team": "t"}}, wanted)
    assert after["metadata"]["labels"] == {"owner": "them", "team": "t"}
    assert manifests.adjusted_namespace(there, {"namespace": "velero"}, wanted) == there


def test_a_binding_that_is_there_is_given_the_account() -> None:
    other = {"kind": "ServiceAccount", "namespace": "x", "name": "y"}
    there = manifests.skeleton_cluster_role_binding("velero") | {"subjects": [other]}
    after = manifests.adjusted_cluster_role_binding(there, {"namespace": "velero"})
    assert after["subjects"] == [other, {"kind": "ServiceAccount", "namespace": "velero", "name": "velero"}]
    assert manifests.adjusted_cluster_role_binding(after, {"namespace": "velero"}) == after


LOCATIONS: tuple[Object, ...] = (
    {"provider": "aws", "bucket": "b"},
    {"provider": "aws", "bucket": "b", "prefix": "/a/b/", "config": {"region": "minio", "s3ForcePathStyle": True, "checksumAlgorithm": ""}},
    {"provider": "gcp", "bucket": "b", "prefix": "", "config": {}, "object_storage_ca_cert": "\nPEM\n\n"},
)


@pytest.mark.parametrize("options", LOCATIONS)
def test_the_location_is_what_velero_storage_location_makes(options: Object) -> None:
    """Installed as part of Velero or by the module of its own: the same spec."""
    whole = {"name": "default", "namespace": "velero", "state": "present", "default": True, **options}
    location = storage_location.StorageLocation(whole, None, Context())  # type: ignore[arg-type]
    step = location.plan(storage_location.Observed(True, True, None, (), None, ())).steps[-1]
    assert isinstance(step.request.body, dict)
    ours = {**options, "namespace": "velero", "backup_location_config": options.get("config")}
    made = manifests.adjusted_backup_storage_location(None, ours)
    assert location_options.canonical_spec(made["spec"]) == location_options.canonical_spec(step.request.body["spec"])


SNAPSHOT_LOCATIONS: tuple[Object, ...] = (
    {"provider": "gcp"},
    {"provider": "aws", "config": {"region": "eu-central-1", "enableSharedConfig": True}},
    {"provider": "velero.io/gcp", "config": {"project": "p", "snapshotLocation": ""}},
    {"provider": "gcp", "config": {}},
)


@pytest.mark.parametrize("options", SNAPSHOT_LOCATIONS)
def test_the_snapshot_location_is_what_velero_snapshot_location_makes(options: Object) -> None:
    """Installed as part of Velero or by the module of its own: the same spec."""
    whole = {"name": "default", "namespace": "velero", "state": "present", **options}
    location = snapshot_location.SnapshotLocation(whole, None, Context())  # type: ignore[arg-type]
    step = location.plan(snapshot_location.Observed(True, True)).steps[-1]
    assert isinstance(step.request.body, dict)
    ours = {"provider": options["provider"], "namespace": "velero", "snapshot_location_config": options.get("config")}
    made = manifests.adjusted_volume_snapshot_location(None, ours)
    assert location_options.canonical_snapshot_spec(made["spec"]) == location_options.canonical_snapshot_spec(step.request.body["spec"])
    assert set(made["spec"]) == set(step.request.body["spec"]) - ({"config"} if not options.get("config") else set())


# drift


def places(value: Any, path: tuple[Step, ...] = (), shown: str = "") -> Iterator[tuple[tuple[Step, ...], str]]:
    """Yield (path, its text) of every value of an object; entries of lists are shown by their names, arguments by their flags."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from places(item, (*path, name), f"{shown}.{name}" if shown else name)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            if isinstance(item, dict):
                yield from places(item, (*path, number), f"{shown}[{item.get('name', number)}]")
            else:
                yield (*path, number), f"{shown}[{item.split('=')[0] if shown.endswith('.args') else number}]"
    else:
        yield path, shown


def changed(item: Object, path: tuple[Step, ...]) -> Object:
    """Return a copy with another value at a path."""
    copied: Any = copy.deepcopy(item)
    into = copied
    for step in path[:-1]:
        into = into[step]
    value = into[path[-1]]
    if isinstance(value, bool):
        into[path[-1]] = not value
    elif isinstance(value, int):
        into[path[-1]] = value + 1
    elif isinstance(value, str) and value.startswith("--"):
        name, equals, text = value.partition("=")
        into[path[-1]] = (
            f"{name}={'false' if text in {'', 'true'} and name != '--features' else f'{text}9' if not text[-1:].isalpha() else '9h'}"
            if equals or name == "--restore-only"
            else value
        )
    elif path[-1] in {"cpu", "memory"}:
        into[path[-1]] = "7"
    else:
        into[path[-1]] = f"{value}x"
    return copied


def adjusted(item: Object, options: Object, wanted: Release) -> Object:
    kind, name = item["kind"], item["metadata"]["name"]
    if kind == "Namespace":
        return manifests.adjusted_namespace(item, options, wanted)
    if kind == "ClusterRoleBinding":
        return manifests.adjusted_cluster_role_binding(item, options)
    if kind == "ServiceAccount":
        return manifests.adjusted_service_account(item, options)
    if kind == "Secret":
        return (
            manifests.adjusted_secret(item, options) if name == CREDENTIAL["name"] else manifests.repository_secret(options, wanted, item)
        ) or item
    if kind == "BackupStorageLocation":
        return manifests.adjusted_backup_storage_location(item, options)
    if kind == "VolumeSnapshotLocation":
        return manifests.adjusted_volume_snapshot_location(item, options)
    if kind == "ConfigMap":
        return manifests.restore_helper(options, wanted, item) or item
    if kind == "Deployment":
        return workload.adjusted_deployment(item, options, wanted)
    return workload.adjusted_daemon_set(item, options, wanted, windows=name.endswith("windows"))


def listed(kind: str, place: str) -> list[str]:
    """Return the entries of NOT_COMPARED that a place is one of."""
    one = r"[^.\[\]]*"
    return [entry for entry in manifests.NOT_COMPARED if re.fullmatch(re.escape(entry).replace(r"\*", one) + r"([.\[].*)?", f"{kind} {place}")]


def drifts(text: str) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return the (kind, place) of a release that are put back by some options, and those that are not by any."""
    wanted = release.parse(text)
    put: set[tuple[str, str]] = set()
    left: set[tuple[str, str]] = set()
    for options in (everything(wanted), everything(wanted, service_account_name="backup")):
        for item in manifests.rendered(options, wanted):
            for path, place in places(item):
                if place in {"apiVersion", "kind", "metadata.name", "metadata.namespace"}:
                    continue  # another object
                drifted = changed(item, path)
                assert drifted != item, place
                try:
                    back = adjusted(drifted, options, wanted)
                except ValueError:
                    continue  # it runs no Velero any more, which is refused
                (put if back != drifted else left).add((item["kind"], place))
    return put, left - put


def test_what_is_rendered_is_put_back_or_listed() -> None:
    """With every option given, each value that drifts is put back, or NOT_COMPARED says why it is not; no entry of it is idle."""
    used: set[str] = set()
    for text in VERSIONS:
        put, left = drifts(text)
        unlisted = sorted(place for place in left if not listed(*place))
        assert not unlisted, f"{text}: neither put back nor listed: {unlisted}"
        wrong = sorted(place for place in put if listed(*place))
        assert not wrong, f"{text}: put back, though listed: {wrong}"
        used |= {entry for place in left for entry in listed(*place)}
    assert used == set(manifests.NOT_COMPARED)
    assert all(manifests.NOT_COMPARED.values())
