# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every object of a Velero installation but its custom resource definitions, as a release's own CLI makes it and as the options want it.

skeleton_*: what the CLI writes without options. adjusted_*: that, or a live object, with what the options ask for. rendered: all of a fresh
installation. Compared with the output of real CLIs in tests/bed/velero/test_rendering.py.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._velero import location_options, workload, workload_skeleton
from ansible_collections.serverops.circleci.plugins.module_utils._velero.release import Release
from ansible_collections.serverops.circleci.plugins.module_utils._velero.workload_skeleton import LABELS, SERVICE_ACCOUNT, trait

Object = dict[str, Any]
Options = Mapping[str, Any]

DEFAULT_NAMESPACE = "velero"
DEFAULT_LOCATION = "default"
RESTORE_HELPER = "restore-helper-image"
"""Name of the ConfigMap that names the restore helper's image; the server finds it by its labels."""
REPOSITORY_KEY = "repository-password"
"""Key of the Secret that holds the password of the backup repositories; the server makes it with a well-known value when it is not there."""

NOT_COMPARED: dict[str, str] = {
    "* metadata.labels.component": "it is how the CLI marks what it made; an object that is here without it is somebody else's work",
    "Namespace metadata.labels.pod-security.kubernetes.io/*": "a namespace that is there is its owner's; namespace_labels sets labels of it",
    "ClusterRoleBinding roleRef": "the API server lets nobody change it, and a narrower role may be meant",
    "Secret type": "the API server lets nobody change it",
    "Secret data.repository-password": "repositories that are there are encrypted with it; another one than the wanted is refused, not changed",
    "BackupStorageLocation spec.default": "another location may have been made the default since",
    "* spec.selector": "the API server lets nobody change it",
    "* spec.template.metadata.labels.component": "no option is about it",
    "* spec.template.metadata.labels.deploy": "the selector asks for it, so the API server refuses another one",
    "* spec.template.metadata.labels.name": "the selector asks for it, so the API server refuses another one",
    "Deployment spec.template.metadata.annotations.prometheus.io/*": "pod_annotations says where metrics are scraped, if anybody cares",
    "* spec.template.spec.containers[*].name": "the container is told by the program that it runs",
    "* spec.template.spec.containers[*].ports": "informative only: a port is open whether it is named or not",
    "* spec.template.spec.containers[*].env[VELERO_*]": "no option is about it; env and node_agent_env can set it",
    "* spec.template.spec.containers[*].env[LD_LIBRARY_PATH]": "no option is about it; env can set it",
    "* spec.template.spec.containers[*].env[NODE_NAME]": "no option is about it; node_agent_env can set it",
    "* spec.template.spec.containers[*].volumeMounts[plugins]": "no option is about it",
    "* spec.template.spec.containers[*].volumeMounts[scratch]": "no option is about it",
    "DaemonSet spec.template.spec.containers[*].volumeMounts[host-*]": "kubelet_root_dir is about the host; no option is about the container",
    "Deployment spec.template.spec.volumes[plugins]": "no option is about it",
    "* spec.template.spec.volumes[scratch]": "no option is about it",
    "DaemonSet spec.template.spec.volumes[host-*].name": "a volume is told by its name",
    "* spec.template.spec.volumes[cloud-credentials].secret.defaultMode": "no option is about it",
    "Deployment spec.template.spec.initContainers[*].name": "a plugin is told by its image, since its container's name depends on the installer",
    "Deployment spec.template.spec.initContainers[*].volumeMounts[plugins].name": "a plugin is told by where it is put, /target",
    "* spec.template.spec.nodeSelector.kubernetes.io/os": "the node selectors of the options leave the operating system alone",
    "* spec.template.spec.os": "no option is about it",
    "* spec.template.spec.restartPolicy": "a Deployment allows no other",
    "DaemonSet spec.template.spec.securityContext": "no option is about it",
}
"""What is rendered for a fresh installation and, with every option given, not put back when it is found changed: kind and path, with
all that is below it (* stands for any one name), to the reason. An option that is left out is not compared either, unless it has a default.
"""


# skeletons: what the CLI writes without options


