# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Velero's Deployment and DaemonSet as the options want them: made from a release's skeleton, or the live ones changed in what was asked for.

The same code does both. What nobody asked for stays as it is, also what a webhook or a person put there. Always seen to, without being
asked: one server at a time (strategy Recreate, one replica), no argument and no plugin that the wanted server would refuse, and the label by
which it finds its agents.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.secret import marker
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import quantity
from ansible_collections.serverops.circleci.plugins.module_utils._velero import release, server, server_arguments, workload_skeleton
from ansible_collections.serverops.circleci.plugins.module_utils._velero.release import Release

Object = dict[str, Any]
Options = Mapping[str, Any]

CSI_PLUGIN = "velero-plugin-for-csi"
CSI_MERGED = (1, 14)
"""The first release line that has the CSI plugin inside; a second one makes the server crash."""
EARLY_POLLING = "CSI_SNAPSHOT_EARLY_FREQUENT_POLLING"
_SECRET_NAME = re.compile(r"secret|token|password|passwd|private|(^|_)key($|_)|credential", re.IGNORECASE)


# Deployment


def adjusted_deployment(base: Mapping[str, Any] | None, options: Options, wanted: Release) -> Object:
    """Return the server's Deployment as wanted, from the live one or, when there is none, from the release's skeleton.

    options: as velero_install takes them; one that is left out changes nothing. wanted: the release that is to run.
    """
    image = _image(_server_container(base)["image"] if base else None, options, wanted)
    result = _copied(base) if base else workload_skeleton.deployment(str(options["namespace"]), wanted, image)
    container = _server_container(result)
    pod = result["spec"]["template"]["spec"]
    _set_metadata(result, options)
    _set_alone(result["spec"])
    container["image"] = image
    _set_pod(pod, container, options, wanted)
    _set_env(container, _server_env(options))
    _set_resources(container, options.get("resources"))
    _set_placement(pod, options, "", wanted)
    _set_text(pod, "priorityClassName", options.get("server_priority_class_name"))
    _set_args(container, wanted, server_arguments.of_options(options, wanted))
    _set_plugins(pod, container, options, wanted)
    return result


def _image(current: str | None, options: Options, wanted: Release) -> str:
    """Return the wanted image: the one asked for, by itself or by a version or registry, else the one that is there."""
    asked = any(options.get(name) for name in ("image", "version", "registry"))
    return workload_skeleton.server_image(options, wanted) if asked or current is None else str(current)


def _set_alone(spec: Object) -> None:
    """Let there be one server, and none beside it during a change: Velero has no leader election."""
    if (spec.get("strategy") or {}).get("type") != "Recreate":
        spec["strategy"] = {"type": "Recreate"}
    if spec.get("replicas", 1) != 1:
        spec["replicas"] = 1


def _server_env(options: Options) -> dict[str, str | None]:
    env: dict[str, str | None] = {}
    polling = options.get("csi_snapshot_early_frequent_polling")
    if polling is not None:
        env[EARLY_POLLING] = "true" if polling else None
    return env | _given_env(options.get("env"))


# DaemonSet


def adjusted_daemon_set(
    base: Mapping[str, Any] | None,
    options: Options,
    wanted: Release,
    carried: Mapping[str, Any] | None = None,
    *,
    windows: bool = False,
) -> Object:
    """Return the node agent's DaemonSet as wanted, from the live one or from the release's skeleton.

    carried: a workload whose settings go along into a new DaemonSet: the old DaemonSet restic whose place it takes, or else the live
    Deployment, of which credentials, pull secrets, service account and image are taken. windows: the one for Windows nodes.
    """
    origin = base or carried
    there = (_agent_container(origin) or server.server_container(origin) or {}).get("image") if origin else None
    image = _image(there, options, wanted)
    result = _copied(base) if base else workload_skeleton.daemon_set(str(options["namespace"]), wanted, image, windows=windows)
    container = _agent_container(result)
    if container is None:
        raise ValueError("no container runs Velero's node agent")
    if result["metadata"]["name"] != workload_skeleton.agent_name(wanted, windows=windows):
        raise ValueError(f"DaemonSet {result['metadata']['name']} cannot become that of {wanted.text}: its selector cannot change")
    template = result["spec"]["template"]
    pod = template["spec"]
    if base is None and carried is not None:
        _carry(carried, result, container, wanted)
    if base is not None:
        _complete(template, container, wanted, upgraded=_is_other_release(str(container["image"]), image, wanted), windows=windows)
    _set_metadata(result, options)
    container["image"] = image
    _set_pod(pod, container, options, wanted)
    _set_env(container, _given_env(options.get("node_agent_env")))
    _set_resources(container, options.get("node_agent_resources"))
    _set_placement(pod, options, "node_agent_", wanted, windows=windows)
    _set_text(pod, "priorityClassName", options.get("node_agent_priority_class_name"))
    _set_args(container, wanted, server_arguments.agent_of_options(options, wanted), agent=True)
    _set_host(pod, container, options)
    privileged = options.get("privileged_node_agent")
    if privileged is not None and not windows and bool((container.get("securityContext") or {}).get("privileged")) is not privileged:
        container["securityContext"] = {**(container.get("securityContext") or {}), "privileged": privileged}
    return result


