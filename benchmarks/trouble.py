"""What Switchboard does when an API is in trouble: storms, a neighbour that hangs, bombs. Writes its part of the page.

Each figure is measured on a server started anew, against a real upstream on loopback that misbehaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import brotli
import sections
from lineup import LINEUP, Server
from process import end_on_sigterm, free_port, raise_open_files, running, scratch_folder, wait_ready

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HERE = Path(__file__).resolve().parent
BOMB_BYTES = 1024**3
PIECE = bytes(1024**2)
CALLERS = 64
STORM_SECONDS = 8.0
Figure = tuple[str, str, str, bool]  # what, target, reached, met


@dataclass
class Seen:
    """What callers saw: how many answers of each code, and when the first of each came."""

    codes: Counter[str] = field(default_factory=Counter)
    first: dict[str, float] = field(default_factory=dict)

    def note(self, code: str) -> None:
        """One more answer."""
        self.codes[code] += 1
        self.first.setdefault(code, time.monotonic())


def main() -> int:
    """Measure, print, write; 1 if a target was missed."""
    end_on_sigterm()
    raise_open_files()
    figures: list[Figure] = []
    with scratch_folder() as scratch:
        bombs = make_bombs(scratch / "bombs")
        for number, work in enumerate((storm, bad_patch, neighbour)):
            with stormy(scratch, bombs) as port, LINEUP[-1].serving(port, scratch / f"{number}") as server:
                figures += asyncio.run(work(server, port))
        for coding in sorted(file.name for file in bombs.iterdir()):
            with stormy(scratch, bombs) as port, LINEUP[-1].serving(port, scratch / coding) as server:
                figures += asyncio.run(bomb(server, coding))
    text = page(figures)
    print(text)
    sections.write("trouble", text)
    return 0 if all(met for *_, met in figures) else 1


def make_bombs(folder: Path) -> Path:
    """A gigabyte of zeros in each coding, made piece by piece."""
    folder.mkdir()
    gzip_machine = zlib.compressobj(9, wbits=31)
    brotli_machine = brotli.Compressor(quality=5)
    zstd_machine = zstd.ZstdCompressor()
    made = {"gzip": bytearray(), "br": bytearray(), "zstd": bytearray()}
    for _ in range(BOMB_BYTES // len(PIECE)):
        made["gzip"] += gzip_machine.compress(PIECE)
        made["br"] += brotli_machine.process(PIECE)
        made["zstd"] += zstd_machine.compress(PIECE)
    made["gzip"] += gzip_machine.flush()
    made["br"] += brotli_machine.finish()
    made["zstd"] += zstd_machine.flush()
    for coding, body in made.items():
        (folder / coding).write_bytes(body)
    return folder


@contextlib.contextmanager
def stormy(scratch: Path, bombs: Path) -> Iterator[int]:
    """The API in trouble, on a port of its own."""
    port = free_port()
    command = [sys.executable, HERE / "stormy_upstream.py", str(port), bombs]
    with running(command, log=scratch / f"stormy-{port}.log") as child:
        wait_ready(child, f"http://127.0.0.1:{port}/counts")
        yield port


@contextlib.asynccontextmanager
async def caller(server: Server) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the server with room for many connections."""
    base = f"http://127.0.0.1:{server.port}"
    timeout = aiohttp.ClientTimeout(total=30)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(base, headers=server.headers, timeout=timeout, connector=connector) as session:
        yield session


async def load(server: Server, path: str, *, callers: int, seconds: float) -> Seen:
    """`callers` who ask again and again; a code is the status, or the app's own word for a refusal."""
    seen, until = Seen(), time.monotonic() + seconds

    async def work(session: aiohttp.ClientSession) -> None:
        while time.monotonic() < until:
            async with session.get(server.prefix + path) as answer:
                body = await answer.read()
                own = answer.headers.get("X-Switchboard-Source") == "gateway"
                seen.note(json.loads(body)["code"] if own else str(answer.status))

    async with caller(server) as session, asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(work(session))
    return seen


