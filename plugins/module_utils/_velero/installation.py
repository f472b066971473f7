# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Velero installation as it is: who installed it, the server's own answer, locations, node agents per node, unfinished work.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Definition
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, DeadlineOver, Forbidden, Refused
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import arguments as login
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource, session
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._velero import location_options, location_view, schedule_view, server

ARGUMENTS: dict[str, dict[str, Any]] = {
    **login.ARGUMENTS,
    "namespace": {"type": "str", "default": "velero"},
    "gather": {
        "type": "list",
        "elements": "str",
        "choices": ["server", "storage_locations", "snapshot_locations", "node_agents", "unfinished", "schedules", "last_drill"],
        "default": ["server", "storage_locations", "snapshot_locations", "node_agents", "unfinished"],
    },
}

DRILL_RECORD = "velero-drill"
"""Name of the ConfigMap in which the role drill keeps what came of its last run, as JSON under the key record."""
FINISHED = frozenset({"Completed", "PartiallyFailed", "Failed", "FailedValidation"})
"""Phases of a Backup or Restore that are final; every other one, also one that we do not know, is unfinished."""


@dataclass(frozen=True)
class Workloads:
    """The Deployment and DaemonSet of Velero in a namespace, and the pods there."""

    deployment: dict[str, Any] | None
    daemon_set: dict[str, Any] | None
    pods: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Known:
    """What was read a moment ago and need not be read again to be told."""

    workloads: Workloads
    storage_locations: tuple[dict[str, Any], ...]
    snapshot_locations: tuple[dict[str, Any], ...]


