"""A real outbound proxy on loopback: CONNECT and absolute-form, with a user name and password if it is told one."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit


class TestProxy:
    """`url` is where it is; `heads` what it was asked, `tunnelled` how many bytes went through CONNECT unseen."""

    __test__ = False

    def __init__(self, user: str | None, answer: bytes | None) -> None:
        self.url = ""
        self.heads: list[bytes] = []
        self.tunnelled = 0
        self._user = user
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await self.relay(reader, writer)
        writer.close()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        method, where, _ = head.split(b"\r\n")[0].decode().split(" ")
        if (
            self._user
            and b"proxy-authorization: basic " + base64.b64encode(self._user.encode()).lower() not in head.lower()
        ):
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        if self._answer:
            writer.write(self._answer)
            return
        host, port = self.place(method, where)
        there, back = await asyncio.open_connection(host, port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection Established\r\n\r\n")
        else:
            back.write(head.replace(where.encode(), urlsplit(where).path.encode() or b"/", 1))
        await asyncio.gather(self.pump(reader, back, tunnel=method == "CONNECT"), self.pump(there, writer))

    def place(self, method: str, where: str) -> tuple[str, int]:
        if method == "CONNECT":
            host, _, port = where.rpartition(":")
            return host.strip("[]"), int(port)
        parts = urlsplit(where)
        return str(parts.hostname), parts.port or 80

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tunnel: bool = False) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                self.tunnelled += len(piece) if tunnel else 0
                writer.write(piece)
                await writer.drain()
        with suppress(OSError):
            writer.close()


@asynccontextmanager
async def proxy(*, user: str | None = None, answer: bytes | None = None, tls: Any = None) -> AsyncIterator[TestProxy]:
    """`user` is `name:password`; `answer` is said to every request instead of passing it on."""
    made = TestProxy(user, answer)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
