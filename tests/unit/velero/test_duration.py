# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations: what Go reads and prints, and what it would not read."""

from __future__ import annotations

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import duration
from hypothesis import given, settings
from hypothesis import strategies as st

LONGEST = 2**63 - 1


def go(amount: int) -> str:
    """Print nanoseconds as Go's time.Duration.String does: its own algorithm, digit by digit from the right."""
    if not amount:
        return "0s"
    if amount < 10**9:
        digits, unit = (0, "ns") if amount < 1000 else (3, "µs") if amount < 10**6 else (6, "ms")
        return fraction(amount, digits) + unit
    seconds, nanos = divmod(amount, 10**9)
    text = fraction((seconds % 60) * 10**9 + nanos, 9) + "s"
    if seconds >= 60:
        text = f"{seconds // 60 % 60}m{text}"
    if seconds >= 3600:
        text = f"{seconds // 3600}h{text}"
    return text


def fraction(amount: int, digits: int) -> str:
    whole, rest = divmod(amount, 10**digits)
    tail = f"{rest:0{digits}d}".rstrip("0") if digits else ""
    return f"{whole}.{tail}" if tail else str(whole)


amounts = st.one_of(st.integers(0, LONGEST), st.integers(0, 10**10), st.integers(0, 100000).map(lambda seconds: seconds * 10**9))


@settings(max_examples=400)
@given(amounts)
def test_what_go_prints_comes_back_the_same(amount: int) -> None:
    text = go(amount)
    assert duration.nanoseconds(text) == amount
    assert duration.canonical(text) == text
    assert duration.seconds(text) == amount / 1e9


@given(st.integers(0, 500), st.integers(0, 5000), st.integers(0, 100000), st.sampled_from(["", "+", " "]))
def test_parts_add_up(hours: int, minutes: int, seconds: int, sign: str) -> None:
    text = f"{sign}{hours}h{minutes}m{seconds}s"
    total = (hours * 3600 + minutes * 60 + seconds) * 10**9
    assert duration.nanoseconds(text) == total
    assert duration.canonical(text) == go(total)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("0", "0s"), ("+0", "0s"), ("0s", "0s"), ("60s", "1m0s"), ("720h", "720h0m0s"), ("1.5h", "1h30m0s"), (".5s", "500ms"), ("1.s", "1s"),
     ("1500us", "1.5ms"), ("1us", "1µs"), ("1μs", "1µs"), ("0.5ns0.5ns", "0s"), ("1h1h", "2h0m0s"), (" 30s ", "30s"),
     ("2562047h47m16.854775807s", "2562047h47m16.854775807s")],
)  # fmt: skip
def test_examples(text: str, canonical: str) -> None:
    assert duration.canonical(text) == canonical


@pytest.mark.parametrize(
    "text", ["", "1", "60", "1d", "1w", "-1s", "-5m", "1 m", "m", "1mm", "s1", "1h30", "0x1s", "1e3s", ".s", "1,5h", "one", "+", "++1s", "1S"]
)
def test_what_go_would_not_read(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration such as"):
        duration.nanoseconds(text)


@pytest.mark.parametrize("text", ["2562048h", "99999999999999h", "9223372036854775808ns", "2562047h47m16.854775808s"])
def test_what_go_could_not_hold(text: str) -> None:
    # stored, it would keep the server from reading any location
    with pytest.raises(ValueError, match="longer than"):
        duration.canonical(text)
