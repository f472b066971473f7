# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed's object stores as a test sees them: an S3 server with accounts and policies, and a GCS server with service accounts."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import hmac
import http.client
import json
import urllib.parse
from pathlib import Path
from xml.sax.saxutils import escape

from . import pki
from .node import API_ADDRESS, S3_PORT, S3_REGION, S3_TLS_PORT
from .paths import BedError, write

#: Folder of the bed's run directory with the authority of the S3 server's certificate.
STORAGE_AUTHORITY = "storage-ca"


def signature_v4(method: str, host: str, path: str, query: str, body: bytes, access_key: str, secret_key: str, region: str) -> dict[str, str]:
    """Headers of an S3 request signed with AWS Signature Version 4; path and query as they stand in the request line."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    canonical_query = "&".join(sorted(part if "=" in part else f"{part}=" for part in query.split("&") if part))
    canonical = "\n".join([method, path, canonical_query, *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names, digest])
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret_key}".encode()
    for part in (stamp[:8], region, "s3", "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    return headers


class S3:
    """The S3 server: versitygw, which checks signatures, accounts and policies. Pods use the addresses "inside", this machine those "outside"."""

    region = S3_REGION
    endpoint_inside = f"http://{API_ADDRESS}:{S3_PORT}"
    tls_endpoint_inside = f"https://{API_ADDRESS}:{S3_TLS_PORT}"

    def __init__(self, run: Path, port: int, tls_port: int, access_key: str, secret_key: str) -> None:
        self.port = port
        self.endpoint_outside = f"http://127.0.0.1:{port}"
        self.tls_endpoint_outside = f"https://127.0.0.1:{tls_port}"
        self.access_key = access_key
        self.secret_key = secret_key
        #: Certificate of the authority that signed the TLS endpoint; no image and no machine trusts it by itself.
        self.ca_file = run / STORAGE_AUTHORITY / "ca.crt"
        #: An authority that did not sign it.
        self.wrong_ca_file = run / "n1/pki/ca.crt"
        #: Profile [default] of the root account, as `velero install --secret-file` wants it; mode 0600.
        self.credentials_file = run / "s3-credentials"
        #: One line per request: time, requester, operation, bucket, key, status.
        self.access_log = run / "n1/log/s3-access.log"
        self.tls_access_log = run / "n1/log/s3-tls-access.log"
        self._data = run / "s3"

    def request(self, method: str, path: str, query: str = "", body: bytes = b"", keys: tuple[str, str] | None = None) -> tuple[int, bytes]:
        """One signed request ("/bucket/key"); status and body of the answer. keys: (access key, secret key) of another account than root."""
        access_key, secret_key = keys or (self.access_key, self.secret_key)
        quoted = urllib.parse.quote(path)
        headers = signature_v4(method, f"127.0.0.1:{self.port}", quoted, query, body, access_key, secret_key, self.region)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, quoted + (f"?{query}" if query else ""), body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def _wanted(self, what: str, method: str, path: str, query: str = "", body: bytes = b"") -> bytes:
        status, answer = self.request(method, path, query, body)
        if status >= 300:
            raise BedError(f"S3: {what}: answer {status}: {answer[:300].decode(errors='replace')}")
        return answer

    def make_bucket(self, bucket: str) -> str:
        """Make a bucket (an existing one of the same account is fine); the answer is its name."""
        status, answer = self.request("PUT", f"/{bucket}")
        if status >= 300 and b"BucketAlreadyOwnedByYou" not in answer:
            raise BedError(f"S3: make bucket {bucket}: answer {status}: {answer[:300].decode(errors='replace')}")
        return bucket

    def put_policy(self, bucket: str, policy: dict[str, object]) -> None:
        """Set the bucket policy."""
        self._wanted(f"set the policy of bucket {bucket}", "PUT", f"/{bucket}", "policy", json.dumps(policy).encode())

    def make_account(self, access_key: str, secret_key: str, role: str = "user") -> tuple[str, str]:
        """Make an account of the server (role: user, userplus or admin); it may do nothing until a bucket policy allows it."""
        body = f"<Account><Access>{escape(access_key)}</Access><Secret>{escape(secret_key)}</Secret><Role>{escape(role)}</Role></Account>"
        self._wanted(f"make account {access_key}", "PATCH", "/create-user", body=body.encode())
        return access_key, secret_key

    def account_for(self, bucket: str, access_key: str, secret_key: str) -> Path:
        """Make an account that may do with the bucket what Velero needs and nothing else; the answer is a credentials file (mode 0600)."""
        self.make_account(access_key, secret_key)
        self.put_policy(
            bucket,
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"AWS": [access_key]},
                        "Resource": [f"arn:aws:s3:::{bucket}/*"],
                        "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
                    },
                    {"Effect": "Allow", "Principal": {"AWS": [access_key]}, "Resource": [f"arn:aws:s3:::{bucket}"], "Action": ["s3:ListBucket"]},
                ],
            },
        )
        return self.write_credentials(self.credentials_file.with_name(f"s3-credentials-{access_key}"), access_key, secret_key)

    @staticmethod
    def write_credentials(path: Path, access_key: str, secret_key: str) -> Path:
        """Write a file with the profile [default] of the two keys, mode 0600."""
        write(path, f"[default]\naws_access_key_id={access_key}\naws_secret_access_key={secret_key}\n", 0o600)
        return path

    def path(self, bucket: str, key: str = "") -> Path:
        """Where the server keeps a bucket or an object on this machine."""
        return self._data / bucket / key

    def keys(self, bucket: str) -> list[str]:
        """Names of all objects of a bucket, read from the server's own disk."""
        root = self.path(bucket)
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


