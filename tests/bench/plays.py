# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plays that are timed, and the check that each of them did its work."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bed.conftest import InstalledVelero
from tests.plays import TaskResult, play, tasks_of

LOCATIONS = 20
"""Storage locations in the cluster, and tasks in a long play."""


class NotMeasuredError(Exception):
    """A play did not do what was to be timed."""


@dataclass(frozen=True)
class Timed:
    """A play with a name; proof tells what is wrong with the result of one task, or nothing."""

    name: str
    tasks: list[dict[str, Any]]
    results: int
    proof: Callable[[Mapping[str, Any]], str]

    def seconds(self) -> float:
        """Run it in a process of its own and return how long that took."""
        began = time.monotonic()
        done = play(tasks_of(self.tasks))
        took = time.monotonic() - began
        results = [each for each in done.results if "results" not in each.result]
        wrong = [text for each in results if (text := self._wrong(each))]
        if done.rc or wrong or len(results) != self.results:
            seen = wrong[:1] or [f"exit status {done.rc}, {len(results)} results of {self.results}"]
            raise NotMeasuredError(f"{self.name}: {seen[0]}\n{done.stdout[-1500:]}{done.stderr[-500:]}")
        return took

    def _wrong(self, each: TaskResult) -> str:
        return f"it ended as {each.status}" if each.status not in ("ok", "item-ok") else self.proof(each.result)


def several(task: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Return a task so many times."""
    return [{"name": f"Task {number}", **task} for number in range(count)]


def ping(count: int) -> Timed:
    """The smallest module there is."""
    return Timed(
        f"{count} ping", several({"ansible.builtin.ping": {}}, count), count, lambda result: "" if result.get("ping") == "pong" else "no pong"
    )


def read(velero: InstalledVelero, count: int) -> Timed:
    """Our reader, asked for the storage locations."""
    task = {"serverops.circleci.velero_info": velero.options(gather=["storage_locations"])}

    def proof(result: Mapping[str, Any]) -> str:
        if result.get("ran") != "controller":
            return f"it ran as {result.get('ran')}"
        (entry,) = result["velero"]
        return "" if len(entry["storage_locations"]) > LOCATIONS else f"it read {len(entry['storage_locations'])} locations"

    return Timed(f"{count} velero_info", several(task, count), count, proof)


def read_by_k8s_info(velero: InstalledVelero, count: int) -> Timed:
    """The same read by kubernetes.core."""
    options = {**velero.login, "api_version": "velero.io/v1", "kind": "BackupStorageLocation", "namespace": velero.namespace}

    def proof(result: Mapping[str, Any]) -> str:
        return "" if len(result["resources"]) > LOCATIONS else f"it read {len(result['resources'])} locations"

    return Timed(f"{count} k8s_info", several({"kubernetes.core.k8s_info": options}, count), count, proof)


def location(velero: InstalledVelero, name: str) -> dict[str, Any]:
    """Options of one of the locations that are compared."""
    return velero.location_options(name, validation_frequency="1h")


def compare(velero: InstalledVelero, names: list[str]) -> Timed:
    """One task that finds every location as it should be."""
    options = location(velero, "{{ item }}") | {"prefix": "{{ item }}"}
    task = {"name": "Compare", "serverops.circleci.velero_storage_location": options, "loop": names}

    def proof(result: Mapping[str, Any]) -> str:
        if result.get("ran") != "controller" or result.get("changed") or result.get("requests"):
            return f"ran {result.get('ran')}, changed {result.get('changed')}, requests {result.get('requests')}"
        return "" if result["storage_location"]["phase"] == "Available" else f"phase {result['storage_location']['phase']}"

    return Timed(f"{len(names)} velero_storage_location", [task], len(names), proof)
