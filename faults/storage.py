"""A disk that is full: for a while (9), and exactly between a provider's answer and its commit (10)."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path

from faults import disks
from faults.fakes import answer, fake
from faults.grants import Grant, sign_in
from faults.harness import Bench, fault, rounded
from faults.load import Ended, Steady, call
from faults.switchboard import Switchboard
from quart_app import rescue
from tests.sandboxed import Sandbox, serving_sandbox

# 9

FULL_SECONDS = 6.0
ACCESS_SECONDS = 3
RECOVER_SECONDS = 20.0
ROUNDS = 2
DUE = 4
SAID = ("record_failed", "unforeseen")
"""What the log says while nothing can be written."""


@fault(
    "9",
    f"The disk is full for {FULL_SECONDS:g} s under load, while tokens expire",
    invariant="reading calls are answered as before, also with a token that is good yet; what would have to be on "
    "record first is refused with 503 and not sent; /readyz says so; no token request without a durable claim; with "
    "space it recovers by itself, and all calls are on record then",
    figure="seconds from free space to readiness, new tokens and nothing that waits to be written",
    unit="s",
    note=f"A tmpfs of {disks.SIZE_MIB} MiB in a mount namespace of its own, filled to its last byte.",
)
async def disk_is_full(bench: Bench) -> None:
    dials = 0
    async with (
        fake(answer(b"hi")) as upstream,
        serving_sandbox() as sandbox,
        disks.on_small_disk(bench, SAID) as (switchboard, seen),
    ):
        await switchboard.connect("plain", upstream.url)
        live = await sign_in(switchboard, sandbox, "live", access_seconds=3600)
        due = [await sign_in(switchboard, sandbox, f"due{n}", access_seconds=ACCESS_SECONDS) for n in range(DUE)]
        for _ in range(ROUNDS):
            await without_slack(switchboard)
            statuses = await asyncio.gather(*(grant.call() for grant in (live, *due)))
            bench.check(set(statuses) == {200}, f"before: {statuses}")
            disks.fill(seen)
            await asyncio.sleep(1)  # what was claimed before may still be sent
            before = [grant.dials for grant in due]
            plain = Steady(switchboard, "plain/", callers=4, a_second=20)
            signed = Steady(switchboard, "live/whoami", callers=2, a_second=10)
            async with plain.asking(), signed.asking():
                await asyncio.sleep(ACCESS_SECONDS)
                posted = upstream.count("/posted")
                await refused_while_full(bench, switchboard, due)
                bench.check(upstream.count("/posted") == posted, "a call left that is not on record")
                await asyncio.sleep(FULL_SECONDS - ACCESS_SECONDS - 1)
            dials += sum(grant.dials for grant in due) - sum(before)
            disks.free(seen)
            took = await recovers(bench, switchboard, due)
            await answered_and_kept(bench, switchboard, [*plain.ended, *signed.ended])
            bench.ran(len(plain.ended) + len(signed.ended))
            bench.sample(took)
        for grant in (live, *due):
            bench.check(await grant.is_whole(), f"{grant.name}: {await grant.state()}, {grant.family.revoked}")
    bench.check(dials == 0, f"{dials} token requests while the disk was full")
    bench.remark(f"Token requests while the disk was full: {dials}.")


async def without_slack(switchboard: Switchboard) -> None:
    """A stop takes the journal away, which else may have room in it: parts that were written to the database before."""
    await asyncio.to_thread(switchboard.stop)
    await asyncio.to_thread(switchboard.start)


async def refused_while_full(bench: Bench, switchboard: Switchboard, due: list[Grant]) -> None:
    """What cannot be done now is refused as that: expired tokens, unsafe calls, changes."""
    for ended in await asyncio.gather(*(call(switchboard, f"{grant.name}/whoami") for grant in due for _ in range(3))):
        bench.ran()
        bench.check((ended.code, ended.ours) == ("token_unavailable", True), f"expired: {ended.status} {ended.code}")
    ended = await call(switchboard, "plain/posted", "POST", body=b"{}")
    bench.check((ended.status, ended.code) == (503, "storage_unavailable"), f"POST: {ended.status} {ended.code}")
    status, said = await switchboard.ask("PATCH", "/api/connections/plain", {"title": "other"})
    bench.check((status, said["code"]) == (503, "storage_unavailable"), f"a change: {status} {said}")
    status, said = await switchboard.ask("GET", "/readyz")
    words = " ".join(said["reasons"])
    bench.check(status == 503 and "recorder:" in words and "disk:" in words, f"/readyz: {status} {said}")


async def recovers(bench: Bench, switchboard: Switchboard, due: list[Grant]) -> float:
    """How long until all is as before, by itself."""
    began = time.monotonic()
    while True:
        is_ready = (await switchboard.ask("GET", "/readyz"))[0] == 200
        is_well = is_ready and set(await asyncio.gather(*(grant.call() for grant in due))) == {200}
        took = time.monotonic() - began
        if not bench.check(took < RECOVER_SECONDS, f"not recovered after {took:.0f} s") or is_well:
            return took
        await asyncio.sleep(0.05)


async def answered_and_kept(bench: Bench, switchboard: Switchboard, ended: list[Ended]) -> None:
    """All of those calls went well for their callers, and are on record by now (I3)."""
    wrong = {(one.status, one.code) for one in ended if one.status != 200}
    bench.check(ended and not wrong, f"of {len(ended)} reading calls some ended with {wrong}")
    kept = {one["id"] for name in ("plain", "live") for one in await switchboard.calls(name)}
    missing = [one.id for one in ended if one.id not in kept]
    bench.check(not missing, f"{len(missing)} of {len(ended)} calls are not on record")


# 10

GRANTS = 4
TIMES = 2
ENDS = ("freed", "killed, freed, started", "killed, started, freed")


@fault(
    "10",
    "The disk gets full between a provider's answer and its commit",
    invariant="the token is in its rescue slot, is used from memory and committed once there is space; so also where "
    "the process is killed meanwhile, and started before there is space or after; nothing is asked for again",
    figure="lost rotations",
    unit="tokens",
    note="The server fills its own disk in the step between the answer and the slot. Refreshes of four connections run "
    "at once, so that the others are cut off wherever they are.",
)
async def disk_is_full_before_the_commit(bench: Bench) -> None:
    lost, slowest, ends = 0, 0.0, list(ENDS) * TIMES
    bench.random.shuffle(ends)
    async with serving_sandbox() as sandbox, disks.on_small_disk(bench, SAID) as (switchboard, seen):
        grants = [await signed_in(switchboard, sandbox, f"c{number}") for number in range(GRANTS)]
        for end in ends:
            await without_slack(switchboard)
            rotated = await fill_at_an_answer(bench, switchboard, seen, grants)
            if end != "freed":
                await asyncio.to_thread(switchboard.kill)
            if end == "killed, started, freed":
                await alive(switchboard)
            disks.free(seen)
            began = time.monotonic()
            if end == "killed, freed, started":
                await asyncio.to_thread(switchboard.start)
            lost += await committed(bench, switchboard, seen, rotated, end)
            slowest = max(slowest, time.monotonic() - began)
            for grant in grants:
                bench.check(await grant.is_whole(), f"{end}: {grant.name} is {await grant.state()}")
    bench.figure(lost)
    bench.remark(f"All was committed and used again {rounded(slowest)} s after there was space, at most.")


async def signed_in(switchboard: Switchboard, sandbox: Sandbox, name: str) -> Grant:
    grant = await sign_in(switchboard, sandbox, name, access_seconds=3600)
    assert await grant.call() == 200
    return grant


async def fill_at_an_answer(bench: Bench, switchboard: Switchboard, seen: Path, grants: list[Grant]) -> list[Grant]:
    """Refreshes all, and lets the disk get full at the first answer; gives those whose tokens were rotated by then."""
    before = [(grant.family.generation, grant.dials) for grant in grants]
    await switchboard.do("fill", label="after_answer")
    outcomes = await asyncio.gather(*(grant.refresh() for grant in grants))
    rotated = []
    for grant, (generation, dials), (status, said) in zip(grants, before, outcomes, strict=True):
        bench.ran()
        if grant.family.generation == generation:
            bench.check(status == 502 and grant.dials == dials, f"not sent: {status} {said}")
            continue
        rotated.append(grant)
        works = await grant.call()
        said = f"{status}, then {works}, {grant.dials - dials} token requests"
        bench.check((status, works, grant.dials - dials) == (200, 200, 1), f"from memory: {said}")
    slots = in_slots(seen)
    bench.check(rotated and slots == len(rotated), f"{slots} tokens in slots, {len(rotated)} rotated")
    reasons = (await switchboard.ask("GET", "/readyz"))[1]["reasons"]
    bench.check(any(reason.startswith("tokens:") for reason in reasons), f"/readyz: {reasons}")
    return rotated


def in_slots(seen: Path) -> int:
    """How many tokens are in rescue slots."""
    count = 0
    for path in rescue.files(seen / "rescue"):
        with path.open("rb") as file:
            count += len(rescue.contents(file.fileno()))
    return count


async def alive(switchboard: Switchboard) -> None:
    """Starts it on a full disk, on which it lives but does not get ready."""
    switchboard.spawn()
    for _ in range(200):
        with suppress(OSError):
            if (await switchboard.ask("GET", "/healthz"))[0] == 200:
                return
        await asyncio.sleep(0.1)
    raise AssertionError("it does not start on a full disk")


async def committed(bench: Bench, switchboard: Switchboard, seen: Path, rotated: list[Grant], end: str) -> int:
    """Waits until the tokens are out of their slots; how many of them are lost all the same."""
    began, dials = time.monotonic(), [grant.dials for grant in rotated]
    while in_slots(seen) or (await switchboard.ask("GET", "/readyz"))[0] != 200:
        if not bench.check(time.monotonic() - began < RECOVER_SECONDS, f"{end}: the slots are not empty"):
            break
        await asyncio.sleep(0.05)
    lost = 0
    for grant, before in zip(rotated, dials, strict=True):
        status, asked = await grant.call(), grant.dials - before
        newest = (await grant.exchanges())[0]["state"]
        said = f"{end}: {grant.name}: {status}, {asked} token requests, the exchange is {newest}"
        bench.check((status, asked, newest) == (200, 0, "stored"), said)
        lost += not await grant.is_whole()
    return lost
