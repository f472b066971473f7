# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bed as a test sees it: start it, look at it, break it, end it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import audit, cgroups, control, images, kernel, pki, preflight, processes, programs, state
from .node import API_ADDRESS, DNS_ADDRESS, FIRST_RELAY_SOCKET, GCS_ADDRESS, S3_PORT, S3_TLS_PORT, SERVICE_ADDRESS, TOKEN_ADDRESS, Node, which
from .paths import DEFAULT_NAME, MARK, REPOSITORY, RUNTIME, BedError, cache, check_name, give_to_caller, say
from .storage import S3, STORAGE_AUTHORITY, Gcs
from .velero import Velero

#: Tool families of what runs on every bed, and all that there are, in building order: the long ones first.
NODE_FAMILIES = ("kube", "kuberouter", "localpath", "coredns", "s3versity", "fakegcs")
FAMILIES = ("kube", "velero117", "aws114", "gcp114", "velero110", "velero18", "kuberouter", "localpath", "coredns", "s3versity", "fakegcs")

#: What to ask each process of the first node, and of every node, when its health is wanted.
FIRST_NODE_PROBES = {
    "etcd": "http://127.0.0.1:2379/health",
    "kube-apiserver": "tcp://127.0.0.1:{api}",
    "kube-controller-manager": "https://127.0.0.1:10257/healthz",
    "kube-scheduler": "https://127.0.0.1:10259/healthz",
    "coredns": "http://127.0.0.1:8181/ready",
    "s3": f"http://{API_ADDRESS}:{S3_PORT}/health",
    "s3-tls": f"https://{API_ADDRESS}:{S3_TLS_PORT}/health",
    "gcs": f"https://{GCS_ADDRESS}:443/storage/v1/b",
    "google-token": f"tcp://{TOKEN_ADDRESS}:443",
}
NODE_PROBES = {
    "containerd": "unix:{sockets}/containerd.sock",
    "kubelet": "http://127.0.0.1:10248/healthz",
    "kube-proxy": "http://127.0.0.1:10256/healthz",
}


#: What of a bed's run directory is not of its cluster, and so outlives it: what the object stores hold, their accounts, authority and credentials,
#: and which addresses the load balancers had.
STORES = ("s3", "s3-accounts", "gcs", "gcs-accounts", STORAGE_AUTHORITY, "s3-credentials*", "load-balancer-addresses.json")
LOST = "lost"


def is_lost(recorded: dict[str, Any] | None) -> bool:
    """Whether a bed's cluster was lost and a new one is not up yet, so that its stores are to be kept."""
    if not recorded:
        return False
    return recorded.get("phase") == LOST or (recorded.get("phase") == "starting" and bool(recorded.get("stores_kept")))