def _is_other_release(current: str, image: str, wanted: Release) -> bool:
    there = release.of_image(current)
    return there.number != wanted.number if there else current != image


def _complete(template: Object, container: Object, wanted: Release, *, upgraded: bool, windows: bool) -> None:
    """Give a live agent what the wanted release needs of it: the label by which it is found, and at an upgrade the folders of the host."""
    skeleton = workload_skeleton.daemon_set("", wanted, "", windows=windows)["spec"]["template"]
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    for name, text in skeleton["metadata"]["labels"].items():
        if name == "role":
            labels[name] = text
    if not upgraded:
        return
    new = skeleton["spec"]["containers"][0]
    volumes, mounts = template["spec"].setdefault("volumes", []), container.setdefault("volumeMounts", [])
    root = _kubelet_root(template["spec"])
    for volume in workload_skeleton.trait("agent_host_volumes", wanted):
        # an agent without any folder of the host was made so on purpose
        if root and not _named(volumes, volume):
            volumes.append(workload_skeleton.host_volume(volume, root))
            mounts.append(workload_skeleton.host_mount(volume))
    if not container.get("ports") and new.get("ports"):
        container["ports"] = new["ports"]


def _kubelet_root(pod: Mapping[str, Any]) -> str | None:
    """Return the kubelet's folder as the agent's volume of pods has it; None without one."""
    path = ((_named(pod.get("volumes") or [], "host-pods") or {}).get("hostPath") or {}).get("path")
    return re.sub(r"/pods/?$", "", str(path)) if path else None


def _carry(source: Mapping[str, Any], target: Object, container: Object, wanted: Release) -> None:
    """Take over what a person set on the workload that was there before."""
    old_template, template = source["spec"]["template"], target["spec"]["template"]
    old_pod, pod = old_template["spec"], template["spec"]
    for name in ("imagePullSecrets", "serviceAccountName"):
        if old_pod.get(name):
            pod[name] = copy.deepcopy(old_pod[name])
    agent = _agent_container(source)
    old = agent or server.server_container(source) or {}
    _carry_credentials(old_pod, old, pod, container)
    if old.get("imagePullPolicy"):
        container["imagePullPolicy"] = old["imagePullPolicy"]
    if agent is None:
        return
    for name in ("nodeSelector", "affinity", "priorityClassName", "hostAliases", "dnsPolicy", "dnsConfig", "hostNetwork"):
        if old_pod.get(name):
            pod[name] = {**(pod.get(name) or {}), **old_pod[name]} if isinstance(old_pod[name], Mapping) else copy.deepcopy(old_pod[name])
    pod["tolerations"] = [*(pod.get("tolerations") or []), *copy.deepcopy(old_pod.get("tolerations") or [])]
    if not pod["tolerations"]:
        del pod["tolerations"]
    container["resources"] = copy.deepcopy(agent.get("resources") or {})
    if (agent.get("securityContext") or {}).get("privileged"):
        container.setdefault("securityContext", {})["privileged"] = True
    known = {entry["name"] for entry in container["env"]}
    container["env"] += [copy.deepcopy(entry) for entry in agent.get("env") or [] if entry["name"] not in known]
    root = _kubelet_root(old_pod)
    for volume in pod["volumes"]:
        if root and volume["name"] in workload_skeleton.HOST_VOLUMES:
            volume["hostPath"] = workload_skeleton.host_volume(volume["name"], root)["hostPath"]
    flags = server_arguments.settled(server_arguments.parsed(agent.get("args") or []), wanted, agent=True)[0]
    container["args"] = [*server_arguments.words(container["args"]), *server_arguments.written({"features": "", **flags})]
    for part in ("labels", "annotations"):
        own = template.setdefault("metadata", {}).get(part) or {}
        theirs = {key: value for key, value in ((old_template.get("metadata") or {}).get(part) or {}).items() if key not in {"name", "component"}}
        if theirs:
            template["metadata"][part] = {**theirs, **own}
        outer = {key: value for key, value in ((source.get("metadata") or {}).get(part) or {}).items() if not _is_kept_by_others(key)}
        if outer:
            target["metadata"][part] = {**outer, **(target["metadata"].get(part) or {})}


