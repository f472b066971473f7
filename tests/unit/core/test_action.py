# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller way without a controller: what is copied, when the task has to run as a module, what is masked and shown."""

from __future__ import annotations

import json
import os
import sys
from collections import UserDict
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Definition
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._core.secret import MASK
from ansible_collections.serverops.circleci.plugins.plugin_utils import _action
from ansible_collections.serverops.circleci.plugins.plugin_utils._action import Action, plain


def as_it_is(text: Any) -> Any:
    return text


class Text(str):
    """As a tagged or unsafe text: str() and slicing of it give one of its own kind again."""

    __slots__ = ()

    __str__ = as_it_is

    def __deepcopy__(self, _memo: Any) -> Text:
        return self


class Number(int):
    __slots__ = ()


class Fraction(float):
    __slots__ = ()


def types(value: Any) -> Any:
    if isinstance(value, dict):
        return {(type(name), name): types(item) for name, item in value.items()}
    return [types(item) for item in value] if isinstance(value, list) else (type(value), value)


def test_plain_makes_exact_types_all_the_way_down() -> None:
    tagged = {
        Text("name"): [Text("x"), Text("longer text"), Text(""), Number(5), Fraction(2.5), True, None],
        "t": (Text("a"),),
        "m": UserDict({"k": Text("v")}),
    }
    assert types(plain(tagged)) == types({"name": ["x", "longer text", "", 5, 2.5, True, None], "t": ["a"], "m": {"k": "v"}})


def test_plain_of_other_things() -> None:
    assert plain(b"caf\xc3\xa9\xff") == "café\ufffd"
    assert plain({1: "a"}) == {"1": "a"}
    assert sorted(plain({"b", "a"})) == ["a", "b"]
    assert plain(date(2026, 1, 2)) == "2026-01-02"
    assert plain(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05+00:00"
    assert plain(True) is True
    assert plain(json) == str(json)


def test_plain_copies() -> None:
    inner = ["a"]
    copied = plain({"x": inner})
    copied["x"].append("b")
    assert inner == ["a"]


def test_plain_of_what_this_ansible_core_hands_over() -> None:
    try:
        from ansible._internal._datatag._tags import Origin
        from ansible.module_utils._internal._datatag import AnsibleTagHelper

        tagged = Origin(description="a test").tag({"name": "text", "list": ["x", 1, 2.5]})
        tagged = {Origin(description="a test").tag(name): Origin(description="a test").tag(item) for name, item in tagged.items()}
        assert AnsibleTagHelper.tags(tagged["name"])
        assert tagged["name"].__class__ is not str
    except ImportError:  # ansible-core before 2.19
        from ansible.utils.unsafe_proxy import wrap_var

        tagged = wrap_var({"name": "text", "list": ["x", 1, 2.5]})
        assert tagged["name"].__class__ is not str
    assert types(plain(tagged)) == types({"name": "text", "list": ["x", 1, 2.5]})


ARGUMENTS: dict[str, Any] = {
    "token": {"type": "str", "no_log": True},
    "count": {"type": "int", "default": 3},
    "choice": {"type": "str", "choices": ["a", "b"], "aliases": ["pick"]},
    "nested": {"type": "dict", "options": {"key": {"type": "str", "no_log": True}, "n": {"type": "int"}}},
}


def action(behaviour: Any = None, args: dict[str, Any] | None = None, **task: Any) -> Any:
    """An action with just enough around it."""
    made = Action.__new__(Action)
    facts = {"async_val": 0, "environment": [{}], "delegate_to": None, "args": args or {}, "check_mode": False, "no_log": False,
             "action": "serverops.circleci.demo", "resolved_action": None}  # fmt: skip
    made._task = SimpleNamespace(**(facts | task))
    made._play_context = SimpleNamespace(become=False)
    made._connection = SimpleNamespace(transport="local", become=None)
    made._templar = SimpleNamespace(template=lambda text: text)
    shown: list[str] = []
    made._display = SimpleNamespace(display=shown.append)
    made.shown = shown
    made.definitions = {"demo": Definition("demo", ARGUMENTS, behaviour or (lambda options, context: {"changed": False, "options": dict(options)}))}
    return made


@pytest.fixture(autouse=True)
def _no_configured_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_action.constants.config, "get_config_value", lambda name: {"INTERPRETER_PYTHON": "auto"}[name])


def test_a_plain_local_task_runs_here() -> None:
    assert action().why_module({}) == ""


@pytest.mark.parametrize("environment", [None, [], [{}], [{}, None], {}, [None]])
def test_no_real_environment(environment: Any) -> None:
    assert action(environment=environment).why_module({}) == ""


