# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs of velero_backup against a twin of API server and Velero: a success has to be true, and nothing is made twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, ensure
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import AnswerLost, DeadlineOver, InputError, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup
from ansible_collections.serverops.circleci.tests.unit.velero.backup_twin import VeleroTwin


class Run:
    """One task against a twin: its result or error, warnings and progress lines."""

    def __init__(self, twin: VeleroTwin, *, check: bool = False, seconds: float = 100.0, **options: Any) -> None:
        given = {"name": "b", "included_namespaces": ["app"], **options}
        given = {name: value for name, value in given.items() if value is not None}
        checked = ArgumentSpecValidator(dict(backup.ARGUMENTS), **backup.CONSTRAINTS).validate(given)
        assert not checked.error_messages, checked.error_messages
        self.lines: list[str] = []
        self.context = Context(check_mode=check, progress=self.lines.append)
        began = twin.now
        try:
            self.result = ensure(backup.Backup(checked.validated_parameters, twin.api(self.context, seconds), self.context), self.context)
        finally:
            self.seconds = twin.now - began

    @property
    def entry(self) -> dict[str, Any]:
        found: dict[str, Any] = self.result["backup"]
        return found


YOUNG = {"name": None, "newer_than": "1h"}


def test_made(velero_twin: VeleroTwin) -> None:
    run = Run(velero_twin, ttl="72h", labels={"kept": True})
    assert run.result["changed"]
    assert velero_twin.writes == ["POST backups"]
    assert run.entry["good"] is True
    assert run.entry["coverage"] == "known"
    assert run.entry["labels"] == {"kept": "true"}
    assert 10 <= run.seconds < 12
    assert any("InProgress" in line for line in run.lines)
    assert run.context.warnings == []
    again = Run(velero_twin, ttl="72h")
    assert not again.result["changed"]
    assert velero_twin.writes == ["POST backups"]
    assert again.result["diff"]["before"] == again.result["diff"]["after"] == run.result["diff"]["after"]
    assert "waited" not in again.result
    assert not [key for key in velero_twin.store if key.startswith("downloadrequests")]


def test_check_mode(velero_twin: VeleroTwin) -> None:
    predicted = Run(velero_twin, check=True)
    assert velero_twin.writes == []
    assert predicted.entry == {"name": "b", "namespace": "velero", "template": {"included_namespaces": ["app"]}}
    real = Run(velero_twin)
    assert predicted.result["diff"] == real.result["diff"]
    assert predicted.result["requests"] == real.result["requests"]
    assert Run(velero_twin, check=True).entry["good"] is True


@pytest.mark.parametrize("fault", ["lost", 503])
def test_a_lost_answer_makes_no_second_one(velero_twin: VeleroTwin, fault: Any) -> None:
    velero_twin.faults = [fault]
    if fault == "lost":
        assert Run(velero_twin).result["changed"]
    else:
        with pytest.raises(AnswerLost):
            Run(velero_twin)
    assert velero_twin.writes == ["POST backups"]


def test_lost_and_not_done(velero_twin: VeleroTwin) -> None:
    velero_twin.faults = ["cut"]
    with pytest.raises(AnswerLost):
        Run(velero_twin)
    assert Run(velero_twin).entry["good"]


def test_lost_by_age(velero_twin: VeleroTwin) -> None:
    """The name is made up by the task, and still the lost one is found."""
    velero_twin.faults = ["lost"]
    run = Run(velero_twin, **YOUNG)
    assert run.entry["name"] == "backup-20261121120000"
    assert velero_twin.writes == ["POST backups"]


def test_killed_and_run_again(velero_twin: VeleroTwin) -> None:
    with pytest.raises(DeadlineOver) as over:
        Run(velero_twin, seconds=4)
    assert "goes on by itself" in str(over.value)
    run = Run(velero_twin)
    assert not run.result["changed"]
    assert velero_twin.writes == ["POST backups"]
    assert run.entry["good"]


