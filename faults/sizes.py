"""Answers that are too large, and answers that become too large when they are decoded (23, 24)."""

import asyncio
import http.client
import io
import random
import socket
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import cast

import brotli

from faults.fakes import Asked, Peer, answer, fake
from faults.harness import Bench, fault, percentile
from faults.load import call
from faults.switchboard import Switchboard

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1024**2
GIB = 1024**3


# 23

STREAMED_BYTES = 2 * GIB
MOST_GROWTH = 8 * MIB
ANSWER_BYTES = 20 * MIB
IN_BUFFERS = 24 * MIB
"""What may be on its way: the sockets' buffers, which the kernel lets grow to some MiB each, and our own."""


class Zeros:
    """An upstream in a thread that answers with zeros: `/<bytes>`. `sent` counts those of bodies."""

    def __init__(self) -> None:
        self.sent = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    @contextmanager
    def running(self) -> Iterator["Zeros"]:
        threading.Thread(target=self.accept, daemon=True).start()
        try:
            yield self
        finally:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError):
            size = left = int(sock.recv(65536).split(b" ")[1].lstrip(b"/"))
            sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
            piece = memoryview(bytes(MIB))
            while left:
                went = sock.send(piece[: min(left, MIB)])
                self.sent, left = self.sent + went, left - went


@fault(
    "23",
    "A body of 2 GiB, buffered and streamed, and a caller that does not take it",
    invariant="buffered: cut at `answer_bytes`, `too_large`, marked as not all; streamed: whole, memory + < 8 MiB; "
    "a caller that does not read holds the upstream back",
    figure="memory over that before, at its peak, while streaming",
    unit="MiB",
    note="2 GiB instead of 10 GB, to save time.",
)
async def upstream_sends_gigabytes(bench: Bench) -> None:
    with Zeros().running() as upstream:
        async with bench.serving() as switchboard:
            name = await switchboard.connect("api", upstream.url)
            await asyncio.to_thread(stream, switchboard, f"{name}/{64 * MIB}")
            before = switchboard.forget_peak()
            began = time.monotonic()
            taken = await asyncio.to_thread(stream, switchboard, f"{name}/{STREAMED_BYTES}")
            seconds = time.monotonic() - began
            grown = (switchboard.peak_bytes() - before) / MIB
            bench.ran()
            bench.figure(max(0.0, grown))
            bench.remark(
                f"It was streamed at {taken / MIB / seconds:,.0f} MiB/s, here with both ends on the same cores."
            )
            bench.check(taken == STREAMED_BYTES, f"streamed: {taken} bytes of {STREAMED_BYTES} came")
            bench.check(grown * MIB < MOST_GROWTH, f"streamed: memory grew by {grown:.1f} MiB")
            await buffered(bench, switchboard, upstream, name)
            await held_back(bench, switchboard, upstream, name)


def stream(switchboard: Switchboard, target: str) -> int:
    """Takes an answer whole and drops it; its bytes."""
    into, taken = bytearray(MIB), 0
    with socket.create_connection(("127.0.0.1", switchboard.port), 30) as sock:
        asked = f"GET /proxy/{target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {switchboard.key}\r\n\r\n"
        sock.sendall(asked.encode())
        with cast(io.BufferedReader, sock.makefile("rb", buffering=MIB)) as answered:
            lines = list(iter(answered.readline, b"\r\n"))
            left = next(int(line.split()[1]) for line in lines if line.lower().startswith(b"content-length"))
            while left and (got := answered.readinto(memoryview(into)[: min(left, MIB)])):
                left, taken = left - got, taken + got
    return taken


