# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster and the object stores of a bed do what people use them for: each test fails when the component is a stub."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bed.driver import READ_VERBS, Bed
from tests.bed.driver.pki import cloud_authority, openssl

APPLICATION = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], storageClassName: local-path, resources: {requests: {storage: 10Mi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      initContainers:
        - name: fill
          image: localhost/bb:1
          command: [sh, -c, "echo served > /data/index.html"]
          volumeMounts: [{name: data, mountPath: /data}]
      containers:
        - name: web
          image: localhost/bb:1
          command: [sh, -c, "echo started; exec httpd -f -p 8080 -h /data"]
          readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
          volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: each}
spec:
  selector: {matchLabels: {app: each}}
  template:
    metadata: {labels: {app: each}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: each, image: "localhost/bb:1", command: [sleep, "9999"]}]
"""

DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody-in}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}
"""


@pytest.fixture
def namespace(bed: Bed) -> Iterator[str]:
    """A namespace with the application rolled out."""
    name = f"cluster-{uuid.uuid4().hex[:6]}"
    bed.kubectl("create", "namespace", name)
    bed.kubectl("-n", name, "apply", "-f", "-", input=APPLICATION)
    for workload in ("deployment/web", "daemonset/each"):
        bed.kubectl("-n", name, "rollout", "status", workload, "--timeout=90s", timeout=100)
    yield name
    bed.kubectl("-n", name, "delete", "deployments,daemonsets,persistentvolumeclaims", "--all", timeout=100)
    bed.kubectl("delete", "namespace", name, timeout=100)


def reached(bed: Bed, namespace: str) -> bool:
    """Whether a pod gets the page by the Service's name."""
    script = "for i in 1 2 3; do timeout 2 wget -q -O - http://web/ && exit; done; echo refused"
    return "served" in bed.kubectl("-n", namespace, "exec", "daemonset/each", "--", "sh", "-c", script)


