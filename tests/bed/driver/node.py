# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node of the bed consists of: its addresses, settings, network and the command line of each of its processes."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .paths import BED_SOURCES, MARK, REPOSITORY, RUNTIME, BedError, cache, fill
from .processes import cgroup_prefix
from .programs import Family

API_ADDRESS = "10.233.0.1"
DNS_ADDRESS = "10.233.0.10"
GCS_ADDRESS = "10.233.0.20"
TOKEN_ADDRESS = "10.233.0.21"
NODE_NETWORK = "10.233.0.0/24"
POD_NETWORK = "10.232.0.0/16"
SERVICE_NETWORK = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
S3_PORT = 7070
S3_TLS_PORT = 7443
S3_REGION = "minio"
#: Numbers that the relay's sockets get in the relay process.
FIRST_RELAY_SOCKET = 100

#: Where distributions put the CNI plugins.
CNI_PLACES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))


def cni_plugins() -> Path:
    """Folder of the CNI plugins. BedError when the needed ones are in no known place."""
    for folder in CNI_PLACES:
        if all((folder / plugin).exists() for plugin in ("ptp", "portmap", "host-local")):
            return folder
    raise BedError(f"the CNI plugins ptp, portmap and host-local are in none of {', '.join(map(str, CNI_PLACES))}")


def which(program: str) -> str:
    """Full path of a program of this machine, /usr/sbin included. BedError when it is missing."""
    for folder in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"):
        if os.access(Path(folder, program), os.X_OK):
            return f"{folder}/{program}"
    raise BedError(f"program {program} is missing on this machine; run `python3 -m tests.bed.driver preflight`")


