"""How long calls stay, on both databases: by age, number and bytes, with all that belongs to them."""

import os
import time
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, text

from quart_app.history import retention
from quart_app.history.indexer import lag
from quart_app.history.search import VOLUME
from quart_app.models import Attempt, Body, Call
from quart_app.outbound.timings import Timings
from quart_app.recorder import Record, hour_key
from quart_app.records import add_attempt
from quart_app.services import Services
from tests.history.test_init import found, index, put, record

DAY = 86400.0


def old(days: float, **more: Any) -> Record:
    """A call of so many days ago, with an attempt and a body of its own, kept in that hour."""
    at = time.time() - days * DAY
    made = record(started_at=at, response_media_type="text/plain", response_size=1, **more)
    key = f"{hour_key(at)}-{made.call['id']}"
    made.bodies[key] = made.call["response_body"] = f"pomelo {made.call['id']}".encode() * 20
    made.call["response_body"] = key
    add_attempt(made, Timings(), status=200)
    return made


def keep(services: Services, **limits: int) -> Services:
    """With these limits and no others."""
    given: Any = {"keep_days": 0, "keep_calls": 0, "keep_bytes": 0} | limits
    services.settings = replace(services.settings, **given)
    return services


async def count(services: Services, model: Any) -> int:
    async with services.db.session() as session:
        return int(await session.scalar(select(func.count()).select_from(model)) or 0)


async def counts(services: Services) -> tuple[int, int, int]:
    return await count(services, Call), await count(services, Attempt), await count(services, Body)


async def test_calls_go_by_age_with_attempts_and_bodies(services: Services) -> None:
    await put(services, *(old(days) for days in (40, 31, 30.5)))
    kept = await put(services, *(old(days) for days in (29, 1, 0)))
    await index(services)
    assert await retention.prune(keep(services, keep_days=30)) == 3
    assert await found(services) == kept[::-1]
    assert await counts(services) == (3, 3, 3)
    assert await retention.prune(services) == 0


async def test_calls_go_by_number(services: Services) -> None:
    ids = await put(services, *(old(1) for _ in range(510)))
    assert await retention.prune(keep(services, keep_calls=300)) == 210
    assert await found(services, limit=500) == sorted(ids[210:], reverse=True) or services.db.is_sqlite
    assert await count(services, Call) == 300
    assert await retention.prune(services) == 0


async def test_without_limits_all_stay(services: Services) -> None:
    await put(services, *(old(1000) for _ in range(3)))
    assert await retention.prune(keep(services)) == 0
    assert await counts(services) == (3, 3, 3)


async def test_a_call_that_is_being_sent_stays_with_its_body(services: Services) -> None:
    (sending, _, late) = await put(services, old(90, state="sending"), old(80), old(1))
    await index(services)
    assert await retention.prune(keep(services, keep_days=30)) == 1
    assert await found(services) == [late, sending]
    assert await count(services, Body) == 3, "bodies go by hours, from the oldest call's on"


async def test_calls_go_by_bytes_down_to_the_limit_and_no_further(services: Services) -> None:
    for day in range(20, 0, -1):
        made = [old(day + number / 1000) for number in range(20)]
        for one in made:
            (key,) = one.bodies
            one.bodies[key] = os.urandom(30_000)
        await put(services, *made)
    if not services.db.is_sqlite:
        async with services.db.connect() as connection:
            await connection.execute(text("ANALYZE"))
    async with services.db.session() as session:
        before = await retention.used_bytes(session)
    limit = before * 2 // 3
    keep(services, keep_bytes=limit)
    for _ in range(30 if services.db.is_sqlite else 1):  # PostgreSQL tells of deleted rows a few seconds late
        await retention.prune(services)
    left = await count(services, Call)
    assert 100 < left < 350
    async with services.db.session() as session:
        assert services.db.is_sqlite is False or await retention.used_bytes(session) <= limit
        newest = await session.scalar(select(func.max(Call.started_at)))
    assert newest
    assert newest > time.time() - 2 * DAY, "the oldest go first"


async def test_calls_of_this_hour_do_not_go_for_their_bytes(services: Services) -> None:
    await put(services, *(old(0) for _ in range(20)))
    assert await retention.prune(keep(services, keep_bytes=1)) == 0


async def test_a_body_that_a_kept_call_shares_stays(services: Services) -> None:
    first, second = old(10), old(9.999)
    second.call["response_body"] = first.call["response_body"]
    second.bodies.clear()
    (_, id_) = await put(services, first, second)
    keep(services, keep_calls=1)
    assert await retention.prune(services) == 1
    assert await found(services) == [id_]
    assert await count(services, Body) == 1


@pytest.mark.parametrize("database_url", [""])
async def test_their_words_go_too(services: Services) -> None:
    await put(services, *(old(40, url="http://h/durian") for _ in range(5)))
    (kept,) = await put(services, old(1, url="http://h/durian"))
    await index(services)
    await put(services, old(41, url="http://h/durian"))
    assert await retention.prune(keep(services, keep_days=30)) == 6
    async with services.db.session() as session:
        hits = await session.scalars(text("SELECT rowid FROM call_search_0 WHERE call_search_0 MATCH 'durian'"))
        assert list(hits) == [6]
        hits = await session.scalars(text("SELECT rowid FROM call_search_0 WHERE call_search_0 MATCH 'pomelo'"))
        assert list(hits) == [6]
    await index(services)
    assert await found(services, q="durian") == [kept]


@pytest.mark.parametrize("database_url", [""])
async def test_a_record_that_was_emptied_is_counted_and_searched_anew(services: Services) -> None:
    await put(services, *(old(40, url="http://h/durian") for _ in range(5)))
    await index(services)
    assert await retention.prune(keep(services, keep_days=30)) == 5
    assert await counts(services) == (0, 0, 0)
    ids = await put(services, record(url="http://h/durian"), record(url="http://h/durian"))
    async with services.db.session() as session:
        assert await lag(session) == 2
    await index(services)
    assert await found(services, q="durian") == ids[::-1]


@pytest.mark.parametrize("database_url", [""])
async def test_a_volume_goes_with_the_last_of_its_calls(services: Services) -> None:
    await put(services, *(old(40) for _ in range(5)))
    await services.db.execute([f"UPDATE calls SET number = number + {VOLUME - 3}"])
    await index(services)
    (kept,) = await put(services, old(1, url="http://h/durian"))
    await index(services)
    assert await retention.prune(keep(services, keep_days=30)) == 5
    async with services.db.session() as session:
        names = await session.scalars(text("SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL%'"))
        assert list(names) == ["call_search_1"]
    assert await found(services, q="durian") == [kept]


@pytest.mark.parametrize("database_url", [""])
async def test_the_file_gets_smaller(services: Services) -> None:
    assert services.db.path
    made = [old(40) for _ in range(40)]
    for one in made:
        (key,) = one.bodies
        one.bodies[key] = os.urandom(60_000)
    await put(services, *made)

    async def pages() -> int:
        async with services.db.session() as session:
            return int(await session.scalar(text("PRAGMA page_count")))

    before = await pages()
    await retention.prune(keep(services, keep_days=30))
    for _ in range(20):
        await services.db.give_back(retention.FREE_PAGES)
    assert await pages() < before / 2
