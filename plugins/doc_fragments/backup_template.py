# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that say what a backup holds, shared by the modules that make backups."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of the template of a backup."""

    DOCUMENTATION = r"""
options:
  included_namespaces:
    description: Namespaces whose objects are backed up. Left out, or V(*), means all.
    type: list
    elements: str
    version_added: 0.1.0
  excluded_namespaces:
    description: Namespaces that are left out.
    type: list
    elements: str
    version_added: 0.1.0
  included_resources:
    description: Kinds of objects that are backed up, as in V(pods) or V(deployments.apps). Left out, or V(*), means all.
    type: list
    elements: str
    version_added: 0.1.0
  excluded_resources:
    description: Kinds of objects that are left out.
    type: list
    elements: str
    version_added: 0.1.0
  included_cluster_scoped_resources:
    description: Kinds without a namespace that are backed up. Excludes O(included_resources), O(excluded_resources) and O(include_cluster_resources).
      From Velero 1.11.
    type: list
    elements: str
    version_added: 0.1.0
  excluded_cluster_scoped_resources:
    description: Kinds without a namespace that are left out. From Velero 1.11.
    type: list
    elements: str
    version_added: 0.1.0
  included_namespace_scoped_resources:
    description: Kinds with a namespace that are backed up. From Velero 1.11.
    type: list
    elements: str
    version_added: 0.1.0
  excluded_namespace_scoped_resources:
    description: Kinds with a namespace that are left out. From Velero 1.11.
    type: list
    elements: str
    version_added: 0.1.0
  include_cluster_resources:
    description:
      - Whether objects without a namespace are backed up.
      - Left out, Velero takes those that belong to what is backed up, such as the volumes of claims.
    type: bool
    version_added: 0.1.0
  selector:
    description: Label selector of the objects that are backed up, as for kubectl. Excludes O(or_selectors).
    type: str
    version_added: 0.1.0
  or_selectors:
    description: Label selectors of which one has to match. From Velero 1.9.
    type: list
    elements: str
    version_added: 0.1.0
  ordered_resources:
    description: For a kind, the objects that come first and in which order, as a list of C(namespace/name).
    type: dict
    version_added: 0.1.0
  snapshot_volumes:
    description: Whether snapshots of volumes are made. Left out, Velero makes them where it can.
    type: bool
    version_added: 0.1.0
  default_volumes_to_fs_backup:
    description:
      - Whether the files of all volumes of pods are copied, except those that a pod's annotation C(backup.velero.io/backup-volumes-excludes) names.
      - With V(false) only those that a pod's annotation C(backup.velero.io/backup-volumes) names. Left out, the server's own default.
      - Up to Velero 1.9 it is called C(defaultVolumesToRestic), which is then used.
    type: bool
    version_added: 0.1.0
  snapshot_move_data:
    description: Whether CSI snapshots are copied into the store. From Velero 1.12.
    type: bool
    version_added: 0.1.0
  data_mover:
    description: What copies CSI snapshots into the store. Left out, Velero itself. From Velero 1.12.
    type: str
    version_added: 0.1.0
  storage_location:
    description: Name of the storage location. Left out, the default one.
    type: str
    version_added: 0.1.0
  volume_snapshot_locations:
    description: Names of the snapshot locations, at most one for each provider.
    type: list
    elements: str
    version_added: 0.1.0
  ttl:
    description: Time for which a backup is kept, such as V(720h). Left out, the server's own default of 30 days.
    type: str
    version_added: 0.1.0
  csi_snapshot_timeout:
    description: Longest time until a CSI snapshot is made, such as V(10m). From Velero 1.9.
    type: str
    version_added: 0.1.0
  item_operation_timeout:
    description: Longest time for what plugins do after the backup of the objects, such as V(4h). From Velero 1.11.
    type: str
    version_added: 0.1.0
  resource_policies_configmap:
    description: Name of a ConfigMap in the namespace of Velero with policies for volumes. From Velero 1.11.
    type: str
    version_added: 0.1.0
  parallel_files_upload:
    description: How many files of a volume are uploaded at once. From Velero 1.13.
    type: int
    version_added: 0.1.0
  volume_group_snapshot_label_key:
    description: Key of the label by which volumes are grouped for a snapshot. From Velero 1.17.
    type: str
    version_added: 0.1.0
  hooks:
    description: Commands that are run in pods before and after their backup, as in the C(hooks) of the API.
    type: dict
    version_added: 0.1.0
"""
