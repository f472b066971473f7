# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an argument spec says there is to try: every option with its aliases, every choice, every option inside an option."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def paths(arguments: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield the names of all options, those inside an option as outer.inner."""
    for name, spec in arguments.items():
        yield above + name
        yield from paths(spec.get("options") or {}, f"{above}{name}.")


def at(arguments: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """Return the spec of an option by its path."""
    first, _dot, rest = path.partition(".")
    spec: Mapping[str, Any] = arguments[first]
    return at(spec["options"], rest) if rest else spec


def to_try(arguments: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield everything that needs a case: option, alias, option=value for each choice and for both values of a switch."""
    for name, spec in arguments.items():
        path = above + name
        yield path
        yield from (above + alias for alias in spec.get("aliases") or [])
        values = spec.get("choices") or ([True, False] if spec.get("type") == "bool" else [])
        yield from (f"{path}={value}" for value in values)
        yield from to_try(spec.get("options") or {}, f"{path}.")


def tried(arguments: Mapping[str, Any], options: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield what of to_try a task with these options tries."""
    aliases = {alias: name for name, spec in arguments.items() for alias in spec.get("aliases") or []}
    for given, value in options.items():
        name = aliases.get(given, given)
        spec = arguments[name]
        yield above + given
        yield above + name
        yield from (f"{above}{name}={item}" for item in (value if isinstance(value, list) else [value]) if isinstance(item, (str, bool)))
        for item in value if isinstance(value, list) else [value]:
            if spec.get("options") and isinstance(item, Mapping):
                yield from tried(spec["options"], item, f"{above}{name}.")
