# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a snapshot location on generated pairs of wish and state, and whole runs against a small twin of API server and Velero."""

from __future__ import annotations

import base64
import copy
import email.utils
import json
import random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Plan, ensure
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.difference import patched
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import (
    Absent,
    DeadlineOver,
    Forbidden,
    InputError,
    NotProven,
    OperationError,
)
from ansible_collections.serverops.circleci.plugins.module_utils._core.secret import MASK, forms
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Answer as HttpAnswer
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Broken, Effect, Request, Transport
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import objects
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.exchange import explain
from ansible_collections.serverops.circleci.plugins.module_utils._velero import location_options, location_view, server, snapshot_location
from ansible_collections.serverops.circleci.plugins.module_utils._velero.snapshot_location import OWNER, Answer, Observed, SnapshotLocation
from hypothesis import given, settings
from hypothesis import strategies as st

Object = dict[str, Any]
NAME, NAMESPACE = "volumes", "velero"
KIND = "volumesnapshotlocations"
CONTENTS = ["[default]\naws_secret_access_key=canary-one-1111", "canary-two-2222"]
FORBIDDEN = {form for secret in [*CONTENTS, "canary-other-file"] for form in forms(secret)} - {"[default]"}
ALL = Answer("v1.17.2", ("velero.io/aws", "velero.io/gcp"))


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class NoApi:
    """Stands where the API would: whoever plans by it has done I/O."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the plan asked the API for {name}")


class Store:
    """Objects of one namespace, with what the API server does about names, versions and uids."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.clock = 0

    def put(self, plural: str, name: str, annotations: Mapping[str, str] | None = None, **fields: Any) -> Object:
        self.clock += 1
        labels = {"app.kubernetes.io/managed-by": "serverops.circleci"} if annotations else {}
        metadata = {
            "name": name, "namespace": NAMESPACE, "uid": f"uid-{self.clock}", "resourceVersion": str(self.clock),
            "annotations": dict(annotations or {}), "labels": labels,
        }  # fmt: skip
        self.objects[plural, name] = {"metadata": metadata, **copy.deepcopy(fields)}
        return self.objects[plural, name]

    def carry_out(self, request: Request) -> None:
        assert request.effect is Effect.WRITE
        parts = request.path.split("/")
        plural, name = parts[parts.index("namespaces") + 2], parts[-1]
        if request.method == "POST":
            metadata = request.body["metadata"]
            assert (plural, metadata["name"]) not in self.objects, "made twice"
            fields = {key: value for key, value in request.body.items() if key in {"spec", "data"}}
            self.put(plural, metadata["name"], metadata.get("annotations", {}), **fields)
            return
        there = self.objects[plural, name]
        if request.method == "DELETE":
            assert request.body["preconditions"]["uid"] == there["metadata"]["uid"]
            del self.objects[plural, name]
            return
        body = copy.deepcopy(request.body)
        assert body["metadata"].pop("resourceVersion") == there["metadata"]["resourceVersion"], "not the version that was read"
        self.clock += 1
        self.objects[plural, name] = patched(there, body)
        self.objects[plural, name]["metadata"]["resourceVersion"] = str(self.clock)

    def observed(self, options: Mapping[str, Any], **over: Any) -> Observed:
        """What the module would read."""
        copied = copy.deepcopy(self.objects)
        locations = {name: item for (plural, name), item in copied.items() if plural == KIND}
        secrets = {name: item for (plural, name), item in copied.items() if plural == "secrets"}
        present = options["state"] == "present"
        own = () if present else tuple(item for item in secrets.values() if item["metadata"]["annotations"].get(OWNER) == NAME)
        others = tuple(item for name, item in sorted(locations.items()) if name != NAME)
        secret = secrets.get((options.get("credential") or {}).get("name")) if present else None
        seen: Object = {"others": others, "secret": secret, "own_secrets": own, "answer": ALL if present else None, **over}
        return Observed(True, True, locations.get(NAME), **seen)


