"""Many callers at each of several processes on one database, while the access token expires every second.

The provider takes no refresh token twice: a second use ends the family, and every call fails from then on. So each
generation must cost one token request over all processes, and no caller may see anything of it.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from faults.harness import Bench
from faults.switchboard import Switchboard
from faults.torture import aftermath, neighbours
from faults.torture.victims import ask
from quart_app.sandbox import DEMO
from tests.postgres import PostgresServer
from tests.served import free_port

PROCESSES = 4
CALLERS = 200
SECONDS = 60.0
ACCESS_SECONDS = 1
PAUSE_SECONDS = 8.0
"""Between the calls of one caller, on average."""

CONCURRENCY = 16
"""Of the connection, in each process: calls that wait for the provider's API do not carry an old token meanwhile."""

SLOWEST_SECONDS = 60.0
START_SECONDS = 20.0


@dataclass
class Rush:
    """What came of it. `said` counts answers that were not what a caller wanted."""

    calls: int = 0
    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)
    stats: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> dict[str, Any]:
        found: dict[str, Any] = self.stats["families"][0]
        return found

    @property
    def requests_per_generation(self) -> float:
        requests: dict[str, int] = self.family["requests"]
        return sum(requests.values()) / len(requests)


async def rush(
    bench: Bench,
    server: PostgresServer,
    *,
    seconds: float = SECONDS,
    callers: int = CALLERS,
    processes: int = PROCESSES,
) -> Rush:
    """So many callers at each process for so long."""
    rushed = Rush()
    async with neighbours.database(server) as url, provider() as base:
        servers = await neighbours.prepared(bench.folder, url, processes, hands=False)
        async with neighbours.up(servers):
            await connect(servers[0], base)
            began = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for one in servers:
                    group.create_task(call_for(rushed, one, seconds, callers, Random(bench.random.random())))
            rushed.seconds = time.monotonic() - began
        rushed.stats = await stats(base)
        bench.ran(rushed.calls)
        judge(bench, rushed, seconds)
        for said in await left_by(bench, url, rushed, servers):
            bench.check(False, said)
    return rushed


@asynccontextmanager
async def provider() -> AsyncIterator[str]:
    """The package's sandbox as a process of its own, and where it is."""
    bind = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "quart_app.sandbox", "--bind", bind, "--access-seconds", str(ACCESS_SECONDS)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(START_SECONDS):
            await listening(int(bind.rpartition(":")[2]))
        yield f"http://{bind}"
    finally:
        process.terminate()
        await process.wait()


async def listening(port: int) -> None:
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)


async def connect(switchboard: Switchboard, base: str) -> None:
    auth = {"scheme": "oauth2", "grant": "refresh_token", "token_url": f"{base}/oauth/token"}
    auth |= {"client_id": DEMO.client_id, "client_secret": DEMO.client_secret, "refresh_token": DEMO.refresh_token}
    policy = {"allow_private": True, "concurrency": CONCURRENCY}
    form = {"name": "items", "base_url": f"{base}/v1", "auth": auth, "policy": policy}
    status, answer = await ask(switchboard, "POST", "/api/connections", form)
    assert status == 201, answer


async def call_for(rushed: Rush, switchboard: Switchboard, seconds: float, callers: int, chance: Random) -> None:
    """All callers of one process, each on a connection of its own, until the time is over."""
    until = time.monotonic() + seconds
    headers = {"Authorization": f"Bearer {switchboard.key}"}
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=SLOWEST_SECONDS)
    session = aiohttp.ClientSession(switchboard.url, headers=headers, connector=connector, timeout=timeout)
    async with session, asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(keep_calling(rushed, session, until, Random(chance.random())))


async def keep_calling(rushed: Rush, session: aiohttp.ClientSession, until: float, chance: Random) -> None:
    await asyncio.sleep(chance.uniform(0, PAUSE_SECONDS))
    while time.monotonic() < until:
        began = time.monotonic()
        said = await outcome(session)
        rushed.waits.append(time.monotonic() - began)
        rushed.calls += 1
        if said:
            rushed.said[said] += 1
        await asyncio.sleep(chance.uniform(0, 2 * PAUSE_SECONDS))


async def outcome(session: aiohttp.ClientSession) -> str:
    """Empty for what a caller wants; else what it has to see."""
    try:
        async with session.get("/proxy/items/whoami") as answer:
            content = await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__
    if answer.status == 200 and json.loads(content)["scheme"] == "bearer":
        return ""
    return f"{answer.status} {content[:200].decode(errors='replace')}"


async def stats(base: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{base}/oauth/stats") as answer:
        found: dict[str, Any] = await answer.json()
    return found


def judge(bench: Bench, rushed: Rush, seconds: float) -> None:
    for said, count in rushed.said.most_common():
        bench.check(False, f"{count} callers saw {said}")
    family, requests = rushed.family, rushed.family["requests"]
    twice = {generation: count for generation, count in requests.items() if count != 1}
    bench.check(not twice, f"token requests for a generation: {twice}")
    bench.check(family["revoked"] is None, f"the family is revoked: {family['revoked']}")
    bench.check(rushed.stats["reuse_detections"] == 0, f"{rushed.stats['reuse_detections']} reuse detections")
    least = seconds / ACCESS_SECONDS / 2
    bench.check(family["generation"] >= least, f"only {family['generation']} generations in {seconds:.0f} s")
    bench.check(rushed.calls >= seconds, f"only {rushed.calls} calls")


async def left_by(bench: Bench, url: str, rushed: Rush, servers: list[Switchboard]) -> list[str]:
    data = bench.folder / "data"
    kept = aftermath.Kept("items", rushed.family["generation"])
    found = await aftermath.looked_over(data, [kept], database_url=url)
    for one in servers:
        found += one.surprises()
    files = [*aftermath.files_of(data), *(one.log for one in servers)]
    return found + [
        f"a secret is in clear in {path.name}" for path in files if aftermath.holds(path.read_bytes(), set())
    ]
