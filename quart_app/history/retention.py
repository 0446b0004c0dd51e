"""How long calls stay: by age, number and bytes; the oldest go first, in steps that hold nobody up."""

import asyncio
from dataclasses import dataclass

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.history.search import TEXT, VOLUME, volume, volumes
from quart_app.history.time_box import is_sqlite
from quart_app.models import Body, Call, SearchLeftOut, SearchProgress
from quart_app.recorder import hour_key
from quart_app.services import Services
from quart_app.settings import Settings

STEP = 200
STEP_BYTES = 8 * 1024**2
PAUSE_SECONDS = 0.05
BUSY_PAUSE_SECONDS = 0.5
BUSY_RECORDS = 20
FREE_PAGES = 200
HOUR_SECONDS = 3600
SAMPLE = 10_000
COUNTED = 100_000


@dataclass(frozen=True)
class Limits:
    """What goes: calls that began before `before`, those up to `number`, and up to `bulky` if they are of `settled`.

    Bodies go by whole hours; a call of the last two could take none along, so it does not go for its bytes.
    """

    before: float
    number: int
    bulky: int
    settled: float

    def reached(self, number: int, started_at: float) -> bool:
        if started_at < self.before or number <= self.number:
            return True
        return number <= self.bulky and started_at < self.settled


async def prune(services: Services) -> int:
    """Takes out all that is beyond the settings' limits, step by step, with a pause after each; returns how many."""
    db, count = services.db, 0
    async with db.session() as session:
        limits = await limits_of(session, services.settings, services.clock())
    while True:
        async with db.session() as session:
            numbers = await oldest(session, limits)
            statements = await planned(session, numbers) if numbers else await planned_bodies(session, services.clock())
        if not statements:
            return count
        written = services.recorder.written_count
        await db.execute(statements)
        await db.give_back(FREE_PAGES)
        count += len(numbers)
        await asyncio.sleep(PAUSE_SECONDS)
        if services.recorder.written_count - written > BUSY_RECORDS:
            await asyncio.sleep(BUSY_PAUSE_SECONDS)


async def limits_of(session: AsyncSession, settings: Settings, now: float) -> Limits:
    before = now - settings.keep_days * 86400 if settings.keep_days else 0.0
    count = await count_calls(session)
    number = await number_at(session, count - settings.keep_calls) if 0 < settings.keep_calls < count else 0
    bulky = 0
    if settings.keep_bytes and (used := await used_bytes(session)) > settings.keep_bytes:
        bulky = await number_at(session, max(1, int(count * (1 - settings.keep_bytes / used))))
    return Limits(before, number, bulky, settled=now - now % HOUR_SECONDS - HOUR_SECONDS)


async def number_at(session: AsyncSession, count: int) -> int:
    """The number of the call that so many are not above; on SQLite numbers have no gaps but where calls were sent."""
    if is_sqlite(session):
        return await first_number(session) + count - 1
    query = select(Call.number).order_by(Call.number).offset(max(0, count - 1)).limit(1)
    return await session.scalar(query) or 0


async def first_number(session: AsyncSession) -> int:
    """Of the oldest call that has ended."""
    return await session.scalar(select(Call.number).where(Call.state != "sending").order_by(Call.number).limit(1)) or 0


async def count_calls(session: AsyncSession) -> int:
    """How many calls are on record; on PostgreSQL by its own estimate where that spares counting very many."""
    if is_sqlite(session):
        first, newest = await first_number(session), await session.scalar(select(func.max(Call.number))) or 0
        older = select(func.count()).where(Call.number < first) if first else select(func.count(Call.number))
        return (newest - first + 1 if first else 0) + (await session.scalar(older) or 0)
    few = await session.scalar(select(func.count()).select_from(select(Call.id).limit(COUNTED).subquery())) or 0
    return few if few < COUNTED else await live_rows(session, "calls")


async def live_rows(session: AsyncSession, name: str) -> int:
    query = text("SELECT n_live_tup FROM pg_stat_user_tables WHERE relid = CAST(:name AS regclass)")
    return int(await session.scalar(query, {"name": name}) or 0)


