# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller way: run a module's behaviour in the controller process when that is the same thing, else hand the task to the module.

Private to this collection; may change without notice. One file per family of imports takes its ActionModule from here,
so that a play of one family does not pay for the libraries of another.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, ClassVar

from ansible import constants
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Definition, Finished, perform
from ansible_collections.serverops.circleci.plugins.module_utils._core.refusal import refusal
from ansible_collections.serverops.circleci.plugins.module_utils._core.secret import Mask


def plain(value: Any) -> Any:
    """Copy to exact JSON types: what the controller hands over are tagged subclasses (ansible-core 2.19 and newer)."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, date):
        return value.isoformat()  # as the controller writes it for a module
    if isinstance(value, Mapping):
        return {"".join(name) if isinstance(name, str) else str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    # joining makes an untagged string; str() and copying keep the tag on some cores
    return "".join(value) if isinstance(value, str) else str(value)


DIRECT = re.compile(r"\{\{ *([A-Za-z_]\w*)(?:\['([^']+)'\])?( *\| *default\(omit\))? *\}\}")
"""How a role hands over an option: "{{ variable }}", "{{ variable['name'] }}", each also with "| default(omit)"."""


def looked_up(value: Any, variables: Mapping[str, Any]) -> list[Any] | None:
    """Return what an option's template stands for, in a list that is empty when it leaves the option out; None when only the template tells."""
    found = DIRECT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    name, inner, optional = found.groups()
    if name not in variables:
        return [] if optional and inner is None else None
    there = variables[name]
    if inner is not None:
        if not isinstance(there, Mapping):
            return None
        if inner not in there:
            return [] if optional else None
        there = there[inner]
    return None if isinstance(there, str) and "{" in there else [there]


def run_program(argv: Sequence[str], seconds: float) -> Finished:
    """Run a program for at most so many seconds; see RunProgram."""
    try:
        done = subprocess.run(list(argv), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"no end within {seconds:g} s") from None
    return Finished(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


class Action(ActionBase):
    """The one action behind all modules of a family; a subclass names the family's modules."""

    definitions: ClassVar[Mapping[str, Definition]] = {}
    _supports_check_mode = True
    _supports_async = True

    @classmethod
    def finalize_task_arg(cls, *args: Any) -> Any:
        """Return the value of an option (name, template, templar, context); called by ansible-core 2.19 and newer.

        A role hands over each option of a module, most of them left out, and a template takes a millisecond to be compiled, for each item of a
        loop anew. The hook is not yet a promise of ansible-core: without it, or with other arguments, the templates are compiled.
        """
        from ansible.errors import AnsibleValueOmittedError
        from ansible.template import is_trusted_as_template

        found = looked_up(args[1], args[2].available_variables) if len(args) == 4 and is_trusted_as_template(args[1]) else None
        if found is None:
            return super().finalize_task_arg(*args)
        if not found:
            raise AnsibleValueOmittedError
        return super().finalize_task_arg(args[0], found[0], *args[2:])

    def why_module(self, task_vars: Mapping[str, Any]) -> str:
        """Return why the task has to run as a module; empty when the controller process is the same thing."""
        if self._task.async_val:
            return "async"
        if self._play_context.become or getattr(self._connection, "become", None):
            return "become"
        if self._connection.transport != "local":
            return f"connection {self._connection.transport}"
        environment = self._task.environment
        if any(environment if isinstance(environment, list) else [environment]):
            return "environment"
        # with delegate_to the play host's own interpreter stands in task_vars, and the delegate's in ansible_delegated_vars
        delegated: Mapping[str, Any] = task_vars.get("ansible_delegated_vars") or {}
        raw = delegated.get(self._task.delegate_to, task_vars).get("ansible_python_interpreter")
        if raw is None:
            raw = constants.config.get_config_value("INTERPRETER_PYTHON")
        wanted = str(self._templar.template(raw) or "")
        # abspath, not realpath: a virtual environment's Python is a link to one that lacks its libraries
        if wanted and not wanted.startswith("auto") and os.path.abspath(wanted) != os.path.abspath(sys.executable):
            return f"interpreter {wanted}"
        return ""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        if self.why_module(task_vars or {}):
            wrap_async = bool(self._task.async_val) and not getattr(self._connection, "has_native_async", False)
            result.update(self._execute_module(task_vars=task_vars, wrap_async=wrap_async))
            if not wrap_async:
                self._remove_tmp_path(self._connection._shell.tmpdir)
                # a module that its arguments kept from starting says nothing of itself
                result.setdefault("ran", "module")
            return result
        result.update(self._run_here())
        result["ran"] = "controller"
        return result

    def _run_here(self) -> dict[str, Any]:
        fqcn = str(self._task.resolved_action or self._task.action)
        definition = self.definitions[fqcn.rsplit(".", 1)[-1]]
        arguments: dict[str, Any] = dict(definition.arguments)
        options = plain(self._task.args)
        mask = Mask(definition.secrets_of(options))
        checked = ArgumentSpecValidator(arguments, **definition.constraints).validate(options)
        mask.add(*definition.secrets_of(checked.validated_parameters))
        refused = refusal(checked, fqcn)
        if refused:
            return {"failed": True, "msg": mask.text(refused)}
        parent = os.getppid()
        context = Context(
            check_mode=bool(self._task.check_mode),
            mask=mask,
            progress=(lambda text: None) if self._task.no_log else self._show(mask),
            parent_alive=lambda: os.getppid() == parent,
            run_program=run_program,
        )
        for twice in checked._warnings:
            context.warn(f"Both option {twice['option']} and its alias {twice['alias']} are set.")
        result: dict[str, Any] = json.loads(json.dumps(plain(perform(definition, checked.validated_parameters, context))))
        if context.warnings:
            result["warnings"] = list(context.warnings)
        return result

    def _show(self, mask: Mask) -> Any:
        """Return what takes a progress line: Display reaches the terminal at once from a worker process, and ansible-runner too."""
        return lambda text: self._display.display(mask.text(text))
