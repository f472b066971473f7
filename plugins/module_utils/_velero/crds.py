# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Velero's custom resource definitions: which a release has, where their text comes from, and whether those in the cluster are of a release.

The text is Velero's own and not part of this collection. It comes from the wanted release's program, from a file, or from a Job that runs
the wanted image. What was written is marked on each definition by an annotation with the release and the definition's generation. The API
server counts the generation up at each change of the spec, so a mark that fits says that nobody has changed the definition since.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Step
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError, LibraryMissing, Malformed, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Request
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Done, Pending, wait
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.watch import snapshots
from ansible_collections.serverops.circleci.plugins.module_utils._velero import release as releases
from ansible_collections.serverops.circleci.plugins.module_utils._velero import rollout, server

try:
    import yaml

    YAML_PROBLEM = ""
    LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml reads the 300 kB of a release in a tenth of the time
except ImportError as problem:
    YAML_PROBLEM = str(problem)

Document = dict[str, Any]
GROUP = "velero.io"
MARK = "serverops.circleci/crds"
"""Annotation of a definition that was written here: release and generation, as in "1.17.2 3"."""
LABEL = {"component": "velero"}
"""Label of every definition that Velero's program makes (1.5 to 1.18)."""
JOB = "serverops-circleci-crds"
PROGRAM_SECONDS = 60.0
"""Longest run of Velero's program; seen: 0.2 s."""
LOG_LINES = 100_000
"""Lines of the Job's log; the definitions of 1.17.2 have about 6000."""
ARGUMENTS = ("install", "--crds-only", "--dry-run", "-o", "yaml")

_ALWAYS = (
    "backups",
    "backupstoragelocations",
    "deletebackuprequests",
    "downloadrequests",
    "podvolumebackups",
    "podvolumerestores",
    "restores",
    "schedules",
    "serverstatusrequests",
    "volumesnapshotlocations",
)
# plural: first release that has it, first one that has it no more
_SOMETIMES: Mapping[str, tuple[tuple[int, int], tuple[int, int] | None]] = {
    "resticrepositories": ((1, 0), (1, 10)),
    "backuprepositories": ((1, 10), None),
    "datauploads": ((1, 12), None),
    "datadownloads": ((1, 12), None),
}


def expected(release: releases.Release) -> tuple[str, ...]:
    """Return the names of the definitions of a release."""
    version = (release.major, release.minor)
    plurals = [*_ALWAYS, *(name for name, (first, gone) in _SOMETIMES.items() if version >= first and (gone is None or version < gone))]
    return tuple(sorted(f"{plural}.{GROUP}" for plural in plurals))


def read(api: Api, release: releases.Release | None) -> dict[str, Document]:
    """Return the metadata of Velero's definitions in the cluster by name, those without Velero's label too when a release is wanted."""
    selector = ",".join(f"{name}={value}" for name, value in LABEL.items())
    listed = api.list(resource.CUSTOM_RESOURCE_DEFINITION, label_selector=selector, metadata_only=True).items
    found = {item["metadata"]["name"]: item for item in listed if item["metadata"]["name"].endswith(f".{GROUP}")}
    for name in expected(release) if release else ():
        if name not in found:
            one = api.get(resource.CUSTOM_RESOURCE_DEFINITION, "", name)
            if one is not None:
                found[name] = one
    return found


def fits(definition: Mapping[str, Any] | None, release: releases.Release) -> bool:
    """Tell whether a definition was written here for this release and has not been changed since."""
    metadata = (definition or {}).get("metadata") or {}
    return bool(metadata) and (metadata.get("annotations") or {}).get(MARK) == _mark(release, int(metadata.get("generation") or 0))


def _mark(release: releases.Release, generation: int) -> str:
    return f"{release.major}.{release.minor}.{release.patch} {generation}"


@dataclass(frozen=True)
class State:
    """What is known of the definitions.

    live: those in the cluster by name, at least their metadata; whole: those of them that were read whole, because their texts are to be
    compared; documents: the wanted texts, None when they are not known; job: a Job that an earlier task left.
    """

    live: Mapping[str, Document]
    whole: Mapping[str, Document] = field(default_factory=dict)
    documents: Mapping[str, Document] | None = None
    job: Document | None = None


