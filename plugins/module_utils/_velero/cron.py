# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cron expressions of Velero's schedules: what its server takes, and when it comes next.

Velero reads them with robfig/cron's standard parser: five fields, or a descriptor. Release 1.1.0 of it up to Velero 1.14, 3.0.1 from 1.15 on (seen
in their go.mod); the newer one knows time zones, and takes a step on a star ("*/2") for a restriction when it decides whether both days have to fit.
Unlike other crons it has no 7 for Sunday, and no L, W or #.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from ansible_collections.serverops.circleci.plugins.module_utils._velero import duration

NEWER_FROM = (1, 15)
"""The first release line of Velero with the newer parser."""
YEARS = 5
"""Velero looks no further for the next run; a schedule without one in that time never runs."""
_MONTHS = {name: number for number, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)}
_DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_FIELDS: tuple[tuple[str, int, int, Mapping[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
ZONED = ("TZ=", "CRON_TZ=")
"""How an expression with a time zone begins."""
_ZONE = re.compile(r"(?:CRON_)?TZ=(\S*)(?:\s+(.*))?", re.DOTALL)
_NUMBER = re.compile(r"\+?[0-9]{1,9}")


@dataclass(frozen=True)
class Cron:
    """One expression, read. zone: None where it names one of which nothing is known here. every: seconds between two runs, for @every.

    either: whether one fitting day is enough, of the month or of the week; else both have to fit.
    """

    text: str
    fields: tuple[frozenset[int], ...] = ()
    either: bool = False
    zone: tzinfo | None = UTC
    every: int | None = None

    def next_run(self, after: datetime) -> datetime | None:
        """Return the first time after this one at which it runs, in UTC; None when it never does, or when the zone is not known here."""
        start = after.astimezone(UTC).replace(microsecond=0)
        if self.every is not None:
            return start + timedelta(seconds=self.every)
        if self.zone is None:
            return None
        last_year = start.astimezone(self.zone).year + YEARS
        day = start.astimezone(self.zone).date()
        while day.year <= last_year and day < date.max:
            if self._fits(day):
                for moment in _minutes_of(day, self.zone):
                    local = moment.astimezone(self.zone)
                    if moment > start and local.minute in self.fields[0] and local.hour in self.fields[1]:
                        return moment
            day += timedelta(days=1)
        return None

    def _fits(self, day: date) -> bool:
        if day.month not in self.fields[3]:
            return False
        of_month, of_week = day.day in self.fields[2], day.isoweekday() % 7 in self.fields[4]
        return of_month or of_week if self.either else of_month and of_week


def _minutes_of(day: date, zone: tzinfo) -> Iterator[datetime]:
    """Yield every minute of a day as the clocks there show it, in UTC: an hour that is skipped never comes, one that is repeated comes twice."""
    moment = datetime.combine(day, time(), zone).astimezone(UTC)
    # midnight may be among what is skipped
    while moment.astimezone(zone).date() < day:
        moment += timedelta(minutes=1)
    while moment.astimezone(zone).date() == day:
        yield moment
        moment += timedelta(minutes=1)


def parse(text: str, line: tuple[int, int] | None = None) -> Cron:
    """Read an expression as a Velero of this release line does (None: a new one); ValueError says what is wrong with it."""
    newer = line is None or line >= NEWER_FROM
    rest, zone = text, UTC
    found = _ZONE.fullmatch(text)
    if found:
        if not newer:
            raise ValueError("a time zone is only known from Velero 1.15 on")
        if not (found[2] or "").strip():
            raise ValueError("nothing stands behind the time zone")
        return _read(text, found[2].strip(), _zone(found[1]), newer=newer)
    return _read(text, rest, zone, newer=newer)


def _read(text: str, rest: str, zone: tzinfo | None, *, newer: bool) -> Cron:
    if rest.startswith("@every "):
        return Cron(text, every=_every(rest.removeprefix("@every ")), zone=zone)
    if rest.startswith("@"):
        if rest not in _DESCRIPTORS:
            raise ValueError(f"{rest!r} is not one of {', '.join(_DESCRIPTORS)} and @every with a duration")
        rest = _DESCRIPTORS[rest]
    words = rest.split()
    if len(words) != len(_FIELDS):
        names = ", ".join(name for name, *_bounds in _FIELDS)
        raise ValueError(f"it has {len(words)} fields, not the five {names}")
    read = [_field(word, name, low, high, names, newer=newer) for word, (name, low, high, names) in zip(words, _FIELDS, strict=True)]
    cron = Cron(text, tuple(values for values, _star in read), either=not read[2][1] and not read[4][1], zone=zone)
    if not _ever(cron):
        raise ValueError("it never runs: there is no such day or time")
    return cron


def _ever(cron: Cron) -> bool:
    """Tell whether an expression can ever run: a February of a leap year is within each span of years that Velero looks at."""
    if not all(cron.fields):
        return False
    return any(cron._fits(date(2027, 1, 1) + timedelta(days=number)) for number in range(366 * (YEARS - 1)))


def _every(text: str) -> int:
    try:
        length = duration.nanoseconds(text)
    except ValueError as error:
        raise ValueError(f"{text!r} behind @every is {error}") from None
    if length < 1_000_000_000:
        raise ValueError(f"{text!r} behind @every is less than a second")
    return length // 1_000_000_000


def _zone(name: str) -> tzinfo | None:
    if name in {"", "UTC"}:
        return UTC
    if name == "Local":
        return None
    if name.startswith("/") or ".." in name:
        raise ValueError(f"{name!r} is no time zone")
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        if _has_zones():
            raise ValueError(f"{name!r} is no time zone") from None
        return None  # this machine knows none at all


def _has_zones() -> bool:
    try:
        zoneinfo.ZoneInfo("Europe/Berlin")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _field(word: str, name: str, low: int, high: int, names: Mapping[str, int], *, newer: bool) -> tuple[frozenset[int], bool]:
    """Return the values of a field, and whether it stands for "any"."""
    values: set[int] = set()
    star = False
    parts = [part for part in word.split(",") if part]
    if not parts:
        raise ValueError(f"{word!r} for the {name} names nothing")
    for part in parts:
        found, any_value = _range(part, name, low, high, names, newer=newer)
        values |= found
        star = star or any_value
    return frozenset(values), star


def _range(part: str, name: str, low: int, high: int, names: Mapping[str, int], *, newer: bool) -> tuple[set[int], bool]:
    span, *steps = part.split("/")
    ends = span.split("-")
    if len(steps) > 1:
        raise ValueError(f"{part!r} for the {name} has two slashes")
    star = ends[0] in {"*", "?"}
    if star:
        first, last = low, high
    else:
        if len(ends) > 2:
            raise ValueError(f"{part!r} for the {name} has two hyphens")
        first = _value(ends[0], part, name, names)
        last = _value(ends[1], part, name, names) if len(ends) == 2 else first
    step = 1
    if steps:
        step = _value(steps[0], part, name, {})
        if len(ends) == 1:
            last = high  # "5/15" means from 5 on
        if step == 0:
            raise ValueError(f"{part!r} for the {name} has a step of 0")
    if first < low or last > high:
        hint = "; Sunday is 0" if name == "day of the week" and last == 7 else ""
        raise ValueError(f"{part!r} for the {name} is not within {low} to {high}{hint}")
    if first > last:
        raise ValueError(f"{part!r} for the {name} ends before it begins")
    return set(range(first, last + 1, step)), star and (step == 1 or not newer)


def _value(word: str, part: str, name: str, names: Mapping[str, int]) -> int:
    if word.lower() in names:
        return names[word.lower()]
    if not _NUMBER.fullmatch(word):
        raise ValueError(f"{part!r} for the {name} is not a number{', a name' if names else ''}, a range or *")
    return int(word)
