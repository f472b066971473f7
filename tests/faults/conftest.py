# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed of the fault tests is that of the other tests on the bed."""

from __future__ import annotations

from tests.bed.conftest import bed

__all__ = ["bed"]
