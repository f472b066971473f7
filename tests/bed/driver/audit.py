# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the API server's audit log: what was asked of it since a moment, by whom."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STARTED = "RequestReceived"
ENDED = ("ResponseComplete", "Panic")
#: Verbs of requests that change nothing.
READ_VERBS = ("get", "list", "watch")


def mark(log: Path) -> int:
    """A place in the log to read from later."""
    return log.stat().st_size if log.exists() else 0


def _lines(log: Path, since: int) -> list[dict[str, Any]]:
    with log.open("rb") as file:
        file.seek(since)
        whole, _newline, _started = file.read().rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines() if line]


def events(log: Path, since: int, user: str | None = None, user_agent: str | None = None, settle: float = 2) -> Iterator[dict[str, Any]]:
    """One audit event per request since the mark, in order of arrival; user and user_agent keep those that have the name or begin with the text.

    A request is in the log before the API server acts on it; its end is written right after its answer. So this waits up to settle seconds for
    the ends and then gives, for each request, the event of its end, else (a watch that still runs) that of its start.
    """
    deadline = time.monotonic() + settle
    while True:
        started: dict[str, dict[str, Any]] = {}
        for event in _lines(log, since):
            if user is not None and event["user"].get("username") != user:
                continue
            if user_agent is not None and not event.get("userAgent", "").startswith(user_agent):
                continue
            if event["stage"] == STARTED or (event["stage"] in ENDED and event["auditID"] in started):
                started[event["auditID"]] = event
        if time.monotonic() > deadline or all(event["stage"] != STARTED or event["verb"] == "watch" for event in started.values()):
            break
        time.sleep(0.02)
    yield from started.values()
