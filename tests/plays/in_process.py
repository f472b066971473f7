# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module's behaviour in the test's own process, by the same steps as the controller way: validate, then perform."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Definition, perform
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import manifest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    backup,
    backup_info,
    install,
    installation,
    restore,
    restore_info,
    schedule,
    snapshot_location,
    storage_location,
)
from ansible_collections.serverops.circleci.plugins.plugin_utils._action import run_program

DEFINITIONS: dict[str, Definition] = {
    definition.name: definition
    for definition in (
        manifest.DEFINITION,
        backup.DEFINITION,
        backup_info.DEFINITION,
        installation.DEFINITION,
        install.DEFINITION,
        restore.DEFINITION,
        restore_info.DEFINITION,
        schedule.DEFINITION,
        snapshot_location.DEFINITION,
        storage_location.DEFINITION,
    )
}


@dataclass
class Ran:
    """A task's result, its warnings, and the progress lines that a person would have seen."""

    result: dict[str, Any]
    warnings: list[str]
    progress: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> Any:
        return self.result[name]

    @property
    def failed(self) -> bool:
        """Tell whether the task failed."""
        return bool(self.result.get("failed"))

    @property
    def written(self) -> list[str]:
        """Return method and path of every write, as one text each."""
        return [f"{request['method']} {request['path']}" for request in self.result["requests"]]


def run(module: str, options: Mapping[str, Any], *, check: bool = False) -> Ran:
    """Run a module with these options; AssertionError when the options are not valid in themselves."""
    definition = DEFINITIONS[module]
    checked = ArgumentSpecValidator(dict(definition.arguments), **definition.constraints).validate(json.loads(json.dumps(dict(options))))
    if checked.error_messages:
        raise AssertionError(checked.error_messages)
    lines: list[str] = []
    parent = os.getppid()
    context = Context(check_mode=check, progress=lines.append, parent_alive=lambda: os.getppid() == parent, run_program=run_program)
    result = perform(definition, checked.validated_parameters, context)
    return Ran(json.loads(json.dumps(result)), context.warnings, lines)
