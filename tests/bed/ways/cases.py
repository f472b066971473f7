# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The case list of each module, computed from its argument spec: the options of every case, and what in the spec no case tries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bed.ways import specification
from tests.bed.ways.world import DEAD, World
from tests.plays.in_process import DEFINITIONS

INFO, LOCATION = "velero_info", "velero_storage_location"


@dataclass(frozen=True)
class Case:
    """A task: a name that can be part of an object's name, the module, its options, those of a task that has to run before."""

    name: str
    module: str
    options: dict[str, Any]
    before: dict[str, Any] | None = None


def login_values(world: World) -> dict[str, list[dict[str, Any]]]:
    """Return for each login option the logins in which it is tried, right ones and wrong ones; each is complete."""
    direct, client, file = world.direct, world.client, {"kubeconfig": str(world.bed.kubeconfig)}
    mutual = {"host": world.bed.api_server, "ca_cert": str(world.bed.ca_file)}
    without_key = {name: value for name, value in direct.items() if name != "api_key"}
    gke = {"cluster_name": "ways", "location": "europe-west1", "project": "ways"}
    gke_key = str(world.bed.gcs.service_account_key("ways", token_uri=f"{DEAD}/token"))
    return {
        "kubeconfig": [file, {"kubeconfig": world.kubeconfig}, {"kubeconfig": str(world.folder / "no-such-file")}],
        "context": [file | {"context": "bed"}, file | {"context": "nowhere"}],
        "host": [direct, direct | {"host": "https://127.0.0.1:9", "timeout": 2}],
        "api_key": [direct | {"api_key": "wrong-token-of-nobody"}],
        "client_cert": [mutual | {"client_cert": client["certificate"], "client_key": client["key"]}],
        "client_key": [
            mutual | {"cert_file": client["certificate"], "key_file": client["key"]},
            mutual | {"client_cert": client["certificate"], "client_key": client["certificate"]},
        ],
        "ca_cert": [
            without_key | {"api_key": world.token},
            direct | {"ca_cert": str(world.bed.s3.ca_file)},
            _renamed(direct, "ca_cert", "ssl_ca_cert"),
        ],
        "validate_certs": [
            {"host": direct["host"], "api_key": direct["api_key"], "validate_certs": False},
            direct | {"validate_certs": True},
            direct | {"verify_ssl": True},
        ],
        "proxy": [
            file | {"proxy": f"http://{world.proxy_login}@{world.proxy.address}"},
            file | {"proxy": f"http://somebody:wrong-password@{world.proxy.address}", "timeout": 5},
        ],
        "no_proxy": [file | {"proxy": DEAD, "no_proxy": "127.0.0.0/8"}],
        "impersonate_user": [file | {"impersonate_user": "somebody"}],
        "impersonate_groups": [file | {"impersonate_user": "somebody", "impersonate_groups": ["system:masters"]}],
        # the token is made here and the bed's server does not know its issuer: the same refusal is wanted both ways
        "eks": [direct_cloud(mutual, "eks", {"cluster_name": "ways", "region": "eu-west-1", "profile": "ways"})],
        "eks.role_arn": [direct_cloud(mutual, "eks", {"cluster_name": "ways", "region": "eu-west-1", "role_arn": "arn:aws:iam::1:role/ways"})],
        "gke": [direct_cloud(mutual, "gke", gke | {"service_account_file": gke_key})],
        "timeout": [file | {"timeout": 30}],
    }


