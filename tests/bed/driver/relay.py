# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Relay TCP from 127.0.0.1 of the machine into the bed's network namespace.

usage: relay.py NUMBER=ADDRESS:PORT ...     NUMBER is an inherited listening socket

The sockets were made outside and stay there; this process lives inside, so every connection it opens is made inside.
"""

from __future__ import annotations

import asyncio
import socket
import sys


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction; pass the end of the stream on."""
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        # a reset on one side is passed on as the end of both
        writer.transport.abort()


async def serve(number: int, address: str, port: int) -> None:
    """Accept on one inherited socket for ever."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(address, port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        far_writer.close()
        writer.close()

    listener = socket.socket(fileno=number)
    listener.setblocking(False)
    server = await asyncio.start_server(handle, sock=listener)
    await server.serve_forever()


async def main() -> None:
    targets = []
    for text in sys.argv[1:]:
        number, target = text.split("=", 1)
        address, port = target.rsplit(":", 1)
        targets.append(serve(int(number), address, int(port)))
    await asyncio.gather(*targets)


if __name__ == "__main__":
    asyncio.run(main())
