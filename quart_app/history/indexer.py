"""Takes calls into the full-text search, in small steps behind the calls, so that the hot path does not pay for it."""

import asyncio
import time
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.history.search import OPTIONS, TEXT, VOLUME, volume
from quart_app.models import Call, SearchLeftOut, SearchProgress
from quart_app.services import Services

FIRST_STEP = 200
LEAST, MOST = 10, 2000
STEP_SECONDS = 0.05
BUSY_STEP_SECONDS = 0.02
BUSY_RECORDS = 200
TICK_SECONDS = 0.8


class Indexer:
    """`tick` is for once a second: one short step while calls come in, else steps and pauses until all are in.

    A step holds up the records that are to be written meanwhile, so its size follows from how long the last one took.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.size = FIRST_STEP
        self.written_count = services.recorder.written_count

    async def tick(self) -> None:
        if not self.services.db.is_sqlite:
            return
        written = self.services.recorder.written_count
        is_busy = written - self.written_count > BUSY_RECORDS
        self.written_count = written
        ends_at = time.monotonic() + TICK_SECONDS
        while True:
            began = time.monotonic()
            if not await self.step():
                return
            took = time.monotonic() - began
            wanted = BUSY_STEP_SECONDS if is_busy else STEP_SECONDS
            self.size = max(LEAST, min(MOST, int(self.size * wanted / took) + 1))
            if is_busy or time.monotonic() > ends_at:
                return
            await asyncio.sleep(took)

    async def step(self) -> bool:
        """Takes the next few in; False when there are none."""
        async with self.services.db.session() as session:
            statements = await planned(session, self.size)
        if statements:
            await self.services.db.execute(statements)
        return bool(statements)


async def planned(session: AsyncSession, size: int) -> list[str]:
    """The statements of the next step: calls that have ended since they were left out, and the next numbers."""
    progress = await session.get(SearchProgress, 1)
    indexed_to = progress.indexed_to if progress else 0
    following = select(Call.number).where(Call.number > indexed_to).order_by(Call.number).limit(size).subquery()
    up_to = await session.scalar(select(func.max(following.c.number)))
    made = [] if progress else ["INSERT OR IGNORE INTO search_progress VALUES (1, 0)"]
    made += take_ended(list(await session.scalars(ended(size))))
    if up_to is not None:
        first = await session.scalar(select(func.min(following.c.number)))
        made += take_next(first or 0, min(up_to, ((first or 0) // VOLUME + 1) * VOLUME - 1))
    return made if len(made) > (progress is None) else []


def ended(size: int) -> Select[Any]:
    """Those left out that are being sent no more, or are not there any more."""
    joined = select(SearchLeftOut.number).outerjoin(Call, Call.number == SearchLeftOut.number)
    return joined.where(Call.state.is_distinct_from("sending")).limit(size)


def take_ended(numbers: list[int]) -> list[str]:
    made = []
    for one in sorted({number // VOLUME for number in numbers}):
        chosen = ", ".join(str(number) for number in numbers if number // VOLUME == one)
        made += [
            f"INSERT INTO {volume(one * VOLUME)} (rowid, text) {TEXT} WHERE c.number IN ({chosen})",
            f"DELETE FROM search_left_out WHERE number IN ({chosen})",
        ]
    return made


def take_next(first: int, last: int) -> list[str]:
    """All of one volume, which is made if it is not there."""
    these = f"c.number BETWEEN {first} AND {last}"
    return [
        f"CREATE VIRTUAL TABLE IF NOT EXISTS {volume(first)} USING fts5 ({OPTIONS})",
        f"INSERT INTO {volume(first)} (rowid, text) {TEXT} WHERE {these} AND c.state <> 'sending'",
        f"INSERT INTO search_left_out SELECT c.number FROM calls AS c WHERE {these} AND c.state = 'sending'",
        f"UPDATE search_progress SET indexed_to = {last}",
    ]


async def lag(session: AsyncSession) -> int:
    """How many calls the search does not have yet."""
    progress = await session.get(SearchProgress, 1)
    newest = await session.scalar(select(func.max(Call.number))) or 0
    waiting = await session.scalar(select(func.count()).select_from(SearchLeftOut)) or 0
    return max(0, newest - (progress.indexed_to if progress else 0)) + waiting
