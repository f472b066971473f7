# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from ansible_collections.serverops.circleci.plugins.plugin_utils._kubernetes import ActionModule  # noqa: F401  # pylint: disable=unused-import
