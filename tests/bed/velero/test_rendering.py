# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What velero_install would make equals, object for object, what the CLIs of Velero's releases make; the wanted differences are listed."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import release, workload
from ansible_collections.serverops.circleci.plugins.module_utils._velero.release import Release

from tests.bed.driver import Bed, programs
from tests.bed.driver.paths import TOOLS
from tests.bed.driver.velero import Velero
from tests.bed.velero import rendering
from tests.bed.velero.cli_releases import BUILT, REFUSED
from tests.bed.velero.rendering import Case, Difference

AFFINITY = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "kubernetes.io/hostname"}]
    }
}


class ConfigMapTwin(BaseHTTPRequestHandler):
    """Stands for an API server that knows ConfigMaps only, and has every one that it is asked for.

    The CLI of 1.17 and newer looks at the ConfigMaps that it is told of, that of 1.17.2 in the namespace velero whatever its --namespace says;
    on the bed that namespace is other tests'.
    """

    KINDS: ClassVar[dict[str, dict[str, Any]]] = {
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
        "/api/v1": {
            "kind": "APIResourceList",
            "groupVersion": "v1",
            "resources": [{"name": "configmaps", "singularName": "configmap", "namespaced": True, "kind": "ConfigMap", "verbs": ["get"]}],
        },
    }

    def do_GET(self) -> None:
        """Answer what the CLI asks before it renders."""
        path = self.path.partition("?")[0]
        namespace, plural, name = ["", "", *path.split("/")][-3:]
        answer = self.KINDS.get(path)
        if plural == "configmaps":
            answer = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {"settings": "{}"}}
        body = json.dumps(answer or {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}).encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def kubeconfig(folder: Path) -> Iterator[Path]:
    """The kubeconfig of a twin that has the ConfigMaps which flags name."""
    with ThreadingHTTPServer(("127.0.0.1", 0), ConfigMapTwin) as twin:
        threading.Thread(target=twin.serve_forever, daemon=True).start()
        path = folder / "kubeconfig"
        clusters = [{"name": "twin", "cluster": {"server": f"http://127.0.0.1:{twin.server_address[1]}"}}]
        contexts = [{"name": "twin", "context": {"cluster": "twin", "user": "twin"}}]
        users: list[dict[str, Any]] = [{"name": "twin", "user": {}}]
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "twin", "clusters": clusters, "contexts": contexts, "users": users}
        path.write_text(json.dumps(config))
        yield path
        twin.shutdown()


