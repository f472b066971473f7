# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person has to do after a restore: which load balancers answer elsewhere now, which names and settings follow, whom to restart.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ANNOTATION = "serverops.circleci/load-balancers"
"""Annotation of a Backup that says where the load balancers answered when it was made: it lies in the bucket and outlives the cluster."""
SETTINGS: dict[str, list[str]] = {
    "circleci-server-traefik": ["General Settings: Domain Name, by its DNS records"],
    "nomad-server-external": ["Nomad: Nomad Load Balancer"],
    "output-processor": ["Output Processor: Output Processor Load Balancer Hostname"],
    "vm-service": ["VM service: VM Service Load Balancer Hostname"],
}
"""Load balancer of CircleCI Server 3.x to the settings of the console that name it (group: setting)."""
NOMAD = "nomad-server-external"
"""The load balancer by which Nomad clients reach their servers."""


def balancers(objects: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return "namespace/name" to the addresses of each load balancer among objects of kubernetes_info."""
    return {f"{item['namespace']}/{item['name']}": list(item["addresses"]) for item in objects if item.get("type") == "LoadBalancer"}


def recorded(annotations: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """Return the load balancers that a backup remembers; none when it remembers nothing, or nothing that can be read."""
    try:
        found = json.loads((annotations or {}).get(ANNOTATION) or "{}")
    except ValueError:
        return {}
    return {str(name): [str(address) for address in addresses] for name, addresses in found.items()} if isinstance(found, dict) else {}


def mapped(before: Mapping[str, list[str]], namespaces: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the load balancers by the names that they have where they were restored to."""
    answer = {}
    for name, addresses in before.items():
        namespace, _slash, service = name.partition("/")
        answer[f"{namespaces.get(namespace, namespace)}/{service}"] = addresses
    return answer


def follow_up(
    before: Mapping[str, list[str]],
    after: Mapping[str, list[str]],
    dns_names: Mapping[str, Sequence[str]],
    settings: Mapping[str, Sequence[str]],
    nomad_clients: Sequence[str],
) -> dict[str, Any]:
    """Return load_balancers (one entry each), nomad, steps (sentences) and text.

    before and after: "namespace/service" to addresses. dns_names and settings: service, or "namespace/service", to names.
    """
    entries = []
    steps: list[str] = []
    for name in sorted({*before, *after}):
        namespace, _slash, service = name.partition("/")
        old, new = list(before.get(name, [])), list(after.get(name, []))
        names = list(dns_names.get(name) or dns_names.get(service) or [])
        where = list(settings.get(name) or settings.get(service) or [])
        state = _state(name in before, name in after, old, new)
        entries.append({
            "namespace": namespace, "name": service, "before": old, "after": new, "state": state, "dns_names": names, "settings": where,
        })  # fmt: skip
        steps += _steps(name, state, old, new, names, where)
    moved = [entry for entry in entries if entry["name"] == NOMAD and entry["state"] in ("moved", "unknown", "new")]
    restart = sorted(set(nomad_clients))
    if restart:
        steps.append(f"Restart the Nomad clients, else they do not join the restored servers: {', '.join(restart)}.")
    elif any(entry["name"] == NOMAD for entry in entries):
        steps.append("Restart all Nomad clients, else they do not join the restored servers.")
    nomad = {"clients": restart, "server": [address for entry in moved for address in entry["after"]], "moved": bool(moved)}
    return {"load_balancers": entries, "nomad": nomad, "steps": steps, "text": "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))}


def _state(was: bool, is_there: bool, old: list[str], new: list[str]) -> str:
    if not is_there:
        return "gone"
    if not new:
        return "waiting"
    if not was:
        return "unknown"
    return "same" if set(old) == set(new) else "moved"


def _steps(name: str, state: str, old: list[str], new: list[str], names: list[str], settings: list[str]) -> list[str]:
    here, there = ", ".join(old) or "no address", ", ".join(new)
    if state == "same":
        return []
    if state == "gone":
        return [f"Load balancer {name} ({here}) was not restored: look whether the restore left it out."]
    if state == "waiting":
        return [f"Load balancer {name} has no address yet (it was {here}): look at its events, then change what names it."]
    change = f"from {here} to {there}" if state == "moved" else f"to {there} (the backup does not say where they pointed)"
    found = []
    if names:
        found.append(f"Change the DNS records of {', '.join(names)} {change}.")
    if settings:
        found.append(f"Change what names load balancer {name} {change}: {'; '.join(settings)}.")
    return found or [f"Change whatever names load balancer {name} {change}."]
