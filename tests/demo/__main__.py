# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows a person the bed, CircleCI Server's shape with data on it, Velero put there by its own program, and what velero_info says of it.

usage: python3 -m tests.demo [--name BED] [--down]   as root, with an ansible-playbook beside this Python or on PATH; `make demo` sees to both

A bed of that name that runs already is used as it is; without --down it stays up, so that a person can go on with it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bed import circleci_server
from tests.bed.driver import DEFAULT_NAME, Bed, BedError

VELERO = "1.17.2"
REPOSITORY = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(__file__).with_name("velero_info.yml")
STORES = {"ObjectStore", "VolumeSnapshotter"}


class DemoError(Exception):
    """The demo cannot go on; the text says what was done, what was seen and what to do."""


def say(text: str = "") -> None:
    """One line for the person, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def headline(text: str) -> None:
    """The title of a part."""
    say(f"\n== {text}")


def table(rows: list[tuple[Any, ...]], indent: str = "  ") -> None:
    """Rows in columns as wide as their widest cell; the first row is the heading."""
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        say(indent + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def running_bed(name: str) -> Bed:
    """The bed of this name, started when it does not run."""
    headline(f"Kubernetes: the bed {name}")
    start = time.monotonic()
    try:
        bed = Bed.attach(name)
        say("  runs already")
    except BedError:
        bed = Bed.up(name)
        say(f"  up in {time.monotonic() - start:.1f} s")
    table([("NODE", "KUBELET", "READY"), *nodes(bed)])
    return bed


def nodes(bed: Bed) -> list[tuple[str, str, str]]:
    """Name, version of the kubelet and the condition Ready of each node."""
    found = []
    for node in json.loads(bed.kubectl("get", "nodes", "--output", "json"))["items"]:
        ready = next((c["status"] for c in node["status"].get("conditions", []) if c["type"] == "Ready"), "Unknown")
        found.append((node["metadata"]["name"], node["status"]["nodeInfo"]["kubeletVersion"], ready))
    return found


def installation(bed: Bed) -> None:
    """Install CircleCI Server's shape, seed it, and show its addresses and databases."""
    headline(f"CircleCI Server 3.x in shape: namespace {circleci_server.NAMESPACE} (PostgreSQL is real, the vendor's programs are twins)")
    start = time.monotonic()
    circleci_server.install(bed)
    state = circleci_server.wait_ready(bed, 180)
    say(f"  {state.pods} pods Ready after {time.monotonic() - start:.1f} s")
    table([("LOAD BALANCER", "ADDRESS"), *sorted(state.addresses.items())])
    circleci_server.seed(bed)
    found, wanted = circleci_server.checksums(bed), circleci_server.expected_checksums()
    rows = {f"database/{name}": fingerprint.rows for name, fingerprint in circleci_server.databases(bed).items()}
    say()
    lines: list[tuple[Any, ...]] = [("CONTENTS", "ROWS", "CHECKSUM", "AS SEEDED")]
    for name in sorted(found | wanted):
        count = sum(rows[name].values()) if name in rows else ""
        lines.append((name, count, found.get(name, "missing")[:16], "yes" if found.get(name) == wanted.get(name) else "NO"))
    table(lines)
    if found != wanted:
        raise DemoError("the databases or volumes do not hold what was seeded; the table shows which")


def velero(bed: Bed) -> None:
    """Put Velero on the bed by its own program, unless one is there."""
    headline(f"Velero {VELERO}, by its own command `velero install`")
    if bed.kubectl("get", "namespace", "velero", "--ignore-not-found", "--output", "name").strip():
        say("  is there already")
        return
    start = time.monotonic()
    bed.velero_install(VELERO, "velero")
    say(f"  installed, its storage location is Available ({time.monotonic() - start:.1f} s)")


def ansible_playbook() -> str:
    """The ansible-playbook beside this Python, else that of PATH. DemoError without one."""
    beside = Path(sys.executable).with_name("ansible-playbook")
    found = str(beside) if beside.exists() else shutil.which("ansible-playbook")
    if not found:
        raise DemoError("there is no ansible-playbook beside this Python or on PATH; run `make demo`, which makes an environment with it")
    return found


