# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The vendor's own backup and restore bring the lost installation back, rows and files included: its annotations and volumes are real enough."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.bed import circleci_server

VOLUMES = {"data": 3, "datadir": 1, "redis-data": 2}


@pytest.mark.full
@pytest.mark.timeout(1500)
def test_velero_brings_the_lost_installation_back(velero: Any) -> None:
    bed, cli = velero.bed, velero.velero.cli
    circleci_server.install(bed)
    try:
        before = circleci_server.wait_ready(bed, 300)
        circleci_server.seed(bed)
        cli("backup", "create", "whole", "--include-namespaces", circleci_server.NAMESPACE, "--wait", timeout=600)
        volumes = json.loads(bed.kubectl("-n", "velero", "get", "podvolumebackups", "-l", "velero.io/backup-name=whole", "-o", "json"))["items"]
        found: dict[str, int] = {}
        for volume in volumes:
            assert volume["status"]["phase"] == "Completed"
            found[volume["spec"]["volume"]] = found.get(volume["spec"]["volume"], 0) + 1
        assert found == VOLUMES
        circleci_server.destroy(bed)
        cli("restore", "create", "whole", "--from-backup", "whole", "--wait", timeout=600)
        after = circleci_server.wait_ready(bed, 300)
        assert circleci_server.checksums(bed) == circleci_server.expected_checksums()
        # restored Services are new ones for the cloud: other addresses, as the guide warns
        assert set(after.addresses) == set(before.addresses)
        assert not set(after.addresses.values()) & set(before.addresses.values())
    finally:
        cli("backup", "delete", "whole", "--confirm")
        circleci_server.destroy(bed)