def sometimes(dice: random.Random, *choices: Any, chance: float = 0.5) -> Any:
    return dice.choice(choices) if dice.random() < chance else None


def some_store(dice: random.Random) -> Store:
    """Locations as people, CLIs and servers leave them, and Secrets."""
    store = Store()
    for name in dice.sample([NAME, "second", "third"], dice.randrange(4)):
        spec: Object = {"provider": dice.choice(["aws", "velero.io/aws", "gcp"])}
        for field, value in (
            ("config", sometimes(dice, {}, {"region": "x"}, {"region": "y", "profile": "p"}, {"region": "x", "credentialsFile": "/tmp/x"})),
            ("credential", sometimes(dice, {"name": "own", "key": "cloud"}, {"name": "other", "key": "cloud"}, {"name": "own", "key": "k2"})),
        ):
            if value is not None:
                spec[field] = value
        store.put(KIND, name, spec=spec)
    for name in ("own", "other"):
        if dice.random() < 0.6:
            data = {key: b64(dice.choice([*CONTENTS, "canary-other-file"])) for key in ("cloud", "k2") if dice.random() < 0.6}
            store.put("secrets", name, {OWNER: NAME} if dice.random() < 0.4 else {}, data=data)
    return store


def some_options(dice: random.Random) -> Object:
    contents = [
        {"name": name, "key": key, "content": content} for name in ("own", "other") for key in ("cloud", "k2") for content in (*CONTENTS, None)
    ]
    return {
        "name": NAME,
        "namespace": NAMESPACE,
        "state": "present" if dice.random() < 0.85 else "absent",
        "provider": sometimes(dice, "aws", "velero.io/aws", "gcp", chance=0.8),
        "config": sometimes(dice, {}, {"region": "x"}, {"region": "y", "enableSharedConfig": True}, {"region": "x", "colour": 1}),
        "credential": sometimes(dice, *contents),
    }


def pair(seed: int) -> tuple[Object, Store]:
    dice = random.Random(seed)
    return some_options(dice), some_store(dice)


pairs = st.integers(0, 2**40).map(pair)


def manager(options: Object, *, check: bool = False) -> SnapshotLocation:
    return SnapshotLocation(options, NoApi(), Context(check_mode=check))  # type: ignore[arg-type]


def plan_of(options: Object, store: Store, *, check: bool = False, **over: Any) -> Plan | None:
    """The plan, or None where the options cannot be carried out on this state."""
    try:
        return manager(options, check=check).plan(store.observed(options, **over))
    except (InputError, NotProven):
        return None


def agrees(options: Object, store: Store) -> bool:
    """Whether the state is as asked for, each option by its own words."""
    here = store.objects.get((KIND, NAME))
    if options["state"] == "absent":
        used = {
            (item["spec"].get("credential") or {}).get("name") for (plural, name), item in store.objects.items() if plural == KIND and name != NAME
        }
        owned = {name for (plural, name), item in store.objects.items() if plural == "secrets" and item["metadata"]["annotations"].get(OWNER) == NAME}
        return here is None and owned <= used
    if here is None:
        return False
    spec, credential = here["spec"], options["credential"]
    if options["provider"] is not None and spec["provider"].removeprefix("velero.io/") != options["provider"].removeprefix("velero.io/"):
        return False
    config = {name: value for name, value in (spec.get("config") or {}).items() if name != "credentialsFile"}
    if options["config"] is not None and config != {name: str(value).lower() for name, value in options["config"].items()}:
        return False
    if credential and spec.get("credential") != {"name": credential["name"], "key": credential["key"]}:
        return False
    there = store.objects.get(("secrets", credential["name"]), {}).get("data", {}).get(credential["key"]) if credential else None
    return not credential or credential["content"] is None or there == b64(credential["content"])


