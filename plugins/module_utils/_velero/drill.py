# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill brings up: from which backup, which pods, why not; and what of it does not run.

Pods are chosen by the label that the controller of stateful sets gives to each of them, with the pod's own name in it: a set's name would be no
label, and a set's own labels are those of anybody who likes them. Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

POD_LABEL = "statefulset.kubernetes.io/pod-name"


def _set_of(pod: str, sets: Iterable[str]) -> str | None:
    """Return which of the stateful sets a pod's name is of."""
    name, _dash, ordinal = pod.rpartition("-")
    return name if ordinal.isascii() and ordinal.isdigit() and name in set(sets) else None


def _without_copy(backup: Mapping[str, Any], namespace: str, sets: Iterable[str]) -> list[str]:
    """Return claims of the sets that the backup has no copy of: such a claim would come back as the volume that it was, on whatever disk."""
    lost = [str(item.get("claim")) for item in backup.get("uncovered") or [] if item.get("namespace") == namespace]
    lost += [str(item).partition("/")[2] for item in backup.get("excluded") or [] if str(item).partition("/")[0] == namespace]
    # a claim of a set is called <template>-<set>-<ordinal>
    pattern = re.compile(rf".+-(?:{'|'.join(map(re.escape, sets))})-\d+")
    return sorted(claim for claim in lost if pattern.fullmatch(claim))


def plan(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the backup, the pods, the selector that finds them, and as sentences everything that stands in the way.

    raw: velero and backups as velero_info and velero_backup_info return them; there: namespaces that have the scratch namespace's name;
    velero_namespace, namespace (the scratch one), source (where the pods were), stateful_sets, wanted (the backup's name, or none).
    """
    sets = [str(name) for name in raw.get("stateful_sets") or []]
    source, namespace = str(raw.get("source")), str(raw.get("namespace"))
    obstacles = []
    for there in raw.get("there") or []:
        if (there.get("metadata", {}).get("labels") or {}).get("serverops.circleci/drill") != "scratch":
            what = f"namespace {namespace} exists and was not made by a drill, so it is not touched"
            obstacles.append(f"{what}: name another one in drill_scratch_namespace")
    installations = raw.get("velero") or []
    if not installations:
        obstacles.append(f"there is no Velero in namespace {raw.get('velero_namespace')}: run the playbook velero.yml")
        return {"backup": {}, "pods": [], "selector": "", "obstacles": obstacles}
    server = installations[0].get("server") or {}
    if not server.get("ready"):
        obstacles.append(f"Velero does not work: {str(server.get('problem') or 'no reason is known').rstrip('.')}")
    known = [backup for backup in raw.get("backups") or [] if backup.get("phase") not in (None, "New", "InProgress")]
    backup = next((backup for backup in known if backup.get("good") is True), None)
    if backup is None:
        wanted = raw.get("wanted") or f"of namespace {source}"
        if not known:
            obstacles.append(f"there is no finished backup {wanted}: run the playbook backup.yml")
        else:
            why = str(known[0].get("verdict") or f"it is {known[0].get('phase')}").rstrip(".")
            obstacles.append(f"no backup is known to be good; the newest, {known[0].get('name')}, is not because {why}")
        return {"backup": {}, "pods": [], "selector": "", "obstacles": obstacles}
    copies = [
        volume
        for volume in backup.get("volumes") or []
        if volume.get("namespace") == source and volume.get("phase") == "Completed" and _set_of(str(volume.get("pod")), sets)
    ]
    pods = sorted({str(volume["pod"]) for volume in copies})
    lacking = [name for name in sets if name not in {_set_of(pod, sets) for pod in pods}]
    if lacking:
        obstacles.append(
            f"backup {backup['name']} has no finished copy of a volume of {', '.join(lacking)} in namespace {source}: "
            "name stateful sets that have one, since a drill of others proves nothing"
        )
    if lost := _without_copy(backup, source, sets):
        obstacles.append(
            f"backup {backup['name']} has no copy of {', '.join(lost)}, which would come back as the volume that it was: "
            "back it up, or leave its stateful set out of drill_stateful_sets"
        )
    return {"backup": dict(backup), "pods": pods, "selector": f"{POD_LABEL} in ({','.join(pods)})", "obstacles": obstacles}


def _waits_for(pod: Mapping[str, Any]) -> str:
    """Return why a pod is not ready, in the words of the cluster."""
    status = pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or []:
            state = container.get("state") or {}
            waiting = state.get("waiting") or {}
            ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
            if waiting.get("reason") and waiting["reason"] != "PodInitializing":
                code = f", it ended with {ended['exitCode']}" if "exitCode" in ended else ""
                return f"{container.get('name')}: {waiting['reason']} {waiting.get('message') or ''}".strip() + code
            if kind == "initContainerStatuses" and "running" in state:
                return f"its init container {container.get('name')} has not ended"
    for condition in status.get("conditions") or []:
        if condition.get("status") != "True" and condition.get("message"):
            return str(condition["message"])
    return str(status.get("phase") or "it has no status")


def trouble(pods: Iterable[Mapping[str, Any]], wanted: Iterable[str]) -> list[str]:
    """Return as sentences which of the wanted pods are missing or not ready, and which pods nobody asked for."""
    found = {str(pod["metadata"]["name"]): pod for pod in pods}
    names = list(wanted)
    said = [f"pod {name} is not there" for name in names if name not in found]
    for name, pod in sorted(found.items()):
        if name not in names:
            said.append(f"pod {name} is there and nobody asked for it")
        elif not any(item.get("type") == "Ready" and item.get("status") == "True" for item in (pod.get("status") or {}).get("conditions") or []):
            said.append(f"pod {name} is not ready: {_waits_for(pod)}")
    return said
