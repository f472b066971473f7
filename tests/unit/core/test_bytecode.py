# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The finder of the private modules: which it finds, and whose folders it leaves alone."""

from __future__ import annotations

import os
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
from ansible_collections.serverops.circleci.plugins.plugin_utils import _bytecode

NAME = f"{_bytecode.PRIVATE[0]}_core.deadline"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deadline.py").write_text("SECONDS = 1\n")
    (tmp_path / "inner").mkdir()
    return tmp_path


def test_a_private_module_is_loaded_by_the_loader_that_keeps_bytecode(folder: Path):
    found = _bytecode.Finder().find_spec(NAME, [str(folder)])
    assert found is not None
    assert isinstance(found.loader, SourceFileLoader)
    assert found.origin == str(folder / "deadline.py")


@pytest.mark.parametrize(
    "name",
    [
        "ansible_collections.serverops.circleci.plugins.modules.deadline",
        "ansible_collections.serverops.other.plugins.module_utils.deadline",
        "ansible.module_utils.deadline",
        f"{_bytecode.PRIVATE[0]}inner",
        f"{_bytecode.PRIVATE[0]}nothing",
    ],
)
def test_everything_else_is_left_to_others(folder: Path, name: str):
    assert _bytecode.Finder().find_spec(name, [str(folder)]) is None


def test_a_folder_of_somebody_else_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    assert _bytecode.Finder().find_spec(NAME, [str(folder)]) is None


def test_one_is_enough(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if not isinstance(finder, _bytecode.Finder)])
    for _time in range(2):
        _bytecode.keep()
    assert sum(isinstance(finder, _bytecode.Finder) for finder in sys.meta_path) == 1
    assert isinstance(sys.meta_path[0], _bytecode.Finder)
