# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each store is protected: in the backup, in escrow, outside with a proof, or nowhere."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.serverops.circleci.plugins.filter.store_protection import FilterModule
from ansible_collections.serverops.circleci.plugins.module_utils._server.stores import in_words, protection

NOW = 1769832306.0  # 2026-01-31T04:05:06Z
HOUR = 3600
VOLUMES = [
    {"namespace": "circleci-server", "claim": "data-postgresql-0", "phase": "Completed"},
    {"namespace": "circleci-server", "claim": "datadir-mongodb-0", "phase": "Failed"},
    {"namespace": "circleci-server", "claim": None, "phase": "Completed"},
]
INSIDE = {"postgresql": "*/data-postgresql-0", "mongodb": "*/datadir-mongodb-0"}


def store(**over: Any) -> dict[str, Any]:
    return {"name": "artifacts", "kind": "object_storage", "protection": "replicated", "max_age": "26h"} | over


def found(required: list[str], **over: Any) -> dict[str, dict[str, Any]]:
    given: dict[str, Any] = {"declared": [], "inside": INSIDE, "volumes": VOLUMES, "escrowed": [], "files": {}, "now": NOW}
    return {entry["kind"]: entry for entry in protection(required, **given | over)}


def test_a_finished_volume_copy_protects_and_a_failed_one_does_not() -> None:
    entries = found(["postgresql", "mongodb"])
    assert (entries["postgresql"]["where"], entries["postgresql"]["good"]) == ("backup", True)
    assert entries["postgresql"]["name"] == "circleci-server/data-postgresql-0"
    assert (entries["mongodb"]["where"], entries["mongodb"]["good"]) == ("nowhere", False)
    assert entries["mongodb"]["verdict"].startswith("mongodb: it is neither in the backup nor in escrow")


def test_what_nobody_declared_is_named_once_each() -> None:
    entries = found(["postgresql", "vault", "object_storage"])
    assert [kind for kind, entry in entries.items() if not entry["good"]] == ["vault", "object_storage"]


def test_escrow_protects_the_kinds_that_are_in_it() -> None:
    entries = found(["keysets", "console_configuration"], escrowed=["keysets", "keysets"])
    assert entries["keysets"]["where"] == "escrow"
    assert not entries["console_configuration"]["good"]


@pytest.mark.parametrize(("age", "good"), [(26 * HOUR, True), (26 * HOUR + 1, False), (-30, True), (-61, False)])
def test_the_age_of_a_proof_decides(age: float, good: bool) -> None:
    entry = found([], declared=[store(proof={"file": "/proof"})], files={"/proof": NOW - age})["object_storage"]
    assert entry["good"] is good
    assert bool(entry["verdict"]) is not good
    assert (entry["age"], entry["limit"]) == (age, 26 * HOUR)


def test_a_late_proof_is_told_with_age_and_limit() -> None:
    entry = found([], declared=[store(proof={"time": "2026-01-28T04:05:06Z"})])["object_storage"]
    assert entry["verdict"] == (
        "artifacts: last proven 3 days ago (2026-01-28T04:05:06Z), the limit is 26 h; look why its protection did not run since"
    )  # fmt: skip
    assert entry["proven"] == "2026-01-28T04:05:06Z"


@pytest.mark.parametrize("text", ["2026-01-31T04:00:00Z", "2026-01-31T05:00:00+01:00", "2026-01-31 04:00:00", "2026-01-31T04:00:00.123456+00:00"])
def test_times_as_programs_write_them(text: str) -> None:
    assert found([], declared=[store(proof={"time": text})])["object_storage"]["age"] in (305, 306)


def test_a_proof_that_is_not_there() -> None:
    entry = found(["object_storage"], declared=[store(proof={"file": "/gone"})], files={"/gone": None})["object_storage"]
    assert (entry["good"], entry["where"]) == (False, "outside")
    assert "file /gone, is not there" in entry["verdict"]


def test_a_template_says_by_an_empty_text_that_a_file_is_not_there() -> None:
    (entry,) = FilterModule().filters()["store_protection"]([], declared=[store(proof={"file": "/gone"})], files={"/gone": ""}, now=NOW)
    assert not entry["good"]


def test_a_store_without_a_proof_counts_and_says_so() -> None:
    entry = found([], declared=[store(proof={"accepted": "made anew at any time"})])["object_storage"]
    assert entry["good"]
    assert entry["line"] == "object_storage: artifacts: not proven, accepted because: made anew at any time"


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"proof": {}}, "none of them"),
        ({"proof": {"time": "2026-01-31T04:00:00Z", "file": "/x"}}, "time and file"),
        ({"proof": {"time": "yesterday"}}, "'yesterday' is not a time"),
        ({"proof": {"file": "/x"}, "max_age": "a day"}, "max_age 'a day' is not a duration"),
    ],
)
def test_a_declaration_that_cannot_be_read_is_refused(over: dict[str, Any], words: str) -> None:
    with pytest.raises(AnsibleFilterError, match=words):
        FilterModule().filters()["store_protection"]([], declared=[store(**over)], now=NOW)


def test_each_line_says_where() -> None:
    entries = found(
        ["postgresql", "keysets", "object_storage", "vault"], escrowed=["keysets"], declared=[store(proof={"time": "2026-01-31T04:00:00Z"})]
    )
    assert [entry["line"] for entry in entries.values()] == [
        "object_storage: artifacts, replicated, proven 5 min ago",
        "postgresql: in the backup (circleci-server/data-postgresql-0)",
        "keysets: in escrow (escrow file)",
        "vault: NOT PROTECTED",
    ]


def test_ages_in_words() -> None:
    assert [in_words(seconds) for seconds in (0, 119, 120, 7199, 7200, 172799, 172800)] == [
        "0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 days",
    ]  # fmt: skip
