# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from load balancers that answer elsewhere after a restore."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.serverops.circleci.plugins.filter.restore_follow_up import FilterModule
from ansible_collections.serverops.circleci.plugins.module_utils._server.follow_up import ANNOTATION, balancers, mapped, recorded

NAMES = {"circleci-server-traefik": ["circleci.example.com"]}


def service(name: str, *addresses: str, namespace: str = "cci", kind: str = "LoadBalancer") -> dict[str, Any]:
    return {"kind": "Service", "namespace": namespace, "name": name, "type": kind, "addresses": list(addresses)}


def told(services: list[dict[str, Any]], **given: Any) -> dict[str, Any]:
    answer: dict[str, Any] = FilterModule().filters()["restore_follow_up"](services, **given)
    return answer


def test_an_address_that_moved_names_records_and_settings() -> None:
    answer = told(
        [service("circleci-server-traefik", "192.0.2.9"), service("vm-service", "192.0.2.8")],
        before={"cci/circleci-server-traefik": ["192.0.2.1"], "cci/vm-service": ["192.0.2.2"]},
        dns_names=NAMES,
    )
    assert [(entry["name"], entry["state"], entry["before"], entry["after"]) for entry in answer["load_balancers"]] == [
        ("circleci-server-traefik", "moved", ["192.0.2.1"], ["192.0.2.9"]),
        ("vm-service", "moved", ["192.0.2.2"], ["192.0.2.8"]),
    ]
    assert answer["steps"] == [
        "Change the DNS records of circleci.example.com from 192.0.2.1 to 192.0.2.9.",
        "Change what names load balancer cci/circleci-server-traefik from 192.0.2.1 to 192.0.2.9: General Settings: Domain Name, by its DNS records.",
        "Change what names load balancer cci/vm-service from 192.0.2.2 to 192.0.2.8: VM service: VM Service Load Balancer Hostname.",
    ]
    assert answer["text"].splitlines()[0].startswith("1. Change the DNS records")


def test_an_address_that_stayed_needs_nothing() -> None:
    answer = told([service("vm-service", "a", "b")], before={"cci/vm-service": ["b", "a"]})
    assert (answer["load_balancers"][0]["state"], answer["steps"], answer["text"]) == ("same", [], "")


def test_a_backup_that_remembers_nothing_is_told_of() -> None:
    (step,) = told([service("web", "192.0.2.9")])["steps"]
    assert step == "Change whatever names load balancer cci/web to 192.0.2.9 (the backup does not say where they pointed)."


def test_one_without_an_address_and_one_that_is_not_there() -> None:
    answer = told([service("one")], before={"cci/one": ["192.0.2.1"], "cci/two": ["192.0.2.2"]})
    assert [entry["state"] for entry in answer["load_balancers"]] == ["waiting", "gone"]
    assert "has no address yet (it was 192.0.2.1)" in answer["steps"][0]
    assert "cci/two (192.0.2.2) was not restored" in answer["steps"][1]


def test_nomad_clients_are_restarted_whether_their_names_are_known_or_not() -> None:
    services = [service("nomad-server-external", "192.0.2.9")]
    before = {"cci/nomad-server-external": ["192.0.2.1"]}
    named = told(services, before=before, nomad_clients=["b", "a", "b"])
    assert named["nomad"] == {"clients": ["a", "b"], "server": ["192.0.2.9"], "moved": True}
    assert named["steps"][-1].endswith("a, b.")
    assert told(services, before=before)["steps"][-1].startswith("Restart all Nomad clients")
    assert told([service("web", "x")], before={"cci/web": ["x"]})["steps"] == []


def test_old_addresses_follow_a_namespace_that_was_mapped() -> None:
    assert mapped({"cci/a": ["x"], "other/b": ["y"]}, {"cci": "scratch"}) == {"scratch/a": ["x"], "other/b": ["y"]}
    answer = told([service("a", "z", namespace="scratch")], before={"cci/a": ["x"]}, namespace_mapping={"cci": "scratch"})
    assert answer["load_balancers"][0]["state"] == "moved"


def test_services_of_other_types_are_not_load_balancers() -> None:
    assert balancers([service("a", "x"), service("b", kind="ClusterIP")]) == {"cci/a": ["x"]}
    assert told([service("b", kind="ClusterIP")])["load_balancers"] == []


def test_what_a_backup_remembers_is_read_whatever_it_is() -> None:
    assert recorded({ANNOTATION: '{"cci/a": ["x"]}'}) == {"cci/a": ["x"]}
    for nothing in (None, {}, {ANNOTATION: "no JSON"}, {ANNOTATION: "[]"}):
        assert recorded(nothing) == {}
    services = [service("a", "y")]
    assert told(services, annotations={ANNOTATION: '{"cci/a": ["x"]}'})["load_balancers"][0]["before"] == ["x"]
    assert told(services, before={"cci/a": ["z"]}, annotations={ANNOTATION: '{"cci/a": ["x"]}'})["load_balancers"][0]["before"] == ["z"]


def test_input_that_is_something_else_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="restore_follow_up"):
        told([{"type": "LoadBalancer"}])
