# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flags of Velero's server and node agent by release: read from a container's args, renamed, dropped, compared and written.

A server ends at once with "unknown flag" when it meets one that its release does not have, so what it would refuse never gets there.

Sources: pkg/cmd/server and pkg/cmd/cli/{restic,nodeagent} of the tags v1.6.0 to v1.18.1 of velero-io/velero.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import quantity
from ansible_collections.serverops.circleci.plugins.module_utils._velero import duration, release
from ansible_collections.serverops.circleci.plugins.module_utils._velero.release import Bounds, Release

SERVER_FLAGS: dict[str, Bounds] = {
    **dict.fromkeys(
        [
            "backup-sync-period", "client-burst", "client-qps", "default-backup-storage-location", "default-backup-ttl",
            "default-volume-snapshot-locations", "disable-controllers", "log-format", "log-level", "metrics-address", "plugin-dir",
            "profiler-address", "restore-only", "restore-resource-priorities", "store-validation-frequency", "terminating-resource-timeout",
        ],
        ((1, 6), None),
    ),
    "default-restic-prune-frequency": ((1, 6), (1, 9)),
    "default-volumes-to-restic": ((1, 6), (1, 9)),
    "restic-timeout": ((1, 6), (1, 9)),
    "client-page-size": ((1, 7), None),
    "garbage-collection-frequency": ((1, 9), None),
    "default-repo-maintain-frequency": ((1, 10), None),
    "default-volumes-to-fs-backup": ((1, 10), None),
    "fs-backup-timeout": ((1, 10), None),
    "uploader-type": ((1, 10), None),
    "default-item-operation-timeout": ((1, 11), None),
    "item-operation-sync-frequency": ((1, 11), None),
    "max-concurrent-k8s-connections": ((1, 11), None),
    "resource-timeout": ((1, 11), None),
    "default-snapshot-move-data": ((1, 12, 1), None),
    "disable-informer-cache": ((1, 12, 1), None),
    "schedule-skip-immediately": ((1, 13), None),
    **dict.fromkeys(
        [
            "keep-latest-maintenance-jobs", "maintenance-job-cpu-limit", "maintenance-job-cpu-request",
            "maintenance-job-mem-limit", "maintenance-job-mem-request",
        ],
        ((1, 14), (1, 16)),
    ),
    "backup-repository-configmap": ((1, 15), None),
    "repo-maintenance-job-configmap": ((1, 15), None),
    "item-block-worker-count": ((1, 16), None),
    "volume-group-snapshot-label-key": ((1, 17), None),
    "concurrent-backups": ((1, 18), None),
}  # fmt: skip
"""Flags of `velero server` and the releases that accept them. Flags of every sub-command (GLOBAL_FLAGS) are accepted besides."""

AGENT_FLAGS: dict[str, Bounds] = {
    "log-format": ((1, 6), None),
    "log-level": ((1, 6), None),
    "data-mover-prepare-timeout": ((1, 12), None),
    "resource-timeout": ((1, 12), None),
    "metrics-address": ((1, 12, 2), None),
    "node-agent-configmap": ((1, 15), None),
    "backup-repository-configmap": ((1, 18), None),
}
"""Flags of `velero restic server` and `velero node-agent server`, likewise."""

GLOBAL_FLAGS = frozenset({"features", "namespace", "kubeconfig", "kubecontext", "colorized"})
"""Flags that every sub-command accepts in every release."""

LOGGING_FLAGS = frozenset(
    {"add_dir_header", "alsologtostderr", "log_backtrace_at", "log_dir", "log_file", "log_file_max_size", "logtostderr", "one_output",
     "skip_headers", "skip_log_headers", "stderrthreshold", "v", "vmodule"}
)  # fmt: skip
"""Flags of the logging library, with a value or without; left as they stand."""

RENAMED = {
    "default-restic-prune-frequency": "default-repo-maintain-frequency",
    "default-volumes-to-restic": "default-volumes-to-fs-backup",
    "restic-timeout": "fs-backup-timeout",
}
"""Flags that got another name in 1.10."""

SWITCHES = frozenset(
    {"alsologtostderr", "add_dir_header", "colorized", "default-snapshot-move-data", "default-volumes-to-fs-backup", "default-volumes-to-restic",
     "disable-informer-cache", "logtostderr", "one_output", "restore-only", "schedule-skip-immediately", "skip_headers", "skip_log_headers"}
)  # fmt: skip
"""Flags that may stand without a value, which then is true; a following word is not their value."""

DURATIONS = frozenset(
    {"backup-sync-period", "data-mover-prepare-timeout", "default-backup-ttl", "default-item-operation-timeout", "default-repo-maintain-frequency",
     "default-restic-prune-frequency", "fs-backup-timeout", "garbage-collection-frequency", "item-operation-sync-frequency", "resource-timeout",
     "restic-timeout", "store-validation-frequency", "terminating-resource-timeout"}
)  # fmt: skip
SETS = frozenset({"features", "disable-controllers"})
"""Flags whose value is a list in which the order means nothing."""
QUANTITIES = frozenset(name for name in SERVER_FLAGS if name.startswith("maintenance-job-"))

