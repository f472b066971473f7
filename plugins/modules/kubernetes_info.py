#!/usr/bin/python
# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubernetes_info
short_description: Read Secrets, ConfigMaps and Services as manifests, and ask whether something is allowed
version_added: 0.1.0
author:
  - serverops.circleci contributors (@serverops)
description:
  - Reads what the runbooks of this collection need of a cluster beside Velero. It is quick, and needs no other collection.
  - An object is returned as a manifest without what its server wrote into it, so it can be applied to another cluster, and two readings
    are equal as long as nobody has changed it.
  - Whether something is allowed is asked by a C(SelfSubjectAccessReview), which stores nothing. Nothing is written.
options:
  objects:
    description: The objects to read.
    type: list
    elements: dict
    default: []
    version_added: 0.1.0
    suboptions:
      kind:
        description: The kind.
        type: str
        choices: [ConfigMap, Secret, Service]
        required: true
        version_added: 0.1.0
      namespace:
        description: The namespace.
        type: str
        required: true
        version_added: 0.1.0
      name:
        description: The name. Without it all of the namespace are read.
        type: str
        version_added: 0.1.0
      selector:
        description: A label selector that keeps some of them. Not together with a name.
        type: str
        version_added: 0.1.0
  access:
    description: What to ask for, one question each.
    type: list
    elements: dict
    default: []
    version_added: 0.1.0
    suboptions:
      verb:
        description: The verb, such as V(create).
        type: str
        required: true
        version_added: 0.1.0
      group:
        description: The API group, empty for the core group.
        type: str
        default: ""
        version_added: 0.1.0
      resource:
        description: The plural name of the kind, such as V(backups).
        type: str
        required: true
        version_added: 0.1.0
      namespace:
        description: The namespace, empty for all of them.
        type: str
        default: ""
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
notes:
  - The contents of Secrets are in the result. Give the task C(no_log) when it reads some.
seealso:
  - module: serverops.circleci.velero_info
"""

EXAMPLES = r"""
- name: Find where the load balancers of a namespace answer
  serverops.circleci.kubernetes_info:
    kubeconfig: "{{ kubeconfig }}"
    objects:
      - kind: Service
        namespace: circleci-server
  register: services

- name: Show those that have an address
  ansible.builtin.debug:
    msg: "{{ item.name }} answers at {{ item.addresses | join(', ') }}"
  loop: "{{ services.objects | selectattr('type', 'equalto', 'LoadBalancer') }}"
  loop_control:
    label: "{{ item.name }}"

- name: Read a Secret without showing it
  serverops.circleci.kubernetes_info:
    kubeconfig: "{{ kubeconfig }}"
    objects:
      - kind: Secret
        namespace: velero
        name: cloud-credentials
  register: secret
  no_log: true

- name: Stop unless a backup may be made
  serverops.circleci.kubernetes_info:
    kubeconfig: "{{ kubeconfig }}"
    access:
      - verb: create
        group: velero.io
        resource: backups
        namespace: velero
  register: asked
  failed_when: asked.access | rejectattr('allowed') | list | length > 0
"""

RETURN = r"""
objects:
  description: The objects that are there, in the order of O(objects), and by name where all of a namespace were asked for.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: The kind.
      type: str
      sample: Service
    namespace:
      description: The namespace.
      type: str
      sample: circleci-server
    name:
      description: The name.
      type: str
      sample: circleci-server-traefik
    type:
      description: The type of a Service.
      returned: for a Service
      type: str
      sample: LoadBalancer
    addresses:
      description: Where the load balancer of a Service answers. Addresses and host names of its status.
      returned: for a Service
      type: list
      elements: str
      sample: [203.0.113.7]
    manifest:
      description: The object without what its server wrote into it.
      type: dict
missing:
  description: The objects that were asked for by name and are not there.
  returned: success
  type: list
  elements: str
  sample: ["Secret circleci-server/signing-keys"]
access:
  description: O(access) with the answer to each question in C(allowed).
  returned: success
  type: list
  elements: dict
  sample: [{verb: create, group: velero.io, resource: backups, namespace: velero, allowed: true}]
ran:
  description: Where the task ran, C(controller) or C(module).
  returned: always
  type: str
  sample: controller
"""

from ansible_collections.serverops.circleci.plugins.module_utils._core.ansible_module import run_module
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.manifest import DEFINITION


def main() -> None:
    """Run the module."""
    run_module(DEFINITION)


if __name__ == "__main__":
    main()
