# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Velero BackupStorageLocation as a managed thing, with its own credentials, proven by a validation newer than the change.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Definition, Plan, Step, ensure
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.difference import merge_patch, patched
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import (
    Absent,
    Forbidden,
    InputError,
    NotProven,
    OperationError,
)
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Effect
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Done, Pending, Waited, wait
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import arguments as login
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource, session
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.watch import snapshots
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    credential_secret,
    duration,
    location_options,
    location_presence,
    location_view,
    server,
    validation,
)

ARGUMENTS: dict[str, dict[str, Any]] = {
    **login.ARGUMENTS,
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "velero"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "provider": {"type": "str"},
    "bucket": {"type": "str"},
    "prefix": {"type": "str"},
    "config": {"type": "dict"},
    "object_storage_ca_cert": {"type": "str"},
    "credential": credential_secret.ARGUMENT,
    "access_mode": {"type": "str", "choices": ["ReadWrite", "ReadOnly"]},
    "default": {"type": "bool"},
    "validation_frequency": {"type": "str"},
    "backup_sync_period": {"type": "str"},
}

OWNER = "serverops.circleci/storage-location"
"""Annotation of a Secret that this module made: the location that it was made for."""
WOKEN = "serverops.circleci/woken"
"""Annotation by which a server up to 1.9 is made to look for due validations."""
WAKE_EVERY = 15.0
"""Seconds between two wakings."""
FIRST_AT_EACH_CHANGE = (1, 10)
"""The first version whose server validates at each change of a location."""
UNFINISHED = frozenset({"", "New", "Queued", "ReadyToStart", "InProgress", "Uploading", "UploadingPartialFailure", "Deleting"}) | {
    name for phase in ("WaitingForPluginOperations", "Finalizing") for name in (phase, f"{phase}PartiallyFailed")
}
"""Phases of a Backup in which Velero still works on it (facts of 1.5 to 1.18)."""


LOOK_AGAIN = "so that the server validates once more, after the change for certain"
LONGEST_PAUSE = 2.0
"""Seconds that a write waits for the second of the last stamp to pass; clocks that differ by more are left to differ."""
HELD_UP = (
    "Velero's server validates one location after the other: a store that does not answer, also that of another location, holds all of them up. "
    "Look whether the server runs, whether its pod reaches the store, and into its log"
)


@dataclass(frozen=True)
class Observed:
    """What exists. secret: the one that the options name.

    own_secrets and used_elsewhere: with state absent, those made for the location, and the names of those that snapshot locations use.
    """

    installed: bool
    namespace_exists: bool
    location: dict[str, Any] | None
    others: tuple[dict[str, Any], ...]
    secret: dict[str, Any] | None
    backups: tuple[dict[str, Any], ...]
    own_secrets: tuple[dict[str, Any], ...] = ()
    used_elsewhere: frozenset[str] = frozenset()