@settings(max_examples=600)
@given(pairs)
def test_the_plan_is_pure_reaches_what_is_asked_and_then_is_empty(both: tuple[Object, Store]) -> None:
    options, store = both
    kept = copy.deepcopy((options, store.objects))
    observed = store.observed(options)
    frozen = copy.deepcopy(observed)
    plan = plan_of(options, store)
    assert (options, store.objects) == kept
    if plan is None:
        return
    assert manager(options).plan(observed) == plan
    assert observed == frozen
    assert (not plan.steps) is agrees(options, store), [step.reason for step in plan.steps]
    here = kept[1].get((KIND, NAME))
    assert plan.before.get("snapshot_location") == (location_view.snapshot_spec_view(NAME, here["spec"]) if here else None)
    for step in plan.steps:
        store.carry_out(step.request)
        assert step.reason
    assert agrees(options, store)
    there = store.objects.get((KIND, NAME))
    assert plan.after.get("snapshot_location") == (location_view.snapshot_spec_view(NAME, there["spec"]) if there else None)
    again = plan_of(options, store)
    assert again is not None
    assert again.steps == ()
    assert again.before == again.after or options["state"] == "absent"


@settings(max_examples=300)
@given(pairs)
def test_check_mode_plans_the_same_and_nothing_secret_is_in_a_plan(both: tuple[Object, Store]) -> None:
    options, store = both
    real, checked = plan_of(options, store), plan_of(options, store, check=True)
    if real is not None:
        assert checked == real
    if checked is None:
        return
    told = json.dumps(
        [checked.before, checked.after, checked.warnings, [[step.reason, step.request.shown(), step.request.target] for step in checked.steps]]
    )
    assert not [form for form in FORBIDDEN if form in told]


@settings(max_examples=200)
@given(pairs)
def test_what_is_not_asked_for_stays_as_it_is(both: tuple[Object, Store]) -> None:
    options, store = both
    plan = plan_of(options, store)
    objects_before = copy.deepcopy(store.objects)
    if plan is None or options["state"] == "absent" or (KIND, NAME) not in objects_before:
        return
    for step in plan.steps:
        store.carry_out(step.request)
    for field in ("provider", "config", "credential"):
        if options[field] is None:
            assert store.objects[KIND, NAME]["spec"].get(field) == objects_before[KIND, NAME]["spec"].get(field)
    for (plural, name), item in objects_before.items():
        if plural == KIND and name != NAME:
            assert store.objects[plural, name] == item
        elif plural == "secrets":
            changed = options["credential"] and options["credential"]["name"] == name and options["credential"]["key"]
            assert {key: value for key, value in store.objects[plural, name]["data"].items() if key != changed} == {
                key: value for key, value in item["data"].items() if key != changed
            }


# by example


def options_of(**given: Any) -> Object:
    return {**dict.fromkeys(snapshot_location.ARGUMENTS), "name": NAME, "namespace": NAMESPACE, "state": "present", **given}


AWS = {"provider": "aws", "config": {"region": "x"}}


def made(spec: Object | None = None, **others: str) -> Store:
    store = Store()
    for name, provider in others.items():
        store.put(KIND, name, spec={"provider": provider, "config": {"region": "x"}})
    if spec is not None:
        store.put(KIND, NAME, spec=AWS | spec)
    return store


def done(plan: Plan | None) -> list[str]:
    assert plan is not None
    return [f"{step.request.method} {step.request.path.rsplit('/', 1)[-1]}" for step in plan.steps]


def test_the_secret_is_made_before_the_location_that_names_it() -> None:
    plan = plan_of(options_of(**AWS, credential={"name": "own", "key": "cloud", "content": CONTENTS[0]}), made())
    assert done(plan) == ["POST secrets", f"POST {KIND}"]
    assert plan is not None
    assert plan.steps[0].request.body["metadata"]["annotations"] == {OWNER: NAME}
    assert plan.after["secret"] == {"name": "own", "data": {"cloud": MASK}}


