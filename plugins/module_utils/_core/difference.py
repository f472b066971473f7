# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences between what is wanted and what is there, the smallest patch for them, and the masking of a diff by path.

Everything here is pure. Wanted means "these fields": what the user left out is neither compared nor changed.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.secret import marker

Path = tuple[str, ...]
"""Keys from the root of an object down to a value; "*" stands for any key."""


def merge_patch(wanted: Any, observed: Any) -> Any:
    """Return the smallest JSON merge patch (RFC 7386) that puts `wanted` into `observed`; {} when nothing differs.

    None in `wanted` means "this key must not be there". Mappings are compared key by key, everything else as a whole.
    """
    if not isinstance(wanted, Mapping):
        return copy.deepcopy(wanted)
    patch: dict[str, Any] = {}
    base: Mapping[str, Any] = observed if isinstance(observed, Mapping) else {}
    for name, value in wanted.items():
        there = base.get(name)
        if isinstance(value, Mapping):
            inner = merge_patch(value, there)
            # an empty mapping that is wanted has to become one, also where something else stands now
            if inner or (not isinstance(there, Mapping) and (name in base or not value)):
                patch[name] = inner
        elif value is None:
            if name in base:
                patch[name] = None
        elif name not in base or there != value or isinstance(there, bool) is not isinstance(value, bool):
            patch[name] = copy.deepcopy(value)
    return patch


def patched(observed: Any, patch: Any) -> Any:
    """Return `observed` with a JSON merge patch applied; neither argument is changed."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result: dict[str, Any] = copy.deepcopy(dict(observed)) if isinstance(observed, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = patched(result.get(name), value)
    return result


def picked(tree: Any, paths: Iterable[Path]) -> dict[str, Any]:
    """Return only these paths of an object, with the same nesting; paths that are not there are left out."""
    result: dict[str, Any] = {}
    for path in paths:
        value: Any = tree
        for name in path:
            if not isinstance(value, Mapping) or name not in value:
                break
            value = value[name]
        else:
            into = result
            for name in path[:-1]:
                into = into.setdefault(name, {})
            into[path[-1]] = copy.deepcopy(value)
    return result


def masked(tree: Any, secret_paths: Iterable[Path], key: str) -> Any:
    """Return a copy in which every value at a secret path is a keyed marker: two different secrets still look different.

    key: see secret.marker(); the same for both sides of a diff.
    """
    result = copy.deepcopy(tree)
    for path in secret_paths:
        _mask_path(result, path, key)
    return result


def _mask_path(tree: Any, path: Path, key: str) -> None:
    if not isinstance(tree, dict) or not path:
        return
    names = list(tree) if path[0] == "*" else [path[0]]
    for name in names:
        if name not in tree:
            continue
        if len(path) > 1:
            _mask_path(tree[name], path[1:], key)
        elif tree[name] is not None:
            tree[name] = marker(str(tree[name]), key)
