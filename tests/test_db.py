"""The database: URLs, what is in force on each connection, who may write, and what a cut leaves behind."""

import asyncio
import random
import sqlite3
import stat
import threading
import time
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from quart_app.db import Bulk, Database, is_busy, parse_url
from quart_app.engines import SEARCHED_BYTES
from quart_app.errors import SettingsError
from quart_app.files import make_private_folder
from quart_app.migrations import prepare
from quart_app.models import Account, Attempt, Body

DEFAULT = Path("/srv/data/switchboard.db")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "sqlite+aiosqlite:////srv/data/switchboard.db"),
        ("sqlite:///app.db", "sqlite+aiosqlite:///app.db"),
        ("sqlite:////srv/app.db", "sqlite+aiosqlite:////srv/app.db"),
        ("sqlite:///app.db?check_same_thread=False", "sqlite+aiosqlite:///app.db"),
        ("sqlite+pysqlite:///app.db", "sqlite+aiosqlite:///app.db"),
        ("sqlite+aiosqlite:///app.db", "sqlite+aiosqlite:///app.db"),
        ("postgresql://u:p%40w@h:5433/name", "postgresql+asyncpg://u:p%40w@h:5433/name"),
        ("postgres://h/name", "postgresql+asyncpg://h/name"),
        ("postgresql+psycopg://h/name", "postgresql+asyncpg://h/name"),
        ("postgresql+psycopg2://h/name", "postgresql+asyncpg://h/name"),
        ("postgresql+asyncpg://h/name", "postgresql+asyncpg://h/name"),
        ("postgresql://h/name?sslmode=require", "postgresql+asyncpg://h/name?ssl=require"),
        ("postgresql:///name?host=/run/postgresql", "postgresql+asyncpg:///name?host=%2Frun%2Fpostgresql"),
    ],
)
def test_a_url_in_any_form_people_have_gets_its_async_driver(given: str, expected: str) -> None:
    url, note = parse_url(given, DEFAULT)
    assert url.render_as_string(hide_password=False) == expected
    assert (note is not None) == ("check_same_thread" in given)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("app.db", "is not a database URL"),
        ("sqlite://", "SQLite needs a file"),
        ("sqlite:///:memory:", "SQLite needs a file"),
        ("mysql://u:secret@h/name", "mysql is not supported; use sqlite or postgresql"),
        ("oracle://u:secret@h/name", "oracle is not supported"),
        ("postgresql://u:secret@h/name?application_name=x", "application_name is no parameter"),
    ],
)
def test_any_other_url_is_refused_with_a_sentence_and_without_its_password(given: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence) as caught:
        parse_url(given, DEFAULT)
    assert "secret" not in str(caught.value)


def sqlite_database(folder: Path, *, serves: bool = True) -> Database:
    url, _ = parse_url("", folder / "switchboard.db")
    return Database(url, serves=serves)


async def test_statements_are_run_together_or_not_at_all(db: Database) -> None:
    insert = "INSERT INTO accounts VALUES ('{0}', '{0}', 1.0)"
    await db.execute([insert.format("first"), insert.format("second")])
    with pytest.raises((DBAPIError, sqlite3.Error)):
        await db.execute([insert.format("third"), insert.format("first")])
    assert await names(db) == ["first", "second"]


async def test_free_pages_are_given_back(tmp_path: Path) -> None:
    db = sqlite_database(tmp_path)
    await prepare(db)
    try:
        await db.write([(Bulk(db, Body), [(f"{number}", "identity", bytes(60_000)) for number in range(20)])])
        await db.execute(["DELETE FROM bodies"])
        async with db.session() as session:
            before = await session.scalar(text("PRAGMA page_count"))
        await db.give_back(100)
        async with db.session() as session:
            assert before - await session.scalar(text("PRAGMA page_count")) == 100
    finally:
        await db.close()


@pytest.mark.parametrize("database_url", [""])
async def test_sql_reads_deflated_bodies_up_to_a_bound(db: Database) -> None:
    contents = [zlib.compress(b"x" * 10**6), zlib.compress(b"short"), b"no zlib"]
    async with db.session() as session:
        found = [await session.scalar(text("SELECT inflated(:content)"), {"content": one}) for one in contents]
    assert found == [b"x" * SEARCHED_BYTES, b"short", None]


