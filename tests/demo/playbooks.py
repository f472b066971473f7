# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the collection's own playbooks with its inventory for S3-compatible stores, and with the few variables that the bed has of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bed.circleci_server import NAMESPACE
from tests.bed.driver import Bed, kernel, paths
from tests.bed.driver.velero import DEFAULT_PLUGINS

from .progress import Progress

BUCKET = "circleci-backups"
INVENTORY = paths.REPOSITORY / "inventories" / "s3_compatible"
TINY: dict[str, Any] = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "", "memory": ""}}


class DemoError(Exception):
    """The demo cannot go on; the text says what was done, what was seen and what to do."""


def ansible_playbook() -> str:
    """The ansible-playbook beside this Python, else that of PATH. DemoError without one."""
    beside = Path(sys.executable).with_name("ansible-playbook")
    found = str(beside) if beside.exists() else shutil.which("ansible-playbook")
    if not found:
        raise DemoError("there is no ansible-playbook beside this Python or on PATH; run `make demo`, which makes an environment with it")
    return found


def password(progress: Progress) -> str:
    """The password of the escrow file: made once, kept beside it."""
    file = progress.folder / "escrow-password"
    if not file.is_file():
        paths.write(file, secrets.token_urlsafe(24), 0o600)
    return file.read_text()


def variables(bed: Bed, version: str, progress: Progress) -> dict[str, Any]:
    """What is not in the inventory: the way to the bed's cluster and store, and where the demo keeps its files."""
    folder = progress.folder
    s3 = bed.s3
    config = {"region": s3.region, "s3ForcePathStyle": True, "s3Url": s3.endpoint_inside, "publicUrl": s3.endpoint_outside, "checksumAlgorithm": ""}
    return {
        "velero_kubeconfig": str(bed.kubeconfig),
        "velero_version": version,
        "velero_plugins": [DEFAULT_PLUGINS["aws"]],
        "velero_bucket": BUCKET,
        "velero_backup_location_config": config,
        "velero_credential_content": s3.credentials_file.read_text(),
        "velero_resources": TINY,
        "velero_node_agent_resources": TINY,
        # several pods at once: on the bed a volume is small, and starting its copy takes the time
        "velero_item_block_worker_count": 6,
        "backup_name": f"demo-{progress.run}",
        "backup_outside_stores": [
            {
                "name": "artifacts and caches",
                "kind": "object_storage",
                "protection": "replicated to a second store",
                "proof": {"file": str(folder / "replicated")},
            },
            {
                "name": "Nomad certificates",
                "kind": "nomad_certificates",
                "protection": "kept with the Terraform state",
                "proof": {"accepted": "they can be made anew"},
            },
        ],
        "backup_escrow_file": str(folder / "escrow.json.vault"),
        "backup_escrow_password": password(progress),
        "backup_escrow_objects": [
            {"kind": "Secret", "namespace": NAMESPACE, "name": "signing-keys", "protects": "keysets"},
            {"kind": "ConfigMap", "namespace": NAMESPACE, "name": "postgresql-init-scripts", "protects": "console_configuration"},
        ],
        "backup_report_file": str(folder / "backup.json"),
        "restore_new_cluster": True,
        "restore_verify_tasks": str(Path(__file__).with_name("verify.yml")),
        "restore_follow_up_file": str(folder / "follow-up.json"),
        "restore_nomad_clients": ["nomad-client-1.example.com", "nomad-client-2.example.com"],
        "drill_probe_image": "localhost/bb:1",
        "drill_stateful_sets": ["postgresql"],
        "drill_checks": [
            {
                "name": "PostgreSQL has the databases of CircleCI",
                "stateful_set": "postgresql",
                "sql": "SELECT count(*) FROM pg_database WHERE datname IN ('circle', 'conductor_production', 'contexts', 'vms')",
                "matches": "^4$",
            }
        ],
        "status_directory": str(folder / "status"),
        "demo_bed": bed.name,
        "demo_repository": str(paths.REPOSITORY),
    }


def run(book: str, given: dict[str, Any], folder: Path) -> None:
    """Run playbooks/<book>.yml; its own words go to the person. DemoError when it fails. It ends with this process, also when that is killed."""
    with tempfile.TemporaryDirectory(prefix="serverops-demo-") as temporary:
        # this clone as the collection, wherever the clone lies
        namespace = Path(temporary, "ansible_collections", "serverops")
        namespace.mkdir(parents=True)
        (namespace / "circleci").symlink_to(paths.REPOSITORY)
        settings = Path(temporary, "ansible.cfg")
        settings.write_text("[defaults]\n")  # nobody's own settings
        file = folder / "variables.json"
        paths.write(file, json.dumps(given, indent=1) + "\n", 0o600)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        environment |= {
            "ANSIBLE_COLLECTIONS_PATH": temporary,
            "ANSIBLE_CONFIG": str(settings),
            "ANSIBLE_HOME": f"{temporary}/home",
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "False",
            "ANSIBLE_DISPLAY_OK_HOSTS": "False",
            "ANSIBLE_LOCALHOST_WARNING": "False",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
            "LC_ALL": "C.UTF-8",
        }
        argv = [ansible_playbook(), "--inventory", str(INVENTORY), "--extra-vars", f"@{file}", str(paths.REPOSITORY / "playbooks" / f"{book}.yml")]
        done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, check=False, preexec_fn=lambda: kernel.die_with_parent(signal.SIGKILL))
        if done.returncode:
            raise DemoError(f"playbooks/{book}.yml ended with {done.returncode}; its own words stand above. Correct it and run the demo again")
