# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences: the smallest patch reaches what is wanted, and a masked diff shows that a secret changed but not the secret."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.difference import masked, merge_patch, patched, picked
from ansible_collections.serverops.circleci.plugins.module_utils._core.secret import MASK
from hypothesis import given, settings
from hypothesis import strategies as st

SCALARS: list[Any] = [True, False, 0, 1, 2, "", "x", "1"]


def tree(dice: random.Random, depth: int, *, wish: bool) -> Any:
    """A value: a mapping, a list or a scalar; in a wish also None, which means "not there"."""
    kind = dice.random()
    if depth and kind < 0.5:
        return {name: tree(dice, depth - 1, wish=wish) for name in "abc" if dice.random() < 0.6}
    if kind < 0.6:
        return [dice.choice(SCALARS) for _number in range(dice.randrange(3))]
    return None if wish and kind < 0.7 else dice.choice(SCALARS)


def pair(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    dice = random.Random(seed)
    wanted, observed = ({name: tree(dice, 3, wish=wish) for name in "abc" if dice.random() < 0.7} for wish in (True, False))
    return wanted, observed


# a seed and a small generator: hypothesis' own recursive strategies take thirty times as long
pairs = st.integers(0, 2**32).map(pair)


def contains(there: Any, wanted: Any) -> bool:
    """Everything that is wanted is there, and what is wanted away is not."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(
            # a mapping that only wants keys away is content with nothing
            (name not in there) if (value is None or (name not in there and isinstance(value, dict) and value and away(value)))
            else name in there and contains(there[name], value)
            for name, value in wanted.items()
        )  # fmt: skip
    return type(there) is type(wanted) and bool(there == wanted)


def away(wanted: dict[str, Any]) -> bool:
    return all(value is None or (isinstance(value, dict) and bool(value) and away(value)) for value in wanted.values())


def paths(patch: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every place that a patch writes."""
    if isinstance(patch, dict) and patch:
        return [path for name, value in patch.items() for path in paths(value, (*at, name))]
    return [at] if at else []


def without(patch: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    result = copy.deepcopy(patch)
    into = result
    for name in path[:-1]:
        into = into[name]
    del into[path[-1]]
    for end in range(len(path) - 1, 0, -1):
        into = result
        for name in path[: end - 1]:
            into = into[name]
        if into[path[end - 1]] == {}:
            del into[path[end - 1]]
    return result


@settings(max_examples=600)
@given(pairs)
def test_the_patch_reaches_what_is_wanted_and_nothing_else_and_then_is_empty(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    wanted, observed = both
    kept = copy.deepcopy((wanted, observed))
    patch = merge_patch(wanted, observed)
    after = patched(observed, patch)
    assert contains(after, wanted)
    assert merge_patch(wanted, after) == {}
    assert (wanted, observed) == kept
    assert json.loads(json.dumps(patch)) == patch
    # keys that nobody spoke of are as they were
    assert {name: value for name, value in after.items() if name not in wanted} == {
        name: value for name, value in observed.items() if name not in wanted
    }


@settings(max_examples=600)
@given(pairs)
def test_no_part_of_the_patch_can_be_left_out(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    wanted, observed = both
    patch = merge_patch(wanted, observed)
    for path in paths(patch):
        assert not contains(patched(observed, without(patch, path)), wanted), path


@given(pairs)
def test_the_arguments_and_the_result_share_nothing(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    wanted, observed = both
    patch = merge_patch(wanted, observed)
    after = patched(observed, patch)
    text = json.dumps([wanted, observed, patch])

    def spoil(value: Any) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                spoil(inner)
            value["spoilt"] = True
        elif isinstance(value, list):
            value.append("spoilt")

    spoil(after)
    assert json.dumps([wanted, observed, patch]) == text


@pytest.mark.parametrize(
    ("wanted", "observed", "patch"),
    [
        ({}, {"a": 1}, {}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": True}, {"a": 1}, {"a": True}),
        ({"a": 0}, {"a": False}, {"a": 0}),
        ({"a": "1"}, {"a": 1}, {"a": "1"}),
        ({"a": None}, {}, {}),
        ({"a": None}, {"a": 1}, {"a": None}),
        ({"a": {"b": None}}, {}, {}),
        ({"a": {"b": None}}, {"a": {"b": 1, "c": 2}}, {"a": {"b": None}}),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": "text"}, {"a": {"b": 1}}),
        ({"a": {}}, {}, {"a": {}}),
        ({"a": {}}, {"a": {"b": 1}}, {}),
        ({"a": {}}, {"a": 5}, {"a": {}}),
        ({"a": [1, 2]}, {"a": [2, 1]}, {"a": [1, 2]}),
        ({"a": "x"}, {"a": {"b": 1}}, {"a": "x"}),
    ],
)
def test_patches_by_example(wanted: dict[str, Any], observed: dict[str, Any], patch: dict[str, Any]) -> None:
    assert merge_patch(wanted, observed) == patch


def test_patched_follows_the_rfc() -> None:
    # examples of RFC 7386, appendix A
    for original, patch, result in (
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ):
        assert patched(original, patch) == result


def test_picked_takes_the_named_paths_only() -> None:
    tree = {"a": {"b": 1, "c": 2}, "d": [1], "e": "x"}
    assert picked(tree, [("a", "b"), ("d",), ("e", "f"), ("nowhere",)]) == {"a": {"b": 1}, "d": [1]}
    assert picked(None, [("a",)]) == {}


def test_masked_shows_that_two_secrets_differ_and_not_what_they_are() -> None:
    before = {"data": {"key": "canary-old", "other": "same", "none": None}, "name": "x"}
    after = {"data": {"key": "canary-new", "other": "same", "none": None}, "name": "x"}
    left, right = (masked(tree, [("data", "*")], "uid") for tree in (before, after))
    assert left["name"] == "x"
    assert left["data"]["key"] != right["data"]["key"]
    assert left["data"]["other"] == right["data"]["other"]
    assert left["data"]["none"] is None
    assert "canary" not in json.dumps([left, right])
    assert MASK in left["data"]["key"]
    assert before["data"]["key"] == "canary-old"


def test_masked_leaves_alone_what_is_not_there_or_not_a_mapping() -> None:
    assert masked({"a": 1}, [("b",), ("a", "c"), ()], "uid") == {"a": 1}
    assert masked("text", [("a",)], "uid") == "text"
