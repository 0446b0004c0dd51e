"""New connections: the address and the name are checked, the time of each phase is taken, TLS is ready when needed."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.tracing import Trace

from quart_app.outbound.egress import Leave, dialling
from quart_app.outbound.sockets import cut, has_unsent
from quart_app.outbound.timings import current, note
from quart_app.outbound.tls import LazyContext

MOST_ANSWERS = 1000
MOST_ADDRESSES = 16
LOOK_UP_SECONDS = 10.0


class CheckedResolver(AbstractResolver):
    """A name with one denied address is denied altogether; one without any address does not resolve."""

    def __init__(self, resolver: AbstractResolver, leave: Leave) -> None:
        self._resolver = resolver
        self._leave = leave

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        """Raises EgressDenied, OSError for a look-up that fails or takes too long."""
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                found = await self._resolver.resolve(host, port, family)
        except TimeoutError:
            raise OSError("the look-up took too long") from None
        if not 0 < len(found) <= MOST_ANSWERS:  # each is checked, which takes a while
            raise OSError("the name has no address, or far too many")
        for item in found:
            self._leave.check(item["host"], port, name=host)
        return found[:MOST_ADDRESSES]

    async def close(self) -> None:
        await self._resolver.close()


class CheckedConnector(aiohttp.TCPConnector):
    """A connector under one egress policy that runs trace hooks of a new connection into the current Timings.

    Hooks given to the session would run for each request as well, which costs the hot path a tenth of its time;
    `_create_connection` is what every connector of aiohttp defines for itself.
    """

    hooks = aiohttp.TraceConfig()

    def __init__(self, leave: Leave, tls: LazyContext, resolver: AbstractResolver | None, **options: Any) -> None:
        checked = CheckedResolver(resolver or aiohttp.DefaultResolver(), leave)
        super().__init__(resolver=checked, socket_factory=leave.socket, **options)
        self._leave = leave
        self._tls = tls
        self._owned = checked if resolver is None else None

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        """All of it within the connect time: look-up, every address that is tried, the proxy's part and TLS."""
        timings = current.get()
        if timings is not None:
            timings.dialled = time.perf_counter()
        self._leave.check_target(req.url.raw_host or "", req.url.port or 0)
        if req.is_ssl() or (req.proxy is not None and req.proxy.scheme == "https"):
            self._ssl = await self._tls.get()
        # a trace hands the session on to its hooks, and ours ask for none
        trace = Trace(None, self.hooks, SimpleNamespace(timings=timings))  # type: ignore[arg-type]
        async with asyncio.timeout(timeout.sock_connect):
            made = await super()._create_connection(req, [trace], timeout)
        if timings is not None:
            timings.connected = time.perf_counter()
        return made

    async def _create_direct_connection(self, req: Any, *args: Any, **options: Any) -> Any:
        """To the upstream or to the proxy before it: an allowance for a name goes by this one."""
        dialling.set(req.url.raw_host)
        return await super()._create_direct_connection(req, *args, **options)

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        """Cuts a connection that is given up with some of a request not taken.

        Its close would come behind that, and an upstream that stands still would never see it.
        """
        transport = protocol.transport
        super()._release(key, protocol, should_close=should_close)
        if should_close and transport is not None and has_unsent(transport):
            cut(transport)

    @property
    def idle(self) -> bool:
        """Whether no call is on any of its connections."""
        return not self._acquired

    async def close(self, *, abort_ssl: bool = False) -> None:
        await super().close(abort_ssl=abort_ssl)
        if self._owned is not None:
            await self._owned.close()


CheckedConnector.hooks.on_dns_resolvehost_start.append(note("dns_started"))
CheckedConnector.hooks.on_dns_resolvehost_end.append(note("dns_ended"))
CheckedConnector.hooks.freeze()
