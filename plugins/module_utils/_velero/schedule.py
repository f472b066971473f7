# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Velero Schedule as a managed thing: its cron expression checked before it is written, and accepted by the server after.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Definition, Plan, Step, ensure
from ansible_collections.serverops.circleci.plugins.module_utils._core.difference import merge_patch, patched
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, DeadlineOver, Forbidden, InputError, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Done, Pending, wait
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import arguments as login
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource, session
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.watch import snapshots
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    backup_template,
    crd_fields,
    cron,
    location_options,
    restore_options,
    restore_view,
    schedule_view,
    server,
    volume_copies,
)

Document = dict[str, Any]
ARGUMENTS: dict[str, dict[str, Any]] = {
    **login.ARGUMENTS,
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "velero"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "schedule": {"type": "str"},
    **backup_template.ARGUMENTS,
    "paused": {"type": "bool"},
    "skip_immediately": {"type": "bool"},
    "use_owner_references_in_backup": {"type": "bool"},
    "labels": {"type": "dict"},
    "annotations": {"type": "dict"},
}
OWN = {"schedule": "schedule", "paused": "paused", "use_owner_references_in_backup": "useOwnerReferencesInBackup"}
"""Options that stand in the spec beside the template; skip_immediately is none of them, since the server sets it back."""
SILENT_AFTER = 10.0
"""Seconds without an answer to a change after which the server is asked whether it is there (seen: it takes 0.1 s)."""
REVALIDATED_FROM = (1, 10)
"""The first release line whose server looks at a schedule at each change of its spec, and again at one that it refused before."""


@dataclass(frozen=True)
class Observed:
    """What exists. backups: those that the schedule has made. fields: what is known of the fields of a Schedule, None when no write is needed."""

    installed: bool = True
    namespace_exists: bool = True
    schedule: Document | None = None
    backups: tuple[Document, ...] = ()
    fields: crd_fields.Fields | None = None
    missing: tuple[str, ...] = ()
    missing_location: str = ""


