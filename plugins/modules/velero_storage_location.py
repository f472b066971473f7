#!/usr/bin/python
# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: velero_storage_location
short_description: Manage a place where Velero stores backups, and prove that Velero can use it
version_added: 0.1.0
author:
  - serverops.circleci contributors (@serverops)
description:
  - Makes, changes or removes a C(BackupStorageLocation) of Velero, and the Secret with its credentials if wanted.
  - A task with O(state=present) succeeds only when the running server has validated the location after its last change and found it available.
    The phase alone is no proof, because it stands still while the server cannot reach the store.
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
      - With V(present) the location is as the other options say, and available.
      - With V(absent) the location is gone, and the Secret that this module made for it alone. The contents of the bucket stay.
        It fails while Velero works on a backup in this location.
    type: str
    choices: [present, absent]
    default: present
    version_added: 0.1.0
  provider:
    description: Name of the object store plugin, such as V(aws) or V(gcp). Needed to make a location. A name without C(/) means C(velero.io/NAME).
    type: str
    version_added: 0.1.0
  bucket:
    description: Name of the bucket. Needed to make a location. The bucket has to exist.
    type: str
    version_added: 0.1.0
  prefix:
    description: Folder inside the bucket. An empty string removes it.
    type: str
    version_added: 0.1.0
  config:
    description:
      - The provider's settings, such as C(region), C(s3Url) and C(s3ForcePathStyle) of V(aws).
      - When given it is compared as a whole, so a setting that is not in it is removed.
      - Booleans and numbers are turned into the strings that the API takes.
    type: dict
    version_added: 0.1.0
  object_storage_ca_cert:
    description: Certificates of the authority that signed the store's certificate, as PEM text. An empty string removes them.
    type: str
    version_added: 0.1.0
  access_mode:
    description: Whether Velero may write to the location. A new location is V(ReadWrite).
    type: str
    choices: [ReadWrite, ReadOnly]
    version_added: 0.1.0
  default:
    description: Whether backups that name no location go here. V(true) takes it away from every other location.
    type: bool
    version_added: 0.1.0
  validation_frequency:
    description:
      - Time between two validations by the server in whole seconds, such as V(1m) or V(30s). V(0) switches them off.
      - The server's own default is one minute.
    type: str
    version_added: 0.1.0
  backup_sync_period:
    description: Time between two looks of the server for backups in the store in whole seconds, such as V(1m). V(0) switches them off.
    type: str
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
    details: Where Velero is not installed yet, it says what it would do and warns.
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
  - A validation that is under way at a change ends after it and speaks of the state before. So a change of a location that exists is written in
    two requests, the first with a validation period that is a millisecond longer, which makes the server validate once more.
  - From Velero 1.10 the server validates at each change, and the proof takes a second or two. Up to 1.9 it validates only once the validation
    period is over, so the proof takes up to two periods. It then looks for due validations only when woken, so a task that waits for one sets the
    annotation C(serverops.circleci/woken) of the location, also a task that finds everything as asked.
seealso:
  - module: serverops.circleci.velero_info
  - module: serverops.circleci.velero_install
"""

EXAMPLES = r"""
- name: Keep backups in a bucket of an S3-compatible store, with credentials of its own
  serverops.circleci.velero_storage_location:
    kubeconfig: "{{ kubeconfig }}"
    name: offsite
    provider: aws
    bucket: "{{ bucket }}"
    prefix: circleci
    config:
      region: "{{ region }}"
      s3Url: "{{ s3_url }}"
      s3ForcePathStyle: true
    credential:
      name: offsite-credentials
      content: "{{ credentials_file }}"

- name: Make it the only default
  serverops.circleci.velero_storage_location:
    kubeconfig: "{{ kubeconfig }}"
    name: offsite
    default: true

- name: Protect it against writing during a restore
  serverops.circleci.velero_storage_location:
    kubeconfig: "{{ kubeconfig }}"
    name: offsite
    access_mode: ReadOnly
    validation_frequency: 30s

- name: Remove it and keep what it stores
  serverops.circleci.velero_storage_location:
    kubeconfig: "{{ kubeconfig }}"
    name: offsite
    state: absent
"""

RETURN = r"""
storage_location:
  description:
    - The location as it is after the task, in the words of the options. None when it is absent.
    - In check mode as it would be, without what the server says of it.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: offsite
    namespace:
      description: Its namespace.
      type: str
      sample: velero
    provider:
      description: The provider.
      type: str
      sample: aws
    bucket:
      description: The bucket.
      type: str
      sample: circleci-backups
    phase:
      description: What the server says of it, C(Available) after a success.
      type: str
      sample: Available
    last_validation_time:
      description: When the server last validated it, by the server's clock.
      type: str
      sample: "2026-11-21T23:15:02Z"
backups:
  description: What becomes of the backups in a location that is removed.
  returned: with O(state=absent)
  type: dict
  sample: {count: 0, names: [], fate: null}
requests:
  description: Method and path of every write that was done, or in check mode would be done.
  returned: always
  type: list
  elements: dict
  sample: [{method: POST, path: /apis/velero.io/v1/namespaces/velero/backupstoragelocations}]
waited:
  description: Seconds until the change was seen to be in force, and the state last seen.
  returned: when something was changed
  type: dict
  sample: {seconds: 0.4, last: "phase Available, last validated 2026-11-21T23:15:02Z (0 s ago)"}
ran:
  description: Where the task ran, C(controller) or C(module).
  returned: always
  type: str
  sample: controller
"""

from ansible_collections.serverops.circleci.plugins.module_utils._core.ansible_module import run_module
from ansible_collections.serverops.circleci.plugins.module_utils._velero.storage_location import DEFINITION


def main() -> None:
    """Run the module."""
    run_module(DEFINITION)


if __name__ == "__main__":
    main()
