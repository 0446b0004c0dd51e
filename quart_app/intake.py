"""How Hypercorn takes client connections in: never so many that the process runs out of file descriptors.

Without a bound a flood of them starves the database and the calls going out, which need descriptors as well.
"""

import encodings.idna  # noqa: F401  - else imported by the first name looked up, which may be when no file can be opened
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from hypercorn.asyncio import run as worker
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import AsyncioSingleTask

from quart_app.clients import Clients

SHARE = 4
MOST = 4096


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


def descriptors() -> int:
    """How many files this process may have open, after asking for as many as there are to be had."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # some systems say "any number" and mean less
        return soft if soft > 0 else MOST * SHARE
    return hard if hard > 0 else MOST * SHARE


class CountedServer(TCPServer):
    """One client connection, served if there is a place for it."""

    def __init__(self, clients: Clients, *given: Any) -> None:
        super().__init__(*given)
        self.clients = clients
        self.idle_task = Idleness(self)

    async def run(self) -> None:
        if not self.clients.opened(self):
            self.cut()
            return
        try:
            await super().run()
        finally:
            self.clients.ended(self)

    def cut(self) -> None:
        self.writer.transport.abort()


class Idleness(AsyncioSingleTask):
    """Hypercorn's clock of a connection: started when it is idle, stopped when a request has come whole."""

    def __init__(self, server: CountedServer) -> None:
        super().__init__()
        self.server = server

    async def restart(self, task_group: Any, action: Callable[..., Any]) -> None:
        self.server.clients.idle(self.server)
        await super().restart(task_group, action)

    async def stop(self) -> None:
        self.server.clients.busy(self.server)
        await super().stop()
