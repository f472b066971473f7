# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares what each module accepts with what its documentation says, and checks that it is listed wherever modules are listed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from ansible.module_utils import basic

from .examples import COLLECTION, documented

HERE = Path(__file__).resolve().parents[2]
ATTRIBUTES = ("action_group", "check_mode", "diff_mode", "idempotent")
Option = dict[str, Any]


class DeclaredError(Exception):
    """Carries what a module handed to AnsibleModule."""

    def __init__(self, arguments: Option) -> None:
        super().__init__()
        self.arguments = arguments


def accepted(name: str) -> Option:
    """Start a module and stop it where it declares its arguments."""

    def declare(_self: Any, argument_spec: Option, **rest: Any) -> None:
        raise DeclaredError({"argument_spec": argument_spec, **rest})

    module = importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.modules.{name}")
    with mock.patch.object(basic.AnsibleModule, "__init__", declare):
        try:
            module.main()
        except DeclaredError as seen:
            return seen.arguments
    raise RuntimeError(f"{name}: main() made no AnsibleModule")


def normal(option: Option, *, documentation: bool) -> Option:
    """One option in a form in which both sides can be compared."""
    default = option.get("default")
    kind = option.get("type", "str")
    return {
        "type": kind if isinstance(kind, str) else kind.__name__,
        "elements": option.get("elements"),
        "required": bool(option.get("required", False)),
        "default": default,
        "choices": sorted(map(str, option["choices"])) if option.get("choices") else None,
        "aliases": sorted(option.get("aliases") or []),
        "inner": sorted((option.get("suboptions") if documentation else option.get("options")) or {}),
    }


def differences(path: str, spec: dict[str, Option], doc: dict[str, Option]) -> Iterator[str]:
    """Options that differ, each as a sentence."""
    for name in sorted(set(spec) ^ set(doc)):
        yield f"option {path}{name} is {'accepted but not documented' if name in spec else 'documented but not accepted'}"
    for name in sorted(set(spec) & set(doc)):
        mine, said = normal(spec[name], documentation=False), normal(doc[name], documentation=True)
        yield from (f"option {path}{name}: {key} is {mine[key]!r}, documented as {said[key]!r}" for key in mine if mine[key] != said[key])
        yield from differences(f"{path}{name}.", spec[name].get("options") or {}, doc[name].get("suboptions") or {})


def findings(name: str, entry: Option, group: list[str]) -> Iterator[str]:
    """What is wrong with one module."""
    short = name.rpartition(".")[2]
    if "error" in entry:
        yield entry["error"]
        return
    declared = accepted(short)
    yield from differences("", declared["argument_spec"], entry["doc"].get("options") or {})
    attributes = entry["doc"].get("attributes") or {}
    yield from (f"its documentation lacks the attribute {attribute}" for attribute in ATTRIBUTES if attribute not in attributes)
    if not declared.get("supports_check_mode"):
        yield "it does not support check mode"
    if not entry.get("return"):
        yield "its documentation does not say what it returns"
    if not (HERE / "plugins" / "action" / f"{short}.py").is_file():
        yield f"plugins/action/{short}.py is missing"
    if short not in group:
        yield "the action group in meta/runtime.yml does not list it"


def main() -> int:
    """Check every module and print a count."""
    group = yaml.safe_load((HERE / "meta" / "runtime.yml").read_text())["action_groups"]["all"]
    modules = documented()
    files = {path.stem for path in (HERE / "plugins" / "modules").glob("*.py")}
    bad: dict[str, list[str]] = {name: list(findings(name, entry, group)) for name, entry in sorted(modules.items())}
    shorts = {name.rpartition(".")[2] for name in modules}
    actions = {path.stem for path in (HERE / "plugins" / "action").glob("*.py")}
    bad["collection"] = [
        *(f"ansible-doc does not know the module {name}" for name in sorted(files - shorts)),
        *(f"meta/runtime.yml lists {name}, which is no module" for name in sorted(set(group) - shorts)),
        *(f"plugins/action/{name}.py has no module" for name in sorted(actions - shorts)),
    ]
    for name, sentences in bad.items():
        for sentence in sentences:
            print(f"{name}: {sentence}")
    failed = sum(1 for sentences in bad.values() if sentences)
    print(f"{len(bad) - failed} passed, {failed} failed")
    return int(bool(failed) or not modules)


if __name__ == "__main__":
    sys.exit(main())
