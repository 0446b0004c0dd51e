"""Where the time of an attempt went: name look-up, connect, TLS, first byte, transfer, by aiohttp's trace hooks."""

import time
from contextvars import ContextVar
from typing import Any

current: ContextVar["Timings | None"] = ContextVar("current", default=None)


class Timings:
    """Moments of one attempt on the monotonic clock, in seconds; None for what did not happen."""

    __slots__ = (
        "answered",
        "connected",
        "dialled",
        "dns_ended",
        "dns_started",
        "ended",
        "handshake",
        "peer",
        "started",
        "tls_started",
    )

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.dns_started: float | None = None
        self.dns_ended: float | None = None
        self.dialled: float | None = None
        self.tls_started: float | None = None
        self.connected: float | None = None
        self.answered: float | None = None
        self.ended: float | None = None
        self.peer: Any = None
        self.handshake: Any = None

    def spans(self) -> tuple[float | None, ...]:
        """Seconds of dns, connect, tls, first byte and transfer; None for a phase that did not happen.

        A connection used again has only the last two.
        """
        first_byte = span(self.connected or self.started, self.answered)
        transfer = span(self.answered, self.ended)
        if self.dialled is None:
            return None, None, None, first_byte, transfer
        return (
            span(self.dns_started, self.dns_ended),
            span(self.dns_ended or self.dialled, self.tls_started or self.connected),
            span(self.tls_started, self.connected),
            first_byte,
            transfer,
        )

    @property
    def duration(self) -> float:
        return (self.ended or time.perf_counter()) - self.started


def span(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(max(0.0, end - start), 6)


def note(moment: str) -> Any:
    """A hook that notes when it ran."""

    async def hook(session: Any, context: Any, params: Any) -> None:
        setattr(context.timings, moment, time.perf_counter())

    return hook
