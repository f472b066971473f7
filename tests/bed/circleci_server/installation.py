# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the installation on a bed, wait for it, fill it, take the checksums of what it holds, and remove it."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.bed.twins import load_balancer_twin

from . import content
from .objects import JOB, LOAD_BALANCERS, NAMESPACE, WORKLOADS, Workload, objects

DATABASE_PREFIX = "database/"
VOLUME_PREFIX = "volume/"
#: Name of the host process of the bed that hands out load balancer addresses.
TWIN = "load-balancer-twin"


class Bed(Protocol):
    """What is needed of a bed (tests.bed.driver.Bed); each call raises an error when it fails."""

    run_dir: Path

    def import_images(self, *names: str) -> None:
        """Make images of tests/bed/images known to every node."""

    def processes(self, node: str = "n1") -> dict[str, dict[str, Any]]:
        """Name to {"pid": id or None, ...} of each host process of a node."""

    def run_process(self, name: str, argv: list[str], environment: dict[str, str] | None = None, node: str = "n1") -> Path:
        """Run one more host process, which ends with the bed; the answer is its log."""

    def start_process(self, name: str, node: str = "n1") -> None:
        """Start a stopped host process again."""

    def kubectl(self, *args: str, input: str | None = None) -> str:  # noqa: A002  (as subprocess names it)
        """Standard output of kubectl with these arguments."""


class InstallationError(Exception):
    """The installation is not as it should be; the text says which object, what was seen and what to do."""


@dataclass(frozen=True)
class ExpectedPods:
    """Pods that must be there: their workload, how many, and the READY column ("2/2")."""

    kind: str
    workload: str
    labels: tuple[tuple[str, str], ...]
    pods: int
    ready: str

    @property
    def per_node(self) -> bool:
        """Whether `pods` counts per node of the bed."""
        return self.kind == "DaemonSet"


def _expected(workload: Workload) -> ExpectedPods:
    containers = len(workload.container_names)
    return ExpectedPods(workload.kind, workload.name, tuple(sorted(workload.pod_labels.items())), workload.replicas, f"{containers}/{containers}")


#: The pods of the installation, beside the completed one of the job.
EXPECTED: tuple[ExpectedPods, ...] = tuple(_expected(workload) for workload in WORKLOADS)

#: Volumes that seed() fills with files: "<pod>/<claim template>" to the mount; PostgreSQL's own volume holds the databases.
SEEDED_VOLUMES: dict[str, tuple[str, str, str]] = {
    f"{w.name}-0/{w.volume.name}": (f"{w.name}-0", w.container_names[0], w.volume.mount) for w in WORKLOADS if w.volume and w.name != "postgresql"
}


@dataclass(frozen=True)
class State:
    """What wait_ready() saw: per expected workload its Ready pods, the load balancers' addresses, and what is still wrong (empty: all well)."""

    ready: dict[str, tuple[str, ...]]
    addresses: dict[str, str]
    problems: tuple[str, ...]
    seconds: float = 0.0

    @property
    def pods(self) -> int:
        """Number of Ready pods."""
        return sum(len(names) for names in self.ready.values())


def start_load_balancers(bed: Bed) -> None:
    """Run the load balancer twin as a host process of the bed, unless it runs already."""
    entry = bed.processes().get(TWIN)
    if entry is None:
        # an own kubeconfig of the bed: requests of the user "admin" are those of the tests
        kubeconfig = bed.run_dir / "n1" / "pki" / "driver.kubeconfig"
        addresses = bed.run_dir / "load-balancer-addresses.json"
        bed.run_process(TWIN, [sys.executable, "-I", str(load_balancer_twin.__file__), f"--kubeconfig={kubeconfig}", f"--addresses={addresses}"])
    elif entry["pid"] is None:
        bed.start_process(TWIN)


def install(bed: Bed) -> None:
    """Make every object, or bring it back to what it should be. Returns when the API server has them all; wait_ready() waits for the pods."""
    bed.import_images("postgresql")
    start_load_balancers(bed)
    bed.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects()}))


