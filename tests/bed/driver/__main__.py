# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the bed: python3 -m tests.bed.driver up|down|lose|status|node|kubectl|env|build|preflight."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

from . import images, preflight, processes, programs, state
from .bed import FAMILIES, NODE_FAMILIES, Bed, down, lose
from .paths import DEFAULT_NAME, REPOSITORY, BedError, cache, say
from .velero import Velero

PASSED_BY_SUDO = (
    "PATH",
    "GOCACHE",
    "GOMODCACHE",
    "GOPROXY",
    "GOSUMDB",
    "GOFLAGS",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "https_proxy",
    "http_proxy",
    "no_proxy",
    "PIP_INDEX_URL",
    "PIP_CERT",
)


def become_root() -> None:
    """Run the same command again by sudo when this is not root; returns only for root. BedError without sudo."""
    if os.geteuid() == 0:
        return
    if not shutil.which("sudo"):
        raise BedError("root is needed (namespaces, mounts and control groups are made) and sudo is not there; run it as root")
    passed = [f"SERVEROPS_CACHE={cache()}", *(f"{name}={os.environ[name]}" for name in PASSED_BY_SUDO if name in os.environ)]
    os.chdir(REPOSITORY)
    os.execvp("sudo", ["sudo", "env", *passed, sys.executable, "-m", "tests.bed.driver", *sys.argv[1:]])  # noqa: S606


def parser() -> argparse.ArgumentParser:
    """Options of every command."""
    top = argparse.ArgumentParser(prog="python3 -m tests.bed.driver", description="A Kubernetes bed of real components on this machine.")
    commands = top.add_subparsers(dest="command", required=True)
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", default=DEFAULT_NAME, help="name of the bed (%(default)s)")
    up = commands.add_parser("up", parents=[named], help="start a bed")
    up.add_argument("--api-port", type=int, default=0, help="port of the API server on 127.0.0.1 (a free one)")
    up.add_argument("--s3-port", type=int, default=0, help="port of the S3 server on 127.0.0.1 (a free one)")
    up.add_argument("--s3-tls-port", type=int, default=0, help="port of the S3 server with TLS on 127.0.0.1 (a free one)")
    up.add_argument("--velero", default="1.17.2", choices=[*Velero.families, "none"], help="Velero to put on it (%(default)s)")
    up.add_argument("--bare", action="store_true", help="only the cluster and the object stores: no Velero, no CircleCI Server")
    commands.add_parser("down", parents=[named], help="stop a bed and remove what it left")
    commands.add_parser("lose", parents=[named], help="lose the cluster, keep what the object stores hold; `up` then starts a new cluster")
    commands.add_parser("status", parents=[named], help="what runs, and whether it works")
    commands.add_parser("env", parents=[named], help="shell lines that make the bed the one that kubectl and others use")
    commands.add_parser("build", help="build programs and images, start nothing")
    checked = commands.add_parser("preflight", help="say what this machine lacks")
    checked.add_argument("--no-install", action="store_true", help="only say, install nothing")
    checked.add_argument("--tests", action="store_true", help="also for the tests on the bed")
    node = commands.add_parser("node", parents=[named], help="further nodes")
    node.add_argument("what", choices=["add", "delete"])
    node.add_argument("number", type=int)
    node.add_argument("--cpu-reserved", default="0", help="CPU taken away from pods, as in 1500m")
    node.add_argument("--keep", action="store_true", help="delete: leave the Node object, as when a machine fails")
    commands.add_parser("kubectl", parents=[named], help="kubectl as the bed's administrator: [--name NAME] ARGUMENT...", add_help=False)
    return top


def print_health(bed: Bed) -> None:
    """One line per host process; BedError when one does not work."""
    broken = {}
    for node in bed.nodes():
        for name, seen in sorted(bed.health(node).items()):
            print(f"  {node} {name:<24} {seen}")
            if seen != "ok":
                broken[name] = seen
    if broken:
        raise BedError(f"{len(broken)} host processes do not work: {', '.join(broken)}")


