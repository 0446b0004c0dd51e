"""The indexer: in small steps, once for each call, and never ahead of a call's end (SQLite)."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from quart_app.history.indexer import BUSY_RECORDS, Indexer, lag
from quart_app.services import Services
from tests.history.test_init import found, index, put, record

pytestmark = pytest.mark.parametrize("database_url", [""])


async def rows(services: Services, query: str) -> list[tuple[Any, ...]]:
    async with services.db.session() as session:
        return [tuple(row) for row in await session.execute(text(query))]


async def behind(services: Services) -> int:
    async with services.db.session() as session:
        return await lag(session)


async def test_a_tick_takes_everything_in_and_the_next_has_nothing_to_do(services: Services) -> None:
    ids = await put(services, *(record(url=f"http://h/kiwi/{number}") for number in range(450)))
    indexer = Indexer(services)
    assert await behind(services) == 450
    await indexer.tick()
    assert await behind(services) == 0
    assert await indexer.step() is False
    assert await found(services, q="kiwi", limit=500) == ids[::-1]


async def test_while_many_records_are_written_a_tick_is_one_small_step(services: Services) -> None:
    indexer = Indexer(services)
    await put(services, *(record() for _ in range(BUSY_RECORDS + 50)))
    indexer.size = 30
    await indexer.tick()
    assert await behind(services) == BUSY_RECORDS + 50 - 30
    await indexer.tick()
    assert await behind(services) == 0


async def test_a_call_that_is_being_sent_is_left_out_until_it_has_ended(services: Services) -> None:
    open_call = record(state="sending", method="POST", url="http://h/melon", status=None)
    (before, id_, after) = await put(services, record(), open_call, record())
    await index(services)
    assert await rows(services, "SELECT number FROM search_left_out") == [(2,)]
    assert await behind(services) == 1
    assert await found(services, q="melon") == [id_]
    assert await found(services, method="POST") == [id_]
    open_call.call |= {"state": "done", "status": 201}
    await put(services, open_call)
    assert await found(services, status="201") == [id_]
    await index(services)
    assert await rows(services, "SELECT number FROM search_left_out") == []
    assert await found(services, q="melon", status="201") == [id_]
    assert await found(services, method="GET") == [after, before]


async def test_each_call_is_taken_in_once_also_after_a_stop_in_between(services: Services) -> None:
    await put(services, *(record(url="http://h/lime") for _ in range(20)))
    first = Indexer(services)
    first.size = 7
    await first.step()
    await index(services)
    assert await rows(services, "SELECT rowid FROM call_search_0 WHERE call_search_0 MATCH 'lime'") == [
        (number,) for number in range(1, 21)
    ]


async def test_indexing_is_cut_off_whole(services: Services) -> None:
    await put(services, *(record(url="http://h/lime") for _ in range(500)))
    task = asyncio.create_task(Indexer(services).step())
    await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await index(services)
    assert len(await found(services, q="lime", limit=500)) == 500
    assert await behind(services) == 0
