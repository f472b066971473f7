# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role status: facts and verdict, what the page prints, and metrics. Each is documented in the YAML file of its name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_status as facts_of
from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_status_metrics as metrics_of
from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_status_page as page_of


def _plain(name: str, value: Any) -> Any:
    """Return what a filter was given without what the templating adds to values; AnsibleFilterError for anything but a dictionary."""
    if not isinstance(value, Mapping):
        raise AnsibleFilterError(f"{name} takes a dictionary, and was given {type(value).__name__}")
    return json.loads(json.dumps(value, default=str))


def backup_status(raw: Any) -> dict[str, Any]:
    """Return facts and verdict."""
    try:
        return facts_of.judge(_plain("backup_status", raw))
    except ValueError as error:
        raise AnsibleFilterError(f"backup_status: target and drill_target have to be durations: {error}") from error


def backup_status_page(facts: Any, shown: int = 30) -> dict[str, Any]:
    """Return what the page prints."""
    return page_of.page(_plain("backup_status_page", facts), int(shown))


def backup_status_metrics(facts: Any) -> str:
    """Return the text of the Prometheus file."""
    return metrics_of.text(_plain("backup_status_metrics", facts))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "backup_status": backup_status,
            "backup_status_metrics": backup_status_metrics,
            "backup_status_page": backup_status_page,
        }
