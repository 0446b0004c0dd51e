"""Name servers of the tests: real resolvers of the library's own kind, which say what a test wants."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult


class Answers(AbstractResolver):
    """Answers each question with the next list of addresses, the last one again and again; `asked` counts."""

    def __init__(self, *answers: Sequence[str], seconds: float = 0) -> None:
        self.answers = answers
        self.seconds = seconds
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        await asyncio.sleep(self.seconds)
        return [
            {"hostname": host, "host": address, "port": port, "family": family_of(address), "proto": 0, "flags": 0}
            for address in answer
        ]

    async def close(self) -> None:
        pass


class Refuses(Answers):
    """Fails as a name server does that does not know the name, or has trouble of its own."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        self.asked += 1
        raise OSError(None, "SERVFAIL")


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
