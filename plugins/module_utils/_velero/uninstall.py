# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The removal of an installation of Velero, in the order that cannot hang.

Restores go while the server runs, since from 1.12 on it has to let go of them; then the server and its agents; then what they leave; then
the namespace, when it was made for Velero and holds nothing else; at last the custom resource definitions, when they are to go. What is in
the bucket stays.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Plan, Step
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, DeadlineOver, InputError
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Request
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Done, Pending, wait
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.resource import Resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.watch import listings, snapshots
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    crds,
    install_state,
    location_options,
    location_view,
    server,
    unfinished,
    workload,
)
from ansible_collections.serverops.circleci.plugins.module_utils._velero.install_state import Contents, Document, Observed

RESTORES_WITHIN = 30.0
"""Seconds in which a running server lets go of Restores that are to be removed; seen: less than one."""
HELD = (resource.RESTORE, resource.DATA_UPLOAD, resource.DATA_DOWNLOAD, resource.POD_VOLUME_BACKUP, resource.POD_VOLUME_RESTORE)
"""Kinds that have finalizers of the server's or of its agents'."""
LOOKED_AT = (
    resource.POD,
    resource.DEPLOYMENT,
    resource.DAEMON_SET,
    resource.STATEFUL_SET,
    resource.CRON_JOB,
    resource.JOB,
    resource.INGRESS,
    resource.PERSISTENT_VOLUME_CLAIM,
    resource.SERVICE,
    resource.CONFIG_MAP,
    resource.SECRET,
)
"""Kinds in which somebody else's things in a namespace show."""
EVERYWHERE = frozenset({"kube-root-ca.crt", "openshift-service-ca.crt"})
"""ConfigMaps that the cluster puts into every namespace."""
NAMES_SHOWN = 5


def _ours(item: Mapping[str, Any]) -> bool:
    metadata = item["metadata"]
    labels = metadata.get("labels") or {}
    if labels.get("component") == "velero" or labels.get("app.kubernetes.io/managed-by") == "serverops.circleci":
        return True
    return metadata["name"] in install_state.REPOSITORY_SECRETS or any(name.startswith(f"{crds.GROUP}/") for name in labels)


def _labelled(item: Mapping[str, Any] | None) -> bool:
    return bool(item) and ((item or {})["metadata"].get("labels") or {}).get("component") == "velero"


def completed(api: Api, namespace: str, options: Mapping[str, Any], observed: Observed) -> Observed:
    """Read what a removal has to know besides."""
    strangers: list[str] = []
    if observed.namespace is not None:
        for kind in LOOKED_AT:
            strangers += _strangers(kind, _listed(api, kind, namespace))
        for kind in _custom_kinds(api):
            # what has an owner goes with it: of each pod many networks keep a custom resource
            strangers += _strangers(kind, [item for item in _listed(api, kind, namespace) if not item["metadata"].get("ownerReferences")])
    definitions = crds.read(api, None)
    elsewhere = _elsewhere(api, namespace) if options["remove_crds"] and definitions else ()
    contents = Contents(
        restores=_listed(api, resource.RESTORE, namespace),
        backups=_listed(api, resource.BACKUP, namespace),
        strangers=tuple(sorted(strangers)),
        elsewhere=elsewhere,
        definitions=definitions,
        schedules=tuple(sorted(item["metadata"]["name"] for item in _listed(api, resource.SCHEDULE, namespace))),
        locations=tuple(sorted(item["metadata"]["name"] for item in observed.location.others)),
        held=tuple((kind, item) for kind in HELD for item in _listed(api, kind, namespace) if item["metadata"].get("finalizers")),
    )
    work = unfinished.read(api, namespace) if observed.deployment else ()
    return dataclasses.replace(observed, contents=contents, work=work)


def _strangers(kind: Resource, items: Iterable[Document]) -> list[str]:
    return [f"{kind.kind} {item['metadata']['name']}" for item in items if not _ours(item) and not _ever(kind, item)]


