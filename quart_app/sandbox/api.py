"""The views of /v1 that stand for what real APIs do: being slow, failing, limiting, streaming."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from quart import Response, g, request
from quart.typing import ResponseReturnValue

from quart_app.sandbox.wire import Problem, empty, seconds, whole_number

SLOW_SECONDS = 300
LARGE_BYTES = 8 * 1024**3
CHUNK_BYTES = 64 * 1024
KEYS = 10_000
PATTERN = bytes(range(256)) * (CHUNK_BYTES // 256)

Kept = TypeVar("Kept")


class Api:
    """`clock` returns seconds; it times the windows of /v1/limited."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.failures: dict[str, int] = {}
        self.windows: dict[str, tuple[float, int]] = {}

    async def get_slow(self) -> ResponseReturnValue:
        """Answers after `seconds` (1; at most 300)."""
        wait_seconds = seconds("seconds", 1, SLOW_SECONDS)
        await asyncio.sleep(wait_seconds)
        return {"waited_seconds": wait_seconds}

    async def any_flaky(self) -> ResponseReturnValue:
        """503 to the first `failures` (2) requests of each `key`, then 200 for good."""
        failures, key = whole_number("failures", 2, 0, 1000), request.args.get("key", "")
        seen = self.failures.get(key, 0) + 1
        remember(self.failures, key, seen)
        if seen <= failures:
            raise Problem(503, "Service Unavailable", f"Failure {seen} of {failures}; try again.")
        return {"key": key, "failures": failures, "requests": seen}

    async def any_limited(self) -> ResponseReturnValue:
        """`budget` (5) requests in `window_seconds` (10) for each `key` (the caller), then 429 until it ends.

        RateLimit-Limit, -Remaining and -Reset as draft-ietf-httpapi-ratelimit-headers-07; Retry-After in
        seconds (RFC 6585 §4).
        """
        budget = whole_number("budget", 5, 1, 10**6)
        window_seconds = whole_number("window_seconds", 10, 1, 3600)
        key = request.args.get("key", f"{g.caller.scheme}:{g.caller.client_id}:{g.caller.subject}")
        now = self.clock()
        started_at, used = self.windows.get(key, (now, 0))
        if now >= started_at + window_seconds:
            started_at, used = now, 0
        remember(self.windows, key, (started_at, min(used + 1, budget)))
        reset_seconds = math.ceil(started_at + window_seconds - now)
        headers = {
            "RateLimit-Limit": str(budget),
            "RateLimit-Remaining": str(max(budget - used - 1, 0)),
            "RateLimit-Reset": str(reset_seconds),
        }
        if used >= budget:
            headers["Retry-After"] = str(reset_seconds)
            raise Problem(429, "Too Many Requests", f"The budget is {budget} requests.", headers=headers)
        return {"budget": budget, "used": used + 1, "reset_seconds": reset_seconds}, headers

    async def get_stream(self) -> ResponseReturnValue:
        """`events` (10) server-sent events, one `every_seconds` (1); goes on after Last-Event-ID."""
        events, every_seconds = whole_number("events", 10, 0, 10**6), seconds("every_seconds", 1, 60)
        last_id = request.headers.get("Last-Event-ID", "0")
        first = int(last_id) + 1 if last_id.isascii() and last_id.isdigit() and len(last_id) <= 9 else 1
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        return streamed(ticks(first, events, every_seconds), headers)

    async def get_large(self) -> ResponseReturnValue:
        """`bytes` (1 MiB; at most 8 GiB) of a pattern: the byte at offset n is n modulo 256."""
        size_bytes = whole_number("bytes", 1024**2, 0, LARGE_BYTES)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes)}
        return streamed(pattern(size_bytes), headers)


def remember(table: dict[str, Kept], key: str, value: Kept) -> None:
    """Sets the entry; beyond `KEYS` of them the oldest is forgotten."""
    table[key] = value
    if len(table) > KEYS:
        del table[next(iter(table))]


async def ticks(first: int, count: int, every_seconds: float) -> AsyncIterator[str]:
    for number in range(first, count + 1):
        await asyncio.sleep(every_seconds if number > first else 0)
        yield f"id: {number}\nevent: tick\ndata: {json.dumps({'number': number, 'of': count})}\n\n"


async def pattern(size_bytes: int) -> AsyncIterator[bytes]:
    for _ in range(size_bytes // CHUNK_BYTES):
        await asyncio.sleep(0)  # without a real wait, a caller who is gone leaves this spinning
        yield PATTERN
    yield PATTERN[: size_bytes % CHUNK_BYTES]


def streamed(body: AsyncIterator[Any], headers: dict[str, str]) -> Response:
    """A body sent as it is made, for as long as it takes: Quart would cut it silently after a minute."""
    if request.method == "HEAD":
        return empty(200, headers)
    response = Response(body, headers=headers)
    response.timeout = None
    return response
