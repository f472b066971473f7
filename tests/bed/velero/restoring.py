# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small application with data in a claim, its backup by Velero's own CLI, and its loss: what the tests of restores work on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bed.conftest import InstalledVelero

IMAGE = "localhost/bb:1"
COPIED = "backup.velero.io/backup-volumes"


@dataclass
class Application:
    """A Deployment with a claim and a scratch volume, in a namespace of its own. copied: the volumes that its pod asks to have copied."""

    velero: InstalledVelero
    namespace: str
    copied: str = "data,scratch"
    replicas: int = 1

    def kubectl(self, *arguments: str, **more: Any) -> str:
        """Run kubectl in the namespace."""
        return self.velero.bed.kubectl("-n", self.namespace, *arguments, **more)

    def manifests(self) -> list[dict[str, Any]]:
        """Return its objects."""
        labels = {"app": "app"}
        container = {
            "name": "c",
            "image": IMAGE,
            "command": ["sh", "-c", "trap exit TERM; sleep 99999 & wait"],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "scratch", "mountPath": "/scratch"}],
        }
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "scratch", "emptyDir": {}}]
        pod = {"terminationGracePeriodSeconds": 1, "containers": [container], "volumes": volumes}
        about: dict[str, Any] = {"labels": labels, "annotations": {COPIED: self.copied}}
        spec = {
            "replicas": self.replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "Recreate"},
            "template": {"metadata": about, "spec": pod},
        }
        claim = {"accessModes": ["ReadWriteOnce"], "storageClassName": "local-path", "resources": {"requests": {"storage": "64Mi"}}}
        return [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}},
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": self.namespace}, "spec": claim},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": self.namespace}, "data": {"colour": "blue"}},
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app", "namespace": self.namespace, "labels": labels}, "spec": spec},
        ]

    def make(self, content: str = "precious") -> Application:
        """Make it, wait until it runs, and write its data."""
        self.velero.bed.import_images("bb")
        self.velero.bed.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": self.manifests()}))
        self.kubectl("rollout", "status", "deployment/app", "--timeout=90s", timeout=100)
        self.write(content)
        return self

    def kept(self) -> Application:
        """Make it again if it is gone."""
        there = self.velero.bed.kubectl("get", "namespace", self.namespace, "--ignore-not-found", "-o", "name").strip()
        return self if there else self.make()

    def write(self, content: str, megabytes: int = 0) -> None:
        """Write the data, and so much more of random bytes."""
        script = f"echo {content} > /data/file; echo {content} > /scratch/file"
        script += f"; dd if=/dev/urandom of=/data/more bs=1M count={megabytes} 2>/dev/null" if megabytes else ""
        self.kubectl("exec", "deployment/app", "--", "sh", "-c", script, timeout=120)

    def content(self, namespace: str = "") -> str:
        """Return the data, of this namespace or of another one that it was restored into."""
        return self.velero.bed.kubectl("-n", namespace or self.namespace, "exec", "deployment/app", "--", "cat", "/data/file").strip()

    def backup(self, name: str, *more: str) -> str:
        """Back the namespace up by Velero's own CLI; returns the phase that it ended in."""
        self.velero.velero.cli("backup", "create", name, "--include-namespaces", self.namespace, *more, "--wait", timeout=300)
        return str((object_of(self.velero, "backups", name) or {})["status"]["phase"])

    def lose(self, *namespaces: str) -> None:
        """Remove the namespace, or these, with everything in them."""
        lose(self.velero, *(namespaces or (self.namespace,)))


def bucket(velero: InstalledVelero) -> str:
    """Return the bucket that Velero stores in; on a bed that ran before it may be another one than the tests' own."""
    return str((velero.location("default") or {})["spec"]["objectStorage"]["bucket"])


def lose(velero: InstalledVelero, *namespaces: str) -> None:
    """Remove namespaces with everything in them, and wait until they are gone."""
    velero.bed.kubectl("delete", "namespace", *namespaces, "--ignore-not-found", "--timeout=120s", timeout=130)


def object_of(velero: InstalledVelero, plural: str, name: str) -> dict[str, Any] | None:
    """Return one of Velero's objects as the cluster has it."""
    text = velero.bed.kubectl("-n", velero.namespace, "get", f"{plural}.velero.io", name, "--ignore-not-found", "-o", "json")
    return json.loads(text) if text.strip() else None


def change(velero: InstalledVelero, plural: str, name: str, patch: dict[str, Any]) -> None:
    """Merge a patch into one of Velero's objects."""
    velero.bed.kubectl("-n", velero.namespace, "patch", f"{plural}.velero.io", name, "--type", "merge", "-p", json.dumps(patch))


def until(told: Callable[[], Any], seconds: float = 60, pause: float = 0.2) -> Any:
    """Return what the function tells once it is true; AssertionError with what it told last."""
    ends = time.monotonic() + seconds
    while True:
        last = told()
        if last:
            return last
        assert time.monotonic() < ends, f"not within {seconds:.0f} s; last seen: {last!r}"
        time.sleep(pause)
