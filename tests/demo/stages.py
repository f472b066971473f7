# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of the demo, in order. Each can be killed at any moment and done again."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bed import circleci_server
from tests.bed.circleci_server import installation
from tests.bed.circleci_server.objects import bed_password
from tests.bed.driver import Bed, BedError, lose
from tests.bed.driver.velero import IMAGES_OF, PLUGIN_IMAGES

from . import playbooks
from .playbooks import DemoError
from .progress import Progress
from .rows import compared
from .screen import say, table

VELERO = "1.17.2"


@dataclass
class Demo:
    """A demo on a bed: what is known of it, and whether Velero and CircleCI Server are put on it."""

    name: str
    progress: Progress

    @property
    def bed(self) -> Bed:
        """The running bed."""
        return Bed.attach(self.name)

    def run(self, book: str) -> None:
        """Run a playbook of the collection."""
        bed = self.bed
        say(f"  ansible-playbook -i inventories/s3_compatible playbooks/{book}.yml")
        playbooks.run(book, playbooks.variables(bed, VELERO, self.progress), self.progress.folder)

    def read(self, file: str) -> Any:
        """A file that a playbook wrote for the demo."""
        return json.loads((self.progress.folder / file).read_text())


def identity(bed: Bed) -> dict[str, str]:
    """What tells one cluster from another."""
    uid = bed.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    return {"authority": hashlib.sha256(bed.ca_file.read_bytes()).hexdigest()[:16], "uid": uid}


def start(name: str) -> Bed:
    """The bed of this name, started when it does not run, with the images that the demo needs."""
    try:
        bed = Bed.attach(name)
        say(f"  bed {name} runs already")
    except BedError:
        bed = Bed.up(name)
    bed.import_images(*IMAGES_OF[VELERO], PLUGIN_IMAGES["aws"], "postgresql")
    bed.s3.make_bucket(playbooks.BUCKET)
    return bed


def first_cluster(demo: Demo) -> None:
    """A cluster of real components."""
    bed = start(demo.name)
    demo.progress.facts["cluster before"] = identity(bed)
    version = json.loads(bed.kubectl("get", "--raw", "/version"))["gitVersion"]
    say(f"  Kubernetes {version}, API server {bed.api_server}, S3 server {bed.s3.endpoint_outside}")


def server(demo: Demo) -> None:
    """CircleCI Server's shape, with data."""
    bed = demo.bed
    # kube-router writes all its rules anew for each pod that comes: let it do that once, when all are there
    bed.stop_process("kube-router")
    try:
        circleci_server.install(bed)
        keys = {name: base64.b64encode(bed_password(name.replace("-key", " keyset")).encode()).decode() for name in ("signing-key", "encryption-key")}
        metadata = {"name": "signing-keys", "namespace": circleci_server.NAMESPACE}
        bed.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": keys}))
        state = circleci_server.wait_ready(bed, 300)
    finally:
        bed.start_process("kube-router")
    circleci_server.seed(bed)
    answer = compared(bed)
    if answer["found"] != answer["expected"]:
        raise DemoError("the databases or volumes do not hold what was just put there; run the demo again, or `make bed-down` first")
    demo.progress.facts["addresses before"] = state.addresses
    demo.progress.facts["contents before"] = answer
    rows, others = sum(answer["rows"].values()), len(answer["found"]) - len(answer["rows"])
    say(f"  {state.pods} pods Ready; {rows} rows in {len(answer['rows'])} databases, files in {others} more volumes")


def velero(demo: Demo) -> None:
    """Velero, by the role."""
    (demo.progress.folder / "replicated").touch()
    demo.run("velero")


def backup(demo: Demo) -> None:
    """A backup, and the protection of what is not in it."""
    demo.run("backup")
    report = demo.read("backup.json")
    demo.progress.facts["backup"] = {key: report["backup"][key] for key in ("name", "good", "duration", "bytes")}
    demo.progress.facts["backup"]["volumes"] = len(report["backup"]["volumes"])
    demo.progress.facts["stores"] = [entry["line"] for entry in report["stores"]]
    for line in demo.progress.facts["stores"]:
        say(f"  {line}")


