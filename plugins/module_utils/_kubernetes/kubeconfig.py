# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a kubeconfig: one file, several merged by kubectl's rules, or the content itself; which cluster and user a context names.

The kubernetes library's own loader is not used for this: it writes certificates and keys to files that a forked worker leaves behind,
takes current-context from the last file where kubectl takes the first, and logs the failure of an exec plugin instead of raising it.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError, LibraryMissing
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import arguments

try:
    import yaml

    YAML_ERROR = ""
except ImportError as missing:
    YAML_ERROR = str(missing)

SECTIONS = ("clusters", "contexts", "users")


@dataclass(frozen=True)
class Entry:
    """A cluster, context or user: its fields, and the folder against which its relative paths are resolved."""

    value: Mapping[str, Any]
    folder: Path

    def text(self, name: str) -> str:
        """Return a field as text; empty when it is not there."""
        value = self.value.get(name)
        return "" if value is None else str(value)

    def path(self, name: str) -> str:
        """Return a field that is a path, made absolute; empty when it is not there."""
        value = self.text(name)
        return str(self.folder / Path(value).expanduser()) if value else ""

    def pem(self, name: str) -> str:
        """Return the content of `<name>-data` or of the file that `<name>` names; empty when neither is there.

        Raises InputError when the data is not base64 or the file cannot be read.
        """
        data = self.text(f"{name}-data")
        if data:
            try:
                return base64.b64decode(data, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise InputError("kubeconfig", f"its {name}-data is not base64 of a PEM text", "Correct it, or write a new kubeconfig") from None
        path = self.path(name)
        if not path:
            return ""
        try:
            return Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise InputError(
                "kubeconfig", f"its {name} {path} cannot be read ({reason})", "Correct the path or the permissions of the file"
            ) from None


@dataclass(frozen=True)
class Login:
    """What a context names. origin: words for messages; namespace: the context's, or empty."""

    origin: str
    context: str
    cluster: Entry
    user: Entry
    namespace: str = ""


@dataclass
class _Merged:
    current: str = ""
    entries: dict[str, dict[str, Entry]] = field(default_factory=lambda: {section: {} for section in SECTIONS})

    def take(self, document: Any, folder: Path, origin: str) -> None:
        """Merge one document; what an earlier one has said wins, as with kubectl."""
        if not isinstance(document, Mapping):
            raise InputError("kubeconfig", f"{origin} is not a kubeconfig: it is not a mapping", "Give a kubeconfig as kubectl uses it")
        self.current = self.current or str(document.get("current-context") or "")
        for section in SECTIONS:
            items = document.get(section) or []
            if not isinstance(items, list) or not all(isinstance(item, Mapping) and item.get("name") for item in items):
                raise InputError(
                    "kubeconfig", f"{origin} is not a kubeconfig: {section} is not a list of named entries", "Give a kubeconfig as kubectl uses it"
                )
            for item in items:
                value = item.get(section[:-1]) or {}
                if not isinstance(value, Mapping):
                    raise InputError("kubeconfig", f"{origin} is not a kubeconfig: {section[:-1]} {item['name']} is not a mapping", "")
                self.entries[section].setdefault(str(item["name"]), Entry(value, folder))


def default_paths(environ: Mapping[str, str]) -> str:
    """Return what kubectl reads when nothing is said: $KUBECONFIG, else ~/.kube/config."""
    return environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())


def present(paths: str) -> list[Path]:
    """Return the files of a list of paths (joined as $KUBECONFIG is) that exist."""
    whole = Path(paths).expanduser()
    if whole.is_file():
        return [whole]
    files = [Path(part).expanduser() for part in paths.split(os.pathsep) if part]
    return [path for path in files if path.exists()]


def load(kubeconfig: str | Mapping[str, Any], context: str = "") -> Login:
    """Return what a context (the current one when empty) of a kubeconfig names.

    kubeconfig: a path, several joined as $KUBECONFIG is, or the content as a mapping. Raises InputError.
    """
    merged = _Merged()
    if isinstance(kubeconfig, str):
        if arguments.is_content(kubeconfig):
            raise InputError(
                "kubeconfig", "it is the content of a file as a text", "Give the path of the file, or the content as a mapping (filter from_yaml)"
            )
        origin = f"kubeconfig {kubeconfig}"
        files = present(kubeconfig)
        if not files:
            raise InputError("kubeconfig", f"the file {kubeconfig} does not exist", "Give the path of a kubeconfig, or another way to log in")
        for path in files:
            merged.take(_parsed(path), path.absolute().parent, f"the file {path}")
    else:
        origin = "the inline kubeconfig"
        merged.take(kubeconfig, Path.cwd(), "the inline content")
    return _resolved(merged, origin, context)


def _resolved(merged: _Merged, origin: str, context: str) -> Login:
    wanted = context or merged.current
    if not wanted:
        raise InputError("context", f"{origin} names no current-context", "Give context, or set it: kubectl config use-context NAME")
    chosen = merged.entries["contexts"].get(wanted)
    if chosen is None:
        known = ", ".join(sorted(merged.entries["contexts"])) or "none"
        raise InputError("context", f"{origin} has no context {wanted}; it has: {known}", "Give one of these")
    cluster = merged.entries["clusters"].get(chosen.text("cluster"))
    if cluster is None:
        raise InputError(
            "kubeconfig",
            f"context {wanted} names cluster {chosen.text('cluster') or '(none)'}, which {origin} does not have",
            "Correct the kubeconfig",
        )
    if not cluster.text("server"):
        raise InputError("kubeconfig", f"cluster {chosen.text('cluster')} has no server", "Correct the kubeconfig")
    name = chosen.text("user")
    user = merged.entries["users"].get(name) if name else Entry({}, chosen.folder)
    if user is None:
        raise InputError("kubeconfig", f"context {wanted} names user {name}, which {origin} does not have", "Correct the kubeconfig")
    return Login(origin, wanted, cluster, user, chosen.text("namespace"))


def _parsed(path: Path) -> Any:
    if YAML_ERROR:
        raise LibraryMissing("PyYAML", "this Python", YAML_ERROR, "reading a kubeconfig")
    try:
        # libyaml's loader, where it is built in, takes a tenth of the time
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return yaml.load(path.read_text(encoding="utf-8"), Loader=loader) or {}  # noqa: S506  both are safe
    except OSError as error:
        raise InputError(
            "kubeconfig", f"the file {path} cannot be read ({error.strerror})", "Correct the path or the permissions of the file"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        # the parser's own text quotes the line, which may hold a token
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise InputError("kubeconfig", f"the file {path} is not YAML{where}", "Correct the file, or write a new one") from None
