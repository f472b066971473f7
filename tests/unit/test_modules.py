# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module: its documentation says what it accepts, option by option, its examples parse, and both ways are wired."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Definition

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.serverops.circleci.plugins"
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
SECRET_NAME = re.compile(r"key|token|password|secret|content", re.IGNORECASE)


def imported(name: str) -> Any:
    return importlib.import_module(f"{COLLECTION}.modules.{name}")


def definition(name: str) -> Definition:
    found: Definition = imported(name).DEFINITION
    return found


def documented(name: str) -> dict[str, Any]:
    """The options of a module, those of its fragments included."""
    document = yaml.safe_load(imported(name).DOCUMENTATION)
    options: dict[str, Any] = {}
    for fragment in document.get("extends_documentation_fragment", []):
        _namespace, _collection, short, *part = fragment.split(".")
        holder = importlib.import_module(f"{COLLECTION}.doc_fragments.{short}").ModuleDocFragment
        options |= yaml.safe_load(getattr(holder, part[0].upper() if part else "DOCUMENTATION")).get("options") or {}
    return options | document["options"]


def walk(spec: dict[str, Any], doc: dict[str, Any], at: str = "") -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every option of spec and documentation with its dotted name; one that stands on one side only has {} on the other."""
    for name in sorted({*spec, *doc}):
        mine, said = spec.get(name, {}), doc.get(name, {})
        yield f"{at}{name}", mine, said
        yield from walk(mine.get("options") or {}, said.get("suboptions") or {}, f"{at}{name}.")


OPTIONS = [(name, *rest) for name in MODULES for rest in walk(dict(definition(name).arguments), documented(name))]


def test_there_are_modules_and_options() -> None:
    assert {"velero_info", "velero_storage_location"} <= set(MODULES)
    assert len(OPTIONS) > 50


@pytest.mark.parametrize(("module", "option", "spec", "doc"), OPTIONS, ids=[f"{module}:{option}" for module, option, *_rest in OPTIONS])
def test_an_option_is_as_documented(module: str, option: str, spec: dict[str, Any], doc: dict[str, Any]) -> None:
    assert spec, f"{option} is documented and not accepted"
    assert doc, f"{option} is accepted and not documented"
    assert doc.get("description")
    assert doc.get("type", "str") == spec.get("type", "str")
    for word in ("elements", "default", "choices", "aliases"):
        assert doc.get(word) == spec.get(word), word
    assert bool(doc.get("required")) is bool(spec.get("required"))
    assert not (spec.get("required") and "default" in spec)
    # suboptions of the login options came with them; every other one says when it came
    assert doc.get("version_added") or option.startswith(("eks.", "gke.")), "no version_added"


@pytest.mark.parametrize(("module", "option", "spec", "doc"), OPTIONS, ids=[f"{module}:{option}" for module, option, *_rest in OPTIONS])
def test_an_option_that_sounds_secret_says_whether_it_is(module: str, option: str, spec: dict[str, Any], doc: dict[str, Any]) -> None:
    # without a word, ansible-core guesses and warns
    if SECRET_NAME.search(option.rsplit(".", 1)[-1]):
        assert isinstance(spec.get("no_log"), bool)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_are_tasks_that_the_module_accepts(module: str) -> None:
    own = definition(module)
    tasks = yaml.safe_load(imported(module).EXAMPLES)
    used = [task for task in tasks if f"serverops.circleci.{module}" in task]
    assert used
    for task in used:
        assert task["name"][0].isupper()
        # a template stands for a text here, except in an option of another type
        options = task[f"serverops.circleci.{module}"]
        checked = ArgumentSpecValidator(dict(own.arguments), **own.constraints).validate(json.loads(json.dumps(options)))
        assert checked.error_messages == [], task["name"]


@pytest.mark.parametrize("module", MODULES)
def test_documentation_and_return_are_whole(module: str) -> None:
    document, returned = yaml.safe_load(imported(module).DOCUMENTATION), yaml.safe_load(imported(module).RETURN)
    assert document["module"] == module
    assert document["version_added"]
    assert {"check_mode", "diff_mode", "idempotent", "async", "platform", "action_group"} <= set(document["attributes"])
    assert returned["ran"]["returned"] == "always"

    def described(values: dict[str, Any], at: str) -> None:
        for name, value in values.items():
            assert value.get("description"), f"{at}{name}"
            assert value.get("type"), f"{at}{name}"
            described(value.get("contains") or {}, f"{at}{name}.")

    described(returned, "")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_wired_both_ways(module: str) -> None:
    assert definition(module).name == module
    action = importlib.import_module(f"{COLLECTION}.action.{module}").ActionModule
    assert action.definitions[module] is definition(module)
    lines = [line for line in (ROOT / "plugins" / "action" / f"{module}.py").read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) == 1
    assert module in yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["all"]


@pytest.mark.parametrize("module", MODULES)
def test_a_wrong_option_is_told_by_name_and_nothing_is_sent(module: str, run_module: Any) -> None:
    required = {name: "x" for name, spec in definition(module).arguments.items() if spec.get("required")}
    required |= {group[0]: "x" for group in definition(module).constraints.get("required_one_of", [])}
    result = run_module(imported(module).main, {**required, "no_such_option": 1})
    assert result["failed"] is True
    assert "no_such_option" in result["msg"]
    assert "Traceback" not in json.dumps(result)
