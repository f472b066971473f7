# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Twin of a cloud's load balancer controller: gives Services of type LoadBalancer an address in their status and takes it back.

usage: python3 load_balancer_twin.py --kubeconfig FILE [--pool CIDR] [--hostnames DOMAIN] [--addresses FILE]

It lists and watches all Services. One of type LoadBalancer without loadBalancerClass gets an address of the pool, by a patch of its status; one that
is deleted, or changes its type, gives its address back. An address that was given back is the last to be given again: as with a real cloud, a Service
that is deleted and made again has another one. With --addresses it keeps the order of the pool in a file, so that this also holds for the Services of
a new cluster of which the file knows the predecessor. With --hostnames the status names a host and no address, as on EKS.
The traffic itself is kube-proxy's: inside the cluster it serves an address of a status like a ClusterIP. No address outside the pool is touched.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import ipaddress
import json
import ssl
import sys
import tempfile
import time
import urllib.parse
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEFAULT_POOL = "10.233.100.0/28"
WATCH_SECONDS = 240
RETRY_SECONDS = 1.0


class ApiError(Exception):
    """The API server answered with a status that is no success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text[:300]}")
        self.status = status


class AddressBook:
    """Which Service (by uid) has which address of the pool."""

    def __init__(self, pool: str, kept: Path | None = None) -> None:
        self.kept = kept
        #: The pool, least recently given first.
        self.order = [str(address) for address in ipaddress.ip_network(pool).hosts()]
        if kept and kept.is_file():
            known = [address for address in json.loads(kept.read_text(encoding="utf-8")) if address in self.order]
            self.order = [address for address in self.order if address not in known] + known
        self.free: deque[str] = deque(self.order)
        self.given: dict[str, str] = {}

    def note(self, address: str) -> None:
        """Remember that this address was given last, in one step."""
        self.order.remove(address)
        self.order.append(address)
        if self.kept:
            fresh = self.kept.with_name(f".{self.kept.name}.new")
            fresh.write_text(json.dumps(self.order), encoding="utf-8")
            fresh.replace(self.kept)

    def adopt(self, uid: str, address: str) -> bool:
        """Note an address that a Service has already; False when it is not of the pool or another Service's."""
        if self.given.get(uid) == address:
            return True
        if uid in self.given or address not in self.free:
            return False
        self.free.remove(address)
        self.given[uid] = address
        return True

    def give(self, uid: str) -> str | None:
        """The Service's address, a new one if it has none yet; None when the pool is used up."""
        if uid not in self.given:
            if not self.free:
                return None
            self.given[uid] = self.free.popleft()
            self.note(self.given[uid])
        return self.given[uid]

    def take_back(self, uid: str) -> str | None:
        """Free the Service's address; the answer is that address, None when it had none."""
        address = self.given.pop(uid, None)
        if address is not None:
            self.free.append(address)
        return address


def served(service: dict[str, Any]) -> bool:
    """Whether a Service is this controller's: type LoadBalancer, of no named class, not being deleted."""
    spec = service["spec"]
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass") and not service["metadata"].get("deletionTimestamp")


