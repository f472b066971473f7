# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes objects of an installation shaped like CircleCI Server 3.x, as data; its programs are twins except for PostgreSQL."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

from .content import initialization_sql

NAMESPACE = "circleci-server"
BUSYBOX_IMAGE = "localhost/bb:1"
POSTGRESQL_IMAGE = "localhost/postgresql:1"

STATEFUL = "StatefulSet"
CHART = "app.kubernetes.io/name"
TINY = {"requests": {"cpu": "2m", "memory": "4Mi"}}

Object = dict[str, Any]


@dataclass(frozen=True)
class Volume:
    """A claim of a StatefulSet: "<name>-<set>-0", where it is mounted, and whether the chart has the backup annotation for it."""

    name: str
    mount: str
    size: str = "8Gi"


@dataclass(frozen=True)
class Workload:
    """A Deployment, StatefulSet or DaemonSet: name, pod labels, the port on which it answers HTTP (PostgreSQL: its protocol)."""

    name: str
    port: int = 8080
    kind: str = "Deployment"
    layer: str = "application"
    replicas: int = 1
    labels: dict[str, str] = field(default_factory=dict)
    containers: tuple[str, ...] = ()
    volume: Volume | None = None
    service: str | None = ""  # "": as the workload is called; None: no Service of type ClusterIP
    service_account: str = ""

    @property
    def pod_labels(self) -> dict[str, str]:
        """Labels of its pods; `app` is the workload's name where the installation documents nothing else."""
        labels = dict(self.labels) or {"app": self.name}
        if self.layer:
            labels["layer"] = self.layer
        return labels

    @property
    def container_names(self) -> tuple[str, ...]:
        """Names of the containers of a pod; one, called as the workload, where nothing else is documented."""
        return self.containers or (self.name,)


@dataclass(frozen=True)
class LoadBalancer:
    """A Service of type LoadBalancer: the workload behind it, and port to the workload's port."""

    name: str
    workload: str
    ports: dict[int, int]


# Documented are the names, the labels written out below, the 2 replicas of output-processor, the two containers of vault and the volumes with their
# backup annotations. Not public, and so the bed's own: what is Deployment and what is StatefulSet where no pod "-0" is named, the layer of each
# service, port 8080, and the name of vault's second container.
WORKLOADS: tuple[Workload, ...] = (
    Workload("postgresql", 5432, STATEFUL, "data", labels={CHART: "postgresql"}, volume=Volume("data", "/bitnami/postgresql")),
    Workload("mongodb", 27017, STATEFUL, "data", labels={CHART: "mongodb"}, volume=Volume("datadir", "/bitnami/mongodb")),
    Workload("vault", 8200, STATEFUL, "data", labels={"app": "vault"}, containers=("vault", "sidecar"), volume=Volume("data", "/vault/file")),
    Workload("redis-master", 6379, STATEFUL, "data", labels={"app": "redis", "role": "master"}, volume=Volume("redis-data", "/data")),
    Workload("redis-slave", 6379, STATEFUL, "data", labels={"app": "redis", "role": "slave"}, volume=Volume("redis-data", "/data")),
    Workload("rabbitmq", 5672, STATEFUL, "data", labels={CHART: "rabbitmq"}, volume=Volume("data", "/bitnami/rabbitmq/mnesia")),
    Workload("nomad-server", 4647, STATEFUL, "execution"),
    Workload("api-service"),
    Workload("audit-log-service"),
    Workload("builds-service"),
    Workload("contexts-service"),
    Workload("cron-service"),
    Workload("dispatcher"),
    Workload("legacy-dispatcher"),
    Workload("distributor-internal"),
    Workload("domain-service"),
    Workload("frontend"),
    Workload("insights-service"),
    Workload("legacy-notifier"),
    Workload("orb-service"),
    Workload("output-processor", 8585, replicas=2, service=None, service_account="object-storage"),
    Workload("permissions-service"),
    Workload("scheduler"),
    Workload("slanger"),
    Workload("test-results", service_account="object-storage"),
    Workload("vm-gc", service_account="vm-service"),
    Workload("vm-scaler", service_account="vm-service"),
    Workload("vm-service", 3000, service=None, service_account="vm-service"),
    Workload("web-ui"),
    Workload("webhook-service"),
    Workload("workflows-conductor-event-consumer"),
    Workload("workflows-conductor-grpc-handler"),
    Workload("nomad-autoscaler", layer="execution", service=None, service_account="nomad-autoscaler"),
    Workload("circleci-server-traefik", 8000, layer="", labels={"app": "traefik"}, service=None),
    Workload("circleci-telegraf", 9273, layer="", service="telegraf"),
    Workload("prometheus-server", 9090, layer=""),
    Workload("circleci-server-kube-state-metrics", layer=""),
    Workload("node-exporter", 9100, "DaemonSet", layer="", service=None),
)