@dataclass
class Schedule:
    """One schedule, wanted as the options say."""

    options: Mapping[str, Any]
    api: Api
    context: Context
    # when the server was asked whether it is there, and what came of it
    _asked_at: float = field(default=0.0, init=False)
    _said: str = field(default="", init=False)

    @property
    def _name(self) -> str:
        return str(self.options["name"])

    @property
    def _namespace(self) -> str:
        return str(self.options["namespace"])

    @property
    def _target(self) -> str:
        return resource.SCHEDULE.target(self._namespace, self._name)

    # read

    def read(self) -> Observed:
        """Read the schedule and its backups; what a write needs to know only when one is needed."""
        try:
            found = self.api.get(resource.SCHEDULE, self._namespace, self._name)
        except Absent:
            return Observed(installed=False)
        label = f"velero.io/schedule-name={volume_copies.label_value(self._name)}"
        backups = tuple(self.api.list(resource.BACKUP, self._namespace, label_selector=label).items)
        if self.options["state"] == "absent":
            return Observed(schedule=found, backups=backups)
        if found is None and not self._has_namespace():
            return Observed(namespace_exists=False, backups=backups)
        if found is not None and not self._differing(found):
            return Observed(schedule=found, backups=backups)
        self._check_zone()
        fields = crd_fields.read(self.api, resource.SCHEDULE, self._namespace)
        wanted = self.options.get("storage_location")
        location = self.api.get(resource.BACKUP_STORAGE_LOCATION, self._namespace, wanted) if wanted else None
        return Observed(True, True, found, backups, fields, self._missing_namespaces(), str(wanted) if wanted and location is None else "")

    def _check_zone(self) -> None:
        """Refuse a time zone that the server that runs does not know. Only then it has to be asked for its release."""
        text = str(self.options.get("schedule") or "")
        if not text.startswith(cron.ZONED):
            return
        try:
            answer = server.ask_once(self.api, self._namespace, self.api.transport.deadline)
        except (Forbidden, Absent):
            return
        try:
            cron.parse(text, server.minor_version(answer[0]) if answer else None)
        except ValueError as error:
            raise InputError("schedule", f"{text!r}: {error}, and {(answer or ('',))[0]} is installed", "Write the times in UTC") from None

    def _has_namespace(self) -> bool:
        try:
            return self.api.get(resource.NAMESPACE, "", self._namespace) is not None
        except Forbidden:
            return True

    def _missing_namespaces(self) -> tuple[str, ...]:
        names = [str(name) for name in self.options.get("included_namespaces") or [] if not set(str(name)) & set("*?")]
        try:
            return tuple(name for name in names if self.api.get(resource.NAMESPACE, "", name) is None)
        except Forbidden:
            return ()

    # plan

    def _own_wanted(self) -> dict[str, Any]:
        return {name: self.options[option] for option, name in OWN.items() if self.options.get(option) is not None}

    def _metadata_wanted(self) -> dict[str, dict[str, str]]:
        return {kind: restore_options.texts(self.options[kind]) for kind in ("labels", "annotations") if self.options.get(kind)}

    def _differing(self, schedule: Document) -> list[str]:
        """Return the options in which the schedule is not as asked for. Pure."""
        spec, metadata = schedule.get("spec") or {}, schedule["metadata"]
        found = [
            option
            for option, name in OWN.items()
            if self.options.get(option) is not None and self.options[option] != (spec.get(name) if option == "schedule" else bool(spec.get(name)))
        ]
        found += backup_template.same(backup_template.spec_of(self.options), spec.get("template") or {})
        if self._exclusive(spec.get("template") or {}):
            found.append("selector" if self.options.get("selector") else "or_selectors")
        found += [
            kind for kind, wanted in self._metadata_wanted().items() if any((metadata.get(kind) or {}).get(key) != wanted[key] for key in wanted)
        ]
        return sorted(set(found))

    def _exclusive(self, template: Mapping[str, Any]) -> dict[str, None]:
        """Return the one of the two kinds of selectors that has to go from a template, because the other one is asked for."""
        for option, other in (("selector", "orLabelSelectors"), ("or_selectors", "labelSelector")):
            if self.options.get(option) and template.get(other):
                return {other: None}
        return {}

    def plan(self, observed: Observed) -> Plan:
        """Return the steps to the wanted state. Pure."""
        if self.options["state"] == "absent":
            return self._plan_absent(observed)
        lacking = "Velero's custom resources are not installed" if not observed.installed else f"namespace {self._namespace} does not exist"
        warnings: list[str] = []
        if not observed.installed or not observed.namespace_exists:
            if not self.context.check_mode:
                raise NotProven("make", self._target, lacking, "Install Velero first")
            warnings.append(f"{self._target}: {lacking}; an earlier task has to install Velero before this one can run.")
        if observed.schedule is None and not self.options.get("schedule"):
            raise InputError("schedule", f"it is needed to make {self._target}, which does not exist", "Give schedule, as in 0 3 * * *")
        if observed.missing_location:
            seen = f"there is no location {observed.missing_location}, and each backup would fail"
            if not self.context.check_mode:
                raise NotProven("make", self._target, seen, "Make it by velero_storage_location first")
            warnings.append(f"{self._target}: {seen}.")
        if observed.missing:
            names = ", ".join(observed.missing)
            warnings.append(f"{self._target}: there is no namespace {names}; a backup that names a missing one is PartiallyFailed.")
        template = self._fitted(observed, backup_template.spec_of(self.options))
        if observed.schedule is None:
            return self._plan_new(template, warnings)
        return self._plan_change(observed, observed.schedule, template, warnings)

    def _fitted(self, observed: Observed, template: dict[str, Any]) -> dict[str, Any]:
        """Return the template with the names that the installed release has, after a look whether it knows all of them."""
        if observed.fields is None:
            return template
        own = self._own_wanted() | ({"skipImmediately": True} if self.options.get("skip_immediately") else {})
        crd_fields.refuse_dropped(observed.fields, own, lambda name: {"skipImmediately": "skip_immediately"}.get(name) or _option_of(name))
        schema = observed.fields.schema
        inner = None if schema is None else (schema.get("properties") or {}).get("template") or {}
        of_template = crd_fields.Fields("Backup", schema=inner, line=observed.fields.line)
        fitted = backup_template.fitted(template, of_template.knows)
        crd_fields.refuse_dropped(of_template, fitted, backup_template.option_of)
        return fitted

    def _plan_new(self, template: dict[str, Any], warnings: list[str]) -> Plan:
        spec = self._own_wanted() | {"template": template}
        if self.options.get("skip_immediately") is not None:
            spec["skipImmediately"] = self.options["skip_immediately"]
        metadata: dict[str, Any] = {"name": self._name, **self._metadata_wanted()}
        step = Step(resource.create(resource.SCHEDULE, self._namespace, {"metadata": metadata, "spec": spec}), "the schedule is not there yet")
        return Plan((step,), {}, {"schedule": schedule_view.spec_view(self._name, spec, metadata)}, tuple(warnings))

    def _plan_change(self, observed: Observed, schedule: Document, template: dict[str, Any], warnings: list[str]) -> Plan:
        there, metadata = schedule.get("spec") or {}, schedule["metadata"]
        if "deletionTimestamp" in metadata:
            raise NotProven("change", self._target, "it is being deleted", "Wait until it is gone")
        before = {"schedule": schedule_view.spec_view(self._name, there, metadata)}
        differing = self._differing(schedule)
        if not differing:
            return Plan((), before, before, tuple(warnings))
        spec = {OWN[option]: self.options[option] for option in differing if option in OWN}
        changes = self._template_patch(differing, template, there.get("template") or {})
        if changes:
            spec["template"] = changes
        if self.options.get("skip_immediately") is not None and ("schedule" in spec or spec.get("paused") is False):
            spec["skipImmediately"] = self.options["skip_immediately"]
        patch: dict[str, Any] = {"spec": spec} if spec else {}
        about = merge_patch(self._metadata_wanted(), metadata)
        if about:
            patch["metadata"] = about
        if metadata.get("resourceVersion"):
            # one that arrives late must not undo what was written since
            patch["metadata"] = {**about, "resourceVersion": metadata["resourceVersion"]}
        after = patched(schedule, patch)
        if spec and self._looks_again(observed) and not after["spec"].get("paused"):
            # its answer to the change is then seen: it writes Enabled or FailedValidation
            patch["status"] = {"phase": "New"}
        step = Step(resource.merge_patch(resource.SCHEDULE, self._namespace, self._name, patch), f"{', '.join(differing)} differ")
        return Plan((step,), before, {"schedule": schedule_view.spec_view(self._name, after["spec"], after["metadata"])}, tuple(warnings))

    def _template_patch(self, differing: list[str], template: dict[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
        """Return the merge patch for the options that differ; a mapping that an option gives is replaced as a whole."""
        renamed = backup_template.RENAMED
        fields = {name for name in template if backup_template.option_of(renamed.get(name, name)) in differing or name == "uploaderConfig"}
        changes = {
            name: value if name == "uploaderConfig" else replacing(value, there.get(name)) for name, value in template.items() if name in fields
        }
        return {**merge_patch(changes, dict(there)), **self._exclusive(there)}

    @staticmethod
    def _looks_again(observed: Observed) -> bool:
        """Tell whether the installed release looks at a schedule at each change. Those that do came with the field paused."""
        return observed.fields is not None and observed.fields.knows("paused")

    def _plan_absent(self, observed: Observed) -> Plan:
        schedule = observed.schedule
        if schedule is None:
            return Plan()
        before = {"schedule": schedule_view.spec_view(self._name, schedule.get("spec") or {}, schedule["metadata"])}
        uid = schedule["metadata"]["uid"]
        going = sorted(
            item["metadata"]["name"]
            for item in observed.backups
            if any(owner.get("uid") == uid for owner in item["metadata"].get("ownerReferences") or [])
        )
        warnings = []
        if going:
            warnings.append(
                f"{self._target}: the Backup objects of {len(going)} backups belong to it and go with it: {restore_view.named(going)}. Their data "
                "stay in the store, and Velero lists them again when it next looks there."
            )
        return Plan(
            (Step(resource.delete(resource.SCHEDULE, self._namespace, self._name, uid=uid), "the schedule is not wanted"),),
            before,
            {},
            tuple(warnings),
        )

    # apply and prove

    def apply(self, step: Step) -> None:
        """Send the step."""
        self.api.carry_out(step.request)

    def prove(self, plan: Plan, observed: Observed) -> dict[str, Any]:
        """Look until the schedule is gone, or as asked for and accepted by the server."""
        written = plan.changed or bool(self.context.record.written)
        if self.options["state"] == "absent":
            return self._prove_absent(written)
        self._asked_at = self.api.transport.deadline.elapsed()

        def judge(seen: Document | None) -> Done | Pending:
            if seen is None:
                return Pending("it is not there; somebody removed it, or an old state was seen")
            differing = self._differing(seen)
            if differing:
                return Pending(f"{', '.join(differing)} are not as they were written; somebody else changes them, or an old state was seen")
            status = seen.get("status") or {}
            phase = status.get("phase") or "New"
            if phase == "FailedValidation":
                raise self._refused(status)
            if seen["spec"].get("paused"):
                return Done(None, "paused: the server does not look at it")
            return Done(None, "phase Enabled") if phase == "Enabled" else Pending(f"phase {phase}{self._trouble()}")

        deadline = self.api.transport.deadline
        seen = snapshots(self.api, resource.SCHEDULE, self._namespace, self._name)
        waited = wait(
            seen, judge, deadline, self.context.progress, "prove", self._target, "Run velero_info, which says what is wrong with Velero's server"
        )
        found: Document = waited.seen or {}
        result: dict[str, Any] = {"schedule": schedule_view.shown(found, self.api.server_time(), observed.backups)}
        return result | {"waited": waited.shown()} if written else result

    def _refused(self, status: Mapping[str, Any]) -> NotProven:
        errors = "; ".join(str(text) for text in status.get("validationErrors") or []) or "it gives no reason"
        step = "Correct the option that it names. A server up to 1.9 does not look at it again: remove the schedule first, and make it anew"
        return NotProven("prove", self._target, f"Velero's server says FailedValidation: {errors}", step)

    def _trouble(self) -> str:
        """Return what is to be told when the server does not answer a change."""
        deadline = self.api.transport.deadline
        if deadline.elapsed() - self._asked_at >= SILENT_AFTER:
            self._asked_at = deadline.elapsed()
            try:
                answer = server.ask_once(self.api, self._namespace, deadline)
            except (Forbidden, Absent, DeadlineOver):
                return self._said
            self._said = "" if answer else "; Velero's server does not answer"
        return self._said

    def _prove_absent(self, written: bool) -> dict[str, Any]:
        if not written:
            return {"schedule": None}

        def judge(seen: Document | None) -> Done | Pending:
            if seen is None:
                return Done(None, "gone")
            finalizers = ", ".join(seen["metadata"].get("finalizers") or [])
            return Pending(f"still there{f', held by finalizers {finalizers}' if finalizers else ''}")

        seen = snapshots(self.api, resource.SCHEDULE, self._namespace, self._name)
        step = "Look for finalizers on the object"
        waited = wait(seen, judge, self.api.transport.deadline, self.context.progress, "remove", self._target, step)
        return {"schedule": None, "waited": waited.shown()}

    def predicted(self, plan: Plan, observed: Observed) -> dict[str, Any]:
        """Return the schedule as it would be, without what the server says of it."""
        if self.options["state"] == "absent":
            return {"schedule": None}
        now = self.api.server_time()
        if not plan.changed and observed.schedule is not None:
            return {"schedule": schedule_view.shown(observed.schedule, now, observed.backups)}
        body = plan.steps[0].request.body
        document = {key: value for key, value in patched(observed.schedule or {}, body).items() if observed.schedule or key != "status"}
        document["metadata"] = document["metadata"] | {"name": self._name, "namespace": self._namespace}
        if (document.get("status") or {}).get("phase"):
            document["status"] = {**document["status"], "phase": None}
        return {"schedule": schedule_view.shown(document, now, observed.backups)}


def replacing(value: Any, there: Any) -> Any:
    """Return a value as a merge patch that leaves nothing of what is there."""
    if not isinstance(value, Mapping) or not isinstance(there, Mapping):
        return value
    return {name: replacing(item, there.get(name)) for name, item in value.items()} | {name: None for name in there if name not in value}


def _option_of(name: str) -> str:
    return {field: option for option, field in OWN.items()}.get(name, name)


def check(options: Mapping[str, Any]) -> None:
    """Refuse every value and combination that could not become an enabled schedule."""
    location_options.check_name("name", str(options["name"]))
    location_options.check_name("namespace", str(options["namespace"]), label=True)
    if options["state"] == "absent":
        return
    if options.get("schedule") is not None:
        try:
            cron.parse(str(options["schedule"]))
        except ValueError as error:
            raise InputError(
                "schedule", f"{options['schedule']!r} is no cron expression: {error}", "Write it as in 0 3 * * *, @daily or @every 6h"
            ) from None
    backup_template.checked(options)
    for kind in ("labels", "annotations"):
        restore_options.check_texts(kind, options.get(kind))


def manage(options: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Check the options, log in, and bring the schedule to the wanted state."""
    check(options)
    api = session.log_in(options, context)
    return ensure(Schedule(options, api, context), context)


DEFINITION = Definition("velero_schedule", ARGUMENTS, manage, secrets=login.secrets_in)
