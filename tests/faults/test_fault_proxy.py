# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each fault is what it is called, as a client and as the API server see it, and the suite notices modules that are wrong."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults import fault_proxy, suite
from tests.faults.fault_proxy import Answered, Fault, Run
from tests.faults.scenarios import SCENARIOS
from tests.faults.suite import Case, Place

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
PATIENCE = 2.0
"""Seconds that the client of these tests waits for an answer."""


class Client:
    """A client without a will of its own: no repeats."""

    def __init__(self, place: Place) -> None:
        self.proxy = place.proxy
        context = ssl.create_default_context(cadata=authority_of(place))
        self.connection = http.client.HTTPSConnection("127.0.0.1", place.proxy.port, timeout=PATIENCE, context=context)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Send a request; return status and body."""
        headers = {"Authorization": f"Bearer {self.proxy.token}", "Content-Type": "application/json"}
        self.connection.request(method, path, body=json.dumps(body) if body else None, headers=headers)
        response = self.connection.getresponse()
        return response.status, response.read()


def authority_of(place: Place) -> str:
    """Return the PEM of the proxy's CA, from the kubeconfig that the modules get."""
    import base64

    cluster = json.loads(place.proxy.kubeconfig.read_text())["clusters"][0]["cluster"]
    return base64.b64decode(cluster["certificate-authority-data"]).decode()


def made(place: Place, kind: str, kill: Callable[[], None]) -> tuple[Run, str, Any]:
    """Make a ConfigMap through the proxy with a fault; return the run, the path of the ConfigMap, and what the client got or raised."""
    path = f"/api/v1/namespaces/{place.velero.namespace}/configmaps"
    name = f"fault-{kind.replace(' ', '-')}"
    run = place.proxy.begin(f"test-{name}", Fault(kind, f"POST {path}"))
    run.kill = kill
    client = Client(place)
    try:
        got: Any = client.ask("POST", path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
    except (OSError, http.client.HTTPException) as error:
        got = error
        client.connection.close()
    return run, f"{path}/{name}", got


@pytest.mark.parametrize(
    ("kind", "arrives", "seen"),
    [
        ("500", False, 500),
        ("429", False, 429),
        ("reset", False, ConnectionError),
        ("hung", False, TimeoutError),
        ("killed", False, ConnectionError),
        ("500 done", True, 500),
        ("reset done", True, ConnectionError),
        ("hung done", True, TimeoutError),
        ("killed done", True, ConnectionError),
        ("cut", True, http.client.IncompleteRead),
        ("cut framed", True, 201),
        ("late", True, TimeoutError),
    ],
)
def test_fault(place: Place, kind: str, arrives: bool, seen: Any) -> None:
    """The client sees what the fault says, and the API server has the object or has it not."""
    killed: list[str] = []
    began = time.monotonic()
    run, path, got = made(place, kind, lambda: killed.append(kind))
    assert run.delivered.wait(1)
    if isinstance(seen, int):
        assert got[0] == seen
        if kind == "cut framed":
            with pytest.raises(json.JSONDecodeError):
                json.loads(got[1])
    else:
        assert isinstance(got, seen), got
    assert killed == ([kind] if kind.startswith("killed") else [])
    if seen is TimeoutError:
        assert time.monotonic() - began >= PATIENCE
    if kind == "late":
        assert run.late_over.wait(5)
    assert (place.cluster.ask("GET", path)[0] == 200) is arrives
    place.cluster.ask("DELETE", path)


def test_kinds_are_all_tried() -> None:
    """The test above has every kind but the stale ones, which the next one has."""
    (mark,) = [mark for mark in test_fault.pytestmark if mark.name == "parametrize"]
    assert {row[0] for row in mark.args[1]} == set(fault_proxy.KINDS) - set(fault_proxy.STALE)


@pytest.mark.parametrize("kind", fault_proxy.STALE)
def test_stale(place: Place, kind: str) -> None:
    """A read gets an earlier answer once, and the next one the present answer."""
    path = f"/api/v1/namespaces/{place.velero.namespace}/configmaps"
    name = f"fault-{kind.replace(' ', '-')}"
    key = f"GET {path}"
    place.proxy.remember([key])
    run = place.proxy.begin(f"test-{name}", Fault(kind, key, 2 if kind == "stale of run" else 1))
    client = Client(place)

    def names() -> list[str]:
        return [item["metadata"]["name"] for item in json.loads(client.ask("GET", path)[1])["items"]]

    if kind == "stale of run":
        assert name not in names()
    assert client.ask("POST", path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})[0] == 201
    assert name not in names()
    assert run.delivered.is_set()
    assert name in names()
    place.cluster.ask("DELETE", f"{path}/{name}")


