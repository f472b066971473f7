# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind every module that talks to a Kubernetes cluster.

Its imports are paid once per play, in the parent process, before the workers fork.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import ClassVar

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Definition
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import manifest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    backup,
    backup_info,
    install,
    installation,
    restore,
    restore_info,
    schedule,
    snapshot_location,
    storage_location,
)
from ansible_collections.serverops.circleci.plugins.plugin_utils._action import Action

# the first TLS context of a process makes OpenSSL load its algorithms; made here, the workers inherit that (4 ms less per task)
ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class ActionModule(Action):
    """Runs the modules that talk to a cluster."""

    definitions: ClassVar[Mapping[str, Definition]] = {
        definition.name: definition
        for definition in (
            manifest.DEFINITION,
            backup.DEFINITION,
            backup_info.DEFINITION,
            installation.DEFINITION,
            install.DEFINITION,
            restore.DEFINITION,
            restore_info.DEFINITION,
            schedule.DEFINITION,
            snapshot_location.DEFINITION,
            storage_location.DEFINITION,
        )
    }
