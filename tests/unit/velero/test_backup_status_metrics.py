# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics as a collector reads them, and the alert rules: they name only metrics that exist, and labels that those have."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_status, backup_status_metrics

from tests.unit.velero import status_page, status_samples

SAMPLE = re.compile(r'([a-z_:][a-z0-9_:]*)\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\} (-?[0-9.e+]+)')
EVERY = {**status_samples.states(), "hostile": status_samples.hostile(), "silent": status_samples.raw(velero=[], backups=[], unread=["no route"])}


def collected(raw: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return metric -> labels -> value, read as strictly as the format asks for."""
    found: dict[str, dict[str, float]] = {}
    text = backup_status_metrics.text(backup_status.judge(raw))
    assert text.endswith("\n")
    declared: list[str] = []
    for line in text.splitlines():
        if line.startswith("#"):
            _sign, kind, name, rest = line.split(" ", 3)
            assert rest
            if kind == "HELP":
                assert name not in found, "the lines of a metric stand together"
                found[name] = {}
                declared = [name]
            else:
                assert (kind, rest) == ("TYPE", "gauge")
                assert declared == [name]
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        name, labels, value = match.groups()
        assert declared == [name]
        assert labels not in found[name]
        found[name][labels] = float(value)
    assert all(found.values())
    return found


@pytest.mark.parametrize("name", EVERY)
def test_the_state_is_one_of_three(name: str) -> None:
    states = collected(EVERY[name])["serverops_backup_state"]
    assert sorted(states.values()) == [0, 0, 1]
    (one,) = (labels for labels, value in states.items() if value)
    assert one == f'velero="velero",state="{backup_status.judge(EVERY[name])["state"]}"'


def test_values() -> None:
    found = collected(status_samples.raw())
    own = 'velero="velero"'
    assert found["serverops_backup_last_proven_age_seconds"] == {own: 39506}
    assert found["serverops_backup_last_proven_timestamp_seconds"][own] + 39506 == found["serverops_backup_status_timestamp_seconds"][own]
    assert found["serverops_backup_target_seconds"] == {own: 86400}
    assert found["serverops_backup_backups"] == {
        f'{own},verdict="good"': 22, f'{own},verdict="not_good"': 1, f'{own},verdict="unknown"': 1, f'{own},verdict="unfinished"': 0,
    }  # fmt: skip
    assert found["serverops_backup_node_agent_ready"] == {f'{own},node="n{number}"': 1 for number in (1, 2, 3)}
    assert found["serverops_backup_drill_rto_seconds"] == {own: 141.5}
    assert found["serverops_backup_unprotected_stores"] == {own: 0}


def test_what_is_not_known_is_not_written_as_nothing() -> None:
    found = collected(EVERY["silent"])
    assert "serverops_backup_last_proven_timestamp_seconds" not in found
    assert "serverops_backup_velero_ready" not in found
    assert "serverops_backup_drill_rto_seconds" not in collected(status_samples.broken())


def test_markup_quotes_and_line_ends_in_labels() -> None:
    raw = status_samples.raw()
    raw["velero"][0]["node_agents"][0]["node"] = 'a"b\\c\nd'
    assert collected(raw)["serverops_backup_node_agent_ready"]['velero="velero",node="a\\"b\\\\c\\nd"'] == 1


def test_alert_rules_name_metrics_and_labels_that_exist() -> None:
    text = status_page.rendered("alerts.yml.j2", status_silence=7200)
    (group,) = yaml.safe_load(text)["groups"]
    known: dict[str, set[str]] = {}
    for raw in EVERY.values():
        for metric, samples in collected(raw).items():
            known.setdefault(metric, set()).update(re.findall(r'(\w+)="', " ".join(samples)))
    assert len(group["rules"]) == 11
    for rule in group["rules"]:
        named = re.findall(r"serverops_backup_\w+", rule["expr"])
        assert named
        for metric in named:
            assert metric in known, metric
        labels = set().union(*(known[metric] for metric in named))
        assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= labels
        assert rule["labels"]["severity"] in {"warning", "critical"}
