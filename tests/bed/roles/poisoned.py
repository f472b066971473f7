# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace whose restore into another one would do harm: everything in it calls out, and a counter outside writes down who did."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from typing import Any

from tests.bed.driver import Bed

NAMESPACE = "poisoned"
COUNTING = "counting"
IMAGE = "localhost/bb:1"
Object = dict[str, Any]


QUIET = 6.0
"""Seconds without a call after which nobody calls any more: each of them calls several times a second, with at most three for an answer."""


def calling(who: str, address: str, keep: str = "while true; do {call}; sleep 0.2; done") -> list[str]:
    """Return the command of a container that calls the counter by this name, from its first instruction on."""
    call = f"timeout 3 wget -q -O /dev/null http://{address}:8080/{who}"
    return ["sh", "-c", keep.format(call=call)]


def container(name: str, command: list[str], **more: Any) -> Object:
    """Return a small container."""
    return {"name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": command, **more}


def stateful_set(name: str, address: str, claims: int = 1) -> Object:
    """Return a set with a volume, whose init container and container both call out; the data are written once, on an empty volume only."""
    label = {"app": name}
    write = f"[ -e /data/kept ] || echo precious of {name} >/data/kept; "
    mounts = [{"name": "data", "mountPath": "/data"}]
    pod = {
        "metadata": {"labels": label, "annotations": {"backup.velero.io/backup-volumes": "data"} if claims else {}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "serviceAccountName": "worker",
            "initContainers": [container("first", calling(f"{name}-init", address, "{call}; true"), volumeMounts=mounts)],
            "containers": [
                container(
                    "main",
                    ["sh", "-c", write + calling(f"{name}-main", address)[2]],
                    volumeMounts=mounts,
                    envFrom=[{"secretRef": {"name": "settings"}}],
                )
            ],
        },
    }
    template = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}}
    spec = {"serviceName": name, "selector": {"matchLabels": label}, "template": pod, "volumeClaimTemplates": [template]}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name, "namespace": NAMESPACE, "labels": label}, "spec": spec}


def objects(address: str) -> list[Object]:
    """Return what is put into the namespace. address: of the counter."""
    app = {"app": "database"}  # the labels of the set that may be restored
    run = {"terminationGracePeriodSeconds": 0, "containers": [container("main", calling("deployment", address))]}
    template = {"metadata": {"labels": app}, "spec": run}
    once = {"restartPolicy": "OnFailure", "containers": [container("main", calling("cron-job", address, "{call}; true"))]}
    backend = {"service": {"name": "outside", "port": {"number": 80}}}

    def kind(version: str, name: str, called: str, **rest: Any) -> Object:
        return {"apiVersion": version, "kind": name, "metadata": {"name": called, "namespace": NAMESPACE, "labels": app}, **rest}

    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        kind("v1", "ServiceAccount", "worker"),
        kind("v1", "Secret", "settings", stringData={"WORD": "from the secret"}),
        kind("v1", "ConfigMap", "more", data={"a": "b"}),
        stateful_set("database", address),
        stateful_set("other", address),
        kind(
            "apps/v1",
            "Deployment",
            "database-exporter",
            spec={"selector": {"matchLabels": app}, "template": template},
        ),
        kind("batch/v1", "CronJob", "caller", spec={"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": once}}}}),
        kind("v1", "Service", "outside", spec={"type": "LoadBalancer", "selector": app, "ports": [{"port": 80}]}),
        kind("networking.k8s.io/v1", "Ingress", "outside", spec={"defaultBackend": backend}),
    ]


def start_counter(bed: Bed) -> str:
    """Run the counter and return its address."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "counter", "namespace": COUNTING},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [container("counter", ["sh", "-c", "mkdir -p /tmp/www; exec httpd -f -vv -p 8080 -h /tmp/www"])],
        },
    }
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": COUNTING}}
    bed.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [space, pod]}))
    bed.kubectl("-n", COUNTING, "wait", "--for=condition=Ready", "pod/counter", "--timeout=60s", timeout=70)
    return bed.kubectl("-n", COUNTING, "get", "pod", "counter", "-o", "jsonpath={.status.podIP}").strip()


def counted(bed: Bed, addresses: set[str] | None = None) -> Counter[str]:
    """Return how often each name was called so far; addresses: by these pods only."""
    found: Counter[str] = Counter()
    for line in bed.kubectl("-n", COUNTING, "logs", "counter").splitlines():
        match = re.search(r"\[?(?:::ffff:)?([0-9.]+)\]?:\d+: url:/(\S+)", line)
        if match and (addresses is None or match.group(1) in addresses):
            found[match.group(2)] += 1
    return found


def poison(bed: Bed) -> str:
    """Make the namespace and wait until everything in it calls; the answer is the counter's address."""
    address = start_counter(bed)
    bed.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects(address)}))
    for name in ("statefulset/database", "statefulset/other", "deployment/database-exporter"):
        bed.kubectl("-n", NAMESPACE, "rollout", "status", name, "--timeout=90s", timeout=100)
    return address


def silence(bed: Bed) -> None:
    """Stop everything in the namespace, so that whatever calls from now on was restored."""
    bed.kubectl("-n", NAMESPACE, "scale", "statefulset/database", "statefulset/other", "deployment/database-exporter", "--replicas=0")
    bed.kubectl("-n", NAMESPACE, "patch", "cronjob", "caller", "-p", '{"spec": {"suspend": true}}')
    bed.kubectl("-n", NAMESPACE, "delete", "jobs", "--all")
    bed.kubectl("-n", NAMESPACE, "wait", "--for=delete", "pods", "--all", "--timeout=60s", timeout=70)
    # pods without a time to end are gone from the API at once, and their containers when the kubelet comes to them
    ends, last, quiet_since = time.monotonic() + 90, counted(bed), time.monotonic()
    while time.monotonic() - quiet_since < QUIET:
        assert time.monotonic() < ends, "somebody calls on"
        time.sleep(0.5)
        now = counted(bed)
        if now != last:
            last, quiet_since = now, time.monotonic()


def remove(bed: Bed) -> None:
    """Remove the namespaces."""
    bed.kubectl("delete", "namespace", NAMESPACE, COUNTING, "--ignore-not-found", "--timeout=90s", timeout=100)
