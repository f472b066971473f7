# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of an installation of Velero that is to be present: every write with its reason, what it shows, and which pods it makes anew.

Order: namespace, custom resource definitions, account, Secrets, locations, server, node agents, and at last what is no longer wanted. Where the
definitions are made, the locations come last: for two seconds the API server holds up whoever makes an object of a kind that it serves since
a moment ago (apiextensions-apiserver, customresource_handler.go), and server and agents need these two seconds to start.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Step
from ansible_collections.serverops.circleci.plugins.module_utils._core.difference import masked, merge_patch
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.resource import Resource
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    crds,
    install_options,
    install_state,
    location_options,
    manifests,
    release,
    storage_location,
    unfinished,
    validation,
    workload,
)
from ansible_collections.serverops.circleci.plugins.module_utils._velero.install_state import Document, Observed
from ansible_collections.serverops.circleci.plugins.module_utils._velero.release import Release

RESTARTED = "serverops.circleci/restarted-at"
"""Annotation of a pod template: the change of the Secret because of which the pods were made anew."""
LATER = ""
"""Stands in a plan for the time of a change that is yet to be made; filled in when it was."""
AGENTS = {"node_agent": False, "node_agent_windows": True}
"""The words for the DaemonSets of agents; whether they are those for Windows."""


@dataclass
class Draft:
    """A plan in the making. restarts: target of each workload whose pods are made anew, by the word for it."""

    namespace: str
    steps: list[Step] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    restarts: dict[str, str] = field(default_factory=dict)

    def keep(self, noun: str, kind: Resource, live: Document | None, wanted: Document, views: tuple[Any, Any] | None = None) -> bool:
        """Plan the write of an object that is made from the live one, where it differs; tell whether it is planned.

        views: the two sides to show, where the object itself may not be shown.
        """
        namespace = self.namespace if kind.namespaced else ""
        name = str(wanted["metadata"]["name"])
        if live is None:
            body = {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind")}
            body["metadata"] = {key: value for key, value in wanted["metadata"].items() if key != "namespace"}
            self.steps.append(Step(resource.create(kind, namespace, body), "it is not there yet"))
        else:
            patch = _patch(live, wanted)
            if not patch:
                return False
            body = copy.deepcopy(patch)
            body.setdefault("metadata", {})["resourceVersion"] = live["metadata"]["resourceVersion"]
            names = [name for part, value in patch.items() for name in (value if isinstance(value, Mapping) else (part,))]
            reason = f"{', '.join(sorted(names))} differ"
            self.steps.append(Step(resource.merge_patch(kind, namespace, name, body), reason))
        shown = views or (_shown(live) if live is not None else None, _shown(wanted))
        self.before |= {noun: shown[0]} if shown[0] is not None else {}
        self.after[noun] = shown[1]
        return True

    def remove(self, noun: str, kind: Resource, live: Document, reason: str, view: Any) -> None:
        """Plan the removal of an object."""
        name, uid = live["metadata"]["name"], live["metadata"]["uid"]
        self.steps.append(Step(resource.delete(kind, self.namespace if kind.namespaced else "", name, uid=uid), reason))
        self.before[noun] = view


def _patch(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> Document:
    """Return the smallest patch of labels, annotations and everything that is the object's own."""
    patch: Document = {}
    for part in ("labels", "annotations"):
        there, then = live["metadata"].get(part) or {}, wanted["metadata"].get(part) or {}
        inner = _to(there, then)
        if inner:
            patch.setdefault("metadata", {})[part] = inner
    for part in ("spec", "data", "subjects"):
        if part in wanted and wanted[part] != live.get(part):
            if isinstance(wanted[part], Mapping):
                inner = _to(live.get(part) or {}, wanted[part])
                patch |= {part: inner} if inner else {}
            elif not _includes(live.get(part) or [], wanted[part]):
                patch[part] = wanted[part]
    return patch


def _to(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> Document:
    """Return the merge patch that makes one mapping out of another: what is wanted no more is taken out, at every depth."""

    def whole(before: Any, after: Any) -> Any:
        if not isinstance(before, Mapping) or not isinstance(after, Mapping):
            return after
        return {**dict.fromkeys(before), **{name: whole(before.get(name), value) for name, value in after.items()}}

    patch: Document = merge_patch(whole(there, wanted), there)
    return patch


def _includes(there: list[Any], wanted: list[Any]) -> bool:
    return all(any(isinstance(item, Mapping) and item.items() >= one.items() for item in there) for one in wanted)


def _shown(item: Mapping[str, Any]) -> Document:
    view = {"name": item["metadata"]["name"]}
    view |= {part: dict(item["metadata"][part]) for part in ("labels", "annotations") if item["metadata"].get(part)}
    return view | {part: copy.deepcopy(item[part]) for part in ("spec", "data", "subjects") if item.get(part)}


def _secret_views(live: Document | None, wanted: Document) -> tuple[Any, Any]:
    """Return both sides of a Secret with markers in place of its values."""
    key = str((live or {}).get("metadata", {}).get("uid", ""))
    sides = [
        None
        if item is None
        else masked(
            {"name": item["metadata"]["name"], "data": {name: location_options.decoded(text) for name, text in (item.get("data") or {}).items()}},
            [("data", "*")],
            key,
        )
        for item in (live, wanted)
    ]
    return sides[0], sides[1]


def refuse(options: Mapping[str, Any], observed: Observed, wanted: Release) -> None:
    """Refuse what the wanted release cannot carry out, a way to it that Velero does not support, and too little for a fresh installation."""
    install_options.check_release(options, wanted)
    refusal = release.upgrade_refusal(observed.installed, wanted, bool(options["allow_skipped_minors"]))
    if refusal is not None:
        back = observed.installed is not None and wanted < observed.installed
        option = "version" if options.get("version") is not None else "image"
        advice = "Give the installed version or a newer one" if back else "Upgrade in steps, or give allow_skipped_minors true"
        raise InputError(option, refusal, advice)
    if observed.deployment is None:
        install_options.check_fresh(options)


def present(
    options: Mapping[str, Any], observed: Observed, wanted: Release, location: storage_location.StorageLocation, *, check_mode: bool
) -> Draft:
    """Return the plan, still without what it means for unfinished work (see `work`)."""
    refuse(options, observed, wanted)
    draft = Draft(str(options["namespace"]))
    draft.keep("namespace", resource.NAMESPACE, observed.namespace, manifests.adjusted_namespace(observed.namespace, options, wanted))
    _definitions(options, observed, wanted, draft, check_mode=check_mode)
    _account(options, observed, draft)
    _repository_secret(options, observed, wanted, draft)
    secret_changes = _secret(options, observed, draft, check_mode=check_mode)
    helper = manifests.restore_helper(options, wanted)
    if helper is not None:
        draft.keep("restore_helper", resource.CONFIG_MAP, observed.helper, helper)
    workloads = Draft(draft.namespace)
    _workloads(options, observed, wanted, workloads, secret_changes=secret_changes)
    location.restarts = "server" in workloads.restarts
    locations = Draft(draft.namespace)
    _locations(options, observed, location, locations)
    if workloads.restarts:
        workloads.before["pods_made_anew"], workloads.after["pods_made_anew"] = [], sorted(workloads.restarts.values())
    ordered = (locations, workloads) if observed.location.installed else (workloads, locations)
    return Draft(
        draft.namespace,
        draft.steps + [step for part in ordered for step in part.steps],
        draft.before | locations.before | workloads.before,
        draft.after | locations.after | workloads.after,
        draft.warnings + locations.warnings + workloads.warnings,
        workloads.restarts,
    )


def work(options: Mapping[str, Any], observed: Observed, draft: Draft) -> list[str]:
    """Return what to warn of because of what Velero works on; NotProven when that forbids the plan."""
    if not draft.restarts:
        return []
    return unfinished.told(str(options["unfinished"]), observed.unfinished(), next(iter(draft.restarts.values())))


def _definitions(options: Mapping[str, Any], observed: Observed, wanted: Release, draft: Draft, *, check_mode: bool) -> None:
    state, namespace = observed.definitions, draft.namespace
    names = [name for name in crds.unfit(state.live, wanted) if crds.needs_write(name, state)]
    by_job = bool(names) and state.documents is None
    if state.job is not None:
        draft.steps.append(Step(resource.delete(resource.JOB, namespace, crds.JOB, uid=state.job["metadata"]["uid"]), "an earlier task left it"))
    if by_job:
        body = crds.job_body(_job(options, observed, wanted))
        draft.steps.append(Step(resource.create(resource.JOB, namespace, body), "it prints the custom resource definitions"))
    draft.steps += [crds.step(name, state.live) for name in names]
    if by_job:
        draft.steps.append(Step(resource.delete(resource.JOB, namespace, crds.JOB), "it has done its work"))
    there = [name for name in names if name in state.live]
    for name in there:
        _refuse_stranger(name, state.live[name])
    if by_job and there and check_mode:
        draft.warnings.append(
            f"What Velero {wanted.text} changes in {len(there)} custom resource definitions is not known without its Job, which does not run in "
            "check mode: all of them will be written."
        )
    if names:
        marks = {name: (state.live[name]["metadata"].get("annotations") or {}).get(crds.MARK, "unknown") for name in there}
        draft.before |= {"custom_resource_definitions": {name: mark.split()[0] for name, mark in marks.items()}} if there else {}
        draft.after["custom_resource_definitions"] = dict.fromkeys(names, release.shown(wanted.number))


def _refuse_stranger(name: str, definition: Document) -> None:
    """Refuse to change a definition that Helm or an operator keeps: it would be changed back, and its Velero be harmed."""
    labels = definition["metadata"].get("labels") or {}
    owner = "Helm" if labels.get("app.kubernetes.io/managed-by") == "Helm" else ""
    owner = owner or ("the Operator Lifecycle Manager" if any(key.startswith(("olm.", "operators.coreos.com/")) for key in labels) else "")
    if owner:
        raise NotProven(
            "change",
            resource.CUSTOM_RESOURCE_DEFINITION.target("", name),
            f"it is kept by {owner}, whose objects are left alone",
            "Let what keeps it bring the wanted version, or remove that Velero first",
        )


def _job(options: Mapping[str, Any], observed: Observed, wanted: Release) -> crds.JobWanted:
    pod = workload.adjusted_deployment(observed.deployment, options, wanted)["spec"]["template"]["spec"]
    container = next(item for item in pod["containers"] if item["name"] == install_state.SERVER)
    placement = {name: pod[name] for name in ("nodeSelector", "tolerations", "affinity") if pod.get(name)}
    secrets = tuple(str(item["name"]) for item in pod.get("imagePullSecrets") or [])
    return crds.JobWanted(str(options["namespace"]), container["image"], container.get("imagePullPolicy"), secrets, placement)


def _account(options: Mapping[str, Any], observed: Observed, draft: Draft) -> None:
    if options.get("service_account_name"):
        return
    draft.keep("service_account", resource.SERVICE_ACCOUNT, observed.account, manifests.adjusted_service_account(observed.account, options))
    binding = manifests.adjusted_cluster_role_binding(observed.binding, options)
    wanted = manifests.skeleton_cluster_role_binding(draft.namespace)
    if not _includes(binding.get("subjects") or [], wanted["subjects"]):
        binding["subjects"] = [*(binding.get("subjects") or []), *wanted["subjects"]]
    draft.keep("cluster_role_binding", resource.CLUSTER_ROLE_BINDING, observed.binding, binding)


def _secret(options: Mapping[str, Any], observed: Observed, draft: Draft, *, check_mode: bool) -> bool:
    """Plan the Secret of the server's credentials; tell whether one that is there changes."""
    credential = options.get("credential")
    if not credential:
        return False
    wanted = manifests.adjusted_secret(observed.secret, options)
    if wanted is not None:
        data = (observed.secret or {}).get("data")
        draft.keep("secret", resource.SECRET, observed.secret, wanted, _secret_views(observed.secret, wanted))
        return observed.secret is not None and data != wanted["data"]
    if observed.secret is None or credential["key"] not in (observed.secret.get("data") or {}):
        problem = "does not exist" if observed.secret is None else f"has no key {credential['key']}"
        text = f"Secret {draft.namespace}/{credential['name']} {problem}"
        if not check_mode:
            target = resource.DEPLOYMENT.target(draft.namespace, install_state.SERVER)
            raise NotProven("make", target, text, "Make the Secret first, or give credential.content to have it made")
        draft.warnings.append(f"{text}; an earlier task has to make it")
    return False


def _repository_secret(options: Mapping[str, Any], observed: Observed, wanted: Release, draft: Draft) -> None:
    name, key = manifests.repository_secret_name(wanted), install_state.REPOSITORY_KEY
    asked = manifests.repository_secret(options, wanted)
    there = observed.repository_secrets.get(name)
    old = next((secret for other, secret in observed.repository_secrets.items() if other != name), None)
    live = there or old
    if asked is not None and live is not None and (live.get("data") or {}).get(key) != asked["data"][key]:
        raise InputError(
            "repository_password",
            f"Secret {draft.namespace}/{live['metadata']['name']} holds another one, with which what is stored already is encrypted",
            "Leave it out; it can be chosen only before Velero's server runs for the first time",
        )
    if there is None and asked is None and old is not None:
        # from 1.10 on the server looks under another name, and would make a password of its own
        asked = manifests.skeleton_secret(draft.namespace, name, {key: location_options.decoded((old.get("data") or {}).get(key))})
    if there is None and asked is not None:
        draft.keep("repository_secret", resource.SECRET, None, asked, _secret_views(None, asked))


def location_concerned(options: Mapping[str, Any], observed: Observed) -> bool:
    """Tell whether the default location belongs to what is wanted."""
    if options["no_default_backup_location"]:
        return False
    return observed.location.location is not None or bool(options.get("bucket")) or observed.deployment is None


def _locations(options: Mapping[str, Any], observed: Observed, location: storage_location.StorageLocation, draft: Draft) -> None:
    if location_concerned(options, observed):
        # what it misses is made before it
        plan = location.plan(dataclasses.replace(observed.location, installed=True, namespace_exists=True))
        metadata = manifests.adjusted_backup_storage_location(observed.location.location, {**_MARKS_ONLY, **options})["metadata"]
        own = resource.BACKUP_STORAGE_LOCATION.path(draft.namespace)
        mine = (own, f"{own}/{install_options.LOCATION}")
        written = [step for step in plan.steps if step.request.path in mine and step.reason != storage_location.LOOK_AGAIN]
        draft.steps += [_marked(step, observed.location.location, metadata) if step in written else step for step in plan.steps]
        if plan.steps:
            draft.before |= plan.before
            draft.after |= plan.after
        draft.warnings += plan.warnings
        if observed.location.location is not None and not written:
            live = observed.location.location
            item = {"metadata": metadata}
            patch = _patch({"metadata": live["metadata"]}, item)
            if patch:
                request = resource.merge_patch(resource.BACKUP_STORAGE_LOCATION, draft.namespace, install_options.LOCATION, patch)
                draft.steps.append(Step(request, "its labels or annotations differ"))
                draft.before["storage_location_marks"], draft.after["storage_location_marks"] = _shown({"metadata": live["metadata"]}), _shown(item)
    _snapshot_location(options, observed, draft)


_MARKS_ONLY = {"provider": None, "bucket": None, "prefix": None, "object_storage_ca_cert": None, "backup_location_config": None}


def _marked(step: Step, live: Document | None, metadata: Mapping[str, Any]) -> Step:
    """Give a write to the location the labels and annotations that every object gets."""
    there = (live or {"metadata": {}})["metadata"]
    marks = _patch({"metadata": there}, {"metadata": metadata}).get("metadata") or {}
    body = {**step.request.body, "metadata": {**step.request.body["metadata"], **marks}}
    return dataclasses.replace(step, request=dataclasses.replace(step.request, body=body))


def _snapshot_location(options: Mapping[str, Any], observed: Observed, draft: Draft) -> None:
    if options.get("use_volume_snapshots") is False:
        return
    live = observed.snapshot
    asked = options.get("use_volume_snapshots") or options.get("snapshot_location_config") is not None
    if live is None and not asked and observed.deployment is not None:
        return
    wanted = manifests.adjusted_volume_snapshot_location(live, options)
    if not wanted["spec"].get("provider"):
        raise InputError("provider", "it is needed to make the volume snapshot location", "Give provider, or use_volume_snapshots false")
    there = ((live or {}).get("spec") or {}).get("provider")
    if there and location_options.canonical_provider(there) == location_options.canonical_provider(wanted["spec"]["provider"]):
        wanted["spec"]["provider"] = there
    draft.keep("snapshot_location", resource.VOLUME_SNAPSHOT_LOCATION, live, wanted)


def _workloads(options: Mapping[str, Any], observed: Observed, wanted: Release, draft: Draft, *, secret_changes: bool) -> None:
    live = observed.deployment
    draft.warnings += workload.dropped(live, options, wanted)
    body = workload.adjusted_deployment(live, options, wanted)
    _workload("server", resource.DEPLOYMENT, live, body, _restart_time(options, observed, live, secret_changes=secret_changes), draft)
    removals = Draft(draft.namespace)
    for noun, windows in AGENTS.items():
        name = release.agent_name(wanted) + ("-windows" if windows else "")
        others = [] if windows else [other for other in install_state.AGENTS if other != name and not other.endswith("-windows")]
        old = next((item for other in others if (item := observed.agents(other)) is not None), None)
        _agents(noun, name, old, options, observed, wanted, draft, removals, secret_changes=secret_changes)
    draft.steps += removals.steps
    draft.before |= removals.before


def _agents(
    noun: str,
    name: str,
    old: Document | None,
    options: Mapping[str, Any],
    observed: Observed,
    wanted: Release,
    draft: Draft,
    removals: Draft,
    *,
    secret_changes: bool,
) -> None:
    asked, live = options.get(f"use_{noun}"), observed.agents(name)
    kind = resource.DAEMON_SET
    if asked is False:
        for item in (live, old):
            if item is not None:
                removals.remove(f"{noun} {item['metadata']['name']}", kind, item, "no node agent is wanted", workload.side(item))
        return
    if asked is None and live is None and old is None:
        return
    if live is not None or old is not None:
        draft.warnings += workload.dropped(live or old, options, wanted)
    carried = old or observed.deployment if live is None else None
    body = workload.adjusted_daemon_set(live, options, wanted, carried, windows=AGENTS[noun])
    _workload(noun, kind, live, body, _restart_time(options, observed, live, secret_changes=secret_changes), draft)
    if old is not None:
        removals.remove(f"{noun} {old['metadata']['name']}", kind, old, f"DaemonSet {name} takes its place", workload.side(old))


def _workload(noun: str, kind: Resource, live: Document | None, wanted: Document, restarted: str | None, draft: Draft) -> None:
    name = wanted["metadata"]["name"]
    conflict = workload.resource_conflict(wanted)
    if conflict is not None:
        raise InputError("resources" if noun == "server" else "node_agent_resources", conflict, "Give both the request and the limit")
    if live is None:
        draft.keep(noun, kind, None, wanted, (None, workload.side(wanted)))
        return
    patch = workload.patch(live, wanted)
    reasons = ["it differs"] if patch else []
    before, after = workload.side(live), workload.side(wanted)
    if restarted is not None:
        template = patch.setdefault("spec", {}).setdefault("template", {})
        template.setdefault("metadata", {}).setdefault("annotations", {})[RESTARTED] = restarted
        reasons.append("its pods are older than their credentials")
    if not patch:
        return
    patch.setdefault("metadata", {})["resourceVersion"] = live["metadata"]["resourceVersion"]
    draft.steps.append(Step(resource.merge_patch(kind, draft.namespace, name, patch), ", ".join(reasons)))
    if before != after:
        draft.before[noun], draft.after[noun] = before, after
    if "template" in (patch.get("spec") or {}):
        draft.restarts[noun] = kind.target(draft.namespace, name)


def _restart_time(options: Mapping[str, Any], observed: Observed, live: Document | None, *, secret_changes: bool) -> str | None:
    """Return the change of the Secret for which a workload's pods are to be made anew; LATER when it is yet to be made; None for no restart."""
    if not options.get("credential") or observed.secret is None or live is None:
        return None
    if secret_changes:
        return LATER
    changed = validation.changed_at(observed.secret, "data")
    annotations = (live["spec"]["template"].get("metadata") or {}).get("annotations") or {}
    mark = validation.parse_time(annotations.get(RESTARTED) or None)
    births = [validation.parse_time(pod["metadata"].get("creationTimestamp")) for pod in observed.pods_of(live)]
    if changed is None or (mark is not None and mark >= changed) or not any(born and born < changed for born in births):
        return None
    return validation.shown_time(changed)
