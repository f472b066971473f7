# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates of the artifact: what is shipped builds, is what the importer of Galaxy accepts, and names its dependencies."""

from __future__ import annotations

import re
import tarfile

from . import stage
from .gate import GateError, Outcome, Workplace

IMPORTER = """\
[galaxy-importer]
RUN_ANSIBLE_DOC = True
RUN_ANSIBLE_LINT = True
RUN_ANSIBLE_TEST = False
RUN_FLAKE8 = False
LOCAL_IMAGE_DOCKER = False
ANSIBLE_TEST_LOCAL_IMAGE = False
CHECK_CHANGELOG = True
CHECK_REQUIRED_TAGS = True
REQUIRE_V1_OR_GREATER = False
ANSIBLE_LOCAL_TMP = {folder}
"""
SHIPPED = (
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "meta/runtime.yml",
    "meta/execution-environment.yml",
    "requirements.txt",
    "bindep.txt",
    "plugins/",
    "roles/",
    "playbooks/",
    "inventories/",
)
NOT_SHIPPED = re.compile(r"^(?:tests/|build/|dist/|\.|Makefile|requirements/|changelogs/(?:fragments/|\.))")


def build(place: Workplace) -> Outcome:
    """The artifact builds; it has what a user needs and nothing of the workshop."""
    place.checked("ansible-galaxy", "collection", "build", "--force", "--output-path", place.scratch)
    artifact = next(iter(place.scratch.glob(f"{stage.NAMESPACE}-{stage.NAME}-*.tar.gz")), None)
    if artifact is None:
        raise GateError(f"ansible-galaxy: no artifact in {place.scratch}")
    with tarfile.open(artifact) as archive:
        names = [name.removeprefix("./") for name in archive.getnames()]
    absent = [wanted for wanted in SHIPPED if not any(name == wanted or name.startswith(wanted) for name in names)]
    surplus = [name for name in names if NOT_SHIPPED.match(name)]
    for name in absent:
        place.note(f"{artifact.name} lacks {name}")
    for name in surplus:
        place.note(f"{artifact.name} must not have {name}: see build_ignore in galaxy.yml")
    return Outcome(len(names) - len(surplus), len(absent) + len(surplus))


def importer(place: Workplace) -> Outcome:
    """The importer of Galaxy takes the artifact without a warning; its exit status says nothing about warnings."""
    build(place)
    artifact = next(iter(place.scratch.glob(f"{stage.NAMESPACE}-{stage.NAME}-*.tar.gz")))
    configuration = place.scratch / "importer.cfg"
    folder = place.scratch / "tmp"
    folder.mkdir(exist_ok=True)
    configuration.write_text(IMPORTER.format(folder=folder))
    done = place.run("python", "-m", "galaxy_importer.main", artifact, cwd=place.scratch, also={"GALAXY_IMPORTER_CONFIG": str(configuration)})
    steps = len(re.findall(r"^Loading \S+ \S+$", done.text, re.MULTILINE))
    bad = len(re.findall(r"\b(?:WARNING|ERROR|CRITICAL)\b", done.text))
    if done.status == 0 and not re.search(r"Importer processing completed successfully", done.text):
        place.note("galaxy-importer did not say that it completed")
        bad += 1
    return Outcome(steps, bad or int(done.status != 0))


def execution_environment(place: Workplace) -> Outcome:
    """ansible-builder finds the Python libraries that an execution environment with this collection must have."""
    text = place.checked("ansible-builder", "introspect", "--sanitize", place.tree)
    passed, failed = 0, 0
    for library in ("boto3", "google-auth", "kubernetes"):
        if re.search(rf"^\s*- ['\"]?{library}\b", text, re.MULTILINE):
            passed += 1
        else:
            failed += 1
            place.note(f"ansible-builder does not find {library}: see meta/execution-environment.yml and requirements.txt")
    return Outcome(passed, failed)
