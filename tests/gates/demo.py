# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration: starts the bed, on which Velero is put by its own program, and asks our velero_info what is there."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from . import environments, machine, stage


def as_root(command: list[str], variables: Mapping[str, str]) -> list[str]:
    """The command for a root shell: as it is for root, by sudo for others, with the variables that it needs."""
    if os.geteuid() == 0:
        return command
    kept = [f"{key}={value}" for key, value in variables.items() if key.startswith(("ANSIBLE_", "K8S_AUTH_", "LC_", "PATH", "PYTHON", "SERVEROPS_"))]
    return ["sudo", "env", *kept, *command]


def bed_variables(ready: environments.Environment, tree: Path) -> dict[str, str]:
    """Process environment in which a program uses the bed that runs.

    Raises:
        subprocess.CalledProcessError: the driver does not know a bed that runs.
    """
    base = {**environments.variables(ready, tree), "SERVEROPS_CACHE": str(machine.cache())}
    driver = [str(ready.interpreter), "-m", "tests.bed.driver", "env"]
    lines = subprocess.run(driver, cwd=machine.ROOT, env=base, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    exported = dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export ") and not line.startswith("export PATH"))
    return {**base, "K8S_AUTH_KUBECONFIG": shlex.split(exported["KUBECONFIG"])[0]}


def show(ready: environments.Environment) -> int:
    """Start the bed, run the playbook, leave the bed running; the exit status of the first step that failed."""
    with stage.tree() as tree:
        collection = stage.copy(tree)
        variables = {**environments.variables(ready, tree), "SERVEROPS_CACHE": str(machine.cache())}
        up = [str(ready.interpreter), "-m", "tests.bed.driver", "up"]
        done = subprocess.run(up, cwd=machine.ROOT, env=variables, check=False)
        if done.returncode:
            return done.returncode
        variables = bed_variables(ready, tree)
        print("\nvelero_info, in the controller process and as a module:", flush=True)
        play = [str(ready.bin / "ansible-playbook"), str(collection / "tests" / "demo" / "velero_info.yml")]
        return subprocess.run(as_root(play, variables), cwd=collection, env=variables, check=False).returncode
