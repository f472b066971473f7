# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares every row of every database and every file of every volume with what was put there; tests/demo/verify.yml runs it after a restore.

usage: python3 -m tests.demo.rows BED      prints {"rows": {database: number}, "found": {...}, "expected": {...}}, and ends with 1 when they differ
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.bed import circleci_server
from tests.bed.driver import Bed


def compared(bed: Bed) -> dict[str, Any]:
    """Rows by database, checksums that were found, and those that were expected."""
    rows = {f"database/{name}": sum(fingerprint.rows.values()) for name, fingerprint in circleci_server.databases(bed).items()}
    return {"rows": rows, "found": circleci_server.checksums(bed), "expected": circleci_server.expected_checksums()}


def main() -> int:
    """Command line."""
    answer = compared(Bed.attach(sys.argv[1]))
    sys.stdout.write(json.dumps(answer) + "\n")
    return int(answer["found"] != answer["expected"])


if __name__ == "__main__":
    sys.exit(main())
