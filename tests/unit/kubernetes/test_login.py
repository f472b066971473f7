# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way to log in, against a TLS server on loopback: once right, and once wrong with the sentence that a person sees."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError, OperationError, Unauthenticated, Unreachable
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import credential, resource, tls
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.connection import Connection, bypasses
from ansible_collections.serverops.circleci.tests.unit.kubernetes.conftest import open_api
from ansible_collections.serverops.circleci.tests.unit.kubernetes.twins import ApiTwin, ProxyTwin, Reply

TOKEN = "canary-token-1234567890"


def seen_by(twin: ApiTwin, options: dict[str, Any], **rest: Any) -> Any:
    """Read something with these options and return how the request arrived."""
    open_api(options, **rest).get(resource.SECRET, "ns", "x")
    return twin.arrived[-1]


def failure(options: dict[str, Any], **rest: Any) -> str:
    """Return the sentence of a login that fails; no canary is in it."""
    with pytest.raises(OperationError) as caught:
        open_api(options, **rest).get(resource.SECRET, "ns", "x")
    assert "canary" not in str(caught.value)
    return str(caught.value)


def written(path: Path, document: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return str(path)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# a kubeconfig file


def test_kubeconfig_file_with_a_token(twin, kubeconfig, tmp_path):
    path = written(tmp_path / "config", kubeconfig({"token": TOKEN}))
    request = seen_by(twin, {"kubeconfig": path})
    assert (request.method, request.path) == ("GET", "/api/v1/namespaces/ns/secrets/x")
    assert request.header("authorization") == [f"Bearer {TOKEN}"]
    assert request.header("user-agent") == ["serverops.circleci"]


def test_kubeconfig_file_that_is_not_there(tmp_path):
    assert failure({"kubeconfig": f"{tmp_path}/none"}) == (
        f"check option kubeconfig: the file {tmp_path}/none does not exist. Give the path of a kubeconfig, or another way to log in."
    )


def test_kubeconfig_file_that_is_not_yaml_is_not_quoted(tmp_path):
    path = written(tmp_path / "config", f"users:\n- name: x\n  token: [{TOKEN}\n")
    assert failure({"kubeconfig": path}) == f"check option kubeconfig: the file {path} is not YAML (line 4). Correct the file, or write a new one."


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("just text", "check option kubeconfig: the file PATH is not a kubeconfig: it is not a mapping. Give a kubeconfig as kubectl uses it."),
        (
            {"clusters": {"a": 1}},
            "check option kubeconfig: the file PATH is not a kubeconfig: clusters is not a list of named entries. "
            "Give a kubeconfig as kubectl uses it.",
        ),
        ({}, "check option context: kubeconfig PATH names no current-context. Give context, or set it: kubectl config use-context NAME."),
        (
            {"current-context": "a", "contexts": [{"name": "a", "context": {"cluster": "gone"}}]},
            "check option kubeconfig: context a names cluster gone, which kubeconfig PATH does not have. Correct the kubeconfig.",
        ),
        (
            {
                "current-context": "a",
                "contexts": [{"name": "a", "context": {"cluster": "c", "user": "gone"}}],
                "clusters": [{"name": "c", "cluster": {"server": "https://s"}}],
            },
            "check option kubeconfig: context a names user gone, which kubeconfig PATH does not have. Correct the kubeconfig.",
        ),
        (
            {"current-context": "a", "contexts": [{"name": "a", "context": {"cluster": "c"}}], "clusters": [{"name": "c", "cluster": {}}]},
            "check option kubeconfig: cluster c has no server. Correct the kubeconfig.",
        ),
    ],
)
def test_kubeconfig_file_that_is_none(document, sentence, tmp_path):
    path = written(tmp_path / "config", document)
    assert failure({"kubeconfig": path}) == sentence.replace("PATH", path)


def test_context_is_chosen_by_name(twin, kubeconfig, tmp_path):
    document = kubeconfig({"token": "of-one"}, "one")
    for section, items in kubeconfig({"token": "of-two"}, "two").items():
        if isinstance(items, list):
            document[section] += items
    path = written(tmp_path / "config", document)
    assert seen_by(twin, {"kubeconfig": path}).header("authorization") == ["Bearer of-one"]
    assert seen_by(twin, {"kubeconfig": path, "context": "two"}).header("authorization") == ["Bearer of-two"]
    assert failure({"kubeconfig": path, "context": "three"}) == (
        f"check option context: kubeconfig {path} has no context three; it has: one, two. Give one of these."
    )


