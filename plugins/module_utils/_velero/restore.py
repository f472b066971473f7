# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Velero Restore as a managed thing: made once under its name, waited for, and proven by what it has brought back.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Definition, Plan, Step, ensure
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, DeadlineOver, Forbidden, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Done, Pending, Waited, wait
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import arguments as login
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource, session
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.watch import snapshots
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    backup_reader,
    backup_view,
    coverage,
    crd_fields,
    restore_guards,
    restore_options,
    restore_outcome,
    restore_reader,
    restore_view,
    restore_wait,
    server,
    unfinished,
    volume_copies,
)

Document = dict[str, Any]
FINALIZER = "restores.velero.io/external-resources-finalizer"
"""Finalizer of a Restore from 1.12 on: the server removes the restore's files from the store before the object goes."""
GONE_WITHIN = 120.0
"""Seconds in which a server removes a restore's files and lets the object go (seen: under a second)."""
LOOKED_AT = 5
"""How many backups of a schedule, the newest first, are looked at for a good one."""
AGAIN = "Remove it by state absent to restore under this name again, or take another name"


@dataclass(frozen=True)
class Observed:
    """What exists. situation: what was read to decide whether a restore may be made; only where there is none yet."""

    installed: bool = True
    namespace_exists: bool = True
    restore: Document | None = None
    backup_name: str = ""
    situation: restore_guards.Situation | None = None
    copies: tuple[volume_copies.Volume, ...] = ()
    volumes: tuple[Mapping[str, Any], ...] = ()
    work: unfinished.Work = field(default_factory=unfinished.Work)
    server_trouble: str = ""


