# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The installation on the bed is what the facts say, its databases hold what the seed gives, and nothing that gets lost goes unnoticed."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.bed import circleci_server
from tests.bed.twins.load_balancer_twin import DEFAULT_POOL

NAMESPACE = "circleci-server"
# written out, so that a slip in the package's own tables shows
DATABASES = {
    "builds_service",
    "circle",
    "conductor_production",
    "contexts",
    "contexts_service_production",
    "cron_service_production",
    "distributor",
    "domain",
    "orb_analytics",
    "orbs",
    "permissions",
    "vms",
}
PODS = 39
LOAD_BALANCERS = {"circleci-server-traefik": {80, 443}, "nomad-server-external": {4647}, "output-processor": {8585}, "vm-service": {3000}}
CLAIMS = {
    "data-postgresql-0",
    "datadir-mongodb-0",
    "data-vault-0",
    "data-rabbitmq-0",
    "redis-data-redis-master-0",
    "redis-data-redis-slave-0",
}
BACKUP_VOLUMES = {
    "postgresql-0": "data",
    "mongodb-0": "datadir",
    "vault-0": "data",
    "rabbitmq-0": "data",
    "redis-master-0": "redis-data",
    "redis-slave-0": "redis-data",
}


@pytest.fixture(scope="module")
def installed(bed: Any) -> Iterator[Any]:
    """A bed with the installation, Ready and seeded; removed again afterwards."""
    circleci_server.install(bed)
    try:
        circleci_server.wait_ready(bed, 180)
        circleci_server.seed(bed)
        yield bed
    finally:
        circleci_server.destroy(bed)


@pytest.fixture
def seeded(installed: Any) -> Iterator[Any]:
    """The installation for a test that spoils its data; seeded again afterwards."""
    yield installed
    circleci_server.seed(installed)


