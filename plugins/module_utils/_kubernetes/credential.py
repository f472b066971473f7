# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What proves to the API server who we are: tokens that are fixed, read from files, or made by a plugin, by boto3 or by google-auth.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import inspect
import io
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError, LibraryMissing, OperationError
from ansible_collections.serverops.circleci.plugins.module_utils._core.secret import MASK
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.kubeconfig import Entry

TOKEN_FILE_AGE = 60.0
"""Seconds after which a token file is read again, as client-go does: the kubelet replaces it well before it expires."""
EXEC_SECONDS = 60.0
"""Seconds that an exec plugin may take at most."""
EKS_TOKEN_AGE = 600.0
"""Seconds after which an EKS token is made anew; the server takes one for 15 minutes."""
GKE_TOKEN_AGE = 600.0
"""Seconds after which google-auth is asked again whether its token still lasts."""


class Credential:
    """Nothing to prove with: anonymous, or a client certificate alone.

    patience: seconds that making it may take; whoever knows the task's own limit makes it shorter.
    """

    patience = EXEC_SECONDS

    def authorization(self) -> str:
        """Return the value of the Authorization header, empty for none. May read a file, run a plugin or ask a cloud."""
        return ""

    def certificate(self) -> tuple[str, str] | None:
        """Return a client certificate and its key (PEM) when the credential brings them."""
        return None

    def renew(self) -> bool:
        """Forget what was held, because the server refused it; False when a new one would be the same."""
        return False

    def secrets(self) -> set[str]:
        """Return what has been held so far and must not be printed."""
        return set()


class FixedToken(Credential):
    """A bearer token that never changes."""

    def __init__(self, token: str) -> None:
        self._token = token.strip()

    def authorization(self) -> str:
        """Return the bearer header."""
        return f"Bearer {self._token}" if self._token else ""

    def secrets(self) -> set[str]:
        """Return the token."""
        return {self._token}


class BasicLogin(Credential):
    """User and password."""

    def __init__(self, username: str, password: str) -> None:
        self._password = password
        self._encoded = base64.b64encode(f"{username}:{password}".encode()).decode()

    def authorization(self) -> str:
        """Return the basic header."""
        return f"Basic {self._encoded}"

    def secrets(self) -> set[str]:
        """Return the password, and the header that holds it."""
        return {self._password, self._encoded}


class ExpiringCredential(Credential):
    """Something made by a function, and made again when it is old or was refused."""

    def __init__(self) -> None:
        self._token = ""
        self._made = -1.0
        self._lasts = 0.0
        self._seen: set[str] = set()

    def _make(self) -> tuple[str, float]:
        """Return a token and the seconds for which it may be used."""
        raise NotImplementedError

    def _fresh(self) -> None:
        if self._made < 0 or time.monotonic() - self._made >= self._lasts:
            self._token, self._lasts = self._make()
            self._made = time.monotonic()
            self._seen.add(self._token)

    def authorization(self) -> str:
        """Return the bearer header, with a new token when the last one is old."""
        self._fresh()
        return f"Bearer {self._token}" if self._token else ""

    def renew(self) -> bool:
        """Forget the token."""
        self._made = -1.0
        return True

    def secrets(self) -> set[str]:
        """Return every token held so far."""
        return {token for token in self._seen if token}


