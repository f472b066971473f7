# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `velero install` is asked to render, by the CLI and by us, and the comparison of both, object for object.

CASES pair flags of the CLI with options of velero_install. A case is tried with every release whose CLI has its flags. WANTED lists where
we differ on purpose, each with its reason.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.serverops.circleci.plugins.module_utils._velero import manifests, release, server_arguments
from ansible_collections.serverops.circleci.plugins.module_utils._velero.release import Release

Object = dict[str, Any]
Flags = dict[str, Any]

NAMESPACE = "rendering"
CONFIG_MAPS = ("agent-settings", "job-settings", "repository-settings")
"""ConfigMaps that flags name: for agent, maintenance jobs and repositories."""
CONTENT = "[default]\naws_access_key_id=AKIAEXAMPLE\naws_secret_access_key=rendered\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
CREDENTIAL = {"name": "cloud-credentials", "key": "cloud", "content": CONTENT}
SECRET_FILE, CERTIFICATE_FILE = "credentials", "ca.pem"
"""Files that a runner makes; flags name them."""


@dataclass(frozen=True)
class Case:
    """flags: name of the CLI's flag to its value; True for a switch, None takes it out of the base.

    options: the same for velero_install. alone: cannot be given together with the other cases.
    """

    name: str
    flags: Flags
    options: Object
    alone: bool = False


AGENT = ("use-node-agent", "use-restic")
"""The flag for the agent: the first that the CLI has."""


def variant(name: str, provider: str, plugin: str, flags: Flags, options: Object) -> Case:
    """Return one of the guide's four ways to install: with the agent, into a bucket."""
    image = f"velero/velero-plugin-for-{plugin}:v1.2.0"
    shared = {"provider": provider, "plugins": [image], "bucket": "circleci-backups"}
    return Case(name, {**shared, "agent": True, **flags}, {**shared, "use_node_agent": True, **options}, alone=True)


VARIANTS = (
    variant(
        "AWS",
        "aws",
        "aws",
        {"backup-location-config": "region=us-east-1", "snapshot-location-config": "region=us-east-1", "secret-file": SECRET_FILE},
        {"backup_location_config": {"region": "us-east-1"}, "snapshot_location_config": {"region": "us-east-1"}, "credential": CREDENTIAL},
    ),
    variant("GCP with a JSON key", "gcp", "gcp", {"secret-file": SECRET_FILE}, {"credential": CREDENTIAL}),
    variant(
        "GCP with workload identity",
        "gcp",
        "gcp",
        {
            "no-secret": True,
            "sa-annotations": "iam.gke.io/gcp-service-account=velero@example.iam.gserviceaccount.com",
            "backup-location-config": "serviceAccount=velero@example.iam.gserviceaccount.com",
        },
        {
            "no_secret": True,
            "service_account_annotations": {"iam.gke.io/gcp-service-account": "velero@example.iam.gserviceaccount.com"},
            "backup_location_config": {"serviceAccount": "velero@example.iam.gserviceaccount.com"},
        },
    ),
    variant(
        "S3-compatible",
        "aws",
        "aws",
        {
            "use-volume-snapshots": "false",
            "backup-location-config": "region=minio,s3ForcePathStyle=true,s3Url=https://minio.example.com:9000",
            "secret-file": SECRET_FILE,
        },
        {
            "use_volume_snapshots": False,
            "backup_location_config": {"region": "minio", "s3ForcePathStyle": True, "s3Url": "https://minio.example.com:9000"},
            "credential": CREDENTIAL,
        },
    ),
)
"""The guide's four variants (CircleCI Server 3.x, backup and restore)."""
BASE = VARIANTS[0]


def amounts(cpu: str, memory: str, cpu_limit: str, memory_limit: str) -> Object:
    """Return resources as the options take them."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu_limit, "memory": memory_limit}}


def resource_flags(prefix: str, *values: str) -> Flags:
    """Return the four flags of a container's resources."""
    return dict(zip((f"{prefix}-cpu-request", f"{prefix}-mem-request", f"{prefix}-cpu-limit", f"{prefix}-mem-limit"), values, strict=True))


TWO_PLUGINS = ["velero/velero-plugin-for-aws:v1.2.0", "registry.example.com:5000/team/velero.plugin_for-x:v3"]