def _custom_kinds(api: Api) -> list[Resource]:
    """Return the namespaced kinds that custom resource definitions of others bring to the cluster, each in one version that is served."""
    definitions = api.list(resource.CUSTOM_RESOURCE_DEFINITION, metadata_only=True).items
    names = {item["metadata"]["name"] for item in definitions if not item["metadata"]["name"].endswith(f".{crds.GROUP}")}
    wanted = {name.partition(".")[2] for name in names}
    if not wanted:
        return []
    answer = api.send(Request("GET", "/apis", "list", "the groups of kinds")).json()
    found: dict[str, Resource] = {}
    for group in answer.get("groups") or []:
        for version in (item["version"] for item in (group.get("versions") or []) if group.get("name") in wanted):
            request = Request("GET", f"/apis/{group['name']}/{version}", "list", f"the kinds of {group['name']}/{version}", accept=(404, 503))
            told = api.send(request)
            for kind in (told.json().get("resources") or []) if told.status == 200 else []:
                name = f"{kind['name']}.{group['name']}"
                if name in names and kind.get("namespaced") and "list" in (kind.get("verbs") or []):
                    found.setdefault(name, Resource(group["name"], version, kind["name"], kind["kind"]))
    return list(found.values())


def _ever(kind: Resource, item: Mapping[str, Any]) -> bool:
    return kind is resource.CONFIG_MAP and item["metadata"]["name"] in EVERYWHERE


def _listed(api: Api, kind: Resource, namespace: str) -> tuple[Document, ...]:
    try:
        return tuple(api.list(kind, namespace, metadata_only=True).items)
    except Absent:
        return ()


def _elsewhere(api: Api, namespace: str) -> tuple[str, ...]:
    others = {item["metadata"]["namespace"] for item in _listed(api, resource.BACKUP_STORAGE_LOCATION, "")} - {namespace}
    return tuple(sorted(others))


def _takes_namespace(observed: Observed) -> bool:
    return _labelled(observed.namespace) and observed.contents is not None and not observed.contents.strangers


def plan(options: Mapping[str, Any], observed: Observed) -> Plan:
    """Return the removals in their order. Pure."""
    contents, namespace = observed.contents or Contents(), str(options["namespace"])
    if options["remove_crds"] and contents.elsewhere:
        raise InputError(
            "remove_crds",
            f"other namespaces hold objects of these kinds, which would go with them: {', '.join(contents.elsewhere[:NAMES_SHOWN])}",
            "Remove Velero there first, or leave remove_crds out",
        )
    steps: list[Step] = []
    before: dict[str, Any] = {}
    warnings = _warnings(options, observed, contents, namespace)
    whole = _takes_namespace(observed)

    def remove(noun: str, kind: Resource, item: Document | None, view: Any) -> None:
        if item is None or "deletionTimestamp" in item["metadata"]:
            return
        about = item["metadata"]
        steps.append(Step(resource.delete(kind, namespace if kind.namespaced else "", about["name"], uid=about["uid"]), "Velero is not wanted"))
        before.setdefault(noun, view)

    if whole or options["remove_crds"]:
        for restore in contents.restores:
            remove("restores", resource.RESTORE, restore, sorted(item["metadata"]["name"] for item in contents.restores))
    remove("server", resource.DEPLOYMENT, observed.deployment, workload.side(observed.deployment))
    for item in observed.daemon_sets:
        remove(item["metadata"]["name"], resource.DAEMON_SET, item, workload.side(item))
    if whole or options["remove_crds"]:
        # Restores are let go of by a server that runs
        held = [(kind, item) for kind, item in contents.held if kind is not resource.RESTORE or observed.server_since is None]
        steps += [
            Step(_without_finalizers(kind, namespace, item["metadata"]["name"]), "the server that would let go of it is gone") for kind, item in held
        ]
    if whole:
        remove("namespace", resource.NAMESPACE, observed.namespace, {"name": namespace})
    else:
        location = observed.location.location
        if _labelled(location):
            remove("storage_location", resource.BACKUP_STORAGE_LOCATION, location, location_view.spec_view("default", (location or {})["spec"]))
        for noun, kind, thing in (
            ("snapshot_location", resource.VOLUME_SNAPSHOT_LOCATION, observed.snapshot),
            ("secret", resource.SECRET, observed.secret),
            ("service_account", resource.SERVICE_ACCOUNT, observed.account),
        ):
            if _labelled(thing):
                remove(noun, kind, thing, {"name": (thing or {})["metadata"]["name"]})
    if _labelled(observed.binding):
        remove("cluster_role_binding", resource.CLUSTER_ROLE_BINDING, observed.binding, {"name": (observed.binding or {})["metadata"]["name"]})
    if options["remove_crds"]:
        names = sorted(contents.definitions)
        for name in names:
            remove("custom_resource_definitions", resource.CUSTOM_RESOURCE_DEFINITION, contents.definitions[name], names)
    if steps and observed.deployment is not None:
        target = resource.DEPLOYMENT.target(namespace, install_state.SERVER)
        warnings += unfinished.told(str(options["unfinished"]), observed.unfinished(), target)
    return Plan(tuple(steps), before, {}, tuple(warnings))


