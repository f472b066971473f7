# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Velero's server is called silent only when it was silent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import DeadlineOver
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Answer, Request
from ansible_collections.serverops.circleci.plugins.module_utils._velero import installation, server

ANSWERED = {"status": {"phase": "Processed", "serverVersion": "v1.17.2", "plugins": [{"name": "velero.io/aws", "kind": "ObjectStore"}]}}


class Clock:
    """Seconds that only a sleep moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class SilentWatch:
    """An API whose watch never shows anything, and whose object is as given."""

    def __init__(self, found: dict[str, Any] | None, timeout: float) -> None:
        self.found = found
        self.sent: list[str] = []
        self.clock = Clock()
        self.transport = SimpleNamespace(deadline=Deadline(timeout, self.clock, self.clock.sleep))

    def send(self, request: Request) -> Answer:
        """Take a request."""
        self.sent.append(request.method)
        assert request.may_repeat
        return Answer(201, {}, json.dumps({}).encode())

    def create(self, *_unused: Any) -> dict[str, Any]:
        """Take an object."""
        self.sent.append("POST")
        return {}

    def get(self, *_unused: Any) -> dict[str, Any] | None:
        """Return the object as it is."""
        self.sent.append("GET")
        return self.found


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make watches show nothing until their deadline is over."""

    def snapshots(api: SilentWatch, *_unused: Any, deadline: Deadline, **_also: Any) -> Iterator[None]:
        api.clock.now += deadline.seconds
        yield from ()

    monkeypatch.setattr(server, "snapshots", snapshots)


@pytest.mark.usefixtures("silent")
def test_answer_that_the_watch_did_not_show() -> None:
    """The object is looked at once more, and removed."""
    api: Any = SilentWatch(ANSWERED, timeout=60)
    assert server.ask_status(api, "velero", api.transport.deadline) == ("v1.17.2", [{"name": "velero.io/aws", "kind": "ObjectStore"}])
    assert api.sent == ["POST", "GET", "DELETE"]


@pytest.mark.usefixtures("silent")
def test_silent_server() -> None:
    """A server that left the request alone is silent."""
    api: Any = SilentWatch({"status": {}}, timeout=60)
    with pytest.raises(DeadlineOver):
        server.ask_status(api, "velero", api.transport.deadline)
    assert api.sent == ["POST", "GET", "DELETE"]


@pytest.mark.parametrize("timeout", [8, 60])
@pytest.mark.usefixtures("silent")
def test_end_of_the_task_is_not_silence(timeout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With time left the server is told to be silent; without, the task fails instead of saying so."""
    api: Any = SilentWatch({"status": {}}, timeout=timeout)
    deployment = {"metadata": {"name": "velero"}, "spec": {"selector": {"matchLabels": {"deploy": "velero"}}, "template": {"spec": {}}}}
    monkeypatch.setattr(installation, "_server_problem", lambda *_unused: None)
    workloads = installation.Workloads(deployment, None, ())
    if timeout < server.ANSWER_WITHIN:
        with pytest.raises(DeadlineOver):
            installation._server(api, workloads, "velero", Context())
    else:
        assert "did not answer" in installation._server(api, workloads, "velero", Context())["problem"]


class Log:
    """An API server with one ready pod of Velero's server and its log."""

    def __init__(self, text: str) -> None:
        self.text = text

    def list(self, *_unused: Any, **_also: Any) -> Any:
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}, "metadata": {"name": "velero-1"}}
        return SimpleNamespace(items=[ready])

    def pod_log(self, *_unused: Any, **_also: Any) -> str:
        return self.text


SUMMARY = (
    'time="2026-11-28T10:22:53Z" level=warning msg="Unavailable backup storage locations detected: available/unavailable/unknown: 1/2/0, '
    'Backup storage location \\"far\\" is unavailable: no such host; Backup storage location \\"wrong\\" is unavailable: '
    'NoSuchBucket: The specified bucket does not exist.)" controller=backup-storage-location'
)
ERROR = 'time="2026-11-28T10:22:50Z" level=error msg="Error listing backups in backup store" backupLocation=wrong error="AccessDenied: no"'


@pytest.mark.parametrize(
    ("lines", "location", "said"),
    [
        ([SUMMARY], "wrong", "NoSuchBucket: The specified bucket does not exist."),
        ([SUMMARY], "far", "no such host"),
        ([SUMMARY], "wro", ""),
        ([ERROR], "wrong", "Error listing backups in backup store: AccessDenied: no"),
        ([ERROR, SUMMARY], "wrong", "NoSuchBucket: The specified bucket does not exist."),
        (['time="x" level=info msg="Backup storage location is invalid, marking as unavailable" backup-storage-location=wrong'], "wrong", ""),
        ([], "wrong", ""),
    ],
)
def test_the_cause_in_the_log(lines: list[str], location: str, said: str) -> None:
    assert server.last_log_line(Log("\n".join(lines)), "velero", location) == said  # type: ignore[arg-type]
