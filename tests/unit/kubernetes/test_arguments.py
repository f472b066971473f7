# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The login options: documented as they are, combinations that cannot work, and what is secret in them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.serverops.circleci.plugins.doc_fragments.kubernetes import ModuleDocFragment
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.arguments import ARGUMENTS, check, secrets_in

FRAGMENT: dict[str, Any] = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
KEYS = ("type", "elements", "default", "choices", "required", "aliases")


def same(documented: dict[str, Any], spec: dict[str, Any]) -> None:
    for key in KEYS:
        assert documented.get(key) == spec.get(key), key
    assert set(documented.get("suboptions") or {}) == set(spec.get("options") or {})
    for name, option in (spec.get("options") or {}).items():
        same(documented["suboptions"][name], option)


@pytest.mark.parametrize("name", sorted(set(FRAGMENT) | set(ARGUMENTS)))
def test_the_fragment_says_what_the_spec_has(name):
    documented, spec = FRAGMENT[name], ARGUMENTS[name]
    same(documented, spec)
    assert documented["version_added"] == "0.1.0"
    text = " ".join(documented["description"])
    variables = spec.get("fallback", (None, []))[1]
    assert [f"E({variable})" in text for variable in variables] == [True] * len(variables)


def test_options_are_named_and_filled_from_the_environment_as_in_kubernetes_core():
    variables = {name: spec["fallback"][1] for name, spec in ARGUMENTS.items() if "fallback" in spec}
    assert variables == {
        "kubeconfig": ["K8S_AUTH_KUBECONFIG"],
        "context": ["K8S_AUTH_CONTEXT"],
        "host": ["K8S_AUTH_HOST"],
        "api_key": ["K8S_AUTH_API_KEY"],
        "client_cert": ["K8S_AUTH_CERT_FILE"],
        "client_key": ["K8S_AUTH_KEY_FILE"],
        "ca_cert": ["K8S_AUTH_SSL_CA_CERT"],
        "validate_certs": ["K8S_AUTH_VERIFY_SSL"],
        "proxy": ["K8S_AUTH_PROXY"],
        "no_proxy": ["K8S_AUTH_NO_PROXY"],
        "impersonate_user": ["K8S_AUTH_IMPERSONATE_USER"],
        "impersonate_groups": ["K8S_AUTH_IMPERSONATE_GROUPS"],
    }


EKS = {"cluster_name": "c"}
GKE = {"cluster_name": "c", "location": "l", "project": "p"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"eks": EKS, "gke": GKE}, "check option gke: it was given together with eks, which is a way to log in of its own. Leave out gke or eks."),
    (
        {"eks": EKS, "kubeconfig": "/k"},
        "check option kubeconfig: it was given together with eks, which is a way to log in of its own. Leave out kubeconfig or eks.",
    ),
    (
        {"eks": EKS, "context": "x"},
        "check option context: it was given together with eks, which is a way to log in of its own. Leave out context or eks.",
    ),
    (
        {"gke": GKE, "api_key": "x"},
        "check option api_key: it was given together with gke, which is a way to log in of its own. Leave out api_key or gke.",
    ),
    (
        {"gke": GKE, "client_cert": "/c", "client_key": "/k"},
        "check option client_cert: it was given together with gke, which is a way to log in of its own. Leave out client_cert or gke.",
    ),
    (
        {"host": "https://h", "client_cert": "/c"},
        "check option client_cert: it was given without client_key. Give client_key too: a client certificate is of use only with its key.",
    ),
    (
        {"host": "https://h", "client_key": "/c"},
        "check option client_key: it was given without client_cert. Give client_cert too: a client certificate is of use only with its key.",
    ),
    (
        {"host": "https://h", "api_key": "x", "impersonate_groups": ["g"]},
        "check option impersonate_groups: it was given without impersonate_user. Give impersonate_user too: the server refuses groups alone.",
    ),
    (
        {"host": "https://h", "api_key": "x", "ca_cert": "/no/ca"},
        "check option ca_cert: the file /no/ca cannot be read (No such file or directory). Correct the path or the permissions of the file.",
    ),
    (
        {"gke": GKE | {"service_account_file": "/no/sa"}},
        "check option gke.service_account_file: the file /no/sa cannot be read (No such file or directory). "
        "Correct the path or the permissions of the file.",
    ),
    (
        {"host": "h:6443", "api_key": "x"},
        "check option host: it is not a URL that begins with https:// or http://. Write it as in https://api.example.com:6443.",
    ),
    (
        {"host": "https://h:port", "api_key": "x"},
        "check option host: it is not a URL that begins with https:// or http://. Write it as in https://api.example.com:6443.",
    ),
    (
        {"kubeconfig": "/k", "proxy": "socks5://p:1"},
        "check option proxy: it is not a URL that begins with http:// or https://. Write it as in http://proxy.example.com:3128.",
    ),
    (
        {"kubeconfig": ["/k"]},
        "check option kubeconfig: it is neither a path nor a mapping. Give the path of a kubeconfig file, or its content as a mapping.",
    ),
    ({"timeout": 0}, "check option timeout: 0 is less than one second. Give the seconds that the whole task may take."),
    ({"timeout": -3}, "check option timeout: -3 is less than one second. Give the seconds that the whole task may take."),
    (
        {"host": "https://h"},
        "check option host: it was given without a way to log in. Give api_key, client_cert with client_key, or kubeconfig too.",
    ),
    (
        {"api_key": "x"},
        "check option api_key: it was given without host. Give host (https://...) or kubeconfig too, so that it is clear which cluster is meant.",
    ),
]


