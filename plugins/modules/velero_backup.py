#!/usr/bin/python
# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: velero_backup
short_description: Make a backup with Velero, and prove that it holds what it has to hold
version_added: 0.1.0
author:
  - serverops.circleci contributors (@serverops)
description:
  - Makes a C(Backup) of Velero, or finds one that is new enough, waits until Velero is done with it, and judges it.
  - A task with O(state=present) succeeds only for a good backup. It is C(Completed), without errors, still in the store, and each persistent volume
    claim in it has a finished copy of its data. A backup that says C(Completed) may hold a claim without its data, because Velero copies files only
    for running pods that ask for it, and leaves the others out without a warning.
  - A backup that is under way is joined and not made twice, so a task that was interrupted can be run again.
options:
  name:
    description: Name of the backup. One of this name that is good and holds what is asked for is left alone. Needed with O(state=absent).
    type: str
    version_added: 0.1.0
  newer_than:
    description:
      - Longest age of a backup that is good enough, such as V(24h), by the API server's clock and the time at which it was completed.
      - A good backup of any name that is that new and holds what is asked for is left alone. One that is under way is joined.
        Otherwise a new one is made.
    type: str
    version_added: 0.1.0
  name_prefix:
    description: With O(newer_than), the first part of the name of a new backup. A hyphen and the API server's time follow.
    type: str
    default: backup
    version_added: 0.1.0
  namespace:
    description: The namespace that Velero runs in.
    type: str
    default: velero
    version_added: 0.1.0
  state:
    description:
      - With V(present) there is such a backup, and it is good.
      - With V(absent) the backup is gone from cluster and store, and the Restore objects made from it with it. It is removed by a
        C(DeleteBackupRequest). Only a backup of which nothing is in the store, because Velero refused it or its name was taken there,
        is removed directly.
    type: str
    choices: [present, absent]
    default: present
    version_added: 0.1.0
  labels:
    description: Labels of a new backup.
    type: dict
    version_added: 0.1.0
  annotations:
    description: Annotations of a new backup.
    type: dict
    version_added: 0.1.0
  uncovered_volumes:
    description:
      - What to do when a claim in the backup has no finished copy of its data, or when that cannot be known.
      - With V(warn) the task warns and succeeds, and the result says what is missing.
    type: str
    choices: [fail, warn]
    default: fail
    version_added: 0.1.0
  excluded_volumes:
    description: Claims that need no copy, as C(namespace/claim). Patterns of a shell may be used, as in V(app/cache-*).
    type: list
    elements: str
    default: []
    version_added: 0.1.0
  timeout:
    description: Seconds that the whole task may take, waiting included. The backup itself goes on when they are over.
    type: int
    default: 3600
    version_added: 0.1.0
extends_documentation_fragment:
  - serverops.circleci.backup_template
  - serverops.circleci.kubernetes
  - serverops.circleci.attributes
  - serverops.circleci.attributes.action_group
  - serverops.circleci.attributes.ways
attributes:
  check_mode:
    support: full
    details: The name of a backup that would be made for O(newer_than) has the time in it, so the real run takes another one.
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
  - Which claims a backup holds is read from the store, through an address that Velero signs. Where that address cannot be reached from the machine
    that the task runs on, the claims in the cluster are taken instead, and a warning says so.
  - A claim that was never bound to a volume has no data, and needs no copy.
  - A field that the installed custom resource definition lacks would be dropped by the API server without a word. The task refuses it.
seealso:
  - module: serverops.circleci.velero_backup_info
  - module: serverops.circleci.velero_storage_location
"""

EXAMPLES = r"""
- name: Back up one namespace, the files of all its volumes included
  serverops.circleci.velero_backup:
    kubeconfig: "{{ kubeconfig }}"
    name: before-upgrade
    included_namespaces: [circleci-server]
    default_volumes_to_fs_backup: true
    ttl: 720h
  register: made

- name: Have a good backup of today, whoever made it
  serverops.circleci.velero_backup:
    kubeconfig: "{{ kubeconfig }}"
    newer_than: 24h
    name_prefix: daily
    included_namespaces: [circleci-server]
    excluded_volumes: [circleci-server/cache-*]

- name: Remove it from cluster and store
  serverops.circleci.velero_backup:
    kubeconfig: "{{ kubeconfig }}"
    name: before-upgrade
    state: absent