# verdicts


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ({"phase": "PartiallyFailed", "errors": 2}, "is incomplete (2 errors)"),
        ({"phase": "Failed", "failureReason": "upload broke"}, "it failed: upload broke"),
        ({"phase": "FailedValidation", "validationErrors": ["no such place"]}, "refused it: no such place"),
        ({"phase": "Completed", "errors": 1}, "counts 1 errors"),
        ({"phase": "Failed", "failureReason": "backup already exists in object storage"}, "does not list"),
    ],
)
def test_bad_ends(velero_twin: VeleroTwin, outcome: dict[str, Any], words: str) -> None:
    velero_twin.outcome = lambda backup: outcome
    for _again in range(2):
        with pytest.raises(NotProven) as raised:
            Run(velero_twin)
        assert words in str(raised.value)
        assert raised.value.next_step
    assert velero_twin.writes == ["POST backups"]
    with pytest.raises(NotProven):
        Run(velero_twin, check=True)
    with pytest.raises(NotProven):
        Run(velero_twin, uncovered_volumes="warn")


def test_results_in_words(velero_twin: VeleroTwin) -> None:
    velero_twin.outcome = lambda backup: {"phase": "PartiallyFailed", "errors": 1}
    velero_twin.stored[("BackupResults", "b")] = {"errors": {"namespaces": {"app": ["disk is gone"]}}, "warnings": {}}
    with pytest.raises(NotProven, match="namespace app: disk is gone"):
        Run(velero_twin)


def test_warnings_are_shown(velero_twin: VeleroTwin) -> None:
    velero_twin.outcome = lambda backup: {"phase": "Completed", "warnings": 1}
    velero_twin.stored[("BackupResults", "b")] = {"errors": {}, "warnings": {"velero": ["pod x is not running"]}}
    run = Run(velero_twin)
    assert run.context.warnings == ["Backup velero/b: Velero warns: pod x is not running."]
    assert run.entry["results"]["warnings"] == ["pod x is not running"]


def test_uncovered(velero_twin: VeleroTwin) -> None:
    velero_twin.copied = []
    with pytest.raises(NotProven, match="holds no data of app/data"):
        Run(velero_twin)
    warned = Run(velero_twin, uncovered_volumes="warn")
    assert warned.entry["good"] is False
    assert any("holds no data of app/data" in text for text in warned.context.warnings)
    assert Run(velero_twin, excluded_volumes=["app/*"]).entry["good"] is True


def test_the_store_is_not_reachable_from_here(velero_twin: VeleroTwin) -> None:
    """The claims of the cluster are taken, and that is said; where they say nothing, the task does not claim anything."""
    velero_twin.reachable = False
    run = Run(velero_twin)
    assert (run.entry["good"], run.entry["coverage"]) == (True, "partly")
    assert "not reachable" in run.entry["unreached"]
    assert any("judged by what is in the cluster" in text for text in run.context.warnings)
    velero_twin.copied = []
    with pytest.raises(NotProven, match="holds no data of app/data"):
        Run(velero_twin, name="c")
    velero_twin.forbidden = {"persistentvolumeclaims"}
    with pytest.raises(NotProven, match="not known"):
        Run(velero_twin, name="d")


def test_the_bucket_was_emptied(velero_twin: VeleroTwin) -> None:
    velero_twin.backup("b")
    velero_twin.stored[("BackupResourceList", "b")] = None
    with pytest.raises(NotProven, match="its contents are gone"):
        Run(velero_twin)
    assert Run(velero_twin, check=True, **YOUNG).result["changed"]


def test_gone_in_the_middle(velero_twin: VeleroTwin) -> None:
    original = velero_twin.sleep

    def sleep(seconds: float) -> None:
        original(seconds)
        if velero_twin.now > 4:
            velero_twin.store.pop("backups/velero/b", None)

    velero_twin.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(NotProven, match="somebody removed it"):
        Run(velero_twin)
    assert velero_twin.now < 15