CASES = (
    *VARIANTS,
    Case("prefix", {"prefix": "team/velero"}, {"prefix": "team/velero"}),
    Case("certificate", {"cacert": CERTIFICATE_FILE}, {"object_storage_ca_cert": CERTIFICATE}),
    Case("no credentials", {"secret-file": None, "no-secret": True}, {"credential": None, "no_secret": True}, alone=True),
    Case(
        "no snapshots",
        {"use-volume-snapshots": "false", "snapshot-location-config": None},
        {"use_volume_snapshots": False, "snapshot_location_config": None},
        alone=True,
    ),
    Case(
        "no location",
        {"no-default-backup-location": True, "bucket": None, "backup-location-config": None},
        {"no_default_backup_location": True, "bucket": None, "backup_location_config": None},
        alone=True,
    ),
    Case(
        "neither location nor snapshots",
        {"no-default-backup-location": True, "use-volume-snapshots": "false"}
        | dict.fromkeys(("bucket", "backup-location-config", "snapshot-location-config", "provider", "plugins")),
        {"no_default_backup_location": True, "use_volume_snapshots": False}
        | dict.fromkeys(("bucket", "backup_location_config", "snapshot_location_config", "provider", "plugins")),
        alone=True,
    ),
    Case("image", {"image": "velero/velero:v9.9.9"}, {"image": "velero/velero:v9.9.9"}),
    Case(
        "image of a registry with a port",
        {"image": "registry.example.com:5000/velero/velero:v9"},
        {"image": "registry.example.com:5000/velero/velero:v9"},
        alone=True,
    ),
    Case("image latest", {"image": "velero/velero:latest"}, {"image": "velero/velero:latest"}, alone=True),
    Case("image without a tag", {"image": "velero/velero"}, {"image": "velero/velero"}, alone=True),
    Case("two plugins", {"plugins": TWO_PLUGINS}, {"plugins": TWO_PLUGINS}),
    Case("pod annotations", {"pod-annotations": "team=a,prometheus.io/port=9000"}, {"pod_annotations": {"team": "a", "prometheus.io/port": "9000"}}),
    Case("pod labels", {"pod-labels": "team=a,tier=backup"}, {"pod_labels": {"team": "a", "tier": "backup"}}),
    Case("annotations of the account", {"sa-annotations": "role=backup,zone=a"}, {"service_account_annotations": {"role": "backup", "zone": "a"}}),
    Case("an account of one's own", {"service-account-name": "backup"}, {"service_account_name": "backup"}, alone=True),
    Case("resources", resource_flags("velero-pod", "250m", "0.5Gi", "1500m", "1024Mi"), {"resources": amounts("0.25", "512Mi", "1.5", "1Gi")}),
    Case("no resources", resource_flags("velero-pod", "0", "0", "0", "0"), {"resources": amounts("0", "0", "0", "0")}, alone=True),
    *(
        Case(
            f"resources of the agent ({prefix})",
            resource_flags(prefix, "100m", "256Mi", "2000m", "2Gi"),
            {"node_agent_resources": amounts("100m", "256Mi", "2", "2Gi")},
        )
        for prefix in ("restic-pod", "node-agent-pod")
    ),
    *(
        Case(
            f"no resources of the agent ({prefix})",
            resource_flags(prefix, "0", "0", "0", "0"),
            {"node_agent_resources": amounts("0", "0", "0", "0")},
            alone=True,
        )
        for prefix in ("restic-pod", "node-agent-pod")
    ),
    Case("no agent", {"agent": None}, {"use_node_agent": None}, alone=True),
    Case("restore only", {"restore-only": True}, {"restore_only": True}),
    Case("features", {"features": "EnableCSI,EnableAPIGroupVersions"}, {"features": ["EnableCSI", "EnableAPIGroupVersions"]}),
    *(
        Case(f"all volumes ({flag})", {flag: True}, {"default_volumes_to_fs_backup": True})
        for flag in ("default-volumes-to-restic", "default-volumes-to-fs-backup")
    ),
    *(
        Case(f"maintenance ({flag})", {flag: "36h"}, {"default_repo_maintain_frequency": "2160m"})
        for flag in ("default-restic-prune-frequency", "default-repo-maintain-frequency")
    ),
    Case("garbage collection", {"garbage-collection-frequency": "90m"}, {"garbage_collection_frequency": "90m"}),
    Case("uploader restic", {"uploader-type": "restic"}, {"uploader_type": "restic"}, alone=True),
    Case("uploader kopia", {"uploader-type": "kopia"}, {"uploader_type": "kopia"}),
    Case("privileged agent", {"privileged-node-agent": True}, {"privileged_node_agent": True}),
    Case("snapshots moved", {"default-snapshot-move-data": True}, {"default_snapshot_move_data": True}),
    Case("no informer cache", {"disable-informer-cache": True}, {"disable_informer_cache": True}),
    Case("informer cache", {"disable-informer-cache": "false"}, {"disable_informer_cache": False}, alone=True),
    Case("timeout of volumes", {"pod-volume-operation-timeout": "5h30m"}, {"pod_volume_operation_timeout": "330m"}),
    Case("schedules skip", {"schedule-skip-immediately": True}, {"schedule_skip_immediately": True}),
    Case("maintenance jobs kept", {"keep-latest-maintenance-jobs": "5"}, {"keep_latest_maintenance_jobs": 5}),
    Case(
        "resources of maintenance jobs",
        resource_flags("maintenance-job", "100m", "128Mi", "1", "1Gi"),
        {"maintenance_job_resources": amounts("100m", "128Mi", "1", "1Gi")},
    ),
    Case("ConfigMap of repositories", {"backup-repository-configmap": CONFIG_MAPS[2]}, {"backup_repository_configmap": CONFIG_MAPS[2]}),
    Case("ConfigMap of jobs", {"repo-maintenance-job-configmap": CONFIG_MAPS[1]}, {"repo_maintenance_job_configmap": CONFIG_MAPS[1]}),
    Case("ConfigMap of the agent", {"node-agent-configmap": CONFIG_MAPS[0]}, {"node_agent_configmap": CONFIG_MAPS[0]}),
    Case("workers", {"item-block-worker-count": "3"}, {"item_block_worker_count": 3}),
    Case("agent on Windows", {"use-node-agent-windows": True}, {"use_node_agent_windows": True}),
    Case(
        "agent on Windows only", {"agent": None, "use-node-agent-windows": True}, {"use_node_agent": None, "use_node_agent_windows": True}, alone=True
    ),
    Case("the kubelet's folder", {"kubelet-root-dir": "/srv/kubelet"}, {"kubelet_root_dir": "/srv/kubelet"}),
    Case("no folders of the host", {"node-agent-disable-host-path": True}, {"node_agent_disable_host_path": True}, alone=True),
    Case("priority of the server", {"server-priority-class-name": "important"}, {"server_priority_class_name": "important"}),
    Case("priority of the agent", {"node-agent-priority-class-name": "important"}, {"node_agent_priority_class_name": "important"}),
    Case("concurrent backups", {"concurrent-backups": "2"}, {"concurrent_backups": 2}),
    Case("early polling", {"csi-snapshot-early-frequent-polling": True}, {"csi_snapshot_early_frequent_polling": True}),
)
"""One option at a time, on top of the first variant."""

