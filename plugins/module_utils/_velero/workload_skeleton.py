# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Velero's Deployment and DaemonSet as a release's own CLI writes them without any option, from one table of what differs between releases.

Sources: pkg/install of the tags v1.6.0 to v1.18.1 of velero-io/velero; compared with the output of real CLIs in tests/bed/velero/test_rendering.py.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._velero import release, server_arguments
from ansible_collections.serverops.circleci.plugins.module_utils._velero.release import Release

LABELS = {"component": "velero"}
"""What the CLI labels everything with that it makes."""
SERVER = "velero"
SERVICE_ACCOUNT = "velero"
CREDENTIAL_VOLUME = "cloud-credentials"
CREDENTIAL_MOUNT = "/credentials"
CREDENTIAL_VARIABLES = ("GOOGLE_APPLICATION_CREDENTIALS", "AWS_SHARED_CREDENTIALS_FILE", "AZURE_CREDENTIALS_FILE", "ALIBABA_CLOUD_CREDENTIALS_FILE")
PLUGIN_MOUNT = "/target"
KUBELET_ROOT = "/var/lib/kubelet"
HOST_VOLUMES = {"host-pods": ("pods", "/host_pods"), "host-plugins": ("plugins", "/var/lib/kubelet/plugins")}
"""The agent's volumes of the host: name to (folder below the kubelet's root, where it is mounted)."""
OS_LABEL = "kubernetes.io/os"
LONGEST_NAME = 63
"""Characters that a container's name may have."""
SCRAPED = {"prometheus.io/scrape": "true", "prometheus.io/port": "8085", "prometheus.io/path": "/metrics"}

