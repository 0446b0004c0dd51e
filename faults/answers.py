"""Upstreams whose answers do not come, stop, break or never end (17 to 19, 22)."""

import asyncio
import time

from faults.fakes import CHUNKED, OK, WHOLE, Asked, Peer, answer, fake
from faults.harness import Bench, fault
from faults.load import Ended, call, check_failure, eventually
from faults.switchboard import Switchboard
from tests.wire import Broken, Wire

MIB = 1024**2
TIMER_SECONDS = 0.5
MOST_TIMER_ERROR_MS = 100.0


# 17


@fault(
    "17",
    "Upstream accepts, never answers",
    invariant="504 `first_byte_timeout` at the configured time, never before it; the place is free again at once",
    figure="how late the answer came after the configured time",
    unit="ms",
)
async def upstream_never_answers(bench: Bench) -> None:
    async def silent(asked: Asked, peer: Peer) -> None:
        await peer.until_left()

    async with fake(silent) as upstream, bench.serving() as switchboard:
        policy = {"first_byte_seconds": TIMER_SECONDS, "concurrency": 4}
        for number in range(4):  # few for each connection: its breaker is not what is looked at here
            name = await switchboard.connect(f"api{number}", upstream.url, policy=policy)
            for _ in range(4):
                ended = await asyncio.gather(*(call(switchboard, f"{name}/") for _ in range(4)))
                for one in ended:
                    late_ms = (one.seconds - TIMER_SECONDS) * 1000
                    bench.ran()
                    bench.sample(late_ms)
                    check_failure(bench, one, "silence", "first_byte_timeout", statuses=(504,))
                    bench.check(0 <= late_ms <= MOST_TIMER_ERROR_MS, f"answered {late_ms:.0f} ms after its time")
            free = await switchboard.free_within(name, 1)
            bench.check(free is not None, f"{name}: places are still taken a second later")
        bench.check(await eventually(lambda: not upstream.open, 1) is not None, "connections were left open")
        calls = await switchboard.calls("api0")
        bench.check(all(len(one["attempts"]) == 1 for one in calls), "a late answer was asked for again")


# 18

STOPS = {
    "with a length": OK + b"Content-Length: 100000\r\n\r\n" + b"x" * 50_000,
    "in chunks": CHUNKED + b"c350\r\n" + b"x" * 50_000 + b"\r\n",
    "in the middle of a chunk": CHUNKED + b"ffff\r\n" + b"x" * 50_000,
    "without a length": OK + b"\r\n" + b"x" * 50_000,
}
IDLE_SECONDS = 0.5


@fault(
    "18",
    "Upstream hangs in mid-body",
    invariant="`idle_timeout`; the record says how much came and that it is not all; "
    "the caller sees a broken transfer, never a clean end (HTTP/1.0 callers too)",
    figure="broken transfers that looked like clean ends",
    unit="answers",
)
async def upstream_hangs_in_mid_body(bench: Bench) -> None:
    async def stop(asked: Asked, peer: Peer) -> None:
        await peer.send(STOPS[list(STOPS)[int(asked.path.rpartition("/")[2])]])
        await peer.until_left()

    clean = 0
    async with fake(stop) as upstream, bench.serving() as switchboard:
        for number, kind in enumerate(STOPS):
            name = await switchboard.connect(f"api{number}", upstream.url, policy={"idle_seconds": IDLE_SECONDS})
            began = time.monotonic()
            ended = await asyncio.gather(*(call(switchboard, f"{name}/{number}") for _ in range(4)))
            old_ended = await asyncio.gather(
                *(clean_end_for_http_10(switchboard, f"{name}/{number}") for _ in range(2))
            )
            status, made = await switchboard.ask("POST", "/api/calls", {"connection": name, "path": f"/{number}"})
            bench.ran(7)
            clean += sum(one.whole for one in ended) + sum(old_ended)
            bench.check(not any(one.whole for one in ended), f"{kind}: looked like a clean end")
            bench.check(not any(old_ended), f"{kind}: looked like a clean end to HTTP/1.0")
            bench.check(time.monotonic() - began < 5, f"{kind}: took {time.monotonic() - began:.1f} s")
            bench.check((status, made["reason"]) == (201, "idle_timeout"), f"{kind}: {status} {made.get('reason')}")
            for one in ended:
                record = await switchboard.call(one.id)
                said = (record["state"], record["reason"], record["response"]["body"])
                bench.check(said[:2] == ("failed", "idle_timeout"), f"{kind}: {said[:2]}")
                bench.check(said[2]["size"] > 0 and said[2]["truncated"], f"{kind}: on record as whole")
    bench.figure(clean)


