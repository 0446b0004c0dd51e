"""Several servers of one database, a real PostgreSQL, on one data folder: processes of one host."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from faults.switchboard import LAUNCHER, SCOPES, Switchboard
from faults.torture import aftermath
from faults.torture.victims import Victim
from tests.postgres import PostgresServer
from tests.sandboxed import Sandbox
from tests.served import SWITCHBOARD, Served, free_port

START_SECONDS = 90.0
"""Many start at once."""


@asynccontextmanager
async def postgres() -> AsyncIterator[PostgresServer]:
    """Its driver has a loop of its own, so it is started and asked from threads."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    running = PostgresServer.running(folder)
    server = await asyncio.to_thread(running.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(running.__exit__, *sys.exc_info())
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def database(server: PostgresServer) -> AsyncIterator[str]:
    """The URL of one that is empty and goes at the end."""
    made = server.database()
    url = await asyncio.to_thread(made.__enter__)
    try:
        yield url
    finally:
        await asyncio.to_thread(made.__exit__, *sys.exc_info())


async def prepared(folder: Path, url: str, count: int, *, hands: bool) -> list[Switchboard]:
    """So many that are yet to be started, with one key; with `hands` each has one and writes down its steps."""
    data = folder / "data"
    first = Served(data, 0, folder / "0.log")
    scopes = [f"--scope={scope}" for scope in SCOPES]
    key = await asyncio.to_thread(first.cli, "key", "create", "torture", *scopes, "--database-url", url)
    made = []
    for number in range(count):
        hand = folder / f"hand{number}" if hands else None
        held = (*LAUNCHER, "--hand", str(hand), "--steps", str(folder / f"steps{number}"))
        command = (*(held if hands else (*SWITCHBOARD, "serve")), "--database-url", url)
        log = folder / f"{number}.log"
        made.append(Switchboard(data, free_port(), log, key, command, controlled=hands, hand=hand))
    return made


@asynccontextmanager
async def up(servers: Sequence[Switchboard]) -> AsyncIterator[None]:
    """All of them run inside; each ends in order, or says in `ended_badly` that it did not."""
    try:
        for server in servers:
            server.spawn()
        await asyncio.gather(*(asyncio.to_thread(server.wait_until_ready, START_SECONDS) for server in servers))
        yield
    finally:
        await asyncio.gather(*(server.end() for server in servers))


async def left_by(
    servers: Sequence[Switchboard], url: str, victims: Sequence[Victim], sandbox: Sandbox, kept: Sequence[str] = ()
) -> list[str]:
    """What is wrong with what they leave; `kept` are events that may be in their logs."""
    data = servers[0].data
    found = await aftermath.looked_over(data, [victim.kept for victim in victims], database_url=url)
    found += [said for one in servers for said in one.surprises(kept)]
    files = [*aftermath.files_of(data), *(one.log for one in servers)]
    return found + await asyncio.to_thread(aftermath.in_clear, sandbox.server, files)
