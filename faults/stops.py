"""A stop in the middle of a token refresh (6)."""

import asyncio
import sqlite3
import time
from contextlib import closing, suppress

from faults.grants import Grant, sign_in
from faults.harness import Bench, fault
from faults.load import call, eventually
from faults.switchboard import Switchboard
from tests.sandboxed import serving_sandbox
from tests.wire import Wire

ANSWER_SECONDS, TERM_SECONDS = 8, 1.0
LOST_SECONDS = 2
TOKEN_SECONDS, LONGEST_SECONDS = 30.0, 90.0
SLACK_SECONDS = 4.0
KINDS = ("a call", "a call that is left", "a person", "a call, whose first answer is lost")
TIMES = 2


@fault(
    "6",
    f"SIGTERM during token refreshes that take {ANSWER_SECONDS} s",
    invariant="each refresh ends and is stored before the process does; exit code 0; the next start uses the new token "
    "without asking for another",
    figure="lost rotations",
    unit="tokens",
    note=f"The provider has rotated when the signal comes, after {TERM_SECONDS:g} s, and answers later. One answer in "
    "four is lost then, and asked for again within the provider's grace while the process ends. Another server waits "
    "for an answer that never comes, which ends with the 30 s that a token request has.",
    waits=True,
)
async def stopped_during_refreshes(bench: Bench) -> None:
    await asyncio.gather(answered_later(bench), never_answered(bench))


async def answered_later(bench: Bench) -> None:
    async with serving_sandbox() as sandbox, bench.serving() as switchboard:
        kinds = list(KINDS) * TIMES
        bench.random.shuffle(kinds)
        grants = [
            await sign_in(switchboard, sandbox, f"c{n}", access_seconds=3600, grace_seconds=60 if "lost" in kind else 0)
            for n, kind in enumerate(kinds)
        ]
        asking = [asyncio.create_task(begin(grant, kind)) for grant, kind in zip(grants, kinds, strict=True)]
        dialled = await eventually(lambda: all(grant.dials for grant in grants), 10)
        bench.check(dialled is not None, "not every refresh was begun")
        await asyncio.sleep(TERM_SECONDS)
        began = time.monotonic()
        code = await asyncio.to_thread(switchboard.stop)
        took = time.monotonic() - began
        bench.check(code == 0, f"exit code {code}")
        bench.check(took <= ANSWER_SECONDS + SLACK_SECONDS, f"the stop took {took:.1f} s")
        bench.remark(f"It ended {took:.1f} s after the signal.")
        await asyncio.gather(*asking)
        stored = stored_generations(switchboard)
        await asyncio.to_thread(switchboard.start)
        lost = 0
        for grant, kind in zip(grants, kinds, strict=True):
            bench.check(stored.get(grant.name) == 1, f"{kind}: generation {stored.get(grant.name)} was stored")
            lost += not await survived(bench, grant, kind)
        bench.figure(lost)


async def never_answered(bench: Bench) -> None:
    """The stop waits for the one token request that is on its way, and for no other."""
    async with serving_sandbox() as sandbox, bench.serving() as switchboard:
        grant = await sign_in(switchboard, sandbox, "silent", access_seconds=3600)
        grant.trick(ends="never", times=None)
        asking = asyncio.create_task(begin(grant, "a call that is left"))
        bench.check(await eventually(lambda: grant.dials, 10) is not None, "no refresh was begun")
        await asking
        began = time.monotonic()
        process = switchboard.process
        assert process is not None
        process.terminate()
        code = await asyncio.to_thread(process.wait, LONGEST_SECONDS)
        took = time.monotonic() - began
        bench.ran()
        in_time = took <= TOKEN_SECONDS + SLACK_SECONDS
        bench.check((code, grant.dials, in_time) == (0, 1, True), f"never: {code}, {grant.dials} dials, {took:.1f} s")
        grant.behave()
        await asyncio.to_thread(switchboard.start)
        bench.check(await grant.is_whole(), f"never: it does not work afterwards: {await grant.state()}")


async def begin(grant: Grant, kind: str) -> None:
    """Begins a refresh and waits for its outcome, or leaves."""
    if "lost" in kind:
        grant.trick("lost_answer", answer_delay_seconds=LOST_SECONDS)
    grant.trick(answer_delay_seconds=ANSWER_SECONDS)
    if "left" in kind:
        async with Wire.to(grant.switchboard.port, grant.switchboard.key) as wire:
            await wire.send(wire.head("GET", f"/proxy/{grant.name}/whoami"))
            await asyncio.sleep(TERM_SECONDS / 2)
    elif "person" in kind:
        with suppress(OSError):  # who waits too long is cut off
            await grant.refresh()
    else:
        await call(grant.switchboard, f"{grant.name}/whoami")


def stored_generations(switchboard: Switchboard) -> dict[str, int]:
    """What an ended server has in its database."""
    query = "SELECT name, generation FROM tokens JOIN connections ON connections.id = connection_id"
    with closing(sqlite3.connect(switchboard.data / "switchboard.db")) as database:
        return dict(database.execute(query).fetchall())


async def survived(bench: Bench, grant: Grant, kind: str) -> bool:
    before = grant.dials
    bench.ran()
    status = await grant.call()
    bench.check(before == (2 if "lost" in kind else 1), f"{kind}: {before} token requests")
    bench.check((status, grant.dials - before) == (200, 0), f"{kind}: {status}, {grant.dials - before} token requests")
    whole = await grant.is_whole()
    return bench.check(whole, f"{kind}: lost; the family: {grant.family.revoked}, state {await grant.state()}")