def test_what_is_needed_to_make_a_location_is_named() -> None:
    with pytest.raises(InputError, match=f"option provider: it is needed to make VolumeSnapshotLocation {NAMESPACE}/{NAME}"):
        manager(options_of()).plan(made().observed(options_of()))


@pytest.mark.parametrize("given", [{"provider": "aws"}, {"provider": "velero.io/aws", "config": {"profile": "p"}}])
def test_aws_without_a_region_makes_no_snapshot_and_is_refused(given: Object) -> None:
    with pytest.raises(InputError, match=r"option config.region: the plugin for aws makes no snapshot without it"):
        manager(options_of(**given)).plan(made().observed(options_of(**given)))
    assert done(plan_of(options_of(provider="gcp"), made())) == [f"POST {KIND}"]


@pytest.mark.parametrize(("installed", "exists", "words"), [(False, True, "not installed"), (True, False, "does not exist")])
def test_before_velero_is_there_check_mode_warns_and_a_real_run_fails(installed: bool, exists: bool, words: str) -> None:
    options, nothing = options_of(**AWS), Observed(installed, exists)
    with pytest.raises(NotProven, match=words):
        manager(options).plan(nothing)
    plan = manager(options, check=True).plan(nothing)
    assert done(plan) == [f"POST {KIND}"]
    assert [warning for warning in plan.warnings if words in warning] == list(plan.warnings)
    absent = manager(options_of(state="absent")).plan(nothing)
    assert (absent.steps, absent.warnings) == ((), ())


@pytest.mark.parametrize(
    ("provider", "answer", "words"),
    [
        (
            "gcp",
            Answer("v1.17.2", ("velero.io/aws",)),
            r"server \(v1.17.2\) lists no VolumeSnapshotter plugin velero.io/gcp, only velero.io/aws.*gcp",
        ),
        ("example.com/disk", Answer(None, ()), r"\(of an unknown version\) lists no VolumeSnapshotter plugin example.com/disk, none. Add the plugin"),
        ("aws", Answer("main", ("velero.io/gcp",)), "in the image velero/velero-plugin-for-aws"),
    ],
)
def test_a_provider_whose_plugin_the_server_does_not_list(provider: str, answer: Answer, words: str) -> None:
    options = options_of(provider=provider, config={"region": "x"})
    with pytest.raises(NotProven, match=words):
        manager(options).plan(made().observed(options, answer=answer))
    plan = manager(options, check=True).plan(made().observed(options, answer=answer))
    assert any("by an earlier task" in warning for warning in plan.warnings)
    # also when there is nothing to write
    with pytest.raises(NotProven):
        manager(options).plan(made({"provider": provider}).observed(options, answer=answer))


@pytest.mark.parametrize("check", [False, True])
def test_a_server_that_cannot_be_asked_is_a_warning(check: bool) -> None:
    plan = plan_of(options_of(**AWS), made(), check=check, answer=Answer(trouble="nobody answers"))
    assert plan is not None
    (warning,) = plan.warnings
    assert "nobody answers; whether it has the plugin velero.io/aws that makes the snapshots is not proven" in warning
    assert done(plan) == [f"POST {KIND}"]


@pytest.mark.parametrize(
    ("knows", "version", "refused"),
    [
        (False, "v1.8.1", "drop it without a word"),
        (False, None, "drop it without a word"),
        (None, "v1.9.7", "v1.9.7, does not read it"),
        (True, "v1.9.7", "v1.9.7, does not read it"),
        (True, "v1.10.0", ""),
        (None, "main", ""),
        (None, None, ""),
    ],
)
def test_credentials_before_1_10_are_refused(knows: bool | None, version: str | None, refused: str) -> None:
    options = options_of(**AWS, credential={"name": "own", "key": "cloud", "content": CONTENTS[0]})
    observed = made().observed(options, knows_credential=knows, answer=Answer(version, ("velero.io/aws",)))
    if refused:
        with pytest.raises(InputError, match=f"option credential: .*{refused}"):
            manager(options).plan(observed)
        assert any(refused in warning and "1.10 or newer" in warning for warning in manager(options, check=True).plan(observed).warnings)
    else:
        assert manager(options).plan(observed).warnings == ()
    without = options_of(**AWS)
    assert manager(without).plan(made().observed(without, answer=Answer("v1.8.1", ("velero.io/aws",)))).warnings == ()


