# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The template of a backup: options to spec, spec to options, what means the same, and what cannot work."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError
from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_template as template

EVERYTHING: dict[str, Any] = {
    "included_namespaces": ["app", "web"],
    "excluded_namespaces": ["scratch"],
    "included_resources": ["pods", "persistentvolumeclaims"],
    "excluded_resources": ["events"],
    "include_cluster_resources": True,
    "selector": "app=web",
    "ordered_resources": {"pods": ["app/db-0", "app/web-0"]},
    "snapshot_volumes": False,
    "default_volumes_to_fs_backup": True,
    "snapshot_move_data": False,
    "data_mover": "velero",
    "storage_location": "offsite",
    "volume_snapshot_locations": ["one"],
    "ttl": "72h",
    "csi_snapshot_timeout": "90s",
    "item_operation_timeout": "1h30m",
    "resource_policies_configmap": "policies",
    "parallel_files_upload": 4,
    "volume_group_snapshot_label_key": "team/group",
    "hooks": {"resources": [{"name": "freeze", "pre": [{"exec": {"command": ["sync"]}}]}]},
}
BY_SCOPE: dict[str, Any] = {
    "included_cluster_scoped_resources": ["persistentvolumes"],
    "excluded_cluster_scoped_resources": ["nodes"],
    "included_namespace_scoped_resources": ["pods"],
    "excluded_namespace_scoped_resources": ["events"],
    "or_selectors": ["app=web", "app=db"],
}


def test_every_option_has_a_place() -> None:
    assert {*EVERYTHING, *BY_SCOPE} == set(template.ARGUMENTS)
    for options in (EVERYTHING, BY_SCOPE):
        template.checked(options)
        spec = template.spec_of(options)
        assert set(template.template_of(spec)) == set(options)
        assert template.same(spec, spec) == []
        assert template.same_scope(spec, spec) == []


def test_spec() -> None:
    assert template.spec_of({"included_namespaces": None}) == {}
    spec = template.spec_of(EVERYTHING)
    assert spec["ttl"] == "72h0m0s"
    assert spec["csiSnapshotTimeout"] == "1m30s"
    assert spec["uploaderConfig"] == {"parallelFilesUpload": 4}
    assert spec["resourcePolicy"] == {"kind": "configmap", "name": "policies"}
    assert spec["orderedResources"] == {"pods": "app/db-0,app/web-0"}
    assert spec["labelSelector"] == {"matchLabels": {"app": "web"}}
    assert template.template_of(spec)["ordered_resources"] == {"pods": ["app/db-0", "app/web-0"]}


def test_what_the_server_fills_in_is_no_difference() -> None:
    """The specs are those that 1.17.2 and 1.8.1 gave back for a Backup that named one namespace."""
    newer = {
        "csiSnapshotTimeout": "10m0s",
        "defaultVolumesToFsBackup": False,
        "excludedClusterScopedResources": ["volumesnapshotcontents.snapshot.storage.k8s.io"],
        "excludedNamespaceScopedResources": ["volumesnapshots.snapshot.storage.k8s.io"],
        "hooks": {},
        "includedNamespaces": ["app"],
        "itemOperationTimeout": "4h0m0s",
        "metadata": {},
        "snapshotMoveData": False,
        "storageLocation": "default",
        "ttl": "720h0m0s",
        "volumeGroupSnapshotLabelKey": "velero.io/volume-group",
    }
    older = {"defaultVolumesToRestic": True, "hooks": {}, "includedNamespaces": ["app"], "storageLocation": "default", "ttl": "720h0m0s"}
    wanted = template.spec_of({"included_namespaces": ["app"], "ttl": "720h"})
    for live in (newer, older):
        assert template.same(wanted, live) == []
        assert template.same_scope(wanted, live) == []
    assert template.same(template.spec_of({"default_volumes_to_fs_backup": True}), older) == []
    assert template.same(template.spec_of({"default_volumes_to_fs_backup": True}), newer) == ["default_volumes_to_fs_backup"]
    assert template.same(template.spec_of({"snapshot_move_data": False}), older) == []
    assert "excluded_cluster_scoped_resources" not in template.template_of(newer)


