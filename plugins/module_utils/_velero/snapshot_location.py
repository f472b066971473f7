# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Velero VolumeSnapshotLocation as a managed thing, with its own credentials, proven as far as Velero lets it be proven.

Velero neither validates such a location nor gives it a status: the first snapshot shows whether it works. What can be known before is
whether the object is stored as asked for, and whether the running server lists a plugin that makes snapshots at its provider.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Definition, Plan, Step, ensure
from ansible_collections.serverops.circleci.plugins.module_utils._core.difference import merge_patch, patched
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, Forbidden, InputError, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._core.wait import Done, Pending, Waited, wait
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import arguments as login
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource, session
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.watch import snapshots
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    credential_secret,
    installation,
    location_options,
    location_presence,
    location_view,
    server,
)

ARGUMENTS: dict[str, dict[str, Any]] = {
    **login.ARGUMENTS,
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "velero"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "provider": {"type": "str"},
    "config": {"type": "dict"},
    "credential": credential_secret.ARGUMENT,
}

OWNER = "serverops.circleci/snapshot-location"
"""Annotation of a Secret that this module made: the snapshot location that it was made for."""
FIRST_WITH_CREDENTIAL = (1, 10)
"""The first version of Velero whose snapshot locations have credentials of their own."""
DEFINITION_NAME = "volumesnapshotlocations.velero.io"
SNAPSHOTTER = "VolumeSnapshotter"
"""The kind of plugin that makes volume snapshots, in the words of a ServerStatusRequest."""
PLUGIN_IMAGES = {
    "velero.io/aws": "velero/velero-plugin-for-aws",
    "velero.io/gcp": "velero/velero-plugin-for-gcp",
    "velero.io/azure": "velero/velero-plugin-for-microsoft-azure",
}
"""Where the plugins of Velero's own providers are."""
SETTINGS = {
    "velero.io/aws": frozenset({"region", "profile", "enableSharedConfig", "ebsKmsKeyId"}),
    "velero.io/gcp": frozenset({"snapshotLocation", "project", "volumeProject", "snapshotType"}),
}
"""All settings that the plugins know, up to 1.14. A plugin that is given another one makes no snapshot at all."""


@dataclass(frozen=True)
class Answer:
    """What the running server says of itself: its version and its plugins for snapshots, or the trouble that kept it from saying."""

    version: str | None = None
    snapshotters: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Observed:
    """What exists.

    secret: the one that the options name. backups: those that name the location, if they are concerned. own_secrets and used_elsewhere: with state
    absent, the Secrets made for the location, and the names of those that storage locations use. answer: None when the server was not asked.
    knows_credential: whether the installed custom resource has a place for credentials; None when that is not known or of no interest.
    """

    installed: bool
    namespace_exists: bool
    location: dict[str, Any] | None = None
    others: tuple[dict[str, Any], ...] = ()
    secret: dict[str, Any] | None = None
    backups: tuple[dict[str, Any], ...] = ()
    own_secrets: tuple[dict[str, Any], ...] = ()
    used_elsewhere: frozenset[str] = frozenset()
    answer: Answer | None = None
    knows_credential: bool | None = None


