# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the installation's databases and volumes hold: made from a seed, and the checksums it must have, computed without looking at it."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from string import Template

SEED = "circleci-server"


@dataclass(frozen=True)
class Database:
    """A database of the guide's list: its extensions, and the tables (name, rows) that the bed gives it."""

    extensions: tuple[str, ...]
    tables: tuple[tuple[str, int], ...]


# Names and extensions: guide 3.1, "Preparing the Database" (which prints "uuid-oss" for uuid-ossp). Its application's tables are not public; of the
# names here four are (build_jobs, contexts, qrtz_blob_triggers, tasks: the vendor's own check of a dump looks for them), the others are the bed's.
DATABASES: dict[str, Database] = {
    "circle": Database(("pgcrypto", "uuid-ossp"), (("users", 40), ("projects", 60))),
    "contexts": Database(("uuid-ossp",), (("contexts", 50),)),
    "conductor_production": Database(("uuid-ossp",), (("workflows", 120), ("build_jobs", 400))),
    "contexts_service_production": Database(("uuid-ossp",), (("context_variables", 80),)),
    "cron_service_production": Database(("uuid-ossp",), (("qrtz_blob_triggers", 30),)),
    "domain": Database((), (("organizations", 20),)),
    "permissions": Database(("uuid-ossp",), (("grants", 150),)),
    "vms": Database(("uuid-ossp",), (("tasks", 70),)),
    "orbs": Database(("uuid-ossp",), (("orbs", 25), ("orb_versions", 90))),
    "orb_analytics": Database(("uuid-ossp",), (("orb_usage", 110),)),
    "builds_service": Database(("uuid-ossp",), (("builds", 300),)),
    "distributor": Database(("uuid-ossp",), (("queue", 45),)),
}

EPOCH = datetime(2021, 6, 1, tzinfo=UTC)
FILES_PER_VOLUME = 12

TABLE_SQL = Template("""\
CREATE TABLE $table (id bigint PRIMARY KEY, uuid uuid NOT NULL, name text NOT NULL, payload text NOT NULL, created_at timestamptz NOT NULL);
INSERT INTO $table
SELECT i, md5('$key/' || i || '/uuid')::uuid, '$table-' || i, repeat(md5('$key/' || i || '/payload'), 8),
  timestamptz '$epoch' + i * interval '61 seconds'
FROM generate_series(1, $rows) AS i;""")


def initialization_sql() -> str:
    """The guide's "Preparing the Database", for psql: what the installation's first start runs."""
    lines = []
    for name, database in DATABASES.items():
        lines.append(f"CREATE DATABASE {name} STRATEGY file_copy;")
        if database.extensions:
            lines.append(f"\\connect {name}")
            lines.extend(f'CREATE EXTENSION IF NOT EXISTS "{extension}";' for extension in database.extensions)
    return "\n".join(lines) + "\n"


def seed_sql(seed: str) -> str:
    """Input of psql that brings every database to the seeded state, whatever tables it had before."""
    literal = seed.replace("'", "''")
    lines = ["\\set QUIET on", "\\set ON_ERROR_STOP on"]
    for name, database in DATABASES.items():
        lines += [
            f"\\connect {name}",
            "BEGIN;",
            "SET LOCAL client_min_messages = warning;",
            "SET LOCAL TimeZone = 'UTC';",
            "SELECT format('DROP TABLE %I.%I CASCADE', schemaname, tablename) FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') \\gexec",
        ]
        for table, rows in database.tables:
            lines.append(TABLE_SQL.substitute(table=table, rows=rows, key=f"{literal}/{name}/{table}", epoch=EPOCH.isoformat()))
        lines.append("COMMIT;")
    return "\n".join(lines) + "\n"


