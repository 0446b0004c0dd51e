"""Ways out with real proxies and TLS servers; one session for each way, and none that is left behind."""

import asyncio
import gc
import os
from pathlib import Path

import aiohttp
import pytest

from quart_app.outbound.client import AttemptFailed, Client
from quart_app.outbound.egress import Egress
from quart_app.outbound.sessions import MOST_OWN, Sessions
from quart_app.outbound.ways import SHARED, Proxy, Tls, way_of
from tests.outbound.certificates import issued, server_context
from tests.outbound.proxies import proxy
from tests.outbound.targets import read_all, scheme, target
from tests.outbound.upstreams import exchange, fetch, keep_answering, raw
from tests.served import free_port

AUTHORITY = issued("authority.example")
TRUSTING = Tls(ca=AUTHORITY.certificate)
BEARER = scheme(scheme="bearer", token="swordfish")


# --- through a proxy ---------------------------------------------------------------------------------------------


async def test_https_goes_through_a_tunnel_that_sees_no_credential(engine: Client, tmp_path: Path) -> None:
    server = issued("127.0.0.1", AUTHORITY).file(tmp_path, "server")
    async with raw(keep_answering, tls=server_context(server)) as upstream, proxy(user="me:secret") as between:
        way = Proxy(url=between.url, username="me", password="secret")
        aim = target(upstream.url, BEARER, tls=TRUSTING, proxy=way)
        assert await fetch(engine, aim) == (200, b"hi")
        assert await fetch(engine, aim) == (200, b"hi")
    assert [head.split(b" ")[0] for head in between.heads] == [b"CONNECT"], "and the tunnel is used again"
    assert b"swordfish" not in b"".join(between.heads)
    assert between.tunnelled > 0
    assert all(b"roxy-" not in head for head in upstream.heads)
    assert all(b"Bearer swordfish" in head for head in upstream.heads)


async def test_http_goes_in_absolute_form(engine: Client) -> None:
    async with raw(keep_answering) as upstream, proxy(user="me:secret") as between:
        way = Proxy(url=between.url, username="me", password="secret")
        assert await fetch(engine, target(upstream.url, proxy=way)) == (200, b"hi")
    assert between.heads[0].startswith(f"GET {upstream.url}/ HTTP/1.1".encode())


async def test_the_way_to_the_proxy_may_be_tls_as_well(engine: Client, tmp_path: Path) -> None:
    server = issued("127.0.0.1", AUTHORITY).file(tmp_path, "server")
    context = server_context(server)
    async with raw(keep_answering, tls=server_context(server)) as upstream, proxy(tls=context) as between:
        aim = target(upstream.url, tls=TRUSTING, proxy=Proxy(url=between.url))
        assert await fetch(engine, aim) == (200, b"hi")
    assert between.heads[0].startswith(b"CONNECT ")


async def test_a_certificate_behind_a_tunnel_is_checked_for_the_upstreams_name(engine: Client, tmp_path: Path) -> None:
    server = issued("other.example", AUTHORITY).file(tmp_path, "server")
    async with raw(keep_answering, tls=server_context(server)) as upstream, proxy() as between:
        with pytest.raises(AttemptFailed, match="for another host than") as raised:
            await exchange(engine, target(upstream.url, BEARER, tls=TRUSTING, proxy=Proxy(url=between.url)))
    assert (raised.value.reason, upstream.heads) == ("tls_failed", [])


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_a_proxy_that_wants_another_password_is_told(engine: Client, tmp_path: Path, tls: bool) -> None:
    server = issued("127.0.0.1", AUTHORITY).file(tmp_path, "server")
    context = server_context(server) if tls else None
    async with raw(keep_answering, tls=context) as upstream, proxy(user="me:secret") as between:
        way = Proxy(url=between.url, username="me", password="old")
        with pytest.raises(AttemptFailed) as raised:
            await exchange(engine, target(upstream.url, BEARER, tls=TRUSTING, proxy=way))
    assert raised.value.reason == "connect_failed"
    assert "user name or password (407)" in raised.value.detail
    assert upstream.connections == 0


async def test_a_proxy_that_does_not_connect_is_told_with_its_status_and_none_of_its_words(engine: Client) -> None:
    answer = b"HTTP/1.1 503 Out of order\r\nContent-Length: 5\r\n\r\nwords"
    async with proxy(answer=answer) as between:
        with pytest.raises(AttemptFailed) as raised:
            await exchange(engine, target("https://127.0.0.1:1", tls=TRUSTING, proxy=Proxy(url=between.url)))
    assert raised.value.reason == "connect_failed"
    assert raised.value.detail == "The outbound proxy did not connect to the upstream (503)."


