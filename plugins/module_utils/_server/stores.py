# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything that an installation keeps is protected: in the backup, in escrow, or by what somebody declared, and whether that is proven.

Pure. Private to this collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from ansible_collections.serverops.circleci.plugins.module_utils._velero import duration

PROOFS = ("time", "file", "accepted")
"""How a declared protection is proven: a time in ISO form, a file whose age is that of the proof, or a sentence that says why there is none."""


def moment(text: str) -> datetime:
    """Return a time as ISO 8601 has it; without a zone it is UTC. ValueError when it is none."""
    found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def in_words(seconds: float) -> str:
    """Return an age in words: 40 s, 12 min, 26 h, 9 days."""
    for unit, size, until in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172800)):
        if seconds < until:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds // 86400)} days"


def protection(
    required: Sequence[str],
    declared: Iterable[Mapping[str, Any]],
    inside: Mapping[str, str],
    volumes: Iterable[Mapping[str, Any]],
    escrowed: Iterable[str],
    files: Mapping[str, float | None],
    now: float,
) -> list[dict[str, Any]]:
    """Return one entry per store: kind, name, where (backup, escrow, outside, nowhere), protection, proven (ISO or None), age, limit, good,
    verdict, line.

    required: kinds that have to be protected. declared: {name, kind, protection, proof, max_age}. inside: kind to the claims (namespace/claim, with
    wildcards) that hold it. volumes: of the backup. escrowed: kinds in the escrow file. files: path to the time of its last change (seconds since
    1970), None when it is not there. now: seconds since 1970. ValueError for a declaration that cannot be read.
    """
    found = [_declared(entry, files, now) for entry in declared]
    for kind, pattern in inside.items():
        names = [
            f"{volume['namespace']}/{volume['claim']}" for volume in volumes if volume.get("claim") and volume.get("phase") == "Completed"
        ]  # fmt: skip
        held = sorted(name for name in names if fnmatchcase(name, pattern))
        if held:
            found.append(_entry(kind, ", ".join(held), "backup", "a finished volume copy in this backup"))
    found += [_entry(kind, "escrow file", "escrow", "encrypted, read back and compared") for kind in sorted(set(escrowed))]
    covered = {entry["kind"] for entry in found}
    for kind in required:
        if kind not in covered:
            missing = _entry(kind, kind, "nowhere", None)
            said = "it is neither in the backup nor in escrow nor declared in outside stores"
            found.append(missing | {"good": False, "verdict": f"{kind}: {said}; declare how it is protected, with its proof"})
    return [entry | {"line": _line(entry)} for entry in found]


def _line(entry: Mapping[str, Any]) -> str:
    """Return an entry in one line for a person."""
    if entry["verdict"]:
        return f"{entry['kind']}: {entry['verdict'] if entry['where'] != 'nowhere' else 'NOT PROTECTED'}"
    if entry["where"] == "outside":
        return f"{entry['kind']}: {entry['name']}, {entry['protection']}, proven {in_words(max(0, entry['age']))} ago"
    return f"{entry['kind']}: in {'the backup' if entry['where'] == 'backup' else 'escrow'} ({entry['name']})"


def _entry(kind: str, name: str, where: str, how: str | None) -> dict[str, Any]:
    return {
        "kind": kind, "name": name, "where": where, "protection": how, "proven": None, "age": None, "limit": None, "good": True, "verdict": "",
    }  # fmt: skip


def _declared(store: Mapping[str, Any], files: Mapping[str, float | None], now: float) -> dict[str, Any]:
    name, proof = str(store["name"]), store.get("proof") or {}
    entry = _entry(str(store["kind"]), name, "outside", str(store["protection"]))
    given = [key for key in PROOFS if proof.get(key)]
    if len(given) != 1:
        raise ValueError(f"store {name}: give its proof one of {', '.join(PROOFS)}, not {' and '.join(given) or 'none of them'}")
    if given == ["accepted"]:
        return entry | {"verdict": f"{name}: not proven, accepted because: {proof['accepted']}"}
    try:
        limit = duration.seconds(str(store.get("max_age") or "26h"))
    except ValueError as error:
        raise ValueError(f"store {name}: max_age {store.get('max_age')!r} is {error}") from None
    at: float | None
    if given == ["file"]:
        at, seen = files.get(str(proof["file"])), f"file {proof['file']}"
        if at is None:
            return entry | {"limit": limit, "good": False, "verdict": f"{name}: its proof, {seen}, is not there; look why its protection did not run"}
    else:
        try:
            at, seen = moment(str(proof["time"])).timestamp(), f"time {proof['time']}"
        except ValueError:
            raise ValueError(f"store {name}: {proof['time']!r} is not a time such as 2026-01-31T04:05:06Z") from None
    age = now - at
    proven = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entry |= {"proven": proven, "age": int(age), "limit": limit}
    if age < -60:
        return entry | {"good": False, "verdict": f"{name}: its proof, {seen}, is in the future; look at the clocks"}
    if age > limit:
        late = f"last proven {in_words(age)} ago ({proven}), the limit is {in_words(limit)}"
        return entry | {"good": False, "verdict": f"{name}: {late}; look why its protection did not run since"}
    return entry
