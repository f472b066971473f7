# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An installation of Velero as a managed thing: made, changed, upgraded or removed, and proven by its server's and its location's own word.

The server is not restarted while it works on something, unless told so.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Definition, Plan, Step, ensure
from ansible_collections.serverops.circleci.plugins.module_utils._core.deadline import Deadline
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError, NotProven, OperationError
from ansible_collections.serverops.circleci.plugins.module_utils._core.transport import Request
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import arguments as login
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource, session
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._velero import (
    crds,
    install_options,
    install_plan,
    install_state,
    installation,
    location_options,
    location_view,
    release,
    rollout,
    storage_location,
    unfinished,
    uninstall,
    validation,
)
from ansible_collections.serverops.circleci.plugins.module_utils._velero.install_state import Document, Observed
from ansible_collections.serverops.circleci.plugins.module_utils._velero.release import Release

KNOWN_PLUGINS = {
    "velero-plugin-for-aws": "velero.io/aws",
    "velero-plugin-for-gcp": "velero.io/gcp",
    "velero-plugin-for-microsoft-azure": "velero.io/azure",
}
"""Last part of the name of a plugin's image, and the object store that its server then lists."""
GATHERED = {"server", "storage_locations", "snapshot_locations", "node_agents"}


@dataclass
class Installation:
    """One installation, wanted as the options say."""

    options: Mapping[str, Any]
    api: Api
    context: Context
    # the options of the location, of which "default" is known only once the others are read, and the location as a managed thing
    location_options: dict[str, Any] = field(init=False)
    location: storage_location.StorageLocation = field(init=False)
    # the release that is to run, the definitions' texts once known, and whether their kinds are known to be served
    wanted: Release = field(init=False)
    documents: dict[str, Document] | None = field(default=None, init=False)
    served: bool = field(default=False, init=False)
    # when this task changed the Secret of the credentials
    secret_changed: datetime | None = field(default=None, init=False)
    # what the server answered since its Deployment was last written
    answer: installation.Answer | None = field(default=None, init=False)
    # the last draft, and what it was made from
    drafted: tuple[Observed, install_plan.Draft] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.location_options = install_options.location_of(self.options)
        self.location = storage_location.StorageLocation(self.location_options, self.api, self.context)

    @property
    def _namespace(self) -> str:
        return str(self.options["namespace"])

    @property
    def _is_wanted(self) -> bool:
        return bool(self.options["state"] == "present")

    @property
    def _deadline(self) -> Deadline:
        return self.api.transport.deadline

    # read

    def read(self) -> Observed:
        """Read what exists, the definitions where a release is wanted, and the unfinished work where pods would be made anew."""
        observed = install_state.read(self.api, self.options, self.location)
        if (
            self._is_wanted
            and observed.namespace is not None
            and "deletionTimestamp" in observed.namespace["metadata"]
            and not self.context.check_mode
        ):
            # nothing can be made in it, and what is in it goes
            uninstall.wait_until_gone(self.api, self.context, resource.NAMESPACE, "", self._namespace)
            observed = install_state.read(self.api, self.options, self.location)
        self._mask(observed)
        install_state.refuse_strangers(observed, self._namespace)
        if not self._is_wanted:
            return uninstall.completed(self.api, self._namespace, self.options, observed)
        self.wanted = wanted_release(self.options, observed)
        install_plan.refuse(self.options, observed, self.wanted)
        observed = dataclasses.replace(observed, definitions=self._definitions())
        taken = any((other.get("spec") or {}).get("default") for other in observed.location.others)
        self.location_options["default"] = True if observed.location.location is None and not taken else None
        draft = self._draft(observed)
        if draft.restarts:
            observed = dataclasses.replace(observed, work=unfinished.read(self.api, self._namespace))
            self.drafted = observed, draft  # it says nothing of the unfinished work
        return observed

    def _mask(self, observed: Observed) -> None:
        """Take into the mask what stands in the Secrets now: it is as secret as what is wanted."""
        for secret in (observed.secret, *observed.repository_secrets.values()):
            for value in ((secret or {}).get("data") or {}).values():
                text = location_options.decoded(value)
                if text != install_state.WELL_KNOWN_PASSWORD:
                    self.context.mask.add(text)

    def _definitions(self) -> crds.State:
        """Read the definitions and, where they are not known to be of the wanted release, what their texts can be compared with."""
        live = crds.read(self.api, self.wanted)
        names = crds.unfit(live, self.wanted)
        if not names:
            return crds.State(live)
        source = self.options["crds_from"]
        if source == "job":
            return crds.State(live, documents=self.documents, job=self.api.get(resource.JOB, self._namespace, crds.JOB))
        if self.documents is None:
            if source == "file":
                self.documents = crds.from_file(str(self.options["crds_file"]), self.wanted)
            else:
                self.documents = crds.from_program(str(self.options["velero_program"]), self.wanted, self.context, self._deadline)
        kind = resource.CUSTOM_RESOURCE_DEFINITION
        whole = {name: found for name in names if name in live and (found := self.api.get(kind, "", name)) is not None}
        return crds.State(live, whole, self.documents)

    # plan

    def _draft(self, observed: Observed) -> install_plan.Draft:
        if self.drafted is None or self.drafted[0] is not observed:
            made = install_plan.present(self.options, observed, self.wanted, self.location, check_mode=self.context.check_mode)
            self.drafted = observed, made
        return self.drafted[1]

    def plan(self, observed: Observed) -> Plan:
        """Return the steps to the wanted state. Pure."""
        if not self._is_wanted:
            return uninstall.plan(self.options, observed)
        draft = self._draft(observed)
        warnings = [*draft.warnings, *install_plan.work(self.options, observed, draft)]
        return Plan(tuple(draft.steps), draft.before, draft.after, tuple(warnings))

    # apply

    def apply(self, step: Step) -> None:
        """Send a step at its moment: an object when its kind is served, a restart when the server is idle."""
        request = step.request
        if not self._is_wanted:
            uninstall.apply(self.api, self.context, self.options, request)
        elif request.path.startswith(resource.CUSTOM_RESOURCE_DEFINITION.path()):
            name = str(request.body["metadata"].get("name") or request.path.rsplit("/", 1)[-1])
            crds.write(self.api, name, (self.documents or {})[name], self.wanted, new=request.method == "POST")
            self.served = False
        elif request.path.startswith(resource.JOB.path(self._namespace)):
            self._apply_job(request)
        else:
            self._apply_object(step)

    def _apply_job(self, request: Request) -> None:
        if request.method == "POST":
            self.documents = crds.run_job(self.api, self.context, request, self._namespace, self.wanted, self._deadline)
            return
        self.api.carry_out(request)
        if self.documents is None:
            # one of an earlier task, whose name is needed again
            uninstall.wait_until_gone(self.api, self.context, resource.JOB, self._namespace, crds.JOB)

    def _apply_object(self, step: Step) -> None:
        request = step.request
        workloads = tuple(kind.path(self._namespace) for kind in (resource.DEPLOYMENT, resource.DAEMON_SET))
        if not self.served and request.path.startswith((f"/apis/{crds.GROUP}/", *workloads)):
            crds.wait_served(self.api, self.wanted, self._deadline, self.context.progress)
            self.served = True
        if request.path.startswith(resource.BACKUP_STORAGE_LOCATION.path(self._namespace)):
            if step.reason == storage_location.LOOK_AGAIN:
                # a server that does not run validates nothing
                self._prove_server()
            self.location.apply(step)
            return
        if request.path.startswith(workloads) and (request.method == "DELETE" or "template" in ((request.body or {}).get("spec") or {})):
            if request.method != "POST":
                look = install_state.look_at_work
                unfinished.settle(
                    str(self.options["unfinished"]), lambda: look(self.api, self._namespace), self._deadline, self.context, request.target
                )
            request = self._timed(request)
        if request.path.startswith(workloads):
            self.answer = None
        self.api.carry_out(request)
        if request.method == "PATCH" and request.path.startswith(resource.SECRET.path(self._namespace)):
            self.secret_changed = self.api.server_time()

    def _timed(self, request: Request) -> Request:
        """Put in the time of the Secret's change, which the plan could not know."""
        template = ((request.body or {}).get("spec") or {}).get("template") or {}
        if ((template.get("metadata") or {}).get("annotations") or {}).get(install_plan.RESTARTED) != install_plan.LATER:
            return request
        body = copy.deepcopy(request.body)
        time = validation.shown_time(self.secret_changed or self.api.server_time())
        body["spec"]["template"]["metadata"]["annotations"][install_plan.RESTARTED] = time
        return dataclasses.replace(request, body=body)

    # prove

    def prove(self, plan: Plan, observed: Observed) -> dict[str, Any]:
        """Look until the server answers as the wanted release, every agent is ready, and the location is available by a young validation."""
        if not self._is_wanted:
            return uninstall.prove(self.api, self.context, self._namespace, self.options, plan, observed)
        began = self._deadline.elapsed()
        # where nothing was written, the second look of just now is not taken a third and a fourth time
        seen = None if plan.changed or self.context.record.written else observed
        answer = self._prove_server(seen)
        agents = self._unproven_agents(seen)
        for name in agents:
            self._prove_agents(name)
        last, waited = "its server answers", False
        if install_plan.location_concerned(self.options, observed):
            last, waited = self._prove_location(plan, observed)
        known = _known(seen) if seen is not None and not agents and not waited else None
        result: dict[str, Any] = {"installation": installation.entry(self.api, self._namespace, GATHERED, self.context, answer, known)}
        if self.context.record.written:
            result["waited"] = {"seconds": round(self._deadline.elapsed() - began, 1), "last": last}
        return result

    def _prove_server(self, seen: Observed | None = None) -> installation.Answer:
        if self.answer is not None:
            return self.answer
        live = seen.deployment if seen else None
        version, plugins, pod = rollout.prove_server(
            self.api,
            self._namespace,
            install_state.SERVER,
            self._deadline,
            self.context.progress,
            self.context.mask.text,
            (live, seen.pods_of(live)) if seen and live else None,
        )
        self.location.not_before = validation.parse_time(pod["metadata"]["creationTimestamp"])
        target = resource.DEPLOYMENT.target(self._namespace, install_state.SERVER)
        try:
            runs = release.parse(version or "")
        except ValueError:
            runs = self.wanted  # a build of one's own, which names no release
        if runs.number != self.wanted.number:
            raise NotProven(
                "prove", target, f"its server says that it is Velero {runs.text}, not {self.wanted.text}", "Correct image or version: they do not fit"
            )
        listed = {item["name"] for item in plugins if item["kind"] == "ObjectStore"}
        for image in self.options.get("plugins") or []:
            name = KNOWN_PLUGINS.get(install_options.repository(image))
            if name is not None and name not in listed:
                raise NotProven("prove", target, f"its server does not list {name}, which plugin {image} should bring", "Correct plugins")
        self.answer = version, plugins
        self.location.answer = version, ""
        return self.answer

    def _unproven_agents(self, seen: Observed | None) -> list[str]:
        """Return the names of the DaemonSets that have to be waited for, or at least to be looked at."""
        if seen is None:
            items = self.api.list(resource.DAEMON_SET, self._namespace, metadata_only=True).items
        else:
            items = [item for item in seen.daemon_sets if not rollout.works_already(self.api, self._namespace, item, seen.pods_of(item))]
        return [name for item in items if (name := item["metadata"]["name"]) in install_state.AGENTS]

    def _prove_agents(self, name: str) -> None:
        progress, words = self.context.progress, self.context.mask.text
        rollout.prove(self.api, resource.DAEMON_SET, self._namespace, name, self._deadline, rollout.Patience(), progress, words)

    def _prove_location(self, plan: Plan, observed: Observed) -> tuple[str, bool]:
        """Return what was seen, and whether that is something else than what was observed."""
        own = resource.BACKUP_STORAGE_LOCATION.path(self._namespace)
        part = Plan(tuple(step for step in plan.steps if step.request.path.startswith(own)))
        there = observed.location
        if self.context.record.written:
            there = dataclasses.replace(there, location=self.api.get(resource.BACKUP_STORAGE_LOCATION, self._namespace, install_options.LOCATION))
        try:
            waited = self.location.prove(part, there)
        except OperationError as error:
            advice = re.sub(r"\bconfig\b", "backup_location_config", error.next_step) if "credential" not in error.next_step else error.next_step
            raise type(error)(error.operation, error.target, error.seen, advice) from None
        seen = waited["storage_location"]
        same = there.location is not None and location_view.shown(there.location) == seen
        return f"phase {seen['phase']}, last validated {seen['last_validation_time']}", not same

    def predicted(self, plan: Plan, observed: Observed) -> dict[str, Any]:
        """Return the installation as it would be, in the words of the diff."""
        if not self._is_wanted:
            return uninstall.predicted(observed)
        return {"installation": {"namespace": self._namespace, **dict(plan.after)}}


def _known(seen: Observed) -> installation.Known:
    """Return what is told of an installation that was found as wanted."""
    locations = (*((seen.location.location,) if seen.location.location is not None else ()), *seen.location.others)
    return installation.Known(installation.workloads_among(seen.deployments, seen.daemon_sets, seen.pods), locations, seen.snapshots)


def wanted_release(options: Mapping[str, Any], observed: Observed) -> Release:
    """Return the release that is to run: as asked for, else that of the image asked for, else the one that runs."""
    if options.get("version") is not None:
        return release.parse(options["version"])
    if options.get("image"):
        found = release.of_image(options["image"])
        if found is None:
            raise InputError("version", f"it is needed, since the tag of image {options['image']} names no release", "Give version")
        return found
    if observed.installed is None:
        what = f"the tag of the image that runs, {observed.image}, names no release" if observed.image else "Velero is not installed yet"
        raise InputError("version", f"it is needed, since {what}", "Give version")
    return observed.installed


def manage(options: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Check the options, log in, and bring the installation to the wanted state."""
    install_options.check(options)
    api = session.log_in(options, context)
    return ensure(Installation(options, api, context), context)


DEFINITION = Definition("velero_install", install_options.ARGUMENTS, manage, secrets=login.secrets_in)
