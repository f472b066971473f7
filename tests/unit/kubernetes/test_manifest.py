# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as manifests that can be applied again, addresses of Services, and what is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import manifest


def item(kind: str, **rest: Any) -> dict[str, Any]:
    metadata = {
        "name": "x", "namespace": "n", "uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{}],
        "labels": {"a": "b"}, "annotations": {manifest.LAST_APPLIED: "{}", "kept": "yes"},
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **rest}


def test_a_manifest_has_nothing_of_the_cluster_that_it_was_read_from() -> None:
    answer = manifest.manifest(item("Secret", type="Opaque", data={"k": "djE="}))
    assert answer == {
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"k": "djE="},
        "metadata": {"name": "x", "namespace": "n", "labels": {"a": "b"}, "annotations": {"kept": "yes"}},
    }  # fmt: skip


def test_annotations_that_are_only_kubectls_are_left_out() -> None:
    read = item("ConfigMap")
    del read["metadata"]["annotations"]["kept"]
    assert "annotations" not in manifest.manifest(read)["metadata"]


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"port": 80, "nodePort": 31000}]
    return item("Service", spec={"type": "LoadBalancer", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": ports, **spec})


def test_a_service_loses_its_addresses_and_node_ports_and_keeps_that_it_has_none() -> None:
    assert manifest.manifest(service())["spec"] == {"type": "LoadBalancer", "ports": [{"port": 80}]}
    assert manifest.manifest(service(clusterIP="None"))["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize(
    ("ingress", "expected"),
    [(None, []), ([{}], []), ([{"ip": "192.0.2.1"}, {"hostname": "h.example", "ip": "192.0.2.2"}], ["192.0.2.1", "h.example"])],
)
def test_addresses_are_host_names_where_there_are_some(ingress: Any, expected: list[str]) -> None:
    read = service() | {"status": {"loadBalancer": {"ingress": ingress}}}
    assert manifest.addresses(read) == expected
    shown = manifest.shown(read)
    assert (shown["type"], shown["addresses"]) == ("LoadBalancer", expected)
    assert "status" not in shown["manifest"]


def options(**over: Any) -> dict[str, Any]:
    return {"objects": [], "access": []} | over


GOOD = {"kind": "Secret", "namespace": "n", "name": "x.y"}
ASKED = {"verb": "create", "group": "velero.io", "resource": "backups", "namespace": ""}


def test_what_is_right_is_taken() -> None:
    manifest.check(options(objects=[GOOD, {"kind": "Service", "namespace": "n", "selector": "a=b"}], access=[ASKED, ASKED | {"group": ""}]))


@pytest.mark.parametrize(
    ("option", "over"),
    [
        ("objects.namespace", {"objects": [GOOD | {"namespace": "Not A Name"}]}),
        ("objects.name", {"objects": [GOOD | {"name": "a/b"}]}),
        ("objects.selector", {"objects": [GOOD | {"selector": "a=b"}]}),
        ("access.verb", {"access": [ASKED | {"verb": "Create"}]}),
        ("access.group", {"access": [ASKED | {"group": "a/b"}]}),
        ("access.resource", {"access": [ASKED | {"resource": "backups/status"}]}),
        ("access.namespace", {"access": [ASKED | {"namespace": "*"}]}),
    ],
)
def test_what_cannot_work_is_refused_by_its_option(option: str, over: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=option):
        manifest.check(options(**over))