async def clean_end_for_http_10(switchboard: Switchboard, target: str) -> bool:
    """Whether a caller of HTTP/1.0 takes a broken answer for a whole one: one without a length that just ends."""
    async with Wire.to(switchboard.port, switchboard.key) as wire:
        head = wire.head("GET", f"/proxy/{target}").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        await wire.send(head)
        answered = await wire.answer_head()
        length = answered.header("content-length")
        try:
            body = await asyncio.wait_for(wire.reader.read(-1), 10)
        except (ConnectionError, Broken):
            return False
        return length is None or len(body) == int(length)


# 19

STAGES = ("accept", "request", "head", "body", "none")
METHODS = (("GET", ()), ("PUT", ()), ("POST", ()), ("POST", ("Idempotency-Key: 1",)))


@fault(
    "19",
    "Upstream resets at connect, after the request, after the head, in mid-body",
    invariant="502 `reset` or a broken transfer; sent again only what may be; attempts on record = requests seen",
    figure="attempts on record less requests seen",
    unit="requests",
)
async def upstream_resets(bench: Bench) -> None:
    calls = [(bench.random.choice(STAGES[1:]), *bench.random.choice(METHODS)) for _ in range(120)]
    difference = 0
    async with fake(reset_when_told) as upstream, bench.serving() as switchboard:
        for group in range(0, len(calls), 6):  # few for each connection: its breaker is not what is looked at here
            name = await switchboard.connect(f"api{group}", upstream.url)
            numbered = list(enumerate(calls))[group : group + 6]
            work = (reset_once(bench, switchboard, name, number, *one) for number, one in numbered)
            for number, id_ in await asyncio.gather(*work):
                stage = calls[number][0]
                seen = upstream.count(f"/{number}/{stage}")
                difference += await attempts_less(bench, switchboard, id_, seen, f"{calls[number]}")
        difference += await resets_at_accept(bench, switchboard)
    bench.figure(difference)


async def reset_when_told(asked: Asked, peer: Peer) -> None:
    stage = asked.path.rpartition("/")[2]
    if stage == "none":
        await peer.send(WHOLE)
        return
    if stage in ("head", "body"):
        await peer.send(OK + b"Content-Length: 100000\r\n\r\n")
    if stage == "body":
        await peer.send(b"x" * 30_000)
        await asyncio.sleep(0.05)  # a reset takes back what the other side has not read
    peer.reset()


async def reset_once(
    bench: Bench, switchboard: Switchboard, name: str, number: int, stage: str, method: str, headers: tuple[str, ...]
) -> tuple[int, str | None]:
    body = b"{}" if method in ("PUT", "POST") else None
    ended = await call(switchboard, f"{name}/{number}/{stage}", method, headers, body)
    bench.ran()
    what = f"{method} reset at {stage}"
    if stage == "none":
        bench.check((ended.status, ended.whole) == (200, True), f"{what}: {ended.status}")
    elif ended.status == 200:
        bench.check(stage != "request" and not ended.whole, f"{what}: a clean end")
    else:
        check_failure(bench, ended, what, "reset")
    return number, ended.id


async def attempts_less(bench: Bench, switchboard: Switchboard, id_: str | None, seen: int, what: str) -> int:
    record = await switchboard.call(id_)
    attempts = len(record["attempts"])
    bench.check(attempts == seen, f"{what}: {attempts} attempts on record, {seen} seen")
    may_repeat = record["method"] != "POST" or "Idempotency-Key" in what
    bench.check(seen == 1 or may_repeat, f"{what}: was sent {seen} times")
    return abs(attempts - seen)


