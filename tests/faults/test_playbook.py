# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A few faults under a real ansible-playbook, in both ways to run: the same verdicts as where the behaviour is run alone."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.faults import suite, verdict
from tests.faults.fault_proxy import Fault
from tests.faults.module_process import Ended
from tests.faults.scenarios import ONE, SCENARIOS
from tests.faults.suite import Place
from tests.plays import play, tasks_of

CREATE = next(scenario for scenario in SCENARIOS if scenario.name == "create")
WAYS: dict[str, dict[str, Any]] = {"controller": {}, "module": {"environment": {"FAULTS": "1"}}}
"""Keywords of the task that make it run in each way: with an environment of its own it has to be a module."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["reset", "reset done", "429", "cut"])
def test_creation_under_a_fault(place: Place, way: str, kind: str) -> None:
    """The creation of a location is faulted; what the task says is so, and the next play has nothing wrong to say."""
    namespace = place.velero.namespace
    path = f"/apis/velero.io/v1/namespaces/{namespace}/backupstoragelocations"
    place.cluster.stage(None)
    options = CREATE.options(namespace, place.store, str(place.proxy.kubeconfig), suite.RECOVERING, place.installation)
    content = options["credential"].pop("content")
    options["credential"]["content"] = "{{ content }}"
    task = {"name": "Make it", "serverops.circleci.velero_storage_location": options, **WAYS[way]}

    def played(fault: Fault | None) -> verdict.Findings:
        run = place.proxy.begin(f"{place.marker}-play-{way}-{kind.replace(' ', '-')}", fault)
        place.cluster.mark()
        done = play(tasks_of([task], vars={"content": content}))
        result = done.last | {"failed": done.results[-1].status == "failed"}
        assert result["ran"] == way, result
        assert fault is None or run.delivered.is_set()
        assert not run.trouble
        # the time of ansible-playbook itself is not the task's
        ended = Ended(result, 0.0, result.get("warnings") or [], done.stdout + done.stderr)
        findings = verdict.Findings()
        verdict.judge(CREATE, ended, run, place.cluster, place.installation, suite.RECOVERING, place.secrets(), findings)
        assert ended.failed is (kind == "reset" and fault is not None), result
        return findings

    began = time.monotonic()
    assert list(played(Fault(kind, f"POST {path}")).all()) == []
    assert time.monotonic() - began < suite.RECOVERING + 30
    assert list(played(None).all()) == []
    assert place.cluster.differences(ONE) == []