def _is_kept_by_others(annotation: str) -> bool:
    return annotation.startswith(("deprecated.daemonset.", "deployment.kubernetes.io/", "kubectl.kubernetes.io/last-applied"))


def _carry_credentials(old_pod: Mapping[str, Any], old: Mapping[str, Any], pod: Object, container: Object) -> None:
    volume = _named(old_pod.get("volumes") or [], workload_skeleton.CREDENTIAL_VOLUME)
    mount = _named(old.get("volumeMounts") or [], workload_skeleton.CREDENTIAL_VOLUME)
    if volume and mount:
        pod["volumes"].append(copy.deepcopy(volume))
        container["volumeMounts"].append(copy.deepcopy(mount))
    container["env"] += [copy.deepcopy(entry) for entry in old.get("env") or [] if entry["name"] in workload_skeleton.CREDENTIAL_VARIABLES]


def _set_host(pod: Object, container: Object, options: Options) -> None:
    """Mount the host's folders, or do not, and from below the kubelet's own root."""
    disabled, root = options.get("node_agent_disable_host_path"), options.get("kubelet_root_dir")
    volumes, mounts = pod.setdefault("volumes", []), container.setdefault("volumeMounts", [])
    if disabled is True:
        pod["volumes"] = [item for item in volumes if item["name"] not in workload_skeleton.HOST_VOLUMES]
        container["volumeMounts"] = [item for item in mounts if item["name"] not in workload_skeleton.HOST_VOLUMES]
        return
    if disabled is False:
        there = _kubelet_root(pod) or workload_skeleton.KUBELET_ROOT
        missing = [name for name in workload_skeleton.HOST_VOLUMES if not _named(volumes, name)]
        volumes[:0] = [workload_skeleton.host_volume(name, there) for name in missing]
        mounts[:0] = [workload_skeleton.host_mount(name) for name in missing]
    for volume in volumes:
        if root and volume["name"] in workload_skeleton.HOST_VOLUMES:
            path = workload_skeleton.host_volume(volume["name"], str(root))["hostPath"]["path"]
            host = volume.setdefault("hostPath", {})
            if str(host.get("path", "")).rstrip("/") != path:
                host["path"] = path


# What both have


def _set_metadata(workload: Object, options: Options) -> None:
    for option in ("labels", "annotations"):
        merge_texts(workload["metadata"], option, options.get(option))
    template = workload["spec"]["template"]
    kept = (workload["spec"].get("selector") or {}).get("matchLabels") or {}
    pod_labels = {key: value for key, value in (options.get("pod_labels") or {}).items() if key not in kept}
    merge_texts(template.setdefault("metadata", {}), "labels", pod_labels)
    merge_texts(template["metadata"], "annotations", options.get("pod_annotations"))


def merge_texts(parent: Object, name: str, given: Mapping[str, Any] | None) -> None:
    """Put entries into a mapping of texts; None takes one out."""
    if not given:
        return
    there = dict(parent.get(name) or {})
    for key, value in given.items():
        if value is None:
            there.pop(key, None)
        else:
            there[str(key)] = server_arguments.value_text("", value)
    if there or name in parent:
        parent[name] = there


