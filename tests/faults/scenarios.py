# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules are asked to do while faults happen: the state before, the options, the state that a success claims."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.faults.cluster import KEY, LOCATION, PERIOD, SECRET, Location, Store

ONE = Location("one", "first")
TWO = Location("two", "second")
NOWHERE = replace(TWO, bucket="no-such-bucket")


@dataclass(frozen=True)
class Scenario:
    """One task. older: a state that the cluster was in before `before`, which a stale read shows; None means no location.

    fails: the task cannot succeed, with or without faults, and its message holds this text.
    """

    name: str
    module: str
    older: Location | None
    before: Location | None
    wanted: Location | None
    state: str = "present"
    fails: str = ""
    only: tuple[str, ...] = ()

    @property
    def manages(self) -> bool:
        return self.module == "velero_storage_location"

    def options(self, namespace: str, store: Store, kubeconfig: str, timeout: int) -> dict[str, Any]:
        """Return the module's options."""
        login = {"kubeconfig": kubeconfig, "namespace": namespace, "timeout": timeout}
        if not self.manages:
            return login
        if self.wanted is None:
            return {**login, "name": LOCATION, "state": "absent"}
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
    Scenario("info", "velero_info", older=None, before=ONE, wanted=ONE),
)
