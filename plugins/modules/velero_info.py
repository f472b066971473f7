#!/usr/bin/python
# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: velero_info
short_description: Tell what Velero is installed, whether it works, and what it is doing
version_added: 0.1.0
author:
  - serverops.circleci contributors (@serverops)
description:
  - Reads a Velero installation, asks the running server for its version and plugins, and says what keeps its parts from working.
  - Returns an empty list when there is no Velero in the namespace.
  - The server is asked by a C(ServerStatusRequest), which is removed again. Nothing else is written.
options:
  namespace:
    description: The namespace that Velero runs in.
    type: str
    default: velero
    version_added: 0.1.0
  gather:
    description:
      - What to read. Each part costs requests of its own, so a task that needs one part is quicker when it asks for that part only.
      - V(server) reads the Deployment and its pods and asks the server. V(node_agents) reads the DaemonSet and its pods.
      - V(unfinished) reads all backups and restores and keeps those that are not in a final phase.
      - V(schedules) reads the Schedules, V(last_drill) what the role C(drill) kept of its last run. Both have to be asked for.
    type: list
    elements: str
    choices: [server, storage_locations, snapshot_locations, node_agents, unfinished, schedules, last_drill]
    default: [server, storage_locations, snapshot_locations, node_agents, unfinished]
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
  - module: serverops.circleci.velero_install
  - module: serverops.circleci.velero_storage_location
"""

EXAMPLES = r"""
- name: Read everything about Velero
  serverops.circleci.velero_info:
    kubeconfig: "{{ kubeconfig }}"
  register: installation

- name: Stop when Velero does not work
  ansible.builtin.assert:
    that:
      - installation.velero | length == 1
      - installation.velero[0].server.ready
    fail_msg: "{{ installation.velero[0].server.problem | default('Velero is not installed', true) }}"

- name: Find node agents that do not run, with the scheduler's reason
  serverops.circleci.velero_info:
    kubeconfig: "{{ kubeconfig }}"
    gather: [node_agents]
  register: agents
  failed_when: agents.velero | map(attribute='node_agents') | flatten | rejectattr('ready') | list | length > 0
"""

RETURN = r"""
velero:
  description: The installation of Velero in the namespace. A list of one, or an empty list when there is none.
  returned: success
  type: list
  elements: dict
  contains:
    namespace:
      description: The namespace.
      type: str
      sample: velero
    installed_by:
      description: Who put it there, read from labels and owners. One of C(cli), C(helm), C(oadp), C(unknown), or none without a workload.
      type: str
      sample: cli
    server:
      description: The server. With O(gather=server).
      type: dict
      contains:
        deployment:
          description: Name of the Deployment, none when there is none.
          type: str
          sample: velero
        image:
          description: The image that the Deployment asks for.
          type: str
          sample: velero/velero:v1.17.2
        version:
          description: The version as the running server gives it, none when it does not answer.
          type: str
          sample: v1.17.2
        ready:
          description: Whether a pod of it is ready and, when it may be asked, answers.
          type: bool
          sample: true
        problem:
          description: One sentence that says why it is not ready, none when it is.
          type: str
        plugins:
          description: The plugins that the running server has loaded.
          type: list
          elements: dict
          sample: [{kind: ObjectStore, name: velero.io/aws}]
        plugin_images:
          description: The images of plugins that the Deployment adds.
          type: list
          elements: str
          sample: ["velero/velero-plugin-for-aws:v1.14.3"]
        pods:
          description: The server's pods, with the reason and message of those that are not ready.
          type: list
          elements: dict
    storage_locations:
      description:
        - The backup storage locations as RV(serverops.circleci.velero_storage_location#module:storage_location).
        - With O(gather=storage_locations).
      type: list
      elements: dict
    snapshot_locations:
      description: The volume snapshot locations. With O(gather=snapshot_locations).
      type: list
      elements: dict
    node_agents:
      description:
        - The node agents (C(restic) up to Velero 1.9), one per node. With O(gather=node_agents).
        - C(reason) and C(message) say what keeps one from being ready. For a pending one these are the scheduler's words.
      type: list
      elements: dict
      sample:
        - {node: n1, pod: node-agent-x7k2p, phase: Running, ready: true, restarts: 0, reason: null, message: null}
    unfinished:
      description: Backups and restores that are not in a final phase. With O(gather=unfinished).
      type: dict
      contains:
        backups:
          description: Name, phase, times and storage location.
          type: list
          elements: dict
        restores:
          description: Name, phase, times and backup.
          type: list
          elements: dict
    schedules:
      description:
        - The schedules as RV(serverops.circleci.velero_schedule#module:schedule), with the time of the next run.
        - With O(gather=schedules).
      type: list
      elements: dict
    last_drill:
      description: What came of the last drill, none when there was none. With O(gather=last_drill).
      type: dict
      sample:
        result: good
        backup: nightly-20261128010000
        started: "2026-11-28T12:00:00Z"
        finished: "2026-11-28T12:02:22Z"
        rpo: 39600
        rto: 104
ran:
  description: Where the task ran, C(controller) or C(module).
  returned: always
  type: str
  sample: controller
"""

from ansible_collections.serverops.circleci.plugins.module_utils._core.ansible_module import run_module
from ansible_collections.serverops.circleci.plugins.module_utils._velero.installation import DEFINITION


def main() -> None:
    """Run the module."""
    run_module(DEFINITION)


if __name__ == "__main__":
    main()
