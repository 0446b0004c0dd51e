"""A name server for A records over UDP (RFC 1035), and the client that asks it in place of the system's."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

SERVFAIL, NXDOMAIN = 2, 3
WAIT_SECONDS = 5.0
Says = Sequence[str] | int | None
"""Addresses, a response code, or None for no answer at all."""


def question(name: str, id_: int) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode("ascii") for label in name.rstrip(".").split("."))
    return struct.pack("!6H", id_, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def name_in(query: bytes) -> tuple[str, int]:
    """The name that is asked for, and where the question ends."""
    labels, at = [], 12
    while size := query[at]:
        labels.append(query[at + 1 : at + 1 + size].decode("ascii"))
        at += 1 + size
    return ".".join(labels), at + 5


def reply(query: bytes, says: Sequence[str] | int) -> bytes:
    """The addresses with a time to live of 0, or a response code."""
    code, addresses = (says, ()) if isinstance(says, int) else (0, says)
    _, end = name_in(query)
    (id_,) = struct.unpack("!H", query[:2])
    head = struct.pack("!6H", id_, 0x8180 | code, 1, len(addresses), 0, 0)
    records = (struct.pack("!3HIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(address) for address in addresses)
    return head + query[12:end] + b"".join(records)


def addresses_in(answer: bytes) -> list[str]:
    """Raises OSError for an answer that says there are none."""
    _, flags, _, count, _, _ = struct.unpack("!6H", answer[:12])
    if flags & 0x000F or not count:
        raise OSError(f"the name server says {flags & 0x000F}")
    _, at = name_in(answer)
    return [socket.inet_ntoa(answer[at + 16 * n + 12 : at + 16 * n + 16]) for n in range(count)]


class NameServer(asyncio.DatagramProtocol):
    """Answers what `says` gives for a name and how often that was asked for before; `asked` counts."""

    def __init__(self, says: Callable[[str, int], Says]) -> None:
        self.says = says
        self.asked: dict[str, int] = {}
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["NameServer"]:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = transport.get_extra_info("sockname")[1]
        try:
            yield self
        finally:
            transport.close()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, query: bytes, whom: Any) -> None:
        name, _ = name_in(query)
        before = self.asked.get(name, 0)
        self.asked[name] = before + 1
        says = self.says(name, before)
        if says is not None:
            self.transport.sendto(reply(query, says), whom)


class Resolver(AbstractResolver):
    """Asks the name server on a port of loopback."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError for a name without addresses, or when no answer comes."""
        found = await self.look_up(host)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in found
        ]

    async def look_up(self, name: str) -> list[str]:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[bytes] = loop.create_future()

        class Asking(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, whom: Any) -> None:
                if not answered.done():
                    answered.set_result(data)

        transport, _ = await loop.create_datagram_endpoint(Asking, remote_addr=("127.0.0.1", self.port))
        try:
            transport.sendto(question(name, random.randrange(65536)))
            async with asyncio.timeout(WAIT_SECONDS):
                return addresses_in(await answered)
        finally:
            transport.close()

    async def close(self) -> None:
        """Holds nothing open."""
