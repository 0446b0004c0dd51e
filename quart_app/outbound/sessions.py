"""The library's sessions, one for each way out: a pooled socket was checked and secured under its own."""

import asyncio
from functools import partial

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from quart_app.outbound.connector import CheckedConnector
from quart_app.outbound.egress import Egress, Leave
from quart_app.outbound.tls import LazyContext, make_context
from quart_app.outbound.ways import Way
from quart_app.outbound.wire import PeerResponse, Wire

KEEPALIVE_SECONDS = 30
DNS_CACHE_SECONDS = 10
MOST_OWN = 100
"""Sessions of connections with TLS or a proxy of their own that are kept; the ones used longest ago go first."""


class Sessions:
    """Opened when first needed. One whose connection has another way now is closed once no call is on it."""

    def __init__(self, egress: Egress, resolver: AbstractResolver | None = None) -> None:
        self._egress = egress
        self._resolver = resolver
        self._system_tls = LazyContext(make_context)
        self._held: dict[str, aiohttp.ClientSession] = {}
        self._pool_of: dict[str, str] = {}
        self._retired: list[aiohttp.ClientSession] = []

    def held(self, way: Way) -> aiohttp.ClientSession | None:
        return self._held.get(way.pool)

    async def open(self, way: Way) -> aiohttp.ClientSession:
        """The session of a way that has none; those that nobody needs any more are closed on the occasion."""
        session = self._held.get(way.pool)
        if session is None:
            session = self._held[way.pool] = self._made(way)
            if way.owner:
                self._make_room(way)
            await self._close_retired()
        return session

    def _make_room(self, way: Way) -> None:
        before = self._pool_of.pop(way.owner, None)
        self._pool_of[way.owner] = way.pool
        if before is not None:
            self._retired.append(self._held.pop(before))
        while len(self._pool_of) > MOST_OWN:
            oldest = next(iter(self._pool_of))
            self._retired.append(self._held.pop(self._pool_of.pop(oldest)))

    async def _close_retired(self) -> None:
        done = [session for session in self._retired if is_idle(session)]
        self._retired = [session for session in self._retired if session not in done]
        for session in done:
            await session.close()

    def _made(self, way: Way) -> aiohttp.ClientSession:
        connector = CheckedConnector(
            Leave(self._egress, way.allow_private),
            self._tls_of(way),
            self._resolver,
            limit=0,
            keepalive_timeout=KEEPALIVE_SECONDS,
            ttl_dns_cache=DNS_CACHE_SECONDS,
        )
        # the factory is typed as one of aiohttp's own protocol, of which Wire is a kind
        connector._factory = partial(Wire, asyncio.get_running_loop())  # type: ignore[assignment]
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            max_line_size=16384,
            max_field_size=32768,
            response_class=PeerResponse,
            proxy=URL(way.proxy.url) if way.proxy else None,
        )
        session._retry_connection = False
        return session

    def _tls_of(self, way: Way) -> LazyContext:
        tls = way.tls
        if tls.verify and not tls.ca and not tls.certificate:
            return self._system_tls
        return LazyContext(
            partial(make_context, verify=tls.verify, ca=tls.ca, certificate=tls.certificate, key=tls.key)
        )

    async def close(self) -> None:
        for session in (*self._held.values(), *self._retired):
            await session.close()


def is_idle(session: aiohttp.ClientSession) -> bool:
    connector = session.connector
    return not isinstance(connector, CheckedConnector) or connector.idle
