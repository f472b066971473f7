# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a storage location on generated pairs of wish and state, carried out on a small store of objects."""

from __future__ import annotations

import base64
import copy
import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Plan
from ansible_collections.serverops.circleci.plugins.module_utils._core.difference import patched
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._core.secret import MASK, forms, marker
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Effect, Request
from ansible_collections.serverops.circleci.plugins.module_utils._velero import location_view, storage_location, validation
from ansible_collections.serverops.circleci.plugins.module_utils._velero.storage_location import OWNER, Observed, StorageLocation
from hypothesis import given, settings
from hypothesis import strategies as st

Object = dict[str, Any]
NAME, NAMESPACE = "offsite", "velero"
CONTENTS = ["[default]\naws_secret_access_key=canary-one-1111", "[default]\naws_secret_access_key=canary-two-2222", "canary-three"]
PEMS = ["-----BEGIN-----\nA\n-----END-----", "-----BEGIN-----\nB\n-----END-----"]

FORBIDDEN = {form for secret in [*CONTENTS, "canary-other-file"] for form in forms(secret)} - {"[default]"}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class NoApi:
    """Stands where the API would: whoever plans by it has done I/O."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the plan asked the API for {name}")


class Store:
    """Locations and Secrets of one namespace, with what the API server does about names, versions and uids."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.clock = 0

    def put(self, plural: str, name: str, **fields: Any) -> Object:
        self.clock += 1
        annotations, labels = fields.pop("annotations", {}), fields.pop("labels", {})
        metadata = {
            "name": name, "namespace": NAMESPACE, "uid": f"uid-{self.clock}", "resourceVersion": str(self.clock),
            "creationTimestamp": f"2026-11-21T12:00:{self.clock % 60:02d}Z", "annotations": annotations, "labels": labels,
        }  # fmt: skip
        self.objects[plural, name] = {"metadata": metadata, **copy.deepcopy(fields)}
        return self.objects[plural, name]

    def carry_out(self, request: Request) -> None:
        assert request.effect is Effect.WRITE
        parts = request.path.split("/")
        assert parts[parts.index("namespaces") + 1] == NAMESPACE
        plural, name = parts[parts.index("namespaces") + 2], parts[-1]
        if request.method == "POST":
            metadata = request.body["metadata"]
            assert (plural, metadata["name"]) not in self.objects, "made twice"
            fields = {key: value for key, value in request.body.items() if key in {"spec", "data"}}
            self.put(plural, metadata["name"], annotations=metadata.get("annotations", {}), labels=metadata.get("labels", {}), **fields)
            return
        there = self.objects[plural, name]
        if request.method == "DELETE":
            assert request.body["preconditions"]["uid"] == there["metadata"]["uid"]
            del self.objects[plural, name]
            return
        assert request.method == "PATCH"
        if "metadata" in request.body:
            assert request.body["metadata"].pop("resourceVersion") == there["metadata"]["resourceVersion"], "not the version that was read"
        else:
            assert set(request.body["spec"]) == {"validationFrequency"}, "only the second look needs no version"
        self.clock += 1
        self.objects[plural, name] = patched(there, request.body)
        self.objects[plural, name]["metadata"]["resourceVersion"] = str(self.clock)

    def observed(self, options: Mapping[str, Any], backups: tuple[Object, ...] = ()) -> Observed:
        """What the module would read."""
        copied = copy.deepcopy(self.objects)
        locations = {name: item for (plural, name), item in copied.items() if plural == "backupstoragelocations"}
        secrets = {name: item for (plural, name), item in copied.items() if plural == "secrets"}
        present = options["state"] == "present"
        secret = secrets.get((options.get("credential") or {}).get("name")) if present else None
        own = () if present else tuple(item for item in secrets.values() if item["metadata"]["annotations"].get(OWNER) == NAME)
        others = tuple(item for name, item in sorted(locations.items()) if name != NAME)
        return Observed(True, True, locations.get(NAME), others, secret, backups, own)

    def as_the_server_writes(self) -> None:
        """Rewrite every location as Velero's server does when it updates one: Go's durations, nothing empty, its own config keys."""
        for (plural, _name), item in self.objects.items():
            if plural != "backupstoragelocations":
                continue
            spec = item["spec"]
            for field in ("validationFrequency", "backupSyncPeriod"):
                if spec.get(field):
                    spec[field] = storage_location.duration.canonical(spec[field])
            spec["config"] = {**(spec.get("config") or {}), "bucket": "x", "credentialsFile": "/tmp/x"}
            for field in ("default", "accessMode", "credential"):
                if not spec.get(field):
                    spec.pop(field, None)
            if not spec.get("objectStorage", {}).get("prefix"):
                spec.get("objectStorage", {}).pop("prefix", None)


