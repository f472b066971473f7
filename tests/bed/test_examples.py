# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The EXAMPLES of every module run as they stand in its documentation, against real components, on every supported ansible-core."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bed.conftest import InstalledVelero
from tests.gates import examples
from tests.plays import CORES, play, tasks_of

NAMESPACE, SCHEDULE, BACKUP = "circleci-server", "nightly", "nightly-first"
"""What EXAMPLES back up and restore."""


@pytest.fixture(scope="module", autouse=True)
def installation(velero: InstalledVelero) -> Iterator[None]:
    """A namespace without volumes, and a backup of it by a schedule; gone afterwards with what EXAMPLES made of it."""
    kubectl, cli = velero.bed.kubectl, velero.velero.cli
    made = not kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name").strip()
    if made:
        about = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": NAMESPACE}, "data": {"colour": "blue"}}
        kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [about, settings]}))
    cli("schedule", "create", SCHEDULE, "--schedule", "0 3 1 1 *", "--include-namespaces", NAMESPACE)
    cli("backup", "create", BACKUP, "--from-schedule", SCHEDULE, "--wait", timeout=200)
    yield
    kubectl("-n", velero.namespace, "delete", "schedules.velero.io", SCHEDULE, "--ignore-not-found")
    # its restores go with it
    cli("backup", "delete", BACKUP, "--confirm")
    kubectl("delete", "namespace", "drill", *([NAMESPACE] if made else []), "--ignore-not-found", "--timeout=120s", timeout=130)


def example_plays() -> list[Any]:
    """Return one test parameter per play of EXAMPLES; there has to be one for every module. Those that let Velero store elsewhere come last."""
    plays = sorted(examples.plays(), key=lambda found: any(word in found[0] for word in ("install", "location")))
    found = [pytest.param(name, content, id=name.rsplit(".", 1)[-1]) for name, content in plays]
    missing = set(examples.documented()) - {parameter.values[0] for parameter in found}
    assert found, "no EXAMPLES were found"
    assert not missing, f"modules without EXAMPLES: {missing}"
    return found


def variables(velero: InstalledVelero) -> dict[str, Any]:
    """Return the variables that EXAMPLES refer to."""
    return {
        "kubeconfig": str(velero.bed.kubeconfig),
        "bucket": velero.bucket,
        "region": velero.bed.s3.region,
        "s3_url": velero.bed.s3.endpoint_inside,
        "credentials_file": velero.credentials,
        "backup": BACKUP,
    }


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize(("name", "content"), example_plays())
def test_examples_run(velero: InstalledVelero, core: str, name: str, content: dict[str, Any]) -> None:
    """Every task of the EXAMPLES ends well, in the controller process."""
    played = play([{**content, "vars": variables(velero)}], core=core)
    assert played.rc == 0, played.stdout[-3000:] + played.stderr[-2000:]
    ours = [result for result in played.results if "ran" in result.result]
    assert ours
    assert {result.result["ran"] for result in ours} == {"controller"}
    wanted = sum(name in task and not task.get("no_log") for task in examples.tasks_of(content))
    assert len(ours) == wanted


def test_make_it_default_again(velero: InstalledVelero) -> None:
    """What the EXAMPLES took from the location default is given back, for the tests that follow."""
    s3 = velero.bed.s3
    config = {"region": s3.region, "s3ForcePathStyle": "true", "s3Url": s3.endpoint_inside, "publicUrl": s3.endpoint_outside}
    options = {**velero.login, "name": "default", "default": True, "prefix": "", "config": config}
    played = play(tasks_of([{"serverops.circleci.velero_storage_location": options}]))
    assert played.rc == 0, played.stdout
