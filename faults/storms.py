"""Upstreams that fail all the time, and that ask to be left in peace (31, 32)."""

import asyncio
import random
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from faults.fakes import Asked, Peer, answer, fake
from faults.harness import Bench, fault, percentile, rounded
from faults.load import Ended, Steady, call, eventually
from faults.switchboard import Switchboard

# 31

STORM_SECONDS = 5.0
CALLERS, A_SECOND = 20, 120.0
MOST_AMPLIFICATION = 1.2
OPEN_WITHIN_SECONDS = 2.0
PROBED_AFTER_SECONDS = 30.0
LEAST, SHARE = 20, 0.5
MOST_RATIO = 2.0
SHARES = {"/all": 1.0, "/half": 0.5, "/fifth": 0.2, "/later": 1.0}


class Weather:
    """An upstream that fails by `/<kind>`, and when that was enough for a breaker."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.clear: set[str] = set()
        self.asked: dict[str, int] = {}
        self.failed: dict[str, int] = {}
        self.enough_at: dict[str, float] = {}

    async def reply(self, asked: Asked, peer: Peer) -> None:
        kind = asked.path
        fails = kind not in self.clear and self.fails(kind)
        self.asked[kind] = self.asked.get(kind, 0) + 1
        self.failed[kind] = self.failed.get(kind, 0) + fails
        if self.asked[kind] >= LEAST and self.failed[kind] >= SHARE * self.asked[kind]:
            self.enough_at.setdefault(kind, time.monotonic())
        await peer.send(answer(b"hi", 503 if fails else 200))

    def fails(self, kind: str) -> bool:
        if kind == "/flapping":
            return int(time.monotonic()) % 2 == 0
        return self.chance.random() < SHARES.get(kind, 0.0)


@fault(
    "31",
    "Storms of 5xx: all, half, a fifth, flapping, and all after a calm",
    invariant="requests ≤ 1.2× the calls; the breaker opens ≤ 2 s after its threshold, and closes by a probe 30 s "
    "later; p99 of another connection < 2× of that beside the same load without a storm",
    figure="requests for each call, at most",
    unit="×",
    note="All calls count, also those that the breaker refuses: the few before it opens may each be tried again, as "
    "the budget has a floor of ten retries. It is a share of the calls of half a minute, those of a calm before too.",
)
async def storm_of_5xx(bench: Bench) -> None:
    weather = Weather(bench.random)
    async with fake(weather.reply) as upstream, bench.serving() as switchboard:
        for name in ("all", "half", "fifth", "flapping", "later", "calm", "other"):
            await switchboard.connect(name, upstream.url)
        opened_at = await whole_storm(bench, switchboard, weather)
        for kind in ("half", "fifth", "flapping"):
            amplified(bench, weather, kind, await driven(switchboard, kind, STORM_SECONDS))
        await storm_after_a_calm(bench, switchboard, weather)
        weather.clear.add("/all")
        await probed(bench, switchboard, opened_at)


@dataclass
class Driven:
    """What came of a load: how many calls were begun, and those that ended."""

    begun: int
    ended: list[Ended]


async def driven(switchboard: Switchboard, kind: str, seconds: float) -> Driven:
    steady = Steady(switchboard, f"{kind}/{kind}", callers=CALLERS, a_second=A_SECOND)
    async with steady.asking():
        await asyncio.sleep(seconds)
    return Driven(steady.begun, steady.taken())


def amplified(bench: Bench, weather: Weather, kind: str, load: Driven) -> None:
    """Requests seen over calls made."""
    seen = weather.asked[f"/{kind}"]
    ratio = seen / load.begun
    bench.ran(load.begun)
    bench.figure(max(bench.finding.figure or 0.0, ratio))
    bench.check(ratio <= MOST_AMPLIFICATION, f"{kind}: {seen} requests for {load.begun} calls")
    codes = {one.code for one in load.ended if one.status != 200 and one.ours}
    bench.check(codes <= {"circuit_open"}, f"{kind}: {codes}")
    refused = sum(one.code == "circuit_open" for one in load.ended)
    bench.remark(f"{kind.capitalize()}: {load.begun} calls, {refused} refused by the breaker, {seen} requests.")


async def whole_storm(bench: Bench, switchboard: Switchboard, weather: Weather) -> float:
    """All calls of one connection fail, and another one's callers are looked at; when the breaker was seen open."""
    steady = Steady(switchboard, "other/other", callers=2, a_second=40)
    async with steady.asking():
        await asyncio.sleep(1)
        quiet = max([(await beside(steady, driven(switchboard, "calm", STORM_SECONDS)))[0] for _ in range(2)])
        opening = asyncio.create_task(opened(switchboard, "all", STORM_SECONDS))
        stormy, load = await beside(steady, driven(switchboard, "all", STORM_SECONDS))
    opened_at = await opening
    in_time(bench, weather, "all", opened_at)
    amplified(bench, weather, "all", load)
    bench.remark(f"P99 beside it was {rounded(stormy / quiet)} times that beside the same load without a storm.")
    bench.check(stormy < MOST_RATIO * quiet, f"another connection's p99 was {stormy:.4f} s beside it, else {quiet:.4f}")
    return opened_at