@dataclass
class Restore:
    """One restore, wanted as the options say."""

    options: Mapping[str, Any]
    api: Api
    context: Context
    # whether this task made it: what it comes to is then told by the proof
    made: bool = field(default=False, init=False)
    # what was found out about backups, and the server's version and trouble, each once for the task
    _details: dict[str, backup_view.Details] = field(default_factory=dict, init=False)
    _answer: tuple[str | None, str] | None = field(default=None, init=False)

    @property
    def _name(self) -> str:
        return str(self.options["name"])

    @property
    def _namespace(self) -> str:
        return str(self.options["namespace"])

    @property
    def _target(self) -> str:
        return resource.RESTORE.target(self._namespace, self._name)

    # read

    def read(self) -> Observed:
        """Read the restore; where there is none, everything that has to be true before it is made."""
        try:
            restore = self.api.get(resource.RESTORE, self._namespace, self._name)
        except Absent:
            return Observed(installed=False)
        if self.options["state"] == "absent":
            return self._read_for_removal(restore)
        if restore is not None:
            copies = tuple(self._restores.copies_of(restore))
            volumes = tuple(restore_outcome.read_volumes(self.api, self._namespace, self._name))
            return Observed(restore=restore, backup_name=self._backup_of(restore), copies=copies, volumes=volumes)
        if not self._has_namespace():
            return Observed(namespace_exists=False, backup_name=str(self.options.get("backup_name") or ""))
        name, backup = self._source()
        situation = self._read_situation(name, backup)
        return Observed(backup_name=name, situation=situation, copies=situation.copies)

    @property
    def _restores(self) -> restore_reader.Reader:
        return restore_reader.Reader(self.api, self.context, self._namespace)

    def _reader(self, *, from_store: bool = True) -> backup_reader.Reader:
        return backup_reader.Reader(self.api, self.context, self._namespace, self.options["excluded_volumes"], from_store)

    def _has_namespace(self) -> bool:
        try:
            return self.api.get(resource.NAMESPACE, "", self._namespace) is not None
        except Forbidden:
            return True

    def _backup_of(self, restore: Document) -> str:
        """Return the backup that is asked for, where a restore exists: of a schedule, the one that it took when it was made."""
        if self.options.get("backup_name"):
            return str(self.options["backup_name"])
        made_for = (restore["metadata"].get("annotations") or {}).get(restore_options.SCHEDULE)
        return str((restore.get("spec") or {}).get("backupName") or "") if made_for == self.options["schedule_name"] else ""

    def _source(self) -> tuple[str, Document | None]:
        """Return name and object of the backup to restore."""
        if self.options.get("backup_name"):
            name = str(self.options["backup_name"])
            return name, self.api.get(resource.BACKUP, self._namespace, name)
        schedule = str(self.options["schedule_name"])
        label = f"velero.io/schedule-name={volume_copies.label_value(schedule)}"
        backups = self.api.list(resource.BACKUP, self._namespace, label_selector=label).items
        if not backups and self.context.check_mode:
            return "", None
        verdicts: list[str] = []
        for backup in restore_guards.newest_first(backups)[:LOOKED_AT]:
            name = str(backup["metadata"]["name"])
            self._details[name] = self._reader().details(backup)
            good, why = backup_view.verdict(backup, self._details[name], self.api.server_time())
            if good is not False or self._will_do(backup):
                if verdicts:
                    self.context.warn(f"{self._target}: of Schedule {schedule} the older backup {name} is taken, because {'; '.join(verdicts)}.")
                return name, backup
            verdicts.append(f"{name}: {why}")
        raise restore_guards.none_good(schedule, backups, verdicts)

    def _will_do(self, backup: Document) -> bool:
        """Tell whether a backup that is not good is taken all the same, because the options say so."""
        phase = backup_view.phase_of(backup)
        if phase == "PartiallyFailed":
            return bool(self.options["allow_partially_failed"])
        return phase == "Completed" and self.options["uncovered_volumes"] == "warn"

    def _read_situation(self, name: str, backup: Document | None) -> restore_guards.Situation:
        spec = restore_options.spec_of(self.options, name)
        fields = crd_fields.read(self.api, resource.RESTORE, self._namespace) if crd_fields.needed("Restore", spec) else None
        if backup is None:
            return restore_guards.Situation(fields=fields)
        location = self.api.get(resource.BACKUP_STORAGE_LOCATION, self._namespace, backup_view.storage_location(backup) or "default")
        version, trouble = self._ask_server()
        readable = not trouble and ((location or {}).get("status") or {}).get("phase") == "Available"
        if name not in self._details:
            self._details[name] = self._reader(from_store=readable).details(backup)
        details = self._details[name]
        copies = tuple(details.volumes)
        claims = {(str(item["namespace"]), str(item["claim"])) for item in (*copies, *details.coverage.uncovered) if item["claim"]}
        claims |= {(key.partition("/")[0], key.partition("/")[2]) for key in (*details.coverage.excluded, *details.coverage.unbound)}
        unknown = details.coverage.source == coverage.UNKNOWN
        targets = self._targets(spec, backup, copies)
        namespaces = {target: self._namespace_there(target) for target in sorted(targets)}
        there = frozenset(
            (target, item["metadata"]["name"])
            for target, found in namespaces.items()
            if found is not None
            for item in self.api.list(resource.PERSISTENT_VOLUME_CLAIM, target, metadata_only=True).items
        )
        return restore_guards.Situation(
            backup=backup,
            location=location,
            copies=copies,
            uncovered=None if unknown else tuple(details.coverage.uncovered),
            unknown=details.coverage.missing if unknown else "",
            gone=details.gone,
            namespaces=namespaces,
            claims=frozenset(claims),
            there=there,
            fields=fields,
            version=version,
            trouble=trouble,
            kubernetes=str(self.api.server_version().get("gitVersion") or ""),
        )

    def _namespace_there(self, name: str) -> Document | None:
        try:
            return self.api.get(resource.NAMESPACE, "", name)
        except Forbidden:
            return {"metadata": {"name": name}}

    def _targets(self, spec: Mapping[str, Any], backup: Document, copies: tuple[volume_copies.Volume, ...]) -> set[str]:
        """Return the namespaces that are restored into, as far as they are known before."""
        sources = {str(item) for item in (backup.get("spec") or {}).get("includedNamespaces") or []}
        sources |= {str(item) for item in spec.get("includedNamespaces") or []} | set(spec.get("namespaceMapping") or {})
        sources |= {str(copy["namespace"]) for copy in copies}
        return {restore_options.target_of(spec, source) for source in sources if "*" not in source and restore_options.takes_namespace(spec, source)}

    def _ask_server(self) -> tuple[str | None, str]:
        """Return the version of Velero's server, and what is wrong when it does not answer. Asked once for the task."""
        if self._answer is None:
            self._answer = self._asked()
        return self._answer

    def _asked(self) -> tuple[str | None, str]:
        try:
            answer = server.ask_once(self.api, self._namespace, self.api.transport.deadline)
        except Forbidden:
            return None, ""
        if answer is None:
            return None, f"Velero's server did not answer within {server.ANSWER_WITHIN:g} s"
        return answer[0], ""

    def _read_for_removal(self, restore: Document | None) -> Observed:
        if restore is None:
            return Observed()
        version, trouble = self._ask_server()
        pods = self.api.list(resource.POD, self._namespace, label_selector="deploy=velero").items
        since = restore_wait.started_at(pods) if not trouble else None
        unfinished_ones = [restore] if (restore.get("status") or {}).get("phase") not in unfinished.FINISHED else []
        work = unfinished.judge(unfinished_ones, server.minor_version(version), since if since or trouble else self.api.server_time())
        return Observed(restore=restore, work=work, server_trouble=trouble)

    # plan

    def plan(self, observed: Observed) -> Plan:
        """Return the one write that is needed, or none. Pure."""
        if self.options["state"] == "absent":
            return self._plan_absent(observed)
        if observed.restore is not None:
            return self._plan_existing(observed, observed.restore)
        spec = restore_options.spec_of(self.options, observed.backup_name)
        warnings: list[str] = []
        lacking = self._lacking(observed)
        if lacking:
            if not self.context.check_mode:
                raise NotProven("make", self._target, lacking[0], lacking[1])
            warnings.append(f"{self._target}: {lacking[0]}; an earlier task has to see to that before this one can run.")
        elif observed.situation is not None:
            warnings += restore_guards.check(self.options, spec, self._target, observed.situation, self.api.server_time())
        metadata = self._metadata()
        step = Step(resource.create(resource.RESTORE, self._namespace, {"metadata": metadata, "spec": spec}), "there is no such restore yet")
        return Plan((step,), {}, {"restore": restore_view.spec_view(self._name, spec, metadata)}, tuple(warnings))

    def _lacking(self, observed: Observed) -> tuple[str, str] | None:
        """Return what an earlier task of a play would have made, and what to do; None when it is there."""
        if not observed.installed:
            return "Velero's custom resources are not installed", "Install Velero first"
        if not observed.namespace_exists:
            return f"namespace {self._namespace} does not exist", "Install Velero first"
        if self.context.check_mode and observed.situation is not None and observed.situation.backup is None:
            wanted = self.options.get("backup_name")
            return f"there is no Backup {wanted}" if wanted else f"Schedule {self.options['schedule_name']} has no backups", "Make a backup first"
        return None

    def _metadata(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": self._name}
        annotations = restore_options.texts(self.options.get("annotations"))
        if self.options.get("schedule_name"):
            annotations[restore_options.SCHEDULE] = str(self.options["schedule_name"])
        if self.options.get("labels"):
            metadata["labels"] = restore_options.texts(self.options["labels"])
        if annotations:
            metadata["annotations"] = annotations
        return metadata

    def _plan_existing(self, observed: Observed, restore: Document) -> Plan:
        spec = restore_options.spec_of(self.options, observed.backup_name)
        phase = (restore.get("status") or {}).get("phase") or "New"
        if "deletionTimestamp" in restore["metadata"]:
            raise NotProven("restore", self._target, "it is being deleted", "Wait until it is gone, or take another name")
        differing = restore_options.differing(spec, restore.get("spec") or {})
        if differing:
            seen = f"a restore of this name was made before (phase {phase}) and differs in {', '.join(differing)}; a restore cannot be changed"
            raise NotProven("restore", self._target, seen, AGAIN)
        if not self.made and phase in restore_view.FINISHED and phase != "Completed":
            seen = f"it was made before and is not good: {restore_view.failure(restore, observed.volumes, None)}"
            raise NotProven("restore", self._target, seen, f"{next_step(seen)}. {AGAIN}")
        view = {"restore": restore_view.spec_view(self._name, restore.get("spec") or {}, restore["metadata"])}
        return Plan((), view, view)

    def _plan_absent(self, observed: Observed) -> Plan:
        restore = observed.restore
        if restore is None:
            return Plan()
        if observed.work.running:
            seen = f"Velero still works on it (phase {(restore.get('status') or {}).get('phase') or 'New'}), and would go on without the object"
            raise NotProven("remove", self._target, seen, "Wait until it is finished")
        if FINALIZER in (restore["metadata"].get("finalizers") or []) and observed.server_trouble:
            seen = f"{observed.server_trouble}, and only it takes the finalizer {FINALIZER} off: without it the object stays, and its namespace too"
            raise NotProven(
                "remove", self._target, seen, "Run velero_info, which says what is wrong with Velero's server, and remove the restore when it runs"
            )
        before = {"restore": restore_view.spec_view(self._name, restore.get("spec") or {}, restore["metadata"])}
        if "deletionTimestamp" in restore["metadata"]:
            return Plan((), before, before)
        request = resource.delete(resource.RESTORE, self._namespace, self._name, uid=restore["metadata"]["uid"])
        warnings = (f"{self._target}: nobody works on it any more; what it has restored so far stays.",) if observed.work.orphans else ()
        return Plan((Step(request, "the restore is not wanted"),), before, {}, warnings)

    # apply and prove

    def apply(self, step: Step) -> None:
        """Send the step. From then on it is this task that the restore is made by."""
        self.made = self.options["state"] == "present"
        self.api.carry_out(step.request)

    def prove(self, plan: Plan, observed: Observed) -> dict[str, Any]:
        """Wait until the restore is finished and good, or gone."""
        if self.options["state"] == "absent":
            return self._prove_absent(observed)
        waiting = restore_wait.RestoreWait(self.api, self._namespace, self._name, self._target, self.context.progress)
        spec = restore_options.spec_of(self.options, observed.backup_name)
        waiting.expected = len(restore_outcome.wanted_volumes(observed.copies, spec))
        finished = waiting.until_finished()
        restore: Document = finished.seen
        if finished.value != "Completed":
            seen = restore_view.failure(restore, waiting.volumes, self._restores.results(restore))
            raise NotProven("restore", self._target, seen, f"{next_step(seen)}. {AGAIN}")
        return self._prove_outcome(restore, waiting.volumes, observed, finished)

    def _prove_outcome(self, restore: Document, volumes: list[dict[str, Any]], observed: Observed, finished: Waited[Any]) -> dict[str, Any]:
        spec = restore.get("spec") or {}
        namespaces = self._restores.namespaces(restore)

        def look() -> restore_outcome.Brought:
            return restore_outcome.read_brought(self.api, self._name, namespaces.values())

        brought = look()
        wanted = restore_outcome.wanted_volumes(observed.copies, spec, brought.pod_names if restore_outcome.selects(spec) else None)
        volumes = restore_outcome.with_claims(volumes, wanted)
        missing = restore_outcome.missing_volumes(wanted, volumes)
        if missing and self.options["existing_claims"] == "keep":
            kept = [item for item in missing if restore_outcome.was_there(item, brought)]
            if kept:
                names = restore_view.named(item.text for item in kept)
                self.context.warn(f"{self._target}: what existed was kept, and gets no data from the backup: {names}.")
            missing = [item for item in missing if item not in kept]
        if missing:
            names = restore_view.named(item.text for item in missing)
            seen = f"phase Completed, but {len(missing)} of {len(wanted)} volumes that the backup has were not restored: {names}"
            step = "Velero brings no data into a pod that exists already: remove what is in the way, and restore again under another name"
            raise NotProven("restore", self._target, seen, step)
        self._still_there(restore, wanted, brought)
        broken = [item for item in volumes if item["phase"] != "Completed"]
        if broken:
            raise NotProven("restore", self._target, f"phase Completed, but {restore_view.failure(restore, broken, None)}", AGAIN)
        wait_for = self.options["workloads"] == "wait"
        settled = restore_wait.until_available(look, wait_for, self.api.transport.deadline, self.context.progress, self._target)
        brought = settled.seen
        claims = restore_outcome.claim_views(brought)
        for claim in claims:
            if claim["waits"]:
                self.context.warn(
                    f"{self._target}: claim {claim['namespace']}/{claim['name']} has no volume yet; it gets one with the first pod that uses it."
                )
        results = self._restores.results(restore) if (restore.get("status") or {}).get("warnings") else None
        for text in restore_view.telling_warnings(results):
            self.context.warn(f"{self._target}: Velero warns: {text}")
        entry = restore_view.entry(
            restore,
            results=results,
            volumes=volumes,
            claims=claims,
            workloads=restore_outcome.workload_views(brought),
            namespaces=namespaces,
            verdict=(True, ""),
        )
        waited = {"seconds": round(finished.seconds + settled.seconds, 1), "last": f"{finished.last}; {settled.last}"}
        return {"restore": entry, "waited": waited} if self.made else {"restore": entry}

    def _still_there(self, restore: Document, wanted: list[restore_outcome.Wanted], brought: restore_outcome.Brought) -> None:
        """Refuse a restore of before, of which what it restored was lost since: that it was good once helps nobody."""
        if self.made:
            return
        # a claim that was kept is none that it made
        looked_at = [] if self.options["existing_claims"] == "keep" else wanted
        lost = self._restores.lost(restore, looked_at, brought)
        if lost:
            ended = (restore.get("status") or {}).get("completionTimestamp")
            seen = f"it ended at {ended}, and what it restored is not there any more: {restore_view.named(lost)}"
            raise NotProven("restore", self._target, seen, "Take another name to restore once more")

    def _prove_absent(self, observed: Observed) -> dict[str, Any]:
        result: dict[str, Any] = {"restore": None}
        if observed.restore is None:
            return result
        deadline = Deadline(min(GONE_WITHIN, self.api.transport.deadline.remaining()))

        def judge(seen: Document | None) -> Done | Pending:
            if seen is None:
                return Done(None, "gone")
            finalizers = ", ".join(seen["metadata"].get("finalizers") or [])
            return Pending(f"still there{f', held by finalizers {finalizers}' if finalizers else ''}")

        step = "Velero's server removes the restore's files from the store first: look whether its location is available, and into the server's log"
        seen = snapshots(self.api, resource.RESTORE, self._namespace, self._name, deadline=deadline)
        try:
            waited = wait(seen, judge, deadline, self.context.progress, "remove", self._target, step)
        except DeadlineOver as over:
            raise NotProven("remove", self._target, over.seen, step) from None
        return result | {"waited": waited.shown()}

    def predicted(self, plan: Plan, observed: Observed) -> dict[str, Any]:
        """Return the restore as it would be made, or as it is."""
        if self.options["state"] == "absent":
            return {"restore": None}
        if observed.restore is not None:
            wanted = restore_outcome.wanted_volumes(observed.copies, observed.restore.get("spec") or {})
            volumes = restore_outcome.with_claims(observed.volumes, wanted)
            return {"restore": restore_view.entry(observed.restore, volumes=volumes)}
        spec = restore_options.spec_of(self.options, observed.backup_name)
        return {"restore": restore_view.entry({"metadata": self._metadata() | {"namespace": self._namespace}, "spec": spec})}


def next_step(seen: str) -> str:
    """Return what to do about a restore that failed, by what was seen."""
    lower = seen.lower()
    for signs, step in (
        (("during the server starting",), "Velero's server was started anew in the middle; what was restored so far stays. Look why it stopped"),
        (
            ("nosuchkey", "not found", "does not exist", "no such key", "404"),
            "The store lacks what the backup needs: look whether its objects were removed, or take another backup",
        ),
        (("nosuchbucket",), "The bucket is gone: look into the store"),
        (("connection refused", "dial tcp", "timeout", "no such host"), "The store did not answer: look at the location by velero_storage_location"),
        (("volumes not restored",), "Look at the node agent of the volume's node, and into its log"),
    ):
        if any(sign in lower for sign in signs):
            return step
    return "Look into the log of the restore"


def manage(options: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Check the options, log in, and bring the restore to the wanted state."""
    restore_options.check(options)
    api = session.log_in(options, context)
    return ensure(Restore(options, api, context), context)


DEFINITION = Definition("velero_restore", restore_options.ARGUMENTS, manage, constraints=restore_options.CONSTRAINTS, secrets=login.secrets_in)
