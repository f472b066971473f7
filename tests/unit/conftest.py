# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module's main() in this process, on every supported ansible-core."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from ansible.module_utils import basic

RunModule = Callable[..., dict[str, Any]]


@contextmanager
def given(arguments: dict[str, Any]) -> Iterator[None]:
    """Hand arguments to the next AnsibleModule."""
    try:
        from ansible.module_utils.testing import patch_module_args
    except ImportError:  # ansible-core before 2.19
        with mock.patch.object(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()):
            yield
    else:
        with patch_module_args(arguments):
            yield


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str]) -> RunModule:
    """A function (main, arguments, check=False, diff=False) that returns the result a module printed."""

    def run(main: Callable[[], None], arguments: dict[str, Any], *, check: bool = False, diff: bool = False) -> dict[str, Any]:
        capsys.readouterr()
        with given({**arguments, "_ansible_check_mode": check, "_ansible_diff": diff}), pytest.raises(SystemExit):
            main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
        return result

    return run
