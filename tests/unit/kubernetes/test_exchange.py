# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of requests that fail: which failures may be repeated, and the sentences that error answers become."""

from __future__ import annotations

import time

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import (
    Absent,
    AnswerLost,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    Malformed,
    OperationError,
    Unreachable,
)
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Broken
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.connection import Connection
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.exchange import Exchange
from ansible_collections.serverops.circleci.tests.unit.kubernetes.conftest import open_api
from ansible_collections.serverops.circleci.tests.unit.kubernetes.twins import ApiTwin, Reply, document, refusal, status_document

READ = resource.get(resource.SECRET, "ns", "x")
BODY = {"metadata": {"name": "x"}, "data": {"k": "Y2FuYXJ5"}}


def exchange(twin: ApiTwin) -> Exchange:
    return Exchange(Connection.from_options({"host": twin.url}, environ={}))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("reset", "the connection broke (Connection reset by peer)"),
        ("close", "the connection broke (Remote end closed connection without response)"),
        ("cut", "the connection broke (the answer was cut)"),
        ("hang", "the server took the request and did not answer in time"),
    ],
)
def test_a_broken_answer_counts_as_sent(fault, words, plain_twin):
    plain_twin.answer = lambda request: Reply(document={"kind": "Secret", "data": {"k": "v" * 100}}, fault=fault)
    with pytest.raises(Broken) as caught:
        exchange(plain_twin)(READ, 0.5)
    assert caught.value.sent
    assert caught.value.detail.startswith(words)


def test_a_cut_stream_without_a_length_counts_as_broken(plain_twin):
    plain_twin.answer = lambda request: Reply(lines=[b'{"kind": ', b'"Secret"'], fault="cut")
    with pytest.raises(Broken) as caught:
        exchange(plain_twin)(READ, 2)
    assert caught.value.sent


def test_no_connection_counts_as_not_sent():
    with pytest.raises(Broken) as caught:
        Exchange(Connection.from_options({"host": "http://127.0.0.1:9"}, environ={}))(READ, 1)
    assert not caught.value.sent
    with pytest.raises(Broken) as caught:
        Exchange(Connection.from_options({"host": "http://no-such-host.invalid"}, environ={}))(READ, 5)
    assert not caught.value.sent


def test_a_read_goes_on_after_faults(plain_twin):
    faults = iter(["reset", "cut", "close"])
    plain_twin.answer = lambda request: Reply(document=document("x", 1), fault=next(faults, ""))
    assert open_api({"host": plain_twin.url}).get(resource.CONFIG_MAP, "ns", "x") == document("x", 1)
    assert len(plain_twin.arrived) == 4


def test_an_answer_is_not_mixed_with_the_rest_of_one_before(plain_twin):
    """After a cut the connection is not used again."""
    replies = iter([Reply(document=document("first", 1), fault="cut"), Reply(document=document("second", 2))])
    plain_twin.answer = lambda request: next(replies)
    call = exchange(plain_twin)
    with pytest.raises(Broken):
        call(READ, 2)
    assert call(READ, 2).json() == document("second", 2)


def test_connections_are_kept(plain_twin):
    api = open_api({"host": plain_twin.url})
    for _again in range(5):
        api.get(resource.SECRET, "ns", "x")
    pools = api.transport.exchange.connection.pool.pools
    assert [pools[key].num_connections for key in pools.keys()] == [1]  # noqa: SIM118  urllib3's container does not iterate


def test_a_body_that_comes_drop_by_drop_ends_in_time(plain_twin):
    def drops():
        for _drop in range(100):
            time.sleep(0.1)
            yield b" "

    plain_twin.answer = lambda request: Reply(lines=drops())
    began = time.monotonic()
    with pytest.raises(Broken) as caught:
        exchange(plain_twin)(READ, 1.0)
    assert caught.value.detail == "the answer did not end within 1 s"
    assert time.monotonic() - began < 3


