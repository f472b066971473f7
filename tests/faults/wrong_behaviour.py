# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules wrongly on purpose, so that it is seen whether the suite notices."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tests.plays.in_process import Ran
from tests.plays.in_process import run as run_truly


def trusting(module: str, options: Mapping[str, Any]) -> Ran:
    """Take every failure for a success that changed nothing."""
    ran = run_truly(module, options)
    return Ran({"changed": False, "requests": [], "velero": []}, ran.warnings) if ran.failed else ran


def forgetful(module: str, options: Mapping[str, Any]) -> Ran:
    """Leave out of the result what was written."""
    ran = run_truly(module, options)
    return Ran(ran.result | {"requests": [], "changed": False}, ran.warnings)


def slow(module: str, options: Mapping[str, Any]) -> Ran:
    """End long after the deadline."""
    ran = run_truly(module, options)
    time.sleep(options["timeout"] + 6)
    return ran


def talkative(module: str, options: Mapping[str, Any]) -> Ran:
    """Tell the credentials in a message."""
    ran = run_truly(module, options)
    return Ran(ran.result | {"msg": (options.get("credential") or {}).get("content", "")}, ran.warnings)


def twice(module: str, options: Mapping[str, Any]) -> Ran:
    """Ask for a second status request, as a POST that was sent again under another name would."""
    from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
    from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource, session

    api = session.log_in(dict(options), Context())
    for number in (1, 2):
        api.send(resource.create(resource.SERVER_STATUS_REQUEST, options["namespace"], {"metadata": {"name": f"twice-{number}"}, "spec": {}}))
    return run_truly(module, options)
