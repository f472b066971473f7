# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a task's options to an API that its requests go through.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Transport
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import arguments
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.connection import Connection
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.exchange import Exchange, explain
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api


def log_in(options: Mapping[str, Any], context: Context) -> Api:
    """Return the API of the cluster that the options name, under the task's guard, deadline and record. Sends nothing itself."""
    context.mask.add(*arguments.secrets_in(options))
    arguments.check(options)
    deadline = Deadline(float(options["timeout"]))
    connection = Connection.from_options(options, learned=context.mask.add)
    return Api(Transport(Exchange(connection), context.guard(), deadline, explain, context.record))
