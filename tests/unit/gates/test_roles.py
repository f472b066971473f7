# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate of the roles: what is made of a module's documentation, and what of a role that differs from it is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.gates import roles

OPTIONS: dict[str, Any] = {
    "namespace": {"type": "str", "default": "velero", "description": "Where, unless O(state=absent)."},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present", "description": ["One.", "Two, see O(credential.name)."]},
    "credential": {
        "type": "dict",
        "description": "All of it.",
        "suboptions": {"name": {"type": "str", "required": True, "description": "Its name in O(namespace)."}, "content": {"description": "Secret."}},
    },
    "context": {"type": "str", "default": "here", "description": "Login."},
}
ROLE = roles.Role(
    "test", "velero_test", flattened=("credential",), lists=(roles.Called("velero_part", "test_parts", ("namespace",), "credential.content"),)
)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two modules with the same options, of which `context` is for the login."""
    monkeypatch.setattr(roles, "login_options", lambda: ["context"])
    monkeypatch.setattr(roles, "own_options", lambda module: ["namespace", "state", "credential"])
    return {f"{roles.COLLECTION}.{name}": {"doc": {"options": OPTIONS}} for name in ("velero_test", "velero_part")}


def test_variables_are_the_options_with_the_roles_name(modules: dict[str, Any]) -> None:
    spec = roles.mirrored(ROLE, modules)
    assert list(spec) == ["test_namespace", "test_state", "test_credential_name", "test_credential_content", "test_context", "test_parts"]
    assert spec["test_namespace"]["description"] == ["Where, unless O(test_state=absent)."]
    assert spec["test_state"] == {
        "description": ["One.", "Two, see O(test_credential_name)."], "type": "str", "choices": ["present", "absent"], "default": "present",
    }  # fmt: skip
    assert "required" not in spec["test_credential_name"]
    # the module takes an environment variable before its default, so the role must not give one
    assert spec["test_context"] == {"description": ["Login.", "The modules' own default is V(here)."], "type": "str"}


def test_items_of_a_list_have_the_options_without_what_the_role_gives(modules: dict[str, Any]) -> None:
    inside = roles.mirrored(ROLE, modules)["test_parts"]["options"]
    assert list(inside) == ["state", "credential"]
    assert list(inside["credential"]["options"]) == ["name"]
    assert inside["credential"]["options"]["name"]["description"] == ["Its name in O(test_namespace)."]


def test_what_is_written_by_hand_stays(modules: dict[str, Any]) -> None:
    there = {"argument_specs": {"main": {"short_description": "Mine", "options": {
        "test_parts": {"type": "list", "description": "By hand"}, "test_own": {"type": "raw"}, "test_state": {"description": "stale"},
    }}}}  # fmt: skip
    text = roles.specification_text(ROLE, modules, there)
    main = yaml.safe_load(text)["argument_specs"]["main"]
    assert main["short_description"] == "Mine"
    assert main["options"]["test_parts"]["description"] == "By hand"
    assert main["options"]["test_own"] == {"type": "raw"}
    assert main["options"]["test_state"]["description"].startswith("One. ")
    assert roles.specification_text(ROLE, modules, yaml.safe_load(text)) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("V(a) and O(b.c=d), C(e(f)), see M(a.b.c)", "`a` and `b.c=d`, `e(f)`, see `a.b.c`"),
        ("B(bold) U(https://x) E(HOME) RV(ignore:ran)", "*bold* <https://x> `HOME` `ran`"),
        ("IAM(x)", "IAM(x)"),
    ],
)
def test_markup(text: str, shown: str) -> None:
    assert roles.markdown(text) == shown


def test_rows_of_the_table() -> None:
    spec = {
        "a": {
            "description": "x | y",
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {"b": {"description": ["One.", "Two."], "required": True}},
        }
    }
    assert list(roles.rows(spec)) == ["| `a` | list of dict | `[]` | x \\| y |", "| `a[].b` | str | *required* | One. Two. |"]


def test_an_option_that_a_task_does_not_hand_over_is_noticed(modules: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    group, name = f"group/{roles.COLLECTION}.all", f"{roles.COLLECTION}.velero"
    tasks = [
        {"module_defaults": {group: {"context": "x"}}, "block": [
            {f"{name}_test": {"namespace": "x", "state": "x", "credential": "x"}},
            {f"{name}_part": {"namespace": "x", "state": "x", "colour": "x"}},
        ]},
    ]  # fmt: skip
    (tmp_path / "tasks" / "main.yml").write_text(yaml.safe_dump(tasks))
    assert list(roles.not_handed_over(ROLE, tmp_path, modules)) == [
        "tasks: velero_part is given colour",
        "tasks: velero_part is not given credential",
    ]


def test_the_options_of_a_shared_fragment_belong_to_the_module() -> None:
    for module in ("velero_storage_location", "velero_snapshot_location"):
        found = roles.own_options(module)
        assert {"name", "credential"} <= set(found)
        assert not {"kubeconfig", "timeout"} & set(found)
