# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates themselves: what is green, what is a finding, and that no gate is left out of `make test`."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.gates import __main__ as runner
from tests.gates import examples, machine, stage, suites, text
from tests.gates.gate import Gate, GateError, Outcome, Workplace, named_failures


@pytest.mark.parametrize(
    ("outcome", "green"),
    [
        (Outcome(1), True),
        (Outcome(), False),
        (Outcome(5, 1), False),
        (Outcome(5, 0, 1), False),
    ],
)
def test_green_means_something_passed_and_nothing_else(outcome, green):
    assert outcome.good is green


@pytest.fixture
def place(tmp_path):
    return Workplace({}, tmp_path, tmp_path, tmp_path, tmp_path / "log")


@pytest.mark.parametrize(
    ("work", "outcome", "said"),
    [
        (lambda place: Outcome(3), Outcome(3), ""),
        (lambda place: Outcome(), Outcome(0, 1), "looked at nothing"),
        (lambda place: 1 / 0, Outcome(0, 1), "ZeroDivisionError"),
        (suites.suite("tests/nowhere"), Outcome(0, 1), "there is no test in tests/nowhere"),
    ],
)
def test_whatever_goes_wrong_in_a_gate_is_its_failure(place, work, outcome, said):
    place.log.touch()
    result = runner.run(Gate("one", "", work), place)
    assert result.outcome == outcome
    assert said in place.log.read_text()


def test_a_step_that_prepares_counts_nothing_but_its_failure(place):
    place.log.touch()

    def broken(_place):
        raise GateError("no")

    assert runner.run(Gate("step", "", lambda _place: Outcome(1), counts=False), place).good
    assert not runner.run(Gate("step", "", broken, counts=False), place).good


def test_the_closing_line(capsys):
    results = [runner.Result("a", Outcome(2), 0.1, counts=True), runner.Result("b", Outcome(1, 1, 1), 0.1, counts=True)]
    assert runner.conclude(results, 0.0) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "3 passed, 1 failed, 1 skipped"


def test_the_summary_names_what_failed(place, capsys):
    place.log.touch()

    def two_of_three(workplace):
        report = ET.fromstring(
            '<testsuites><testsuite><testcase classname="tests.a" name="test_one"><failure message="assert 1 == 2&#10; more"/></testcase>'
            '<testcase classname="tests.a" name="test_two"/><testcase classname="tests.a" name="test_three"><error message="no bed"/></testcase>'
            "</testsuite></testsuites>"
        )
        workplace.failures += named_failures(report)
        return Outcome(1, 2)

    assert runner.conclude([runner.run(Gate("bed", "", two_of_three), place)], 0.0) == 1
    said = capsys.readouterr().out
    assert "bed: tests.a::test_one: assert 1 == 2\n" in said
    assert "bed: tests.a::test_three: no bed\n" in said
    assert "test_two" not in said


def test_the_summary_of_a_gate_without_tests_has_the_last_line_of_its_log(place, capsys):
    place.log.touch()

    def broken(_place):
        raise GateError("there is no such thing")

    runner.conclude([runner.run(Gate("one", "", broken), place)], 0.0)
    assert "one: there is no such thing\n" in capsys.readouterr().out


def test_every_gate_is_in_a_set_and_the_full_run_has_all_of_the_short_one():
    assert {name for members in runner.SETS.values() for name in members} == set(runner.GATES)
    assert set(runner.SETS["test"]) <= set(runner.SETS["test-full"])
    assert set(runner.LINT) | set(runner.UNITS) <= set(runner.SETS["test"])


@pytest.mark.parametrize(
    ("row", "good"),
    [
        ({"value": 5, "goal": 5, "better": "higher"}, True),
        ({"value": 4.9, "goal": 5, "better": "higher"}, False),
        ({"value": 0, "goal": 0, "better": "lower"}, True),
        ({"value": 1, "goal": 0, "better": "lower"}, False),
    ],
)
def test_goals(row, good):
    assert suites.reached(row) is good


@pytest.mark.parametrize(
    "line",
    ["see https://py" + "pi.org/simple", "open('/ro" + "ot/x')", "cd /wo" + "rk/main", "<" * 7 + " HEAD", "-----BEGIN " + "PRIVATE KEY-----"],
)
def test_what_must_not_stand_in_the_tree(line):
    assert any(pattern.search(line) for pattern in text.FORBIDDEN.values())


@pytest.mark.parametrize("line", ["https://docs.ansible.com/", "{run}/work/x", "network/work", "/var/lib/kubelet/root", "root:/bin/sh"])
def test_what_may_stand_there(line):
    assert not any(pattern.search(line) for pattern in text.FORBIDDEN.values())


DOCUMENTED = {
    "a.b.c": {
        "doc": {"options": {"name": {"required": True}, "wait": {"aliases": ["timeout"]}}},
        "examples": "- name: One\n  a.b.c:\n    name: x\n    timeout: 3\n",
    }
}


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (None, []),
        ("- a.b.c:\n    name: x\n", ["a task without a name"]),
        ("- name: One\n  a.b.c:\n    nmae: x\n", ["a.b.c has no option nmae", "a.b.c is used without its option name"]),
        ("- name: One\n  d.e.f:\n    name: x\n", ["its EXAMPLES do not use it"]),
        ("", ["its EXAMPLES do not use it"]),
        ("- name: All\n  block:\n    - name: One\n      a.b.c:\n        nmae: x\n        name: y\n", ["a.b.c has no option nmae"]),
    ],
)
def test_findings_in_examples(instead, said):
    entry = dict(DOCUMENTED["a.b.c"])
    if instead is not None:
        entry["examples"] = instead
    assert list(examples.findings("a.b.c", entry, DOCUMENTED)) == said


def test_the_cache_is_outside_the_clone(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "pythons", lambda: {"3.11": machine.Python(tmp_path, "3.11.9")})
    monkeypatch.setenv("SERVEROPS_CACHE", str(machine.ROOT / "build" / "cache-of-a-test"))
    try:
        assert any("lies in it" in sentence for sentence in machine.missing(bed=False))
    finally:
        (machine.ROOT / "build" / "cache-of-a-test").rmdir()


def test_a_missing_floor_is_said_at_once(monkeypatch):
    monkeypatch.setattr(machine, "pythons", dict)
    assert any(sentence.startswith("Python 3.11") for sentence in machine.missing(bed=False))


def test_two_runs_get_a_tree_each(monkeypatch, tmp_path):
    monkeypatch.setenv("SERVEROPS_CACHE", str(tmp_path))
    with stage.tree() as first, stage.tree() as second:
        assert first != second
    with stage.tree() as again:
        assert again == first
