# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans the cases from clean runs, carries them out with several Veleros at once, and counts what came of them."""

from __future__ import annotations

import collections
import contextlib
import json
import queue
import random
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bed.driver import READ_VERBS, Bed
from tests.bed.driver.velero import Velero
from tests.faults import fault_proxy, module_process, verdict
from tests.faults.cluster import Cluster, Store
from tests.faults.fault_proxy import Authority, Fault, FaultProxy, Run, Upstream
from tests.faults.installation import NOTHING, Installation
from tests.faults.module_process import Ended, Starter
from tests.faults.scenarios import RUNNING, SCENARIOS, Scenario, State
from tests.plays import in_process

VERSION = "1.17.2"
TRIES = 5
"""How often a case is begun anew when its request did not come: what a run sends depends on how quick the server is."""
RECOVERING = 20
"""`timeout` of a run that has the time to repeat a request that hung (15 s at most)."""
HURRIED = 8
"""`timeout` of a run that has not."""
CALM = 100
"""`timeout` of a run without a fault: time for several periodic validations."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """One fault in one scenario. The key has {namespace} where the namespace stands."""

    scenario: Scenario
    fault: Fault
    timeout: int

    def __str__(self) -> str:
        return f"{self.scenario.name}: {self.fault}"


@dataclass
class Outcome:
    """What came of a case."""

    case: Case
    delivered: bool = False
    tries: int = 0
    ended: Ended | None = None
    findings: verdict.Findings = field(default_factory=verdict.Findings)
    requests: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""

    @property
    def good(self) -> bool:
        return self.delivered and not self.findings and not self.error

    def told(self) -> Iterator[str]:
        """Yield lines about what is wrong."""
        if self.error:
            yield f"the suite failed: {self.error}"
        elif not self.delivered:
            yield f"not delivered in {self.tries} tries"
        yield from (f"{name}: {text}" for name, text in self.findings.all())
        if self.ended and self.ended.result:
            said = {name: self.ended.result.get(name) for name in ("failed", "changed", "msg", "requests", "waited")}
            yield f"the module said: {json.dumps(said)[:1200]}"
        yield from self.requests


class Place:
    """A Velero in a namespace of its own, with the proxy before its API server, for one case at a time."""

    def __init__(
        self, number: int, velero: Velero, store: Store, folder: Path, upstream: Upstream, driver: Upstream, authority: Authority, marker: str
    ) -> None:
        self.number = number
        self.velero = velero
        self.store = store
        self.marker = marker
        self.proxy = FaultProxy(upstream, authority, folder, f"place-{number}")
        self.cluster = Cluster(driver, velero.namespace, store)
        self.installation = Installation(self.cluster, velero)
        self.starter = Starter()
        self.runs: list[Run] = []

    def __enter__(self) -> Place:
        self.proxy.__enter__()
        self.starter.__enter__()
        return self

    def __exit__(self, *unused: object) -> None:
        self.starter.__exit__(*unused)
        self.proxy.__exit__(*unused)

    def secrets(self) -> list[str]:
        return [self.proxy.token, *self.store.credentials.values()]

    def play(self, scenario: Scenario, timeout: int, fault: Fault | None = None, runner: str = module_process.PLAIN) -> tuple[Ended, Run]:
        """Run the module once through the proxy."""
        run = self.proxy.begin(f"{self.marker}-{self.number}-{len(self.runs) + 1}", fault)
        self.runs.append(run)
        run.kill = self.starter.kill
        self.cluster.mark()
        options = scenario.options(self.velero.namespace, self.store, str(self.proxy.kubeconfig), timeout, self.installation)
        ended = self.starter.run(scenario.module, options, runner)
        if fault is not None and fault.kind in fault_proxy.LATE and run.delivered.is_set() and not run.late_over.wait(5):
            run.trouble.append("the late request was not carried out")
        return ended, run

    def stage(self, scenario: Scenario, state: State) -> None:
        """Bring what a scenario is about into a state; a scenario of a location needs a server."""
        if not scenario.installs and not self.installation.exists:
            self.installation.stage(RUNNING)
        scenario.part(self.cluster, self.installation).stage(state)

    def clean(self, scenario: Scenario) -> list[Fault]:
        """Run a scenario without a fault; return its requests as the faults that are possible at them, with an empty kind."""
        self.stage(scenario, scenario.before)
        ended, run = self.play(scenario, CALM)
        findings = verdict.Findings()
        verdict.judge(scenario, ended, run, self.cluster, self.installation, CALM, self.secrets(), findings)
        told = str((ended.result or {}).get("msg") or "")
        if run.trouble or findings or (scenario.fails not in told if scenario.fails else not ended.succeeded):
            raise RuntimeError(f"{scenario.name}: the clean run did not come out as it should: {told} {run.trouble} {list(findings.all())}")
        return [Fault("", seen.key.replace(self.velero.namespace, "{namespace}"), seen.occurrence) for seen in run.requests]

    def carry_out(self, case: Case, runner: str = module_process.PLAIN) -> Outcome:
        """Carry out a case: stage, run with the fault, judge, run again without until nothing is left to do."""
        outcome = Outcome(case)
        began = time.monotonic()
        try:
            while outcome.tries < TRIES and not outcome.delivered:
                outcome.tries += 1
                self._once(case, outcome, runner)
        except Exception as error:  # noqa: BLE001  one case that cannot be carried out is told, and the others go on
            outcome.error = f"{type(error).__name__}: {error}"
        outcome.seconds = time.monotonic() - began
        return outcome

    def _once(self, case: Case, outcome: Outcome, runner: str) -> None:
        scenario = case.scenario
        fault = Fault(case.fault.kind, case.fault.key.replace("{namespace}", self.velero.namespace), case.fault.occurrence)
        self.proxy.older = {}
        if fault.kind == "stale":
            self.stage(scenario, scenario.older)
            self.proxy.remember([fault.key])
        self.stage(scenario, scenario.before)
        ended, run = self.play(scenario, case.timeout, fault, runner)
        outcome.requests = [
            f"  {seen.index + 1:>2} {seen.status or '-'} {seen.method} {seen.target}{f'   <- {seen.fault}' if seen.fault else ''}"
            for seen in run.requests
        ]
        outcome.delivered = run.delivered.is_set()
        outcome.ended = ended
        if not outcome.delivered:
            return
        if run.trouble:
            raise RuntimeError("; ".join(run.trouble))
        if fault.kind.startswith("killed") and not ended.signal:
            raise RuntimeError("the process was not killed")
        verdict.judge(scenario, ended, run, self.cluster, self.installation, case.timeout, self.secrets(), outcome.findings)
        self._converge(scenario, outcome.findings)

    def _converge(self, scenario: Scenario, findings: verdict.Findings) -> None:
        for name in ("the next run", "the run after that"):
            ended, run = self.play(scenario, CALM)
            own = verdict.Findings()
            verdict.judge(scenario, ended, run, self.cluster, self.installation, CALM, self.secrets(), own)
            findings.stuck.extend(f"{name}: {kind}: {text}" for kind, text in own.all())
            message = str((ended.result or {}).get("msg") or "")
            if scenario.fails and scenario.fails not in message:
                findings.stuck.append(f"{name} did not fail as it should: {message}")
            elif not scenario.fails and not ended.succeeded:
                findings.stuck.append(f"{name} failed: {message}")
        if ended.changed or any(seen.is_write for seen in run.requests):
            findings.stuck.append("the run after that wrote once more")


# the plan


def kinds_at(request: Fault, requests: Sequence[Fault]) -> Iterator[str]:
    """Yield the kinds of faults that make a difference at a request."""
    is_read = request.key.startswith("GET ")
    yield from fault_proxy.REFUSED
    yield from ("cut", "cut framed") if is_read else fault_proxy.LOST
    if not is_read:
        yield from fault_proxy.LATE
    if is_read and "*" not in request.key and "%2A" not in request.key:
        yield "stale"
        if request.occurrence > 1:
            yield "stale of run"


def planned(recorded: dict[str, list[Fault]]) -> list[Case]:
    """Return every case: requests of the clean runs times kinds."""
    cases = []
    for scenario in SCENARIOS:
        for request in recorded.get(scenario.name, []):
            for kind in kinds_at(request, recorded[scenario.name]):
                # every other hung request gets no time for a repeat
                timeout = HURRIED if len(cases) % 2 and kind in ("hung", "hung done", "late") else RECOVERING
                cases.append(Case(scenario, Fault(kind, request.key, request.occurrence), timeout))
    return cases


def sampled(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """Return a choice of the cases in which every kind and every scenario is."""
    shuffled = random.Random(seed).sample(list(cases), len(cases))
    chosen: dict[Case, None] = {}
    for pick in (lambda case: case.fault.kind, lambda case: case.scenario.name):
        first: dict[str, Case] = {}
        for case in shuffled:
            first.setdefault(pick(case), case)
        chosen |= dict.fromkeys(first.values())
    for case in shuffled:
        if len(chosen) >= count:
            break
        chosen[case] = None
    return list(chosen)


# places


def make_store(bed: Bed, marker: str) -> Store:
    """Make a bucket and two accounts that may use it on the bed's S3 server."""
    bucket = bed.s3.make_bucket(marker)
    keys = {name: (f"{marker}-{name}", secrets.token_urlsafe(30)) for name in ("first", "second")}
    for access_key, secret_key in keys.values():
        bed.s3.make_account(access_key, secret_key)
    names = [access_key for access_key, _unused in keys.values()]
    bed.s3.put_policy(bucket, {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": names}, "Action": list(actions), "Resource": [f"arn:aws:s3:::{bucket}{part}"]}
        for actions, part in ((("s3:GetObject", "s3:PutObject", "s3:DeleteObject"), "/*"), (("s3:ListBucket",), ""))
    ]})  # fmt: skip
    credentials = {name: f"[default]\naws_access_key_id={access}\naws_secret_access_key={secret}\n" for name, (access, secret) in keys.items()}
    config = {"region": bed.s3.region, "s3ForcePathStyle": "true", "s3Url": bed.s3.endpoint_inside}
    return Store(bucket, config, credentials, {name: access for name, (access, _unused) in keys.items()}, bed.s3.access_log)