@dataclass
class SnapshotLocation:
    """One snapshot location, wanted as the options say."""

    options: Mapping[str, Any]
    api: Api
    context: Context
    # the server is asked once per task
    answer: Answer | None = field(default=None, init=False)

    @property
    def _name(self) -> str:
        return str(self.options["name"])

    @property
    def _namespace(self) -> str:
        return str(self.options["namespace"])

    @property
    def _target(self) -> str:
        return resource.VOLUME_SNAPSHOT_LOCATION.target(self._namespace, self._name)

    @property
    def _credentials(self) -> credential_secret.CredentialSecret:
        return credential_secret.CredentialSecret(OWNER, self._name, self._namespace, self._target, self.options.get("credential"))

    # read

    def read(self) -> Observed:
        """Read the location with its neighbours in one request, and what else its options or its removal are about."""
        try:
            found = location_presence.read(self.api, resource.VOLUME_SNAPSHOT_LOCATION, self._namespace, self._name)
        except Absent:
            return Observed(False, location_presence.namespace_exists(self.api, self._namespace))
        location, others, exists = found.location, found.others, found.namespace_exists
        if self.options["state"] == "absent":
            own_secrets = self._credentials.find_own(self.api, self.context)
            used = self._credentials.used_by(self.api, self.context, resource.BACKUP_STORAGE_LOCATION, own_secrets)
            backups = self._backups() if location else ()
            return Observed(True, exists, location, others, backups=backups, own_secrets=own_secrets, used_elsewhere=used)
        secret = self._credentials.read(self.api, self.context)
        backups = self._backups() if location and self._moves(location) else ()
        knows_credential = self._knows_credential(location)
        if exists and self.answer is None:
            self.answer = self._ask_server()
        return Observed(True, exists, location, others, secret, backups, answer=self.answer, knows_credential=knows_credential)

    def _backups(self) -> tuple[dict[str, Any], ...]:
        """Return the backups that name the location. The server writes the names of all locations that it uses into a backup's spec."""
        found = self.api.list(resource.BACKUP, self._namespace).items
        return tuple(item for item in found if self._name in ((item.get("spec") or {}).get("volumeSnapshotLocations") or []))

    def _knows_credential(self, location: Mapping[str, Any] | None) -> bool | None:
        """Tell whether the installed custom resource keeps credentials: up to 1.9 the API server drops them without a word."""
        if not self.options.get("credential"):
            return None
        if _spec_of(location).get("credential"):
            return True
        try:
            definition = self.api.get(resource.CUSTOM_RESOURCE_DEFINITION, "", DEFINITION_NAME)
        except Forbidden:
            return None  # rights in one namespace only: the server's version has to do
        if definition is None:
            return None
        for version in definition["spec"]["versions"]:
            if version["name"] == resource.VOLUME_SNAPSHOT_LOCATION.version:
                schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
                return "credential" in (((schema.get("properties") or {}).get("spec") or {}).get("properties") or {})
        return None

    def _ask_server(self) -> Answer:
        try:
            answer = server.ask_once(self.api, self._namespace, self.api.transport.deadline)
        except Forbidden:
            return Answer(trouble="this login may not make a ServerStatusRequest, so the server was not asked")
        except Absent:
            return Answer(trouble="the custom resource ServerStatusRequest is not installed, so the server cannot be asked")
        if answer is None:
            return Answer(trouble=f"the server did not answer a ServerStatusRequest within {server.ANSWER_WITHIN:g} s")
        version, plugins = answer
        return Answer(version, tuple(plugin["name"] for plugin in plugins if plugin["kind"] == SNAPSHOTTER))

    # plan

    def plan(self, observed: Observed) -> Plan:
        """Return the steps to the wanted state. Pure."""
        return self._plan_absent(observed) if self.options["state"] == "absent" else self._plan_present(observed)

    def _wanted_spec(self, location: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the fields of the spec that the options ask for; what an option leaves out is not in it."""
        options = self.options
        spec: dict[str, Any] = {}
        if options.get("provider") is not None:
            spec["provider"] = options["provider"]
        if options.get("config") is not None:
            config: dict[str, Any] = dict(location_options.config_of(options["config"], location_options.SERVER_SNAPSHOT_CONFIG))
            there = _spec_of(location).get("config") or {}
            # a setting that is no longer wanted goes; what the server left there is not ours to remove
            config |= {name: None for name in there if name not in config and name not in location_options.SERVER_SNAPSHOT_CONFIG}
            spec["config"] = config
        if options.get("credential"):
            spec["credential"] = {"name": options["credential"]["name"], "key": options["credential"]["key"]}
        return spec

    def _spec_patch(self, location: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the smallest patch of the spec; fields that mean the same as what is there are left alone."""
        there = _spec_of(location)
        patch: dict[str, Any] = merge_patch(self._wanted_spec(location), there)
        before, after = (location_options.canonical_snapshot_spec(spec) for spec in (there, patched(there, patch)))
        return {name: value for name, value in patch.items() if before.get(name) != after.get(name)}

    def _moves(self, location: Mapping[str, Any]) -> bool:
        """Tell whether the wanted location is another place: what was made in the old one is then looked for in the new one."""
        return bool({"provider", "config"} & set(self._spec_patch(location)))

    def _plan_present(self, observed: Observed) -> Plan:
        steps: list[Step] = []
        warnings: list[str] = []
        there = _spec_of(observed.location)
        patch = self._spec_patch(observed.location)
        spec = patched(there, patch)
        if not spec.get("provider"):
            raise InputError("provider", f"it is needed to make {self._target}, which does not exist", "Give provider")
        provider = location_options.canonical_provider(spec["provider"])
        if provider == "velero.io/aws" and not (spec.get("config") or {}).get("region"):
            raise InputError("config.region", "the plugin for aws makes no snapshot without it", "Give the region of the volumes in config.region")
        if not observed.installed or not observed.namespace_exists:
            what = "Velero's custom resources are not installed" if not observed.installed else f"namespace {self._namespace} does not exist"
            if not self.context.check_mode:
                raise NotProven("make", self._target, what, "Install Velero first")
            warnings.append(f"{self._target}: {what}; an earlier task has to install Velero before this one can run")
        warnings += self._refuse_early_credential(observed)
        warnings += self._refuse_without_plugin(observed, provider)
        secret_step = self._credentials.step(observed.secret)
        steps += [secret_step] if secret_step else []
        warnings += self._credentials.lacking(observed.secret, check_mode=self.context.check_mode)
        steps += self._location_steps(observed.location, patch)
        warnings += self._traps(observed, spec, patch)
        before, after = self._credentials.sides(observed.secret)
        if observed.location is not None:
            before["snapshot_location"] = location_view.snapshot_spec_view(self._name, there)
        after["snapshot_location"] = location_view.snapshot_spec_view(self._name, spec)
        return Plan(tuple(steps), before, after, tuple(warnings))

    def _location_steps(self, location: Mapping[str, Any] | None, patch: Mapping[str, Any]) -> list[Step]:
        kind = resource.VOLUME_SNAPSHOT_LOCATION
        if location is None:
            body = {"metadata": {"name": self._name}, "spec": patched({}, patch)}
            return [Step(resource.create(kind, self._namespace, body), "the location is not there yet")]
        if not patch:
            return []
        body = {"metadata": {"resourceVersion": location["metadata"]["resourceVersion"]}, "spec": patch}
        return [Step(resource.merge_patch(kind, self._namespace, self._name, body), f"{', '.join(sorted(patch))} differ")]

    def _refuse_early_credential(self, observed: Observed) -> list[str]:
        """Refuse credentials that would be dropped or not be read; in check mode return that as a warning."""
        if not self.options.get("credential"):
            return []
        version = observed.answer.version if observed.answer else None
        minor = server.minor_version(version)
        if observed.knows_credential is False:
            what = "the installed custom resource has no place for it, and the API server would drop it without a word"
        elif minor and minor < FIRST_WITH_CREDENTIAL:
            what = f"the server, {version}, does not read it"
        else:
            return []
        if not self.context.check_mode:
            raise InputError("credential", what, "It needs Velero 1.10; leave it out to use the credentials that Velero was installed with")
        return [f"{self._target}: option credential: {what}; an earlier task has to bring Velero to 1.10 or newer"]

    def _refuse_without_plugin(self, observed: Observed, provider: str) -> list[str]:
        """Refuse a provider whose plugin the server does not list; return as a warning what is not known, or in check mode not there yet."""
        answer = observed.answer
        if answer is None:
            return []
        if answer.trouble:
            return [f"{self._target}: {answer.trouble}; whether it has the plugin {provider} that makes the snapshots is not proven"]
        if provider in answer.snapshotters:
            return []
        listed = f"only {', '.join(answer.snapshotters)}" if answer.snapshotters else "none"
        what = f"Velero's server ({answer.version or 'of an unknown version'}) lists no {SNAPSHOTTER} plugin {provider}, {listed}"
        image = PLUGIN_IMAGES.get(provider)
        add = f"Add the plugin {provider} to Velero{f', which is in the image {image}' if image else ''}"
        if not self.context.check_mode:
            raise NotProven("use", self._target, what, f"{add}, or correct provider")
        return [f"{self._target}: {what}. {add} by an earlier task, or correct provider"]

    def _traps(self, observed: Observed, spec: Mapping[str, Any], patch: Mapping[str, Any]) -> list[str]:
        """Return the warnings about what Velero will do with the location, and says to nobody."""
        warnings = []
        provider = location_options.canonical_provider(spec["provider"])
        unknown = sorted(set(self.options.get("config") or {}) - SETTINGS.get(provider, frozenset())) if provider in SETTINGS else []
        if unknown:
            warnings.append(
                f"{self._target}: the plugins {provider} up to 1.14 do not know {', '.join(f'config.{name}' for name in unknown)}, "
                "and a plugin makes no snapshot when it is given a setting that it does not know."
            )
        if "provider" in patch:
            beside = sorted(other["metadata"]["name"] for other in observed.others if (other.get("spec") or {}).get("provider") == spec["provider"])
            if beside:
                warnings.append(
                    f"{self._target}: provider {spec['provider']} has the snapshot locations {', '.join(beside)} too. Velero refuses a backup that "
                    "names none of them, unless the server's --default-volume-snapshot-locations does."
                )
        made = self._with_snapshots(observed.backups)
        if made and observed.location is not None:
            warnings.append(
                f"{self._target} is another place now: the volume snapshots of {len(made)} Backup objects were made in the old one, "
                "and Velero will look for them in the new one."
            )
        return warnings

    @staticmethod
    def _with_snapshots(backups: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        return tuple(item for item in backups if (item.get("status") or {}).get("volumeSnapshotsCompleted"))

    def _plan_absent(self, observed: Observed) -> Plan:
        location = observed.location
        steps: list[Step] = []
        warnings: list[str] = []
        before: dict[str, Any] = {}
        if location is not None:
            working = sorted(
                item["metadata"]["name"] for item in observed.backups if (item.get("status") or {}).get("phase") not in installation.FINISHED
            )
            if working:
                raise NotProven(
                    "remove",
                    self._target,
                    f"Velero still works on backup {', '.join(working[: location_view.NAMES_SHOWN])}",
                    "Wait until it is finished, or delete it",
                )
            request = resource.delete(resource.VOLUME_SNAPSHOT_LOCATION, self._namespace, self._name, uid=location["metadata"]["uid"])
            steps.append(Step(request, "the location is not wanted"))
            before["snapshot_location"] = location_view.snapshot_spec_view(self._name, _spec_of(location))
            made = self._with_snapshots(observed.backups)
            if made:
                warnings.append(location_view.snapshots_fate(self._target, len(made)))
        used = credential_secret.names_of(observed.others) | observed.used_elsewhere
        removals, names = self._credentials.removals(observed.own_secrets, used)
        steps += removals
        if names:
            before["secrets"] = names
        return Plan(tuple(steps), before, {}, tuple(warnings))

    # apply and prove

    def apply(self, step: Step) -> None:
        """Send a step."""
        self.api.carry_out(step.request)

    def prove(self, plan: Plan, observed: Observed) -> dict[str, Any]:
        """Look until the location is gone, or read back as it was written; the plan has refused what the server has no plugin for."""
        changed = plan.changed or bool(self.context.record.written)
        if self.options["state"] == "absent":
            waited = (
                location_presence.wait_until_gone(self.api, self.context, resource.VOLUME_SNAPSHOT_LOCATION, self._namespace, self._name)
                if changed
                else None
            )
            result = self.predicted(plan, observed)
        else:
            waited = self._read_back(observed if not changed else None)
            result = {"snapshot_location": location_view.snapshot_shown(waited.seen) | {"plugin": self._plugin(waited.seen["spec"])}}
        return result | {"waited": waited.shown()} if changed and waited else result

    def predicted(self, plan: Plan, observed: Observed) -> dict[str, Any]:
        """Return the location as it would be."""
        if self.options["state"] == "absent":
            backups = location_view.backups_view(self._target, self._with_snapshots(observed.backups), location_view.snapshots_fate)
            return {"snapshot_location": None, "backups": backups}
        after = plan.after["snapshot_location"]
        return {"snapshot_location": {"credential": None, **after, "namespace": self._namespace, "plugin": self._plugin(after)}}

    def _plugin(self, spec: Mapping[str, Any]) -> str | None:
        """Return the name by which the server lists the plugin of the location; None when it was not asked or does not list it."""
        provider = location_options.canonical_provider(spec["provider"])
        return provider if self.answer and provider in self.answer.snapshotters else None

    def _read_back(self, observed: Observed | None) -> Waited[Any]:
        def judge(seen: dict[str, Any] | None) -> Done | Pending:
            if seen is None:
                return Pending("it is not there; somebody removed it, or an old state was seen")
            if self._spec_patch(seen):
                return Pending("it is not as it was written; somebody else changes it, or an old state was seen")
            return Done(None, "read back as it was written")

        if observed is not None and observed.location is not None:
            # just read and compared
            return Waited(observed.location, None, 0.0, "")
        seen = snapshots(self.api, resource.VOLUME_SNAPSHOT_LOCATION, self._namespace, self._name)
        return wait(seen, judge, self.api.transport.deadline, self.context.progress, "prove", self._target, "Look who else changes it")


def _spec_of(location: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict((location or {}).get("spec") or {})


def manage(options: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Check the options, log in, and bring the snapshot location to the wanted state."""
    location_options.check_name("name", str(options["name"]))
    location_options.check_name("namespace", str(options["namespace"]), label=True)
    if options["state"] == "present":
        location_options.check_present_snapshots(options)
    api = session.log_in(options, context)
    return ensure(SnapshotLocation(options, api, context), context)


DEFINITION = Definition("velero_snapshot_location", ARGUMENTS, manage, secrets=login.secrets_in)