async def beside(steady: Steady, driving: Awaitable[Driven]) -> tuple[float, Driven]:
    """P99 of the other connection beside a load, infinite where a call of it failed; and the load."""
    steady.taken()
    load = await driving
    taken = steady.taken()
    good = taken and all(one.status == 200 for one in taken)
    return (percentile([one.seconds for one in taken], 99) or 0.0) if good else float("inf"), load


async def opened(switchboard: Switchboard, name: str, seconds: float) -> float:
    """When the breaker was seen open; infinite where it was not."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (await switchboard.limits(name))["breaker"]["state"] == "open":
            return time.monotonic()
        await asyncio.sleep(0.05)
    return float("inf")


def in_time(bench: Bench, weather: Weather, kind: str, opened_at: float) -> None:
    took = opened_at - weather.enough_at.get(f"/{kind}", 0.0)
    bench.check(took <= OPEN_WITHIN_SECONDS, f"{kind}: the breaker was seen open {took:.2f} s after its threshold")
    bench.remark(f"{kind.capitalize()}: the breaker was seen open {rounded(max(took, 0.0))} s after the threshold.")


async def storm_after_a_calm(bench: Bench, switchboard: Switchboard, weather: Weather) -> None:
    weather.clear.add("/later")
    calm = await driven(switchboard, "later", STORM_SECONDS)
    weather.clear.discard("/later")
    opening = asyncio.create_task(opened(switchboard, "later", 2 * STORM_SECONDS))
    load = await driven(switchboard, "later", 2 * STORM_SECONDS)
    in_time(bench, weather, "later", await opening)
    amplified(bench, weather, "later", Driven(calm.begun + load.begun, load.ended))


async def probed(bench: Bench, switchboard: Switchboard, opened_at: float) -> None:
    """Not before its time, and then by one call."""
    if opened_at == float("inf"):
        return
    early = await call(switchboard, "all/all")
    left = opened_at + PROBED_AFTER_SECONDS - time.monotonic()
    if left > 1:
        bench.check(early.code == "circuit_open", f"before its time: {early.status} {early.code}")
        told = float(early.header("retry-after") or 0)
        bench.check(abs(told - left) < 2, f"Retry-After says {told:.0f} s where {left:.1f} s are left")
    await asyncio.sleep(max(0.0, left + 0.5))
    ended = await call(switchboard, "all/all")
    state = (await switchboard.limits("all"))["breaker"]["state"]
    bench.check((ended.status, state) == (200, "closed"), f"after the probe: {ended.status} {state}")


# 32

TOLD_SECONDS = 3.0
WAITERS = 15


class Limited:
    """An upstream that answers 429 for some seconds from its first answer on; `at` are the instants of its requests.

    For a date these seconds are those that are left until then.
    """

    def __init__(self, says: str, seconds: float) -> None:
        self.says = says
        self.seconds = seconds
        self.told_at = 0.0
        self.at: list[float] = []

    async def reply(self, asked: Asked, peer: Peer) -> None:
        now = time.monotonic()
        self.at.append(now)
        if not self.told_at:
            self.told_at = now
            if self.says == "date":
                moment = datetime.now(UTC)
                until = (moment + timedelta(seconds=self.seconds)).replace(microsecond=0)
                self.says = format_datetime(until, usegmt=True)
                self.seconds = (until - moment).total_seconds()
        if now - self.told_at < self.seconds:
            await peer.send(answer(b"wait", 429, f"Retry-After: {self.says}"))
        else:
            await peer.send(answer(b"hi"))

    def sent_while_told(self) -> int:
        """Requests after the first one's answer, and before it was time."""
        return sum(0.02 < at - self.told_at < self.seconds - 0.02 for at in self.at)