def sometimes(dice: random.Random, *choices: Any, chance: float = 0.5) -> Any:
    return dice.choice(choices) if dice.random() < chance else None


def some_spec(dice: random.Random) -> Object:
    """A spec as people, CLIs and servers leave them."""
    storage: Object = {"bucket": dice.choice(["one", "two"])}
    for name, value in (("prefix", sometimes(dice, "", "a", "/a/", "a/b")), ("caCert", sometimes(dice, b64(PEMS[0]), b64(PEMS[1] + "\n")))):
        if value is not None:
            storage[name] = value
    spec: Object = {"provider": dice.choice(["aws", "velero.io/aws", "gcp"]), "objectStorage": storage}
    for name, value in (
        ("config", sometimes(dice, {}, {"region": "x"}, {"region": "y", "s3ForcePathStyle": "true"}, {"bucket": "one", "region": "x"})),
        ("accessMode", sometimes(dice, "ReadWrite", "ReadOnly")),
        ("default", sometimes(dice, True, False)),
        ("validationFrequency", sometimes(dice, "60s", "1m0s", "0s", "30s", "1m0.001s", "30.001s")),
        ("backupSyncPeriod", sometimes(dice, "1m", "0", "1h0m0s")),
        ("credential", sometimes(dice, {"name": "own", "key": "cloud"}, {"name": "other", "key": "cloud"}, {"name": "own", "key": "k2"})),
    ):
        if value is not None:
            spec[name] = value
    return spec


def some_options(dice: random.Random) -> Object:
    options: Object = {"name": NAME, "namespace": NAMESPACE, "state": "present" if dice.random() < 0.85 else "absent"}
    options |= {
        "provider": sometimes(dice, "aws", "velero.io/aws", "gcp", chance=0.8),
        "bucket": sometimes(dice, "one", "two", chance=0.8),
        "prefix": sometimes(dice, "", "a", "/a", "a/b/"),
        "object_storage_ca_cert": sometimes(dice, "", PEMS[0], PEMS[1] + "\n"),
        "config": sometimes(dice, {}, {"region": "x"}, {"region": "y", "s3ForcePathStyle": True}),
        "access_mode": sometimes(dice, "ReadWrite", "ReadOnly"),
        "default": sometimes(dice, True, False),
        "validation_frequency": sometimes(dice, "1m", "60s", "0", "30s"),
        "backup_sync_period": sometimes(dice, "60s", "0s", "1h"),
        "credential": sometimes(
            dice,
            *(
                {"name": name, "key": key, "content": content}
                for name in ("own", "other")
                for key in ("cloud", "k2")
                for content in (*CONTENTS, None)
            ),
        ),
    }
    return options


def some_store(dice: random.Random) -> Store:
    store = Store()
    for name in dice.sample([NAME, "second", "third"], dice.randrange(4)):
        store.put("backupstoragelocations", name, spec=some_spec(dice))
    for name in ("own", "other"):
        if dice.random() < 0.6:
            data = {key: b64(dice.choice([*CONTENTS, "canary-other-file"])) for key in ("cloud", "k2", "more") if dice.random() < 0.6}
            annotations = {OWNER: NAME} if dice.random() < 0.4 else {}
            store.put("secrets", name, data=data, annotations=annotations)
    return store