def look(bed: Bed) -> State:
    """The installation as it is now: exactly the expected pods Ready, no job at work, an address for each load balancer, each claim bound."""
    listing = bed.kubectl("--namespace", NAMESPACE, "get", "pods,services,persistentvolumeclaims,jobs", "--output", "json")
    nodes = len(bed.kubectl("get", "nodes", "--output", "name").split())
    items = json.loads(listing)["items"]
    problems: list[str] = []
    ready: dict[str, tuple[str, ...]] = {}
    pods = [item for item in items if item["kind"] == "Pod" and item["metadata"]["labels"].get("app") != "inject-bottoken"]
    known: set[str] = set()
    for expected in EXPECTED:
        mine = [pod for pod in pods if all(pod["metadata"]["labels"].get(key) == value for key, value in expected.labels)]
        known.update(pod["metadata"]["name"] for pod in mine)
        good = []
        for pod in mine:
            if wrong := _not_ready(pod, expected.ready):
                problems.append(f"pod {pod['metadata']['name']}: {wrong}")
            else:
                good.append(pod["metadata"]["name"])
        ready[expected.workload] = tuple(sorted(good))
        wanted = expected.pods * (nodes if expected.per_node else 1)
        if len(mine) != wanted:
            problems.append(f"{expected.kind} {expected.workload}: {len(mine)} pods, expected {wanted}")
    problems += [f"pod {pod['metadata']['name']}: nothing of the installation" for pod in pods if pod["metadata"]["name"] not in known]
    addresses: dict[str, str] = {}
    services = {item["metadata"]["name"]: item for item in items if item["kind"] == "Service"}
    for balancer in LOAD_BALANCERS:
        ingress = services.get(balancer.name, {}).get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
        address = ingress[0].get("ip") or ingress[0].get("hostname")
        if address:
            addresses[balancer.name] = address
        else:
            problems.append(f"service {balancer.name}: no load balancer address; is the load balancer twin running?")
    claims = {item["metadata"]["name"]: item["status"].get("phase") for item in items if item["kind"] == "PersistentVolumeClaim"}
    for workload in WORKLOADS:
        if workload.volume and claims.get(claim := f"{workload.volume.name}-{workload.name}-0") != "Bound":
            problems.append(f"claim {claim}: {claims.get(claim, 'missing')}")
    # a restore leaves completed jobs out, so that an absent one is as good as a completed one
    jobs = [item for item in items if item["kind"] == "Job" and item["metadata"]["name"] == JOB]
    if any(not job["status"].get("succeeded") for job in jobs):
        problems.append(f"job {JOB}: not completed")
    return State(ready, addresses, tuple(problems))


def _not_ready(pod: dict[str, Any], ready: str) -> str:
    """Why a pod is not Ready, in words of its status; empty when it is."""
    status = pod["status"]
    containers = status.get("containerStatuses", [])
    column = f"{sum(1 for container in containers if container['ready'])}/{len(pod['spec']['containers'])}"
    if pod["metadata"].get("deletionTimestamp"):
        return "is being deleted"
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    if column == ready and conditions.get("Ready", {}).get("status") == "True":
        return ""
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"not scheduled: {scheduled.get('message', '')}"
    for container in containers:
        for kind in ("waiting", "terminated"):
            if state := container.get("state", {}).get(kind):
                return f"container {container['name']} {kind}: {state.get('reason', '')} {state.get('message', '')}".strip()
    return f"{column} ready, phase {status.get('phase')}"


def wait_ready(bed: Bed, deadline: float = 180) -> State:
    """Wait until look() finds nothing wrong; InstallationError with the last findings after `deadline` seconds."""
    start = time.monotonic()
    while True:
        state = look(bed)
        spent = time.monotonic() - start
        if not state.problems:
            return State(state.ready, state.addresses, (), spent)
        if spent > deadline:
            more = f" and {len(state.problems) - 6} more" if len(state.problems) > 6 else ""
            raise InstallationError(
                f"namespace {NAMESPACE} is not ready after {deadline:.0f} s: {'; '.join(state.problems[:6])}{more}. "
                f"Look with: kubectl --namespace {NAMESPACE} get pods,events"
            )
        time.sleep(0.5)


def _in_pod(bed: Bed, pod: str, container: str, script: str, text: str | None = None) -> str:
    interactive = ["--stdin"] if text is not None else []
    return bed.kubectl("--namespace", NAMESPACE, "exec", *interactive, pod, "--container", container, "--", "sh", "-c", script, input=text)


def sql(bed: Bed, database: str, statements: str) -> str:
    """Output of psql (unaligned, rows only) for statements run in one database as the role postgres; the first error ends it."""
    command = f'PGPASSWORD="$POSTGRES_PASSWORD" exec psql -X -U postgres -A -t -q -v ON_ERROR_STOP=1 -d {database}'
    return _in_pod(bed, "postgresql-0", "postgresql", command, statements)


