"""Where the time of an attempt went: name look-up, connect, TLS, first byte, transfer, by aiohttp's trace hooks."""

import ssl
import time
from contextvars import ContextVar
from typing import Any

import aiohttp

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

    def spans(self) -> dict[str, float | None]:
        """Seconds of each phase, None for one that did not happen (a connection used again has only two)."""
        dial_began = self.dns_ended or self.dialled
        sent_from = self.connected or self.started
        return {
            "dns": span(self.dns_started, self.dns_ended),
            "connect": span(dial_began, self.tls_started or self.connected),
            "tls": span(self.tls_started, self.connected),
            "first_byte": span(sent_from, self.answered),
            "transfer": span(self.answered, self.ended),
        }

    @property
    def duration(self) -> float:
        return (self.ended or time.perf_counter()) - self.started


def span(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(max(0.0, end - start), 6)


class TimedContext(ssl.SSLContext):
    """A context that notes when a handshake begins, for which aiohttp has no hook."""

    @classmethod
    def make(cls) -> "TimedContext":
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_default_certs()
        return context

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        timings = current.get()
        if timings is not None:
            timings.tls_started = time.perf_counter()
        return super().wrap_bio(*args, **kwargs)


def trace_config() -> aiohttp.TraceConfig:
    """Hooks that write into the Timings given as `trace_request_ctx`; only a new connection runs them."""
    config = aiohttp.TraceConfig()

    async def dial_start(session: Any, context: Any, params: Any) -> None:
        timings: Timings = context.trace_request_ctx
        current.set(timings)
        timings.dialled = time.perf_counter()

    async def dial_end(session: Any, context: Any, params: Any) -> None:
        context.trace_request_ctx.connected = time.perf_counter()

    async def dns_start(session: Any, context: Any, params: Any) -> None:
        context.trace_request_ctx.dns_started = time.perf_counter()

    async def dns_end(session: Any, context: Any, params: Any) -> None:
        context.trace_request_ctx.dns_ended = time.perf_counter()

    config.on_connection_create_start.append(dial_start)
    config.on_connection_create_end.append(dial_end)
    config.on_dns_resolvehost_start.append(dns_start)
    config.on_dns_resolvehost_end.append(dns_end)
    return config
