# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on the backups: which word, why, what to do, and what counts as a change."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.serverops.circleci.plugins.filter.backup_status import FilterModule
from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_status as status

from tests.unit.velero import status_samples as samples

Change = Callable[[dict[str, Any]], Any]


def judged(*changes: Change, **over: Any) -> dict[str, Any]:
    """Return the facts of an installation where all is well but for the changes."""
    raw = copy.deepcopy(samples.raw(**over))
    for change in changes:
        change(raw)
    return status.judge(raw)


def said(facts: dict[str, Any], level: str) -> list[str]:
    """Return what the findings of a level say was seen."""
    return [finding["what"] for finding in facts["findings"] if finding["level"] == level]


def test_all_is_well() -> None:
    facts = judged()
    assert (facts["state"], facts["findings"]) == ("good", [])
    assert facts["proven"]["name"] == "nightly-20261128010000"
    assert facts["sentence"] == "The last proven backup is 10 h 58 min old. This holds until 2026-11-29 01:01 UTC."
    assert facts["until"] == "2026-11-29T01:01:34Z"


@pytest.mark.parametrize("name", samples.states())
def test_the_samples_are_in_the_states_that_they_are_named_for(name: str) -> None:
    assert status.judge(samples.states()[name])["state"] == name


def location(**values: Any) -> Change:
    return lambda raw: raw["velero"][0]["storage_locations"][0].update(values)


def server(**values: Any) -> Change:
    return lambda raw: raw["velero"][0]["server"].update(values)


def newest(**values: Any) -> Change:
    return lambda raw: raw["backups"][0].update(values)


def every(**values: Any) -> Change:
    return lambda raw: [backup.update(values) for backup in raw["backups"]]


BROKEN: dict[str, tuple[Change, str]] = {
    "no Velero": (lambda raw: raw.update(velero=[]), "There is no Velero in namespace velero."),
    "server down": (server(ready=False, problem="its pod is gone."), "Velero's server does not work: its pod is gone."),
    "no location": (lambda raw: raw["velero"][0].update(storage_locations=[]), "Velero has no storage location."),
    "location lost": (location(phase="Unavailable", message="NoSuchBucket"), "Storage location default is Unavailable: NoSuchBucket."),
    "never validated": (location(phase=None), "Storage location default is not validated yet."),
    "location of the proven one gone": (
        location(name="other"),
        "The last proven backup lies in storage location default, which does not exist any more.",
    ),
    "no backup": (lambda raw: raw.update(backups=[]), "There is no finished backup."),
    "none good": (every(good=False, verdict="1 error."), "No backup is good; the newest, nightly-20261128010000, is not because 1 error."),
    "none known": (
        every(good=None, verdict="the store is out of reach"),
        "No backup is proven; of the newest, nightly-20261128010000, it cannot be known whether it is good: the store is out of reach.",
    ),
    "drill failed": (
        lambda raw: raw["velero"][0].update(last_drill=samples.drill(1, result="failed", message="no rows.")),
        "The last drill, of backup nightly-20261124010000, failed: no rows.",
    ),
    "cluster silent": (lambda raw: raw.update(velero=[], backups=[], unread=["no route."]), "The cluster could not be asked: no route."),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str) -> None:
    change, what = BROKEN[name]
    facts = judged(change)
    assert facts["state"] == "broken"
    assert what in said(facts, "broken")
    assert facts["sentence"] == said(facts, "broken")[0]
    assert all(finding["do"] for finding in facts["findings"])


def test_a_silent_cluster_says_nothing_of_what_could_not_be_read() -> None:
    assert len(judged(BROKEN["cluster silent"][0])["findings"]) == 1


def test_the_number_of_backups_looked_at_is_told_when_there_may_be_more() -> None:
    facts = judged(every(good=False, verdict="no"), may_have=24)
    assert said(facts, "broken") == ["No backup is good; the newest, nightly-20261128010000, is not because no (the newest 24 were looked at)."]
    assert "looked at" not in str(judged(every(good=False, verdict="no"), may_have=25)["findings"])


STALE: dict[str, tuple[Change, str]] = {
    "too old": (
        lambda raw: raw["backups"].pop(0),
        "The last proven backup, nightly-20261127010000, is 1 d 10 h old; the target is 1 d.",
    ),
    "store unprotected": (
        lambda raw: raw["stores"].append(samples.store("vault", "nowhere", good=False, verdict="vault: NOT PROTECTED.")),
        "vault: NOT PROTECTED.",
    ),
    "proof of a store ran out": (lambda raw: raw["stores"][3].update(limit=3600), "artifacts: proven 9 h ago, the limit is 1 h."),
    "no report": (
        lambda raw: raw.update(stores=None),
        "Nothing is known about the stores outside Velero's backup: there is no report backup-report.json.",
    ),
}


@pytest.mark.parametrize("name", STALE)
def test_stale(name: str) -> None:
    change, what = STALE[name]
    facts = judged(change)
    assert facts["state"] == "stale"
    assert said(facts, "stale") == [what]
    assert said(facts, "broken") == []


def test_without_a_report_nothing_is_said_of_other_stores() -> None:
    assert judged(stores=None, report="")["state"] == "good"


def test_the_target_is_met_up_to_its_last_second() -> None:
    age = (samples.NOW - status.parsed(samples.raw()["backups"][0]["completed"])).total_seconds()  # type: ignore[operator]
    assert judged(target=f"{int(age)}s")["state"] == "good"
    assert judged(target=f"{int(age) - 1}s")["state"] == "stale"


