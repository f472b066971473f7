# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times of installing Velero: a fresh installation with its proof, and the role's run that finds everything as it should be.

The rivals are what a person would use: Velero's own CLI, and a play of that CLI's manifests with kubernetes.core.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bed.driver import Bed
from tests.bed.driver.velero import DEFAULT_PLUGINS, IMAGES_OF, PLUGIN_IMAGES, Velero
from tests.bench.plays import NotMeasuredError, ping
from tests.plays import Played, TaskResult, play, tasks_of
from tests.plays.in_process import run

VERSION = "1.17.2"
BUCKET = "bench-install"
LOCATIONS = 6
"""Storage locations besides the one of the installation, in the longer run of the role."""
ROLE, RIVAL, MORE = "role velero", "kubernetes.core and the CLI", f"role velero with {LOCATIONS} more locations"
GOOD = ("ok", "item-ok", "skipped", "item-skipped")


@dataclass(frozen=True)
class Place:
    """A bed that has no Velero yet, and what an installation on it needs."""

    bed: Bed
    velero: Velero

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of velero_install for what the CLI is asked for, too."""
        s3 = self.bed.s3
        return {
            "kubeconfig": str(self.bed.kubeconfig),
            "timeout": 120,
            "version": VERSION,
            "provider": "aws",
            "plugins": [DEFAULT_PLUGINS["aws"]],
            "bucket": BUCKET,
            "backup_location_config": {
                "region": s3.region,
                "s3ForcePathStyle": "true",
                "s3Url": s3.endpoint_inside,
                "publicUrl": s3.endpoint_outside,
            },
            "use_volume_snapshots": False,
            "credential": {"content": s3.credentials_file.read_text()},
            "use_node_agent": True,
            "crds_from": "cli",
            "velero_program": str(self.bed.velero(VERSION)),
        }

    def cli_arguments(self) -> list[str]:
        """Return the command line by which the CLI installs the same."""
        options = self.options
        config = ",".join(f"{name}={value}" for name, value in options["backup_location_config"].items())
        plain = {"provider": "aws", "plugins": DEFAULT_PLUGINS["aws"], "bucket": BUCKET, "backup-location-config": config}
        named = [part for name, value in plain.items() for part in (f"--{name}", value)]
        return ["install", *named, "--secret-file", str(self.bed.s3.credentials_file), "--use-volume-snapshots=false", "--use-node-agent"]


def place_on(bed: Bed) -> Place:
    """Return the place; NotMeasuredError when Velero is there already, because a fresh installation is to be timed."""
    if bed.kubectl("get", "namespace", "velero", "--ignore-not-found", "-o", "name").strip():
        raise NotMeasuredError(f"bed {bed.name} has a namespace velero already: take one that was started with --bare")
    bed.import_images(*IMAGES_OF[VERSION], PLUGIN_IMAGES["aws"])
    bed.s3.make_bucket(BUCKET)
    return Place(bed, Velero(bed, VERSION))


def _checked(done: Played, name: str, wrong: Callable[[TaskResult], str]) -> Played:
    found = [f"task {each.task}: {text}" for each in done.results if (text := wrong(each))]
    if done.rc or found or not done.results:
        raise NotMeasuredError(f"{name}: {(found or [f'exit status {done.rc}'])[0]}\n{done.stdout[-1500:]}{done.stderr[-500:]}")
    return done


def _timed(plays: Any, name: str, wrong: Callable[[TaskResult], str]) -> tuple[float, Played]:
    began = time.monotonic()
    done = play(plays)
    return time.monotonic() - began, _checked(done, name, wrong)


def fresh(place: Place, repetitions: int, say: Callable[[str], None]) -> dict[str, list[float]]:
    """Return seconds of fresh installations by our module, as a whole play, and by the CLI with --wait, in turns; at the end there is none."""
    found: dict[str, list[float]] = {"velero_install": [], "velero install --wait": []}

    def wrong(each: TaskResult) -> str:
        installed = each.result.get("installation") or {}
        phases = [location["phase"] for location in installed.get("storage_locations") or []]
        return "" if each.result.get("changed") and phases == ["Available"] else f"it ended as {each.status} with locations {phases}"

    tasks = tasks_of([{"name": "Install", "serverops.circleci.velero_install": place.options}])
    for number in range(repetitions):
        found["velero_install"].append(_timed(tasks, "velero_install", wrong)[0])
        _remove(place)
        began = time.monotonic()
        place.velero.cli(*place.cli_arguments(), "--wait", timeout=240)
        found["velero install --wait"].append(time.monotonic() - began)
        _remove(place)
        say(f"  fresh installation {number + 1} of {repetitions}: " + ", ".join(f"{name} {took[-1]:.2f} s" for name, took in found.items()))
    return found


def _remove(place: Place) -> None:
    gone = run("velero_install", {"kubeconfig": str(place.bed.kubeconfig), "timeout": 120, "state": "absent", "remove_crds": True})
    if gone.failed:
        raise NotMeasuredError(f"velero_install with state absent: {gone['msg']}")
    place.bed.kubectl("wait", "--for=delete", "namespace/velero", "--timeout=60s", timeout=70)


def role(place: Place, locations: int = 0) -> Any:
    """The role: the installation, and so many more storage locations in folders of the same bucket."""
    variables = {f"velero_{name}": value for name, value in place.options.items() if name != "credential"}
    variables |= {"velero_credential_content": place.options["credential"]["content"], "velero_velero_program": place.options["velero_program"]}
    config = {name: value for name, value in place.options["backup_location_config"].items() if name != "publicUrl"}
    variables["velero_storage_locations"] = [
        {"name": f"more-{number}", "provider": "aws", "bucket": BUCKET, "prefix": f"more-{number}", "config": config, "validation_frequency": "1h"}
        for number in range(locations)
    ]
    return [{"hosts": "localhost", "gather_facts": False, "vars": variables, "roles": ["serverops.circleci.velero"]}]


def by_kubernetes_core(place: Place) -> Any:
    """The same by the CLI's manifests and kubernetes.core: apply them, and look whether everything runs and the location is available.

    Which release runs, with which plugins, the server is asked as the role asks it: a pod without a readiness probe proves neither.
    """
    login = {"kubeconfig": str(place.bed.kubeconfig)}
    names = {"kubeconfig": str(place.bed.kubeconfig), "namespace": "velero"}
    command = [str(place.bed.velero(VERSION)), "--kubeconfig", str(place.bed.kubeconfig), *place.cli_arguments(), "--dry-run", "-o", "yaml"]
    asked = [str(place.bed.velero(VERSION)), "--kubeconfig", str(place.bed.kubeconfig), "--namespace", "velero"]
    location = {**names, "api_version": "velero.io/v1", "kind": "BackupStorageLocation", "name": "default"}
    wait = {"wait": True, "wait_timeout": 60}
    return tasks_of(
        [
            {"name": "Manifests", "ansible.builtin.command": {"argv": command}, "register": "manifests", "changed_when": False},
            {"name": "Apply", "kubernetes.core.k8s": {**login, "apply": True, "definition": "{{ manifests.stdout | from_yaml }}"}},
            {"name": "Server", "kubernetes.core.k8s_info": {**names, "api_version": "apps/v1", "kind": "Deployment", "name": "velero", **wait}},
            {"name": "Agents", "kubernetes.core.k8s_info": {**names, "api_version": "apps/v1", "kind": "DaemonSet", "name": "node-agent", **wait}},
            {
                "name": "Release",
                "ansible.builtin.command": {"argv": [*asked, "version"]},
                "register": "told",
                "changed_when": False,
                "failed_when": f"'Version: v{VERSION}' not in told.stdout.partition('Server:')[2]",
            },
            {
                "name": "Plugins",
                "ansible.builtin.command": {"argv": [*asked, "plugin", "get"]},
                "register": "told",
                "changed_when": False,
                "failed_when": "'velero.io/aws' not in told.stdout",
            },
            {
                "name": "Location",
                "kubernetes.core.k8s_info": location,
                "register": "location",
                "until": "location.resources[0].status.phase == 'Available'",
                "retries": 30,
                "delay": 1,
            },
        ]
    )


def again(place: Place, repetitions: int, say: Callable[[str], None]) -> dict[str, list[float]]:
    """Return seconds of plays that have nothing to do, in turns.

    The role alone and the same work by kubernetes.core; the role with more locations, and as many pings as it has results.
    """

    def succeeded(each: TaskResult) -> str:
        return "" if each.status in GOOD else f"it ended as {each.status}: {json.dumps(each.result)[:300]}"

    def nothing(each: TaskResult) -> str:
        return succeeded(each) or ("it changed something" if each.result.get("changed") else "")

    # what comes first writes: our module, and what kubernetes.core remembers of each object
    for name, plays in {ROLE: role(place), RIVAL: by_kubernetes_core(place), MORE: role(place, LOCATIONS)}.items():
        _timed(plays, name, succeeded)
    _took, seen = _timed(role(place, LOCATIONS), MORE, nothing)
    # a loop's own result sums up those of its items
    pings = ping(len([each for each in seen.results if each.status in ("ok", "item-ok") and "results" not in each.result]))
    found: dict[str, list[float]] = {ROLE: [], RIVAL: [], MORE: [], pings.name: []}
    for number in range(repetitions):
        for name, plays in {ROLE: role(place), RIVAL: by_kubernetes_core(place), MORE: role(place, LOCATIONS)}.items():
            found[name].append(_timed(plays, name, nothing)[0])
        found[pings.name].append(pings.seconds())
        say(f"  nothing to do {number + 1} of {repetitions}: " + ", ".join(f"{name} {took[-1]:.2f} s" for name, took in found.items()))
    return found


def rows(made: Mapping[str, list[float]], idle: Mapping[str, list[float]]) -> list[dict[str, Any]]:
    """Return the ratios with their goals."""
    whole = {name: statistics.median(took) for name, took in {**made, **idle}.items()}
    pings = next(name for name in idle if name.endswith("ping"))
    return [
        {
            "name": "a fresh velero_install, against velero install --wait",
            "value": round(whole["velero install --wait"] / whole["velero_install"], 1),
            "unit": "x faster",
            "goal": 4,
            "better": "higher",
        },
        {
            "name": f"{MORE}, nothing to do, against {pings}",
            "value": round(whole[MORE] / whole[pings], 3),
            "unit": "of the time",
            "goal": 0.5,
            "better": "lower",
        },
        {
            "name": f"{ROLE}, nothing to do, against {RIVAL}",
            "value": round(whole[RIVAL] / whole[ROLE], 1),
            "unit": "x faster",
            "goal": 5,
            "better": "higher",
        },
    ]
