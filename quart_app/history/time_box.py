"""A time limit for queries that a person can make as broad as they like, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

WATCH_SECONDS = 0.05


def is_sqlite(session: AsyncSession) -> bool:
    return session.get_bind().dialect.name == "sqlite"


@asynccontextmanager
async def at_most(session: AsyncSession, seconds: float) -> AsyncIterator[None]:
    """Raises TimeoutError when the session's queries inside take longer; the session is of no more use then.

    A caller that is cancelled meanwhile stops the query as well.
    """
    async with sqlite_box(session, seconds) if is_sqlite(session) else postgres_box(session, seconds):
        yield


@asynccontextmanager
async def sqlite_box(session: AsyncSession, seconds: float) -> AsyncIterator[None]:
    connection = await session.connection()
    driver: Any = (await connection.get_raw_connection()).driver_connection
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    ends_at = loop.time() + seconds
    timers: list[asyncio.TimerHandle] = []

    def watch() -> None:
        """Again and again: an interrupt that meets no running statement does nothing to the next one.

        A cancelled task is still inside its statement: it could not be interrupted from there.
        """
        if loop.time() >= ends_at or (task and task.cancelling()):
            driver._conn.interrupt()
        timers[:] = [loop.call_later(WATCH_SECONDS, watch)]

    timers.append(loop.call_later(min(seconds, WATCH_SECONDS), watch))
    try:
        yield
    except DBAPIError as error:
        if loop.time() >= ends_at and "interrupted" in str(error.orig):
            raise TimeoutError from None
        raise
    finally:
        timers[0].cancel()


@asynccontextmanager
async def postgres_box(session: AsyncSession, seconds: float) -> AsyncIterator[None]:
    await session.execute(text(f"SET LOCAL statement_timeout = {int(seconds * 1000)}"))
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == "57014":  # query_canceled
            raise TimeoutError from None
        raise
