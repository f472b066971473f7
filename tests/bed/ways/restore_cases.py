# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What velero_restore, velero_restore_info and velero_schedule are tried with, right and wrong, and the small backup that restores are made from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.bed.conftest import InstalledVelero
from tests.bed.ways.backup_cases import wrong_templates
from tests.bed.ways.world import World
from tests.plays.in_process import DEFINITIONS

RESTORE, RESTORES, SCHEDULE = "velero_restore", "velero_restore_info", "velero_schedule"
SOURCE, COPY, BACKUP = "ways-app", "ways-copy", "ways-source"
"""The namespace that is backed up, the one that it is restored into, and the backup. It has no volumes, so a restore takes a second."""

Tried = tuple[str, dict[str, Any], bool]
"""A name, options on top of right ones (None leaves one out), and whether it is only checked."""


def make_source(velero: InstalledVelero) -> None:
    """Make the namespace and its backup, unless they are there."""
    if velero.bed.kubectl("-n", velero.namespace, "get", "backups.velero.io", BACKUP, "--ignore-not-found", "-o", "name").strip():
        return
    about = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SOURCE}}
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": SOURCE, "labels": {"app": "ways"}},
        "data": {"a": "b"},
    }
    velero.bed.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [about, settings]}))
    velero.velero.cli("backup", "create", BACKUP, "--include-namespaces", SOURCE, "--wait", timeout=200)


def restore_options(world: World, name: str, **over: Any) -> dict[str, Any]:
    """Return the options of a right restore of the small backup.

    With a selector: the ConfigMap that Kubernetes puts into every namespace would be there or not, and be warned of or not.
    """
    return world.velero.options(**{"name": name, "backup_name": BACKUP, "namespace_mapping": {SOURCE: COPY}, "selector": "app=ways", **over})


def schedule_options(world: World, name: str, **over: Any) -> dict[str, Any]:
    """Return the options of a right schedule."""
    return world.velero.options(**{"name": name, "schedule": "0 3 1 1 *", "included_namespaces": ["default"], **over})


def tried_restores(world: World) -> Iterator[Tried]:
    """Yield what velero_restore is tried with. Most is only checked: what it would do is told, and the guards run."""
    yield "made", {}, False
    yield "some", {"included_namespaces": [SOURCE], "included_resources": ["configmaps"], "labels": {"a": True}, "annotations": {"b": 1}}, False
    yield "updating", {"workloads": "ignore", "existing_resource_policy": "update"}, False
    yield "without", {"excluded_namespaces": ["other"], "excluded_resources": ["secrets"], "item_operation_timeout": "1h"}, False
    yield "nobody", {"backup_name": "ways-nobody"}, False
    yield "schedule", {"backup_name": None, "schedule_name": "ways-nobody"}, True
    yield "elsewhere", {"namespace": "ways-nobody"}, True
    for number, value in enumerate((True, False), 1):
        switches = ("restore_volumes", "include_cluster_resources", "preserve_node_ports", "write_sparse_files", "allow_partially_failed")
        yield f"switches-{number}", dict.fromkeys(switches, value), True
    yield "more", {"selector": None, "or_selectors": ["app=ways", "app=other"], "parallel_files_download": 2, "hooks": {"resources": []}}, True
    yield "rules", {"resource_modifier_configmap": "ways-rules", "restore_status": {"included_resources": ["a"], "excluded_resources": ["b"]}}, True
    yield "policies", {"uncovered_volumes": "warn", "excluded_volumes": ["a/*"], "existing_claims": "keep", "workloads": "wait"}, True
    yield "defaults", {"uncovered_volumes": "fail", "existing_claims": "fail", "existing_resource_policy": "none", "state": "present"}, True


def tried_schedules(world: World) -> Iterator[Tried]:
    """Yield what velero_schedule is tried with."""
    yield "made", {"labels": {"a": True}, "annotations": {"b": 1}, "state": "present"}, False
    yield "paused", {"paused": True, "use_owner_references_in_backup": True, "skip_immediately": True}, False
    yield "running", {"paused": False, "use_owner_references_in_backup": False, "skip_immediately": False}, False
    yield "elsewhere", {"namespace": "ways-nobody"}, True
    yield "wrong-time", {"schedule": "0 3 * * 7"}, False
    yield "nowhere", {"storage_location": "ways-nowhere"}, False
    yield from tried_templates()