def test_several_files_are_merged_as_kubectl_does(twin, kubeconfig, tmp_path):
    """What an earlier file says wins, current-context too; a missing file is passed over; paths are relative to their file."""
    first = written(tmp_path / "a" / "config", {"current-context": "two", "users": [{"name": "user-two", "user": {"tokenFile": "token"}}]})
    written(tmp_path / "a" / "token", "of-the-first-file\n")
    second = written(tmp_path / "b" / "config", kubeconfig({"token": "of-the-second-file"}, "two") | {"current-context": "one"})
    third = written(tmp_path / "c" / "config", kubeconfig({"token": "of-one"}, "one"))
    joined = os.pathsep.join([first, f"{tmp_path}/none", second, third])
    assert seen_by(twin, {"kubeconfig": joined}).header("authorization") == ["Bearer of-the-first-file"]
    assert seen_by(twin, {}, environ={"KUBECONFIG": joined}).header("authorization") == ["Bearer of-the-first-file"]
    assert seen_by(twin, {"kubeconfig": joined, "context": "one"}).header("authorization") == ["Bearer of-one"]


def test_relative_certificate_paths_belong_to_the_file(mutual_twin, authority, tmp_path):
    certificate, key = authority.issue("by-path")
    for name, text in (("ca.crt", authority.pem), ("me.crt", certificate), ("me.key", key)):
        written(tmp_path / "conf" / name, text)
    document = {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": mutual_twin.url, "certificate-authority": "ca.crt"}}],
        "users": [{"name": "u", "user": {"client-certificate": "me.crt", "client-key": "me.key"}}],
    }
    path = written(tmp_path / "conf" / "config", document)
    assert seen_by(mutual_twin, {"kubeconfig": path}).certificate == "by-path"
    (tmp_path / "conf" / "me.key").unlink()
    assert failure({"kubeconfig": path}) == (
        f"check option kubeconfig: its client-key {tmp_path}/conf/me.key cannot be read (No such file or directory). "
        "Correct the path or the permissions of the file."
    )


def test_default_kubeconfig_is_that_of_kubectl(twin, kubeconfig, tmp_path):
    written(tmp_path / "home" / ".kube" / "config", kubeconfig({"token": "of-home"}))
    assert seen_by(twin, {}).header("authorization") == ["Bearer of-home"]
    assert seen_by(twin, {"context": "one"}).header("authorization") == ["Bearer of-home"]


def test_nothing_to_log_in_with(tmp_path):
    assert failure({}) == (
        f"check option kubeconfig: no login option was given, the file {tmp_path}/home/.kube/config does not exist, and this is not a pod. "
        "Give kubeconfig, or host with api_key, or eks, or gke."
    )


# an inline kubeconfig


def test_inline_kubeconfig(twin, kubeconfig):
    connection = Connection.from_options({"kubeconfig": kubeconfig({"token": TOKEN})}, environ={})
    assert connection.origin == "the inline kubeconfig, context one"
    assert TOKEN in connection.secrets()
    assert TOKEN not in repr(connection)
    assert seen_by(twin, {"kubeconfig": kubeconfig({"token": TOKEN})}).header("authorization") == [f"Bearer {TOKEN}"]


def test_inline_kubeconfig_given_as_text(kubeconfig):
    assert failure({"kubeconfig": yaml.safe_dump(kubeconfig({"token": TOKEN}))}) == (
        "check option kubeconfig: it is the content of a file as a text. Give the path of the file, or the content as a mapping (filter from_yaml)."
    )


def test_inline_kubeconfig_with_data_that_is_not_base64(kubeconfig):
    document = kubeconfig({"token": TOKEN}, **{"certificate-authority-data": "not base64!"})
    assert failure({"kubeconfig": document}) == (
        "check option kubeconfig: its certificate-authority-data is not base64 of a PEM text. Correct it, or write a new kubeconfig."
    )


def test_user_and_password(twin, kubeconfig):
    request = seen_by(twin, {"kubeconfig": kubeconfig({"username": "me", "password": "canary-pass"})})
    assert request.header("authorization") == [f"Basic {b64('me:canary-pass')}"]


# host and token


