# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything on the bed that option values refer to: files, tokens, a proxy, keys, right ones and wrong ones."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bed.conftest import InstalledVelero
from tests.bed.driver import Bed
from tests.bed.ways.proxy import Proxy

ACCOUNT = "ways"
DEAD = "http://127.0.0.1:9"
"""An address of loopback where nobody listens."""


@dataclass(frozen=True)
class World:
    """The bed's values for options."""

    velero: InstalledVelero
    folder: Path
    proxy: Proxy
    proxy_login: str
    token: str

    @property
    def bed(self) -> Bed:
        """Return the bed."""
        return self.velero.bed

    @property
    def kubeconfig(self) -> dict[str, Any]:
        """Return the administrator's kubeconfig, everything inline."""
        config: dict[str, Any] = json.loads(self.bed.kubeconfig.read_text())
        return config

    def file(self, name: str, text: str) -> str:
        """Write a file with mode 0600 and return its path."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
        return str(path)

    @property
    def client(self) -> dict[str, str]:
        """Return paths of the administrator's client certificate and key."""
        user = self.kubeconfig["users"][0]["user"]
        return {kind: self.file(f"client-{kind}.pem", base64.b64decode(user[f"client-{kind}-data"]).decode()) for kind in ("certificate", "key")}

    @property
    def direct(self) -> dict[str, Any]:
        """Return a login by host, token and CA."""
        return {"host": self.bed.api_server, "ca_cert": str(self.bed.ca_file), "api_key": self.token}

    def install_options(self, **over: Any) -> dict[str, Any]:
        """Return the options of velero_install that the shared Velero was installed with; None leaves one out."""
        s3 = self.bed.s3
        config = {"region": s3.region, "s3ForcePathStyle": "true", "s3Url": s3.endpoint_inside, "publicUrl": s3.endpoint_outside}
        asked = {
            "version": self.velero.velero.version,
            "provider": "aws",
            "plugins": ["velero/velero-plugin-for-aws:v1.14.3"],
            "bucket": self.velero.bucket,
            "backup_location_config": config,
            "use_volume_snapshots": False,
            "credential": {"content": self.velero.credentials},
            "use_node_agent": True,
        }
        return self.velero.options(**asked | over)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of plays that log in by a cloud: made-up credentials, and no address outside of this machine."""
        config = self.file(
            "aws-config", "[profile ways]\nregion = eu-west-1\naws_access_key_id = AKIAWAYSPROFILE\naws_secret_access_key = made-up-secret\n"
        )
        return {
            "AWS_CONFIG_FILE": config,
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_ACCESS_KEY_ID": "AKIAWAYS",
            "AWS_SECRET_ACCESS_KEY": "made-up-secret-key",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": DEAD,
            "NO_GCE_CHECK": "true",
        }


def token_of_administrator(bed: Bed) -> str:
    """Return a token of a ServiceAccount that may do everything."""
    manifests = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": "default"}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": ACCOUNT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default"}],
        },
    ]
    bed.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))
    return bed.kubectl("create", "token", ACCOUNT, "-n", "default", "--duration", "2h").strip()