def test_a_setting_that_no_plugin_knows_is_told() -> None:
    for provider, config, told in (("aws", {"region": "x", "s3Url": "https://x"}, "config.s3Url"), ("gcp", {"snapshotLocation": "eu"}, "")):
        plan = plan_of(options_of(provider=provider, config=config), made())
        assert plan is not None
        assert [told in warning for warning in plan.warnings] == ([True] if told else [])
    assert plan_of(options_of(provider="gcp", config={"colour": "x"}), made(), answer=Answer(None, ("velero.io/gcp",))) is not None


def test_a_second_location_of_a_provider_is_told() -> None:
    plan = plan_of(options_of(**AWS), made(None, second="aws", third="gcp"))
    assert plan is not None
    (warning,) = plan.warnings
    assert "has the snapshot locations second too" in warning
    assert "--default-volume-snapshot-locations" in warning
    unchanged = plan_of(options_of(**AWS), made({}, second="aws"))
    assert unchanged == Plan(before=unchanged.before, after=unchanged.after) if unchanged else False


def backup(name: str, phase: str | None, snapshots: int = 1) -> Object:
    status: Object = {"volumeSnapshotsCompleted": snapshots} | ({"phase": phase} if phase else {})
    return {"metadata": {"name": name}, "spec": {"volumeSnapshotLocations": [NAME]}, "status": status}


def test_removing_and_moving_tell_what_becomes_of_the_snapshots() -> None:
    gone = options_of(state="absent")
    backups = (backup("a", "Completed"), backup("b", "Failed", 0))
    plan = manager(gone).plan(made({}).observed(gone, backups=backups))
    assert done(plan) == [f"DELETE {NAME}"]
    assert any("snapshots of 1 Backup objects were made by it" in warning for warning in plan.warnings)
    assert manager(gone).predicted(plan, made({}).observed(gone, backups=backups))["backups"]["names"] == ["a"]
    moved = options_of(config={"region": "y"})
    assert manager(moved)._moves(made({}).objects[KIND, NAME])
    plan = manager(moved).plan(made({}).observed(moved, backups=backups))
    assert any("is another place now" in warning for warning in plan.warnings)
    assert not manager(options_of(provider="velero.io/aws", credential={"name": "a", "key": "b"}))._moves(made({}).objects[KIND, NAME])