def loss(demo: Demo) -> None:
    """The whole cluster lost."""
    lose(demo.name)
    say("  etcd, keys, nodes, pods, images and volumes are gone; the bucket stays")


def second_cluster(demo: Demo) -> None:
    """Another cluster."""
    bed = start(demo.name)
    installation.start_load_balancers(bed)
    demo.progress.facts["cluster after"] = identity(bed)
    if demo.progress.facts["cluster after"] == demo.progress.facts["cluster before"]:
        raise DemoError("the new cluster is the old one: the loss did not happen")
    namespaces = bed.kubectl("get", "namespaces", "-o", "name")
    if circleci_server.NAMESPACE in namespaces and "velero" not in namespaces:
        raise DemoError(f"the new cluster is not empty: it has namespace {circleci_server.NAMESPACE} and no Velero")
    say(f"  authority {demo.progress.facts['cluster after']['authority']}, it was {demo.progress.facts['cluster before']['authority']}")


def restore(demo: Demo) -> None:
    """Everything from the inventory, the bucket and the credentials."""
    demo.run("restore")
    demo.progress.facts["follow-up"] = demo.read("follow-up.json")
    answer = compared(demo.bed)
    demo.progress.facts["contents after"] = answer
    wrong = sorted(name for name in {*answer["found"], *answer["expected"]} if answer["found"].get(name) != answer["expected"].get(name))
    if wrong:
        raise DemoError(f"not as before: {', '.join(wrong)}")
    for step in demo.progress.facts["follow-up"]["steps"]:
        say(f"  {step}")


def drill(demo: Demo) -> None:
    """A rehearsal where it can do no harm."""
    demo.run("drill")


def status(demo: Demo) -> None:
    """One page."""
    demo.run("status")
    demo.progress.facts["status"] = demo.read("status/status.json").get("state")


STAGES: dict[str, tuple[str, Callable[[Demo], None]]] = {
    "cluster": ("Kubernetes on this machine", first_cluster),
    "server": ("CircleCI Server's shape with data: PostgreSQL is real, the vendor's programs are twins", server),
    "velero": ("Velero", velero),
    "backup": ("A backup, and the protection of what is not in it", backup),
    "loss": ("The whole cluster is lost", loss),
    "new-cluster": ("A new, empty cluster", second_cluster),
    "restore": ("Everything back, from the inventory, the bucket and the credentials alone", restore),
    "drill": ("The next restore, rehearsed where it can do no harm", drill),
    "status": ("What the backups are worth", status),
}


def proof(demo: Demo) -> None:
    """The proof, on one screen."""
    facts = demo.progress.facts
    before, after = facts["contents before"], facts["contents after"]
    same = [name for name, checksum in before["found"].items() if after["found"].get(name) == checksum]
    rows = sum(count for name, count in after["rows"].items() if name in same)
    balancers = [entry for entry in facts["follow-up"]["load_balancers"] if entry["after"]]
    made = facts["backup"]
    say()
    say("PROOF")
    table(
        [
            ("", "BEFORE", "AFTER THE LOSS"),
            ("cluster authority", facts["cluster before"]["authority"], facts["cluster after"]["authority"]),
            ("cluster uid", facts["cluster before"]["uid"], facts["cluster after"]["uid"]),
            ("rows, same checksum", sum(before["rows"].values()), rows),
            ("databases and volumes, same checksum", len(before["found"]), len(same)),
            *((f"load balancer {entry['name']}", ", ".join(entry["before"]), ", ".join(entry["after"])) for entry in balancers),
        ]
    )
    size, stores = f"{made['volumes']} volumes, {made['bytes'] / 1e6:.0f} MB in {made['duration']} s", len(facts["stores"])
    say(f"  backup   {made['name']}: {size}; {stores} stores protected")
    say(f"  status   {facts['status']}")
    say(f"  to do    {len(facts['follow-up']['steps'])} steps, in {demo.progress.folder / 'follow-up.json'}")
    took = "  ".join(f"{stage} {seconds:.0f}" for stage, seconds in demo.progress.seconds.items())
    say(f"  seconds  {took}")
    say(f"  page     {demo.progress.folder / 'status' / 'index.html'}")