class TokenFile(ExpiringCredential):
    """A file that somebody else keeps fresh (in a pod: the kubelet)."""

    def __init__(self, path: str, option: str = "kubeconfig") -> None:
        super().__init__()
        self._path = path
        self._option = option

    def _make(self) -> tuple[str, float]:
        try:
            token = Path(self._path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise InputError(
                self._option, f"the token file {self._path} cannot be read ({reason})", "Correct the path or the permissions of the file"
            ) from None
        if not token:
            raise InputError(self._option, f"the token file {self._path} is empty", "Write a token into it, or give another way to log in")
        return token, TOKEN_FILE_AGE


class ExecPlugin(ExpiringCredential):
    """A program that the kubeconfig names, run by the kubernetes library; it prints a token or a client certificate."""

    def __init__(self, user: Entry, cluster: Entry) -> None:
        super().__init__()
        self._spec: dict[str, Any] = dict(user.value["exec"])
        self._folder = user.folder
        self._cluster = cluster
        self._certificate: tuple[str, str] | None = None
        self.command = str(self._spec.get("command") or "")

    def certificate(self) -> tuple[str, str] | None:
        """Return the certificate and key that the plugin printed."""
        self._fresh()
        return self._certificate

    def secrets(self) -> set[str]:
        """Return tokens, keys, and what the kubeconfig hands to the plugin by its environment."""
        found = super().secrets() | self._environment_values()
        return found | ({self._certificate[1]} if self._certificate else set())

    def _environment_values(self) -> set[str]:
        pairs = self._spec.get("env") or []
        return {str(pair["value"]) for pair in pairs if isinstance(pair, Mapping) and len(str(pair.get("value") or "")) >= 8}

    def _make(self) -> tuple[str, float]:
        status = self._run()
        token = str(status.get("token") or "")
        certificate, key = str(status.get("clientCertificateData") or ""), str(status.get("clientKeyData") or "")
        if certificate and not key:
            raise self._failure("it printed a client certificate without its key (clientKeyData)", "Correct the plugin")
        if not token and not certificate:
            raise self._failure("it printed neither a token nor a client certificate", "Run it by hand and look at what it prints")
        self._certificate = (certificate, key) if certificate else None
        return token, _lasts(str(status.get("expirationTimestamp") or ""))

    def _failure(self, seen: str, next_step: str) -> OperationError:
        for value in sorted(self._environment_values(), key=len, reverse=True):
            seen = seen.replace(value, MASK)
        hint = str(self._spec.get("installHint") or "").strip()
        return OperationError(
            "log in by", f"the exec plugin {self.command} of the kubeconfig", seen, next_step or hint.splitlines()[0] if hint else next_step
        )

    def _run(self) -> Mapping[str, Any]:
        """Run the plugin in a thread, so that one that hangs (or asks a person) ends with an error."""
        provider, refused = self._provider()
        outcome: dict[str, Any] = {}

        def run() -> None:
            try:
                outcome["status"] = provider.run()
            except Exception as error:  # noqa: BLE001  handed to the thread that waits
                outcome["error"] = error

        worker = threading.Thread(target=run, daemon=True)
        # the library asks stdout whether a person is there, and then lets the plugin talk to the terminal; a task has none
        with contextlib.redirect_stdout(io.StringIO()):
            worker.start()
            worker.join(self.patience)
        if worker.is_alive():
            _end_children(worker)
            raise self._failure(
                f"it did not end within {self.patience:g} s", "Run it by hand: it may wait for an answer or for a network that is not there"
            )
        error = outcome.get("error")
        if error is None:
            status = outcome["status"]
            if isinstance(status, Mapping):
                return status
            raise self._failure("what it printed has no status", "Correct the plugin")
        if isinstance(error, FileNotFoundError):
            raise self._failure(
                "it is not installed here, or not on PATH", _instead(self.command) or "Install it where this task runs, or use another way to log in"
            )
        if isinstance(error, PermissionError):
            raise self._failure("it may not be executed", "Set its mode")
        if isinstance(error, refused):
            raise self._failure(_told(str(error)), _instead(self.command) or "Run it by hand and look at what it prints")
        raise self._failure(f"it could not be run ({type(error).__name__})", "Look at the exec entry of the kubeconfig")

    def _provider(self) -> tuple[Any, type[Exception]]:
        try:
            from kubernetes.config.config_exception import ConfigException
            from kubernetes.config.exec_provider import ExecProvider
            from kubernetes.config.kube_config import ConfigNode
        except ImportError as error:
            raise LibraryMissing("kubernetes", sys.executable, str(error), "exec plugins of a kubeconfig") from None
        if os.sep in self.command and not os.path.isabs(self.command):
            self._spec["command"] = str(self._folder / self.command)
        elif not shutil.which(self.command):
            raise self._failure(
                "it is not installed here, or not on PATH", _instead(self.command) or "Install it where this task runs, or use another way to log in"
            )
        arguments: list[Any] = [ConfigNode("exec", self._spec), str(self._folder)]
        if "cluster" in inspect.signature(ExecProvider.__init__).parameters:  # from 25 on
            arguments.append(ConfigNode("cluster", dict(self._cluster.value)))
        elif self._spec.get("provideClusterInfo"):
            raise self._failure(
                "it wants to be told of the cluster, which this version of the library kubernetes cannot do", "Install kubernetes >= 25"
            )
        try:
            return ExecProvider(*arguments), ConfigException
        except ConfigException as error:
            raise InputError("kubeconfig", f"its exec entry is not complete ({_told(str(error))})", "Correct the kubeconfig") from None


def _told(message: str) -> str:
    """Turn what the library says of a plugin that failed into exit code and last line of stderr."""
    found = re.match(r"exec: process returned (-?\d+)\.?\s*(.*)", message, re.DOTALL)
    if "failed to decode" in message:
        return "what it printed is not JSON"
    if not found:
        return message.removeprefix("exec: ").splitlines()[0] if message else "it failed"
    lines = [line.strip() for line in found.group(2).splitlines() if line.strip()]
    return f"it ended with exit code {found.group(1)}" + (f" and said: {lines[-1][:300]}" if lines else " and said nothing")


def _instead(command: str) -> str:
    name = Path(command).name
    if name in {"aws", "aws-iam-authenticator"}:
        return "Use option eks, which makes the token without the AWS CLI, or run the plugin by hand"
    if name in {"gke-gcloud-auth-plugin", "gcloud"}:
        return "Use option gke, which makes the token without this plugin, or run the plugin by hand"
    return ""


def _end_children(thread: threading.Thread) -> None:
    """End the processes that a thread started; where the kernel does not list them they are left to themselves."""
    try:
        children = Path(f"/proc/self/task/{thread.native_id}/children").read_text(encoding="ascii").split()
    except OSError:
        return
    for child in children:
        with contextlib.suppress(OSError):
            os.kill(int(child), signal.SIGKILL)


def _lasts(stamp: str) -> float:
    """Return for how many seconds a credential may be used; without a stamp, for the life of this process."""
    if not stamp:
        return float("inf")
    try:
        ends = datetime.datetime.fromisoformat(stamp)
    except ValueError:
        return 0.0
    if ends.tzinfo is None:
        ends = ends.replace(tzinfo=datetime.UTC)
    left = (ends - datetime.datetime.now(datetime.UTC)).total_seconds()
    return max(5.0, left - 60.0)


class AuthProvider(Credential):
    """An auth-provider entry (oidc, gcp): kept from before exec plugins, read by the kubernetes library."""

    def __init__(self, user: Entry) -> None:
        self._user = user
        self._header = ""

    def authorization(self) -> str:
        """Return the header that the library makes of the entry; it asks the provider for a new token when the held one is old."""
        if not self._header:
            self._header = self._load()
        return self._header

    def secrets(self) -> set[str]:
        """Return the token, and what the kubeconfig holds to get one."""
        config = self._user.value["auth-provider"].get("config") or {}
        held = {str(config[name]) for name in ("id-token", "refresh-token", "access-token", "client-secret") if config.get(name)}
        return held | {self._header.removeprefix("Bearer ")} - {""}

    def _load(self) -> str:
        name = self._user.value["auth-provider"].get("name")
        try:
            from kubernetes.client import Configuration
            from kubernetes.config.kube_config import KubeConfigLoader
        except ImportError as error:
            raise LibraryMissing("kubernetes", sys.executable, str(error), "auth-provider entries of a kubeconfig") from None
        document = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": "http://unused.invalid"}}],
            "users": [{"name": "u", "user": json.loads(json.dumps(dict(self._user.value), default=str))}],
        }
        configuration = Configuration()
        with _folder() as folder:
            try:
                KubeConfigLoader(document, config_base_path=str(self._user.folder), temp_file_path=folder).load_and_set(configuration)
            except Exception as error:  # noqa: BLE001  whatever the provider's library raises, a person sees one sentence
                raise OperationError(
                    "log in by",
                    f"the auth-provider {name} of the kubeconfig",
                    f"it gave no token ({type(error).__name__})",
                    "Log in anew, or use an exec plugin",
                ) from None
        header = str(configuration.api_key.get("BearerToken") or configuration.api_key.get("authorization") or "")
        if not header:
            raise OperationError("log in by", f"the auth-provider {name} of the kubeconfig", "it gave no token", "Log in anew, or use an exec plugin")
        return header


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """Give a folder of mode 0700 for a library that insists on files, removed at once afterwards."""
    with tempfile.TemporaryDirectory(prefix="serverops-") as folder:
        yield folder


