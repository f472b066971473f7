# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the load balancer twin decides for one Service, without a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bed.twins.load_balancer_twin import AddressBook, wanted_ingress

FIRST = [{"ip": "10.9.0.1", "ipMode": "VIP"}]
SECOND = [{"ip": "10.9.0.2", "ipMode": "VIP"}]


def service(uid: str = "u1", ingress: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"uid": uid, "name": f"name-{uid}", "namespace": "n"},
        "spec": {"type": "LoadBalancer", **spec},
        "status": {"loadBalancer": {"ingress": ingress} if ingress else {}},
    }


@pytest.fixture
def book() -> AddressBook:
    return AddressBook("10.9.0.0/30")


def test_each_service_gets_an_address_until_the_pool_is_used_up(book: AddressBook) -> None:
    assert wanted_ingress(service("u1"), book) == FIRST
    assert wanted_ingress(service("u2"), book) == SECOND
    assert wanted_ingress(service("u3"), book) is None
    assert book.take_back("u1") == "10.9.0.1"
    assert wanted_ingress(service("u3"), book) == FIRST


def test_an_address_that_was_given_back_is_the_last_to_be_given_again(book: AddressBook) -> None:
    assert wanted_ingress(service("u1"), book) == FIRST
    book.take_back("u1")
    assert wanted_ingress(service("again"), book) == SECOND


def test_a_new_cluster_gets_other_addresses_than_the_lost_one(tmp_path: Path) -> None:
    kept = tmp_path / "addresses.json"
    for expected in (["10.9.1.1", "10.9.1.2"], ["10.9.1.3", "10.9.1.4"], ["10.9.1.5", "10.9.1.6"], ["10.9.1.1", "10.9.1.2"]):
        book = AddressBook("10.9.1.0/29", kept)
        assert [book.give("u1"), book.give("u2")] == expected


def test_a_service_with_its_address_is_left_alone(book: AddressBook) -> None:
    assert wanted_ingress(service("u1"), book) == FIRST
    assert wanted_ingress(service("u1", FIRST), book) is None


def test_a_lost_status_is_written_again_with_the_same_address(book: AddressBook) -> None:
    assert wanted_ingress(service("u1"), book) == FIRST
    assert wanted_ingress(service("u1"), book) == FIRST


def test_after_a_restart_addresses_are_adopted_and_given_to_nobody_else(book: AddressBook) -> None:
    assert wanted_ingress(service("u1", FIRST), book) is None
    assert wanted_ingress(service("u2"), book) == SECOND


@pytest.mark.parametrize("ingress", [[{"ip": "192.0.2.1"}], [{"hostname": "h.example"}], [*FIRST, *SECOND]])
def test_an_ingress_that_is_not_the_twins_is_replaced(book: AddressBook, ingress: list[dict[str, Any]]) -> None:
    assert wanted_ingress(service("u1", ingress), book) == FIRST


def test_an_address_claimed_twice_stays_with_the_first(book: AddressBook) -> None:
    assert wanted_ingress(service("u1", FIRST), book) is None
    assert wanted_ingress(service("u2", FIRST), book) == SECOND


def test_a_service_that_stops_being_a_load_balancer_loses_its_address(book: AddressBook) -> None:
    assert wanted_ingress(service("u1"), book) == FIRST
    assert wanted_ingress(service("u1", FIRST, type="ClusterIP"), book) == []
    assert book.given == {}


def test_services_of_another_controller_are_left_alone(book: AddressBook) -> None:
    assert wanted_ingress(service("u1", loadBalancerClass="example.com/other"), book) is None
    assert wanted_ingress(service("u1", [{"ip": "192.0.2.1"}], loadBalancerClass="example.com/other"), book) is None
    assert wanted_ingress(service("u2", type="ClusterIP"), book) is None
    assert book.given == {}


def test_a_service_that_is_being_deleted_gets_nothing(book: AddressBook) -> None:
    leaving = service("u1")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert wanted_ingress(leaving, book) is None


def test_host_names_in_place_of_addresses(book: AddressBook) -> None:
    wanted = wanted_ingress(service("u1"), book, "elb.example")
    assert wanted == [{"hostname": "name-u1-10-9-0-1.elb.example"}]
    assert wanted_ingress(service("u1", wanted), book, "elb.example") is None