def seed(bed: Bed, seed_text: str = content.SEED) -> None:
    """Bring the 12 databases and the other volumes to the state that the seed gives; whatever tables and seeded files were there go first."""
    sql(bed, "postgres", content.seed_sql(seed_text))

    def fill(volume: str) -> None:
        pod, container, mount = SEEDED_VOLUMES[volume]
        archive = base64.encodebytes(content.volume_archive(volume, seed_text)).decode()
        _in_pod(bed, pod, container, f"cd {mount} && rm -rf seeded && base64 -d | tar -x", archive)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(fill, SEEDED_VOLUMES))


def databases(bed: Bed) -> dict[str, content.Fingerprint]:
    """Database to what it holds: every database that is there, not only those that should be."""
    return content.parse_fingerprints(_in_pod(bed, "postgresql-0", "postgresql", content.FINGERPRINT_SCRIPT))


def checksums(bed: Bed) -> dict[str, str]:
    """Checksum of each database ("database/circle") and of the files of each other volume ("volume/mongodb-0/datadir"), read from the pods."""

    def of_volume(volume: str) -> str:
        pod, container, mount = SEEDED_VOLUMES[volume]
        return content.volume_checksum(_in_pod(bed, pod, container, content.volume_script(mount)).splitlines())

    with ThreadPoolExecutor(3) as pool:
        volumes = dict(zip(SEEDED_VOLUMES, pool.map(of_volume, SEEDED_VOLUMES), strict=True))
    answer = {DATABASE_PREFIX + name: fingerprint.checksum for name, fingerprint in databases(bed).items()}
    return answer | {VOLUME_PREFIX + name: checksum for name, checksum in volumes.items()}


def expected_checksums(seed_text: str = content.SEED) -> dict[str, str]:
    """What checksums() must answer after seed(), computed from the seed alone."""
    answer = {DATABASE_PREFIX + name: fingerprint.checksum for name, fingerprint in content.expected_fingerprints(seed_text).items()}
    return answer | {VOLUME_PREFIX + name: content.expected_volume_checksum(name, seed_text) for name in SEEDED_VOLUMES}


def address(bed: Bed, balancer: str) -> str:
    """The load balancer's address in the Service's status now; empty when it has none."""
    path = "jsonpath={.status.loadBalancer.ingress[0]['ip','hostname']}"
    return bed.kubectl("--namespace", NAMESPACE, "get", "service", balancer, "--output", path)


def fetch(bed: Bed, url: str) -> str:
    """Body of a GET made by a pod of the installation, which reaches Services, pods and load balancer addresses."""
    return bed.kubectl("--namespace", NAMESPACE, "exec", "deployment/api-service", "--", "timeout", "10", "wget", "-q", "-O", "-", url)


def destroy(bed: Bed, deadline: float = 120) -> None:
    """Remove the namespace with everything in it; returns when it is gone, and its volumes too. Nothing to remove is no error.

    InstallationError names what is still there after `deadline` seconds.
    """
    # the workloads first: a namespace that is deleted as a whole waits in long steps for its pods
    kinds = "deployments,statefulsets,daemonsets,jobs,persistentvolumeclaims,services"
    bed.kubectl("--namespace", NAMESPACE, "delete", kinds, "--all", "--ignore-not-found", "--wait=false")
    end = time.monotonic() + deadline

    def wait_gone(names: Callable[[], list[str]]) -> None:
        while left := names():
            if time.monotonic() > end:
                seen = f"{', '.join(left[:5])} ({len(left)} in all)"
                raise InstallationError(
                    f"{seen} still there {deadline:.0f} s after the removal of {NAMESPACE} began. "
                    f"Look with: kubectl --namespace {NAMESPACE} get pods,events"
                )
            time.sleep(0.5)

    def volumes() -> list[str]:
        items = json.loads(bed.kubectl("get", "persistentvolumes", "--output", "json"))["items"]
        return [f"volume {item['metadata']['name']}" for item in items if item["spec"].get("claimRef", {}).get("namespace") == NAMESPACE]

    wait_gone(lambda: bed.kubectl("--namespace", NAMESPACE, "get", "pods,persistentvolumeclaims", "--output", "name").split())
    bed.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
    wait_gone(lambda: bed.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "--output", "name").split())
    wait_gone(volumes)
