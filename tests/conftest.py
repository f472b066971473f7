# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets every test import the collection, also when pytest is started in a plain clone, and makes generated cases repeatable."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]


def make_importable() -> None:
    """Make `ansible_collections.serverops.circleci` this clone, for this process and for every program it starts."""
    if importlib.util.find_spec("ansible_collections") and importlib.util.find_spec("ansible_collections.serverops"):
        return
    tree = Path(tempfile.mkdtemp(prefix="serverops-tree-"))
    atexit.register(shutil.rmtree, tree, ignore_errors=True)
    namespace = tree / "ansible_collections" / "serverops"
    namespace.mkdir(parents=True)
    (namespace / "circleci").symlink_to(ROOT)
    sys.path.insert(0, str(tree))
    os.environ["PYTHONPATH"] = str(tree)
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(tree)


make_importable()
# the same cases in each run: a gate must not fail by luck
settings.register_profile("gates", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("gates")
