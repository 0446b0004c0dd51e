"""A caller on a bare socket: sends what it is told, byte for byte, and reads answers strictly."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

SECONDS = 10.0


class Broken(Exception):
    """The transfer ended before its end."""


@dataclass
class Answered:
    """An answer's head, and its body once that was read. Header names are in lower case."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


class Wire:
    """One connection to a server on loopback."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        self.reader = reader
        self.writer = writer
        self.key = key

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int, key: str, *, buffer_bytes: int = 0) -> AsyncIterator["Wire"]:
        """Connects; `buffer_bytes` keeps the kernel from taking in more than that on this side."""
        sock = socket.socket()
        sock.setblocking(False)
        if buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except BaseException:
            sock.close()
            raise
        reader, writer = await asyncio.open_connection(sock=sock)
        wire = cls(reader, writer, key)
        try:
            yield wire
        finally:
            wire.leave()

    def leave(self) -> None:
        """Goes away at once, whatever is under way."""
        self.writer.transport.abort()

    def head(self, method: str, target: str, headers: Sequence[str] = ()) -> bytes:
        """A request's head, with Host and the key unless `headers` bring their own."""
        lines = [f"{method} {target} HTTP/1.1", *headers]
        given = {line.partition(":")[0].lower() for line in headers}
        if "host" not in given:
            lines.append("Host: localhost")
        if "authorization" not in given:
            lines.append(f"Authorization: Bearer {self.key}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(SECONDS):
            await self.writer.drain()

    async def ask(self, method: str, target: str, headers: Sequence[str] = (), body: bytes | None = None) -> Answered:
        """Sends a request, its body with a Content-Length, and reads the answer whole."""
        lengths = [] if body is None else [f"Content-Length: {len(body)}"]
        await self.send(self.head(method, target, [*headers, *lengths]) + (body or b""))
        return await self.answer(method)

    async def answer(self, method: str = "GET") -> Answered:
        """The next answer, whole. Raises Broken for one that ends early."""
        answered = await self.answer_head()
        while piece := await self.piece(answered, method):
            answered.body += piece
        return answered

    async def answer_head(self) -> Answered:
        async with asyncio.timeout(SECONDS):
            try:
                text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                raise Broken("no answer") from error
        first, *lines = text.rstrip("\r\n").split("\r\n")
        pairs = [line.partition(":") for line in lines]
        return Answered(int(first.split()[1]), [(name.lower(), value.strip()) for name, _, value in pairs])

    async def piece(self, answered: Answered, method: str = "GET") -> bytes:
        """The next piece of a body, empty at its end. Raises Broken when the connection ends first."""
        if method == "HEAD" or answered.status in (204, 304) or answered.status < 200:
            return b""
        try:
            async with asyncio.timeout(SECONDS):
                if answered.header("transfer-encoding") == "chunked":
                    return await self._chunk()
                length = answered.header("content-length")
                assert length is not None, "neither chunked nor a length"
                return b"" if answered.body or length == "0" else await self.reader.readexactly(int(length))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Broken("in mid-body") from error

    async def _chunk(self) -> bytes:
        size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
        content = await self.reader.readexactly(size + 2)
        assert content[-2:] == b"\r\n"
        return content[:-2]

    async def is_closed(self) -> bool:
        """Whether the other side ends the connection, soon, without a further byte."""
        with suppress(ConnectionError):
            async with asyncio.timeout(SECONDS):
                return await self.reader.read(1) == b""
        return True