def test_volumes_services_names_exec_logs_port_forward(bed: Bed, namespace: str) -> None:
    assert reached(bed, namespace)
    assert bed.kubectl("-n", namespace, "logs", "deployment/web", "-c", "web").strip() == "started"
    assert bed.kubectl("-n", namespace, "exec", "deployment/web", "-c", "web", "--", "cat", "/data/index.html").strip() == "served"
    assert bed.kubectl("-n", namespace, "get", "persistentvolumeclaim", "data", "-o", "jsonpath={.status.phase}") == "Bound"
    forward = subprocess.Popen(
        [*bed.kubectl_command(bed.kubeconfig), "-n", namespace, "port-forward", "deployment/web", ":8080"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert forward.stdout is not None
        port = int(forward.stdout.readline().split(" ")[2].rsplit(":", 1)[1])
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"served\n"
    finally:
        forward.kill()
        forward.wait()


def test_network_policies_are_enforced(bed: Bed, namespace: str) -> None:
    assert reached(bed, namespace)
    bed.kubectl("-n", namespace, "apply", "-f", "-", input=DENY)
    end = time.monotonic() + 20
    while reached(bed, namespace):
        assert time.monotonic() < end, "the policy had no effect"
    assert not reached(bed, namespace)
    bed.kubectl("-n", namespace, "delete", "networkpolicy", "nobody-in")
    while not reached(bed, namespace):
        assert time.monotonic() < end + 20, "the removal of the policy had no effect"


def test_second_node_short_of_cpu(bed: Bed, namespace: str) -> None:
    if "n2" in bed.nodes():
        bed.delete_node(2)
    bed.add_node(2, cpu_reserved="1500m")
    try:
        capacity = bed.get("/api/v1/nodes/n2")["status"]
        cores = int(capacity["capacity"]["cpu"]) * 1000
        assert capacity["allocatable"]["cpu"] in (f"{cores - 1500}m", str((cores - 1500) // 1000))
        bed.kubectl("-n", namespace, "rollout", "status", "daemonset/each", "--timeout=90s", timeout=100)
        there = [pod["name"] for pod in bed.pods() if pod["namespace"] == namespace and pod["node"] == "n2"]
        assert len(there) == 1
        # from a pod of the second node to one of the first, by name
        script = "for i in 1 2 3; do timeout 2 wget -q -O - http://web/ && exit; done"
        assert "served" in bed.kubectl("-n", namespace, "exec", there[0], "--", "sh", "-c", script)
    finally:
        bed.delete_node(2)


def test_s3_checks_signatures_accounts_and_policies(bed: Bed) -> None:
    own, other, account = (f"{kind}-{uuid.uuid4().hex[:6]}" for kind in ("own", "other", "account"))
    bed.s3.make_bucket(own)
    bed.s3.make_bucket(other)
    keys = (account, "its-secret-key")
    credentials = bed.s3.account_for(own, *keys)
    assert credentials.stat().st_mode & 0o777 == 0o600
    assert bed.s3.request("PUT", f"/{own}/a b", body=b"content", keys=keys)[0] == 200
    assert bed.s3.request("GET", f"/{own}/a b", keys=keys) == (200, b"content")
    assert bed.s3.keys(own) == ["a b"]
    for method, path, used, code in (
        ("PUT", f"/{other}/x", keys, b"AccessDenied"),
        ("GET", f"/{own}/a b", (account, "wrong"), b"SignatureDoesNotMatch"),
        ("GET", f"/{own}/a b", ("nobody", "wrong"), b"InvalidAccessKeyId"),
        ("GET", "/absent/x", None, b"NoSuchBucket"),
    ):
        status, answer = bed.s3.request(method, path, keys=used)
        assert status >= 400
        assert code in answer


def test_s3_behind_tls_is_trusted_by_its_own_authority_only(bed: Bed) -> None:
    port = int(bed.s3.tls_endpoint_outside.rsplit(":", 1)[1])

    def status(authority: Path) -> int:
        context = ssl.create_default_context(cafile=str(authority))
        with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)) as connection:
            connection.request("GET", "/health")
            return connection.getresponse().status

    assert status(bed.s3.ca_file) == 200
    for stranger in (bed.s3.wrong_ca_file, cloud_authority() / "ca.crt"):
        with pytest.raises(ssl.SSLCertVerificationError):
            status(stranger)


TOKEN_CLIENT = """
import http.client, json, ssl, sys, urllib.parse
host, method, path, authority, form = sys.argv[1:6]
context = ssl.create_default_context(cafile=authority)
connection = http.client.HTTPSConnection(host, timeout=10, context=context)
import socket
address = {"oauth2.googleapis.com": "10.233.0.21", "storage.googleapis.com": "10.233.0.20"}[host]
connection.sock = context.wrap_socket(socket.create_connection((address, 443), 10), server_hostname=host)
connection.request(method, path, body=form or None, headers={"Content-Type": "application/x-www-form-urlencoded"})
answer = connection.getresponse()
print(json.dumps([answer.status, json.loads(answer.read() or b"null")]))
"""


def as_google(bed: Bed, host: str, method: str, path: str, form: str = "") -> tuple[int, Any]:
    """One request to a provider's name from within the bed's network, TLS checked."""
    argv = [*bed.enter(), sys.executable, "-I", "-c", TOKEN_CLIENT, host, method, path, str(cloud_authority() / "ca.crt"), form]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    status, answer = json.loads(done.stdout)
    return status, answer


def assertion(key_file: Path, folder: Path, **changes: object) -> str:
    """The form that a client library posts for a service account key."""
    key = json.loads(key_file.read_text())
    now = int(time.time())
    claims = {
        "iss": key["client_email"],
        "aud": key["token_uri"],
        "scope": "https://www.googleapis.com/auth/devstorage.read_write",
        "iat": now,
        "exp": now + 3600,
        **changes,
    }

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    signed = f"{encoded(json.dumps({'alg': 'RS256', 'typ': 'JWT'}).encode())}.{encoded(json.dumps(claims).encode())}"
    (folder / "key.pem").write_text(key["private_key"])
    (folder / "signed").write_text(signed)
    signature = openssl("dgst", "-sha256", "-sign", str(folder / "key.pem"), str(folder / "signed"))
    return f"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={signed}.{encoded(signature)}"


def test_gcs_and_its_service_accounts(bed: Bed, tmp_path: Path) -> None:
    account = f"account-{uuid.uuid4().hex[:6]}"
    good, wrong = bed.gcs.service_account_key(account), bed.gcs.wrong_key(account)
    assert good.stat().st_mode & 0o777 == 0o600
    status, answer = as_google(bed, "oauth2.googleapis.com", "POST", "/token", assertion(good, tmp_path))
    assert (status, answer["token_type"]) == (200, "Bearer")
    refused = {
        "Invalid JWT Signature.": assertion(wrong, tmp_path),
        "Invalid grant: account not found": assertion(good, tmp_path, iss="nobody@bed-project.iam.gserviceaccount.com"),
        "Invalid JWT: Failed audience check.": assertion(good, tmp_path, aud="https://elsewhere.example/"),
        "Invalid JWT: Token must be a short-lived token": assertion(good, tmp_path, iat=1000, exp=2000),
        "Invalid OAuth scope": assertion(good, tmp_path, scope=""),
    }
    for words, form in refused.items():
        status, answer = as_google(bed, "oauth2.googleapis.com", "POST", "/token", form)
        assert status == 400
        assert answer["error_description"].startswith(words)
    bed.gcs.remove_account(account)
    assert as_google(bed, "oauth2.googleapis.com", "POST", "/token", assertion(good, tmp_path))[0] == 400
    bucket = bed.gcs.make_bucket(f"bucket-{uuid.uuid4().hex[:6]}")
    assert as_google(bed, "storage.googleapis.com", "GET", f"/storage/v1/b/{bucket}")[0] == 200
    assert as_google(bed, "storage.googleapis.com", "GET", "/storage/v1/b/absent")[0] == 404


def test_every_request_is_in_the_audit_log_at_once(bed: Bed) -> None:
    command = bed.kubectl_command(bed.kubeconfig)
    name = f"counted-{uuid.uuid4().hex[:6]}"
    mark = bed.audit_mark()
    for _turn in range(3):
        subprocess.run([*command, "get", "--raw", "/api/v1/namespaces/default"], capture_output=True, check=True)
    events = list(bed.audit(mark))
    assert [(event["verb"], event["requestURI"], event["responseStatus"]["code"]) for event in events] == [
        ("get", "/api/v1/namespaces/default", 200)
    ] * 3
    subprocess.run([*command, "create", "configmap", name], capture_output=True, check=True)
    subprocess.run([*command, "delete", "configmap", name], capture_output=True, check=True)
    writes = [event["verb"] for event in bed.audit(mark) if event["verb"] not in READ_VERBS]
    assert writes == ["create", "delete"]
    assert list(bed.audit(bed.audit_mark())) == []


def test_a_host_process_can_be_stopped_and_started(bed: Bed) -> None:
    bed.stop_process("s3")
    assert "ended" in bed.health()["s3"]
    with pytest.raises(OSError):  # noqa: PT011  (reset or refused, as the relay passes it on)
        bed.s3.request("GET", "/")
    bed.start_process("s3")
    assert bed.s3.request("GET", "/")[0] == 200
    assert bed.health()["s3"] == "ok"
