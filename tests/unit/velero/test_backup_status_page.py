# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page as text: nothing from outside, nothing unescaped, every table and picture named, and the chart's measures."""

from __future__ import annotations

import base64
import copy
import hashlib
from html.parser import HTMLParser
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_status, backup_status_page

from tests.unit.velero import status_page, status_samples

EVERY = {**status_samples.states(), "hostile": status_samples.hostile(), "silent": status_samples.raw(velero=[], backups=[], unread=["no route"])}
VOID = {"meta", "link", "line", "path", "circle", "rect", "br"}


class Reader(HTMLParser):
    """Keeps every element with its attributes, the text outside of style and script, and whether elements are closed in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.script = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"{tag} has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.script += data
        elif self.open and self.open[-1] != "style":
            self.text += data


def read(raw: dict[str, Any]) -> Reader:
    """Return the page of an installation, read; AssertionError when it is not well formed."""
    reader = Reader()
    reader.feed(status_page.html(raw))
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.parametrize("name", EVERY)
def test_the_page_needs_no_other_and_runs_no_other_script(name: str) -> None:
    page = read(EVERY[name])
    for tag, attributes in page.elements:
        assert tag not in {"iframe", "object", "embed", "img", "base", "form", "foreignobject", "use", "image"}
        for attribute, value in attributes.items():
            assert not attribute.startswith("on")
            assert attribute not in {"src", "srcset", "xlink:href", "action"}
            assert attribute != "href" or str(value).startswith("data:image/svg+xml,")
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]
    assert scripts == [{}]
    policy = next(attributes["content"] for tag, attributes in page.elements if attributes.get("http-equiv") == "Content-Security-Policy")
    assert f"'sha256-{base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()}'" in str(policy)
    assert "url(" not in status_page.html(EVERY[name])


@pytest.mark.parametrize("name", EVERY)
def test_every_table_and_picture_says_what_it_is(name: str) -> None:
    page = read(EVERY[name])
    tags = [tag for tag, _attributes in page.elements]
    assert tags.count("table") == tags.count("caption")
    assert all(attributes.get("scope") in {"col", "row"} for tag, attributes in page.elements if tag == "th")
    assert all(attributes.get("aria-hidden") or attributes.get("aria-label") for tag, attributes in page.elements if tag == "svg")
    identifiers = [attributes["id"] for _tag, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert all(attributes["aria-labelledby"] in identifiers for _tag, attributes in page.elements if "aria-labelledby" in attributes)
    assert dict(page.elements)["html"]["lang"] == "en"


@pytest.mark.parametrize("state", status_samples.states())
def test_what_the_page_says(state: str) -> None:
    raw = status_samples.states()[state]
    facts = backup_status.judge(raw)
    text = " ".join(read(raw).text.split())
    assert f"{state.capitalize()} – Backups of CircleCI Server" in text
    assert facts["sentence"] in text
    for finding in facts["findings"]:
        assert finding["what"] in text
        assert finding["do"] in text
    for backup in facts["backups"]:
        assert backup["name"] in text
    for claim in status_samples.CLAIMS:
        assert f"circleci-server/{claim}" in text


def test_markup_in_any_value_is_text() -> None:
    page = read(status_samples.hostile())
    assert page.text.count(status_samples.MARKUP) > 25
    assert "alert(1)" not in page.script
    assert status_samples.MARKUP in page.text


def test_the_chart() -> None:
    facts = backup_status.judge(status_samples.raw())
    chart = backup_status_page.chart(facts["backups"], 30)
    assert chart
    assert (chart["measure"], len(chart["bars"])) == ("size", 24)
    assert [column["kind"] for column in chart["bars"]].count("bad") == 1
    assert [column["kind"] for column in chart["bars"]].count("unknown") == 1
    # oldest first, none outside of the drawing, none over another
    assert chart["bars"][-1]["text"].startswith("nightly-20261128010000: good, 2026-11-28 01:00 UTC, 6.4 GiB in 1 min 34 s")
    for left, right in zip(chart["bars"], chart["bars"][1:], strict=False):
        assert left["x"] + left["width"] < right["x"]
    for column in chart["bars"]:
        assert chart["left"] <= column["x"] <= column["x"] + column["width"] <= chart["right"]
        assert 0 <= column["y"] <= column["y"] + column["height"] <= chart["base"] + 0.1
    assert [line["text"] for line in chart["lines"]] == ["0", "4.0 GiB", "8.0 GiB"]
    assert len(backup_status_page.chart(facts["backups"], 5)["bars"]) == 5  # type: ignore[index]
    assert backup_status_page.chart([], 30) is None


def test_the_chart_shows_durations_where_no_size_is_known() -> None:
    raw = copy.deepcopy(status_samples.raw())
    for backup in raw["backups"]:
        backup["bytes"] = 0
    chart = backup_status_page.chart(backup_status.judge(raw)["backups"], 30)
    assert chart
    assert (chart["measure"], [line["text"] for line in chart["lines"]]) == ("duration", ["0", "1 min", "2 min"])


@pytest.mark.parametrize(
    ("count", "words"), [(None, "?"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (150 * 1024**2, "150 MiB"), (3 * 1024**5, "3072 TiB")]
)
def test_sizes_in_words(count: float | None, words: str) -> None:
    assert backup_status_page.size(count) == words
