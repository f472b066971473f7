# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Following objects: what is seen at each change, and every way in which a stream can end or lie."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Forbidden, OperationError
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource, watch
from ansible_collections.serverops.circleci.tests.unit.kubernetes.conftest import open_api
from ansible_collections.serverops.circleci.tests.unit.kubernetes.twins import (
    ApiTwin,
    Arrived,
    Reply,
    document,
    event,
    pauses,
    refusal,
    status_document,
)

Script = Callable[[Arrived], Reply]


class Story:
    """What a twin serves: lists in turn (the last one again and again), and watches in turn."""

    def __init__(self, twin: ApiTwin, lists: list[Any], watches: list[Reply]) -> None:
        self._twin = twin
        self._lists = lists
        self._watches = iter(watches)
        self._listed = 0
        twin.answer = self._answer

    def _answer(self, request: Arrived) -> Reply:
        if "watch" in request.query:
            # when the story is over, a watch is silent
            return next(self._watches, None) or Reply(lines=pauses(min(3.0, float(request.query["timeoutSeconds"]))))
        content = self._lists[min(self._listed, len(self._lists) - 1)]
        self._listed += 1
        return content if isinstance(content, Reply) else Reply(document=content)

    def sent(self) -> list[str]:
        """Return list or watch@VERSION for each request."""
        return [f"watch@{request.query['resourceVersion']}" if "watch" in request.query else "list" for request in self._twin.arrived]


def listing(version: int, *items: Any) -> dict[str, Any]:
    return {"kind": "ConfigMapList", "metadata": {"resourceVersion": str(version)}, "items": list(items)}


def states(twin: ApiTwin, until: str, seconds: float = 8.0, **rest: Any) -> list[str]:
    """Follow the object x until its `state` is `until`; return the states seen, each once in a row (- for absent)."""
    seen: list[str] = []
    for item in watch.snapshots(open_api({"host": twin.url}), resource.CONFIG_MAP, "ns", "x", deadline=Deadline(seconds), tick=0.1, **rest):
        state = item["state"] if item else "-"
        if not seen or seen[-1] != state:
            seen.append(state)
        if state == until:
            return seen
    raise AssertionError(f"{until} was not seen, only {seen}")


def test_changes_are_seen_one_by_one(plain_twin):
    lines = pauses(
        event("ADDED", "x", 6, state="a"),
        event("MODIFIED", "x", 7, state="b"),
        0.1,
        event("DELETED", "x", 8, state="b"),
        event("ADDED", "x", 9, state="c"),
    )
    story = Story(plain_twin, [listing(5)], [Reply(lines=lines)])
    assert states(plain_twin, "c") == ["-", "a", "b", "-", "c"]
    assert story.sent() == ["list", "watch@5"]
    asked = plain_twin.arrived[1]
    assert asked.path == "/api/v1/namespaces/ns/configmaps"
    assert asked.query["fieldSelector"] == "metadata.name=x"
    assert asked.query["allowWatchBookmarks"] == "true"
    assert int(asked.query["timeoutSeconds"]) <= watch.WINDOW


def test_events_are_seen_at_once(plain_twin):
    Story(plain_twin, [listing(5)], [Reply(lines=pauses(1.0, event("ADDED", "x", 6, state="a"), 3.0))])
    began = time.monotonic()
    states(plain_twin, "a")
    assert 0.9 < time.monotonic() - began < 1.6