def _set_pod(pod: Object, container: Object, options: Options, wanted: Release) -> None:
    if options.get("image_pull_policy"):
        container["imagePullPolicy"] = options["image_pull_policy"]
    if options.get("image_pull_secrets") is not None:
        names = [str(name) for name in options["image_pull_secrets"]]
        if sorted(names) != sorted(item.get("name", "") for item in pod.get("imagePullSecrets") or []):
            pod["imagePullSecrets"] = [{"name": name} for name in names]
        if not names:
            pod.pop("imagePullSecrets", None)
    account = options.get("service_account_name")
    if account:
        pod["serviceAccountName"] = account
        if "serviceAccount" in pod:
            pod["serviceAccount"] = account  # the API server keeps the old name of the field as well
    if options.get("no_secret"):
        _remove_credentials(pod, container)
    elif options.get("credential"):
        _set_credentials(pod, container, options["credential"], wanted)


def _set_credentials(pod: Object, container: Object, credential: Mapping[str, Any], wanted: Release) -> None:
    volumes, mounts = pod.setdefault("volumes", []), container.setdefault("volumeMounts", [])
    volume = _named(volumes, workload_skeleton.CREDENTIAL_VOLUME)
    name = str(credential["name"])
    if volume is None:
        volumes.append(workload_skeleton.credential_volume(name, wanted))
    elif (volume.get("secret") or {}).get("secretName") != name:
        volume["secret"] = {**(volume.get("secret") or {}), "secretName": name}
    mount = _named(mounts, workload_skeleton.CREDENTIAL_VOLUME)
    if mount is None:
        mount = {"name": workload_skeleton.CREDENTIAL_VOLUME, "mountPath": workload_skeleton.CREDENTIAL_MOUNT}
        mounts.append(mount)
    path = f"{mount['mountPath'].rstrip('/')}/{credential['key']}"
    _set_env(container, dict.fromkeys(workload_skeleton.CREDENTIAL_VARIABLES, path))


def _remove_credentials(pod: Object, container: Object) -> None:
    """Take the mounted credentials away: a server that has them does not use its workload identity."""
    mount = _named(container.get("volumeMounts") or [], workload_skeleton.CREDENTIAL_VOLUME)
    if mount is not None:
        container["volumeMounts"].remove(mount)
    volume = _named(pod.get("volumes") or [], workload_skeleton.CREDENTIAL_VOLUME)
    if volume is not None:
        pod["volumes"].remove(volume)
    below = f"{(mount or {}).get('mountPath', workload_skeleton.CREDENTIAL_MOUNT)}/"
    _set_env(container, {item["name"]: None for item in container.get("env") or [] if _names_credentials(item, below)})


def _names_credentials(entry: Mapping[str, Any], below: str) -> bool:
    return entry["name"] in workload_skeleton.CREDENTIAL_VARIABLES and str(entry.get("value") or "").startswith(below)


def _given_env(env: Mapping[str, Any] | None) -> dict[str, str | None]:
    texts = {str(name): "" if value is None else server_arguments.value_text("", value) for name, value in (env or {}).items()}
    return {name: text or None for name, text in texts.items()}


def _set_env(container: Object, wanted: Mapping[str, str | None]) -> None:
    if not wanted:
        return
    entries: list[Object] = []
    left = {name: value for name, value in wanted.items() if value is not None}
    for entry in container.get("env") or []:
        name = entry["name"]
        if name not in wanted:
            entries.append(entry)
        elif name in left:
            value = left.pop(name)
            entries.append(entry if entry.get("value") == value and "valueFrom" not in entry else {"name": name, "value": value})
    container["env"] = entries + [{"name": name, "value": value} for name, value in left.items()]


def _set_resources(container: Object, wanted: Mapping[str, Any] | None) -> None:
    """Set requests and limits; "0" takes one away, and one that means the same keeps its text."""
    resources = container.setdefault("resources", {})
    for kind in ("requests", "limits"):
        amounts = dict(resources.get(kind) or {})
        for name, amount in ((wanted or {}).get(kind) or {}).items():
            if amount is None:
                continue
            if amount == "" or quantity.same(amount, "0"):
                amounts.pop(name, None)
            elif not quantity.same(amounts.get(name), amount):
                amounts[name] = quantity.canonical(amount)
        if amounts:
            resources[kind] = amounts
        else:
            resources.pop(kind, None)