async def pragmas(db: Database, *, writer: bool) -> dict[str, Any]:
    names = (
        "auto_vacuum journal_mode synchronous foreign_keys secure_delete temp_store trusted_schema mmap_size query_only"
    )
    engine = db.writer if writer else db.reader
    async with engine.connect() as connection:
        found = {}
        for name in (*names.split(), "wal_autocheckpoint", "journal_size_limit", "busy_timeout"):
            found[name] = (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
        return found


@pytest.mark.parametrize(("serves", "checkpoints"), [(True, 1000), (False, 0)])
async def test_only_the_server_s_writer_does_checkpoints(tmp_path: Path, serves: bool, checkpoints: int) -> None:
    db = sqlite_database(tmp_path, serves=serves)
    try:
        writer, reader = await pragmas(db, writer=True), await pragmas(db, writer=False)
    finally:
        await db.close()
    expected = {
        "auto_vacuum": 2,
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "temp_store": 2,
        "trusted_schema": 0,
        "mmap_size": 0,
        "query_only": 0,
        "busy_timeout": 5000,
        "wal_autocheckpoint": checkpoints,
        "journal_size_limit": 64 * 1024**2,
    }
    assert {name: writer[name] for name in expected} == expected
    expected = {"query_only": 1, "wal_autocheckpoint": 0, "journal_mode": "wal", "temp_store": 2, "mmap_size": 0}
    assert {name: reader[name] for name in expected} == expected


async def test_all_readers_can_only_read(tmp_path: Path) -> None:
    db = sqlite_database(tmp_path)
    await prepare(db)
    sessions = [db.session() for _ in range(4)]
    try:
        for session in sessions:
            with pytest.raises(DBAPIError, match="readonly"):
                await session.execute(text("DELETE FROM accounts"))
    finally:
        for session in sessions:
            await session.close()
        await db.close()


async def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    make_private_folder(folder)
    db = sqlite_database(folder)
    await prepare(db)
    try:
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    finally:
        await db.close()
    assert modes == {"switchboard.db": 0o600, "switchboard.db-wal": 0o600, "switchboard.db-shm": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def account(name: str) -> Account:
    return Account(id=name, name=name, created_at=1.0)


async def names(db: Database) -> list[str]:
    async with db.session() as session:
        return list(await session.scalars(select(Account.name).order_by(Account.name)))


async def test_an_exception_rolls_back_and_leaves_no_lock(db: Database) -> None:
    async def fail() -> None:
        async with db.begin() as session:
            session.add(account("lost"))
            await session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with db.begin() as session:
        session.add(account("kept"))
    assert await names(db) == ["kept"]


async def test_writers_of_one_process_take_turns_and_lose_no_count(db: Database) -> None:
    async with db.begin() as session:
        session.add(Account(id="counter", name="counter", created_at=0.0))

    async def count_up() -> None:
        async with db.begin() as session:
            row = await session.get_one(Account, "counter", with_for_update=True)
            before = row.created_at
            await asyncio.sleep(0)
            row.created_at = before + 1

    await asyncio.gather(*(count_up() for _ in range(40)))
    async with db.session() as session:
        assert (await session.get_one(Account, "counter")).created_at == 40


def locked(db: Database) -> sqlite3.Connection:
    """Another process has the write lock until this is closed."""
    other = sqlite3.connect(db.path or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


@pytest.mark.parametrize("database_url", [""])
async def test_a_writer_waits_no_longer_for_its_turn_than_for_that_of_its_process(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quart_app.db.BUSY_MILLISECONDS", 200)

    async def write(name: str) -> Exception | None:
        try:
            async with db.begin() as session:
                session.add(account(name))
        except SQLAlchemyError as error:
            return error
        return None

    with closing(locked(db)):
        first, *others = [asyncio.create_task(write(f"n{number}")) for number in range(6)]
        for error in await asyncio.gather(*others):
            assert error is not None
            assert is_busy(error)
        assert not first.done(), "the one whose turn it is waits for the other process"
    assert await first is None
    assert await write("after") is None
    assert await names(db) == ["after", "n0"]


@pytest.mark.parametrize("database_url", [""])
async def test_a_database_that_another_process_locks_is_busy_and_one_that_lacks_a_table_is_not(db: Database) -> None:
    async with db.session() as session:
        with pytest.raises(SQLAlchemyError) as missing:
            await session.execute(text("SELECT * FROM nothing"))
    async with db.begin() as session:
        await session.execute(text("PRAGMA busy_timeout = 10"))
    with closing(locked(db)), pytest.raises(SQLAlchemyError) as refused:
        async with db.begin() as session:
            session.add(account("other"))
    assert [is_busy(error) for error in (missing.value, refused.value)] == [False, True]


async def test_cancelled_writes_leave_no_lock_and_acknowledged_ones_are_there(db: Database) -> None:
    """What was cancelled may or may not be there; that is why ids are made by the app."""
    acknowledged: list[str] = []

    async def write(name: str) -> None:
        async with db.begin() as session:
            session.add(account(name))
        acknowledged.append(name)

    chance = random.Random(7)
    for start in range(0, 60, 6):
        tasks = [asyncio.create_task(write(f"n{number:02}")) for number in range(start, start + 6)]
        await asyncio.sleep(chance.uniform(0, 0.008))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(5):
        await write("last")
    assert set(acknowledged) <= set(await names(db))
    assert "last" in acknowledged


async def test_a_bulk_write_that_is_cancelled_leaves_no_lock(db: Database) -> None:
    bulk = Bulk(db, Body)
    for number in range(20):
        rows = [(f"{number}-{row}", "identity", b"x" * 2000) for row in range(50)]
        task = asyncio.create_task(db.write([(bulk, rows)]))
        await asyncio.sleep(0.0004 * number)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5):
        await db.write([(bulk, [("last", "identity", b"")])])
    async with db.session() as session:
        counts = (await session.scalars(select(func.count()).select_from(Body).where(Body.hash != "last"))).one()
    assert counts % 50 == 0, "a group is written as a whole or not at all"


@pytest.mark.parametrize("count", [1, 7, 64, 500, 3000])
async def test_bulk_writes_any_number_of_rows_and_repeats_do_no_harm(db: Database, count: int) -> None:
    bulk = Bulk(db, Attempt)
    rows = [attempt("call", number, 200) for number in range(count)]
    await db.write([(bulk, rows), (Bulk(db, Body), [])])
    await db.write([(bulk, [attempt("call", number, 500) for number in range(count)])])
    async with db.session() as session:
        found = list(await session.execute(select(Attempt.number, Attempt.status, Attempt.remote_address)))
    assert sorted(map(tuple, found)) == [(number, 200, "127.0.0.1") for number in range(count)]


def attempt(call_id: str, number: int, status: int) -> tuple[Any, ...]:
    return (call_id, number, status, None, 1.5, 0.25, 0.0, *[None] * 8, "127.0.0.1", 3)


async def test_bulk_with_replace_brings_rows_up_to_date(db: Database) -> None:
    bulk = Bulk(db, Account, key="id")
    await db.write([(bulk, [("a", "first", 1.0), ("b", "second", 1.0)])])
    await db.write([(bulk, [("b", "changed", 2.0), ("c", "third", 2.0)])])
    assert await names(db) == ["changed", "first", "third"]


async def test_a_group_is_written_whole_or_not_at_all(db: Database) -> None:
    bodies, accounts = Bulk(db, Body), Bulk(db, Account, key="id")
    broken: Any = [("a", "one", 1.0), ("b", None, 1.0)]
    with pytest.raises((DBAPIError, sqlite3.Error)):
        await db.write([(bodies, [("h", "identity", b"x")]), (accounts, broken)])
    async with db.session() as session:
        assert await session.get(Body, "h") is None
    assert await names(db) == []
    await db.write([(bodies, [("h", "identity", b"x")])])


async def test_another_process_s_write_lock_is_waited_for(tmp_path: Path) -> None:
    db = sqlite_database(tmp_path)
    await prepare(db)
    taken = threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(tmp_path / "switchboard.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            taken.set()
            time.sleep(0.3)
            other.execute("COMMIT")

    holder = asyncio.create_task(asyncio.to_thread(hold))
    try:
        await asyncio.to_thread(taken.wait)
        began = time.monotonic()
        async with db.begin() as session:
            session.add(account("patient"))
        assert time.monotonic() - began > 0.2
        assert await names(db) == ["patient"]
    finally:
        await holder
        await db.close()


async def test_the_database_s_clock_is_in_seconds_since_the_epoch(db: Database) -> None:
    async with db.session() as session:
        now = await session.scalar(select(db.now()))
    assert now == pytest.approx(time.time(), abs=2)
