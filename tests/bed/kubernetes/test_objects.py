# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects, watches and port-forwards against a real API server and real pods."""

from __future__ import annotations

import datetime
import threading
import time
import urllib.request

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, Conflict, Forbidden, Invalid
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource, watch
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.connection import Connection
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.port_forward import PortForward
from ansible_collections.serverops.circleci.tests.unit.kubernetes.twins import ProxyTwin

from tests.bed.kubernetes.conftest import Place, open_api


def lists(place: Place, mark: int) -> int:
    """Return how many lists of ConfigMaps in our namespace the API server has served since a mark of its audit log."""
    references = [entry.get("objectRef", {}) for entry in place.bed.audit(mark) if entry["verb"] == "list"]
    return len([reference for reference in references if (reference.get("namespace"), reference.get("resource")) == (place.namespace, "configmaps")])


def test_an_object_from_making_to_deleting(place, admin):
    body = {"metadata": {"name": "life"}, "stringData": {"k": "v1"}}
    assert admin.get(resource.SECRET, place.namespace, "life") is None
    assert admin.create(resource.SECRET, place.namespace, body, dry_run=True)["metadata"]["name"] == "life"
    assert admin.get(resource.SECRET, place.namespace, "life") is None
    made = admin.create(resource.SECRET, place.namespace, body)
    with pytest.raises(Conflict, match="it exists already"):
        admin.create(resource.SECRET, place.namespace, body)
    changed = admin.patch(resource.SECRET, place.namespace, "life", {"stringData": {"k": "v2"}, "metadata": {"labels": {"a": "b"}}})
    assert changed["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    with pytest.raises(Conflict, match="somebody else changed it at the same time"):
        admin.replace(resource.SECRET, place.namespace, made)
    with pytest.raises(Conflict):
        admin.delete(resource.SECRET, place.namespace, "life", uid="00000000-0000-0000-0000-000000000000")
    assert admin.delete(resource.SECRET, place.namespace, "life", uid=made["metadata"]["uid"]) is not None
    assert admin.delete(resource.SECRET, place.namespace, "life", uid=made["metadata"]["uid"]) is None
    assert len(admin.transport.record.written) == 4


def test_apply_names_the_other_manager_and_takes_over_by_force(place, admin):
    body = {"metadata": {"name": "applied"}, "data": {"a": "1"}}
    admin.apply(resource.CONFIG_MAP, place.namespace, body)
    place.bed.kubectl(
        "-n", place.namespace, "patch", "configmap", "applied", "--type=merge", "-p", '{"data": {"a": "2"}}', "--field-manager=somebody"
    )
    with pytest.raises(Conflict) as caught:
        admin.apply(resource.CONFIG_MAP, place.namespace, body)
    assert str(caught.value) == (
        f"apply ConfigMap {place.namespace}/applied: other managers own fields that are to be changed (409): "
        '.data.a (conflict with "somebody" using v1). Leave these fields to them, or take them over by force.'
    )
    assert admin.apply(resource.CONFIG_MAP, place.namespace, body, force=True)["data"] == {"a": "1"}
    again = admin.apply(resource.CONFIG_MAP, place.namespace, body)
    assert again["metadata"]["resourceVersion"] == place.object("configmap", "applied")["metadata"]["resourceVersion"]


def test_lists_in_pages(place, admin, monkeypatch):
    monkeypatch.setitem(resource.list_page.__kwdefaults__, "limit", 2)
    for number in range(5):
        admin.create(resource.CONFIG_MAP, place.namespace, {"metadata": {"name": f"page-{number}", "labels": {"of": "pages"}}})
    mark = place.bed.audit_mark()
    listing = admin.list(resource.CONFIG_MAP, place.namespace, label_selector="of=pages")
    assert [item["metadata"]["name"] for item in listing.items] == [f"page-{number}" for number in range(5)]
    assert listing.resource_version.isdigit()
    assert lists(place, mark) == 3


def test_a_kind_that_the_server_does_not_know(place, admin):
    unknown = resource.Resource("nobody.example.com", "v1", "things", "Thing")
    for read in (lambda: admin.list(unknown, place.namespace), lambda: admin.get(unknown, place.namespace, "x")):
        with pytest.raises(Absent, match="the server does not know this kind of object"):
            read()


def test_a_field_that_is_wrong_is_named(place, admin):
    with pytest.raises(Invalid, match=r"the server does not accept it \(422\): metadata\.name: ") as caught:
        admin.create(resource.SECRET, place.namespace, {"metadata": {"name": "Not Lower"}, "stringData": {"k": "canary"}})
    assert "canary" not in str(caught.value)
    with pytest.raises(Invalid) as caught:
        admin.create(resource.SECRET, place.namespace, {"metadata": {"name": "bad"}, "data": {"k": "canary not base64"}})
    assert "canary" not in str(caught.value)


def test_the_servers_clock_and_version(admin):
    there, here = admin.server_time(), datetime.datetime.now(datetime.UTC)
    assert abs((there - here).total_seconds()) < 3
    assert admin.server_version()["gitVersion"].startswith("v1.")


def test_a_watch_sees_changes_at_once(place, admin):
    admin.create(resource.CONFIG_MAP, place.namespace, {"metadata": {"name": "watched"}, "data": {"n": "0"}})
    other = open_api({"kubeconfig": str(place.bed.kubeconfig)})
    changed: dict[str, float] = {}

    def change() -> None:
        for number in range(1, 4):
            time.sleep(0.7)
            changed[str(number)] = time.monotonic()
            other.patch(resource.CONFIG_MAP, place.namespace, "watched", {"data": {"n": str(number)}})
        time.sleep(0.7)
        other.delete(resource.CONFIG_MAP, place.namespace, "watched")

    threading.Thread(target=change, daemon=True).start()
    seen: dict[str, float] = {}
    for item in watch.snapshots(admin, resource.CONFIG_MAP, place.namespace, "watched", deadline=Deadline(20)):
        if item is None:
            break
        seen.setdefault(item["data"]["n"], time.monotonic())
    assert list(seen) == ["0", "1", "2", "3"]
    assert max(seen[number] - changed[number] for number in changed) < 1.0


def test_a_watch_over_several_windows(place, admin, monkeypatch):
    """A window ends after two seconds here; nothing is missed between two of them, and no list is needed."""
    monkeypatch.setattr(watch, "WINDOW", 2)
    mark = place.bed.audit_mark()
    other = open_api({"kubeconfig": str(place.bed.kubeconfig)})
    threading.Timer(5.0, lambda: other.create(resource.CONFIG_MAP, place.namespace, {"metadata": {"name": "late"}})).start()
    found = next(item for item in watch.snapshots(admin, resource.CONFIG_MAP, place.namespace, "late", deadline=Deadline(20)) if item)
    assert found["metadata"]["name"] == "late"
    assert lists(place, mark) == 1


def test_a_watch_whose_connection_is_cut_goes_on_with_a_list(place):
    proxy = ProxyTwin()
    watching = open_api({"kubeconfig": str(place.bed.kubeconfig), "proxy": proxy.url})
    other = open_api({"kubeconfig": str(place.bed.kubeconfig)})
    other.create(resource.CONFIG_MAP, place.namespace, {"metadata": {"name": "cut"}, "data": {"n": "0"}})
    mark = place.bed.audit_mark()
    seen: list[str] = []
    for item in watch.snapshots(watching, resource.CONFIG_MAP, place.namespace, "cut", deadline=Deadline(20), tick=0.5):
        state = item["data"]["n"] if item else "-"
        if state not in seen:
            seen.append(state)
            if state == "2":
                break
            proxy.cut()
            other.patch(resource.CONFIG_MAP, place.namespace, "cut", {"data": {"n": str(int(state) + 1)}})
    proxy.close()
    assert seen == ["0", "1", "2"]
    assert lists(place, mark) >= 2


def test_port_forward_and_log(place, admin, web):
    connection = Connection.from_options({"kubeconfig": str(place.bed.kubeconfig)}, environ={})
    with PortForward(connection, place.namespace, web, 8080) as opened:
        for _again in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{opened.address[1]}/", timeout=10) as answer:
                assert answer.read() == b"hello\n"
        assert opened.failures == []
    assert "started" in admin.pod_log(place.namespace, web, tail_lines=5)
    with PortForward(connection, place.namespace, web, 9999) as opened:
        with pytest.raises(OSError):  # noqa: PT011  how the end is told depends on when it comes
            urllib.request.urlopen(f"http://127.0.0.1:{opened.address[1]}/", timeout=10)
        assert "refused" in " ".join(opened.failures)


def test_port_forward_without_permission_or_pod(place, web):
    options = {"host": place.bed.api_server, "api_key": place.token("reader"), "ca_cert": str(place.bed.ca_file)}
    with (
        pytest.raises(Forbidden, match=r"may not (get|create) pods/portforward"),
        PortForward(Connection.from_options(options, environ={}), place.namespace, web, 8080),
    ):
        pass
    connection = Connection.from_options({"kubeconfig": str(place.bed.kubeconfig)}, environ={})
    with pytest.raises(Absent, match='pods "nobody" not found'), PortForward(connection, place.namespace, "nobody", 8080):
        pass


def test_logs_of_a_pod_that_is_not_there(place, admin):
    with pytest.raises(Absent, match='pods "nobody" not found'):
        admin.pod_log(place.namespace, "nobody")