def _set_placement(pod: Object, options: Options, prefix: str, wanted: Release, *, windows: bool = False) -> None:
    """Set where pods may run. What is given takes the place of what is there, but for the rule that keeps pods on their operating system."""
    selector = options.get(f"{prefix}node_selector")
    if selector is not None:
        own = {key: value for key, value in (pod.get("nodeSelector") or {}).items() if key == workload_skeleton.OS_LABEL}
        _replace(pod, "nodeSelector", {**own, **{str(key): server_arguments.value_text("", value) for key, value in selector.items()}})
    tolerations = options.get(f"{prefix}tolerations")
    if tolerations is not None:
        given = [{key: value for key, value in item.items() if value is not None} for item in tolerations]
        always = workload_skeleton.agent_placement(wanted, windows=True)["tolerations"] if windows else []
        whole = [*always, *(item for item in given if item not in always)]
        if sorted(map(_toleration, whole)) != sorted(map(_toleration, pod.get("tolerations") or [])):
            _replace(pod, "tolerations", whole)
    affinity = options.get(f"{prefix}affinity")
    if affinity is not None:
        rule = workload_skeleton.agent_placement(wanted, windows=windows).get("affinity") or {}
        _replace(pod, "affinity", {**rule, **{key: value for key, value in affinity.items() if value is not None}})


def _toleration(item: Mapping[str, Any]) -> str:
    return str(sorted({"operator": "Equal", **item}.items(), key=str))


def _replace(parent: Object, name: str, value: Any) -> None:
    if value:
        parent[name] = value
    else:
        parent.pop(name, None)


def _set_text(parent: Object, name: str, value: Any) -> None:
    if value is not None:
        _replace(parent, name, str(value))


def _set_args(container: Object, wanted: Release, asked: Mapping[str, str | None], *, agent: bool = False) -> None:
    args = [str(arg) for arg in container.get("args") or []]
    before = server_arguments.parsed(args)
    flags = _flags(before, wanted, asked, agent=agent)[0]
    if not server_arguments.equal(before, flags):
        container["args"] = [*server_arguments.words(args), *server_arguments.written(flags, like=args)]


