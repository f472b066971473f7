# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module way: the only place that knows AnsibleModule.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Definition, perform


def run_module(definition: Definition) -> None:
    """Validate the options as Ansible does, run the behaviour, and end the process with its result."""
    parent = os.getppid()
    module = AnsibleModule(argument_spec=dict(definition.arguments), supports_check_mode=True, **definition.constraints)
    context = Context(check_mode=bool(module.check_mode), parent_alive=lambda: os.getppid() == parent)
    result = perform(definition, module.params, context)
    for warning in context.warnings:
        module.warn(warning)
    result["ran"] = "module"
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)
