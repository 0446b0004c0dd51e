"""New connections: what a name resolves to is checked, then what is dialled, and all of it within the connect time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver

from quart_app.outbound.client import AttemptFailed, Client
from quart_app.outbound.connector import MOST_ADDRESSES, MOST_ANSWERS
from quart_app.outbound.egress import Egress
from quart_app.outbound.target import Target
from tests.outbound.resolvers import Answers, Refuses
from tests.outbound.targets import target
from tests.outbound.upstreams import Raw, exchange, fetch, keep_answering, raw

PUBLIC = "192.0.2.7"
"""Stands for a public address: of TEST-NET (RFC 5737), where nobody is, and allowed to these tests."""


@asynccontextmanager
async def engine_with(resolver: AbstractResolver, *allow: str) -> AsyncIterator[Client]:
    client = Client(egress=Egress([f"{PUBLIC}/32", *allow]), resolver=resolver)
    try:
        yield client
    finally:
        await client.close()


def named(upstream: Raw, host: str = "api.example", **policy: Any) -> Target:
    return target(f"http://{host}:{upstream.url.rpartition(':')[2]}", **policy)


async def failure(client: Client, aim: Target) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as raised:
        await exchange(client, aim)
    return raised.value


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], [PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], ["::1"], [PUBLIC] * 999 + ["10.0.0.1"],
     ["169.254.169.254"], ["::ffff:127.0.0.1"]],
)  # fmt: skip
async def test_a_name_with_one_denied_address_is_denied_altogether(addresses: list[str]) -> None:
    async with raw(keep_answering) as upstream, engine_with(Answers(addresses)) as client:
        error = await failure(client, named(upstream, allow_private=False))
    assert (error.reason, upstream.connections) == ("egress_denied", 0)
    assert "found under the name api.example" in error.detail
    assert "egress_allow" in error.detail


async def test_leave_for_private_addresses_is_no_leave_for_a_name_that_also_has_a_metadata_address() -> None:
    async with raw(keep_answering) as upstream, engine_with(Answers(["127.0.0.1", "169.254.169.254"])) as client:
        error = await failure(client, named(upstream))
    assert (error.reason, upstream.connections) == ("egress_denied", 0)


async def test_a_name_that_resolves_anew_between_check_and_dial_reaches_nothing() -> None:
    """DNS rebinding: the first answer is fine, every later one is this host."""
    resolver = Answers([PUBLIC], ["127.0.0.1"])
    async with raw(keep_answering) as upstream, engine_with(resolver) as client:
        aim = named(upstream, allow_private=False, connect_seconds=0.1)
        reasons = [(await failure(client, aim)).reason for _ in range(3)]
    assert upstream.connections == 0
    assert set(reasons) <= {"connect_timeout", "connect_failed", "egress_denied"}


async def test_a_name_is_dialled_at_the_address_that_was_checked() -> None:
    resolver = Answers(["127.0.0.1"], [PUBLIC])
    async with raw(keep_answering) as upstream, engine_with(resolver) as client:
        assert await fetch(client, named(upstream)) == (200, b"hi")
    assert resolver.asked == 1


async def test_an_entry_for_a_name_opens_private_addresses_under_it() -> None:
    async with raw(keep_answering) as upstream:
        port = upstream.url.rpartition(":")[2]
        async with engine_with(Answers(["127.0.0.1"]), f"host:svc.internal:{port}") as client:
            assert await fetch(client, named(upstream, "svc.internal", allow_private=False)) == (200, b"hi")
            error = await failure(client, named(upstream, "other.internal", allow_private=False))
            literal = await failure(client, named(upstream, "127.0.0.1", allow_private=False))
    assert (error.reason, literal.reason) == ("egress_denied", "egress_denied")


@pytest.mark.parametrize(
    "resolver", [Refuses(), Answers([]), Answers(["127.0.0.1"] * 1001)], ids=["SERVFAIL", "none", "too many"]
)
async def test_a_look_up_that_fails_fails_closed(resolver: AbstractResolver) -> None:
    async with raw(keep_answering) as upstream, engine_with(resolver) as client:
        error = await failure(client, named(upstream))
    assert (error.reason, upstream.connections) == ("dns_failed", 0)


async def test_a_look_up_that_takes_too_long_ends_with_the_connect_time() -> None:
    async with raw(keep_answering) as upstream, engine_with(Answers(["127.0.0.1"], seconds=5)) as client:
        began = time.monotonic()
        error = await failure(client, named(upstream, connect_seconds=0.1))
    assert error.reason == "dns_failed"
    assert "within the connect time" in error.detail
    assert time.monotonic() - began < 1


async def test_a_thousand_addresses_are_all_checked_and_few_are_tried() -> None:
    """One of the first is where nothing listens; the connect time is for all of them together."""
    resolver = Answers([f"127.0.{number // 250}.{number % 250 + 1}" for number in range(1000)])
    async with raw(keep_answering) as upstream, engine_with(resolver) as client:
        assert await fetch(client, named(upstream)) == (200, b"hi")
    assert MOST_ADDRESSES < MOST_ANSWERS == 1000


async def test_one_look_up_serves_all_who_wait_for_it() -> None:
    resolver = Answers(["127.0.0.1"], seconds=0.05)
    async with raw(keep_answering) as upstream, engine_with(resolver) as client:
        answers = await asyncio.gather(*(fetch(client, named(upstream)) for _ in range(20)))
    assert set(answers) == {(200, b"hi")}
    assert resolver.asked == 1


@pytest.mark.parametrize("name", ["metadata.google.internal", "metadata.amazonaws.com"])
async def test_a_metadata_name_is_refused_before_anything_is_resolved(name: str) -> None:
    resolver = Answers(["127.0.0.1"])
    async with raw(keep_answering) as upstream, engine_with(resolver) as client:
        error = await failure(client, named(upstream, name))
    assert (error.reason, resolver.asked, upstream.connections) == ("egress_denied", 0, 0)
    assert f"add host:{name}:" in error.detail


async def test_a_denied_port_is_refused_before_anything_is_resolved() -> None:
    resolver = Answers(["127.0.0.1"])
    async with engine_with(resolver) as client:
        error = await failure(client, target("http://cache.example:6379"))
    assert (error.reason, resolver.asked) == ("egress_denied", 0)
    assert "egress rule port: cache.example port 6379" in error.detail
    assert "add host:cache.example:6379 to the setting egress_allow" in error.detail


async def test_the_own_listener_is_refused_under_every_name() -> None:
    async with raw(keep_answering) as upstream:
        bind = f"127.0.0.1:{upstream.url.rpartition(':')[2]}"
        client = Client(egress=Egress(bind=bind), resolver=Answers(["127.0.0.1"]))
        errors = [await failure(client, named(upstream, host)) for host in ("127.0.0.1", "localhost", "api.example")]
        await client.close()
    assert [error.reason for error in errors] == ["egress_denied"] * 3
    assert all("own_listener" in error.detail for error in errors)
    assert upstream.connections == 0
