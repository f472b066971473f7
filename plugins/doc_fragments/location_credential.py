# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option for a location's own credentials, the same for storage and for snapshot locations."""

from __future__ import annotations


class ModuleDocFragment:
    """Option credential."""

    DOCUMENTATION = r"""
options:
  credential:
    description:
      - Credentials of this location. Without it the location uses those that Velero was installed with.
      - A storage location needs Velero 1.6 for it, a snapshot location Velero 1.10.
    type: dict
    version_added: 0.1.0
    suboptions:
      name:
        description: Name of the Secret in O(namespace).
        type: str
        required: true
        version_added: 0.1.0
      key:
        description: Key in the Secret under which the credentials file stands.
        type: str
        default: cloud
        version_added: 0.1.0
      content:
        description:
          - Text of the provider's credentials file. When given, the Secret is made, or its key is kept at this value.
          - When left out, the Secret has to exist.
        type: str
        version_added: 0.1.0
"""
