# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Label selectors: from the text that kubectl takes to the object that Velero takes, back, and whether labels match.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Selector = dict[str, Any]
"""A LabelSelector of the Kubernetes API: {"matchLabels": {key: value}, "matchExpressions": [{"key", "operator", "values"}]}."""

_PART = r"[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9](?:[-.a-z0-9]{{0,251}}[a-z0-9])?/)?{_PART}"
_VALUE = rf"(?:{_PART})?"
_EQUAL = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(\s*({_VALUE}(?:\s*,\s*{_VALUE})*)\s*\)")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")
KEY = re.compile(_KEY)
VALUE = re.compile(_VALUE)


def parse(text: str) -> Selector:
    """Return a selector such as "app=web,tier in (db, cache),!old" as an object; ValueError says what is wrong with it."""
    labels: dict[str, str] = {}
    expressions: list[dict[str, Any]] = []
    for part in _parts(text):
        if found := _EQUAL.fullmatch(part):
            key, sign, value = found.groups()
            if sign == "!=":
                expressions.append({"key": key, "operator": "NotIn", "values": [value]})
            elif labels.setdefault(key, value) != value:
                raise ValueError(f"label {key} cannot be both {labels[key]!r} and {value!r}")
        elif found := _SET.fullmatch(part):
            key, word, values = found.groups()
            operator = "In" if word == "in" else "NotIn"
            expressions.append({"key": key, "operator": operator, "values": sorted({value.strip() for value in values.split(",")})})
        elif found := _EXISTS.fullmatch(part):
            expressions.append({"key": found[2], "operator": "DoesNotExist" if found[1] else "Exists"})
        else:
            raise ValueError(f"{part!r} is not a requirement such as app=web, tier!=db, tier in (db, cache), app or !app")
    result: Selector = {}
    if labels:
        result["matchLabels"] = labels
    if expressions:
        result["matchExpressions"] = expressions
    return result


def _parts(text: str) -> Iterator[str]:
    """Yield the requirements; a comma inside brackets does not end one."""
    for part in re.split(r",(?![^(]*\))", text):
        if not part.strip():
            raise ValueError("it is empty, or has an empty part")
        yield part.strip()


def _requirements(selector: Mapping[str, Any]) -> list[tuple[str, str, tuple[str, ...]]]:
    found: list[tuple[str, str, tuple[str, ...]]] = [(str(key), "In", (str(value),)) for key, value in (selector.get("matchLabels") or {}).items()]
    for item in selector.get("matchExpressions") or []:
        found.append((str(item.get("key")), str(item.get("operator")), tuple(sorted(str(value) for value in item.get("values") or []))))
    return sorted(set(found))


def shown(selector: Mapping[str, Any] | None) -> str:
    """Return a selector as a text in one canonical form; empty for one that selects everything."""
    words = []
    for key, operator, values in _requirements(selector or {}):
        if operator == "In" and len(values) == 1:
            words.append(f"{key}={values[0]}")
        elif operator == "NotIn" and len(values) == 1:
            words.append(f"{key}!={values[0]}")
        elif operator in {"In", "NotIn"}:
            words.append(f"{key} {operator.lower()} ({', '.join(values)})")
        else:
            words.append(key if operator == "Exists" else f"!{key}")
    return ",".join(words)


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str] | None) -> bool:
    """Tell whether labels match; an empty selector matches everything."""
    have = labels or {}
    for key, operator, values in _requirements(selector or {}):
        fits = {
            "In": have.get(key) in values if key in have else False,
            "NotIn": have.get(key) not in values if key in have else True,
            "Exists": key in have,
            "DoesNotExist": key not in have,
        }.get(operator, False)
        if not fits:
            return False
    return True
