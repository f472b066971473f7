# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets Python keep the compiled form of this collection's private modules, which Ansible's own loader of collections compiles in each play anew.

That took 0.1 s of every play (9000 lines; ansible-core 2.16 to 2.21). Python's own loader is used for them, which looks at time and size of
the source. Where the collection belongs to another user nothing is kept, so that a play as root leaves no files in a user's folder.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

PRIVATE = tuple(f"{__name__.partition('.plugins.')[0]}.plugins.{folder}." for folder in ("module_utils", "plugin_utils"))
"""How the names of the private modules begin."""


class Finder(MetaPathFinder):
    """Finds the private modules, and leaves everything else to the finders after it."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return where a module is, None for a folder and for whatever is not ours."""
        if not fullname.startswith(PRIVATE):
            return None
        for folder in path or ():
            file = Path(folder, f"{fullname.rpartition('.')[2]}.py")
            if file.is_file() and file.parent.stat().st_uid == os.geteuid():
                return spec_from_file_location(fullname, file)
        return None


def keep() -> None:
    """Use it from now on in this process."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