async def buffered(bench: Bench, switchboard: Switchboard, upstream: Zeros, name: str) -> None:
    sent = upstream.sent
    before = switchboard.forget_peak()
    _, made = await switchboard.ask("POST", "/api/calls", {"connection": name, "path": f"/{STREAMED_BYTES}"})
    bench.ran()
    bench.check((made["state"], made["reason"]) == ("failed", "too_large"), f"buffered: {made['reason']}")
    bench.check(made["response"]["body"]["truncated"], "buffered: not marked as cut")
    most = (upstream.sent - sent - ANSWER_BYTES) / MIB
    bench.check(most < IN_BUFFERS / MIB, f"buffered: the upstream was not cut for {most:.0f} MiB after the cap")
    grown = (switchboard.peak_bytes() - before) / MIB
    bench.remark(f"The buffered one, cut at 20 MiB, took {grown:.0f} MiB of memory.")
    bench.check(grown < 80, f"buffered: memory grew by {grown:.0f} MiB")


async def held_back(bench: Bench, switchboard: Switchboard, upstream: Zeros, name: str) -> None:
    """The caller asks and reads nothing: what the upstream could send must stop at what the buffers hold."""
    sent = upstream.sent
    before = switchboard.forget_peak()
    with socket.create_connection(("127.0.0.1", switchboard.port), 30) as sock:
        asked = f"GET /proxy/{name}/{STREAMED_BYTES} HTTP/1.1\r\nHost: localhost\r\n"
        sock.sendall(f"{asked}Authorization: Bearer {switchboard.key}\r\n\r\n".encode())
        await asyncio.sleep(2)
        early = upstream.sent - sent
        await asyncio.sleep(1)
        later = upstream.sent - sent
    bench.ran()
    bench.check(0 < later == early, f"held back: {(later - early) / MIB:.1f} MiB were sent while nobody read")
    bench.check(later < IN_BUFFERS, f"held back: {later / MIB:.0f} MiB were sent before that told")
    grown = (switchboard.peak_bytes() - before) / MIB
    bench.check(grown * MIB < MOST_GROWTH, f"held back: memory grew by {grown:.1f} MiB")
    free = await switchboard.free_within(name, 2)
    bench.check(free is not None, "held back: the place was not freed when the caller had gone")


# 24

MOST_STALL_MS = 100.0
MOST_BOMB_GROWTH = 32 * MIB
PING_SECONDS = 0.004
ROUNDS = 3


