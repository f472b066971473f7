# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The twin of Velero in place of a cluster."""

from __future__ import annotations

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import objects
from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_progress, backup_reader, backup_removal, download_request
from ansible_collections.serverops.circleci.tests.unit.velero.backup_twin import Fetching, VeleroTwin


@pytest.fixture
def velero_twin(monkeypatch: pytest.MonkeyPatch) -> VeleroTwin:
    """A twin, with the modules of the collection looking at it and not at a watch or a store."""
    made = VeleroTwin()
    for module in (backup_progress, backup_removal, download_request):
        monkeypatch.setattr(module, "snapshots", made.snapshots)
    monkeypatch.setattr(download_request, "Deadline", lambda seconds: Deadline(seconds, clock=lambda: made.now, sleep=made.sleep))
    monkeypatch.setattr(Fetching, "twin", made, raising=False)
    monkeypatch.setattr(backup_reader, "Store", Fetching)
    monkeypatch.setattr(objects.time, "monotonic", lambda: made.now)
    return made
