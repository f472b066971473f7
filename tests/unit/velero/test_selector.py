# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Label selectors: what kubectl takes means the same here, and what it does not take is refused."""

from __future__ import annotations

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import selector


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("app=web", {"matchLabels": {"app": "web"}}),
        ("app == web , tier=db", {"matchLabels": {"app": "web", "tier": "db"}}),
        ("app=", {"matchLabels": {"app": ""}}),
        ("app!=web", {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}),
        ("tier in (db, cache)", {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["cache", "db"]}]}),
        ("tier notin (db)", {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db"]}]}),
        ("team.example/app", {"matchExpressions": [{"key": "team.example/app", "operator": "Exists"}]}),
        (
            "!old,app=web,x in (1,2)",
            {
                "matchLabels": {"app": "web"},
                "matchExpressions": [{"key": "old", "operator": "DoesNotExist"}, {"key": "x", "operator": "In", "values": ["1", "2"]}],
            },
        ),
    ],
)
def test_what_is_meant(text: str, meant: dict[str, object]) -> None:
    assert selector.parse(text) == meant
    assert selector.parse(selector.shown(selector.parse(text))).keys() == meant.keys()
    assert selector.shown(selector.parse(selector.shown(selector.parse(text)))) == selector.shown(selector.parse(text))


@pytest.mark.parametrize("text", ["", "app=web,", "app=web tier=db", "app in db", "app in ()x", "=web", "app=a/b", "app>1", "app=one,app=two", "(a)"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        selector.parse(text)


@pytest.mark.parametrize(
    ("text", "labels", "fits"),
    [
        ("app=web", {"app": "web", "x": "y"}, True),
        ("app=web", {"app": "db"}, False),
        ("app=web", {}, False),
        ("app!=web", {}, True),
        ("app!=web", {"app": "web"}, False),
        ("tier in (db,cache)", {"tier": "cache"}, True),
        ("tier notin (db)", {"tier": "db"}, False),
        ("app", {"app": ""}, True),
        ("app", {}, False),
        ("!app", {}, True),
        ("!app,tier=db", {"tier": "db", "app": "x"}, False),
    ],
)
def test_matching(text: str, labels: dict[str, str], fits: bool) -> None:
    assert selector.matches(selector.parse(text), labels) is fits


def test_everything_and_the_unknown() -> None:
    assert selector.matches({}, None)
    assert selector.matches(None, {"a": "b"})
    assert selector.shown(None) == ""
    assert not selector.matches({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}, {"a": "2"})