def skeleton_namespace(namespace: str, wanted: Release) -> Object:
    """Return the namespace, with the labels by which the API server's pod security lets the agent's pods in."""
    security = {}
    for level in trait("pod_security", wanted):
        security[f"pod-security.kubernetes.io/{level}"] = "privileged"
        security[f"pod-security.kubernetes.io/{level}-version"] = "latest"
    return _object("v1", "Namespace", namespace, labels=security)


def skeleton_cluster_role_binding(namespace: str) -> Object:
    """Return the binding that makes Velero the cluster's administrator."""
    name = "velero" if namespace == DEFAULT_NAMESPACE else f"velero-{namespace}"
    return _object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", name) | {
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": SERVICE_ACCOUNT}],
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io"},
    }


def skeleton_service_account(namespace: str) -> Object:
    """Return the account that server and agents run as."""
    return _object("v1", "ServiceAccount", SERVICE_ACCOUNT, namespace)


def skeleton_secret(namespace: str, name: str, data: Mapping[str, str]) -> Object:
    """Return a Secret; data: key to text."""
    encoded = {key: location_options.encoded(text) for key, text in data.items()}
    return _object("v1", "Secret", name, namespace) | {"type": "Opaque", "data": encoded}


def skeleton_backup_storage_location(namespace: str) -> Object:
    """Return the default location, still without a place."""
    return _object("velero.io/v1", "BackupStorageLocation", DEFAULT_LOCATION, namespace) | {"spec": {"default": True}}


def skeleton_volume_snapshot_location(namespace: str) -> Object:
    """Return the location of volume snapshots, still without a provider."""
    return _object("velero.io/v1", "VolumeSnapshotLocation", DEFAULT_LOCATION, namespace) | {"spec": {}}


def _object(api_version: str, kind: str, name: str, namespace: str = "", labels: Mapping[str, str] | None = None) -> Object:
    metadata: Object = {"name": name} | ({"namespace": namespace} if namespace else {}) | {"labels": {**LABELS, **(labels or {})}}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


# adjusted: a skeleton or a live object with what the options ask for


def adjusted_namespace(base: Mapping[str, Any] | None, options: Options, wanted: Release) -> Object:
    """Return the namespace as wanted. One that is there gets no labels but those asked for: whose it is nobody knows."""
    result = _based(base, skeleton_namespace(str(options["namespace"]), wanted))
    workload.merge_texts(result["metadata"], "labels", options.get("namespace_labels"))
    return _marked(result, options)


def adjusted_cluster_role_binding(base: Mapping[str, Any] | None, options: Options) -> Object:
    """Return the binding as wanted: Velero's account is among those bound. Its role could only be changed by making it anew."""
    skeleton = skeleton_cluster_role_binding(str(options["namespace"]))
    result = _based(base, skeleton)
    there = {(item.get("kind"), item.get("namespace"), item.get("name")) for item in result.get("subjects") or []}
    missing = [item for item in skeleton["subjects"] if (item["kind"], item["namespace"], item["name"]) not in there]
    if missing:
        result["subjects"] = [*(result.get("subjects") or []), *missing]
    return _marked(result, options)


def adjusted_service_account(base: Mapping[str, Any] | None, options: Options) -> Object:
    """Return Velero's own account as wanted; with service_account_name there is none."""
    result = _based(base, skeleton_service_account(str(options["namespace"])))
    workload.merge_texts(result["metadata"], "annotations", options.get("service_account_annotations"))
    return _marked(result, options)


def adjusted_secret(base: Mapping[str, Any] | None, options: Options) -> Object | None:
    """Return the Secret of the credentials as wanted; None when no content is given, so that it is somebody else's."""
    credential = options.get("credential") or {}
    if options.get("no_secret") or credential.get("content") is None:
        return None
    result = _based(base, skeleton_secret(str(options["namespace"]), credential["name"], {}))
    result["data"] = {**(result.get("data") or {}), credential["key"]: location_options.encoded(credential["content"])}
    return _marked(result, options)


def repository_secret(options: Options, wanted: Release, base: Mapping[str, Any] | None = None) -> Object | None:
    """Return the Secret with the repository password that is asked for; None when none is. It has to be there before the server first needs it.

    The password of one that is there stays: repositories are encrypted with it.
    """
    password = options.get("repository_password")
    if password is None:
        return None
    return _marked(_based(base, skeleton_secret(str(options["namespace"]), repository_secret_name(wanted), {REPOSITORY_KEY: password})), options)


