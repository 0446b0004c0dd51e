"""Queries that take too long end in time, on both databases, and leave the connection as good as it was."""

import asyncio
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from quart_app.db import Database
from quart_app.history.time_box import at_most

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000) SELECT count(*) FROM n"


async def test_a_query_is_stopped_in_time(db: Database) -> None:
    began = time.monotonic()
    async with db.session() as session:
        with pytest.raises(TimeoutError):
            async with at_most(session, 0.2):
                await session.execute(text(ENDLESS))
    assert 0.15 < time.monotonic() - began < 2
    async with db.session() as session:
        assert await session.scalar(text("SELECT 1")) == 1


async def test_the_next_statement_is_stopped_as_well(db: Database) -> None:
    async def search() -> None:
        async with db.session() as session, at_most(session, 0.05):
            await asyncio.sleep(0.1)
            await session.execute(text(ENDLESS))

    with pytest.raises(TimeoutError):
        await search()


async def test_what_is_quick_and_what_fails_otherwise_pass(db: Database) -> None:
    async with db.session() as session, at_most(session, 5):
        assert await session.scalar(text("SELECT 1")) == 1
    async with db.session() as session:
        with pytest.raises(DBAPIError):
            async with at_most(session, 5):
                await session.execute(text("SELECT nothing FROM nowhere"))


async def test_a_caller_that_goes_away_stops_its_query(db: Database) -> None:
    async def search() -> None:
        async with db.session() as session, at_most(session, 60):
            await session.execute(text(ENDLESS))

    tasks = [asyncio.create_task(search()) for _ in range(4)]
    await asyncio.sleep(0.2)
    for task in tasks:
        task.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks, return_exceptions=True)
        async with db.session() as session:
            assert await session.scalar(text("SELECT 1")) == 1
