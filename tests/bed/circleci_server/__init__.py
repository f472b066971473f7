# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace shaped like CircleCI Server 3.x: its objects, names and labels, a real PostgreSQL, and twins for the vendor's programs."""

from __future__ import annotations

from .content import DATABASES, SEED
from .installation import (
    EXPECTED,
    InstallationError,
    State,
    address,
    checksums,
    databases,
    destroy,
    expected_checksums,
    fetch,
    install,
    look,
    seed,
    sql,
    wait_ready,
)
from .objects import LOAD_BALANCERS, NAMESPACE, POSTGRESQL_IMAGE, WORKLOADS, objects

__all__ = [
    "DATABASES",
    "EXPECTED",
    "LOAD_BALANCERS",
    "NAMESPACE",
    "POSTGRESQL_IMAGE",
    "SEED",
    "WORKLOADS",
    "InstallationError",
    "State",
    "address",
    "checksums",
    "databases",
    "destroy",
    "expected_checksums",
    "fetch",
    "install",
    "look",
    "objects",
    "seed",
    "sql",
    "wait_ready",
]
