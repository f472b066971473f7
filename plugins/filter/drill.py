# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role drill: what it brings up, and what of that does not run. Each is documented in the YAML file of its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.serverops.circleci.plugins.module_utils._velero import drill


def drill_plan(raw: Any) -> dict[str, Any]:
    """Return backup, pods, selector and obstacles."""
    if not isinstance(raw, dict):
        raise AnsibleFilterError(f"drill_plan takes a dictionary, and was given {type(raw).__name__}")
    return drill.plan(json.loads(json.dumps(raw, default=str)))


def drill_trouble(pods: Any, wanted: Any) -> list[str]:
    """Return what is wrong with the pods."""
    if not isinstance(pods, list) or not isinstance(wanted, list):
        raise AnsibleFilterError("drill_trouble takes a list of pods and a list of names")
    return drill.trouble(json.loads(json.dumps(pods, default=str)), [str(name) for name in wanted])


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"drill_plan": drill_plan, "drill_trouble": drill_trouble}