async def resets_at_accept(bench: Bench, switchboard: Switchboard) -> int:
    """Nothing was read there, so connections are counted."""
    difference = 0

    async def at_accept(peer: Peer) -> bool:
        peer.reset()
        return False

    async with fake(WHOLE) as upstream:
        upstream.at_accept = at_accept
        name = await switchboard.connect("accepts", upstream.url)
        for _ in range(5):
            before = upstream.connections
            ended = await call(switchboard, f"{name}/")
            bench.ran()
            check_failure(bench, ended, "reset at accept", "reset", "connect_failed")
            seen = upstream.connections - before
            difference += await attempts_less(bench, switchboard, ended.id, seen, "GET at accept")
    return difference


# 22

MOST_GROWTH = 8 * MIB
PATIENCE_SECONDS = 1.5


@fault(
    "22",
    "A body of one byte now and then; a body that never ends",
    invariant="504 or a broken transfer with `total_timeout` at the total time, where one holds; memory + < 8 MiB",
    figure="memory over that before, at its peak",
    unit="MiB",
    note="Streams have no total time unless asked for, here with `X-Switchboard-Total-Seconds`. A body without end "
    "that the API collects is cut at `answer_bytes` or at its time; its memory is that of 23 and not counted here.",
)
async def upstream_never_ends(bench: Bench) -> None:
    async with fake(go_on) as upstream, bench.serving() as switchboard:
        name = await switchboard.connect("api", upstream.url, policy={"idle_seconds": 5})
        await asyncio.gather(*(call(switchboard, f"{name}/some") for _ in range(8)))
        before = switchboard.forget_peak()
        for path in ("drip", "endless"):
            limited = (f"X-Switchboard-Total-Seconds: {PATIENCE_SECONDS}",)
            ended = await asyncio.gather(*(take(switchboard, f"{name}/{path}", limited) for _ in range(4)))
            bench.ran(len(ended))
            for one in ended:
                late = one.seconds - PATIENCE_SECONDS
                bench.check(not one.whole and -0.01 <= late <= 0.5, f"{path}: ended {late:.2f} s after its time")
                record = await switchboard.call(one.id)
                bench.check(record["reason"] == "total_timeout", f"{path}: {record['state']} {record['reason']}")
        await collected(bench, switchboard, name, "drip", "total_timeout")
        grown = (switchboard.peak_bytes() - before) / MIB
        bench.figure(max(0.0, grown))
        bench.check(grown * MIB < MOST_GROWTH, f"memory grew by {grown:.1f} MiB")
        await collected(bench, switchboard, name, "endless", "total_timeout", "too_large")
        bench.check(await eventually(lambda: not upstream.open, 2) is not None, "upstreams were not let go")


async def collected(bench: Bench, switchboard: Switchboard, name: str, path: str, *reasons: str) -> None:
    """By the API, which collects an answer up to `answer_bytes`."""
    asked = {"connection": name, "path": f"/{path}", "total_seconds": PATIENCE_SECONDS}
    _, made = await switchboard.ask("POST", "/api/calls", asked)
    bench.ran()
    bench.check(made["reason"] in reasons, f"{path} by the API: {made['reason']}")


async def go_on(asked: Asked, peer: Peer) -> None:
    if asked.path == "/some":
        await peer.send(answer(b"x" * MIB))
        return
    await peer.send(CHUNKED)
    piece, pause = (b"1\r\nx\r\n", 0.1) if asked.path == "/drip" else (b"8000\r\n" + b"x" * 0x8000 + b"\r\n", 0.001)
    while True:
        await peer.send(piece)
        await asyncio.sleep(pause)


async def take(switchboard: Switchboard, target: str, headers: tuple[str, ...]) -> Ended:
    """A call whose body is taken and dropped; the seconds until it ended."""
    began = time.monotonic()
    async with Wire.to(switchboard.port, switchboard.key) as wire:
        await wire.send(wire.head("GET", f"/proxy/{target}", headers))
        answered = await wire.answer_head()
        try:
            while await wire.piece(answered):
                pass
            whole = True
        except (Broken, TimeoutError):
            whole = False
    return Ended(answered.status, whole, time.monotonic() - began, b"", answered.headers)