def test_no_server(velero_twin: VeleroTwin) -> None:
    velero_twin.serving = False
    with pytest.raises(DeadlineOver) as over:
        Run(velero_twin, seconds=20)
    assert "Velero's server is not running" in str(over.value)
    assert velero_twin.now < 25


# the same name, or new enough


def test_another_content(velero_twin: VeleroTwin) -> None:
    velero_twin.backup("b")
    for options in ({"included_namespaces": ["web"]}, {"selector": "app=db"}, {"ttl": "1h"}, {"included_namespaces": None}):
        with pytest.raises(NotProven, match="holds something else") as raised:
            Run(velero_twin, **options)
        assert next(iter(options)) in str(raised.value)
    assert velero_twin.writes == []


@pytest.mark.parametrize(
    ("age", "over", "fits"),
    [
        (60.0, {}, True),
        (3590.0, {}, True),
        (3700.0, {}, False),
        (60.0, {"claims": ()}, False),
        (60.0, {"status": {"phase": "PartiallyFailed"}}, False),
        (60.0, {"status": {"phase": "Deleting"}}, False),
        (60.0, {"status": {"expiration": "2026-11-21T11:59:59Z"}}, False),
        (60.0, {"spec": {"includedNamespaces": ["web"]}}, False),
        (60.0, {"spec": {"includedResources": ["configmaps"]}}, False),
        (60.0, {"spec": {"labelSelector": {"matchLabels": {"app": "db"}}}}, False),
        (60.0, {"spec": {"excludedNamespaceScopedResources": ["volumesnapshots.snapshot.storage.k8s.io"]}}, True),
        (None, {}, True),
    ],
)
def test_new_enough(velero_twin: VeleroTwin, age: float | None, over: dict[str, Any], fits: bool) -> None:
    velero_twin.backup("other", age, **over)
    planned = Run(velero_twin, check=True, **YOUNG)
    assert planned.result["changed"] is not fits
    assert (planned.entry["name"] == "other") is fits


def test_few_requests(velero_twin: VeleroTwin) -> None:
    velero_twin.backup("other")
    velero_twin.requests.clear()
    assert not Run(velero_twin, **YOUNG).result["changed"]
    assert len(velero_twin.requests) <= 8, velero_twin.requests


def test_a_running_one_is_joined(velero_twin: VeleroTwin) -> None:
    velero_twin.backup("other", None, (), status={"startTimestamp": velero_twin.stamp()})
    run = Run(velero_twin, **YOUNG)
    assert run.entry["name"] == "other"
    assert not run.result["changed"]
    assert run.entry["good"]


def test_an_orphan_is_not_joined(velero_twin: VeleroTwin) -> None:
    """A server up to 1.8 that was started anew never finishes what the one before had begun."""
    velero_twin.backup("other", None, (), status={"startTimestamp": velero_twin.stamp(-600)})
    velero_twin.put(
        "pods",
        "velero",
        "velero-x",
        {
            "spec": {"containers": [{"name": "velero", "image": "velero/velero:v1.8.1", "command": ["/velero"], "args": ["server"]}]},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "velero", "state": {"running": {"startedAt": velero_twin.stamp(-60)}}}],
            },
        },
    )
    velero_twin.seconds = 5
    velero_twin.store["backups/velero/other"]["status"].pop("startTimestamp")
    velero_twin.store["backups/velero/other"]["status"] |= {"startTimestamp": velero_twin.stamp(-600), "phase": "Uploading"}
    run = Run(velero_twin, **YOUNG)
    assert run.entry["name"].startswith("backup-2026")
    with pytest.raises(NotProven, match="never finishes such a one"):
        Run(velero_twin, name="other")


