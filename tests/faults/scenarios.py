# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules are asked to do while faults happen: the state before, the options, the state that a success claims."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.faults.backups import Backed, BackupCluster
from tests.faults.cluster import KEY, LOCATION, PERIOD, SECRET, Cluster, Location, Store
from tests.faults.installation import Installation, Installed
from tests.faults.restores import Planned, RestoreCluster, Restored, ScheduleCluster
from tests.faults.snapshots import SECRET as SNAPSHOT_SECRET
from tests.faults.snapshots import SnapshotCluster, Snapshots

ONE = Location("one", "first")
TWO = Location("two", "second")
NOWHERE = replace(TWO, bucket="no-such-bucket")
HERE = Snapshots("here", "first")
THERE = Snapshots("there", "second")
RUNNING = Installed("11s", "one", "first")
KEPT = Backed()
LONGER = Backed("96h0m0s")
BACK = Restored()
YEARLY = Planned()
DAILY = Planned("0 3 * * *", "96h0m0s")
State = Location | Snapshots | Installed | Backed | Restored | Planned | None
"""Of what a scenario is about; None when it is not there."""


@dataclass(frozen=True)
class Scenario:
    """One task. older: a state that the cluster was in before `before`, which a stale read shows; None means no location of the task's kind.

    fails: the task cannot succeed, with or without faults, and its message holds this text.
    """

    name: str
    module: str
    older: State
    before: State
    wanted: State
    state: str = "present"
    fails: str = ""
    only: tuple[str, ...] = ()

    @property
    def manages(self) -> bool:
        return self.module != "velero_info"

    @property
    def installs(self) -> bool:
        return self.module == "velero_install"

    def part(self, cluster: Cluster, installation: Installation) -> Any:
        """Return what the states are states of: the installation, the snapshot location or the storage location."""
        if self.installs:
            return installation
        if self.module == "velero_backup":
            return BackupCluster(cluster)
        if self.module == "velero_restore":
            return RestoreCluster(cluster)
        if self.module == "velero_schedule":
            return ScheduleCluster(cluster)
        return SnapshotCluster(cluster) if self.module == "velero_snapshot_location" else cluster

    def options(self, namespace: str, store: Store, kubeconfig: str, timeout: int, installation: Installation) -> dict[str, Any]:
        """Return the module's options."""
        login = {"kubeconfig": kubeconfig, "namespace": namespace, "timeout": timeout}
        if self.installs:
            return {**login, **(installation.options(self.wanted) if isinstance(self.wanted, Installed) else {"state": "absent"})}
        if self.module == "velero_backup":
            return {**login, **BackupCluster(installation.cluster).options(self.wanted if isinstance(self.wanted, Backed) else None)}
        if self.module == "velero_restore":
            return {**login, **RestoreCluster(installation.cluster).options(self.wanted if isinstance(self.wanted, Restored) else None)}
        if self.module == "velero_schedule":
            return {**login, **ScheduleCluster(installation.cluster).options(self.wanted if isinstance(self.wanted, Planned) else None)}
        if isinstance(self.wanted, (Installed, Backed, Restored, Planned)):
            raise TypeError("the state of an installation is wanted of another module")
        if not self.manages:
            return login
        if self.wanted is None:
            return {**login, "name": LOCATION, "state": "absent"}
        if isinstance(self.wanted, Snapshots):
            return {
                **login,
                "name": LOCATION,
                "provider": "aws",
                "config": {"region": self.wanted.region},
                "credential": {"name": SNAPSHOT_SECRET, "key": KEY, "content": store.credentials[self.wanted.account]},
            }
        if self.only:
            return {**login, "name": LOCATION} | {name: getattr(self.wanted, name) for name in self.only}
        return {
            **login,
            "name": LOCATION,
            "provider": "aws",
            "bucket": self.wanted.bucket or store.bucket,
            "prefix": f"{namespace}-{self.wanted.prefix}",
            "config": dict(store.config),
            "validation_frequency": PERIOD,
            "credential": {"name": SECRET, "key": KEY, "content": store.credentials[self.wanted.account]},
        }


SCENARIOS = (
    Scenario("create", "velero_storage_location", older=ONE, before=None, wanted=ONE),
    Scenario("change", "velero_storage_location", older=TWO, before=ONE, wanted=TWO),
    Scenario("unchanged", "velero_storage_location", older=TWO, before=ONE, wanted=ONE),
    Scenario(
        "make default", "velero_storage_location", older=replace(ONE, default=True), before=ONE, wanted=replace(ONE, default=True), only=("default",)
    ),
    Scenario("remove", "velero_storage_location", older=None, before=ONE, wanted=None),
    Scenario("change to no bucket", "velero_storage_location", older=NOWHERE, before=ONE, wanted=NOWHERE, fails="Unavailable"),
    Scenario("create snapshots", "velero_snapshot_location", older=HERE, before=None, wanted=HERE),
    Scenario("change snapshots", "velero_snapshot_location", older=THERE, before=HERE, wanted=THERE),
    Scenario("unchanged snapshots", "velero_snapshot_location", older=THERE, before=HERE, wanted=HERE),
    Scenario("remove snapshots", "velero_snapshot_location", older=None, before=HERE, wanted=None),
    Scenario("make backup", "velero_backup", older=None, before=None, wanted=KEPT),
    Scenario("backup made", "velero_backup", older=None, before=KEPT, wanted=KEPT),
    Scenario("backup of another kind", "velero_backup", older=LONGER, before=KEPT, wanted=LONGER, fails="A backup cannot be changed"),
    Scenario("remove backup", "velero_backup", older=None, before=KEPT, wanted=None),
    Scenario("restore", "velero_restore", older=None, before=None, wanted=BACK),
    Scenario("restored", "velero_restore", older=None, before=BACK, wanted=BACK),
    Scenario("restore of another kind", "velero_restore", older=None, before=BACK, wanted=Restored("update"), fails="a restore cannot be changed"),
    Scenario("remove restore", "velero_restore", older=None, before=BACK, wanted=None),
    Scenario("make schedule", "velero_schedule", older=None, before=None, wanted=YEARLY),
    Scenario("change schedule", "velero_schedule", older=DAILY, before=YEARLY, wanted=DAILY),
    Scenario("unchanged schedule", "velero_schedule", older=DAILY, before=YEARLY, wanted=YEARLY),
    Scenario("remove schedule", "velero_schedule", older=None, before=YEARLY, wanted=None),
    Scenario("info", "velero_info", older=None, before=ONE, wanted=ONE),
    Scenario("install", "velero_install", older=None, before=None, wanted=RUNNING),
    Scenario("installed", "velero_install", older=replace(RUNNING, argument="12s"), before=RUNNING, wanted=RUNNING),
    Scenario("install with other arguments", "velero_install", older=None, before=RUNNING, wanted=replace(RUNNING, argument="13s")),
    Scenario(
        "install with another key and place",
        "velero_install",
        older=replace(RUNNING, prefix="two"),
        before=RUNNING,
        wanted=replace(RUNNING, prefix="two", account="second"),
    ),
    Scenario("uninstall", "velero_install", older=None, before=RUNNING, wanted=None),
)
WHOLE_ONLY = frozenset({"velero_backup", "velero_restore", "velero_schedule"})
"""Modules whose scenarios run in the whole suite alone: they store in the buckets of the others, whose remains are at times taken for theirs."""
SAMPLED = tuple(scenario for scenario in SCENARIOS if scenario.module not in WHOLE_ONLY)