OF_OPTIONS = {
    "default_volumes_to_fs_backup": "default-volumes-to-fs-backup",
    "default_snapshot_move_data": "default-snapshot-move-data",
    "disable_informer_cache": "disable-informer-cache",
    "schedule_skip_immediately": "schedule-skip-immediately",
    "uploader_type": "uploader-type",
    "restore_only": "restore-only",
    "default_repo_maintain_frequency": "default-repo-maintain-frequency",
    "garbage_collection_frequency": "garbage-collection-frequency",
    "pod_volume_operation_timeout": "fs-backup-timeout",
    "keep_latest_maintenance_jobs": "keep-latest-maintenance-jobs",
    "backup_repository_configmap": "backup-repository-configmap",
    "repo_maintenance_job_configmap": "repo-maintenance-job-configmap",
    "item_block_worker_count": "item-block-worker-count",
    "concurrent_backups": "concurrent-backups",
}
"""Options and the server's flag (its newest name) that carries each of them out."""
AGENT_OF_OPTIONS = {"node_agent_configmap": "node-agent-configmap", "backup_repository_configmap": "backup-repository-configmap"}
"""Options and the node agent's flag, likewise."""

RESTIC_REFUSED = (1, 17)
"""The first release line whose server takes no --uploader-type but kopia."""


def parsed(args: Iterable[Any]) -> dict[str, str]:
    """Return the flags of a container's args, name without dashes to value; a switch without a value is true. Words that are no flags are left out.

    Both "--name=value" and "--name value" are read; the last of several counts, as it does for the server.
    """
    flags: dict[str, str] = {}
    waiting: str | None = None
    for word in (str(arg) for arg in args):
        if waiting is not None and not word.startswith("-"):
            flags[waiting] = word
            waiting = None
            continue
        waiting = None
        if not word.startswith("-") or word in {"-", "--"}:
            continue
        name, equals, value = word.lstrip("-").partition("=")
        flags[name] = value if equals else "true"
        waiting = None if equals or name in SWITCHES else name
    return flags


def words(args: Iterable[Any]) -> list[str]:
    """Return the words before the first flag: the sub-command, such as ["node-agent", "server"]."""
    found: list[str] = []
    for word in (str(arg) for arg in args):
        if word.startswith("-"):
            break
        found.append(word)
    return found


def written(flags: Mapping[str, str], like: Sequence[Any] = ()) -> list[str]:
    """Return flags as args. like: args whose texts and order are kept for the flags that mean the same there."""
    before = parsed(like)
    places = {name: number for number, name in enumerate(before)}
    names = sorted(flags, key=lambda name: places.get(name, len(places)))
    return [_text(name, flags[name]) for name in names]


def _text(name: str, value: str) -> str:
    # Velero's CLI writes this one switch without a value
    return "--restore-only" if name == "restore-only" and value == "true" else f"{'-' if len(name) == 1 else '--'}{name}={value}"


def value_text(name: str, value: Any) -> str:
    """Return the value of a flag as it is written: booleans small, lists joined by commas, durations as Go prints them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(str(item) for item in value)
    return canonical(name, str(value)) if name in DURATIONS else str(value)


def canonical(name: str, value: str) -> str:
    """Return a value with everything that means the same written the same."""
    value = value.strip()
    try:
        if name in DURATIONS:
            return duration.canonical(value)
        if name in QUANTITIES:
            return quantity.canonical(value)
    except ValueError:
        return value  # the server could not read it either
    if name in SWITCHES and value in {"1", "t", "T", "TRUE", "True"}:
        return "true"
    if name in SWITCHES and value in {"0", "f", "F", "FALSE", "False"}:
        return "false"
    return ",".join(sorted(value.split(","))) if name in SETS else value


def equal(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Tell whether two sets of flags mean the same: a switch that is false and an empty list are as good as none."""
    return _meaning(one) == _meaning(other)


def _meaning(flags: Mapping[str, str]) -> dict[str, str]:
    found = {name: canonical(name, value) for name, value in flags.items()}
    return {name: value for name, value in found.items() if not (name in SWITCHES and value == "false") and not (name in SETS and not value)}


def name_in(flag: str, wanted: Release) -> str:
    """Return the name that a flag has in a release, whichever of its names is given."""
    if wanted.line >= release.AGENT_RENAMED:
        return RENAMED.get(flag, flag)
    return next((old for old, new in RENAMED.items() if new == flag), flag)


