# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""velero_info on real Velero 1.8.1, 1.10.3 and 1.17.2, each on a bed with two nodes of which one is short of CPU, whole and broken."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.bed.conftest import InstalledVelero, installed, started
from tests.bed.driver import Bed
from tests.plays.in_process import Ran, run

MODULE = "velero_info"
AGENTS = {"1.8.1": "restic", "1.10.3": "node-agent", "1.17.2": "node-agent"}
VERBS = ["get", "list", "watch", "create", "delete"]


def found(options: dict[str, Any]) -> Ran:
    """Run the module, which has to succeed."""
    ran = run(MODULE, options)
    assert not ran.failed, ran["msg"]
    return ran


def until(look: Callable[[], Any], seconds: float = 60) -> Any:
    """Look until there is something; AssertionError with the last look after so many seconds."""
    end = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < end, f"still {seen!r} after {seconds} s"
        time.sleep(0.3)
    return seen


@pytest.fixture(scope="module", params=["1.17.2", "1.10.3", "1.8.1"])
def two_nodes(request: pytest.FixtureRequest) -> Iterator[InstalledVelero]:
    """A bed of its own for each version: n2 has 100m of CPU left, too little for a node agent that asks for 500m."""
    version = str(request.param)
    named = os.environ.get("SERVEROPS_BED")
    suffix = version.replace(".", "")
    bed, made = started(f"{named}-{suffix}" if named else f"test-{uuid.uuid4().hex[:6]}-{suffix}")
    empty = run(MODULE, {"kubeconfig": str(bed.kubeconfig)})
    assert named or empty.result["velero"] == [], "without the CRDs of Velero the answer is an empty list"
    velero = installed(bed, version)
    if "n2" not in bed.nodes():
        bed.add_node(2, cpu_reserved="1900m")
    if version == "1.17.2":
        # node agents of 1.14 and newer ask for no CPU by default; people give them some
        patch = [{"op": "add", "path": "/spec/template/spec/containers/0/resources", "value": {"requests": {"cpu": "500m"}}}]
        bed.kubectl("-n", "velero", "patch", "daemonset", "node-agent", "--type", "json", "-p", json.dumps(patch))
    yield velero
    if made and not named:
        bed.down()


def test_whole(two_nodes: InstalledVelero) -> None:
    """Version and plugins by the server's own answer, locations, agents per node with the scheduler's reason for the pending one."""
    version = two_nodes.velero.version

    def both() -> Ran | None:
        ran = found(two_nodes.options())
        agents = [(agent["node"], agent["ready"], agent["reason"]) for agent in ran["velero"][0]["node_agents"]]
        return ran if agents == [("n1", True, None), ("n2", False, "Unschedulable")] else None

    ran = until(both)
    assert not ran.warnings
    assert ran["changed"] is False
    (entry,) = ran["velero"]
    assert entry["installed_by"] == "cli"
    assert entry["server"]["version"] == f"v{version}"
    assert entry["server"]["ready"] is True
    assert entry["server"]["problem"] is None
    assert {"kind": "ObjectStore", "name": "velero.io/aws"} in entry["server"]["plugins"]
    assert entry["server"]["plugin_images"] == ["velero/velero-plugin-for-aws:v1.14.3"]
    (location,) = entry["storage_locations"]
    assert (location["name"], location["phase"], location["bucket"]) == ("default", "Available", two_nodes.bucket)
    assert entry["snapshot_locations"] == []
    assert entry["unfinished"] == {"backups": [], "restores": []}
    running, pending = entry["node_agents"]
    assert running["pod"].startswith(AGENTS[version])
    assert running["reason"] is None
    assert pending["phase"] == "Pending"
    assert "Insufficient cpu" in pending["message"]


def test_leaves_nothing(two_nodes: InstalledVelero) -> None:
    """The request by which the server is asked is gone again."""
    found(two_nodes.options())
    left = two_nodes.bed.kubectl("-n", "velero", "get", "serverstatusrequests.velero.io", "-o", "name").split()
    assert [name for name in left if "serverops" in name] == []


def test_only_what_is_asked_for(two_nodes: InstalledVelero) -> None:
    """One part costs one request."""
    mark = two_nodes.bed.audit_mark()
    ran = found(two_nodes.options(gather=["storage_locations"]))
    assert set(ran["velero"][0]) == {"namespace", "storage_locations"}
    assert len(list(two_nodes.bed.audit(mark))) == 1


def test_unfinished(two_nodes: InstalledVelero) -> None:
    """A backup and a restore that are in no final phase are listed, with one phase that nobody knows among them."""
    for kind, name, phase in (("Backup", "one", "InProgress"), ("Backup", "two", "Completed"), ("Restore", "three", "InProgress")):
        spec = {"backupName": "two"} if kind == "Restore" else {"storageLocation": "default"}
        body = {
            "apiVersion": "velero.io/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": "velero"},
            "spec": spec,
            "status": {"phase": phase},
        }
        two_nodes.bed.kubectl("apply", "-f", "-", input=json.dumps(body))
    try:
        unfinished = found(two_nodes.options(gather=["unfinished"]))["velero"][0]["unfinished"]
        assert [(item["name"], item["phase"]) for item in unfinished["backups"]] == [("one", "InProgress")]
        assert [(item["name"], item["backup"]) for item in unfinished["restores"]] == [("three", "two")]
    finally:
        for what in ("backup one", "backup two", "restore three"):
            kind, name = what.split()
            two_nodes.bed.kubectl("-n", "velero", "patch", f"{kind}s.velero.io", name, "--type", "merge", "-p", '{"metadata":{"finalizers":null}}')
            two_nodes.bed.kubectl("-n", "velero", "delete", f"{kind}s.velero.io", name, "--wait=false")