def repository_secret_name(wanted: Release) -> str:
    """Return the name under which the server looks for the repository password."""
    return str(trait("repository_secret", wanted))


def restore_helper(options: Options, wanted: Release, base: Mapping[str, Any] | None = None) -> Object | None:
    """Return the ConfigMap that lets restores use the helper image of one's own registry.

    Up to 1.15 the server puts an init container into restored pods, whose image it would otherwise take from Docker Hub. None without a
    registry, and from 1.16 on, where the server's own image does that work.
    """
    helper = trait("restore_helper", wanted)
    if helper is None or not options.get("registry"):
        return None
    repository, label = helper
    result = _based(base, _object("v1", "ConfigMap", RESTORE_HELPER, str(options["namespace"])))
    workload.merge_texts(result["metadata"], "labels", {"velero.io/plugin-config": "", label: "RestoreItemAction"})
    result["data"] = {**(result.get("data") or {}), "image": workload_skeleton.default_image(options, f"{repository}:v{wanted.text}")}
    return _marked(result, options)


def adjusted_backup_storage_location(base: Mapping[str, Any] | None, options: Options) -> Object:
    """Return the default location as wanted."""
    result = _based(base, skeleton_backup_storage_location(str(options["namespace"])))
    spec = result["spec"]
    storage: Object = dict(spec.get("objectStorage") or {})
    if options.get("provider") is not None:
        spec["provider"] = options["provider"]
    if options.get("bucket") is not None:
        storage["bucket"] = options["bucket"]
    if options.get("prefix") is not None:
        _put(storage, "prefix", options["prefix"].strip("/"))
    if options.get("object_storage_ca_cert") is not None:
        text = options["object_storage_ca_cert"].strip()
        _put(storage, "caCert", location_options.encoded(text + "\n") if text else None)
    spec["objectStorage"] = storage
    if options.get("backup_location_config") is not None:
        _put(spec, "config", location_options.config_of(options["backup_location_config"]))
    return _marked(result, options)


def adjusted_volume_snapshot_location(base: Mapping[str, Any] | None, options: Options) -> Object:
    """Return the location of volume snapshots as wanted."""
    result = _based(base, skeleton_volume_snapshot_location(str(options["namespace"])))
    if options.get("provider") is not None:
        result["spec"]["provider"] = options["provider"]
    if options.get("snapshot_location_config") is not None:
        _put(result["spec"], "config", location_options.config_of(options["snapshot_location_config"], location_options.SERVER_SNAPSHOT_CONFIG))
    return _marked(result, options)


def _based(base: Mapping[str, Any] | None, skeleton: Object) -> Object:
    return copy.deepcopy(dict(base)) if base is not None else skeleton


def _marked(item: Object, options: Options) -> Object:
    for part in ("labels", "annotations"):
        workload.merge_texts(item["metadata"], part, options.get(part))
    return item


def _put(parent: Object, name: str, value: Any) -> None:
    if value:
        parent[name] = value
    else:
        parent.pop(name, None)


# all of them


def rendered(options: Options, wanted: Release) -> list[Object]:
    """Return every object of a fresh installation in the order in which the CLI makes them, without the custom resource definitions."""
    objects: list[Object | None] = [adjusted_namespace(None, options, wanted)]
    if not options.get("service_account_name"):
        objects += [adjusted_cluster_role_binding(None, options), adjusted_service_account(None, options)]
    objects += [adjusted_secret(None, options), repository_secret(options, wanted), restore_helper(options, wanted)]
    if not options.get("no_default_backup_location"):
        objects.append(adjusted_backup_storage_location(None, options))
    if options.get("use_volume_snapshots") is not False and options.get("provider"):
        objects.append(adjusted_volume_snapshot_location(None, options))
    objects.append(workload.adjusted_deployment(None, options, wanted))
    if options.get("use_node_agent"):
        objects.append(workload.adjusted_daemon_set(None, options, wanted))
    if options.get("use_node_agent_windows"):
        objects.append(workload.adjusted_daemon_set(None, options, wanted, windows=True))
    return [item for item in objects if item is not None]
