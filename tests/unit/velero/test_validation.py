# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof that a validation is newer than a change: each kind of change, each kind of doubt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import validation
from ansible_collections.serverops.circleci.plugins.module_utils._velero.validation import SETTLE, Judge

ZERO = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def text(seconds: float) -> str:
    return validation.shown_time(at(seconds))


def entry(seconds: float, manager: str = "serverops.circleci", **fields: Any) -> dict[str, Any]:
    return {"manager": manager, "time": text(seconds), "fieldsV1": {f"f:{name}": {} for name in (fields or {"spec": 1})}}


def location(
    stamp: float | None, *, changed: float = 0, phase: str = "Available", frequency: str | None = None, managed: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    spec: dict[str, Any] = {"provider": "aws"} | ({"validationFrequency": frequency} if frequency is not None else {})
    status = {"phase": phase} | ({"lastValidationTime": text(stamp)} if stamp is not None else {})
    metadata = {"creationTimestamp": text(-1000), "managedFields": [entry(changed)] if managed is None else managed}
    return {"metadata": metadata, "spec": spec, "status": status}


def secret(changed: float) -> dict[str, Any]:
    return {"metadata": {"creationTimestamp": text(-1000), "managedFields": [entry(changed, data=1)]}, "data": {"cloud": "eA=="}}


def change(before: float | None, *, asked: float = 100, triggered: bool = True, of: dict[str, Any] | None = None, unsettled: bool = False) -> Judge:
    """A judge of a change at second 100 of a location that had the stamp `before`."""
    stamp = None if before is None else at(before)
    return Judge(of, stamp, existed=True, asked_at=at(asked), triggered=triggered, unsettled=unsettled)


def final(judge: Judge, seen: dict[str, Any], elapsed: float = 0, now: float = 101) -> bool:
    return judge.judge(seen, elapsed, at(now)).final


def test_times() -> None:
    assert validation.parse_time("2026-11-21T12:00:00Z") == ZERO
    assert validation.parse_time(None) is None
    assert validation.parse_time("") is None
    assert validation.shown_time(None) == "never"
    assert validation.shown_time(ZERO) == "2026-11-21T12:00:00Z"


@pytest.mark.parametrize(("frequency", "expected"), [(None, 60), ("30s", 30), ("1m30s", 90), ("0s", 0), ("0", 0), ("rubbish", 60)])
def test_period(frequency: str | None, expected: float) -> None:
    assert validation.period(location(0, frequency=frequency)) == expected


def test_the_servers_own_default_period_may_be_another() -> None:
    assert validation.period(location(0), 300) == 300
    assert validation.period(location(0, frequency="rubbish"), 300) == 300


def test_changes_by_the_server_are_none_and_those_of_other_fields_neither() -> None:
    managed = [
        entry(10, "velero"), entry(20, "kubectl-edit"), entry(500, "velero-server"), entry(300, "serverops.circleci", metadata=1, status=1),
        {"manager": "old", "fieldsV1": {"f:spec": {}}},
    ]  # fmt: skip
    assert validation.changed_at(location(0, managed=managed), "spec") == at(20)


def test_without_managed_fields_the_creation_counts() -> None:
    assert validation.changed_at(location(0, managed=[]), "spec") == at(-1000)
    assert validation.changed_at({"metadata": {"creationTimestamp": text(7)}}, "spec") == at(7)
    assert validation.changed_at({}, "spec") is None


def test_a_secret_needs_a_later_second() -> None:
    assert validation.needed_stamp(location(0, changed=50), None) == at(50)
    assert validation.needed_stamp(location(0, changed=50), secret(60)) == at(61)
    assert validation.needed_stamp(location(0, changed=90), secret(60)) == at(90)
    assert validation.needed_stamp({}, secret(60)) == at(61)


# a new location


def new(of: dict[str, Any] | None = None) -> Judge:
    return Judge(of, None, existed=False, asked_at=at(100), triggered=True)


@pytest.mark.parametrize(("stamp", "is_final"), [(None, False), (99, False), (100, True), (101, True)])
def test_a_new_location_is_proven_by_its_first_validation(stamp: float | None, is_final: bool) -> None:
    assert final(new(), location(stamp, changed=100)) is is_final


def test_a_new_location_without_a_phase_is_not_proven() -> None:
    assert not final(new(), location(100, changed=100, phase=""))


def test_a_new_location_with_a_new_secret() -> None:
    assert not final(new(secret(100)), location(100, changed=100))
    assert final(new(secret(100)), location(101, changed=100))


def test_unavailable_is_final_as_well() -> None:
    verdict = new().judge(location(100, changed=100, phase="Unavailable") | {}, 0, at(101))
    assert (verdict.final, verdict.phase) == (True, "Unavailable")


# a change of the location itself


def test_a_stamp_that_stands_still_is_no_proof() -> None:
    judge = change(80)
    for elapsed in (0, 1, 10, 1000):
        assert not final(judge, location(80, changed=60), elapsed, 101 + elapsed)


def test_a_stamp_older_than_the_change_is_no_proof_even_if_it_moved() -> None:
    assert not final(change(80), location(99, changed=100))


def test_when_no_validation_was_due_the_first_new_one_counts() -> None:
    assert final(change(80), location(100, changed=100))


def test_when_one_was_just_due_it_looks_a_little_longer() -> None:
    judge = change(38)  # 62 s ago: due, or on its way
    assert not final(judge, location(100, changed=100), 5.0)
    assert not final(judge, location(100, changed=100), 5.0 + SETTLE - 0.1)
    assert final(judge, location(100, changed=100), 5.0 + SETTLE)


def test_a_second_validation_in_that_time_has_the_last_word() -> None:
    judge = change(38)
    assert not final(judge, location(100, changed=100), 5.0)
    verdict = judge.judge(location(101, changed=100, phase="Unavailable"), 5.0 + SETTLE, at(102))
    assert (verdict.final, verdict.phase) == (True, "Unavailable")


def test_when_one_was_overdue_it_hangs_and_the_one_after_it_counts() -> None:
    judge = change(0)  # 100 s ago with a period of 60
    first = judge.judge(location(105, changed=100), 5, at(106))
    assert not first.final
    assert "may have begun before the change" in first.text
    assert not final(judge, location(105, changed=100), 30)
    assert final(judge, location(106, changed=100), 31)


def test_a_location_that_was_never_validated_needs_two() -> None:
    judge = change(None)
    assert not final(judge, location(101, changed=100))
    assert final(judge, location(102, changed=100))


def test_a_change_that_was_not_validated_yet_may_be_under_way() -> None:
    judge = change(80, unsettled=True)
    assert not final(judge, location(101, changed=100))
    assert final(judge, location(103, changed=100))


@pytest.mark.parametrize(("before", "unsettled"), [(None, False), (80, True)])
def test_without_a_period_there_is_only_one_to_wait_for(before: float | None, unsettled: bool) -> None:
    judge = change(before, unsettled=unsettled)
    seen = location(101, changed=100, frequency="0s")
    assert not final(judge, seen, 1.0)
    assert final(judge, seen, 1.0 + SETTLE)


def test_without_a_period_nothing_is_ever_due() -> None:
    assert final(change(0), location(101, changed=100, frequency="0s"))


def test_the_period_decides_what_is_due() -> None:
    assert final(change(0), location(101, changed=100, frequency="5m"))
    assert not final(change(80), location(101, changed=100, frequency="3s"))


# only the credentials changed


def test_a_secret_alone_is_proven_by_the_next_validation_of_a_later_second() -> None:
    judge = change(80, triggered=False, of=secret(100))
    assert not final(judge, location(80, changed=0))
    assert not final(judge, location(100, changed=0))
    assert final(judge, location(101, changed=0))


def test_a_secret_alone_while_a_validation_was_due_needs_two() -> None:
    judge = change(39, triggered=False, of=secret(100))
    assert not final(judge, location(101, changed=0), 0)
    assert not final(judge, location(101, changed=0), SETTLE + 10)
    assert final(judge, location(161, changed=0), 60)


# nothing changed


def unchanged(before: float | None, of: dict[str, Any] | None = None) -> Judge:
    return Judge(of, None if before is None else at(before), existed=True, asked_at=None, triggered=False)


@pytest.mark.parametrize(
    ("age", "frequency", "is_final"),
    [
        (0, None, True),
        (120, None, True),
        (121, None, False),
        (30, "5s", False),
        (25, "5s", True),
        (20, "0s", True),
        (9999, "0s", True),
        (9999, None, False),
    ],
)
def test_what_is_unchanged_is_proven_by_a_validation_that_is_not_too_old(age: float, frequency: str | None, is_final: bool) -> None:
    seen = location(100, changed=0, frequency=frequency)
    verdict = unchanged(100).judge(seen, 0, at(100 + age))
    assert verdict.final is is_final
    if not is_final:
        assert f"({age} s ago)" in verdict.text
        assert "must not be older than" in verdict.text


def test_what_somebody_changed_after_the_last_validation_is_not_proven() -> None:
    assert not final(unchanged(99), location(99, changed=100))
    assert final(unchanged(99), location(100, changed=100))
    assert not final(unchanged(99, secret(99)), location(99, changed=0))


def test_without_the_servers_clock_the_age_is_not_judged() -> None:
    assert unchanged(0).judge(location(0, changed=0), 0, None).final


def test_the_text_says_what_is_missing() -> None:
    verdict = unchanged(None).judge(location(None, changed=100, phase=""), 0, at(101))
    assert verdict.text == f"phase not set, last validated never; a validation of {text(100)} or later is needed"
