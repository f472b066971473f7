# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests as data: where they go, what they say of themselves, and which of them may be sent twice."""

from __future__ import annotations

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Effect
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (resource.SECRET.path("velero", "cloud"), "/api/v1/namespaces/velero/secrets/cloud"),
        (resource.SECRET.path("velero"), "/api/v1/namespaces/velero/secrets"),
        (resource.POD.path(), "/api/v1/pods"),
        (resource.POD.path("ns", "p", "log"), "/api/v1/namespaces/ns/pods/p/log"),
        (resource.NODE.path("ignored", "n1"), "/api/v1/nodes/n1"),
        (resource.BACKUP_STORAGE_LOCATION.path("velero", "default"), "/apis/velero.io/v1/namespaces/velero/backupstoragelocations/default"),
        (resource.CUSTOM_RESOURCE_DEFINITION.path("", "a.b"), "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/a.b"),
        (resource.SECRET.path("a/../b", "c?d"), "/api/v1/namespaces/a%2F..%2Fb/secrets/c%3Fd"),
    ],
)
def test_paths(path, wanted):
    assert path == wanted


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        (resource.SECRET.target("velero", "cloud"), "Secret velero/cloud"),
        (resource.NODE.target("", "n1"), "Node n1"),
        (resource.POD.target("ns"), "Pod objects in namespace ns"),
        (resource.POD.target(), "Pod objects"),
    ],
)
def test_words(target, wanted):
    assert target == wanted


BODY = {"metadata": {"name": "x"}}
AT_VERSION = {"metadata": {"name": "x", "resourceVersion": "7"}}
REQUESTS = {
    "get": (resource.get(resource.SECRET, "ns", "x"), Effect.READ, True),
    "list": (resource.list_page(resource.SECRET, "ns"), Effect.READ, True),
    "watch": (resource.watch(resource.SECRET, "ns", resource_version="1", seconds=5), Effect.READ, True),
    "create": (resource.create(resource.SECRET, "ns", BODY), Effect.WRITE, False),
    "create dry": (resource.create(resource.SECRET, "ns", BODY, dry_run=True), Effect.PROBE, True),
    "merge patch": (resource.merge_patch(resource.SECRET, "ns", "x", {"data": {}}), Effect.WRITE, True),
    "merge patch at a version": (resource.merge_patch(resource.SECRET, "ns", "x", AT_VERSION), Effect.WRITE, False),
    "merge patch at a version, dry": (resource.merge_patch(resource.SECRET, "ns", "x", AT_VERSION, dry_run=True), Effect.PROBE, True),
    "json patch": (resource.json_patch(resource.SECRET, "ns", "x", []), Effect.WRITE, False),
    "apply": (resource.server_side_apply(resource.SECRET, "ns", BODY), Effect.WRITE, True),
    "apply at a version": (resource.server_side_apply(resource.SECRET, "ns", AT_VERSION), Effect.WRITE, False),
    "replace": (resource.replace(resource.SECRET, "ns", AT_VERSION), Effect.WRITE, False),
    "delete": (resource.delete(resource.SECRET, "ns", "x"), Effect.WRITE, False),
    "delete of one uid": (resource.delete(resource.SECRET, "ns", "x", uid="u"), Effect.WRITE, True),
    "access review": (resource.access_review("get", resource.SECRET, "ns"), Effect.PROBE, True),
    "status request": (resource.create(resource.SERVER_STATUS_REQUEST, "ns", BODY), Effect.PROBE, True),
    "status request removed": (resource.delete(resource.SERVER_STATUS_REQUEST, "ns", "x", uid="u"), Effect.PROBE, True),
    "download request": (resource.create(resource.DOWNLOAD_REQUEST, "ns", BODY), Effect.PROBE, True),
    "backup": (resource.create(resource.BACKUP, "ns", BODY), Effect.WRITE, False),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_effect_and_repetition(name):
    request, effect, repeatable = REQUESTS[name]
    assert (request.effect, request.may_repeat) == (effect, repeatable)


def test_a_delete_names_the_object_that_was_read():
    request = resource.delete(resource.SECRET, "ns", "x", uid="u", resource_version="7")
    assert request.body["preconditions"] == {"uid": "u", "resourceVersion": "7"}
    assert request.accept == (404,)
    assert "preconditions" not in resource.delete(resource.SECRET, "ns", "x").body


def test_an_apply_says_who_and_whether_by_force():
    assert resource.server_side_apply(resource.SECRET, "ns", BODY).query == {"fieldManager": "serverops.circleci", "force": "false"}
    forced = resource.server_side_apply(resource.SECRET, "ns", BODY, field_manager="me", force=True, dry_run=True)
    assert forced.query == {"fieldManager": "me", "force": "true", "dryRun": "All"}
    assert forced.content_type == "application/apply-patch+yaml"
    assert (forced.body["apiVersion"], forced.body["kind"]) == ("v1", "Secret")


def test_a_body_is_copied_so_that_a_plan_stays_what_it_was():
    body = {"metadata": {"name": "x", "labels": {"a": "b"}}}
    request = resource.create(resource.SECRET, "ns", body)
    body["metadata"]["labels"]["a"] = "changed"
    assert request.body["metadata"]["labels"] == {"a": "b"}


def test_nothing_of_a_body_or_query_is_shown():
    request = resource.create(resource.SECRET, "ns", {"metadata": {"name": "x"}, "data": {"k": "canary"}})
    assert request.shown() == {"method": "POST", "path": "/api/v1/namespaces/ns/secrets"}
