"""Crowds of callers that take their time (26)."""

import asyncio
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from faults.fakes import Asked, Peer, answer, fake
from faults.harness import Bench, fault, rounded
from faults.load import Steady, eventually

# 26

SLOW_HEADS, SLOW_BODIES = 2000, 500
TICK_SECONDS = 0.25
DRIPS = 20
"""Each sends a byte at every twentieth tick."""
MEASURED_SECONDS = 5.0
MOST_RATIO = 2.0
HEAD_SECONDS, BODY_SECONDS = 20.0, 65.0


class Crowd:
    """Connections that send a byte now and then, from a thread; each is known by when it was seen closed."""

    def __init__(self, port: int, first: bytes, then: bytes) -> None:
        self.first, self.then = first, then
        self.port = port
        self.socks: set[socket.socket] = set()
        self.refused = 0
        self.began = 0.0
        self.closed_after: list[float] = []
        self._stop = threading.Event()

    @contextmanager
    def pressing(self, count: int) -> Iterator["Crowd"]:
        self.began = time.monotonic()
        thread = threading.Thread(target=self.press, args=(count,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(10)
            for sock in self.socks:
                sock.close()

    def press(self, count: int) -> None:
        for _ in range(count):
            try:
                sock = socket.create_connection(("127.0.0.1", self.port), 5)
                sock.sendall(self.first)
                sock.setblocking(False)
                self.socks.add(sock)
            except OSError:
                self.refused += 1
        turn = 0
        while not self._stop.wait(TICK_SECONDS):
            for sock in self.ended():
                self.closed_after.append(time.monotonic() - self.began)
                self.socks.discard(sock)
                sock.close()
            turn += 1
            for sock in list(self.socks)[turn % DRIPS :: DRIPS]:
                with suppress(OSError):
                    sock.send(self.then)

    def ended(self) -> list[socket.socket]:
        """Those that the other side has closed; what it said before that is dropped."""
        found = []
        ready = select.poll()
        by_number = {sock.fileno(): sock for sock in self.socks}
        for number in by_number:
            ready.register(number, select.POLLIN | select.POLLRDHUP)
        for number, _ in ready.poll(0):
            try:
                if not by_number[number].recv(65536):
                    found.append(by_number[number])
            except BlockingIOError:
                continue
            except OSError:
                found.append(by_number[number])
        return found


@fault(
    "26",
    f"Slowloris: {SLOW_HEADS:,} connections with slow heads, {SLOW_BODIES} with slow bodies",
    invariant="p99 of good callers < 2× of that without the crowd; slow heads are closed within 20 s, slow bodies "
    "within 65 s",
    figure="p99 of good callers beside the crowd, the better of two rounds, over that before or after it, the larger",
    unit="×",
    note="Slow heads have 15 s here (`keep_alive_timeout`), not 5.",
)
async def crowds_of_slow_callers(bench: Bench) -> None:
    async with fake(answer(b"hi")) as upstream, bench.serving() as switchboard:
        upstream.reply = keep_answering
        name = await switchboard.connect("api", upstream.url)
        key = f"Host: localhost\r\nAuthorization: Bearer {switchboard.key}\r\n"
        body = f"POST /api/calls HTTP/1.1\r\n{key}Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n{{"
        heads = Crowd(switchboard.port, f"GET /proxy/{name}/ HTTP/1.1\r\n{key}X: ".encode(), b"x")
        bodies = Crowd(switchboard.port, body.encode(), b" ")
        steady = Steady(switchboard, f"{name}/", callers=4, a_second=60)
        async with steady.asking():
            await asyncio.sleep(1)
            quiet = [await steady.p99_over(MEASURED_SECONDS)]
            with bodies.pressing(SLOW_BODIES), heads.pressing(SLOW_HEADS):
                await asyncio.sleep(2)
                pressed = [await steady.p99_over(MEASURED_SECONDS) for _ in range(2)]  # by then the heads are closed
                await closed_in_time(bench, heads, bodies)
            quiet.append(await steady.p99_over(MEASURED_SECONDS))
    ratios = [one / max(quiet) for one in pressed]
    bench.ran(SLOW_HEADS + SLOW_BODIES)
    bench.figure(min(ratios))
    bench.check(
        min(ratios) < MOST_RATIO, f"p99 was {[rounded(one) for one in ratios]} times {max(quiet) * 1000:.1f} ms"
    )
    bench.check(float("inf") not in pressed, "a good caller was not answered")


async def keep_answering(asked: Asked, peer: Peer) -> None:
    await peer.send(answer(b"hi"))


async def closed_in_time(bench: Bench, heads: Crowd, bodies: Crowd) -> None:
    for crowd, seconds, what in ((heads, HEAD_SECONDS, "heads"), (bodies, BODY_SECONDS, "bodies")):
        left = seconds + 3 - (time.monotonic() - crowd.began)
        done = await eventually(lambda crowd=crowd: not crowd.socks, max(left, 0.1))  # type: ignore[misc]
        took = max(crowd.closed_after, default=0.0)
        if bench.check(done is not None, f"slow {what}: {len(crowd.socks)} still open after {seconds:.0f} s"):
            bench.remark(f"The last of the slow {what} was seen closed after {took:.0f} s.")
