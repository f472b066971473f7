# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates of everything that a reader sees: module documentation, changelog, the pages built from both."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from . import stage
from .gate import GateError, Outcome, Workplace

# labels of Ansible's own pages that antsibull-docs refers to; with them the build needs no network
LABELS = {
    "action_plugins": "plugins/action.html",
    "ansible_collections": "collections/index.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "check_mode_dry": "playbook_guide/playbooks_checkmode.html",
    "common_return_values": "reference_appendices/common_return_values.html",
    "list_of_collection_env_vars": "collections/environment_variables.html",
    "module_defaults_groups": "playbook_guide/playbooks_module_defaults.html",
}


def changelog(place: Workplace) -> Outcome:
    """Every fragment is well formed."""
    place.checked("antsibull-changelog", "lint")
    released = place.collection / "changelogs" / "changelog.yaml"
    if released.exists():
        place.checked("antsibull-changelog", "lint-changelog-yaml", released)
    fragments = list((place.collection / "changelogs" / "fragments").glob("*.y*ml"))
    return Outcome(len(fragments) + released.exists())


def plugin_docs(place: Workplace) -> Outcome:
    """antsibull-docs finds nothing in the documentation of the collection and of its plugins."""
    choice = ("--plugin-docs", "--validate-collection-refs", "dependent", "--disallow-unknown-collection-refs")
    done = place.run("antsibull-docs", "lint-collection-docs", *choice, place.collection)
    bad = len([line for line in done.text.splitlines() if re.match(r"\S+:\d+:\d+: ", line)])
    modules = list((place.collection / "plugins" / "modules").glob("*.py"))
    return Outcome(len(modules), bad or int(done.status != 0))


def inventory(path: Path) -> None:
    """Write a Sphinx inventory with the labels above."""
    body = "".join(f"{name} std:label -1 {page}#{name.replace('_', '-')} {name}\n" for name, page in sorted(LABELS.items()))
    head = b"# Sphinx inventory version 2\n# Project: Ansible\n# Version: devel\n# The remainder of this file is compressed using zlib.\n"
    path.write_bytes(head + zlib.compress(body.encode()))


def pages(place: Workplace) -> Outcome:
    """The documentation site builds, with every warning an error."""
    site = place.scratch / "site"
    site.mkdir(mode=0o755)
    choice = ("--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", site)
    place.checked("antsibull-docs", "sphinx-init", *choice, stage.COLLECTION)
    inventory(site / "ansible_devel.inv")
    settings = site / "conf.py"
    mapping = "intersphinx_mapping = {'ansible_devel': ('https://docs.ansible.com/projects/ansible/devel/', '../ansible_devel.inv')}"
    text, count = re.subn(r"^intersphinx_mapping = \{.*?^\}", mapping, settings.read_text(), flags=re.DOTALL | re.MULTILINE)
    if count != 1:
        raise GateError("antsibull-docs: its conf.py has no intersphinx_mapping to replace")
    settings.write_text(text)
    place.checked("bash", "./build.sh", cwd=site)
    built = list((site / "build" / "html").rglob("*_module.html"))
    modules = list((place.collection / "plugins" / "modules").glob("*.py"))
    return Outcome(len(built), abs(len(modules) - len(built)))


def examples(place: Workplace) -> Outcome:
    """EXAMPLES of every module: options exist, syntax is right. That they work is shown on the bed."""
    return place.counted("examples", place.scratch / "examples")


def roles(place: Workplace) -> Outcome:
    """Argument specs, defaults, tasks and READMEs of the roles are those of the modules that they call."""
    return place.counted("roles")


def specification(place: Workplace) -> Outcome:
    """What a module accepts is what its documentation says, option by option."""
    return place.counted("specification")