_SERVER_RESOURCES = {"requests": {"cpu": "500m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}
_AGENT_RESOURCES = {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}

TRAITS: dict[str, tuple[tuple[tuple[int, ...], Any], ...]] = {
    # levels of pod security that the namespace is labelled with
    "pod_security": (((1, 6), ()), ((1, 9, 6), ("enforce",)), ((1, 10), ()), ((1, 10, 2), ("enforce",)), ((1, 12), ("enforce", "audit", "warn"))),
    "uploader_type": (((1, 6), None), ((1, 10), "restic"), ((1, 12), "kopia")),
    # whether the CLI switches the server's informer cache off without being asked
    "no_informer_cache": (((1, 6), False), ((1, 12, 1), True), ((1, 12, 4), False)),
    "agent_resources": (((1, 6), _AGENT_RESOURCES), ((1, 14), {})),
    # the agent sees the kubelet's plugins, and its container says whether it is privileged
    "agent_host_volumes": (((1, 6), ("host-pods",)), ((1, 12, 1), ("host-pods", "host-plugins"))),
    "agent_privileged": (((1, 6), None), ((1, 12, 1), False)),
    "agent_ports": (((1, 6), False), ((1, 12, 2), True)),
    # the label by which the server finds the pods of its agents
    "agent_role": (((1, 6), False), ((1, 16), True)),
    # how pods are kept on nodes of their operating system
    "os_rule": (((1, 6), None), ((1, 16), "selector"), ((1, 18, 1), "affinity")),
    "windows_effects": (((1, 6), ("NoSchedule",)), ((1, 17), ("NoSchedule", "NoExecute"))),
    # defaultMode of the mounted credentials; None leaves it to the API server
    "credential_mode": (((1, 6), None), ((1, 16, 2), 0o444)),
    # who makes the restore helper's image: {repository, label of the ConfigMap that names it}; None where the server's own image serves
    "restore_helper": (
        ((1, 6), ("velero-restic-restore-helper", "velero.io/restic")),
        ((1, 10), ("velero-restore-helper", "velero.io/pod-volume-restore")),
        ((1, 16), None),
    ),
    "repository_secret": (((1, 6), "velero-restic-credentials"), ((1, 10), "velero-repo-credentials")),
}
"""What differs between releases: name to ((first release, value), …) in rising order; the last that the release reaches counts."""


def trait(name: str, wanted: Release) -> Any:
    """Return the value of a trait in a release; releases before the first known one have its value."""
    found = TRAITS[name][0][1]
    for first, value in TRAITS[name]:
        if wanted.number[: len(first)] >= first:
            found = value
    return found


def pull_policy(image: str) -> str:
    """Return the policy that the CLI gives an image: IfNotPresent for name:tag with another tag than latest, else Always.

    An image with a digest, without a tag, or of a registry with a port gets Always.
    """
    parts = image.split(":")
    return "IfNotPresent" if len(parts) == 2 and parts[1] != "latest" else "Always"


def repository(image: str) -> str:
    """Return an image without its tag and digest."""
    name = image.split("@", 1)[0]
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def plugin_name(image: str) -> str:
    """Return the name of a plugin's init container: its repository without the registry, as a name that Kubernetes takes.

    As the CLI of 1.18 does. Older ones differ, and so does that one, only where Kubernetes refuses the name that they make.
    """
    name = repository(image)
    first, slash, rest = name.partition("/")
    name = rest if slash and ("/" in rest or not first) else name
    name = re.sub(r"[^a-z0-9-]", "-", name.lower()).strip("-") or "plugin"
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 6] + hashlib.sha256(name.encode()).hexdigest()[:6]


def plugin_container(image: str, policy: str) -> dict[str, Any]:
    """Return the init container that brings a plugin."""
    mounts = [{"name": "plugins", "mountPath": PLUGIN_MOUNT}]
    return {"name": plugin_name(image), "image": image, "imagePullPolicy": policy, "resources": {}, "volumeMounts": mounts}


def field_variable(name: str, path: str) -> dict[str, Any]:
    """Return a variable that holds a field of its pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def os_affinity(operator: str) -> dict[str, Any]:
    """Return the affinity by which 1.18.1 and newer keep pods on (In) or off (NotIn) Windows nodes."""
    match = {"key": OS_LABEL, "operator": operator, "values": ["windows"]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [match]}]}}}


def deployment(namespace: str, wanted: Release, image: str) -> dict[str, Any]:
    """Return the server's Deployment, with one difference to the CLI: two servers never run at once (strategy Recreate)."""
    flags = {"features": ""}
    if trait("uploader_type", wanted):
        flags["uploader-type"] = trait("uploader_type", wanted)
    if trait("no_informer_cache", wanted):
        flags["disable-informer-cache"] = "true"
    container: dict[str, Any] = {
        "name": SERVER,
        "image": image,
        "imagePullPolicy": pull_policy(image),
        "ports": [{"name": "metrics", "containerPort": 8085}],
        "command": ["/velero"],
        "args": ["server", *server_arguments.written(flags)],
        "env": [
            {"name": "VELERO_SCRATCH_DIR", "value": "/scratch"},
            field_variable("VELERO_NAMESPACE", "metadata.namespace"),
            {"name": "LD_LIBRARY_PATH", "value": "/plugins"},
        ],
        "resources": {kind: dict(amounts) for kind, amounts in _SERVER_RESOURCES.items()},
        "volumeMounts": [{"name": "plugins", "mountPath": "/plugins"}, {"name": "scratch", "mountPath": "/scratch"}],
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Always",
        "serviceAccountName": SERVICE_ACCOUNT,
        "containers": [container],
        "volumes": [{"name": "plugins", "emptyDir": {}}, {"name": "scratch", "emptyDir": {}}],
    }
    rule = trait("os_rule", wanted)
    if rule:
        pod["os"] = {"name": "linux"}
    if rule == "selector":
        pod["nodeSelector"] = {OS_LABEL: "linux"}
    if rule == "affinity":
        pod["affinity"] = os_affinity("NotIn")
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": SERVER, "namespace": namespace, "labels": dict(LABELS)},
        "spec": {
            "selector": {"matchLabels": {"deploy": "velero"}},
            "strategy": {"type": "Recreate"},
            "template": {"metadata": {"labels": {**LABELS, "deploy": "velero"}, "annotations": dict(SCRAPED)}, "spec": pod},
        },
    }


def agent_name(wanted: Release, *, windows: bool = False) -> str:
    """Return the name of the agent's DaemonSet and container."""
    return release.agent_name(wanted) + ("-windows" if windows else "")