def test_a_page_that_is_no_kubernetes_answer(plain_twin):
    plain_twin.answer = lambda request: Reply(text=b"<html>welcome</html>", headers={"Content-Type": "text/html"})
    with pytest.raises(Malformed) as caught:
        open_api({"host": plain_twin.url}).get(resource.SECRET, "ns", "x")
    assert str(caught.value) == (
        "read Secret ns/x: the answer (status 200, text/html) is not a JSON object. Check that the address is that of a Kubernetes API server."
    )


def sentence(twin: ApiTwin, reply: Reply, kind: type[OperationError], request=READ) -> str:
    twin.answer = lambda arrived: reply
    with pytest.raises(kind) as caught:
        open_api({"host": twin.url}).send(request)
    assert "canary" not in str(caught.value)
    assert "Y2FuYXJ5" not in str(caught.value)
    return str(caught.value)


def rbac(where: str) -> Reply:
    user = "system:serviceaccount:ci:restore"
    return refusal(403, "Forbidden", f'secrets "x" is forbidden: User "{user}" cannot get resource "secrets" in API group ""{where}')


def test_a_missing_permission_names_verb_resource_namespace_and_user(plain_twin):
    assert sentence(plain_twin, rbac(' in the namespace "ns"'), Forbidden) == (
        "read Secret ns/x: user system:serviceaccount:ci:restore may not get secrets in namespace ns (403). "
        'Grant it by a Role in namespace ns: apiGroups [""], resources ["secrets"], verbs ["get"].'
    )
    assert sentence(plain_twin, rbac(" at the cluster scope"), Forbidden) == (
        "read Secret ns/x: user system:serviceaccount:ci:restore may not get secrets in the whole cluster (403). "
        'Grant it by a ClusterRole: apiGroups [""], resources ["secrets"], verbs ["get"].'
    )


def test_another_refusal_keeps_its_reason(plain_twin):
    reply = refusal(403, "Forbidden", 'pods "x" is forbidden: exceeded quota: small')
    assert sentence(plain_twin, reply, Forbidden) == (
        'read Secret ns/x: forbidden (403): pods "x" is forbidden: exceeded quota: small. '
        "Look who refused it: a quota, an admission webhook, or missing permissions."
    )


def test_an_unknown_kind_is_told_from_a_missing_object(plain_twin):
    reply = refusal(404, "NotFound", "the server could not find the requested resource")
    assert sentence(plain_twin, reply, Absent, resource.list_page(resource.BACKUP, "velero")) == (
        "list Backup objects in namespace velero: the server does not know this kind of object (404). "
        "Install what brings it (its CustomResourceDefinition), or check the address of the server."
    )
    # a custom resource's path is answered in plain text while its group is not there
    reply = Reply(404, text=b"404 page not found\n", headers={"Content-Type": "text/plain"})
    assert "does not know this kind" in sentence(plain_twin, reply, Absent, resource.list_page(resource.BACKUP, "velero"))
    reply = refusal(404, "NotFound", 'secrets "x" not found', name="x", kind="secrets")
    assert sentence(plain_twin, reply, Absent, resource.merge_patch(resource.SECRET, "ns", "x", {})) == (
        'change Secret ns/x: secrets "x" not found (404). Check name and namespace.'
    )


def test_get_tells_both_apart_too(plain_twin):
    api = open_api({"host": plain_twin.url})
    plain_twin.answer = lambda request: refusal(404, "NotFound", 'secrets "x" not found', name="x", kind="secrets")
    assert api.get(resource.SECRET, "ns", "x") is None
    plain_twin.answer = lambda request: refusal(404, "NotFound", "the server could not find the requested resource")
    with pytest.raises(Absent):
        api.get(resource.BACKUP, "ns", "x")