NOT_RENDERED = {
    "apply": "how objects are written, not which",
    "crds-only": "which objects are written; crds_from is about them",
    "crds-version": "only custom resource definitions differ, and those of v1beta1 no cluster has any more",
    "dry-run": "how this comparison is made",
    "help": "no option",
    "label-columns": "the form of a table",
    "output": "how this comparison is made",
    "show-labels": "the form of a table",
    "wait": "what happens afterwards",
}
"""Flags of `velero install` that change no object, and what they are for."""


@dataclass(frozen=True)
class Wanted:
    """A difference to the CLI that is wanted: where it stands (expressions for kind and path), from and to which release line, and why."""

    kind: str
    path: str
    reason: str
    first: tuple[int, int] = release.KNOWN[0]
    last: tuple[int, int] = release.KNOWN[-1]

    def applies(self, wanted: Release) -> bool:
        """Tell whether it is to be seen with a release."""
        return self.first <= wanted.line <= self.last

    def covers(self, difference: Difference) -> bool:
        """Tell whether a difference is this one."""
        return re.fullmatch(self.kind, difference.kind) is not None and re.fullmatch(self.path, difference.path) is not None


@dataclass(frozen=True, order=True)
class Difference:
    """One value that is not the same; None where it is missing."""

    kind: str
    name: str
    path: str
    cli: Any = field(compare=False)
    ours: Any = field(compare=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.path}: the CLI has {self.cli!r}, we have {self.ours!r}"


WANTED = (
    Wanted("Deployment", r"spec\.strategy\.type", "two servers must never run at once, and a rolling update starts the new one beside the old one"),
    Wanted(
        "Deployment",
        r"spec\.template\.spec\.containers\[velero\]\.args\[(keep-latest-maintenance-jobs|maintenance-job-(cpu|mem)-(limit|request))\]",
        "the CLI still writes the argument, and the server that it installs ends with `unknown flag` when it reads it",
        first=(1, 17),
    ),
)
"""Where we differ from the CLI, and why. The comparison fails when one of them does not occur."""


