# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads changed from the live ones: what is asked for and nothing else, the same a second time, and from every release to every newer one."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.difference import patched
from ansible_collections.serverops.circleci.plugins.module_utils._velero import release, server, server_arguments, workload, workload_skeleton
from ansible_collections.serverops.circleci.plugins.module_utils._velero.release import Release
from hypothesis import given, settings
from hypothesis import strategies as st

Object = dict[str, Any]
R = release.parse
VERSIONS = ("1.6.3", "1.7.2", "1.8.1", "1.9.7", "1.10.3", "1.11.1", "1.12.4", "1.13.2", "1.14.1", "1.15.2", "1.16.2", "1.17.2", "1.18.1")
CREDENTIAL = {"name": "cloud-credentials", "key": "cloud", "content": "canary"}
PLUGIN = "velero/velero-plugin-for-aws:v1.2.0"
BOTH = {"requests": {"cpu": "300m", "memory": "300Mi"}, "limits": {"cpu": "3", "memory": "3Gi"}}
AFFINITY = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "podAffinityTerm": {"topologyKey": "zone"}}]}}

# every option of the workloads with two values that change something
VALUES: dict[str, tuple[Any, Any]] = {
    "image": ("registry.example.com/velero:v9.9.9", "velero/velero@sha256:00"),
    "registry": ("registry.example.com", "registry.example.com:5000/mirror"),
    "image_pull_secrets": (["one"], ["two", "three"]),
    "image_pull_policy": ("Always", "Never"),
    "plugins": (["velero/velero-plugin-for-aws:v1.9.2"], [PLUGIN, "velero/velero-plugin-for-gcp:v1.5.0"]),
    "credential": ({"name": "other", "key": "key"}, {"name": "cloud-credentials", "key": "second"}),
    "service_account_name": ("backup", "other"),
    "features": (["EnableCSI"], []),
    "restore_only": (True, False),
    "privileged_node_agent": (True, False),
    "kubelet_root_dir": ("/srv/kubelet", "/var/lib/other/"),
    "node_agent_disable_host_path": (True, False),
    "uploader_type": ("restic", "kopia"),
    "default_volumes_to_fs_backup": (True, False),
    "default_snapshot_move_data": (True, False),
    "disable_informer_cache": (True, False),
    "schedule_skip_immediately": (True, False),
    "csi_snapshot_early_frequent_polling": (True, False),
    "default_repo_maintain_frequency": ("36h", "0"),
    "garbage_collection_frequency": ("90m", "2h"),
    "pod_volume_operation_timeout": ("5h", "0s"),
    "item_block_worker_count": (3, 0),
    "concurrent_backups": (2, 5),
    "backup_repository_configmap": ("r", ""),
    "repo_maintenance_job_configmap": ("j", ""),
    "node_agent_configmap": ("a", ""),
    "keep_latest_maintenance_jobs": (4, 0),
    "maintenance_job_resources": (BOTH, {"limits": {"cpu": "1"}}),
    "resources": (BOTH, {"limits": {"cpu": "0", "memory": None}}),
    "node_agent_resources": (BOTH, {"requests": {"cpu": "0.25"}}),
    "server_priority_class_name": ("high", ""),
    "node_agent_priority_class_name": ("high", ""),
    "node_selector": ({"pool": "a"}, {}),
    "tolerations": ([{"key": "a", "operator": "Exists", "value": None}], []),
    "affinity": (AFFINITY, {}),
    "node_agent_node_selector": ({"pool": "b", "big": True}, {}),
    "node_agent_tolerations": ([{"operator": "Exists"}], [{"key": "b", "value": "c"}]),
    "node_agent_affinity": (AFFINITY, {}),
    "env": ({"HTTPS_PROXY": "http://p", "N": 5}, {"HTTPS_PROXY": None, "LD_LIBRARY_PATH": ""}),
    "node_agent_env": ({"HTTPS_PROXY": "http://p"}, {"HTTPS_PROXY": ""}),
    "server_args": ({"log-level": "debug", "client-qps": 30}, {"log-level": None, "features": "X"}),
    "node_agent_args": ({"log-level": "debug"}, {"log-level": None}),
    "pod_annotations": ({"note": "n"}, {"prometheus.io/scrape": None}),
    "pod_labels": ({"team": "t"}, {"component": "other", "deploy": "not-this", "name": "not-this"}),
    "labels": ({"team": "t"}, {"team": None}),
    "annotations": ({"note": "n"}, {"note": None}),
    "no_secret": (True, False),
}  # fmt: skip
SERVER_ONLY = {
    "server_priority_class_name",
    "node_selector",
    "tolerations",
    "affinity",
    "env",
    "server_args",
    "resources",
    "plugins",
    *server_arguments.OF_OPTIONS,
}
SERVER_ONLY |= {"maintenance_job_resources", "csi_snapshot_early_frequent_polling"}
SERVER_ONLY -= {"backup_repository_configmap"}