def of_options(options: Mapping[str, Any], wanted: Release) -> dict[str, str | None]:
    """Return the server's flags that the options ask for, in the names of the release; None means that the flag must not be there.

    What the release does not know is left out; it is refused before (release.option_refusal).
    """
    flags: dict[str, str | None] = {}
    for option, flag in OF_OPTIONS.items():
        value = options.get(option)
        if value is None or not release.knows(option, wanted):
            continue
        flags[name_in(flag, wanted)] = _option_text(flag, value)
    if options.get("features") is not None:
        flags["features"] = ",".join(options["features"])
    resources = options.get("maintenance_job_resources") or {}
    if release.knows("maintenance_job_resources", wanted):
        for kind in ("requests", "limits"):
            for resource, short in (("cpu", "cpu"), ("memory", "mem")):
                amount = (resources.get(kind) or {}).get(resource)
                if amount is not None:
                    flags[f"maintenance-job-{short}-{kind[:-1]}"] = str(amount) or None
    return flags | {name_in(name, wanted): value for name, value in _given(options.get("server_args")).items()}


def agent_of_options(options: Mapping[str, Any], wanted: Release) -> dict[str, str | None]:
    """Return the node agent's flags that the options ask for, likewise."""
    flags: dict[str, str | None] = {}
    for option, flag in AGENT_OF_OPTIONS.items():
        if options.get(option) is not None and release.within(wanted, AGENT_FLAGS[flag]):
            flags[flag] = _option_text(flag, options[option])
    if options.get("features") is not None:
        flags["features"] = ",".join(options["features"])
    return flags | _given(options.get("node_agent_args"))


def _option_text(flag: str, value: Any) -> str | None:
    """Return the flag's value for an option's; None where the option says what the server does without the flag."""
    if value is False or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value == 0:
        return None
    if flag in DURATIONS:
        # the CLI leaves these flags out when they are 0, which is the server's own default
        text = canonical(flag, str(value))
        return None if text == "0s" else text
    return value_text(flag, value)


def _given(args: Mapping[str, Any] | None) -> dict[str, str | None]:
    return {str(name).lstrip("-"): None if value is None else value_text(str(name).lstrip("-"), value) for name, value in (args or {}).items()}


def flag_refusal(flag: str, wanted: Release, *, agent: bool = False) -> str | None:
    """Return in one sentence why the server (or the node agent) of a release would refuse a flag; None when it accepts or nobody knows it."""
    table, who = (AGENT_FLAGS, "node agent") if agent else (SERVER_FLAGS, "server")
    if flag in GLOBAL_FLAGS or flag in LOGGING_FLAGS:
        return None
    bounds = table.get(flag)
    if bounds is None:
        # one of the other program's own flags is known to be refused; any other may be of a build of one's own
        return f"the {who} has no such flag" if flag in (SERVER_FLAGS if agent else AGENT_FLAGS) else None
    first, last = bounds
    if release.within(wanted, bounds):
        return None
    if last and wanted.line > last:
        instead = f"; it is called {RENAMED[flag]} now" if flag in RENAMED else ""
        return f"the {who} of Velero {release.shown(last)} was the last to know it{instead}"
    return f"the first {who} to know it is that of Velero {release.shown(first)}"


def given_refusal(flag: str, wanted: Release, *, agent: bool = False) -> str | None:
    """Return in one sentence why a flag that is asked for now cannot be given: as flag_refusal, and when no release that we know has it."""
    name = flag.lstrip("-")
    table, who = (AGENT_FLAGS, "node agent") if agent else (SERVER_FLAGS, "server")
    known = {*table, *GLOBAL_FLAGS, *LOGGING_FLAGS}
    if name not in {*known, *RENAMED} and name not in (SERVER_FLAGS if agent else AGENT_FLAGS):
        close = difflib.get_close_matches(name, known, 1)
        return f"no {who} of a release that is known here has the flag {name}{f'; {close[0]} is one' if close else ''}"
    return flag_refusal(name if agent else name_in(name, wanted), wanted, agent=agent)


def settled(flags: Mapping[str, str], wanted: Release, *, agent: bool = False) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return (flags as the release takes them, [(dropped flag with its value, reason)]). Renamed flags are renamed, not dropped."""
    kept: dict[str, str] = {}
    dropped: list[tuple[str, str]] = []
    for name, value in flags.items():
        now = name if agent else name_in(name, wanted)
        if now != name and now in flags:
            dropped.append((_text(name, value), f"it is called {now} now, which is given as well"))
            continue
        refusal = flag_refusal(now, wanted, agent=agent)
        if refusal is None and not agent and now == "uploader-type" and value.strip() != "kopia" and wanted.line >= RESTIC_REFUSED:
            refusal = f"the server of Velero {release.shown(RESTIC_REFUSED)} and newer takes kopia only, and uses it without the flag"
        if refusal:
            dropped.append((_text(name, value), refusal))
        else:
            kept[now] = value
    return kept, dropped


def merged(flags: Mapping[str, str], asked: Mapping[str, str | None]) -> dict[str, str]:
    """Return flags with those asked for put in, and those that must not be there taken out. What means the same keeps its text."""
    result = dict(flags)
    for name, value in asked.items():
        if value is None:
            result.pop(name, None)
        elif name not in result or canonical(name, result[name]) != canonical(name, value):
            result[name] = value
    return result
