# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases: read, ordered, what each knows, and from where each is reached."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import release


@pytest.mark.parametrize(
    ("text", "number", "shown"),
    [("1.17.2", (1, 17, 2), "1.17.2"), ("v1.8.1", (1, 8, 1), "1.8.1"), (" v1.6.0 ", (1, 6, 0), "1.6.0"),
     ("v1.18.0-rc.1", (1, 18, 0), "1.18.0-rc.1"), ("1.9.5+build.7", (1, 9, 5), "1.9.5+build.7")],
)  # fmt: skip
def test_read(text: str, number: tuple[int, int, int], shown: str) -> None:
    found = release.parse(text)
    assert (found.number, found.text, str(found), found.line) == (number, shown, shown, number[:2])


@pytest.mark.parametrize("text", ["", "v", "1", "1.17", "latest", "main", "1.17.x", "1.17.2.1", "one", "-1.2.3", "1.2.3 4", "V1.2.3", "1.17.2-"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="not a release such as"):
        release.parse(text)


@pytest.mark.parametrize(
    ("image", "text"),
    [("velero/velero:v1.17.2", "1.17.2"), ("registry.example.com:5000/a/velero:1.8.1", "1.8.1"), ("velero/velero", None),
     ("velero/velero:latest", None), ("registry.example.com:5000/velero", None), ("velero/velero@sha256:0123", None),
     ("velero/velero:v1.17.2@sha256:0123", "1.17.2"), ("velero/velero:v1.17", None)],
)  # fmt: skip
def test_of_an_image(image: str, text: str | None) -> None:
    found = release.of_image(image)
    assert (found.text if found else None) == text


def test_ordered_by_number_alone() -> None:
    texts = ["1.6.3", "1.9.0", "1.10.0", "1.10.3", "1.17.2", "2.0.0"]
    assert [item.text for item in sorted(map(release.parse, reversed(texts)))] == texts
    assert release.parse("1.17.2") == release.parse("v1.17.2-internal")


def test_known_lines() -> None:
    assert tuple((1, minor) for minor in range(6, 19)) == release.KNOWN
    assert release.unsupported(release.parse("1.6.0")) is None
    assert release.unsupported(release.parse("1.18.3")) is None
    for text in ("1.5.4", "1.19.0", "2.0.0", "0.11.0"):
        told = release.unsupported(release.parse(text))
        assert told is not None
        assert told.startswith(f"Velero {text} is not one of the releases 1.6 to 1.18")


@pytest.mark.parametrize("option", list(release.OPTION_RELEASES))
def test_an_option_is_known_from_its_first_to_its_last_release(option: str) -> None:
    first, last = release.OPTION_RELEASES[option]
    padded = (*first, 0)[:3]
    assert release.knows(option, release.Release(*padded, "x"))
    before = (first[0], first[1], first[2] - 1) if len(first) == 3 else (first[0], first[1] - 1, 99)
    assert not release.knows(option, release.Release(*before, "x"))
    if last:
        assert release.knows(option, release.Release(*last, 99, "x"))
        assert not release.knows(option, release.Release(last[0], last[1] + 1, 0, "x"))


def test_an_option_that_only_shapes_objects_is_always_known() -> None:
    for line in release.KNOWN:
        assert release.knows("node_selector", release.Release(*line, 0, "x"))


def test_a_refused_option_is_told_with_its_release() -> None:
    told = release.option_refusal("concurrent_backups", release.parse("1.17.2"))
    assert told == ("Velero 1.17.2 does not know it; the first release that does is 1.18", "Leave it out, or install a newer version")
    told = release.option_refusal("csi_snapshot_early_frequent_polling", release.parse("1.18.0"))
    assert told is not None
    assert "1.18.1" in told[0]
    told = release.option_refusal("maintenance_job_resources", release.parse("1.17.0"))
    assert told is not None
    assert told[0].endswith("the last release that did is 1.16")
    assert "repo_maintenance_job_configmap" in told[1]
    assert release.option_refusal("maintenance_job_resources", release.parse("1.16.2")) is None


@pytest.mark.parametrize(("text", "name"), [("1.6.0", "restic"), ("1.9.7", "restic"), ("1.10.0", "node-agent"), ("1.18.1", "node-agent")])
def test_the_agents_name(text: str, name: str) -> None:
    assert release.agent_name(release.parse(text)) == name


ACCEPTED = [
    ("1.17.2", "1.17.2"), ("1.17.0", "1.17.2"), ("1.16.2", "1.17.2"), ("1.8.1", "1.9.0"), ("1.9.7", "1.10.0"), ("1.10.3", "1.11.0"),
    ("1.10.0", "1.12.4"), ("1.10.3", "1.13.2"), ("1.11.1", "1.13.0"), ("1.12.0", "1.13.0"), (None, "1.17.2"), ("1.18.0-rc.1", "1.18.0"),
]  # fmt: skip
SKIPPED = [
    ("1.8.1", "1.10.3", "1.9"), ("1.10.3", "1.17.2", "1.11, 1.12, 1.13, 1.14, 1.15, 1.16"), ("1.9.7", "1.13.0", "1.10"), ("1.12.4", "1.14.0", "1.13"),
    ("1.6.3", "1.8.0", "1.7"),
]  # fmt: skip


@pytest.mark.parametrize(("installed", "wanted"), ACCEPTED)
def test_upgrades_by_the_rules(installed: str | None, wanted: str) -> None:
    assert release.upgrade_refusal(release.parse(installed) if installed else None, release.parse(wanted), False) is None


@pytest.mark.parametrize(("installed", "wanted", "between"), SKIPPED)
def test_upgrades_that_skip(installed: str, wanted: str, between: str) -> None:
    told = release.upgrade_refusal(release.parse(installed), release.parse(wanted), False)
    assert told is not None
    assert told.endswith(f"do not skip {between}")
    assert release.upgrade_refusal(release.parse(installed), release.parse(wanted), True) is None


def test_never_back() -> None:
    texts = ["1.6.3", "1.9.0", "1.9.1", "1.10.0", "1.18.1"]
    for older, newer in itertools.combinations(texts, 2):
        for skip in (False, True):
            told = release.upgrade_refusal(release.parse(newer), release.parse(older), skip)
            assert told is not None
            assert newer in told
            assert older in told