def unfit(live: Mapping[str, Document], release: releases.Release) -> list[str]:
    """Return the names of a release's definitions that are missing or not known to be of it."""
    return [name for name in expected(release) if not fits(live.get(name), release)]


# where the text comes from


def parsed(text: str, source: str) -> dict[str, Document]:
    """Return the definitions in a YAML text by name. source: what to call it in an error.

    Refuses whatever is no definition of Velero's: the text comes from outside, and nothing else is to be written from it.
    """
    if YAML_PROBLEM:
        raise LibraryMissing("yaml", "Python", YAML_PROBLEM, "reading Velero's custom resource definitions")
    try:
        found = [item for document in yaml.load_all(text, Loader=LOADER) for item in _flat(document)]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise Malformed("read", source, f"it is not YAML{where}", "Give what velero install --crds-only --dry-run -o yaml prints") from None
    definitions: dict[str, Document] = {}
    for item in found:
        definitions |= _checked(item, source)
    if not definitions:
        raise Malformed("read", source, "it holds no custom resource definition", "Give what velero install --crds-only --dry-run -o yaml prints")
    return definitions


def _flat(document: Any) -> Iterable[Any]:
    if document is None:
        return ()
    return document.get("items") or () if isinstance(document, Mapping) and document.get("kind") == "List" else (document,)


def _checked(item: Any, source: str) -> dict[str, Document]:
    if not isinstance(item, Mapping) or not isinstance(item.get("metadata"), Mapping) or not isinstance(item.get("spec"), Mapping):
        raise Malformed("read", source, "it holds something that is no Kubernetes object", "Give only Velero's custom resource definitions")
    name, kind, version = str(item["metadata"].get("name")), str(item.get("kind")), str(item.get("apiVersion"))
    if kind != "CustomResourceDefinition" or not name.endswith(f".{GROUP}") or item["spec"].get("group") != GROUP:
        raise Malformed(
            "read", source, f"it holds {kind} {name}, which is no custom resource definition of {GROUP}", "Give only Velero's definitions"
        )
    if version != resource.CUSTOM_RESOURCE_DEFINITION.api_version:
        raise Malformed(
            "read", source, f"{name} is {version}, which Kubernetes 1.22 and newer do not take", "Give the definitions of Velero 1.6.3 or newer"
        )
    labels = {**(item["metadata"].get("labels") or {}), **LABEL}
    annotations = dict(item["metadata"].get("annotations") or {})
    return {name: {"metadata": {"name": name, "labels": labels, "annotations": annotations}, "spec": dict(item["spec"])}}


def complete(documents: Mapping[str, Document], release: releases.Release, option: str) -> None:
    """Refuse a text that lacks a definition of the release."""
    missing = [name for name in expected(release) if name not in documents]
    if missing:
        raise InputError(option, f"what it gives lacks {', '.join(missing)} of Velero {release.text}", "Give the definitions of the wanted release")


def from_file(path: str, release: releases.Release) -> dict[str, Document]:
    """Return the definitions in a file."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not a text file"
        raise InputError("crds_file", f"{path} cannot be read: {reason}", "Give a file on the machine that the task runs on") from None
    documents = parsed(text, f"file {path} of option crds_file")
    complete(documents, release, "crds_file")
    return documents


def from_program(program: str, release: releases.Release, context: Context, deadline: Deadline) -> dict[str, Document]:
    """Return the definitions that the release's own program prints. The program has to be of the wanted release."""
    told = _run(program, ("version", "--client-only"), context, deadline)
    words = [line.split(":", 1)[1].strip() for line in told.splitlines() if line.strip().startswith("Version:")]
    found = server.minor_version(words[0]) if words else None
    if found is not None and found != (release.major, release.minor):
        raise InputError(
            "velero_program",
            f"{program} is Velero {words[0]}, and its definitions are not those of {release.text}",
            "Give the wanted release's program",
        )
    text = _run(program, ARGUMENTS, context, deadline)
    documents = parsed(text, f"the output of {program} {' '.join(ARGUMENTS)}")
    complete(documents, release, "velero_program")
    return documents


