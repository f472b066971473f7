# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cron expressions as Velero reads them: taken and refused ones, and the next run against a walk from minute to minute."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import cron

NOON = datetime(2026, 11, 28, 12, 0, 30, tzinfo=UTC)  # a Saturday


@pytest.mark.parametrize(
    ("text", "comes"),
    [
        ("0 3 * * *", "2026-11-29T03:00:00"),
        ("*/15 * * * *", "2026-11-28T12:15:00"),
        ("0 12 * * *", "2026-11-29T12:00:00"),
        ("5/20 1 1,15 * mon", "2026-11-30T01:05:00"),
        ("0 0 1 JAN ?", "2027-01-01T00:00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00:00"),
        ("0 0 * * 0", "2026-11-29T00:00:00"),
        ("0 0 * * sat-sat", "2026-12-05T00:00:00"),
        ("1,,2 * * * *", "2026-11-28T12:01:00"),
        ("+5 * * * *", "2026-11-28T12:05:00"),
        ("@hourly", "2026-11-28T13:00:00"),
        ("@daily", "2026-11-29T00:00:00"),
        ("@midnight", "2026-11-29T00:00:00"),
        ("@weekly", "2026-11-29T00:00:00"),
        ("@monthly", "2026-12-01T00:00:00"),
        ("@yearly", "2027-01-01T00:00:00"),
        ("@annually", "2027-01-01T00:00:00"),
        ("@every 90m", "2026-11-28T13:30:30"),
        ("@every 1.5s", "2026-11-28T12:00:31"),
        ("TZ=UTC 0 3 * * *", "2026-11-29T03:00:00"),
        ("CRON_TZ=Europe/Berlin 0 3 * * *", "2026-11-29T02:00:00"),
        ("CRON_TZ=Europe/Berlin @daily", "2026-11-28T23:00:00"),
        # the hour that is skipped in spring never comes, the one that is repeated in autumn comes twice
        ("CRON_TZ=Europe/Berlin 30 2 28 3 *", "2028-03-28T00:30:00"),
        ("CRON_TZ=Europe/Berlin 30 2 31 10 *", "2027-10-31T00:30:00"),
        ("CRON_TZ=America/Sao_Paulo 0 0 * * *", "2026-11-29T03:00:00"),
    ],
)
def test_next_run(text: str, comes: str) -> None:
    assert cron.parse(text).next_run(NOON) == datetime.fromisoformat(comes).replace(tzinfo=UTC)


def test_a_repeated_hour_runs_twice() -> None:
    read = cron.parse("CRON_TZ=Europe/Berlin 30 2 * * *")
    first = read.next_run(datetime(2027, 10, 30, 22, 0, tzinfo=UTC))
    assert first == datetime(2027, 10, 31, 0, 30, tzinfo=UTC)
    assert read.next_run(first) == datetime(2027, 10, 31, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields, not the five minute, hour"),
        ("0 3 * * * *", "6 fields"),
        (" @daily", "1 fields"),
        ("@Daily", "is not one of @yearly"),
        ("@often", "is not one of"),
        ("@every soon", "behind @every is not a duration"),
        ("@every -5m", "behind @every is not a duration"),
        ("@every 10ms", "less than a second"),
        ("60 * * * *", "not within 0 to 59"),
        ("* 24 * * *", "not within 0 to 23"),
        ("* * 0 * *", "not within 1 to 31"),
        ("* * * 13 *", "not within 1 to 12"),
        ("* * * * 7", "Sunday is 0"),
        ("* * * * L", "not a number, a name, a range or *"),
        ("mon * * * *", "not a number, a range or *"),
        ("5-1 * * * *", "ends before it begins"),
        ("1-2-3 * * * *", "two hyphens"),
        ("*/5/5 * * * *", "two slashes"),
        ("*/0 * * * *", "step of 0"),
        ("-5 * * * *", "not a number"),
        (", * * * *", "names nothing"),
        ("1_0 * * * *", "not a number"),
        ("\u0661 * * * *", "not a number"),
        ("0 0 30 2 *", "never runs"),
        ("0 0 31 4,6,9,11 *", "never runs"),
        ("CRON_TZ=Nowhere/Atall 0 3 * * *", "no time zone"),
        ("CRON_TZ=../etc/passwd 0 3 * * *", "no time zone"),
        ("CRON_TZ=UTC", "nothing stands behind"),
    ],
)
def test_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        cron.parse(text)
    assert told in str(caught.value)


