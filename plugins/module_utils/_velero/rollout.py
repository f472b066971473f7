# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof that Velero's workloads run as they were written, and the cause, early, when they cannot.

A pod that cannot start is told after PATIENCE seconds of the same trouble and not at the end of the task's time: an image that cannot be
pulled, a container that ends again and again, a node without room do not heal by waiting.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Forbidden, NotProven, Refused
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Done, Pending, Waited, wait
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.resource import Resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.watch import snapshots
from ansible_collections.serverops.circleci.plugins.module_utils._velero import server, validation

Document = dict[str, Any]
PATIENCE = 30.0
"""Seconds of the same trouble after which it is called lasting."""
STEADY = 10.0
"""Seconds after its start at which a container counts as working that has not said so: one that cannot work ends sooner."""
TO_END = 2.0
"""Seconds of a task's time that a wait for the server's answer leaves."""
AGENT_WORKS = "Controllers starting"
"""What a node agent logs (level info) once its own checks are behind it; 1.6 to 1.18. Its pod has no readiness probe."""
IMAGE, CRASH, NODE, REFUSED, OTHER = "image", "crash", "node", "refused", "other"
_KINDS = {
    "ErrImagePull": IMAGE,
    "ImagePullBackOff": IMAGE,
    "InvalidImageName": IMAGE,
    "ErrImageNeverPull": IMAGE,
    "ErrImageInspect": IMAGE,
    "RegistryUnavailable": IMAGE,
    "CrashLoopBackOff": CRASH,
    "Error": CRASH,
    "OOMKilled": CRASH,
    "Completed": CRASH,
    "ContainerCannotRun": CRASH,
    "StartError": CRASH,
    "RunContainerError": CRASH,
    "CreateContainerConfigError": OTHER,
    "CreateContainerError": OTHER,
    "Unschedulable": NODE,
}
"""A container's or pod's reason to the kind of trouble; what is not listed may pass by itself."""
_ADVICE = {
    IMAGE: "Correct image, plugins, registry or image_pull_secrets",
    CRASH: "Correct what its last words name",
    NODE: "Make room on a node, or ask for less in resources, or correct the node selector and the tolerations",
    REFUSED: "Let the namespace admit such pods (namespace_labels takes those of pod security), or look at quotas and webhooks",
    OTHER: "Make what the pod refers to, or correct its name",
}


@dataclass(frozen=True)
class Trouble:
    """What keeps a pod from running: kind, whether waiting may heal it, the pod, its container that failed, and a sentence."""

    kind: str
    pod: Document
    container: str
    text: str


