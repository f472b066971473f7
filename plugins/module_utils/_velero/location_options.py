# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks and the canonical forms of the options of locations: what cannot work is told before anything is read or written.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import base64
import configparser
import json
import re
import ssl
from collections.abc import Mapping
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError
from ansible_collections.serverops.circleci.plugins.module_utils._velero import duration

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_PROVIDER = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?")
_BUCKET = re.compile(r"[a-zA-Z0-9][-_.a-zA-Z0-9]{1,220}[a-zA-Z0-9]")
SERVER_CONFIG = {"bucket": "bucket", "prefix": "prefix", "caCert": "object_storage_ca_cert", "credentialsFile": "credential"}
"""Config keys of a storage location that the server fills in itself, each with the option that it comes from.

Servers 1.6.0 to 1.9.0 leave them in the object's spec.
"""
SERVER_SNAPSHOT_CONFIG = {"credentialsFile": "credential"}
"""The same of a snapshot location."""
SWITCHES = ("s3ForcePathStyle", "insecureSkipTLSVerify", "enableSharedConfig")
URLS = ("s3Url", "publicUrl", "storeEndpoint")


def check_name(option: str, name: str, *, label: bool = False) -> None:
    """Refuse what Kubernetes would not take as a name."""
    if not (_LABEL if label else _SUBDOMAIN).fullmatch(name) or len(name) > 253:
        raise InputError(
            option,
            f"{name!r} is not a name that Kubernetes takes",
            "Use lower-case letters, digits and hyphens, beginning and ending with a letter or digit",
        )


def check_present(options: Mapping[str, Any]) -> None:
    """Refuse every value and combination that could not become an available location."""
    provider, bucket, prefix = options.get("provider"), options.get("bucket"), options.get("prefix")
    check_provider(provider, "an object store")
    if bucket is not None:
        if "/" in bucket:
            raise InputError("bucket", f"{bucket!r} contains a slash", "Put the part behind the bucket's name into prefix")
        if not _BUCKET.fullmatch(bucket):
            raise InputError("bucket", f"{bucket!r} is not a bucket name", "Use 3 to 222 letters, digits, hyphens, dots and underscores")
    if prefix is not None and any(part in {"", ".", ".."} for part in prefix.strip("/").split("/")) and prefix.strip("/"):
        raise InputError("prefix", f"{prefix!r} has an empty or a dotted part", "Write it as in team/velero")
    for option in ("validation_frequency", "backup_sync_period"):
        if options.get(option) is not None:
            try:
                fraction = duration.nanoseconds(options[option]) % 1_000_000_000
            except ValueError as error:
                raise InputError(option, f"{options[option]!r} is {error}", "Write it as in 1m or 1h30m; 0 switches it off") from None
            if fraction:
                # a fraction marks the time between two writes of this module, see validation.nudged
                raise InputError(option, f"{options[option]!r} has a fraction of a second", "Give whole seconds, as in 30s or 1m")
    if options.get("object_storage_ca_cert"):
        check_certificates(options["object_storage_ca_cert"])
    if options.get("config") is not None:
        config_of(options["config"])
    check_credential(options)


def check_present_snapshots(options: Mapping[str, Any]) -> None:
    """Refuse every value and combination with which a snapshot location could not work."""
    check_provider(options.get("provider"), "a volume snapshotter")
    if options.get("config") is not None:
        config_of(options["config"], SERVER_SNAPSHOT_CONFIG)
    check_credential(options)


def check_provider(provider: str | None, kind: str) -> None:
    """Refuse what cannot be the name of a plugin. kind: of plugin, with its article."""
    if provider is not None and not _PROVIDER.fullmatch(provider):
        raise InputError("provider", f"{provider!r} is not a provider name", f"Use the name of {kind} plugin, such as aws, gcp or velero.io/aws")


def check_credential(options: Mapping[str, Any]) -> None:
    """Refuse what Kubernetes or the provider's plugin would not take as credentials."""
    credential = options.get("credential")
    if credential:
        check_name("credential.name", credential["name"])
        if not _SECRET_KEY.fullmatch(credential["key"]):
            raise InputError(
                "credential.key", f"{credential['key']!r} is not a key of a Secret", "Use letters, digits, hyphens, dots and underscores"
            )
        if credential.get("content") is not None:
            check_credentials_file(options.get("provider"), options.get("config") or {}, credential["content"])


def check_certificates(text: str) -> None:
    """Refuse a CA bundle that no TLS library would load."""
    try:
        ssl.create_default_context().load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError, TypeError):
        raise InputError(
            "object_storage_ca_cert",
            "it is not a bundle of certificates in PEM form",
            "Give the text of the file that begins with -----BEGIN CERTIFICATE-----",
        ) from None