@pytest.mark.parametrize("environment", [[{"A": "1"}], [{}, {"A": "1"}], {"A": "1"}, ["{{ env }}"]])
def test_a_real_environment(environment: Any) -> None:
    assert action(environment=environment).why_module({}) == "environment"


def test_async_become_and_connection() -> None:
    assert action(async_val=30).why_module({}) == "async"
    made = action()
    made._play_context.become = True
    assert made.why_module({}) == "become"
    made = action()
    made._connection.become = object()
    assert made.why_module({}) == "become"
    made = action()
    made._connection.transport = "ssh"
    assert made.why_module({}) == "connection ssh"


HERE = sys.executable
FOLDER = Path(HERE).parent
RELATIVE = f"{FOLDER}/./../{FOLDER.name}/{Path(HERE).name}"


@pytest.mark.parametrize("interpreter", [None, "", "auto", "auto_silent", "auto_legacy", HERE, RELATIVE])
def test_the_interpreter_is_this_one(interpreter: str | None) -> None:
    assert action().why_module({"ansible_python_interpreter": interpreter}) == ""


def test_another_interpreter_also_one_that_is_only_linked_to_this_one() -> None:
    assert action().why_module({"ansible_python_interpreter": "/usr/bin/other"}) == "interpreter /usr/bin/other"
    real = os.path.realpath(HERE)
    if real != HERE:  # a virtual environment: the base Python lacks its libraries
        assert action().why_module({"ansible_python_interpreter": real}) == f"interpreter {real}"


def test_a_template_is_templated_first() -> None:
    made = action()
    made._templar.template = lambda text: text.replace("{{ ansible_playbook_python }}", HERE)
    assert made.why_module({"ansible_python_interpreter": "{{ ansible_playbook_python }}"}) == ""
    assert made.why_module({"ansible_python_interpreter": "{{ ansible_playbook_python }}x"}) == f"interpreter {HERE}x"


def test_with_delegate_to_the_delegates_interpreter_counts() -> None:
    variables = {"ansible_python_interpreter": "/remote/python", "ansible_delegated_vars": {"localhost": {"ansible_python_interpreter": HERE}}}
    assert action(delegate_to="localhost").why_module(variables) == ""
    variables = {"ansible_python_interpreter": HERE, "ansible_delegated_vars": {"other": {"ansible_python_interpreter": "/remote/python"}}}
    assert action(delegate_to="other").why_module(variables) == "interpreter /remote/python"
    assert action(delegate_to="other").why_module({"ansible_delegated_vars": {"other": {}}, "ansible_python_interpreter": "/remote/python"}) == ""


def test_the_configured_interpreter_counts_when_no_variable_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_action.constants.config, "get_config_value", lambda name: "/usr/bin/configured")
    assert action().why_module({}) == "interpreter /usr/bin/configured"
    assert action().why_module({"ansible_python_interpreter": HERE}) == ""


def test_options_arrive_validated_and_plain() -> None:
    result = action(args={"pick": Text("a"), "count": "7"})._run_here()
    assert result["options"]["choice"] == "a"
    assert result["options"]["count"] == 7
    assert action()._run_here()["options"]["count"] == 3


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"nope": 1}, "Unsupported parameters for (serverops.circleci.demo) module: nope."),
        ({"count": "many"}, "argument 'count' is of type"),
        ({"choice": "c"}, "value of choice must be one of: a, b, got: c"),
        ({"nested": {"key": "canary-1", "n": "canary-1"}}, "argument 'n' is of type"),
        ({"token": "canary-1", "choice": "canary-1"}, f"got: {MASK}"),
    ],
)
def test_wrong_options_are_told_in_the_words_of_a_module_and_masked(args: dict[str, Any], words: str) -> None:
    result = action(args=args)._run_here()
    assert result["failed"] is True
    assert words in result["msg"]
    assert "canary" not in json.dumps(result)


def test_an_option_and_its_alias_warn() -> None:
    assert action(args={"choice": "a", "pick": "b"})._run_here()["warnings"] == ["Both option choice and its alias pick are set."]


def test_results_are_json_and_masked_and_warnings_are_told() -> None:
    def behave(options: Mapping[str, Any], context: Context) -> dict[str, Any]:
        context.warn(f"saw {options['token']}")
        return {"changed": True, "list": (Text("x"), options["token"]), "check": context.check_mode}

    result = action(behave, {"token": "canary-1"}, check_mode=True)._run_here()
    assert result == {"changed": True, "list": ["x", MASK], "check": True, "warnings": [f"saw {MASK}"]}
    assert result["list"][0].__class__ is str