def bombs(chance: random.Random) -> dict[str, tuple[str, bytes]]:
    """Content-Encoding and content of each; the large ones are 1 GiB in clear."""
    gzip = compressed(GIB, zlib.compressobj(9, zlib.DEFLATED, 31))
    member = squeezed(bytes(64 * 1024), 31)
    broken = bytearray(squeezed(chance.randbytes(2 * MIB), 31))
    broken[MIB // 2 : MIB // 2 + 64] = bytes(64)
    frames = zstd.ZstdCompressor()
    zeros = b"".join(frames.compress(bytes(MIB)) for _ in range(1024)) + frames.flush()
    return {
        "gzip": ("gzip", gzip),
        "deflate": ("deflate", compressed(GIB, zlib.compressobj(9))),
        "br": ("br", brotlied(GIB)),
        "zstd": ("zstd", zeros),
        "gzip in gzip": ("gzip, gzip", squeezed(gzip, 31)),
        "gzip in br": ("gzip, br", brotli.compress(gzip, quality=1)),
        "five codings": ("gzip, gzip, gzip, gzip, gzip", squeezed(squeezed(gzip, 31), 31)),
        "bad gzip": ("gzip", bytes(broken)),
        "cut gzip": ("gzip", gzip[: len(gzip) // 2]),
        "1,000 members": ("gzip", member * 1000),
        "100,000 empty members": ("gzip", squeezed(b"", 31) * 100_000),
    }


def brotlied(size: int) -> bytes:
    made, piece = brotli.Compressor(quality=5), bytes(4 * MIB)
    return b"".join(made.process(piece) for _ in range(size // len(piece))) + bytes(made.finish())


def squeezed(content: bytes, bits: int) -> bytes:
    made = zlib.compressobj(9, zlib.DEFLATED, bits)
    return made.compress(content) + made.flush()


def compressed(size: int, made: "zlib._Compress") -> bytes:
    piece = bytes(4 * MIB)
    return b"".join(made.compress(piece) for _ in range(size // len(piece))) + made.flush()


class Pinger:
    """Asks for /healthz again and again in a thread; `waits` in ms are what the loop made it wait."""

    def __init__(self, switchboard: Switchboard) -> None:
        self.port = switchboard.port
        self.waits: list[float] = []
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Iterator["Pinger"]:
        thread = threading.Thread(target=self.ping, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(10)

    def ping(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self._stop.wait(PING_SECONDS):
            began = time.perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            self.waits.append((time.perf_counter() - began) * 1000)
        connection.close()

    def taken(self) -> list[float]:
        waits, self.waits = self.waits, []
        return waits


@fault(
    "24",
    "Bombs in gzip, deflate, br and zstd; nested; bad and cut gzip; 1,000 members",
    invariant="passed on as they are, on record in clear up to the cap and marked as not all; "
    "the loop never stands for 100 ms, memory + ≤ 32 MiB",
    figure="longest wait for /healthz beside a bomb, the best of at most 3 rounds",
    unit="ms",
)
async def upstream_sends_bombs(bench: Bench) -> None:
    made = await asyncio.to_thread(bombs, bench.random)

    async def explode(asked: Asked, peer: Peer) -> None:
        coding, content = made[list(made)[int(asked.path.rpartition("/")[2])]]
        await peer.send(answer(content, 200, f"Content-Encoding: {coding}", "Content-Type: text/plain"))

    async with fake(explode) as upstream, bench.serving() as switchboard:
        policy = {"record_bytes": 16 * MIB}
        name = await switchboard.connect("api", upstream.url, policy=policy)
        await switchboard.ask("POST", "/api/calls", {"connection": name, "path": "/7"})
        await asyncio.sleep(0.5)
        grown: dict[str, float] = {}
        with Pinger(switchboard).running() as pinger:
            for number, kind in enumerate(made):
                grown[kind] = await one_bomb(bench, switchboard, pinger, name, kind, number, made[kind][1])
    worst = max(grown, key=lambda kind: grown[kind])
    bench.remark(f"Memory grew by {grown[worst]:.1f} MiB at most ({worst}).")


async def one_bomb(
    bench: Bench, switchboard: Switchboard, pinger: Pinger, name: str, kind: str, number: int, content: bytes
) -> float:
    """Sends for a bomb by the API and by the proxy, and opens both on record; the MiB that memory grew by."""
    best: tuple[float, list[float]] | None = None
    grown = 0.0
    for _ in range(ROUNDS):
        before = switchboard.forget_peak()
        pinger.taken()
        _, made = await switchboard.ask("POST", "/api/calls", {"connection": name, "path": f"/{number}"})
        passed = await call(switchboard, f"{name}/{number}")
        record = await switchboard.call(passed.id)
        await switchboard.call(made.get("id"))
        waits = pinger.taken()
        bench.ran()
        grown = (switchboard.peak_bytes() - before) / MIB
        bench.check(made.get("state") == "done", f"{kind}: {made.get('state')} {made.get('reason')}")
        bench.check(passed.whole and passed.body == content, f"{kind}: did not pass as it is")
        for one in (made, record):
            body = one["response"]["body"]
            bench.check(body["truncated"], f"{kind}: not marked as cut")
            bench.check(body["size"] == len(content), f"{kind}: {body['size']} bytes on record of {len(content)}")
        if best is None or max(waits) < best[0]:
            best = (max(waits), waits)
        if best[0] < MOST_STALL_MS and grown * MIB <= MOST_BOMB_GROWTH:
            break
    assert best is not None
    bench.sample(*best[1])
    bench.figure(max(bench.finding.figure or 0.0, best[0]))
    bench.check(
        best[0] < MOST_STALL_MS, f"{kind}: /healthz waited {best[0]:.0f} ms (p99 {percentile(best[1], 99):.0f})"
    )
    bench.check(grown * MIB <= MOST_BOMB_GROWTH, f"{kind}: memory grew by {grown:.1f} MiB")
    return grown