@contextlib.contextmanager
def installed(bed: Bed, namespaces: Sequence[str]) -> Iterator[list[Velero]]:
    """Put one Velero into each namespace by its own CLI, and take them off again."""
    veleros = [Velero(bed, VERSION, namespace) for namespace in namespaces]
    try:
        for velero in veleros:
            velero.install(velero.namespace, node_agent=False, extra=NOTHING, wait=False)
        for velero in veleros:
            velero.wait(node_agent=False, limit=180)
        yield veleros
    finally:
        for namespace in namespaces:
            bed.kubectl("delete", "clusterrolebinding", f"velero-{namespace}", "--ignore-not-found")
            bed.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")


def mark_definitions(bed: Bed, place: Place) -> None:
    """Let velero_install mark the custom resource definitions, which all places share, so that no case has to write them."""
    # by a Job, since from a program it would find that nothing differs, and mark nothing
    login = {"kubeconfig": str(bed.kubeconfig), "namespace": place.velero.namespace, "timeout": CALM}
    ran = in_process.run("velero_install", login | {"crds_from": "job"} | place.installation.options(RUNNING))
    if ran.failed:
        raise RuntimeError(f"the definitions were not marked: {ran['msg']}")


@contextlib.contextmanager
def places(bed: Bed, count: int) -> Iterator[list[Place]]:
    """Make so many places on a bed."""
    marker = f"faults-{secrets.token_hex(3)}"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serverops-faults-")))
        veleros = stack.enter_context(installed(bed, [f"{marker}-{number}" for number in range(count)]))
        store = make_store(bed, marker)
        authority = Authority(folder)
        upstream = Upstream(bed.kubeconfig, folder)
        driver = Upstream(bed.run_dir / "n1/pki/driver.kubeconfig", folder)
        made = [
            stack.enter_context(Place(number, velero, store, folder, upstream, driver, authority, marker)) for number, velero in enumerate(veleros)
        ]
        mark_definitions(bed, made[0])
        yield made