class Patience:
    """Remembers since when the same trouble is seen."""

    def __init__(self, seconds: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = PATIENCE if seconds is None else seconds, clock
        self._key: tuple[str, str] | None = None
        self._since = 0.0

    def look(self, trouble: Trouble | None, operation: str, target: str, words: Callable[[str], str] = str, more: Callable[[], str] = str) -> None:
        """Take one look; NotProven when this trouble is lasting. more: gives what else is to be told, asked for only then."""
        key = (trouble.kind, _owner(trouble.pod)) if trouble and trouble.kind else None
        if key != self._key:
            self._key, self._since = key, self._clock()
        if trouble and key and self._clock() - self._since >= self._seconds:
            last = more()
            text = f"{trouble.text}{f'; its last words: {last}' if last else ''}"
            raise NotProven(operation, target, words(text), _ADVICE[trouble.kind])


def _owner(pod: Mapping[str, Any]) -> str:
    return str(pod["metadata"].get("generateName") or pod["metadata"]["name"])


def newest(pods: list[Document]) -> list[Document]:
    """Return the pods that are not on their way out, the newest last."""
    staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return sorted(staying, key=lambda pod: (str(pod["metadata"].get("creationTimestamp")), pod["metadata"]["name"]))


def trouble_of(pods: list[Document]) -> Trouble | None:
    """Return what is wrong with the first pod that has something; kind is empty for what may pass by itself."""
    found: Trouble | None = None
    for pod in newest(pods):
        trouble = _trouble(pod)
        if trouble and (found is None or (trouble.kind and not found.kind)):
            found = trouble
    return found


def _trouble(pod: Document) -> Trouble | None:
    name, problem = pod["metadata"]["name"], server.pod_problem(pod)
    failed = _failed_container(pod)
    if problem is None:
        return Trouble(CRASH, pod, failed, f"pod {name} has started again after container {failed} ended with an error") if failed else None
    reason, message = problem
    node = (pod.get("spec") or {}).get("nodeName")
    where = f" on node {node}" if node else ""
    kind = _KINDS.get(reason, CRASH if failed else "")
    return Trouble(kind, pod, failed or _waiting_container(pod), f"pod {name}{where} is not ready ({reason}{f': {message}' if message else ''})")


def _statuses(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _failed_container(pod: Mapping[str, Any]) -> str:
    """Return the container that ended with an error, now or before its last start."""
    for status in _statuses(pod):
        for state in (status.get("state") or {}, status.get("lastState") or {}):
            if (state.get("terminated") or {}).get("exitCode"):
                return str(status["name"])
    return ""


def _waiting_container(pod: Mapping[str, Any]) -> str:
    return next((str(status["name"]) for status in _statuses(pod) if (status.get("state") or {}).get("waiting")), "")


def last_words(api: Api, namespace: str, pod: Mapping[str, Any], container: str, *, previous: bool) -> str:
    """Return the last line that says something in a container's log; empty when it cannot be read."""
    for before in (previous, not previous):
        try:
            text = api.pod_log(namespace, pod["metadata"]["name"], container=container, tail_lines=20, previous=before)
        except (Forbidden, Refused):
            continue
        words = server.telling_line(text)
        # of a container that is removed already the kubelet answers with this sentence in place of a log
        if words and not words.startswith("unable to retrieve container logs"):
            return words
    return ""


def selected(workload: Mapping[str, Any], pods: list[Document]) -> list[Document]:
    """Return the pods that a workload selects."""
    wanted = workload["spec"]["selector"].get("matchLabels") or {}
    return [pod for pod in pods if wanted and all((pod["metadata"].get("labels") or {}).get(key) == value for key, value in wanted.items())]


def selector(workload: Mapping[str, Any]) -> str:
    """Return the label selector of a workload's pods."""
    return ",".join(f"{key}={value}" for key, value in sorted((workload["spec"]["selector"].get("matchLabels") or {}).items()))


def deployment_state(deployment: Mapping[str, Any]) -> str:
    """Return what is missing until a Deployment runs as written; empty when nothing is."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    wanted = spec.get("replicas", 1)
    if wanted == 0:
        return "it is scaled to 0"
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return "the controller has not seen the change yet"
    updated, available, total = (int(status.get(name) or 0) for name in ("updatedReplicas", "availableReplicas", "replicas"))
    if updated < wanted or available < wanted or total > wanted:
        return f"{updated} of {wanted} pods are of the new kind, {available} available"
    return ""


def daemon_set_state(daemon_set: Mapping[str, Any]) -> str:
    """Return what is missing until a DaemonSet runs as written on every node; empty when nothing is."""
    status = daemon_set.get("status") or {}
    if status.get("observedGeneration", 0) < daemon_set["metadata"].get("generation", 0):
        return "the controller has not seen the change yet"
    wanted = int(status.get("desiredNumberScheduled") or 0)
    updated, ready = (int(status.get(name) or 0) for name in ("updatedNumberScheduled", "numberReady"))
    if updated < wanted or ready < wanted:
        return f"{updated} of {wanted} pods are of the new kind, {ready} ready"
    return ""


def prove(
    api: Api,
    kind: Resource,
    namespace: str,
    name: str,
    deadline: Deadline,
    patience: Patience,
    progress: Callable[[str], None],
    words: Callable[[str], str],
) -> Waited[Any]:
    """Wait until a Deployment or DaemonSet runs as written. NotProven with the cause as soon as it is lasting."""
    target = kind.target(namespace, name)
    state = deployment_state if kind is resource.DEPLOYMENT else daemon_set_state
    steady: set[str] = set()
    began = api.server_time()

    def judge(seen: Document | None) -> Done | Pending:
        if seen is None:
            return Pending("it is not there; somebody removed it, or an old state was seen")
        missing = state(seen)
        if missing == "it is scaled to 0":
            raise NotProven("prove", target, missing, "Scale it to 1 when Velero is to run")
        if not missing and kind is resource.DEPLOYMENT:
            return Done(None, "it runs as written")
        pods = api.list(resource.POD, namespace, label_selector=selector(seen)).items
        missing = missing or _unsteady(api, namespace, newest(pods), steady)
        if not missing:
            return Done(None, "it runs as written")
        trouble = trouble_of(pods) or _refused(api, seen, kind, namespace, pods, began)
        _look(api, namespace, trouble, patience, target, words)
        return Pending(words(f"{missing}; {trouble.text}") if trouble else missing)

    seen = snapshots(api, kind, namespace, name, deadline=deadline)
    return wait(seen, judge, deadline, progress, "prove", target, "Look at its pods and their events")


def works_already(api: Api, namespace: str, daemon_set: Document, pods: list[Document]) -> bool:
    """Tell whether agents run as written, by what was read of them just now; their log is asked where it tells that."""
    return not daemon_set_state(daemon_set) and not _unsteady(api, namespace, newest(pods), set())


def _refused(api: Api, workload: Document, kind: Resource, namespace: str, pods: list[Document], since: datetime) -> Trouble | None:
    """Return why the API server takes none of a workload's pods; pod security, a quota or a webhook refuses them before there is a pod to look at.

    since: what was told before may be over, and the controller waits longer and longer before it tries again, so it is told and not counted.
    """
    if pods:
        return None
    if kind is resource.DEPLOYMENT:
        told = [item for item in (workload.get("status") or {}).get("conditions") or [] if item.get("reason") == "FailedCreate"]
    else:
        chosen = f"involvedObject.uid={workload['metadata'].get('uid')},reason=FailedCreate"
        try:
            told = api.list(resource.EVENT, namespace, field_selector=chosen).items
        except Refused:
            told = []
    if not told:
        return None
    times = [validation.parse_time(item.get(name)) for item in told for name in ("lastTimestamp", "eventTime", "lastUpdateTime") if item.get(name)]
    lasts = any(time is not None and time >= since for time in times)
    return Trouble(REFUSED if lasts else "", workload, "", f"its pods are refused: {told[-1].get('message')}")


def _unsteady(api: Api, namespace: str, pods: list[Document], steady: set[str]) -> str:
    """Return which agent has started a moment ago and has not said that it works; empty when none has. steady: those seen to work, by uid."""
    now = api.server_time()
    for pod in pods:
        starts = [((status.get("state") or {}).get("running") or {}).get("startedAt") for status in _statuses(pod)]
        started = max((time for text in starts if (time := validation.parse_time(text))), default=None)
        key = f"{pod['metadata']['uid']} {started}"
        if key in steady or (started is not None and (now - started).total_seconds() >= STEADY):
            continue
        container = server.agent_container({"spec": {"template": pod}})
        try:
            text = api.pod_log(namespace, pod["metadata"]["name"], container=str((container or {}).get("name", "")), tail_lines=1000)
        except Refused:
            text = ""
        if AGENT_WORKS not in text:
            return f"pod {pod['metadata']['name']} has started and not said yet that it works"
        steady.add(key)
    return ""


def _look(api: Api, namespace: str, trouble: Trouble | None, patience: Patience, target: str, words: Callable[[str], str]) -> None:
    def more() -> str:
        if trouble is None or trouble.kind != CRASH or not trouble.container:
            return ""
        return last_words(api, namespace, trouble.pod, trouble.container, previous=True)

    patience.look(trouble, "prove", target, words, more)


def prove_server(
    api: Api,
    namespace: str,
    name: str,
    deadline: Deadline,
    progress: Callable[[str], None],
    words: Callable[[str], str],
    seen: tuple[Document, list[Document]] | None = None,
) -> tuple[str | None, list[dict[str, str]], Document]:
    """Wait until the Deployment runs as written and its server answers; return (version, plugins, the newest pod).

    The server's pod has no readiness probe: it counts as ready as soon as it was started, also when it ends a moment later. So its own
    answer is the proof. seen: the Deployment and its pods as the task has just read them, when it has written nothing.
    """
    patience = Patience()
    target = resource.DEPLOYMENT.target(namespace, name)
    found: list[Document] = []
    if seen is not None and not deployment_state(seen[0]):
        deployment, found = seen[0], newest(seen[1])
    else:
        deployment = prove(api, resource.DEPLOYMENT, namespace, name, deadline, patience, progress, words).seen
    looks = itertools.count()

    def pods() -> list[Document]:
        return newest(api.list(resource.POD, namespace, label_selector=selector(deployment)).items)

    def meanwhile() -> str:
        if not next(looks):
            return ""  # it was asked a moment ago
        trouble = trouble_of(pods())
        _look(api, namespace, trouble, patience, target, words)
        return words(trouble.text) if trouble else ""

    # some of the time is left to say what was seen last, and to remove the question
    version, plugins = server.ask_status(
        api, namespace, deadline, within=max(1.0, deadline.remaining() - TO_END), meanwhile=meanwhile, progress=progress
    )
    found = found or pods()
    if not found:
        raise NotProven("prove", target, "its server has answered, and its pod is gone", "Look who else changes it")
    return version, plugins, found[-1]
