# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to one Kubernetes API server, made of a task's login options: where it is, how it is reached, and who we are there.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import ipaddress
import os
import sys
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError, LibraryMissing
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import arguments, kubeconfig, tls
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.credential import (
    EXEC_SECONDS,
    AuthProvider,
    BasicLogin,
    Credential,
    EksLogin,
    ExecPlugin,
    FixedToken,
    GkeLogin,
    TokenFile,
)

try:
    import urllib3

    URLLIB3_ERROR = ""
except ImportError as missing:
    URLLIB3_ERROR = str(missing)

USER_AGENT = "serverops.circleci"
SERVICE_ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"
"""Folder, below the root of the file system, in which a pod finds its token and the cluster's CA."""


@dataclass
class Connection:
    """Where an API server is and how we log in there.

    base_url: without a slash at the end. origin: where the login came from, in words for messages.
    authority: PEM of the CAs to trust (the system's when empty). certificate: PEM of client certificate and key.
    server_name: the name to expect in the server's certificate, when it differs from the URL's. proxy: URL, or empty.
    learned: called with every secret that is held, before each request, so that one made at run time is masked before it can be printed.
    Nothing is sent before `pool` or `headers` is first used, except that EKS and GKE are asked for endpoint and CA.
    """

    base_url: str
    origin: str
    credential: Credential = field(default_factory=Credential, repr=False)
    authority: str = ""
    verify: bool = True
    certificate: tuple[str, str] | None = field(default=None, repr=False)
    server_name: str = ""
    proxy: str = field(default="", repr=False)
    impersonation: tuple[tuple[str, str], ...] = ()
    namespace: str = ""
    authority_option: str = "ca_cert"
    certificate_option: str = "client_cert"
    learned: Callable[..., None] = field(default=lambda *secrets: None, repr=False)
    _pool: Any = field(default=None, repr=False)
    _context: Any = field(default=None, repr=False)

    @classmethod
    def from_options(
        cls,
        options: Mapping[str, Any],
        *,
        learned: Callable[..., None] = lambda *secrets: None,
        environ: Mapping[str, str] | None = None,
        root: str = "/",
    ) -> Connection:
        """Make a connection of the options in `arguments.ARGUMENTS`.

        learned: called with what must not be printed (any number of strings), as soon as it is known.
        environ and root: where the environment variables and the files of a pod are looked for; the process's own by default.
        Raises InputError, LibraryMissing, or OperationError when a cloud does not say where the cluster is.
        """
        if URLLIB3_ERROR:
            raise LibraryMissing("kubernetes", sys.executable, f"its part urllib3: {URLLIB3_ERROR}", "requests to a Kubernetes cluster")
        environ = os.environ if environ is None else environ
        arguments.check(options)
        learned(*arguments.secrets_in(options))
        made = cls._logged_in(options, environ, root)
        made.learned = learned
        if arguments.given(options, "host"):
            made.base_url = str(options["host"]).rstrip("/")
        if arguments.given(options, "api_key"):
            made.credential = FixedToken(str(options["api_key"]))
            made.certificate = None
        if arguments.given(options, "client_cert"):
            made.certificate = (_text("client_cert", options["client_cert"]), _text("client_key", options["client_key"]))
            made.certificate_option = "client_cert"
            if not arguments.given(options, "api_key"):
                made.credential = Credential()
        if arguments.given(options, "ca_cert"):
            made.authority = _text("ca_cert", options["ca_cert"])
            made.authority_option = "ca_cert"
        if options.get("validate_certs") is False:
            made.verify = False
        made.proxy = _proxy(made.base_url, options, made.proxy, environ)
        made.impersonation = _impersonation(options) or made.impersonation
        made.credential.patience = min(EXEC_SECONDS, float(options.get("timeout") or EXEC_SECONDS))
        return made

    @classmethod
    def _logged_in(cls, options: Mapping[str, Any], environ: Mapping[str, str], root: str) -> Connection:
        if arguments.given(options, "eks") or arguments.given(options, "gke"):
            cloud: EksLogin | GkeLogin = EksLogin(options["eks"]) if arguments.given(options, "eks") else GkeLogin(options["gke"])
            kind = "EKS" if isinstance(cloud, EksLogin) else "GKE"
            known = arguments.given(options, "host") and (arguments.given(options, "ca_cert") or options.get("validate_certs") is False)
            url, authority = ("", "") if known else cloud.cluster()
            return cls(url.rstrip("/"), f"{kind} cluster {cloud.name}", cloud, authority)
        context = str(options.get("context") or "")
        if arguments.given(options, "kubeconfig"):
            return cls._of_kubeconfig(options["kubeconfig"], context)
        if arguments.given(options, "host"):
            if not context:
                return cls("", "option host")
        elif not context:
            paths = kubeconfig.default_paths(environ)
            folder = Path(root) / SERVICE_ACCOUNT
            if not kubeconfig.present(paths):
                if environ.get("KUBERNETES_SERVICE_HOST") and (folder / "token").exists():
                    return cls._in_cluster(environ, folder)
                raise InputError(
                    "kubeconfig",
                    f"no login option was given, the file {paths} does not exist, and this is not a pod",
                    "Give kubeconfig, or host with api_key, or eks, or gke",
                )
        return cls._of_kubeconfig(kubeconfig.default_paths(environ), context)

    @classmethod
    def _in_cluster(cls, environ: Mapping[str, str], folder: Path) -> Connection:
        host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT") or "443"
        host = f"[{host}]" if ":" in host else host
        authority = _text("kubeconfig", folder / "ca.crt")
        namespace = _text("kubeconfig", folder / "namespace").strip() if (folder / "namespace").exists() else ""
        return cls(f"https://{host}:{port}", "the service account of this pod", TokenFile(str(folder / "token")), authority, namespace=namespace)

    @classmethod
    def _of_kubeconfig(cls, source: str | Mapping[str, Any], context: str) -> Connection:
        login = kubeconfig.load(source, context)
        cluster, user = login.cluster, login.user
        server = cluster.text("server").rstrip("/")
        if not server.startswith(("https://", "http://")):
            server = f"https://{server}"
        made = cls(
            server,
            f"{login.origin}, context {login.context}",
            _credential(user, cluster),
            cluster.pem("certificate-authority"),
            verify=not cluster.value.get("insecure-skip-tls-verify"),
            server_name=cluster.text("tls-server-name"),
            proxy=cluster.text("proxy-url"),
            namespace=login.namespace,
            authority_option="kubeconfig",
            certificate_option="kubeconfig",
        )
        certificate, key = user.pem("client-certificate"), user.pem("client-key")
        if bool(certificate) != bool(key):
            raise InputError("kubeconfig", "its user has a client certificate without its key, or the key alone", "Give both")
        made.certificate = (certificate, key) if certificate else None
        made.impersonation = tuple(
            [("Impersonate-User", user.text("as"))] * bool(user.text("as"))
            + [("Impersonate-Group", str(group)) for group in user.value.get("as-groups") or []]
        )
        return made

    @property
    def context(self) -> Any:
        """Return the ssl.SSLContext for this server; made when first used, since an exec plugin may bring the client certificate."""
        if self._context is None:
            self._context = self._made_context()
        return self._context

    def _made_context(self) -> Any:
        brought = self.credential.certificate()
        certificate, key = brought or self.certificate or ("", "")
        return tls.context(
            verify=self.verify,
            authority=self.authority,
            certificate=certificate,
            key=key,
            option=self.authority_option,
            certificate_option=self.certificate_option,
        )

    @property
    def pool(self) -> Any:
        """Return the urllib3 pool manager for this server."""
        if self._pool is None:
            settings: dict[str, Any] = {"maxsize": 4, "retries": False}
            if self.base_url.startswith("https:"):
                context = self._made_context()
                if str(getattr(urllib3, "__version__", "")).startswith("1."):
                    # 1.26 does not tell OpenSSL the name when it is an address, and compares names itself
                    context.check_hostname = False
                settings |= {"ssl_context": context, "cert_reqs": "CERT_REQUIRED" if self.verify else "CERT_NONE"}
                if self.server_name:
                    settings |= {"server_hostname": self.server_name, "assert_hostname": self.server_name if self.verify else False}
            if self.proxy:
                url, login = self.proxy_parts()
                headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
                self._pool = urllib3.ProxyManager(url, proxy_headers=headers, **settings)
            else:
                self._pool = urllib3.PoolManager(**settings)
        return self._pool

    def proxy_parts(self) -> tuple[str, str]:
        """Return the proxy's URL without its login, and the login (user:password, unquoted; empty for none)."""
        parts = urllib.parse.urlsplit(self.proxy)
        user, password = urllib.parse.unquote(parts.username or ""), urllib.parse.unquote(parts.password or "")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{host}{port}", f"{user}:{password}" if user else ""

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers that say who we are; a group of the impersonated user is a line of its own."""
        authorization = self.credential.authorization()
        self.learned(*self.secrets())
        return [("User-Agent", USER_AGENT), *([("Authorization", authorization)] if authorization else []), *self.impersonation]

    def renew(self) -> bool:
        """Forget the credential that the server refused; False when a new one would be the same."""
        if not self.credential.renew():
            return False
        if self._pool is not None and self.credential.certificate() is not None:
            self._pool = self._context = None
        return True

    def secrets(self) -> set[str]:
        """Return everything held so far that must not be printed: tokens, keys, passwords."""
        found = self.credential.secrets() | arguments.secrets_in_url(self.proxy)
        if self.certificate:
            found.add(self.certificate[1])
        return {secret for secret in found if secret}


def _credential(user: kubeconfig.Entry, cluster: kubeconfig.Entry) -> Credential:
    """Return what a kubeconfig's user logs in with, in kubectl's order."""
    if user.text("tokenFile"):
        return TokenFile(user.path("tokenFile"))
    if user.text("token"):
        return FixedToken(user.text("token"))
    if user.value.get("exec"):
        if not isinstance(user.value["exec"], Mapping) or not user.value["exec"].get("command") or not user.value["exec"].get("apiVersion"):
            raise InputError("kubeconfig", "its exec entry has no command or no apiVersion", "Correct the kubeconfig")
        return ExecPlugin(user, cluster)
    if user.value.get("auth-provider"):
        return AuthProvider(user)
    if user.text("username"):
        return BasicLogin(user.text("username"), user.text("password"))
    return Credential()


def _text(option: str, path: Any) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError(option, f"the file {path} cannot be read ({reason})", "Correct the path or the permissions of the file") from None


def _impersonation(options: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if not arguments.given(options, "impersonate_user"):
        return ()
    groups = [("Impersonate-Group", str(group)) for group in options.get("impersonate_groups") or []]
    return (("Impersonate-User", str(options["impersonate_user"])), *groups)


def _proxy(base_url: str, options: Mapping[str, Any], of_kubeconfig: str, environ: Mapping[str, str]) -> str:
    """Return the proxy to use: the option's, else the kubeconfig's, else the environment's; none for hosts that no_proxy names."""
    parts = urllib.parse.urlsplit(base_url)
    host = parts.hostname or ""
    if arguments.given(options, "no_proxy") and bypasses(host, str(options["no_proxy"])):
        return ""
    if arguments.given(options, "proxy"):
        return str(options["proxy"])
    if of_kubeconfig:
        if not of_kubeconfig.startswith(("http://", "https://")):
            raise InputError("kubeconfig", "its proxy-url does not begin with http:// or https://", "Use an HTTP proxy, or give option proxy")
        return of_kubeconfig
    name = f"{parts.scheme}_proxy"
    found = environ.get(name) or environ.get(name.upper()) or ""
    if not found or _loopback(host) or bypasses(host, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return ""
    return found if "://" in found else f"http://{found}"


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bypasses(host: str, no_proxy: str) -> bool:
    """Tell whether a host is in a no_proxy list: names with their subdomains, addresses, networks (10.0.0.0/8), or * for all."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for item in (part.strip() for part in no_proxy.split(",")):
        if not item:
            continue
        if item == "*":
            return True
        if address is not None:
            try:
                if address in ipaddress.ip_network(item.strip("[]"), strict=False):
                    return True
            except ValueError:
                continue
        elif host == item.lstrip(".") or host.endswith("." + item.removeprefix("*").lstrip(".")):
            return True
    return False
