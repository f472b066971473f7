# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module way: the only place that knows AnsibleModule.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Definition, Finished, perform
from ansible_collections.serverops.circleci.plugins.module_utils._core.refusal import refusal
from ansible_collections.serverops.circleci.plugins.module_utils._core.secret import Mask


def run_module(definition: Definition) -> None:
    """Validate the options as Ansible does, run the behaviour, and end the process with its result."""
    parent = os.getppid()
    mask = Mask()

    class Module(AnsibleModule):  # type: ignore[misc]  # ansible-core has no types
        """AnsibleModule that keeps every form of a secret, also one inside an option, out of `invocation` and of the system's log.

        The core logs and returns the options by itself, at validation already, and knows only the plain values of no_log options.
        """

        def _hide(self) -> None:
            mask.add(*definition.secrets_of(self.params))
            self.no_log_values.update(mask.forms())

        def _load_params(self) -> None:
            super()._load_params()
            self._hide()

        def _log_invocation(self) -> None:
            # defaults and environment variables have been filled in since the options were loaded
            self._hide()
            super()._log_invocation()

        def fail_json(self, msg: str, **rest: Any) -> None:
            self._hide()
            checked = getattr(self, "validation_result", None)
            super().fail_json((checked and refusal(checked, self._name)) or msg, **rest)

    module = Module(argument_spec=dict(definition.arguments), supports_check_mode=True, **definition.constraints)

    def run_program(argv: Sequence[str], seconds: float) -> Finished:
        over = threading.Event()

        def end(process: Any) -> None:
            over.set()
            process.kill()

        timers: list[threading.Timer] = []

        def started(process: Any) -> None:
            timers.append(threading.Timer(seconds, end, (process,)))
            timers[0].start()

        try:
            done = module.run_command(list(argv), handle_exceptions=False, expand_user_and_vars=False, before_communicate_callback=started)
        finally:
            for timer in timers:
                timer.cancel()
        if over.is_set():
            raise TimeoutError(f"no end within {seconds:g} s")
        return Finished(*done)

    context = Context(check_mode=bool(module.check_mode), mask=mask, parent_alive=lambda: os.getppid() == parent, run_program=run_program)
    result = perform(definition, module.params, context)
    # secrets that the behaviour came to know by itself, such as a token made at run time
    module.no_log_values.update(mask.forms())
    for warning in context.warnings:
        module.warn(warning)
    result["ran"] = "module"
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)