def config_of(config: Mapping[str, Any], filled_in: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the provider's settings as the API takes them: strings only. YAML's true becomes "true".

    filled_in: the keys that the server fills in itself, with the option to give instead; those of a storage location by default.
    """
    filled_in = SERVER_CONFIG if filled_in is None else filled_in
    result: dict[str, str] = {}
    for name, value in config.items():
        option = f"config.{name}"
        if name in filled_in:
            raise InputError(option, "Velero fills this in itself", f"Use the option {filled_in[name]}")
        if isinstance(value, (Mapping, list)) or value is None:
            raise InputError(option, "it is not a single value", "Write a string, a number or true/false; to unset a setting leave it out")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
            raise InputError(option, "the quotes would become part of the value", "Leave the inner quotes out")
        if name in SWITCHES and text not in {"true", "false"}:
            raise InputError(option, f"{text!r} is neither true nor false", "Write true or false")
        if name in URLS and text and not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", text):
            raise InputError(
                option, "it is not a URL that begins with http:// or https:// and holds no user name", "Write it as in https://minio.example.com:9000"
            )
        result[str(name)] = text
    return result


def check_credentials_file(provider: str | None, config: Mapping[str, Any], content: str) -> None:
    """Refuse a credentials file that the provider's plugin could not read. Nothing of the content appears in the message."""
    kind = (provider or "").removeprefix("velero.io/")
    option = "credential.content"
    if not content.strip():
        raise InputError(option, "it is empty", "Give the text of the provider's credentials file")
    if kind == "gcp":
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict) or not document.get("type"):
            raise InputError(option, "for provider gcp it has to be a JSON key with a member type", "Give the text of the service account's key file")
        if document["type"] == "service_account":
            missing = [name for name in ("client_email", "private_key", "token_uri") if not document.get(name)]
            if missing:
                raise InputError(option, f"the service account key lacks {', '.join(missing)}", "Give the whole text of the key file")
    elif kind == "aws":
        profile = str(config.get("profile") or "default")
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(content)
        except configparser.Error:
            raise InputError(
                option,
                "for provider aws it has to be an INI file with a section per profile",
                "Write it as in [default], aws_access_key_id=..., aws_secret_access_key=...",
            ) from None
        if not parser.has_section(profile) and not parser.has_section(f"profile {profile}"):
            raise InputError(option, f"it has no section [{profile}]", "Add the section, or name the one to use in config.profile")
        section = profile if parser.has_section(profile) else f"profile {profile}"
        keys = set(parser.options(section))
        if "aws_access_key_id" in keys and "aws_secret_access_key" not in keys:
            raise InputError(option, f"section [{section}] has aws_access_key_id without aws_secret_access_key", "Give both")


def encoded(text: str) -> str:
    """Return a text as the API carries bytes."""
    return base64.b64encode(text.encode()).decode()


def decoded(text: str | None) -> str:
    """Return what the API carries as bytes as a text; bytes that are none are shown as replacement characters."""
    return base64.b64decode(text or "").decode("utf-8", "replace")


def canonical_provider(provider: str) -> str:
    """Return a provider with its prefix: the server takes a name without one as velero.io/NAME."""
    return provider if "/" in provider else f"velero.io/{provider}"


def canonical_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a location's spec with everything that means the same written the same, for comparing."""
    result: dict[str, Any] = json.loads(json.dumps(spec))
    if "provider" in result:
        result["provider"] = canonical_provider(result["provider"])
    storage = result.get("objectStorage") or {}
    if "prefix" in storage:
        storage["prefix"] = (storage["prefix"] or "").strip("/")
        if not storage["prefix"]:
            del storage["prefix"]
    if storage.get("caCert"):
        storage["caCert"] = encoded(decoded(storage["caCert"]).strip() + "\n")
    for name in ("validationFrequency", "backupSyncPeriod"):
        if result.get(name) is not None:
            try:
                result[name] = duration.canonical(str(result[name]))
            except ValueError:
                continue  # what the server could not read either is compared as it stands
        else:
            result.pop(name, None)
    if not result.get("config"):
        result.pop("config", None)  # the server leaves an empty one out when it writes
    result["default"] = bool(result.get("default"))
    result["accessMode"] = result.get("accessMode") or "ReadWrite"
    return result


def canonical_snapshot_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a snapshot location's spec with everything that means the same written the same, for comparing."""
    result: dict[str, Any] = json.loads(json.dumps(spec))
    if "provider" in result:
        result["provider"] = canonical_provider(result["provider"])
    if not result.get("config"):
        result.pop("config", None)
    return result
