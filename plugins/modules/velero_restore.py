#!/usr/bin/python
# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: velero_restore
short_description: Restore a Velero backup, and prove that everything came back
version_added: 0.1.0
author:
  - serverops.circleci contributors (@serverops)
description:
  - Makes a C(Restore) of Velero once under its name, waits for its end, and proves what it brought back.
  - Before anything is written it looks whether the backup is complete, unexpired and readable, whether it has a copy of every volume, whether
    Velero's server answers, and whether something is in the way in the namespaces that are restored into. Velero itself checks little of this.
  - A task with O(state=present) succeeds only when the restore is C(Completed), every volume that the backup has for it was restored to the
    end, every claim that it made is bound, and every workload that it made is available.
  - A restore of the same name that runs is joined. One that is finished and good is left alone. Any other one is an error, because a restore
    cannot be changed.
  - An option that is left out is compared as what Velero does without it.
options:
  name:
    description: Name of the restore.
    type: str
    required: true
    version_added: 0.1.0
  namespace:
    description: The namespace that Velero runs in.
    type: str
    default: velero
    version_added: 0.1.0
  state:
    description:
      - With V(present) the restore was made and is good.
      - With V(absent) the C(Restore) object is gone, with its log and results in the store. What it restored stays. It fails while Velero works on
        it. From Velero 1.12 on this needs a running server and an available location.
    type: str
    choices: [present, absent]
    default: present
    version_added: 0.1.0
  backup_name:
    description: Name of the backup. Needed with O(state=present), unless O(schedule_name) is given.
    type: str
    version_added: 0.1.0
  schedule_name:
    description: Name of a schedule of which the newest good backup is restored. A restore that exists keeps the backup that it was made from.
    type: str
    version_added: 0.1.0
  included_namespaces:
    description: Namespaces of the backup to restore. All of them without it.
    type: list
    elements: str
    version_added: 0.1.0
  excluded_namespaces:
    description: Namespaces of the backup to leave out.
    type: list
    elements: str
    version_added: 0.1.0
  included_resources:
    description:
      - Kinds to restore, as in V(deployments.apps). All of them without it.
      - File-system backups of volumes come back only when C(pods), C(persistentvolumeclaims) and C(persistentvolumes) are all among them.
    type: list
    elements: str
    version_added: 0.1.0
  excluded_resources:
    description: Kinds to leave out.
    type: list
    elements: str
    version_added: 0.1.0
  namespace_mapping:
    description: Namespaces of the backup, each with the one to restore it into. Others keep their name.
    type: dict
    version_added: 0.1.0
  selector:
    description: Label selector, as for kubectl, of what to restore.
    type: str
    version_added: 0.1.0
  or_selectors:
    description: Label selectors of which one has to match what is restored. Needs Velero 1.9.
    type: list
    elements: str
    version_added: 0.1.0
  restore_volumes:
    description: Whether volumes are restored from snapshots. With V(false) no volume has to come back.
    type: bool
    version_added: 0.1.0
  include_cluster_resources:
    description: Whether objects without a namespace are restored. Left out, those that belong to what is restored.
    type: bool
    version_added: 0.1.0
  preserve_node_ports:
    description: Whether Services keep their node ports.
    type: bool
    version_added: 0.1.0
  existing_resource_policy:
    description: What Velero does with objects that exist and differ, V(none) keeps and V(update) patches them. Needs Velero 1.9.
    type: str
    choices: [none, update]
    version_added: 0.1.0
  restore_status:
    description: Kinds whose C(status) is restored too. Needs Velero 1.9.
    type: dict
    version_added: 0.1.0
    suboptions:
      included_resources:
        description: Kinds whose status is restored.
        type: list
        elements: str
        version_added: 0.1.0
      excluded_resources:
        description: Kinds whose status is not restored.
        type: list
        elements: str
        version_added: 0.1.0
  resource_modifier_configmap:
    description: Name of a ConfigMap in O(namespace) with rules by which Velero changes objects. Needs Velero 1.12.
    type: str
    version_added: 0.1.0
  item_operation_timeout:
    description: How long Velero waits for the operations of plugins, as in V(4h). Needs Velero 1.11.
    type: str
    version_added: 0.1.0
  write_sparse_files:
    description: Whether files are restored sparse. Needs Velero 1.13.
    type: bool
    version_added: 0.1.0
  parallel_files_download:
    description: How many files of a volume are restored at once. Needs Velero 1.14.
    type: int
    version_added: 0.1.0
  hooks:
    description: Hooks to run in restored pods, as in the API.
    type: dict
    version_added: 0.1.0
  labels:
    description: Labels of the C(Restore) object. Set when it is made, not compared.
    type: dict
    version_added: 0.1.0
  annotations:
    description: Annotations of the C(Restore) object. Set when it is made, not compared.
    type: dict
    version_added: 0.1.0
  allow_partially_failed:
    description: Whether a backup that is C(PartiallyFailed) may be restored. Something is missing in it.
    type: bool
    default: false
    version_added: 0.1.0
  uncovered_volumes:
    description: What to do when the backup has no copy of a claim's data. V(warn) restores what there is.
    type: str
    choices: [fail, warn]
    default: fail
    version_added: 0.1.0
  excluded_volumes:
    description: Claims that need no copy, as C(namespace/claim) of the backup, where V(*) stands for any text.
    type: list
    elements: str
    default: []
    version_added: 0.1.0
  existing_claims:
    description:
      - What to do when a claim of the backup exists already where it is restored to. Velero keeps what exists, so its data would stay, or be mixed
        with those of the backup.
      - V(keep) restores all the same.
    type: str
    choices: [fail, keep]
    default: fail
    version_added: 0.1.0
  workloads:
    description:
      - Whether to wait until every Deployment, StatefulSet and DaemonSet that the restore made is available. V(ignore) only tells their state.
    type: str
    choices: [wait, ignore]
    default: wait
    version_added: 0.1.0
  timeout:
    description: Seconds that the whole task may take, waiting included.
    type: int
    default: 3600
    version_added: 0.1.0
