# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed: a Kubernetes cluster of real components in namespaces of its own, with object stores and Velero, on this machine.

From a shell (root, or it asks sudo): `python3 -m tests.bed.driver up|down|lose|status|node|kubectl|env|build|preflight`.

From a test::

    from tests.bed.driver import Bed

    bed = Bed.attach()                       # the bed that `make bed` started
    bed = Bed.up("mine")                     # one of the test's own; bed.down() ends it
    bed.kubeconfig, bed.api_server, bed.ca_file
    bed.kubectl("get", "nodes")              # as user "bed-driver"
    mark = bed.audit_mark(); ...             # requests of user "admin" (bed.kubeconfig) since then
    writes = [event for event in bed.audit(mark) if event["verb"] not in READ_VERBS]
    bed.s3.make_bucket("one"); bed.gcs.service_account_key()
    bed.velero_install("1.17.2", "one").cli("backup", "get")
    bed.add_node(2, cpu_reserved="1500m"); bed.delete_node(2, keep=True)
    bed.lose(); bed = Bed.up("mine")         # the whole cluster lost; a new one beside the same object stores
    bed.stop_process("s3"); bed.start_process("s3"); bed.health()

BedError says what was done, what was seen and what to do next. Everything a bed writes lies in bed.run_dir and /run/serverops-bed/<name>.
"""

from __future__ import annotations

from .audit import READ_VERBS
from .bed import Bed, down, lose
from .paths import DEFAULT_NAME, BedError
from .storage import S3, Gcs
from .velero import Velero

__all__ = ["DEFAULT_NAME", "READ_VERBS", "S3", "Bed", "BedError", "Gcs", "Velero", "down", "lose"]