def _warnings(options: Mapping[str, Any], observed: Observed, contents: Contents, namespace: str) -> list[str]:
    warnings = []
    if observed.namespace is not None and (observed.deployment or observed.daemon_sets):
        if not _labelled(observed.namespace):
            warnings.append(f"Namespace {namespace} stays: it was not made for Velero.")
        elif contents.strangers:
            more = " …" if len(contents.strangers) > NAMES_SHOWN else ""
            warnings.append(f"Namespace {namespace} stays: it also holds {', '.join(contents.strangers[:NAMES_SHOWN])}{more}.")
    if _takes_namespace(observed):
        for name, secret in sorted(observed.repository_secrets.items()):
            password = location_options.decoded((secret.get("data") or {}).get(install_state.REPOSITORY_KEY))
            if password != install_state.WELL_KNOWN_PASSWORD:
                warnings.append(
                    f"Secret {namespace}/{name} goes, and with it the password of one's own by which volumes in the bucket are encrypted: "
                    "they can be restored only by an installation that is given it in repository_password."
                )
    if _takes_namespace(observed) or options["remove_crds"]:
        for what, names in (("Schedules", contents.schedules), ("further storage locations", contents.locations)):
            if names:
                warnings.append(f"The {what} {unfinished.shortened(names)} go too, and nothing in a bucket brings them back.")
    if options["remove_crds"] and contents.backups:
        warnings.append("With the custom resource definitions every object of Velero's kinds goes; what is in the bucket stays.")
    return warnings


def apply(api: Api, context: Context, options: Mapping[str, Any], request: Request) -> None:
    """Send a removal at its moment."""
    namespace, deadline = str(options["namespace"]), api.transport.deadline
    workloads = tuple(kind.path(namespace) for kind in (resource.DEPLOYMENT, resource.DAEMON_SET))
    if request.path.startswith(workloads):
        unfinished.settle(str(options["unfinished"]), lambda: install_state.look_at_work(api, namespace), deadline, context, request.target)
        _wait_for_restores(api, context, namespace)
    elif request.path == resource.NAMESPACE.path("", namespace):
        _let_go(api, context, namespace)
    elif request.path.startswith(resource.CUSTOM_RESOURCE_DEFINITION.path()):
        _let_go(api, context, namespace)
        found = api.get(resource.NAMESPACE, "", namespace)
        if found is not None and "deletionTimestamp" in found["metadata"]:
            wait_until_gone(api, context, resource.NAMESPACE, "", namespace)
    api.carry_out(request)


def _wait_for_restores(api: Api, context: Context, namespace: str) -> None:
    """Wait until the server has let go of the Restores that are being removed, for as long as one that works needs."""
    going = [item for item in _listed(api, resource.RESTORE, namespace) if "deletionTimestamp" in item["metadata"]]
    if not going:
        return
    deployment = api.get(resource.DEPLOYMENT, namespace, install_state.SERVER)
    pods = api.list(resource.POD, namespace, label_selector="deploy=velero").items
    if deployment is None or not any(server.pod_ready(pod) for pod in pods):
        return
    limit = Deadline(min(RESTORES_WITHIN, api.transport.deadline.remaining()))

    def judge(seen: list[Document]) -> Done | Pending:
        left = [item["metadata"]["name"] for item in seen if "deletionTimestamp" in item["metadata"]]
        return Pending(f"the server has not let go of {unfinished.shortened(left)}") if left else Done(None, "gone")

    try:
        target = resource.RESTORE.target(namespace)
        wait(
            listings(api, resource.RESTORE, namespace, deadline=limit), judge, limit, context.progress, "remove", target, "Look into the server's log"
        )
    except DeadlineOver as error:
        if api.transport.deadline.over:
            raise
        context.warn(f"{error} Their finalizers are taken off, so what the bucket holds of their logs stays.")


