# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo prints: lines at once, titles of stages, tables."""

from __future__ import annotations

import sys
from typing import Any


def say(text: str = "") -> None:
    """One line for the person, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def table(rows: list[tuple[Any, ...]], indent: str = "  ") -> None:
    """Rows in columns as wide as their widest cell; the first row is the heading."""
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        say(indent + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