@dataclass(frozen=True)
class Node:
    """One node: n1 holds the control plane and the servers around it, the others are workers."""

    bed: str
    number: int
    bed_run: Path
    api_port: int
    cpu_reserved: str = "0"

    @property
    def name(self) -> str:
        """n1, n2 and so on."""
        return f"n{self.number}"

    @property
    def first(self) -> bool:
        """Whether this is the node with the control plane."""
        return self.number == 1

    @property
    def address(self) -> str:
        """Address of the node."""
        return API_ADDRESS if self.first else f"10.233.0.1{self.number:02d}"

    @property
    def pod_subnet(self) -> str:
        """Network of the node's pods."""
        return f"10.232.{self.number}.0/24"

    @property
    def run(self) -> Path:
        """Run directory of the node."""
        return self.bed_run / self.name

    @property
    def sockets(self) -> Path:
        """Folder of the node's Unix sockets."""
        return RUNTIME / self.bed / self.name

    @property
    def cgroup(self) -> str:
        """Name of the node's control group."""
        return f"{cgroup_prefix(self.bed)}-{self.name}"

    @property
    def pki(self) -> Path:
        """Keys, certificates and kubeconfigs."""
        return self.run / "pki"

    @property
    def api_server(self) -> str:
        """URL of the API server for processes of this node."""
        return f"https://{'127.0.0.1' if self.first else API_ADDRESS}:{self.api_port}"

    def write_settings(self) -> None:
        """Render the templates and make the folders."""
        for folder in ("log", "cni", "conf", "kubelet", "varlog", "containerd", "opt"):
            (self.run / folder).mkdir(parents=True, exist_ok=True)
        self.sockets.mkdir(parents=True, exist_ok=True)
        values = {
            "run": self.run,
            "sockets": self.sockets,
            "node": self.name,
            "cgroup": self.cgroup,
            "pod_subnet": self.pod_subnet,
            "pod_network": POD_NETWORK,
            "cni_plugins": cni_plugins(),
            "dns_address": DNS_ADDRESS,
            "gcs_address": GCS_ADDRESS,
            "token_address": TOKEN_ADDRESS,
            "cpu_reserved": self.cpu_reserved,
        }
        files = {"containerd.toml": "conf", "kubelet.yaml.in": "conf", "kube-proxy.yaml.in": "conf", "cni.conflist": "cni"}
        if self.first:
            files |= {"Corefile": "conf", "audit-policy.yaml": "conf", "storage.yaml.in": "conf"}
            # volumes lie in the bed's run directory: every node provisions from the same place
            (self.bed_run / "volumes").mkdir(exist_ok=True)
            (self.run / "conf/local-path.json").write_text(fill("local-path.json", run=self.bed_run))
            (self.run / "conf/local-path-pod.yaml").write_text(fill("local-path-pod.yaml"))
        for template, folder in files.items():
            (self.run / folder / template.removesuffix(".in")).write_text(fill(template, **values))

    def supervisor(self) -> dict[str, Any]:
        """Configuration of the node's first process."""
        addresses = [self.address]
        if self.first:
            addresses += [DNS_ADDRESS, GCS_ADDRESS, TOKEN_ADDRESS]
        ip = which("ip")
        return {
            "mark": f"{MARK}={self.bed}",
            "run": str(self.run),
            "control": str(self.sockets / "control.sock"),
            "private": ["/run", "/var/lib", "/tmp", "/var/tmp"],
            "bound": {"/var/log": str(self.run / "varlog"), "/var/lib/kubelet": str(self.run / "kubelet")},
            "keep": sorted({str(cache()), str(self.bed_run), str(self.sockets), str(REPOSITORY), sys.prefix, sys.base_prefix}),
            "network": [[ip, "link", "set", "lo", "up"], *([ip, "address", "add", f"{address}/32", "dev", "lo"] for address in addresses)],
            "sysctl": {"net.ipv4.ip_forward": 1},
        }

    def link_to_first(self) -> tuple[list[list[str]], list[list[str]]]:
        """Commands for the first node's and for this node's network namespace that join the two; the veth pair exists already."""
        ip, peer = which("ip"), f"to-{self.name}"
        at_first = [
            [ip, "link", "set", peer, "up"],
            [ip, "route", "add", self.address, "dev", peer, "src", API_ADDRESS],
            [ip, "route", "add", self.pod_subnet, "via", self.address, "dev", peer, "onlink", "src", API_ADDRESS],
        ]
        here = [
            [ip, "link", "set", "eth0", "up"],
            [ip, "route", "add", API_ADDRESS, "dev", "eth0", "src", self.address],
            [ip, "route", "add", NODE_NETWORK, "via", API_ADDRESS, "dev", "eth0", "onlink", "src", self.address],
            [ip, "route", "add", POD_NETWORK, "via", API_ADDRESS, "dev", "eth0", "onlink", "src", self.address],
        ]
        return at_first, here

    def process(self, name: str, *argv: str | Path, **environment: str) -> dict[str, Any]:
        """Request that starts a process; its output goes to log/<name>.log of the node."""
        return {"do": "start", "name": name, "argv": [str(word) for word in argv], "env": environment, "log": str(self.run / "log" / f"{name}.log")}

    def worker_processes(self, families: dict[str, Family]) -> dict[str, dict[str, Any]]:
        """The processes that every node has."""
        kube = families["kube"]
        conf, keys = self.run / "conf", self.pki
        return {
            "containerd": self.process("containerd", which("containerd"), "--config", conf / "containerd.toml"),
            "kubelet": self.process(
                "kubelet",
                kube.program("kubelet"),
                f"--config={conf}/kubelet.yaml",
                f"--kubeconfig={keys}/node.kubeconfig",
                f"--hostname-override={self.name}",
                f"--node-ip={self.address}",
                "--v=1",
            ),
            "kube-proxy": self.process(
                "kube-proxy", kube.program("kube-proxy"), f"--config={conf}/kube-proxy.yaml", f"--hostname-override={self.name}"
            ),
            "kube-router": self.process(
                "kube-router",
                families["kuberouter"].program("kube-router"),
                f"--kubeconfig={keys}/kube-router.kubeconfig",
                f"--hostname-override={self.name}",
                "--run-firewall=true",
                "--run-router=false",
                "--run-service-proxy=false",
                "--run-loadbalancer=false",
                f"--service-cluster-ip-range={SERVICE_NETWORK}",
                "--health-port=0",
                "--iptables-sync-period=1m",
                "-v=1",
            ),
        }

    def control_plane(self, families: dict[str, Family], s3_keys: tuple[str, str], relays: dict[int, tuple[int, str]]) -> dict[str, dict[str, Any]]:
        """The processes that only the first node has. relays: inherited socket to (number in the relay, target address:port)."""
        kube = families["kube"]
        conf, keys, run = self.run / "conf", self.pki, self.run
        manager = f"{keys}/controller-manager.kubeconfig"
        scheduler = f"{keys}/scheduler.kubeconfig"
        s3 = {"ROOT_ACCESS_KEY": s3_keys[0], "ROOT_SECRET_KEY": s3_keys[1]}
        s3_program = families["s3versity"].program("versitygw")
        s3_common = ("--region", S3_REGION, "--iam-dir", self.bed_run / "s3-accounts", "--iam-cache-disable", "--health", "/health")
        s3_data = ("posix", self.bed_run / "s3")
        python = (sys.executable, "-I")
        etcd = "http://127.0.0.1:2379"
        found = {
            "etcd": self.process(
                "etcd",
                which("etcd"),
                "--name",
                self.name,
                "--data-dir",
                run / "etcd",
                "--unsafe-no-fsync",
                "--listen-client-urls",
                etcd,
                "--advertise-client-urls",
                etcd,
                "--listen-peer-urls",
                "http://127.0.0.1:2380",
                "--initial-advertise-peer-urls",
                "http://127.0.0.1:2380",
                "--initial-cluster",
                f"{self.name}=http://127.0.0.1:2380",
                "--log-level",
                "warn",
            ),
            "kube-apiserver": self.process(
                "kube-apiserver",
                kube.program("kube-apiserver"),
                f"--etcd-servers={etcd}",
                "--bind-address=0.0.0.0",
                f"--secure-port={self.api_port}",
                f"--advertise-address={API_ADDRESS}",
                f"--tls-cert-file={keys}/apiserver.crt",
                f"--tls-private-key-file={keys}/apiserver.key",
                f"--client-ca-file={keys}/ca.crt",
                f"--kubelet-client-certificate={keys}/apiserver-kubelet.crt",
                f"--kubelet-client-key={keys}/apiserver-kubelet.key",
                f"--kubelet-certificate-authority={keys}/ca.crt",
                "--kubelet-preferred-address-types=InternalIP",
                f"--service-cluster-ip-range={SERVICE_NETWORK}",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=true",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={keys}/service-account.pub",
                f"--service-account-signing-key-file={keys}/service-account.key",
                f"--requestheader-client-ca-file={keys}/ca.crt",
                "--requestheader-allowed-names=front-proxy",
                "--requestheader-username-headers=X-Remote-User",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                f"--proxy-client-cert-file={keys}/front-proxy.crt",
                f"--proxy-client-key-file={keys}/front-proxy.key",
                "--profiling=false",
                # written by the request's own handler, so that whoever has an answer finds the request in the log
                f"--audit-policy-file={conf}/audit-policy.yaml",
                f"--audit-log-path={run}/log/audit.jsonl",
                "--audit-log-mode=blocking",
                "--audit-log-maxsize=4000",
            ),
            "coredns": self.process("coredns", families["coredns"].program("coredns"), "-conf", conf / "Corefile"),
            "kube-controller-manager": self.process(
                "kube-controller-manager",
                kube.program("kube-controller-manager"),
                f"--kubeconfig={manager}",
                f"--authentication-kubeconfig={manager}",
                f"--authorization-kubeconfig={manager}",
                "--leader-elect=false",
                "--use-service-account-credentials",
                "--kube-api-qps=200",
                "--kube-api-burst=400",
                f"--service-account-private-key-file={keys}/service-account.key",
                f"--root-ca-file={keys}/ca.crt",
                f"--cluster-signing-cert-file={keys}/ca.crt",
                f"--cluster-signing-key-file={keys}/ca.key",
                f"--cluster-cidr={POD_NETWORK}",
                f"--service-cluster-ip-range={SERVICE_NETWORK}",
                "--bind-address=127.0.0.1",
            ),
            "kube-scheduler": self.process(
                "kube-scheduler",
                kube.program("kube-scheduler"),
                f"--kubeconfig={scheduler}",
                f"--authentication-kubeconfig={scheduler}",
                f"--authorization-kubeconfig={scheduler}",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
            ),
            "local-path-provisioner": self.process(
                "local-path-provisioner",
                families["localpath"].program("local-path-provisioner"),
                "start",
                "--kubeconfig",
                keys / "local-path.kubeconfig",
                "--config",
                conf / "local-path.json",
                "--namespace",
                "local-path-storage",
                "--helper-image",
                "localhost/bb:1",
                "--helper-pod-file",
                conf / "local-path-pod.yaml",
                "--service-account-name",
                "default",
            ),
            "s3": self.process(
                "s3", s3_program, "--port", f"{API_ADDRESS}:{S3_PORT}", "--access-log", run / "log/s3-access.log", *s3_common, *s3_data, **s3
            ),
            "s3-tls": self.process(
                "s3-tls",
                s3_program,
                "--port",
                f"{API_ADDRESS}:{S3_TLS_PORT}",
                "--cert",
                keys / "s3.crt",
                "--key",
                keys / "s3.key",
                "--access-log",
                run / "log/s3-tls-access.log",
                *s3_common,
                *s3_data,
                **s3,
            ),
            "gcs": self.process(
                "gcs",
                families["fakegcs"].program("fake-gcs-server"),
                "-backend",
                "filesystem",
                "-filesystem-root",
                self.bed_run / "gcs",
                "-scheme",
                "https",
                "-host",
                GCS_ADDRESS,
                "-port",
                "443",
                "-public-host",
                "storage.googleapis.com",
                "-external-url",
                "https://storage.googleapis.com",
                "-cert-location",
                keys / "google.crt",
                "-private-key-location",
                keys / "google.key",
            ),
            "google-token": self.process(
                "google-token",
                *python,
                BED_SOURCES / "twins/google_token_twin.py",
                f"{TOKEN_ADDRESS}:443",
                self.bed_run / "gcs-accounts",
                keys / "google.crt",
                keys / "google.key",
            ),
            "relay": {
                **self.process("relay", *python, BED_SOURCES / "driver/relay.py", *(f"{number}={target}" for number, target in relays.values())),
                "sockets": {str(number): inherited for inherited, (number, _target) in relays.items()},
            },
        }
        for folder in ("s3", "s3-accounts", "gcs", "gcs-accounts"):
            (self.bed_run / folder).mkdir(exist_ok=True)
        return found