class EksLogin(ExpiringCredential):
    """An Amazon EKS cluster: endpoint and CA from the EKS API, the token a presigned STS request, both by boto3 in this process."""

    def __init__(self, option: Mapping[str, Any]) -> None:
        super().__init__()
        self._option = option
        self.name = str(option["cluster_name"])
        self._session: Any = None
        self._made_for_role = -1.0

    def cluster(self) -> tuple[str, str]:
        """Return URL and CA (PEM) of the cluster. One request to the EKS API (eks:DescribeCluster)."""
        session = self._signed_in()
        described = self._asked(
            "find the endpoint of",
            lambda: session.client("eks", region_name=self._region(session), config=_boto_config()).describe_cluster(name=self.name)["cluster"],
        )
        endpoint, authority = described.get("endpoint"), (described.get("certificateAuthority") or {}).get("data")
        if not endpoint or not authority:
            raise OperationError(
                "find the endpoint of",
                f"EKS cluster {self.name}",
                f"it has none yet (status {described.get('status')})",
                "Wait until the cluster is ACTIVE",
            )
        return str(endpoint), base64.b64decode(authority).decode()

    def _make(self) -> tuple[str, float]:
        session = self._signed_in()

        def presigned() -> str:
            client = session.client("sts", region_name=self._region(session), config=_boto_config())
            client.meta.events.register("provide-client-params.sts.GetCallerIdentity", _take_cluster_name)
            client.meta.events.register("before-sign.sts.GetCallerIdentity", _add_cluster_header)
            return str(client.generate_presigned_url("get_caller_identity", Params={"ClusterName": self.name}, ExpiresIn=60, HttpMethod="GET"))

        url = self._asked("make a token for", presigned)
        return "k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("="), EKS_TOKEN_AGE

    def renew(self) -> bool:
        """Forget the token, and the session: its role may have expired."""
        self._session = None
        return super().renew()

    def _region(self, session: Any) -> str:
        region = self._option.get("region") or session.region_name
        if not region:
            raise InputError("eks.region", "neither it nor the AWS profile or environment names a region", "Give eks.region")
        return str(region)

    def _signed_in(self) -> Any:
        if self._session is not None and (not self._option.get("role_arn") or time.monotonic() - self._made_for_role < 3000.0):
            return self._session
        try:
            import boto3.session
            import botocore.exceptions
        except ImportError as error:
            raise LibraryMissing("boto3", sys.executable, str(error), "option eks") from None
        try:
            session = boto3.session.Session(profile_name=self._option.get("profile") or None, region_name=self._option.get("region") or None)
        except botocore.exceptions.ProfileNotFound:
            raise InputError("eks.profile", f"there is no AWS profile {self._option.get('profile')}", "Correct the name, or leave it out") from None
        role = self._option.get("role_arn")
        if role:
            region = self._region(session)
            held = self._asked(
                f"take role {role} for",
                lambda: session.client("sts", region_name=region, config=_boto_config()).assume_role(RoleArn=role, RoleSessionName="serverops")[
                    "Credentials"
                ],
            )
            session = boto3.session.Session(
                aws_access_key_id=held["AccessKeyId"],
                aws_secret_access_key=held["SecretAccessKey"],
                aws_session_token=held["SessionToken"],
                region_name=region,
            )
            self._seen |= {held["SecretAccessKey"], held["SessionToken"]}
            self._made_for_role = time.monotonic()
        self._session = session
        return session

    def _asked(self, operation: str, ask: Callable[[], Any]) -> Any:
        """Ask AWS, and turn what botocore raises into a sentence."""
        import botocore.exceptions

        target = f"EKS cluster {self.name}"
        try:
            return ask()
        except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError):
            raise OperationError(
                operation,
                target,
                "boto3 found no AWS credentials",
                "Give eks.profile, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run with an instance role",
            ) from None
        except botocore.exceptions.ClientError as error:
            answer = error.response.get("Error", {})
            code = str(answer.get("Code", ""))
            raise OperationError(
                operation, target, f"AWS answered {code}: {answer.get('Message', '')}", _AWS_NEXT.get(code, "Check region, profile and role")
            ) from None
        except botocore.exceptions.BotoCoreError as error:
            raise OperationError(
                operation, target, f"AWS was not reached ({type(error).__name__})", "Check region, network and proxy settings"
            ) from None


