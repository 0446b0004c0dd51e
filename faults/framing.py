"""Upstreams whose answers are followed by more, or are none at all (20, 21)."""

import asyncio
import time

from faults.fakes import CHUNKED, OK, WHOLE, Asked, Peer, answer, fake
from faults.harness import Bench, fault
from faults.load import call, check_failure

# 20

POISONS = ("half-close", "early close", "extra bytes", "extra answer", "extra answer later", "extra chunk", "keeps on")
EVIL = answer(b"poison", 200, "X-Poison: yes")


@fault(
    "20",
    "Half-close, early close, bytes after the end of a body",
    invariant="a connection whose framing was broken is not used again; the next answer belongs to the next call",
    figure="answers that belong to another call",
    unit="answers",
)
async def upstream_says_more_than_it_should(bench: Bench) -> None:
    crossed = 0
    async with fake(poison) as upstream, bench.serving() as switchboard:
        name = await switchboard.connect("api", upstream.url)
        for turn in range(10):
            for number, kind in enumerate(bench.random.sample(POISONS, len(POISONS))):
                bench.ran()
                poisoned = await call(switchboard, f"{name}/poison/{POISONS.index(kind)}")
                bench.check(b"poison" not in poisoned.body, f"{kind}: the extra bytes were passed on")
                bench.check(poisoned.status in (200, 502), f"{kind}: {poisoned.status}")
                if kind == "extra answer later":
                    await asyncio.sleep(0.06)
                token = f"{turn}-{number}-{bench.random.randrange(10**9)}"
                own = await asyncio.gather(*(call(switchboard, f"{name}/own/{token}-{n}") for n in range(3)))
                for n, one in enumerate(own):
                    wrong = one.status != 200 or one.body != f"/own/{token}-{n}".encode()
                    crossed += wrong
                    bench.check(not wrong, f"after {kind}: {one.status} {one.body[:60]!r}")
    bench.figure(crossed)


async def poison(asked: Asked, peer: Peer) -> None:
    if not asked.path.startswith("/poison/"):
        await peer.send(answer(asked.path.encode()))
        return
    kind = POISONS[int(asked.path.rpartition("/")[2])]
    if kind == "half-close":
        await peer.send(WHOLE)
        peer.writer.write_eof()
    elif kind == "early close":
        await peer.send(OK + b"\r\nhi")
        peer.writer.close()
    elif kind == "extra answer later":
        await peer.send(WHOLE)
        await asyncio.sleep(0.02)
        await peer.send(EVIL)
    elif kind == "extra chunk":
        await peer.send(CHUNKED + b"2\r\nhi\r\n0\r\n\r\n6\r\npoison\r\n0\r\n\r\n")
    elif kind == "keeps on":
        await peer.send(WHOLE + EVIL * 50)
    else:
        await peer.send(WHOLE + (EVIL if kind == "extra answer" else b"poison"))


# 21

GARBAGE: dict[str, bytes] = {
    "garbage": bytes(range(256)) + b"\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "a header of 40 KiB": OK + b"X: " + b"a" * 40 * 1024 + b"\r\nContent-Length: 2\r\n\r\nhi",
    "5,000 headers": OK + b"".join(b"X%d: a\r\n" % n for n in range(5000)) + b"Content-Length: 2\r\n\r\nhi",
    "a length and chunks": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    "a NUL in a header": OK + b"X: a\0b\r\nContent-Length: 2\r\n\r\nhi",
    "a CR in a header": OK + b"X: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\nhi",
    **{
        f"status {code}": f"HTTP/1.1 {code} Said\r\nContent-Length: 2\r\n\r\nhi".encode()
        for code in ("0", "99", "101", "999", "1000")
    },
    "100,000 times 1xx": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100_000 + WHOLE,
    "endless 1xx": b"",
}


@fault(
    "21",
    "Garbage, HTTP/0.9, TLS on an http port, headers without measure, two lengths, NUL, impossible statuses, 1xx",
    invariant="502 `protocol_error` through the proxy and on record; never a 400, a 500 or an empty reply",
    figure="answers other than 502 `protocol_error`",
    unit="answers",
    note="One header may have 32 KiB, so the long one has 40. Ten interim answers (1xx) are taken, more are not.",
)
async def upstream_does_not_speak_http(bench: Bench) -> None:
    other = 0
    async with fake(talk_nonsense) as upstream, bench.serving() as switchboard:
        for number, kind in enumerate(GARBAGE):
            name = await switchboard.connect(f"api{number}", upstream.url, policy={"first_byte_seconds": 3})
            ended = await asyncio.gather(*(call(switchboard, f"{name}/{number}") for _ in range(3)))
            status, made = await switchboard.ask(
                "POST", "/api/calls", {"connection": name, "path": f"/{number}", "total_seconds": 8}
            )
            bench.ran(4)
            good = [check_failure(bench, one, kind, "protocol_error", statuses=(502,)) for one in ended]
            good.append(bench.check((status, made["reason"]) == (201, "protocol_error"), f"{kind}: {made['reason']}"))
            other += good.count(False)
    bench.figure(other)


async def talk_nonsense(asked: Asked, peer: Peer) -> None:
    kind = list(GARBAGE)[int(asked.path.rpartition("/")[2])]
    until = time.monotonic() + 15
    while kind == "endless 1xx" and time.monotonic() < until:
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 5)
        await asyncio.sleep(0.05)
    await peer.send(GARBAGE[kind])
    peer.writer.close()
