# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A schedule's plan: what is compared, the smallest patch, what the server fills in and sets back, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Plan
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._velero import crd_fields, schedule, schedule_view

Document = dict[str, Any]
NOW = datetime(2026, 11, 28, 12, 0, 30, tzinfo=UTC)
TEMPLATE = {
    "properties": {name: {"properties": {}} for name in ("includedNamespaces", "ttl", "labelSelector", "orLabelSelectors", "snapshotMoveData")}
}
TEMPLATE["properties"]["uploaderConfig"] = {"properties": {"parallelFilesUpload": {}}}
TEMPLATE["properties"]["labelSelector"] = {"x-kubernetes-preserve-unknown-fields": True}
NEW = crd_fields.Fields(
    "Schedule",
    schema={"properties": {"template": TEMPLATE, "schedule": {}, "paused": {}, "skipImmediately": {}, "useOwnerReferencesInBackup": {}}},
)
OLD_TEMPLATE = {"properties": {name: {} for name in ("includedNamespaces", "ttl", "defaultVolumesToRestic")}}
OLD = crd_fields.Fields("Schedule", schema={"properties": {"template": OLD_TEMPLATE, "schedule": {}, "useOwnerReferencesInBackup": {}}})


def options(**over: Any) -> Document:
    """Return options as the module gets them."""
    given = {"name": "nightly", **over}
    checked = ArgumentSpecValidator(dict(schedule.ARGUMENTS)).validate({name: value for name, value in given.items() if value is not None})
    assert not checked.error_messages
    result: Document = checked.validated_parameters
    return result


def live(**over: Any) -> Document:
    """Return a schedule as Velero 1.17.2 leaves it behind."""
    spec = {
        "schedule": "0 3 * * *",
        "skipImmediately": False,
        "template": {"includedNamespaces": ["app"], "ttl": "720h0m0s", "hooks": {}, "metadata": {}},
        **over.pop("spec", {}),
    }
    metadata = {"name": "nightly", "namespace": "velero", "uid": "u", "creationTimestamp": "2026-11-28T11:00:00Z", **over.pop("metadata", {})}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Enabled", **over.pop("status", {})}}


def planned(given: Document, there: Document | None, *, check: bool = False, fields: crd_fields.Fields = NEW, **observed: Any) -> Plan:
    """Return the plan for options and what there is."""
    managed = schedule.Schedule(given, SimpleNamespace(), Context(check_mode=check))  # type: ignore[arg-type]
    return managed.plan(schedule.Observed(schedule=there, fields=fields, **observed))


def patch(given: Document, there: Document, **more: Any) -> Document:
    """Return the body of the one patch of a plan."""
    (step,) = planned(given, there, **more).steps
    assert step.request.method == "PATCH"
    body: Document = step.request.body
    return body


def test_made() -> None:
    plan = planned(options(schedule="@daily", ttl="24h", selector="a=b", skip_immediately=True, labels={"x": True}), None)
    (step,) = plan.steps
    assert step.request.body == {
        "apiVersion": "velero.io/v1",
        "kind": "Schedule",
        "metadata": {"name": "nightly", "labels": {"x": "true"}},
        "spec": {"schedule": "@daily", "template": {"ttl": "24h0m0s", "labelSelector": {"matchLabels": {"a": "b"}}}, "skipImmediately": True},
    }
    assert plan.before == {}
    assert plan.after["schedule"]["template"] == {"selector": "a=b", "ttl": "24h0m0s"}


def test_a_new_one_needs_a_time() -> None:
    with pytest.raises(InputError) as caught:
        planned(options(), None)
    assert caught.value.option == "schedule"


@pytest.mark.parametrize(
    "given",
    [
        {"schedule": "0 3 * * *"},
        {"ttl": "720h"},
        {"ttl": "43200m"},
        {"included_namespaces": ["app"]},
        {"paused": False},
        {"use_owner_references_in_backup": False},
        {"skip_immediately": True},
        {"skip_immediately": False},
        {},
    ],
)
def test_the_same(given: Document) -> None:
    assert planned(options(**given), live()).steps == ()


def test_only_what_differs_is_written_and_the_server_is_made_to_answer() -> None:
    assert patch(options(schedule="0 4 * * *", ttl="720h"), live()) == {"spec": {"schedule": "0 4 * * *"}, "status": {"phase": "New"}}
    assert patch(options(ttl="24h"), live()) == {"spec": {"template": {"ttl": "24h0m0s"}}, "status": {"phase": "New"}}
    assert patch(options(included_namespaces=["b"]), live())["spec"] == {"template": {"includedNamespaces": ["b"]}}