def fresh(version: str, **options: Any) -> Object:
    return workload.adjusted_deployment(None, {"namespace": "velero", "version": version, "plugins": [PLUGIN], **options}, R(version))


def agent(version: str, *, windows: bool = False, **options: Any) -> Object:
    return workload.adjusted_daemon_set(None, {"namespace": "velero", "version": version, **options}, R(version), windows=windows)


def served(made: Object) -> Object:
    """Return a workload as the API server gives it back: with its defaults, and with what others put there since."""
    live = copy.deepcopy(made)
    live["metadata"] |= {"uid": "uid-1", "resourceVersion": "7", "generation": 1, "creationTimestamp": "2026-11-21T12:00:00Z"}
    live["metadata"].setdefault("annotations", {})["deployment.kubernetes.io/revision"] = "1"
    spec, pod = live["spec"], live["spec"]["template"]["spec"]
    spec |= {"revisionHistoryLimit": 10}
    if made["kind"] == "Deployment":
        spec |= {"replicas": 1, "progressDeadlineSeconds": 600}
    pod |= {"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30, "restartPolicy": "Always"}
    pod["serviceAccount"] = pod["serviceAccountName"]
    pod.setdefault("securityContext", {})
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        container |= {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
        for port in container.get("ports", []):
            port["protocol"] = "TCP"
        for entry in container.get("env", []):
            if "valueFrom" in entry:
                entry["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
    for volume in pod["volumes"]:
        if "secret" in volume:
            volume["secret"].setdefault("defaultMode", 420)
        if "hostPath" in volume:
            volume["hostPath"]["type"] = ""
    return live


def visited(live: Object) -> Object:
    """Return a workload to which a webhook and a person have added things."""
    live = copy.deepcopy(live)
    template, pod = live["spec"]["template"], live["spec"]["template"]["spec"]
    live["metadata"].setdefault("labels", {})["argocd.argoproj.io/instance"] = "x"
    template["metadata"].setdefault("annotations", {})["sidecar.istio.io/status"] = "injected"
    template["metadata"].setdefault("labels", {})["injected"] = "yes"
    pod["containers"].append(
        {"name": "sidecar", "image": "sidecar:1", "args": ["server", "--features=theirs"], "resources": {"limits": {"cpu": "100m"}}}
    )
    pod["containers"][0]["env"].append({"name": "BY_HAND", "value": "1"})
    pod["containers"][0]["env"].append({"name": "SECRET_BY_HAND", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}})
    pod["containers"][0]["args"].append("--invented-by-a-fork=1")
    pod["containers"][0]["volumeMounts"].append({"name": "extra", "mountPath": "/extra"})
    pod["volumes"].append({"name": "extra", "configMap": {"name": "extra", "defaultMode": 420}})
    pod["initContainers"] = [{"name": "wait", "image": "busybox:1"}, *pod.get("initContainers", [])]
    pod["hostAliases"] = [{"ip": "10.0.0.1", "hostnames": ["minio"]}]
    return live


FOREIGN = (
    "argocd.argoproj.io/instance",
    "sidecar.istio.io/status",
    "injected",
    "sidecar:1",
    "BY_HAND",
    "SECRET_BY_HAND",
    "--invented-by-a-fork=1",
    "/extra",
    "busybox:1",
    "minio",
)


def both(version: str, base: Object | None, options: Object, *, kind: str) -> Object:
    options = {"namespace": "velero", **{name: value for name, value in options.items() if release.knows(name, R(version))}}
    if kind == "Deployment":
        return workload.adjusted_deployment(base, options, R(version))
    return workload.adjusted_daemon_set(base, options, R(version), windows=kind == "Windows")


def start(version: str, kind: str) -> Object:
    if kind == "Deployment":
        return fresh(version, credential=CREDENTIAL)
    return agent(version, credential=CREDENTIAL, windows=kind == "Windows")


choices = st.dictionaries(st.sampled_from(sorted(VALUES)), st.integers(0, 1), max_size=12)


def chosen(choice: dict[str, int]) -> Object:
    return {name: VALUES[name][number] for name, number in choice.items()}


@settings(max_examples=300)
@given(st.sampled_from(VERSIONS), st.sampled_from(["Deployment", "DaemonSet", "Windows"]), choices, choices)
def test_whatever_is_asked_is_there_and_a_second_time_nothing_changes(version: str, kind: str, first: dict[str, int], second: dict[str, int]) -> None:
    """Also after other wishes came first, and with additions of others, which survive."""
    if kind == "Windows" and not release.knows("use_node_agent_windows", R(version)):
        return
    live = visited(served(both(version, start(version, kind), chosen(first), kind=kind)))
    kept = json.dumps(live)
    wanted = both(version, live, chosen(second), kind=kind)
    assert json.dumps(live) == kept
    change = workload.patch(live, wanted)
    after = patched(live, change)
    assert workload.patch(after, wanted) == {}
    assert workload.patch(after, both(version, after, chosen(second), kind=kind)) == {}
    text = json.dumps(after)
    assert [word for word in FOREIGN if word not in text] == []
    assert workload.side(after) == workload.side(wanted)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet"])
def test_nothing_asked_nothing_changed(version: str, kind: str) -> None:
    live = visited(served(start(version, kind)))
    assert workload.patch(live, both(version, live, {}, kind=kind)) == {}


@pytest.mark.parametrize("option", sorted(VALUES))
def test_an_option_changes_the_one_workload_that_it_is_about(option: str) -> None:
    """Each option has an effect in some release, and none on the workload that it is not about."""
    effects: dict[str, int] = {"Deployment": 0, "DaemonSet": 0}
    for version in VERSIONS:
        for kind in effects:
            live = served(start(version, kind))
            for value in VALUES[option]:
                live_or_set = live
                change = workload.patch(live_or_set, both(version, live_or_set, {option: value}, kind=kind))
                effects[kind] += bool(change)
    agent_only = {name for name in VALUES if name.startswith("node_agent_")} | {"privileged_node_agent", "kubelet_root_dir"}
    if option in agent_only:
        assert effects["Deployment"] == 0
        assert effects["DaemonSet"]
    elif option in SERVER_ONLY:
        assert effects["DaemonSet"] == 0
        assert effects["Deployment"]
    else:
        assert all(effects.values())


# upgrades


@pytest.mark.parametrize(("old", "new"), list(itertools.combinations(VERSIONS, 2)))
def test_every_upgrade_leaves_only_what_the_new_server_takes(old: str, new: str) -> None:
    """With every argument that the old release knew: each is kept, renamed, or dropped with a sentence."""
    flags = {
        name: "1h" if name in server_arguments.DURATIONS else "true"
        for name, bounds in server_arguments.SERVER_FLAGS.items()
        if release.within(R(old), bounds)
    }
    flags |= {"uploader-type": "restic"} if "uploader-type" in flags else {}
    live = served(fresh(old, server_args=flags))
    options = {"namespace": "velero", "version": new}
    wanted = workload.adjusted_deployment(live, options, R(new))
    container = wanted["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"velero/velero:v{new}"
    after = server_arguments.parsed(container["args"])
    for name in after:
        assert name == "features" or release.within(R(new), server_arguments.SERVER_FLAGS[name])
    told = workload.dropped(live, options, R(new))
    assert len(after) + len(told) == len(server_arguments.parsed(live["spec"]["template"]["spec"]["containers"][0]["args"]))
    assert all(text.startswith("Deployment velero loses the argument --") for text in told)
    assert workload.dropped(wanted, options, R(new)) == []
    if R(new).line >= (1, 17) > R(old).line >= (1, 10):
        assert any("--uploader-type=restic" in text for text in told)


def test_an_argument_that_is_asked_to_go_is_not_called_lost() -> None:
    live = served(fresh("1.16.2", keep_latest_maintenance_jobs=3))
    options = {"namespace": "velero", "version": "1.17.2", "server_args": {"keep-latest-maintenance-jobs": None}}
    assert workload.dropped(live, options, R("1.17.2")) == []
    options["server_args"] = {}
    assert workload.dropped(live, options, R("1.17.2")) == [
        "Deployment velero loses the argument --keep-latest-maintenance-jobs=3: the server of Velero 1.16 was the last to know it"
    ]


def test_the_csi_plugin_goes_where_the_server_has_it_inside() -> None:
    csi = "velero/velero-plugin-for-csi:v0.7.0"
    live = served(fresh("1.13.2", plugins=[PLUGIN, csi]))
    kept = workload.adjusted_deployment(live, {"namespace": "velero", "version": "1.13.2"}, R("1.13.2"))
    assert server.plugin_images(kept) == [PLUGIN, csi]
    for options in ({"version": "1.14.1"}, {"version": "1.14.1", "plugins": [PLUGIN, csi]}):
        wanted = workload.adjusted_deployment(live, {"namespace": "velero", **options}, R("1.14.1"))
        assert server.plugin_images(wanted) == [PLUGIN]
        told = workload.dropped(live, {"namespace": "velero", **options}, R("1.14.1"))
        assert len(told) == 1
        assert csi in told[0]


@pytest.mark.parametrize(("old", "new"), list(itertools.combinations([text for text in VERSIONS if R(text).line >= (1, 10)], 2)))
def test_an_upgraded_agent_has_what_the_new_release_needs(old: str, new: str) -> None:
    live = visited(served(agent(old, credential=CREDENTIAL)))
    wanted = workload.adjusted_daemon_set(live, {"namespace": "velero", "version": new}, R(new))
    template = wanted["spec"]["template"]
    assert template["metadata"]["labels"].get("role") == ("node-agent" if R(new).line >= (1, 16) else None)
    names = {volume["name"] for volume in template["spec"]["volumes"]}
    assert set(workload_skeleton.trait("agent_host_volumes", R(new))) <= names
    mounts = {mount["name"] for mount in template["spec"]["containers"][0]["volumeMounts"]}
    assert names - mounts == set()
    assert wanted["spec"]["selector"] == live["spec"]["selector"]
    assert [word for word in FOREIGN if word not in json.dumps(wanted)] == []
    after = patched(live, workload.patch(live, wanted))
    assert workload.patch(after, workload.adjusted_daemon_set(after, {"namespace": "velero", "version": new}, R(new))) == {}


def test_an_agent_without_the_hosts_folders_gets_none_at_an_upgrade() -> None:
    live = served(agent("1.17.2", node_agent_disable_host_path=True))
    wanted = workload.adjusted_daemon_set(live, {"namespace": "velero", "version": "1.18.1"}, R("1.18.1"))
    assert [volume["name"] for volume in wanted["spec"]["template"]["spec"]["volumes"]] == ["scratch"]


def test_a_new_agent_takes_the_settings_of_restic_along() -> None:
    old = agent(
        "1.8.1", credential={"name": "other", "key": "k"}, kubelet_root_dir="/srv/kubelet", node_agent_resources=BOTH,
        node_agent_env={"HTTPS_PROXY": "http://p"}, node_agent_node_selector={"pool": "b"}, node_agent_tolerations=[{"operator": "Exists"}],
        node_agent_affinity=AFFINITY, node_agent_priority_class_name="high", node_agent_args={"log-level": "debug"}, features=["EnableCSI"],
        pod_labels={"team": "t"}, pod_annotations={"note": "n"}, image_pull_secrets=["one"], privileged_node_agent=True, labels={"team": "t"},
        image_pull_policy="Always",
    )  # fmt: skip
    live = served(old)
    live["metadata"]["annotations"] |= {"deprecated.daemonset.template.generation": "3", "note": "n"}
    for version in ("1.10.3", "1.17.2", "1.18.1"):
        new = workload.adjusted_daemon_set(None, {"namespace": "velero", "version": version}, R(version), carried=live)
        assert new["metadata"]["name"] == "node-agent"
        assert new["metadata"]["labels"] == {"component": "velero", "team": "t"}
        assert new["metadata"]["annotations"] == {"note": "n"}
        assert new["spec"]["selector"] == {"matchLabels": {"name": "node-agent"}}
        pod, container = new["spec"]["template"]["spec"], new["spec"]["template"]["spec"]["containers"][0]
        assert container["image"] == f"velero/velero:v{version}"
        assert container["imagePullPolicy"] == "Always"
        assert container["args"][:2] == ["node-agent", "server"]
        assert server_arguments.parsed(container["args"]) == {"features": "EnableCSI", "log-level": "debug"}
        assert container["resources"] == old["spec"]["template"]["spec"]["containers"][0]["resources"]
        assert container["securityContext"] == {"privileged": True}
        env = {entry["name"]: entry.get("value") for entry in container["env"]}
        assert env["HTTPS_PROXY"] == "http://p"
        assert env["AWS_SHARED_CREDENTIALS_FILE"] == "/credentials/k"
        assert pod["nodeSelector"]["pool"] == "b"
        assert {"operator": "Exists"} in pod["tolerations"]
        assert pod["affinity"]["podAntiAffinity"] == AFFINITY["podAntiAffinity"]
        assert pod["priorityClassName"] == "high"
        assert pod["imagePullSecrets"] == [{"name": "one"}]
        paths = {volume["name"]: volume.get("hostPath", {}).get("path") for volume in pod["volumes"]}
        assert paths["host-pods"] == "/srv/kubelet/pods"
        assert paths.get("host-plugins", "/srv/kubelet/plugins") == "/srv/kubelet/plugins"
        assert next(volume for volume in pod["volumes"] if volume["name"] == "cloud-credentials")["secret"]["secretName"] == "other"
        labels = new["spec"]["template"]["metadata"]["labels"]
        assert labels | {"role": "node-agent"} == {"component": "velero", "team": "t", "name": "node-agent", "role": "node-agent"}
        assert new["spec"]["template"]["metadata"]["annotations"] == {"note": "n"}
        names = [item["name"] for item in container["env"]]
        assert len(names) == len(set(names))


def test_a_first_agent_takes_credentials_and_image_from_the_server() -> None:
    live = served(
        fresh("1.17.2", image="mirror/velero:v1.17.2", image_pull_secrets=["one"], credential={"name": "c", "key": "k"}, service_account_name="own")
    )
    new = workload.adjusted_daemon_set(None, {"namespace": "velero"}, R("1.17.2"), carried=live)
    pod, container = new["spec"]["template"]["spec"], new["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "mirror/velero:v1.17.2"
    assert pod["imagePullSecrets"] == [{"name": "one"}]
    assert pod["serviceAccountName"] == "own"
    assert {entry["name"]: entry.get("value") for entry in container["env"]}["AWS_SHARED_CREDENTIALS_FILE"] == "/credentials/k"
    assert [mount["name"] for mount in container["volumeMounts"]] == ["host-pods", "host-plugins", "scratch", "cloud-credentials"]
    assert "nodeSelector" in pod
    assert "HTTPS_PROXY" not in json.dumps(new)


def test_restic_does_not_become_another_daemon_set_in_place() -> None:
    with pytest.raises(ValueError, match="its selector cannot change"):
        workload.adjusted_daemon_set(agent("1.9.7"), {"namespace": "velero", "version": "1.10.3"}, R("1.10.3"))


def test_what_runs_no_velero_is_refused() -> None:
    other = fresh("1.17.2")
    other["spec"]["template"]["spec"]["containers"][0]["command"] = ["/other"]
    with pytest.raises(ValueError, match="no container runs Velero's server"):
        workload.adjusted_deployment(other, {"namespace": "velero"}, R("1.17.2"))
    with pytest.raises(ValueError, match="no container runs Velero's node agent"):
        workload.adjusted_daemon_set(fresh("1.17.2"), {"namespace": "velero"}, R("1.17.2"))


# one by one


def test_one_server_at_a_time() -> None:
    live = served(fresh("1.17.2"))
    live["spec"] |= {"replicas": 2, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}}
    change = workload.patch(live, workload.adjusted_deployment(live, {"namespace": "velero"}, R("1.17.2")))
    assert change == {"spec": {"replicas": 1, "strategy": {"type": "Recreate", "rollingUpdate": None}}}


def images(pod: Object) -> list[tuple[str, str]]:
    return [(item["name"], item["image"]) for item in pod["spec"]["template"]["spec"].get("initContainers", [])]


@pytest.mark.parametrize(
    ("plugins", "after"),
    [
        (["velero/velero-plugin-for-aws:v1.9.2"], [("wait", "busybox:1"), ("by-hand", "velero/velero-plugin-for-aws:v1.9.2")]),
        (
            ["mirror.example.com/x/velero-plugin-for-aws:v1.9.2"],
            [("wait", "busybox:1"), ("by-hand", "mirror.example.com/x/velero-plugin-for-aws:v1.9.2")],
        ),
        (
            ["team/new:v1", PLUGIN],
            [("wait", "busybox:1"), ("by-hand", PLUGIN), ("team-new", "team/new:v1")],
        ),
        ([], [("wait", "busybox:1")]),
        (["x/wait:1"], [("wait", "busybox:1"), ("x-wait", "x/wait:1")]),
        (["wait:1"], [("wait", "busybox:1"), ("wait-2", "wait:1")]),
    ],
)
def test_plugins_are_told_by_repository(plugins: list[str], after: list[tuple[str, str]]) -> None:
    """The name of the container depends on the installer; other init containers stay."""
    live = served(fresh("1.17.2"))
    mine = live["spec"]["template"]["spec"]["initContainers"][0] | {"name": "by-hand"}
    live["spec"]["template"]["spec"]["initContainers"] = [{"name": "wait", "image": "busybox:1"}, mine]
    wanted = workload.adjusted_deployment(live, {"namespace": "velero", "plugins": plugins}, R("1.17.2"))
    assert images(wanted) == after
    same = workload.adjusted_deployment(live, {"namespace": "velero", "plugins": [PLUGIN]}, R("1.17.2"))
    assert workload.patch(live, same) == {}


def test_the_order_of_plugins_means_nothing() -> None:
    live = served(fresh("1.17.2", plugins=[PLUGIN, "team/new:v1"]))
    assert workload.patch(live, workload.adjusted_deployment(live, {"namespace": "velero", "plugins": ["team/new:v1", PLUGIN]}, R("1.17.2"))) == {}


def test_credentials_and_none() -> None:
    live = served(fresh("1.17.2", credential=CREDENTIAL, env={"AZURE_CREDENTIALS_FILE": "/elsewhere/a"}))
    other = workload.adjusted_deployment(live, {"namespace": "velero", "credential": {"name": "other", "key": "k"}}, R("1.17.2"))
    pod, container = other["spec"]["template"]["spec"], other["spec"]["template"]["spec"]["containers"][0]
    secrets = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert secrets == [{"secretName": "other", "defaultMode": 0o444}]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert {env[name] for name in workload_skeleton.CREDENTIAL_VARIABLES} == {"/credentials/k"}
    none = workload.adjusted_deployment(live, {"namespace": "velero", "no_secret": True}, R("1.17.2"))
    text = json.dumps(none)
    assert "cloud-credentials" not in text
    assert "/credentials" not in text
    assert "/elsewhere/a" in text


@pytest.mark.parametrize(
    ("given", "after"),
    [
        ({"limits": {"cpu": "1000m", "memory": "0.5Gi"}}, None),
        ({"limits": {"cpu": "2"}}, {"requests": {"cpu": "500m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "512Mi"}}),
        ({"limits": {"cpu": "0", "memory": "0"}}, {"requests": {"cpu": "500m", "memory": "128Mi"}}),
        (
            {"requests": None, "limits": {"memory": "1024Mi"}},
            {"requests": {"cpu": "500m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        ),
        ({}, None),
    ],
)
def test_resources(given: Object, after: Object | None) -> None:
    live = served(fresh("1.17.2"))
    wanted = workload.adjusted_deployment(live, {"namespace": "velero", "resources": given}, R("1.17.2"))
    assert wanted["spec"]["template"]["spec"]["containers"][0]["resources"] == (
        after or live["spec"]["template"]["spec"]["containers"][0]["resources"]
    )
    assert bool(workload.patch(live, wanted)) is bool(after)


def test_a_request_above_its_limit_is_told() -> None:
    wanted = fresh("1.17.2", resources={"requests": {"cpu": "2"}})
    assert workload.resource_conflict(wanted) == "container velero requests 2 cpu, more than its limit of 1"
    assert workload.resource_conflict(fresh("1.17.2")) is None
    assert workload.resource_conflict(agent("1.17.2")) is None


def test_windows_agents_stay_on_windows() -> None:
    for version in ("1.16.2", "1.17.2", "1.18.1"):
        made = agent(
            version,
            windows=True,
            node_agent_tolerations=[{"key": "a", "operator": "Exists"}],
            privileged_node_agent=True,
            node_agent_affinity=AFFINITY,
        )
        pod = made["spec"]["template"]["spec"]
        assert made["metadata"]["name"] == "node-agent-windows"
        assert {"key": "os", "operator": "Equal", "value": "windows", "effect": "NoSchedule"} in pod["tolerations"]
        assert {"key": "a", "operator": "Exists"} in pod["tolerations"]
        assert "securityContext" not in pod["containers"][0]
        assert "windows" in json.dumps([pod.get("nodeSelector"), pod.get("affinity")])


def test_arguments_that_mean_the_same_are_left_as_they_are() -> None:
    live = served(fresh("1.17.2"))
    container = live["spec"]["template"]["spec"]["containers"][0]
    container["args"] = ["server", "--uploader-type", "kopia", "--restore-only=1", "--fs-backup-timeout=240m"]
    options = {"namespace": "velero", "restore_only": True, "pod_volume_operation_timeout": "4h", "features": [], "uploader_type": "kopia"}
    assert workload.patch(live, workload.adjusted_deployment(live, options, R("1.17.2"))) == {}
    wanted = workload.adjusted_deployment(live, {**options, "restore_only": False, "features": ["A"]}, R("1.17.2"))
    assert wanted["spec"]["template"]["spec"]["containers"][0]["args"] == [
        "server",
        "--uploader-type=kopia",
        "--fs-backup-timeout=240m",
        "--features=A",
    ]


def test_the_subcommand_may_stand_in_the_command() -> None:
    live = served(fresh("1.17.2"))
    container = live["spec"]["template"]["spec"]["containers"][0]
    container |= {"command": ["/velero", "server"], "args": ["--features="]}
    wanted = workload.adjusted_deployment(live, {"namespace": "velero", "features": ["A"]}, R("1.17.2"))
    assert wanted["spec"]["template"]["spec"]["containers"][0]["args"] == ["--features=A"]


def test_version_registry_and_image() -> None:
    live = served(fresh("1.17.2", image="registry.example.com/velero:v1.17.2"))

    def image(**options: Any) -> str:
        wanted = workload.adjusted_deployment(live, {"namespace": "velero", **options}, R("1.17.2"))
        return str(wanted["spec"]["template"]["spec"]["containers"][0]["image"])

    assert image() == "registry.example.com/velero:v1.17.2"
    assert image(version="1.17.2") == "velero/velero:v1.17.2"
    assert image(version="v1.17.2", registry="mirror.example.com/") == "mirror.example.com/velero/velero:v1.17.2"
    assert image(registry="mirror.example.com") == "mirror.example.com/velero/velero:v1.17.2"
    assert image(version="1.17.2", image="a/b:c", registry="mirror.example.com") == "a/b:c"


# what a person sees


def test_the_view_shows_no_value_that_may_be_secret() -> None:
    env = {"HTTPS_PROXY": "http://p", "AWS_SECRET_ACCESS_KEY": "canary-one", "MY_TOKEN": "canary-two", "AWS_ACCESS_KEY_ID": "canary-three"}
    live = visited(served(fresh("1.17.2", env=env, credential=CREDENTIAL)))
    view = workload.side(live)
    assert "canary" not in json.dumps(view)
    assert view["env"]["HTTPS_PROXY"] == "http://p"
    assert view["env"]["SECRET_BY_HAND"] == "from secretKeyRef s/k"
    assert view["env"]["VELERO_NAMESPACE"] == "from fieldRef metadata.namespace"
    assert view["env"]["AWS_SHARED_CREDENTIALS_FILE"] == "/credentials/cloud"
    other = served(fresh("1.17.2", env={**env, "MY_TOKEN": "canary-four"}, credential=CREDENTIAL))
    assert workload.side(other)["env"]["MY_TOKEN"] != view["env"]["MY_TOKEN"]
    assert view["plugins"] == [PLUGIN]
    assert view["credential"] == "cloud-credentials"
    assert view["args"] == {"uploader-type": "kopia", "invented-by-a-fork": "1"}
    assert view["strategy"] == "Recreate"
    assert workload.side(None) == {}
    assert workload.side(agent("1.17.2"))["host_paths"] == {"host-pods": "/var/lib/kubelet/pods", "host-plugins": "/var/lib/kubelet/plugins"}


def test_each_change_is_seen_in_the_view() -> None:
    """A patch that is not empty shows in the sides of the diff."""
    for version, kind in itertools.product(("1.8.1", "1.15.2", "1.17.2", "1.18.1"), ("Deployment", "DaemonSet")):
        live = served(start(version, kind))
        for option, values in VALUES.items():
            for value in values:
                wanted = both(version, live, {option: value}, kind=kind)
                assert bool(workload.patch(live, wanted)) is (workload.side(live) != workload.side(wanted)), (version, kind, option, value)


def test_release_without_a_tag_is_known_as_other() -> None:
    live = served(agent("1.10.3", image="mirror/velero@sha256:00"))
    wanted = workload.adjusted_daemon_set(live, {"namespace": "velero", "image": "mirror/velero@sha256:11"}, R("1.17.2"))
    assert any(volume["name"] == "host-plugins" for volume in wanted["spec"]["template"]["spec"]["volumes"])
    same = workload.adjusted_daemon_set(live, {"namespace": "velero"}, Release(1, 10, 3, "1.10.3"))
    assert workload.patch(live, same) == {}