def ingress_of(service: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of .status.loadBalancer.ingress."""
    balancer: dict[str, Any] = service.get("status", {}).get("loadBalancer") or {}
    return balancer.get("ingress") or []


def wanted_ingress(service: dict[str, Any], book: AddressBook, domain: str = "") -> list[dict[str, Any]] | None:
    """The ingress entries that a Service's status must get now; None when the status is right (or the pool is used up)."""
    uid, present = service["metadata"]["uid"], ingress_of(service)
    if not served(service):
        book.take_back(uid)
        foreign = service["spec"].get("type") == "LoadBalancer"
        return [] if present and not foreign else None
    if not domain and len(present) == 1 and book.adopt(uid, present[0].get("ip", "")):
        return None
    address = book.give(uid)
    if address is None:
        return None
    entry = {"hostname": f"{service['metadata']['name']}-{address.replace('.', '-')}.{domain}"} if domain else {"ip": address, "ipMode": "VIP"}
    return None if present == [entry] else [entry]


class Api:
    """The few requests of this twin, over one connection per request."""

    def __init__(self, kubeconfig: str) -> None:
        config = json.loads(Path(kubeconfig).read_text(encoding="utf-8"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.host = urllib.parse.urlsplit(cluster["server"]).netloc
        self.headers = {"Accept": "application/json", "User-Agent": "load-balancer-twin"}
        if user.get("token"):
            self.headers["Authorization"] = f"Bearer {user['token']}"
        self.context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        if user.get("client-certificate-data"):
            # ssl loads a client certificate only from files; both are gone again before the first request
            with tempfile.TemporaryDirectory(prefix="load-balancer-twin-") as folder:
                certificate, key = Path(folder, "crt"), Path(folder, "key")
                for path, name in ((certificate, "client-certificate-data"), (key, "client-key-data")):
                    path.touch(mode=0o600)
                    path.write_bytes(base64.b64decode(user[name]))
                self.context.load_cert_chain(certificate, key)

    def send(self, method: str, path: str, body: dict[str, Any] | None = None, timeout: float = 10) -> http.client.HTTPResponse:
        """An answer with a status below 300, not yet read; ApiError for any other."""
        connection = http.client.HTTPSConnection(self.host, context=self.context, timeout=timeout)
        headers = {**self.headers, **({"Content-Type": "application/merge-patch+json"} if body is not None else {})}
        connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
        response = connection.getresponse()
        if response.status >= 300:
            raise ApiError(response.status, response.read().decode(errors="replace"))
        return response

    def services(self) -> tuple[list[dict[str, Any]], str]:
        """All Services and the resourceVersion from which to watch."""
        with self.send("GET", "/api/v1/services") as response:
            answer = json.load(response)
        return answer["items"], answer["metadata"]["resourceVersion"]

    def watch(self, version: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Events (type, Service) until the server ends the stream; ApiError when the version is too old."""
        query = urllib.parse.urlencode({"watch": 1, "resourceVersion": version, "timeoutSeconds": WATCH_SECONDS, "allowWatchBookmarks": "true"})
        with self.send("GET", f"/api/v1/services?{query}", timeout=WATCH_SECONDS + 30) as response:
            for line in response:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), event["object"].get("message", ""))
                yield event["type"], event["object"]

    def set_ingress(self, service: dict[str, Any], ingress: list[dict[str, Any]]) -> None:
        """Patch the status; the uid in it makes the server refuse when the name belongs to another Service by now."""
        meta = service["metadata"]
        body = {"metadata": {"uid": meta["uid"]}, "status": {"loadBalancer": {"ingress": ingress or None}}}
        self.send("PATCH", f"/api/v1/namespaces/{meta['namespace']}/services/{meta['name']}/status", body).close()


class Controller:
    """Keeps the status of all Services right."""

    def __init__(self, api: Api, book: AddressBook, domain: str) -> None:
        self.api, self.book, self.domain = api, book, domain

    def note(self, service: dict[str, Any], text: str) -> None:
        """One line of the log."""
        meta = service["metadata"]
        sys.stdout.write(f"{time.strftime('%H:%M:%S')} service {meta['namespace']}/{meta['name']}: {text}\n")
        sys.stdout.flush()

    def settle(self, service: dict[str, Any]) -> None:
        """Bring one Service's status to what it must be."""
        ingress = wanted_ingress(service, self.book, self.domain)
        if ingress is None:
            if served(service) and not ingress_of(service):
                self.note(service, "no address: the pool is used up")
            return
        try:
            self.api.set_ingress(service, ingress)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            self.note(service, f"gone before its status was set ({error.status})")
            return
        self.note(service, f"status is now {json.dumps(ingress)}")

    def forget(self, service: dict[str, Any]) -> None:
        """A Service is gone: its address is free, and one that waits for an address may have it."""
        address = self.book.take_back(service["metadata"]["uid"])
        if address:
            self.note(service, f"deleted, {address} is free")

    def round(self) -> None:
        """One list and one watch until it ends."""
        services, version = self.api.services()
        present = {service["metadata"]["uid"] for service in services}
        for uid in [uid for uid in self.book.given if uid not in present]:
            self.book.take_back(uid)
        # those that have an address first: it must not be given to another
        for service in sorted(services, key=lambda service: not ingress_of(service)):
            self.settle(service)
        for kind, service in self.api.watch(version):
            if kind == "DELETED":
                waiting = not self.book.free
                self.forget(service)
                if waiting:
                    return
            elif kind in ("ADDED", "MODIFIED"):
                self.settle(service)


def main() -> int:
    """Command line; runs until it is killed."""
    parser = argparse.ArgumentParser(description="twin of a cloud's load balancer controller")
    parser.add_argument("--kubeconfig", required=True, help="written as JSON, with everything inline, as the bed's are")
    parser.add_argument("--pool", default=DEFAULT_POOL, help="addresses to give (default: %(default)s)")
    parser.add_argument("--hostnames", default="", metavar="DOMAIN", help="give host names below DOMAIN and no addresses")
    parser.add_argument("--addresses", type=Path, metavar="FILE", help="where the order of the pool is kept")
    arguments = parser.parse_args()
    controller = Controller(Api(arguments.kubeconfig), AddressBook(arguments.pool, arguments.addresses), arguments.hostnames)
    while True:
        try:
            controller.round()
        except (OSError, http.client.HTTPException, ApiError, ValueError) as error:
            sys.stdout.write(f"{time.strftime('%H:%M:%S')} {type(error).__name__}: {error}; once more in {RETRY_SECONDS} s\n")
            sys.stdout.flush()
            time.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