@pytest.mark.parametrize("phase", [None, "New", "InProgress", "Deleting", "FinalizingPartiallyFailed", "ReadyToStart", "SomethingNew"])
def test_a_location_that_velero_works_with_is_not_removed(phase: str | None) -> None:
    options = options_of(state="absent")
    with pytest.raises(NotProven, match="still works on backup b"):
        manager(options).plan(made({}).observed(options, backups=(backup("a", "Completed"), backup("b", phase))))


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"provider": "aws/"}, "provider"),
        ({"config": {"credentialsFile": "/x"}}, "config.credentialsFile"),
        ({"config": {"region": ["a"]}}, "config.region"),
        ({"config": {"enableSharedConfig": "perhaps"}}, "config.enableSharedConfig"),
        ({"credential": {"name": "Not A Name", "key": "cloud"}}, "credential.name"),
        ({"credential": {"name": "own", "key": "a/b"}}, "credential.key"),
        ({"provider": "aws", "credential": {"name": "own", "key": "cloud", "content": "no INI"}}, "credential.content"),
        ({"provider": "gcp", "credential": {"name": "own", "key": "cloud", "content": "{}"}}, "credential.content"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(options: Object, option: str) -> None:
    with pytest.raises(InputError) as told:
        location_options.check_present_snapshots(options_of(**options))
    assert told.value.option == option


# whole runs


class ClusterTwin:
    """An API server with the objects of one namespace. faults: for each write in turn None, "lost" (done), "cut" (not done), or a status.

    credentials: whether the custom resource has a place for them; without one the API server drops them.
    """

    def __init__(self, credentials: bool = True) -> None:
        self.store = Store()
        self.faults: list[Any] = []
        self.writes: list[str] = []
        self.reads: list[str] = []
        self.probes: list[str] = []
        self.forbidden: set[str] = set()
        self.credentials = credentials
        self.status: Object = {"phase": "Processed", "serverVersion": "v1.17.2", "plugins": [
            {"name": "velero.io/aws", "kind": "ObjectStore"}, {"name": "velero.io/aws", "kind": "VolumeSnapshotter"},
        ]}  # fmt: skip

    def __call__(self, request: Request, _timeout: float) -> HttpAnswer:
        parts = request.path.strip("/").split("/")
        in_namespace = "namespaces" in parts[:-2]
        kind, name = (parts[parts.index("namespaces") + 2], (*parts, "")[parts.index("namespaces") + 3]) if in_namespace else (parts[-2], parts[-1])
        if kind in self.forbidden:
            return self.refused(403, "Forbidden")
        if request.method == "GET":
            self.reads.append(kind)
            return self.read(kind, name)
        if kind == "serverstatusrequests":
            self.probes.append(request.method)
            return self.answer(201, {"metadata": {"name": "x"}, "status": self.status})
        assert request.effect is Effect.WRITE
        self.writes.append(f"{request.method} {kind}")
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            return self.refused(fault, "Conflict")
        if fault == "cut":
            raise Broken("cut", sent=True)
        if request.method == "POST" and (kind, request.body["metadata"]["name"]) in self.store.objects:
            return self.refused(409, "AlreadyExists")
        self.store.carry_out(request)
        if not self.credentials:
            for (plural, _name), item in self.store.objects.items():
                if plural == KIND:
                    item["spec"].pop("credential", None)
        if fault == "lost":
            raise Broken("cut", sent=True)
        return self.answer(200, self.store.objects.get((kind, name or request.body.get("metadata", {}).get("name")), {"metadata": {}}))

    def read(self, kind: str, name: str) -> HttpAnswer:
        if kind == "customresourcedefinitions":
            properties = {"provider": {}} | ({"credential": {}} if self.credentials else {})
            schema = {"openAPIV3Schema": {"properties": {"spec": {"properties": properties}}}}
            return self.answer(200, {"metadata": {"name": name}, "spec": {"versions": [{"name": "v1", "schema": schema}]}})
        if kind == "namespaces":
            return self.answer(200, {"metadata": {"name": name}})
        if name:
            there = self.store.objects.get((kind, name))
            return self.answer(200, there) if there else self.refused(404, "NotFound")
        found = [item for (plural, _name), item in sorted(self.store.objects.items()) if plural == kind]
        return self.answer(200, {"items": found, "metadata": {"resourceVersion": "1"}})

    def refused(self, status: int, reason: str) -> HttpAnswer:
        return self.answer(status, {"kind": "Status", "reason": reason, "message": "no", "details": {"name": "x"}})

    def answer(self, status: int, document: Object) -> HttpAnswer:
        date = email.utils.format_datetime(datetime(2026, 11, 21, tzinfo=UTC), usegmt=True)
        return HttpAnswer(status, {"content-type": "application/json", "date": date}, json.dumps(document).encode())


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Object]:
    """A function (twin, options) that runs a task; an error is raised. The result has `warnings`."""

    def carry_out(twin: ClusterTwin, *, check: bool = False, context: Context | None = None, **given: Any) -> Object:
        context = context or Context(check_mode=check)

        def snapshots(_api: Any, resource: Any, _namespace: str, name: str) -> Iterator[Object | None]:
            yield copy.deepcopy(twin.store.objects.get((resource.plural, name)))

        monkeypatch.setattr(snapshot_location, "snapshots", snapshots)
        api = objects.Api(Transport(twin, context.guard(), Deadline(60, sleep=lambda seconds: None), explain, context.record))
        result = ensure(SnapshotLocation(options_of(**given), api, context), context)
        return result | {"warnings": context.warnings}

    return carry_out