async def used_bytes(session: AsyncSession) -> int:
    """Bytes of the database in use.

    On SQLite of its pages that are not free. PostgreSQL's files do not shrink when rows go, so there it is what the
    rows come to by a sample of them.
    """
    if is_sqlite(session):
        pages = "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count"
        used: int = (await session.scalar(text(pages))) * (await session.scalar(text("PRAGMA page_size")))
        return used
    total = 0.0
    for name, size in (("bodies", "pg_column_size(content) + 200"), ("calls", "pg_column_size(t.*) + 200")):
        rows = await live_rows(session, name)
        percent = min(100.0, 100 * SAMPLE / max(1, rows))
        total += rows * float(
            await session.scalar(text(f"SELECT avg({size}) FROM {name} AS t TABLESAMPLE SYSTEM ({percent})")) or 0
        )
    return int(total)


async def oldest(session: AsyncSession, limits: Limits) -> list[int]:
    """The next calls to go, at most STEP; one that is being sent stays."""
    query = select(Call.number, Call.started_at).where(Call.state != "sending").order_by(Call.number).limit(STEP)
    return [row.number for row in await session.execute(query) if limits.reached(row.number, row.started_at)]


async def planned(session: AsyncSession, numbers: list[int]) -> list[str]:
    """The statements that take these calls out, their words first, while their bodies are there to tell them."""
    chosen = ", ".join(map(str, numbers))
    made = await without_words(session, numbers) if is_sqlite(session) else []
    made += [
        f"DELETE FROM attempts WHERE call_id IN (SELECT id FROM calls WHERE number IN ({chosen}))",
        f"DELETE FROM calls WHERE number IN ({chosen})",
    ]
    if is_sqlite(session):
        newest = "(SELECT coalesce(max(number), 0) FROM calls)"  # SQLite goes on counting from there
        made.append(f"UPDATE search_progress SET indexed_to = min(indexed_to, {newest})")
        made += await without_volumes(session, numbers)
    return made


async def without_words(session: AsyncSession, numbers: list[int]) -> list[str]:
    progress = await session.get(SearchProgress, 1)
    query = select(SearchLeftOut.number).where(SearchLeftOut.number.in_(numbers))
    absent = set(await session.scalars(query))
    known = [number for number in numbers if progress and number <= progress.indexed_to and number not in absent]
    made = [f"DELETE FROM search_left_out WHERE number IN ({', '.join(map(str, absent))})"] if absent else []
    for one in sorted({number // VOLUME for number in known}):
        name = volume(one * VOLUME)
        chosen = ", ".join(str(number) for number in known if number // VOLUME == one)
        words = TEXT.replace("SELECT c.number", "SELECT 'delete', c.number", 1)
        made.append(f"INSERT INTO {name} ({name}, rowid, text) {words} WHERE c.number IN ({chosen})")
    return made


async def without_volumes(session: AsyncSession, numbers: list[int]) -> list[str]:
    """Volumes that these calls were the last of, and none of whose numbers comes again."""
    rest = await session.scalar(select(func.min(Call.number)).where(Call.number.not_in(numbers)))
    return [] if rest is None else [f"DROP TABLE {name}" for name in await volumes(session, 0, rest // VOLUME * VOLUME)]


async def planned_bodies(session: AsyncSession, now: float) -> list[str]:
    """The statement that takes the next bodies out that only calls which are gone had: those of the hours before."""
    oldest_at = await session.scalar(select(Call.started_at).order_by(Call.number).limit(1))
    below = hour_key((now if oldest_at is None else oldest_at) - HOUR_SECONDS)
    query = select(Body.hash, func.length(Body.content).label("size")).where(Body.hash < below)
    last, total = None, 0
    for row in await session.execute(query.order_by(Body.hash).limit(STEP)):
        total += row.size
        if last is not None and total > STEP_BYTES:
            break
        last = row.hash
    return [f"DELETE FROM bodies WHERE hash <= '{last}'"] if last else []
