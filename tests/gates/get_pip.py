# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-in for the script that ansible-test starts pip with: the pip that Python brings, made to trust what the machine trusts."""

from __future__ import annotations

import ensurepip
import pathlib
import sysconfig

ensurepip.bootstrap(default_pip=True)
bundle = pathlib.Path(sysconfig.get_path("purelib"), "pip", "_vendor", "certifi", "cacert.pem")
system = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
if system.exists() and bundle.exists():
    bundle.write_text(bundle.read_text() + system.read_text())
