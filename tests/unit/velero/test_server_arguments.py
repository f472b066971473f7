# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flags of server and agent: read, written, renamed, dropped, and compared by what they mean."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._velero import release, server_arguments
from hypothesis import given
from hypothesis import strategies as st

R = release.parse


@pytest.mark.parametrize(
    ("args", "flags"),
    [
        (["server"], {}),
        (["server", "--features=", "--restore-only"], {"features": "", "restore-only": "true"}),
        (["node-agent", "server", "--log-level", "debug", "--features=A,B"], {"log-level": "debug", "features": "A,B"}),
        (["server", "--restore-only", "stray", "--v", "4", "-v=2"], {"restore-only": "true", "v": "2"}),
        (["server", "--log-level=info", "--log-level=debug"], {"log-level": "debug"}),
        (["--a=b=c", "-", "--"], {"a": "b=c"}),
        (["server", "--unknown"], {"unknown": "true"}),
        ([], {}),
    ],
)
def test_read(args: list[str], flags: dict[str, str]) -> None:
    assert server_arguments.parsed(args) == flags


def test_words_before_the_flags() -> None:
    assert server_arguments.words(["node-agent", "server", "--features=", "x"]) == ["node-agent", "server"]
    assert server_arguments.words([]) == []


names = st.sampled_from(sorted({*server_arguments.SERVER_FLAGS, *server_arguments.GLOBAL_FLAGS, "v", "invented"}))
flag_sets = st.dictionaries(names, st.sampled_from(["true", "false", "", "1h", "a=b", "7"]), max_size=8)


@given(flag_sets, flag_sets)
def test_what_is_written_is_read_back(flags: dict[str, str], like: dict[str, str]) -> None:
    before = server_arguments.written(like)
    text = server_arguments.written(flags, like=before)
    assert server_arguments.parsed(text) == flags
    # flags that were there keep their order
    kept = [name for name in server_arguments.parsed(before) if name in flags]
    assert [name for name in server_arguments.parsed(text) if name in kept] == kept
    assert server_arguments.equal(flags, server_arguments.parsed(text))


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"fs-backup-timeout": "1h"}, {"fs-backup-timeout": "60m0s"}, True),
        ({"restore-only": "true"}, {"restore-only": "1"}, True),
        ({"restore-only": "false"}, {}, True),
        ({"features": "A,B"}, {"features": "B,A"}, True),
        ({"features": ""}, {}, True),
        ({"maintenance-job-cpu-limit": "0.5"}, {"maintenance-job-cpu-limit": "500m"}, True),
        ({"default-backup-ttl": "rubbish"}, {"default-backup-ttl": "rubbish"}, True),
        ({"features": "A"}, {}, False),
        ({"restore-only": "true"}, {}, False),
        ({"log-level": "info"}, {"log-level": "debug"}, False),
        ({"uploader-type": "restic"}, {}, False),
    ],
)
def test_compared_by_meaning(one: dict[str, str], other: dict[str, str], equal: bool) -> None:
    assert [server_arguments.equal(*pair) for pair in itertools.permutations((one, other))] == [equal, equal]


@pytest.mark.parametrize(
    ("version", "flags", "kept", "dropped"),
    [
        (
            "1.10.3",
            {"default-volumes-to-restic": "true", "restic-timeout": "1h", "default-restic-prune-frequency": "2h"},
            {"default-volumes-to-fs-backup": "true", "fs-backup-timeout": "1h", "default-repo-maintain-frequency": "2h"},
            {},
        ),
        ("1.9.7", {"fs-backup-timeout": "1h"}, {"restic-timeout": "1h"}, {}),
        (
            "1.10.0",
            {"restic-timeout": "1h", "fs-backup-timeout": "2h"},
            {"fs-backup-timeout": "2h"},
            {"--restic-timeout=1h": "it is called fs-backup-timeout now, which is given as well"},
        ),
        (
            "1.17.0",
            {"uploader-type": "restic", "keep-latest-maintenance-jobs": "3", "features": ""},
            {"features": ""},
            {
                "--uploader-type=restic": "the server of Velero 1.17 and newer takes kopia only, and uses it without the flag",
                "--keep-latest-maintenance-jobs=3": "the server of Velero 1.16 was the last to know it",
            },
        ),
        (
            "1.16.2",
            {"uploader-type": "restic", "keep-latest-maintenance-jobs": "3"},
            {"uploader-type": "restic", "keep-latest-maintenance-jobs": "3"},
            {},
        ),
        ("1.17.2", {"uploader-type": "kopia", "invented": "x", "v": "4"}, {"uploader-type": "kopia", "invented": "x", "v": "4"}, {}),
        (
            "1.8.1",
            {"garbage-collection-frequency": "1h"},
            {},
            {"--garbage-collection-frequency=1h": "the first server to know it is that of Velero 1.9"},
        ),
        ("1.12.0", {"disable-informer-cache": "true"}, {}, {"--disable-informer-cache=true": "the first server to know it is that of Velero 1.12.1"}),
        ("1.17.2", {"node-agent-configmap": "x"}, {}, {"--node-agent-configmap=x": "the server has no such flag"}),
    ],
)
def test_settled(version: str, flags: dict[str, str], kept: dict[str, str], dropped: dict[str, str]) -> None:
    assert server_arguments.settled(flags, R(version)) == (kept, list(dropped.items()))


