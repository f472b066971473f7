# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans of an installation: what is written, in which order, what is made anew for it, and what is refused before anything is written."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    crds,
    install,
    install_options,
    install_plan,
    install_state,
    manifests,
    release,
    storage_location,
    uninstall,
    workload,
)

from tests.unit.velero.test_install_options import GOOD, validated

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
V117, V110, V18 = (release.parse(text) for text in ("1.17.2", "1.10.3", "1.8.1"))


def stored(item: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """Return an object as the API server has it."""
    about = {"uid": f"uid-{item['metadata']['name']}", "resourceVersion": "7", "generation": 1, "creationTimestamp": "2026-11-21T11:00:00Z"}
    return copy.deepcopy(item) | {"metadata": item["metadata"] | about | metadata}


def definitions(wanted: release.Release) -> crds.State:
    mark = f"{release.shown(wanted.number)} 1"
    return crds.State({name: {"metadata": {"name": name, "generation": 1, "annotations": {crds.MARK: mark}}} for name in crds.expected(wanted)})


def nothing() -> install_state.Observed:
    """Return an empty cluster."""
    location = storage_location.Observed(False, False, None, (), None, ())
    return install_state.Observed(NOW, None, (), (), (), None, None, None, {}, location, None)


def pod(workload_of: dict[str, Any], born: str) -> dict[str, Any]:
    labels = workload_of["spec"]["template"]["metadata"]["labels"]
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    return {
        "metadata": {"name": f"pod-{labels.get('deploy') or labels.get('name')}", "labels": labels, "creationTimestamp": born},
        "spec": {},
        "status": ready,
    }


def installed(options: dict[str, Any], wanted: release.Release, **over: Any) -> install_state.Observed:
    """Return the cluster after an installation with these options."""
    made = {item["kind"]: stored(item) for item in manifests.rendered(options, wanted)}
    daemon_sets = (made["DaemonSet"],) if "DaemonSet" in made else ()
    secret = made["Secret"]
    secret["metadata"]["managedFields"] = [{"manager": "x", "time": "2026-11-21T11:00:00Z", "fieldsV1": {"f:data": {}}}]
    location = storage_location.Observed(True, True, made["BackupStorageLocation"], (), None, ())
    found = {
        "now": NOW,
        "namespace": made["Namespace"],
        "deployments": (made["Deployment"],),
        "daemon_sets": daemon_sets,
        "pods": tuple(pod(item, "2026-11-21T11:00:01Z") for item in (made["Deployment"], *daemon_sets)),
        "account": made["ServiceAccount"],
        "binding": made["ClusterRoleBinding"],
        "secret": secret,
        "repository_secrets": {},
        "location": location,
        "snapshot": made.get("VolumeSnapshotLocation"),
        "definitions": definitions(wanted),
    }
    return install_state.Observed(**found | over)


def planned(options: dict[str, Any], observed: install_state.Observed, *, check: bool = False) -> install_plan.Draft:
    context = Context(check_mode=check)
    wanted = install.wanted_release(options, observed)
    location = storage_location.StorageLocation(install_options.location_of(options), None, context)  # type: ignore[arg-type]
    return install_plan.present(options, observed, wanted, location, check_mode=check)


def written(draft: install_plan.Draft) -> list[str]:
    return [f"{step.request.method} {step.request.path.rsplit('/', 1)[-1]}" for step in draft.steps]


BASE = {"use_volume_snapshots": False, "use_node_agent": True}


def test_everything_in_order():
    draft = planned(validated(**BASE), nothing())
    found = written(draft)
    assert found[:2] == ["POST namespaces", "POST jobs"]
    assert found.count("POST customresourcedefinitions") == 13
    assert found[15:] == [
        "DELETE serverops-circleci-crds",
        "POST serviceaccounts",
        "POST clusterrolebindings",
        "POST secrets",
        "POST deployments",
        "POST daemonsets",
        "POST backupstoragelocations",
    ]
    assert draft.restarts == {}
    assert "aws_secret_access_key" not in json.dumps([draft.before, draft.after])


def test_a_location_comes_before_the_server_where_its_kind_is_served():
    """Of a kind that is served since a moment ago the API server holds up the first object for two seconds, in which the server starts."""
    observed = nothing()
    served = dataclasses.replace(observed, location=dataclasses.replace(observed.location, installed=True))
    found = written(planned(validated(**BASE), served))
    assert found[-3:] == ["POST backupstoragelocations", "POST deployments", "POST daemonsets"]


def test_again_nothing():
    options = validated(**BASE)
    draft = planned(options, installed(options, V117))
    assert written(draft) == []
    assert (draft.before, draft.after, draft.warnings) == ({}, {}, [])


def test_what_is_left_out_is_left_alone():
    options = validated(**BASE, resources={"limits": {"cpu": "2"}}, server_args={"log-level": "debug"})
    observed = installed(options, V117)
    few = validated(version=None, provider=None, plugins=None, bucket=None, credential=None)
    assert written(planned(few, observed)) == []


def test_another_bucket_restarts_nothing():
    options = validated(**BASE)
    draft = planned(validated(**BASE, bucket="other"), installed(options, V117))
    assert written(draft) == ["PATCH default", "PATCH default"]
    assert draft.restarts == {}


def test_another_key_makes_the_pods_anew_after_it():
    options = validated(**BASE)
    other = {"content": GOOD["credential"]["content"].replace("= b", "= other")}
    draft = planned(validated(**BASE, credential=other), installed(options, V117))
    assert written(draft) == ["PATCH cloud-credentials", "PATCH velero", "PATCH node-agent"]
    template = draft.steps[1].request.body["spec"]["template"]
    assert template["metadata"]["annotations"] == {install_plan.RESTARTED: install_plan.LATER}
    assert sorted(draft.restarts) == ["node_agent", "server"]


@pytest.mark.parametrize(
    ("changed", "mark", "restarts"),
    [
        ("2026-11-21T11:00:00Z", None, []),
        ("2026-11-21T11:00:01Z", None, []),
        ("2026-11-21T11:30:00Z", None, ["node_agent", "server"]),
        ("2026-11-21T11:30:00Z", "2026-11-21T11:30:00Z", []),
    ],
    ids=["older", "of the same second", "younger than the pods", "already made anew"],
)
def test_a_secret_that_somebody_changed(changed: str, mark: str | None, restarts: list[str]):
    options = validated(**BASE)
    observed = installed(options, V117)
    assert observed.secret is not None
    observed.secret["metadata"]["managedFields"][0]["time"] = changed
    for item in (*observed.deployments, *observed.daemon_sets):
        if mark:
            item["spec"]["template"]["metadata"].setdefault("annotations", {})[install_plan.RESTARTED] = mark
    draft = planned(options, observed)
    assert sorted(draft.restarts) == restarts
    if restarts:
        assert draft.steps[0].request.body["spec"]["template"]["metadata"]["annotations"] == {install_plan.RESTARTED: changed}


def test_a_location_is_looked_at_once_when_its_server_starts_anew():
    options = validated(**BASE)
    draft = planned(validated(**BASE, bucket="other", server_args={"log-level": "debug"}), installed(options, V117))
    assert written(draft) == ["PATCH default", "PATCH velero"]
    assert draft.steps[0].request.body["spec"] == {"objectStorage": {"bucket": "other"}}


def test_labels_go_onto_everything():
    options = validated(**BASE)
    draft = planned(validated(**BASE, labels={"team": "x"}), installed(options, V117))
    kinds = ["velero", "velero", "velero", "cloud-credentials", "default", "velero", "node-agent"]
    assert [line.split()[1] for line in written(draft)] == kinds
    assert all(step.request.body["metadata"]["labels"] == {"team": "x"} for step in draft.steps)
    both = planned(validated(**BASE, labels={"team": "x"}, bucket="other"), installed(options, V117))
    first = next(step for step in both.steps if step.request.path.endswith("backupstoragelocations/default"))
    assert first.request.body["metadata"]["labels"] == {"team": "x"}


def test_a_binding_that_lost_its_account_gets_it_back():
    options = validated(**BASE)
    observed = installed(options, V117)
    assert observed.binding is not None
    others = [{"kind": "ServiceAccount", "namespace": "velero", "name": name} for name in ("one", "two")]
    observed.binding["subjects"] = others
    draft = planned(options, observed)
    assert written(draft) == ["PATCH velero"]
    account = {"kind": "ServiceAccount", "namespace": "velero", "name": "velero"}
    assert draft.steps[0].request.body["subjects"] == [*others, account]
    observed.binding["subjects"] = [account | {"apiGroup": ""}]
    assert written(planned(options, observed)) == []


def test_the_agent_gets_its_new_name_and_the_old_one_goes_last():
    old = validated(**BASE, version="1.8.1", node_agent_resources={"requests": {"cpu": "50m"}})
    observed = installed(old, V18, definitions=definitions(V110))
    draft = planned(validated(**BASE, version="1.10.3", allow_skipped_minors=True), observed)
    assert written(draft) == ["PATCH velero", "POST daemonsets", "DELETE restic"]
    made = draft.steps[1].request.body["spec"]["template"]["spec"]["containers"][0]
    assert made["resources"]["requests"]["cpu"] == "50m"
    with pytest.raises(InputError, match="do not skip"):
        planned(validated(**BASE, version="1.10.3"), observed)


def test_no_agent_is_wanted():
    options = validated(**BASE)
    draft = planned(validated(**BASE | {"use_node_agent": False}), installed(options, V117))
    assert written(draft) == ["DELETE node-agent"]


def test_the_password_goes_along_over_the_rename():
    old = validated(**BASE, version="1.8.1")
    data = {install_state.REPOSITORY_KEY: base64.b64encode(b"own").decode()}
    secret = stored({"metadata": {"name": "velero-restic-credentials"}, "data": data})
    observed = installed(old, V18, definitions=definitions(V110), repository_secrets={"velero-restic-credentials": secret})
    draft = planned(validated(**BASE, version="1.10.3", allow_skipped_minors=True), observed)
    made = next(step for step in draft.steps if step.request.path.endswith("/secrets"))
    assert made.request.body["metadata"]["name"] == "velero-repo-credentials"
    assert made.request.body["data"] == data
    with pytest.raises(InputError) as refused:
        planned(validated(**BASE, version="1.10.3", allow_skipped_minors=True, repository_password="other"), observed)
    assert refused.value.option == "repository_password"


def test_going_back_is_refused():
    options = validated(**BASE)
    with pytest.raises(InputError, match="going back"):
        planned(validated(**BASE, version="1.16.2"), installed(options, V117))


def test_a_secret_of_somebody_elses_has_to_be_there():
    options = validated(**BASE, credential={"name": "mine"})
    with pytest.raises(NotProven, match="Secret velero/mine does not exist"):
        planned(options, nothing())
    draft = planned(options, nothing(), check=True)
    assert any("Secret velero/mine" in warning for warning in draft.warnings)


def test_a_snapshot_location():
    options = validated(use_node_agent=True)
    assert "POST volumesnapshotlocations" in written(planned(options, nothing()))
    without = installed(validated(**BASE), V117)
    assert "POST volumesnapshotlocations" not in written(planned(validated(), without)), "what nobody asked for is not made later"
    assert "POST volumesnapshotlocations" in written(planned(validated(use_volume_snapshots=True), without))
    there = installed(options, V117)
    assert written(planned(validated(provider="velero.io/aws", snapshot_location_config={"region": "x"}), there)) == ["PATCH default"]
    assert written(planned(validated(**BASE), there)) == []
    assert there.snapshot is not None
    there.snapshot["spec"]["config"] = {"region": "x", "profile": "gone"}
    draft = planned(validated(snapshot_location_config={"region": "x"}), there)
    assert draft.steps[0].request.body["spec"] == {"config": {"profile": None}}


def test_unfinished_work_concerns_restarts_only():
    options = validated(**BASE, unfinished="fail")
    backup = {"kind": "Backup", "metadata": {"name": "running"}, "status": {"phase": "InProgress"}}
    observed = installed(options, V117, work=(backup,))
    quiet = planned(validated(**BASE, unfinished="fail", bucket="other"), observed)
    assert install_plan.work(options, observed, quiet) == []
    loud = planned(validated(**BASE, unfinished="fail", server_args={"log-level": "debug"}), observed)
    with pytest.raises(NotProven, match="Backup running"):
        install_plan.work(options, observed, loud)


def test_a_job_that_was_left_goes_first():
    observed = nothing()
    job = stored({"metadata": {"name": crds.JOB}})
    observed = install_state.Observed(**vars(observed) | {"definitions": crds.State({}, job=job)})
    found = written(planned(validated(**BASE), observed))
    assert found[1:3] == [f"DELETE {crds.JOB}", "POST jobs"]


def test_an_image_that_says_no_version_needs_one():
    with pytest.raises(InputError) as refused:
        install.wanted_release(validated(version=None, image="velero/velero:main"), nothing())
    assert refused.value.option == "version"
    with pytest.raises(InputError):
        install.wanted_release(validated(version=None), nothing())
    assert install.wanted_release(validated(version=None), installed(validated(**BASE), V117)) == V117


@pytest.mark.parametrize(
    ("labels", "who"), [({"app.kubernetes.io/managed-by": "Helm"}, "Helm"), ({"component": "other"}, "something else")], ids=["Helm", "unknown"]
)
def test_strangers_are_refused(labels: dict[str, str], who: str):
    observed = installed(validated(**BASE), V117)
    observed.deployments[0]["metadata"]["labels"] |= labels
    with pytest.raises(NotProven, match=who):
        install_state.refuse_strangers(observed, "velero")


@pytest.mark.parametrize("labels", [{"app.kubernetes.io/managed-by": "Helm"}, {"olm.managed": "true"}], ids=["Helm", "OLM"])
def test_definitions_of_strangers_are_left_alone(labels: dict[str, str]):
    options = validated(**BASE)
    kept = {"backups.velero.io": {"metadata": {"name": "backups.velero.io", "generation": 1, "labels": labels}}}
    with pytest.raises(NotProven, match="left alone"):
        planned(options, installed(options, V117, definitions=crds.State(kept)))


# removal


def removed(observed: install_state.Observed, contents: install_state.Contents, **over: Any) -> Any:
    options = validated(state="absent", **over)
    return uninstall.plan(options, install_state.Observed(**vars(observed) | {"contents": contents}))


def paths(plan: Any) -> list[str]:
    return ["/".join(step.request.path.rsplit("/", 2)[-2:]) for step in plan.steps]


def test_removal_in_the_order_that_cannot_hang():
    observed = installed(validated(**BASE), V117)
    restore = stored({"metadata": {"name": "r", "finalizers": ["x"]}})
    definition = stored({"metadata": {"name": "backups.velero.io"}})
    contents = install_state.Contents(restores=(restore,), definitions={"backups.velero.io": definition})
    assert paths(removed(observed, contents)) == [
        "restores/r", "deployments/velero", "daemonsets/node-agent", "namespaces/velero", "clusterrolebindings/velero",
    ]  # fmt: skip
    assert paths(removed(observed, contents, remove_crds=True))[-1] == "customresourcedefinitions/backups.velero.io"


def held(kind: resource.Resource, name: str) -> tuple[resource.Resource, dict[str, Any]]:
    return kind, stored({"metadata": {"name": name, "finalizers": ["velero.io/finalizer"]}})


def test_finalizers_that_nobody_else_takes_off_are_planned():
    """After server and agents, before the namespace; a server that runs lets go of Restores by itself."""
    observed = installed(validated(**BASE), V117)
    contents = install_state.Contents(held=(held(resource.RESTORE, "r"), held(resource.DATA_UPLOAD, "u")))
    plan = removed(observed, contents)
    assert paths(plan)[:4] == ["deployments/velero", "daemonsets/node-agent", "datauploads/u", "namespaces/velero"]
    assert plan.steps[2].request.body == {"metadata": {"finalizers": None}}
    alone = dataclasses.replace(observed, deployments=())
    assert paths(removed(alone, contents))[:3] == ["daemonsets/node-agent", "restores/r", "datauploads/u"]
    stays = dataclasses.replace(contents, strangers=("ConfigMap mine",))
    assert "datauploads/u" not in paths(removed(observed, stays))


class Cluster:
    """An API that knows custom kinds of others."""

    def __init__(self, definitions: list[str]) -> None:
        self.definitions = definitions
        self.asked: list[str] = []

    def list(self, kind: Any, namespace: str = "", **_over: Any) -> Any:
        assert kind is resource.CUSTOM_RESOURCE_DEFINITION
        return SimpleNamespace(items=[{"metadata": {"name": name}} for name in self.definitions])

    def send(self, request: Any) -> Any:
        self.asked.append(request.path)
        answers: dict[str, Any] = {
            "/apis": {
                "groups": [
                    {"name": "apps", "versions": [{"version": "v1"}]},
                    {"name": "velero.io", "versions": [{"version": "v1"}]},
                    {"name": "example.org", "versions": [{"version": "v2"}, {"version": "v1"}]},
                ]
            },
            "/apis/example.org/v2": {
                "resources": [
                    {"name": "widgets", "kind": "Widget", "namespaced": True, "verbs": ["get", "list"]},
                    {"name": "widgets/status", "kind": "Widget", "namespaced": True, "verbs": ["get"]},
                    {"name": "worlds", "kind": "World", "namespaced": False, "verbs": ["list"]},
                    {"name": "aggregated", "kind": "Aggregated", "namespaced": True, "verbs": ["list"]},
                ]
            },
            "/apis/example.org/v1": {"resources": [{"name": "widgets", "kind": "Widget", "namespaced": True, "verbs": ["list"]}]},
        }
        return SimpleNamespace(status=200, json=lambda: answers[request.path])


def test_custom_kinds_of_others_are_looked_at_once():
    cluster = Cluster(["widgets.example.org", "worlds.example.org", "backups.velero.io"])
    (kind,) = uninstall._custom_kinds(cluster)  # type: ignore[arg-type]
    assert kind == resource.Resource("example.org", "v2", "widgets", "Widget")
    assert cluster.asked == ["/apis", "/apis/example.org/v2", "/apis/example.org/v1"]
    assert uninstall._custom_kinds(Cluster(["backups.velero.io"])) == []  # type: ignore[arg-type]


def test_what_is_somebody_elses_stays():
    observed = installed(validated(**BASE), V117)
    plan = removed(observed, install_state.Contents(strangers=("ConfigMap mine",)))
    assert "namespaces/velero" not in paths(plan)
    assert {"backupstoragelocations/default", "secrets/cloud-credentials", "serviceaccounts/velero"} <= set(paths(plan))
    assert any("ConfigMap mine" in warning for warning in plan.warnings)
    with pytest.raises(InputError) as refused:
        removed(observed, install_state.Contents(definitions={"x": {}}, elsewhere=("other",)), remove_crds=True)
    assert refused.value.option == "remove_crds"


def test_a_password_of_ones_own_is_not_lost_unheard():
    data = {install_state.REPOSITORY_KEY: base64.b64encode(b"own").decode()}
    secret = stored({"metadata": {"name": "velero-repo-credentials"}, "data": data})
    observed = installed(validated(**BASE), V117, repository_secrets={"velero-repo-credentials": secret})
    assert any("repository_password" in warning for warning in removed(observed, install_state.Contents()).warnings)
    secret["data"] = {install_state.REPOSITORY_KEY: base64.b64encode(install_state.WELL_KNOWN_PASSWORD.encode()).decode()}
    assert removed(observed, install_state.Contents()).warnings == ()


def test_what_no_bucket_brings_back_does_not_go_unheard():
    observed = installed(validated(**BASE), V117)
    contents = install_state.Contents(schedules=("nightly",), locations=("far",))
    warnings = removed(observed, contents).warnings
    assert any("Schedules nightly go too" in warning for warning in warnings)
    assert any("storage locations far go too" in warning for warning in warnings)
    kept = install_state.Contents(strangers=("ConfigMap mine",), schedules=("nightly",))
    assert not any("nightly" in warning for warning in removed(observed, kept).warnings), "they stay with the namespace"


def test_nothing_there_nothing_to_remove():
    plan = removed(nothing(), install_state.Contents())
    assert plan.steps == ()
    assert uninstall.predicted(nothing()) == {"installation": None, "backups": {"count": 0, "names": [], "fate": None}}


def test_a_difference_is_shown_without_what_nobody_sees():
    options = validated(**BASE)
    observed = installed(options, V117)
    draft = planned(validated(**BASE, server_args={"log-level": "debug"}), observed)
    assert draft.before["server"] == workload.side(observed.deployment)
    assert draft.after["server"]["args"]["log-level"] == "debug"
    assert draft.after["pods_made_anew"] == ["Deployment velero/velero"]
