"""A new sealing key for everything that is sealed, while servers run.

The new key stands first in the key file, so that it seals from then on, and the old one behind it, so that both can
be read. Then every sealed value is sealed anew, in small steps: one that is stored meanwhile is left as it is stored.
When nothing is left under the old key, it leaves the file. Stopped at any moment, all of it can be read, and the next
run goes on: a file with more than one key is a rotation that has not ended.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Column, LargeBinary, func, select, update
from sqlalchemy.exc import DBAPIError

from quart_app import audit, rescue
from quart_app.errors import DataError
from quart_app.files import plain_sqlite
from quart_app.models import Base
from quart_app.services import Services
from quart_app.vault.key_file import KeyFile

STEP_ROWS = 20
TRIES = 5
SETTLE_SECONDS = 6.0
"""Longer than a write that began with the old key waits for its turn in the database."""
RESCUE_SECONDS = 60.0
LOOK_SECONDS = 0.5
RUN_AGAIN = "All of it can be read with the keys that are here; run it again to go on."


@dataclass(frozen=True)
class Rotation:
    """What came of it: the key that seals now, how many values it took over, what is wrong with those that do not
    open, and the files in which the old keys are kept."""

    key_id: bytes
    moved: int
    unopened: list[str]
    kept: list[Path]


async def rotate(
    services: Services,
    *,
    actor: str,
    progress: Callable[[int, int], None],
    settle_seconds: float = SETTLE_SECONDS,
) -> Rotation:
    """Seals everything with a new key, or goes on with a rotation that was stopped; `progress` is told of each step.

    Keys that the environment gives are for whoever starts the servers to change: then this seals with the first of
    them what another one sealed. Raises DataError that says what to do.
    """
    file = services.vault.file
    with alone(file):
        if file is not None and len(file.read()) == 1:
            file.add()
            services.reached("key_added")
        services.vault.look_again()
        counts = await values_by_key(services)
        total = counts.total() - counts[services.vault.key_id]
        if file is None and not total:
            raise DataError(advice(services.vault.key_id))
        await note(services, actor, "key_rotation_started", f"{total} values are sealed with other keys")
        work = Resealing(services, lambda moved: progress(moved, total))
        await work.until_nothing_is_left(file, settle_seconds)
        await note(services, actor, "key_rotation_finished", f"{work.moved} values were sealed anew")
        services.reached("all_resealed")
        return Rotation(services.vault.key_id, work.moved, work.unopened, retire(file, services.vault.key_id))


def retire(file: KeyFile | None, key_id: bytes) -> list[Path]:
    try:
        return file.retire() if file else []
    except DataError as error:
        raise DataError(
            f"Everything is sealed with key {key_id.hex()} now, but {error}. Take the other keys out of the file by "
            "hand; backups made before need them."
        ) from None


def alone(file: KeyFile | None) -> AbstractContextManager[None]:
    """Two that make a key each would lose one of them. Two that seal with the same key do no harm."""
    return nullcontext() if file is None else file.alone()


def advice(key_id: bytes) -> str:
    return (
        f"Everything is sealed with key {key_id.hex()} already, the first one of SWITCHBOARD_SEALING_KEY. For a new "
        "key: make one (openssl rand -base64 32), start every server with both, the new one first and a comma between "
        "them, run this again with the same, and then start the servers with the new one alone."
    )


async def note(services: Services, actor: str, action: str, detail: str) -> None:
    async with services.db.begin() as session:
        await audit.note(session, services.clock, actor, action, services.vault.key_id.hex(), detail)


class Resealing:
    """How far it is: values sealed anew, and what is wrong with those that do not open."""

    def __init__(self, services: Services, progress: Callable[[int], None]) -> None:
        self.moved = 0
        self.unopened: list[str] = []
        self._services = services
        self._progress = progress

    async def until_nothing_is_left(self, file: KeyFile | None, settle_seconds: float) -> None:
        """Rounds until one finds nothing to do, at a time when nobody can have the old key in hand any more."""
        settled = False
        while await self._round() or not settled:
            if file is not None and not settled:
                await settle(self._services, file, settle_seconds)
            settled = True

    async def _round(self) -> int:
        """Each sealed column once, from its first row to its last: how many values were sealed anew."""
        before, self.unopened = self.moved, []
        for key, column in sealed_columns():
            after = None
            while (after := await self._persistent_step(key, column, after)) is not None:
                self._progress(self.moved)
        return self.moved - before

    async def _persistent_step(self, key: Column[Any], column: Column[Any], after: Any) -> Any:
        """A step, also where the database is busy for a while. Raises DataError when it stays so."""
        for _ in range(TRIES):
            try:
                return await self._step(key, column, after)
            except DBAPIError:
                await asyncio.sleep(1.0)
        raise DataError(f"The database takes nothing: it is busy, full or cannot be reached. {RUN_AGAIN}")

    async def _step(self, key: Column[Any], column: Column[Any], after: Any) -> Any:
        """Some rows behind `after` in one transaction; the name of the last of them, or None where there are none."""
        rows = await under_other_keys(self._services, key, column, after)
        if not rows:
            return None
        self._services.reached("step_read")
        moved, unopened = 0, []
        async with self._services.db.begin() as session:
            for row, before in rows:
                try:
                    anew = self._anew(column, row, before)
                except DataError as error:
                    unopened.append(str(error))
                    continue
                # compare-and-set: what another process stored meanwhile stays
                query = update(column.table).where(key == row, column == before).values({column: anew})
                outcome: Any = await session.execute(query)
                moved += outcome.rowcount
                self._services.reached("resealed")
        self._services.reached("step_committed")
        self.moved += moved
        self.unopened += unopened
        return rows[-1][0]

    def _anew(self, column: Column[Any], row: Any, sealed: bytes) -> bytes:
        place = {"table": column.table.name, "column": column.name, "row": str(row)}
        return self._services.vault.seal(self._services.vault.unseal(sealed, **place), **place)


def sealed_columns() -> list[tuple[Column[Any], Column[Any]]]:
    """Every column that holds something sealed, behind the one that names its row there (vault.place)."""
    return [
        (key, column)
        for table in Base.metadata.sorted_tables
        for column in table.columns
        for key in table.primary_key.columns
        if column.name.startswith("sealed_")
    ]


def key_id_of(column: Column[Any]) -> Any:
    return func.substr(column, 2, 4, type_=LargeBinary())


async def under_other_keys(services: Services, key: Column[Any], column: Column[Any], after: Any) -> list[Any]:
    """Some rows behind `after` whose value another key sealed: their names and values."""
    query = select(key, column).where(column.is_not(None), key_id_of(column) != services.vault.key_id)
    query = query.order_by(key).limit(STEP_ROWS)
    if after is not None:
        query = query.where(key > after)
    async with services.db.session() as session:
        return list(await session.execute(query))


async def settle(services: Services, file: KeyFile, seconds: float) -> None:
    """Waits until whoever sealed with the old key, before the new one was there, has written that.

    Tokens in rescue slots are put into the database by a server; so long the old key stays in the file.
    """
    await asyncio.sleep(min(seconds, max(0.0, file.path.stat().st_mtime + seconds - services.clock())))
    old = {key.id for key in file.read()[1:]}
    for _ in range(int(RESCUE_SECONDS / LOOK_SECONDS)):
        if not old & rescue.key_ids(services.rescue.path.parent):
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise DataError(
        "A token that is not in the database yet is sealed with the old key. A running server stores it as soon as it "
        f"can; see its log. {RUN_AGAIN}"
    )


async def values_by_key(services: Services) -> Counter[bytes]:
    """How many values each key sealed, by key id."""
    counts: Counter[bytes] = Counter()
    async with services.db.session() as session:
        for _, column in sealed_columns():
            key_id = key_id_of(column)
            query = select(key_id, func.count()).where(column.is_not(None)).group_by(key_id)
            counts.update({bytes(found): count for found, count in await session.execute(query)})
    return counts


def keys_of_copy(path: Path) -> list[str]:
    """The ids, in hex, of the keys that a copy of an SQLite database needs."""
    found = set()
    with plain_sqlite(path) as copy:
        for _, column in sealed_columns():
            found |= set(copy.execute(f"SELECT hex(substr({column.name}, 2, 4)) FROM {column.table.name}"))
    return sorted(key_id.lower() for (key_id,) in found if key_id)