def play(bed: Bed) -> dict[str, Any]:
    """Run the playbook and return the result of its task."""
    headline("Our module: ansible-playbook tests/demo/velero_info.yml")
    program = ansible_playbook()
    with tempfile.TemporaryDirectory(prefix="serverops-demo-") as folder:
        # this clone as the collection, wherever the clone lies
        namespace = Path(folder, "ansible_collections", "serverops")
        namespace.mkdir(parents=True)
        (namespace / "circleci").symlink_to(REPOSITORY)
        answer = Path(folder, "answer.json")
        settings = Path(folder, "ansible.cfg")
        settings.write_text("[defaults]\n")  # nobody's own settings
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        environment |= {
            "ANSIBLE_COLLECTIONS_PATH": folder,
            "ANSIBLE_CONFIG": str(settings),
            "ANSIBLE_HOME": f"{folder}/home",
            "ANSIBLE_LOCALHOST_WARNING": "False",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
            "K8S_AUTH_KUBECONFIG": str(bed.kubeconfig),
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run([program, str(PLAYBOOK), "--extra-vars", f"answer={answer}"], env=environment, check=False)
        if done.returncode or not answer.exists():
            raise DemoError(f"the playbook ended with {done.returncode}; its own words stand above")
        result: dict[str, Any] = json.loads(answer.read_text())
    return result


def show(result: dict[str, Any]) -> None:
    """Print the answer of velero_info. DemoError when it does not tell of a working Velero, as there is one."""
    headline("What velero_info answers")
    for warning in result.get("warnings", []):
        say(f"  warning: {warning}")
    if not result["velero"]:
        raise DemoError("velero_info found no Velero, but one was installed a moment ago")
    found = result["velero"][0]
    server = found["server"]
    say(f"  namespace {found['namespace']}, installed by {found['installed_by']}, read in the {result['ran']}")
    say(f"  server    {server['version']} ({server['image']}), {'ready' if server['ready'] else 'NOT READY: ' + str(server['problem'])}")
    stores = sorted({f"{plugin['kind']} {plugin['name']}" for plugin in server["plugins"] if plugin["kind"] in STORES})
    say(f"  plugins   {len(server['plugins'])} loaded, of these for storage: {', '.join(stores)}")
    say(f"            added by image: {', '.join(server['plugin_images'])}")
    say()
    table(
        [
            ("STORAGE LOCATION", "PROVIDER", "BUCKET", "PHASE", "DEFAULT"),
            *((at["name"], at["provider"], at["bucket"], at["phase"], "yes" if at["default"] else "") for at in found["storage_locations"]),
        ]
    )
    say(f"  snapshot locations: {', '.join(at['name'] for at in found['snapshot_locations']) or 'none'}")
    say()
    agents = [(agent["node"], agent["pod"], agent["phase"], "yes" if agent["ready"] else agent["reason"]) for agent in found["node_agents"]]
    table([("NODE", "NODE AGENT", "PHASE", "READY"), *agents])
    unfinished = found["unfinished"]
    say(f"  unfinished: {len(unfinished['backups'])} backups, {len(unfinished['restores'])} restores")
    for kind in ("backups", "restores"):
        for entry in unfinished[kind]:
            say(f"    {entry['name']} {entry['phase']} since {entry['started'] or entry['created']}")
    if server["version"] != f"v{VELERO}":
        raise DemoError(f"velero_info says server {server['version']}, but Velero {VELERO} was installed")


def next_steps(bed: Bed) -> None:
    """What a person can do with the bed now."""
    option = "" if bed.name == DEFAULT_NAME else f" --name {bed.name}"
    headline("Next")
    stop = "make bed-down" if not option else f"python3 -m tests.bed.driver down{option}"
    steps = [
        (f"export KUBECONFIG={bed.kubeconfig} PATH={bed.run_dir}/bin:$PATH", ""),
        (f"kubectl --namespace {circleci_server.NAMESPACE} get pods,services", ""),
        (f"velero-{VELERO} backup create first --include-namespaces {circleci_server.NAMESPACE}", ""),
        ("make demo" if not option else f"python3 -m tests.demo{option}", "again: the backup is in the answer until it has ended"),
        (f"python3 -m tests.bed.driver node add 2{option}", "and again: one more node agent"),
        (stop, "stop it, leave nothing"),
    ]
    for command, remark in steps:
        say(f"  {command:<84}  # {remark}" if remark else f"  {command}")


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when everything was shown and is right."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.demo", description="Show the bed, what is on it, and what velero_info says of it.")
    parser.add_argument("--name", default=DEFAULT_NAME, help="name of the bed (%(default)s)")
    parser.add_argument("--down", action="store_true", help="stop the bed at the end")
    options = parser.parse_args(arguments)
    try:
        if os.geteuid() != 0:
            raise DemoError("root is needed for the bed; run `make demo`, which asks sudo")
        ansible_playbook()  # before the minutes that a cold bed takes
        bed = running_bed(options.name)
        installation(bed)
        velero(bed)
        show(play(bed))
        if options.down:
            bed.down()
        else:
            next_steps(bed)
    except (BedError, DemoError, circleci_server.InstallationError) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
