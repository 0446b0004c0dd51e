"""Where the time of an attempt went: name look-up, connect, TLS, first byte, transfer, by aiohttp's trace hooks."""

import ssl
import time
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.tracing import Trace

from quart_app.outbound.sockets import cut, has_unsent

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


class TimedConnector(aiohttp.TCPConnector):
    """A connector that runs the trace hooks of a new connection into the current Timings.

    Hooks given to the session would run for each request as well, which costs the hot path a tenth of its time;
    `_create_connection` is what every connector of aiohttp defines for itself.
    """

    hooks = aiohttp.TraceConfig()

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        timings = current.get()
        if timings is not None:
            timings.dialled = time.perf_counter()
        # a trace hands the session on to its hooks, and ours ask for none
        trace = Trace(None, self.hooks, SimpleNamespace(timings=timings))  # type: ignore[arg-type]
        made = await super()._create_connection(req, [trace], timeout)
        if timings is not None:
            timings.connected = time.perf_counter()
        return made

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        """Cuts a connection that is given up with some of a request not taken.

        Its close would come behind that, and an upstream that stands still would never see it.
        """
        transport = protocol.transport
        super()._release(key, protocol, should_close=should_close)
        if should_close and transport is not None and has_unsent(transport):
            cut(transport)


def note(moment: str) -> Any:
    """A hook that notes when it ran."""

    async def hook(session: Any, context: Any, params: Any) -> None:
        setattr(context.timings, moment, time.perf_counter())

    return hook


TimedConnector.hooks.on_dns_resolvehost_start.append(note("dns_started"))
TimedConnector.hooks.on_dns_resolvehost_end.append(note("dns_ended"))
TimedConnector.hooks.freeze()
