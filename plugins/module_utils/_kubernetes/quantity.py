# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes quantities ("500m", "0.5", "1Gi", "1e3") compared as numbers and written as the API server writes them.

Source: the documentation of k8s.io/apimachinery/pkg/api/resource.Quantity.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import re
from decimal import ROUND_UP, Context, Decimal, localcontext

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_WHOLE = re.compile(r"([+-]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40}))(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?|[eE][+-]?\d{1,2})")
_FINEST = Decimal("1e-9")
_EXACT = Context(prec=250)
"""Enough digits for every quantity that can be written."""


def value(text: str | int | float) -> Decimal:
    """Return a quantity as a number, rounded up to a billionth as the API server does; ValueError when it is none."""
    return _read(text)[0]


def _read(text: str | int | float) -> tuple[Decimal, str]:
    """Return the number and how it is written: binary, decimal or exponent."""
    found = _WHOLE.fullmatch(str(text).strip())
    if not found:
        raise ValueError("not a quantity such as 500m, 2 or 512Mi")
    number, suffix = Decimal(found.group(1)), found.group(2)
    with localcontext(_EXACT):
        if suffix in _BINARY:
            amount, form = number * Decimal(1024) ** _BINARY[suffix], "binary"
        elif suffix in _DECIMAL:
            amount, form = number.scaleb(_DECIMAL[suffix]), "decimal"
        else:
            amount, form = number.scaleb(int(suffix[1:])), "exponent"
        return (amount.quantize(_FINEST, ROUND_UP) if amount % _FINEST else amount), form


def canonical(text: str | int | float) -> str:
    """Return a quantity as the API server writes it: "0.5" becomes "500m", "1000m" becomes "1", "1024Mi" becomes "1Gi"."""
    amount, form = _read(text)
    if not amount:
        return "0"
    with localcontext(_EXACT):
        if form == "binary" and abs(amount) >= 1024 and amount == amount.to_integral_value():
            power = 0
            while power < len(_BINARY) and amount % 1024 == 0:
                amount, power = amount / 1024, power + 1
            return f"{int(amount)}{list(_BINARY)[power - 1] if power else ''}"
        # the largest unit in which it is a whole number; one does, since a billionth is the finest
        units = [(suffix, exponent, amount.scaleb(-exponent)) for suffix, exponent in reversed(_DECIMAL.items())]
        suffix, exponent, scaled = next(unit for unit in units if unit[2] == unit[2].to_integral_value())
    if form == "exponent":
        return f"{int(scaled)}{f'e{exponent}' if exponent else ''}"
    return f"{int(scaled)}{suffix}"


def same(one: str | int | float | None, other: str | int | float | None) -> bool:
    """Tell whether two quantities mean the same; what is no quantity is compared as it stands."""
    if one is None or other is None:
        return one is other
    try:
        return value(one) == value(other)
    except ValueError:
        return str(one) == str(other)
