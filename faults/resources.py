"""A process that runs out of file descriptors, of memory, or whose loop stands still (27, 39, 40)."""

import asyncio
import json
import re
import resource
import socket
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from faults.fakes import OK, Asked, Peer, answer, fake
from faults.harness import Bench, fault
from faults.load import call
from faults.switchboard import Switchboard
from tests.wire import Wire

MIB = 1024**2

# 27

DESCRIPTORS = 64
FLOOD = 200
FLOOD_SECONDS = 3.0
RECOVER_SECONDS = 5.0
MOST_LINES = 100


async def keep_answering(asked: Asked, peer: Peer) -> None:
    await peer.send(answer(b"hi"))


@fault(
    "27",
    f"A flood of {FLOOD} connections on {DESCRIPTORS} file descriptors",
    invariant="answers again within 5 s of the flood's end; ≤ 100 lines of log a second; "
    "calls go out and the database is written also during it",
    figure="seconds from the end of the flood to an answered and recorded call",
    unit="s",
)
async def file_descriptors_run_out(bench: Bench) -> None:
    prefix = ("prlimit", f"--nofile={DESCRIPTORS}", "--")
    async with fake(keep_answering) as upstream, bench.serving(prefix=prefix) as switchboard:
        name = await switchboard.connect("api", upstream.url)
        await call(switchboard, f"{name}/")
        for turn in range(4):
            before = lines_in(switchboard.log)
            during = await flooded(bench, switchboard, name, turn)
            began = time.monotonic()
            ended = await eventually_called(switchboard, f"{name}/", 10)
            status, _ = await switchboard.ask("PATCH", f"/api/connections/{name}", {"title": f"After flood {turn}"})
            took = time.monotonic() - began
            bench.ran()
            bench.sample(took)
            bench.check(ended and took <= RECOVER_SECONDS, f"recovered after {took:.1f} s")
            bench.check(status == 200, f"the database could not be written: {status}")
            lines = (lines_in(switchboard.log) - before) / (FLOOD_SECONDS + took)
            bench.check(lines <= MOST_LINES, f"{lines:.0f} lines of log a second")
            bench.check(during, "nobody was answered during the flood")
        bench.remark(f"The log has {lines_in(switchboard.log)} lines after {bench.finding.runs} floods.")


def lines_in(log: Path) -> int:
    return log.read_bytes().count(b"\n")


async def flooded(bench: Bench, switchboard: Switchboard, name: str, turn: int) -> int:
    """Holds the flood; how many calls of a caller that comes again and again were answered meanwhile."""
    socks = [socket.socket() for _ in range(FLOOD)]
    answered = 0
    try:
        for sock in socks:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", switchboard.port))
            if turn % 2:
                await asyncio.sleep(0.002)
        until = time.monotonic() + FLOOD_SECONDS
        while time.monotonic() < until:
            try:
                async with asyncio.timeout(1):
                    answered += (await call(switchboard, f"{name}/")).status == 200
            except (TimeoutError, OSError):
                pass
            await asyncio.sleep(0.05)
    finally:
        for sock in socks:
            sock.close()
    return answered


