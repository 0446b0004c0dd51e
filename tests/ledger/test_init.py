"""The ledger: one may dial, all others see who; what is left open is closed as what it was."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from quart_app import ledger
from quart_app.ledger import ClaimLost, Exchange, Standing
from quart_app.models import Token, TokenExchange
from quart_app.outbound.target import Target
from quart_app.services import Services
from tests.sandboxed import connected
from tests.tokens.kept import entries

FORM = {
    "name": "items",
    "base_url": "https://api.example.com/v1",
    "auth": {
        "scheme": "oauth2", "grant": "refresh_token", "token_url": "https://login.example.com/token",
        "client_id": "client", "refresh_token": "first",
    },
}  # fmt: skip


@pytest.fixture
async def target(services: Services) -> Target:
    return await connected(services, FORM)


async def found(services: Services, target: Target) -> Standing:
    standing = await ledger.standing(services, target.id)
    assert standing is not None
    return standing


async def claim(services: Services, target: Target) -> Exchange:
    made = await ledger.claim(
        services, target, await found(services, target), grant_type="refresh_token", cause="expired"
    )
    assert made is not None
    return made


def states(rows: Sequence[TokenExchange]) -> list[tuple[str, str | None]]:
    return [(row.state, row.reason) for row in rows]


async def test_of_many_who_claim_at_once_one_may_dial(services: Services, target: Target) -> None:
    standing = await found(services, target)
    claims = (ledger.claim(services, target, standing, grant_type="refresh_token", cause="expired") for _ in range(20))
    made = [one for one in await asyncio.gather(*claims) if one is not None]
    assert len(made) == 1
    assert states(await entries(services)) == [("claimed", None)]
    after = await found(services, target)
    assert (after.claim, after.owner, after.lapsed) == (made[0].id, services.process, False)


async def test_a_claim_of_a_generation_that_is_over_is_none(services: Services, target: Target) -> None:
    standing = replace(await found(services, target), generation=7)
    assert await ledger.claim(services, target, standing, grant_type="refresh_token", cause="expired") is None
    assert await entries(services) == []


async def test_what_is_taken_over_before_it_was_sent_never_left_and_after_it_is_in_doubt(
    services: Services, target: Target
) -> None:
    await claim(services, target)
    second = await claim(services, target)
    assert await ledger.sent(services, target, second) is not None
    await claim(services, target)
    assert states(await entries(services)) == [("failed", "abandoned"), ("in_doubt", "abandoned"), ("claimed", None)]
    assert await ledger.was_in_doubt(services, target.id, 0)
    assert not await ledger.was_in_doubt(services, target.id, 1)


async def test_sent_is_on_the_database_s_clock_and_renews_the_lease(services: Services, target: Target) -> None:
    made = await claim(services, target)
    async with services.db.begin() as session:
        await session.execute(update(Token).values(lease_until=time.time() + 1))
    noted = await ledger.sent(services, target, made)
    assert noted is not None
    assert noted.sent_at is not None
    assert abs(noted.sent_at - time.time()) < 5
    async with services.db.session() as session:
        kept = await session.get_one(Token, target.id)
    assert kept.lease_until is not None
    assert kept.lease_until - noted.sent_at > ledger.TOKEN_SECONDS


@pytest.mark.parametrize("change", [{"lease_until": 1.0}, {"claim": "another's"}])
async def test_nothing_may_be_sent_under_a_claim_that_is_over(
    services: Services, target: Target, change: dict[str, Any]
) -> None:
    made = await claim(services, target)
    async with services.db.begin() as session:
        await session.execute(update(Token).values(**change))
    assert await ledger.sent(services, target, made) is None
    assert states(await entries(services)) == [("claimed", None)]


async def test_another_exchange_goes_under_the_same_claim_or_not_at_all(services: Services, target: Target) -> None:
    made = await claim(services, target)
    async with services.db.begin() as session:
        await session.execute(update(Token).values(lease_until=1.0))
    said = {"state": "in_doubt", "failure": "provider_down", "reason": "reset", "detail": "Lost."}
    second = await ledger.again(services, target, made, "in_doubt", said)
    after = await found(services, target)
    assert (after.claim, after.lapsed) == (second.id, False)
    with pytest.raises(ClaimLost):
        await ledger.again(services, target, made, "in_doubt", said)
    assert states(await entries(services)) == [("in_doubt", "reset"), ("claimed", None)]


async def test_a_claim_is_given_back_once(services: Services, target: Target) -> None:
    made = await claim(services, target)
    async with services.db.begin() as session:
        assert await ledger.release(session, target.id, made)
        assert not await ledger.release(session, target.id, made)
    assert (await found(services, target)).claim is None


async def test_what_other_processes_have_open_is_found(services: Services, target: Target) -> None:
    await claim(services, target)
    assert await ledger.left_open(services) == []
    services.process = "another:1:1"
    assert [row.connection for row in await ledger.left_open(services)] == ["items"]


async def test_how_long_a_failure_holds_the_next_dial_back_is_on_the_database_s_clock(
    services: Services, target: Target
) -> None:
    async with services.db.begin() as session:
        await session.execute(update(Token).values(retry_at=services.db.now() + 30, failures=2))
    standing = await found(services, target)
    assert 28 < standing.wait_seconds <= 30
    assert standing.failures == 2
    assert await ledger.standing(services, "no such connection") is None


async def test_the_ledger_is_read_by_pages_newest_first_and_shows_no_secret(services: Services, target: Target) -> None:
    made = [await claim(services, target) for _ in range(5)]
    async with services.db.session() as session:
        first = await ledger.page(session, target.id, limit=2, after=None)
        rest = await ledger.page(session, target.id, limit=10, after=first[-1].id)
    assert [row.id for row in (*first, *rest)] == [one.id for one in reversed(made)]
    shown = ledger.view(first[0])
    assert (shown["state"], shown["cause"], shown["owner"]) == ("claimed", "expired", services.process)
    assert shown["claimed_at"].endswith("Z")
    assert shown["ended_at"] is None


async def test_old_exchanges_go_but_for_the_last_of_each_connection(services: Services, target: Target) -> None:
    for _ in range(3):
        await claim(services, target)
    async with services.db.begin() as session:
        await session.execute(update(TokenExchange).values(ended_at=1.0))
    await ledger.prune(services)
    assert len(await entries(services)) == 1


async def test_where_calls_stay_for_ever_so_do_exchanges(services: Services, target: Target) -> None:
    services.settings = replace(services.settings, keep_days=0)
    for _ in range(3):
        await claim(services, target)
    async with services.db.begin() as session:
        await session.execute(update(TokenExchange).values(ended_at=1.0))
    await ledger.prune(services)
    assert len(await entries(services)) == 3
