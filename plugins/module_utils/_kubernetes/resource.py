# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of Kubernetes objects, and the requests that read and change them, as data.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Effect, Request

METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json"
"""Media type of a list that has only the metadata of its objects; a server that does not know it answers with whole objects."""
PAGE = 500
"""Objects per page of a list."""
FIELD_MANAGER = "serverops.circleci"
"""The name under which the server records our fields."""


@dataclass(frozen=True)
class Resource:
    """A kind of object: where its requests go. group is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """Return what stands in an object's apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of an object, or of the collection when name is empty. An empty namespace means all (collections only)."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/" + "/".join(quote(part, safe=":") for part in parts)

    def target(self, namespace: str = "", name: str = "") -> str:
        """Return the words for an object in messages: "Secret velero/cloud-credentials"."""
        if name:
            return f"{self.kind} {namespace}/{name}" if self.namespaced and namespace else f"{self.kind} {name}"
        return f"{self.kind} objects in namespace {namespace}" if self.namespaced and namespace else f"{self.kind} objects"


SECRET = Resource("", "v1", "secrets", "Secret")
CONFIG_MAP = Resource("", "v1", "configmaps", "ConfigMap")
POD = Resource("", "v1", "pods", "Pod")
EVENT = Resource("", "v1", "events", "Event")
SERVICE = Resource("", "v1", "services", "Service")
SERVICE_ACCOUNT = Resource("", "v1", "serviceaccounts", "ServiceAccount")
PERSISTENT_VOLUME_CLAIM = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
PERSISTENT_VOLUME = Resource("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)
NODE = Resource("", "v1", "nodes", "Node", namespaced=False)
NAMESPACE = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
DEPLOYMENT = Resource("apps", "v1", "deployments", "Deployment")
DAEMON_SET = Resource("apps", "v1", "daemonsets", "DaemonSet")
STATEFUL_SET = Resource("apps", "v1", "statefulsets", "StatefulSet")
CRON_JOB = Resource("batch", "v1", "cronjobs", "CronJob")
JOB = Resource("batch", "v1", "jobs", "Job")
STORAGE_CLASS = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False)
INGRESS = Resource("networking.k8s.io", "v1", "ingresses", "Ingress")
CLUSTER_ROLE_BINDING = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
SELF_SUBJECT_ACCESS_REVIEW = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False)
CUSTOM_RESOURCE_DEFINITION = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)

BACKUP = Resource("velero.io", "v1", "backups", "Backup")
BACKUP_REPOSITORY = Resource("velero.io", "v1", "backuprepositories", "BackupRepository")
BACKUP_STORAGE_LOCATION = Resource("velero.io", "v1", "backupstoragelocations", "BackupStorageLocation")
DATA_DOWNLOAD = Resource("velero.io", "v2alpha1", "datadownloads", "DataDownload")  # from Velero 1.12
DATA_UPLOAD = Resource("velero.io", "v2alpha1", "datauploads", "DataUpload")  # from Velero 1.12
DELETE_BACKUP_REQUEST = Resource("velero.io", "v1", "deletebackuprequests", "DeleteBackupRequest")
DOWNLOAD_REQUEST = Resource("velero.io", "v1", "downloadrequests", "DownloadRequest")
POD_VOLUME_BACKUP = Resource("velero.io", "v1", "podvolumebackups", "PodVolumeBackup")
POD_VOLUME_RESTORE = Resource("velero.io", "v1", "podvolumerestores", "PodVolumeRestore")
RESTIC_REPOSITORY = Resource("velero.io", "v1", "resticrepositories", "ResticRepository")  # up to Velero 1.9
RESTORE = Resource("velero.io", "v1", "restores", "Restore")
SCHEDULE = Resource("velero.io", "v1", "schedules", "Schedule")
SERVER_STATUS_REQUEST = Resource("velero.io", "v1", "serverstatusrequests", "ServerStatusRequest")
VOLUME_SNAPSHOT_LOCATION = Resource("velero.io", "v1", "volumesnapshotlocations", "VolumeSnapshotLocation")

