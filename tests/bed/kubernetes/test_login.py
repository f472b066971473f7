# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way to log in that a bed can offer, against a real API server: once right, once wrong."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Forbidden, OperationError, Unauthenticated
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.tests.unit.kubernetes.twins import Authority, ProxyTwin

from tests.bed.kubernetes.conftest import Place, open_api


def who(options: dict[str, Any], **rest: Any) -> str:
    """Return the user as whom the API server knows us."""
    review = resource.Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)
    return str(open_api(options, **rest).send(resource.create(review, "", {}, dry_run=False)).json()["status"]["userInfo"]["username"])


@pytest.fixture
def by_token(place: Place) -> dict[str, Any]:
    return {"host": place.bed.api_server, "api_key": place.token("reader"), "ca_cert": str(place.bed.ca_file)}


def test_kubeconfig_file_and_inline(place):
    assert who({"kubeconfig": str(place.bed.kubeconfig)}) == "admin"
    assert who({"kubeconfig": place.admin}) == "admin"
    assert who({}, environ={"KUBECONFIG": str(place.bed.kubeconfig)}) == "admin"


def test_context_of_two(place, written):
    content = place.admin
    cluster = content["clusters"][0]["name"]
    content["users"].append({"name": "reader", "user": {"token": place.token("reader")}})
    content["contexts"].append({"name": "second", "context": {"cluster": cluster, "user": "reader"}})
    path = written("config", content)
    assert who({"kubeconfig": path}) == "admin"
    assert who({"kubeconfig": path, "context": "second"}) == place.account("reader")


def test_token(place, by_token):
    assert who(by_token) == place.account("reader")


def test_token_that_is_wrong(by_token):
    with pytest.raises(Unauthenticated) as caught:
        open_api(by_token | {"api_key": "canary.wrong.token"}).get(resource.CONFIG_MAP, "default", "x")
    assert str(caught.value) == (
        "read ConfigMap default/x: the server does not accept the credentials (401). "
        "Check that the token or certificate is of this cluster and has not expired; log in anew."
    )


def test_client_certificate(place, written):
    user = place.admin["users"][0]["user"]
    options = {
        "host": place.bed.api_server,
        "client_cert": written("me.crt", base64.b64decode(user["client-certificate-data"]).decode()),
        "client_key": written("me.key", base64.b64decode(user["client-key-data"]).decode()),
        "ca_cert": str(place.bed.ca_file),
    }
    assert who(options) == "admin"


def test_client_certificate_of_somebody_else(place, written):
    """The server answers a certificate of a strange CA in the handshake or with 401; both are told as one sentence."""
    certificate, key = Authority("elsewhere").issue("admin")
    options = {
        "host": place.bed.api_server,
        "client_cert": written("me.crt", certificate),
        "client_key": written("me.key", key),
        "ca_cert": str(place.bed.ca_file),
    }
    with pytest.raises(OperationError, match=r"the server does not accept the (client certificate|credentials \(401\))"):
        who(options)


def test_own_ca_and_another(place, by_token, written):
    assert who(by_token | {"ca_cert": None, "validate_certs": False}) == place.account("reader")
    with pytest.raises(OperationError, match="is not signed by a CA that is trusted here"):
        who(by_token | {"ca_cert": written("other.crt", Authority("elsewhere").pem)})


def test_exec_plugin(place, written, tmp_path):
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": place.token("reader")}}
    plugin = Path(written("plugin", f"#!{sys.executable}\nprint({json.dumps(answer)!r})\n"))
    plugin.chmod(0o755)
    content = place.admin
    content["users"][0]["user"] = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}}
    assert who({"kubeconfig": content}) == place.account("reader")
    plugin.write_text("#!/bin/sh\necho no network >&2\nexit 5\n")
    with pytest.raises(OperationError) as caught:
        who({"kubeconfig": content})
    assert str(caught.value) == (
        f"log in by the exec plugin {plugin} of the kubeconfig: it ended with exit code 5 and said: no network. "
        "Run it by hand and look at what it prints."
    )


def test_as_in_a_pod(place, written, tmp_path):
    folder = "root/var/run/secrets/kubernetes.io/serviceaccount"
    written(f"{folder}/token", place.token("reader"))
    written(f"{folder}/ca.crt", place.bed.ca_file.read_text())
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(place.bed.api_port), "KUBECONFIG": f"{tmp_path}/none"}
    assert who({}, environ=environ, root=f"{tmp_path}/root") == place.account("reader")


def test_http_proxy(place, by_token):
    proxy = ProxyTwin()
    assert who(by_token | {"proxy": proxy.url}) == place.account("reader")
    assert proxy.connected == [f"127.0.0.1:{place.bed.api_port}"]
    proxy.close()


def test_impersonation_with_groups(place):
    options = {"kubeconfig": place.admin, "impersonate_user": "jane", "impersonate_groups": ["one", "two"]}
    assert who(options) == "jane"
    review = resource.Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)
    answer = open_api(options).send(resource.create(review, "", {})).json()
    assert answer["status"]["userInfo"]["groups"] == ["one", "two", "system:authenticated"]


def test_a_missing_verb_is_named(place, by_token):
    api = open_api(by_token)
    found = api.get(resource.CONFIG_MAP, place.namespace, "here")
    assert found is not None
    assert found["data"] == {"a": "1"}
    assert api.missing_verbs(["get", "list", "watch", "create"], resource.CONFIG_MAP, place.namespace) == ["watch", "create"]
    assert api.missing_verbs(["get"], resource.BACKUP, place.namespace) == ["get"]
    with pytest.raises(Forbidden) as caught:
        api.list(resource.SECRET, place.namespace)
    assert str(caught.value) == (
        f"list Secret objects in namespace {place.namespace}: user {place.account('reader')} may not list secrets "
        f"in namespace {place.namespace} (403). "
        f'Grant it by a Role in namespace {place.namespace}: apiGroups [""], resources ["secrets"], verbs ["list"].'
    )
