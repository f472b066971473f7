# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts Velero on a bed with Velero's own CLI, and takes it off again."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .paths import BedError

if TYPE_CHECKING:
    from .bed import Bed

#: Folders of tests/bed/images that a version needs.
IMAGES_OF = {
    "1.17.2": ("velero117",),
    "1.10.3": ("velero110", "velero110-restore-helper"),
    "1.8.1": ("velero18", "velero18-restore-helper"),
}
DEFAULT_PLUGINS = {"aws": "velero/velero-plugin-for-aws:v1.14.3", "gcp": "velero/velero-plugin-for-gcp:v1.14.2"}
PLUGIN_IMAGES = {"aws": "plugin-for-aws", "gcp": "plugin-for-gcp"}


class Velero:
    """One Velero on the bed: version, namespace, and what its own CLI does with it."""

    #: Version to tool family.
    families = {"1.17.2": "velero117", "1.10.3": "velero110", "1.8.1": "velero18"}  # noqa: RUF012

    def __init__(self, bed: Bed, version: str, namespace: str = "velero") -> None:
        if version not in self.families:
            raise BedError(f"the bed has no Velero {version}; it has {', '.join(self.families)}")
        self.bed = bed
        self.version = version
        self.namespace = namespace

    def cli(self, *arguments: str, timeout: float = 120) -> str:
        """Standard output of Velero's CLI in this namespace. BedError with its message."""
        kubeconfig = f"{self.bed.run_dir}/n1/pki/driver.kubeconfig"
        argv = [str(self.bed.velero(self.version)), "--kubeconfig", kubeconfig, "--namespace", self.namespace, *arguments]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise BedError(f"velero {' '.join(arguments[:2])}: no end after {timeout:.0f} s") from None
        if done.returncode:
            raise BedError(f"velero {' '.join(arguments[:2])}: {(done.stderr.strip() or done.stdout.strip())[-600:]}")
        return done.stdout

    def install(
        self,
        bucket: str,
        provider: str = "aws",
        node_agent: bool = True,
        uploader: str | None = None,
        prefix: str | None = None,
        config: dict[str, str] | None = None,
        credentials_file: Path | None = None,
        plugin: str | None = None,
        extra: tuple[str, ...] = (),
        wait: bool = True,
    ) -> None:
        """Install with the default location in this bucket (made when missing), on the bed's S3 ("aws") or GCS ("gcp") server.

        node_agent: with the DaemonSet for volumes; uploader ("restic", "kopia"): only 1.10 takes one. config: replaces the location's config.
        credentials_file: default is the root account of the S3 server, or a new service account "velero". wait: until Deployment and DaemonSet
        are rolled out and the location is Available.
        """
        self.bed.import_images(*IMAGES_OF[self.version], PLUGIN_IMAGES[provider])
        if provider == "aws":
            self.bed.s3.make_bucket(bucket)
            credentials_file = credentials_file or self.bed.s3.credentials_file
            config = (
                config
                if config is not None
                else {
                    "region": self.bed.s3.region,
                    "s3ForcePathStyle": "true",
                    "s3Url": self.bed.s3.endpoint_inside,
                    "publicUrl": self.bed.s3.endpoint_outside,
                }
            )
        else:
            self.bed.gcs.make_bucket(bucket)
            credentials_file = credentials_file or self.bed.gcs.service_account_key("velero")
        arguments = [
            "install",
            "--provider",
            provider,
            "--plugins",
            plugin or DEFAULT_PLUGINS[provider],
            "--bucket",
            bucket,
            "--secret-file",
            str(credentials_file),
            "--use-volume-snapshots=false",
        ]
        if prefix:
            arguments += ["--prefix", prefix]
        if config:
            arguments += ["--backup-location-config", ",".join(f"{key}={value}" for key, value in config.items())]
        if node_agent:
            arguments.append("--use-restic" if self.version == "1.8.1" else "--use-node-agent")
        if uploader and self.version == "1.10.3":
            arguments += ["--uploader-type", uploader]
        self.cli(*arguments, *extra)
        if wait:
            self.wait(node_agent)

    def wait(self, node_agent: bool = True, limit: float = 90) -> None:
        """Wait until the Deployment and the DaemonSet are rolled out and the location default is Available. BedError with what was last seen."""
        deadline = time.monotonic() + limit
        wanted = ["deployment/velero", *([f"daemonset/{'restic' if self.version == '1.8.1' else 'node-agent'}"] if node_agent else [])]
        for workload in wanted:
            left = max(1, int(deadline - time.monotonic()))
            self.bed.kubectl("-n", self.namespace, "rollout", "status", workload, f"--timeout={left}s", timeout=left + 10)
        seen: Any = None
        while time.monotonic() < deadline:
            location = self.bed.kubectl("-n", self.namespace, "get", "backupstoragelocations.velero.io", "default", "-o", "json")
            seen = json.loads(location).get("status", {})
            if seen.get("phase") == "Available":
                return
            time.sleep(0.1)
        raise BedError(f"Velero {self.version}: location default is not Available after {limit:.0f} s; last seen: {seen}")

    def uninstall(self, limit: float = 120) -> None:
        """Remove by the CLI and wait until namespace and custom resource definitions are absent. Nothing when they are absent already."""
        if not self.bed.kubectl("get", "namespace", self.namespace, "--ignore-not-found", "-o", "name").strip():
            return
        self.cli("uninstall", "--force", timeout=limit)
        deadline = time.monotonic() + limit
        while True:
            left = self.bed.kubectl("get", "namespace", self.namespace, "--ignore-not-found", "-o", "name")
            left += self.bed.kubectl("get", "customresourcedefinitions", "-l", "component=velero", "-o", "name")
            if not left.strip():
                return
            if time.monotonic() > deadline:
                raise BedError(f"Velero {self.version} is not gone after {limit:.0f} s; there still are: {' '.join(left.split())}")
            time.sleep(0.2)
