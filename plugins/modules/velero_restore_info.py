#!/usr/bin/python
# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: velero_restore_info
short_description: Tell which restores Velero has, what each brought back, and which of them are good
version_added: 0.1.0
author:
  - serverops.circleci contributors (@serverops)
description:
  - Reads the restores of a Velero, with their volumes, claims and workloads, and a verdict in words.
  - A restore is good when it is C(Completed), every volume that its backup has for it was restored, and the claims and workloads that it made are
    bound and available now.
  - Returns an empty list when there is none, or no Velero.
options:
  namespace:
    description: The namespace that Velero runs in.
    type: str
    default: velero
    version_added: 0.1.0
  name:
    description: Only the restore of this name.
    type: str
    version_added: 0.1.0
  backup_name:
    description: Only restores from this backup.
    type: str
    version_added: 0.1.0
  newest:
    description: Only so many, the newest.
    type: int
    version_added: 0.1.0
  gather:
    description:
      - What to read beside the objects themselves. Each part costs requests of its own for each restore.
      - V(volumes) reads the volumes and claims that came back, and V(workloads) the workloads, as they are now.
      - V(results) reads the errors and warnings in words from the store, and V(log) the last lines of the log.
      - The store is read through an address that Velero signs. Where that cannot be reached, C(unreached) says so, and the task goes on.
    type: list
    elements: str
    choices: [volumes, workloads, results, log]
    default: [volumes, workloads]
    version_added: 0.1.0
extends_documentation_fragment:
  - serverops.circleci.kubernetes
  - serverops.circleci.attributes
  - serverops.circleci.attributes.action_group
  - serverops.circleci.attributes.ways
attributes:
  check_mode:
    support: full
    details: It changes nothing, in check mode or not.
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
  - module: serverops.circleci.velero_restore
  - module: serverops.circleci.velero_backup_info
"""

EXAMPLES = r"""
- name: How the last three restores went
  serverops.circleci.velero_restore_info:
    kubeconfig: "{{ kubeconfig }}"
    newest: 3
  register: restores

- name: Why one of them failed, from its log
  serverops.circleci.velero_restore_info:
    kubeconfig: "{{ kubeconfig }}"
    name: after-the-loss
    gather: [volumes, workloads, results, log]
"""

RETURN = r"""
restores:
  description:
    - The restores, the newest first, each as RV(serverops.circleci.velero_restore#module:restore), and with C(log_tail) and C(unreached).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: after-the-loss
    backup:
      description: The backup that it is made from.
      type: str
      sample: nightly-20261121030000
    phase:
      description: What Velero says of it.
      type: str
      sample: Completed
    good:
      description: Whether everything came back; None while it runs, or when it cannot be known.
      type: bool
      sample: true
    verdict:
      description: Why it is not good, in one sentence; empty when it is.
      type: str
      sample: ""
    log_tail:
      description: The last lines of its log, with V(log) in O(gather).
      type: list
      elements: str
      sample: []
    unreached:
      description: Why the store could not be read; None when it was, or was not asked.
      type: str
      sample: null
ran:
  description: Where the task ran, C(controller) or C(module).
  returned: always
  type: str
  sample: controller
"""

from ansible_collections.serverops.circleci.plugins.module_utils._core.ansible_module import run_module
from ansible_collections.serverops.circleci.plugins.module_utils._velero.restore_info import DEFINITION


def main() -> None:
    """Run the module."""
    run_module(DEFINITION)


if __name__ == "__main__":
    main()
