# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Velero Backup as a managed thing: made or found, waited for, and judged by what a restore of it would bring back.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Definition, Plan, Step, ensure
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, Forbidden, InputError, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Waited
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import arguments as login
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource, session
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    backup_progress,
    backup_removal,
    backup_template,
    backup_view,
    coverage,
    crd_fields,
    duration,
    location_options,
    selector,
    validation,
)
from ansible_collections.serverops.circleci.plugins.module_utils._velero.backup_reader import Reader

Document = dict[str, Any]

ARGUMENTS: dict[str, dict[str, Any]] = {
    **login.ARGUMENTS,
    "timeout": {"type": "int", "default": 3600},
    "name": {"type": "str"},
    "newer_than": {"type": "str"},
    "name_prefix": {"type": "str", "default": "backup"},
    "namespace": {"type": "str", "default": "velero"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **backup_template.ARGUMENTS,
    "labels": {"type": "dict"},
    "annotations": {"type": "dict"},
    "uncovered_volumes": {"type": "str", "choices": ["fail", "warn"], "default": "fail"},
    "excluded_volumes": {"type": "list", "elements": "str", "default": []},
}
CONSTRAINTS: dict[str, Any] = {
    "mutually_exclusive": [["name", "newer_than"]],
    "required_one_of": [["name", "newer_than"]],
    "required_if": [["state", "absent", ["name"]]],
}

KIND = resource.BACKUP


@dataclass(frozen=True)
class Observed:
    """What exists. backup: the one of the wanted name, or with newer_than the one that satisfies it or is under way.

    details: what was found out about it, where that was needed to choose it. locations: by name. fields: of a Backup as the cluster keeps
    them, None when it was not asked. missing: included namespaces that are not there.
    """

    installed: bool
    namespace_exists: bool
    backup: Document | None
    details: backup_view.Details | None = None
    locations: Mapping[str, Document] = field(default_factory=dict)
    fields: crd_fields.Fields | None = None
    missing: tuple[str, ...] = ()


@dataclass
class Backup:
    """One backup, wanted as the options say."""

    options: Mapping[str, Any]
    api: Api
    context: Context
    # the name of the one that is made for newer_than, once it is clear that one has to be made
    made_name: str = field(default="", init=False)
    # the backup as it was last read
    seen: Document | None = field(default=None, init=False)
    # details of candidates by uid and resourceVersion: a task reads before and after it writes
    known: dict[tuple[str, str], backup_view.Details] = field(default_factory=dict, init=False)

    @property
    def _namespace(self) -> str:
        return str(self.options["namespace"])

    @property
    def _name(self) -> str:
        return str(self.options.get("name") or self.made_name)

    @property
    def _target(self) -> str:
        return KIND.target(self._namespace, self.seen["metadata"]["name"] if self.seen else self._name)

    @property
    def _wanted(self) -> Document:
        return backup_template.spec_of(self.options)

    def _reader(self, locations: Mapping[str, Document] | None = None) -> Reader:
        return Reader(self.api, self.context, self._namespace, self.options["excluded_volumes"], locations=locations)

    # read

    def read(self) -> Observed:
        """Read the backup, and when there is none what its making depends on."""
        try:
            found, details = self._find()
            if found is not None:
                self.seen = found
                return Observed(True, True, found, details)
            self.seen = None
            locations = {item["metadata"]["name"]: item for item in self.api.list(resource.BACKUP_STORAGE_LOCATION, self._namespace).items}
        except Absent:
            return Observed(False, self._has_namespace(self._namespace), None)
        fields = crd_fields.read(self.api, KIND, self._namespace) if crd_fields.needed(KIND.kind, self._wanted) else None
        named = [name for name in self.options.get("included_namespaces") or [] if "*" not in name and "?" not in name]
        missing = tuple(name for name in named if not self._has_namespace(name))
        exists = bool(locations) or self._has_namespace(self._namespace)
        return Observed(True, exists, None, None, locations, fields, missing)

    def _has_namespace(self, name: str) -> bool:
        try:
            return self.api.get(resource.NAMESPACE, "", name) is not None
        except Forbidden:
            # rights in some namespaces only: whether it exists shows in the backup
            return True

    def _find(self) -> tuple[Document | None, backup_view.Details | None]:
        if self._name:
            found = self.api.get(KIND, self._namespace, self._name)
            if found is not None or self.options.get("name"):
                return found, None
        return self._young_enough()

    def _young_enough(self) -> tuple[Document | None, backup_view.Details | None]:
        """Return a good backup that is new enough, or else one that is under way; of any name, but of the same scope."""
        span = duration.seconds(self.options["newer_than"])
        found = self.api.scan(KIND, self._namespace, lambda item: item if self._may_satisfy(item, span) else None)
        candidates = sorted(found, key=lambda item: str(item["metadata"].get("creationTimestamp") or ""), reverse=True)
        reader = self._reader()
        now = self.api.server_time()
        for item in candidates:
            if backup_view.is_finished(item):
                details = self._details(reader, item)
                good, _why = backup_view.verdict(item, details, now)
                if good or (self.options["uncovered_volumes"] == "warn" and _only_uncovered(item, details, now)):
                    return item, details
        running = [item for item in candidates if not backup_view.is_finished(item)]
        for item in running:
            if not backup_progress.is_orphan(self.api, self._namespace, item):
                return item, None
        if not self.made_name:
            self.made_name = f"{self.options['name_prefix']}-{now:%Y%m%d%H%M%S}"
        return None, None

    def _details(self, reader: Reader, item: Document) -> backup_view.Details:
        """Return what can be found out about a finished backup; read once as long as the object stays the same."""
        key = (item["metadata"]["uid"], item["metadata"]["resourceVersion"])
        if key not in self.known:
            self.known[key] = reader.details(item)
        return self.known[key]

    def _may_satisfy(self, item: Document, span: float) -> bool:
        phase = backup_view.phase_of(item)
        if phase in {"Failed", "FailedValidation", "PartiallyFailed", backup_view.DELETING} or "deletionTimestamp" in item["metadata"]:
            return False
        if backup_template.same_scope(self._wanted, item.get("spec") or {}):
            return False
        ended = backup_view.completed_at(item)
        return phase != "Completed" or (ended is not None and ended >= self.api.server_time() - timedelta(seconds=span))

    # plan

    def plan(self, observed: Observed) -> Plan:
        """Return the step to the wanted backup: none when there is one, else its making. Pure."""
        wanted = self._wanted
        if observed.backup is not None:
            self._refuse_other(observed.backup, wanted)
            side = {"backup": self._side(observed.backup["metadata"]["name"], observed.backup.get("spec") or {})}
            return Plan((), side, side)
        target = KIND.target(self._namespace, self._name)
        warnings = self._missing(observed, target)
        if observed.fields is not None:
            wanted = backup_template.fitted(wanted, observed.fields.knows)
            crd_fields.refuse_dropped(observed.fields, wanted, backup_template.option_of)
        metadata: Document = {"name": self._name}
        for option in ("labels", "annotations"):
            if self.options.get(option):
                metadata[option] = {str(name): _text(value) for name, value in self.options[option].items()}
        step = Step(resource.create(KIND, self._namespace, {"metadata": metadata, "spec": wanted}), "there is no such backup")
        return Plan((step,), {}, {"backup": self._side(self._name, wanted)}, tuple(warnings))

    def _side(self, name: str, spec: Mapping[str, Any]) -> Document:
        template = backup_template.template_of(spec)
        asked = backup_template.template_of(self._wanted)
        # what the server fills in is no difference
        return {"name": name, **{option: value for option, value in template.items() if option in asked}}

    def _refuse_other(self, backup: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        """Refuse a backup of the wanted name that holds something else; one that did not become good is judged later."""
        if backup_view.phase_of(backup) in {"Failed", "FailedValidation", "PartiallyFailed", backup_view.DELETING}:
            return
        there = backup.get("spec") or {}
        different = backup_template.same_scope(wanted, there)
        if different:
            words = "; ".join(
                f"{option} is {backup_template.value_shown(there, option)}, not {backup_template.value_shown(wanted, option)}" for option in different
            )
            raise NotProven(
                "make",
                KIND.target(self._namespace, str(backup["metadata"]["name"])),
                f"there is one of this name that holds something else: {words}",
                "A backup cannot be changed: take another name, or remove it first (state absent)",
            )

    def _missing(self, observed: Observed, target: str) -> list[str]:
        """Return what is missing as warnings in check mode, where an earlier task would have made it; raise it otherwise."""
        if not observed.installed or not observed.namespace_exists:
            what = "Velero's custom resources are not installed" if not observed.installed else f"namespace {self._namespace} does not exist"
            return self._lacking(target, what, "Install Velero first")
        _location, trouble = chosen_location(self.options.get("storage_location"), observed.locations)
        if trouble:
            return self._lacking(target, *trouble)
        if observed.missing:
            names = ", ".join(observed.missing)
            return self._lacking(target, f"namespace {names} does not exist, so there is nothing to back up", "Correct included_namespaces")
        return []

    def _lacking(self, target: str, seen: str, next_step: str) -> list[str]:
        if not self.context.check_mode:
            raise NotProven("make", target, seen, next_step)
        return [f"{target}: {seen}; it could not be made now."]

    # apply and prove

    def apply(self, step: Step) -> None:
        """Send a step."""
        self.api.carry_out(step.request)

    def prove(self, plan: Plan, observed: Observed) -> Document:
        """Wait until Velero is done with it, and judge it."""
        waited: Waited[Any] | None = None
        backup = self.seen if self.seen is not None else observed.backup
        if backup is None or not backup_view.is_finished(backup):
            waited = backup_progress.wait_until_finished(self.api, self.context, self._namespace, self._name, backup)
            backup = waited.seen
        self.seen = backup
        details = observed.details if waited is None and not plan.changed else None
        entry = self._judged(backup, details)
        return {"backup": entry} | ({"waited": waited.shown()} if waited else {})

    def predicted(self, plan: Plan, observed: Observed) -> Document:
        """Return the backup that is there, judged; or what is known of one that would be made."""
        if observed.backup is None:
            after = dict(plan.after["backup"])
            return {"backup": {"name": after.pop("name"), "namespace": self._namespace, "template": after}}
        if backup_view.is_finished(observed.backup):
            return {"backup": self._judged(observed.backup, observed.details)}
        return {"backup": self._reader().entry(observed.backup)}

    def _judged(self, backup: Mapping[str, Any], details: backup_view.Details | None) -> backup_view.Entry:
        """Return a finished backup's entry; NotProven when it is not good and the options do not let that pass."""
        status = backup.get("status") or {}
        if details is None:
            details = self._reader().details(backup, ("volumes", "results") if status.get("warnings") else ("volumes",))
        now = self.api.server_time()
        entry = backup_view.shown(backup, details, now)
        if entry["good"] is not True:
            if self.options["uncovered_volumes"] != "warn" or not _only_uncovered(backup, details, now):
                raise NotProven("make", self._target, self.context.mask.text(entry["verdict"]), backup_view.next_step(backup, details, now))
            self.context.warn(f"{self._target}: {entry['verdict']}.")
        if details.unreached:
            self.context.warn(f"{self._target}: {details.unreached}. Its volumes were judged by what is in the cluster now.")
        told = (details.results or {}).get("warnings") or []
        if told:
            self.context.warn(f"{self._target}: Velero warns: {backup_view.shortened(told)}.")
        return entry


def _only_uncovered(backup: Mapping[str, Any], details: backup_view.Details, now: datetime) -> bool:
    """Tell whether nothing but the volumes keeps a backup from being good."""
    good, _why = backup_view.verdict(backup, replace(details, coverage=coverage.Coverage(coverage.KNOWN)), now)
    return bool(good)


def chosen_location(name: str | None, locations: Mapping[str, Mapping[str, Any]]) -> tuple[str | None, tuple[str, str] | None]:
    """Return the storage location that a backup would go to, and what is wrong with it with what to do, or None.

    name: as asked for; None is the default one.
    """
    defaults = sorted(known for known, item in locations.items() if (item.get("spec") or {}).get("default"))
    chosen = name or (defaults[0] if defaults else None)
    if chosen is None and "default" in locations:
        chosen = "default"  # what the server takes when none is marked
    if chosen is None:
        return None, ("no storage location is the default", "Give storage_location, or make one the default (velero_storage_location)")
    if chosen not in locations:
        return None, (
            f"there is no storage location {chosen}; there are: {', '.join(sorted(locations)) or 'none'}",
            "Correct storage_location, or make it (velero_storage_location)",
        )
    return chosen, _unusable(chosen, locations[chosen])


def _unusable(name: str, location: Mapping[str, Any]) -> tuple[str, str] | None:
    spec, status = location.get("spec") or {}, location.get("status") or {}
    if spec.get("accessMode") == "ReadOnly":
        return f"storage location {name} is read-only", "Take another one, or set its access_mode to ReadWrite"
    phase = status.get("phase")
    if phase != "Available":
        message = status.get("message")
        last = validation.shown_time(validation.stamp(location))
        return (
            f"storage location {name} is {phase or 'not validated yet'} (last validated: {last}){f': {message}' if message else ''}",
            "Repair it first: velero_storage_location says why it is not available",
        )
    return None


def _check(options: Mapping[str, Any]) -> None:
    location_options.check_name("namespace", str(options["namespace"]), label=True)
    if options.get("name") is not None:
        location_options.check_name("name", str(options["name"]))
    location_options.check_name("name_prefix", str(options["name_prefix"]))
    if options.get("newer_than") is not None:
        try:
            length = duration.nanoseconds(options["newer_than"])
        except ValueError as error:
            raise InputError("newer_than", f"{options['newer_than']!r} is {error}", "Write it as in 24h or 90m") from None
        if not length:
            raise InputError("newer_than", "no backup is newer than now", "Give a time such as 24h, or a name to make one in any case")
    for item in options["excluded_volumes"]:
        if str(item).count("/") != 1 or not all(str(item).split("/")):
            raise InputError("excluded_volumes", f"{item!r} is not namespace/claim", "Write it as in app/cache or app/tmp-*")
    for option in ("labels", "annotations"):
        for name, value in (options.get(option) or {}).items():
            _check_mark(option, str(name), value)
    backup_template.checked(options)


def _check_mark(option: str, name: str, value: Any) -> None:
    """Refuse a label or annotation that Kubernetes would not take, or that is Velero's own."""
    if isinstance(value, (Mapping, list)) or value is None:
        raise InputError(option, f"the value of {name} is not a single value", "Write a string")
    if not selector.KEY.fullmatch(name):
        raise InputError(option, f"{name!r} is not the name of a label or annotation", "Use letters, digits, hyphens, dots and underscores")
    if name.startswith("velero.io/"):
        raise InputError(option, f"{name} belongs to Velero", "Use another name")
    if option == "labels" and not selector.VALUE.fullmatch(_text(value)):
        raise InputError(option, f"the value of {name} is not that of a label", "Use at most 63 letters, digits, hyphens, dots and underscores")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def manage(options: Mapping[str, Any], context: Context) -> Document:
    """Check the options, log in, and bring the backup to the wanted state."""
    _check(options)
    api = session.log_in(options, context)
    if options["state"] == "absent":
        return ensure(backup_removal.Removal(options, api, context), context)
    return ensure(Backup(options, api, context), context)


DEFINITION = Definition("velero_backup", ARGUMENTS, manage, CONSTRAINTS, secrets=login.secrets_in)
