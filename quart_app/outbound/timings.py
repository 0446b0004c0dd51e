"""Where the time of an attempt went: name look-up, connect, TLS, first byte, transfer, by aiohttp's trace hooks."""

import ssl
import time
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.tracing import Trace

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


class TimedConnector(aiohttp.TCPConnector):
    """A connector that runs the trace hooks of a new connection into the current Timings.

    Hooks given to the session would run for each request as well, which costs the hot path a tenth of its time.
    """

    hooks = aiohttp.TraceConfig()

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        trace = Trace(None, self.hooks, SimpleNamespace(timings=current.get()))  # type: ignore[arg-type]
        return await super().connect(req, [trace], timeout)


def note(moment: str) -> Any:
    """A hook that notes when it ran."""

    async def hook(session: Any, context: Any, params: Any) -> None:
        setattr(context.timings, moment, time.perf_counter())

    return hook


TimedConnector.hooks.on_connection_create_start.append(note("dialled"))
TimedConnector.hooks.on_connection_create_end.append(note("connected"))
TimedConnector.hooks.on_dns_resolvehost_start.append(note("dns_started"))
TimedConnector.hooks.on_dns_resolvehost_end.append(note("dns_ended"))
TimedConnector.hooks.freeze()