def test_client_without_the_token(place: Place) -> None:
    """A wrong token is refused by the proxy and is not forwarded."""
    client = Client(place)
    run = place.proxy.begin("test-token")
    place.proxy.token, right = "token-other", place.proxy.token
    try:
        client.connection.request("GET", "/version", headers={"Authorization": f"Bearer {right}"})
        assert client.connection.getresponse().status == 401
    finally:
        place.proxy.token = right
    assert not run.requests


LOCATIONS = "/apis/velero.io/v1/namespaces/{namespace}/backupstoragelocations"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{namespace}/deployments?limit=500"


@pytest.mark.parametrize(
    ("wrong", "scenario", "fault", "timeout", "finding"),
    [
        ("trusting", "create", Fault("reset", f"POST {LOCATIONS}"), 20, "false_success"),
        ("forgetful", "create", Fault("500", f"GET {LOCATIONS}?limit=500"), 20, "false_success"),
        ("slow", "info", Fault("500", f"GET {DEPLOYMENTS}"), 3, "overrun"),
        ("talkative", "unchanged", Fault("500", f"GET {LOCATIONS}?limit=500"), 20, "unfit"),
        ("twice", "info", Fault("500", f"GET {DEPLOYMENTS}"), 20, "duplicate"),
    ],
)
def test_wrong_module_is_found(place: Place, wrong: str, scenario: str, fault: Fault, timeout: int, finding: str) -> None:
    """A module that is wrong in one way is found, in that way."""
    outcome = place.carry_out(Case(BY_NAME[scenario], fault, timeout), f"tests.faults.wrong_behaviour:{wrong}")
    assert not outcome.error
    assert outcome.delivered
    assert getattr(outcome.findings, finding), list(outcome.told())
    assert not outcome.good


def test_fault_that_does_not_come_is_no_success(place: Place) -> None:
    """A case whose request never comes is not delivered, and so not good."""
    outcome = place.carry_out(Case(BY_NAME["info"], Fault("500", "GET /never"), 20))
    assert not outcome.error
    assert not outcome.delivered
    assert not outcome.good
    assert suite.Report([outcome], 1, [], [], 0.0).good is False


def test_audit_log_is_held_against_the_proxy(place: Place) -> None:
    """A change that only the proxy saw is told as a disagreement; so the audit log is looked at."""
    mark = place.velero.bed.audit_mark()
    earlier, place.runs = place.runs, []
    try:
        place.cluster.stage(None)
        ended, run = place.play(BY_NAME["create"], suite.CALM)
        assert ended.succeeded
        assert suite.audited(place.velero.bed, mark, [place]) == []
        write = next(seen for seen in run.requests if seen.took_effect)
        run.requests.remove(write)
        assert len(suite.audited(place.velero.bed, mark, [place])) == 1
    finally:
        place.runs = earlier


def test_store_is_asked(place: Place) -> None:
    """The store's access log shows the validation of a location that was made, and none after it."""
    wanted = BY_NAME["create"].wanted
    assert wanted is not None
    place.cluster.stage(None)
    place.cluster.mark()
    assert place.cluster.unasked(wanted)
    place.cluster.stage(wanted)
    assert place.cluster.unasked(wanted) == []
    place.cluster.mark()
    assert place.cluster.unasked(wanted)


def test_older_state_of_a_watch() -> None:
    """A listed state becomes the stream that a watch of it would begin with."""
    document = {"kind": "ConfigMapList", "apiVersion": "v1", "items": [{"metadata": {"name": "one"}}]}
    streamed = fault_proxy.as_watch(Answered(200, "OK", [], json.dumps(document).encode()))
    assert json.loads(streamed.body) == {"type": "ADDED", "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}}