@pytest.mark.parametrize(
    ("options", "live", "different"),
    [
        ({"included_namespaces": ["a", "b"]}, {"includedNamespaces": ["b", "a"]}, []),
        ({"included_namespaces": ["*"]}, {}, []),
        ({}, {"includedNamespaces": ["*"]}, []),
        ({}, {"includedNamespaces": ["app"]}, ["included_namespaces"]),
        ({"included_namespaces": ["app"]}, {}, ["included_namespaces"]),
        ({}, {"labelSelector": {"matchLabels": {"app": "web"}}}, ["selector"]),
        ({}, {"orLabelSelectors": [{"matchLabels": {"app": "web"}}]}, ["or_selectors"]),
        ({}, {"includedResources": ["configmaps"]}, ["included_resources"]),
        ({}, {"excludedResources": ["persistentvolumeclaims"]}, ["excluded_resources"]),
        ({}, {"excludedNamespaceScopedResources": ["pods"]}, ["excluded_namespace_scoped_resources"]),
        ({}, {"includeClusterResources": False}, ["include_cluster_resources"]),
        ({}, {"includeClusterResources": True}, []),
        ({"include_cluster_resources": False}, {}, ["include_cluster_resources"]),
        ({}, {"ttl": "1h0m0s", "storageLocation": "other"}, []),
        ({"storage_location": "one"}, {"storageLocation": "other"}, ["storage_location"]),
        ({"selector": "a=b,c=d"}, {"labelSelector": {"matchLabels": {"c": "d", "a": "b"}}}, []),
        ({"ttl": "60m"}, {"ttl": "1h0m0s"}, []),
        ({"hooks": {"resources": []}}, {"hooks": {}}, []),
    ],
)
def test_scope(options: dict[str, Any], live: dict[str, Any], different: list[str]) -> None:
    """What narrows a backup counts also where it was not asked for: such a backup holds less."""
    assert template.same_scope(template.spec_of(options), live) == different


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"included_namespaces": ["Not A Name"]}, "included_namespaces"),
        ({"included_namespaces": ["*", "app"]}, "included_namespaces"),
        ({"excluded_namespaces": ["*"]}, "excluded_namespaces"),
        ({"included_namespaces": ["app"], "excluded_namespaces": ["app"]}, "excluded_namespaces"),
        ({"included_resources": ["a b"]}, "included_resources"),
        ({"included_resources": ["pods"], "included_cluster_scoped_resources": ["nodes"]}, "included_cluster_scoped_resources"),
        ({"include_cluster_resources": False, "excluded_namespace_scoped_resources": ["pods"]}, "excluded_namespace_scoped_resources"),
        ({"selector": "app in web"}, "selector"),
        ({"selector": "app=web", "or_selectors": ["app=db"]}, "or_selectors"),
        ({"or_selectors": ["app=db", ""]}, "or_selectors"),
        ({"ordered_resources": {"pods": "a b"}}, "ordered_resources"),
        ({"ordered_resources": {"pods": {}}}, "ordered_resources"),
        ({"data_mover": " "}, "data_mover"),
        ({"storage_location": "Not_A_Name"}, "storage_location"),
        ({"volume_snapshot_locations": ["Not_A_Name"]}, "volume_snapshot_locations"),
        ({"ttl": "a month"}, "ttl"),
        ({"ttl": "0"}, "ttl"),
        ({"csi_snapshot_timeout": "-1m"}, "csi_snapshot_timeout"),
        ({"item_operation_timeout": "4"}, "item_operation_timeout"),
        ({"resource_policies_configmap": "Not_A_Name"}, "resource_policies_configmap"),
        ({"parallel_files_upload": 0}, "parallel_files_upload"),
        ({"volume_group_snapshot_label_key": "a b"}, "volume_group_snapshot_label_key"),
        ({"hooks": {"pre": []}}, "hooks"),
        ({"hooks": {"resources": [{}]}}, "hooks"),
        ({"hooks": {"resources": "freeze"}}, "hooks"),
    ],
)
def test_what_cannot_work_is_told_by_its_option(options: dict[str, Any], option: str) -> None:
    with pytest.raises(InputError) as raised:
        template.checked(options)
    assert raised.value.option == option
    assert raised.value.next_step


def test_older_names() -> None:
    spec = {"defaultVolumesToFsBackup": True, "ttl": "1h0m0s"}
    assert template.fitted(spec, lambda name: name != "defaultVolumesToFsBackup") == {"defaultVolumesToRestic": True, "ttl": "1h0m0s"}
    assert template.fitted(spec, lambda name: True) == spec
    assert template.option_of("uploaderConfig.parallelFilesUpload") == "parallel_files_upload"
    assert template.option_of("orLabelSelectors") == "or_selectors"


def test_namespaces() -> None:
    assert template.includes_namespace({}, "app")
    assert template.includes_namespace({"includedNamespaces": ["*"], "excludedNamespaces": ["web"]}, "app")
    assert not template.includes_namespace({"includedNamespaces": ["*"], "excludedNamespaces": ["app"]}, "app")
    assert not template.includes_namespace({"includedNamespaces": ["web"]}, "app")


def test_values_in_words() -> None:
    spec = template.spec_of(EVERYTHING)
    assert template.value_shown(spec, "included_namespaces") == "app, web"
    assert template.value_shown(spec, "snapshot_volumes") == "false"
    assert template.value_shown({}, "selector") == "nothing"
    assert template.value_shown(spec, "ttl") == "72h0m0s"
