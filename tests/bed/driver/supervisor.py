# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PID 1 of a node of the bed: makes its namespaces, starts and stops its processes on request, reaps everything.

Run by the driver as `python3 -m tests.bed.driver.supervisor CONFIG GO REPORT`. CONFIG is a JSON file:
  mark          environment assignment that every process carries
  run           run directory of the node, also working directory
  control       path of the control socket
  private       directories that get an empty tmpfs in the node's own mount namespace
  bound         {directory: directory of the run directory that is mounted over it}
  keep          paths that stay visible although they lie below a private directory
  network       commands (argument lists) that set up the network namespace
  sysctl        {name: value}
GO is the number of an inherited pipe: nothing is done before a byte arrives, and when the driver dies first, the process ends. So a node
never runs unrecorded. REPORT is a pipe that gets the process id of PID 1.

The control socket takes one JSON object per connection and answers with one:
  {"do": "start", "name": N, "argv": [...], "env": {...}, "log": PATH, "sockets": {"NUMBER": INHERITED}}; with only the name: as before
  {"do": "stop", "name": N, "signal": 15, "timeout": 5}     SIGKILL after the timeout (seconds)
  {"do": "signal", "name": N, "signal": 19}
  {"do": "list"}
Killing this process ends every process of the node at once, containers included, and its mounts go with the last of them.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from . import kernel

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def hide(private: list[str], bound: dict[str, str], keep: list[str]) -> None:
    """Cover the machine's directories that programs of the node would write to; nothing is made on the machine itself."""
    kept = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in keep}
    sources = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in bound.values()}
    for path in private:
        kernel.mount("tmpfs", path, "tmpfs", 0, "mode=755")
        if path in ("/tmp", "/var/tmp"):
            Path(path).chmod(0o1777)
    for path, handle in kept.items():
        if any(Path(path).is_relative_to(folder) for folder in private):
            Path(path).mkdir(parents=True, exist_ok=True)
            kernel.mount(f"/proc/self/fd/{handle}", path, "", kernel.MOUNT_BIND | kernel.MOUNT_RECURSIVE)
    for path, source in bound.items():
        Path(path).mkdir(parents=True, exist_ok=True)
        kernel.mount(f"/proc/self/fd/{sources[source]}", path, "", kernel.MOUNT_BIND)
    for handle in (*kept.values(), *sources.values()):
        os.close(handle)


class Supervisor:
    """Table of the node's processes and the loop that serves it."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.specs: dict[str, dict[str, Any]] = {}
        self.running: dict[int, str] = {}
        self.ended: dict[str, int] = {}
        self.starts: dict[str, int] = {}

    def start(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["name"]
        if name in self.running.values():
            return {"error": f"process {name} is running already"}
        spec = request if "argv" in request else self.specs.get(name)
        if spec is None:
            return {"error": f"process {name} was never started; give argv"}
        mark, value = self.config["mark"].split("=", 1)
        env = {"PATH": PATH, "HOME": self.config["run"], "LC_ALL": "C", **spec.get("env", {}), mark: value}
        actions: list[tuple[Any, ...]] = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        actions += [(os.POSIX_SPAWN_DUP2, inherited, int(number)) for number, inherited in spec.get("sockets", {}).items()]
        try:
            pid = os.posix_spawn(spec["argv"][0], spec["argv"], env, file_actions=actions, setsid=True, setsigmask=[], setsigdef=[signal.SIGPIPE])
        except OSError as error:
            return {"error": f"process {name} cannot be started: {error}"}
        self.specs[name] = spec
        self.running[pid] = name
        self.ended.pop(name, None)
        self.starts[name] = self.starts.get(name, 0) + 1
        return {"pid": pid}

    def pid_of(self, name: str) -> int | None:
        return next((pid for pid, running in self.running.items() if running == name), None)

    def stop(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["name"]
        pid = self.pid_of(name)
        if pid is None:
            return {"stopped": False}
        os.kill(pid, int(request.get("signal", signal.SIGTERM)))
        deadline = time.monotonic() + float(request.get("timeout", 5))
        while pid in self.running:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                deadline += 60
            time.sleep(0.01)
            self.reap()
        return {"stopped": True, "status": self.ended[name]}

    def send_signal(self, request: dict[str, Any]) -> dict[str, Any]:
        pid = self.pid_of(request["name"])
        if pid is None:
            return {"error": f"process {request['name']} does not run"}
        os.kill(pid, int(request["signal"]))
        return {"pid": pid}

    def table(self) -> dict[str, Any]:
        return {
            name: {"pid": self.pid_of(name), "status": self.ended.get(name), "starts": self.starts[name], "log": self.specs[name]["log"]}
            for name in self.specs
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        what = request.get("do")
        if what == "start":
            return self.start(request)
        if what == "stop":
            return self.stop(request)
        if what == "signal":
            return self.send_signal(request)
        if what == "list":
            return {"processes": self.table()}
        return {"error": f"unknown request {what!r}"}

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self.running.pop(pid, None)
            if name is not None:
                self.ended[name] = os.waitstatus_to_exitcode(status)

    def serve(self, listener: socket.socket) -> None:
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        watched: list[Any] = [listener, wake_read]
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            ready, _writable, _failed = select.select(watched, [], [], 5)
            if wake_read in ready:
                os.read(wake_read, 4096)
            self.reap()
            if listener in ready:
                self.serve_one(listener)

    def serve_one(self, listener: socket.socket) -> None:
        connection, _address = listener.accept()
        with connection:
            connection.settimeout(5)
            try:
                request = json.loads(connection.makefile("r").readline())
                reply = self.answer(request)
            except (OSError, ValueError, KeyError) as error:
                reply = {"error": f"{type(error).__name__}: {error}"}
            try:
                connection.sendall(json.dumps(reply).encode() + b"\n")
            except OSError as error:
                sys.stderr.write(f"answer not delivered: {error}\n")


def be_first_process(config: dict[str, Any]) -> None:
    """Set up the node and serve for ever."""
    os.setsid()
    os.umask(0o022)
    os.chdir(config["run"])
    kernel.mount("none", "/", "", kernel.MOUNT_RECURSIVE | kernel.MOUNT_PRIVATE)
    hide(config["private"], config["bound"], config["keep"])
    kernel.mount("proc", "/proc", "proc", kernel.MOUNT_NOSUID_NODEV_NOEXEC)
    # a peer group of its own: mounts of volumes made later reach the containers that ask for it (HostToContainer)
    kernel.mount("none", "/", "", kernel.MOUNT_RECURSIVE | kernel.MOUNT_SHARED)
    for command in config["network"]:
        subprocess.run(command, check=True, env={"PATH": PATH})
    for name, value in config["sysctl"].items():
        Path("/proc/sys", *name.split(".")).write_text(str(value))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    fresh = config["control"] + ".new"
    listener.bind(fresh)
    Path(fresh).chmod(0o600)
    listener.listen(16)
    Path(fresh).rename(config["control"])
    Supervisor(config).serve(listener)


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    go, report = int(sys.argv[2]), int(sys.argv[3])
    kernel.unshare(kernel.NEW_NETWORK | kernel.NEW_MOUNTS | kernel.NEW_PROCESSES)
    child = os.fork()
    if child:
        os.write(report, f"{child}\n".encode())
        os._exit(0)
    os.close(report)
    if os.read(go, 1) != b"g":
        os._exit(1)
    os.close(go)
    be_first_process(config)


if __name__ == "__main__":
    main()
