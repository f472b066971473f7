# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore's options: what is refused, the spec that they mean, and when a restore that exists is the same one."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError
from ansible_collections.serverops.circleci.plugins.module_utils._velero import restore_options


def options(**over: Any) -> dict[str, Any]:
    """Return options as the module gets them."""
    given = {"name": "r", "backup_name": "b", **over}
    checked = ArgumentSpecValidator(dict(restore_options.ARGUMENTS)).validate({name: value for name, value in given.items() if value is not None})
    assert not checked.error_messages
    result: dict[str, Any] = checked.validated_parameters
    return result


@pytest.mark.parametrize(
    ("over", "option"),
    [
        ({"name": "Not A Name"}, "name"),
        ({"namespace": "a.b"}, "namespace"),
        ({"backup_name": None}, "backup_name"),
        ({"backup_name": "Not"}, "backup_name"),
        ({"backup_name": None, "schedule_name": "Not"}, "schedule_name"),
        ({"included_namespaces": ["a", "*"]}, "included_namespaces"),
        ({"excluded_namespaces": ["*"]}, "excluded_namespaces"),
        ({"included_namespaces": ["a"], "excluded_namespaces": ["a"]}, "excluded_namespaces"),
        ({"included_resources": ["nodes"]}, "included_resources"),
        ({"included_resources": ["*", "pods"]}, "included_resources"),
        ({"excluded_resources": ["*"]}, "excluded_resources"),
        ({"namespace_mapping": {"a": "Not A Name"}}, "namespace_mapping"),
        ({"namespace_mapping": {"a": "c", "b": "c"}}, "namespace_mapping"),
        ({"selector": "a=b=c"}, "selector"),
        ({"or_selectors": ["a=b", ""]}, "or_selectors"),
        ({"item_operation_timeout": "long"}, "item_operation_timeout"),
        ({"parallel_files_download": 0}, "parallel_files_download"),
        ({"resource_modifier_configmap": "Not A Name"}, "resource_modifier_configmap"),
        ({"excluded_volumes": ["data"]}, "excluded_volumes"),
        ({"labels": {"a": {"b": "c"}}}, "labels.a"),
        ({"annotations": {"a": None}}, "annotations.a"),
        ({"hooks": {"resource": []}}, "hooks"),
        ({"hooks": {"resources": {}}}, "hooks"),
    ],
)
def test_refused(over: dict[str, Any], option: str) -> None:
    with pytest.raises(InputError) as caught:
        restore_options.check(options(**over))
    assert caught.value.option == option


def test_absent_needs_a_name_only() -> None:
    restore_options.check(options(state="absent", backup_name=None))


def test_spec() -> None:
    spec = restore_options.spec_of(
        options(
            included_namespaces=["a"],
            namespace_mapping={"a": "b"},
            selector="app=web",
            restore_volumes=False,
            existing_resource_policy="update",
            restore_status={"included_resources": ["pods"]},
            resource_modifier_configmap="rules",
            item_operation_timeout="90m",
            write_sparse_files=True,
            parallel_files_download=4,
        ),
        "b",
    )
    assert spec == {
        "backupName": "b",
        "includedNamespaces": ["a"],
        "namespaceMapping": {"a": "b"},
        "labelSelector": {"matchLabels": {"app": "web"}},
        "restorePVs": False,
        "existingResourcePolicy": "update",
        "restoreStatus": {"includedResources": ["pods"]},
        "resourceModifier": {"kind": "configmap", "name": "rules"},
        "itemOperationTimeout": "1h30m0s",
        "uploaderConfig": {"writeSparseFiles": True, "parallelFilesDownload": 4},
    }
    assert restore_options.spec_of(options(), "b") == {"backupName": "b"}


# as Velero 1.17.2 left a Restore of {backupName: b} behind
FILLED_IN: dict[str, Any] = {
    "backupName": "b",
    "excludedResources": [
        "nodes",
        "events",
        "events.events.k8s.io",
        "backups.velero.io",
        "restores.velero.io",
        "resticrepositories.velero.io",
        "csinodes.storage.k8s.io",
        "volumeattachments.storage.k8s.io",
        "backuprepositories.velero.io",
    ],
    "hooks": {},
    "itemOperationTimeout": "4h0m0s",
    "scheduleName": "nightly",
}


