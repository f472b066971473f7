# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server's own log says that our tasks wrote, and the removal of what they made."""

from __future__ import annotations

import json
from typing import Any

from tests.bed.conftest import InstalledVelero
from tests.bed.driver import READ_VERBS
from tests.bed.ways.cases import INSTALL_BACK
from tests.bed.ways.restore_cases import COPY, SOURCE
from tests.bed.ways.world import World
from tests.plays.in_process import run

PROBES = frozenset({"downloadrequests", "serverstatusrequests", "selfsubjectaccessreviews", "selfsubjectreviews"})
"""Kinds that are created only to ask something: requests of effect probe, which change nothing that a person would call state."""
AGENT = "serverops.circleci"
NAMESPACES = (SOURCE, COPY)


def writes(velero: InstalledVelero, mark: int, *, accepted: bool = False) -> list[str]:
    """Return verb and path of every request of effect write that our tasks sent about Velero's namespace and the cluster since a mark, whoever
    they logged in as.

    accepted: leave out those that the API server refused, such as a conflict with a write of Velero's server.
    """
    found = []
    for event in velero.bed.audit(mark, user=None, user_agent=AGENT):
        about = event.get("objectRef") or {}
        if accepted and (event.get("responseStatus") or {}).get("code", 0) >= 400:
            continue
        if event["verb"] not in READ_VERBS and about.get("resource") not in PROBES and about.get("namespace") in (None, "", velero.namespace):
            found.append(f"{event['verb']} {event['requestURI']}")
    return found


def as_installed(world: World) -> None:
    """Bring the shared Velero back to what it was installed with, its definitions marked, by velero_install in this process."""
    back = run("velero_install", world.install_options(crds_from="job", **INSTALL_BACK))
    assert not back.failed, back["msg"]


def clean(velero: InstalledVelero, prefix: str = "ways-") -> None:
    """Remove what begins with the prefix: restores, schedules, backups, locations, Secrets, and the namespaces that are backed up and restored.

    Velero's own location is made the default again.
    """
    # before the backups: what is made from them goes with them
    for kind in ("restores.velero.io", "schedules.velero.io"):
        listed: list[dict[str, Any]] = json.loads(velero.bed.kubectl("-n", velero.namespace, "get", kind, "-o", "json"))["items"]
        names = [item["metadata"]["name"] for item in listed if item["metadata"]["name"].startswith(prefix)]
        if names:
            velero.bed.kubectl("-n", velero.namespace, "delete", kind, *names, timeout=120)
    backups: list[dict[str, Any]] = json.loads(velero.bed.kubectl("-n", velero.namespace, "get", "backups.velero.io", "-o", "json"))["items"]
    for name in (item["metadata"]["name"] for item in backups):
        if name.startswith(prefix):
            gone = run("velero_backup", velero.options(name=name, state="absent"))
            assert not gone.failed, gone["msg"]
    velero.bed.kubectl("delete", "namespace", *NAMESPACES, "--ignore-not-found", "--timeout=60s", timeout=70)
    for kind in ("backupstoragelocations.velero.io", "volumesnapshotlocations.velero.io", "secrets"):
        listed = json.loads(velero.bed.kubectl("-n", velero.namespace, "get", kind, "-o", "json"))["items"]
        names = [item["metadata"]["name"] for item in listed if item["metadata"]["name"].startswith(prefix)]
        if names:
            velero.bed.kubectl("-n", velero.namespace, "delete", kind, *names)
    patch = json.dumps({"spec": {"default": True}})
    velero.bed.kubectl("-n", velero.namespace, "patch", "backupstoragelocations.velero.io", "default", "--type", "merge", "-p", patch)