async def counts(port: int) -> tuple[int, list[float]]:
    """How many requests the upstream saw, and when it failed the first hundred."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/counts") as answer:
        told = await answer.json()
    return told["seen"], told["failures"]


async def storm(server: Server, port: int) -> list[Figure]:
    """Every answer is 503: the breaker opens, and hardly anything is sent."""
    seen = await load(server, "/storm", callers=CALLERS, seconds=STORM_SECONDS)
    sent, failures = await counts(port)
    calls = seen.codes.total()
    opened = seen.first.get("circuit_open", float("inf")) - failures[19]
    return [
        (f"503 storm, {calls:,} calls: requests sent for each", "≤ 1.2", f"{sent / calls:.3f}", sent <= 1.2 * calls),
        ("503 storm: breaker open after its threshold", "≤ 2 s", f"{opened * 1000:.0f} ms", opened <= 2),
    ]


async def bad_patch(server: Server, port: int) -> list[Figure]:
    """Some 25 % fail, too few for the breaker: the retry budget keeps the storm small."""
    seen = await load(server, "/half", callers=CALLERS, seconds=STORM_SECONDS)
    sent, _ = await counts(port)
    tried = seen.codes.total() - seen.codes["circuit_open"]
    ratio = sent / max(1, tried)
    return [(f"25 % of answers 503, {tried:,} calls: requests sent for each", "≤ 1.2", f"{ratio:.3f}", ratio <= 1.2)]


async def neighbour(server: Server, port: int) -> list[Figure]:
    """500 callers hang on one connection; what another one's calls take, beside what they take alone."""
    await add_connection(server, "other", port)
    alone = await latencies(server)
    async with caller(server) as session:
        hanging = [asyncio.create_task(read(session, server.prefix + "/hang")) for _ in range(500)]
        await asyncio.sleep(1)
        beside = await latencies(server)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
    ratio = beside / alone
    return [
        ("a neighbour hangs with 500 callers: p99 of another connection, times alone", "< 2", f"{ratio:.2f}", ratio < 2)
    ]


async def add_connection(server: Server, name: str, port: int) -> None:
    """One more connection to the same upstream."""
    form = {"name": name, "base_url": f"http://127.0.0.1:{port}", "policy": {"allow_private": True}}
    async with caller(server) as session, session.post("/api/connections", json=form) as answer:
        answer.raise_for_status()


async def read(session: aiohttp.ClientSession, path: str) -> None:
    async with session.get(path) as answer:
        await answer.read()


async def latencies(server: Server) -> float:
    """The p99 of 3,000 calls by eight callers, in seconds."""
    taken: list[float] = []

    async def work(session: aiohttp.ClientSession) -> None:
        for _ in range(375):
            began = time.perf_counter()
            await read(session, "/proxy/other/fine")
            taken.append(time.perf_counter() - began)

    async with caller(server) as session, asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(work(session))
    return statistics.quantiles(taken, n=100)[98]


async def bomb(server: Server, coding: str) -> list[Figure]:
    """A gigabyte in a small body, asked for through the API, which looks into it, while others wait for an answer."""
    async with caller(server) as session:
        for _ in range(20):
            await read(session, server.prefix + "/fine")
        before, stalls = server.child.peak_mb(), [0.0]
        pinging = asyncio.create_task(ping(session, stalls))
        call = {"connection": "bench", "path": f"/{coding}"}
        async with session.post("/api/calls", json=call) as answer:
            told = await answer.json()
        await asyncio.sleep(0.5)
        pinging.cancel()
    grown, stall = server.child.peak_mb() - before, max(stalls)
    body = told["response"]["body"]
    assert body["truncated"], "the bomb was not looked into"
    return [
        (f"{coding} bomb of 1 GiB: memory", "≤ 32 MiB", f"{grown / 1.048576:.1f} MiB", grown <= 32 * 1.048576),
        (
            f"{coding} bomb of 1 GiB: longest wait for /healthz meanwhile",
            "≤ 50 ms",
            f"{stall * 1000:.0f} ms",
            stall <= 0.05,
        ),
    ]


async def ping(session: aiohttp.ClientSession, stalls: list[float]) -> None:
    """Asks for /healthz all the time; its longest answer is the loop's longest stall."""
    while True:
        began = time.perf_counter()
        await read(session, "/healthz")
        stalls.append(time.perf_counter() - began)
        await asyncio.sleep(0.002)


def page(figures: list[Figure]) -> str:
    """The section of docs/benchmarks.md."""
    head = "| | target | reached | met |\n| --- | ---: | ---: | ---: |"
    rows = [
        f"| {what} | {target} | {reached} | {'yes' if met else '**no**'} |" for what, target, reached, met in figures
    ]
    text = (
        "## When an API is in trouble\n\nWritten by `make bench-trouble`: a real upstream on loopback fails, hangs or\n"
        "answers with a bomb, while 64 callers ask. Requests are counted at the upstream."
    )
    return "\n".join((text, "", head, *rows))


if __name__ == "__main__":
    sys.exit(main())
