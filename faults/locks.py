"""A database that another process keeps locked (12)."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from faults.fakes import answer, fake
from faults.grants import Grant, sign_in
from faults.harness import Bench, fault, rounded
from faults.load import Steady, call
from faults.storage import ACCESS_SECONDS, answered_and_kept, recovers
from faults.switchboard import Switchboard
from tests.sandboxed import serving_sandbox

LOCK_SECONDS = 30.0
BUSY_SECONDS = 5.0
"""How long a process waits for its turn at most; a change waits for its turn among those of its own process as well."""

SLACK_SECONDS = 2.0
CHANGES = 6
DUE = 2
WAITING = 6
MORE_THREADS = 2
SAID = ("record_failed", "unforeseen")
LOCK = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@fault(
    "12",
    f"Another process keeps the database locked for {LOCK_SECONDS:g} s",
    invariant="reading calls are answered by what is in memory, also with a token that is good yet; an expired token "
    "is `token_unavailable` and nothing is dialled; a change is 503 `storage_busy` within 12 s, however many wait; no "
    "more threads; afterwards all is as before, and all calls are on record",
    figure="how long reading calls took meanwhile",
    unit="s",
    note="The longest are the calls of its first five seconds, which wait for their records to be written as any call "
    "does; from then on nobody waits, and /readyz says so.",
    waits=True,
)
async def database_is_locked(bench: Bench) -> None:
    async with (
        fake(answer(b"hi")) as upstream,
        serving_sandbox() as sandbox,
        bench.serving(kept=SAID) as switchboard,
    ):
        await switchboard.connect("plain", upstream.url)
        live = await sign_in(switchboard, sandbox, "live", access_seconds=3600)
        due = [await sign_in(switchboard, sandbox, f"due{n}", access_seconds=ACCESS_SECONDS) for n in range(DUE)]
        statuses = await asyncio.gather(*(grant.call() for grant in (live, *due)))
        bench.check(set(statuses) == {200}, f"before: {statuses}")
        plain = Steady(switchboard, "plain/", callers=4, a_second=10)
        signed = Steady(switchboard, "live/whoami", callers=2, a_second=4)
        async with locked(switchboard.data / "switchboard.db"), plain.asking(), signed.asking():
            began, threads = time.monotonic(), switchboard.seen.num_threads()
            await asyncio.sleep(ACCESS_SECONDS)
            dials = sum(grant.dials for grant in due)
            await changes_are_refused(bench, switchboard)
            await expired_are_refused(bench, switchboard, due)
            peak = 0.0
            while time.monotonic() - began < LOCK_SECONDS:
                peak = max(peak, await waiting(switchboard))
                await asyncio.sleep(0.5)
            threads = switchboard.seen.num_threads() - threads
            dials = sum(grant.dials for grant in due) - dials
        took = await recovers(bench, switchboard, due)
        ended = [*plain.ended, *signed.ended]
        await answered_and_kept(bench, switchboard, ended)
        bench.ran(len(ended))
        bench.sample(*(one.seconds for one in ended))
        bench.check(dials == 0, f"{dials} token requests")
        bench.check(threads <= MORE_THREADS, f"{threads} threads more")
        bench.remark(f"At most {peak:g} records waited to be written; all was as before {rounded(took)} s afterwards.")
        for grant in (live, *due):
            bench.check(await grant.is_whole(), f"{grant.name}: {await grant.state()}, {grant.family.revoked}")


@asynccontextmanager
async def locked(database: Path) -> AsyncIterator[None]:
    """Another process has the write lock, while the block runs."""
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LOCK, str(database)), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        if await holder.stdout.readline() != b"locked\n":
            raise OSError("the database could not be locked")
        yield
    finally:
        holder.stdin.close()
        await holder.wait()


async def changes_are_refused(bench: Bench, switchboard: Switchboard) -> None:
    """Many at once, of which each is told in time."""

    async def change(number: int) -> tuple[int, str, float]:
        began = time.monotonic()
        status, said = await switchboard.ask("PATCH", "/api/connections/plain", {"title": f"title {number}"})
        return status, said.get("code", ""), time.monotonic() - began

    for status, code, took in await asyncio.gather(*(change(number) for number in range(CHANGES))):
        bench.ran()
        bench.check((status, code) == (503, "storage_busy"), f"a change: {status} {code}")
        bench.check(took <= 2 * BUSY_SECONDS + SLACK_SECONDS, f"a change was refused after {took:.1f} s")


async def expired_are_refused(bench: Bench, switchboard: Switchboard, due: list[Grant]) -> None:
    targets = [f"{grant.name}/whoami" for grant in due for _ in range(WAITING)]
    for ended in await asyncio.gather(*(call(switchboard, target) for target in targets)):
        bench.ran()
        bench.check((ended.code, ended.ours) == ("token_unavailable", True), f"expired: {ended.status} {ended.code}")
        in_time = ended.seconds <= 2 * BUSY_SECONDS + SLACK_SECONDS
        bench.check(in_time, f"an expired token was refused after {ended.seconds:.1f} s")


async def waiting(switchboard: Switchboard) -> float:
    """How many records wait to be written."""
    _, page = await switchboard.ask("GET", "/metrics")
    lines = page.decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("switchboard_recorder_waiting ")))