def test_what_the_server_fills_in_is_no_difference() -> None:
    assert restore_options.differing({"backupName": "b"}, FILLED_IN) == []
    for same in ({"includedNamespaces": ["*"]}, {"includedResources": ["*"]}, {"existingResourcePolicy": "none"}, {"preserveNodePorts": False}):
        assert restore_options.differing({"backupName": "b"}, FILLED_IN | same) == []
        assert restore_options.differing({"backupName": "b"} | same, FILLED_IN) == []
    assert restore_options.differing({"backupName": "b", "itemOperationTimeout": "240m0s"}, FILLED_IN) == []


@pytest.mark.parametrize(
    ("field", "value", "option"),
    [
        ("backupName", "c", "backup_name"),
        ("includedNamespaces", ["a"], "included_namespaces"),
        ("excludedNamespaces", ["a"], "excluded_namespaces"),
        ("includedResources", ["pods"], "included_resources"),
        ("excludedResources", ["pods"], "excluded_resources"),
        ("namespaceMapping", {"a": "b"}, "namespace_mapping"),
        ("labelSelector", {"matchLabels": {"a": "b"}}, "selector"),
        ("orLabelSelectors", [{"matchLabels": {"a": "b"}}], "or_selectors"),
        ("restorePVs", False, "restore_volumes"),
        ("includeClusterResources", False, "include_cluster_resources"),
        ("preserveNodePorts", True, "preserve_node_ports"),
        ("existingResourcePolicy", "update", "existing_resource_policy"),
        ("restoreStatus", {"includedResources": ["pods"]}, "restore_status"),
        ("resourceModifier", {"kind": "configmap", "name": "x"}, "resource_modifier_configmap"),
        ("uploaderConfig", {"writeSparseFiles": True}, "write_sparse_files"),
        ("hooks", {"resources": [{"name": "x"}]}, "hooks"),
    ],
)
def test_a_left_out_option_is_compared_as_what_velero_does_without_it(field: str, value: Any, option: str) -> None:
    base = {"backupName": "b"}
    assert restore_options.differing(base | {field: value}, FILLED_IN) == [option]
    assert restore_options.differing(base, FILLED_IN | {field: value}) == [option]
    assert restore_options.differing(base | {field: value}, base | {field: value}) == []


def test_an_operation_timeout_is_compared_only_when_it_is_given() -> None:
    assert restore_options.differing({"backupName": "b", "itemOperationTimeout": "1h0m0s"}, FILLED_IN) == ["item_operation_timeout"]


def test_orders_of_lists_do_not_matter() -> None:
    assert (
        restore_options.differing({"backupName": "b", "includedNamespaces": ["a", "c"]}, {"backupName": "b", "includedNamespaces": ["c", "a"]}) == []
    )


@pytest.mark.parametrize(
    ("included", "excluded", "comes"),
    [
        (None, None, True),
        (["*"], None, True),
        (["pods", "persistentvolumeclaims", "persistentvolumes"], None, True),
        (["pods", "pvc", "pv"], None, True),
        (["pods", "persistentvolumeclaims"], None, False),
        (["persistentvolumeclaims", "persistentvolumes"], None, False),
        (None, ["persistentvolumes"], False),
        (None, ["deployments"], True),
    ],
)
def test_volume_data_comes_with_pods_claims_and_volumes_only(included: list[str] | None, excluded: list[str] | None, comes: bool) -> None:
    spec = {"includedResources": included, "excludedResources": excluded}
    assert restore_options.takes_volume_data(spec) is comes


def test_excluded_volumes_are_patterns() -> None:
    assert restore_options.is_excluded("app", "cache-1", ["app/cache-*"])
    assert not restore_options.is_excluded("app", "data", ["app/cache-*", "other/*"])


def test_texts() -> None:
    assert restore_options.texts({"a": True, "b": 1, "c": "x"}) == {"a": "true", "b": "1", "c": "x"}