def _let_go(api: Api, context: Context, namespace: str) -> None:
    """Take off the finalizers of a server that is gone, where the plan did not see them: namespace and definitions could not go otherwise."""
    for kind in HELD:
        for item in _listed(api, kind, namespace):
            about = item["metadata"]
            if about.get("finalizers"):
                context.progress(f"{kind.target(namespace, about['name'])}: its finalizers are taken off, the server that would is gone")
                api.send(_without_finalizers(kind, namespace, about["name"]))


def _without_finalizers(kind: Resource, namespace: str, name: str) -> Request:
    return dataclasses.replace(resource.merge_patch(kind, namespace, name, {"metadata": {"finalizers": None}}), accept=(404,))


def wait_until_gone(api: Api, context: Context, kind: Resource, namespace: str, name: str) -> None:
    """Wait until an object is gone."""
    deadline = api.transport.deadline

    def judge(seen: Document | None) -> Done | Pending:
        if seen is None:
            return Done(None, "gone")
        held = ", ".join(seen["metadata"].get("finalizers") or (seen.get("spec") or {}).get("finalizers") or [])
        conditions = (seen.get("status") or {}).get("conditions") or []
        words = [
            str(item["message"]) for item in conditions if item.get("status") == "True" and item.get("message") and "Remain" in str(item.get("type"))
        ]
        return Pending(f"still there{f', held by {held}' if held else ''}{f': {words[0]}' if words else ''}")

    try:
        seen = snapshots(api, kind, namespace, name, deadline=deadline)
        wait(seen, judge, deadline, context.progress, "remove", kind.target(namespace, name), "Look for finalizers on what is in it")
    except Absent:
        return


def prove(api: Api, context: Context, namespace: str, options: Mapping[str, Any], plan: Plan, observed: Observed) -> dict[str, Any]:
    """Look until everything that was to go is gone."""
    began = api.transport.deadline.elapsed()
    removed = [request for request in context.record.written if request.method == "DELETE"]
    kinds = (resource.NAMESPACE, resource.CLUSTER_ROLE_BINDING, resource.CUSTOM_RESOURCE_DEFINITION)
    inside = (resource.DEPLOYMENT, resource.DAEMON_SET, resource.BACKUP_STORAGE_LOCATION, resource.VOLUME_SNAPSHOT_LOCATION, resource.SECRET)
    leaving = observed.namespace is not None and "deletionTimestamp" in observed.namespace["metadata"]
    whole = leaving or any(request.path == resource.NAMESPACE.path("", namespace) for request in removed)
    for kind in (*(() if whole else inside), *kinds):
        start = kind.path(namespace if kind.namespaced else "") + "/"
        for name in sorted({request.path.removeprefix(start) for request in removed if request.path.startswith(start)}):
            wait_until_gone(api, context, kind, namespace if kind.namespaced else "", name)
    if leaving:
        wait_until_gone(api, context, resource.NAMESPACE, "", namespace)
    if removed and not whole:
        _wait_for_pods(api, context, namespace)
    result = predicted(observed)
    if removed:
        result["waited"] = {"seconds": round(api.transport.deadline.elapsed() - began, 1), "last": "gone"}
    return result


def _wait_for_pods(api: Api, context: Context, namespace: str) -> None:
    deadline = api.transport.deadline
    for selector in ("deploy=velero", *(f"name={name}" for name in install_state.AGENTS)):

        def judge(seen: list[Document]) -> Done | Pending:
            return Pending(f"{len(seen)} pods are still there") if seen else Done(None, "gone")

        seen = listings(api, resource.POD, namespace, label_selector=selector, deadline=deadline)
        wait(seen, judge, deadline, context.progress, "remove", resource.POD.target(namespace), "Look at the pods")


def predicted(observed: Observed) -> dict[str, Any]:
    """Return the result's own part: no installation, and what becomes of the backups."""
    backups = (observed.contents or Contents()).backups
    names = sorted(item["metadata"]["name"] for item in backups)
    fate = f"The data of {len(names)} backups stay in their bucket; an installation that stores there lists them again." if names else None
    return {"installation": None, "backups": {"count": len(names), "names": names[: location_view.NAMES_SHOWN], "fate": fate}}
