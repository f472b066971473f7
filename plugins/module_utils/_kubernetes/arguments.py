# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options by which a task logs in to a Kubernetes cluster: their argument spec, which of them exclude each other, what of them is secret.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import base64
import binascii
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.common.parameters import env_fallback
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError


def _environment(name: str) -> tuple[Any, list[str]]:
    return (env_fallback, [name])


ARGUMENTS: dict[str, dict[str, Any]] = {
    # a path, or the content as a mapping: no_log would hide the path in every message, so secrets_in() names what is secret in it
    "kubeconfig": {"type": "raw", "no_log": False, "fallback": _environment("K8S_AUTH_KUBECONFIG")},
    "context": {"type": "str", "fallback": _environment("K8S_AUTH_CONTEXT")},
    "host": {"type": "str", "fallback": _environment("K8S_AUTH_HOST")},
    "api_key": {"type": "str", "no_log": True, "fallback": _environment("K8S_AUTH_API_KEY")},
    "client_cert": {"type": "path", "aliases": ["cert_file"], "fallback": _environment("K8S_AUTH_CERT_FILE")},
    "client_key": {"type": "path", "no_log": False, "aliases": ["key_file"], "fallback": _environment("K8S_AUTH_KEY_FILE")},
    "ca_cert": {"type": "path", "aliases": ["ssl_ca_cert"], "fallback": _environment("K8S_AUTH_SSL_CA_CERT")},
    "validate_certs": {"type": "bool", "default": True, "aliases": ["verify_ssl"], "fallback": _environment("K8S_AUTH_VERIFY_SSL")},
    "proxy": {"type": "str", "fallback": _environment("K8S_AUTH_PROXY")},
    "no_proxy": {"type": "str", "fallback": _environment("K8S_AUTH_NO_PROXY")},
    "impersonate_user": {"type": "str", "fallback": _environment("K8S_AUTH_IMPERSONATE_USER")},
    "impersonate_groups": {"type": "list", "elements": "str", "fallback": _environment("K8S_AUTH_IMPERSONATE_GROUPS")},
    "eks": {
        "type": "dict",
        "options": {
            "cluster_name": {"type": "str", "required": True},
            "region": {"type": "str"},
            "profile": {"type": "str"},
            "role_arn": {"type": "str"},
        },
    },
    "gke": {
        "type": "dict",
        "options": {
            "cluster_name": {"type": "str", "required": True},
            "location": {"type": "str", "required": True},
            "project": {"type": "str", "required": True},
            "service_account_file": {"type": "path"},
        },
    },
    "timeout": {"type": "int", "default": 300},
}
"""Argument spec of every module that talks to a Kubernetes cluster."""

_CLOUD_EXCLUDES = ("kubeconfig", "context", "api_key", "client_cert", "client_key")


def given(options: Mapping[str, Any], name: str) -> bool:
    """Tell whether an option has a value; an empty one (an empty environment variable) is none."""
    return options.get(name) not in (None, "", [], {})


def check(options: Mapping[str, Any]) -> None:
    """Raise InputError for the first option that cannot work with the others; sends nothing."""
    for cloud, other in (("eks", "gke"), ("gke", "eks")):
        if given(options, cloud):
            for name in (other, *_CLOUD_EXCLUDES):
                if given(options, name):
                    raise InputError(name, f"it was given together with {cloud}, which is a way to log in of its own", f"Leave out {name} or {cloud}")
    for name, partner in (("client_cert", "client_key"), ("client_key", "client_cert")):
        if given(options, name) and not given(options, partner):
            raise InputError(name, f"it was given without {partner}", f"Give {partner} too: a client certificate is of use only with its key")
    if given(options, "impersonate_groups") and not given(options, "impersonate_user"):
        raise InputError("impersonate_groups", "it was given without impersonate_user", "Give impersonate_user too: the server refuses groups alone")
    for name in ("client_cert", "client_key", "ca_cert"):
        if given(options, name):
            _readable(name, str(options[name]))
    if given(options, "gke") and options["gke"].get("service_account_file"):
        _readable("gke.service_account_file", str(options["gke"]["service_account_file"]))
    if given(options, "host"):
        _check_url("host", str(options["host"]), ("https", "http"), "https://api.example.com:6443")
    if given(options, "proxy"):
        _check_url("proxy", str(options["proxy"]), ("http", "https"), "http://proxy.example.com:3128")
    if given(options, "kubeconfig") and not isinstance(options["kubeconfig"], (str, Mapping)):
        raise InputError("kubeconfig", "it is neither a path nor a mapping", "Give the path of a kubeconfig file, or its content as a mapping")
    if int(options.get("timeout") or ARGUMENTS["timeout"]["default"]) < 1 or options.get("timeout") == 0:
        raise InputError("timeout", f"{options['timeout']} is less than one second", "Give the seconds that the whole task may take")
    _check_direct_login(options)


