# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of an installation of Velero, and what of them cannot work: told before anything is read or written.

Options have the names of Velero's own program where it has one. Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import arguments as login
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import quantity
from ansible_collections.serverops.circleci.plugins.module_utils._velero import duration, location_options, release, server_arguments
from ansible_collections.serverops.circleci.plugins.module_utils._velero.release import Release


def _amounts() -> dict[str, Any]:
    return {"type": "dict", "options": {"cpu": {"type": "str"}, "memory": {"type": "str"}}}


def _resources() -> dict[str, Any]:
    return {"type": "dict", "options": {"requests": _amounts(), "limits": _amounts()}}


ARGUMENTS: dict[str, dict[str, Any]] = {
    **login.ARGUMENTS,
    "namespace": {"type": "str", "default": "velero"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "version": {"type": "str"},
    "image": {"type": "str"},
    "registry": {"type": "str"},
    "image_pull_secrets": {"type": "list", "elements": "str", "no_log": False},
    "image_pull_policy": {"type": "str", "choices": ["Always", "IfNotPresent", "Never"]},
    "plugins": {"type": "list", "elements": "str"},
    "provider": {"type": "str"},
    "bucket": {"type": "str"},
    "prefix": {"type": "str"},
    "backup_location_config": {"type": "dict"},
    "object_storage_ca_cert": {"type": "str"},
    "no_default_backup_location": {"type": "bool", "default": False},
    "use_volume_snapshots": {"type": "bool"},
    "snapshot_location_config": {"type": "dict"},
    "credential": {
        "type": "dict",
        "options": {
            "name": {"type": "str", "default": "cloud-credentials"},
            "key": {"type": "str", "default": "cloud", "no_log": False},
            "content": {"type": "str", "no_log": True},
        },
    },
    "no_secret": {"type": "bool", "default": False, "no_log": False},
    "service_account_name": {"type": "str"},
    "service_account_annotations": {"type": "dict"},
    "features": {"type": "list", "elements": "str"},
    "restore_only": {"type": "bool", "default": False},
    "use_node_agent": {"type": "bool"},
    "use_node_agent_windows": {"type": "bool"},
    "privileged_node_agent": {"type": "bool"},
    "node_agent_disable_host_path": {"type": "bool"},
    "kubelet_root_dir": {"type": "str"},
    "uploader_type": {"type": "str", "choices": ["restic", "kopia"]},
    "default_volumes_to_fs_backup": {"type": "bool"},
    "default_snapshot_move_data": {"type": "bool"},
    "disable_informer_cache": {"type": "bool"},
    "schedule_skip_immediately": {"type": "bool"},
    "csi_snapshot_early_frequent_polling": {"type": "bool"},
    "default_repo_maintain_frequency": {"type": "str"},
    "garbage_collection_frequency": {"type": "str"},
    "pod_volume_operation_timeout": {"type": "str"},
    "item_block_worker_count": {"type": "int"},
    "concurrent_backups": {"type": "int"},
    "backup_repository_configmap": {"type": "str"},
    "repo_maintenance_job_configmap": {"type": "str"},
    "node_agent_configmap": {"type": "str"},
    "keep_latest_maintenance_jobs": {"type": "int"},
    "maintenance_job_resources": _resources(),
    "resources": _resources(),
    "node_agent_resources": _resources(),
    "server_priority_class_name": {"type": "str"},
    "node_agent_priority_class_name": {"type": "str"},
    "node_selector": {"type": "dict"},
    "tolerations": {"type": "list", "elements": "dict"},
    "affinity": {"type": "dict"},
    "node_agent_node_selector": {"type": "dict"},
    "node_agent_tolerations": {"type": "list", "elements": "dict"},
    "node_agent_affinity": {"type": "dict"},
    "env": {"type": "dict"},
    "node_agent_env": {"type": "dict"},
    "server_args": {"type": "dict"},
    "node_agent_args": {"type": "dict"},
    "pod_annotations": {"type": "dict"},
    "pod_labels": {"type": "dict"},
    "labels": {"type": "dict"},
    "annotations": {"type": "dict"},
    "namespace_labels": {"type": "dict"},
    "repository_password": {"type": "str", "no_log": True},
    "crds_from": {"type": "str", "choices": ["job", "cli", "file"], "default": "job"},
    "crds_file": {"type": "path"},
    "velero_program": {"type": "path", "default": "velero"},
    "allow_skipped_minors": {"type": "bool", "default": False},
    "unfinished": {"type": "str", "choices": ["wait", "fail", "ignore"], "default": "wait"},
    "remove_crds": {"type": "bool", "default": False},
}

LOCATION = "default"
"""Name of the backup storage location and the volume snapshot location that an installation makes."""
NAMES = (
    "service_account_name",
    "backup_repository_configmap",
    "repo_maintenance_job_configmap",
    "node_agent_configmap",
    "server_priority_class_name",
    "node_agent_priority_class_name",
)
DURATIONS = ("default_repo_maintain_frequency", "garbage_collection_frequency", "pod_volume_operation_timeout")
COUNTS = {"item_block_worker_count": 1, "concurrent_backups": 1, "keep_latest_maintenance_jobs": 0}
"""Options that are counts, and their smallest value."""
RESOURCES = ("maintenance_job_resources", "resources", "node_agent_resources")
OF_LOCATION = ("provider", "bucket", "prefix", "backup_location_config", "object_storage_ca_cert")
OURS = frozenset({"component", "deploy", "name", "role", "app.kubernetes.io/managed-by", "helm.sh/chart"})
"""Labels by which Velero's workloads find their pods, and by which installers are told apart."""
AGENT_ONLY = (
    "privileged_node_agent",
    "node_agent_disable_host_path",
    "kubelet_root_dir",
    "default_volumes_to_fs_backup",
    "node_agent_resources",
    "node_agent_priority_class_name",
    "node_agent_node_selector",
    "node_agent_tolerations",
    "node_agent_affinity",
    "node_agent_env",
    "node_agent_args",
    "node_agent_configmap",
)
"""Options that say nothing without a node agent."""

_IMAGE = re.compile(
    r"(?:(?P<registry>[a-zA-Z0-9.-]+(?::\d+)?)/)?[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
    r"(?::[\w][\w.-]{0,127})?(?:@[a-z0-9]+:[0-9a-f]{32,})?"
)
_REGISTRY = re.compile(r"[a-zA-Z0-9.-]+(:\d+)?(/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_LABEL_NAME = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_FLAG = re.compile(r"[a-zA-Z][-_a-zA-Z0-9]*")
_FEATURE = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


def check(options: Mapping[str, Any]) -> None:
    """Refuse every value and combination that could not become an installation, whatever is in the cluster."""
    location_options.check_name("namespace", str(options["namespace"]), label=True)
    if options["state"] == "absent":
        return
    if options["remove_crds"]:
        raise InputError("remove_crds", "it was given for an installation that is to be present", "Give state absent, or leave it out")
    _check_images(options)
    _check_location(options)
    _check_credential(options)
    _check_values(options)
    _check_agents(options)
    _check_crds(options)


def _check_images(options: Mapping[str, Any]) -> None:
    if options.get("version") is not None:
        try:
            wanted = release.parse(options["version"])
        except ValueError as error:
            raise InputError("version", f"{options['version']!r} is {error}", "Write it as in 1.17.2") from None
        problem = release.unsupported(wanted)
        if problem:
            raise InputError("version", problem, "Give a version from 1.6.3 on")
        of_image = release.of_image(options.get("image") or "")
        if of_image is not None and of_image.number != wanted.number:
            raise InputError(
                "version", f"image {options['image']} is of Velero {of_image.text}, not of {wanted.text}", "Leave one of image and version out"
            )
    for option, images in (("image", [options["image"]] if options.get("image") is not None else []), ("plugins", options.get("plugins") or [])):
        for image in images:
            if not _IMAGE.fullmatch(image):
                raise InputError(option, f"{image!r} is not the name of an image", "Write it as in registry.example.com/velero/velero:v1.17.2")
    repositories = [repository(image) for image in options.get("plugins") or []]
    twice = sorted({name for name in repositories if repositories.count(name) > 1})
    if twice:
        raise InputError("plugins", f"it names {', '.join(twice)} more than once", "Name each plugin once")
    if options.get("registry") is not None and not _REGISTRY.fullmatch(options["registry"].strip("/")):
        raise InputError("registry", f"{options['registry']!r} is not the name of a registry", "Write it as in registry.example.com:5000/mirror")
    for name in options.get("image_pull_secrets") or []:
        location_options.check_name("image_pull_secrets", name)


def repository(image: str) -> str:
    """Return the last part of an image's name, without its tag: what a plugin is known by, wherever it comes from."""
    return image.split("@", 1)[0].rsplit("/", 1)[-1].split(":", 1)[0]


def _check_location(options: Mapping[str, Any]) -> None:
    if options["no_default_backup_location"]:
        for option in ("bucket", "prefix", "backup_location_config", "object_storage_ca_cert"):
            if options.get(option) is not None:
                raise InputError(option, "it was given together with no_default_backup_location", f"Leave out {option} or no_default_backup_location")
    if options.get("use_volume_snapshots") is False and options.get("snapshot_location_config") is not None:
        raise InputError("snapshot_location_config", "it was given without volume snapshots", "Leave it out, or give use_volume_snapshots true")
    location_options.check_present({**location_of(options), "credential": None})
    reserved = {"backup_location_config": location_options.SERVER_CONFIG, "snapshot_location_config": location_options.SERVER_SNAPSHOT_CONFIG}
    for option, names in reserved.items():
        try:
            location_options.config_of(options.get(option) or {}, names)
        except InputError as error:
            raise InputError(error.option.replace("config", option, 1), error.seen, error.next_step) from None


def location_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the backup storage location that belongs to the installation, in the words of velero_storage_location."""
    config = options.get("backup_location_config")
    return {
        "name": LOCATION,
        "namespace": options["namespace"],
        "state": options["state"],
        "provider": options.get("provider"),
        "bucket": options.get("bucket"),
        "prefix": options.get("prefix"),
        # its messages name the option of this module, so it is looked at there
        "config": location_options.config_of(config) if config is not None and _readable(config) else None,
        "object_storage_ca_cert": options.get("object_storage_ca_cert"),
        "credential": None,
        "access_mode": None,
        "default": None,
        "validation_frequency": None,
        "backup_sync_period": None,
    }


def _readable(config: Mapping[str, Any]) -> bool:
    try:
        location_options.config_of(config)
    except InputError:
        return False
    return True


def _check_credential(options: Mapping[str, Any]) -> None:
    credential = options.get("credential")
    if credential and options["no_secret"]:
        raise InputError("no_secret", "it was given together with credential", "Leave out no_secret or credential")
    if not credential:
        return
    location_options.check_name("credential.name", credential["name"])
    if not _SECRET_KEY.fullmatch(credential["key"]):
        raise InputError("credential.key", f"{credential['key']!r} is not a key of a Secret", "Use letters, digits, hyphens, dots and underscores")
    if credential.get("content") is not None:
        location_options.check_credentials_file(options.get("provider"), options.get("backup_location_config") or {}, credential["content"])


def _check_values(options: Mapping[str, Any]) -> None:
    for option in NAMES:
        # an empty name takes it away
        if options.get(option):
            location_options.check_name(option, options[option])
    if options.get("service_account_name") and options.get("service_account_annotations") is not None:
        raise InputError(
            "service_account_annotations",
            "it was given together with service_account_name, which is an account that somebody else made",
            "Leave one of them out",
        )
    for option in DURATIONS:
        if options.get(option) is not None:
            try:
                duration.nanoseconds(options[option])
            except ValueError as error:
                raise InputError(option, f"{options[option]!r} is {error}", "Write it as in 1h or 90m") from None
    for option, smallest in COUNTS.items():
        if options.get(option) is not None and options[option] < smallest:
            raise InputError(option, f"{options[option]} is too small", f"Give {smallest} or more")
    for option in RESOURCES:
        _check_resources(option, options.get(option) or {})
    for option in ("env", "node_agent_env"):
        _check_texts(option, options.get(option) or {}, _VARIABLE, "the name of an environment variable")
    for option in ("server_args", "node_agent_args"):
        _check_flags(option, options.get(option) or {})
    for option in ("labels", "pod_labels", "namespace_labels", "node_selector", "node_agent_node_selector"):
        _check_labels(option, options.get(option) or {})
    for option in ("annotations", "pod_annotations", "service_account_annotations"):
        _check_texts(option, options.get(option) or {}, _LABEL_NAME, "the name of an annotation")
    for name in options.get("features") or []:
        if not _FEATURE.fullmatch(name):
            raise InputError("features", f"{name!r} is not the name of a feature", "Write it as in EnableCSI")
    for option in ("tolerations", "node_agent_tolerations"):
        for toleration in options.get(option) or []:
            unknown = sorted(set(toleration) - {"key", "operator", "value", "effect", "tolerationSeconds"})
            if unknown:
                raise InputError(option, f"a toleration has no {', '.join(unknown)}", "Use key, operator, value, effect and tolerationSeconds")
    for option in ("affinity", "node_agent_affinity"):
        unknown = sorted(set(options.get(option) or {}) - {"nodeAffinity", "podAffinity", "podAntiAffinity"})
        if unknown:
            raise InputError(option, f"it has no {', '.join(unknown)}", "Use nodeAffinity, podAffinity and podAntiAffinity")
    if options.get("kubelet_root_dir") is not None and not options["kubelet_root_dir"].startswith("/"):
        raise InputError("kubelet_root_dir", f"{options['kubelet_root_dir']!r} is not an absolute path", "Write it as in /var/lib/kubelet")
    if options.get("repository_password") is not None and not options["repository_password"]:
        raise InputError("repository_password", "it is empty", "Give a password, or leave it out")


def _check_resources(option: str, resources: Mapping[str, Any]) -> None:
    amounts: dict[tuple[str, str], Decimal] = {}
    for kind, values in resources.items():
        for name, text in (values or {}).items():
            if text in (None, ""):
                continue
            try:
                amounts[kind, name] = quantity.value(text)
            except ValueError as error:
                raise InputError(f"{option}.{kind}.{name}", f"{text!r} is {error}", "Write it as in 500m or 128Mi") from None
    for name in ("cpu", "memory"):
        request, limit = amounts.get(("requests", name), Decimal(0)), amounts.get(("limits", name), Decimal(0))
        if limit and request > limit:
            raise InputError(f"{option}.requests.{name}", "it is more than its limit", "Ask for no more than the limit")


def _check_texts(option: str, values: Mapping[Any, Any], names: re.Pattern[str], what: str) -> None:
    for name, value in values.items():
        if not names.fullmatch(str(name)):
            raise InputError(option, f"{name!r} is not {what}", "Correct the name")
        if isinstance(value, (Mapping, list)):
            raise InputError(option, f"the value of {name} is not a single value", "Give a text; nothing (null) removes it")


def _check_flags(option: str, flags: Mapping[Any, Any]) -> None:
    for name, value in flags.items():
        if not _FLAG.fullmatch(str(name)):
            raise InputError(option, f"{name!r} is not the name of an argument without its dashes", "Write it as in log-level: debug")
        if isinstance(value, Mapping):
            raise InputError(option, f"the value of {name} is a mapping", "Give a text or a list; nothing (null) removes it")


def _check_labels(option: str, values: Mapping[Any, Any]) -> None:
    for name, value in values.items():
        if not _LABEL_NAME.fullmatch(str(name)):
            raise InputError(option, f"{name!r} is not the name of a label", "Use letters, digits, hyphens, dots and underscores")
        if option != "node_selector" and option != "node_agent_node_selector" and str(name) in OURS:
            raise InputError(option, f"label {name} belongs to Velero's own objects", "Use another name")
        if isinstance(value, (Mapping, list)) or not _LABEL_VALUE.fullmatch(text(value) or ""):
            raise InputError(option, f"the value of {name} is not that of a label", "Use at most 63 letters, digits, hyphens, dots and underscores")


def text(value: Any) -> str | None:
    """Return a value of a mapping as a text; None stays, and YAML's true becomes "true"."""
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_agents(options: Mapping[str, Any]) -> None:
    if options.get("use_node_agent") is False and not options.get("use_node_agent_windows"):
        for option in AGENT_ONLY:
            if options.get(option) not in (None, False):
                raise InputError(option, "it was given without a node agent", f"Leave out {option}, or give use_node_agent true")


def _check_crds(options: Mapping[str, Any]) -> None:
    if options["crds_from"] == "file" and not options.get("crds_file"):
        raise InputError("crds_file", "crds_from is file and no file is named", "Give the path of the file")
    if options["crds_from"] != "file" and options.get("crds_file"):
        raise InputError("crds_file", f"it was given and crds_from is {options['crds_from']}", "Give crds_from file, or leave crds_file out")


def check_release(options: Mapping[str, Any], wanted: Release) -> None:
    """Refuse every option that the wanted release cannot carry out."""
    for option in release.OPTION_RELEASES:
        if options.get(option) in (None, False):
            continue
        refusal = release.option_refusal(option, wanted)
        if refusal is not None:
            raise InputError(option, *refusal)
    if options.get("uploader_type") == "restic" and wanted.line >= RESTIC_GONE:
        raise InputError("uploader_type", f"the server of Velero {wanted.text} takes kopia only", "Give kopia, or leave it out")
    for option, agent in (("server_args", False), ("node_agent_args", True)):
        for name, value in (options.get(option) or {}).items():
            # one that only other releases have is dropped with a warning; one that nobody has is a slip of the pen
            if value is not None and name not in _KNOWN_FLAGS:
                sentence = server_arguments.given_refusal(str(name), wanted, agent=agent) or ""
                raise InputError(option, sentence, "Correct its name, or leave it out")
    problem = release.unsupported(wanted)
    if problem:
        raise InputError("image", problem, "Give an image of a known version, or the version that it is of")


_KNOWN_FLAGS = frozenset(
    {
        *server_arguments.SERVER_FLAGS,
        *server_arguments.AGENT_FLAGS,
        *server_arguments.GLOBAL_FLAGS,
        *server_arguments.LOGGING_FLAGS,
        *server_arguments.RENAMED,
    }
)
RESTIC_GONE = (1, 17)
"""The first release line that makes no backups by restic."""


def snapshots_wanted(options: Mapping[str, Any]) -> bool:
    """Tell whether a fresh installation gets a volume snapshot location: as with Velero's own program, unless it is told not to."""
    return options.get("use_volume_snapshots") is not False


def check_fresh(options: Mapping[str, Any]) -> None:
    """Refuse what lacks something that an installation cannot be made without."""
    if not options["no_default_backup_location"]:
        for option in ("provider", "bucket"):
            if not options.get(option):
                raise InputError(option, "it is needed to install Velero", f"Give {option}, or no_default_backup_location")
    if snapshots_wanted(options) and not options.get("provider"):
        raise InputError("provider", "it is needed to make the volume snapshot location", "Give provider, or use_volume_snapshots false")
    if not options.get("credential") and not options["no_secret"]:
        raise InputError("credential", "neither credential nor no_secret is given, one of them is needed to install Velero", "Give one of them")
    if (not options["no_default_backup_location"] or snapshots_wanted(options)) and not options.get("plugins"):
        raise InputError("plugins", "it is needed to install Velero with a location", "Give the image of the provider's plugin")
