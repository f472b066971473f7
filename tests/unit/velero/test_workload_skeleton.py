# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the releases' own workloads, and the names and policies that the CLI derives from images."""

from __future__ import annotations

import hashlib
import itertools
import json

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import release, server, workload_skeleton
from ansible_collections.serverops.circleci.plugins.module_utils._velero.workload_skeleton import TRAITS, trait

R = release.parse


@pytest.mark.parametrize("name", list(TRAITS))
def test_traits_rise_and_begin_with_the_first_known_release(name: str) -> None:
    firsts = [first for first, _value in TRAITS[name]]
    assert firsts == sorted(firsts)
    assert firsts[0] == release.KNOWN[0]
    values = [value for _first, value in TRAITS[name]]
    assert all(one != other for one, other in itertools.pairwise(values))


@pytest.mark.parametrize(
    ("name", "texts", "values"),
    [
        ("pod_security", ["1.9.5", "1.9.6", "1.9.7", "1.10.0", "1.10.1", "1.10.2", "1.11.0", "1.12.0"], [0, 1, 1, 0, 0, 1, 1, 3]),
        ("uploader_type", ["1.9.7", "1.10.0", "1.11.1", "1.12.0", "1.18.1"], [None, "restic", "restic", "kopia", "kopia"]),
        ("agent_host_volumes", ["1.12.0", "1.12.1"], [1, 2]),
        ("no_informer_cache", ["1.12.0", "1.12.1", "1.12.3", "1.12.4", "1.13.0"], [False, True, True, False, False]),
        ("agent_ports", ["1.12.1", "1.12.2"], [False, True]),
        ("credential_mode", ["1.16.1", "1.16.2", "1.17.0"], [None, 0o444, 0o444]),
        ("os_rule", ["1.15.2", "1.16.0", "1.18.0", "1.18.1"], [None, "selector", "selector", "affinity"]),
        ("repository_secret", ["1.9.7", "1.10.0"], ["velero-restic-credentials", "velero-repo-credentials"]),
        ("windows_effects", ["1.16.2", "1.17.0"], [1, 2]),
    ],
)  # fmt: skip
def test_traits_by_release(name: str, texts: list[str], values: list[object]) -> None:
    found = [trait(name, R(text)) for text in texts]
    assert [len(value) if isinstance(value, tuple) else value for value in found] == values


def test_a_release_before_the_first_known_has_its_traits() -> None:
    assert trait("repository_secret", R("1.5.4")) == "velero-restic-credentials"


@pytest.mark.parametrize(
    ("image", "policy"),
    [("velero/velero:v1.17.2", "IfNotPresent"), ("velero/velero:latest", "Always"), ("velero/velero", "Always"),
     ("registry.example.com:5000/velero/velero:v1", "Always"), ("velero/velero@sha256:00", "IfNotPresent"), ("a:v1@sha256:00", "Always")],
)  # fmt: skip
def test_pull_policy(image: str, policy: str) -> None:
    assert workload_skeleton.pull_policy(image) == policy


LONG = "x" * 70


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("velero/velero-plugin-for-aws:v1.2.0", "velero-velero-plugin-for-aws"),
        ("docker.io/velero/velero-plugin-for-aws:v1.2.0", "velero-velero-plugin-for-aws"),
        ("registry.example.com:5000/a/b_c.d:v1", "a-b-c-d"),
        ("registry.example.com:5000/b:v1", "registry-example-com-5000-b"),
        ("velero/plugin@sha256:0123", "velero-plugin"),
        ("velero/plugin:v1@sha256:0123", "velero-plugin"),
        ("plugin", "plugin"),
        ("plugin:v1", "plugin"),
        ("/a/b:v1", "a-b"),
        (f"r/a/{LONG}:v1", f"a-{'x' * 55}{hashlib.sha256(f'a-{LONG}'.encode()).hexdigest()[:6]}"),
    ],
)
def test_plugin_name(image: str, name: str) -> None:
    assert workload_skeleton.plugin_name(image) == name
    assert len(name) <= 63


@pytest.mark.parametrize(
    ("image", "repository"),
    [("a/b:v1", "a/b"), ("r:5000/a/b", "r:5000/a/b"), ("r:5000/a/b:v1@sha256:00", "r:5000/a/b"), ("b@sha256:00", "b"), ("b", "b")],
)  # fmt: skip
def test_repository(image: str, repository: str) -> None:
    assert workload_skeleton.repository(image) == repository


@pytest.mark.parametrize("line", release.KNOWN, ids=release.shown)
def test_they_are_told_as_velero_by_what_they_run(line: tuple[int, int]) -> None:
    wanted = release.Release(*line, 0, f"{release.shown(line)}.0")
    made = workload_skeleton.deployment("backup", wanted, "velero/velero:v1")
    assert (server.server_container(made) or {}).get("name") == "velero"
    assert made["spec"]["strategy"] == {"type": "Recreate"}
    for windows in (False, True):
        agent = workload_skeleton.daemon_set("backup", wanted, "velero/velero:v1", windows=windows)
        name = workload_skeleton.agent_name(wanted, windows=windows)
        assert (server.agent_container(agent) or {}).get("name") == agent["metadata"]["name"] == name
        assert agent["spec"]["selector"]["matchLabels"].items() <= agent["spec"]["template"]["metadata"]["labels"].items()
        assert agent["metadata"]["namespace"] == made["metadata"]["namespace"] == "backup"


def test_nothing_is_shared_between_two_of_them() -> None:
    """What one is changed in does not show in the next."""
    for make in (workload_skeleton.deployment, workload_skeleton.daemon_set):
        first = make("velero", R("1.10.3"), "a:b")
        text = json.dumps(first)
        pod = first["spec"]["template"]["spec"]
        pod["containers"][0]["resources"]["limits"]["cpu"] = "9"
        pod["volumes"][0]["name"] = "other"
        first["metadata"]["labels"]["x"] = "y"
        first["spec"]["template"]["metadata"]["labels"]["x"] = "y"
        assert json.dumps(make("velero", R("1.10.3"), "a:b")) == text


def test_default_images_come_from_the_registry() -> None:
    assert workload_skeleton.server_image({"version": "v1.8.1"}, R("v1.8.1")) == "velero/velero:v1.8.1"
    assert workload_skeleton.server_image({"registry": "r.example.com/x/"}, R("1.8.1")) == "r.example.com/x/velero/velero:v1.8.1"