OWN = {"name": "own", "key": "cloud", "content": CONTENTS[0]}


def test_made_found_changed_and_removed(run: Any) -> None:
    twin = ClusterTwin()
    predicted = run(twin, check=True, **AWS, credential=OWN)
    assert twin.writes == []
    made_now = run(twin, **AWS, credential=OWN)
    assert [predicted[part] for part in ("changed", "diff", "requests", "warnings")] == [
        made_now[part] for part in ("changed", "diff", "requests", "warnings")
    ]
    assert made_now["snapshot_location"] == predicted["snapshot_location"] == {
        "name": NAME, "namespace": NAMESPACE, "provider": "aws", "config": {"region": "x"},
        "credential": {"name": "own", "key": "cloud"}, "plugin": "velero.io/aws",
    }  # fmt: skip
    assert made_now["waited"]["last"] == "read back as it was written"
    again = run(twin, provider="velero.io/aws", config={"region": "x"}, credential=OWN)
    assert (again["changed"], again["requests"], "waited" in again) == (False, [], False)
    changed = run(twin, config={"region": "y"})
    assert changed["diff"]["after"]["snapshot_location"]["config"] == {"region": "y"}
    assert twin.writes == ["POST secrets", f"POST {KIND}", f"PATCH {KIND}"]
    gone = run(twin, state="absent")
    assert gone["snapshot_location"] is None
    assert gone["backups"] == {"count": 0, "names": [], "fate": None}
    assert twin.writes[3:] == [f"DELETE {KIND}", "DELETE secrets"]
    assert not run(twin, state="absent")["changed"]


def test_the_server_is_asked_once_and_its_question_removed(run: Any) -> None:
    twin = ClusterTwin()
    run(twin, **AWS)
    assert twin.probes == ["POST", "DELETE"]
    run(twin, state="absent")
    assert twin.probes == ["POST", "DELETE"]


def test_the_secret_stays_when_another_location_of_either_kind_uses_it(run: Any) -> None:
    for kind in (KIND, "backupstoragelocations"):
        twin = ClusterTwin()
        run(twin, **AWS, credential=OWN)
        twin.store.put(kind, "second", spec={"provider": "gcp", "credential": {"name": "own", "key": "cloud"}})
        assert [request["method"] for request in run(twin, state="absent")["requests"]] == ["DELETE"]
        assert ("secrets", "own") in twin.store.objects
    twin.forbidden = {"backupstoragelocations"}
    twin.store.objects.pop(("backupstoragelocations", "second"))
    assert any("its Secret stays" in warning for warning in run(twin, state="absent")["warnings"])


def test_credentials_that_the_api_server_would_drop_are_refused_before_any_write(run: Any) -> None:
    twin = ClusterTwin(credentials=False)
    twin.status["serverVersion"] = "v1.8.1"
    with pytest.raises(InputError, match="drop it without a word"):
        run(twin, **AWS, credential=OWN)
    twin.forbidden = {"customresourcedefinitions"}
    with pytest.raises(InputError, match=r"v1.8.1, does not read it"):
        run(twin, **AWS, credential=OWN)
    assert twin.writes == []
    assert run(twin, **AWS)["changed"] is True


