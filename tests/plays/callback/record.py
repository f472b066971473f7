# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback plugin of the tests: writes every task's result as one JSON line to the file that SERVEROPS_RECORD names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: record
type: notification
short_description: Write every task's result to a file
description: Used by the tests of this collection.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Writes results down as they come."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, status: str, result: Any) -> None:
        path = os.environ.get("SERVEROPS_RECORD")
        if not path:
            return
        line = {
            "task": result._task.get_name(),
            "host": result._host.get_name(),
            "status": status,
            "result": json.loads(json.dumps(dict(result._result), default=str)),
        }
        with Path(path).open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        """Take a success."""
        self._write("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Take a failure."""
        self._write("failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Take an unreachable host."""
        self._write("unreachable", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Take a skipped task."""
        self._write("skipped", result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Take a loop item's success."""
        self._write("item-ok", result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """Take a loop item's failure."""
        self._write("item-failed", result)
