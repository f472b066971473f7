# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bed on which a test installs Velero itself: options of a good installation, and looks at what became of it."""

from __future__ import annotations

import base64
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.bed.conftest import started
from tests.bed.driver import Bed
from tests.bed.driver.velero import IMAGES_OF, Velero
from tests.plays.in_process import run


@dataclass
class Installable:
    """A bed with the images of one or more versions, and two buckets."""

    bed: Bed
    velero: Velero
    bucket: str = "install-one"
    other_bucket: str = "install-two"

    @property
    def login(self) -> dict[str, Any]:
        """Return the login options."""
        return {"kubeconfig": str(self.bed.kubeconfig), "timeout": 120}

    @property
    def credentials(self) -> str:
        """Return a valid credentials file of the bed's S3 server."""
        return self.bed.s3.credentials_file.read_text()

    def options(self, **over: Any) -> dict[str, Any]:
        """Return the options of a good installation; None leaves an option out."""
        s3 = self.bed.s3
        merged = {
            **self.login,
            "version": self.velero.version,
            "provider": "aws",
            "plugins": ["velero/velero-plugin-for-aws:v1.14.3"],
            "bucket": self.bucket,
            "backup_location_config": {
                "region": s3.region,
                "s3ForcePathStyle": True,
                "s3Url": s3.endpoint_inside,
                "publicUrl": s3.endpoint_outside,
            },
            "use_volume_snapshots": False,
            "credential": {"content": self.credentials},
            "use_node_agent": True,
            "crds_from": "cli",
            "velero_program": str(self.bed.velero(self.velero.version)),
            **over,
        }
        return {name: value for name, value in merged.items() if value is not None}

    def of_version(self, version: str) -> Installable:
        """Return the same bed with another version's images and program."""
        self.bed.import_images(*IMAGES_OF[version])
        return Installable(self.bed, Velero(self.bed, version), self.bucket, self.other_bucket)

    def remove(self, *, crds: bool = False) -> None:
        """Let there be no Velero; by the module, which is what can."""
        gone = run("velero_install", self.login | {"state": "absent", "remove_crds": crds, "unfinished": "ignore"})
        assert not gone.failed, gone["msg"]
        if self.bed.kubectl("get", "namespace", "velero", "--ignore-not-found", "-o", "name").strip():
            self.bed.kubectl("delete", "namespace", "velero")

    def deployment(self) -> dict[str, Any]:
        """Return the server's Deployment."""
        found: dict[str, Any] = json.loads(self.bed.kubectl("-n", "velero", "get", "deployment", "velero", "-o", "json"))
        return found

    def location(self) -> dict[str, Any] | None:
        """Return the location default."""
        text = self.bed.kubectl("-n", "velero", "get", "backupstoragelocations.velero.io", "default", "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def pods(self, selector: str = "component=velero") -> set[str]:
        """Return the names of pods that are not on their way out."""
        items = json.loads(self.bed.kubectl("-n", "velero", "get", "pods", "-l", selector, "-o", "json"))["items"]
        return {item["metadata"]["name"] for item in items if "deletionTimestamp" not in item["metadata"]}

    def phase(self, backup: str) -> str | None:
        """Return the phase of a backup; None when it is not there."""
        text = self.bed.kubectl("-n", "velero", "get", "backups.velero.io", backup, "--ignore-not-found", "-o", "json")
        return str((json.loads(text).get("status") or {}).get("phase") or "") if text.strip() else None

    def change_secret(self, content: str) -> None:
        """Change the server's credentials as a person would."""
        data = {"data": {"cloud": base64.b64encode(content.encode()).decode()}}
        self.bed.kubectl("-n", "velero", "patch", "secret", "cloud-credentials", "--type", "merge", "-p", json.dumps(data))

    def account(self, access: str, secret: str) -> tuple[str, str]:
        """Make an account of the S3 server, once, that may do everything in both buckets."""
        status, _answer = self.bed.s3.request("GET", f"/{self.bucket}", keys=(access, secret))
        if status >= 300:
            self.bed.s3.make_account(access, secret)
        for bucket in (self.bucket, self.other_bucket):
            allow = {"Effect": "Allow", "Principal": {"AWS": [access]}, "Action": ["s3:*"]}
            statements = [allow | {"Resource": [f"arn:aws:s3:::{bucket}"]}, allow | {"Resource": [f"arn:aws:s3:::{bucket}/*"]}]
            self.bed.s3.put_policy(bucket, {"Version": "2012-10-17", "Statement": statements})
        return access, secret

    def slow_application(self, namespace: str, seconds: int) -> None:
        """Run a pod whose backup takes so many seconds, because of a hook."""
        annotations = {
            "pre.hook.backup.velero.io/container": "c",
            "pre.hook.backup.velero.io/command": json.dumps(["sh", "-c", f"sleep {seconds}"]),
            "pre.hook.backup.velero.io/timeout": "60s",
        }
        objects = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "slow", "namespace": namespace, "annotations": annotations},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "c", "image": "localhost/bb:1", "command": ["sh", "-c", "sleep 99999"]}],
                },
            },
        ]
        self.until(lambda: not self._terminating(namespace), f"namespace {namespace} of before is gone", 60)
        self.bed.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        self.bed.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/slow", "--timeout=60s")

    def _terminating(self, namespace: str) -> bool:
        return "Terminating" in self.bed.kubectl("get", "namespace", namespace, "--ignore-not-found", "-o", "jsonpath={.status.phase}")

    @staticmethod
    def until(look: Callable[[], Any], what: str, seconds: float = 30) -> Any:
        """Look until there is something; AssertionError after so many seconds."""
        end = time.monotonic() + seconds
        while not (seen := look()):
            assert time.monotonic() < end, f"not after {seconds} s: {what}"
            time.sleep(0.2)
        return seen


def installable(version: str) -> Iterator[Installable]:
    """Yield a bed of its own with the images of a version and of the plugin for AWS; with SERVEROPS_BED=<name> the one <name>-install."""
    named = os.environ.get("SERVEROPS_BED")
    bed, made = started(f"{named}-install" if named else f"test-{uuid.uuid4().hex[:6]}-install")
    try:
        bed.import_images(*IMAGES_OF[version], "plugin-for-aws")
        place = Installable(bed, Velero(bed, version))
        for bucket in (place.bucket, place.other_bucket):
            bed.s3.make_bucket(bucket)
        yield place
    finally:
        if made and not named:
            bed.down()
