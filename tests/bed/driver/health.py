# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks each process of a node whether it works; runs inside the node's network namespace as a program of its own.

usage: python3 -m tests.bed.driver.health NAME=URL ...      prints one JSON object {name: "ok" or what was seen}
URL: http(s)://address:port/path (any answer below 400 is ok), tcp://address:port, unix:/path
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

LIMIT = 5.0


def probe(url: str) -> str:
    """Answer "ok", or what was seen instead."""
    kind, _colon, rest = url.partition(":")
    try:
        if kind == "unix":
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(LIMIT)
                connection.connect(rest)
            return "ok"
        parts = urllib.parse.urlsplit(url)
        address, port = str(parts.hostname), int(parts.port or 443)
        if kind == "tcp":
            socket.create_connection((address, port), LIMIT).close()
            return "ok"
        # only whether it answers is asked here; who it is was settled when the bed was made
        connect = http.client.HTTPConnection(address, port, timeout=LIMIT)
        if kind == "https":
            connect = http.client.HTTPSConnection(address, port, timeout=LIMIT, context=ssl._create_unverified_context())  # noqa: S323
        connect.request("GET", parts.path or "/")
        status = connect.getresponse().status
        connect.close()
    except (OSError, http.client.HTTPException) as error:
        return f"no answer from {url}: {error}"
    return "ok" if status < 400 else f"{url} answers {status}"


def main() -> None:
    wanted = dict(argument.split("=", 1) for argument in sys.argv[1:])
    with ThreadPoolExecutor(max(1, len(wanted))) as pool:
        found = dict(zip(wanted, pool.map(probe, wanted.values()), strict=True))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