def test_lines_in_pieces_and_several_at_once(plain_twin):
    text = event("ADDED", "x", 6, state="a") + event("MODIFIED", "x", 7, state="b") + event("MODIFIED", "x", 8, state="c")
    Story(plain_twin, [listing(5)], [Reply(lines=pauses(text[:10], 0.1, text[10 : len(text) // 2], 0.1, text[len(text) // 2 :]))])
    assert states(plain_twin, "c") == ["-", "a", "b", "c"]


def test_a_stream_without_chunks(plain_twin):
    """As through an HTTP/1.0 proxy: events are seen when they come, not when a buffer is full."""
    Story(plain_twin, [listing(5)], [Reply(lines=pauses(event("ADDED", "x", 6, state="a"), 5.0), chunked=False)])
    began = time.monotonic()
    states(plain_twin, "a")
    assert time.monotonic() - began < 2


def test_silence_gives_signs_of_life_and_ends_with_the_deadline(plain_twin):
    Story(plain_twin, [listing(5, document("x", 4, state="a"))], [])
    began = time.monotonic()
    seen = list(watch.snapshots(open_api({"host": plain_twin.url}), resource.CONFIG_MAP, "ns", "x", deadline=Deadline(2.0), tick=0.25))
    assert 1.9 < time.monotonic() - began < 2.8
    assert 6 <= len(seen) <= 11
    assert {item["state"] for item in seen if item} == {"a"}


def test_a_window_that_ends_is_followed_by_the_next_without_a_list(plain_twin):
    first = Reply(lines=pauses(event("ADDED", "x", 6, state="a"), 1.1))
    story = Story(plain_twin, [listing(5)], [first, Reply(lines=pauses(event("MODIFIED", "x", 7, state="b"), 1.0))])
    assert states(plain_twin, "b") == ["-", "a", "b"]
    assert story.sent() == ["list", "watch@5", "watch@6"]


def test_bookmarks_move_on_the_version(plain_twin):
    bookmark = json.dumps({"type": "BOOKMARK", "object": {"kind": "ConfigMap", "metadata": {"resourceVersion": "42"}}}).encode() + b"\n"
    story = Story(plain_twin, [listing(5)], [Reply(lines=[bookmark]), Reply(lines=[event("ADDED", "x", 43, state="a")])])
    assert states(plain_twin, "a") == ["-", "a"]
    assert story.sent() == ["list", "watch@5", "watch@42"]


def error_event(code: int, reason: str) -> bytes:
    return json.dumps({"type": "ERROR", "object": status_document(code, reason, "too old resource version: 5 (90)")}).encode() + b"\n"


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda: refusal(410, "Expired", "too old resource version"), id="410 as a status"),
        pytest.param(lambda: Reply(lines=[error_event(410, "Expired")]), id="410 as an event"),
        pytest.param(lambda: Reply(lines=[error_event(500, "InternalError")]), id="another error as an event"),
        pytest.param(lambda: Reply(lines=[b'{"type": "MODIFIED", "object": {"metad\n']), id="a line that is no JSON"),
        pytest.param(lambda: Reply(lines=[b"[1]\n"]), id="a line that is no event"),
        pytest.param(lambda: Reply(lines=[b'{"type": "NEW", "object": {}}\n']), id="an unknown event"),
        pytest.param(lambda: Reply(lines=[event("ADDED", "x", 6, state="a")[:-20]]), id="an end within a line"),
        pytest.param(lambda: Reply(lines=[event("ADDED", "y", 6)], fault="cut"), id="a cut stream"),
        pytest.param(lambda: Reply(fault="reset"), id="a reset"),
        pytest.param(lambda: Reply(fault="close"), id="no answer"),
        pytest.param(lambda: refusal(500, "InternalError", "etcd is away"), id="500"),
        pytest.param(lambda: refusal(429, "TooManyRequests", "slow down"), id="429"),
        pytest.param(lambda: Reply(503, text=b"<html>no backend</html>", headers={"Content-Type": "text/html"}), id="503 of a proxy"),
    ],
)
def test_a_stream_that_cannot_be_trusted_leads_to_a_new_list(broken, plain_twin):
    """What changed meanwhile is in that list, and the next watch begins at its version."""
    lists = [listing(5), listing(90, document("x", 80, state="a"))]
    story = Story(plain_twin, lists, [broken(), Reply(lines=[event("MODIFIED", "x", 91, state="b")])])
    assert states(plain_twin, "b") == ["-", "a", "b"]
    assert story.sent() == ["list", "watch@5", "list", "watch@90"]


def test_a_deletion_that_the_stream_did_not_tell_is_seen_by_the_list(plain_twin):
    Story(plain_twin, [listing(5, document("x", 4, state="a")), listing(90)], [Reply(fault="reset")])
    assert states(plain_twin, "-") == ["a", "-"]


def test_a_hung_stream_is_given_up(plain_twin, monkeypatch):
    monkeypatch.setattr(watch, "WINDOW", 1)
    monkeypatch.setattr(watch, "GRACE", 0.3)
    story = Story(plain_twin, [listing(5), listing(90, document("x", 80, state="a"))], [Reply(fault="hang")])
    began = time.monotonic()
    assert states(plain_twin, "a") == ["-", "a"]
    assert time.monotonic() - began < 3
    assert story.sent()[:3] == ["list", "watch@5", "list"]


def test_streams_that_end_at_once_are_no_storm(plain_twin):
    story = Story(plain_twin, [listing(5)], [Reply(lines=[]) for _each in range(1000)])
    began = time.monotonic()
    for _item in watch.snapshots(open_api({"host": plain_twin.url}), resource.CONFIG_MAP, "ns", "x", deadline=Deadline(3.0)):
        pass
    assert time.monotonic() - began < 4
    assert len(story.sent()) < 10


def test_a_server_that_is_away_for_a_while_is_waited_for(plain_twin):
    away = [refusal(503, "ServiceUnavailable", "starting")] * 7
    story = Story(plain_twin, [listing(5), *away, listing(90, document("x", 80, state="a"))], [Reply(fault="reset") for _each in range(3)])
    assert states(plain_twin, "a", 20) == ["-", "a"]
    assert story.sent().count("list") >= 9


def test_a_server_that_is_away_from_the_start_is_an_error(plain_twin):
    Story(plain_twin, [refusal(503, "ServiceUnavailable", "starting")], [])
    with pytest.raises(OperationError):
        states(plain_twin, "a")


def test_a_missing_watch_verb_is_named(plain_twin):
    message = 'configmaps is forbidden: User "jane" cannot watch resource "configmaps" in API group "" in the namespace "ns"'
    Story(plain_twin, [listing(5)], [refusal(403, "Forbidden", message)])
    with pytest.raises(Forbidden) as caught:
        states(plain_twin, "a")
    assert str(caught.value) == (
        "watch ConfigMap ns/x: user jane may not watch configmaps in namespace ns (403). "
        'Grant it by a Role in namespace ns: apiGroups [""], resources ["configmaps"], verbs ["watch"].'
    )


def test_a_permission_that_is_taken_away_meanwhile_is_an_error(plain_twin):
    message = 'configmaps is forbidden: User "jane" cannot list resource "configmaps" in API group "" in the namespace "ns"'
    Story(plain_twin, [listing(5), refusal(403, "Forbidden", message)], [Reply(fault="reset")])
    with pytest.raises(Forbidden):
        states(plain_twin, "a")


def test_an_old_list_is_not_believed(plain_twin):
    """A server behind a load balancer may serve an old state; what was seen before stays until a newer one comes."""
    lists = [listing(50, document("x", 49, state="new")), listing(10, document("x", 9, state="old")), listing(60, document("x", 59, state="newest"))]
    Story(plain_twin, lists, [Reply(fault="reset"), Reply(fault="reset")])
    assert states(plain_twin, "newest", 20) == ["new", "newest"]


def test_a_restored_etcd_is_believed_in_the_end(plain_twin):
    lists = [listing(50, document("x", 49, state="new")), listing(10, document("x", 9, state="restored"))]
    Story(plain_twin, lists, [refusal(410, "Expired", "too large resource version") for _each in range(6)])
    assert states(plain_twin, "restored", 30) == ["new", "restored"]


def test_a_start_from_what_was_read_before_needs_no_list(plain_twin):
    story = Story(plain_twin, [listing(1)], [Reply(lines=[event("MODIFIED", "x", 8, state="b")])])
    assert states(plain_twin, "b", start_version="7", known=document("x", 7, state="a")) == ["a", "b"]
    assert story.sent() == ["watch@7"]


def test_a_wall_clock_that_jumps_changes_nothing(plain_twin, monkeypatch):
    jumps = itertools.cycle([0, 86400, -86400])
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    Story(plain_twin, [listing(5)], [Reply(lines=pauses(1.5, event("ADDED", "x", 6, state="a"), 2.0))])
    began = time.monotonic()
    assert states(plain_twin, "a", 5) == ["-", "a"]
    assert time.monotonic() - began < 2.5


def test_a_token_that_ends_meanwhile_is_renewed(plain_twin, tmp_path):
    (tmp_path / "token").write_text("old")
    kubeconfig = {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": plain_twin.url}}],
        "users": [{"name": "u", "user": {"tokenFile": str(tmp_path / "token")}}],
    }
    story = Story(plain_twin, [listing(5), listing(9, document("x", 8, state="a"))], [Reply(lines=[])])
    following = watch.snapshots(open_api({"kubeconfig": kubeconfig}), resource.CONFIG_MAP, "ns", "x", deadline=Deadline(8), tick=0.1)
    assert next(following) is None
    (tmp_path / "token").write_text("new")
    plain_twin.tokens = {"new"}
    assert next(item for item in following if item)["state"] == "a"
    assert story.sent()[0] == "list"


def others(names: Iterator[Any]) -> list[list[str]]:
    return [[item["metadata"]["name"] for item in items] for items in names]


def test_several_objects(plain_twin):
    lines = pauses(event("ADDED", "c", 6), event("DELETED", "a", 7), 1.0)
    Story(plain_twin, [listing(5, document("b", 3), document("a", 4))], [Reply(lines=lines)])
    api = open_api({"host": plain_twin.url})
    seen = others(watch.listings(api, resource.CONFIG_MAP, "ns", label_selector="k=v", deadline=Deadline(1.5), tick=0.3))
    assert seen[0] == ["a", "b"]
    assert ["a", "b", "c"] in seen
    assert seen[-1] == ["b", "c"]
    assert {request.query["labelSelector"] for request in plain_twin.arrived} == {"k=v"}


def test_whoever_stops_looking_leaves_no_thread(plain_twin):
    Story(plain_twin, [listing(5)], [])
    before = set(threading.enumerate())
    following = watch.snapshots(open_api({"host": plain_twin.url}), resource.CONFIG_MAP, "ns", "x", deadline=Deadline(60), tick=0.05)
    next(following)
    next(following)
    assert [thread for thread in set(threading.enumerate()) - before if "_read" in thread.name]
    began = time.monotonic()
    following.close()
    # the twin's own threads for the two connections end too
    while set(threading.enumerate()) - before and time.monotonic() - began < 30:
        time.sleep(0.02)
    assert not [thread for thread in set(threading.enumerate()) - before if "_read" in thread.name]
