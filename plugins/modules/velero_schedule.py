#!/usr/bin/python
# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: velero_schedule
short_description: Manage a schedule by which Velero makes backups, and prove that its server accepted it
version_added: 0.1.0
author:
  - serverops.circleci contributors (@serverops)
description:
  - Makes, changes or removes a C(Schedule) of Velero.
  - The cron expression is checked as Velero reads it before anything is written. After a change the task succeeds only when the running server has
    accepted it.
  - An option that is left out is neither compared nor changed.
options:
  name:
    description: Name of the schedule. Its backups are called after it, followed by their time.
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
      - With V(present) the schedule is as the other options say, and accepted by the server.
      - With V(absent) it is gone. Its backups stay, unless they belong to it by O(use_owner_references_in_backup); the task warns of those that go.
    type: str
    choices: [present, absent]
    default: present
    version_added: 0.1.0
  schedule:
    description:
      - When to make backups. Needed to make a schedule.
      - Five fields (minute, hour, day of the month, month, day of the week, where Sunday is 0), one of V(@hourly), V(@daily), V(@weekly), V(@monthly)
        and V(@yearly), or V(@every) with a duration, as in V(@every 6h). The times are those of the server's clock, which is UTC as a rule.
      - From Velero 1.15 on V(CRON_TZ=Europe/Berlin) and a space may stand before it.
    type: str
    version_added: 0.1.0
  paused:
    description: Whether it makes no backups for the time being. The server does not look at a schedule that is paused. Needs Velero 1.10.
    type: bool
    version_added: 0.1.0
  skip_immediately:
    description:
      - Whether the first run is left out when it would be due at once. The server does so once and sets the field back.
      - So it is sent when the schedule is made, when O(schedule) changes and when O(paused) becomes V(false), and never compared.
        Needs Velero 1.13.
    type: bool
    version_added: 0.1.0
  use_owner_references_in_backup:
    description: Whether the C(Backup) objects belong to the schedule and go with it.
    type: bool
    version_added: 0.1.0
  labels:
    description: Labels of the schedule, which its backups get too. Others that it has are left alone.
    type: dict
    version_added: 0.1.0
  annotations:
    description: Annotations of the schedule. Others that it has are left alone.
    type: dict
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
  - The server looks at a schedule at each change from Velero 1.10 on. The change is written together with phase C(New), so that its answer can be
    told from the one before. Up to 1.9 it looks at a schedule that it has accepted once a minute and gives no sign of it, so there the proof is
    the check before the write and the phase; and it never looks again at one that it refused, which has to be removed and made anew.
seealso:
  - module: serverops.circleci.velero_backup
  - module: serverops.circleci.velero_backup_info
"""

EXAMPLES = r"""
- name: A backup each night, kept for a month
  serverops.circleci.velero_schedule:
    kubeconfig: "{{ kubeconfig }}"
    name: nightly
    schedule: 0 3 * * *
    included_namespaces: [circleci-server]
    default_volumes_to_fs_backup: true
    ttl: 720h

- name: None during the maintenance
  serverops.circleci.velero_schedule:
    kubeconfig: "{{ kubeconfig }}"
    name: nightly
    paused: true

- name: Go on, with the next night
  serverops.circleci.velero_schedule:
    kubeconfig: "{{ kubeconfig }}"
    name: nightly
    paused: false
    skip_immediately: true

- name: No more backups; those that there are stay
  serverops.circleci.velero_schedule:
    kubeconfig: "{{ kubeconfig }}"
    name: nightly
    state: absent
"""

RETURN = r"""
schedule:
  description:
    - The schedule as it is after the task. None when it is absent.
    - In check mode as it would be, without what the server says of it.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: nightly
    namespace:
      description: Its namespace.
      type: str
      sample: velero
    phase:
      description: What the server says of it, C(Enabled) after a success, unless it is paused.
      type: str
      sample: Enabled
    schedule:
      description: The cron expression.
      type: str
      sample: 0 3 * * *
    paused:
      description: Whether it is paused.
      type: bool
      sample: false
    use_owner_references_in_backup:
      description: Whether its backups belong to it.
      type: bool
      sample: false
    next_run:
      description:
        - When it makes the next backup, in UTC. One that is overdue is made when the server looks next, within a minute.
        - None while it is paused, or when the time zone is not known where the task runs.
      type: str
      sample: "2026-11-22T03:00:00Z"
    last_backup:
      description: When it made the last one.
      type: str
      sample: "2026-11-21T03:00:04Z"
    last_good_backup:
      description: Name and end of the newest of its backups that is C(Completed) without errors; None when there is none.
      type: dict
      sample: {name: nightly-20261121030004, completed: "2026-11-21T03:02:11Z"}
    validation_errors:
      description: Why the server refused it.
      type: list
      elements: str
      sample: []
    template:
      description: What each backup holds, in the words of the options.
      type: dict
      sample: {included_namespaces: [circleci-server], ttl: 720h0m0s}
requests:
  description: Method and path of every write that was done, or in check mode would be done.
  returned: always
  type: list
  elements: dict
  sample: [{method: POST, path: /apis/velero.io/v1/namespaces/velero/schedules}]
waited:
  description: Seconds until the change was seen to be in force, and the state last seen.
  returned: when something was changed
  type: dict
  sample: {seconds: 0.2, last: phase Enabled}
ran:
  description: Where the task ran, C(controller) or C(module).
  returned: always
  type: str
  sample: controller
"""

from ansible_collections.serverops.circleci.plugins.module_utils._core.ansible_module import run_module
from ansible_collections.serverops.circleci.plugins.module_utils._velero.schedule import DEFINITION


def main() -> None:
    """Run the module."""
    run_module(DEFINITION)


if __name__ == "__main__":
    main()
