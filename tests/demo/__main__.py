# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows a person what the collection is for: an installation with data, its backup, the loss of the whole cluster, and everything back on a new one.

usage: python3 -m tests.demo [--name BED] [--down]   as root, with an ansible-playbook beside this Python or on PATH; `make demo` sees to both

It has a bed of its own, since it destroys a cluster. One that was killed goes on where it was; one that came to its end begins anew.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time

from tests.bed import circleci_server
from tests.bed.driver import BedError, down

from . import playbooks
from .playbooks import DemoError
from .progress import Progress
from .screen import say
from .stages import STAGES, Demo, proof

NAME = "demo"


def show(name: str) -> None:
    """Go through the stages that are not done, and print the proof."""
    began = time.monotonic()
    demo = Demo(name, Progress(name))
    for number, (stage, (title, carry_out)) in enumerate(STAGES.items(), 1):
        if demo.progress.done(stage):
            say(f"== {number}/{len(STAGES)} {title}: done before")
            continue
        say(f"\n== {number}/{len(STAGES)} {title}")
        start = time.monotonic()
        carry_out(demo)
        seconds = time.monotonic() - start
        demo.progress.finish(stage, seconds, name)
        say(f"== {number}/{len(STAGES)} done in {seconds:.1f} s, {time.monotonic() - began:.0f} s in all")
    proof(demo)
    demo.progress.end()


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when everything was shown and is right."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.demo", description="Back up, lose the cluster, restore, and prove it.")
    parser.add_argument("--name", default=NAME, help="name of the demo's own bed (%(default)s)")
    parser.add_argument("--down", action="store_true", help="only stop that bed and remove what the demo left")
    options = parser.parse_args(arguments)
    os.umask(0o022)
    try:
        if os.geteuid() != 0:
            raise DemoError("root is needed for the bed; run `make demo`, which asks sudo")
        if options.down:
            down(options.name)
            shutil.rmtree(Progress(options.name).folder)
            return 0
        playbooks.ansible_playbook()  # before the minutes that a cold bed takes
        show(options.name)
        say(f"\nThe bed {options.name} stays up. `make demo` shows it all again, `make demo-down` leaves nothing behind.")
    except (BedError, DemoError, circleci_server.InstallationError) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted; run it again and it goes on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