def test_a_mapping_is_replaced_as_a_whole() -> None:
    there = live(spec={"template": {"labelSelector": {"matchLabels": {"a": "b"}}}})
    assert patch(options(selector="c in (d,e)"), there)["spec"]["template"] == {
        "labelSelector": {"matchLabels": None, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d", "e"]}]}
    }
    assert patch(options(or_selectors=["x=y"]), there)["spec"]["template"] == {
        "labelSelector": None,
        "orLabelSelectors": [{"matchLabels": {"x": "y"}}],
    }


def test_another_field_of_a_shared_mapping_stays() -> None:
    there = live(spec={"template": {"uploaderConfig": {"parallelFilesUpload": 2, "other": 1}}})
    assert patch(options(parallel_files_upload=4), there)["spec"]["template"] == {"uploaderConfig": {"parallelFilesUpload": 4}}


def test_skip_immediately_goes_with_a_new_time_and_with_the_end_of_a_pause() -> None:
    paused = live(spec={"paused": True})
    assert patch(options(paused=False, skip_immediately=True), paused)["spec"] == {"paused": False, "skipImmediately": True}
    assert patch(options(schedule="@daily", skip_immediately=True), live())["spec"] == {"schedule": "@daily", "skipImmediately": True}
    assert "skipImmediately" not in patch(options(ttl="1h", skip_immediately=True), live())["spec"]


def test_no_answer_is_asked_for_where_none_comes() -> None:
    assert "status" not in patch(options(paused=True), live())
    assert "status" not in patch(options(labels={"a": "b"}), live())
    assert "status" not in patch(options(ttl="1h"), live(), fields=OLD)


def test_labels_and_annotations_are_added() -> None:
    there = live(metadata={"labels": {"own": "1", "a": "old"}})
    assert patch(options(labels={"a": "b"}), there) == {"metadata": {"labels": {"a": "b"}}}
    assert planned(options(labels={"own": 1}), there).steps == ()


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"paused": True}, "paused"),
        ({"schedule": "@daily", "skip_immediately": True}, "skip_immediately"),
        ({"snapshot_move_data": True}, "snapshot_move_data"),
    ],
)
def test_what_an_older_release_would_drop_is_refused(given: Document, option: str) -> None:
    with pytest.raises(InputError) as caught:
        planned(options(**given), live(), fields=OLD)
    assert caught.value.option == option


def test_an_older_release_gets_its_own_name_of_a_field() -> None:
    assert patch(options(default_volumes_to_fs_backup=True), live(), fields=OLD)["spec"]["template"] == {"defaultVolumesToRestic": True}
    assert planned(options(default_volumes_to_fs_backup=True), live(spec={"template": {"defaultVolumesToRestic": True}}), fields=OLD).steps == ()


def test_a_missing_location_is_refused_and_in_check_mode_told() -> None:
    with pytest.raises(NotProven, match="there is no location offsite"):
        planned(options(schedule="@daily"), None, missing_location="offsite")
    plan = planned(options(schedule="@daily"), None, check=True, missing_location="offsite")
    assert plan.changed
    assert "there is no location offsite" in plan.warnings[0]


def test_a_missing_namespace_is_told() -> None:
    assert "there is no namespace app" in planned(options(schedule="@daily"), None, missing=("app",)).warnings[0]


@pytest.mark.parametrize("lacking", [{"installed": False}, {"namespace_exists": False}])
def test_without_velero(lacking: Document) -> None:
    with pytest.raises(NotProven, match="Install Velero first"):
        planned(options(schedule="@daily"), None, **lacking)
    assert planned(options(schedule="@daily"), None, check=True, **lacking).warnings


def test_removed() -> None:
    own = {"metadata": {"name": "nightly-1", "ownerReferences": [{"uid": "u"}]}}
    other = {"metadata": {"name": "nightly-2", "ownerReferences": [{"uid": "another"}]}}
    plan = planned(options(state="absent"), live(), backups=(own, other))
    assert [step.request.method for step in plan.steps] == ["DELETE"]
    assert "1 backups belong to it" in plan.warnings[0]
    assert "nightly-1" in plan.warnings[0]
    assert planned(options(state="absent"), live(), backups=(other,)).warnings == ()
    assert planned(options(state="absent"), None).steps == ()


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"name": "Not A Name"}, "name"),
        ({"namespace": "a.b"}, "namespace"),
        ({"schedule": "0 3 * *"}, "schedule"),
        ({"schedule": ""}, "schedule"),
        ({"schedule": "0 0 30 2 *"}, "schedule"),
        ({"ttl": "long"}, "ttl"),
        ({"selector": "a=b=c"}, "selector"),
        ({"labels": {"a": []}}, "labels.a"),
        ({"annotations": {"a": {}}}, "annotations.a"),
    ],
)
def test_bad_input(given: Document, option: str) -> None:
    with pytest.raises(InputError) as caught:
        schedule.check(options(**given))
    assert caught.value.option == option


@pytest.mark.parametrize(
    ("there", "comes"),
    [
        (live(), "2026-11-29T03:00:00Z"),
        (live(spec={"paused": True}), None),
        (live(spec={"schedule": "nonsense"}), None),
        (live(spec={"schedule": "30 11 * * *"}), "2026-11-28T12:00:30Z"),
        (live(spec={"schedule": "30 11 * * *"}, status={"lastBackup": "2026-11-28T11:30:05Z"}), "2026-11-29T11:30:00Z"),
        (live(spec={"schedule": "30 11 * * *"}, status={"lastSkipped": "2026-11-28T11:45:00Z"}), "2026-11-29T11:30:00Z"),
        (live(spec={"schedule": "@every 6h"}, status={"lastBackup": "2026-11-28T09:10:05Z"}), "2026-11-28T15:10:05Z"),
        ({"spec": {"schedule": "@hourly"}}, "2026-11-28T13:00:00Z"),
    ],
)
def test_next_run(there: Document, comes: str | None) -> None:
    assert schedule_view.next_run(there, NOW) == comes


def test_the_newest_good_backup() -> None:
    def made(name: str, ended: str, **status: Any) -> Document:
        return {"metadata": {"name": name}, "status": {"phase": "Completed", "completionTimestamp": ended, **status}}

    listed = [
        made("a", "2026-11-26T03:00:00Z"),
        made("b", "2026-11-27T03:00:00Z"),
        made("c", "2026-11-28T03:00:00Z", errors=1),
        made("d", "", phase="New"),
    ]
    assert schedule_view.newest_good(listed) == {"name": "b", "completed": "2026-11-27T03:00:00Z"}
    assert schedule_view.newest_good([]) is None
