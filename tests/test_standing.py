"""How a connection stands: places, rates, what its API told, its breaker and its retries, as people are shown them."""

import asyncio
from datetime import UTC, datetime

import pytest

from quart_app import standing
from quart_app.errors import NotFound
from quart_app.outbound.told import Told
from quart_app.services import Services
from tests.flights import aim, answering, flight, fly
from tests.upstream import Upstream

pytestmark = pytest.mark.parametrize("database_url", [""])
"""Nothing here depends on the kind of database."""


def seconds_until(text: str) -> float:
    return (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()


async def test_a_connection_that_was_never_called_has_all_its_places(services: Services) -> None:
    await aim(services, "http://127.0.0.1:9")
    assert await standing.show(services, "orders") == {
        "connection": "orders",
        "in_flight": 0,
        "waiting": 0,
        "concurrency": 32,
        "per_minute": None,
        "sent_last_minute": None,
        "learned": None,
        "held_until": None,
        "breaker": {
            "state": "closed",
            "calls": 0,
            "failures": 0,
            "opened_at": None,
            "probes_at": None,
            "opened_count": 0,
        },
        "retries": {"calls": 0, "retries": 0, "left": 10},
    }


async def test_places_and_the_declared_rate_are_counted(services: Services, upstream: Upstream) -> None:
    target = await aim(services, upstream.url, concurrency=1, per_minute=600)
    await fly(flight(services, target))
    limits = services.client.limits_of(target)
    await limits.take(1)
    waiting = asyncio.create_task(limits.take(1))
    await asyncio.sleep(0)
    shown = await standing.show(services, "orders")
    assert (shown["in_flight"], shown["waiting"], shown["concurrency"]) == (1, 1, 1)
    assert (shown["per_minute"], shown["sent_last_minute"]) == (600, 2)
    limits.give()
    await waiting
    limits.give()


async def test_what_the_api_told_is_shown_until_it_is_over(services: Services, upstream: Upstream) -> None:
    upstream.handler = answering(200, X_RateLimit_Limit="100", X_RateLimit_Remaining="12", X_RateLimit_Reset="300")
    target = await aim(services, upstream.url)
    await fly(flight(services, target))
    learned = (await standing.show(services, "orders"))["learned"]
    assert (learned["limit"], learned["remaining"]) == (100, 12)
    assert seconds_until(learned["resets_at"]) == pytest.approx(300, abs=3)
    limits = services.client.limits_of(target)
    limits.learn(Told(hold_seconds=60, remaining=1, reset_seconds=0.0))
    shown = await standing.show(services, "orders")
    assert seconds_until(shown["held_until"]) == pytest.approx(60, abs=3)
    limits.held_until = 1.0
    shown = await standing.show(services, "orders")
    assert (shown["held_until"], shown["learned"]) == (None, {"limit": 100, "remaining": None, "resets_at": None})


async def test_an_open_breaker_says_since_when_and_until_when(services: Services, upstream: Upstream) -> None:
    upstream.handler = answering(503)
    target = await aim(services, upstream.url, attempts=1)
    await asyncio.gather(*(fly(flight(services, target)) for _ in range(20)))
    shown = (await standing.show(services, "orders"))["breaker"]
    assert (shown["state"], shown["calls"], shown["failures"], shown["opened_count"]) == ("open", 20, 20, 1)
    assert -3 < seconds_until(shown["opened_at"]) <= 0
    assert 26 < seconds_until(shown["probes_at"]) <= 30


async def test_retries_are_counted_with_what_is_left_of_them(services: Services, upstream: Upstream) -> None:
    upstream.handler = answering(503)
    await fly(flight(services, await aim(services, upstream.url, attempts=3)))
    assert (await standing.show(services, "orders"))["retries"] == {"calls": 1, "retries": 2, "left": 8}


async def test_an_unknown_connection_stands_nowhere(services: Services) -> None:
    with pytest.raises(NotFound):
        await standing.show(services, "nothing")