def _run(program: str, arguments: tuple[str, ...], context: Context, deadline: Deadline) -> str:
    seconds = min(PROGRAM_SECONDS, max(1.0, deadline.remaining()))
    advice = "Give the path of the wanted release's velero, or crds_from job"
    try:
        done = context.run_program([program, *arguments], seconds)
    except TimeoutError:
        raise InputError("velero_program", f"{program} {arguments[0]} did not end within {seconds:g} s", advice) from None
    except OSError as error:
        raise InputError("velero_program", f"{program} cannot be run: {error.strerror or error}", advice) from None
    if done.status:
        words = " ".join((done.errors.strip() or done.output.strip())[-300:].split())
        raise InputError("velero_program", f"{program} {arguments[0]} ended with status {done.status}: {words}", advice)
    return done.output


# the Job


@dataclass(frozen=True)
class JobWanted:
    """What the Job that prints the definitions needs to run where the server will run."""

    namespace: str
    image: str
    pull_policy: str | None
    pull_secrets: tuple[str, ...]
    placement: Mapping[str, Any]


def job_body(wanted: JobWanted) -> Document:
    """Return the Job. It needs no rights in the cluster and gets none."""
    container: Document = {
        "name": "velero",
        "image": wanted.image,
        "command": ["/velero", *ARGUMENTS, "--namespace", wanted.namespace],
        "env": [{"name": "HOME", "value": "/nowhere"}],
    }
    if wanted.pull_policy:
        container["imagePullPolicy"] = wanted.pull_policy
    pod: Document = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [container],
        **wanted.placement,
    }
    if wanted.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in wanted.pull_secrets]
    labels = {**LABEL, "app.kubernetes.io/managed-by": "serverops.circleci"}
    return {
        "metadata": {"name": JOB, "labels": labels},
        "spec": {"backoffLimit": 0, "ttlSecondsAfterFinished": 600, "template": {"metadata": {"labels": {**labels, "job-name": JOB}}, "spec": pod}},
    }


def run_job(api: Api, context: Context, create: Request, namespace: str, release: releases.Release, deadline: Deadline) -> dict[str, Document]:
    """Make the Job, wait for its end, and return the definitions in its log. The Job is removed by a step of its own."""
    target = resource.JOB.target(namespace, JOB)
    image = create.body["spec"]["template"]["spec"]["containers"][0]["image"]
    api.carry_out(create)
    patience = rollout.Patience()

    def judge(seen: Document | None) -> Done | Pending:
        if seen is None:
            return Pending("it is not there; somebody removed it, or an old state was seen")
        status = seen.get("status") or {}
        if status.get("succeeded"):
            return Done(None, "succeeded")
        pods = _job_pods(api, namespace)
        if status.get("failed"):
            words = rollout.last_words(api, namespace, pods[-1], "velero", previous=False) if pods else ""
            raise NotProven("run", target, f"{image} ended with an error{f': {words}' if words else ''}", "Check that version and image fit")
        trouble = rollout.trouble_of(pods)
        patience.look(trouble, "run", target, context.mask.text)
        return Pending(trouble.text if trouble else "it runs")

    seen = snapshots(api, resource.JOB, namespace, JOB, deadline=deadline)
    wait(seen, judge, deadline, context.progress, "run", target, "Look at the Job's pod")
    pods = _job_pods(api, namespace)
    if not pods:
        raise NotProven("read the log of", target, "its pod is gone", "Run the task again")
    text = api.pod_log(namespace, pods[-1]["metadata"]["name"], container="velero", tail_lines=LOG_LINES)
    documents = parsed(_from_first_line(text), f"the log of {target}")
    complete(documents, release, "version")
    return documents


def _job_pods(api: Api, namespace: str) -> list[Document]:
    pods = api.list(resource.POD, namespace, label_selector=f"job-name={JOB}").items
    return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))


def _from_first_line(text: str) -> str:
    """Return a log from where the YAML begins: a release may print a warning before."""
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith(("apiVersion:", "---", "items:"))), 0)
    return "\n".join(lines[start:])


# writing


