# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a storage location: every value that cannot work is refused by name, and nothing secret stands in the refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError
from ansible_collections.serverops.circleci.plugins.module_utils._core.secret import forms
from ansible_collections.serverops.circleci.plugins.module_utils._velero import location_options

CANARY = "wJalrXUtnFEMI-canary-key"
AWS = f"[default]\naws_access_key_id=AKIAEXAMPLE1\naws_secret_access_key={CANARY}\n"
GCP = json.dumps({"type": "service_account", "client_email": "a@b", "private_key": CANARY, "token_uri": "https://t"})
# the form of a certificate, cut short
PEM = """-----BEGIN CERTIFICATE-----
MIIBLjCB4aADAgECAhQ1KwIBAgMEBQYHCAkKCwwNDg8QETAFBgMrZXAwDzENMAsG
-----END CERTIFICATE-----
"""


def credential(content: str | None = None, name: str = "own", key: str = "cloud") -> dict[str, Any]:
    return {"name": name, "key": key, "content": content}


BAD: list[tuple[str, dict[str, Any]]] = [
    *(("provider", {"provider": value}) for value in ("", "aws/", "/aws", "a b", "velero.io/aws/x", "-aws", "aws-")),
    *(("bucket", {"bucket": value}) for value in ("", "a", "ab", "bucket/prefix", "with space", "-bucket", "bucket-", "x" * 223)),
    *(("prefix", {"prefix": value}) for value in ("a//b", "./a", "a/../b", "..", "a/.")),
    *(
        (option, {option: value})
        for option in ("validation_frequency", "backup_sync_period")
        for value in ("", "1", "1d", "-1s", "one minute", "99999999999999h")
    ),
    *(("object_storage_ca_cert", {"object_storage_ca_cert": value}) for value in ("no certificate", " ", PEM, "Zertifikät", PEM + "\0")),
    *(
        (f"config.{name}", {"config": {name: value}})
        for name, value in (
            ("bucket", "x"), ("prefix", "x"), ("caCert", "x"), ("credentialsFile", "x"),
            ("region", None), ("region", {"a": 1}), ("region", ["a"]), ("region", '"eu"'), ("region", "'eu'"),
            ("s3ForcePathStyle", "yes"), ("s3ForcePathStyle", ""), ("insecureSkipTLSVerify", 1), ("enableSharedConfig", "True "),
            ("s3Url", "minio:9000"), ("s3Url", f"https://user:{CANARY}@minio"), ("publicUrl", "ftp://x"), ("storeEndpoint", "https://"),
            ("s3Url", "http://a b"),
        )
    ),
    *(("credential.name", {"credential": credential(name=value)}) for value in ("", "Upper", "a_b", "-a", "a-", "a..b", "x" * 254)),
    *(("credential.key", {"credential": credential(key=value)}) for value in ("", "a b", "a/b", "x" * 254, "ä")),
    *(
        ("credential.content", {"provider": provider, "credential": credential(content)} | rest)
        for provider, content, rest in (
            (None, "", {}), (None, " \n", {}),
            ("aws", CANARY, {}), ("aws", AWS.replace("[default]", "[other]"), {}), ("velero.io/aws", f"{{{CANARY}}}", {}),
            ("aws", AWS, {"config": {"profile": "other"}}), ("aws", f"[default]\naws_access_key_id={CANARY}\n", {}), ("aws", AWS + AWS, {}),
            ("gcp", AWS, {}), ("gcp", f'["{CANARY}"]', {}), ("gcp", f'{{"private_key": "{CANARY}"}}', {}),
            ("velero.io/gcp", json.dumps({"type": "service_account", "private_key": CANARY}), {}),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("option", "options"), BAD)
def test_what_cannot_work_is_refused_by_the_options_name(option: str, options: dict[str, Any]) -> None:
    with pytest.raises(InputError) as told:
        location_options.check_present(options)
    assert told.value.option == option
    assert str(told.value).startswith(f"check option {option}: ")
    assert told.value.next_step
    assert "\n" not in str(told.value)
    for secret in (CANARY, AWS, GCP):
        for form in forms(secret) - {"[default]"}:
            assert form not in str(told.value)
    # the cause is not chained: a traceback would show the parser's words, which quote the text
    assert told.value.__cause__ is None


GOOD: list[dict[str, Any]] = [
    {},
    {"provider": "aws", "bucket": "circleci-backups", "prefix": "team/velero", "validation_frequency": "1m", "backup_sync_period": "0"},
    {"provider": "velero.io/aws", "bucket": "a.b_C-9", "prefix": "/a/b/", "config": {}},
    {"provider": "example.com/My_Plugin.x", "prefix": "", "object_storage_ca_cert": ""},
    {"config": {"region": "minio", "s3ForcePathStyle": True, "s3Url": "https://minio.example.com:9000/path", "checksumAlgorithm": "", "n": 5}},
    {"config": {"s3Url": "", "publicUrl": "http://10.0.0.1:9000", "insecureSkipTLSVerify": "false"}},
    {"provider": "aws", "credential": credential(AWS)},
    {"provider": "aws", "credential": credential(AWS.replace("default", "other")), "config": {"profile": "other"}},
    {"provider": "aws", "credential": credential("[profile x]\nrole_arn=arn\n"), "config": {"profile": "x"}},
    {"provider": "gcp", "credential": credential(GCP)},
    {"provider": "gcp", "credential": credential(json.dumps({"type": "external_account"}))},
    {"provider": "azure", "credential": credential("AZURE_SUBSCRIPTION_ID=x")},
    {"credential": credential("anything, since the provider is not named")},
    {"credential": credential(None, "a.b-c", "_-.Key")},
]


@pytest.mark.parametrize("options", GOOD)
def test_what_can_work_is_let_through(options: dict[str, Any]) -> None:
    location_options.check_present(options)


@pytest.mark.parametrize(
    ("name", "label", "fine"),
    [("a", True, True), ("a-1", True, True), ("a.b", True, False), ("a.b", False, True), ("A", False, False), ("", False, False),
     ("x" * 63, True, True), ("x" * 64, True, False), (".".join(["x" * 63] * 4), False, False), ("a\n", False, False)],
)  # fmt: skip
def test_names(name: str, label: bool, fine: bool) -> None:
    if fine:
        location_options.check_name("name", name, label=label)
    else:
        with pytest.raises(InputError, match="check option name"):
            location_options.check_name("name", name, label=label)


def test_config_becomes_strings() -> None:
    given = {"s3ForcePathStyle": True, "insecureSkipTLSVerify": False, "n": 5, "text": "x", "empty": ""}
    expected = {"s3ForcePathStyle": "true", "insecureSkipTLSVerify": "false", "n": "5", "text": "x", "empty": ""}
    assert location_options.config_of(given) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"provider": "aws"}, {"provider": "velero.io/aws"}),
        ({"objectStorage": {"prefix": "/a/"}}, {"objectStorage": {"prefix": "a"}}),
        ({"objectStorage": {"prefix": ""}}, {"objectStorage": {}}),
        ({"objectStorage": {"prefix": None}}, {"objectStorage": {"prefix": "/"}}),
        ({"objectStorage": {"caCert": location_options.encoded("PEM")}}, {"objectStorage": {"caCert": location_options.encoded("\nPEM\n\n")}}),
        ({"validationFrequency": "60s"}, {"validationFrequency": "1m0s"}),
        ({"backupSyncPeriod": "0"}, {"backupSyncPeriod": "0s"}),
        ({"backupSyncPeriod": None}, {}),
        ({"default": False}, {}),
        ({"accessMode": "ReadWrite"}, {}),
        ({"accessMode": ""}, {}),
        ({"config": {}}, {}),
        ({"config": None}, {}),
        ({"validationFrequency": "rubbish"}, {"validationFrequency": "rubbish"}),
    ],
)
def test_what_means_the_same_compares_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    kept = json.dumps([one, other])
    assert location_options.canonical_spec(one) == location_options.canonical_spec(other)
    assert json.dumps([one, other]) == kept


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"provider": "aws"}, {"provider": "example.com/aws"}),
        ({"objectStorage": {"prefix": "a"}}, {"objectStorage": {}}),
        ({"objectStorage": {"caCert": "eA=="}}, {"objectStorage": {}}),
        ({"validationFrequency": "0s"}, {}),
        ({"default": True}, {}),
        ({"accessMode": "ReadOnly"}, {}),
        ({"config": {"region": "x"}}, {}),
    ],
)
def test_what_means_another_thing_does_not(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert location_options.canonical_spec(one) != location_options.canonical_spec(other)


def test_bytes_that_are_no_text_are_shown_somehow() -> None:
    assert location_options.decoded("/w==") == "\ufffd"
    assert location_options.decoded(None) == ""
