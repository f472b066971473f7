# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the role status for facts that are given: rendered as the template module does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_status, backup_status_page

TEMPLATES = Path(__file__).resolve().parents[3] / "roles" / "status" / "templates"


def rendered(name: str, **values: Any) -> str:
    """Return a template of the role, with these values."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)  # noqa: S701  (as Ansible)
    return environment.get_template(name).render(**values)


def html(raw: dict[str, Any]) -> str:
    """Return the page of an installation."""
    facts = backup_status.judge(json.loads(json.dumps(raw)))
    return rendered("page.html.j2", __status_facts=facts, __status_page=backup_status_page.page(facts))
