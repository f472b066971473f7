# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of an installation: what cannot work is refused by name, before anything is read."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError
from ansible_collections.serverops.circleci.plugins.module_utils._velero import install_options, release

GOOD: dict[str, Any] = {
    "version": "1.17.2",
    "provider": "aws",
    "plugins": ["velero/velero-plugin-for-aws:v1.14.3"],
    "bucket": "backups",
    "credential": {"content": "[default]\naws_access_key_id = a\naws_secret_access_key = b\n"},
}


def validated(**over: Any) -> dict[str, Any]:
    given = {name: value for name, value in (GOOD | over).items() if value is not None}
    checked = ArgumentSpecValidator(dict(install_options.ARGUMENTS)).validate(given)
    assert checked.error_messages == []
    options: dict[str, Any] = checked.validated_parameters
    return options


def test_a_good_installation_is_not_refused():
    options = validated()
    install_options.check(options)
    install_options.check_fresh(options)
    install_options.check_release(options, release.parse("1.17.2"))


@pytest.mark.parametrize(
    ("option", "over"),
    [
        ("version", {"version": "1.17"}),
        ("version", {"version": "1.5.4"}),
        ("version", {"image": "velero/velero:v1.16.2"}),
        ("image", {"image": "not an image"}),
        ("plugins", {"plugins": ["one/aws:v1", "two/aws:v2"]}),
        ("registry", {"registry": "https://registry"}),
        ("image_pull_secrets", {"image_pull_secrets": ["A b"]}),
        ("bucket", {"no_default_backup_location": True}),
        ("snapshot_location_config", {"use_volume_snapshots": False, "snapshot_location_config": {"region": "x"}}),
        ("backup_location_config.region", {"backup_location_config": {"region": []}}),
        ("snapshot_location_config.region", {"snapshot_location_config": {"region": []}}),
        ("snapshot_location_config.credentialsFile", {"snapshot_location_config": {"credentialsFile": "/x"}}),
        ("no_secret", {"no_secret": True}),
        ("credential.key", {"credential": {"key": "a/b"}}),
        ("credential.content", {"credential": {"content": "[other]\na = b\n"}}),
        ("service_account_annotations", {"service_account_name": "own", "service_account_annotations": {}}),
        ("garbage_collection_frequency", {"garbage_collection_frequency": "often"}),
        ("item_block_worker_count", {"item_block_worker_count": 0}),
        ("resources.limits.memory", {"resources": {"limits": {"memory": "much"}}}),
        ("node_agent_resources.requests.cpu", {"node_agent_resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}}),
        ("env", {"env": {"a b": 1}}),
        ("env", {"env": {"A": [1]}}),
        ("server_args", {"server_args": {"--x": 1}}),
        ("labels", {"labels": {"component": "mine"}}),
        ("pod_labels", {"pod_labels": {"a": "b c"}}),
        ("tolerations", {"tolerations": [{"colour": "x"}]}),
        ("affinity", {"affinity": {"colour": "x"}}),
        ("kubelet_root_dir", {"kubelet_root_dir": "here"}),
        ("repository_password", {"repository_password": ""}),
        ("crds_file", {"crds_from": "file"}),
        ("crds_file", {"crds_file": "/x"}),
        ("remove_crds", {"remove_crds": True}),
        ("privileged_node_agent", {"use_node_agent": False, "privileged_node_agent": True}),
        ("features", {"features": ["a-b"]}),
    ],
)
def test_what_cannot_work_is_refused_by_name(option: str, over: dict[str, Any]):
    with pytest.raises(InputError) as refused:
        install_options.check(validated(**over))
    assert refused.value.option == option


def test_of_an_absent_installation_only_the_namespace_is_looked_at():
    install_options.check(validated(state="absent", version="whatever", remove_crds=True))
    with pytest.raises(InputError):
        install_options.check(validated(state="absent", namespace="A"))


@pytest.mark.parametrize("option", ["provider", "bucket", "credential", "plugins"])
def test_what_a_fresh_installation_needs(option: str):
    with pytest.raises(InputError) as refused:
        install_options.check_fresh(validated(**{option: None}))
    assert refused.value.option == option


def test_a_fresh_installation_without_locations_needs_little():
    options = validated(
        provider=None, bucket=None, plugins=None, credential=None, no_secret=True, no_default_backup_location=True, use_volume_snapshots=False
    )
    install_options.check(options)
    install_options.check_fresh(options)


@pytest.mark.parametrize(
    ("version", "over", "option"),
    [
        ("1.8.1", {"uploader_type": "kopia"}, "uploader_type"),
        ("1.17.2", {"uploader_type": "restic"}, "uploader_type"),
        ("1.17.2", {"keep_latest_maintenance_jobs": 1}, "keep_latest_maintenance_jobs"),
        ("1.12.0", {"default_snapshot_move_data": True}, "default_snapshot_move_data"),
        ("1.17.2", {"concurrent_backups": 2}, "concurrent_backups"),
        ("1.17.2", {"server_args": {"log-levle": "debug"}}, "server_args"),
        ("1.17.2", {"node_agent_args": {"log-levle": "debug"}}, "node_agent_args"),
    ],
)
def test_what_a_release_does_not_know(version: str, over: dict[str, Any], option: str):
    with pytest.raises(InputError) as refused:
        install_options.check_release(validated(version=version, **over), release.parse(version))
    assert refused.value.option == option
    assert version in refused.value.seen or "log-level is one" in refused.value.seen


def test_an_argument_of_another_release_is_no_slip_of_the_pen():
    install_options.check_release(
        validated(server_args={"restic-timeout": "5h", "keep-latest-maintenance-jobs": 3, "no-such": None}), release.parse("1.17.2")
    )


def test_what_is_switched_off_is_no_wish():
    install_options.check_release(validated(default_snapshot_move_data=False), release.parse("1.8.1"))


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("velero/velero-plugin-for-aws:v1.14.3", "velero-plugin-for-aws"),
        ("registry:5000/a/b/velero-plugin-for-aws", "velero-plugin-for-aws"),
        ("velero-plugin-for-aws@sha256:0123456789abcdef0123456789abcdef", "velero-plugin-for-aws"),
    ],
)
def test_a_plugin_is_known_by_its_name(image: str, name: str):
    assert install_options.repository(image) == name
