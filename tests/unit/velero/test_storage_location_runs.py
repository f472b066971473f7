# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs of a storage location against a twin of API server and Velero on one made-up clock: a success has to be true at its end."""

from __future__ import annotations

import copy
import email.utils
import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, ensure
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.difference import patched
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import DeadlineOver, NotProven, OperationError
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Answer, Broken, Effect, Request, Transport
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import objects
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.exchange import explain
from ansible_collections.serverops.circleci.plugins.module_utils._velero import duration, storage_location

Object = dict[str, Any]
ZERO = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
NAME, NAMESPACE = "offsite", "velero"
TURN = 10.0
"""Seconds between two looks of the server for validations that are due."""


class VeleroTwin:
    """An API server with locations and Secrets, and a Velero server that validates one location after the other.

    works: tells by spec and Secret whether the store answers rightly; seconds: how long a validation takes. faults: for each write in turn
    None, "lost" (done, answer lost), "cut" (not done, answer lost) or a status.
    """

    def __init__(self, works: Callable[[Object, str], bool], seconds: Callable[[Object], float] = lambda spec: 0.1) -> None:
        self.works, self.seconds = works, seconds
        self.now = 0.0
        self.store: dict[str, Object] = {}
        self.faults: list[Any] = []
        self.writes: list[str] = []
        self.asked = False  # a change waits for its validation
        self.running: tuple[float, bool] | None = None
        self.looked = 0.0
        self.version = 0

    # time

    def sleep(self, seconds: float) -> None:
        end = self.now + seconds
        while self._velero(end):
            pass
        self.now = end

    def _velero(self, end: float) -> bool:
        """Carry out the next thing that Velero does before `end`; False when there is none."""
        location = self.store.get(f"backupstoragelocations/{NAME}")
        if self.running is not None:
            ends, right = self.running
            if ends > end:
                return False
            self.now, self.running = max(self.now, ends), None
            if location is not None:
                location["status"] = {"phase": "Available" if right else "Unavailable", "lastValidationTime": self.stamp()}
                location["status"] |= {} if right else {"message": "NoSuchBucket"}
            return True
        if location is None:
            return False
        if not self.asked:
            every = duration.seconds(location["spec"].get("validationFrequency") or "1m")
            last = location.get("status", {}).get("lastValidationTime")
            due = (datetime.fromisoformat(last) - ZERO).total_seconds() + every if last else 0.0
            turn = max(due, self.now)
            turn += -turn % TURN
            if not every or turn > end:
                return False
            self.now = turn
        self.asked = False
        spec = copy.deepcopy(location["spec"])
        self.running = (self.now + self.seconds(spec), self.right(spec))
        return True

    def right(self, spec: Object) -> bool:
        credential = spec.get("credential")
        secret = self.store.get(f"secrets/{credential['name']}", {}) if credential else {}
        return self.works(spec, secret.get("data", {}).get("cloud", ""))

    def stamp(self) -> str:
        return (ZERO + timedelta(seconds=int(self.now))).strftime("%Y-%m-%dT%H:%M:%SZ")

    # the API server

    def __call__(self, request: Request, _timeout: float) -> Answer:
        self.sleep(0.01)
        parts = request.path.strip("/").split("/")
        kind, name = (parts[parts.index("namespaces") + 2], (*parts, "")[parts.index("namespaces") + 3]) if "namespaces" in parts[:-2] else ("", "")
        if request.method == "GET":
            return self.read(kind, name, request)
        if kind == "serverstatusrequests":
            return self.answer(201, {"metadata": {"name": "x"}, "status": {"phase": "Processed", "serverVersion": "v1.17.2"}})
        assert request.effect is Effect.WRITE
        self.writes.append(f"{request.method} {kind}")
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            return self.answer(fault, {"kind": "Status", "message": "no", "details": {"name": "x"}})
        if fault == "cut":
            raise Broken("cut", sent=True)
        answer = self.write(request, kind, name)
        if fault == "lost":
            raise Broken("cut", sent=True)
        return answer

    def read(self, kind: str, name: str, request: Request) -> Answer:
        if not kind:
            return self.answer(200, {"metadata": {"name": NAMESPACE}, "gitVersion": "v1.36.2"})
        if name:
            there = self.store.get(f"{kind}/{name}")
            return self.answer(200, there) if there else self.answer(404, {"kind": "Status", "message": "gone", "details": {"name": name}})
        found = [item for key, item in sorted(self.store.items()) if key.startswith(f"{kind}/")]
        if request.query.get("labelSelector"):
            label, _equals, value = request.query["labelSelector"].partition("=")
            found = [item for item in found if item["metadata"].get("labels", {}).get(label) == value]
        return self.answer(200, {"items": found, "metadata": {"resourceVersion": str(self.version)}})

    def write(self, request: Request, kind: str, name: str) -> Answer:
        self.version += 1
        if request.method == "POST":
            name = request.body["metadata"]["name"]
            if f"{kind}/{name}" in self.store:
                return self.answer(409, {"kind": "Status", "reason": "AlreadyExists", "details": {"name": name}})
            item = copy.deepcopy(request.body)
            item["metadata"] |= {"uid": f"uid-{self.version}", "namespace": NAMESPACE, "creationTimestamp": self.stamp()}
            there: Object = {}
        elif request.method == "DELETE":
            return self.answer(200, self.store.pop(f"{kind}/{name}", {"metadata": {}}))
        else:
            there = self.store[f"{kind}/{name}"]
            wanted = request.body.get("metadata", {}).get("resourceVersion")
            if wanted and wanted != there["metadata"]["resourceVersion"]:
                return self.answer(409, {"kind": "Status", "reason": "Conflict", "details": {"name": name}})
            item = patched(there, request.body)
        item["metadata"]["resourceVersion"] = str(self.version)
        self.manage(there, item, request.body)
        self.store[f"{kind}/{name}"] = item
        if kind == "backupstoragelocations" and item.get("spec") != there.get("spec"):
            if name == NAME:
                self.asked = True
            if item["spec"].get("default") and not there:
                self.one_default(name)
        return self.answer(201, item)

    def one_default(self, name: str) -> None:
        """Of several defaults the server keeps the newest, at once."""
        for key, item in self.store.items():
            if key.startswith("backupstoragelocations/") and not key.endswith(f"/{name}") and item["spec"].pop("default", None):
                self.version += 1
                item["metadata"]["resourceVersion"] = str(self.version)

    def manage(self, there: Object, item: Object, body: Object) -> None:
        """Keep managedFields as the API server does: an entry of ours with a field that we set and is there, dated by its last change."""
        entries = {entry["manager"]: entry for entry in there.get("metadata", {}).get("managedFields", [])}
        for field in ("spec", "data"):
            if there.get(field) == item.get(field):
                continue
            ours = set(entries.get("ours", {}).get("fieldsV1", {}).get(f"f:{field}", {})) | {f"f:{name}" for name in body.get(field) or {}}
            ours = {name for name in ours if name[2:] in item[field]}
            if ours:
                entries["ours"] = {"manager": "ours", "time": self.stamp(), "fieldsV1": {f"f:{field}": {key: {} for key in sorted(ours)}}}
            else:
                entries.pop("ours", None)
        item["metadata"]["managedFields"] = list(entries.values())

    def answer(self, status: int, document: Object) -> Answer:
        date = email.utils.format_datetime(ZERO + timedelta(seconds=int(self.now)), usegmt=True)
        return Answer(status, {"content-type": "application/json", "date": date}, json.dumps(document).encode())

    # what stands there before a run

    def stands(self, spec: Object, *, age: float = 20.0, name: str = NAME, phase: str | None = None) -> None:
        """A location that somebody else made an hour ago and that was validated `age` seconds ago."""
        made = (ZERO - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        fields = {f"f:{field}": {} for field in spec}
        self.version += 1
        self.store[f"backupstoragelocations/{name}"] = {
            "metadata": {
                "name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "resourceVersion": str(self.version), "creationTimestamp": made,
                "managedFields": [{"manager": "velero", "time": made, "fieldsV1": {"f:spec": fields}}],
            },
            "spec": copy.deepcopy(spec),
            "status": {
                "phase": phase or ("Available" if self.right(spec) else "Unavailable"),
                "lastValidationTime": (ZERO + timedelta(seconds=self.now - age)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
        }  # fmt: skip


def spec_of(**fields: Any) -> Object:
    return {"provider": "aws", "objectStorage": {"bucket": "good"}} | fields


def good(spec: Object, _secret: str) -> bool:
    return bool(spec["objectStorage"]["bucket"] == "good")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Object]:
    """A function (twin, options) that runs a task; the result has `waited_in_all`, an error is raised. Seconds: 300."""

    def carry_out(twin: VeleroTwin, *, timeout: float = 300.0, context: Context | None = None, **given: Any) -> Object:
        monkeypatch.setattr(objects, "time", SimpleNamespace(monotonic=lambda: twin.now))
        context = context or Context()
        deadline = Deadline(timeout, lambda: twin.now, twin.sleep)

        def snapshots(_api: Any, resource: Any, _namespace: str, name: str, *, deadline: Deadline) -> Iterator[Object | None]:
            while not deadline.over:
                yield copy.deepcopy(twin.store.get(f"{resource.plural}/{name}"))
                twin.sleep(0.25)

        monkeypatch.setattr(storage_location, "snapshots", snapshots)
        monkeypatch.setattr(storage_location, "Deadline", lambda seconds: Deadline(seconds, lambda: twin.now, twin.sleep))
        api = objects.Api(Transport(twin, context.guard(), deadline, explain, context.record))
        options = {**dict.fromkeys(storage_location.ARGUMENTS), "name": NAME, "namespace": NAMESPACE, "state": "present", **given}
        begun = twin.now
        result = ensure(storage_location.StorageLocation(options, api, context), context)
        return result | {"waited_in_all": twin.now - begun}

    return carry_out


def test_a_new_location(run: Any) -> None:
    twin = VeleroTwin(good)
    result = run(twin, provider="aws", bucket="good")
    assert (result["changed"], result["storage_location"]["phase"]) == (True, "Available")
    assert result["waited_in_all"] < 3
    again = run(twin, provider="aws", bucket="good")
    assert (again["changed"], again["requests"]) == (False, [])
    assert twin.writes == ["POST backupstoragelocations"]


def test_a_new_location_with_its_secret(run: Any) -> None:
    twin = VeleroTwin(lambda spec, secret: bool(secret))
    credential = {"name": "own", "key": "cloud", "content": "[default]\naws_access_key_id=a\naws_secret_access_key=b"}
    result = run(twin, provider="aws", bucket="good", credential=credential)
    assert result["storage_location"]["phase"] == "Available"
    assert result["waited_in_all"] < 4
    assert run(twin, state="absent")["storage_location"] is None
    assert [key for key in twin.store if key.startswith("secrets/")] == []


def test_a_secret_that_a_snapshot_location_uses_stays(run: Any) -> None:
    twin = VeleroTwin(lambda spec, secret: bool(secret))
    credential = {"name": "own", "key": "cloud", "content": "[default]\naws_access_key_id=a\naws_secret_access_key=b"}
    run(twin, provider="aws", bucket="good", credential=credential)
    twin.store["volumesnapshotlocations/volumes"] = {"metadata": {"name": "volumes"}, "spec": {"credential": {"name": "own", "key": "cloud"}}}
    assert [request["method"] for request in run(twin, state="absent")["requests"]] == ["DELETE"]
    assert "secrets/own" in twin.store


def test_a_wrong_bucket_is_said_at_once(run: Any) -> None:
    twin = VeleroTwin(good)
    with pytest.raises(NotProven, match="NoSuchBucket") as told:
        run(twin, provider="aws", bucket="bad")
    assert "Make the bucket" in str(told.value)
    assert twin.now < 5


def test_storage_that_is_cut_off_is_never_a_success(run: Any) -> None:
    twin = VeleroTwin(good, lambda spec: 1e9 if spec["objectStorage"]["bucket"] == "cut-off" else 0.1)
    twin.stands(spec_of())
    with pytest.raises(DeadlineOver, match="last seen: phase Available"):
        run(twin, bucket="cut-off", timeout=100)
    assert twin.now < 102


def test_a_default_that_the_server_takes_away_from_the_other_by_itself(run: Any) -> None:
    twin = VeleroTwin(good)
    twin.stands(spec_of(default=True), name="second")
    result = run(twin, provider="aws", bucket="good", default=True)
    assert result["changed"] is True
    assert not twin.store["backupstoragelocations/second"]["spec"].get("default")
    assert result["waited_in_all"] < 5


def test_nothing_to_do_costs_no_wait(run: Any) -> None:
    twin = VeleroTwin(good)
    twin.stands(spec_of())
    result = run(twin, provider="velero.io/aws", bucket="good", access_mode="ReadWrite")
    assert (result["changed"], result["requests"], "waited" in result) == (False, [], False)
    assert result["waited_in_all"] < 1


def test_a_server_that_is_down_is_never_a_success(run: Any) -> None:
    twin = VeleroTwin(good, lambda spec: 1e9)
    twin.stands(spec_of(), age=1000)
    with pytest.raises(DeadlineOver):
        run(twin, bucket="good")
    assert twin.now < 200


CHANGES: list[tuple[str, Object, Object]] = [
    ("set", spec_of(), {"access_mode": "ReadOnly"}),
    ("removal", spec_of(config={"region": "x"}), {"config": {}}),
    ("prefix", {"provider": "aws", "objectStorage": {"bucket": "good", "prefix": "a"}}, {"prefix": ""}),
    ("bucket", spec_of(), {"bucket": "bad"}),
    ("period", spec_of(validationFrequency="30s"), {"validation_frequency": "1m"}),
]


@pytest.mark.parametrize(("name", "spec", "given"), CHANGES, ids=[name for name, *_rest in CHANGES])
@pytest.mark.parametrize("lasts", [0.1, 0.9, 3.0])
@pytest.mark.parametrize("becomes", ["available", "unavailable", "hung"])
def test_a_validation_that_was_under_way_at_the_change_proves_nothing(
    run: Any, name: str, spec: Object, given: Object, lasts: float, becomes: str
) -> None:
    # the old state is fine and is being validated while the task writes; the new one is as `becomes` says
    old = json.dumps(spec, sort_keys=True)

    def meant(now: Object) -> str:
        # the period may differ for a moment without another meaning
        return json.dumps(
            {key: value for key, value in now.items() if key != "validationFrequency"} | ({} if name != "period" else now), sort_keys=True
        )

    def is_old(now: Object) -> bool:
        return meant(now) == meant(json.loads(old))

    twin = VeleroTwin(lambda now, secret: is_old(now) or becomes != "unavailable", lambda now: lasts if is_old(now) or becomes != "hung" else 1e9)
    twin.stands(spec, age=50)
    twin.running = (lasts, True)
    if becomes == "available":
        assert run(twin, timeout=120, **given)["storage_location"]["phase"] == "Available"
    else:
        with pytest.raises(DeadlineOver if becomes == "hung" else NotProven):
            run(twin, timeout=120, **given)


@pytest.mark.parametrize("lasts", [0.1, 0.9, 3.0])
@pytest.mark.parametrize("becomes", ["unavailable", "hung", "available"])
def test_new_credentials_alone_are_proven_by_a_validation_with_them(run: Any, lasts: float, becomes: str) -> None:
    twin = VeleroTwin(lambda spec, secret: secret == "b2xk" or becomes != "unavailable")
    twin.seconds = lambda spec: lasts if twin.store["secrets/own"]["data"]["cloud"] == "b2xk" or becomes != "hung" else 1e9
    twin.store["secrets/own"] = {
        "metadata": {"name": "own", "uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-11-21T11:00:00Z"}, "data": {"cloud": "b2xk"},
    }  # fmt: skip
    twin.stands(spec_of(credential={"name": "own", "key": "cloud"}), age=50)
    twin.running = (lasts, True)
    try:
        run(twin, timeout=120, credential={"name": "own", "key": "cloud", "content": "new"})
        ended = "available"
    except OperationError:
        ended = "failed"
    assert ended == ("available" if becomes == "available" else "failed")


@pytest.mark.parametrize("fault", ["lost", "cut", 409])
@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("exists", [False, True])
def test_a_fault_at_each_write(run: Any, fault: Any, at: int, exists: bool) -> None:
    twin = VeleroTwin(good)
    credential = {"name": "own", "key": "cloud", "content": "[default]\nx=y"}
    if exists:
        twin.stands(spec_of(validationFrequency="30s"))
    twin.faults = [None] * at + [fault]
    context = Context()
    wish = {"provider": "aws", "bucket": "good", "prefix": "a", "credential": credential}
    told: OperationError | None = None
    try:
        result = run(twin, context=context, **wish)
        assert result["storage_location"]["phase"] == "Available"
        assert result["changed"] is True
    except OperationError as error:
        told = error
    # only a creation that did not arrive, and of which that cannot be known, is an error
    creation = at < 2 and (not exists or at == 0)
    assert (told is not None) is (fault == "cut" and creation), told
    assert told is None or context.record.written
    assert len([entry for entry in twin.writes if entry == "POST secrets"]) == 1 + (fault == 409 and at == 0)
    # and again: it converges, then nothing is left to do
    assert run(twin, **wish)["storage_location"]["phase"] == "Available"
    final = run(twin, **wish)
    assert (final["changed"], final["requests"]) == (False, [])
    assert "001s" not in (twin.store[f"backupstoragelocations/{NAME}"]["spec"].get("validationFrequency") or "")


@pytest.mark.parametrize("seed", range(60))
def test_a_success_is_true_whatever_the_clock_says(run: Any, seed: int) -> None:
    dice = random.Random(seed)
    verdicts = {bucket: dice.random() < 0.6 for bucket in "abc"}
    hangs = {bucket: dice.choice([0.1, 0.4, 2.0, 8.0, 40.0]) for bucket in "abc"}
    twin = VeleroTwin(lambda spec, secret: verdicts[spec["objectStorage"]["bucket"][0]], lambda spec: hangs[spec["objectStorage"]["bucket"][0]])
    twin.stands({"provider": "aws", "objectStorage": {"bucket": "aaa"}}, age=dice.choice([1, 30, 57, 59, 61, 66, 75, 200]))
    twin.sleep(dice.random() * 3)
    for bucket in dice.sample(["aaa", "bbb", "ccc"], 2):
        try:
            result = run(twin, bucket=bucket, timeout=dice.choice([60, 300]))
        except OperationError:
            continue
        assert verdicts[bucket[0]]
        assert result["storage_location"]["bucket"] == bucket