def test_nothing_there(two_nodes: InstalledVelero) -> None:
    """No Velero in the namespace is an empty answer, not an error."""
    ran = found(two_nodes.options(namespace="nothing-here"))
    assert ran["velero"] == []
    assert ran.warnings == []


def test_server_down(two_nodes: InstalledVelero) -> None:
    """A server that is scaled to 0 is told as that, at once, and the rest is still answered."""
    bed = two_nodes.bed
    bed.kubectl("-n", "velero", "scale", "deployment", "velero", "--replicas=0")
    try:
        until(lambda: not json.loads(bed.kubectl("-n", "velero", "get", "pods", "-l", "deploy=velero", "-o", "json"))["items"])
        began = time.monotonic()
        server = found(two_nodes.options())["velero"][0]["server"]
        assert time.monotonic() - began < 5
        assert (server["version"], server["ready"]) == (None, False)
        assert server["problem"] == "Deployment velero/velero is scaled to 0"
    finally:
        bed.kubectl("-n", "velero", "scale", "deployment", "velero", "--replicas=1")
        two_nodes.velero.wait(node_agent=False)


def test_server_crash_looping(two_nodes: InstalledVelero) -> None:
    """A server that crashes is told with its exit code and its last words."""
    bed = two_nodes.bed
    before = json.loads(bed.kubectl("-n", "velero", "get", "deployment", "velero", "-o", "json"))["spec"]["template"]["spec"]["containers"][0]["args"]
    patch = [
        {"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": [*before, "--no-such-flag"]},
        {"op": "replace", "path": "/spec/strategy", "value": {"type": "Recreate"}},
    ]
    bed.kubectl("-n", "velero", "patch", "deployment", "velero", "--type", "json", "-p", json.dumps(patch))
    try:

        def crashed() -> Any:
            server = found(two_nodes.options(gather=["server"]))["velero"][0]["server"]
            return server if server["problem"] and "unknown flag" in server["problem"] else None

        server = until(crashed)
        assert server["ready"] is False
        assert server["version"] is None
        assert "exit code 1" in server["problem"]
        assert "--no-such-flag" in server["problem"]
    finally:
        patch[0]["value"] = before
        bed.kubectl("-n", "velero", "patch", "deployment", "velero", "--type", "json", "-p", json.dumps(patch))
        two_nodes.velero.wait(node_agent=False)


@pytest.mark.parametrize(
    ("group", "kind", "verb"),
    [
        ("apps", "deployments", "list"),
        ("apps", "daemonsets", "list"),
        ("", "pods", "list"),
        ("velero.io", "backupstoragelocations", "list"),
        ("velero.io", "volumesnapshotlocations", "list"),
        ("velero.io", "backups", "list"),
        ("velero.io", "restores", "list"),
    ],
    ids=lambda value: value or "core",
)
def test_forbidden(two_nodes: InstalledVelero, group: str, kind: str, verb: str) -> None:
    """With one verb missing the answer is one sentence that names verb, kind and namespace."""
    ran = run(MODULE, _restricted(two_nodes, group, kind, verb))
    assert ran.failed
    assert verb in ran["msg"]
    assert kind in ran["msg"]
    assert "velero" in ran["msg"]
    assert "grant" in ran["msg"].lower()


def test_may_not_ask_the_server(two_nodes: InstalledVelero) -> None:
    """Without the right to ask the server, everything else is answered, and a warning names the right."""
    ran = found(_restricted(two_nodes, "velero.io", "serverstatusrequests", "create"))
    assert ran["velero"][0]["server"]["version"] is None
    assert ran["velero"][0]["server"]["ready"] is True
    assert any("serverstatusrequests" in warning and "create" in warning for warning in ran.warnings)


def _restricted(two_nodes: InstalledVelero, group: str, kind: str, verb: str) -> dict[str, Any]:
    """Return the options of a service account that may do everything the module does but one verb on one kind."""
    bed: Bed = two_nodes.bed
    name = f"without-{verb}-{kind}"
    kinds = {
        "apps": ["deployments", "daemonsets"],
        "": ["pods", "pods/log"],
        "velero.io": ["backupstoragelocations", "volumesnapshotlocations", "backups", "restores", "serverstatusrequests"],
    }
    rules = [
        {"apiGroups": [one], "resources": [item for item in items if (one, item) != (group, kind)], "verbs": VERBS} for one, items in kinds.items()
    ]
    rules.append({"apiGroups": [group], "resources": [kind], "verbs": [item for item in VERBS if item != verb]})
    about = {"name": name, "namespace": "velero"}
    objects = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": about, "rules": rules},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": about,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", **about}],
        },
    ]  # fmt: skip
    bed.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    token = bed.kubectl("-n", "velero", "create", "token", name).strip()
    return {"host": bed.api_server, "api_key": token, "ca_cert": str(bed.ca_file), "namespace": "velero", "timeout": 60}