NOTES: dict[str, tuple[Change, str]] = {
    "newest not good": (
        newest(good=False, phase="PartiallyFailed", verdict="1 error."),
        "The newest backup, nightly-20261128010000, is PartiallyFailed and not good: 1 error.",
    ),
    "newest unknown": (
        newest(good=None, verdict="the store is out of reach"),
        "It cannot be known whether the newest backup, nightly-20261128010000, is good: the store is out of reach.",
    ),
    "volume left out": (
        newest(uncovered=[{"namespace": "a", "claim": "b", "reason": "no annotation"}]),
        "Backup nightly-20261128010000 has no contents of a/b: no annotation.",
    ),
    "shrunk": (
        lambda raw: raw.update(trend=[{"shrunk": True, "text": "Half of it is gone."}, {"shrunk": False, "text": "no"}]),
        "Half of it is gone.",
    ),
    "expires": (
        newest(expires=samples.stamp(samples.NOW + timedelta(hours=2))),
        "The last proven backup, nightly-20261128010000, expires in 2 h.",
    ),
    "agent": (
        lambda raw: raw["velero"][0]["node_agents"][1].update(ready=False, reason="Unschedulable", message="no CPU."),
        "The node agent of n2 does not run: Unschedulable: no CPU.",
    ),
    "other location": (
        lambda raw: raw["velero"][0]["storage_locations"].append({"name": "offsite", "phase": "Unavailable", "message": "AccessDenied"}),
        "Storage location offsite is Unavailable: AccessDenied.",
    ),
    "paused": (lambda raw: raw["velero"][0]["schedules"][0].update(paused=True), "Schedule nightly is paused."),
    "refused": (
        lambda raw: raw["velero"][0]["schedules"][0].update(phase="FailedValidation", validation_errors=["bad cron"]),
        "Schedule nightly is refused by Velero: bad cron.",
    ),
    "never drilled": (lambda raw: raw["velero"][0].update(last_drill={}), "No restore was ever rehearsed here."),
    "drill long ago": (lambda raw: raw["velero"][0].update(last_drill=samples.drill(45)), "The last drill was 45 d ago."),
    "drill refused": (
        lambda raw: raw["velero"][0].update(last_drill=samples.drill(1, result="refused", message="the network enforces no policy")),
        "The last drill was not carried out: the network enforces no policy.",
    ),
    "stuck": (
        lambda raw: raw["backups"].insert(0, samples.backup("hung", 30, phase="InProgress", completed=None, age=None, good=None)),
        "Backup hung is InProgress since 1 d 6 h.",
    ),
}


@pytest.mark.parametrize("name", NOTES)
def test_notes_leave_the_state_as_it_is(name: str) -> None:
    change, what = NOTES[name]
    facts = judged(change, target="48h")
    assert said(facts, "note") == [what]
    assert facts["state"] == "good"


def test_a_running_backup_is_neither_good_nor_bad() -> None:
    running = samples.backup("now", 0.1, phase="InProgress", completed=None, age=None, good=None, verdict="", coverage="unknown", volumes=[])
    facts = judged(lambda raw: raw["backups"].insert(0, running))
    assert (facts["state"], facts["findings"]) == ("good", [])
    assert facts["coverage"]["backup"] == "nightly-20261128010000"


def test_no_drill_is_asked_for_with_a_target_of_nothing() -> None:
    assert judged(NOTES["never drilled"][0], drill_target="0")["findings"] == []


def test_the_clock_is_that_of_the_api_server() -> None:
    assert judged(made="2001-01-01T00:00:00Z")["generated"] == "2026-11-28T12:00:00Z"
    assert judged(made="2026-11-28T13:00:00Z", backups=[])["generated"] == "2026-11-28T13:00:00Z"


def later(raw: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
    """Return the same installation some time later."""
    other = copy.deepcopy(raw)
    for backup in other["backups"]:
        if backup["age"] is not None:
            backup["age"] += seconds
    other["velero"][0]["storage_locations"][0]["last_validation_time"] = "2026-11-28T12:00:59Z"
    return other


@pytest.mark.parametrize("name", samples.states())
def test_the_passing_of_time_is_no_change_and_everything_else_is(name: str) -> None:
    raw = samples.states()[name]
    before = status.judge(raw)
    after = status.judge(later(raw))
    assert after["generated"] != before["generated"]
    assert after["digest"] == before["digest"]
    for change in (
        server(version="v1.18.0"),
        newest(name="other"),
        lambda other: other["velero"][0]["node_agents"][0].update(ready=False, reason="gone"),
        lambda other: other.update(title="Other"),
        lambda other: other.update(stores=[samples.store("vault", "nowhere", good=False, verdict="vault: NOT PROTECTED")]),
    ):
        other = later(raw)
        change(other)
        assert status.judge(other)["digest"] != before["digest"]


def test_the_passing_of_the_target_is_a_change() -> None:
    raw = samples.raw()
    assert status.judge(later(raw, 86400))["digest"] != status.judge(raw)["digest"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "?"),
        (0, "0 s"),
        (0.4, "under 1 s"),
        (59.6, "1 min"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (86400, "1 d"),
        (90061, "1 d 1 h"),
        (-60, "-1 min"),
    ],
)
def test_lengths_of_time_in_words(seconds: float | None, words: str) -> None:
    assert status.in_words(seconds) == words


def test_the_filter_refuses_what_is_no_dictionary_and_a_target_that_is_no_duration() -> None:
    found = FilterModule().filters()
    assert found["backup_status"](samples.raw()) == status.judge(samples.raw())
    json.dumps(found["backup_status"](samples.hostile()))
    with pytest.raises(AnsibleFilterError, match="takes a dictionary, and was given list"):
        found["backup_status"]([])
    with pytest.raises(AnsibleFilterError, match="not a duration"):
        found["backup_status"](samples.raw(target="a day"))
