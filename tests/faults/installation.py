# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The installation of Velero past the proxy: brings it into a wanted state without the module, and tells what is really there."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bed.driver.velero import Velero
from tests.faults.cluster import Cluster, time_of, written

PLUGIN = "velero/velero-plugin-for-aws:v1.14.3"
ARGUMENT = "item-operation-sync-frequency"
"""An argument of the server that makes no difference to the suite."""
NOTHING = tuple(f"--velero-pod-{what}=0" for what in ("cpu-request", "mem-request", "cpu-limit", "mem-limit"))
"""Several Veleros fit on a small node only when they ask for nothing."""


@dataclass(frozen=True)
class Installed:
    """A state of the installation: the argument's value, the folder of the location `default`, and whose credentials the server has."""

    argument: str
    prefix: str
    account: str


class Installation:
    """Velero itself in one namespace."""

    def __init__(self, cluster: Cluster, velero: Velero) -> None:
        self.cluster = cluster
        self._velero = velero
        self.namespace = velero.namespace
        self._deployment = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/velero"
        self._secret = f"{cluster.secrets}/cloud-credentials"
        self._location = f"{cluster.locations}/default"
        self._binding = f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/velero-{self.namespace}"

    def options(self, wanted: Installed) -> dict[str, Any]:
        """Return the options of velero_install for a state."""
        nothing = {"cpu": "", "memory": ""}
        return {
            "version": self._velero.version,
            "provider": "aws",
            "plugins": [PLUGIN],
            "bucket": self.cluster.store.bucket,
            "prefix": self._prefix(wanted),
            "backup_location_config": dict(self.cluster.store.config),
            "use_volume_snapshots": False,
            "credential": {"content": self.cluster.store.credentials[wanted.account]},
            "resources": {"requests": nothing, "limits": nothing},
            "server_args": {ARGUMENT: wanted.argument},
        }

    def _prefix(self, wanted: Installed) -> str:
        return f"{self.namespace}-of-{wanted.prefix}"

    def _spec(self, wanted: Installed) -> dict[str, Any]:
        # not "default": another scenario's location may have it, and the server takes it away from the older one
        place = {"bucket": self.cluster.store.bucket, "prefix": self._prefix(wanted)}
        return {"provider": "aws", "objectStorage": place, "config": dict(self.cluster.store.config)}

    def _data(self, wanted: Installed) -> dict[str, str]:
        return {"cloud": base64.b64encode(self.cluster.store.credentials[wanted.account].encode()).decode()}

    def _found(self, path: str) -> dict[str, Any] | None:
        status, document = self.cluster.ask("GET", path)
        return document if status == 200 else None

    @property
    def exists(self) -> bool:
        """Tell whether there is a server and its location."""
        return self._found(self._deployment) is not None and self._found(self._location) is not None

    # what is there

    def differences(self, wanted: Installed | None) -> list[str]:
        """Return in words what is not as in the state; nothing when all is."""
        namespace, deployment, binding = (self._found(path) for path in (f"/api/v1/namespaces/{self.namespace}", self._deployment, self._binding))
        if wanted is None:
            found = (("the namespace", namespace), ("the server", deployment), ("the binding", binding))
            return [f"{what} is still there" for what, there in found if there is not None]
        if deployment is None or binding is None:
            return [f"{what} is not there" for what, there in (("the server", deployment), ("the binding", binding)) if there is None]
        told = []
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        if f"--{ARGUMENT}={wanted.argument}" not in container["args"]:
            told.append(f"the arguments are {container['args']}")
        if container.get("resources"):
            told.append(f"the server asks for {container['resources']}")
        if [item["image"] for item in deployment["spec"]["template"]["spec"].get("initContainers") or []] != [PLUGIN]:
            told.append("the plugins are others")
        if deployment["spec"]["strategy"]["type"] != "Recreate":
            told.append("two servers may run at once")
        if ((self._found(self._secret) or {}).get("data") or {}) != self._data(wanted):
            told.append("the Secret has another content")
        spec = {name: value for name, value in ((self._found(self._location) or {}).get("spec") or {}).items() if name in self._spec(wanted)}
        if spec != self._spec(wanted):
            told.append(f"the location is {spec}")
        return told

    def _pods(self) -> list[dict[str, Any]]:
        status, document = self.cluster.ask("GET", f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=deploy%3Dvelero")
        return list(document.get("items") or []) if status == 200 else []

    def unproven(self) -> list[str]:
        """Return in words what speaks against the server running as it is written now, with its credentials, and being able to store."""
        deployment = self._found(self._deployment) or {"metadata": {}}
        status = deployment.get("status") or {}
        if status.get("observedGeneration") != deployment["metadata"].get("generation") or status.get("availableReplicas") != 1:
            return [f"the Deployment is at {status}"]
        pods = self._pods()
        if len(pods) != 1 or "deletionTimestamp" in pods[0]["metadata"]:
            return [f"there are {len(pods)} pods"]
        born = time_of(pods[0]["metadata"]["creationTimestamp"])
        changed = max(written(self._found(self._secret) or {}, "f:data"), default=None)
        if born is None or (changed is not None and born < changed):
            return [f"the pod is of {born}, its credentials of {changed}"]
        location = self._found(self._location) or {}
        stamp = time_of((location.get("status") or {}).get("lastValidationTime"))
        needed = max([born, *written(location, "f:spec")])
        if (location.get("status") or {}).get("phase") != "Available" or stamp is None or stamp < needed:
            return [f"the location is {location.get('status')}, and {needed} is when it or the server changed last"]
        return []

    def unasked(self, _wanted: Installed) -> list[str]:
        """The location's stamp, which is looked at above, says that the store was asked."""
        return []

    # stages

    def stage(self, wanted: Installed | None) -> None:
        """Bring the installation into a state, and wait until it is in force."""
        if not self.differences(wanted) and (wanted is None or not self.unproven()):
            return
        if wanted is None:
            self._remove()
            return
        if not self.exists:
            self._remove()
            self._velero.install(self.cluster.store.bucket, node_agent=False, extra=NOTHING, wait=False)
        self._patch(self._secret, {"data": self._data(wanted)})
        spec = self._spec(wanted)
        # what the CLI was given besides
        self._patch(self._location, {"spec": spec | {"config": spec["config"] | {"publicUrl": None}}})
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        container = self._wanted_deployment()["spec"]["template"]["spec"]["containers"][0]
        args = [item for item in container["args"] if not item.startswith(f"--{ARGUMENT}=")]
        template = {
            "metadata": {"annotations": {"fault-suite/staged": now}},
            "spec": {"containers": [container | {"args": [*args, f"--{ARGUMENT}={wanted.argument}"], "resources": {}}]},
        }
        self._patch(self._deployment, {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}, "template": template}})
        self._until(lambda: self.differences(wanted) or self.unproven(), f"Velero runs as {wanted}")

    def _wanted_deployment(self) -> dict[str, Any]:
        found = self._found(self._deployment)
        if found is None:
            raise RuntimeError(f"namespace {self.namespace} has no server")
        return found

    def _remove(self) -> None:
        for path in (self._binding, f"/api/v1/namespaces/{self.namespace}"):
            self.cluster.ask("DELETE", path)
        self._until(self._still_there, "Velero is gone")

    def _still_there(self) -> list[str]:
        """Return what is still there of an installation that is being removed.

        A restore of another scenario waits for a server that is gone to take its finalizer off, and the namespace with it; while the server
        still runs it puts the finalizer on again.
        """
        restores = f"/apis/velero.io/v1/namespaces/{self.namespace}/restores"
        status, document = self.cluster.ask("GET", restores)
        for item in (document.get("items") or []) if status == 200 else []:
            self.cluster.ask("PATCH", f"{restores}/{item['metadata']['name']}", {"metadata": {"finalizers": None}})
        return self.differences(None)

    def _patch(self, path: str, patch: dict[str, Any]) -> None:
        status, document = self.cluster.ask("PATCH", path, patch)
        if status >= 300:
            raise RuntimeError(f"PATCH {path}: {status} {document.get('message')}")

    def _until(self, told: Callable[[], list[str]], what: str, seconds: float = 120) -> None:
        ends = time.monotonic() + seconds
        while told():
            if time.monotonic() > ends:
                raise RuntimeError(f"namespace {self.namespace}: waited {seconds:.0f} s until {what}; {told()}")
            time.sleep(0.2)
