# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Velero's server as seen from outside: its pods and what is wrong with them, its own answer to who it is, its log.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Conflict, DeadlineOver, OperationError
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Done, Pending, wait
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.watch import snapshots

ANSWER_WITHIN = 10.0
"""Seconds in which a running server answers a ServerStatusRequest (seen: 0.1 s); Velero's own CLI gives it 5."""
QUIET = 1.0
"""Seconds for which nothing is said about a question that is not answered yet."""
LOG_LINES = 200


def image_version(image: str) -> str | None:
    """Return the tag of an image; None for a digest or no tag."""
    last = image.rsplit("/", 1)[-1].split("@", 1)[0]
    return last.partition(":")[2] or None


def minor_version(version: str | None) -> tuple[int, int] | None:
    """Return (major, minor) of a server's version; None for a version that is none, such as a build of a branch."""
    found = re.match(r"v?(\d+)\.(\d+)", version or "")
    return (int(found.group(1)), int(found.group(2))) if found else None


def server_container(workload: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the container of a Deployment that runs Velero's server, whoever installed it."""
    for container in _pod_spec(workload).get("containers") or []:
        if _runs(container, ["server"]):
            return dict(container)
    return None


def agent_container(workload: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the container of a DaemonSet that runs a node agent ("restic server" up to 1.9, "node-agent server" from 1.10)."""
    for container in _pod_spec(workload).get("containers") or []:
        if _runs(container, ["restic", "server"]) or _runs(container, ["node-agent", "server"]):
            return dict(container)
    return None


def _pod_spec(workload: Mapping[str, Any]) -> dict[str, Any]:
    return dict(workload.get("spec", {}).get("template", {}).get("spec", {}))


def _runs(container: Mapping[str, Any], words: list[str]) -> bool:
    command = [str(part) for part in [*(container.get("command") or []), *(container.get("args") or [])]]
    return bool(command) and command[0].rsplit("/", 1)[-1] == "velero" and command[1 : 1 + len(words)] == words


def plugin_images(workload: Mapping[str, Any]) -> list[str]:
    """Return the images of a server's plugins: init containers that mount /target. Their names differ by version and installer."""
    return [
        str(container["image"])
        for container in _pod_spec(workload).get("initContainers") or []
        if any(mount.get("mountPath") == "/target" for mount in container.get("volumeMounts") or [])
    ]


def pod_ready(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod is Ready and not on its way out."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return "deletionTimestamp" not in pod["metadata"] and any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def pod_problem(pod: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return (reason, message) of what keeps a pod from being Ready; None when it is Ready."""
    if pod_ready(pod):
        return None
    status = pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating", "the pod is being removed"
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("reason") or "Unschedulable"), str(condition.get("message") or "")
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        ended = (container.get("lastState") or {}).get("terminated") or (container.get("state") or {}).get("terminated") or {}
        if waiting.get("reason") in {None, "PodInitializing", "ContainerCreating"} and not ended.get("exitCode"):
            continue
        parts = [str(waiting.get("message") or "")] if waiting else []
        if ended.get("exitCode"):
            why = ended.get("reason") or "no reason given"
            parts.append(
                f"container {container['name']} ended with exit code {ended['exitCode']} ({why}), {container.get('restartCount', 0)} restarts"
            )
        return str(waiting.get("reason") or ended.get("reason") or "NotReady"), "; ".join(part for part in parts if part)
    return str(status.get("reason") or "NotReady"), str(status.get("message") or f"phase {status.get('phase') or 'unknown'}")


def ask_status(
    api: Api,
    namespace: str,
    deadline: Deadline,
    *,
    within: float = ANSWER_WITHIN,
    meanwhile: Callable[[], str] = lambda: "",
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[str | None, list[dict[str, str]]]:
    """Ask the running server for its version and plugins by a ServerStatusRequest, and remove the request again.

    The server removes answered requests itself within five minutes, so one that stays behind (a killed task) does no harm.
    meanwhile: called at each look without an answer; returns what else is to be told, or raises what makes waiting useless.
    """
    name = f"serverops-circleci-{secrets.token_hex(5)}"
    try:
        made = api.create(resource.SERVER_STATUS_REQUEST, namespace, {"metadata": {"name": name}, "spec": {}})
    except Conflict:
        # the name is ours alone: an earlier try arrived and its answer was lost
        made = {}
    limit = Deadline(min(within, deadline.remaining()))

    def told(text: str) -> None:
        # a server answers in a tenth of a second, about which nobody needs to read
        if limit.elapsed() >= QUIET:
            progress(text)

    def judge(seen: dict[str, Any] | None) -> Done | Pending:
        status = (seen or {}).get("status") or {}
        if status.get("phase") == "Processed":
            return Done(status, "answered")
        more = meanwhile()
        return Pending(f"no answer yet{f'; {more}' if more else ''}")

    try:
        if (made.get("status") or {}).get("phase") == "Processed":
            status = made["status"]
        else:
            # from the answer on, without a list; only where the answer was lost a list has to come first
            version = str((made.get("metadata") or {}).get("resourceVersion") or "")
            kind = resource.SERVER_STATUS_REQUEST
            seen = snapshots(api, kind, namespace, name, deadline=limit, start_version=version, known=made or None)
            try:
                status = wait(seen, judge, limit, told, "ask", f"Velero's server in namespace {namespace}", "Look into its log").value
            except DeadlineOver:
                # a watch that hung shows nothing, so look once more before the server is called silent
                last = judge(api.get(resource.SERVER_STATUS_REQUEST, namespace, name))
                if not isinstance(last, Done):
                    raise
                status = last.value
    finally:
        with contextlib.suppress(OperationError):
            # the name is ours alone, so a second arrival can do no harm
            api.send(dataclasses.replace(resource.delete(resource.SERVER_STATUS_REQUEST, namespace, name), repeatable=True))
    plugins = [{"name": str(item["name"]), "kind": str(item["kind"])} for item in status.get("plugins") or []]
    return status.get("serverVersion") or None, sorted(plugins, key=lambda item: (item["kind"], item["name"]))


def ask_once(api: Api, namespace: str, limit: Deadline) -> tuple[str | None, list[dict[str, str]]] | None:
    """Ask as `ask_status` does, for a short time; None when no answer came."""
    try:
        return ask_status(api, namespace, limit)
    except DeadlineOver:
        if api.transport.deadline.over:
            raise  # the time of the task was over, which says nothing about the server
        return None


def last_log_line(api: Api, namespace: str, location: str) -> str:
    """Return the server's last error about a storage location from its log; empty when it cannot be read or says nothing.

    Servers up to 1.8 give no reason in the location's status (seen on 1.8.1).
    """
    try:
        pods = [pod for pod in api.list(resource.POD, namespace, label_selector="deploy=velero").items if pod_ready(pod)]
        text = api.pod_log(namespace, pods[0]["metadata"]["name"], container="velero", tail_lines=LOG_LINES) if pods else ""
    except OperationError:
        return ""
    name = re.compile(rf"(?<![\w.-]){re.escape(location)}(?![\w.-])")
    cause = re.compile(rf'location "{re.escape(location)}" is unavailable: (.*?)\)?(?:; Backup storage location "|$)')
    for line in reversed(text.splitlines()):
        if not name.search(line):
            continue
        message = log_message(line)
        # 1.8 names the cause in a warning that sums up all locations (seen on 1.8.1)
        found = cause.search(message)
        if found:
            return found.group(1)
        if "level=error" in line or '"level":"error"' in line:
            return message
    return ""


def telling_line(text: str) -> str:
    """Return the last line of a log that names an error, or else the last one; at most 500 characters, empty for an empty log."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "rror" in line or "level=fatal" in line or "panic" in line]
    return log_message((telling or lines or [""])[-1])[:500]


def log_message(line: str) -> str:
    """Return the error and message of a line of Velero's log (logrus text or JSON form)."""
    if line.lstrip().startswith("{"):
        try:
            document = json.loads(line)
        except ValueError:
            return line.strip()
        return ": ".join(str(document[name]) for name in ("msg", "error") if document.get(name))
    found = dict(re.findall(r'\b(msg|error)=("(?:[^"\\]|\\.)*"|\S+)', line))
    parts = [found[name].strip('"').replace('\\"', '"') for name in ("msg", "error") if name in found]
    return ": ".join(parts) or line.strip()
