# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors: four parts in one text, and the class that fits a status."""

from __future__ import annotations

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core import errors


@pytest.mark.parametrize(
    ("seen", "step", "text"),
    [
        ("it is gone", "Make it", "read Thing x: it is gone. Make it."),
        ("it is gone. ", " Make it.", "read Thing x: it is gone. Make it."),
        ("it is gone", "", "read Thing x: it is gone."),
    ],
)
def test_text(seen: str, step: str, text: str) -> None:
    error = errors.OperationError("read", "Thing x", seen, step)
    assert str(error) == text
    assert error.args == (text,)


def test_an_input_error_names_its_option() -> None:
    error = errors.InputError("credential.key", "it is empty", "Give one")
    assert error.option == "credential.key"
    assert str(error) == "check option credential.key: it is empty. Give one."


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, errors.Invalid), (401, errors.Unauthenticated), (403, errors.Forbidden), (404, errors.Absent), (409, errors.Conflict),
     (410, errors.Expired), (422, errors.Invalid), (418, errors.Refused), (500, errors.Refused)],
)  # fmt: skip
def test_the_class_fits_the_status(status: int, kind: type[errors.Refused]) -> None:
    error = errors.refused("read", "Thing x", status, "it said no")
    assert error.__class__ is kind
    assert isinstance(error, errors.Refused)
    assert error.status == status


def test_a_missing_library_names_the_python_that_lacks_it() -> None:
    text = str(errors.LibraryMissing("boto3", "/usr/bin/python3", "No module named 'boto3'", "EKS tokens"))
    assert text == (
        "import Python library boto3: it is needed for EKS tokens and cannot be imported by /usr/bin/python3 (No module named 'boto3'). "
        "Install it for that Python: /usr/bin/python3 -m pip install boto3."
    )
