# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role velero by its playbook and the inventories that are shipped: predicted on an empty cluster, carried out, found as asked, removed."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bed.driver import READ_VERBS, Bed
from tests.bed.driver.velero import DEFAULT_PLUGINS, IMAGES_OF, PLUGIN_IMAGES
from tests.bed.roles import book
from tests.bed.roles.book import ours, told
from tests.bed.ways import canaries
from tests.plays import CORES, Played

ROOT = Path(__file__).resolve().parents[3]
VARIANTS = {
    "aws": ("aws", ()),
    "gcp by key": ("gcp", ()),
    "gcp by workload identity": ("gcp", (f"@{ROOT}/inventories/gcp/workload_identity.yml",)),
    "s3-compatible": ("s3_compatible", ()),
}
"""The guide's variants: the inventory, and what is given beside it."""
PLACEHOLDER = "replace-me"
LIGHT = {"requests": {"cpu": "", "memory": ""}, "limits": {"cpu": "", "memory": ""}}
"""Several Veleros fit on a small node only when they ask for nothing."""


def run_book(home: Path, inventory: str, extra: Mapping[str, Any], *arguments: str, **keywords: Any) -> Played:
    """Run the playbook with an inventory; extra: variables that take precedence over it."""
    return book.run_book("velero", home, inventory, extra, *arguments, **keywords)


@dataclass(frozen=True)
class Ground:
    """A namespace for a Velero of the role's own, and the variables that lead there."""

    bed: Bed
    namespace: str

    @property
    def extra(self) -> dict[str, Any]:
        """Return the variables that lead to the bed's cluster and make Velero light."""
        return {
            "velero_kubeconfig": str(self.bed.kubeconfig),
            "velero_namespace": self.namespace,
            "velero_resources": LIGHT,
            "velero_node_agent_resources": LIGHT,
        }

    def writes(self, mark: int) -> list[str]:
        """Return what the API server was asked to change since a mark, in the namespace and outside of any."""
        events = (event for event in self.bed.audit(mark) if event["verb"] not in READ_VERBS)
        here = (event for event in events if event["objectRef"].get("namespace") in (None, "", self.namespace))
        return [f"{event['verb']} {event['requestURI']}" for event in here if event["objectRef"]["resource"] != "serverstatusrequests"]

    def exists(self) -> bool:
        """Tell whether the namespace is there."""
        return bool(self.bed.kubectl("get", "namespace", self.namespace, "--ignore-not-found", "-o", "name").strip())


