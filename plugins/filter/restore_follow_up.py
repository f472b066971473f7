# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter of the roles backup and restore: what follows from load balancers that answer elsewhere after a restore."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.serverops.circleci.plugins.module_utils._server import follow_up

DOCUMENTATION = r"""
name: restore_follow_up
short_description: Tell what has to be done after a restore, as data and as text
version_added: 0.1.0
author:
  - serverops.circleci contributors (@serverops)
description:
  - Used by the role C(serverops.circleci.restore). A restored Service of type C(LoadBalancer) is a new one for the cloud and answers elsewhere. DNS
    records and settings have to follow, and Nomad clients have to be restarted.
positional: _input
options:
  _input:
    description: The Services as they are now, as M(serverops.circleci.kubernetes_info) returns them in C(objects).
    type: list
    elements: dict
    required: true
  before:
    description: C(namespace/service) to the addresses that it had when the backup was made. By default what O(annotations) say.
    type: dict
  annotations:
    description: Annotations of the backup, in which the role C(serverops.circleci.backup) notes the addresses.
    type: dict
    default: {}
  namespace_mapping:
    description: Namespace in the backup to the one that it was restored to.
    type: dict
    default: {}
  dns_names:
    description: Service, or C(namespace/service), to the names whose DNS records point to it.
    type: dict
    default: {}
  settings:
    description: Service, or C(namespace/service), to the settings that name it. Without it those of CircleCI Server 3.x.
    type: dict
  nomad_clients:
    description: The Nomad clients that have to be restarted.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what to do
  ansible.builtin.debug:
    msg: "{{ (services | serverops.circleci.restore_follow_up(before=before)).text }}"
  vars:
    before:
      circleci-server/nomad-server-external: [203.0.113.7]
    services:
      - {kind: Service, namespace: circleci-server, name: nomad-server-external, type: LoadBalancer, addresses: [203.0.113.9]}
"""

RETURN = r"""
_value:
  description:
    - C(load_balancers) (each with C(namespace), C(name), C(before), C(after), C(state), C(dns_names) and C(settings)), C(nomad), C(steps) (sentences)
      and C(text).
    - C(state) is C(moved), C(same), C(waiting) for an address, C(gone), or C(unknown) when the old address is not known.
  type: dict
"""


def restore_follow_up(
    services: Iterable[Mapping[str, Any]],
    before: Mapping[str, list[str]] | None = None,
    annotations: Mapping[str, Any] | None = None,
    namespace_mapping: Mapping[str, str] | None = None,
    dns_names: Mapping[str, Sequence[str]] | None = None,
    settings: Mapping[str, Sequence[str]] | None = None,
    nomad_clients: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what to do."""
    try:
        old = follow_up.mapped(follow_up.recorded(annotations) if before is None else before, namespace_mapping or {})
        said = follow_up.SETTINGS if settings is None else settings
        return follow_up.follow_up(old, follow_up.balancers(services), dns_names or {}, said, nomad_clients)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"restore_follow_up: {type(error).__name__}: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them by name."""
        return {"restore_follow_up": restore_follow_up}
