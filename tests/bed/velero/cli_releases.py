# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Velero's releases besides those of the bed: whose install command is built from the source that the Go module proxy serves, and which it refuses.

Of each line the newest release that is served. Only `velero install` is built, from the release's own package and a main of ours
(tests/bed/tools/veleroinstall/main.go): it needs neither the server nor the fork of kopia, which cannot be verified. Only that of 1.14.1
names kopia, and is built on upstream's, without repositories and Azure.
"""

from __future__ import annotations

BUILT = {
    "1.6.3": "veleroinstall16",
    "1.7.1": "veleroinstall17",
    "1.9.3": "veleroinstall19",
    "1.11.1": "veleroinstall111",
    "1.12.3": "veleroinstall112",
    "1.13.2": "veleroinstall113",
    "1.14.1": "veleroinstall114",
    "1.15.2": "veleroinstall115",
    "1.16.2": "veleroinstall116",
    "1.18.3": "veleroinstall118",
}
"""Version to the tool family (a folder of tests/bed/tools) that builds its install command."""

NOT_SERVED = "the module proxy answers 403: This module version is not available"
REFUSED = {
    "1.7.2": "the checksum database answers 404, so what the module proxy serves cannot be verified",
    "1.9.4": NOT_SERVED,
    "1.9.5": NOT_SERVED,
    "1.9.6": NOT_SERVED,
    "1.9.7": NOT_SERVED,
    "1.12.4": NOT_SERVED,
}
"""Version to the reason why it is not compared; the line is, by an older release of it."""
