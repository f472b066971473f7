# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which fields a cluster keeps: by the live schema, or else by the server's version."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import DeadlineOver, Forbidden, InputError
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._velero import backup_template, crd_fields

SCHEMA: dict[str, Any] = {
    "properties": {
        "ttl": {"type": "string"},
        "uploaderConfig": {"properties": {"parallelFilesUpload": {"type": "integer"}}},
        "orderedResources": {"additionalProperties": {"type": "string"}},
        "hooks": {"properties": {"resources": {"items": {"properties": {"name": {}}}}}},
        "anything": {"x-kubernetes-preserve-unknown-fields": True},
    }
}
DEFINITION = {
    "spec": {
        "versions": [
            {"name": "v0", "served": True, "schema": {}},
            {"name": "v1", "served": True, "schema": {"openAPIV3Schema": {"properties": {"spec": SCHEMA}}}},
        ]
    }
}


@pytest.mark.parametrize(
    ("spec", "dropped"),
    [
        ({"ttl": "1h"}, []),
        ({"uploaderConfig": {"parallelFilesUpload": 2}}, []),
        ({"uploaderConfig": {"parallelFilesUpload": 2, "new": 1}}, ["uploaderConfig.new"]),
        ({"datamover": "x", "ttl": "1h"}, ["datamover"]),
        ({"orderedResources": {"pods": "a/b"}}, []),
        ({"hooks": {"resources": [{"name": "a"}, {"other": 1}]}}, ["hooks.resources.other"]),
        ({"anything": {"at": {"all": 1}}}, []),
    ],
)
def test_by_the_schema(spec: dict[str, Any], dropped: list[str]) -> None:
    fields = crd_fields.Fields("Backup", schema=SCHEMA)
    assert fields.dropped(spec) == dropped
    assert fields.knows("uploaderConfig", "parallelFilesUpload")
    assert not fields.knows("datamover")
    assert fields.knows("anything", "at")


def test_by_the_version() -> None:
    spec = {"ttl": "1h", "datamover": "x", "uploaderConfig": {"parallelFilesUpload": 2}}
    assert crd_fields.Fields("Backup", line=(1, 12)).dropped(spec) == ["uploaderConfig"]
    assert crd_fields.Fields("Backup", line=(1, 17)).dropped(spec) == []
    assert crd_fields.Fields("Backup").dropped(spec) == [], "nothing is known, so nothing is refused"
    assert not crd_fields.needed("Backup", {"ttl": "1h", "includedNamespaces": []})
    assert crd_fields.needed("Backup", {"datamover": "x"})


def test_the_refusal_names_the_option_and_the_release() -> None:
    with pytest.raises(InputError) as raised:
        crd_fields.refuse_dropped(crd_fields.Fields("Backup", line=(1, 8)), {"snapshotMoveData": True}, backup_template.option_of)
    assert raised.value.option == "snapshot_move_data"
    assert "1.12" in str(raised.value)
    crd_fields.refuse_dropped(crd_fields.Fields("Backup", line=(1, 17)), {"snapshotMoveData": True}, backup_template.option_of)


def api(answer: Any) -> Any:
    def get(kind: Any, namespace: str, name: str) -> Any:
        assert (kind, namespace, name) == (resource.CUSTOM_RESOURCE_DEFINITION, "", "backups.velero.io")
        if isinstance(answer, Exception):
            raise answer
        return answer

    return SimpleNamespace(get=get, transport=SimpleNamespace(deadline=None))


def test_read() -> None:
    assert crd_fields.read(api(DEFINITION), resource.BACKUP, "velero").schema == SCHEMA
    inner = crd_fields.read(api(DEFINITION), resource.BACKUP, "velero", ("spec", "uploaderConfig"))
    assert inner.knows("parallelFilesUpload")
    assert crd_fields.read(api(None), resource.BACKUP, "velero") == crd_fields.Fields("Backup")


@pytest.mark.parametrize(("answer", "line"), [(("v1.10.3", []), (1, 10)), (None, None), (DeadlineOver("ask", "x", "y"), None)])
def test_where_the_definition_may_not_be_read(monkeypatch: pytest.MonkeyPatch, answer: Any, line: Any) -> None:
    def ask(_api: Any, _namespace: str, _deadline: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(crd_fields.server, "ask_once", ask)
    assert crd_fields.read(api(Forbidden("read", "x", "no")), resource.BACKUP, "velero") == crd_fields.Fields("Backup", line=line)
