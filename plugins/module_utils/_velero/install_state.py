# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What exists of an installation of Velero: everything that a plan to make, change or remove it has to know, read in one go.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.resource import Resource
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    crds,
    install_options,
    installation,
    release,
    rollout,
    server,
    storage_location,
    unfinished,
    validation,
)
from ansible_collections.serverops.circleci.plugins.module_utils._velero.release import Release

Document = dict[str, Any]
SERVER = "velero"
"""Name of the Deployment that Velero's program makes, in every release."""
AGENTS = ("restic", "node-agent", "node-agent-windows")
"""Names of its DaemonSets: up to 1.9, from 1.10, for Windows from 1.16."""
REPOSITORY_SECRETS = ("velero-restic-credentials", "velero-repo-credentials")
"""Names of the Secret with the password of the repositories: up to 1.9, from 1.10."""
HELPER = "restore-helper-image"
"""Name of the ConfigMap that names the image of the restore helper, up to 1.15."""
REPOSITORY_KEY = "repository-password"
WELL_KNOWN_PASSWORD = "static-passw0rd"  # noqa: S105  # what every server makes by itself; it protects nothing
INSTALLERS = {"helm": "Helm", "oadp": "the OADP operator", "unknown": "something else than Velero's own program"}


@dataclass(frozen=True)
class Contents:
    """What a removal has to know besides.

    strangers: what else is in the namespace, by kind and name; elsewhere: other namespaces with objects of Velero; definitions: all of
    Velero's in the cluster; schedules and locations: names of those in the namespace, which nothing in the bucket brings back; held: what
    has finalizers that nobody takes off once server and agents are gone.
    """

    restores: tuple[Document, ...] = ()
    backups: tuple[Document, ...] = ()
    strangers: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    definitions: Mapping[str, Document] = field(default_factory=dict)
    schedules: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    held: tuple[tuple[Resource, Document], ...] = ()


@dataclass(frozen=True)
class Observed:
    """What exists.

    secret: the one that holds the server's credentials; snapshot: the snapshot location `default`, which is one of snapshots, too;
    contents: with state absent only.
    """

    now: datetime
    namespace: Document | None
    deployments: tuple[Document, ...]
    daemon_sets: tuple[Document, ...]
    pods: tuple[Document, ...]
    account: Document | None
    binding: Document | None
    secret: Document | None
    repository_secrets: Mapping[str, Document]
    location: storage_location.Observed
    snapshot: Document | None
    snapshots: tuple[Document, ...] = ()
    helper: Document | None = None
    definitions: crds.State = field(default_factory=lambda: crds.State({}))
    work: tuple[Document, ...] = ()
    contents: Contents | None = None

    @property
    def deployment(self) -> Document | None:
        """Return the server's Deployment."""
        return next((item for item in self.deployments if item["metadata"]["name"] == SERVER), None)

    def agents(self, name: str) -> Document | None:
        """Return a DaemonSet of node agents by its name."""
        return next((item for item in self.daemon_sets if item["metadata"]["name"] == name), None)

    @property
    def image(self) -> str:
        """Return the image of the live server; empty without one."""
        container = server.server_container(self.deployment) if self.deployment else None
        return str((container or {}).get("image") or "")

    @property
    def installed(self) -> Release | None:
        """Return the release of the live server, None when there is none or its image's tag does not say."""
        return release.of_image(self.image) if self.image else None

    def pods_of(self, workload: Mapping[str, Any]) -> list[Document]:
        """Return a workload's pods that are not on their way out, the newest last."""
        return rollout.newest(rollout.selected(workload, list(self.pods)))

    @property
    def server_since(self) -> datetime | None:
        """Return when the pod of the server that runs was made; None when no pod of it runs."""
        return _since(self.pods_of(self.deployment)) if self.deployment else None

    def unfinished(self) -> unfinished.Work:
        """Return what the server works on."""
        return unfinished.judge(self.work, self.installed.line if self.installed else None, self.server_since)


def binding_name(namespace: str) -> str:
    """Return the name of the ClusterRoleBinding that Velero's program makes for a namespace."""
    return "velero" if namespace == "velero" else f"velero-{namespace}"


