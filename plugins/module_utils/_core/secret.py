# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that cannot be printed, every form in which one may come back, and keyed markers that tell two apart.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

MASK = "********"
SHORTEST_LINE = 8
"""Lines and values inside a secret file that are shorter than this are not masked on their own: they would hide ordinary words."""

# Keys whose value is secret by itself when it stands in a credentials file (INI or JSON).
_SECRET_KEY = re.compile(r"secret|token|password|passwd|private|(^|_)key($|_)|access_key|credential", re.IGNORECASE)
_NOT_SECRET_KEY = re.compile(r"_ur[il]$|^type$|region|^project", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"^\s*([A-Za-z0-9_.\-]+)\s*[=:]\s*(\S.*?)\s*$")


class Secret:
    """A string that shows itself only when asked by `reveal()`: str, repr, format and pickling give nothing away."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value."""
        return self._value

    def __str__(self) -> str:
        return MASK

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not serialised")


def marker(value: str, key: str) -> str:
    """Return a short keyed hash of a secret, so that a diff shows a change without showing the value.

    The key is something that does not stand in the diff and is the same in check mode and in the real run: the uid of the
    Kubernetes object that holds the secret. Without a key there is no marker, only the mask: an unkeyed hash could be guessed at.
    """
    if not key:
        return MASK
    digest = hmac.new(key.encode(), value.encode(), hashlib.sha256).hexdigest()
    return f"{MASK} (marker {digest[:8]})"


def _file_values(text: str) -> Iterator[str]:
    """Yield the values inside a credentials file that are secret by their key: INI assignments and JSON members."""
    stripped = text.strip()
    if stripped.startswith("{"):
        try:
            document = json.loads(stripped)
        except ValueError:
            document = None
        yield from _json_values(document)
        return
    for line in text.splitlines():
        found = _ASSIGNMENT.match(line)
        if found and len(found.group(2)) >= SHORTEST_LINE and _SECRET_KEY.search(found.group(1)) and not _NOT_SECRET_KEY.search(found.group(1)):
            yield found.group(2)


def _json_values(document: Any) -> Iterator[str]:
    if isinstance(document, Mapping):
        for name, value in document.items():
            if not isinstance(value, str):
                yield from _json_values(value)
            elif len(value) >= SHORTEST_LINE and _SECRET_KEY.search(str(name)) and not _NOT_SECRET_KEY.search(str(name)):
                yield value
                yield from (line.strip() for line in value.splitlines() if len(line.strip()) >= SHORTEST_LINE)
    elif isinstance(document, list):
        for item in document:
            yield from _json_values(item)


def _shifted_base64(raw: bytes) -> Iterator[str]:
    """Yield what stays of a secret's base64 when it stands inside a longer text, at each of the three alignments."""
    for shift in (0, 1, 2):
        encoded = base64.b64encode(b"\0" * shift + raw).decode()
        head = (0, 2, 3)[shift]
        tail = len(encoded) if (shift + len(raw)) % 3 == 0 else len(encoded.rstrip("=")) - 1
        yield encoded[head:tail]


def _go_json(text: str) -> str:
    """Return a text as Go's encoding/json writes it, which is what Kubernetes and Velero log."""
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    for sign in "<>&\u2028\u2029":
        escaped = escaped.replace(sign, f"\\u{ord(sign):04x}")
    return escaped


def forms(secret: str) -> set[str]:
    """Return every form in which a secret may come back: plain, base64, JSON-escaped, URL-quoted, per line, and the values of a file."""
    found: set[str] = set()
    lines = [line.strip() for line in secret.splitlines()] if "\n" in secret else []
    parts = {secret, secret.strip(), *(line for line in lines if len(line) >= SHORTEST_LINE), *_file_values(secret)}
    for part in parts:
        if not part:
            continue
        raw = part.encode()
        found.add(part)
        found.add(json.dumps(part)[1:-1])
        found.add(json.dumps(part, ensure_ascii=False)[1:-1])
        found.add(_go_json(part))
        found.add(urllib.parse.quote(part, safe=""))
        found.add(urllib.parse.quote(part))
        found.add(urllib.parse.quote_plus(part))
        found.add(base64.b64encode(raw).decode())
        found.add(base64.urlsafe_b64encode(raw).decode().rstrip("="))
        if len(raw) >= SHORTEST_LINE:
            found.update(_shifted_base64(raw))
    found.discard("")
    return found


class Mask:
    """Everything that must not be printed in this task, and the replacement of it in texts and results."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        self._ordered: list[str] | None = None
        self.add(*secrets)

    def add(self, *secrets: str | Secret | None) -> None:
        """Take secrets into the mask, in all their forms. None and empty strings are left out."""
        for secret in secrets:
            value = secret.reveal() if isinstance(secret, Secret) else secret
            if value and value not in self._forms:
                self._forms |= forms(value)
                self._ordered = None

    def forms(self) -> list[str]:
        """Return all forms, the longest first."""
        if self._ordered is None:
            self._ordered = sorted(self._forms, key=lambda form: (-len(form), form))
        return self._ordered

    def text(self, text: str) -> str:
        """Replace every form of every secret in a text, also where forms overlap: what any of them covers goes."""
        covered: list[tuple[int, int]] = []
        for form in self.forms():
            at = text.find(form)
            while at >= 0:
                covered.append((at, at + len(form)))
                at = text.find(form, at + 1)
        if not covered:
            return text
        pieces: list[str] = []
        done = 0
        for start, end in sorted(covered):
            if start > done or not pieces:
                pieces += [text[done:start], MASK]
            done = max(done, end)
        return "".join([*pieces, text[done:]])

    def value(self, value: Any) -> Any:
        """Replace in every string and every key of a JSON value. What has nothing to replace is returned as it is, since results may be long."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            made = {self.value(name): self.value(item) for name, item in value.items()}
            kept = isinstance(value, dict) and len(made) == len(value)
            return value if kept and all(name in value and value[name] is item for name, item in made.items()) else made
        if isinstance(value, (list, tuple)):
            items = [self.value(item) for item in value]
            return value if isinstance(value, list) and all(one is other for one, other in zip(value, items, strict=True)) else items
        return value
