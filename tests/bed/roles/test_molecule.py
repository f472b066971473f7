# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Molecule scenarios as anybody runs them: every action of each, none skipped, and nothing left behind."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.bed.driver import Bed
from tests.bed.driver.velero import DEFAULT_PLUGINS, IMAGES_OF, PLUGIN_IMAGES
from tests.plays import environment, variables

ROOT = Path(__file__).resolve().parents[3]
NAMESPACE = "velero-molecule"
ACTIONS = 5
"""What each scenario does: syntax, check, converge, idempotence, verify."""
GOES_TOO = "The further storage locations molecule-read-only go too, and nothing in a bucket brings them back."
"""What the removal at the end warns of: the scenario's second location."""


@pytest.mark.timeout(600)
def test_every_scenario(bed: Bed, tmp_path: Path) -> None:
    """molecule test --all ends well, with every action of each scenario, and the namespace is gone afterwards."""
    bed.import_images(*IMAGES_OF["1.17.2"], PLUGIN_IMAGES["aws"])
    bed.s3.make_bucket("molecule")
    env = {
        "KUBECONFIG": str(bed.kubeconfig),
        "VELERO_BUCKET": "molecule",
        "VELERO_CREDENTIALS_FILE": str(bed.s3.credentials_file),
        "VELERO_PLUGIN": DEFAULT_PLUGINS["aws"],
        "VELERO_REGION": bed.s3.region,
        "VELERO_S3_URL": bed.s3.endpoint_inside,
        "VELERO_S3_PUBLIC_URL": bed.s3.endpoint_outside,
        # what a run leaves on the controller is not to stay in the clone
        "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path / "molecule"),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [str(environment("newest") / "bin/molecule"), "test", "--all"],
        cwd=ROOT,
        env=variables("newest", tmp_path, env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=560,
        check=False,
    )
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert done.returncode == 0, text[-4000:]
    # the recap, one line per scenario
    assert re.findall(r"^(\w+) +: actions=(\d+) +successful=(\d+) +disabled=0 +skipped=0 +missing=0 +failed=0", text, re.MULTILINE) == [
        ("default", "1", "1"),
        *((scenario, str(ACTIONS), str(ACTIONS)) for scenario in ("backup", "restore", "velero")),
        ("default", "1", "1"),
    ], text[-4000:]
    # check mode on an empty cluster has something to say; of the real runs only the removal has: what goes with the namespace
    _before, begun, real = text.partition("[backup > converge] Executing")
    assert begun
    assert re.findall(r"\[WARNING\]: (.*)", real) == [GOES_TOO]
    assert "No inventory was parsed" not in text
    assert bed.s3.secret_key not in text
    assert not bed.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name").strip()
    # a copy of the collection in the home would be used by later runs in place of the clone
    assert not list(tmp_path.glob(".ansible/collections/ansible_collections/serverops"))
