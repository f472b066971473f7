# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One play with every module, in the controller process and as a module, against a twin of a cluster that has no Velero."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.release import __version__ as core_version

from tests.plays import Played, play, tasks_of
from tests.unit.kubernetes.twins import ApiTwin, Arrived, Reply, refusal

CORE = core_version.rpartition(".")[0]
KNOWN = {
    "/apis/apps/v1/namespaces/velero/deployments",
    "/apis/apps/v1/namespaces/velero/daemonsets",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
}
ABSENT = {
    "/api/v1/namespaces/velero": "namespaces",
    "/api/v1/namespaces/velero/serviceaccounts/velero": "serviceaccounts",
    "/api/v1/namespaces/velero/secrets/velero-restic-credentials": "secrets",
    "/api/v1/namespaces/velero/secrets/velero-repo-credentials": "secrets",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/velero": "clusterrolebindings",
}
MODULES: dict[str, dict[str, Any]] = {
    "velero_info": {},
    "velero_install": {"state": "absent"},
    "velero_snapshot_location": {"name": "default", "state": "absent"},
    "velero_storage_location": {"name": "default", "state": "absent"},
}


def without_velero(request: Arrived) -> Reply:
    """Answer as an API server that knows none of Velero's kinds and has no namespace for it."""
    if request.path in KNOWN:
        return Reply(document={"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []})
    if request.path in ABSENT:
        kind, name = ABSENT[request.path], request.path.rsplit("/", 1)[-1]
        return refusal(404, "NotFound", f'{kind} "{name}" not found', kind=kind, name=name)
    return refusal(404, "NotFound", "the server could not find the requested resource")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ApiTwin]:
    """The twin, with one token."""
    twin = ApiTwin(None, tmp_path)
    twin.tokens = {"smoke-token"}
    twin.answer = without_velero
    yield twin
    twin.close()


def played(cluster: ApiTwin, token: str) -> Played:
    """Run each module in both ways on the ansible-core that runs this test; nothing stops the play."""
    login = {"host": cluster.url, "api_key": "{{ token }}", "timeout": 20}
    tasks = [
        {"name": f"{module} {way}", f"serverops.circleci.{module}": {**login, **options}, "environment": environment, "ignore_errors": True}
        for module, options in MODULES.items()
        for way, environment in (("controller", {}), ("module", {"SERVEROPS_SMOKE": "1"}))
    ]
    core = {os.environ.get(name): core for core, name in (("newest", "SERVEROPS_DEV"), ("2.19", "SERVEROPS_C219"), ("2.16", "SERVEROPS_C216"))}
    here = os.environ["VIRTUAL_ENV"]
    return play(tasks_of(tasks, vars={"token": token}), core=core[here])


def bare(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what may differ: where it ran, how long it took, and what the controller adds."""
    return {key: value for key, value in result.items() if key not in ("ran", "waited", "invocation") and not key.startswith("_ansible")}


def test_every_module_both_ways(cluster):
    done = played(cluster, "smoke-token")
    assert done.rc == 0, done.stdout + done.stderr
    assert len(done.results) == 2 * len(MODULES)
    for first, second in zip(done.results[::2], done.results[1::2], strict=True):
        assert (first.result["ran"], second.result["ran"]) == ("controller", "module")
        assert first.result["changed"] is False
        assert (first.status, second.status) == ("ok", "ok"), done.stdout
        assert bare(first.result) == bare(second.result)
    assert done.results[0].result["velero"] == []
    assert cluster.arrived
    assert {request.method for request in cluster.arrived} == {"GET"}


def test_a_wrong_token_is_one_sentence_both_ways(cluster):
    done = played(cluster, "canary-of-smoke")
    for first, second in zip(done.results[::2], done.results[1::2], strict=True):
        assert first.status == "failed"
        assert first.result["changed"] is False
        assert bare(first.result) == bare(second.result)
        assert "\n" not in first.result["msg"]
    assert "canary-of-smoke" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_this_is_the_core_that_was_asked_for():
    assert CORE in {"2.16", "2.19", "2.20", "2.21"}
    assert Path(os.environ["VIRTUAL_ENV"]).name.startswith({"2.16": "c216", "2.19": ("c219", "dev")}.get(CORE, "dev"))
