# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""velero_restore_info over made-up objects: which restores, in which order, and what is said of one whose objects were lost since."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, Forbidden, InputError
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource, session
from ansible_collections.serverops.circleci.plugins.module_utils._velero import restore_info, restore_outcome

Document = dict[str, Any]
MADE = {restore_outcome.RESTORED_BY: "old"}


def restore(name: str, backup: str = "b", phase: str = "Completed", made: str = "2026-11-28T11:00:00Z") -> Document:
    """Return a restore."""
    status = {"phase": phase, "completionTimestamp": "2026-11-28T11:05:00Z"}
    return {"metadata": {"name": name, "namespace": "velero", "creationTimestamp": made}, "spec": {"backupName": backup}, "status": status}


class Objects:
    """An API over a few objects by kind; a kind that is None is not known, one that is an exception is raised."""

    def __init__(self, **by_kind: Any) -> None:
        copy = {
            "metadata": {"name": "x", "annotations": {"velero.io/pvc-name": "data"}, "labels": {"velero.io/backup-name": "b"}},
            "spec": {"pod": {"namespace": "app", "name": "web-0"}, "volume": "data"},
            "status": {"phase": "Completed", "snapshotID": "s"},
        }
        back = {
            "metadata": {"labels": MADE},
            "spec": {"pod": {"namespace": "app", "name": "web-0"}, "volume": "data"},
            "status": {"phase": "Completed"},
        }
        claim = {"metadata": {"namespace": "app", "name": "data", "labels": MADE}, "status": {"phase": "Bound"}}
        self.by_kind: dict[str, Any] = {
            "Restore": [restore("old"), restore("new", made="2026-11-28T11:30:00Z"), restore("other", "c")],
            "Backup": [{"metadata": {"name": "b"}, "spec": {"includedNamespaces": ["app"]}, "status": {"phase": "Completed"}}],
            "PodVolumeBackup": [copy],
            "PodVolumeRestore": [back],
            "PersistentVolumeClaim": [claim],
            "Namespace": [{"metadata": {"name": "app", "creationTimestamp": "2026-11-28T10:00:00Z"}}],
            **by_kind,
        }

    def _items(self, kind: resource.Resource) -> list[Document]:
        found = self.by_kind.get(kind.kind, [])
        if isinstance(found, Exception):
            raise found
        if found is None:
            raise Absent("list", kind.kind, "it is not known")
        return [{"kind": kind.kind, **item} for item in found]

    def list(self, kind: resource.Resource, _namespace: str = "", *, label_selector: str = "", **_more: Any) -> Any:
        key, _equals, value = label_selector.partition("=")
        return SimpleNamespace(items=[item for item in self._items(kind) if not key or (item["metadata"].get("labels") or {}).get(key) == value])

    def get(self, kind: resource.Resource, _namespace: str, name: str) -> Document | None:
        return next((item for item in self._items(kind) if item["metadata"]["name"] == name), None)


def found(monkeypatch: pytest.MonkeyPatch, objects: Objects, **options: Any) -> list[Document]:
    """Return what the module finds."""
    checked = ArgumentSpecValidator(dict(restore_info.ARGUMENTS)).validate(options)
    assert not checked.error_messages
    monkeypatch.setattr(session, "log_in", lambda *_unused: objects)
    result: list[Document] = restore_info.find(checked.validated_parameters, Context())["restores"]
    return result


def test_the_newest_first_and_only_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = Objects()
    assert [item["name"] for item in found(monkeypatch, objects)] == ["new", "other", "old"]
    assert [item["name"] for item in found(monkeypatch, objects, backup_name="b", newest=1)] == ["new"]
    assert [item["name"] for item in found(monkeypatch, objects, name="old")] == ["old"]
    assert found(monkeypatch, objects, name="nobody") == []
    assert found(monkeypatch, Objects(Restore=None)) == []


def test_a_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = found(monkeypatch, Objects(), name="old")
    assert (item["good"], item["verdict"], item["namespaces"]) == (True, "", {"app": "app"})
    assert [(volume["claim"], volume["phase"]) for volume in item["volumes"]] == [("data", "Completed")]
    assert [(claim["name"], claim["phase"]) for claim in item["claims"]] == [("data", "Bound")]


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ({"Namespace": []}, "namespace app does not exist"),
        ({"Namespace": [{"metadata": {"name": "app", "creationTimestamp": "2026-11-28T12:00:00Z"}}]}, "namespace app is newer than the restore"),
        ({"PersistentVolumeClaim": []}, "claim app/data is not the one that it made"),
        ({"PodVolumeRestore": []}, "volumes were not restored: app/web-0:data (claim data)"),
    ],
)
def test_what_was_lost_since_is_told(monkeypatch: pytest.MonkeyPatch, lost: Document, told: str) -> None:
    (item,) = found(monkeypatch, Objects(**lost), name="old")
    assert item["good"] is False
    assert told in item["verdict"]


def test_without_its_backup_it_cannot_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = found(monkeypatch, Objects(Backup=[]), name="old")
    assert item["good"] is None


def test_namespaces_that_may_not_be_read_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = found(monkeypatch, Objects(Namespace=Forbidden("read", "Namespace app", "no")), name="old")
    assert item["good"] is True


@pytest.mark.parametrize("options", [{"name": "Not A Name"}, {"backup_name": "Not A Name"}, {"newest": 0}, {"namespace": "a.b"}])
def test_bad_input(monkeypatch: pytest.MonkeyPatch, options: Document) -> None:
    with pytest.raises(InputError):
        found(monkeypatch, Objects(), **options)