def test_the_agent_has_flags_of_its_own() -> None:
    flags = {"backup-repository-configmap": "r", "node-agent-configmap": "a", "log-level": "debug", "uploader-type": "kopia"}
    kept, dropped = server_arguments.settled(flags, R("1.17.2"), agent=True)
    assert kept == {"node-agent-configmap": "a", "log-level": "debug"}
    assert dict(dropped) == {
        "--backup-repository-configmap=r": "the first node agent to know it is that of Velero 1.18",
        "--uploader-type=kopia": "the node agent has no such flag",
    }
    assert server_arguments.settled(flags, R("1.18.0"), agent=True)[0]["backup-repository-configmap"] == "r"


def test_of_options_in_the_names_of_the_release() -> None:
    options: dict[str, Any] = {
        "default_volumes_to_fs_backup": True, "pod_volume_operation_timeout": "90m", "default_repo_maintain_frequency": "36h", "restore_only": False,
        "features": ["EnableCSI", "B"], "uploader_type": None, "item_block_worker_count": 4, "garbage_collection_frequency": "0",
    }  # fmt: skip
    old = server_arguments.of_options(options, R("1.8.1"))
    assert old == {
        "default-volumes-to-restic": "true", "restic-timeout": "1h30m0s", "default-restic-prune-frequency": "36h0m0s", "restore-only": None,
        "features": "EnableCSI,B",
    }  # fmt: skip
    new = server_arguments.of_options(options, R("1.17.2"))
    assert new == {
        "default-volumes-to-fs-backup": "true", "fs-backup-timeout": "1h30m0s", "default-repo-maintain-frequency": "36h0m0s", "restore-only": None,
        "features": "EnableCSI,B", "item-block-worker-count": "4", "garbage-collection-frequency": None,
    }  # fmt: skip


def test_of_options_maintenance_jobs() -> None:
    resources = {"requests": {"cpu": "100m", "memory": None}, "limits": {"cpu": "1", "memory": "1Gi"}}
    options = {"maintenance_job_resources": resources, "keep_latest_maintenance_jobs": 5}
    assert server_arguments.of_options(options, R("1.15.2")) == {
        "keep-latest-maintenance-jobs": "5", "maintenance-job-cpu-request": "100m", "maintenance-job-cpu-limit": "1",
        "maintenance-job-mem-limit": "1Gi",
    }  # fmt: skip
    assert server_arguments.of_options(options, R("1.17.0")) == {}
    assert server_arguments.of_options(options, R("1.13.2")) == {}


def test_given_arguments_count_last() -> None:
    options = {
        "restore_only": True,
        "server_args": {"restore-only": None, "--log-level": "debug", "default-volumes-to-restic": True, "client-qps": 5.5},
    }
    assert server_arguments.of_options(options, R("1.17.2")) == {
        "restore-only": None, "log-level": "debug", "default-volumes-to-fs-backup": "true", "client-qps": "5.5",
    }  # fmt: skip
    agent = {"features": [], "node_agent_configmap": "a", "backup_repository_configmap": "r", "node_agent_args": {"log-level": None}}
    assert server_arguments.agent_of_options(agent, R("1.17.2")) == {"features": "", "node-agent-configmap": "a", "log-level": None}
    assert server_arguments.agent_of_options(agent, R("1.18.1"))["backup-repository-configmap"] == "r"
    assert server_arguments.agent_of_options(agent, R("1.14.1")) == {"features": "", "log-level": None}


def test_merged_keeps_the_text_of_what_means_the_same() -> None:
    there = {"fs-backup-timeout": "60m", "restore-only": "true", "log-level": "info"}
    assert server_arguments.merged(there, {"fs-backup-timeout": "1h0m0s", "restore-only": None, "log-level": "debug", "features": "A"}) == {
        "fs-backup-timeout": "60m", "log-level": "debug", "features": "A",
    }  # fmt: skip


@given(flag_sets, st.sampled_from(release.KNOWN), st.booleans())
def test_settled_is_final(flags: dict[str, str], line: tuple[int, int], agent: bool) -> None:
    wanted = release.Release(*line, 0, "x")
    kept, dropped = server_arguments.settled(flags, wanted, agent=agent)
    assert server_arguments.settled(kept, wanted, agent=agent) == (kept, [])
    assert len(kept) + len(dropped) == len(flags)
    assert all(server_arguments.flag_refusal(name, wanted, agent=agent) is None for name in kept)
    assert all(reason for _text, reason in dropped)


@pytest.mark.parametrize(
    ("flag", "version", "agent", "words"),
    [
        ("log-level", "1.17.2", False, None),
        ("--log-level", "1.6.0", True, None),
        ("v", "1.17.2", False, None),
        ("default-volumes-to-restic", "1.17.2", False, None),
        ("fs-backup-timeout", "1.8.1", False, None),
        ("log-levl", "1.17.2", False, "no server of a release that is known here has the flag log-levl; log-level is one"),
        ("xyzzy", "1.17.2", True, "no node agent of a release that is known here has the flag xyzzy"),
        ("concurrent-backups", "1.17.2", False, "the first server to know it is that of Velero 1.18"),
        ("keep-latest-maintenance-jobs", "1.18.1", False, "the server of Velero 1.16 was the last to know it"),
        ("uploader-type", "1.17.2", True, "the node agent has no such flag"),
        ("node-agent-configmap", "1.17.2", False, "the server has no such flag"),
    ],
)
def test_a_flag_that_is_asked_for(flag: str, version: str, agent: bool, words: str | None) -> None:
    assert server_arguments.given_refusal(flag, R(version), agent=agent) == words


def test_values_are_written_as_the_server_reads_them() -> None:
    assert server_arguments.value_text("restore-only", True) == "true"
    assert server_arguments.value_text("features", ["A", "B"]) == "A,B"
    assert server_arguments.value_text("default-backup-ttl", "720h") == "720h0m0s"
    assert server_arguments.value_text("client-burst", 30) == "30"