def tried_templates() -> Iterator[Tried]:
    """Yield what the options of a backup's template are tried with in a schedule."""
    for number, value in enumerate((True, False), 1):
        switches = ("include_cluster_resources", "snapshot_volumes", "default_volumes_to_fs_backup", "snapshot_move_data")
        yield f"switches-{number}", dict.fromkeys(switches, value), False
    yield "old-filters", {"excluded_namespaces": ["b"], "included_resources": ["pods"], "excluded_resources": ["secrets"], "selector": "a=b"}, False
    cluster = {"included_cluster_scoped_resources": ["namespaces"], "excluded_cluster_scoped_resources": ["nodes"]}
    inside = {"included_namespace_scoped_resources": ["pods"], "excluded_namespace_scoped_resources": ["secrets"]}
    yield "new-filters", {**cluster, **inside, "or_selectors": ["a=b", "c=d"]}, False
    yield "times", {"ttl": "24h", "csi_snapshot_timeout": "20m", "item_operation_timeout": "2h", "parallel_files_upload": 2}, False
    yield "places", {"storage_location": "default", "volume_snapshot_locations": ["ways-shots"], "resource_policies_configmap": "ways-rules"}, False
    yield "rest", {"data_mover": "velero", "volume_group_snapshot_label_key": "ways", "hooks": {"resources": []}}, False
    yield "order", {"ordered_resources": {"pods": ["default/a", "default/b"]}}, False


def tried_lists(world: World) -> Iterator[Tried]:
    """Yield what velero_restore_info is tried with."""
    yield "everything", {}, False
    yield "one", {"name": "ways-nobody"}, False
    yield "of-backup", {"backup_name": "ways-nobody", "newest": 2}, False
    for choice in DEFINITIONS[RESTORES].arguments["gather"]["choices"]:
        yield f"gather-{choice}", {"gather": [choice], "newest": 1}, False
    yield "elsewhere", {"namespace": "ways-no-velero"}, False


def bad_restores() -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Yield (option, options to set, options to leave out) of restores that have the right types and cannot work."""
    yield "name", {"name": "Not_A_Name"}, ()
    yield "backup_name", {"backup_name": "Not_A_Name"}, ()
    yield "backup_name", {}, ("backup_name",)
    yield "schedule_name", {"schedule_name": "nightly"}, ()
    yield "schedule_name", {"schedule_name": "Not_A_Name"}, ("backup_name",)
    for kind in ("namespaces", "resources"):
        yield f"included_{kind}", {f"included_{kind}": ["a", "*"]}, ()
        yield f"excluded_{kind}", {f"excluded_{kind}": ["*"]}, ()
        yield f"excluded_{kind}", {f"included_{kind}": ["a"], f"excluded_{kind}": ["a"]}, ()
    yield "included_resources", {"included_resources": ["nodes"]}, ()
    yield "namespace_mapping", {"namespace_mapping": {"a": "Not A Name"}}, ()
    yield "namespace_mapping", {"namespace_mapping": {"a": "c", "b": "c"}}, ()
    yield "selector", {"selector": "a=b=c"}, ()
    yield "or_selectors", {"or_selectors": ["a=b=c"]}, ("selector",)
    yield "or_selectors", {"or_selectors": ["a=b"]}, ()
    yield "item_operation_timeout", {"item_operation_timeout": "long"}, ()
    yield "parallel_files_download", {"parallel_files_download": 0}, ()
    yield "resource_modifier_configmap", {"resource_modifier_configmap": "Not A Name"}, ()
    yield "excluded_volumes", {"excluded_volumes": ["data"]}, ()
    for kind in ("labels", "annotations"):
        yield f"{kind}.a", {kind: {"a": {"b": "c"}}}, ()
    yield "hooks", {"hooks": {"resource": []}}, ()


def bad_schedules() -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Yield the same of schedules."""
    yield "name", {"name": "Not_A_Name"}, ()
    for text in ("", "0 3 * *", "0 3 * * 7", "0 0 30 2 *", "@nightly", "@every soon", "CRON_TZ=Nowhere/Atall 0 3 * * *"):
        yield "schedule", {"schedule": text}, ()
    yield "schedule", {}, ("schedule",)
    for kind in ("labels", "annotations"):
        yield f"{kind}.a", {kind: {"a": {"b": "c"}}}, ()
    yield from wrong_templates()


def bad_lists() -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Yield the same of velero_restore_info."""
    yield "name", {"name": "Not_A_Name"}, ()
    yield "backup_name", {"backup_name": "Not_A_Name"}, ()
    yield "newest", {"newest": 0}, ()