@fault(
    "32",
    "Storms of 429 with Retry-After in seconds, as a date, garbage, ten years, negative",
    invariant="at most one request while told to wait; what is ten years is an hour, said to the caller; "
    "garbage makes no busy loop",
    figure="requests sent while told to wait, at most",
    unit="requests",
)
async def storm_of_429(bench: Bench) -> None:
    async with bench.serving() as switchboard:
        bench.figure(0)
        await told(bench, switchboard, "seconds", Limited(f"{TOLD_SECONDS:.0f}", TOLD_SECONDS))
        await told(bench, switchboard, "date", Limited("date", TOLD_SECONDS + 1))
        await told_too_long(bench, switchboard)
        for name, says in (("garbage", "soon"), ("negative", "-5"), ("empty", "")):
            await told_nothing(bench, switchboard, name, says)


async def told(bench: Bench, switchboard: Switchboard, name: str, limited: Limited) -> None:
    async with fake(limited.reply) as upstream:
        await switchboard.connect(name, upstream.url)
        first = asyncio.create_task(call(switchboard, f"{name}/"))
        await eventually(lambda: limited.at, 2)
        await asyncio.sleep(0.1)
        ended = await asyncio.gather(*(call(switchboard, f"{name}/") for _ in range(WAITERS)))
        ended.append(await first)
    bench.ran(len(ended))
    sent = limited.sent_while_told()
    bench.figure(max(bench.finding.figure or 0, sent))
    bench.check(sent <= 1, f"{name}: {sent} requests while told to wait")
    bench.check(all(one.status == 200 for one in ended), f"{name}: {[one.status for one in ended]}")
    waited = [(await switchboard.call(one.id))["waited_seconds"] for one in ended[:3]]
    bench.check(all(one > limited.seconds - 0.5 for one in waited), f"{name}: waits on record are {waited}")


async def told_too_long(bench: Bench, switchboard: Switchboard) -> None:
    limited = Limited("315360000", 60.0)
    async with fake(limited.reply) as upstream:
        await switchboard.connect("years", upstream.url)
        first = await call(switchboard, "years/")
        bench.check(first.status == 429 and not first.ours, f"years: the first was answered {first.status}")
        ended = await asyncio.gather(*(call(switchboard, "years/") for _ in range(WAITERS)))
    bench.ran(len(ended) + 1)
    sent = len(limited.at) - 1
    bench.figure(max(bench.finding.figure or 0, sent))
    bench.check(sent <= 1, f"years: {sent} more requests")
    for one in ended:
        bench.check(one.code == "limit_wait", f"years: {one.status} {one.code}")
        seconds = float(one.header("retry-after") or 0)
        bench.check(0 < seconds <= 3600, f"years: Retry-After says {seconds:.0f} s")


async def told_nothing(bench: Bench, switchboard: Switchboard, name: str, says: str) -> None:
    """What cannot be read is no wait, and no leave to hammer: the budget and the pauses hold."""
    limited = Limited(says, 60.0)
    async with fake(limited.reply) as upstream:
        await switchboard.connect(name, upstream.url)
        began = time.monotonic()
        ended = await asyncio.gather(*(call(switchboard, f"{name}/") for _ in range(WAITERS)))
        seconds = time.monotonic() - began
    bench.ran(len(ended))
    most = WAITERS + 10
    bench.check(len(limited.at) <= most, f"{name}: {len(limited.at)} requests in {seconds:.1f} s, of {most} at most")
    bench.check(all(one.status == 429 for one in ended), f"{name}: {[one.status for one in ended]}")
