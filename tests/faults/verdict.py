# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds what a module said against what was sent and what the cluster has."""

from __future__ import annotations

import base64
import collections
import json
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.faults.cluster import LOCATION, Cluster
from tests.faults.fault_proxy import LATE, Run
from tests.faults.installation import Installation
from tests.faults.module_process import Ended
from tests.faults.scenarios import Scenario

GRACE = 5.0
"""Seconds by which a module may end later than its option `timeout` says."""


@dataclass
class Findings:
    """What is wrong with a case, in words, by what the table counts."""

    false_success: list[str] = field(default_factory=list)
    duplicate: list[str] = field(default_factory=list)
    overrun: list[str] = field(default_factory=list)
    unfit: list[str] = field(default_factory=list)
    """A traceback, a secret, or a message that is none."""
    stuck: list[str] = field(default_factory=list)
    """A run without faults after it did not get there, or wrote once more."""

    def all(self) -> Iterator[tuple[str, str]]:
        for name, texts in vars(self).items():
            for text in texts:
                yield name, text

    def __bool__(self) -> bool:
        return any(vars(self).values())


def forms(secret: str) -> set[str]:
    """Return the forms in which a secret must not come back: own reckoning, not the collection's."""
    parts = {secret, *(line.partition("=")[2].strip() or line.strip() for line in secret.splitlines())}
    found: set[str] = set()
    for part in (part for part in parts if len(part) >= 8):
        found |= {part, base64.b64encode(part.encode()).decode().rstrip("="), urllib.parse.quote(part, safe=""), json.dumps(part)[1:-1]}
    return found


def judge(
    scenario: Scenario,
    ended: Ended,
    run: Run,
    cluster: Cluster,
    installation: Installation,
    timeout: float,
    secrets: Iterable[str],
    findings: Findings,
) -> None:
    """Judge the run of a module that has ended; the cluster is looked at as it is now."""
    if ended.seconds > timeout + GRACE:
        findings.overrun.append(f"it ended after {ended.seconds:.1f} s with timeout {timeout:g}")
    findings.unfit.extend(unfit(ended, secrets))
    # one that was repeated, as it was, is one request
    once = dict.fromkeys((seen.method, seen.path, seen.body) for seen in run.requests if seen.took_effect)
    effective = [f"{method} {path}" for method, path, _body in once]
    findings.duplicate.extend(duplicates(run))
    if ended.result is None:
        return
    if ended.seconds < timeout - 1 and not any(seen.fault in LATE for seen in run.requests):
        findings.duplicate.extend(f"{path} was left behind" for path in thrown_away(run) if cluster.ask("GET", path)[0] != 404)
    if not ended.failed and scenario.fails:
        findings.false_success.append("it said that it succeeded, and that cannot be")
    part = scenario.part(cluster, installation)
    if ended.succeeded and scenario.manages:
        findings.false_success.extend(f"it said that it succeeded, but {text}" for text in part.differences(scenario.wanted))
        if scenario.wanted is not None:
            unproven = [*part.unproven(), *(part.unasked(scenario.wanted) if effective else ())]
            findings.false_success.extend(f"it said that it succeeded, but {text}" for text in unproven)
        if ended.changed and not effective:
            findings.false_success.append("it said that it changed something, and nothing was written")
    if ended.succeeded and not scenario.manages:
        findings.false_success.extend(untrue_info(ended, run, cluster))
    said = [f"{request['method']} {request['path']}" for request in ended.result.get("requests") or []]
    if effective and not ended.changed:
        findings.false_success.append(f"it said changed: false, but {', '.join(effective)} took effect")
    for write in collections.Counter(effective) - collections.Counter(said):
        findings.false_success.append(f"its result does not list {write}, which took effect")


def untrue_info(ended: Ended, run: Run, cluster: Cluster) -> Iterator[str]:
    """Yield what an answer of velero_info says that is not so. A stale read is told as it was read: nobody can tell it from a fresh one."""
    if any(seen.fault in ("stale", "stale of run") for seen in run.requests):
        return
    found = (ended.result or {}).get("velero")
    if not isinstance(found, list) or len(found) != 1:
        yield f"it said that there are {len(found or [])} installations, and there is one"
        return
    (entry,) = found
    names = sorted(location["name"] for location in entry["storage_locations"])
    if names != ["default", LOCATION]:
        yield f"it said that the locations are {names}"
    server = entry["server"]
    if not server["ready"] and not server["problem"]:
        yield "it said that the server is not ready, and not why"
    if not server["ready"] or server["version"] != "v1.17.2":
        yield f"it said of the server: {server['problem']} (version {server['version']})"
    there = cluster.location()
    told = next((location for location in entry["storage_locations"] if location["name"] == LOCATION), {})
    if there is not None and told.get("prefix") != there["spec"]["objectStorage"]["prefix"]:
        yield f"it said that the prefix is {told.get('prefix')}"


def unfit(ended: Ended, secrets: Iterable[str]) -> Iterator[str]:
    """Yield what a person must not be shown."""
    text = ended.text
    for word in ("Traceback (most recent call last)", "unexpected ", "<urllib3", "0x7f"):
        if word in text:
            yield f"it said {text[max(0, text.index(word) - 80) : text.index(word) + 400]!r}"
    for secret in secrets:
        yield from (f"it said a secret ({len(form)} characters)" for form in forms(secret) if form in text)
    if ended.failed and not str((ended.result or {}).get("msg") or "").strip():
        yield "it failed without a message"


def thrown_away(run: Run) -> Iterator[str]:
    """Yield the paths of the throw-away objects that a run made."""
    for seen in run.requests:
        if seen.method == "POST" and seen.is_probe and seen.status is not None and seen.status < 300:
            yield f"{seen.path}/{json.loads(seen.body)['metadata']['name']}"


def duplicates(run: Run) -> Iterator[str]:
    """Yield what was made more than once in one run."""
    made: collections.Counter[str] = collections.Counter()
    for seen in run.requests:
        if seen.method == "POST" and seen.status is not None and seen.status < 300:
            # one question each: of what is stored there are several kinds
            target = json.loads(seen.body or b"{}").get("spec", {}).get("target") if "/downloadrequests" in seen.path else None
            made[f"{seen.path} {json.dumps(target)}" if target else seen.path] += 1
    yield from (f"{count} objects were made at {path}" for path, count in made.items() if count > 1)
