# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault at every request of the modules, and a kill between any two: what the module says is held against what the cluster has.

`python -m tests.faults` runs them all on a bed and writes build/faults.json; `--sample 60` runs a seeded choice of them.
"""
