# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A remote host for plays: Debian's own sshd on a loopback port, with keys and settings of its own."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

SSHD = "/usr/sbin/sshd"


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def locked() -> bool:
    """Tell whether root has a locked password: sshd lets such an account in only by PAM, which in turn some containers cannot do."""
    if os.geteuid() != 0:
        return False
    entries = (line.split(":") for line in Path("/etc/shadow").read_text().splitlines())
    return any(entry[0] == "root" and entry[1].startswith("!") for entry in entries)


class Remote:
    """An sshd that lets in one key. AssertionError when the machine has no sshd: that is a failure, not a skip."""

    def __init__(self, folder: Path) -> None:
        assert Path(SSHD).exists(), f"{SSHD} is missing; install Debian package openssh-server"
        self.port = free_port()
        self.key = folder / "key"
        for path in (self.key, folder / "host-key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
        (folder / "key.pub").rename(folder / "authorized")
        settings = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": folder / "host-key",
            "AuthorizedKeysFile": folder / "authorized",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "yes" if locked() else "no",
            "PasswordAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "Subsystem": "sftp internal-sftp",
        }
        (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._log = (folder / "log").open("w")
        self._process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stdout=self._log, stderr=self._log)
        end = time.monotonic() + 10
        while True:
            assert self._process.poll() is None, f"sshd ended: {(folder / 'log').read_text()}"
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < end, f"sshd does not listen: {(folder / 'log').read_text()}"
                time.sleep(0.05)

    def variables(self, python: str) -> dict[str, Any]:
        """Return the inventory variables of the host."""
        return {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ControlMaster=no -o ControlPath=none",
            "ansible_python_interpreter": python,
        }

    def close(self) -> None:
        """End the server."""
        self._process.terminate()
        self._process.wait(10)
        self._log.close()