class Gcs:
    """The GCS server below the provider's own names (inside the bed only), with service accounts whose signatures are checked."""

    project = "bed-project"

    def __init__(self, run: Path) -> None:
        self._data = run / "gcs"
        self._accounts = run / "gcs-accounts"

    def make_bucket(self, bucket: str) -> str:
        """Make a bucket; the answer is its name."""
        (self._data / bucket).mkdir(exist_ok=True)
        return bucket

    def path(self, bucket: str, key: str = "") -> Path:
        """Where the server keeps a bucket or an object on this machine."""
        return self._data / bucket / key

    def _email(self, account: str) -> str:
        return f"{account}@{self.project}.iam.gserviceaccount.com"

    def _new_key(self, account: str, register: bool, **changes: str | None) -> Path:
        private = pki.openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
        kind = "key" if register else "wrong-key"
        target = self._accounts / f"{account}.{kind}.json"
        pem = self._accounts / f"{account}.{kind}.pem"
        write(pem, private.decode(), 0o600)
        public = pki.openssl("pkey", "-in", str(pem), "-pubout").decode()
        pem.unlink()
        if register:
            write(self._accounts / f"{self._email(account)}.pub", public)
        fields: dict[str, str | None] = {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": hashlib.sha256(public.encode()).hexdigest()[:40],
            "private_key": private.decode(),
            "client_email": self._email(account),
            "client_id": "100000000000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": "https://oauth2.googleapis.com/token",
            "universe_domain": "googleapis.com",
            **changes,
        }
        write(target, json.dumps({name: value for name, value in fields.items() if value is not None}, indent=1) + "\n", 0o600)
        return target

    def service_account_key(self, account: str = "velero", **changes: str | None) -> Path:
        """Make (or renew) a service account; the answer is its key file (mode 0600). changes: fields to set, None leaves one out."""
        return self._new_key(account, True, **changes)

    def wrong_key(self, account: str = "velero") -> Path:
        """A key file of the same form and account whose private key the token endpoint does not know; mode 0600."""
        return self._new_key(account, False)

    def remove_account(self, account: str = "velero") -> None:
        """Forget a service account: its key is refused from now on."""
        (self._accounts / f"{self._email(account)}.pub").unlink(missing_ok=True)
