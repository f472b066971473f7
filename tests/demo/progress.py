# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a demo has come: a file outside of the bed, so that one that was killed goes on where it was, also after the loss of the cluster."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.bed.driver import Bed, BedError, paths, state
from tests.bed.driver.bed import is_lost


class Progress:
    """The stages that are done, and what was seen in them.

    It counts only for the bed that it was written for, known by the keys of its object store; another bed begins from the start.
    """

    def __init__(self, name: str) -> None:
        self.folder = paths.cache() / "demo" / name
        self._file = self.folder / "progress.json"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._data: dict[str, Any] = {}
        if self._file.is_file():
            self._data = json.loads(self._file.read_text())
        if self.over or self._data.get("store") != store_of(name) or not self._stands(name):
            self._data = {"run": time.strftime("%Y%m%d%H%M%S", time.gmtime()), "done": [], "facts": {}, "seconds": {}}

    def _stands(self, name: str) -> bool:
        """Whether what was done is still there: the bed runs, or its cluster was lost after its backup was made."""
        try:
            Bed.attach(name)
        except BedError:
            return is_lost(state.read(name)) and self.done("backup")
        return True

    @property
    def over(self) -> bool:
        """Whether the last demo came to its end."""
        return bool(self._data.get("over"))

    @property
    def run(self) -> str:
        """What tells this demo from others, part of names."""
        return str(self._data["run"])

    @property
    def facts(self) -> dict[str, Any]:
        """What was seen, by name."""
        facts: dict[str, Any] = self._data["facts"]
        return facts

    @property
    def seconds(self) -> dict[str, float]:
        """How long each stage took in the process that ended it."""
        seconds: dict[str, float] = self._data["seconds"]
        return seconds

    def done(self, stage: str) -> bool:
        """Whether a stage is done."""
        return stage in self._data.get("done", [])

    def finish(self, stage: str, seconds: float, name: str) -> None:
        """Remember that a stage is done."""
        self._data["done"].append(stage)
        self.seconds[stage] = seconds
        self._data["store"] = store_of(name)
        self._save()

    def end(self) -> None:
        """Remember that all is done: the next demo begins anew."""
        self._data["over"] = True
        self._save()

    def _save(self) -> None:
        paths.write(self._file, json.dumps(self._data, indent=1) + "\n", 0o600)


def store_of(name: str) -> str | None:
    """The access key of a bed's object store: every bed has another one, and it outlives the bed's cluster."""
    recorded = state.read(name) or {}
    return str(recorded["s3_keys"][0]) if recorded.get("s3_keys") else None
