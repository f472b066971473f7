# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom resource definitions: which a release has, what is taken for their text, when one has to be written, and what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Finished
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.difference import patched
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError, Malformed
from ansible_collections.serverops.circleci.plugins.module_utils._velero import crds, release

NEW, OLD = release.parse("1.17.2"), release.parse("1.8.1")


def text_of(wanted: release.Release, **over: Any) -> str:
    items = [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": name, "creationTimestamp": None},
            "spec": {"group": "velero.io", "names": {"kind": name.split(".", 1)[0]}},
        }
        | over
        for name in crds.expected(wanted)
    ]
    return json.dumps({"kind": "List", "apiVersion": "v1", "items": items})


def test_the_definitions_of_a_release():
    assert len(crds.expected(NEW)) == 13
    assert len(crds.expected(OLD)) == 11
    assert "backuprepositories.velero.io" in crds.expected(NEW)
    assert "resticrepositories.velero.io" in crds.expected(OLD)
    assert "datauploads.velero.io" not in crds.expected(release.parse("1.11.0"))


def test_a_mark_fits_one_release_and_one_generation():
    def made(mark: str, generation: int = 3) -> dict[str, Any]:
        return {"metadata": {"name": "x", "generation": generation, "annotations": {crds.MARK: mark}}}

    assert crds.fits(made("1.17.2 3"), NEW)
    assert not crds.fits(made("1.17.2 3", 4), NEW), "somebody has changed it since"
    assert not crds.fits(made("1.17.1 3"), NEW)
    assert not crds.fits({"metadata": {"name": "x", "generation": 1}}, NEW)
    assert not crds.fits(None, NEW)


def test_texts_are_read_from_lists_and_documents():
    documents = crds.parsed(text_of(NEW), "a test")
    assert set(documents) == set(crds.expected(NEW))
    one = documents["backups.velero.io"]
    assert one["metadata"] == {"name": "backups.velero.io", "labels": {"component": "velero"}, "annotations": {}}
    several = "---\n".join(json.dumps(item) + "\n" for item in json.loads(text_of(OLD))["items"])
    assert set(crds.parsed(several, "a test")) == set(crds.expected(OLD))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: [",
        "just a text",
        text_of(NEW, kind="Secret"),
        text_of(NEW, apiVersion="apiextensions.k8s.io/v1beta1"),
        text_of(NEW, spec={"group": "x.io"}),
    ],
)
def test_whatever_else_is_refused(text: str):
    with pytest.raises(Malformed):
        crds.parsed(text, "a test")


def test_a_file(tmp_path: Path):
    file = tmp_path / "crds.yaml"
    file.write_text(text_of(NEW))
    assert len(crds.from_file(str(file), NEW)) == 13
    with pytest.raises(InputError, match="resticrepositories"):
        crds.from_file(str(file), OLD)
    with pytest.raises(InputError, match="cannot be read"):
        crds.from_file(str(tmp_path / "none"), NEW)


def test_a_program():
    def runs(argv: Any, seconds: float) -> Finished:
        assert seconds <= crds.PROGRAM_SECONDS
        return Finished(0, "Client:\n\tVersion: v1.17.1\n" if "version" in argv else text_of(NEW), "")

    assert len(crds.from_program("velero", NEW, Context(run_program=runs), Deadline(100))) == 13
    with pytest.raises(InputError, match="not those of"):
        crds.from_program("velero", OLD, Context(run_program=runs), Deadline(100))

    def fails(argv: Any, seconds: float) -> Finished:
        return Finished(1, "", "An error occurred: no")

    def missing(argv: Any, seconds: float) -> Finished:
        raise FileNotFoundError(2, "No such file or directory")

    def hangs(argv: Any, seconds: float) -> Finished:
        raise TimeoutError

    for run, words in ((fails, "An error occurred"), (missing, "No such file"), (hangs, "did not end"), (Context().run_program, "cannot be run")):
        with pytest.raises(InputError, match=words) as refused:
            crds.from_program("velero", NEW, Context(run_program=run), Deadline(100))
        assert refused.value.option == "velero_program"


