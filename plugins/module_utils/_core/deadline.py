# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time that is left: a deadline on the monotonic clock, which a jump of the wall clock does not move.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds on a clock that only goes forward."""


class Deadline:
    """The end of a task's time, made once and handed to everything that may wait."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._start = clock()
        self.seconds = seconds

    def elapsed(self) -> float:
        """Return the seconds since the deadline was made."""
        return self._clock() - self._start

    def remaining(self) -> float:
        """Return the seconds that are left, 0 when it is over."""
        return max(0.0, self.seconds - self.elapsed())

    @property
    def over(self) -> bool:
        """Tell whether the time is over."""
        return self.remaining() <= 0

    def pause(self, seconds: float) -> None:
        """Sleep for a while, never past the end."""
        left = min(seconds, self.remaining())
        if left > 0:
            self._sleep(left)