async def eventually_called(switchboard: Switchboard, target: str, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            async with asyncio.timeout(1):
                if (await call(switchboard, target)).status == 200:
                    return True
        except (TimeoutError, OSError):
            await asyncio.sleep(0.05)
    return False


# 39

LIMIT_MIB = 512
GREEDY = 64
ANSWER_BYTES = 18 * MIB


@fault(
    "39",
    f"Memory runs out: an address space of {LIMIT_MIB} MiB, {GREEDY} buffered answers of 18 MiB at once",
    invariant="each caller has an answer or a 5xx problem; the process lives on, or it starts again clean",
    figure="calls that were turned away",
    unit="calls",
    note="The limit (RLIMIT_AS) is set on the running process. Nothing is shed before memory runs out: what then fails "
    "is a 503 `out_of_memory`, and all that want memory at that time fail together.",
)
async def memory_runs_out(bench: Bench) -> None:
    async def large(asked: Asked, peer: Peer) -> None:
        await peer.send(OK + b"Content-Length: %d\r\nContent-Type: text/plain\r\n\r\n" % ANSWER_BYTES)
        for _ in range(ANSWER_BYTES // MIB):
            await peer.send(b"x" * MIB)

    async with (
        fake(large) as upstream,
        fake(keep_answering) as small,
        bench.serving(kept=("MemoryError",)) as switchboard,
    ):
        name = await switchboard.connect("api", upstream.url, policy={"concurrency": GREEDY, "attempts": 1})
        other = await switchboard.connect("small", small.url)
        held = switchboard.seen.memory_info().vms / MIB
        resource.prlimit(switchboard.seen.pid, resource.RLIMIT_AS, (LIMIT_MIB * MIB, LIMIT_MIB * MIB))
        outcomes = await asyncio.gather(*(greedy(switchboard, name) for _ in range(GREEDY)))
        bench.ran(GREEDY)
        alive = switchboard.process is not None and switchboard.process.poll() is None
        turned_away = sum(kind != "done" for kind in outcomes)
        bench.figure(turned_away)
        told = ", ".join(f"{outcomes.count(kind)} {kind}" for kind in sorted(set(outcomes)))
        lived = "it lived on" if alive else "it ended"
        bench.remark(f"It had {held:.0f} MiB of address space before. Outcomes: {told}; {lived}.")
        if not alive:
            switchboard.process = None
            await asyncio.to_thread(switchboard.start)
        else:
            bench.check("nothing" not in outcomes, f"alive, but some were not answered: {told}")
        wrong = [
            kind
            for kind in outcomes
            if kind.startswith("HTTP") or kind in ("internal_error", "protocol_error", "reset")
        ]
        bench.check(not wrong, f"answers that do not say what it is: {told}")
        ended = await eventually_called(switchboard, f"{other}/", 5)
        bench.check(ended, "a small call fails 5 s later")
        status, body = await switchboard.ask("GET", "/readyz")
        bench.check(status == 200, f"not ready afterwards: {body}")


async def greedy(switchboard: Switchboard, name: str) -> str:
    """How a buffered call ended: its state and reason, the code of a problem, or nothing."""
    body = json.dumps({"connection": name, "path": "/"}).encode()
    try:
        async with Wire.to(switchboard.port, switchboard.key) as wire, asyncio.timeout(60):
            said = ["Content-Type: application/json", f"Content-Length: {len(body)}"]
            await wire.send(wire.head("POST", "/api/calls", said) + body)
            content = await wire.reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"content-length: (\d+)", content.lower())
            answered = await wire.reader.readexactly(int(size[1]) if size else 0)
    except (OSError, EOFError, TimeoutError):
        return "nothing"
    status = int(content.split()[1])
    if status == 201:
        made = json.loads(answered)
        return str(made["state"] if made["state"] == "done" else made["reason"])
    is_problem = b"application/problem+json" in content and status >= 500
    return str(json.loads(answered)["code"]) if is_problem else f"HTTP {status}"


# 40

BLOCK_SECONDS = 2.0
SHORT_SECONDS, LONG_SECONDS = 1.0, 6.0


@fault(
    "40",
    f"The event loop is blocked for {BLOCK_SECONDS:g} s",
    invariant="the log says so while it stands, with the place; /healthz says so afterwards; a deadline that passed "
    "meanwhile is kept at once, a longer one is not cut short",
    figure="ms from the beginning of the block to the line in the log",
    unit="ms",
)
async def loop_stands_still(bench: Bench) -> None:
    async def late(asked: Asked, peer: Peer) -> None:
        if asked.path == "/never":
            await peer.until_left()
        else:
            await asyncio.sleep(float(asked.path.lstrip("/")))
            await peer.send(answer(b"hi"))

    async with fake(late) as upstream, bench.serving(hand=()) as switchboard:
        name = await switchboard.connect("api", upstream.url)
        for turn in range(2):
            limited = [asyncio.create_task(patient(switchboard, name, "/never", SHORT_SECONDS)) for _ in range(3)]
            longer = [asyncio.create_task(patient(switchboard, name, "/3", LONG_SECONDS)) for _ in range(3)]
            await asyncio.sleep(0.3)
            began = float(await switchboard.do("block", seconds=BLOCK_SECONDS + turn * 0.3))
            over = began + BLOCK_SECONDS + turn * 0.3
            for one in await asyncio.gather(*limited):
                bench.check(one[0] == "total_timeout", f"a deadline that passed: {one[0]}")
                bench.check(0 <= one[1] - over < 0.5, f"kept {one[1] - over:.2f} s after the block")
            for one in await asyncio.gather(*longer):
                bench.check(one[0] is None, f"a longer deadline: {one[0]}")
            bench.ran()
            await noticed(bench, switchboard, began, over)
        well = await eventually_well(switchboard, 14)
        bench.check(well, "/healthz does not get well again")


async def patient(switchboard: Switchboard, name: str, path: str, seconds: float) -> tuple[Any, float]:
    """The reason why a call failed, if it did, and the instant at which it was over."""
    form = {"connection": name, "path": path, "total_seconds": seconds}
    _, made = await switchboard.ask("POST", "/api/calls", form)
    return made["reason"], time.time()


async def noticed(bench: Bench, switchboard: Switchboard, began: float, over: float) -> None:
    """What the log and /healthz say of the block that began and was over at these instants."""
    status, health = await switchboard.ask("GET", "/healthz")
    bench.check((status, health["status"]) == (503, "failing"), f"/healthz: {status} {health}")
    lines = [json.loads(line) for line in switchboard.log.read_text().splitlines() if '"loop_blocked"' in line]
    told = [datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines]
    now = [at for at in told if began <= at <= over + 1]
    if bench.check(now, "the log says nothing"):
        bench.sample((now[0] - began) * 1000)
        bench.check(now[0] <= over, f"the log said so {now[0] - over:.2f} s after the block")
        places = str(lines[told.index(now[0])].get("at"))
        bench.check("block_the_loop" in places, f"the log does not name the place: {places[:200]}")


async def eventually_well(switchboard: Switchboard, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (await switchboard.ask("GET", "/healthz"))[0] == 200:
            return True
        await asyncio.sleep(0.25)
    return False