@pytest.mark.parametrize(("options", "sentence"), WRONG, ids=[sentence[13:40] for _options, sentence in WRONG])
def test_a_combination_that_cannot_work_is_one_sentence_that_names_the_option(options, sentence):
    with pytest.raises(InputError) as caught:
        check(options)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kubeconfig": "", "context": None, "impersonate_groups": []},
        {"kubeconfig": {"clusters": []}, "host": "https://other"},
        {"kubeconfig": "/k", "api_key": "x", "context": "c"},
        {"host": "http://127.0.0.1:8001"},
        {"eks": EKS, "host": "https://h"},
        {"host": "https://h", "api_key": "x", "proxy": "http://u:p@proxy:3128", "timeout": 1},
    ],
)
def test_what_can_work_passes(options):
    check(options)


def test_a_wrong_url_is_not_repeated_since_it_may_hold_a_password():
    with pytest.raises(InputError) as caught:
        check({"kubeconfig": "/k", "proxy": "ftp://user:hunter2hunter2@proxy"})
    assert "hunter2" not in str(caught.value)


def test_everything_secret_in_the_options_is_named(tmp_path: Path):
    key = "-----BEGIN PRIVATE KEY-----\ncanary-key\n-----END PRIVATE KEY-----\n"
    encoded = base64.b64encode(key.encode()).decode()
    document = {
        "clusters": [{"name": "c", "cluster": {"server": "https://s", "proxy-url": "http://u:canary%2Fproxy@p:1"}}],
        "users": [
            {"name": "a", "user": {"token": "canary-token", "client-key-data": encoded, "client-certificate-data": "cHVibGlj"}},
            {"name": "b", "user": {"username": "u", "password": "canary-password"}},
            {
                "name": "d",
                "user": {
                    "exec": {"command": "x", "env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "canary-env"}, {"name": "HOME", "value": "/h"}]}
                },
            },
            {
                "name": "e",
                "user": {"auth-provider": {"name": "oidc", "config": {"refresh-token": "canary-refresh", "client-secret": "canary-client"}}},
            },
        ],
    }
    found = secrets_in({"kubeconfig": document, "api_key": "canary-api", "proxy": "http://me:canary-pass@p"})
    assert found == {
        "canary-api",
        "canary-pass",
        "canary%2Fproxy",
        "canary/proxy",
        "canary-token",
        encoded,
        key,
        "canary-password",
        "canary-env",
        "canary-refresh",
        "canary-client",
    }
    assert secrets_in({"kubeconfig": str(tmp_path), "api_key": None}) == set()
