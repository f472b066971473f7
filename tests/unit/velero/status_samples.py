# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installations in the three states of the page, as velero_info and velero_backup_info describe them; also with names that are markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
CLAIMS = ("data-postgresql-0", "datadir-mongodb-0", "data-vault-0", "redis-data-redis-master-0", "redis-data-redis-slave-0", "data-rabbitmq-0")
MARKUP = "<script>alert(1)</script>\"'&"


def stamp(moment: datetime) -> str:
    """Return a time as Kubernetes writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def backup(name: str, hours_ago: float, **over: Any) -> dict[str, Any]:
    """Return a backup of velero_backup_info that was begun so many hours ago; good unless something else is given."""
    started = NOW - timedelta(hours=hours_ago)
    took = float(over.pop("duration", 94))
    completed = started + timedelta(seconds=took)
    size = int(over.pop("bytes", 6 * 1024**3))
    volumes = [
        {
            "namespace": "circleci-server",
            "pod": re.sub("^(redis-data|datadir|data)-", "", claim),
            "volume": claim.split("-", 1)[0],
            "claim": claim,
            "method": "fs_backup",
            "uploader": "kopia",
            "phase": "Completed",
            "bytes": size // len(CLAIMS),
            "node": "n1",
            "message": "",
        }
        for claim in CLAIMS
    ]
    entry = {
        "name": name,
        "namespace": "velero",
        "phase": "Completed",
        "good": True,
        "verdict": "",
        "created": stamp(started),
        "started": stamp(started),
        "completed": stamp(completed),
        "expires": stamp(completed + timedelta(days=30)),
        "duration": took,
        "age": (NOW - completed).total_seconds(),
        "storage_location": "default",
        "schedule": "nightly",
        "template": {},
        "labels": {},
        "progress": {"done": 312, "total": 312},
        "errors": 0,
        "warnings": 0,
        "validation_errors": [],
        "failure_reason": None,
        "volumes": volumes,
        "bytes": size,
        "coverage": "known",
        "uncovered": [],
        "excluded": [],
        "results": None,
        "unreached": None,
    }
    return entry | over


def failed(name: str, hours_ago: float) -> dict[str, Any]:
    """Return a backup that misses a volume."""
    whole = backup(name, hours_ago, bytes=5 * 1024**3)
    lost = whole["volumes"].pop(0)
    return whole | {
        "phase": "PartiallyFailed",
        "good": False,
        "errors": 1,
        "verdict": "1 error, and the volume circleci-server/data-postgresql-0 is not in it.",
        "uncovered": [{"namespace": "circleci-server", "claim": lost["claim"], "reason": "pod volume backup failed: node agent was killed"}],
    }


def velero(**over: Any) -> dict[str, Any]:
    """Return an installation that works."""
    entry: dict[str, Any] = {
        "namespace": "velero",
        "installed_by": "cli",
        "server": {"deployment": "velero", "version": "v1.17.2", "ready": True, "problem": None, "plugins": [], "pods": []},
        "storage_locations": [
            {
                "name": "default",
                "provider": "aws",
                "bucket": "circleci-backups",
                "prefix": "production",
                "default": True,
                "access_mode": "ReadWrite",
                "phase": "Available",
                "message": None,
                "last_validation_time": stamp(NOW - timedelta(seconds=40)),
            }
        ],
        "node_agents": [
            {"node": name, "pod": f"node-agent-{name}", "phase": "Running", "ready": True, "restarts": 0, "reason": None, "message": None}
            for name in ("n1", "n2", "n3")
        ],
        "schedules": [
            {
                "name": "nightly",
                "phase": "Enabled",
                "schedule": "0 1 * * *",
                "paused": False,
                "validation_errors": [],
                "last_backup": stamp(NOW - timedelta(hours=11)),
                "next_run": stamp(NOW + timedelta(hours=13)),
            }
        ],
        "last_drill": drill(),
    }
    return entry | over


def drill(days_ago: float = 4, **over: Any) -> dict[str, Any]:
    """Return the record of a drill that succeeded."""
    record = {
        "result": "good",
        "message": "",
        "backup": "nightly-20261124010000",
        "started": stamp(NOW - timedelta(days=days_ago, minutes=4)),
        "finished": stamp(NOW - timedelta(days=days_ago)),
        "rpo": 31320.0,
        "rto": 141.5,
        "stateful_sets": ["postgresql", "mongodb"],
        "checks": ["every database has its tables", "the newest build is there"],
        "isolation": "proven",
    }
    return record | over


def store(kind: str, where: str, **over: Any) -> dict[str, Any]:
    """Return a store as the report of the role backup has it; protected unless something else is given."""
    said = {"backup": "a finished volume copy in this backup", "escrow": "encrypted, read back and compared", "outside": "versioning and replication"}
    entry = {"kind": kind, "name": kind, "where": where, "protection": said.get(where), "proven": None, "age": None, "limit": None, "good": True}
    return {**entry, "verdict": "", "line": kind, **over}


def stores() -> list[dict[str, Any]]:
    """Return the stores of the report of the role backup, all of them protected."""
    inside = (("postgresql", "data-postgresql-0"), ("mongodb", "datadir-mongodb-0"), ("vault", "data-vault-0"))
    return [
        *(store(kind, "backup", name=f"circleci-server/{claim}") for kind, claim in inside),
        store("object_storage", "outside", name="artifacts", proven=stamp(NOW - timedelta(hours=9)), limit=93600),
        *(store(kind, "escrow", name="escrow file") for kind in ("keysets", "console_configuration", "nomad_certificates")),
    ]


def raw(**over: Any) -> dict[str, Any]:
    """Return what the filter backup_status is given, of an installation where all is well."""
    history = [backup(f"nightly-202611{28 - day:02d}010000", 11 + 24 * day, bytes=int((6.4 - 0.045 * day) * 1024**3)) for day in range(24)]
    history[9] = failed(history[9]["name"], 11 + 24 * 9)
    history[15] |= {"good": None, "verdict": "the store cannot be reached from here, so it is not known which claims had to be in it"}
    given: dict[str, Any] = {
        "title": "Backups of CircleCI Server",
        "namespace": "velero",
        "made": stamp(NOW),
        "target": "24h",
        "drill_target": "720h",
        "velero": [velero()],
        "backups": history,
        "trend": [],
        "stores": stores(),
        "report": "backup-report.json",
        "may_have": None,
    }
    return given | over


def stale() -> dict[str, Any]:
    """Return an installation whose schedule was paused three days ago, with a newest backup that failed."""
    given = raw()
    history = given["backups"][3:]
    history.insert(0, failed("before-upgrade", 20))
    paused = velero(last_drill=drill(45))
    paused["schedules"][0] |= {"paused": True, "next_run": None}
    paused["node_agents"][1] |= {
        "ready": False,
        "reason": "Unschedulable",
        "message": "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match Pod's node affinity/selector.",
    }
    return given | {
        "backups": history,
        "velero": [paused],
        "stores": [*stores()[:4], store("keysets", "nowhere", good=False, verdict="keysets: it is neither in the backup nor in escrow nor declared")],
        "trend": [{"shrunk": True, "text": "Backup before-upgrade has 5.0 GiB of volumes, where the 7 before it have 6.3 GiB"}],
    }


def broken() -> dict[str, Any]:
    """Return an installation whose bucket is gone, without one good backup, and with a drill that failed."""
    given = raw()
    lost = velero()
    lost["storage_locations"][0] |= {
        "phase": "Unavailable",
        "message": 'BackupStorageLocation "default" is unavailable: rpc error: code = Unknown desc = operation error S3: ListObjectsV2, '
        "https response error StatusCode: 404, RequestID: 17, HostID: x, NoSuchBucket: The specified bucket does not exist",
    }
    lost["server"] |= {"ready": False, "version": None, "problem": "Deployment velero/velero: pod velero-7f9 is not ready (CrashLoopBackOff)"}
    record = drill(1, result="failed", message="PostgreSQL did not answer within 300 s", rto=None)
    history = [failed(f"nightly-202611{28 - day:02d}010000", 11 + 24 * day) for day in range(5)]
    return given | {"backups": history, "velero": [lost | {"last_drill": record}]}


def hostile() -> dict[str, Any]:
    """Return an installation in which everything that may have any text is markup."""
    given = raw(title=MARKUP, namespace="velero")
    entry = velero()
    entry["storage_locations"][0] |= {"name": MARKUP, "bucket": MARKUP, "phase": MARKUP, "message": MARKUP}
    entry["server"] |= {"version": MARKUP}
    entry["node_agents"][0] |= {"node": MARKUP, "ready": False, "reason": MARKUP, "message": MARKUP}
    entry["schedules"][0] |= {"name": MARKUP, "schedule": MARKUP, "validation_errors": [MARKUP]}
    record = drill(1, result="failed", message=MARKUP, backup=MARKUP, stateful_sets=[MARKUP], checks=[MARKUP], isolation=MARKUP)
    bad = failed(MARKUP, 1) | {"verdict": MARKUP, "phase": MARKUP, "schedule": MARKUP, "excluded": [MARKUP]}
    bad["uncovered"] = [{"namespace": MARKUP, "claim": MARKUP, "reason": MARKUP}]
    bad["volumes"][0] |= {"namespace": MARKUP, "claim": MARKUP, "method": MARKUP}
    second = backup(MARKUP, 3) | {"phase": "Failed", "good": False, "verdict": MARKUP}
    told = store(MARKUP, "outside", name=MARKUP + "2", protection=MARKUP, verdict=MARKUP, good=False)
    return given | {
        "velero": [entry | {"last_drill": record}],
        "backups": [second, bad],
        "stores": [told],
        "trend": [{"shrunk": True, "text": MARKUP}],
    }


def states() -> dict[str, dict[str, Any]]:
    """Return the installations by the state that they are in."""
    return {"good": raw(), "stale": stale(), "broken": broken()}
