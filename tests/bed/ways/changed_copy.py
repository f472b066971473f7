# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of the collection in which one behaviour does something more: for tests that must see a leak, or an exception."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WRAPPED = """

_unchanged = DEFINITION.behaviour


def _changed(options, context):
{body}
    return _unchanged(options, context)


DEFINITION = Definition(DEFINITION.name, ARGUMENTS, _changed, secrets=DEFINITION.secrets)
"""


def changed_copy(folder: Path, body: str, module_utils: str = "_velero/storage_location.py") -> dict[str, str]:
    """Copy the collection, put lines of Python before a module's behaviour, and return the environment in which plays use the copy."""
    collection = folder / "ansible_collections/serverops/circleci"
    shutil.copytree(ROOT / "plugins", collection / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "meta", collection / "meta")
    shutil.copy(ROOT / "galaxy.yml", collection)
    target = collection / "plugins/module_utils" / module_utils
    target.write_text(target.read_text() + WRAPPED.format(body=textwrap.indent(textwrap.dedent(body).strip(), "    ")))
    return {"ANSIBLE_COLLECTIONS_PATH": str(folder), "PYTHONPATH": str(folder)}
