# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times of backups: how soon a task returns when Velero is done, and what reading thousands of backups costs.

The thousands stand in a namespace without a server, which would remove what the bucket does not have.
"""

from __future__ import annotations

import json
import os
import resource as limits
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource, session
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.watch import snapshots

from tests.bed.conftest import InstalledVelero
from tests.bed.driver import Bed
from tests.bench.plays import NotMeasuredError
from tests.plays.in_process import run

MANY, FEW = 10_000, 1_000
NAMESPACE = f"bench-backups-{os.getpid()}"
EMPTY = "bench-no-backups"
"""A namespace that nobody makes."""
LARGEST_LAG, MOST_MEMORY, STEEPEST = 0.3, 60, 1.5
"""Goals: seconds after Velero's end, MiB above a run without backups, times as long per backup as with a tenth of them."""
WRITERS = 8


def lag(velero: InstalledVelero, number: int) -> float:
    """Return the seconds between Velero's end of a backup, as a watch of its own sees it, and the return of the task."""
    name = f"bench-{number}-{os.getpid()}"
    options = velero.options(name=name, included_namespaces=["default"], included_resources=["configmaps"])
    ended: list[float] = []
    api = session.log_in({**velero.login, "timeout": 60}, Context())

    def watch() -> None:
        for seen in snapshots(api, resource.BACKUP, velero.namespace, name):
            if ((seen or {}).get("status") or {}).get("phase") == "Completed":
                ended.append(time.monotonic())
                return

    thread = threading.Thread(target=watch)
    thread.start()
    ran = run("velero_backup", options)
    returned = time.monotonic()
    thread.join()
    run("velero_backup", velero.options(name=name, state="absent"))
    if ran.failed or not ended:
        raise NotMeasuredError(f"backup {name}: {ran.result.get('msg', 'its end was not seen')}")
    return max(0.0, returned - ended[0])


def again(velero: InstalledVelero) -> Callable[[], tuple[float, int]]:
    """Make a good backup; return what measures the seconds and requests of a task that finds it new enough."""
    name = f"bench-young-{os.getpid()}"
    made = run("velero_backup", velero.options(name=name, included_namespaces=["default"], included_resources=["configmaps"]))
    if made.failed:
        raise NotMeasuredError(f"backup {name}: {made['msg']}")

    def once() -> tuple[float, int]:
        mark, began = velero.bed.audit_mark(), time.monotonic()
        ran = run("velero_backup", velero.options(newer_than="1h", included_namespaces=["default"], included_resources=["configmaps"]))
        took = time.monotonic() - began
        if ran.failed or ran["changed"]:
            raise NotMeasuredError(f"newer_than: {ran.result}")
        return took, sum(1 for _event in velero.bed.audit(mark, user_agent="serverops.circleci"))

    return once


@contextmanager
def many(bed: Bed) -> Iterator[Callable[[int], None]]:
    """Give what fills a namespace without a server with so many finished backups."""
    bed.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))
    options = {"kubeconfig": str(bed.kubeconfig), "timeout": 600}
    made = 0

    def write(numbers: range) -> None:
        api = session.log_in(options, Context())
        for number in numbers:
            api.create(resource.BACKUP, NAMESPACE, body(number))

    def fill(count: int) -> None:
        nonlocal made
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(write, [range(made + first, count, WRITERS) for first in range(WRITERS)]))
        made = count

    try:
        yield fill
    finally:
        bed.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def body(number: int) -> dict[str, Any]:
    """Return a finished backup, as 1.17.2 leaves it."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_790_000_000 + number * 60))
    labels = {"velero.io/schedule-name": f"nightly-{number % 5}", "velero.io/storage-location": "default"}
    return {
        "metadata": {"name": f"backup-{number:05}", "labels": labels, "annotations": {"velero.io/resource-timeout": "10m0s"}},
        "spec": {
            "csiSnapshotTimeout": "10m0s",
            "defaultVolumesToFsBackup": False,
            "excludedClusterScopedResources": ["volumesnapshotcontents.snapshot.storage.k8s.io"],
            "excludedNamespaceScopedResources": ["volumesnapshots.snapshot.storage.k8s.io"],
            "hooks": {},
            "includedNamespaces": [f"app-{number % 5}"],
            "itemOperationTimeout": "4h0m0s",
            "metadata": {},
            "snapshotMoveData": False,
            "storageLocation": "default",
            "ttl": "720h0m0s",
            "volumeGroupSnapshotLabelKey": "velero.io/volume-group",
        },
        "status": {
            "completionTimestamp": stamp,
            "expiration": "2036-01-01T00:00:00Z",
            "formatVersion": "1.1.0",
            "hookStatus": {},
            "phase": "Completed",
            "progress": {"itemsBackedUp": 100, "totalItems": 100},
            "startTimestamp": stamp,
            "version": 1,
        },
    }


def reading(bed: Bed, namespace: str) -> dict[str, float]:
    """Return what reading all backups of a namespace costs in a process of its own: {backups, seconds, requests, megabytes at the peak}."""
    mark = bed.audit_mark()
    done = subprocess.run([sys.executable, "-m", __name__, str(bed.kubeconfig), namespace], capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise NotMeasuredError(f"velero_backup_info: {done.stderr[-500:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found | {"requests": sum(1 for _event in bed.audit(mark, user_agent="serverops.circleci"))}


def rows(lags: list[float], cost: dict[int, dict[str, float]], young: list[tuple[float, int]]) -> list[dict[str, Any]]:
    """Return the numbers with their goals."""
    memory = cost[MANY]["megabytes"] - cost[0]["megabytes"]
    each = {count: (cost[count]["seconds"] - cost[0]["seconds"]) / count for count in (FEW, MANY)}
    value = [
        ("longest of the lags between Velero's end and the task's", round(max(lags), 2), "s", LARGEST_LAG),
        (f"memory of reading {MANY} backups above reading none", round(memory, 1), "MiB", MOST_MEMORY),
        (f"time for each of {MANY} backups against each of {FEW}", round(each[MANY] / each[FEW], 2), "x", STEEPEST),
        (f"requests for {MANY} backups", cost[MANY]["requests"], "requests", 30),
        ("requests of a task that finds a backup new enough", max(count for _took, count in young), "requests", 9),
    ]
    return [{"name": name, "value": amount, "unit": unit, "goal": goal, "better": "lower"} for name, amount, unit, goal in value]


def main() -> int:
    """Read all backups of a namespace once, and print what it cost."""
    kubeconfig, namespace = sys.argv[1:]
    began = time.monotonic()
    ran = run("velero_backup_info", {"kubeconfig": kubeconfig, "namespace": namespace, "timeout": 600})
    took = time.monotonic() - began
    if ran.failed:
        sys.stderr.write(str(ran["msg"]))
        return 1
    peak = limits.getrusage(limits.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"backups": len(ran["backups"]), "seconds": took, "megabytes": peak}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
