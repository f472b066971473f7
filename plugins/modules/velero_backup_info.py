#!/usr/bin/python
# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: velero_backup_info
short_description: Tell which backups Velero has, which of them are good, and whether one is suddenly smaller
version_added: 0.1.0
author:
  - serverops.circleci contributors (@serverops)
description:
  - Reads the backups of a Velero, with what each holds, its size and duration, the copies of its volumes, and a verdict in words.
  - A backup is good when it is C(Completed), without errors, and each persistent volume claim in it has a finished copy of its data.
  - Returns an empty list when there is none, or no Velero.
options:
  namespace:
    description: The namespace that Velero runs in.
    type: str
    default: velero
    version_added: 0.1.0
  name:
    description: Only the backup of this name.
    type: str
    version_added: 0.1.0
  schedule:
    description: Only backups that this Schedule made.
    type: str
    version_added: 0.1.0
  storage_location:
    description: Only backups in this storage location.
    type: str
    version_added: 0.1.0
  included_namespace:
    description: Only backups that hold this namespace.
    type: str
    version_added: 0.1.0
  phases:
    description: Only backups in one of these phases.
    type: list
    elements: str
    version_added: 0.1.0
  newest:
    description: Only so many, the newest.
    type: int
    version_added: 0.1.0
  gather:
    description:
      - What to read beside the objects themselves. Each part costs requests of its own.
      - V(volumes) reads the copies of volumes and judges whether all claims are covered. Of a single backup its own list of claims is read from the
        store. Of several ones the claims that are in the cluster now are taken, unless V(results) is given too.
      - V(results) reads from the store, for each backup, the errors and warnings in words and the list of what it holds.
      - V(log) reads the last lines of each backup's log from the store.
      - The store is read through an address that Velero signs. Where that cannot be reached, C(unreached) says so, and the task goes on.
    type: list
    elements: str
    choices: [volumes, results, log]
    default: [volumes]
    version_added: 0.1.0
  excluded_volumes:
    description: Claims that need no copy, as C(namespace/claim). Patterns of a shell may be used.
    type: list
    elements: str
    default: []
    version_added: 0.1.0
extends_documentation_fragment:
  - serverops.circleci.kubernetes
  - serverops.circleci.attributes
  - serverops.circleci.attributes.action_group
  - serverops.circleci.attributes.ways
attributes:
  check_mode:
    support: full
    details: It changes nothing, in check mode or not. Reading from the store makes a C(DownloadRequest), which is removed again.
  diff_mode:
    support: N/A
    details: There is nothing to compare.
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
seealso:
  - module: serverops.circleci.velero_backup
"""

EXAMPLES = r"""
- name: Read the five newest backups of a namespace
  serverops.circleci.velero_backup_info:
    kubeconfig: "{{ kubeconfig }}"
    included_namespace: circleci-server
    newest: 5
  register: found

- name: Stop when the newest backup is not good
  ansible.builtin.assert:
    that:
      - found.backups | length > 0
      - found.backups[0].good is true
    fail_msg: "{{ (found.backups | first | default({})).verdict | default('there is no backup') }}"

- name: Read why one failed, in words, with the end of its log
  serverops.circleci.velero_backup_info:
    kubeconfig: "{{ kubeconfig }}"
    name: before-upgrade
    gather: [volumes, results, log]
"""

RETURN = r"""
backups:
  description: The backups, the newest first, each as RV(serverops.circleci.velero_backup#module:backup).
  returned: success
  type: list
  elements: dict
trend:
  description: For each series of at least three completed backups of the same template, whether the newest one is much smaller than those before it.
  returned: success
  type: list
  elements: dict
  contains:
    series:
      description: The template of the series, in the words of the options.
      type: dict
      sample: {included_namespaces: [app]}
    newest:
      description: Name of the newest backup of the series.
      type: str
      sample: daily-20261121231500
    shrunk:
      description: Whether its bytes, objects or volumes are less than half of the baseline.
      type: bool
      sample: false
    text:
      description: One sentence that says so. Empty when it did not shrink.
      type: str
      sample: ""
    bytes:
      description: Bytes in the copies of its volumes.
      type: int
      sample: 1048576
    objects:
      description: Objects in it.
      type: int
      sample: 20
    volumes:
      description: Finished copies of volumes in it.
      type: int
      sample: 2
    baseline:
      description: The medians of up to five backups before it, and how many these were.
      type: dict
      sample: {bytes: 1048570, objects: 20, volumes: 2, backups: 5}
ran:
  description: Where the task ran, C(controller) or C(module).
  returned: always
  type: str
  sample: controller
"""

from ansible_collections.serverops.circleci.plugins.module_utils._core.ansible_module import run_module
from ansible_collections.serverops.circleci.plugins.module_utils._velero.backup_info import DEFINITION


def main() -> None:
    """Run the module."""
    run_module(DEFINITION)


if __name__ == "__main__":
    main()