def installed_by(workload: Mapping[str, Any] | None) -> str | None:
    """Return who put a workload there: cli, helm, oadp, or unknown. None without a workload."""
    if workload is None:
        return None
    metadata = workload["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    owners = [owner.get("kind") for owner in metadata.get("ownerReferences") or []]
    manager = labels.get("app.kubernetes.io/managed-by", "")
    if manager == "oadp-operator" or "DataProtectionApplication" in owners:
        return "oadp"
    if manager == "Helm" or "helm.sh/chart" in labels or "meta.helm.sh/release-name" in annotations:
        return "helm"
    # the CLI labels everything that it makes, and nothing else (1.5 to 1.18)
    return "cli" if labels.get("component") == "velero" and not manager else "unknown"


def _read_workloads(api: Api, namespace: str) -> Workloads:
    deployments = api.list(resource.DEPLOYMENT, namespace).items
    found = workloads_among(deployments, api.list(resource.DAEMON_SET, namespace).items, ())
    pods = tuple(api.list(resource.POD, namespace).items) if found.deployment or found.daemon_set else ()
    return replace(found, pods=pods)


def workloads_among(deployments: Iterable[dict[str, Any]], daemon_sets: Iterable[dict[str, Any]], pods: tuple[dict[str, Any], ...]) -> Workloads:
    """Return which of a namespace's workloads are Velero's."""
    deployment = next((item for item in deployments if server.server_container(item)), None)
    daemon_set = next((item for item in daemon_sets if server.agent_container(item)), None)
    return Workloads(deployment, daemon_set, pods)


def _pods_of(workload: Mapping[str, Any], pods: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    wanted = workload["spec"]["selector"].get("matchLabels") or {}
    found = [pod for pod in pods if wanted and all((pod["metadata"].get("labels") or {}).get(key) == value for key, value in wanted.items())]
    return sorted(found, key=lambda pod: pod["metadata"]["name"])


def _pod_view(pod: Mapping[str, Any]) -> dict[str, Any]:
    problem = server.pod_problem(pod)
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return {
        "pod": pod["metadata"]["name"],
        "node": (pod.get("spec") or {}).get("nodeName"),
        "phase": (pod.get("status") or {}).get("phase"),
        "ready": problem is None,
        "restarts": sum(status.get("restartCount", 0) for status in statuses),
        "reason": problem[0] if problem else None,
        "message": problem[1] if problem else None,
    }


Answer: TypeAlias = "tuple[str | None, list[dict[str, str]]]"
"""A server's version and plugins, by its own word."""


def _server(api: Api, workloads: Workloads, namespace: str, context: Context, answer: Answer | None = None) -> dict[str, Any]:
    deployment = workloads.deployment
    if deployment is None:
        return {
            "deployment": None, "image": None, "version": None, "ready": False, "plugins": [], "plugin_images": [], "pods": [],
            "problem": f"there is no Deployment that runs Velero's server in namespace {namespace}",
        }  # fmt: skip
    container = server.server_container(deployment) or {}
    pods = _pods_of(deployment, workloads.pods)
    views = [_pod_view(pod) for pod in pods]
    version: str | None = None
    plugins: list[dict[str, str]] = []
    problem = _server_problem(api, deployment, views, namespace, context)
    if problem is None:
        try:
            version, plugins = answer or server.ask_status(api, namespace, api.transport.deadline)
        except Forbidden as error:
            context.warn(f"The server was not asked for its version and plugins: {error}")
        except Absent:
            problem = "its pod is ready, but Velero's custom resource definitions are not installed, so it cannot be asked"
        except DeadlineOver:
            if api.transport.deadline.over:
                raise  # the time of the task was over, which says nothing about the server
            problem = f"its pod is ready, but it did not answer a ServerStatusRequest within {server.ANSWER_WITHIN:g} s"
    return {
        "deployment": deployment["metadata"]["name"],
        "image": container.get("image"),
        "version": version,
        "ready": problem is None,
        "problem": problem,
        "plugins": plugins,
        "plugin_images": server.plugin_images(deployment),
        "pods": views,
    }


def _server_problem(api: Api, deployment: Mapping[str, Any], views: list[dict[str, Any]], namespace: str, context: Context) -> str | None:
    """Return in one sentence what keeps the server from working; None when a pod of it is ready."""
    name = f"Deployment {namespace}/{deployment['metadata']['name']}"
    if any(view["ready"] for view in views):
        return None
    if deployment["spec"].get("replicas") == 0:
        return f"{name} is scaled to 0"
    if not views:
        conditions = [item for item in (deployment.get("status") or {}).get("conditions") or [] if item.get("reason") == "FailedCreate"]
        return f"{name} has no pod{': ' + conditions[0]['message'] if conditions else ''}"
    worst = views[-1]
    text = f"{name}: pod {worst['pod']} is not ready ({worst['reason']}{': ' + worst['message'] if worst['message'] else ''})"
    if worst["restarts"] or worst["reason"] == "CrashLoopBackOff":
        last = _last_words(api, namespace, worst["pod"], context)
        text += f"; its last words: {last}" if last else ""
    return text


def _last_words(api: Api, namespace: str, pod: str, context: Context) -> str:
    """Return the last line that says something in the log of the container that crashed."""
    try:
        text = api.pod_log(namespace, pod, container="velero", tail_lines=20, previous=True)
    except Forbidden as error:
        context.warn(f"The log of the crashed server was not read: {error}")
        return ""
    except Refused:
        # it is gone, or there is none: the container has not run before
        return ""
    return server.telling_line(text)


def _node_agents(api: Api, workloads: Workloads, context: Context) -> list[dict[str, Any]]:
    """Return the node agents, one entry per pod and one per node that should have one and has none."""
    if workloads.daemon_set is None:
        return []
    pods = _pods_of(workloads.daemon_set, workloads.pods)
    agents = []
    for pod in pods:
        view = _pod_view(pod)
        view["node"] = view["node"] or _intended_node(pod)
        agents.append(view)
    status = workloads.daemon_set.get("status") or {}
    if len(pods) < status.get("desiredNumberScheduled", 0):
        context.warn(
            f"DaemonSet {workloads.daemon_set['metadata']['namespace']}/{workloads.daemon_set['metadata']['name']} wants "
            f"{status['desiredNumberScheduled']} pods and has {len(pods)}."
        )
    return sorted(agents, key=lambda view: (view["node"] or "", view["pod"]))


def _intended_node(pod: Mapping[str, Any]) -> str | None:
    """Return the node for which a DaemonSet made a pod that is not scheduled yet: it stands in the pod's node affinity."""
    required = (((pod.get("spec") or {}).get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or []:
        for match in term.get("matchFields") or []:
            if match.get("key") == "metadata.name" and match.get("values"):
                return str(match["values"][0])
    return None


def _by_name(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(items, key=lambda item: str(item["metadata"]["name"]))


def _locations(api: Api, kind: resource.Resource, namespace: str) -> list[dict[str, Any]]:
    return _by_name(api.list(kind, namespace).items)


def _unfinished(api: Api, kind: resource.Resource, namespace: str) -> list[dict[str, Any]]:
    found = []
    for item in _locations(api, kind, namespace):
        status, spec = item.get("status") or {}, item.get("spec") or {}
        if status.get("phase") in FINISHED:
            continue
        entry = {
            "name": item["metadata"]["name"],
            "phase": status.get("phase") or "New",
            "created": item["metadata"]["creationTimestamp"],
            "started": status.get("startTimestamp"),
        }
        entry |= {"storage_location": spec.get("storageLocation")} if kind is resource.BACKUP else {"backup": spec.get("backupName") or None}
        found.append(entry)
    return found


def _last_drill(api: Api, namespace: str, context: Context) -> dict[str, Any] | None:
    """Return the record of the last drill, or None when there is none or none that can be read."""
    kept = api.get(resource.CONFIG_MAP, namespace, DRILL_RECORD)
    if kept is None:
        return None
    try:
        record = json.loads((kept.get("data") or {}).get("record") or "")
    except ValueError:
        record = None
    if not isinstance(record, dict):
        context.warn(f"{resource.CONFIG_MAP.target(namespace, DRILL_RECORD)} holds no record of a drill that can be read.")
        return None
    return record


def find(options: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return the installation of Velero in a namespace as a list of one, or an empty list when there is none."""
    namespace = str(options["namespace"])
    location_options.check_name("namespace", namespace, label=True)
    api = session.log_in(options, context)
    found = entry(api, namespace, set(options["gather"]), context)
    return {"changed": False, "velero": [found] if found else []}


def entry(
    api: Api, namespace: str, gather: set[str], context: Context, answer: Answer | None = None, known: Known | None = None
) -> dict[str, Any] | None:
    """Return what there is of an installation, or None. answer: of the server, when it was asked already; known: what need not be read."""
    by_workload = bool(gather & {"server", "node_agents"})
    workloads = Workloads(None, None, ())
    if by_workload:
        workloads = known.workloads if known else _read_workloads(api, namespace)
    try:
        locations, snapshots = (_by_name(items) for items in ((known.storage_locations, known.snapshot_locations) if known else ((), ())))
        if known is None:
            locations = _locations(api, resource.BACKUP_STORAGE_LOCATION, namespace) if "storage_locations" in gather else []
            snapshots = _locations(api, resource.VOLUME_SNAPSHOT_LOCATION, namespace) if "snapshot_locations" in gather else []
        backups = _unfinished(api, resource.BACKUP, namespace) if "unfinished" in gather else []
        restores = _unfinished(api, resource.RESTORE, namespace) if "unfinished" in gather else []
        schedules = _locations(api, resource.SCHEDULE, namespace) if "schedules" in gather else []
    except Absent:
        # the kinds are not known to the cluster
        if workloads.deployment is None and workloads.daemon_set is None:
            return None
        context.warn(f"Velero runs in namespace {namespace}, but its custom resource definitions are not installed.")
        locations, snapshots, backups, restores, schedules = [], [], [], [], []
    if workloads.deployment is None and workloads.daemon_set is None and not (locations or snapshots or backups or restores or schedules):
        return None
    found: dict[str, Any] = {"namespace": namespace}
    if by_workload:
        found["installed_by"] = installed_by(workloads.deployment or workloads.daemon_set)
    if "server" in gather:
        found["server"] = _server(api, workloads, namespace, context, answer)
    if "storage_locations" in gather:
        found["storage_locations"] = [location_view.shown(item) for item in locations]
    if "snapshot_locations" in gather:
        found["snapshot_locations"] = [location_view.snapshot_shown(item) for item in snapshots]
    if "node_agents" in gather:
        found["node_agents"] = _node_agents(api, workloads, context)
    if "unfinished" in gather:
        found["unfinished"] = {"backups": backups, "restores": restores}
    if "schedules" in gather:
        found["schedules"] = [schedule_view.shown(item, api.server_time()) for item in schedules]
    if "last_drill" in gather:
        found["last_drill"] = _last_drill(api, namespace, context)
    return found


DEFINITION = Definition("velero_info", ARGUMENTS, find, secrets=login.secrets_in)