def test_host_with_a_token_and_own_ca(twin, authority, tmp_path):
    ca = written(tmp_path / "ca.crt", authority.pem)
    assert seen_by(twin, {"host": twin.url + "/", "api_key": TOKEN, "ca_cert": ca}).header("authorization") == [f"Bearer {TOKEN}"]


def test_token_that_the_server_does_not_take(twin, authority, tmp_path):
    ca = written(tmp_path / "ca.crt", authority.pem)
    twin.tokens = {"another"}
    with pytest.raises(Unauthenticated) as caught:
        open_api({"host": twin.url, "api_key": TOKEN, "ca_cert": ca}).get(resource.SECRET, "ns", "x")
    assert str(caught.value) == (
        "read Secret ns/x: the server does not accept the credentials (401). "
        "Check that the token or certificate is of this cluster and has not expired; log in anew."
    )
    assert len(twin.arrived) == 1  # a fixed token is not tried twice


def test_options_override_a_kubeconfig(twin, kubeconfig, tmp_path):
    path = written(tmp_path / "config", kubeconfig({"token": "of-file"}, server="https://127.0.0.1:9"))
    request = seen_by(twin, {"kubeconfig": path, "host": twin.url, "api_key": TOKEN})
    assert request.header("authorization") == [f"Bearer {TOKEN}"]


def test_impersonation_sends_one_line_per_group(twin, kubeconfig):
    options = {"kubeconfig": kubeconfig({"token": TOKEN}), "impersonate_user": "jane", "impersonate_groups": ["dev", "ops"]}
    request = seen_by(twin, options)
    assert (request.header("impersonate-user"), request.header("impersonate-group")) == (["jane"], ["dev", "ops"])
    request = seen_by(twin, {"kubeconfig": kubeconfig({"token": TOKEN, "as": "joe", "as-groups": ["qa"]})})
    assert (request.header("impersonate-user"), request.header("impersonate-group")) == (["joe"], ["qa"])


# in a pod


def pod(root: Path, twin: ApiTwin, authority: Any, token: str = TOKEN) -> dict[str, Any]:
    folder = root / "var/run/secrets/kubernetes.io/serviceaccount"
    for name, text in (("token", token), ("ca.crt", authority.pem), ("namespace", "mine")):
        written(folder / name, text)
    return {"environ": {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(twin.port)}, "root": str(root)}


def test_in_cluster(twin, authority, tmp_path):
    place = pod(tmp_path / "root", twin, authority)
    assert seen_by(twin, {}, **place).header("authorization") == [f"Bearer {TOKEN}"]
    assert Connection.from_options({}, **place).namespace == "mine"


def test_in_cluster_token_is_read_again_when_the_server_refuses_it(twin, authority, tmp_path):
    """The kubelet writes a new token before the old one ends; a long wait must go on with it."""
    place = pod(tmp_path / "root", twin, authority, "old-token-1")
    api = open_api({}, **place)
    api.get(resource.SECRET, "ns", "x")
    twin.tokens = {"new-token-2"}
    pod(tmp_path / "root", twin, authority, "new-token-2")
    api.get(resource.SECRET, "ns", "x")
    assert [request.header("authorization") for request in twin.arrived] == [["Bearer old-token-1"], ["Bearer old-token-1"], ["Bearer new-token-2"]]


def test_in_cluster_with_an_empty_token(twin, authority, tmp_path):
    place = pod(tmp_path / "root", twin, authority, "")
    path = f"{tmp_path}/root/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert failure({}, **place) == f"check option kubeconfig: the token file {path} is empty. Write a token into it, or give another way to log in."


def test_a_kubeconfig_goes_before_the_pod(twin, authority, kubeconfig, tmp_path):
    written(tmp_path / "home" / ".kube" / "config", kubeconfig({"token": "of-home"}))
    assert seen_by(twin, {}, **pod(tmp_path / "root", twin, authority)).header("authorization") == ["Bearer of-home"]


# client certificates


def test_client_certificate_inline(mutual_twin, authority, kubeconfig):
    certificate, key = authority.issue("admin")
    user = {"client-certificate-data": b64(certificate), "client-key-data": b64(key)}
    connection = Connection.from_options({"kubeconfig": kubeconfig(user, server=mutual_twin.url)}, environ={})
    assert key in connection.secrets()
    assert seen_by(mutual_twin, {"kubeconfig": kubeconfig(user, server=mutual_twin.url)}).certificate == "admin"