# the whole


@dataclass
class Report:
    """All outcomes, and how many requests the clean runs had."""

    outcomes: list[Outcome]
    requests: int
    leftovers: list[str]
    disagreements: list[str]
    seconds: float

    @property
    def good(self) -> bool:
        return bool(self.outcomes) and all(outcome.good for outcome in self.outcomes) and not self.leftovers and not self.disagreements

    def count(self, name: str, kind: str = "") -> int:
        """Count the cases with a kind of finding."""
        return sum(1 for outcome in self.outcomes if getattr(outcome.findings, name) and kind in ("", outcome.case.fault.kind))

    def table(self) -> Iterator[str]:
        """Yield the lines of the table."""
        columns = ("planned", "delivered", "false success", "duplicate", "overrun", "unfit", "stuck")
        yield f"  {'fault':<14}" + "".join(f"{column:>15}" for column in columns)
        kinds = [kind for kind in fault_proxy.KINDS if any(outcome.case.fault.kind == kind for outcome in self.outcomes)]
        for kind in (*kinds, ""):
            own = [outcome for outcome in self.outcomes if kind in ("", outcome.case.fault.kind)]
            numbers = [len(own), sum(outcome.delivered for outcome in own), *(self.count(name, kind) for name in vars(verdict.Findings()))]
            yield f"  {kind or 'all':<14}" + "".join(f"{number:>15}" for number in numbers)
        slowest = max(self.outcomes, key=lambda outcome: outcome.seconds, default=None)
        yield (
            f"  {self.requests} requests in the clean runs, {self.seconds:.0f} s, slowest: {slowest.case} {slowest.seconds:.0f} s"
            if slowest
            else "  no case"
        )
        yield f"  objects left over: {len(self.leftovers)}; changes that the audit log tells otherwise: {len(self.disagreements)}"

    def rows(self) -> list[dict[str, Any]]:
        """Return the report as data."""
        delivered = sum(outcome.delivered for outcome in self.outcomes)
        zero = {
            "false successes": self.count("false_success"),
            "duplicates": self.count("duplicate") + len(self.leftovers),
            "deadline overruns": self.count("overrun"),
            "tracebacks and secrets": self.count("unfit"),
            "not converged by the next run": self.count("stuck"),
            "writes that the audit log tells otherwise": len(self.disagreements),
            "cases that could not be carried out": sum(bool(outcome.error) for outcome in self.outcomes),
        }
        return [
            {"name": "faults delivered", "value": delivered, "unit": "faults", "goal": len(self.outcomes), "better": "higher"},
            *({"name": name, "value": value, "unit": "cases", "goal": 0, "better": "lower"} for name, value in zero.items()),
        ]