_AWS_NEXT = {
    "ResourceNotFoundException": "Check eks.cluster_name, eks.region and the account of the credentials",
    "AccessDeniedException": "Grant eks:DescribeCluster, or give host and ca_cert so that it is not needed",
    "AccessDenied": "Let these credentials assume the role (its trust policy, and sts:AssumeRole)",
    "UnrecognizedClientException": "The AWS credentials are wrong: check them",
    "ExpiredTokenException": "The AWS credentials have expired: log in to AWS anew",
}


def _boto_config() -> Any:
    import botocore.config

    return botocore.config.Config(connect_timeout=10, read_timeout=20, retries={"total_max_attempts": 3, "mode": "standard"})


def _take_cluster_name(params: dict[str, Any], context: dict[str, Any], **_rest: Any) -> None:
    if "ClusterName" in params:
        context["eks_cluster"] = params.pop("ClusterName")


def _add_cluster_header(request: Any, **_rest: Any) -> None:
    if "eks_cluster" in request.context:
        request.headers["x-k8s-aws-id"] = request.context["eks_cluster"]


CONTAINER_API = "https://container.googleapis.com/v1"
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class GkeLogin(ExpiringCredential):
    """A Google GKE cluster: endpoint and CA from the container API, the token by google-auth, both in this process."""

    def __init__(self, option: Mapping[str, Any]) -> None:
        super().__init__()
        self._option = option
        self.name = str(option["cluster_name"])
        self._credentials: Any = None

    def cluster(self) -> tuple[str, str]:
        """Return URL and CA (PEM) of the cluster. One request to the container API (container.clusters.get)."""
        from google.auth.transport.requests import AuthorizedSession

        path = f"projects/{self._option['project']}/locations/{self._option['location']}/clusters/{self.name}"
        credentials = self._loaded()
        with AuthorizedSession(credentials) as session:
            answer = self._asked("find the endpoint of", lambda: session.get(f"{CONTAINER_API}/{path}", timeout=20))
        if answer.status_code != 200:
            raise OperationError(
                "find the endpoint of", f"GKE cluster {self.name}", f"Google answered {_google_message(answer)}", _google_next(answer.status_code)
            )
        described = answer.json()
        endpoint, authority = described.get("endpoint"), (described.get("masterAuth") or {}).get("clusterCaCertificate")
        if not endpoint or not authority:
            raise OperationError(
                "find the endpoint of",
                f"GKE cluster {self.name}",
                f"it has none yet (status {described.get('status')})",
                "Wait until the cluster is RUNNING",
            )
        return f"https://{endpoint}", base64.b64decode(authority).decode()

    def _make(self) -> tuple[str, float]:
        credentials = self._loaded()
        if not credentials.valid:
            from google.auth.transport.requests import Request

            self._asked("make a token for", lambda: credentials.refresh(Request()))
        return str(credentials.token), GKE_TOKEN_AGE

    def renew(self) -> bool:
        """Forget the token and load the credentials anew."""
        self._credentials = None
        return super().renew()

    def _loaded(self) -> Any:
        if self._credentials is not None:
            return self._credentials
        try:
            import google.auth
            import google.auth.transport.requests
            from google.oauth2 import service_account
        except ImportError as error:
            raise LibraryMissing("google-auth and requests", sys.executable, str(error), "option gke") from None
        path = self._option.get("service_account_file")
        if path:
            try:
                self._credentials = service_account.Credentials.from_service_account_file(path, scopes=[GOOGLE_SCOPE])
                self._seen.add(str(json.loads(Path(path).read_text(encoding="utf-8"))["private_key"]))
            except (OSError, ValueError, KeyError, google.auth.exceptions.GoogleAuthError):
                raise InputError(
                    "gke.service_account_file",
                    f"the file {path} is not the JSON key of a service account",
                    "Give the file that Google made for the key",
                ) from None
            return self._credentials
        try:
            self._credentials = google.auth.default(scopes=[GOOGLE_SCOPE])[0]
        except google.auth.exceptions.GoogleAuthError:
            raise OperationError(
                "log in to",
                f"GKE cluster {self.name}",
                "google-auth found no credentials",
                "Give gke.service_account_file, or set GOOGLE_APPLICATION_CREDENTIALS",
            ) from None
        return self._credentials

    def _asked(self, operation: str, ask: Callable[[], Any]) -> Any:
        import google.auth.exceptions
        import requests.exceptions

        try:
            return ask()
        except google.auth.exceptions.RefreshError as error:
            described = error.args[0] if error.args else ""
            raise OperationError(
                operation,
                f"GKE cluster {self.name}",
                f"Google gave no token ({str(described)[:200]})",
                "Check the service account: its key may be deleted or disabled",
            ) from None
        except (google.auth.exceptions.TransportError, requests.exceptions.RequestException) as error:
            raise OperationError(
                operation, f"GKE cluster {self.name}", f"Google was not reached ({type(error).__name__})", "Check network and proxy settings"
            ) from None


def _google_message(answer: Any) -> str:
    try:
        return f"{answer.status_code}: {answer.json()['error']['message']}"
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)


def _google_next(status: int) -> str:
    if status == 403:
        return "Grant container.clusters.get (role Kubernetes Engine Viewer), or give host and ca_cert so that it is not needed"
    if status == 404:
        return "Check gke.project, gke.location and gke.cluster_name"
    return "Check gke and the credentials"
