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

from ansible_collections.serverops.circleci.plugins.module_utils._velero import duration

SERVER_MANAGER = "velero-server"
"""Field manager of the server's own writes (seen on 1.8.1, 1.10.3, 1.17.2); they are not changes of the wanted state."""
DEFAULT_PERIOD = 60.0
"""Seconds between two validations when neither the location nor the server's --store-validation-frequency says otherwise."""
ENQUEUE_PERIOD = 10.0
"""Seconds by which a due validation may come late: the server looks for due ones this often (1.17.2)."""


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
        return duration.seconds(text) if text else server_period
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


def judge(
    location: Mapping[str, Any],
    secret: Mapping[str, Any] | None,
    now: datetime | None,
    *,
    changed: bool,
    later_than: datetime | None = None,
    server_period: float = DEFAULT_PERIOD,
) -> Verdict:
    """Judge one observation of a location.

    secret: the Secret with the location's own credentials, if it has one. now: the API server's time. changed: whether the location or
    its Secret was just changed; if not, a stamp that is too old for the validation period is no proof. later_than: a stamp has to be
    later than this to prove that the location is *un*available, for a task that changed nothing and comes after a repair elsewhere.
    """
    status = location.get("status") or {}
    phase, message, seen = str(status.get("phase") or ""), str(status.get("message") or ""), stamp(location)
    needed = needed_stamp(location, secret)
    state = f"phase {phase or 'not set'}, last validated {shown_time(seen)}"
    if now and seen:
        state += f" ({max(0, int((now - seen).total_seconds()))} s ago)"
    if seen is None or not phase or (needed is not None and seen < needed):
        return Verdict(False, phase, message, seen, f"{state}; a validation of {shown_time(needed)} or later is needed")
    every = period(location, server_period)
    oldest = max(2 * every, every + 2 * ENQUEUE_PERIOD)
    if not changed and every and now and (now - seen).total_seconds() > oldest:
        text = f"{state}; with a validation period of {every:g} s it must not be older than {oldest:g} s"
        return Verdict(False, phase, message, seen, text)
    if phase != "Available" and every and later_than is not None and seen <= later_than:
        return Verdict(False, phase, message, seen, f"{state}; looking whether the next validation says the same")
    return Verdict(True, phase, message, seen, state)


# A validation that was under way at a change ends after it and speaks of the state before (seen on 1.17.2, where a new location is
# validated twice in a row). The server validates one location at a time, so the second validation that ends after a change began after
# it. To make the second one come at once, the spec is changed twice: first with a validation period that is a millisecond longer, and,
# when a first validation has ended, back to the wanted one.

NUDGE = 1_000_000
"""Nanoseconds by which the period is longer in between."""


def nudged(frequency: str | None) -> str:
    """Return a validationFrequency that is a millisecond longer than this one."""
    base = duration.nanoseconds(frequency) if frequency else 0
    return duration.canonical(f"{(base or int(DEFAULT_PERIOD * 1e9)) + NUDGE}ns")


def is_nudged(spec: Mapping[str, Any]) -> bool:
    """Tell whether a location's period is one that `nudged` made: a task between its two writes, or one that was killed there."""
    try:
        return duration.nanoseconds(spec.get("validationFrequency") or "0") % 1_000_000_000 == NUDGE
    except ValueError:
        return False


def settled(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a location's spec as it is meant: without the millisecond, and without the period when it is the default then."""
    if not is_nudged(spec):
        return dict(spec)
    base = duration.nanoseconds(spec["validationFrequency"]) - NUDGE
    rest = {name: value for name, value in spec.items() if name != "validationFrequency"}
    return rest if base == int(DEFAULT_PERIOD * 1e9) else {**rest, "validationFrequency": duration.canonical(f"{base}ns")}
