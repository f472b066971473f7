# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How locations and their server's messages are shown to a person, and what to do about each.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._velero import location_options, validation

NAMES_SHOWN = 20
"""Names of backups in a message or result; the count is always whole."""

_NOISE = re.compile(
    r"""^BackupStorageLocation "[^"]*" is unavailable: |rpc error: code = \w+ desc = |operation error S3: \w+, https response error |"""
    r"""(?:, )?(?:RequestID|HostID): [^,]*(?=,)"""
)


def tidied(message: str) -> str:
    """Return a server's message without what says nothing to a person: layers of wrapping, the store's request numbers."""
    return re.sub(r"^[,\s]+|\s{2,}", " ", _NOISE.sub("", message)).strip()


def next_step(message: str) -> str:
    """Return what to do about a server's message about a location."""
    lower = message.lower()
    for signs, step in (
        (
            ("nosuchbucket", "bucket doesn't exist", "notfound", "bucket does not exist"),
            "Make the bucket, or correct bucket and the address of the store",
        ),
        (("signaturedoesnotmatch", "invalid jwt signature"), "The key does not fit the account: correct credential.content"),
        (("invalidaccesskeyid",), "The store does not know this access key: correct credential.content"),
        (("config has invalid keys",), "Remove the setting that the plugin does not know from config"),
        (("x509", "certificate"), "Give the store's CA in object_storage_ca_cert"),
        (
            ("accessdenied", "forbidden", "status code: 403", "statuscode: 403"),
            "Grant the account the rights to list, read, write and delete in the bucket",
        ),
        (
            ("no such host", "dial tcp: lookup", "connection refused", "dial tcp", "timeout", "network is unreachable"),
            "Correct the address of the store, or the network between Velero's pod and it",
        ),
        (("invalid top-level directories",), "The bucket holds other things: give a prefix of its own, or another bucket"),
        (("unable to locate objectstore plugin",), "Install the provider's plugin in Velero, or correct provider"),
        (("unable to get credentials", "missing data for key", "unable to get key for secret"), "Make the Secret, or correct credential"),
        (("region",), "Correct config.region"),
    ):
        if any(sign in lower for sign in signs):
            return step
    return "Look into the log of Velero's server"


def spec_view(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a location's wanted side with the names of this module's options; what is not set is left out."""
    storage = spec.get("objectStorage") or {}
    config = {key: value for key, value in (spec.get("config") or {}).items() if key not in location_options.SERVER_CONFIG}
    view: dict[str, Any] = {
        "name": name,
        "provider": spec.get("provider"),
        "bucket": storage.get("bucket"),
        "prefix": storage.get("prefix") or None,
        "config": config,
        "object_storage_ca_cert": location_options.decoded(storage.get("caCert")) or None,
        "credential": dict(spec["credential"]) if spec.get("credential") else None,
        "access_mode": spec.get("accessMode") or "ReadWrite",
        "default": bool(spec.get("default")),
        "validation_frequency": validation.settled(spec).get("validationFrequency"),
        "backup_sync_period": spec.get("backupSyncPeriod"),
    }
    return {key: value for key, value in json.loads(json.dumps(view)).items() if value is not None}


def shown(location: Mapping[str, Any]) -> dict[str, Any]:
    """Return a location as results show it: the options' names, the namespace, and what the server says of it."""
    status = location.get("status") or {}
    metadata = location["metadata"]
    return spec_view(metadata["name"], location["spec"]) | {
        "namespace": metadata.get("namespace"),
        "phase": status.get("phase"),
        "message": status.get("message") or None,
        "last_validation_time": status.get("lastValidationTime"),
        "last_synced_time": status.get("lastSyncedTime"),
    }


def snapshot_spec_view(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a snapshot location's wanted side with the names of the module's options; what is not set is left out."""
    config = {key: value for key, value in (spec.get("config") or {}).items() if key not in location_options.SERVER_SNAPSHOT_CONFIG}
    view: dict[str, Any] = {"name": name, "provider": spec.get("provider"), "config": config, "credential": spec.get("credential")}
    return {key: value for key, value in json.loads(json.dumps(view)).items() if value is not None}


def snapshot_shown(location: Mapping[str, Any]) -> dict[str, Any]:
    """Return a snapshot location as results show it: the options' names, and the namespace. It has no status."""
    metadata = location["metadata"]
    view = snapshot_spec_view(metadata["name"], location.get("spec") or {})
    return {"provider": None, "credential": None} | view | {"namespace": metadata["namespace"]}


def backups_fate(target: str, count: int) -> str:
    """Return the sentence about the backups of a location that goes."""
    return (
        f"{target}: the {count} Backup objects that name it stay in the cluster, but cannot be restored from without it. "
        "Their data stay in the bucket; a location that points there makes them usable again."
    )


def snapshots_fate(target: str, count: int) -> str:
    """Return the sentence about the backups whose volume snapshots were made by a snapshot location that goes."""
    return (
        f"{target}: the volume snapshots of {count} Backup objects were made by it and cannot be restored or deleted without it. "
        "They stay at the provider; a location of this name makes them usable again."
    )


def backups_view(target: str, backups: tuple[dict[str, Any], ...], fate: Callable[[str, int], str] = backups_fate) -> dict[str, Any]:
    """Return what becomes of the backups of a location that goes."""
    names = sorted(item["metadata"]["name"] for item in backups)
    return {"count": len(names), "names": names[:NAMES_SHOWN], "fate": fate(target, len(names)) if names else None}