@pytest.fixture
def ground(bed: Bed, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """A namespace of the test's own, without anything in it afterwards."""
    made = Ground(bed, f"role-{re.sub(r'[^a-z0-9]+', '-', request.node.name.removeprefix('test_').lower()).strip('-')}"[:50].strip("-"))
    yield made
    if made.exists():
        played = run_book(tmp_path / "removed", "s3_compatible", made.extra | {"velero_state": "absent"})
        assert played.rc == 0, told(played)
    assert not made.exists()


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_is_predicted_on_an_empty_cluster(ground: Ground, tmp_path: Path, variant: str, core: str) -> None:
    """Check mode says what would be made, by the variables of the inventory alone, and neither writes nor shows a secret."""
    inventory, files = VARIANTS[variant]
    wanted = yaml.safe_load((ROOT / "inventories" / inventory / "group_vars/all/velero.yml").read_text())
    mark = ground.bed.audit_mark()
    played = run_book(tmp_path / "home", inventory, ground.extra, "--check", "--diff", files=files, core=core)
    assert played.rc == 0, told(played)
    (result,) = ours(played)
    assert (result["ran"], result["changed"]) == ("controller", True)
    shown = json.dumps(result["diff"]["after"])
    for text in (wanted["velero_bucket"], wanted["velero_plugins"][0], f"v{wanted['velero_version']}"):
        assert text in shown
    assert ("gserviceaccount.com" in shown) is (variant == "gcp by workload identity")
    assert (any(request["path"].endswith("/secrets") for request in result["requests"])) is (variant != "gcp by workload identity")
    assert (any(request["path"].endswith("/volumesnapshotlocations") for request in result["requests"])) is (variant != "s3-compatible")
    assert ground.writes(mark) == []
    assert not ground.exists()
    assert PLACEHOLDER not in played.stdout + played.stderr


def store(bed: Bed, bucket: str) -> dict[str, Any]:
    """Return the variables of an S3-compatible store that is the bed's."""
    bed.import_images(*IMAGES_OF["1.17.2"], PLUGIN_IMAGES["aws"])
    bed.s3.make_bucket(bucket)
    return {
        "velero_plugins": [DEFAULT_PLUGINS["aws"]],
        "velero_bucket": bucket,
        "velero_backup_location_config": {"region": bed.s3.region, "s3ForcePathStyle": True, "s3Url": bed.s3.endpoint_inside},
        "velero_credential_content": bed.s3.credentials_file.read_text(),
    }


def test_s3_compatible_from_nothing_to_nothing(ground: Ground, tmp_path: Path) -> None:
    """Predicted, made and proven with further locations, found as asked without a write, changed, and removed again."""
    bed = ground.bed
    place = store(bed, "role-store")
    further = {
        "velero_storage_locations": [
            {"name": "default", "validation_frequency": "2m"},
            {
                "name": "offsite", "provider": "aws", "bucket": "role-store", "prefix": "offsite", "config": place["velero_backup_location_config"],
                "credential": {"name": "offsite-credentials"},
            },
        ],
        "velero_snapshot_locations": [{"name": "volumes", "provider": "aws", "config": {"region": "eu-west-1"}}],
        "velero_location_secrets": {"offsite-credentials": place["velero_credential_content"]},
    }  # fmt: skip
    extra = ground.extra | place | further
    predicted = run_book(tmp_path / "predicted", "s3_compatible", extra, "--check", "--diff")
    assert predicted.rc == 0, told(predicted)
    made = run_book(tmp_path / "made", "s3_compatible", extra, "--diff")
    assert made.rc == 0, told(made)
    assert [result["changed"] for result in ours(predicted)] == [result["changed"] for result in ours(made)] == [True] * 4
    assert {result["ran"] for result in ours(made)} == {"controller"}
    assert bed.s3.secret_key not in made.stdout + made.stderr + predicted.stdout + predicted.stderr
    mark = bed.audit_mark()
    again = run_book(tmp_path / "again", "s3_compatible", extra)
    assert again.rc == 0, told(again)
    assert [result["changed"] for result in ours(again)] == [False] * 4
    assert ground.writes(mark) == []
    changed = run_book(tmp_path / "changed", "s3_compatible", extra | {"velero_prefix": "other", "velero_labels": {"team": "operations"}})
    assert changed.rc == 0, told(changed)
    assert [result["changed"] for result in ours(changed)] == [True, False, False, False]
    gone = run_book(tmp_path / "gone", "s3_compatible", extra | {"velero_state": "absent"})
    assert gone.rc == 0, told(gone)
    assert not ground.exists()


def test_google_cloud_by_key(ground: Ground, tmp_path: Path) -> None:
    """The inventory for Google Cloud works with a service account's key against a store that speaks its protocol."""
    bed = ground.bed
    bed.import_images(*IMAGES_OF["1.17.2"], PLUGIN_IMAGES["gcp"])
    bed.gcs.make_bucket("role-google")
    extra = ground.extra | {
        "velero_plugins": [DEFAULT_PLUGINS["gcp"]],
        "velero_bucket": "role-google",
        "velero_credential_content": bed.gcs.service_account_key("role").read_text(),
    }
    for core, changed in (("2.16", True), ("newest", False)):
        played = run_book(tmp_path / core, "gcp", extra, core=core)
        assert played.rc == 0, told(played)
        (result,) = ours(played)
        assert result["changed"] is changed
        assert json.loads(extra["velero_credential_content"])["private_key"].splitlines()[1] not in played.stdout + played.stderr


def test_somebody_elses_become_does_not_move_it(ground: Ground, tmp_path: Path) -> None:
    """Neither a variable of an inventory nor an option of ansible-playbook sends the tasks to another user's kubeconfig."""
    everybody = tmp_path / "become.yml"
    everybody.write_text(json.dumps({"all": {"vars": {"ansible_become": True}}}))
    for number, arguments in enumerate((("-i", str(everybody)), ("--become",))):
        played = run_book(tmp_path / str(number), "s3_compatible", ground.extra, "--check", *arguments)
        assert played.rc == 0, told(played)
        assert [result["ran"] for result in ours(played)] == ["controller"]


def test_a_wrong_variable_is_named_before_anything_is_done(ground: Ground, tmp_path: Path) -> None:
    """The role's argument spec refuses a value of the wrong type or choice, and the modules refuse what cannot work by its option."""
    for number, (name, value, words) in enumerate(
        (
            ("velero_unfinished", "perhaps", "velero_unfinished"),
            ("velero_storage_locations", [{"bucket": "nameless"}], "name"),
            ("velero_version", "seventeen", "option version"),
        )
    ):
        mark = ground.bed.audit_mark()
        played = run_book(tmp_path / str(number), "s3_compatible", ground.extra | {name: value})
        assert played.rc == 2
        assert words in played.results[-1].result["msg"] + str(played.results[-1].result.get("argument_errors"))
        assert PLACEHOLDER not in played.stdout + played.stderr
        assert ground.writes(mark) == []


def test_no_secret_shows_itself(ground: Ground) -> None:
    """At -vvvv --diff, with secrets of every kind that the role takes: in no output, result, argument or file, whether it ends well or not."""
    secrets = {
        "velero_credential_content": "[default]\naws_access_key_id=AKIAROLECANARY\naws_secret_access_key=canary/of+the/role/0123456789abcdef\n",
        "velero_repository_password": "canary of the repository's password",
        "velero_location_secrets": {
            "further": "[default]\naws_access_key_id=AKIAFURTHER\naws_secret_access_key=canary/of+another/location/0123456\n"
        },
    }
    values = {name: value["further"] if isinstance(value, dict) else value for name, value in secrets.items()}
    config = {"region": "minio", "s3Url": "http://store.invalid"}
    further = {"name": "further", "provider": "aws", "bucket": "further", "config": config, "credential": {"name": "further"}}
    given = ground.extra | {
        "velero_version": "1.17.2",
        "velero_provider": "aws",
        "velero_plugins": [DEFAULT_PLUGINS["aws"]],
        "velero_bucket": "canary",
        "velero_backup_location_config": config,
        "velero_use_volume_snapshots": False,
    }
    for last, rc in ((further, 0), (further | {"bucket": "a/b"}, 2)):
        with tempfile.TemporaryDirectory(prefix="role-") as folder:
            home = Path(folder)
            vault = home / "secrets.json"
            vault.touch(0o600)
            vault.write_text(json.dumps(secrets))
            role = {"role": "serverops.circleci.velero", "vars": given | {"velero_storage_locations": [last]}}
            play = {"hosts": "localhost", "gather_facts": False, "vars_files": ["secrets.json"], "roles": [role]}
            seen = canaries.watch([play], home, ["--check"], {}, values.values())
            assert seen.rc == rc, seen.texts["stdout"][-2000:]
            assert seen.leaks(values) == []
            assert seen.open_to_others() == []