PROBED = frozenset({SELF_SUBJECT_ACCESS_REVIEW, SERVER_STATUS_REQUEST, DOWNLOAD_REQUEST})
"""Kinds whose objects are questions: making one changes nothing that a person would call state."""


def effect_of_change(resource: Resource) -> Effect:
    """Return the effect of making, changing or deleting an object of this kind."""
    return Effect.PROBE if resource in PROBED else Effect.WRITE


def get(resource: Resource, namespace: str, name: str) -> Request:
    """Read one object; 404 is an answer."""
    return Request("GET", resource.path(namespace, name), "read", resource.target(namespace, name), accept=(404,))


def list_page(
    resource: Resource,
    namespace: str = "",
    *,
    label_selector: str = "",
    field_selector: str = "",
    limit: int = PAGE,
    continue_token: str = "",
    metadata_only: bool = False,
) -> Request:
    """Read one page of a list. An empty namespace means all namespaces. metadata_only: without spec and status, which may be long."""
    query = {"limit": str(limit)}
    query |= {"labelSelector": label_selector} if label_selector else {}
    query |= {"fieldSelector": field_selector} if field_selector else {}
    query |= {"continue": continue_token} if continue_token else {}
    media_type = METADATA_LIST if metadata_only else ""
    return Request("GET", resource.path(namespace), "list", resource.target(namespace), query=query, media_type=media_type)


