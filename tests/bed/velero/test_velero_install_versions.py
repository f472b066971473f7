# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""velero_install on Velero 1.8.1 and 1.10.3, with restic and kopia, and its upgrades from 1.8.1 over 1.10.3 to 1.17.2."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bed.velero.installable import Installable, installable
from tests.bed.velero.test_velero_install import ROTATED, ensure, refused

pytestmark = pytest.mark.full
ALIAS = "velero/velero-plugin-for-aws:v1.4.1"
AGENTS = {"1.8.1": "restic", "1.10.3": "node-agent", "1.17.2": "node-agent"}


@pytest.fixture(scope="module")
def any_version() -> Iterator[Installable]:
    """A bed of its own without Velero."""
    yield from installable("1.17.2")


@pytest.fixture(params=["1.8.1 restic", "1.10.3 restic", "1.10.3 kopia"])
def older(request: pytest.FixtureRequest, any_version: Installable) -> tuple[Installable, dict[str, Any]]:
    """An older version and what tells its uploader."""
    version, uploader = str(request.param).split()
    any_version.remove(crds=True)
    # a validation period of five seconds: up to 1.9 only a period that is over brings the next validation
    often = {"server_args": {"store-validation-frequency": "5s", "backup-sync-period": "5s"}, "timeout": 240}
    return any_version.of_version(version), often | ({} if version == "1.8.1" else {"uploader_type": uploader})


@pytest.mark.timeout(900)  # up to 1.9 a server validates only when its period is over and it is woken, and each change needs two validations
def test_made_changed_removed_and_back(older: tuple[Installable, dict[str, Any]]) -> None:
    """The whole life of an installation of an older version: each change proven, each second run without a write."""
    place, over = older
    options = place.options(**over)
    made = ensure(options)
    assert made["installation"]["server"]["version"] == f"v{place.velero.version}"
    assert [agent["pod"].rpartition("-")[0] for agent in made["installation"]["node_agents"]] == [AGENTS[place.velero.version]]
    assert ensure(options).written == []

    options |= {"bucket": place.other_bucket}
    assert ensure(options)["installation"]["storage_locations"][0]["bucket"] == place.other_bucket
    assert ensure(options).written == []

    access, secret = place.account(*ROTATED)
    options |= {"credential": {"content": f"[default]\naws_access_key_id={access}\naws_secret_access_key={secret}\n"}}
    assert ensure(options)["diff"]["after"]["pods_made_anew"]
    assert ensure(options).written == []

    options |= {"resources": {"requests": {"cpu": "200m"}, "limits": {"cpu": "900m"}}, "plugins": [ALIAS]}
    changed = ensure(options)
    assert changed["installation"]["server"]["plugin_images"] == [ALIAS]
    assert {"kind": "ObjectStore", "name": "velero.io/aws"} in changed["installation"]["server"]["plugins"]
    assert ensure(options).written == []

    message = refused(options | {"bucket": "no-such-bucket"}, 240)
    assert "NoSuchBucket" in message
    ensure(options)

    name = f"kept-{int(time.time())}"
    place.velero.cli("backup", "create", name, "--include-namespaces", "default", "--include-resources", "configmaps", "--wait")
    gone = ensure(place.options(state="absent"))
    assert name in gone["backups"]["names"]
    ensure(options)
    place.until(lambda: place.phase(name) == "Completed", "the old backup is listed again", 120)


def test_upgrades(any_version: Installable) -> None:
    """1.8.1 to 1.10.3 (DaemonSet restic becomes node-agent) to 1.17.2: only when told to skip minors; the password of the repositories goes along."""
    any_version.remove(crds=True)
    old, middle, new = (any_version.of_version(version) for version in ("1.8.1", "1.10.3", "1.17.2"))
    own = {"repository_password": "a-password-of-ones-own", "timeout": 240}
    arguments = {"server_args": {"restic-timeout": "3h", "store-validation-frequency": "5s"}}
    ensure(old.options(**own, **arguments, default_volumes_to_fs_backup=True, node_agent_resources={"requests": {"cpu": "50m", "memory": "64Mi"}}))
    args = old.deployment()["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--restic-timeout=3h0m0s", "--default-volumes-to-restic=true"} <= set(args)

    message = refused(middle.options(**own), 20)
    assert "allow_skipped_minors" in message
    told = own | {"allow_skipped_minors": True}
    predicted = ensure(middle.options(**told), check=True)
    upgraded = ensure(middle.options(**told))
    for part in ("diff", "requests"):
        assert predicted[part] == upgraded[part], part
    assert upgraded["installation"]["server"]["version"] == "v1.10.3"
    daemon_sets = any_version.bed.kubectl("-n", "velero", "get", "daemonsets", "-o", "name").split()
    assert daemon_sets == ["daemonset.apps/node-agent"]
    args = middle.deployment()["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--fs-backup-timeout=3h0m0s", "--default-volumes-to-fs-backup=true"} <= set(args)
    agent = json.loads(any_version.bed.kubectl("-n", "velero", "get", "daemonset", "node-agent", "-o", "json"))
    assert agent["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "50m", "memory": "64Mi"}
    secret = json.loads(any_version.bed.kubectl("-n", "velero", "get", "secret", "velero-repo-credentials", "-o", "json"))
    earlier = json.loads(any_version.bed.kubectl("-n", "velero", "get", "secret", "velero-restic-credentials", "-o", "json"))
    assert secret["data"] == earlier["data"]
    assert ensure(middle.options(**told)).written == []

    ensure(middle.options(**told, uploader_type="restic"))
    newest = ensure(new.options(**told))
    assert newest["installation"]["server"]["version"] == "v1.17.2"
    assert any("--uploader-type=restic" in warning for warning in newest.warnings)
    assert ensure(new.options(**told)).written == []
    ensure(new.options(state="absent", remove_crds=True))
