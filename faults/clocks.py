"""A wall clock that jumps (30)."""

import asyncio

from faults import tokens
from faults.fakes import Asked, Peer, fake
from faults.harness import Bench, fault
from faults.load import call
from faults.switchboard import Switchboard

HOUR, YEAR = 3600.0, 365 * 86400.0
JUMPS = (HOUR, 0.0, YEAR, -YEAR, 0.0, -HOUR, HOUR, 2 * HOUR)
"""Where the clock is after each jump, in seconds from the right time."""
CALLERS = 30
SILENCE_SECONDS = 1.0


@fault(
    "30",
    "The wall clock jumps by an hour and by a year, forth and back, while tokens live",
    invariant="at most one token request for each jump, over all callers; no call fails, no wait is negative, "
    "keys stay good, timeouts do not notice",
    figure="token requests for one jump, at most",
    unit="requests",
    note="The clock is moved inside the server under test, where all of it reads the wall clock for tokens and keys.",
)
async def clock_jumps(bench: Bench) -> None:
    async def api(asked: Asked, peer: Peer) -> None:
        if asked.path == "/never":
            await peer.until_left()
        else:
            await tokens.greet_the_signed_in(asked, peer)

    async with fake(tokens.issuing(api)) as upstream, bench.serving(hand=()) as switchboard:
        policy = {"first_byte_seconds": SILENCE_SECONDS, "concurrency": 100}
        name = await switchboard.connect("api", upstream.url, auth=tokens.auth_of(upstream), policy=policy)
        await call(switchboard, f"{name}/first")
        most = 0
        for seconds in JUMPS:
            before = upstream.count(tokens.AT)
            unanswered = asyncio.create_task(call(switchboard, f"{name}/never"))
            await asyncio.sleep(0.3)
            await switchboard.do("clock", seconds=seconds)
            ended = await asyncio.gather(*(call(switchboard, f"{name}/{n}") for n in range(CALLERS)))
            silent = await unanswered
            bench.ran()
            bench.check(
                all(one.status == 200 for one in ended), f"at {seconds:+.0f} s: {[one.status for one in ended]}"
            )
            said = (silent.status, silent.code, round(silent.seconds, 2))
            in_time = SILENCE_SECONDS <= silent.seconds < SILENCE_SECONDS + 0.3
            bench.check(silent.code == "first_byte_timeout" and in_time, f"at {seconds:+.0f} s silence ended as {said}")
            await asyncio.sleep(0.2)
            dials = upstream.count(tokens.AT) - before
            most = max(most, dials)
            bench.check(dials <= 1, f"at {seconds:+.0f} s: {dials} token requests")
        bench.figure(most)
        await nothing_negative(bench, switchboard, name)


async def nothing_negative(bench: Bench, switchboard: Switchboard, name: str) -> None:
    for one in await switchboard.calls(name):
        times = [one["duration_seconds"], one["waited_seconds"]]
        times += [attempt[what] for attempt in one["attempts"] for what in ("duration_seconds", "waited_seconds")]
        bench.check(all(0 <= (seconds or 0) < 10 for seconds in times), f"times on record: {times}")
