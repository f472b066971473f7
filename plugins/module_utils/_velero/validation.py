# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof that Velero's server can store: a validation of a BackupStorageLocation that began after the last change.

Velero writes `status.lastValidationTime` (the stamp: whole seconds, the server's clock) when a validation ends. Source: the location
controller of 1.8.1, 1.10.3 and 1.17.2, and runs of these. From 1.10 the server validates at each change of the spec and at each
period; up to 1.9 only once the period is over and something wakes it (any write to a location, or a back-off of up to 17 minutes).
A hung validation leaves phase and stamp as they were, so a phase alone proves nothing.

Pure: no I/O. Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._velero.duration import seconds

SERVER_MANAGER = "velero-server"
"""Field manager of the server's own writes (seen on 1.8.1, 1.10.3, 1.17.2); they are not changes of the wanted state."""
DEFAULT_PERIOD = 60.0
"""Seconds between two validations when neither the location nor the server's --store-validation-frequency says otherwise."""
ENQUEUE_PERIOD = 10.0
"""Seconds by which a due validation may come late: the server looks for due ones this often (1.17.2)."""
SETTLE = 2.0
"""Seconds to go on watching when a validation of the state before the change may have been under way at the change."""


def parse_time(text: str | None) -> datetime | None:
    """Return a Kubernetes timestamp, or None for none."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def shown_time(time: datetime | None) -> str:
    """Return a timestamp as Kubernetes writes it; "never" for none."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else "never"


def stamp(location: Mapping[str, Any]) -> datetime | None:
    """Return when the last validation of a location ended."""
    return parse_time((location.get("status") or {}).get("lastValidationTime"))


def period(location: Mapping[str, Any], server_period: float = DEFAULT_PERIOD) -> float:
    """Return the seconds between two validations; 0 when periodic validation is switched off."""
    text = (location.get("spec") or {}).get("validationFrequency")
    try:
        return seconds(text) if text else server_period
    except ValueError:
        return server_period


def changed_at(managed: Mapping[str, Any], field: str) -> datetime | None:
    """Return when anybody but the server last wrote this top-level field of an object (API server's clock, whole seconds).

    Taken from metadata.managedFields, so it holds across runs that were killed and for changes made by hand.
    """
    metadata = managed.get("metadata") or {}
    times = [
        parse_time(entry.get("time"))
        for entry in metadata.get("managedFields") or []
        if entry.get("manager") != SERVER_MANAGER and f"f:{field}" in (entry.get("fieldsV1") or {})
    ]
    known = [time for time in times if time is not None]
    return max(known) if known else parse_time(metadata.get("creationTimestamp"))


def needed_stamp(location: Mapping[str, Any], secret: Mapping[str, Any] | None) -> datetime | None:
    """Return the earliest stamp that a validation of the present state can have.

    A write to the location makes its validation end in the same second or later; the writer sees to it that the stamp before was of
    an earlier second. A Secret is read through a cache of the server, so a validation has to end in a later second than its change.
    """
    needed = changed_at(location, "spec")
    if secret is not None:
        secret_time = changed_at(secret, "data")
        if secret_time is not None:
            after_secret = secret_time + timedelta(seconds=1)
            needed = max(needed, after_secret) if needed else after_secret
    return needed


@dataclass
class Verdict:
    """What one observation of a location says. `final` is True when phase and message belong to the present state."""

    final: bool
    phase: str
    message: str
    stamp: datetime | None
    text: str


class Judge:
    """Judges observations of one location in the order in which they come.

    secret: the Secret with the location's own credentials, if it has one. before: the stamp seen before the change; existed: whether
    the location was there before. asked_at: the API server's time of the change, None when nothing was changed: any stamp that is new
    enough counts then. triggered: whether the change was one of the location itself, at which the server (1.10) validates at once.
    unsettled: whether the stamp before was older than the spec before, so that a validation of an earlier change may be under way.
    """

    def __init__(
        self,
        secret: Mapping[str, Any] | None,
        before: datetime | None,
        *,
        existed: bool,
        asked_at: datetime | None,
        triggered: bool,
        unsettled: bool = False,
        server_period: float = DEFAULT_PERIOD,
    ) -> None:
        self._secret = secret
        self._before = before
        self._existed = existed
        self._asked_at = asked_at
        self._triggered = triggered
        self._unsettled = unsettled
        self._server_period = server_period
        self._new: set[datetime] = set()
        self._settling_since: float | None = None

    def looks_needed(self, location: Mapping[str, Any]) -> tuple[int, float]:
        """Return how many new stamps are needed, and for how many seconds to go on watching after that.

        A validation that was under way at the change may end after it and speak of the state before. It can only have been under way
        when one was due. One that is long overdue hangs: its end does not count, the one after it does. One that was just due is over
        in a moment, and the one that the change triggered follows it at once.
        """
        if not self._existed or self._asked_at is None:
            return 1, 0.0
        every = period(location, self._server_period)
        if self._before is None or self._unsettled:
            # without a period only the change itself brings a validation, so there is no second one to wait for
            return (2, 0.0) if every else (1, SETTLE)
        age = (self._asked_at - self._before).total_seconds()
        if not every or age < every - 2:
            return 1, 0.0
        return (2, 0.0) if age > every + ENQUEUE_PERIOD + 5 or not self._triggered else (1, SETTLE)

    def judge(self, location: Mapping[str, Any], elapsed: float, now: datetime | None) -> Verdict:
        """Judge one observation; elapsed: seconds on a clock that only goes forward; now: the API server's time."""
        status = location.get("status") or {}
        phase, message, seen = str(status.get("phase") or ""), str(status.get("message") or ""), stamp(location)
        needed = needed_stamp(location, self._secret)
        state = f"phase {phase or 'not set'}, last validated {shown_time(seen)}"
        if now and seen:
            state += f" ({max(0, int((now - seen).total_seconds()))} s ago)"
        if seen is None or not phase or (needed is not None and seen < needed):
            return Verdict(False, phase, message, seen, f"{state}; a validation of {shown_time(needed)} or later is needed")
        if seen != self._before:
            self._new.add(seen)
        if self._asked_at is None:
            every = period(location, self._server_period)
            oldest = max(2 * every, every + 2 * ENQUEUE_PERIOD)
            if every and now and (now - seen).total_seconds() > oldest:
                return Verdict(
                    False, phase, message, seen, f"{state}; with a validation period of {every:g} s it must not be older than {oldest:g} s"
                )
            return Verdict(True, phase, message, seen, state)
        looks, settle = self.looks_needed(location)
        if len(self._new) < looks:
            return Verdict(False, phase, message, seen, f"{state}; that validation may have begun before the change, one more is needed")
        self._settling_since = elapsed if self._settling_since is None else self._settling_since
        if elapsed - self._settling_since < settle:
            return Verdict(False, phase, message, seen, f"{state}; looking whether the next validation says otherwise")
        return Verdict(True, phase, message, seen, state)