def test_what_has_to_be_written():
    documents = crds.parsed(text_of(NEW), "a test")
    live = {name: {"metadata": {"name": name, "generation": 1}} for name in documents}
    assert crds.unfit(live, NEW) == sorted(documents)
    whole = {name: document | {"spec": document["spec"] | {"conversion": {"strategy": "None"}}} for name, document in documents.items()}
    assert not any(crds.needs_write(name, crds.State(live, whole, documents)) for name in documents), "what the server adds does not count"
    whole["restores.velero.io"]["spec"]["names"] = {"kind": "restores", "listKind": "restoresList", "singular": "restores"}
    assert not crds.needs_write("restores.velero.io", crds.State(live, whole, documents))
    whole["restores.velero.io"]["spec"]["subresources"] = {"status": {}}
    assert crds.needs_write("restores.velero.io", crds.State(live, whole, documents)), "more is not the same"
    whole["backups.velero.io"]["spec"]["names"] = {"kind": "Other"}
    assert crds.needs_write("backups.velero.io", crds.State(live, whole, documents))
    assert crds.needs_write("restores.velero.io", crds.State(live, {}, None)), "without a text nobody knows"


class Api:
    """An API server with one definition that counts its generation as the real one does."""

    def __init__(self, live: dict[str, Any] | None) -> None:
        self.live = live
        self.writes = 0

    def get(self, *_unused: Any) -> dict[str, Any] | None:
        return self.live

    def create(self, _kind: Any, _namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        self.writes += 1
        self.live = {"metadata": body["metadata"] | {"generation": 1, "resourceVersion": "1"}, "spec": body["spec"]}
        return self.live

    def patch(self, _kind: Any, _namespace: str, _name: str, patch: dict[str, Any]) -> dict[str, Any]:
        self.writes += 1
        assert self.live is not None
        before, metadata = self.live["spec"], self.live["metadata"]
        spec = patched(before, patch.get("spec", {}))
        spec |= {"defaulted": True} if "defaulted" in before else {}  # a default comes back
        annotations = {**metadata.get("annotations", {}), **patch["metadata"]["annotations"]}
        metadata = metadata | {"annotations": annotations, "generation": metadata["generation"] + (spec != before)}
        self.live = {"metadata": metadata, "spec": spec}
        return self.live


@pytest.mark.parametrize(
    ("live", "writes"),
    [
        (None, 1),
        ({"group": "velero.io", "names": {"kind": "backups"}}, 1),
        ({"group": "velero.io", "names": {"kind": "other"}}, 1),
        # different for us and the same for the server, so the generation stays, and the mark is corrected
        ({"group": "velero.io", "names": {"kind": "backups"}, "defaulted": True}, 2),
    ],
    ids=["missing", "the same", "different", "defaulted"],
)
def test_a_written_definition_is_marked(live: dict[str, Any] | None, writes: int):
    document = crds.parsed(text_of(NEW), "a test")["backups.velero.io"]
    api = Api(live and {"metadata": {"name": "backups.velero.io", "generation": 7, "resourceVersion": "9"}, "spec": live})
    crds.write(api, "backups.velero.io", document, NEW, new=live is None)  # type: ignore[arg-type]
    assert crds.fits(api.live, NEW)
    assert api.writes == writes
    assert api.live is not None
    assert crds.same(api.live, document) or (live and "defaulted" in live)


def test_what_the_text_does_not_have_goes():
    there = {"names": {"plural": "backups", "shortNames": ["bk"], "singular": "backup"}, "versions": [{"name": "v1", "subresources": {}}]}
    wanted = {"names": {"plural": "backups"}, "versions": [{"name": "v1"}], "scope": "Namespaced"}
    patch = {"names": {"plural": "backups", "shortNames": None, "singular": None}, "versions": [{"name": "v1"}], "scope": "Namespaced"}
    assert crds.replacing(wanted, there) == patch
    assert patched(there, patch) == wanted


def test_the_job_has_no_rights_and_goes_where_the_server_goes():
    wanted = crds.JobWanted("velero", "velero/velero:v1.17.2", "Always", ("pull",), {"nodeSelector": {"a": "b"}})
    pod = crds.job_body(wanted)["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["nodeSelector"] == {"a": "b"}
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["containers"][0]["command"][:3] == ["/velero", "install", "--crds-only"]


def test_a_warning_before_the_text_is_left_out():
    text = "I1121 something\nWARNING: odd\n" + "apiVersion: v1\nkind: List\nitems: []\n"
    assert crds._from_first_line(text).startswith("apiVersion: v1")
    assert crds._from_first_line("") == ""
