# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS and GKE: tokens made in this process, endpoint and CA asked of the cloud; the clouds are twins, the signatures are checked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import OperationError
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import credential, resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.connection import Connection
from ansible_collections.serverops.circleci.tests.unit.kubernetes.conftest import open_api
from ansible_collections.serverops.circleci.tests.unit.kubernetes.twins import ApiTwin, Arrived, Authority, Reply
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

SECRET_KEY = "canary-aws-secret-access-key"
EKS = {"cluster_name": "prod", "region": "eu-west-1"}


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch, tmp_path):
    """Keep the machine's own cloud credentials, and the addresses where clouds hand them out, away from the tests."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))


@pytest.fixture
def keys(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


def failure(options: dict[str, Any]) -> str:
    with pytest.raises(OperationError) as caught:
        open_api(options).get(resource.SECRET, "ns", "x")
    assert "canary" not in str(caught.value)
    return str(caught.value)


def at(twin: ApiTwin, authority: Authority, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "ca.crt").write_text(authority.pem)
    return {"host": twin.url, "ca_cert": str(tmp_path / "ca.crt")}


def aws_signature(url: str, signed: dict[str, str], secret: str) -> str:
    """Compute the SigV4 signature of a presigned GET, as AWS does when it checks one."""
    parts = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(parts.query))
    date, region, service, _end = query["X-Amz-Credential"].split("/")[1:]
    canonical_query = "&".join(
        f"{urllib.parse.quote(name, safe='~')}={urllib.parse.quote(value, safe='~')}"
        for name, value in sorted(query.items())
        if name != "X-Amz-Signature"
    )
    headers = "".join(f"{name}:{value}\n" for name, value in sorted(signed.items()))
    canonical = "\n".join(["GET", parts.path, canonical_query, headers, ";".join(sorted(signed)), hashlib.sha256(b"").hexdigest()])
    to_sign = "\n".join(
        ["AWS4-HMAC-SHA256", query["X-Amz-Date"], f"{date}/{region}/{service}/aws4_request", hashlib.sha256(canonical.encode()).hexdigest()]
    )
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()


def presigned(header: str) -> tuple[str, dict[str, str]]:
    """Return the URL inside an EKS token, and its query."""
    encoded = header.removeprefix("Bearer k8s-aws-v1.")
    assert "=" not in encoded
    url = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    return url, dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))


def test_eks_token_is_a_presigned_sts_request_for_this_cluster(twin, authority, keys, tmp_path):
    open_api({"eks": EKS} | at(twin, authority, tmp_path)).get(resource.SECRET, "ns", "x")
    url, query = presigned(twin.arrived[0].header("authorization")[0])
    assert url.startswith("https://sts.eu-west-1.amazonaws.com/?")
    assert (query["Action"], query["Version"], query["X-Amz-Expires"]) == ("GetCallerIdentity", "2011-06-15", "60")
    assert query["X-Amz-SignedHeaders"] == "host;x-k8s-aws-id"
    assert query["X-Amz-Credential"].startswith("AKIDEXAMPLE/")
    assert query["X-Amz-Signature"] == aws_signature(url, {"host": "sts.eu-west-1.amazonaws.com", "x-k8s-aws-id": "prod"}, SECRET_KEY)
    assert query["X-Amz-Signature"] != aws_signature(url, {"host": "sts.eu-west-1.amazonaws.com", "x-k8s-aws-id": "other"}, SECRET_KEY)


def test_eks_token_is_made_anew_when_it_is_old_or_refused(twin, authority, keys, tmp_path, monkeypatch):
    api = open_api({"eks": EKS} | at(twin, authority, tmp_path))
    made = iter(["first", "second", "third"])
    monkeypatch.setattr(credential.EksLogin, "_make", lambda self: (next(made), credential.EKS_TOKEN_AGE))
    now = credential.time.monotonic()
    api.get(resource.SECRET, "ns", "x")
    monkeypatch.setattr(credential.time, "monotonic", lambda: now + 590)
    api.get(resource.SECRET, "ns", "x")
    monkeypatch.setattr(credential.time, "monotonic", lambda: now + 610)
    api.get(resource.SECRET, "ns", "x")
    twin.tokens = {"third"}
    api.get(resource.SECRET, "ns", "x")
    tokens = [request.header("authorization")[0].removeprefix("Bearer ") for request in twin.arrived]
    assert tokens == ["first", "first", "second", "second", "third"]


def test_eks_endpoint_and_ca_are_asked_of_aws(twin, plain_twin, authority, keys, monkeypatch):
    described = {
        "name": "prod",
        "status": "ACTIVE",
        "endpoint": twin.url,
        "certificateAuthority": {"data": base64.b64encode(authority.pem.encode()).decode()},
    }
    plain_twin.answer = lambda request: Reply(document={"cluster": described})
    monkeypatch.setenv("AWS_ENDPOINT_URL_EKS", plain_twin.url)
    connection = Connection.from_options({"eks": EKS}, environ={})
    assert (connection.base_url, connection.origin) == (twin.url, "EKS cluster prod")
    assert plain_twin.paths() == ["GET /clusters/prod"]
    open_api({"eks": EKS}).get(resource.SECRET, "ns", "x")
    assert twin.paths() == ["GET /api/v1/namespaces/ns/secrets/x"]


def test_eks_role_is_assumed_first(twin, plain_twin, authority, keys, monkeypatch, tmp_path):
    assumed = (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
        "<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>canary-role-secret</SecretAccessKey>"
        "<SessionToken>canary-role-session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>"
        "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
    plain_twin.answer = lambda request: Reply(text=assumed.encode(), headers={"Content-Type": "text/xml"})
    plain_twin.serve_form = True
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", plain_twin.url)
    learned: set[str] = set()
    options = {"eks": EKS | {"role_arn": "arn:aws:iam::1:role/ops"}} | at(twin, authority, tmp_path)
    open_api(options, learned=lambda *secrets: learned.update(secrets)).get(resource.SECRET, "ns", "x")
    asked = dict(urllib.parse.parse_qsl(plain_twin.arrived[0].body))
    assert (asked["Action"], asked["RoleArn"]) == ("AssumeRole", "arn:aws:iam::1:role/ops")
    _url, query = presigned(twin.arrived[0].header("authorization")[0])
    assert query["X-Amz-Credential"].startswith("ASIAROLE/")
    assert query["X-Amz-Security-Token"] == "canary-role-session"
    assert {"canary-role-secret", "canary-role-session"} <= learned


def aws_error(status: int, code: str, message: str) -> Reply:
    return Reply(status, {"message": message}, {"x-amzn-ErrorType": code})


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (
            aws_error(404, "ResourceNotFoundException", "No cluster found for name: prod."),
            "AWS answered ResourceNotFoundException: No cluster found for name: prod. "
            "Check eks.cluster_name, eks.region and the account of the credentials.",
        ),
        (
            aws_error(403, "AccessDeniedException", "not authorized to perform: eks:DescribeCluster"),
            "AWS answered AccessDeniedException: not authorized to perform: eks:DescribeCluster. "
            "Grant eks:DescribeCluster, or give host and ca_cert so that it is not needed.",
        ),
        (
            Reply(document={"cluster": {"name": "prod", "status": "CREATING"}}),
            "it has none yet (status CREATING). Wait until the cluster is ACTIVE.",
        ),
    ],
)
def test_eks_cluster_that_aws_does_not_tell_of(reply, sentence, plain_twin, keys, monkeypatch):
    plain_twin.answer = lambda request: reply
    monkeypatch.setenv("AWS_ENDPOINT_URL_EKS", plain_twin.url)
    assert failure({"eks": EKS}) == f"find the endpoint of EKS cluster prod: {sentence}"


def test_eks_without_credentials():
    assert failure({"eks": EKS}) == (
        "find the endpoint of EKS cluster prod: boto3 found no AWS credentials. "
        "Give eks.profile, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run with an instance role."
    )


def test_eks_without_a_region(keys):
    assert failure({"eks": {"cluster_name": "prod"}}) == (
        "check option eks.region: neither it nor the AWS profile or environment names a region. Give eks.region."
    )


def test_eks_profile_that_is_not_there(keys):
    assert (
        failure({"eks": EKS | {"profile": "nobody"}})
        == "check option eks.profile: there is no AWS profile nobody. Correct the name, or leave it out."
    )


def test_eks_without_boto3(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setitem(sys.modules, "boto3.session", None)
    sentence = failure({"eks": EKS})
    assert sentence.startswith(f"import Python library boto3: it is needed for option eks and cannot be imported by {sys.executable} (")
    assert sentence.endswith(f"Install it for that Python: {sys.executable} -m pip install boto3.")


GKE = {"cluster_name": "prod", "location": "europe-west1", "project": "acme"}


@pytest.fixture(scope="session")
def google_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def service_account(path: Path, key: rsa.RSAPrivateKey, token_url: str) -> str:
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "acme",
                "private_key_id": "1",
                "private_key": private,
                "client_email": "ops@acme.iam.gserviceaccount.com",
                "client_id": "1",
                "token_uri": f"{token_url}/token",
            }
        )
    )
    return str(path)


def google(twin: ApiTwin, cluster: Any) -> None:
    """Let a twin answer as Google does: a token for a signed assertion, and the cluster."""

    def answer(request: Arrived) -> Reply:
        if request.path == "/token":
            return Reply(document={"access_token": "canary-google-token", "expires_in": 3600, "token_type": "Bearer"})
        return cluster if isinstance(cluster, Reply) else Reply(document=cluster)

    twin.answer = answer
    twin.serve_form = True


def test_gke_token_is_made_by_a_signed_assertion(twin, plain_twin, authority, google_key, tmp_path):
    google(plain_twin, {})
    path = service_account(tmp_path / "sa.json", google_key, plain_twin.url)
    learned: set[str] = set()
    options = {"gke": GKE | {"service_account_file": path}} | at(twin, authority, tmp_path)
    api = open_api(options, learned=lambda *secrets: learned.update(secrets))
    api.get(resource.SECRET, "ns", "x")
    api.get(resource.SECRET, "ns", "x")
    assert [request.header("authorization") for request in twin.arrived] == [["Bearer canary-google-token"]] * 2
    assert plain_twin.paths() == ["POST /token"]
    form = dict(urllib.parse.parse_qsl(plain_twin.arrived[0].body))
    head, claims, signature = form["assertion"].split(".")
    google_key.public_key().verify(_unpadded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    said = json.loads(_unpadded(claims))
    assert (said["iss"], said["scope"]) == ("ops@acme.iam.gserviceaccount.com", "https://www.googleapis.com/auth/cloud-platform")
    assert "canary-google-token" in learned
    assert any(secret.startswith("-----BEGIN PRIVATE KEY-----") for secret in learned)


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_gke_endpoint_and_ca_are_asked_of_google(twin, plain_twin, authority, google_key, tmp_path, monkeypatch):
    endpoint = twin.url.removeprefix("https://")
    google(plain_twin, {"endpoint": endpoint, "masterAuth": {"clusterCaCertificate": base64.b64encode(authority.pem.encode()).decode()}})
    monkeypatch.setattr(credential, "CONTAINER_API", f"{plain_twin.url}/v1")
    open_api({"gke": GKE | {"service_account_file": service_account(tmp_path / "sa.json", google_key, plain_twin.url)}}).get(
        resource.SECRET, "ns", "x"
    )
    assert plain_twin.paths() == ["POST /token", "GET /v1/projects/acme/locations/europe-west1/clusters/prod"]
    assert plain_twin.arrived[1].header("authorization") == ["Bearer canary-google-token"]
    assert twin.paths() == ["GET /api/v1/namespaces/ns/secrets/x"]


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (
            Reply(403, {"error": {"code": 403, "message": 'Required "container.clusters.get" permission(s)'}}),
            'Google answered 403: Required "container.clusters.get" permission(s). '
            "Grant container.clusters.get (role Kubernetes Engine Viewer), or give host and ca_cert so that it is not needed.",
        ),
        (
            Reply(404, {"error": {"code": 404, "message": "Not found: projects/acme"}}),
            "Google answered 404: Not found: projects/acme. Check gke.project, gke.location and gke.cluster_name.",
        ),
        (Reply(document={"status": "PROVISIONING"}), "it has none yet (status PROVISIONING). Wait until the cluster is RUNNING."),
    ],
)
def test_gke_cluster_that_google_does_not_tell_of(reply, sentence, plain_twin, google_key, tmp_path, monkeypatch):
    google(plain_twin, reply)
    monkeypatch.setattr(credential, "CONTAINER_API", plain_twin.url)
    path = service_account(tmp_path / "sa.json", google_key, plain_twin.url)
    assert failure({"gke": GKE | {"service_account_file": path}}) == f"find the endpoint of GKE cluster prod: {sentence}"


def test_gke_key_that_google_does_not_take(twin, plain_twin, authority, google_key, tmp_path):
    plain_twin.answer = lambda request: Reply(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
    plain_twin.serve_form = True
    path = service_account(tmp_path / "sa.json", google_key, plain_twin.url)
    assert failure({"gke": GKE | {"service_account_file": path}} | at(twin, authority, tmp_path)) == (
        "make a token for GKE cluster prod: Google gave no token (invalid_grant: Invalid JWT Signature.). "
        "Check the service account: its key may be deleted or disabled."
    )


def test_gke_file_that_is_no_key(tmp_path):
    (tmp_path / "sa.json").write_text('{"type": "service_account", "private_key": "canary"}')
    assert failure({"gke": GKE | {"service_account_file": str(tmp_path / "sa.json")}}) == (
        f"check option gke.service_account_file: the file {tmp_path}/sa.json is not the JSON key of a service account. "
        "Give the file that Google made for the key."
    )


def test_gke_without_credentials():
    assert failure({"gke": GKE}) == (
        "log in to GKE cluster prod: google-auth found no credentials. Give gke.service_account_file, or set GOOGLE_APPLICATION_CREDENTIALS."
    )
