# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small application with volumes on a bed, to be backed up, and what can be done to it, to Velero and to the store meanwhile."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bed.conftest import InstalledVelero
from tests.plays.in_process import Ran, run

PRE_HOOK_SECONDS = 12
"""How long a backup that is held up stays in its first pod."""


def claim(namespace: str, name: str, storage_class: str = "local-path") -> dict[str, Any]:
    """Return a claim of 1 GiB."""
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": storage_class, "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def pod(namespace: str, name: str, claims: dict[str, str], annotated: str | None, command: str = "sleep 99999", **metadata: Any) -> dict[str, Any]:
    """Return a pod with claims by volume. annotated: the volumes whose files are to be copied."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {"backup.velero.io/backup-volumes": annotated} if annotated else {},
            **metadata,
        },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "c",
                    "image": "localhost/bb:1",
                    "command": ["sh", "-c", command],
                    "volumeMounts": [{"name": volume, "mountPath": f"/{volume}"} for volume in claims],
                }
            ],
            "volumes": [{"name": volume, "persistentVolumeClaim": {"claimName": name}} for volume, name in claims.items()],
        },
    }


@dataclass(frozen=True)
class Application:
    """A namespace with one pod "db" whose claim "data" holds some files."""

    velero: InstalledVelero
    namespace: str

    def make(self) -> None:
        """Make it, with 2 MB of data, and wait until it runs."""
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        fill = "echo precious > /data/file; dd if=/dev/urandom of=/data/blob bs=1000000 count=2; touch /tmp/filled; sleep 99999"
        self.apply(namespace, claim(self.namespace, "data"), pod(self.namespace, "db", {"data": "data"}, "data", fill, labels={"app": "db"}))
        self.wait_running("db")

    def apply(self, *objects: dict[str, Any]) -> None:
        """Make objects."""
        self.velero.bed.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def wait_running(self, *names: str) -> None:
        """Wait until pods are ready."""
        self.velero.bed.kubectl("-n", self.namespace, "wait", "--for=condition=Ready", "--timeout=60s", *(f"pod/{name}" for name in names))

    def remove(self) -> None:
        """Remove it."""
        self.velero.bed.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=60s", timeout=90)

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl in the namespace of Velero."""
        return self.velero.bed.kubectl("-n", self.velero.namespace, *arguments)

    def backup(self, name: str) -> dict[str, Any] | None:
        """Return a Backup as the cluster has it."""
        text = self.kubectl("get", "backups.velero.io", name, "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def options(self, name: str | None, **over: Any) -> dict[str, Any]:
        """Return module options of a backup of this namespace."""
        return self.velero.options(**{"name": name, "included_namespaces": [self.namespace], "timeout": 120, **over})

    def slow(self, name: str, seconds: int = PRE_HOOK_SECONDS, **over: Any) -> dict[str, Any]:
        """Return module options of a backup that stays in its first pod for so many seconds."""
        step = {"exec": {"container": "c", "command": ["sleep", str(seconds)], "onError": "Continue", "timeout": "60s"}}
        hooks = {"resources": [{"name": "slow", "includedNamespaces": [self.namespace], "pre": [step]}]}
        return self.options(name, hooks=hooks, **over)

    def wait_phase(self, name: str, *phases: str, seconds: float = 60) -> str:
        """Wait until a backup is in one of these phases."""
        ends = time.monotonic() + seconds
        phase = None
        while time.monotonic() < ends:
            phase = ((self.backup(name) or {}).get("status") or {}).get("phase")
            if phase in phases:
                return str(phase)
            time.sleep(0.1)
        raise AssertionError(f"backup {name} is {phase} and not {phases} after {seconds:g} s")

    def in_node(self, *argv: str) -> None:
        """Run a program in the mounts of the node, where /proc is not mounted."""
        kubelet = str(self.velero.bed.process_id("kubelet"))
        subprocess.run(["nsenter", "-t", kubelet, "-m", "--", *argv], check=True, timeout=30)

    def break_volume(self, name: str) -> None:
        """Take a pod's volume away under Velero: its directory on the node is not there any more."""
        uid = self.velero.bed.kubectl("-n", self.namespace, "get", "pod", name, "-o", "jsonpath={.metadata.uid}")
        script = (
            "import ctypes, glob, os\n"
            f"for each in glob.glob('/var/lib/kubelet/pods/{uid}/volumes/*local-volume/*'):\n"
            "    assert ctypes.CDLL(None).umount2(each.encode(), 2) == 0\n"
            "    os.rmdir(each)\n"
        )
        self.in_node(sys.executable, "-c", script)

    @property
    def bucket(self) -> str:
        """Return the bucket of the default location."""
        return str(((self.velero.location("default") or {})["spec"]["objectStorage"])["bucket"])

    def stored(self, name: str) -> list[str]:
        """Return what the bucket has of a backup."""
        return sorted(key for key in self.velero.bed.s3.keys(self.bucket) if f"backups/{name}/" in key)

    def empty_store(self, name: str) -> None:
        """Remove a backup from the bucket, as somebody with an S3 browser would."""
        shutil.rmtree(self.velero.bed.s3.path(self.bucket, f"backups/{name}"))


def meanwhile(options: dict[str, Any], harm: Callable[[], None], module: str = "velero_backup") -> Ran:
    """Run a module, and something else at the same time; the other's error is the test's."""
    found: list[Ran] = []
    thread = threading.Thread(target=lambda: found.append(run(module, options)))
    thread.start()
    try:
        harm()
    finally:
        thread.join(options["timeout"] + 30)
    assert found, "the module did not end"
    return found[0]
