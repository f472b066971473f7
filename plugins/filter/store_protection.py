# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter of the role backup: where each store is protected, and whether that is proven."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.serverops.circleci.plugins.module_utils._server import stores

DOCUMENTATION = r"""
name: store_protection
short_description: Tell where each store of an installation is protected, and whether that is proven
version_added: 0.1.0
author:
  - serverops.circleci contributors (@serverops)
description:
  - Used by the role C(serverops.circleci.backup). A kind of store is protected by a finished volume copy in the backup, by the escrow file, or
    outside of both by what somebody declared.
  - A declared protection counts as long as its last proof is not older than its limit.
positional: _input
options:
  _input:
    description: The kinds of stores that have to be protected.
    type: list
    elements: str
    required: true
  declared:
    description:
      - The stores outside of backup and escrow, each with C(name), C(kind), C(protection), C(proof) and C(max_age).
      - C(proof) has one of C(time), C(file) and C(accepted).
    type: list
    elements: dict
    default: []
  inside:
    description: Kind of store to the claim that holds it, C(namespace/claim) with wildcards.
    type: dict
    default: {}
  volumes:
    description: The volumes of the backup, as M(serverops.circleci.velero_backup_info) has them.
    type: list
    elements: dict
    default: []
  escrowed:
    description: The kinds that are in the escrow file.
    type: list
    elements: str
    default: []
  files:
    description: Path of each file that is a proof, to the time of its last change in seconds since 1970, none or empty when it is not there.
    type: dict
    default: {}
  now:
    description: The time, in seconds since 1970.
    type: float
    required: true
"""

EXAMPLES = r"""
- name: Show which stores nobody protects
  ansible.builtin.debug:
    msg: "{{ found | rejectattr('good') | map(attribute='verdict') }}"
  vars:
    found: >-
      {{
        ['postgresql', 'object_storage']
        | serverops.circleci.store_protection(
          declared=[{
            'name': 'artifacts', 'kind': 'object_storage', 'protection': 'versioned and replicated',
            'proof': {'time': '2026-01-31T04:05:06Z'}, 'max_age': '26h'
          }],
          now=1769832306
        )
      }}
"""

RETURN = r"""
_value:
  description:
    - One entry per store with C(kind), C(name), C(where) (C(backup), C(escrow), C(outside) or C(nowhere)), C(protection), C(proven), C(age) and
      C(limit) in seconds, C(good), C(verdict), which says what to do, and C(line), which says it all.
  type: list
  elements: dict
"""


def store_protection(
    required: Sequence[str],
    declared: Iterable[Mapping[str, Any]] = (),
    inside: Mapping[str, str] | None = None,
    volumes: Iterable[Mapping[str, Any]] = (),
    escrowed: Iterable[str] = (),
    files: Mapping[str, Any] | None = None,
    now: float = 0,
) -> list[dict[str, Any]]:
    """Return one entry per store."""
    # a template has no other way to say that a file is not there
    at = {path: None if changed in (None, "") else float(changed) for path, changed in (files or {}).items()}
    try:
        return stores.protection(required, declared, inside or {}, list(volumes), escrowed, at, float(now))
    except (ValueError, KeyError, TypeError) as error:
        raise AnsibleFilterError(f"store_protection: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them by name."""
        return {"store_protection": store_protection}