def test_client_certificate_by_options(mutual_twin, authority, tmp_path):
    certificate, key = authority.issue("admin")
    options = {
        "client_cert": written(tmp_path / "c", certificate),
        "client_key": written(tmp_path / "k", key),
        "ca_cert": written(tmp_path / "ca", authority.pem),
    }
    assert seen_by(mutual_twin, {"host": mutual_twin.url} | options).certificate == "admin"


def test_client_certificate_is_missing(mutual_twin, kubeconfig):
    assert failure({"kubeconfig": kubeconfig({"token": TOKEN}, server=mutual_twin.url)}) == (
        "read Secret ns/x: the server requires a client certificate. Give client_cert and client_key, or a kubeconfig that has them."
    )


def test_client_certificate_of_somebody_else(mutual_twin, stranger, kubeconfig):
    certificate, key = stranger.issue("admin")
    user = {"client-certificate-data": b64(certificate), "client-key-data": b64(key)}
    assert failure({"kubeconfig": kubeconfig(user, server=mutual_twin.url)}) == (
        "read Secret ns/x: the server does not accept the client certificate. Check that it was made by the cluster's CA and has not expired."
    )


def test_client_certificate_with_the_key_of_another(mutual_twin, authority, tmp_path):
    certificate, key = authority.issue("admin")[0], authority.issue("other")[1]
    options = {"client_cert": written(tmp_path / "c", certificate), "client_key": written(tmp_path / "k", key)}
    assert failure({"host": mutual_twin.url} | options) == (
        "check option client_cert: the client certificate and its key are not PEM, do not belong together, or the key is encrypted. "
        "Give a matching pair, the key without a password."
    )


def test_client_certificate_without_its_key_in_the_kubeconfig(authority, kubeconfig):
    user = {"client-certificate-data": b64(authority.issue("admin")[0])}
    assert failure({"kubeconfig": kubeconfig(user)}) == (
        "check option kubeconfig: its user has a client certificate without its key, or the key alone. Give both."
    )


def test_keys_reach_openssl_by_a_folder_where_the_kernel_has_no_memory_files(mutual_twin, authority, kubeconfig, monkeypatch, temporary):
    """As on macOS. The folder is there only while OpenSSL reads it, and for us alone."""
    modes: list[int] = []
    load = tls.ssl.SSLContext.load_cert_chain

    def spying(context: Any, certificate: str, key: str, **rest: Any) -> None:
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in (Path(key).parent, Path(certificate), Path(key)))
        assert key.startswith(str(temporary))
        load(context, certificate, key, **rest)

    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tls.ssl.SSLContext, "load_cert_chain", spying)
    certificate, key = authority.issue("admin")
    user = {"client-certificate-data": b64(certificate), "client-key-data": b64(key)}
    assert seen_by(mutual_twin, {"kubeconfig": kubeconfig(user, server=mutual_twin.url)}).certificate == "admin"
    assert modes == [0o700, 0o600, 0o600]


