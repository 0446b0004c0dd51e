"""Rows 2, 7 and 35 of the list of faults: what `make torture` does at length, in small."""

import asyncio
from random import Random

from faults.harness import Bench, fault, percentile
from faults.steps import LABELS
from faults.torture import crowd, freezes, kills, neighbours
from faults.torture.kills import Tally

# 2

SMALL_GRACES, SMALL_KILLS, AT_ONCE = (0, 5), 2, 2


@fault(
    "2",
    "kill -9 at and around each step of a token exchange, then a restart",
    invariant="no token is lost where the provider takes a spent one again for 5 s; where it does not, only one whose "
    "answer was on its way or in memory",
    figure="tokens lost that need not have been",
    unit="tokens",
    note="A few kills; `make torture` does a thousand.",
)
async def killed_at_steps(bench: Bench) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def cell(label: str, grace_seconds: int, chance: Random) -> Tally:
        async with places:
            return await kills.torture(bench, chance, label, grace_seconds, SMALL_KILLS)

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(cell(label, grace, Random(bench.random.random())))
            for grace in SMALL_GRACES
            for label in LABELS
        ]
    tallies = [task.result() for task in tasks]
    bench.figure(sum(tally.lost_needlessly for tally in tallies))
    cut, lost = (sum(getattr(tally, name).total() for tally in tallies) for name in ("cut", "lost"))
    window = percentile([ms for tally in tallies for ms in tally.rescue_ms], 99)
    bench.remark(f"{cut} exchanges were cut off, {lost} tokens lost where nothing can help it.")
    bench.remark(f"From the answer to the slot it took {window or 0:.2g} ms (p99).")


# 7

SMALL_FREEZES = (("after_send", 0), ("after_rescue", 0), ("after_answer", 60))


@fault(
    "7",
    "A process is stopped (SIGSTOP) in the middle of an exchange for a minute, beyond its lease, and goes on",
    invariant="the other process of the database takes over; the one that wakes up overwrites nothing newer and drops "
    "nothing; no token is lost",
    figure="token requests beyond the first of a generation",
    unit="requests",
    note="On PostgreSQL. One that stood still with the answer in its memory alone leaves the other no choice but to "
    "ask again, which is within the provider's grace here; `make torture` has every step.",
    waits=True,
)
async def stopped_beyond_its_lease(bench: Bench) -> None:
    async with neighbours.postgres() as server, asyncio.TaskGroup() as group:
        tasks = [group.create_task(freezes.freeze(bench, server, *one)) for one in SMALL_FREEZES]
        thaws = [await task for task in tasks]
    bench.figure(sum(thaw.double_dials for thaw in thaws))
    for thaw in thaws:
        if thaw.takeover_seconds is not None:
            bench.remark(f"Stopped {thaw.label}: the other had a token after {thaw.takeover_seconds:.1f} s.")


# 35

SMALL_SECONDS, SMALL_CALLERS = 10.0, 50


@fault(
    "35",
    "Callers at four processes of one database, with access tokens that live for a second",
    invariant="one token request for each generation; the provider never sees a token twice; no caller sees a 401 or "
    "any other failure",
    figure="token requests for each generation",
    unit="requests",
    note=f"On PostgreSQL, {SMALL_CALLERS} callers at each for {SMALL_SECONDS:.0f} s; `make torture` has 200 at each "
    "for a minute.",
)
async def expiring_every_second(bench: Bench) -> None:
    async with neighbours.postgres() as server:
        rushed = await crowd.rush(bench, server, seconds=SMALL_SECONDS, callers=SMALL_CALLERS)
    bench.figure(rushed.requests_per_generation)
    waited = percentile(rushed.waits, 99) or 0.0
    bench.remark(f"{rushed.calls} calls, {rushed.family['generation']} generations; a call took {waited:.2g} s (p99).")