def pair(seed: int) -> tuple[Object, Store]:
    dice = random.Random(seed)
    return some_options(dice), some_store(dice)


pairs = st.integers(0, 2**40).map(pair)


def manager(options: Object, *, check: bool = False) -> StorageLocation:
    return StorageLocation(options, NoApi(), Context(check_mode=check))  # type: ignore[arg-type]


def plan_of(options: Object, store: Store, *, check: bool = False) -> Plan | None:
    """The plan, or None where the options cannot be carried out on this state."""
    try:
        return manager(options, check=check).plan(store.observed(options))
    except (InputError, NotProven):
        return None


def location(store: Store, name: str = NAME) -> Object | None:
    return store.objects.get(("backupstoragelocations", name))


def secret_value(store: Store, credential: Mapping[str, Any]) -> str | None:
    there = store.objects.get(("secrets", credential["name"]), {}).get("data", {}).get(credential["key"])
    return None if there is None else base64.b64decode(there).decode()


def sides(options: Object, store: Store, key: str) -> Object:
    """The part of the store that a diff of these options is about, worked out from the objects alone."""
    view: Object = {}
    here = location(store)
    if here is not None:
        view["storage_location"] = location_view.spec_view(NAME, here["spec"])
    credential = options.get("credential")
    asked = options["state"] == "present" and credential and credential["content"] is not None
    if asked and ("secrets", credential["name"]) in store.objects:
        value = secret_value(store, credential)
        view["secret"] = {"name": credential["name"], "data": {credential["key"]: None if value is None else marker(value, key)}}
    return view


def agrees(options: Object, store: Store) -> bool:
    """Whether the state is as asked for, each option by its own words."""
    here = location(store)
    others = {name: item["spec"] for (plural, name), item in store.objects.items() if plural == "backupstoragelocations" and name != NAME}
    if options["state"] == "absent":
        used = {(spec.get("credential") or {}).get("name") for spec in others.values()}
        owned = {name for (plural, name), item in store.objects.items() if plural == "secrets" and item["metadata"]["annotations"].get(OWNER) == NAME}
        return here is None and owned <= used
    if here is None:
        return False
    spec, storage = here["spec"], here["spec"]["objectStorage"]
    config = {name: value for name, value in (spec.get("config") or {}).items() if name not in {"bucket", "prefix", "caCert", "credentialsFile"}}
    asked: list[tuple[str, Any, Any]] = [
        ("provider", str(options["provider"]).removeprefix("velero.io/"), spec["provider"].removeprefix("velero.io/")),
        ("bucket", options["bucket"], storage["bucket"]),
        ("prefix", (options["prefix"] or "").strip("/"), (storage.get("prefix") or "").strip("/")),
        ("object_storage_ca_cert", (options["object_storage_ca_cert"] or "").strip(), base64.b64decode(storage.get("caCert") or "").decode().strip()),
        ("config", {name: {True: "true"}.get(value, value) for name, value in (options["config"] or {}).items()}, config),
        ("access_mode", options["access_mode"], spec.get("accessMode") or "ReadWrite"),
        ("default", options["default"], bool(spec.get("default"))),
        ("validation_frequency", seconds(options["validation_frequency"]), seconds(spec.get("validationFrequency"))),
        ("backup_sync_period", seconds(options["backup_sync_period"]), seconds(spec.get("backupSyncPeriod"))),
    ]
    if "001s" in (spec.get("validationFrequency") or ""):
        return False
    if any(options[option] is not None and wanted != there for option, wanted, there in asked):
        return False
    credential = options["credential"]
    if credential and spec.get("credential") != {"name": credential["name"], "key": credential["key"]}:
        return False
    if credential and credential["content"] is not None and secret_value(store, credential) != credential["content"]:
        return False
    defaults = [name for (plural, name), item in store.objects.items() if plural[0] == "b" and item["spec"].get("default")]
    return not options["default"] or defaults == [NAME]