# refused before anything is written


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ({"spec": {"default": True, "accessMode": "ReadOnly"}, "status": {"phase": "Available"}}, "is read-only"),
        (
            {"spec": {"default": True}, "status": {"phase": "Unavailable", "message": "no bucket"}},
            "is Unavailable (last validated: never): no bucket",
        ),
        ({"spec": {"default": True}}, "is not validated yet"),
        ({"spec": {}, "status": {"phase": "Available"}}, ""),
        (None, "no storage location is the default"),
    ],
)
def test_locations(velero_twin: VeleroTwin, location: dict[str, Any] | None, words: str) -> None:
    del velero_twin.store["backupstoragelocations/velero/default"]
    if location:
        velero_twin.put("backupstoragelocations", "velero", "default", location)
    if words:
        with pytest.raises(NotProven, match=r"create|make") as raised:
            Run(velero_twin)
        assert words in str(raised.value)
        planned = Run(velero_twin, check=True)
        assert planned.result["changed"]
        assert any(words in text for text in planned.context.warnings)
        assert velero_twin.writes == []
    else:
        assert Run(velero_twin).entry["good"]


def test_what_is_missing(velero_twin: VeleroTwin) -> None:
    with pytest.raises(NotProven, match="no storage location nowhere"):
        Run(velero_twin, storage_location="nowhere")
    with pytest.raises(NotProven, match="namespace web, nobody does not exist"):
        Run(velero_twin, included_namespaces=["app", "web", "nobody"])
    assert velero_twin.writes == []
    assert Run(velero_twin, included_namespaces=["a*"], name="patterns").result["changed"]


def definition(*fields: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"properties": {"spec": {"properties": {name: {} for name in fields}}}}}
    return {"spec": {"versions": [{"name": "v1", "served": True, "schema": schema}]}}


def test_fields_that_would_be_dropped(velero_twin: VeleroTwin) -> None:
    kind = "customresourcedefinitions//backups.velero.io"
    velero_twin.put("customresourcedefinitions", "", "backups.velero.io", definition("includedNamespaces", "defaultVolumesToRestic"))
    assert kind in velero_twin.store
    with pytest.raises(InputError) as raised:
        Run(velero_twin, snapshot_move_data=True)
    assert raised.value.option == "snapshot_move_data"
    assert velero_twin.writes == []
    run = Run(velero_twin, default_volumes_to_fs_backup=True)
    assert velero_twin.store["backups/velero/b"]["spec"]["defaultVolumesToRestic"] is True
    assert run.entry["template"]["default_volumes_to_fs_backup"] is True
    assert not Run(velero_twin, default_volumes_to_fs_backup=True).result["changed"]


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"name": "Not_A_Name"}, "name"),
        ({"namespace": "Not_A_Name"}, "namespace"),
        ({"name_prefix": "Not_A_Name"}, "name_prefix"),
        ({"newer_than": "a day"}, "newer_than"),
        ({"newer_than": "0"}, "newer_than"),
        ({"excluded_volumes": ["data"]}, "excluded_volumes"),
        ({"excluded_volumes": ["a/b/c"]}, "excluded_volumes"),
        ({"labels": {"a b": "c"}}, "labels"),
        ({"labels": {"a": "b c"}}, "labels"),
        ({"labels": {"velero.io/x": "c"}}, "labels"),
        ({"annotations": {"a": ["b"]}}, "annotations"),
        ({"ttl": "0"}, "ttl"),
    ],
)
def test_bad_input(options: dict[str, Any], option: str) -> None:
    given = {"name": None if "newer_than" in options else "b", **options}
    given = {name: value for name, value in given.items() if value is not None}
    checked = ArgumentSpecValidator(dict(backup.ARGUMENTS), **backup.CONSTRAINTS).validate(given)
    assert not checked.error_messages
    with pytest.raises(InputError) as raised:
        backup.manage({**checked.validated_parameters, "host": "https://127.0.0.1:9"}, Context())
    assert raised.value.option == option


def test_no_secret_address_is_shown(velero_twin: VeleroTwin) -> None:
    velero_twin.copied = []
    run = Run(velero_twin, uncovered_volumes="warn")
    assert "signature-that-is-secret" not in json.dumps(run.result) + "".join(run.context.warnings) + "".join(run.lines)
    assert "signature-that-is-secret" in run.context.mask.forms()
