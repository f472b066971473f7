# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as Velero writes them (Go's time.Duration: "1m0s", "720h", "1.5h") compared as numbers.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
_LONGEST = 2**63 - 1
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_WHOLE = re.compile(rf"[+]?(?:{_PART.pattern})+")


def nanoseconds(text: str) -> int:
    """Return a non-negative Go duration in nanoseconds; ValueError when it is none. "0" needs no unit, as in Go."""
    text = text.strip()
    if text in {"0", "+0"}:
        return 0
    if not _WHOLE.fullmatch(text):
        raise ValueError("not a duration such as 30s, 1m0s or 720h")
    total = sum(int(Decimal(number) * _UNITS[unit]) for number, unit in _PART.findall(text))
    if total > _LONGEST:
        # Velero could not read the location any more, and with it none of the others
        raise ValueError("longer than the 2562047 hours that Go can hold")
    return total


def seconds(text: str) -> float:
    """Return a Go duration in seconds."""
    return nanoseconds(text) / 1e9


def canonical(text: str) -> str:
    """Return a duration as Go prints it ("60s" becomes "1m0s"), which is how it comes back from the server."""
    total = nanoseconds(text)
    if total == 0:
        return "0s"
    if total < 1_000_000_000:
        for unit in ("ms", "µs", "ns"):
            if total >= _UNITS[unit]:
                return f"{_decimal(total, _UNITS[unit])}{unit}"
    hours, rest = divmod(total, _UNITS["h"])
    minutes, rest = divmod(rest, _UNITS["m"])
    second = f"{_decimal(rest, _UNITS['s'])}s"
    if hours:
        return f"{hours}h{minutes}m{second}"
    return f"{minutes}m{second}" if minutes else second


def _decimal(amount: int, unit: int) -> str:
    number = format(Decimal(amount) / Decimal(unit), "f")
    return number.rstrip("0").rstrip(".") if "." in number else number