def create(resource: Resource, namespace: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Request:
    """Make an object. Never sent twice when it is a write: whether a lost one took effect is looked up by name.

    dry_run: the server does everything but store it (admission included), so it changes nothing.
    """
    name = str(body.get("metadata", {}).get("name", ""))
    return Request(
        "POST",
        resource.path(namespace),
        "create",
        resource.target(namespace, name) if name else f"{resource.kind} in namespace {namespace}" if namespace else resource.kind,
        effect=Effect.PROBE if dry_run else effect_of_change(resource),
        query=_dry(dry_run),
        body=_typed(resource, body),
    )


def merge_patch(resource: Resource, namespace: str, name: str, patch: Mapping[str, Any], *, subresource: str = "", dry_run: bool = False) -> Request:
    """Change fields of an object (RFC 7396: null removes, lists are replaced).

    Without metadata.resourceVersion a second arrival sets the same values again, so it may be repeated. With it the second arrival
    is answered 409 although the first one took effect, so a lost answer has to be looked up.
    """
    return Request(
        "PATCH",
        resource.path(namespace, name, subresource),
        "change",
        resource.target(namespace, name),
        effect=Effect.PROBE if dry_run else effect_of_change(resource),
        query=_dry(dry_run) | {"fieldManager": FIELD_MANAGER},
        body=dict(patch),
        content_type="application/merge-patch+json",
        repeatable=dry_run or not patch.get("metadata", {}).get("resourceVersion"),
    )


def json_patch(resource: Resource, namespace: str, name: str, operations: Iterable[Mapping[str, Any]], *, subresource: str = "") -> Request:
    """Change an object by RFC 6902 operations. Not repeated: an `add` to a list would add twice, a `test` would fail the second time."""
    return Request(
        "PATCH",
        resource.path(namespace, name, subresource),
        "change",
        resource.target(namespace, name),
        effect=effect_of_change(resource),
        query={"fieldManager": FIELD_MANAGER},
        body=[dict(operation) for operation in operations],
        content_type="application/json-patch+json",
        repeatable=False,
    )


def server_side_apply(
    resource: Resource,
    namespace: str,
    body: Mapping[str, Any],
    *,
    field_manager: str = FIELD_MANAGER,
    force: bool = False,
    dry_run: bool = False,
) -> Request:
    """Make or change the fields of an object that stand in the body, and own them. Repeatable: the second arrival finds them so.

    force takes fields over from other managers; without it a field that another manager set to something else is answered 409.
    """
    name = str(body["metadata"]["name"])
    return Request(
        "PATCH",
        resource.path(namespace, name),
        "apply",
        resource.target(namespace, name),
        effect=Effect.PROBE if dry_run else effect_of_change(resource),
        query={"fieldManager": field_manager, "force": "true" if force else "false"} | _dry(dry_run),
        body=_typed(resource, body),
        content_type="application/apply-patch+yaml",  # JSON is YAML
        # with a resourceVersion the second arrival is answered 409
        repeatable=not body["metadata"].get("resourceVersion"),
    )


def replace(resource: Resource, namespace: str, body: Mapping[str, Any], *, subresource: str = "") -> Request:
    """Put a whole object in place of the one with the resourceVersion in the body. Not repeated: the second arrival is answered 409."""
    name = str(body["metadata"]["name"])
    return Request(
        "PUT",
        resource.path(namespace, name, subresource),
        "replace",
        resource.target(namespace, name),
        effect=effect_of_change(resource),
        query={"fieldManager": FIELD_MANAGER},
        body=_typed(resource, body),
        repeatable=False,
    )


def delete(
    resource: Resource,
    namespace: str,
    name: str,
    *,
    uid: str = "",
    resource_version: str = "",
    propagation: str = "Background",
) -> Request:
    """Delete an object; 404 is an answer, since it is then gone.

    With the uid of the object it may be repeated: a second arrival cannot meet an object of the same name that somebody made since.
    propagation: what happens to objects that this one owns ("Background", "Foreground", "Orphan").
    """
    preconditions = {key: value for key, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
    body: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
    if preconditions:
        body["preconditions"] = preconditions
    return Request(
        "DELETE",
        resource.path(namespace, name),
        "delete",
        resource.target(namespace, name),
        effect=effect_of_change(resource),
        body=body,
        repeatable=bool(uid),
        accept=(404,),
    )


def access_review(verb: str, resource: Resource, namespace: str = "", *, name: str = "", subresource: str = "") -> Request:
    """Ask whether we may do something; an empty namespace asks for all namespaces."""
    attributes = {"verb": verb, "group": resource.group, "resource": resource.plural}
    attributes |= {key: value for key, value in (("namespace", namespace), ("name", name), ("subresource", subresource)) if value}
    return create(SELF_SUBJECT_ACCESS_REVIEW, "", {"spec": {"resourceAttributes": attributes}})


def watch(
    resource: Resource,
    namespace: str = "",
    *,
    resource_version: str,
    seconds: int,
    name: str = "",
    label_selector: str = "",
) -> Request:
    """Follow changes after a resourceVersion for so many seconds, as one JSON event per line."""
    query = {"watch": "1", "resourceVersion": resource_version, "timeoutSeconds": str(seconds), "allowWatchBookmarks": "true"}
    query |= {"fieldSelector": f"metadata.name={name}"} if name else {}
    query |= {"labelSelector": label_selector} if label_selector else {}
    return Request("GET", resource.path(namespace), "watch", resource.target(namespace, name), query=query)


def log(namespace: str, pod: str, *, container: str = "", tail_lines: int = 100, previous: bool = False) -> Request:
    """Read the last lines of a container's log; previous: of the container that ran before the last restart."""
    query = {"tailLines": str(tail_lines), "limitBytes": "1048576"}
    query |= {"container": container} if container else {}
    query |= {"previous": "true"} if previous else {}
    return Request("GET", POD.path(namespace, pod, "log"), "read the log of", POD.target(namespace, pod), query=query)


def server_version() -> Request:
    """Ask the API server for its version, which needs no permission."""
    return Request("GET", "/version", "ask", "the API server for its version")


def _typed(resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(body))
    return {"apiVersion": resource.api_version, "kind": resource.kind} | copy


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}
