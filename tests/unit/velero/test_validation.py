# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof that a validation is newer than a change: each kind of change, each kind of doubt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import validation
from ansible_collections.serverops.circleci.plugins.module_utils._velero.validation import Verdict
from hypothesis import given
from hypothesis import strategies as st

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


def judged(
    seen: dict[str, Any], of: dict[str, Any] | None = None, *, now: float = 101, later_than: float | None = None, changed: bool = True
) -> Verdict:
    return validation.judge(seen, of, at(now), changed=changed, later_than=None if later_than is None else at(later_than))


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


# something was changed


@pytest.mark.parametrize(("stamp", "is_final"), [(None, False), (99, False), (100, True), (101, True)])
def test_a_change_is_proven_by_a_validation_of_its_second_or_later(stamp: float | None, is_final: bool) -> None:
    assert judged(location(stamp, changed=100)).final is is_final


def test_without_a_phase_there_is_no_proof() -> None:
    assert not judged(location(100, changed=100, phase="")).final


@pytest.mark.parametrize(("stamp", "is_final"), [(100, False), (101, True)])
def test_a_changed_secret_needs_a_later_second(stamp: float, is_final: bool) -> None:
    assert judged(location(stamp, changed=90), secret(100)).final is is_final


def test_unavailable_is_final_as_well() -> None:
    verdict = judged(location(100, changed=100, phase="Unavailable"))
    assert (verdict.final, verdict.phase, verdict.stamp) == (True, "Unavailable", at(100))


@pytest.mark.parametrize("elapsed", [0, 1, 10, 1000])
def test_a_stamp_that_stands_still_is_no_proof(elapsed: float) -> None:
    assert not judged(location(80, changed=100), now=101 + elapsed).final


def test_after_a_change_the_age_does_not_matter() -> None:
    assert judged(location(100, changed=100), now=9999).final


# nothing was changed


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
    verdict = judged(location(100, changed=0, frequency=frequency), now=100 + age, changed=False)
    assert verdict.final is is_final
    if not is_final:
        assert f"({age} s ago)" in verdict.text
        assert "must not be older than" in verdict.text


def test_what_somebody_changed_after_the_last_validation_is_not_proven() -> None:
    assert not judged(location(99, changed=100), changed=False).final
    assert judged(location(100, changed=100), changed=False).final
    assert not judged(location(99, changed=0), secret(99), changed=False).final


def test_unavailable_is_asked_again_after_a_repair_elsewhere_and_available_is_not() -> None:
    bad = location(100, changed=0, phase="Unavailable")
    assert not judged(bad, changed=False, later_than=100).final
    assert judged(bad, changed=False, later_than=99).final
    assert judged(location(100, changed=0), changed=False, later_than=101).final
    # nothing will ask again by itself
    assert judged(location(100, changed=0, phase="Unavailable", frequency="0s"), changed=False, later_than=101).final


def test_without_the_servers_clock_the_age_is_not_judged() -> None:
    assert validation.judge(location(0, changed=0), None, None, changed=False).final


def test_the_text_says_what_is_missing() -> None:
    verdict = judged(location(None, changed=100, phase=""))
    assert verdict.text == f"phase not set, last validated never; a validation of {text(100)} or later is needed"


# the millisecond by which a second validation is brought about


@given(st.sampled_from([None, "0s", "0", "1m", "60s", "1m0s", "30s", "720h", "1s", "1h30m"]))
def test_a_nudged_period_is_known_and_goes_back_to_what_was_meant(frequency: str | None) -> None:
    there = {"provider": "aws", "validationFrequency": validation.nudged(frequency)}
    assert validation.is_nudged(there)
    meant = validation.settled(there)
    assert meant["provider"] == "aws"
    expected = None if frequency in {None, "0s", "0", "1m", "60s", "1m0s"} else validation.duration.canonical(frequency or "")
    assert meant.get("validationFrequency") == expected
    assert not validation.is_nudged(meant)
    assert there["validationFrequency"] != frequency


@pytest.mark.parametrize("frequency", [None, "0s", "0", "1m", "1.5s", "100ms", "rubbish", "1m0.002s"])
def test_other_periods_are_not_nudged(frequency: str | None) -> None:
    spec = {"provider": "aws"} | ({"validationFrequency": frequency} if frequency else {})
    assert not validation.is_nudged(spec)
    assert validation.settled(spec) == spec