def print_pods(bed: Bed, limit: float = 120) -> None:
    """One line per pod once all are Ready; BedError naming the others after limit seconds."""
    deadline = time.monotonic() + limit
    while True:
        pods = bed.pods()
        waiting = [pod for pod in pods if not pod["ready"]]
        if not waiting or time.monotonic() > deadline:
            break
        time.sleep(0.3)
    for pod in sorted(pods, key=lambda pod: (pod["namespace"], pod["name"])):
        print(f"  {pod['namespace']:<18} {pod['name']:<48} {'Ready' if pod['ready'] else pod['phase'] + ' ' + pod['reason']}")
    if waiting:
        raise BedError(f"{len(waiting)} pods are not Ready after {limit:.0f} s: {', '.join(pod['name'] for pod in waiting)}")


def print_use(bed: Bed, velero: str) -> None:
    """How a person uses the bed."""
    option = "" if bed.name == DEFAULT_NAME else f" --name {bed.name}"
    print("Use it:")
    print(f"  export KUBECONFIG={bed.kubeconfig}          # API server {bed.api_server}")
    print(f"  {bed.run_dir}/bin/kubectl get pods -A")
    if velero != "none":
        print(f"  {bed.velero(velero)} backup-location get")
    print(f"  S3: {bed.s3.endpoint_outside} (from pods {bed.s3.endpoint_inside}), with TLS {bed.s3.tls_endpoint_outside}, region {bed.s3.region},")
    print(f"      credentials {bed.s3.credentials_file}, CA {bed.s3.ca_file}")
    print("  GCS: storage.googleapis.com, from pods only")
    print(f"  requests seen by the API server: {bed.audit_log}")
    print(f"  a second node: python3 -m tests.bed.driver node add 2{option}")
    print(f"  stop it all: {'make bed-down, or ' if not option else ''}python3 -m tests.bed.driver down{option}")


def command_up(options: argparse.Namespace) -> None:
    """Start a bed, put the additions on it, print what there is."""
    began = time.monotonic()
    load = os.getloadavg()
    say(f"bed {options.name} (load {load[0]:.1f} {load[1]:.1f} {load[2]:.1f}, {os.cpu_count()} cores)")
    recorded = state.read(options.name)
    if recorded and recorded.get("phase") == "up":
        first = recorded["nodes"].get("n1", {})
        if processes.alive(first.get("pid"), first.get("start")):
            use_running(options)
            return
        say(f"bed {options.name} was left by a crash: starting over")
    velero = "none" if options.bare else options.velero
    # all that it will ask for at once: one look at the disk, one list to follow
    families = NODE_FAMILIES if velero == "none" else (*NODE_FAMILIES, Velero.families[velero], "aws114")
    preflight.require(families)
    cold = [name for name in families if not programs.Family(name, programs.find_go()).built]
    built = time.monotonic()
    programs.build(list(families), programs.find_go())
    built = time.monotonic() - built
    bed = Bed.up(options.name, options.api_port, options.s3_port, options.s3_tls_port, checked=True)
    try:
        add(bed, velero, options.bare)
        print("Pods:")
        print_pods(bed)
        print("Host processes:")
        print_health(bed)
    except BaseException:
        say(f"bed {options.name} stays up for a look; stop it by `python3 -m tests.bed.driver down --name {options.name}`")
        raise
    load = os.getloadavg()
    how = f"cold: {len(cold)} tool families built in {built:.0f} s" if cold else "warm"
    say(f"bed {options.name} is up in {time.monotonic() - began:.1f} s ({how}; load {load[0]:.1f} {load[1]:.1f} {load[2]:.1f})")
    print_use(bed, velero)


def use_running(options: argparse.Namespace) -> None:
    """`up` of a bed that runs: start what was stopped, print what there is."""
    bed = Bed.attach(options.name)
    for node in bed.nodes():
        for name, entry in bed.processes(node).items():
            if entry["pid"] is None:
                say(f"bed {options.name} runs; its process {node}/{name} had ended and is started again")
                bed.start_process(name, node)
    print("Pods:")
    print_pods(bed)
    print("Host processes:")
    print_health(bed)
    say(f"bed {options.name} was up already")
    print_use(bed, next((version for version in Velero.families if "velero" in bed.kubectl("get", "namespaces", "-o", "name")), "none"))