def seconds(text: str | None) -> float | None:
    return {None: None, "1m0.001s": -1, "30.001s": -1, "0": 0, "0s": 0, "1m": 60, "60s": 60, "1m0s": 60, "30s": 30, "1h": 3600, "1h0m0s": 3600}[text]


@settings(max_examples=900)
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
    # pure: no I/O (see NoApi), nothing changed, the same again
    assert manager(options).plan(observed) == plan
    assert observed == frozen
    # nothing asked for differs: no write, and the other way round
    assert (not plan.steps) is agrees(options, store), [step.reason for step in plan.steps]
    key = ((observed.secret or {}).get("metadata") or {}).get("uid", "")
    before = sides(options, store, key)
    defaults = sorted(name for (plural, name), item in store.objects.items() if plural[0] == "b" and name != NAME and item["spec"].get("default"))
    for step in plan.steps:
        store.carry_out(copy.deepcopy(step.request))
        assert step.reason
    assert agrees(options, store)
    # predicted is what came to be
    if options["state"] == "present":
        after = sides(options, store, key)
        assert {name: plan.before[name] for name in plan.before if name != "other_defaults"} == before
        assert {name: plan.after[name] for name in plan.after if name != "other_defaults"} == after
        assert plan.before.get("other_defaults", []) == (defaults if options["default"] else [])
    else:
        assert plan.after == {}
        assert plan.before.get("storage_location") == before.get("storage_location")
        assert plan.before.get("secrets", []) == sorted(name for plural, name in set(kept[1]) - set(store.objects) if plural == "secrets")
        assert location(store) is None
    again = plan_of(options, store)
    assert again is not None
    assert again.steps == ()
    assert again.before == again.after or options["state"] == "absent"
    # and stays so when the server writes the objects in its own way
    store.as_the_server_writes()
    later = plan_of(options, store)
    assert later is not None
    assert [step.reason for step in later.steps] == []


@settings(max_examples=500)
@given(pairs)
def test_check_mode_plans_the_same_and_nothing_secret_is_in_a_plan(both: tuple[Object, Store]) -> None:
    options, store = both
    real, checked = plan_of(options, store), plan_of(options, store, check=True)
    if real is not None:
        assert checked == real
    if checked is None:
        assert location(store) is None
        assert not (options["provider"] and options["bucket"])
        return
    told = json.dumps(
        [checked.before, checked.after, checked.warnings, [[step.reason, step.request.shown(), step.request.target] for step in checked.steps]]
    )
    assert not [form for form in FORBIDDEN if form in told]


@settings(max_examples=300)
@given(pairs)
def test_what_is_not_asked_for_stays_as_it_is(both: tuple[Object, Store]) -> None:
    options, store = both
    plan = plan_of(options, store)
    here = copy.deepcopy(location(store))
    objects = copy.deepcopy(store.objects)
    if plan is None or options["state"] == "absent" or here is None:
        return
    for step in plan.steps:
        store.carry_out(copy.deepcopy(step.request))
    there = location(store)
    assert there is not None
    for option, field in (
        ("provider", "provider"), ("config", "config"), ("access_mode", "accessMode"), ("default", "default"), ("credential", "credential"),
        ("validation_frequency", "validationFrequency"), ("backup_sync_period", "backupSyncPeriod"),
    ):  # fmt: skip
        if options[option] is None:
            assert there["spec"].get(field) == validation.settled(here["spec"]).get(field)
    for option, field in (("bucket", "bucket"), ("prefix", "prefix"), ("object_storage_ca_cert", "caCert")):
        if options[option] is None:
            assert there["spec"]["objectStorage"].get(field) == here["spec"]["objectStorage"].get(field)
    for (plural, name), item in objects.items():
        if plural == "secrets":
            changed = options["credential"] and options["credential"]["name"] == name and options["credential"]["content"] is not None
            wanted = options["credential"]["key"] if changed else None
            assert {key: value for key, value in store.objects[plural, name]["data"].items() if key != wanted} == {
                key: value for key, value in item["data"].items() if key != wanted
            }
        elif name != NAME:
            assert {key: value for key, value in store.objects[plural, name]["spec"].items() if key != "default"} == {
                key: value for key, value in item["spec"].items() if key != "default"
            }