def direct_cloud(mutual: Mapping[str, Any], option: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return a login by a cloud of which neither the endpoint nor the CA have to be asked for."""
    return {**mutual, option: value, "timeout": 20}


def _renamed(options: Mapping[str, Any], name: str, alias: str) -> dict[str, Any]:
    return {alias if item == name else item: value for item, value in options.items()}


def _login_cases(module: str, world: World, base: Mapping[str, Any]) -> Iterator[Case]:
    for option, logins in login_values(world).items():
        for number, login in enumerate(logins, 1):
            yield Case(f"{option.replace('.', '-').replace('_', '-')}-{number}", module, {**base, **login})


def _info_cases(world: World) -> Iterator[Case]:
    yield from _login_cases(INFO, world, {"namespace": world.velero.namespace, "gather": ["storage_locations"]})
    for choice in DEFINITIONS[INFO].arguments["gather"]["choices"]:
        yield Case(f"gather-{choice.replace('_', '-')}", INFO, world.velero.options(gather=[choice]))
    yield Case("everything", INFO, world.velero.options())
    yield Case("namespace-nobody", INFO, world.velero.options(namespace="ways-nobody"))
    yield Case("namespace-wrong", INFO, world.velero.options(namespace="Not A Name"))


def location_values(world: World) -> dict[str, list[dict[str, Any]]]:
    """Return for each option of a location what it is tried with, on top of a valid location; None leaves an option out."""
    s3 = world.bed.s3
    valid = {"region": s3.region, "s3ForcePathStyle": "true", "s3Url": s3.endpoint_inside}
    secure = {"config": valid | {"s3Url": s3.tls_endpoint_inside}, "object_storage_ca_cert": s3.ca_file.read_text()}
    secret = {"name": "ways-made", "content": world.velero.credentials}
    return {
        "name": [{}, {"name": "Not_A_Name"}],
        "namespace": [{"namespace": world.velero.namespace}, {"namespace": "ways-nobody"}],
        "state": [{"state": "present"}],
        "provider": [{"provider": "velero.io/aws"}, {"provider": "nobody/knows", "timeout": 20}],
        "bucket": [{"bucket": world.velero.bucket}, {"bucket": "ways-no-such-bucket"}],
        "prefix": [{"prefix": "/ways/inner/"}, {"prefix": "a//b"}],
        "config": [{"config": valid | {"s3ForcePathStyle": True}}, {"config": valid | {"bucket": "twice"}}],
        "object_storage_ca_cert": [secure, secure | {"object_storage_ca_cert": "no certificate"}, {"object_storage_ca_cert": ""}],
        "credential.name": [{"credential": secret}, {"credential": {"name": "ways-absent"}}],
        "credential.key": [{"credential": secret | {"name": "ways-made-too", "key": "other"}}],
        "credential.content": [{"credential": secret | {"content": "no INI file"}}],
        "access_mode": [{"access_mode": choice} for choice in DEFINITIONS[LOCATION].arguments["access_mode"]["choices"]],
        "default": [{"default": False}, {"default": True}],
        "validation_frequency": [{"validation_frequency": "90s"}, {"validation_frequency": "often"}],
        "backup_sync_period": [{"backup_sync_period": "2m"}, {"backup_sync_period": "-1m"}],
    }


def _location_cases(world: World) -> Iterator[Case]:
    absent = {"name": "ways-never-made", "namespace": world.velero.namespace, "state": "absent"}
    # every login was tried by the other module; here one case for each thing that there is to try
    done: set[str] = set()
    for case in _login_cases(LOCATION, world, absent):
        new = set(specification.tried(DEFINITIONS[LOCATION].arguments, case.options)) - done
        if any("=" not in item or item.startswith("validate_certs") for item in new):
            yield case
        done |= new
    for option, values in location_values(world).items():
        for number, value in enumerate(values, 1):
            name = f"ways-{option.replace('.', '-').replace('_', '-')}-{number}"
            yield Case(name.removeprefix("ways-"), LOCATION, world.velero.location_options(name) | value)
    made = world.velero.location_options("ways-removed", credential={"name": "ways-removed", "content": world.velero.credentials})
    yield Case("removed", LOCATION, world.velero.options(name="ways-removed", state="absent"), before=made)
    yield Case("changed", LOCATION, made | {"name": "ways-changed", "prefix": "other"}, before=made | {"name": "ways-changed", "prefix": "one"})


def cases(world: World) -> list[Case]:
    """Return the cases of all modules."""
    return [*_info_cases(world), *_location_cases(world)]


def untried(listed: list[Case]) -> list[str]:
    """Return what the argument specs offer and no case tries."""
    left = []
    for module, definition in DEFINITIONS.items():
        done = {item for case in listed if case.module == module for item in specification.tried(definition.arguments, case.options)}
        left += [f"{module}: {item}" for item in specification.to_try(definition.arguments) if item not in done]
    return left