# Run in the pod: after a line "database <name>" one line "extension <name>" or "table <schema.name> <rows> <md5 of all rows>" each, for every
# database and table that is there (not those that should be): a lost one, a stray one and a changed row all show. PGTZ fixes the text of timestamps.
FINGERPRINT_SCRIPT = r"""
set -eu
export PGPASSWORD="$POSTGRES_PASSWORD" PGTZ=UTC
q() { psql -X -U postgres -A -t -q -v ON_ERROR_STOP=1 "$@"; }
for d in $(q -d postgres -c "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY datname COLLATE \"C\""); do
  echo "database $d"
  q -d "$d" <<'SQL'
SELECT 'extension ' || extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY extname COLLATE "C";
SELECT format('SELECT %L || count(*) || '' '' || md5(coalesce(string_agg(t::text, E''\n'' ORDER BY t::text COLLATE "C"), '''')) FROM %I.%I AS t',
  'table ' || schemaname || '.' || tablename || ' ', schemaname, tablename)
FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY (schemaname || '.' || tablename) COLLATE "C" \gexec
SQL
done
"""


@dataclass(frozen=True)
class Fingerprint:
    """What one database holds: the lines of FINGERPRINT_SCRIPT for it."""

    lines: tuple[str, ...]

    @property
    def checksum(self) -> str:
        """SHA-256 of the lines, hexadecimal."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()

    @property
    def rows(self) -> dict[str, int]:
        """Table to number of rows."""
        return {words[1]: int(words[2]) for words in (line.split() for line in self.lines) if words[0] == "table"}


def parse_fingerprints(text: str) -> dict[str, Fingerprint]:
    """Database to fingerprint, from the output of FINGERPRINT_SCRIPT."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        kind, _space, rest = line.partition(" ")
        if kind == "database":
            current = found[rest] = []
        elif kind in ("extension", "table") and found:
            current.append(line)
        else:
            raise ValueError(f"the fingerprint of the databases has a line that is none of its own: {line[:80]!r}")
    return {name: Fingerprint(tuple(lines)) for name, lines in found.items()}


def expected_fingerprints(seed: str = SEED) -> dict[str, Fingerprint]:
    """What FINGERPRINT_SCRIPT prints after seed_sql(seed), computed here and not read from a server."""
    answer = {}
    for name, database in DATABASES.items():
        lines = [f"extension {extension}" for extension in sorted(database.extensions)]
        for table, rows in sorted(database.tables):
            text = []
            for i in range(1, rows + 1):
                uuid = _md5(f"{seed}/{name}/{table}/{i}/uuid")
                uuid = "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]))
                created = (EPOCH + timedelta(seconds=61 * i)).strftime("%Y-%m-%d %H:%M:%S+00")
                text.append(f'({i},{uuid},{table}-{i},{_md5(f"{seed}/{name}/{table}/{i}/payload") * 8},"{created}")')
            lines.append(f"table public.{table} {rows} {_md5(chr(10).join(sorted(text)))}")
        answer[name] = Fingerprint(tuple(lines))
    return answer


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def volume_files(volume: str, seed: str = SEED) -> dict[str, bytes]:
    """Path to contents of the files that the seed puts on a volume ("mongodb-0/datadir"): a few sizes, one of them empty."""
    files = {}
    for i in range(FILES_PER_VOLUME):
        block = hashlib.sha256(f"{seed}/{volume}/{i}".encode()).digest()
        files[f"seeded/{i % 3}/file-{i:02d}"] = block * (i * i * 16)
    return files


def volume_archive(volume: str, seed: str = SEED) -> bytes:
    """A tar archive of volume_files()."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, data in volume_files(volume, seed).items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.mtime = len(data), 0o640, int(EPOCH.timestamp())
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def volume_script(mount: str) -> str:
    """Shell text that prints a sha256sum line per file below the mount; Velero's own restore marker (.velero) does not count."""
    return f"cd {mount} && find . -path ./.velero -prune -o -type f -print | sort | xargs -r sha256sum"


def volume_checksum(lines: Iterable[str]) -> str:
    """One SHA-256 over the lines of volume_script(), hexadecimal."""
    return hashlib.sha256("\n".join(sorted(line.strip() for line in lines if line.strip())).encode()).hexdigest()


def expected_volume_checksum(volume: str, seed: str = SEED) -> str:
    """volume_checksum() of a volume that holds volume_files() and nothing else."""
    return volume_checksum(f"{hashlib.sha256(data).hexdigest()}  ./{path}" for path, data in volume_files(volume, seed).items())