def record(all_places: Sequence[Place], scenarios: Sequence[Scenario] = SCENARIOS) -> dict[str, list[Fault]]:
    """Run every scenario twice without a fault, and return the requests that both runs had."""
    waiting: queue.SimpleQueue[Scenario] = queue.SimpleQueue()
    for scenario in scenarios:
        waiting.put(scenario)
    found: dict[str, list[Fault]] = {}

    def work(place: Place) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                scenario = waiting.get_nowait()
                # what comes only now and then (a watch that the server was quicker than) is no request to count on
                again = place.clean(scenario)
                found[scenario.name] = [request for request in place.clean(scenario) if request in again]

    with ThreadPoolExecutor(len(all_places)) as pool:
        list(pool.map(work, all_places))
    return found


def run(
    bed: Bed,
    workers: int,
    sample: int | None,
    seed: int,
    say: Say,
    runner: str = module_process.PLAIN,
    only: Callable[[Case], bool] | None = None,
    scenarios: Sequence[Scenario] = SCENARIOS,
) -> Report:
    """Run the cases (all of them, or a seeded choice of so many) with so many Veleros at once."""
    began = time.monotonic()
    mark = bed.audit_mark()
    with places(bed, workers) as all_places:
        say(f"{workers} Veleros {VERSION} ready ({time.monotonic() - began:.0f} s)")
        recorded = record(all_places, scenarios)
        cases = [case for case in planned(recorded) if only is None or only(case)]
        cases = cases if sample is None else sampled(cases, sample, seed)
        # a long one at the end would be waited for alone
        cases.sort(key=lambda case: (not case.fault.kind.startswith("hung") and case.fault.kind != "late", random.Random(f"{seed}{case}").random()))
        requests = sum(len(found) for found in recorded.values())
        say(f"{requests} requests in {len(recorded)} clean runs, {len(cases)} faults to try ({time.monotonic() - began:.0f} s)")
        outcomes = _carried_out(all_places, cases, say, runner)
        leftovers = _leftovers(all_places)
        disagreements = audited(bed, mark, all_places)
    return Report(outcomes, requests, leftovers, disagreements, time.monotonic() - began)