def test_failures_and_defects_are_sentences() -> None:
    def fail(_options: Mapping[str, Any], _context: Context) -> dict[str, Any]:
        raise NotProven("prove", "Thing x", "it is canary-1", "Look")

    assert action(fail, {"token": "canary-1"})._run_here() == {
        "failed": True, "changed": False, "msg": f"prove Thing x: it is {MASK}. Look.", "requests": [],
    }  # fmt: skip


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_end_from_outside_passes(stop: type[BaseException]) -> None:
    def behave(_options: Mapping[str, Any], _context: Context) -> dict[str, Any]:
        raise stop

    with pytest.raises(stop):
        action(behave)._run_here()


@pytest.mark.parametrize(("no_log", "lines"), [(False, [f"step {MASK}"]), (True, [])])
def test_progress_is_shown_masked_and_not_when_the_task_says_no_log(no_log: bool, lines: list[str]) -> None:
    def behave(options: Mapping[str, Any], context: Context) -> dict[str, Any]:
        context.progress(f"step {options['token']}")
        return {"changed": False}

    made = action(behave, {"token": "canary-1"}, no_log=no_log)
    made._run_here()
    assert made.shown == lines


def test_the_parent_is_the_process_that_started_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def behave(_options: Mapping[str, Any], context: Context) -> dict[str, Any]:
        seen.append(context.parent_alive())
        monkeypatch.setattr(os, "getppid", lambda: 1)
        seen.append(context.parent_alive())
        return {"changed": False}

    action(behave)._run_here()
    assert seen == [True, False]


def test_the_given_options_are_not_touched() -> None:
    def behave(options: Mapping[str, Any], _context: Context) -> dict[str, Any]:
        options["nested"]["key"] = "spoilt"
        return {"changed": False}

    args = {"nested": {"key": "as given"}}
    action(behave, args)._run_here()
    assert args == {"nested": {"key": "as given"}}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("{{ there | default(omit) }}", [None]),
        ("{{ there }}", [None]),
        ("{{ nowhere }}", None),
        ("{{ nowhere | default(omit) }}", []),
        ("{{nowhere|default(omit)}}", []),
        ("{{ nowhere['x'] | default(omit) }}", None),
        ("{{ item['x'] | default(omit) }}", [1]),
        ("{{ item['x'] }}", [1]),
        ("{{ item['y'] | default(omit) }}", []),
        ("{{ item['y'] }}", None),
        ("{{ item['t'] | default(omit) }}", None),
        ("{{ text['y'] | default(omit) }}", None),
        ("{{ text | default(omit) }}", None),
        ("{{ nowhere | default('') }}", None),
        ("{{ there | default(omit) }} ", None),
        ("{{ there | string | default(omit) }}", None),
        ("{{ omit }}", None),
        (5, None),
        (None, None),
    ],
)
def test_what_an_option_stands_for_without_a_template(value: Any, found: list[Any] | None) -> None:
    assert _action.looked_up(value, {"there": None, "item": {"x": 1, "t": "{{ nowhere }}"}, "text": "{{ other }}"}) == found


def test_options_are_what_the_templates_of_this_ansible_core_make_of_them() -> None:
    """Left out, given, with templates inside, undefined inside; what is not trusted to be a template stays as it stands."""
    try:
        from ansible._internal._templating._engine import TemplateEngine
        from ansible.errors import AnsibleValueOmittedError
        from ansible.template import trust_as_template
    except ImportError:  # ansible-core before 2.19 does not ask the action
        assert not hasattr(_action.ActionBase, "finalize_task_arg")
        return
    trusted = trust_as_template("{{ there }}-")
    variables = {
        "there": "x", "item": {"x": "y", "t": trusted, "n": None}, "list": [trusted, {"k": trusted}], "t": trusted,
        "undefined": trust_as_template("{{ nowhere }}"), "number": 5, "text": "{{ there }}",
    }  # fmt: skip
    engine = TemplateEngine(variables=variables)

    def outcome(value: Any, make: Any) -> Any:
        try:
            return make(value)
        except AnsibleValueOmittedError:
            return "left out"
        except Exception as error:  # noqa: BLE001  the kind is compared
            return type(error)

    names = [*variables, "nowhere", "item['x']", "item['t']", "item['n']", "item['z']", "nowhere['z']", "number['z']"]
    for text in (f"{{{{ {name}{default} }}}}" for name in names for default in ("", " | default(omit)")):
        for value in (text, trust_as_template(text)):
            ours = outcome(value, lambda value: Action.finalize_task_arg("option", value, engine, None))
            assert types(plain(ours)) == types(plain(outcome(value, engine.template))), text
