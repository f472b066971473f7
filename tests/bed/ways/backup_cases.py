# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What velero_backup and velero_backup_info are tried with: right values of every option, and wrong ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.bed.ways.world import World

BACKUP, BACKUPS = "velero_backup", "velero_backup_info"
SMALL: dict[str, Any] = {"included_namespaces": ["default"], "included_resources": ["configmaps"], "timeout": 60}
"""Of a backup without volumes, which takes a second."""
HOOKS = {"resources": [{"name": "ways", "includedNamespaces": ["default"], "pre": [{"exec": {"command": ["true"]}}]}]}

CHECKED: dict[str, dict[str, Any]] = {
    "whole": {
        "excluded_namespaces": ["kube-system"],
        "included_resources": ["pods", "configmaps"],
        "excluded_resources": ["events"],
        "include_cluster_resources": True,
        "selector": "app=ways,tier notin (cache)",
        "ordered_resources": {"pods": ["default/one", "default/two"]},
        "snapshot_volumes": True,
        "default_volumes_to_fs_backup": True,
        "snapshot_move_data": True,
        "data_mover": "velero",
        "storage_location": "default",
        "volume_snapshot_locations": ["ways"],
        "ttl": "72h",
        "csi_snapshot_timeout": "5m",
        "item_operation_timeout": "1h",
        "resource_policies_configmap": "ways",
        "parallel_files_upload": 2,
        "volume_group_snapshot_label_key": "ways/group",
        "hooks": HOOKS,
        "labels": {"ways": True},
        "annotations": {"ways": "yes"},
    },
    "by-scope": {
        "included_cluster_scoped_resources": ["storageclasses"],
        "excluded_cluster_scoped_resources": ["nodes"],
        "included_namespace_scoped_resources": ["configmaps"],
        "excluded_namespace_scoped_resources": ["events"],
        "or_selectors": ["app=ways", "!old"],
        "included_resources": None,
    },
    "off": {
        "include_cluster_resources": False,
        "snapshot_volumes": False,
        "default_volumes_to_fs_backup": False,
        "snapshot_move_data": False,
        "uncovered_volumes": "fail",
    },
    "to-nowhere": {"storage_location": "ways-nowhere"},
    "of-nobody": {"included_namespaces": ["ways-nobody"]},
    "before-velero": {"namespace": "ways-nobody"},
}
"""By name what a backup is asked for in check mode, on top of a small one; None leaves an option out."""


def backup_tasks(world: World) -> Iterator[tuple[str, dict[str, Any], dict[str, Any] | None, bool]]:
    """Yield (name of the case, options, those of a task that comes before, whether it only checks)."""
    for name, over in CHECKED.items():
        yield f"check-{name}", world.velero.options(**{"name": f"ways-check-{name}", **SMALL, **over}), None, True
    small = world.velero.options(**SMALL)
    yield "made", {**small, "name": "ways-made", "labels": {"ways": "yes"}, "ttl": "1h"}, None, False
    yield "other", {**small, "name": "ways-made", "included_resources": ["secrets"]}, None, False
    yield "present", {**small, "name": "ways-warned", "state": "present", "uncovered_volumes": "warn", "excluded_volumes": ["default/*"]}, None, False
    asked = {"newer_than": "1h", "name_prefix": "ways-young", "selector": "ways=young"}
    yield "newer-than", {**small, **asked}, None, False
    yield "newer-than-again", {**small, **asked}, None, False
    yield "refused", {**small, "name": "ways-refused", "volume_snapshot_locations": ["ways-nowhere"]}, None, False
    yield "nowhere", {**small, "name": "ways-nowhere", "storage_location": "ways-nowhere"}, None, False
    yield "removed", world.velero.options(name="ways-removed", state="absent"), {**small, "name": "ways-removed"}, False


def info_tasks(world: World) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name of the case, options) of velero_backup_info; they come after the backups."""
    yield "made", world.velero.options(name="ways-made", gather=["volumes", "results"])
    yield "log", world.velero.options(name="ways-never-made", gather=["log"])
    yield (
        "some",
        world.velero.options(
            storage_location="default", included_namespace="default", phases=["Failed"], newest=1, schedule="ways", excluded_volumes=["default/*"]
        ),
    )
    yield "nobody", world.velero.options(namespace="ways-nobody")


def wrong_backups() -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Yield (option, options to set, options to leave out) of velero_backup that have the right type and cannot work."""
    yield "name", {"name": "Not_A_Name"}, ()
    yield "name", {}, ("name",)
    yield "name", {"state": "absent", "newer_than": "1h"}, ("name",)
    yield "newer_than", {"newer_than": "1h"}, ()
    yield "newer_than", {"newer_than": "a day"}, ("name",)
    yield "newer_than", {"newer_than": "0"}, ("name",)
    yield "name_prefix", {"newer_than": "1h", "name_prefix": "Not_A_Name"}, ("name",)
    yield from wrong_templates()
    yield "labels", {"labels": {"velero.io/ways": "x"}}, ()
    yield "labels", {"labels": {"ways": "not a value!"}}, ()
    yield "annotations", {"annotations": {"not a name": "x"}}, ()
    yield "excluded_volumes", {"excluded_volumes": ["data"]}, ()
    there = {"storage_location": "ways-nowhere"}
    yield "storage_location", there, ()


def wrong_templates() -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Yield the same of the options that say what a backup holds."""
    yield "included_namespaces", {"included_namespaces": ["Not A Name"]}, ()
    yield "excluded_namespaces", {"excluded_namespaces": ["default"]}, ()
    yield "included_resources", {"included_resources": ["not a kind"]}, ()
    yield "included_cluster_scoped_resources", {"included_resources": ["pods"], "included_cluster_scoped_resources": ["nodes"]}, ()
    yield "selector", {"selector": "app in ways"}, ()
    yield "or_selectors", {"selector": "app=ways", "or_selectors": ["app=ways"]}, ()
    yield "ordered_resources", {"ordered_resources": {"pods": "a b"}}, ()
    yield "data_mover", {"data_mover": " "}, ()
    yield "storage_location", {"storage_location": "Not_A_Name"}, ()
    yield "volume_snapshot_locations", {"volume_snapshot_locations": ["Not_A_Name"]}, ()
    for option in ("ttl", "csi_snapshot_timeout", "item_operation_timeout"):
        yield option, {option: "often"}, ()
        yield option, {option: "0"}, ()
    yield "resource_policies_configmap", {"resource_policies_configmap": "Not_A_Name"}, ()
    yield "parallel_files_upload", {"parallel_files_upload": 0}, ()
    yield "volume_group_snapshot_label_key", {"volume_group_snapshot_label_key": "not a key"}, ()
    yield "hooks", {"hooks": {"colour": "blue"}}, ()


def wrong_infos() -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Yield the same of velero_backup_info."""
    for option in ("name", "schedule", "storage_location", "included_namespace"):
        yield option, {option: "Not_A_Name"}, ()
    yield "newest", {"newest": 0}, ()
    yield "excluded_volumes", {"excluded_volumes": ["data"]}, ()
