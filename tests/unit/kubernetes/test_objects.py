# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects over a transport: pages, lost answers, access reviews, logs, the server's clock."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import AnswerLost, Conflict, Expired, Malformed, WriteInCheckMode
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Effect
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import objects, resource
from ansible_collections.serverops.circleci.tests.unit.kubernetes.conftest import open_api
from ansible_collections.serverops.circleci.tests.unit.kubernetes.twins import ApiTwin, Arrived, Reply, document, refusal


def paged(twin: ApiTwin, count: int, expires_at: int = -1) -> None:
    """Let a twin serve a list in pages; once, at one offset, it has dropped the list."""
    left = [expires_at]

    def answer(request: Arrived) -> Reply:
        start, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        if start and start == left[0]:
            left[0] = -1
            return refusal(410, "Expired", "The provided continue parameter is too old")
        metadata = {"resourceVersion": "77"} | ({"continue": str(start + limit)} if start + limit < count else {})
        items = [{"metadata": {"name": f"n{number}"}} for number in range(start, min(start + limit, count))]
        return Reply(document={"kind": "SecretList", "metadata": metadata, "items": items})

    twin.answer = answer


def test_lists_come_in_pages(plain_twin, api):
    paged(plain_twin, 1200)
    listing = api.list(resource.SECRET, "ns", label_selector="a=b", field_selector="type=Opaque")
    assert [item["metadata"]["name"] for item in listing.items] == [f"n{number}" for number in range(1200)]
    assert listing.resource_version == "77"
    assert (listing.items[0]["kind"], listing.items[0]["apiVersion"]) == ("Secret", "v1")
    assert [request.query.get("continue") for request in plain_twin.arrived] == [None, "500", "1000"]
    assert {(request.query["labelSelector"], request.query["fieldSelector"]) for request in plain_twin.arrived} == {("a=b", "type=Opaque")}


def test_a_list_that_was_dropped_between_pages_is_read_from_the_start(plain_twin, api):
    paged(plain_twin, 1200, expires_at=1000)
    assert len(api.list(resource.SECRET, "ns").items) == 1200
    assert [request.query.get("continue") for request in plain_twin.arrived] == [None, "500", "1000", None, "500", "1000"]


def test_a_list_that_is_always_dropped_ends(plain_twin, api):
    plain_twin.answer = lambda request: refusal(410, "Expired", "too old")
    with pytest.raises(Expired):
        api.list(resource.SECRET, "ns")


def test_an_empty_list(plain_twin, api):
    plain_twin.answer = lambda request: Reply(document={"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": None})
    assert api.list(resource.POD).items == []


BODY = {"metadata": {"name": "x", "labels": {"made-by": "us"}}, "type": "Opaque", "stringData": {"k": "v"}}
STORED = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "x", "uid": "new", "labels": {"made-by": "us", "more": "by a webhook"}},
    "type": "Opaque",
    "data": {"k": base64.b64encode(b"v").decode()},
}


def lost(twin: ApiTwin, *finds: Reply) -> None:
    """Let a twin drop the answer to the creation, and then answer looks."""
    replies = iter(finds)
    last = finds[-1]
    twin.answer = lambda request: Reply(fault="reset") if request.method == "POST" else next(replies, last)


NOT_THERE = refusal(404, "NotFound", 'secrets "x" not found', name="x")


def test_a_creation_whose_answer_was_lost_is_looked_up(plain_twin, api):
    lost(plain_twin, NOT_THERE, Reply(document=STORED))
    assert api.create(resource.SECRET, "ns", BODY) == STORED
    assert [request.method for request in plain_twin.arrived] == ["POST", "GET", "GET"]
    assert [request.path for request in api.transport.record.written] == ["/api/v1/namespaces/ns/secrets"]


@pytest.mark.parametrize(
    ("found", "known_uid"),
    [
        (NOT_THERE, ""),
        (Reply(document=STORED | {"data": {"k": "b3RoZXI="}}), ""),
        (Reply(document=STORED | {"metadata": STORED["metadata"] | {"labels": {}}}), ""),
        (Reply(document=STORED), "new"),
    ],
    ids=["never arrived", "other content", "other labels", "the one from before"],
)
def test_a_creation_that_cannot_be_recognised_stays_lost(found, known_uid, plain_twin, api):
    lost(plain_twin, found)
    with pytest.raises(AnswerLost) as caught:
        api.create(resource.SECRET, "ns", BODY, known_uid=known_uid)
    assert str(caught.value) == (
        "create Secret ns/x: the answer was lost (the connection broke (Connection reset by peer)), so it is not known whether it took effect. "
        "Run the task again; it looks first."
    )
    assert [request.method for request in plain_twin.arrived].count("POST") == 1


def test_a_creation_with_a_generated_name_cannot_be_looked_up(plain_twin, api):
    lost(plain_twin, NOT_THERE)
    with pytest.raises(AnswerLost):
        api.create(resource.SECRET, "ns", {"metadata": {"generateName": "x-"}})
    assert [request.method for request in plain_twin.arrived] == ["POST"]


def test_looking_takes_about_three_seconds_at_most():
    assert sum(objects.LOOK_PAUSES) == pytest.approx(objects.LOOK_SECONDS)