def test_conflicts(plain_twin):
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "helm" using apps/v1', "field": ".spec.replicas"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl" using v1', "field": ".data.a"},
    ]
    reply = refusal(409, "Conflict", "Apply failed with 2 conflicts", causes=causes)
    assert sentence(plain_twin, reply, Conflict, resource.server_side_apply(resource.CONFIG_MAP, "ns", BODY)) == (
        "apply ConfigMap ns/x: other managers own fields that are to be changed (409): "
        '.spec.replicas (conflict with "helm" using apps/v1); .data.a (conflict with "kubectl" using v1). '
        "Leave these fields to them, or take them over by force."
    )
    reply = refusal(409, "AlreadyExists", 'secrets "x" already exists')
    assert sentence(plain_twin, reply, Conflict, resource.create(resource.SECRET, "ns", BODY)) == (
        "create Secret ns/x: it exists already (409). Run the task again; it looks first."
    )
    reply = refusal(409, "Conflict", "the object has been modified")
    assert sentence(plain_twin, reply, Conflict, resource.replace(resource.SECRET, "ns", BODY)) == (
        "replace Secret ns/x: somebody else changed it at the same time (409): the object has been modified. Run the task again."
    )


def test_an_object_that_the_server_does_not_accept_names_its_fields(plain_twin):
    causes = [{"reason": "FieldValueInvalid", "message": 'Invalid value: "Foo": must be lower case', "field": "metadata.name"}]
    reply = refusal(422, "Invalid", 'ConfigMap "Foo" is invalid', causes=causes)
    assert sentence(plain_twin, reply, Invalid, resource.create(resource.CONFIG_MAP, "ns", BODY)) == (
        'create ConfigMap ns/x: the server does not accept it (422): metadata.name: Invalid value: "Foo": must be lower case. '
        "Correct the named fields."
    )


@pytest.mark.parametrize(
    ("reply", "seen"),
    [
        (
            refusal(422, "Invalid", "", causes=[{"message": 'Invalid value: "canary \\"quoted\\" value": too long', "field": "data[k]"}]),
            "the server does not accept it (422): data[k]: Invalid value: too long",
        ),
        (
            refusal(
                400,
                "BadRequest",
                'Secret in version "v1" cannot be handled: json: bad, error found in #10 byte of ...|"k":"canary"}|..., bigger context',
            ),
            'the server does not accept it (400): Secret in version "v1" cannot be handled: json: bad',
        ),
        (refusal(422, "Invalid", "data[k]: Invalid value: canary: no"), "the server does not accept it (422): data[k]: Invalid value: no"),
        (
            refusal(422, "Invalid", "[a: Invalid value: canary, b: Duplicate value: canary]"),
            "the server does not accept it (422): [a: Invalid value, b: Duplicate value]",
        ),
    ],
)
def test_a_value_of_a_secret_is_in_no_message(reply, seen, plain_twin):
    text = sentence(plain_twin, reply, Invalid, resource.create(resource.SECRET, "ns", BODY))
    assert text.startswith(f"create Secret ns/x: {seen}. Correct the")


def test_other_statuses(plain_twin):
    assert sentence(plain_twin, refusal(410, "Expired", "too old resource version"), Expired) == (
        "read Secret ns/x: too old resource version (410). Read it again."
    )
    assert sentence(plain_twin, Reply(405, status_document(405, "MethodNotAllowed", "not allowed")), OperationError) == (
        "read Secret ns/x: not allowed (405). Look at the API server and its log."
    )
    assert "the server is busy (429)" in sentence(plain_twin, refusal(429, "TooManyRequests", "slow down"), OperationError)


def test_writes_whose_answer_is_lost_are_not_repeated(plain_twin):
    plain_twin.answer = lambda request: Reply(fault="reset")
    api = open_api({"host": plain_twin.url})
    with pytest.raises(AnswerLost):
        api.send(resource.create(resource.SECRET, "ns", BODY))
    assert plain_twin.paths() == ["POST /api/v1/namespaces/ns/secrets"]


def test_reads_end_when_nothing_helps(plain_twin):
    plain_twin.answer = lambda request: Reply(fault="reset")
    with pytest.raises(Unreachable) as caught:
        open_api({"host": plain_twin.url}).send(READ)
    assert str(caught.value) == (
        "read Secret ns/x: the connection broke (Connection reset by peer) (5 tries). Check the address, the network and the proxy settings."
    )
