# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantities: what means the same is the same, written as the API server writes it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import quantity
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("0.5", "500m"), ("1000m", "1"), ("1500m", "1500m"), ("1.5", "1500m"), ("2", "2"), ("1000", "1k"), ("1e3", "1e3"), ("12e6", "12e6"),
     ("1024Mi", "1Gi"), ("0.5Gi", "512Mi"), ("1.5Gi", "1536Mi"), ("512Mi", "512Mi"), ("1000Ki", "1000Ki"), ("0.5Ki", "512"), ("128M", "128M"),
     ("1500M", "1500M"), ("0", "0"), ("0Gi", "0"), ("100u", "100u"), ("0.0001", "100u"), ("+1", "1"), ("-1", "-1"), (2, "2"), (0.5, "500m"),
     (" 1 ", "1"), ("1.", "1"), (".5", "500m"), ("1E", "1E"), ("1Ei", "1Ei"), ("2048Ei", "2048Ei"), ("3e-3", "3e-3"), ("0.1n", "1n")],
)  # fmt: skip
def test_written_as_the_api_server_does(text: str | int | float, canonical: str) -> None:
    assert quantity.canonical(text) == canonical
    assert quantity.canonical(canonical) == canonical


@pytest.mark.parametrize("text", ["", "m", "1 m", "1mi", "1KI", "1K", "ten", "1,5", "0x10", "1e", "--1", "1Mi5", "1.2.3", "½"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity such as"):
        quantity.value(text)


@given(st.integers(0, 10**9), st.sampled_from(["", "m", "u", "k", "M", "G", "Ki", "Mi", "Gi"]))
def test_the_value_survives(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    assert quantity.value(quantity.canonical(text)) == quantity.value(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("0.5", "500m", True), ("1Gi", "1024Mi", True), ("1G", "1Gi", False), (None, None, True), (None, "0", False), ("x", "x", True),
     ("x", "1", False), (1, "1000m", True)],
)  # fmt: skip
def test_the_same(one: str | int | None, other: str | int | None, same: bool) -> None:
    assert quantity.same(one, other) is same


def test_value_is_exact() -> None:
    assert quantity.value("0.1") == Decimal("0.1")
    assert quantity.value("1Gi") == 2**30