LOAD_BALANCERS: tuple[LoadBalancer, ...] = (
    LoadBalancer("circleci-server-traefik", "circleci-server-traefik", {80: 8000, 443: 8443}),
    LoadBalancer("nomad-server-external", "nomad-server", {4647: 4647}),
    LoadBalancer("output-processor", "output-processor", {8585: 8585}),
    LoadBalancer("vm-service", "vm-service", {3000: 3000}),
)

JOB = "inject-bottoken-1"
SERVICE_ACCOUNTS = ("vm-service", "object-storage", "nomad-autoscaler")
# What KOTS puts on every object of an application, and its backups select by.
KOTS_LABELS = {"kots.io/backup": "velero", "kots.io/app-slug": NAMESPACE}
KOTS_ANNOTATIONS = {"kots.io/app-slug": NAMESPACE}

WORKLOAD: dict[str, Workload] = {workload.name: workload for workload in WORKLOADS}


def bed_password(name: str) -> str:
    """A password of the bed: the same on every start, so that a kept volume still opens; good for nothing else."""
    return hashlib.sha256(f"bed password {name}".encode()).hexdigest()[:24]


def _metadata(name: str, labels: dict[str, str] | None = None) -> Object:
    return {"name": name, "namespace": NAMESPACE, "labels": {**KOTS_LABELS, **(labels or {})}, "annotations": dict(KOTS_ANNOTATIONS)}


def _secret(name: str, key: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(name),
        "type": "Opaque",
        "data": {key: base64.b64encode(bed_password(name).encode()).decode()},
    }


def _serve(workload: Workload, container: str) -> str:
    """Shell text of a twin: httpd that answers / with the workload's name and /status with ok; as PID 1 it must handle TERM itself."""
    if workload.name == "circleci-server-traefik":
        # passes every connection on to the frontend, on both ports; 443 speaks plain HTTP, as the bed has no certificate for it
        start = [f"nc -ll -p {port} -e /bin/nc frontend 8080 &" for port in (workload.port, 8443)]
    elif container == workload.container_names[0]:
        start = [f"httpd -f -p {workload.port} -h /tmp/www &"]
    else:
        start = ["sleep 2147483647 &"]
    return "\n".join(
        [
            "trap 'kill $(jobs -p) 2>/dev/null; exit 0' TERM INT",
            "mkdir -p /tmp/www",
            f"echo {workload.name} >/tmp/www/index.html",
            "echo ok >/tmp/www/status",
            *start,
            "wait",
        ]
    )