def test_older_releases_know_no_time_zone() -> None:
    with pytest.raises(ValueError, match=r"only known from Velero 1\.15"):
        cron.parse("CRON_TZ=UTC 0 3 * * *", (1, 14))


def test_a_step_on_a_star_restricts_only_for_newer_releases() -> None:
    # from 1.15 on */2 is a restriction, and one fitting day of two is enough; before, both have to fit
    newer, older = cron.parse("0 0 */2 * mon", (1, 15)), cron.parse("0 0 */2 * mon", (1, 14))
    assert newer.next_run(NOON) == datetime(2026, 11, 29, tzinfo=UTC)
    assert older.next_run(NOON) == datetime(2026, 12, 7, tzinfo=UTC)


def test_a_zone_that_cannot_be_known_here_has_no_next_run() -> None:
    assert cron.parse("TZ=Local 0 3 * * *").next_run(NOON) is None


def _field(chance: random.Random, low: int, high: int) -> tuple[str, set[int], bool]:
    """Return a random field, its values by the definition of each form, and whether it stands for any."""
    values: set[int] = set()
    texts, star = [], False
    for _number in range(chance.choice([1, 1, 2, 3])):
        form = chance.choice(["*", "one", "range", "step", "from"])
        one = chance.randint(low, high)
        other = chance.randint(one, high)
        step = chance.randint(1, 9)
        if form == "*":
            texts.append("*")
            values |= set(range(low, high + 1))
            star = True
        elif form == "one":
            texts.append(str(one))
            values.add(one)
        elif form == "range":
            texts.append(f"{one}-{other}")
            values |= set(range(one, other + 1))
        elif form == "step":
            texts.append(f"{one}-{other}/{step}")
            values |= {number for number in range(one, other + 1) if (number - one) % step == 0}
        else:
            texts.append(f"{one}/{step}")
            values |= {number for number in range(one, high + 1) if (number - one) % step == 0}
    return ",".join(texts), values, star


def _has_a_day(fields: list[tuple[str, set[int], bool]]) -> bool:
    """Tell whether there is a day in eight years on which an expression runs."""
    days, months, week = fields[2][1], fields[3][1], fields[4][1]
    either = not fields[2][2] and not fields[4][2]
    for number in range(8 * 366):
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)
        fit = [at.day in days, at.isoweekday() % 7 in week]
        if at.month in months and (any(fit) if either else all(fit)):
            return True
    return False


def test_random_expressions_against_a_walk() -> None:
    chance = random.Random(20261128)
    compared = 0
    for _number in range(150):
        fields = [_field(chance, low, high) for low, high in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))]
        minute, hour, day, month, week = (values for _text, values, _star in fields)
        either = not fields[2][2] and not fields[4][2]
        text = " ".join(field[0] for field in fields)
        after = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(4 * 365 * 86400))
        if not _has_a_day(fields):
            with pytest.raises(ValueError, match="never runs"):
                cron.parse(text)
            continue
        found = cron.parse(text).next_run(after)

        def fits(at: datetime) -> bool:
            days = [at.day in day, at.isoweekday() % 7 in week]  # noqa: B023  called in this turn only
            whole = any(days) if either else all(days)  # noqa: B023
            return whole and at.month in month and at.hour in hour and at.minute in minute  # noqa: B023

        walk = after.replace(second=0) + timedelta(minutes=1)
        for _minute in range(2 * 24 * 60):
            if fits(walk):
                break
            walk += timedelta(minutes=1)
        else:
            # nothing within two days: at least nothing is left out
            assert found is None or found >= walk, text
            continue
        assert found == walk, text
        compared += 1
    assert compared > 50
