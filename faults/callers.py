"""Callers that stop, leave, or lose their right in the middle of a stream (25, 43)."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from faults import tokens
from faults.fakes import CHUNKED, Asked, Fake, Peer, fake
from faults.harness import Bench, fault, rounded
from faults.load import call, eventually
from faults.switchboard import Switchboard
from quart_app.engines import READERS
from tests.wire import Broken, Wire

# 25

STALL_SECONDS = 2
RELEASE_SECONDS = 1.0
TIMES = 6
LARGE = 10 * 1024**2


@dataclass(frozen=True)
class Stage:
    """Where a caller leaves: `begin` brings it there; `reaches` says that the upstream has the call by then."""

    begin: Callable[[Wire, str], Awaitable[None]]
    reaches: bool = True


async def sends_half_a_head(wire: Wire, name: str) -> None:
    await wire.send(wire.head("GET", f"/proxy/{name}/hang")[:-2])


async def sends_part_of_a_small_body(wire: Wire, name: str) -> None:
    await wire.send(wire.head("POST", f"/proxy/{name}/hang", ["Content-Length: 1000"]) + b"x" * 10)


async def uploads(wire: Wire, name: str) -> None:
    await wire.send(wire.head("PUT", f"/proxy/{name}/hang", [f"Content-Length: {LARGE}"]) + b"x" * 100_000)


async def drips_its_upload(wire: Wire, name: str) -> None:
    await wire.send(wire.head("PUT", f"/proxy/{name}/hang", [f"Content-Length: {LARGE}"]))
    for _ in range(5):
        await wire.send(b"x")
        await asyncio.sleep(0.05)


async def waits_for_an_answer(wire: Wire, name: str) -> None:
    await wire.send(wire.head("GET", f"/proxy/{name}/hang"))


async def waits_in_the_api(wire: Wire, name: str) -> None:
    body = json.dumps({"connection": name, "path": "/hang"}).encode()
    said = ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    await wire.send(wire.head("POST", "/api/calls", said) + body)


async def has_the_head(wire: Wire, name: str) -> None:
    await wire.send(wire.head("GET", f"/proxy/{name}/stall"))
    await wire.answer_head()


async def takes_a_stream(wire: Wire, name: str) -> None:
    await wire.send(wire.head("GET", f"/proxy/{name}/drip"))
    answered = await wire.answer_head()
    for _ in range(3):
        await wire.piece(answered)


async def takes_little_of_a_lot(wire: Wire, name: str) -> None:
    await wire.send(wire.head("GET", f"/proxy/{name}/flood"))
    await wire.answer_head()
    await asyncio.sleep(0.3)


STAGES = {
    "in the head": Stage(sends_half_a_head, reaches=False),
    "in a small body": Stage(sends_part_of_a_small_body, reaches=False),
    "in an upload": Stage(uploads),
    "in a dripping upload": Stage(drips_its_upload),
    "before the answer": Stage(waits_for_an_answer),
    "before the answer of the API": Stage(waits_in_the_api),
    "after the head": Stage(has_the_head),
    "in a stream": Stage(takes_a_stream),
    "in a flood it does not read": Stage(takes_little_of_a_lot),
}


async def keep_waiting(asked: Asked, peer: Peer) -> None:
    if asked.path == "/hang":
        await peer.until_left()
        return
    await peer.send(CHUNKED)
    if asked.path == "/stall":
        await peer.until_left()
    size, pause = (1, 0.02) if asked.path == "/drip" else (65536, 0)
    piece = b"%x\r\n" % size + b"x" * size + b"\r\n"
    while True:
        await peer.send(piece)
        await asyncio.sleep(pause)


@fault(
    "25",
    "Callers leave at every stage, or stop reading",
    invariant="place and upstream are let go within 1 s, where one only stops reading within `write_stall_seconds` "
    "+ 1 s; a token refresh goes on; tasks and open files come back to what they were",
    figure="seconds from leaving to the upstream's release",
    unit="s",
    note=f"`write_stall_seconds` is {STALL_SECONDS} instead of 30, to save time.",
)
async def callers_leave(bench: Bench) -> None:
    async with (
        fake(keep_waiting) as upstream,
        bench.serving(f"--write-stall-seconds={STALL_SECONDS}", hand=()) as switchboard,
    ):
        name = await switchboard.connect("api", upstream.url)
        await switchboard.limits(name)
        files, tasks = await switchboard.do("open_files"), await switchboard.do("tasks")
        for kind, stage in STAGES.items():
            for how in ("FIN", "RST"):
                await asyncio.gather(
                    *(leave(bench, switchboard, upstream, name, kind, stage, how) for _ in range(TIMES))
                )
                free = await switchboard.free_within(name, RELEASE_SECONDS)
                bench.check(free is not None, f"{kind} by {how}: places are taken {RELEASE_SECONDS} s after that")
        await stop_reading(bench, switchboard, upstream, name)
        await leave_during_a_refresh(bench, switchboard)
        await came_back(bench, switchboard, files, tasks)


async def leave(
    bench: Bench, switchboard: Switchboard, upstream: Fake, name: str, kind: str, stage: Stage, how: str
) -> None:
    """One caller. All of a stage leave at the same time, and each waits until all are let go."""
    async with Wire.to(switchboard.port, switchboard.key, buffer_bytes=65536) as wire:
        await stage.begin(wire, name)
        await asyncio.sleep(0.3)
        if stage.reaches:
            bench.check(upstream.open, f"{kind}: the upstream has nothing")
        if how == "RST":
            wire.leave()
        else:
            wire.writer.close()
        gone = await eventually(lambda: not upstream.open, 3)
    bench.ran()
    bench.sample(gone if gone is not None else 3.0)
    bench.check(gone is not None and gone <= RELEASE_SECONDS, f"{kind} by {how}: let go after {gone} s")


async def stop_reading(bench: Bench, switchboard: Switchboard, upstream: Fake, name: str) -> None:
    """The caller stays and takes nothing."""
    async with Wire.to(switchboard.port, switchboard.key, buffer_bytes=65536) as wire:
        await wire.send(wire.head("GET", f"/proxy/{name}/flood"))
        await wire.answer_head()
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a socket has it
        gone = await eventually(lambda: not upstream.open, STALL_SECONDS + 3)
    bench.ran()
    most = STALL_SECONDS + RELEASE_SECONDS
    bench.check(gone is not None and STALL_SECONDS / 2 < gone < most, f"stopped reading: let go after {gone} s")
    bench.remark(f"A caller that stopped reading was let go after {rounded(gone)} s.")


async def leave_during_a_refresh(bench: Bench, switchboard: Switchboard) -> None:
    """F1: the first callers leave while the token endpoint takes its time; those who come later use what it gave."""

    async def slowly() -> None:
        await asyncio.sleep(0.6)

    async with fake(tokens.issuing(tokens.greet_the_signed_in, before=slowly)) as upstream:
        name = await switchboard.connect("tokens", upstream.url, auth=tokens.auth_of(upstream))
        for _ in range(5):
            async with Wire.to(switchboard.port, switchboard.key) as wire:
                await wire.send(wire.head("GET", f"/proxy/{name}/first"))
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.8)
        ended = await asyncio.gather(*(call(switchboard, f"{name}/later") for _ in range(5)))
        bench.ran(10)
        bench.check(all(one.status == 200 for one in ended), "after a refresh whose callers left, calls fail")
        dials = upstream.count(tokens.AT)
        bench.check(dials == 1, f"the token endpoint was dialled {dials} times")


SPARE_FILES = 3 + 2 * (READERS - 1)
"""Readers of the database are opened when they are first needed, with two files each, and stay."""


async def came_back(bench: Bench, switchboard: Switchboard, files: int, tasks: dict[str, int]) -> None:
    """I6, within the seconds that kept connections to an upstream may stay open."""
    now, held = tasks, files
    for _ in range(100):
        now, held = await switchboard.do("tasks"), await switchboard.do("open_files")
        if sum(now.values()) <= sum(tasks.values()) + 1 and held <= files + SPARE_FILES:
            return
        await asyncio.sleep(0.2)
    bench.check(False, f"open files {files} → {held}, tasks {tasks} → {now}")


# 43

REVOKED_SECONDS = 5.0


@fault(
    "43",
    "A key is revoked while its streams run",
    invariant="its streams end within 5 s; a new call has 401 at once, within the second in which the "
    "server looks for changes by other processes; streams of other keys go on",
    figure="seconds from the revocation to the end of a stream",
    unit="s",
)
async def key_is_revoked(bench: Bench) -> None:
    async with fake(keep_waiting) as upstream, bench.serving() as switchboard:
        name = await switchboard.connect("api", upstream.url)
        for turn in range(3):
            key = await asyncio.to_thread(
                switchboard.cli, "key", "create", f"doomed{turn}", "--scope=call", "--scope=read"
            )
            await revoke(bench, switchboard, name, key)
        bench.check(await eventually(lambda: not upstream.open, 2) is not None, "an upstream was not let go")


async def revoke(bench: Bench, switchboard: Switchboard, name: str, key: str) -> None:
    found = re.match(r"sb_([0-9a-f]+)_", key)
    assert found is not None
    async with streams(switchboard, name, key) as (own, others):
        revoking = asyncio.create_task(asyncio.to_thread(switchboard.cli, "key", "revoke", found[1]))
        began = time.monotonic()
        await revoking
        done = time.monotonic()
        refused = await eventually_refused(switchboard, name, key)
        ends = await asyncio.gather(*(ended_at(wire, REVOKED_SECONDS + 2) for wire in own))
        bench.ran(len(own))
        bench.check(refused is not None and refused <= 1.5, f"new calls are refused after {refused} s")
        for at, what in zip(ends, ("a stream", "a silent stream", "the events"), strict=True):
            took = None if at is None else max(0.0, at - done)
            bench.sample(took if took is not None else REVOKED_SECONDS + 2)
            bench.check(took is not None and took <= REVOKED_SECONDS, f"{what} ended after {took} s")
            bench.check(at is None or at > began, f"{what} ended before the key was revoked")
        left = [await ended_at(wire, 0.2) for wire in others]
        bench.check(left == [None] * len(left), "a stream of another key ended as well")


@asynccontextmanager
async def streams(switchboard: Switchboard, name: str, key: str) -> AsyncIterator[tuple[list[Wire], list[Wire]]]:
    """Three streams of the key, which are that of an upstream, a silent one and the events; one of another key."""
    async with (
        Wire.to(switchboard.port, key) as running,
        Wire.to(switchboard.port, key) as silent,
        Wire.to(switchboard.port, key) as events,
        Wire.to(switchboard.port, switchboard.key) as other,
    ):
        await running.send(running.head("GET", f"/proxy/{name}/drip"))
        await silent.send(silent.head("GET", f"/proxy/{name}/stall"))
        await events.send(events.head("GET", "/api/events"))
        await other.send(other.head("GET", f"/proxy/{name}/drip"))
        for wire in (running, silent, events, other):
            await wire.answer_head()
        yield [running, silent, events], [other]


async def eventually_refused(switchboard: Switchboard, name: str, key: str) -> float | None:
    began = time.monotonic()
    while time.monotonic() - began < REVOKED_SECONDS:
        async with Wire.to(switchboard.port, key) as wire:
            if (await wire.ask("GET", f"/proxy/{name}-unknown/")).status == 401:
                return time.monotonic() - began
    return None


async def ended_at(wire: Wire, seconds: float) -> float | None:
    """When the other side ends a stream, in order or not; None where it goes on for so long."""
    try:
        async with asyncio.timeout(seconds):
            while (piece := await wire.reader.read(65536)) and not piece.endswith(b"0\r\n\r\n"):
                pass
    except TimeoutError:
        return None
    except (ConnectionError, Broken):
        pass
    return time.monotonic()