@dataclass
class StorageLocation:
    """One location, wanted as the options say.

    restarts: its server is started anew after the change, which then validates by itself. not_before: a validation has to end in a later
    second than this to prove anything, such as the birth of the server's pod.
    """

    options: Mapping[str, Any]
    api: Api
    context: Context
    restarts: bool = field(default=False, init=False)
    not_before: datetime | None = field(default=None, init=False)
    # the last stamp seen, or the API server's time of the last write to the Secret when that was later
    latest: datetime | None = field(default=None, init=False)
    # the stamp of the first validation that ended after the change; it may have begun before, so only a later one counts
    looked: datetime | None = field(default=None, init=False)
    # when this task first heard the API server's time, the server's (version, trouble) once asked, and when it was last woken
    started: datetime = field(init=False)
    answer: tuple[str | None, str] | None = field(default=None, init=False)
    woken_at: datetime | None = field(default=None, init=False)

    @property
    def _name(self) -> str:
        return str(self.options["name"])

    @property
    def _namespace(self) -> str:
        return str(self.options["namespace"])

    @property
    def _target(self) -> str:
        return resource.BACKUP_STORAGE_LOCATION.target(self._namespace, self._name)

    @property
    def _credentials(self) -> credential_secret.CredentialSecret:
        return credential_secret.CredentialSecret(OWNER, self._name, self._namespace, self._target, self.options.get("credential"))

    def read(self) -> Observed:
        """Read the location with its neighbours in one request, the Secret if one is named, the backups if they are concerned."""
        try:
            found = location_presence.read(self.api, resource.BACKUP_STORAGE_LOCATION, self._namespace, self._name)
        except Absent:
            return Observed(False, location_presence.namespace_exists(self.api, self._namespace), None, (), None, ())
        location = found.location
        self.started = self.api.server_time()
        present = self.options["state"] == "present"
        secret = self._credentials.read(self.api, self.context) if present else None
        stamp = validation.stamp(location) if location else None
        # a change of the Secret that this task did not see the answer of, or that a killed one made just now, counts as well
        secret_time = validation.changed_at(secret, "data") if secret else None
        self.latest = max((time for time in (self.latest, stamp, secret_time) if time), default=None)
        own_secrets = () if present else self._credentials.find_own(self.api, self.context)
        used_elsewhere = self._credentials.used_by(self.api, self.context, resource.VOLUME_SNAPSHOT_LOCATION, own_secrets)
        concerned = location is not None and (self.options["state"] == "absent" or self._moves(location))
        backups = tuple(self.api.list(resource.BACKUP, self._namespace).items) if concerned else ()
        backups = tuple(item for item in backups if (item.get("spec") or {}).get("storageLocation") == self._name)
        return Observed(True, found.namespace_exists, location, found.others, secret, backups, own_secrets, used_elsewhere)

    def _moves(self, location: Mapping[str, Any]) -> bool:
        """Tell whether the wanted location points to another place: what it lists then goes from the cluster."""
        there = location["spec"]
        before, after = (location_options.canonical_spec(spec) for spec in (there, patched(there, self._wanted_spec(location))))
        places = [(spec.get("provider"), *((spec.get("objectStorage") or {}).get(name) for name in ("bucket", "prefix"))) for spec in (before, after)]
        return places[0] != places[1]

    def _wanted_spec(self, location: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the fields of the spec that the options ask for; what an option leaves out is not in it."""
        options = self.options
        spec: dict[str, Any] = {}
        storage: dict[str, Any] = {}
        if options.get("provider") is not None:
            spec["provider"] = options["provider"]
        if options.get("bucket") is not None:
            storage["bucket"] = options["bucket"]
        if options.get("prefix") is not None:
            storage["prefix"] = options["prefix"].strip("/") or None
        if options.get("object_storage_ca_cert") is not None:
            text = options["object_storage_ca_cert"].strip()
            storage["caCert"] = location_options.encoded(text + "\n") if text else None
        if storage:
            spec["objectStorage"] = storage
        if options.get("config") is not None:
            config: dict[str, Any] = dict(location_options.config_of(options["config"]))
            there = (location or {}).get("spec", {}).get("config") or {}
            # a setting that is no longer wanted goes; what the server left there is not ours to remove
            config |= {name: None for name in there if name not in config and name not in location_options.SERVER_CONFIG}
            spec["config"] = config
        if options.get("credential"):
            spec["credential"] = {"name": options["credential"]["name"], "key": options["credential"]["key"]}
        for option, name in (("access_mode", "accessMode"), ("default", "default")):
            if options.get(option) is not None:
                spec[name] = options[option]
        for option, name in (("validation_frequency", "validationFrequency"), ("backup_sync_period", "backupSyncPeriod")):
            if options.get(option) is not None:
                spec[name] = duration.canonical(options[option])
        return spec

    def plan(self, observed: Observed) -> Plan:
        """Return the steps to the wanted state. Pure."""
        return self._plan_absent(observed) if self.options["state"] == "absent" else self._plan_present(observed)

    # present

    def _spec_patch(self, observed: Observed) -> dict[str, Any]:
        """Return the smallest patch of the spec; fields that mean the same as what is there are left alone."""
        there = validation.settled(observed.location["spec"]) if observed.location else {}
        wanted = self._wanted_spec(observed.location)
        canonical_there = location_options.canonical_spec(there)
        patch: dict[str, Any] = merge_patch(wanted, there)
        after = location_options.canonical_spec(patched(there, patch))
        same = {name for name in patch if canonical_there.get(name) == after.get(name)}
        return {name: value for name, value in patch.items() if name not in same}

    def _plan_present(self, observed: Observed) -> Plan:
        steps: list[Step] = []
        warnings: list[str] = []
        wanted = self._wanted_spec(observed.location)
        if observed.location is None:
            for option in ("provider", "bucket"):
                if not self.options.get(option):
                    raise InputError(option, f"it is needed to make {self._target}, which does not exist", f"Give {option}")
        if not observed.installed or not observed.namespace_exists:
            what = "Velero's custom resources are not installed" if not observed.installed else f"namespace {self._namespace} does not exist"
            if not self.context.check_mode:
                raise NotProven("make", self._target, what, "Install Velero first")
            warnings.append(f"{self._target}: {what}; an earlier task has to install Velero before this one can run")
        secret_step = self._credentials.step(observed.secret)
        steps += [secret_step] if secret_step else []
        warnings += self._credentials.lacking(observed.secret, check_mode=self.context.check_mode)
        location_step, look_again = self._location_steps(observed, wanted, secret_changes=secret_step is not None)
        losing = self._others_losing_default(observed) if wanted.get("default") is True else []
        steps += self._ordered(observed, location_step, losing)
        steps += [look_again] if look_again else []
        if observed.backups and location_step:
            warnings.append(
                f"{self._target} points elsewhere now: Velero will remove the {len(observed.backups)} Backup objects that it lists from the cluster. "
                "Their data stay in the old place; a location that points there lists them again."
            )
        if wanted.get("default") is False and observed.location and observed.location["spec"].get("default"):
            warnings.append(f"{self._target} is no longer the default and no other takes its place here: a backup then has to name its location.")
        before, after = self._sides(observed, losing)
        return Plan(tuple(steps), before, after, tuple(warnings))

    def _location_steps(self, observed: Observed, wanted: Mapping[str, Any], *, secret_changes: bool) -> tuple[Step | None, Step | None]:
        """Return the write to the location, and the second one that makes the server look again; see validation.NUDGE."""
        kind = resource.BACKUP_STORAGE_LOCATION
        if observed.location is None:
            # what was not there cannot be meant by a validation that was under way, so one look is enough
            body = {"metadata": {"name": self._name}, "spec": patched({}, wanted)}
            return Step(resource.create(kind, self._namespace, body), "the location is not there yet"), None
        patch = self._spec_patch(observed)
        there = observed.location["spec"]
        frequency = patched(validation.settled(there), patch).get("validationFrequency")
        second = resource.merge_patch(kind, self._namespace, self._name, {"spec": {"validationFrequency": frequency}})
        # a lost answer is looked up and not sent again, so that the result lists what was sent
        look_again = Step(replace(second, repeatable=False), LOOK_AGAIN)
        if not patch and not secret_changes:
            return None, look_again if validation.is_nudged(there) else None
        version = observed.location["metadata"]["resourceVersion"]
        if self.restarts:
            settled = {"validationFrequency": frequency} if validation.is_nudged(there) else {}
            body = {"metadata": {"resourceVersion": version}, "spec": {**settled, **patch}}
            return Step(resource.merge_patch(kind, self._namespace, self._name, body), f"{', '.join(sorted(patch))} differ"), None
        body = {"metadata": {"resourceVersion": version}, "spec": {**patch, "validationFrequency": validation.nudged(frequency)}}
        reason = f"{', '.join(sorted(patch))} differ" if patch else "its credentials differ"
        return Step(resource.merge_patch(kind, self._namespace, self._name, body), reason), look_again

    @staticmethod
    def _others_losing_default(observed: Observed) -> list[dict[str, Any]]:
        return [other for other in observed.others if (other.get("spec") or {}).get("default")]

    def _ordered(self, observed: Observed, own: Step | None, losing: list[dict[str, Any]]) -> list[Step]:
        """Return own and the others' steps in the order in which the server does not undo them.

        Of several defaults the server (1.11 and newer) keeps the one that was created last and strips the others, so an older location
        becomes the default only after the newer one has given it up.
        """
        release = [
            Step(
                resource.merge_patch(
                    resource.BACKUP_STORAGE_LOCATION,
                    self._namespace,
                    other["metadata"]["name"],
                    {"metadata": {"resourceVersion": other["metadata"]["resourceVersion"]}, "spec": {"default": False}},
                ),
                f"{self._name} becomes the only default",
            )
            for other in losing
        ]
        mine = [own] if own else []
        created = (observed.location or {}).get("metadata", {}).get("creationTimestamp")
        newest = created is None or all(other["metadata"].get("creationTimestamp", "") < created for other in losing)
        # a location that is made here must not be without a default meanwhile; a server up to 1.9 would name one itself
        return mine + release if newest and observed.location is None else release + mine

    def _sides(self, observed: Observed, losing: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
        before, after = self._credentials.sides(observed.secret)
        if observed.location is not None:
            before["storage_location"] = location_view.spec_view(self._name, observed.location["spec"])
        spec = patched(
            validation.settled(observed.location["spec"]) if observed.location else {},
            self._spec_patch(observed) if observed.location else self._wanted_spec(None),
        )
        after["storage_location"] = location_view.spec_view(self._name, spec)
        if losing:
            before["other_defaults"] = sorted(other["metadata"]["name"] for other in losing)
            after["other_defaults"] = []
        return before, after

    # absent

    def _plan_absent(self, observed: Observed) -> Plan:
        location = observed.location
        steps: list[Step] = []
        warnings: list[str] = []
        before: dict[str, Any] = {}
        if location is not None:
            working = sorted(item["metadata"]["name"] for item in observed.backups if ((item.get("status") or {}).get("phase") or "") in UNFINISHED)
            if working:
                raise NotProven(
                    "remove",
                    self._target,
                    f"Velero still works on backup {', '.join(working[: location_view.NAMES_SHOWN])}",
                    "Wait until it is finished, or delete it",
                )
            uid = location["metadata"]["uid"]
            steps.append(Step(resource.delete(resource.BACKUP_STORAGE_LOCATION, self._namespace, self._name, uid=uid), "the location is not wanted"))
            before["storage_location"] = location_view.spec_view(self._name, location["spec"])
            if location["spec"].get("default"):
                warnings.append(f"{self._target} was the default: a backup now has to name its location, until another one is made the default.")
            if observed.backups:
                warnings.append(location_view.backups_fate(self._target, len(observed.backups)))
        used = credential_secret.names_of(observed.others) | observed.used_elsewhere
        removals, names = self._credentials.removals(observed.own_secrets, used)
        steps += removals
        if names:
            before["secrets"] = names
        return Plan(tuple(steps), before, {}, tuple(warnings))

    # apply and prove

    def apply(self, step: Step) -> None:
        """Send a step. A write to the location waits until the second of the last stamp is over, so that its validation shows a new one."""
        request = step.request
        if step.reason == LOOK_AGAIN:
            self._wait_for_a_validation()
        if request.path.startswith(resource.BACKUP_STORAGE_LOCATION.path(self._namespace)) and request.method != "DELETE":
            self._wait_for_next_second()
        self.api.carry_out(request)
        if request.path.startswith(resource.SECRET.path(self._namespace)):
            self.latest = self.api.server_time()

    def _wait_for_next_second(self) -> None:
        """Let the second of the last stamp, and of the last write to the Secret, pass. Clocks that differ by more than that are not waited for."""
        if self.latest is not None:
            left = (self.latest + timedelta(seconds=1) - self.api.server_time()).total_seconds()
            if 0 < left <= LONGEST_PAUSE:
                self.api.transport.deadline.pause(left)

    def _wait_for_a_validation(self) -> None:
        """Wait until a validation has ended after the last change, whatever it says: the next one began after the change."""
        secret = self._credentials.read(self.api, self.context)

        def judge(seen: dict[str, Any] | None) -> Done | Pending:
            if seen is None:
                return Pending("it is not there; somebody removed it, or an old state was seen")
            verdict = validation.judge(seen, secret, self.api.server_time(), changed=True)
            return Done(verdict.stamp, verdict.text) if verdict.final else Pending(verdict.text + self._woken(seen))

        self.latest = self.looked = self._watch(judge, self.api.transport.deadline).value

    def _watch(self, judge: Callable[[dict[str, Any] | None], Done | Pending], deadline: Deadline) -> Waited[Any]:
        seen = snapshots(self.api, resource.BACKUP_STORAGE_LOCATION, self._namespace, self._name, deadline=deadline)
        return wait(seen, judge, deadline, self.context.progress, "prove", self._target, HELD_UP)

    def prove(self, plan: Plan, observed: Observed) -> dict[str, Any]:
        """Look until the location is gone, or available by a validation that is new enough."""
        if self.options["state"] == "absent":
            return self._prove_absent(plan, observed)
        waited = self._prove_available(plan, observed)
        result = {"storage_location": location_view.shown(waited.seen)}
        return result | {"waited": waited.shown()} if self._has_changed(plan) else result

    def _has_changed(self, plan: Plan) -> bool:
        """Tell whether this task wrote the location or a Secret; a plan is empty when a change whose answer was lost turned out to be there."""
        paths = tuple(kind.path(self._namespace) for kind in (resource.BACKUP_STORAGE_LOCATION, resource.SECRET))
        return plan.changed or any(request.path.startswith(paths) for request in self.context.record.written)

    def predicted(self, plan: Plan, observed: Observed) -> dict[str, Any]:
        """Return the location as it would be, without a status."""
        if self.options["state"] == "absent":
            return {"storage_location": None, "backups": location_view.backups_view(self._target, observed.backups)}
        after = plan.after.get("storage_location")
        return {"storage_location": dict(after) | {"namespace": self._namespace} if after else None}

    def _prove_absent(self, plan: Plan, observed: Observed) -> dict[str, Any]:
        result: dict[str, Any] = {"storage_location": None, "backups": location_view.backups_view(self._target, observed.backups)}
        if not self._has_changed(plan):
            return result
        waited = location_presence.wait_until_gone(self.api, self.context, resource.BACKUP_STORAGE_LOCATION, self._namespace, self._name)
        return result | {"waited": waited.shown()}

    def _prove_available(self, plan: Plan, observed: Observed) -> Waited[Any]:
        changed = self._has_changed(plan)
        secret = self._credentials.read(self.api, self.context) if changed else observed.secret

        def judge(seen: dict[str, Any] | None) -> Done | Pending:
            if seen is None:
                return Pending("it is not there; somebody removed it, or an old state was seen")
            if self._spec_patch(Observed(True, True, seen, (), None, ())) or validation.is_nudged(seen["spec"]):
                return Pending("it is not as it was written; somebody else changes it, or an old state was seen")
            verdict = validation.judge(seen, secret, self.api.server_time(), changed=changed, later_than=None if changed else self.started)
            old = any(time and verdict.stamp and verdict.stamp <= time for time in (self.looked, self.not_before))
            if not verdict.final or old:
                return Pending(verdict.text + self._woken(seen))
            if verdict.phase != "Available":
                raise self._unavailable(verdict)
            return Done(None, verdict.text)

        first = judge(observed.location) if not plan.changed and observed.location is not None else Pending("nothing was seen yet")
        if isinstance(first, Done):
            waited: Waited[Any] = Waited(observed.location, None, 0.0, first.last)
        else:
            deadline = self.api.transport.deadline
            if not changed and observed.location is not None:
                # nothing was asked of the server, so the next periodic validation has to come within this time
                deadline = Deadline(min(deadline.remaining(), 2 * validation.period(observed.location) + validation.ENQUEUE_PERIOD))
            waited = self._watch(judge, deadline)
        if changed and self.options.get("default"):
            self._prove_only_default()
        return waited

    def _woken(self, seen: Mapping[str, Any]) -> str:
        """Look why a validation that is due does not come, wake a server that needs it, and return what is to be told of that.

        A server up to 1.9 looks for due validations only when something writes to a location or its back-off is over; it then gets an
        annotation, which changes nothing else.
        """
        now = self.api.server_time()
        last = validation.stamp(seen)
        due = max(last + timedelta(seconds=validation.period(seen)), self.started) if last else self.started
        due += timedelta(seconds=2)
        if now < due:
            return ""
        if self.answer is None:
            self.answer = self._ask_server()
        version = server.minor_version(self.answer[0])
        if version and version < FIRST_AT_EACH_CHANGE and (self.woken_at is None or now >= self.woken_at + timedelta(seconds=WAKE_EVERY)):
            self.woken_at = now
            patch = {"metadata": {"annotations": {WOKEN: validation.shown_time(now)}}}
            request = resource.merge_patch(resource.BACKUP_STORAGE_LOCATION, self._namespace, self._name, patch)
            self.api.send(replace(request, effect=Effect.PROBE, repeatable=True))
        return self.answer[1]

    def _ask_server(self) -> tuple[str | None, str]:
        """Return the running server's version, and what is wrong when it does not answer."""
        try:
            return server.ask_status(self.api, self._namespace, self.api.transport.deadline)[0], ""
        except Forbidden:
            return None, ""
        except OperationError as error:
            return None, f"; the server does not answer ({error.seen})"

    def _prove_only_default(self) -> None:
        listing = self.api.list(resource.BACKUP_STORAGE_LOCATION, self._namespace)
        names = sorted(item["metadata"]["name"] for item in listing.items if item["spec"].get("default"))
        if names != [self._name]:
            raise NotProven(
                "make the default",
                self._target,
                f"the default is now {', '.join(names) or 'none'}: somebody else or Velero's server changed it back",
                "Run the task again; if it comes back, look at the server's --default-backup-storage-location",
            )

    def _unavailable(self, verdict: validation.Verdict) -> OperationError:
        message = location_view.tidied(verdict.message or server.last_log_line(self.api, self._namespace, self._name))
        seen = f"Velero's server says {verdict.phase} (validated {validation.shown_time(verdict.stamp)}): {message or 'it gives no reason'}"
        return NotProven("prove", self._target, self.context.mask.text(seen), location_view.next_step(message))


def manage(options: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Check the options, log in, and bring the location to the wanted state."""
    location_options.check_name("name", str(options["name"]))
    location_options.check_name("namespace", str(options["namespace"]), label=True)
    if options["state"] == "present":
        location_options.check_present(options)
    api = session.log_in(options, context)
    return ensure(StorageLocation(options, api, context), context)


DEFINITION = Definition("velero_storage_location", ARGUMENTS, manage, secrets=login.secrets_in)