# by example


def options_of(**given: Any) -> Object:
    empty = dict.fromkeys(storage_location.ARGUMENTS)
    return {**empty, "name": NAME, "namespace": NAMESPACE, "state": "present", **given}


def made(spec: Object | None = None, **others: bool) -> Store:
    store = Store()
    for name, default in others.items():
        store.put("backupstoragelocations", name, spec={"provider": "aws", "objectStorage": {"bucket": "x"}} | ({"default": True} if default else {}))
    if spec is not None:
        store.put("backupstoragelocations", NAME, spec={"provider": "aws", "objectStorage": {"bucket": "one"}} | spec)
    return store


def done(plan: Plan | None) -> list[str]:
    assert plan is not None
    return [f"{step.request.method} {step.request.path.rsplit('/', 1)[-1]}" for step in plan.steps]


def test_the_newest_location_gets_the_default_before_the_others_lose_it_and_an_older_one_after() -> None:
    wish = options_of(provider="aws", bucket="one", default=True)
    assert done(plan_of(wish, made(None, second=True))) == ["POST backupstoragelocations", "PATCH second"]
    store = made({})
    store.put("backupstoragelocations", "second", spec={"provider": "aws", "objectStorage": {"bucket": "x"}, "default": True})
    assert done(plan_of(wish, store)) == ["PATCH second", f"PATCH {NAME}", f"PATCH {NAME}"]


@pytest.mark.parametrize(("frequency", "between", "after"), [(None, "1m0.001s", None), ("30s", "30.001s", "30s"), ("0s", "1m0.001s", "0s")])
@pytest.mark.parametrize("credentials", [False, True])
def test_a_change_is_written_twice_so_that_the_server_looks_twice(frequency: str | None, between: str, after: str | None, credentials: bool) -> None:
    own = {"credential": {"name": "own", "key": "cloud"}} | ({"validationFrequency": frequency} if frequency else {})
    store = made(own)
    store.put("secrets", "own", data={"cloud": b64(CONTENTS[0])})
    wish = {"credential": {"name": "own", "key": "cloud", "content": CONTENTS[1]}} if credentials else {"access_mode": "ReadOnly"}
    plan = plan_of(options_of(**wish), store)
    assert plan is not None
    first, second = (step.request.body["spec"] for step in plan.steps[-2:])
    assert first["validationFrequency"] == between
    assert second == {"validationFrequency": after}
    assert done(plan) == [*(["PATCH own"] if credentials else []), f"PATCH {NAME}", f"PATCH {NAME}"]


@pytest.mark.parametrize("there", ["1m0.001s", "30.001s"])
def test_what_a_killed_task_left_between_its_two_writes_is_put_right(there: str) -> None:
    plan = plan_of(options_of(), made({"validationFrequency": there}))
    assert done(plan) == [f"PATCH {NAME}"]


def test_only_a_default_that_is_wanted_takes_it_from_others() -> None:
    for default in (False, None):
        assert done(plan_of(options_of(default=default), made({}, second=True))) == []


def test_giving_up_the_default_warns() -> None:
    plan = plan_of(options_of(default=False), made({"default": True}))
    assert plan is not None
    assert any("no longer the default" in warning for warning in plan.warnings)