def daemon_set(namespace: str, wanted: Release, image: str, *, windows: bool = False) -> dict[str, Any]:
    """Return the agent's DaemonSet, for nodes with Linux or with Windows."""
    name = agent_name(wanted, windows=windows)
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    for volume in trait("agent_host_volumes", wanted):
        volumes.append(host_volume(volume, KUBELET_ROOT))
        mounts.append(host_mount(volume))
    container: dict[str, Any] = {
        "name": name,
        "image": image,
        "imagePullPolicy": pull_policy(image),
        "command": ["/velero"],
        "args": [release.agent_name(wanted), "server", "--features="],
        "env": [
            field_variable("NODE_NAME", "spec.nodeName"),
            field_variable("VELERO_NAMESPACE", "metadata.namespace"),
            {"name": "VELERO_SCRATCH_DIR", "value": "/scratch"},
        ],
        "resources": {kind: dict(amounts) for kind, amounts in trait("agent_resources", wanted).items()},
        "volumeMounts": [*mounts, {"name": "scratch", "mountPath": "/scratch"}],
    }
    if trait("agent_ports", wanted):
        container["ports"] = [{"name": "metrics", "containerPort": 8085}]
    pod: dict[str, Any] = {
        "serviceAccountName": SERVICE_ACCOUNT,
        "containers": [container],
        "volumes": [*volumes, {"name": "scratch", "emptyDir": {}}],
    }
    if not windows:
        pod["securityContext"] = {"runAsUser": 0}
        if trait("agent_privileged", wanted) is not None:
            container["securityContext"] = {"privileged": trait("agent_privileged", wanted)}
    pod |= agent_placement(wanted, windows=windows)
    labels = {**LABELS, "name": name} | ({"role": "node-agent"} if trait("agent_role", wanted) else {})
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(LABELS)},
        "spec": {"selector": {"matchLabels": {"name": name}}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }


def agent_placement(wanted: Release, *, windows: bool) -> dict[str, Any]:
    """Return the fields by which an agent is kept on nodes of its operating system."""
    rule = trait("os_rule", wanted)
    system = "windows" if windows else "linux"
    fields: dict[str, Any] = {}
    if rule == "selector":
        fields = {"nodeSelector": {OS_LABEL: system}, "os": {"name": system}}
    elif rule == "affinity":
        fields = {"affinity": os_affinity("In" if windows else "NotIn")} | ({"os": {"name": system}} if windows else {})
    if windows:
        fields["tolerations"] = [
            {"key": "os", "operator": "Equal", "value": "windows", "effect": effect} for effect in trait("windows_effects", wanted)
        ]
    return fields


def host_volume(name: str, kubelet_root: str) -> dict[str, Any]:
    """Return a volume of the agent that is a folder of the host."""
    return {"name": name, "hostPath": {"path": f"{kubelet_root.rstrip('/')}/{HOST_VOLUMES[name][0]}"}}


def host_mount(name: str) -> dict[str, Any]:
    """Return where the agent mounts a folder of the host, so that it sees what is mounted there later."""
    return {"name": name, "mountPath": HOST_VOLUMES[name][1], "mountPropagation": "HostToContainer"}


def credential_volume(name: str, wanted: Release) -> dict[str, Any]:
    """Return the volume that holds the credentials of a Secret."""
    secret: dict[str, Any] = {"secretName": name}
    mode = trait("credential_mode", wanted)
    return {"name": CREDENTIAL_VOLUME, "secret": secret if mode is None else secret | {"defaultMode": mode}}


def server_image(options: Mapping[str, Any], wanted: Release) -> str:
    """Return the image that the options ask for: as given, else Velero's own of the release, from the registry that is given."""
    if options.get("image"):
        return str(options["image"])
    return default_image(options, f"velero:v{wanted.text}")


def default_image(options: Mapping[str, Any], name: str) -> str:
    """Return one of Velero's own images, "velero:v1.17.2", from the registry that is given."""
    registry = str(options.get("registry") or "").strip("/")
    return f"{registry}/velero/{name}" if registry else f"velero/{name}"