@pytest.fixture(scope="module")
def namespace(bed: Bed) -> Iterator[str]:
    """A namespace on the bed, in which objects are tried without being made."""
    bed.kubectl("create", "namespace", rendering.NAMESPACE)
    yield rendering.NAMESPACE
    bed.kubectl("delete", "namespace", rendering.NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that flags name; also the CLI's home, in which there is no configuration."""
    path = tmp_path_factory.mktemp("rendering")
    (path / rendering.SECRET_FILE).write_text(rendering.CONTENT)
    (path / rendering.CERTIFICATE_FILE).write_text(rendering.CERTIFICATE)
    return path


def documents(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON documents that follow each other in a text."""
    decoder = json.JSONDecoder()
    while text.strip():
        document, end = decoder.raw_decode(text := text.lstrip())
        yield document
        text = text[end:]


def compared(program: Path, wanted: Release, kubeconfig: Path, folder: Path) -> dict[str, list[Difference]]:
    """Return the differences of every case by its name."""
    known = rendering.flags_of(program)

    def one(case: Case) -> list[Difference]:
        cli = rendering.cli_objects(program, rendering.argv(case, known, folder), kubeconfig, folder)
        return rendering.differences(cli, rendering.our_objects(case.options, wanted))

    cases = rendering.cases_of(known, wanted)
    with ThreadPoolExecutor(2) as pool:
        return dict(zip([case.name for case in cases], pool.map(one, cases), strict=True))


def check(program: Path, version: str, kubeconfig: Path, folder: Path) -> None:
    """Compare every case with a CLI: what differs is wanted, and what is wanted differs; no flag is left out."""
    wanted = release.parse(version)
    untried = rendering.flags_of(program) - rendering.tried_flags(rendering.flags_of(program)) - set(rendering.NOT_RENDERED)
    assert not untried, f"no case gives these flags to the CLI of {version}: {sorted(untried)}"
    found = compared(program, wanted, kubeconfig, folder)
    expected = [entry for entry in rendering.WANTED if entry.applies(wanted)]
    unwanted, idle = rendering.judged(found, expected)
    assert not unwanted, f"{version}: {len(unwanted)} differences to the CLI:\n" + "\n".join(unwanted)
    assert not idle, f"{version}: these wanted differences do not occur: {idle}"
    print(f"{version}: {len(found)} cases equal but for {len(expected)} wanted differences")


@pytest.mark.parametrize("version", list(Velero.families))
def test_equals_the_cli(bed: Bed, version: str, kubeconfig: Path, folder: Path) -> None:
    """All four variants, every option alone and all together, by the CLIs that the bed has."""
    check(bed.velero(version), version, kubeconfig, folder)


@pytest.mark.full
@pytest.mark.timeout(1800)  # the first time on a machine it is built
@pytest.mark.parametrize("version", list(BUILT))
def test_equals_the_cli_of_other_releases(version: str, kubeconfig: Path, folder: Path) -> None:
    """The same by the install command of every other release line whose source the module proxy serves."""
    family = BUILT[version]
    program = programs.build([family], programs.find_go())[family].program("velero")
    check(program, version, kubeconfig, folder)


def test_the_comparison_tells_what_differs() -> None:
    """A value changed, added or away, another order, and an object too many are told; a wanted difference that does not occur as well."""
    wanted = release.parse("1.17.2")
    ours = rendering.our_objects(rendering.BASE.options, wanted)

    def told(change: Callable[[list[dict[str, Any]]], Any]) -> list[str]:
        theirs = copy.deepcopy(ours)
        change(theirs)
        return [item.path for item in rendering.differences(theirs, ours)]

    def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = objects[-1]["spec"]["template"]["spec"]
        return found

    here = "spec.template.spec"
    assert told(lambda objects: None) == []
    assert told(lambda objects: pod(objects)["containers"][0].update(image="other")) == [f"{here}.containers[node-agent].image"]
    assert told(lambda objects: pod(objects).update(hostNetwork=True)) == [f"{here}.hostNetwork"]
    assert told(lambda objects: pod(objects).pop("os")) == [f"{here}.os.name"]
    assert told(lambda objects: pod(objects)["volumes"].reverse()) == [f"{here}.volumes"]
    assert told(lambda objects: pod(objects)["volumes"][2].pop("emptyDir")) == [f"{here}.volumes[scratch].emptyDir"]
    assert told(lambda objects: pod(objects)["containers"][0]["args"].append("--x")) == [f"{here}.containers[node-agent].args[x]"]
    assert told(lambda objects: objects.pop()) == ["items"]
    found = {"a": [Difference("Deployment", "velero", "spec.strategy.type", None, "Recreate"), Difference("Secret", "s", "type", None, "Opaque")]}
    unwanted, idle = rendering.judged(found, list(rendering.WANTED))
    assert [text.split(":")[0] for text in unwanted] == ["a"]
    assert "Secret s type" in unwanted[0]
    assert idle == [rendering.WANTED[1]]


def test_every_release_line_is_on_the_list() -> None:
    """Each line is compared with a CLI, or the list says why it cannot be."""
    listed = [*Velero.families, *BUILT, *REFUSED]
    assert {release.parse(version).line for version in listed} == set(release.KNOWN)
    assert len(set(listed)) == len(listed)
    assert all(reason for reason in REFUSED.values())
    assert [name for name in BUILT.values() if not (TOOLS / name / "go.sum").is_file()] == []


@pytest.mark.parametrize("line", release.KNOWN, ids=release.shown)
def test_the_api_server_takes_it_and_finds_it_as_asked(bed: Bed, namespace: str, line: tuple[int, int]) -> None:
    """What is made for a release has no unknown field, and what the API server makes of it needs no change."""
    wanted = release.Release(*line, 2, f"{release.shown(line)}.2")
    cases = rendering.cases_of({name for case in rendering.CASES for name in case.flags if release.knows(name.replace("-", "_"), wanted)}, wanted)
    options = cases[-1].options | {
        "labels": {"team": "a"}, "annotations": {"note": "b"}, "registry": "registry.example.com:5000", "image": None,
        "node_selector": {"pool": "backup"}, "tolerations": [{"key": "backup", "operator": "Exists"}], "image_pull_secrets": ["registry"],
        "affinity": AFFINITY, "env": {"HTTPS_PROXY": "http://proxy"},
        "server_args": {"log-level": "debug"}, "repository_password": "rendered",
    }  # fmt: skip
    here = ("ConfigMap", "Secret", "ServiceAccount", "ClusterRoleBinding", "Deployment", "DaemonSet")
    made = [item for item in rendering.our_objects(options, wanted) if item["kind"] in here]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    answer = bed.kubectl("create", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-", input=text)
    live = {(item["kind"], item["metadata"]["name"]): item for item in documents(answer)}
    assert list(live) == [(item["kind"], item["metadata"]["name"]) for item in made]
    known = {"namespace": namespace, "version": wanted.text} | {name: value for name, value in options.items() if release.knows(name, wanted)}
    for (kind, name), item in live.items():
        if kind == "Deployment":
            assert workload.patch(item, workload.adjusted_deployment(item, known, wanted)) == {}
        elif kind == "DaemonSet":
            assert workload.patch(item, workload.adjusted_daemon_set(item, known, wanted, windows=name.endswith("windows"))) == {}
