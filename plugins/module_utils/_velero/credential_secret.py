# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Secret with a location's own credentials: made, kept at the wanted content, shown by markers only, removed with its location.

Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._core.behaviour import Context, Step
from ansible_collections.serverops.circleci.plugins.module_utils._core.difference import masked, merge_patch
from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import Absent, Forbidden, NotProven
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes import resource
from ansible_collections.serverops.circleci.plugins.module_utils._kubernetes.objects import Api
from ansible_collections.serverops.circleci.plugins.module_utils._velero import location_options

MADE_BY = {"app.kubernetes.io/managed-by": "serverops.circleci"}
ARGUMENT: dict[str, Any] = {
    "type": "dict",
    "options": {
        "name": {"type": "str", "required": True},
        "key": {"type": "str", "default": "cloud", "no_log": False},
        "content": {"type": "str", "no_log": True},
    },
}
"""The argument spec of the option credential."""


@dataclass(frozen=True)
class CredentialSecret:
    """The Secret that a location's option credential (name, key, content or None) names, if it is given.

    owner: the annotation by which a Secret says that it was made for a location, and for which; target: the location in messages.
    """

    owner: str
    location: str
    namespace: str
    target: str
    credential: Mapping[str, Any] | None

    @property
    def _content(self) -> str | None:
        return (self.credential or {}).get("content")

    def read(self, api: Api, context: Context) -> dict[str, Any] | None:
        """Return the Secret that is named, None when there is none or none is named."""
        if not self.credential:
            return None
        secret = api.get(resource.SECRET, self.namespace, self.credential["name"])
        if secret:
            # what stands there now is as secret as what is wanted
            context.mask.add(location_options.decoded((secret.get("data") or {}).get(self.credential["key"])))
        return secret

    def find_own(self, api: Api, context: Context) -> tuple[dict[str, Any], ...]:
        """Return the Secrets that this collection made for the location, found by their mark.

        A run that was killed may have left one alone, and a location that was given another Secret leaves the first one behind.
        """
        selector = ",".join(f"{name}={value}" for name, value in MADE_BY.items())
        try:
            found = api.list(resource.SECRET, self.namespace, label_selector=selector).items
        except Forbidden as error:
            context.warn(f"{self.target}: whether it has a Secret of its own was not looked up. {error}")
            return ()
        return tuple(item for item in found if (item["metadata"].get("annotations") or {}).get(self.owner) == self.location)

    def used_by(self, api: Api, context: Context, kind: resource.Resource, own_secrets: Collection[Mapping[str, Any]]) -> frozenset[str]:
        """Return the names of the Secrets that locations of another kind use; asked only when the location has Secrets of its own."""
        if not own_secrets:
            return frozenset()
        try:
            return frozenset(names_of(api.list(kind, self.namespace).items))
        except Absent:
            return frozenset()  # the cluster does not know the kind
        except Forbidden as error:
            context.warn(f"{self.target}: its Secret stays, because whether a {kind.kind} uses it was not looked up. {error}")
            return frozenset(secret["metadata"]["name"] for secret in own_secrets)

    def step(self, secret: Mapping[str, Any] | None) -> Step | None:
        """Return the write that gives the Secret its content; None when it has it, or when no content is given. Pure."""
        if not self.credential or self._content is None:
            return None
        data = {self.credential["key"]: location_options.encoded(self._content)}
        if secret is None:
            metadata = {"name": self.credential["name"], "labels": MADE_BY, "annotations": {self.owner: self.location}}
            body = {"metadata": metadata, "type": "Opaque", "data": data}
            return Step(resource.create(resource.SECRET, self.namespace, body), "the credentials are not there yet")
        if merge_patch(data, secret.get("data") or {}):
            patch = {"metadata": {"resourceVersion": secret["metadata"]["resourceVersion"]}, "data": data}
            return Step(resource.merge_patch(resource.SECRET, self.namespace, self.credential["name"], patch), "the credentials differ")
        return None

    def lacking(self, secret: Mapping[str, Any] | None, *, check_mode: bool) -> list[str]:
        """Refuse a Secret that has to exist, with its key, and does not; in check mode return that as a warning. Pure."""
        if not self.credential or self._content is not None:
            return []
        name, key = self.credential["name"], self.credential["key"]
        if secret is not None and key in (secret.get("data") or {}):
            return []
        text = f"Secret {self.namespace}/{name} {'does not exist' if secret is None else f'has no key {key}'}"
        if not check_mode:
            raise NotProven("use", self.target, text, "Make the Secret first, or give credential.content to have it made")
        return [f"{self.target}: {text}; an earlier task has to make it"]

    def sides(self, secret: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a diff shows of the Secret before and after, contents as markers; nothing when no content is given. Pure."""
        if not self.credential or self._content is None:
            return {}, {}
        name, field = self.credential["name"], self.credential["key"]
        marker_key = (secret or {}).get("metadata", {}).get("uid", "")
        before: dict[str, Any] = {}
        if secret is not None:
            there = {item: location_options.decoded(value) for item, value in (secret.get("data") or {}).items()}
            before["secret"] = masked({"name": name, "data": {field: there.get(field)}}, [("data", "*")], marker_key)
        return before, {"secret": masked({"name": name, "data": {field: self._content}}, [("data", "*")], marker_key)}

    def removals(self, own_secrets: Collection[Mapping[str, Any]], used: Collection[str]) -> tuple[list[Step], list[str]]:
        """Return the removal of the location's own Secrets that no other location uses, and their names. Pure."""
        alone = [secret["metadata"] for secret in own_secrets if secret["metadata"]["name"] not in used]
        steps = [
            Step(resource.delete(resource.SECRET, self.namespace, metadata["name"], uid=metadata["uid"]), "it was made for this location only")
            for metadata in alone
        ]
        return steps, sorted(metadata["name"] for metadata in alone)


def names_of(locations: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the names of the Secrets that locations use. Pure."""
    named = (((item.get("spec") or {}).get("credential") or {}).get("name") for item in locations)
    return {str(name) for name in named if name}
