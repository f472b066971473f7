# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The attributes that every module states: check mode, diff mode, idempotence, the action group, where it runs."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes of modules."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return the changes that a real run would make, without making them.
  diff_mode:
    description: Returns what was changed, or would be changed in C(check_mode), when in diff mode. Secrets are replaced by keyed markers.
  idempotent:
    description: A second run with the same options writes nothing.
  async:
    description: Can be run with the C(async) keyword of a task.
  platform:
    description: The systems on which the module runs.
"""

    ACTION_GROUP = r"""
options: {}
attributes:
  action_group:
    description: Options can be set for all modules of the group by C(group/serverops.circleci.all) in C(module_defaults).
"""

    WAYS = r"""
options: {}
notes:
  - On a local connection without C(become), C(async), C(environment) or an interpreter of its own a task of this module runs inside the
    controller process, which is many times faster and shows progress. In every other case it runs as an ordinary module, silently until it ends.
    The result is the same, and its key RV(ignore:ran) says which it was.
  - Give secrets by variables. ansible-core 2.19 and newer print the lines of a failing task's source, inline values included.
"""