def listen(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; port 0 takes a free one. BedError when the port is taken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise BedError(f"port {port} on 127.0.0.1 cannot be used: {error}; leave it out and the bed takes a free one") from error
    listener.listen(128)
    return listener


class Bed:
    """One running bed. Get one by Bed.up(...) or Bed.attach(name)."""

    def __init__(self, name: str, recorded: dict[str, Any]) -> None:
        self.name = name
        self._state = recorded
        #: Everything the bed writes lies here; gone after down().
        self.run_dir = Path(recorded["run"])
        self.api_port: int = recorded["ports"]["api"]
        #: Kubeconfig of the administrator (user "admin"), valid outside and in the bed's network namespace.
        self.kubeconfig = self.run_dir / "kubeconfig"
        #: URL of the API server on this machine.
        self.api_server = f"https://127.0.0.1:{self.api_port}"
        #: Authority that signed the API server's certificate.
        self.ca_file = self.run_dir / "n1/pki/ca.crt"
        self.audit_log = self.run_dir / "n1/log/audit.jsonl"
        self.s3 = S3(self.run_dir, recorded["ports"]["s3"], recorded["ports"]["s3_tls"], recorded["s3_keys"][0], recorded["s3_keys"][1])
        self.gcs = Gcs(self.run_dir)
        self._families: dict[str, programs.Family] | None = None
        self._images: dict[str, images.Image] | None = None

    # --- getting one -------------------------------------------------------------------------------------------------------------------------

    @classmethod
    def attach(cls, name: str = DEFAULT_NAME) -> Bed:
        """The running bed of this name. BedError when it does not run."""
        recorded = state.read(check_name(name))
        if not recorded or recorded.get("phase") != "up" or not processes.alive(*cls._first_process(recorded, "n1")):
            raise BedError(f"bed {name} does not run; start it by `python3 -m tests.bed.driver up --name {name}`")
        return cls(name, recorded)

    @classmethod
    def up(cls, name: str = DEFAULT_NAME, api_port: int = 0, s3_port: int = 0, s3_tls_port: int = 0, checked: bool = False) -> Bed:
        """Start a bed and return when its node is Ready and every process works.

        Programs and images of the node are built when the cache lacks them; what only some users of a bed need (Velero, its plugins) is built
        when it is asked for. Remains of an earlier bed of this name are removed first. Ports: on 127.0.0.1, 0 takes free ones.
        A bed whose cluster was lost (lose) gets a new cluster: another authority, another etcd, other keys; its stores with all that they hold,
        their addresses, keys and ports stay.
        checked: preflight was done just now.
        BedError when a bed of this name runs already, or with what failed; then nothing of the new bed is left.
        """
        check_name(name)
        if not checked:
            preflight.require(NODE_FAMILIES)
        go = programs.find_go()
        families = {name: programs.Family(name, go) for name in FAMILIES} | programs.build(list(NODE_FAMILIES), go)
        archives = images.of_all(families)
        images.write([image for image in archives.values() if image.at_start])
        with state.locked(name):
            recorded = state.read(name)
            if recorded and recorded.get("phase") == "up" and processes.alive(*cls._first_process(recorded, "n1")):
                raise BedError(f"bed {name} runs already; use Bed.attach, or stop it by `python3 -m tests.bed.driver down --name {name}`")
            lost = recorded if is_lost(recorded) else None
            if lost:
                end_cluster(name, lost)
            else:
                remove_remains(name, keep_lock=True)
            try:
                return cls._start(name, families, archives, {"api": api_port, "s3": s3_port, "s3_tls": s3_tls_port}, lost)
            except BaseException:
                if lost:
                    end_cluster(name, lost)
                else:
                    remove_remains(name)
                raise

    @classmethod
    def _start(
        cls,
        name: str,
        families: dict[str, programs.Family],
        archives: dict[str, images.Image],
        ports: dict[str, int],
        lost: dict[str, Any] | None,
    ) -> Bed:
        """Start the first node. lost: what was recorded of the bed whose cluster this one takes the place of."""
        began = time.monotonic()
        run = Path(lost["run"]) if lost else cache() / "beds" / name
        run.mkdir(parents=True, exist_ok=bool(lost))
        if lost:
            ports = {what: port or int(lost["ports"][what]) for what, port in ports.items()}
        with contextlib.ExitStack() as stack:
            listeners = {what: stack.enter_context(contextlib.closing(listen(port))) for what, port in ports.items()}
            taken = {what: int(listener.getsockname()[1]) for what, listener in listeners.items()}
            recorded: dict[str, Any] = {
                "name": name,
                "run": str(run),
                "cache": str(cache()),
                "phase": "starting",
                "ports": taken,
                "nodes": {},
                "driver": os.getpid(),
                "s3_keys": lost["s3_keys"] if lost else [f"AKIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30)],
                "stores_kept": bool(lost),
            }
            state.save(name, recorded)
            bed = cls(name, recorded)
            bed._families, bed._images = families, archives
            node = bed.node(1)
            node.write_settings()
            pki.make_cluster(node.pki, run / STORAGE_AUTHORITY, bed.api_port, API_ADDRESS, SERVICE_ADDRESS)
            pki.make_node(node.pki, node.pki, node.name, node.address, node.api_server)
            shutil.copy2(node.pki / "admin.kubeconfig", bed.kubeconfig)
            bed.s3.write_credentials(bed.s3.credentials_file, bed.s3.access_key, bed.s3.secret_key)
            bed._link_programs()
            for path in (bed.kubeconfig, bed.s3.credentials_file):
                give_to_caller(path)
            inherited = [listener.fileno() for listener in listeners.values()]
            control.launch(node, inherited, lambda pid, start: bed._record_node(node, pid, start))
        targets = (f"127.0.0.1:{bed.api_port}", f"{API_ADDRESS}:{S3_PORT}", f"{API_ADDRESS}:{S3_TLS_PORT}")
        relays = {number: (FIRST_RELAY_SOCKET + index, target) for index, (number, target) in enumerate(zip(inherited, targets, strict=True))}
        wanted = {**node.worker_processes(families), **node.control_plane(families, tuple(recorded["s3_keys"]), relays)}
        bed._run_first_node(node, wanted, began)
        recorded["phase"] = "up"
        state.save(name, recorded)
        return bed

    def _run_first_node(self, node: Node, wanted: dict[str, dict[str, Any]], began: float) -> None:
        for process in ("etcd", "containerd", "kube-apiserver", "relay", "coredns", "s3", "s3-tls", "gcs", "google-token"):
            self._ask(node, wanted[process])
        with ThreadPoolExecutor(1) as pool:
            importing = pool.submit(self._import, node, [image for image in self._image_table().values() if image.name in ("pause", "bb")])
            self._wait(120, self._ready_api, lambda: self._why(node, "etcd", "kube-apiserver", "relay"), fatal=("etcd", "kube-apiserver"))
            say(f"  bed {self.name}: API server ready ({time.monotonic() - began:.1f} s)")
            for process in ("kube-controller-manager", "kube-scheduler"):
                self._ask(node, wanted[process])
            self.kubectl("apply", "-f", str(node.run / "conf/storage.yaml"))
            # a kubelet without the pause image answers ErrImagePull and backs off
            importing.result()
        for process in ("kubelet", "kube-proxy", "local-path-provisioner"):
            self._ask(node, wanted[process])
        others = [image for image in self._image_table().values() if image.at_start and image.name not in ("pause", "bb")]
        self._import(node, others)
        self._wait_node(node)
        self._ask(node, wanted["kube-router"])
        accounts = "/api/v1/namespaces/default/serviceaccounts"
        self._wait(60, lambda: bool(self.get(accounts)["items"]), lambda: "no ServiceAccount in namespace default")
        self._wait(90, lambda: not self.broken(), lambda: f"host processes: {self.broken()}", pause=0.3)
        say(f"  bed {self.name}: node {node.name} Ready, {len(self.processes())} host processes work ({time.monotonic() - began:.1f} s)")

    def _ready_api(self) -> bool:
        try:
            return bool(self.get("/readyz", timeout=5) == "ok")
        except BedError:
            return False

    def _wait_node(self, node: Node) -> None:
        since = time.time() - 1

        def ready() -> bool:
            try:
                found = self.get(f"/api/v1/nodes/{node.name}")
            except BedError:
                return False
            for condition in found["status"].get("conditions", []):
                if condition["type"] == "Ready" and condition["status"] == "True":
                    # a node that was kept is still said to be Ready from its earlier life
                    beat = time.strptime(condition["lastHeartbeatTime"], "%Y-%m-%dT%H:%M:%SZ")
                    return time.mktime(beat) - time.timezone >= int(since)
            return False

        self._wait(120, ready, lambda: self._why(node, "kubelet", "containerd"), node, ("kubelet", "containerd"))

    def _why(self, node: Node, *names: str) -> str:
        return "; ".join(f"{name}: {control.tail(node.run / f'log/{name}.log', 2)}" for name in names)

    def _wait(
        self,
        limit: float,
        done: Callable[[], bool],
        seen: Callable[[], str],
        node: Node | None = None,
        fatal: tuple[str, ...] = (),
        pause: float = 0.1,
    ) -> None:
        """Wait for done(); BedError with seen() after limit seconds, or at once when a process that must run (fatal) has ended."""
        deadline = time.monotonic() + limit
        while not done():
            ended = [name for name in fatal if self.processes(node.name if node else "n1").get(name, {}).get("pid") is None]
            if ended or time.monotonic() > deadline:
                what = f"process {', '.join(ended)} of the bed ended" if ended else f"waited {limit:.0f} s for the bed"
                raise BedError(f"{what}; last seen: {seen()}")
            time.sleep(pause)

    # --- records -----------------------------------------------------------------------------------------------------------------------------

    @staticmethod
    def _first_process(recorded: dict[str, Any], node: str) -> tuple[int | None, int | None]:
        found = recorded.get("nodes", {}).get(node, {})
        return found.get("pid"), found.get("start")

    def _record_node(self, node: Node, pid: int, start: int) -> None:
        self._state["nodes"][node.name] = {"pid": pid, "start": start, "address": node.address}
        state.save(self.name, self._state)

    def node(self, number: int, cpu_reserved: str = "0") -> Node:
        """Description of node n<number>."""
        return Node(self.name, number, self.run_dir, self.api_port, cpu_reserved)

    def nodes(self) -> list[str]:
        """Names of the nodes whose processes were started ("n1", "n2")."""
        recorded = state.read(self.name)
        return sorted((recorded or self._state)["nodes"])

    def _pid(self, node: str = "n1") -> int:
        recorded = state.read(self.name) or self._state
        pid, start = self._first_process(recorded, node)
        if pid is None or not processes.alive(pid, start):
            raise BedError(f"node {node} of bed {self.name} does not run")
        return pid

    def _family_table(self) -> dict[str, programs.Family]:
        if self._families is None:
            go = programs.find_go()
            self._families = {name: programs.Family(name, go) for name in FAMILIES}
        return self._families

    def _image_table(self) -> dict[str, images.Image]:
        if self._images is None:
            self._images = images.of_all(self._family_table())
        return self._images

    def _link_programs(self) -> None:
        folder = self.run_dir / "bin"
        folder.mkdir()
        (folder / "kubectl").symlink_to(self._family_table()["kube"].program("kubectl"))

    # --- programs and namespaces -------------------------------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, input: str | None = None, timeout: float = 60) -> str:  # noqa: A002
        """Standard output of kubectl as user "bed-driver" (so that requests of "admin" are the tests' own). BedError with its message."""
        argv = [*self.kubectl_command(f"{self.run_dir}/n1/pki/driver.kubeconfig"), *arguments]
        try:
            done = subprocess.run(argv, input=input, capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise BedError(f"kubectl {' '.join(arguments[:4])}: no end after {timeout:.0f} s") from None
        if done.returncode:
            raise BedError(f"kubectl {' '.join(arguments[:4])}: {done.stderr.strip()[-600:]}")
        return done.stdout

    def kubectl_command(self, kubeconfig: str | Path) -> list[str]:
        """Beginning of a kubectl command line that keeps its cache in the bed's run directory and not in somebody's home."""
        return [str(self.run_dir / "bin/kubectl"), f"--kubeconfig={kubeconfig}", f"--cache-dir={self.run_dir}/kubectl-cache"]

    def get(self, path: str, timeout: float = 10) -> Any:
        """Answer of the API server to a GET as user "bed-driver": an object, or the text of an answer that is no JSON. BedError unless it is 200."""
        keys = self.run_dir / "n1/pki"
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file))
            context.load_cert_chain(keys / "driver.crt", keys / "driver.key")
            with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", self.api_port, timeout=timeout, context=context)) as connection:
                connection.request("GET", path, headers={"User-Agent": "bed-driver"})
                answer = connection.getresponse()
                text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise BedError(f"API server of bed {self.name}: GET {path}: {error}") from error
        if answer.status != 200:
            raise BedError(f"API server of bed {self.name}: GET {path}: answer {answer.status}: {text[:300]}")
        return json.loads(text) if text.startswith("{") else text

    def velero(self, version: str) -> Path:
        """Path of Velero's own CLI of this version ("1.17.2", "1.10.3", "1.8.1"), built when the cache lacks it."""
        if version not in Velero.families:
            raise BedError(f"the bed has no Velero {version}; it has {', '.join(Velero.families)}")
        path = self.run_dir / "bin" / f"velero-{version}"
        if not path.exists():
            family = Velero.families[version]
            target = programs.build([family], programs.find_go())[family].program("velero")
            with contextlib.suppress(FileExistsError):  # another process was first
                path.symlink_to(target)
        return path

    def enter(self, node: str = "n1") -> list[str]:
        """Beginning of an argument list that runs a program in the network namespace of a node (addresses of pods and Services work there)."""
        return [which("nsenter"), f"--net=/proc/{self._pid(node)}/ns/net", "--"]

    def import_images(self, *names: str) -> None:
        """Make images of tests/bed/images (names of their folders) known to every node, also to later ones; built when the cache lacks them."""
        table = self._image_table()
        unknown = [name for name in names if name not in table]
        if unknown:
            raise BedError(f"there is no image {', '.join(unknown)}; there are {', '.join(table)}")
        with state.locked(self.name):
            self._state = state.read(self.name) or self._state
            held = set(self._state.get("images", []))
            wanted = [table[name] for name in names if name not in held]
            programs.build(sorted({family for image in wanted for family in image.programs}), programs.find_go())
            images.write(wanted)
            for node in self.nodes():
                self._import(self.node(int(node[1:])), wanted)
            self._state["images"] = sorted(held | set(names))
            state.save(self.name, self._state)

    def _import(self, node: Node, wanted: list[images.Image]) -> None:
        address = str(node.sockets / "containerd.sock")
        ctr = [which("ctr"), "-a", address, "-n", "k8s.io"]

        def answers() -> bool:
            return Path(address).exists() and subprocess.run([*ctr, "version"], capture_output=True, check=False).returncode == 0

        self._wait(30, answers, lambda: f"containerd of {node.name}: {control.tail(node.run / 'log/containerd.log')}")
        for image in wanted:
            done = subprocess.run(
                [*ctr, "images", "import", str(image.archive)],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, MARK: self.name},
                preexec_fn=lambda: kernel.die_with_parent(signal.SIGKILL),
            )
            if done.returncode:
                raise BedError(f"image {image.name} cannot be imported on {node.name}: {done.stderr.strip()[-400:]}")

    # --- processes ---------------------------------------------------------------------------------------------------------------------------

    def _ask(self, node: Node, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return control.ask(node.sockets / "control.sock", request)
        except OSError as error:
            hint = f"run `python3 -m tests.bed.driver down --name {self.name}`"
            raise BedError(f"the first process of node {node.name} of bed {self.name} does not answer: {error}; {hint}") from error

    def _number(self, node: str) -> int:
        if node not in self.nodes():
            raise BedError(f"bed {self.name} has no node {node}; it has {', '.join(self.nodes())}")
        return int(node[1:])

    def processes(self, node: str = "n1") -> dict[str, dict[str, Any]]:
        """Name to {"pid": id inside or None, "status": exit status or None, "starts": number, "log": path} of each host process of a node."""
        found: dict[str, dict[str, Any]] = self._ask(self.node(self._number(node)), {"do": "list"})["processes"]
        return found

    def process_id(self, name: str, node: str = "n1") -> int:
        """Id of a host process as this machine counts (for kill and /proc). BedError when it does not run."""
        inner = self.processes(node).get(name, {}).get("pid")
        outer = self._pid(node)
        namespace = Path(f"/proc/{outer}/ns/pid").readlink()
        for path in Path("/proc").iterdir():
            if inner is not None and path.name.isdigit():
                with contextlib.suppress(OSError):
                    if (path / "ns/pid").readlink() == namespace:
                        line = next(line for line in (path / "status").read_text().splitlines() if line.startswith("NSpid:"))
                        if int(line.split()[-1]) == inner:
                            return int(path.name)
        raise BedError(f"process {name} of node {node} does not run")

    def first_process_id(self, node: str = "n1") -> int:
        """Id of a node's PID 1 as this machine counts."""
        return self._pid(node)

    def stop_process(self, name: str, node: str = "n1", signal_number: int = signal.SIGTERM, timeout: float = 10) -> None:
        """Stop a host process ("s3", "relay" ...) and wait for its end; SIGKILL after timeout seconds. Nothing when it does not run."""
        self._ask(self.node(self._number(node)), {"do": "stop", "name": name, "signal": int(signal_number), "timeout": timeout})

    def start_process(self, name: str, node: str = "n1") -> None:
        """Start a stopped host process again as before, and wait until it works."""
        self._ask(self.node(self._number(node)), {"do": "start", "name": name})
        self._wait(90, lambda: self.health(node).get(name) == "ok", lambda: f"{name}: {self.health(node).get(name)}")

    def signal_process(self, name: str, signal_number: int, node: str = "n1") -> None:
        """Send a signal to a host process; SIGSTOP makes it hang, SIGCONT go on."""
        self._ask(self.node(self._number(node)), {"do": "signal", "name": name, "signal": int(signal_number)})

    def run_process(self, name: str, argv: list[str], environment: dict[str, str] | None = None, node: str = "n1") -> Path:
        """Run one more host process in the node's namespaces; it ends with the bed. The answer is its log."""
        request = self.node(self._number(node)).process(name, *argv, **(environment or {}))
        self._ask(self.node(self._number(node)), request)
        return Path(request["log"])

    def health(self, node: str = "n1") -> dict[str, str]:
        """Name of each host process of a node to "ok" or what is wrong with it."""
        table = self.processes(node)
        described = self.node(self._number(node))
        probes = {**NODE_PROBES, **(FIRST_NODE_PROBES if described.first else {})}
        found = {
            name: "ok" if entry["pid"] is not None else f"ended with status {entry['status']}; {control.tail(Path(entry['log']), 2)}"
            for name, entry in table.items()
        }
        asked = [f"{name}={url.format(api=self.api_port, sockets=described.sockets)}" for name, url in probes.items() if found.get(name) == "ok"]
        argv = [*self.enter(node), sys.executable, "-m", "tests.bed.driver.health", *asked]
        done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BedError(f"health of node {node} of bed {self.name} cannot be asked: {done.stderr.strip()[-400:]}")
        found.update(json.loads(done.stdout))
        if described.first and found.get("kube-apiserver") == "ok" and found.get("relay") == "ok" and not self._ready_api():
            found["kube-apiserver"] = "not ready: see `kubectl get --raw /readyz?verbose`"
        if described.first and found.get("coredns") == "ok":
            found["coredns"] = self._resolves(node)
        return found

    def _resolves(self, node: str) -> str:
        program = (
            "import socket,sys\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.settimeout(2)\n"
            "n=b''.join(bytes([len(p)])+p for p in b'kubernetes.default.svc.cluster.local'.split(b'.'))+b'\\0'\n"
            f"s.sendto(b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0'+n+b'\\0\\1\\0\\1',('{DNS_ADDRESS}',53))\nsys.exit(s.recv(512)[3]&15)\n"
        )
        done = subprocess.run([*self.enter(node), sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
        return "ok" if done.returncode == 0 else "does not resolve kubernetes.default.svc.cluster.local"

    def broken(self) -> dict[str, str]:
        """The host processes of all nodes that do not work, "node/name" to what is wrong."""
        return {f"{node}/{name}": seen for node in self.nodes() for name, seen in self.health(node).items() if seen != "ok"}

    def pods(self) -> list[dict[str, Any]]:
        """namespace, name, ready, phase, node and reason of every pod that has not Succeeded."""
        found = []
        for pod in self.get("/api/v1/pods")["items"]:
            status = pod.get("status", {})
            if status.get("phase") == "Succeeded":
                continue
            conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
            waiting = [
                entry["state"]["waiting"].get("reason", "") for entry in status.get("containerStatuses", []) if "waiting" in entry.get("state", {})
            ]
            found.append(
                {
                    "namespace": pod["metadata"]["namespace"],
                    "name": pod["metadata"]["name"],
                    "ready": conditions.get("Ready", {}).get("status") == "True",
                    "phase": status.get("phase", ""),
                    "node": pod["spec"].get("nodeName", ""),
                    "reason": ", ".join(waiting) or conditions.get("PodScheduled", {}).get("message", ""),
                }
            )
        return found

    # --- audit log ---------------------------------------------------------------------------------------------------------------------------

    def audit_mark(self) -> int:
        """A moment in the API server's audit log."""
        return audit.mark(self.audit_log)

    def audit(self, since: int = 0, user: str | None = "admin", user_agent: str | None = None) -> Iterator[dict[str, Any]]:
        """One audit event per request since the mark, by default those of user "admin", i.e. of self.kubeconfig; user None means everybody.

        Fields of interest: verb, requestURI, userAgent, user.username, objectRef, responseStatus.code. audit.READ_VERBS change nothing.
        """
        return audit.events(self.audit_log, since, user, user_agent)

    # --- nodes -------------------------------------------------------------------------------------------------------------------------------

    def add_node(self, number: int = 2, cpu_reserved: str = "0") -> str:
        """Start node n<number> (2 to 99) and wait until it is Ready; cpu_reserved ("1500m") makes it short of CPU. The answer is its name."""
        if not 2 <= number <= 99:
            raise BedError(f"node {number}: a further node has a number from 2 to 99")
        with state.locked(self.name):
            self._state = state.read(self.name) or self._state
            node = self.node(number, cpu_reserved)
            if processes.alive(*self._first_process(self._state, node.name)):
                raise BedError(f"node {node.name} of bed {self.name} runs already")
            self._remove_node(node)
            try:
                self._start_node(node)
            except BaseException:
                self._remove_node(node)
                raise
        return node.name

    def _start_node(self, node: Node) -> None:
        began = time.monotonic()
        node.write_settings()
        first = self.node(1)
        if not (node.pki / "node.kubeconfig").exists():
            pki.make_node(node.pki, first.pki, node.name, node.address, node.api_server)
        control.launch(node, [], lambda pid, start: self._record_node(node, pid, start))
        inside = self.enter(node.name)
        veth = ["link", "add", f"to-{node.name}", "type", "veth", "peer", "name", "eth0", "netns", str(self._pid(node.name))]
        self._run([*self.enter(), which("ip"), *veth])
        at_first, here = node.link_to_first()
        for command in at_first:
            self._run([*self.enter(), *command])
        for command in here:
            self._run([*inside, *command])
        wanted = node.worker_processes(self._family_table())
        self._ask(node, wanted["containerd"])
        held = self._state.get("images", [])
        self._import(node, [image for image in self._image_table().values() if image.at_start or image.name in held])
        for process in ("kubelet", "kube-proxy"):
            self._ask(node, wanted[process])
        self._wait_node(node)
        self._ask(node, wanted["kube-router"])
        self._wait(90, lambda: not [seen for seen in self.health(node.name).values() if seen != "ok"], lambda: f"{self.health(node.name)}")
        say(f"  bed {self.name}: node {node.name} Ready ({time.monotonic() - began:.1f} s)")

    @staticmethod
    def _run(argv: list[str]) -> None:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BedError(f"{' '.join(argv)}: {done.stderr.strip()}")

    def _remove_node(self, node: Node) -> None:
        """End a node's processes and remove its files, keys aside."""
        deadline = time.monotonic() + 20
        first = self._first_process(self._state, node.name)
        while True:
            left = cgroups.processes(node.cgroup) | ({first[0]} if first[0] is not None and processes.alive(*first) else set())
            for pid in left:
                processes.kill(pid, processes.start_time(pid))
            if not left:
                break
            if time.monotonic() > deadline:
                raise BedError(f"processes {sorted(left)} of node {node.name} do not end")
            time.sleep(0.02)
        cgroups.remove(node.cgroup)
        for path in (node.sockets, *(node.run / folder for folder in ("containerd", "kubelet", "varlog", "opt"))):
            remove_tree(path)
        self._state["nodes"].pop(node.name, None)
        state.save(self.name, self._state)

    def delete_node(self, number: int = 2, keep: bool = False) -> None:
        """Stop node n<number>; keep leaves its Node object, as when a machine fails."""
        with state.locked(self.name):
            self._state = state.read(self.name) or self._state
            node = self.node(number)
            if node.name not in self._state["nodes"] or node.first:
                raise BedError(f"bed {self.name} has no further node {node.name}")
            self._remove_node(node)
        with contextlib.suppress(BedError):
            self._run([*self.enter(), which("ip"), "link", "delete", f"to-{node.name}"])
        if not keep:
            self.kubectl("delete", "node", node.name, "--ignore-not-found", "--wait=false")

    # --- Velero ------------------------------------------------------------------------------------------------------------------------------

    def velero_install(self, version: str, bucket: str, **options: Any) -> Velero:
        """Put Velero on the bed by its own CLI and wait until it works; see velero.Velero.install for the options."""
        installed = Velero(self, version, options.pop("namespace", "velero"))
        installed.install(bucket, **options)
        return installed

    def velero_uninstall(self, version: str, namespace: str = "velero") -> None:
        """Remove Velero by its own CLI and wait until its namespace is absent."""
        Velero(self, version, namespace).uninstall()

    # --- end ---------------------------------------------------------------------------------------------------------------------------------

    def lose(self) -> None:
        """Lose the cluster with everything in it, at once; the object stores' disks stay. Bed.up(name) then starts a new cluster beside them."""
        lose(self.name)

    def down(self) -> None:
        """Stop the bed and remove everything it left on the machine, caches aside."""
        down(self.name)


def remove_tree(path: Path) -> None:
    """Remove a folder; a mount below it (there should be none outside of the bed's own mount namespace) is detached first, never emptied."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in sorted((place for place in mounts if place == str(path) or place.startswith(f"{path}/")), reverse=True):
        subprocess.run([which("umount"), "-l", place], check=False, capture_output=True)
    if path.is_file() or path.is_symlink() or path.is_socket():
        path.unlink()
        return
    for attempt in range(20):
        if not path.exists():
            return
        # a process that is just ending may still write
        shutil.rmtree(path, ignore_errors=attempt < 19)
        if path.exists():
            time.sleep(0.05)


def remove_remains(name: str, keep_lock: bool = False) -> int:
    """Remove every trace of a bed; the caller holds its lock, which stays with keep_lock. The answer is how many processes were ended."""
    recorded = state.read(name) or {}
    # PID 1 of each node first: everything in its namespaces dies with it
    for node in recorded.get("nodes", {}).values():
        if processes.alive(node.get("pid"), node.get("start")):
            processes.kill(node["pid"], node["start"])
    ended = processes.end_all(name)
    cgroups.remove(processes.cgroup_prefix(name))
    beds = {cache() / "beds" / name}
    if recorded.get("run"):
        beds.add(Path(recorded["run"]))
    for path in beds:
        if path.parent.name == "beds" and path.name == name:
            remove_tree(path)
            with contextlib.suppress(OSError):
                path.parent.rmdir()
    images.drop_work()
    if keep_lock:
        for path in state.folder(name).iterdir():
            remove_tree(path)
        return ended
    remove_tree(state.folder(name))
    with contextlib.suppress(OSError):
        RUNTIME.rmdir()
    return ended


def end_cluster(name: str, recorded: dict[str, Any]) -> None:
    """End every process of a bed and remove what its cluster was: etcd, keys, volumes, pods, images. Its stores stay. The caller holds the lock.

    The bed is recorded as lost before anything ends: whoever is killed in here can do it again, and so can the next start.
    """
    state.save(name, {**recorded, "phase": LOST, "stores_kept": True})
    for node in recorded.get("nodes", {}).values():
        if processes.alive(node.get("pid"), node.get("start")):
            processes.kill(node["pid"], node["start"])
    processes.end_all(name)
    cgroups.remove(processes.cgroup_prefix(name))
    run = Path(recorded["run"])
    kept = {path for pattern in STORES for path in run.glob(pattern)}
    for path in run.iterdir():
        if path not in kept:
            remove_tree(path)
    for path in state.folder(name).iterdir():
        if path.name != "state.json":
            remove_tree(path)
    state.save(name, {**recorded, "phase": LOST, "stores_kept": True, "nodes": {}, "images": []})


def lose(name: str = DEFAULT_NAME) -> bool:
    """Lose the cluster of a bed, as when a region burns: nothing of it is left but what its object stores hold. False when it was lost already.

    Killed half-way it can be called again. BedError when there is no bed of this name.
    """
    check_name(name)
    with state.locked(name):
        recorded = state.read(name)
        if not recorded or (recorded.get("phase") != "up" and not is_lost(recorded)):
            raise BedError(f"bed {name} does not run; start it by `python3 -m tests.bed.driver up --name {name}`")
        there = recorded["phase"] != LOST or bool(recorded.get("nodes"))
        end_cluster(name, recorded)
    return there


def down(name: str = DEFAULT_NAME) -> bool:
    """Stop a bed, whatever state it is in, and remove everything it left on the machine, caches aside. False when there was nothing."""
    check_name(name)
    files = state.folder(name).exists() or (cache() / "beds" / name).exists()
    there = files or bool(cgroups.find(processes.cgroup_prefix(name))) or bool(processes.find(name))
    with state.locked(name):
        remove_remains(name)
    return there
