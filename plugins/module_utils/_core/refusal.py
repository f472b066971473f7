# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words in which wrong arguments are refused by Ansible's own checks, the same whether a task runs as a module or not.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.errors import NoLogError, UnsupportedError


def refusal(checked: Any, module: str) -> str:
    """Return what to tell of the first error of a ValidationResult; empty when there is none. module: its full name.

    A text where a mapping with suboptions belongs is first met by the search for secrets, whose message names no option: the next one does.
    """
    errors = checked.errors.errors
    if not errors:
        return ""
    telling = next((error for error in errors if not isinstance(error, NoLogError)), errors[0])
    prefix = f"Unsupported parameters for ({module}) module: " if isinstance(telling, UnsupportedError) else ""
    return f"{prefix}{telling.msg}"