def test_credentials_that_are_dropped_although_nothing_said_so_are_no_success(run: Any) -> None:
    twin = ClusterTwin(credentials=False)
    twin.forbidden = {"customresourcedefinitions"}
    with pytest.raises(NotProven, match="it was done, and has to be done again"):
        run(twin, **AWS, credential=OWN)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Forbidden("create", "ServerStatusRequest", "no", status=403), "may not make a ServerStatusRequest"),
        (Absent("create", "ServerStatusRequest", "no", status=404), "is not installed"),
        (DeadlineOver("ask", "server", "no answer"), "did not answer a ServerStatusRequest within 10 s"),
    ],
)
def test_a_server_that_says_nothing(run: Any, monkeypatch: pytest.MonkeyPatch, error: OperationError, words: str) -> None:
    def ask(*_unused: Any) -> Any:
        raise error

    monkeypatch.setattr(server, "ask_status", ask)
    twin = ClusterTwin()
    predicted = run(twin, check=True, **AWS)
    result = run(twin, **AWS)
    assert result["snapshot_location"]["plugin"] is None
    assert words in result["warnings"][0]
    assert result["warnings"] == predicted["warnings"]


def test_the_end_of_the_task_is_not_taken_for_a_silent_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_unused: Any) -> Any:
        raise DeadlineOver("ask", "server", "no answer")

    monkeypatch.setattr(server, "ask_status", ask)
    times = iter([0.0])
    deadline = Deadline(1, clock=lambda: next(times, 2.0))
    api = objects.Api(Transport(ClusterTwin(), Context().guard(), deadline, explain))
    with pytest.raises(DeadlineOver, match="no answer"):
        SnapshotLocation(options_of(**AWS), api, Context())._ask_server()


def test_without_rights_to_namespaces_it_shows_at_the_first_write(run: Any) -> None:
    twin = ClusterTwin()
    twin.forbidden = {"namespaces"}
    assert run(twin, **AWS)["changed"] is True


@pytest.mark.parametrize("fault", ["lost", "cut", 409])
@pytest.mark.parametrize("at", range(2))
@pytest.mark.parametrize("exists", [False, True])
def test_a_fault_at_each_write(run: Any, fault: Any, at: int, exists: bool) -> None:
    twin = ClusterTwin()
    if exists:
        twin.store.put(KIND, NAME, spec={"provider": "aws", "config": {"region": "old"}})
    twin.faults = [None] * at + [fault]
    context = Context()
    told: OperationError | None = None
    try:
        result = run(twin, context=context, **AWS, credential=OWN)
        assert result["changed"] is True
        assert sorted(f"{request['method']} {request['path'].split('/')[-1]}" for request in result["requests"])
    except OperationError as error:
        told = error
    # only a creation that did not arrive, and of which that cannot be known, is an error
    assert (told is not None) is (fault == "cut" and (at == 0 or not exists)), told
    assert told is None or context.record.written
    assert not run(twin, **AWS, credential=OWN)["changed"] or told is not None
    final = run(twin, **AWS, credential=OWN)
    assert (final["changed"], final["requests"]) == (False, [])
    assert agrees(options_of(**AWS, credential=OWN), twin.store)


def test_what_somebody_takes_away_before_it_is_read_back_is_no_success(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = ClusterTwin()
    waits: list[Any] = []

    def wait(observations: Any, judge: Any, *rest: Any) -> Any:
        waits.append([judge(None).last, judge({"spec": AWS | {"provider": "gcp"}}).last, *(judge(seen).last for seen in observations), rest[3]])
        raise DeadlineOver("prove", "x", "y")

    monkeypatch.setattr(snapshot_location, "wait", wait)
    with pytest.raises(DeadlineOver):
        run(twin, **AWS)
    ((absent, changed, right, target),) = waits
    assert "it is not there" in absent
    assert "not as it was written" in changed
    assert right == "read back as it was written"
    assert target == f"VolumeSnapshotLocation {NAMESPACE}/{NAME}"
