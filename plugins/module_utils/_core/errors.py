# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors told in four parts: which operation, on which object, what was seen, what to do next.

Private to this collection; may change without notice.
"""

from __future__ import annotations


class OperationError(Exception):
    """A failure that a person can act on.

    operation: a verb phrase ("read", "create"); target: the object it was about ("Secret velero/cloud-credentials");
    seen: what was observed; next_step: what to do about it. The text is one sentence per part, without a secret:
    whoever raises it passes only what may be printed, and the runner masks it once more.
    """

    def __init__(self, operation: str, target: str, seen: str, next_step: str = "", *, status: int | None = None) -> None:
        self.operation = operation
        self.target = target
        self.seen = seen.strip().rstrip(".")
        self.next_step = next_step.strip().rstrip(".")
        self.status = status
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.operation} {self.target}: {self.seen}."
        return f"{text} {self.next_step}." if self.next_step else text


class InputError(OperationError):
    """An option has a value that cannot work; raised before anything is written."""

    def __init__(self, option: str, seen: str, next_step: str = "") -> None:
        self.option = option
        super().__init__("check", f"option {option}", seen, next_step)


class Unreachable(OperationError):
    """No answer came, and the request is known to have changed nothing."""


class AnswerLost(OperationError):
    """A write was sent and its answer was lost: whether it took effect has to be looked up."""


class Refused(OperationError):
    """The server answered with an error status."""


class Unauthenticated(Refused):
    """Status 401: the credentials are wrong or expired."""


class Forbidden(Refused):
    """Status 403: a permission is missing."""


class Absent(Refused):
    """Status 404: the object, or its kind, is not there."""


class Conflict(Refused):
    """Status 409: somebody else changed or made the object."""


class Expired(Refused):
    """Status 410: the resourceVersion that a list or watch asked for is gone."""


class Invalid(Refused):
    """Status 400 or 422: the server does not accept the object."""


class Malformed(OperationError):
    """The answer could not be read as what it claims to be."""


class DeadlineOver(OperationError):
    """The time for the task is over; says what was last seen."""


class NotProven(OperationError):
    """What was written is not in force, and waiting longer would not change that."""


class WriteInCheckMode(OperationError):
    """A request of effect write reached the transport in check mode: a defect of ours, stopped before it did harm."""


class ParentGone(OperationError):
    """The process that started this task has ended; nothing more is written."""


class LibraryMissing(OperationError):
    """A Python library that the task needs cannot be imported."""

    def __init__(self, library: str, python: str, reason: str, purpose: str) -> None:
        super().__init__(
            "import",
            f"Python library {library}",
            f"it is needed for {purpose} and cannot be imported by {python} ({reason})",
            f"Install it for that Python: {python} -m pip install {library}",
        )


BY_STATUS: dict[int, type[Refused]] = {400: Invalid, 401: Unauthenticated, 403: Forbidden, 404: Absent, 409: Conflict, 410: Expired, 422: Invalid}


def refused(operation: str, target: str, status: int, seen: str, next_step: str = "") -> Refused:
    """Return the error class that fits an HTTP status."""
    return BY_STATUS.get(status, Refused)(operation, target, seen, next_step, status=status)
