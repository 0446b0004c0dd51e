"""How Hypercorn takes client connections in: never so many that the process runs out of descriptors, and cheaply.

Without a bound a flood of them starves the database and the calls going out, which need descriptors as well.
"""

import encodings.idna  # noqa: F401  - else imported by the first name looked up, which may be when no file can be opened
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from hypercorn.asyncio import run as worker
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, Event, RawData

from quart_app.clients import Clients

SHARE = 4
MOST = 4096
MOST_UNSENT_BYTES = 64 * 1024


@contextmanager
def limited(clients: Clients, most: int) -> Iterator[None]:
    """While it runs, this process has at most so many client connections; 0 leaves it to the descriptors there are.

    Hypercorn has no place for this. Its worker makes a `TCPServer` of each connection that it accepts, by that name.
    """
    clients.most = most or min(MOST, descriptors() // SHARE)
    names = vars(worker)
    names["TCPServer"] = partial(CountedServer, clients)
    try:
        yield
    finally:
        names["TCPServer"] = TCPServer
        clients.close()


def descriptors() -> int:
    """How many files this process may have open, after asking for as many as there are to be had."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # some systems say "any number" and mean less
        return soft if soft > 0 else MOST * SHARE
    return hard if hard > 0 else MOST * SHARE


class CountedServer(TCPServer):
    """One client connection, served if there is a place for it.

    What is sent within one turn of the loop leaves together: a head and its body are one write, not two. And idle
    connections are looked for, where Hypercorn makes a task and cancels it for every request. Measured at 64 callers,
    each of the two is a twentieth of what a proxied call costs.
    """

    def __init__(self, clients: Clients, *given: Any) -> None:
        super().__init__(*given)
        self.clients = clients
        # it has what the server uses of that class, and none of its task
        self.idle_task = Idleness(self)  # type: ignore[assignment]
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0

    async def run(self) -> None:
        if not self.clients.opened(self):
            self.cut()
            return
        # the event behind Hypercorn's own, whose `wait` is all that it offers
        self.clients.watch(self.config.keep_alive_timeout, self.context.terminated._event)  # type: ignore[attr-defined]
        try:
            await super().run()
        finally:
            self.clients.ended(self)

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        if not self._unsent:
            self.loop.call_soon(self._write)
        self._unsent.append(event.data)
        self._unsent_bytes += len(event.data)
        if self._unsent_bytes > MOST_UNSENT_BYTES:
            self._write()
        try:
            await self.writer.drain()
        except (ConnectionError, RuntimeError):
            await self.protocol.handle(Closed())

    def _write(self) -> None:
        if self._unsent:
            data = self._unsent[0] if len(self._unsent) == 1 else b"".join(self._unsent)
            self._unsent.clear()
            self._unsent_bytes = 0
            with suppress(ConnectionError, RuntimeError):  # that the client has gone is seen where it is read from
                self.writer.write(data)

    async def _close(self) -> None:
        self._write()
        await super()._close()

    async def _initiate_server_close(self) -> None:
        self._write()
        await super()._initiate_server_close()

    def retire(self) -> None:
        """Ends it in order: it has been idle for too long, or the server stops."""
        self._task_group.spawn(self._initiate_server_close)

    def cut(self) -> None:
        self.writer.transport.abort()


class Idleness:
    """Stands where Hypercorn has the clock of a connection: restarted when it is idle, stopped when it is at work."""

    def __init__(self, server: CountedServer) -> None:
        self.server = server

    async def restart(self, task_group: Any, action: Any) -> None:
        self.server.clients.idle(self.server)
        if self.server.context.terminated.is_set():
            self.server.retire()

    async def stop(self) -> None:
        self.server.clients.busy(self.server)