def mounted_secret(deployment: Mapping[str, Any] | None) -> str | None:
    """Return the name of the Secret that the live server has its credentials from."""
    spec = ((deployment or {}).get("spec") or {}).get("template", {}).get("spec", {})
    for volume in spec.get("volumes") or []:
        if volume.get("name") == "cloud-credentials" and volume.get("secret"):
            return str(volume["secret"].get("secretName") or "") or None
    return None


def read(api: Api, options: Mapping[str, Any], location: storage_location.StorageLocation) -> Observed:
    """Read everything but the definitions and the unfinished work, which not every plan needs."""
    namespace = str(options["namespace"])
    deployments = [item for item in api.list(resource.DEPLOYMENT, namespace).items if _concerns(item, SERVER, server.server_container(item))]
    daemon_sets = [
        item
        for item in api.list(resource.DAEMON_SET, namespace).items
        if item["metadata"]["name"] in AGENTS or server.agent_container(item) is not None
    ]
    pods = api.list(resource.POD, namespace).items if deployments or daemon_sets else []
    live = next((item for item in deployments if item["metadata"]["name"] == SERVER), None)
    credential = options.get("credential")
    secret_name = credential["name"] if credential else mounted_secret(live)
    repository_secrets = {name: api.get(resource.SECRET, namespace, name) for name in REPOSITORY_SECRETS}
    try:
        snapshots = api.list(resource.VOLUME_SNAPSHOT_LOCATION, namespace).items
    except Absent:
        snapshots = []
    return Observed(
        now=api.server_time(),
        namespace=api.get(resource.NAMESPACE, "", namespace),
        deployments=tuple(deployments),
        daemon_sets=tuple(daemon_sets),
        pods=tuple(pods),
        account=api.get(resource.SERVICE_ACCOUNT, namespace, SERVER),
        binding=api.get(resource.CLUSTER_ROLE_BINDING, "", binding_name(namespace)),
        secret=api.get(resource.SECRET, namespace, secret_name) if secret_name else None,
        repository_secrets={name: found for name, found in repository_secrets.items() if found is not None},
        location=location.read(),
        snapshot=next((item for item in snapshots if item["metadata"]["name"] == install_options.LOCATION), None),
        snapshots=tuple(snapshots),
        helper=api.get(resource.CONFIG_MAP, namespace, HELPER) if options.get("registry") else None,
    )


def _concerns(item: Mapping[str, Any], name: str, container: Mapping[str, Any] | None) -> bool:
    return item["metadata"]["name"] == name or container is not None


def refuse_strangers(observed: Observed, namespace: str) -> None:
    """Refuse an installation that another tool made: it would undo what is changed here, or break by it."""
    workloads = [(resource.DEPLOYMENT, item) for item in observed.deployments] + [(resource.DAEMON_SET, item) for item in observed.daemon_sets]
    for kind, item in workloads:
        name = item["metadata"]["name"]
        who = installation.installed_by(item) or "unknown"
        if who == "cli" and name not in (SERVER, *AGENTS):
            who = "unknown"
        if who != "cli":
            raise NotProven(
                "manage",
                kind.target(namespace, name),
                f"it was put there by {INSTALLERS[who]}, whose objects are left alone",
                "Change it by the tool that made it, or give another namespace",
            )


def look_at_work(api: Api, namespace: str) -> unfinished.Work:
    """Return what the server works on now."""
    objects = unfinished.read(api, namespace)
    if not objects:
        return unfinished.Work()
    deployment = api.get(resource.DEPLOYMENT, namespace, SERVER)
    pods = api.list(resource.POD, namespace, label_selector=rollout.selector(deployment)).items if deployment else []
    container = server.server_container(deployment) if deployment else None
    line = release.of_image(str((container or {}).get("image") or ""))
    return unfinished.judge(objects, line.line if line else None, _since(pods))


def _since(pods: list[Document]) -> datetime | None:
    ready = [pod for pod in rollout.newest(pods) if server.pod_ready(pod)]
    return validation.parse_time(ready[-1]["metadata"]["creationTimestamp"]) if ready else None