def add(bed: Bed, velero: str, bare: bool) -> None:
    """What `make bed` shows on top of the cluster: Velero by its own CLI, and an installation shaped like CircleCI Server."""
    if velero != "none":
        start = time.monotonic()
        bed.velero_install(velero, "velero")
        say(f"  Velero {velero} works, its location is Available ({time.monotonic() - start:.1f} s)")
    if not bare:
        from tests.bed import circleci_server

        start = time.monotonic()
        # kube-router writes all its rules anew for each pod that comes: let it do that once, when all are there
        bed.stop_process("kube-router")
        try:
            circleci_server.install(bed)
            circleci_server.wait_ready(bed)
            bed.start_process("kube-router")
            circleci_server.seed(bed)
        except circleci_server.InstallationError as error:
            raise BedError(str(error)) from error
        seconds = f"{time.monotonic() - start:.1f} s"
        workloads, databases = len(circleci_server.WORKLOADS), len(circleci_server.DATABASES)
        say(f"  namespace {circleci_server.NAMESPACE}: {workloads} workloads Ready, {databases} databases filled ({seconds})")


def command_status(options: argparse.Namespace) -> None:
    """What runs; BedError when something does not work."""
    there = state.names()
    print(f"beds on this machine: {', '.join(there) or 'none'}")
    if options.name not in there:
        return
    bed = Bed.attach(options.name)
    problems = []
    for title, show in (("Host processes:", print_health), ("Pods:", lambda found: print_pods(found, 0))):
        print(title)
        try:
            show(bed)
        except BedError as error:
            problems.append(str(error))
    if problems:
        raise BedError("; ".join(problems))


def command_env(options: argparse.Namespace) -> None:
    """Lines for `eval`."""
    bed = Bed.attach(options.name)
    for name, value in {
        "KUBECONFIG": bed.kubeconfig,
        "KUBECACHEDIR": bed.run_dir / "kubectl-cache",
        "SERVEROPS_BED": bed.name,
        "AWS_SHARED_CREDENTIALS_FILE": bed.s3.credentials_file,
        "AWS_ENDPOINT_URL": bed.s3.endpoint_outside,
        "AWS_DEFAULT_REGION": bed.s3.region,
    }.items():
        print(f"export {name}={value}")
    print(f"export PATH={bed.run_dir}/bin:$PATH")


def run(options: argparse.Namespace) -> int:
    """Carry out one command; the exit status."""
    command = options.command
    if command == "kubectl":
        bed = Bed.attach(options.name)
        return subprocess.run([*bed.kubectl_command(bed.kubeconfig), *options.arguments], check=False).returncode
    if command == "preflight":
        preflight.require(FAMILIES, not options.no_install, options.tests)
        print("this machine has what the bed needs")
    elif command == "build":
        preflight.require(FAMILIES)
        images.write(images.of_all(programs.build(list(FAMILIES), programs.find_go())).values())
        print(f"programs and images are in {cache()}")
    elif command == "down":
        start = time.monotonic()
        there = down(options.name)
        say(f"bed {options.name} is gone ({time.monotonic() - start:.1f} s)" if there else f"bed {options.name}: there was nothing to stop")
    elif command == "lose":
        start = time.monotonic()
        there = lose(options.name)
        seen = f"is lost ({time.monotonic() - start:.1f} s)" if there else "was lost already"
        option = "" if options.name == DEFAULT_NAME else f" --name {options.name}"
        say(f"the cluster of bed {options.name} {seen}; `python3 -m tests.bed.driver up{option}` starts a new one beside the same object stores")
    elif command == "node":
        bed = Bed.attach(options.name)
        if options.what == "add":
            bed.add_node(options.number, options.cpu_reserved)
        else:
            bed.delete_node(options.number, options.keep)
    else:
        {"up": command_up, "status": command_status, "env": command_env}[command](options)
    return 0


def main(arguments: list[str] | None = None) -> Any:
    """Parse and run; a BedError becomes one message and status 1."""
    # whatever follows "kubectl" is kubectl's own, a leading --name aside
    options, passed = parser().parse_known_args(arguments)
    if passed and options.command != "kubectl":
        parser().error(f"unrecognized arguments: {' '.join(passed)}")
    options.arguments = passed
    os.umask(0o022)
    # ended politely, the driver takes down what it began
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        become_root()
        return run(options)
    except BedError as error:
        sys.stderr.write(f"bed: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("bed: interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