"""

RETURN = r"""
backup:
  description:
    - The backup. None when it is absent.
    - In check mode, of a backup that would be made, only its name, namespace and template.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: before-upgrade
    namespace:
      description: Its namespace.
      type: str
      sample: velero
    phase:
      description: What Velero says of it.
      type: str
      sample: Completed
    good:
      description: Whether a restore of it would bring back all that is in its scope. None when that cannot be known.
      type: bool
      sample: true
    verdict:
      description: Why it is not good, or what is missing to know it. Empty for a good one.
      type: str
      sample: ""
    created:
      description: When the object was made.
      type: str
      sample: "2026-11-21T23:15:00Z"
    started:
      description: When Velero began with it.
      type: str
      sample: "2026-11-21T23:15:00Z"
    completed:
      description: When Velero was done with it.
      type: str
      sample: "2026-11-21T23:15:12Z"
    expires:
      description: When Velero removes it.
      type: str
      sample: "2026-12-21T23:15:00Z"
    duration:
      description: Seconds that Velero worked on it.
      type: int
      sample: 12
    age:
      description: Seconds since it was completed, by the API server's clock.
      type: int
      sample: 0
    storage_location:
      description: Its storage location.
      type: str
      sample: default
    schedule:
      description: The Schedule that made it, none for one made by hand.
      type: str
    template:
      description: What it was asked to hold, in the words of the options, with what the server filled in.
      type: dict
      sample: {included_namespaces: [app], ttl: 720h0m0s, storage_location: default}
    labels:
      description: Its labels.
      type: dict
      sample: {velero.io/storage-location: default}
    annotations:
      description: Its annotations.
      type: dict
      sample: {velero.io/resource-timeout: 10m0s}
    progress:
      description: How many objects it holds, and of how many.
      type: dict
      sample: {done: 20, total: 20}
    errors:
      description: How many errors Velero counted.
      type: int
      sample: 0
    warnings:
      description: How many warnings Velero counted.
      type: int
      sample: 0
    validation_errors:
      description: Why Velero refused it.
      type: list
      elements: str
      sample: []
    failure_reason:
      description: Why Velero gave up, none if it did not.
      type: str
    volumes:
      description: The copies of volumes. C(method) is one of V(fs_backup), V(snapshot), V(csi_snapshot), V(data_upload).
      type: list
      elements: dict
      sample:
        - {namespace: app, pod: app-0, volume: data, claim: data, method: fs_backup, uploader: kopia, phase: Completed, bytes: 3, node: n1}
    bytes:
      description: Bytes in all copies of volumes.
      type: int
      sample: 3
    coverage:
      description:
        - How well it is known which claims the backup has to hold.
        - V(known) is from its own list in the store, V(partly) from the claims that are in the cluster now, V(unknown) not at all.
      type: str
      sample: known
    uncovered:
      description: Claims without a finished copy of their data, each with the reason.
      type: list
      elements: dict
      sample: []
    excluded:
      description: Claims that O(excluded_volumes) names.
      type: list
      elements: str
      sample: [app/cache]
    unbound:
      description: Claims that have no volume and so no data.
      type: list
      elements: str
      sample: []
    results:
      description: Errors and warnings in words, when there are some and the store could be read.
      type: dict
      sample: {errors: [], warnings: []}
    log_tail:
      description: The last lines of its log, where they were asked for.
      type: list
      elements: str
    unreached:
      description: Why the store could not be read, none when it was or was not needed.
      type: str
requests:
  description: Method and path of every write that was done, or in check mode would be done.
  returned: always
  type: list
  elements: dict
  sample: [{method: POST, path: /apis/velero.io/v1/namespaces/velero/backups}]
waited:
  description: Seconds until Velero was done, and the state last seen.
  returned: when the task waited
  type: dict
  sample: {seconds: 12.1, last: phase Completed}
ran:
  description: Where the task ran, C(controller) or C(module).
  returned: always
  type: str
  sample: controller
"""

from ansible_collections.serverops.circleci.plugins.module_utils._core.ansible_module import run_module
from ansible_collections.serverops.circleci.plugins.module_utils._velero.backup import DEFINITION


def main() -> None:
    """Run the module."""
    run_module(DEFINITION)


if __name__ == "__main__":
    main()