def _env(workload: Workload) -> list[Object]:
    if workload.name == "postgresql":
        return [
            {"name": "POSTGRES_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "postgresql", "key": "postgresql-password"}}},
            {"name": "PGHOST", "value": "/tmp"},
        ]
    if workload.name == "mongodb":
        return [{"name": "MONGODB_ROOT_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "mongodb", "key": "mongodb-root-password"}}}]
    if workload.name == "frontend":
        # as in the installation: the password and both keysets stand in clear in the Deployment
        values = {
            "POSTGRES_HOST": "postgresql",
            "POSTGRES_PORT": "5432",
            "POSTGRES_USERNAME": "postgres",
            "POSTGRES_PASSWORD": bed_password("postgresql"),
            "CIRCLE_SECRETS__KEYSET__SIGN": bed_password("signing keyset"),
            "CIRCLE_SECRETS__KEYSET__CRYPT": bed_password("encryption keyset"),
        }
        return [{"name": name, "value": value} for name, value in values.items()]
    return []


def _container(workload: Workload, name: str) -> Object:
    container: Object = {
        "name": name,
        "image": BUSYBOX_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", _serve(workload, name)],
        "resources": TINY,
    }
    if name != workload.container_names[0]:
        return container
    container["ports"] = [{"name": "main", "containerPort": workload.port}]
    container["readinessProbe"] = {"httpGet": {"path": "/status", "port": workload.port}, "periodSeconds": 5, "timeoutSeconds": 5}
    if workload.name == "circleci-server-traefik":
        container["readinessProbe"] = {"tcpSocket": {"port": workload.port}, "periodSeconds": 5, "timeoutSeconds": 5}
    if env := _env(workload):
        container["env"] = env
    if workload.volume:
        container["volumeMounts"] = [{"name": workload.volume.name, "mountPath": workload.volume.mount}]
    if workload.name == "postgresql":
        probe = ["pg_isready", "-q", "-h", "127.0.0.1", "-U", "postgres"]
        container |= {
            "image": POSTGRESQL_IMAGE,
            "command": ["postgresql-entrypoint"],
            "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
            "readinessProbe": {"exec": {"command": probe}, "periodSeconds": 5, "timeoutSeconds": 5},
        }
        container["volumeMounts"].append({"name": "initdb", "mountPath": "/docker-entrypoint-initdb.d"})
    return container


def _pod(workload: Workload) -> Object:
    annotations = dict(KOTS_ANNOTATIONS)
    spec: Object = {
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 5,
        "containers": [_container(workload, name) for name in workload.container_names],
    }
    if workload.service_account:
        spec["serviceAccountName"] = workload.service_account
    if workload.volume:
        annotations["backup.velero.io/backup-volumes"] = workload.volume.name
    if workload.name == "postgresql":
        spec["securityContext"] = {"runAsUser": 1001, "runAsGroup": 1001, "fsGroup": 1001}
        spec["volumes"] = [{"name": "initdb", "configMap": {"name": "postgresql-init-scripts"}}]
        spec["terminationGracePeriodSeconds"] = 30
    return {"metadata": {"labels": {**KOTS_LABELS, **workload.pod_labels}, "annotations": annotations}, "spec": spec}


def _controller(workload: Workload) -> Object:
    spec: Object = {"selector": {"matchLabels": workload.pod_labels}, "template": _pod(workload)}
    if workload.kind != "DaemonSet":
        spec["replicas"] = workload.replicas
    if workload.kind == "StatefulSet":
        spec["serviceName"] = workload.name
        if workload.volume:
            spec["volumeClaimTemplates"] = [
                {
                    "metadata": {"name": workload.volume.name, "labels": {**KOTS_LABELS, **workload.pod_labels}},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": workload.volume.size}}},
                }
            ]
    return {"apiVersion": "apps/v1", "kind": workload.kind, "metadata": _metadata(workload.name, workload.pod_labels), "spec": spec}


def _service(name: str, workload: Workload, ports: dict[int, int], kind: str) -> Object:
    listed = [{"name": f"port-{port}", "port": port, "targetPort": target} for port, target in ports.items()]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(name, workload.pod_labels),
        "spec": {"type": kind, "selector": workload.pod_labels, "ports": listed},
    }


def _bot_token_job() -> Object:
    command = ["sh", "-c", "until wget -q -O /dev/null http://mongodb:27017/status; do sleep 1; done; echo bot token injected"]
    pod: Object = {
        "restartPolicy": "OnFailure",
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "containers": [{"name": "inject-bottoken", "image": BUSYBOX_IMAGE, "imagePullPolicy": "IfNotPresent", "resources": TINY, "command": command}],
    }
    template = {"metadata": {"labels": {**KOTS_LABELS, "app": "inject-bottoken"}, "annotations": dict(KOTS_ANNOTATIONS)}, "spec": pod}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": _metadata(JOB), "spec": {"backoffLimit": 4, "template": template}}


def objects() -> list[Object]:
    """Every object of the installation, in an order in which they can be made; fresh copies."""
    answer: list[Object] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        *({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(name)} for name in SERVICE_ACCOUNTS),
        _secret("postgresql", "postgresql-password"),
        _secret("mongodb", "mongodb-root-password"),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata("postgresql-init-scripts"), "data": {"databases.sql": initialization_sql()}},
    ]
    for workload in WORKLOADS:
        answer.append(_controller(workload))
        if workload.service is not None:
            answer.append(_service(workload.service or workload.name, workload, {workload.port: workload.port}, "ClusterIP"))
    answer += [_service(balancer.name, WORKLOAD[balancer.workload], balancer.ports, "LoadBalancer") for balancer in LOAD_BALANCERS]
    answer.append(_bot_token_job())
    return answer