def _carried_out(all_places: Sequence[Place], cases: Sequence[Case], say: Say, runner: str) -> list[Outcome]:
    waiting: queue.SimpleQueue[Case] = queue.SimpleQueue()
    for case in cases:
        waiting.put(case)
    outcomes: list[Outcome] = []
    lock = threading.Lock()
    told = time.monotonic()

    def work(place: Place) -> None:
        nonlocal told
        with contextlib.suppress(queue.Empty):
            while True:
                outcome = place.carry_out(waiting.get_nowait(), runner)
                with lock:
                    outcomes.append(outcome)
                    if not outcome.good:
                        say("\n      ".join([f"FAILED {outcome.case} ({place.velero.namespace})", *outcome.told()]))
                    if time.monotonic() - told > 10:
                        told = time.monotonic()
                        say(f"{len(outcomes)} of {len(cases)} faults, {sum(not other.good for other in outcomes)} bad")

    with ThreadPoolExecutor(len(all_places)) as pool:
        list(pool.map(work, all_places))
    return outcomes


def _leftovers(all_places: Sequence[Place]) -> list[str]:
    """Return ServerStatusRequests of killed runs that the server should have removed by itself: it looks every five minutes."""
    return [f"{place.velero.namespace}: {name}" for place in all_places for name in place.cluster.old_status_requests(330)]


def audited(bed: Bed, mark: int, all_places: Sequence[Place]) -> list[str]:
    """Return where the API server's audit log tells otherwise than the proxies about what was changed."""
    told: collections.Counter[tuple[str, str]] = collections.Counter()
    for event in bed.audit(mark, user_agent=all_places[0].marker):
        if event["verb"] not in READ_VERBS and (event.get("responseStatus") or {}).get("code", 500) < 300:
            told[event["userAgent"], event["requestURI"].partition("?")[0]] += 1
    seen: collections.Counter[tuple[str, str]] = collections.Counter()
    for place in all_places:
        for run in place.runs:
            for request in run.requests:
                if request.method != "GET" and request.status is not None and request.status < 300:
                    seen[run.label, request.path] += 1
    if not told:
        return ["the audit log has no change of this suite at all"]
    return [
        f"{label} {path}: {told[label, path]} in the audit log, {seen[label, path]} at the proxy"
        for label, path in sorted((told - seen) + (seen - told))
    ]
