# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed of the fault tests, which is that of the other tests on the bed, and one Velero behind a fault proxy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bed.conftest import bed
from tests.bed.driver import Bed
from tests.faults import suite

__all__ = ["bed", "place"]


@pytest.fixture(scope="session")
def place(bed: Bed) -> Iterator[suite.Place]:
    """One Velero with a fault proxy before its API server."""
    with suite.places(bed, 1) as (made,):
        yield made
