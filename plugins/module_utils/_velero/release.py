# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Velero's releases: how they are ordered, which option of an installation each of them can carry out, from where each can be reached.

Sources: the tags v1.6.0 to v1.18.1 of velero-io/velero (pkg/cmd/cli/install, pkg/cmd/server, pkg/cmd/cli/nodeagent) and its upgrade pages.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeAlias

from ansible_collections.serverops.circleci.plugins.module_utils._velero import server

_TEXT = re.compile(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})([-+][0-9A-Za-z.+-]{1,100})?")


@dataclass(frozen=True, order=True)
class Release:
    """One release. text is as given, without the v ("1.17.2", "1.18.0-rc.1"); a suffix does not count in comparisons."""

    major: int
    minor: int
    patch: int
    text: str = field(compare=False)

    @property
    def line(self) -> tuple[int, int]:
        """Return (major, minor)."""
        return self.major, self.minor

    @property
    def number(self) -> tuple[int, int, int]:
        """Return (major, minor, patch)."""
        return self.major, self.minor, self.patch

    def __str__(self) -> str:
        return self.text


KNOWN = tuple((1, minor) for minor in range(6, 19))
"""Release lines (major, minor) that are rendered and compared."""


def parse(text: str) -> Release:
    """Return the release that a text names, with or without v; ValueError when it names none. Two numbers are not enough."""
    found = _TEXT.fullmatch(str(text).strip())
    if not found:
        raise ValueError("not a release such as 1.17.2")
    major, minor, patch = (int(found.group(number)) for number in (1, 2, 3))
    return Release(major, minor, patch, found.group(0).removeprefix("v"))


def of_image(image: str) -> Release | None:
    """Return the release that an image's tag names; None for a digest, no tag, or a tag that is no release."""
    try:
        return parse(server.image_version(image) or "")
    except ValueError:
        return None


def unsupported(release: Release) -> str | None:
    """Return in one sentence why a release is not handled here; None when it is."""
    if release.line in KNOWN:
        return None
    return f"Velero {release.text} is not one of the releases {shown(KNOWN[0])} to {shown(KNOWN[-1])} that are known here"


def shown(number: tuple[int, ...]) -> str:
    """Return the text of a release or of a release line."""
    return ".".join(str(part) for part in number)


Bounds: TypeAlias = "tuple[tuple[int, ...], tuple[int, int] | None]"
"""(first release or line that knows something, last line that does or None). A first release has a patch where a patch brought it."""

OPTION_RELEASES: dict[str, Bounds] = {
    "backup_repository_configmap": ((1, 15), None),
    "concurrent_backups": ((1, 18), None),
    "csi_snapshot_early_frequent_polling": ((1, 18, 1), None),
    "default_snapshot_move_data": ((1, 12, 1), None),
    "disable_informer_cache": ((1, 12, 1), None),
    "garbage_collection_frequency": ((1, 9), None),
    "item_block_worker_count": ((1, 16), None),
    "keep_latest_maintenance_jobs": ((1, 14), (1, 16)),
    "maintenance_job_resources": ((1, 14), (1, 16)),
    "node_agent_configmap": ((1, 15), None),
    "node_agent_disable_host_path": ((1, 17), None),
    "repo_maintenance_job_configmap": ((1, 15), None),
    "schedule_skip_immediately": ((1, 13), None),
    "uploader_type": ((1, 10), None),
    "use_node_agent_windows": ((1, 16), None),
}
"""Options that not every release can carry out, by what its server and its node agent read.

An option that only shapes objects (labels, priority classes, a service account of one's own …) works with every release, also where
that release's CLI had no flag for it yet, and is not listed.
"""

REPLACED_BY = {
    "keep_latest_maintenance_jobs": "repo_maintenance_job_configmap",
    "maintenance_job_resources": "repo_maintenance_job_configmap",
}
"""Options that ended, and the option that took their place."""


def within(release: Release, bounds: Bounds) -> bool:
    """Tell whether a release is within bounds."""
    first, last = bounds
    return release.number[: len(first)] >= first and (last is None or release.line <= last)


def knows(option: str, release: Release) -> bool:
    """Tell whether a release can carry out an option of the installation."""
    return option not in OPTION_RELEASES or within(release, OPTION_RELEASES[option])


def option_refusal(option: str, release: Release) -> tuple[str, str] | None:
    """Return (what is wrong, what to do) for an option that the release cannot carry out; None when it can."""
    if knows(option, release):
        return None
    first, last = OPTION_RELEASES[option]
    if release.number[: len(first)] < first:
        return f"Velero {release.text} does not know it; the first release that does is {shown(first)}", "Leave it out, or install a newer version"
    instead = REPLACED_BY.get(option)
    next_step = f"Use {instead}, a ConfigMap in Velero's namespace, instead" if instead else "Leave it out"
    return f"Velero {release.text} does not know it any more; the last release that did is {shown(last or first)}", next_step


AGENT_RENAMED = (1, 10)
"""The first release line whose DaemonSet and sub-command are called node-agent and no longer restic."""


def agent_name(release: Release) -> str:
    """Return the name of the DaemonSet, its container and its sub-command: restic up to 1.9, node-agent from 1.10."""
    return "node-agent" if release.line >= AGENT_RENAMED else "restic"


DIRECTLY_FROM = {(1, 12): (1, 10), (1, 13): (1, 10)}
"""Release lines that the upgrade pages let be reached from further back than the line before; {reached: first line that will do}."""


def upgrade_refusal(installed: Release | None, wanted: Release, skip_allowed: bool) -> str | None:
    """Return in one sentence why an upgrade is refused; None when it is none or follows the vendor's rules.

    installed: None when it is not known, which refuses nothing.
    """
    if installed is None or installed.number == wanted.number:
        return None
    if wanted < installed:
        return f"Velero {installed.text} is installed, and Velero does not support going back to {wanted.text}"
    if installed.major != wanted.major or skip_allowed:
        return None
    lowest = DIRECTLY_FROM.get(wanted.line, (wanted.major, wanted.minor - 1))
    if installed.line >= lowest:
        return None
    between = [shown((wanted.major, minor)) for minor in range(installed.minor + 1, lowest[1] + 1)]
    return (
        f"Velero {installed.text} is installed, and {shown(wanted.line)} is to be reached from {shown(lowest)}: "
        f"Velero's upgrade pages do not skip {', '.join(between)}"
    )