def _check_direct_login(options: Mapping[str, Any]) -> None:
    """Refuse a host without credentials, and credentials without a host: which cluster was meant would be a guess."""
    if any(given(options, name) for name in ("kubeconfig", "context", "eks", "gke")):
        return
    credential = next((name for name in ("api_key", "client_cert") if given(options, name)), None)
    if given(options, "host"):
        if credential is None and str(options["host"]).startswith("https:"):
            raise InputError("host", "it was given without a way to log in", "Give api_key, client_cert with client_key, or kubeconfig too")
    elif credential is not None:
        raise InputError(
            credential, "it was given without host", "Give host (https://...) or kubeconfig too, so that it is clear which cluster is meant"
        )


def _readable(name: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            return
    except OSError as error:
        raise InputError(name, f"the file {path} cannot be read ({error.strerror})", "Correct the path or the permissions of the file") from None


def _check_url(name: str, url: str, schemes: tuple[str, ...], example: str) -> None:
    # the value itself is not shown: it may hold a password
    try:
        parts = urllib.parse.urlsplit(url)
        port_is_number = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_number = urllib.parse.SplitResult("", "", "", "", ""), False
    if parts.scheme not in schemes or not parts.hostname or not port_is_number or parts.query or parts.fragment:
        raise InputError(name, f"it is not a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}", f"Write it as in {example}")


_SECRET_KEYS = frozenset({"token", "password", "client-key-data", "id-token", "refresh-token", "access-token", "client-secret"})


def secrets_in(options: Mapping[str, Any]) -> set[str]:
    """Return what is secret in the options: the API key, passwords in proxy URLs, and everything secret in an inline kubeconfig."""
    found: set[str] = set()
    if given(options, "api_key"):
        found.add(str(options["api_key"]))
    found |= secrets_in_url(str(options.get("proxy") or ""))
    kubeconfig = options.get("kubeconfig")
    if isinstance(kubeconfig, Mapping):
        found |= set(_secrets_in_kubeconfig(kubeconfig))
    elif isinstance(kubeconfig, str) and is_content(kubeconfig):
        # it will be refused, and the refusal may be printed with all options
        keys = "|".join(sorted(_SECRET_KEYS))
        found |= {kubeconfig, *re.findall(rf"""["']?(?:{keys})["']?\s*:\s*["']?([^"'\s,}}]+)""", kubeconfig)}
    return {secret for secret in found if secret}


def is_content(kubeconfig: str) -> bool:
    """Tell whether somebody gave the text of a kubeconfig where its path belongs."""
    return "\n" in kubeconfig.strip() or "{" in kubeconfig


def secrets_in_url(url: str) -> set[str]:
    """Return the password in a URL, as written and unquoted."""
    found = re.search(r"//[^/@]*?:([^/]+)@", url)
    return {found.group(1), urllib.parse.unquote(found.group(1))} if found else set()


def _secrets_in_kubeconfig(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            if isinstance(item, str) and str(name).lower() in _SECRET_KEYS:
                yield item
                if str(name) == "client-key-data":
                    yield from _decoded(item)
            elif name == "proxy-url" and isinstance(item, str):
                yield from secrets_in_url(item)
            elif name == "env" and isinstance(item, list):
                # what an exec plugin gets by its environment is as a rule a credential
                yield from (
                    str(pair["value"]) for pair in item if isinstance(pair, Mapping) and _names_a_secret(str(pair.get("name"))) and pair.get("value")
                )
            else:
                yield from _secrets_in_kubeconfig(item)
    elif isinstance(value, list):
        for item in value:
            yield from _secrets_in_kubeconfig(item)


def _names_a_secret(variable: str) -> bool:
    return re.search(r"SECRET|TOKEN|PASS|KEY|CREDENTIAL", variable, re.IGNORECASE) is not None


def _decoded(data: str) -> Iterator[str]:
    try:
        yield base64.b64decode(data).decode()
    except (binascii.Error, UnicodeDecodeError):
        return