extends_documentation_fragment:
  - serverops.circleci.kubernetes
  - serverops.circleci.attributes
  - serverops.circleci.attributes.action_group
  - serverops.circleci.attributes.ways
attributes:
  check_mode:
    support: full
    details: Where Velero or the backup is not there yet, it says what it would do and warns.
  diff_mode:
    support: full
  idempotent:
    support: full
  async:
    support: full
  platform:
    support: full
    platforms: posix
  action_group:
    support: full
    membership:
      - serverops.circleci.all
notes:
  - A server that stops in the middle marks the restore as failed when it starts again, from Velero 1.9 on. Up to 1.8 it forgets it, and the task says
    so instead of waiting for ever.
  - Deleting a backup deletes its restores too, also one that runs. What was restored stays.
seealso:
  - module: serverops.circleci.velero_restore_info
  - module: serverops.circleci.velero_info
"""

EXAMPLES = r"""
- name: Bring an installation back that is gone
  serverops.circleci.velero_restore:
    kubeconfig: "{{ kubeconfig }}"
    name: after-the-loss
    backup_name: "{{ backup }}"
    included_namespaces: [circleci-server]

- name: Look into the newest good backup of a schedule, in a namespace of its own
  serverops.circleci.velero_restore:
    kubeconfig: "{{ kubeconfig }}"
    name: drill
    schedule_name: nightly
    namespace_mapping:
      circleci-server: drill
    excluded_resources: [services, ingresses.networking.k8s.io, cronjobs.batch]
    workloads: ignore
    timeout: 1800

- name: Forget the drill's restore
  serverops.circleci.velero_restore:
    kubeconfig: "{{ kubeconfig }}"
    name: drill
    state: absent
"""

RETURN = r"""
restore:
  description: The restore, and what it brought back. None when it is absent.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: after-the-loss
    namespace:
      description: Its namespace.
      type: str
      sample: velero
    backup:
      description: The backup that it is made from.
      type: str
      sample: nightly-20261121030000
    phase:
      description: What Velero says of it.
      type: str
      sample: Completed
    good:
      description: Whether everything that the backup has for it came back. None where that is not known, such as in check mode.
      type: bool
      sample: true
    verdict:
      description: Why it is not good, in one sentence; empty when it is.
      type: str
      sample: ""
    created:
      description: When the object was made.
      type: str
      sample: "2026-11-21T23:15:02Z"
    started:
      description: When Velero began.
      type: str
      sample: "2026-11-21T23:15:02Z"
    completed:
      description: When Velero ended.
      type: str
      sample: "2026-11-21T23:16:40Z"
    duration:
      description: Seconds from begin to end.
      type: int
      sample: 98
    progress:
      description: How many objects are restored, of how many.
      type: dict
      sample: {done: 120, total: 120}
    errors:
      description: How many errors Velero counts.
      type: int
      sample: 0
    warnings:
      description: How many warnings Velero counts. One about C(kube-root-ca.crt) is normal from 1.10 on.
      type: int
      sample: 1
    validation_errors:
      description: Why Velero refused it.
      type: list
      elements: str
      sample: []
    failure_reason:
      description: Why it failed, in Velero's words.
      type: str
      sample: null
    results:
      description: The errors and warnings in words, where the store could be reached; None where not.
      type: dict
      sample: {errors: [], warnings: ["circleci-server: could not restore, ConfigMap kube-root-ca.crt already exists"]}
    volumes:
      description: The volumes, each with C(namespace), C(pod), C(volume), C(claim), C(phase), C(bytes), C(total), C(node) and C(message).
      type: list
      elements: dict
      sample: []
    claims:
      description:
        - The claims that it made, each with C(namespace), C(name), C(phase), C(volume), and C(waits), which tells that it gets its volume with the
          first pod that uses it.
      type: list
      elements: dict
      sample: []
    workloads:
      description: The workloads that it made, each with C(kind), C(namespace), C(name), C(ready), C(wanted), C(available) and C(reason).
      type: list
      elements: dict
      sample: []
    namespaces:
      description: The namespaces of the backup, each with the one that it was restored into.
      type: dict
      sample: {circleci-server: circleci-server}
requests:
  description: Method and path of every write that was done, or in check mode would be done.
  returned: always
  type: list
  elements: dict
  sample: [{method: POST, path: /apis/velero.io/v1/namespaces/velero/restores}]
waited:
  description: Seconds until the restore was seen to be good, and the state last seen.
  returned: when something was changed
  type: dict
  sample: {seconds: 98.2, last: "phase Completed, 120 of 120 objects, 6 of 6 volumes (1.2 GB of 1.2 GB); everything is available"}
ran:
  description: Where the task ran, C(controller) or C(module).
  returned: always
  type: str
  sample: controller
"""

from ansible_collections.serverops.circleci.plugins.module_utils._core.ansible_module import run_module
from ansible_collections.serverops.circleci.plugins.module_utils._velero.restore import DEFINITION


def main() -> None:
    """Run the module."""
    run_module(DEFINITION)


if __name__ == "__main__":
    main()