def flags_of(program: Path) -> set[str]:
    """Return the flags that `velero install` of a CLI has of its own."""
    text = subprocess.run([str(program), "install", "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    own = text.split("\nGlobal Flags:")[0].split("\nFlags:")[-1]
    return set(re.findall(r"^\s+(?:-\w, )?--([a-z0-9-]+)", own, re.MULTILINE))


def tried_flags(known: set[str]) -> set[str]:
    """Return the CLI's flags that the cases give it."""
    given = {name for case in CASES for name, value in case.flags.items() if value is not None}
    return (given & known) | ({name for name in AGENT if name in known} if "agent" in given else set())


def cases_of(known: set[str], wanted: Release) -> list[Case]:
    """Return the cases that a CLI with these flags can carry out: each option alone on top of the first variant, then all together."""
    found = [case for case in CASES if all(name in known or name == "agent" for name in case.flags)]
    found = [case for case in found if case.flags.get("uploader-type") != "restic" or wanted.line < server_arguments.RESTIC_REFUSED]
    whole = [case for case in found if not case.alone]
    together = Case(
        "all together",
        {name: value for case in whole for name, value in case.flags.items()},
        {name: value for case in whole for name, value in case.options.items()},
        alone=True,
    )
    return [*(case if case in VARIANTS else on_top(case) for case in found), on_top(together)]


def on_top(case: Case) -> Case:
    """Return a case with the first variant's flags and options under it."""
    return Case(case.name, {**BASE.flags, **case.flags}, {**BASE.options, **case.options}, case.alone)


def argv(case: Case, known: set[str], folder: Path) -> list[str]:
    """Return the arguments of `velero install` for a case. folder: where the files are."""
    words: list[str] = []
    for name, value in case.flags.items():
        if name == "agent":
            words += [f"--{next(flag for flag in AGENT if flag in known)}"] if value else []
        elif value is True:
            words.append(f"--{name}")
        elif value is not None:
            # several plugins are one value: of a flag that is given twice the CLI takes the last
            text = ",".join(value) if isinstance(value, list) else value
            words.append(f"--{name}={folder / text if name in {'secret-file', 'cacert'} else text}")
    return words


def cli_objects(program: Path, words: Iterable[str], kubeconfig: Path, folder: Path) -> list[Object]:
    """Return what a CLI would make, without the custom resource definitions. AssertionError with its own words when it refuses."""
    command = [str(program), "--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE, "install", *words, "--dry-run", "-o", "yaml"]
    # a configuration file in somebody's home would change the namespace
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "HOME": str(folder)})
    assert done.returncode == 0, f"velero {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()[-600:]}"
    items = re.split(r"^- (?=\w)", done.stdout.split("\nkind: List")[0], flags=re.MULTILINE)
    # the definitions are most of the text, and reading them most of the time
    wanted = [f"- {item}" for item in items[1:] if "\n  kind: CustomResourceDefinition\n" not in item]
    return [item for text in wanted for item in yaml.safe_load(text)]


def our_objects(options: Mapping[str, Any], wanted: Release) -> list[Object]:
    """Return what we would make, without what the release does not know, which velero_install refuses."""
    known = {name: value for name, value in options.items() if release.knows(name, wanted)}
    return manifests.rendered({"namespace": NAMESPACE, "version": wanted.text, "restore_only": False, **known}, wanted)


def differences(cli: list[Object], ours: list[Object]) -> list[Difference]:
    """Return every value that differs between two lists of objects, and their order."""
    sides = [{(item["kind"], item["metadata"]["name"]): dict(leaves(item)) for item in objects} for objects in (cli, ours)]
    found = []
    if list(sides[0]) != list(sides[1]):
        found.append(Difference("List", "", "items", list(sides[0]), list(sides[1])))
    for key in [key for key in sides[0] if key in sides[1]]:
        one, other = sides[0][key], sides[1][key]
        found += [Difference(*key, path, one.get(path), other.get(path)) for path in sorted(one | other) if one.get(path) != other.get(path)]
    return found


def judged(found: Mapping[str, list[Difference]], expected: list[Wanted]) -> tuple[list[str], list[Wanted]]:
    """Return (the differences that are not wanted, with their cases; the wanted ones that do not occur)."""
    unwanted = [f"{name}: {item}" for name, items in found.items() for item in items if not any(entry.covers(item) for entry in expected)]
    idle = [entry for entry in expected if not any(entry.covers(item) for items in found.values() for item in items)]
    return unwanted, idle


def leaves(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    """Yield (path, value) of every value of an object. Arguments are told apart by flag, containers and volumes by name, with their order."""
    if path.endswith(".args"):
        yield f"{path}.words", server_arguments.words(value)
        yield from ((f"{path}[{name}]", text) for name, text in server_arguments.parsed(value).items())
    elif isinstance(value, Mapping):
        if not value and path.endswith(".emptyDir"):
            yield path, {}
        for name, item in value.items():
            yield from leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) and "name" in item for item in value):
        names = [item["name"] for item in value]
        assert len(set(names)) == len(names), f"{path}: {names}"
        yield path, names
        for item in value:
            yield from leaves(item, f"{path}[{item['name']}]")
    elif value is not None:  # creationTimestamp is null
        yield path, json.loads(json.dumps(value))