def test_a_worker_that_ends_without_cleaning_up_leaves_no_file(mutual_twin, authority, kubeconfig, temporary, tmp_path):
    """Ansible's workers end by os._exit, so nothing may wait for an exit handler."""
    certificate, key = authority.issue("admin")
    user = plugin(tmp_path, f"status = {{'clientCertificateData': {certificate!r}, 'clientKeyData': {key!r}}}")
    path = written(tmp_path / "config", kubeconfig(user, server=mutual_twin.url))
    program = f"""
import os, sys
from ansible_collections.serverops.circleci.tests.unit.kubernetes.conftest import open_api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
open_api({{"kubeconfig": {path!r}}}).get(resource.SECRET, "ns", "x")
os._exit(7)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 7
    assert mutual_twin.arrived[-1].certificate == "admin"
    assert list(temporary.iterdir()) == []


# TLS


def test_ca_that_did_not_sign_the_server(twin, stranger, tmp_path):
    sentence = failure({"host": twin.url, "api_key": TOKEN, "ca_cert": written(tmp_path / "ca", stranger.pem)})
    assert sentence == (
        "read Secret ns/x: the server's certificate is not signed by a CA that is trusted here (unable to get local issuer certificate). "
        "Give the cluster's CA by ca_cert or the kubeconfig (certificate-authority-data)."
    )
    assert twin.arrived == []


def test_ca_file_that_is_no_certificate(twin, tmp_path):
    assert failure({"host": twin.url, "api_key": TOKEN, "ca_cert": written(tmp_path / "ca", "nothing")}) == (
        "check option ca_cert: the CA certificate is not PEM. Give the certificate of the cluster's CA (BEGIN CERTIFICATE)."
    )


def test_without_validation_no_warning_is_printed(twin, capfd, recwarn):
    assert seen_by(twin, {"host": twin.url, "api_key": TOKEN, "validate_certs": False}).header("authorization") == [f"Bearer {TOKEN}"]
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn.list if "HTTPS" in str(warning.message)] == []


def test_kubeconfig_that_skips_validation(twin, kubeconfig):
    document = kubeconfig({"token": TOKEN}, **{"certificate-authority-data": None, "insecure-skip-tls-verify": True})
    assert seen_by(twin, {"kubeconfig": document}).header("authorization") == [f"Bearer {TOKEN}"]


def test_certificate_for_another_name(twin, kubeconfig):
    document = kubeconfig({"token": TOKEN}, server=twin.url.replace("127.0.0.1", "localhost"))
    assert failure({"kubeconfig": document}) == (
        "read Secret ns/x: the server's certificate is for another name. "
        "Use the name or address that stands in it, or tls-server-name in the kubeconfig."
    )


def test_tls_server_name(twin, kubeconfig):
    server = twin.url.replace("127.0.0.1", "localhost")
    assert seen_by(twin, {"kubeconfig": kubeconfig({"token": TOKEN}, server=server, **{"tls-server-name": "cluster.test"})}).method == "GET"


def test_plain_http_behind_an_https_address(plain_twin, kubeconfig):
    document = kubeconfig({"token": TOKEN}, server=plain_twin.url.replace("http:", "https:"))
    assert failure({"kubeconfig": document}) == (
        "read Secret ns/x: the server does not speak TLS at this address. Use http:// if it serves plain HTTP (kubectl proxy), or correct the port."
    )


def test_nobody_listens(kubeconfig):
    with pytest.raises(Unreachable) as caught:
        open_api({"kubeconfig": kubeconfig({"token": TOKEN}, server="https://127.0.0.1:9")}, 20).get(resource.SECRET, "ns", "x")
    assert str(caught.value) == (
        "read Secret ns/x: no connection to the server (Connection refused) (5 tries). Check the address, the network and the proxy settings."
    )


# proxies


def test_proxy_by_option_with_a_login(twin, kubeconfig):
    proxy = ProxyTwin("me:p@ss/word")
    options = {"kubeconfig": kubeconfig({"token": TOKEN}), "proxy": f"http://me:p%40ss%2Fword@127.0.0.1:{proxy.port}"}
    assert seen_by(twin, options).header("authorization") == [f"Bearer {TOKEN}"]
    assert proxy.connected == [f"127.0.0.1:{twin.port}"]
    assert {"p@ss/word", "p%40ss%2Fword"} <= Connection.from_options(options, environ={}).secrets()
    proxy.close()


def test_proxy_of_the_kubeconfig(twin, kubeconfig):
    proxy = ProxyTwin()
    seen_by(twin, {"kubeconfig": kubeconfig({"token": TOKEN}, **{"proxy-url": proxy.url})})
    assert proxy.connected == [f"127.0.0.1:{twin.port}"]
    proxy.close()


def test_proxy_without_its_login(kubeconfig):
    proxy = ProxyTwin("me:canary-pass")
    options = {"kubeconfig": kubeconfig({"token": TOKEN}), "proxy": f"http://me:canary-wrong@127.0.0.1:{proxy.port}"}
    assert failure(options) == "read Secret ns/x: the proxy requires a login. Give it in option proxy: http://user:password@host:port."
    proxy.close()


def test_proxy_that_is_not_there(kubeconfig):
    options = {"kubeconfig": kubeconfig({"token": TOKEN}), "proxy": "http://127.0.0.1:9"}
    assert failure(options, seconds=20) == (
        "read Secret ns/x: the proxy was not usable (Connection refused) (5 tries). Check the address, the network and the proxy settings."
    )


def test_proxy_of_the_environment_and_what_goes_past_it():
    def proxy_for(server: str, environ: dict[str, str], **options: Any) -> str:
        return Connection.from_options({"host": server, "api_key": "x"} | options, environ=environ).proxy

    environ = {"HTTPS_PROXY": "proxy:3128", "NO_PROXY": "10.0.0.0/8, .internal,exact.example"}
    assert proxy_for("https://api.example.com", environ) == "http://proxy:3128"
    assert proxy_for("http://api.example.com", environ) == ""
    assert proxy_for("https://10.1.2.3:6443", environ) == ""
    assert proxy_for("https://api.internal", environ) == ""
    assert proxy_for("https://127.0.0.1:6443", environ) == ""
    assert proxy_for("https://localhost", environ) == ""
    assert proxy_for("https://api.example.com", environ, proxy="http://other:1") == "http://other:1"
    assert proxy_for("https://api.example.com", environ, no_proxy="example.com") == ""
    assert proxy_for("https://api.example.com", environ, no_proxy="example.com", proxy="http://other:1") == ""
    assert bypasses("exact.example", "exact.example")
    assert bypasses("a.exact.example", "*.exact.example")
    assert not bypasses("inexact.example", "exact.example")
    assert bypasses("anything", "*")
    assert bypasses("fd00::1", "[fd00::/8]")


# exec plugins

PLUGIN = """\
import json, os, sys
sys.stderr.write("noise\\n")
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
count = int(open({count!r}).read() or 0) + 1 if os.path.exists({count!r}) else 1
open({count!r}, "w").write(str(count))
{body}
print(json.dumps({{"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}}))
"""


def plugin(tmp_path: Path, body: str, **rest: Any) -> dict[str, Any]:
    """Write a plugin and return the user entry that runs it; its runs are counted in the file `count`."""
    script = tmp_path / "plugin"
    script.write_text(f"#!{sys.executable}\n" + PLUGIN.format(count=str(tmp_path / "count"), body=body))
    script.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script), "interactiveMode": "Never"} | rest}


def test_exec_plugin_is_run_once_and_gets_its_environment(twin, kubeconfig, tmp_path):
    user = plugin(
        tmp_path, 'status = {"token": "of-" + sys.argv[1] + os.environ["CANARY"]}', args=["plugin"], env=[{"name": "CANARY", "value": "-canary-env"}]
    )
    learned: set[str] = set()
    api = open_api({"kubeconfig": kubeconfig(user)}, learned=lambda *secrets: learned.update(secrets))
    for _again in range(3):
        api.get(resource.SECRET, "ns", "x")
    assert [request.header("authorization") for request in twin.arrived] == [["Bearer of-plugin-canary-env"]] * 3
    assert (tmp_path / "count").read_text() == "1"
    assert {"of-plugin-canary-env", "-canary-env"} <= learned


def test_exec_plugin_beside_the_kubeconfig(twin, kubeconfig, tmp_path):
    plugin(tmp_path, 'status = {"token": "relative"}')
    path = written(tmp_path / "config", kubeconfig({"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "./plugin"}}))
    assert seen_by(twin, {"kubeconfig": path}).header("authorization") == ["Bearer relative"]


def test_exec_plugin_is_run_again_when_its_token_is_refused(twin, kubeconfig, tmp_path):
    api = open_api({"kubeconfig": kubeconfig(plugin(tmp_path, 'status = {"token": f"number-{count}"}'))})
    twin.tokens = {"number-2"}
    api.get(resource.SECRET, "ns", "x")
    assert [request.header("authorization") for request in twin.arrived] == [["Bearer number-1"], ["Bearer number-2"]]


def test_exec_plugin_is_run_again_when_its_token_ends(twin, kubeconfig, tmp_path, monkeypatch):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    api = open_api({"kubeconfig": kubeconfig(plugin(tmp_path, f'status = {{"token": f"number-{{count}}", "expirationTimestamp": "{stamp}"}}'))})
    api.get(resource.SECRET, "ns", "x")
    now = time.monotonic()
    monkeypatch.setattr(credential.time, "monotonic", lambda: now + 3000)
    api.get(resource.SECRET, "ns", "x")
    monkeypatch.setattr(credential.time, "monotonic", lambda: now + 3590)
    api.get(resource.SECRET, "ns", "x")
    assert [request.header("authorization") for request in twin.arrived] == [["Bearer number-1"], ["Bearer number-1"], ["Bearer number-2"]]


def test_exec_plugin_that_brings_a_certificate(mutual_twin, authority, kubeconfig, tmp_path):
    certificate, key = authority.issue("by-plugin")
    user = plugin(tmp_path, f"status = {{'clientCertificateData': {certificate!r}, 'clientKeyData': {key!r}}}")
    assert seen_by(mutual_twin, {"kubeconfig": kubeconfig(user, server=mutual_twin.url)}).certificate == "by-plugin"


def test_exec_plugin_is_told_of_the_cluster_when_it_asks(twin, kubeconfig, tmp_path):
    user = plugin(tmp_path, 'status = {"token": info["spec"]["cluster"]["server"]}', provideClusterInfo=True)
    assert seen_by(twin, {"kubeconfig": kubeconfig(user)}).header("authorization") == [f"Bearer {twin.url}"]


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (
            "sys.stderr.write('first\\nlogin with canary-env has expired\\n\\n'); sys.exit(3)",
            "it ended with exit code 3 and said: login with ******** has expired",
        ),
        ("sys.stderr.close(); os._exit(4)", "it ended with exit code 4 and said: noise"),
        ("print('no json'); sys.exit(0)", "what it printed is not JSON"),
        ("status = {}", "it printed neither a token nor a client certificate"),
        ("status = {'clientCertificateData': 'x'}", "it printed a client certificate without its key (clientKeyData)"),
        ("status = 'canary-text'", "what it printed has no status"),
    ],
)
def test_exec_plugin_that_fails(body, seen, kubeconfig, tmp_path):
    user = plugin(tmp_path, body, env=[{"name": "X", "value": "canary-env"}])
    sentence = failure({"kubeconfig": kubeconfig(user)})
    assert sentence.startswith(f"log in by the exec plugin {tmp_path}/plugin of the kubeconfig: {seen}. ")


@pytest.mark.parametrize(
    ("command", "next_step"),
    [
        ("aws", "Use option eks, which makes the token without the AWS CLI, or run the plugin by hand"),
        ("gke-gcloud-auth-plugin", "Use option gke, which makes the token without this plugin, or run the plugin by hand"),
        ("kubelogin", "Install it where this task runs, or use another way to log in"),
    ],
)
def test_exec_plugin_that_is_not_installed(command, next_step, kubeconfig, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": command}}
    assert failure({"kubeconfig": kubeconfig(user)}) == (
        f"log in by the exec plugin {command} of the kubeconfig: it is not installed here, or not on PATH. {next_step}."
    )


def test_exec_plugin_that_hangs_is_ended_with_the_task(kubeconfig, tmp_path):
    user = plugin(tmp_path, f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); import time; time.sleep(600)")
    assert failure({"kubeconfig": kubeconfig(user), "timeout": 1}) == (
        f"log in by the exec plugin {tmp_path}/plugin of the kubeconfig: it did not end within 1 s. "
        "Run it by hand: it may wait for an answer or for a network that is not there."
    )
    ends = time.monotonic() + 10
    while Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_exec_entry_that_is_not_complete(kubeconfig):
    assert failure({"kubeconfig": kubeconfig({"exec": {"command": "x"}})}) == (
        "check option kubeconfig: its exec entry has no command or no apiVersion. Correct the kubeconfig."
    )


# auth-provider entries, which clusters had before exec plugins


def test_auth_provider_with_a_token_that_lasts(twin, kubeconfig):
    claims = base64.urlsafe_b64encode(json.dumps({"exp": int(time.time()) + 3600}).encode()).decode().rstrip("=")
    user = {"auth-provider": {"name": "oidc", "config": {"id-token": f"e30.{claims}.c2ln", "idp-issuer-url": "https://127.0.0.1:9"}}}
    assert seen_by(twin, {"kubeconfig": kubeconfig(user)}).header("authorization") == [f"Bearer e30.{claims}.c2ln"]


def test_auth_provider_that_is_unknown(kubeconfig):
    assert failure({"kubeconfig": kubeconfig({"auth-provider": {"name": "other", "config": {}}})}) == (
        "log in by the auth-provider other of the kubeconfig: it gave no token. Log in anew, or use an exec plugin."
    )


def test_nothing_is_sent_before_the_options_are_right(twin):
    with pytest.raises(InputError):
        Connection.from_options({"host": twin.url, "api_key": "x", "impersonate_groups": ["g"]}, environ={})
    assert twin.arrived == []


def test_a_redirect_is_not_followed_with_our_token(twin, kubeconfig):
    twin.answer = lambda request: Reply(302, {}, {"Location": "https://elsewhere.test/"})
    assert failure({"kubeconfig": kubeconfig({"token": TOKEN})}) == (
        "read Secret ns/x: the server answers with a redirect (302). Give the address of the API server itself, not of a login page."
    )