def step(name: str, live: Mapping[str, Document]) -> Step:
    """Return the write of one definition, without its text: `write` fills it in."""
    there = live.get(name)
    reason = "the definition is not there yet" if there is None else "the definition is not known to be of the wanted release"
    if there is None:
        return Step(resource.create(resource.CUSTOM_RESOURCE_DEFINITION, "", {"metadata": {"name": name}}), reason)
    return Step(resource.merge_patch(resource.CUSTOM_RESOURCE_DEFINITION, "", name, {"metadata": {}}), reason)


def needs_write(name: str, state: State) -> bool:
    """Tell whether a definition that does not fit has to be written: not when it was read whole and is what its text says."""
    live = state.whole.get(name)
    return state.documents is None or live is None or name not in state.documents or not same(live, state.documents[name])


def same(live: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Tell whether a definition is what its text says, no less and no more, apart from what the API server adds as a default.

    More would not do: with a status subresource that a release's own text has no more, its server's writes of a status go nowhere (1.9).
    """
    wanted, there = _without_nulls(document["spec"]), _without_nulls(live.get("spec") or {})
    there |= {"names": {**there.get("names", {})}}
    if "conversion" not in wanted and there.get("conversion") == {"strategy": "None"}:
        del there["conversion"]
    if not there.get("preserveUnknownFields") and not wanted.get("preserveUnknownFields"):
        there.pop("preserveUnknownFields", None)
        wanted.pop("preserveUnknownFields", None)
    for name in ("listKind", "singular"):
        if name not in wanted.get("names", {}):
            there["names"].pop(name, None)
    return bool(there == wanted)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def replacing(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> Document:
    """Return the merge patch that makes one value of the other: what is there and not wanted goes, and defaults come back by the API server."""
    patch: Document = {name: None for name in there if name not in wanted}
    for name, value in wanted.items():
        old = there.get(name)
        patch[name] = replacing(value, old) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return patch


def write(api: Api, name: str, document: Document, release: releases.Release, *, new: bool) -> None:
    """Make or change one definition, with its mark. A changed spec gets the next generation, so the mark is known before.

    new: none was there when the plan was made. Raises Conflict when one is there since.
    """
    kind = resource.CUSTOM_RESOURCE_DEFINITION
    live = None if new else api.get(kind, "", name)
    if live is None:
        metadata = {**document["metadata"], "annotations": {**document["metadata"]["annotations"], MARK: _mark(release, 1)}}
        written = api.create(kind, "", {"metadata": metadata, "spec": document["spec"]})
    else:
        generation = int(live["metadata"]["generation"])
        equal = same(live, document)
        annotations = {**document["metadata"]["annotations"], MARK: _mark(release, generation if equal else generation + 1)}
        patch: Document = {
            "metadata": {
                "resourceVersion": live["metadata"]["resourceVersion"],
                "labels": document["metadata"]["labels"],
                "annotations": annotations,
            }
        }
        patch |= {} if equal else {"spec": replacing(document["spec"], live.get("spec") or {})}
        written = api.patch(kind, "", name, patch)
    if not fits(written, release):
        # the spec was the same after all, by the server's own measure
        mark = _mark(release, int(written["metadata"]["generation"]))
        api.patch(kind, "", name, {"metadata": {"annotations": {MARK: mark}}})


def wait_served(api: Api, release: releases.Release, deadline: Deadline, progress: Callable[[str], None]) -> None:
    """Wait until the API server serves the kinds of a release; it does so a moment after their definitions are made."""
    wanted = {name.removesuffix(f".{GROUP}") for name in expected(release)}

    def looks() -> Iterator[set[str]]:
        while True:
            yield {item["name"] for version in ("v1", "v2alpha1") for item in _served(api, version)}
            deadline.pause(0.05)

    def judge(served: set[str]) -> Done | Pending:
        missing = sorted(wanted - served)
        return Pending(f"the API server does not serve {', '.join(missing)} yet") if missing else Done(None, "served")

    wait(looks(), judge, deadline, progress, "establish", f"custom resource definitions of {GROUP}", "Look at the conditions of the definitions")


def _served(api: Api, version: str) -> list[Document]:
    request = Request("GET", f"/apis/{GROUP}/{version}", "list", f"the kinds of {GROUP}/{version}", accept=(404,))
    answer = api.send(request)
    return list(answer.json().get("resources") or []) if answer.status != 404 else []
