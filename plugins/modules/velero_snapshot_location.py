#!/usr/bin/python
# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: velero_snapshot_location
short_description: Manage a place where Velero makes volume snapshots, and prove as much of it as can be proven
version_added: 0.1.0
author:
  - serverops.circleci contributors (@serverops)
description:
  - Makes, changes or removes a C(VolumeSnapshotLocation) of Velero, and the Secret with its credentials if wanted.
  - Velero neither validates such a location nor gives it a status. What a success with O(state=present) proves is that the location, and the
    Secret if its content is given, were read back as asked for, and that the running server lists a plugin of kind C(VolumeSnapshotter) for the
    provider. Whether settings, credentials and their rights work is not proven; that shows at the first snapshot.
  - When the server cannot be asked, because it does not run or because the login may not, the task warns that the plugin is not proven.
  - An option that is left out is neither compared nor changed.
options:
  name:
    description: Name of the location.
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
      - With V(present) the location is as the other options say, and the server has a plugin for it.
      - With V(absent) the location is gone, and the Secret that this module made for it alone. The snapshots stay at the provider.
        It fails while Velero works on a backup that names the location.
    type: str
    choices: [present, absent]
    default: present
    version_added: 0.1.0
  provider:
    description: Name of the snapshot plugin, such as V(aws) or V(gcp). Needed to make a location. A name without C(/) means C(velero.io/NAME).
    type: str
    version_added: 0.1.0
  config:
    description:
      - The provider's settings, such as C(region) of V(aws), without which that plugin makes no snapshot, or C(snapshotLocation) and C(project) of
        V(gcp).
      - When given it is compared as a whole, so a setting that is not in it is removed.
      - Booleans and numbers are turned into the strings that the API takes.
      - A plugin makes no snapshot when it is given a setting that it does not know. The task warns of those that no plugin for aws or gcp knows.
    type: dict
    version_added: 0.1.0
extends_documentation_fragment:
  - serverops.circleci.kubernetes
  - serverops.circleci.location_credential
  - serverops.circleci.attributes
  - serverops.circleci.attributes.action_group
  - serverops.circleci.attributes.ways
attributes:
  check_mode:
    support: full
    details: Where Velero, its plugin or its version is not there yet, it says what it would do and warns.
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
  - With a Velero before 1.10 a task with O(credential) fails before it writes, because the API server would drop the setting without a word.
  - The server is asked for its plugins by a C(ServerStatusRequest), which the task makes and removes, in check mode too.
  - Velero refuses a backup that names no snapshot location when one provider has several, unless the server's argument
    C(--default-volume-snapshot-locations) names one. The task warns when it makes a second one.
seealso:
  - module: serverops.circleci.velero_storage_location
  - module: serverops.circleci.velero_info
"""

EXAMPLES = r"""
- name: Make volume snapshots in the region of the cluster, with the credentials that Velero was installed with
  serverops.circleci.velero_snapshot_location:
    kubeconfig: "{{ kubeconfig }}"
    name: volumes
    provider: aws
    config:
      region: "{{ region }}"

- name: Give the location credentials of its own
  serverops.circleci.velero_snapshot_location:
    kubeconfig: "{{ kubeconfig }}"
    name: volumes
    credential:
      name: volumes-credentials
      content: "{{ credentials_file }}"

- name: Remove it and the Secret that was made for it, and keep the snapshots
  serverops.circleci.velero_snapshot_location:
    kubeconfig: "{{ kubeconfig }}"
    name: volumes
    state: absent
"""

RETURN = r"""
snapshot_location:
  description:
    - The location as it is after the task, in the words of the options. None when it is absent.
    - In check mode as it would be.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: volumes
    namespace:
      description: Its namespace.
      type: str
      sample: velero
    provider:
      description: The provider.
      type: str
      sample: aws
    config:
      description: The provider's settings.
      type: dict
      sample: {region: eu-west-1}
    credential:
      description: Name and key of the Secret with its own credentials, none when it has none.
      type: dict
      sample: {name: volumes-credentials, key: cloud}
    plugin:
      description: The plugin for it as the server lists it, none when the server could not be asked or in check mode does not list it.
      type: str
      sample: velero.io/aws
backups:
  description: The backups whose volume snapshots were made by a location that is removed, and what becomes of them.
  returned: with O(state=absent)
  type: dict
  sample: {count: 0, names: [], fate: null}
requests:
  description: Method and path of every write that was done, or in check mode would be done.
  returned: always
  type: list
  elements: dict
  sample: [{method: POST, path: /apis/velero.io/v1/namespaces/velero/volumesnapshotlocations}]
waited:
  description: Seconds until the change was seen to be in force, and the state last seen.
  returned: when something was changed
  type: dict
  sample: {seconds: 0.0, last: read back as it was written}
ran:
  description: Where the task ran, C(controller) or C(module).
  returned: always
  type: str
  sample: controller
"""

from ansible_collections.serverops.circleci.plugins.module_utils._core.ansible_module import run_module
from ansible_collections.serverops.circleci.plugins.module_utils._velero.snapshot_location import DEFINITION


def main() -> None:
    """Run the module."""
    run_module(DEFINITION)


if __name__ == "__main__":
    main()