@pytest.mark.parametrize(
    ("found", "sent", "same"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, False),
        ({"a": [1, 2]}, {"a": [1, 2]}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [{"b": 1, "default": 0}]}, {"a": [{"b": 1}]}, True),
        ({}, {"a": None}, True),
        ({}, {"a": {}}, True),
        ({}, {"a": ""}, False),
        ({"a": "x"}, {"a": {"b": 1}}, False),
        ({"data": {"k": "dg=="}}, {"stringData": {"k": "v"}}, True),
        ({"data": {"k": "dw=="}}, {"stringData": {"k": "v"}}, False),
    ],
)
def test_what_counts_as_holding_what_was_sent(found, sent, same):
    assert objects.holds(found, sent) is same


def test_changes_return_the_object(plain_twin, api):
    plain_twin.answer = lambda request: Reply(document={"method": request.method, "query": request.query, "type": request.header("content-type")})
    assert api.patch(resource.SECRET, "ns", "x", {"data": None})["type"] == ["application/merge-patch+json"]
    assert api.json_patch(resource.SECRET, "ns", "x", [{"op": "remove", "path": "/data"}])["type"] == ["application/json-patch+json"]
    applied = api.apply(resource.SECRET, "ns", BODY, force=True)
    assert (applied["type"], applied["query"]["force"]) == (["application/apply-patch+yaml"], "true")
    assert api.replace(resource.SECRET, "ns", BODY)["method"] == "PUT"
    assert api.delete(resource.SECRET, "ns", "x", uid="u")["method"] == "DELETE"
    assert len(api.transport.record.written) == 5


def test_a_conflict_of_apply_is_raised(plain_twin, api):
    plain_twin.answer = lambda request: refusal(409, "Conflict", "c", causes=[{"reason": "FieldManagerConflict", "message": "m", "field": ".f"}])
    with pytest.raises(Conflict):
        api.apply(resource.SECRET, "ns", BODY)


def test_deleting_what_is_gone(plain_twin, api):
    plain_twin.answer = lambda request: NOT_THERE
    assert api.delete(resource.SECRET, "ns", "x", uid="u") is None


def test_access_reviews_name_the_missing_verbs(plain_twin, api):
    def answer(request: Arrived) -> Reply:
        asked = request.body["spec"]["resourceAttributes"]
        assert (asked["group"], asked["resource"], asked["namespace"]) == ("velero.io", "backups", "velero")
        return Reply(201, {"kind": "SelfSubjectAccessReview", "status": {"allowed": asked["verb"] in ("get", "list")}})

    plain_twin.answer = answer
    assert api.access("get", resource.BACKUP, "velero")
    assert api.missing_verbs(["get", "list", "watch", "create"], resource.BACKUP, "velero") == ["watch", "create"]
    assert api.transport.record.counts == {Effect.READ: 0, Effect.PROBE: 5, Effect.WRITE: 0}
    assert plain_twin.paths() == ["POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"] * 5


def test_access_reviews_pass_in_check_mode_and_writes_do_not(plain_twin):
    plain_twin.answer = lambda request: Reply(201, {"status": {"allowed": True}})
    api = open_api({"host": plain_twin.url}, check_mode=True)
    assert api.access("create", resource.SECRET, "ns")
    with pytest.raises(WriteInCheckMode):
        api.create(resource.SECRET, "ns", BODY)
    assert plain_twin.paths() == ["POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"]


def test_pod_log(plain_twin, api):
    plain_twin.answer = lambda request: Reply(text="líne 1\nline 2\n".encode() + b"\xff", headers={"Content-Type": "text/plain"})
    assert api.pod_log("velero", "p", container="c", tail_lines=2, previous=True) == "líne 1\nline 2\n\ufffd"
    request = plain_twin.arrived[0]
    assert request.path == "/api/v1/namespaces/velero/pods/p/log"
    assert (request.query["tailLines"], request.query["container"], request.query["previous"]) == ("2", "c", "true")


def test_the_servers_clock(plain_twin, api, monkeypatch):
    plain_twin.answer = lambda request: Reply(document={"gitVersion": "v1.36.2"}, headers={"Date": "Tue, 01 Dec 2026 10:00:00 GMT"})
    plain_twin.own_date = False
    assert api.server_time() == datetime(2026, 12, 1, 10, 0, 0, tzinfo=UTC)
    assert plain_twin.paths() == ["GET /version"]
    now = time.monotonic()
    monkeypatch.setattr(objects.time, "monotonic", lambda: now + 90)
    assert api.server_time() in (datetime(2026, 12, 1, 10, 1, 29, tzinfo=UTC), datetime(2026, 12, 1, 10, 1, 30, tzinfo=UTC))
    assert api.server_version() == {"gitVersion": "v1.36.2"}


def test_a_server_without_a_clock(plain_twin, api):
    plain_twin.own_date = False
    with pytest.raises(Malformed) as caught:
        api.server_time()
    assert str(caught.value) == ("read the server's clock: its answers have no Date header. Look what stands between here and the API server.")


def test_an_object_is_read(plain_twin, api):
    plain_twin.answer = lambda request: Reply(document=document("x", 3))
    assert api.get(resource.CONFIG_MAP, "ns", "x") == document("x", 3)