async def test_a_proxy_that_is_not_there_is_a_failed_connect(engine: Client) -> None:
    with pytest.raises(AttemptFailed, match="outbound proxy refused") as raised:
        await exchange(engine, target("https://api.example", proxy=Proxy(url=f"http://127.0.0.1:{free_port()}")))
    assert raised.value.reason == "connect_failed"


async def test_the_proxys_own_address_obeys_the_rules(engine: Client) -> None:
    async with proxy() as between:
        aim = target("https://api.example", proxy=Proxy(url=between.url), allow_private=False)
        with pytest.raises(AttemptFailed, match="egress rule loopback") as raised:
            await exchange(engine, aim)
    assert (raised.value.reason, between.heads) == ("egress_denied", [])


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254", "http://metadata.google.internal", "http://api.example:22", "https://[::]"]
)
async def test_what_a_url_names_outright_is_checked_here_even_where_a_proxy_would_resolve(
    engine: Client, url: str
) -> None:
    async with proxy() as between:
        with pytest.raises(AttemptFailed) as raised:
            await exchange(engine, target(url, proxy=Proxy(url=between.url)))
    assert (raised.value.reason, between.heads) == ("egress_denied", [])


# --- sessions ----------------------------------------------------------------------------------------------------


def sessions_alive() -> int:
    gc.collect()
    return sum(1 for item in gc.get_objects() if isinstance(item, aiohttp.ClientSession) and not item.closed)


async def test_a_connection_that_is_edited_a_thousand_times_leaves_no_session_behind(engine: Client) -> None:
    async with raw(keep_answering) as upstream:
        assert await fetch(engine, target(upstream.url, tls=Tls(verify=False))) == (200, b"hi")
        before, files = sessions_alive(), len(os.listdir("/dev/fd"))
        for number in range(1000):
            way = Proxy(url="http://proxy.example", username="me", password=f"secret-{number}")
            await engine._sessions.open(target(upstream.url, proxy=way).way)
            if number % 100 == 0:
                assert await fetch(engine, target(upstream.url, tls=Tls(verify=False))) == (200, b"hi")
        assert sessions_alive() <= before + 1
        assert len(os.listdir("/dev/fd")) <= files + 2


async def test_a_call_under_way_is_not_cut_off_when_its_connection_gets_another_way(engine: Client) -> None:
    go_on = asyncio.Event()

    async def slow(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await go_on.wait()
        writer.write(b"cd")

    async with raw(slow) as upstream:
        answer = await exchange(engine, target(upstream.url, tls=Tls(verify=False)))
        await engine._sessions.open(target(upstream.url, tls=TRUSTING).way)
        await engine._sessions.open(target(upstream.url, tls=Tls(verify=False, ca=AUTHORITY.certificate)).way)
        go_on.set()
        assert await read_all(answer) == b"abcd"


async def test_sessions_of_connections_that_are_gone_give_way_to_new_ones() -> None:
    sessions = Sessions(Egress())
    ways = [
        way_of(str(number), allow_private=False, tls=Tls(verify=False), proxy=None) for number in range(MOST_OWN + 5)
    ]
    shared = await sessions.open(SHARED[False])
    for way in ways:
        await sessions.open(way)
    assert [sessions.held(way) is None for way in ways[:6]] == [True] * 5 + [False]
    assert sessions.held(SHARED[False]) is shared
    assert sessions.held(SHARED[True]) is None
    await sessions.close()
    assert shared.closed


async def test_one_connections_tls_is_never_lent_to_another(engine: Client, tmp_path: Path) -> None:
    server = issued("127.0.0.1", AUTHORITY).file(tmp_path, "server")
    async with raw(keep_answering, tls=server_context(server)) as upstream:
        assert await fetch(engine, target(upstream.url, tls=Tls(verify=False))) == (200, b"hi")
        with pytest.raises(AttemptFailed):
            await exchange(engine, target(upstream.url))
        assert await fetch(engine, target(upstream.url, tls=TRUSTING)) == (200, b"hi")
    assert upstream.connections == 2


async def test_every_request_names_this_app_on_its_way() -> None:
    client = Client(via="1.1 sb-0123")
    async with raw(keep_answering) as upstream:
        assert await fetch(client, target(upstream.url)) == (200, b"hi")
    await client.close()
    assert b"\r\nvia: 1.1 sb-0123\r\n" in upstream.heads[0]