def test_the_secret_is_made_before_the_location_that_names_it() -> None:
    credential = {"name": "own", "key": "cloud", "content": CONTENTS[0]}
    plan = plan_of(options_of(provider="aws", bucket="one", credential=credential), made())
    assert done(plan) == ["POST secrets", "POST backupstoragelocations"]
    assert plan is not None
    assert plan.after["secret"] == {"name": "own", "data": {"cloud": MASK}}


@pytest.mark.parametrize("option", ["provider", "bucket"])
def test_what_is_needed_to_make_a_location_is_named(option: str) -> None:
    options = options_of(provider="aws", bucket="one") | {option: None}
    with pytest.raises(InputError, match=f"option {option}: it is needed to make BackupStorageLocation {NAMESPACE}/{NAME}"):
        manager(options).plan(made().observed(options))


@pytest.mark.parametrize(("installed", "exists", "words"), [(False, True, "not installed"), (True, False, "does not exist")])
def test_before_velero_is_there_check_mode_warns_and_a_real_run_fails(installed: bool, exists: bool, words: str) -> None:
    options = options_of(provider="aws", bucket="one")
    nothing = Observed(installed, exists, None, (), None, ())
    with pytest.raises(NotProven, match=words):
        manager(options).plan(nothing)
    plan = manager(options, check=True).plan(nothing)
    assert done(plan) == ["POST backupstoragelocations"]
    assert any(words in warning for warning in plan.warnings)
    absent = manager(options_of(state="absent")).plan(nothing)
    assert (absent.steps, absent.warnings) == ((), ())


@pytest.mark.parametrize("data", [None, {}, {"other": "eA=="}])
def test_a_secret_that_should_be_there_and_is_not(data: Object | None) -> None:
    options = options_of(credential={"name": "own", "key": "cloud", "content": None})
    store = made({})
    if data is not None:
        store.put("secrets", "own", data=data)
    with pytest.raises(NotProven, match=r"Secret velero/own (does not exist|has no key cloud)"):
        manager(options).plan(store.observed(options))
    assert any("Secret velero/own" in warning for warning in manager(options, check=True).plan(store.observed(options)).warnings)


def backup(name: str, phase: str | None) -> Object:
    return {"metadata": {"name": name}, "spec": {"storageLocation": NAME}, "status": {"phase": phase} if phase else {}}


def test_removing_tells_what_becomes_of_the_backups() -> None:
    options = options_of(state="absent")
    plan = manager(options).plan(made({"default": True}).observed(options, (backup("a", "Completed"), backup("b", "Failed"))))
    assert done(plan) == [f"DELETE {NAME}"]
    assert any("2 Backup objects" in warning for warning in plan.warnings)
    assert any("was the default" in warning for warning in plan.warnings)


@pytest.mark.parametrize("phase", [None, "New", "InProgress", "Deleting", "FinalizingPartiallyFailed", "WaitingForPluginOperations", "Queued"])
def test_a_location_that_velero_works_on_is_not_removed(phase: str | None) -> None:
    options = options_of(state="absent")
    with pytest.raises(NotProven, match="still works on backup b"):
        manager(options).plan(made({}).observed(options, (backup("a", "Completed"), backup("b", phase))))


def test_only_its_own_secret_goes_with_a_location_and_only_if_no_other_uses_it() -> None:
    options = options_of(state="absent")
    for marks, other, gone in (({OWNER: NAME}, None, True), ({OWNER: "second"}, None, False), ({}, None, False), ({OWNER: NAME}, "own", False)):
        store = made({}, second=False)
        store.put("secrets", "own", data={}, annotations=marks)
        if other:
            store.objects["backupstoragelocations", "second"]["spec"]["credential"] = {"name": other, "key": "cloud"}
        assert done(plan_of(options, store)) == [f"DELETE {NAME}", *(["DELETE own"] if gone else [])]