def kubectl_json(bed: Any, *arguments: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(bed.kubectl("--namespace", NAMESPACE, "get", *arguments, "--output", "json"))["items"]
    return items


def eventually(look: Callable[[], Any], seconds: float = 30) -> Any:
    """The first true answer; the last one when the time is over."""
    end = time.monotonic() + seconds
    while not (answer := look()) and time.monotonic() < end:
        time.sleep(0.3)
    return answer


def test_exactly_the_expected_pods_are_ready(installed: Any) -> None:
    pods = kubectl_json(installed, "pods")
    job = [pod for pod in pods if pod["status"]["phase"] == "Succeeded"]
    rest = [pod for pod in pods if pod not in job]
    assert len(job) == 1
    assert job[0]["metadata"]["name"].startswith("inject-bottoken-")
    nodes = len(installed.kubectl("get", "nodes", "--output", "name").split())
    assert len(rest) == PODS - 1 + nodes
    assert sum(e.pods * (nodes if e.per_node else 1) for e in circleci_server.EXPECTED) == len(rest)
    for pod in rest:
        assert all(status["ready"] and status["restartCount"] == 0 for status in pod["status"]["containerStatuses"]), pod["metadata"]["name"]
    state = circleci_server.look(installed)
    assert state.problems == ()
    assert state.pods == len(rest)


@pytest.mark.parametrize(
    ("selector", "pods"),
    [
        ("app.kubernetes.io/name=postgresql,layer=data", ["postgresql-0"]),
        ("app.kubernetes.io/name=mongodb,layer=data", ["mongodb-0"]),
        ("app.kubernetes.io/name=rabbitmq", ["rabbitmq-0"]),
        ("app=redis", ["redis-master-0", "redis-slave-0"]),
        ("app=vault", ["vault-0"]),
        ("app=nomad-server,layer=execution", ["nomad-server-0"]),
        ("app=frontend,layer=application", ["frontend-"]),
        ("app=traefik", ["circleci-server-traefik-"]),
        ("app=output-processor,layer=application", ["output-processor-", "output-processor-"]),
    ],
)
def test_pods_are_found_by_their_documented_labels(installed: Any, selector: str, pods: list[str]) -> None:
    names = sorted(pod["metadata"]["name"] for pod in kubectl_json(installed, "pods", "--selector", selector))
    assert len(names) == len(pods)
    assert all(name.startswith(start) for name, start in zip(names, pods, strict=True))


def test_vault_has_two_containers_one_of_them_called_vault(installed: Any) -> None:
    (vault,) = kubectl_json(installed, "pods", "--selector", "app=vault")
    names = [container["name"] for container in vault["spec"]["containers"]]
    assert len(names) == 2
    assert "vault" in names


def test_volumes_have_the_documented_claims_and_backup_annotations(installed: Any) -> None:
    claims = {claim["metadata"]["name"]: claim for claim in kubectl_json(installed, "persistentvolumeclaims")}
    assert set(claims) == CLAIMS
    assert all(claim["status"]["phase"] == "Bound" for claim in claims.values())
    assert claims["data-postgresql-0"]["spec"]["resources"]["requests"]["storage"] == "8Gi"
    annotated = {}
    for pod in kubectl_json(installed, "pods"):
        volume = pod["metadata"].get("annotations", {}).get("backup.velero.io/backup-volumes")
        if volume:
            annotated[pod["metadata"]["name"]] = volume
            assert any(v["name"] == volume and "persistentVolumeClaim" in v for v in pod["spec"]["volumes"])
    assert annotated == BACKUP_VOLUMES


def test_a_missing_and_a_stray_pod_are_both_noticed(installed: Any) -> None:
    installed.kubectl("--namespace", NAMESPACE, "scale", "deployment", "legacy-notifier", "--replicas=0")
    stray = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stray", "labels": {"app": "stray"}}}
    stray["spec"] = {"containers": [{"name": "c", "image": "localhost/bb:1", "command": ["sleep", "600"]}], "terminationGracePeriodSeconds": 0}
    installed.kubectl("--namespace", NAMESPACE, "create", "--filename", "-", input=json.dumps(stray))
    try:
        wanted = {"Deployment legacy-notifier: 0 pods, expected 1", "pod stray: nothing of the installation"}
        assert eventually(lambda: set(circleci_server.look(installed).problems) == wanted), circleci_server.look(installed).problems
        with pytest.raises(circleci_server.InstallationError, match=r"not ready after 1 s: .*legacy-notifier"):
            circleci_server.wait_ready(installed, 1)
    finally:
        installed.kubectl("--namespace", NAMESPACE, "delete", "pod", "stray")
        installed.kubectl("--namespace", NAMESPACE, "scale", "deployment", "legacy-notifier", "--replicas=1")
    circleci_server.wait_ready(installed)


def test_installing_again_changes_no_object(installed: Any) -> None:
    kinds = "deployments,statefulsets,daemonsets,services,secrets,configmaps,serviceaccounts,jobs"

    def generations() -> dict[tuple[str, str], tuple[Any, Any]]:
        return {(i["kind"], i["metadata"]["name"]): (i["metadata"]["uid"], i["metadata"].get("generation")) for i in kubectl_json(installed, kinds)}

    before = generations()
    circleci_server.install(installed)
    assert generations() == before
    assert circleci_server.look(installed).problems == ()


def test_a_job_is_well_when_completed_or_absent_and_a_problem_when_it_is_at_work(installed: Any) -> None:
    installed.kubectl("--namespace", NAMESPACE, "scale", "statefulset", "mongodb", "--replicas=0")
    installed.kubectl("--namespace", NAMESPACE, "wait", "--for=delete", "pod/mongodb-0", "--timeout=30s")
    installed.kubectl("--namespace", NAMESPACE, "delete", "job", "inject-bottoken-1")
    # as after a restore, which leaves completed jobs out
    assert set(circleci_server.look(installed).problems) == {"StatefulSet mongodb: 0 pods, expected 1"}
    job = next(item for item in circleci_server.objects() if item["kind"] == "Job")
    installed.kubectl("create", "--filename", "-", input=json.dumps(job))
    assert "job inject-bottoken-1: not completed" in circleci_server.look(installed).problems
    installed.kubectl("--namespace", NAMESPACE, "scale", "statefulset", "mongodb", "--replicas=1")
    circleci_server.wait_ready(installed)
    (job,) = kubectl_json(installed, "jobs")
    assert job["status"]["succeeded"] == 1


def test_load_balancers_have_addresses_of_the_pool_that_serve(installed: Any) -> None:
    services = {s["metadata"]["name"]: s for s in kubectl_json(installed, "services") if s["spec"]["type"] == "LoadBalancer"}
    assert {name: {port["port"] for port in s["spec"]["ports"]} for name, s in services.items()} == LOAD_BALANCERS
    addresses = {name: s["status"]["loadBalancer"]["ingress"][0]["ip"] for name, s in services.items()}
    assert len(set(addresses.values())) == len(LOAD_BALANCERS)
    assert all(ipaddress.ip_address(address) in ipaddress.ip_network(DEFAULT_POOL) for address in addresses.values())
    answers = {
        ("circleci-server-traefik", 80): "frontend",
        ("circleci-server-traefik", 443): "frontend",
        ("nomad-server-external", 4647): "nomad-server",
        ("output-processor", 8585): "output-processor",
        ("vm-service", 3000): "vm-service",
    }
    for (name, port), answer in answers.items():
        assert circleci_server.fetch(installed, f"http://{addresses[name]}:{port}/").strip() == answer
    assert circleci_server.fetch(installed, f"http://{addresses['circleci-server-traefik']}/status").strip() == "ok"


def test_a_load_balancer_made_again_gets_another_address(installed: Any) -> None:
    before = circleci_server.address(installed, "vm-service")
    installed.kubectl("--namespace", NAMESPACE, "delete", "service", "vm-service")
    assert any("service vm-service: no load balancer address" in problem for problem in circleci_server.look(installed).problems)
    circleci_server.install(installed)
    after = eventually(lambda: circleci_server.address(installed, "vm-service"))
    assert after
    assert after != before


def test_the_twin_frees_addresses_and_gives_them_to_those_who_wait(installed: Any) -> None:
    free = ipaddress.ip_network(DEFAULT_POOL).num_addresses - 2 - len(LOAD_BALANCERS)
    names = [f"pool-{number}" for number in range(free + 1)]
    spec = {
        "type": "LoadBalancer",
        "selector": {"app": "frontend"},
        "ports": [{"port": 80, "targetPort": 8080}],
        "allocateLoadBalancerNodePorts": False,
    }
    items = [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec} for name in names]

    def addresses() -> dict[str, str]:
        found = {}
        for service in kubectl_json(installed, "services"):
            ingress = service["status"].get("loadBalancer", {}).get("ingress")
            if ingress:
                found[service["metadata"]["name"]] = ingress[0]["ip"]
        return found

    installed.kubectl("--namespace", NAMESPACE, "create", "--filename", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    try:
        assert eventually(lambda: len(addresses()) == free + len(LOAD_BALANCERS))
        given = addresses()
        assert len(set(given.values())) == len(given)
        (waiting,) = set(names) - set(given)
        served = next(name for name in names if name in given)
        installed.kubectl("--namespace", NAMESPACE, "delete", "service", served)
        assert eventually(lambda: addresses().get(waiting)) == given[served]
        # a Service that stops being a load balancer loses its address too
        other = next(name for name in names if name in given and name != served)
        installed.kubectl("--namespace", NAMESPACE, "patch", "service", other, "--patch", '{"spec": {"type": "ClusterIP"}}')
        assert eventually(lambda: other not in addresses())
    finally:
        installed.kubectl("--namespace", NAMESPACE, "delete", "service", *names, "--ignore-not-found")
    assert set(addresses()) == set(LOAD_BALANCERS)


def test_a_twin_that_was_away_keeps_addresses_and_catches_up(installed: Any) -> None:
    before = {name: circleci_server.address(installed, name) for name in LOAD_BALANCERS}
    installed.stop_process("load-balancer-twin")
    try:
        spec = '{"metadata": {"name": "late"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}'
        installed.kubectl("--namespace", NAMESPACE, "create", "--filename", "-", input=f'{{"apiVersion": "v1", "kind": "Service", {spec[1:]}')
        time.sleep(1)
        assert circleci_server.address(installed, "late") == ""
    finally:
        installed.start_process("load-balancer-twin")
    late = eventually(lambda: circleci_server.address(installed, "late"))
    assert late
    assert late not in before.values()
    assert {name: circleci_server.address(installed, name) for name in LOAD_BALANCERS} == before
    installed.kubectl("--namespace", NAMESPACE, "delete", "service", "late")


def test_the_twelve_databases_have_the_checksums_of_the_seed(installed: Any) -> None:
    found = circleci_server.databases(installed)
    assert set(found) == DATABASES
    assert all(sum(fingerprint.rows.values()) > 0 for fingerprint in found.values())
    assert found["circle"].lines[:2] == ("extension pgcrypto", "extension uuid-ossp")
    assert not [line for line in found["domain"].lines if line.startswith("extension")]
    assert circleci_server.checksums(installed) == circleci_server.expected_checksums()
    assert len(circleci_server.expected_checksums()) == len(DATABASES) + len(BACKUP_VOLUMES) - 1


def test_another_seed_gives_other_contents(seeded: Any) -> None:
    circleci_server.seed(seeded, "another's seed")
    found = circleci_server.checksums(seeded)
    assert found == circleci_server.expected_checksums("another's seed")
    assert not set(found.values()) & set(circleci_server.expected_checksums().values())


def test_a_change_in_a_database_is_noticed_and_in_that_one_only(seeded: Any) -> None:
    changes = {
        "conductor_production": "UPDATE build_jobs SET payload = overlay(payload placing 'z' from 17 for 1) WHERE id = 200",
        "orbs": "DELETE FROM orb_versions WHERE id = 90",
        "permissions": "INSERT INTO grants SELECT 1000, uuid, name, payload, created_at FROM grants WHERE id = 1",
        "vms": "UPDATE tasks SET created_at = created_at + interval '1 second' WHERE id = 1",
        "circle": "DROP TABLE projects",
        "domain": "CREATE TABLE stray (id int)",
        "contexts": 'CREATE SCHEMA other; CREATE TABLE other."odd name" (id int)',
        "distributor": "TRUNCATE queue",
        "orb_analytics": 'DROP EXTENSION "uuid-ossp"',
    }
    for database, statement in changes.items():
        circleci_server.sql(seeded, database, statement)
    try:
        found = circleci_server.checksums(seeded)
        different = {name for name, checksum in circleci_server.expected_checksums().items() if found.get(name) != checksum}
        assert different == {f"database/{database}" for database in changes}
    finally:
        circleci_server.sql(seeded, "orb_analytics", 'CREATE EXTENSION IF NOT EXISTS "uuid-ossp"')
        circleci_server.sql(seeded, "contexts", "DROP SCHEMA IF EXISTS other CASCADE")
    circleci_server.seed(seeded)
    assert circleci_server.checksums(seeded) == circleci_server.expected_checksums()


def test_a_lost_and_a_stray_database_are_noticed(seeded: Any) -> None:
    circleci_server.sql(seeded, "postgres", "ALTER DATABASE vms RENAME TO elsewhere")
    try:
        names = {name.removeprefix("database/") for name in circleci_server.checksums(seeded) if name.startswith("database/")}
        assert names == (DATABASES - {"vms"}) | {"elsewhere"}
    finally:
        circleci_server.sql(seeded, "postgres", "ALTER DATABASE elsewhere RENAME TO vms")


def test_a_changed_and_a_lost_file_of_a_volume_are_noticed(seeded: Any) -> None:
    expected = circleci_server.expected_checksums()
    seeded.kubectl("--namespace", NAMESPACE, "exec", "mongodb-0", "--", "sh", "-c", "printf x >>/bitnami/mongodb/seeded/0/file-00")
    seeded.kubectl("--namespace", NAMESPACE, "exec", "vault-0", "--container", "vault", "--", "rm", "/vault/file/seeded/2/file-11")
    # the marker that Velero leaves in a restored volume is no content
    seeded.kubectl(
        "--namespace", NAMESPACE, "exec", "rabbitmq-0", "--", "sh", "-c", "cd /bitnami/rabbitmq/mnesia && mkdir -p .velero && touch .velero/x"
    )
    found = circleci_server.checksums(seeded)
    assert {name for name in expected if found[name] != expected[name]} == {"volume/mongodb-0/datadir", "volume/vault-0/data"}


def test_the_password_of_the_secret_is_the_database_s(installed: Any) -> None:
    command = "psql -X -h postgresql -U postgres -A -t -c 'SELECT 40 + 2'"
    script = ("--namespace", NAMESPACE, "exec", "postgresql-0", "--", "sh", "-c")
    (secret,) = kubectl_json(installed, "secrets", "--field-selector", "metadata.name=postgresql")
    assert set(secret["data"]) == {"postgresql-password"}
    right = f"PGPASSWORD=$(echo {secret['data']['postgresql-password']} | base64 -d) {command}"
    assert installed.kubectl(*script, right).strip() == "42"
    wrong = f"PGPASSWORD=wrong {command} 2>&1 || echo refused"
    assert installed.kubectl(*script, wrong).strip().endswith("refused")


def test_the_databases_survive_the_pod(installed: Any) -> None:
    installed.kubectl("--namespace", NAMESPACE, "delete", "pod", "postgresql-0", "mongodb-0", "--now")
    circleci_server.wait_ready(installed)
    assert circleci_server.checksums(installed) == circleci_server.expected_checksums()


def test_nothing_is_left_after_destroy(installed: Any) -> None:
    """Stands last: what it removes is not made again."""
    circleci_server.destroy(installed)
    assert installed.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found") == ""
    volumes = json.loads(installed.kubectl("get", "persistentvolumes", "--output", "json"))["items"]
    assert [volume for volume in volumes if volume["spec"].get("claimRef", {}).get("namespace") == NAMESPACE] == []
    circleci_server.destroy(installed)  # once more: nothing there is no error