def _flags(
    before: Mapping[str, str], wanted: Release, asked: Mapping[str, str | None], *, agent: bool
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return (the wanted flags, [(dropped, reason)]); what is asked to be away is not reported as dropped."""
    kept, dropped = server_arguments.settled(before, wanted, agent=agent)
    away = {server_arguments.name_in(name, wanted) for name, value in asked.items() if value is None}
    dropped = [
        (text, why) for text, why in dropped if not away & {server_arguments.name_in(name, wanted) for name in server_arguments.parsed([text])}
    ]
    flags, refused = server_arguments.settled(server_arguments.merged(kept, asked), wanted, agent=agent)
    return flags, dropped + [item for item in refused if item not in dropped]


def _set_plugins(pod: Object, container: Object, options: Options, wanted: Release) -> None:
    """Let the plugins be the wanted ones, told apart by repository; other init containers stay where they are."""
    there = [item for item in pod.get("initContainers") or [] if _is_plugin(item)]
    policy = options.get("image_pull_policy") or container.get("imagePullPolicy")
    images = options.get("plugins")
    if images is None:
        kept = [item for item in there if not _is_refused_plugin(str(item["image"]), wanted)]
    else:
        kept = _matched(there, [str(image) for image in images if not _is_refused_plugin(str(image), wanted)], str(policy or "IfNotPresent"))
    if options.get("image_pull_policy"):
        for item in kept:
            item["imagePullPolicy"] = policy
    _give_names(kept, {item["name"] for item in [*(pod.get("initContainers") or []), *pod["containers"]] if not _is_plugin(item)})
    if kept == there:
        return
    others = [item for item in pod.get("initContainers") or [] if not _is_plugin(item)]
    _replace(pod, "initContainers", [*others, *kept])


def _is_plugin(container: Mapping[str, Any]) -> bool:
    return any(mount.get("mountPath") == workload_skeleton.PLUGIN_MOUNT for mount in container.get("volumeMounts") or [])


def _is_refused_plugin(image: str, wanted: Release) -> bool:
    return wanted.line >= CSI_MERGED and workload_skeleton.repository(image).rsplit("/", 1)[-1] == CSI_PLUGIN


def _matched(there: list[Object], images: list[str], policy: str) -> list[Object]:
    """Return the init containers of these images: one that is there with the same repository, else the same last name, is changed."""
    left = list(there)
    found: list[Object | None] = [None] * len(images)
    ways: list[Callable[[str], str]] = [str, workload_skeleton.repository, lambda image: workload_skeleton.repository(image).rsplit("/", 1)[-1]]
    for way in ways:
        for number, image in enumerate(images):
            match = next((item for item in left if way(str(item["image"])) == way(image)), None) if found[number] is None else None
            if match is not None:
                left.remove(match)
                found[number] = match | {"image": image}
    wanted = [item or workload_skeleton.plugin_container(image, policy) for item, image in zip(found, images, strict=True)]
    # the order means nothing to the server: what is there keeps its place
    places = {item["name"]: number for number, item in enumerate(there)}
    return sorted(wanted, key=lambda item: places.get(item["name"], len(places)))


def _give_names(containers: list[Object], taken: set[str]) -> None:
    for container in containers:
        name, number = container["name"], 2
        while container["name"] in taken:
            container["name"], number = f"{name[:60]}-{number}", number + 1
        taken.add(container["name"])


# Differences


def patch(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> Object:
    """Return the smallest JSON merge patch from a live workload to one that was made from it; {} when nothing differs.

    Only labels, annotations and spec are looked at. Lists are replaced as a whole, and only when they do not mean the same.
    """
    result: Object = {}
    for part in ("labels", "annotations"):
        inner = _difference(live["metadata"].get(part) or {}, wanted["metadata"].get(part) or {})
        if inner:
            result.setdefault("metadata", {})[part] = inner
    spec = _difference(live["spec"], wanted["spec"])
    return result | ({"spec": spec} if spec else {})


def _difference(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> Object:
    result: Object = {name: None for name, value in live.items() if name not in wanted and not _is_empty(value)}
    for name, value in wanted.items():
        there = live.get(name)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            inner = _difference(there, value)
            if inner:
                result[name] = inner
        elif _meaning(name, there) != _meaning(name, value) and not (_is_empty(there) and _is_empty(value)):
            result[name] = copy.deepcopy(value)
    return result


def _is_empty(value: Any) -> bool:
    return value is None or value == {} or value == []


def _named(items: Iterable[Object], name: str) -> Object | None:
    return next((item for item in items if item.get("name") == name), None)


DEFAULTS: dict[str, Any] = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "protocol": "TCP",
    "apiVersion": "v1",
    "defaultMode": 420,
    "type": "",
    "readOnly": False,
}
"""What the API server writes into a container or volume when it is left out."""


def _meaning(name: str, value: Any) -> Any:
    """Return a value of a pod's spec with everything that means the same written the same."""
    if name == "args":
        return [
            server_arguments.words(value or []),
            {key: server_arguments.canonical(key, text) for key, text in server_arguments.parsed(value or []).items()},
        ]
    if name in {"cpu", "memory", "ephemeral-storage", "storage"} and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        try:
            return quantity.canonical(value)
        except ValueError:
            return value
    if isinstance(value, Mapping):
        inner = {key: _meaning(key, item) for key, item in value.items() if not (key in DEFAULTS and DEFAULTS[key] == item)}
        return {key: item for key, item in inner.items() if not _is_empty(item) or key == "emptyDir"}
    if isinstance(value, list):
        items = [_meaning("", item) for item in value]
        if name in {"volumes", "volumeMounts", "imagePullSecrets", "tolerations", "ports"}:
            return sorted(items, key=str)
        return items
    return value


# What a person is told


def dropped(base: Mapping[str, Any] | None, options: Options, wanted: Release) -> list[str]:
    """Return one sentence for each argument and plugin that stands in the live workload or is asked for, and that the wanted release refuses."""
    if base is not None and server.server_container(base) is None:
        container, agent = _agent_container(base), True
    else:
        container, agent = server.server_container(base) if base is not None else None, False
    what = f"{base.get('kind') or ('DaemonSet' if agent else 'Deployment')} {base['metadata']['name']}" if base else "The Deployment"
    asked = server_arguments.agent_of_options(options, wanted) if agent else server_arguments.of_options(options, wanted)
    before = server_arguments.parsed((container or {}).get("args") or [])
    told = [f"{what} loses the argument {text}: {why}" for text, why in _flags(before, wanted, asked, agent=agent)[1]]
    if agent:
        return told
    images = options["plugins"] if options.get("plugins") is not None else server.plugin_images(base or {})
    return told + [
        f"{what} loses the plugin {image}: from Velero {release.shown(CSI_MERGED)} on the server has it inside, and crashes when it is there twice"
        for image in images
        if _is_refused_plugin(str(image), wanted)
    ]


def resource_conflict(workload: Mapping[str, Any]) -> str | None:
    """Return in one sentence which request is more than its limit, which the API server refuses; None when there is none."""
    for container in workload["spec"]["template"]["spec"]["containers"]:
        resources = container.get("resources") or {}
        for name, limit in (resources.get("limits") or {}).items():
            request = (resources.get("requests") or {}).get(name)
            if request is not None and quantity.value(request) > quantity.value(limit):
                return f"container {container['name']} requests {request} {name}, more than its limit of {limit}"
    return None


def side(workload: Mapping[str, Any] | None) -> Object:
    """Return a workload as a person sees it in a diff: what the options are about, without the value of anything that may be secret."""
    if workload is None:
        return {}
    metadata, spec = workload["metadata"], workload["spec"]
    template, pod = spec["template"], spec["template"]["spec"]
    container = server.server_container(workload) or server.agent_container(workload) or pod["containers"][0]
    key = str(metadata.get("uid") or "")
    volumes = pod.get("volumes") or []
    secret = ((_named(volumes, workload_skeleton.CREDENTIAL_VOLUME) or {}).get("secret") or {}).get("secretName")
    view: Object = {
        "name": metadata["name"],
        "image": container.get("image"),
        "image_pull_policy": container.get("imagePullPolicy"),
        "image_pull_secrets": [item.get("name") for item in pod.get("imagePullSecrets") or []],
        "plugins": server.plugin_images(workload),
        "args": {name: value for name, value in sorted(server_arguments.parsed(container.get("args") or []).items()) if value or name != "features"},
        "env": {entry["name"]: _env_view(entry, key) for entry in container.get("env") or []},
        "resources": _resources_view(container.get("resources") or {}),
        "credential": secret,
        "service_account_name": pod.get("serviceAccountName"),
        "priority_class_name": pod.get("priorityClassName"),
        "privileged": (container.get("securityContext") or {}).get("privileged") or None,
        "host_paths": {item["name"]: item["hostPath"]["path"] for item in volumes if item.get("hostPath")},
        "node_selector": pod.get("nodeSelector"),
        "tolerations": pod.get("tolerations"),
        "affinity": pod.get("affinity"),
        "replicas": spec.get("replicas", 1) if "strategy" in spec else None,
        "strategy": (spec.get("strategy") or {}).get("type"),
        "labels": metadata.get("labels"),
        "annotations": {name: value for name, value in (metadata.get("annotations") or {}).items() if not _is_kept_by_others(name)},
        "pod_labels": (template.get("metadata") or {}).get("labels"),
        "pod_annotations": (template.get("metadata") or {}).get("annotations"),
    }
    return {name: copy.deepcopy(value) for name, value in view.items() if not _is_empty(value)}


def _env_view(entry: Mapping[str, Any], key: str) -> str:
    source = entry.get("valueFrom") or {}
    for kind, fields in source.items():
        where = fields.get("fieldPath") or "/".join(str(fields[name]) for name in ("name", "containerName", "key", "resource") if fields.get(name))
        return f"from {kind} {where}"
    value = str(entry.get("value") or "")
    return marker(value, key) if _SECRET_NAME.search(entry["name"]) and not value.startswith("/") else value


def _resources_view(resources: Mapping[str, Any]) -> Object:
    kinds = {kind: {name: _meaning(name, amount) for name, amount in (resources.get(kind) or {}).items()} for kind in ("requests", "limits")}
    return {kind: amounts for kind, amounts in kinds.items() if amounts}


# Reading


def _copied(workload: Mapping[str, Any]) -> Object:
    """Return a copy without what is the API server's own, which is most of it."""
    metadata = {name: value for name, value in workload["metadata"].items() if name != "managedFields"}
    return copy.deepcopy({**{name: value for name, value in workload.items() if name != "status"}, "metadata": metadata})


def _server_container(workload: Mapping[str, Any]) -> Object:
    found = server.server_container(workload)
    container = _named(workload["spec"]["template"]["spec"]["containers"], found["name"]) if found else None
    if container is None:
        raise ValueError("no container runs Velero's server")
    return container


def _agent_container(workload: Mapping[str, Any]) -> Object | None:
    found = server.agent_container(workload)
    return _named(workload["spec"]["template"]["spec"]["containers"], found["name"]) if found else None