@pytest.mark.parametrize(
    ("given", "moves"),
    [
        ({"bucket": "two"}, True),
        ({"prefix": "b"}, True),
        ({"prefix": ""}, True),
        ({"provider": "gcp"}, True),
        ({"provider": "velero.io/aws", "bucket": "one", "prefix": "/a/"}, False),
        ({"object_storage_ca_cert": PEMS[0]}, False),
        ({"access_mode": "ReadOnly", "config": {"region": "x"}}, False),
        ({}, False),
    ],
)
def test_a_location_moves_when_it_points_to_another_place(given: Object, moves: bool) -> None:
    here = made({"objectStorage": {"bucket": "one", "prefix": "a"}}).objects["backupstoragelocations", NAME]
    assert manager(options_of(**given))._moves(here) is moves


def test_every_message_of_a_server_leads_to_something_to_do() -> None:
    for message, words in (
        ("NoSuchBucket: The specified bucket does not exist", "Make the bucket"),
        ("SignatureDoesNotMatch", "credential.content"),
        ("InvalidAccessKeyId: x", "access key"),
        ("x509: certificate signed by unknown authority", "object_storage_ca_cert"),
        ("AccessDenied: Access Denied", "Grant"),
        ("AuthorizationHeaderMalformed: the region is wrong", "config.region"),
        ("dial tcp 10.0.0.1:9000: connect: connection refused", "address of the store"),
        ("Backup store contains invalid top-level directories: [foo]", "prefix"),
        ("unable to locate ObjectStore plugin named velero.io/aws", "plugin"),
        ("config has invalid keys [foo]", "config"),
        ("unable to get credentials: unable to get key for secret", "Secret"),
        ("", "log"),
    ):
        assert words in location_view.next_step(message), message


def test_what_is_shown_of_a_location() -> None:
    item = made({"config": {"bucket": "one", "region": "x"}}).objects["backupstoragelocations", NAME]
    item["status"] = {"phase": "Available", "lastValidationTime": "2026-11-21T12:00:00Z"}
    assert location_view.shown(item) == {
        "name": NAME, "namespace": NAMESPACE, "provider": "aws", "bucket": "one", "config": {"region": "x"}, "access_mode": "ReadWrite",
        "default": False, "phase": "Available", "message": None, "last_validation_time": "2026-11-21T12:00:00Z", "last_synced_time": None,
    }  # fmt: skip


class Clocked:
    """An API that answers with given objects at a time of its own, on which only pauses move the clock."""

    def __init__(self, locations: list[Object], secret: Object | None, now: datetime) -> None:
        self.locations, self.secret, self.now = locations, secret, now
        self.pauses: list[float] = []
        self.transport = SimpleNamespace(deadline=SimpleNamespace(pause=self.pauses.append))

    def list(self, resource: Any, _namespace: str, **_selectors: Any) -> Any:
        return SimpleNamespace(items=self.locations if resource.plural == "backupstoragelocations" else [])

    def get(self, _resource: Any, _namespace: str, _name: str) -> Object | None:
        return self.secret

    def server_time(self) -> datetime:
        return self.now


@pytest.mark.parametrize(("age", "pauses"), [(0, [1.0]), (1, []), (60, [])])
def test_a_secret_that_was_changed_in_this_second_is_waited_for(age: int, pauses: list[float]) -> None:
    """Also when this task did not make the change: a validation in the second of it says nothing of the new content."""
    now = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
    written = (now - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    secret = {"metadata": {"managedFields": [{"manager": "serverops.circleci", "time": written, "fieldsV1": {"f:data": {}}}]}, "data": {}}
    location = {"metadata": {"name": NAME}, "spec": {}, "status": {"lastValidationTime": "2026-11-21T11:59:00Z"}}
    api: Any = Clocked([location], secret, now)
    options = {"name": NAME, "namespace": NAMESPACE, "state": "present", "credential": {"name": "secret", "key": "cloud"}}
    managed = StorageLocation(options, api, Context())
    managed.read()
    managed._wait_for_next_second()
    assert api.pauses == pauses
