"""The database: one writer, many readers, on SQLite and PostgreSQL alike.

All that differs between the two is in this file and in `engines`. On SQLite one connection writes, and it also does the
checkpoints (two that do both can corrupt the file: https://www.sqlite.org/wal.html, "the WAL-reset bug");
readers can only read. Writers wait up to five seconds for their turn in the process, and as long for its turn among
others, the CLI's.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Table, literal_column
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as WaitedTooLong
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from quart_app.engines import BUSY_MILLISECONDS, READER_PRAGMAS, READERS, WRITER_PRAGMAS, postgres_engine, sqlite_engine
from quart_app.errors import SettingsError
from quart_app.files import make_private_file

MOST_ROWS = 64
DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}
POSTGRES_PARAMETERS = {name: name for name in ("host", "port", "ssl", "passfile", "prepared_statement_cache_size")}
POSTGRES_PARAMETERS |= {"sslmode": "ssl"}  # libpq's name for it


def parse_url(text: str, default: Path) -> tuple[URL, str | None]:
    """The URL with its async driver, and a note for the person who wrote it, if there is one to give.

    Takes the forms people have: `sqlite:///app.db`, with `?check_same_thread=False`, `sqlite+pysqlite:///`,
    `postgresql://`, `postgres://`, `postgresql+psycopg://`. Raises SettingsError for anything else.
    """
    try:
        url = make_url(text) if text else URL.create("sqlite", database=str(default))
    except ArgumentError:
        raise SettingsError("database_url is not a database URL, such as sqlite:///app.db") from None
    name = url.drivername.partition("+")[0]
    if name not in DRIVERS:
        raise SettingsError(f"database_url: {name} is not supported; use sqlite or postgresql")
    note = None
    if name == "sqlite":
        if not url.database or url.database == ":memory:":
            raise SettingsError("database_url: SQLite needs a file, such as sqlite:///app.db")
        if "check_same_thread" in url.query:
            note = "check_same_thread is needless here: each connection stays on a thread of its own"
        url = URL.create("sqlite", database=url.database)
    elif unknown := sorted(set(url.query) - set(POSTGRES_PARAMETERS)):
        raise SettingsError(f"database_url: {', '.join(unknown)} is no parameter that is known here")
    else:
        url = url.set(query={POSTGRES_PARAMETERS[key]: value for key, value in url.query.items()})
    return url.set(drivername=DRIVERS[name]), note


class Database:
    """Opened by `services.open_services`; `session()` reads, `begin()` writes."""

    def __init__(self, url: URL, *, serves: bool) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.path = Path(url.database or "").absolute() if self.is_sqlite else None
        self.turn = asyncio.Lock()
        self._driver: Any = None
        if self.path:
            make_private_file(self.path)
            checkpoints = "wal_autocheckpoint = 1000" if serves else "wal_autocheckpoint = 0"
            self.writer = sqlite_engine(url, (*WRITER_PRAGMAS, checkpoints), "BEGIN IMMEDIATE", size=1)
            self.reader = sqlite_engine(url, READER_PRAGMAS, "BEGIN", size=READERS)
        else:
            self.writer = self.reader = postgres_engine(url)
        dialect = sqlite if self.is_sqlite else postgresql
        self.insert: Any = dialect.insert

    def session(self) -> AsyncSession:
        """A session for reads, of its own for each request or task; close it soon."""
        return AsyncSession(self.reader, expire_on_commit=False)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """On SQLite the writers of this process one after another; PostgreSQL orders them itself.

        While another process keeps the file locked each of them would wait for all before it. Raises WaitedTooLong.
        """
        if not self.is_sqlite:
            yield
            return
        try:
            async with asyncio.timeout(BUSY_MILLISECONDS / 1000):
                await self.turn.acquire()
        except TimeoutError:
            raise WaitedTooLong("Other writers had their turn for too long.") from None
        try:
            yield
        finally:
            self.turn.release()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """A short write transaction: committed at the end, rolled back on an exception.

        Nothing may await the network inside it. On SQLite the process's writers take turns.
        """
        async with self._turn(), AsyncSession(self.writer, expire_on_commit=False) as session, session.begin():
            yield session

    @asynccontextmanager
    async def connect(self, *, keys: bool = True) -> AsyncIterator[AsyncConnection]:
        """A write transaction on the bare connection, for statements of the schema.

        Without `keys` SQLite lets a table that others refer to be built anew; with them, dropping the old one
        would delete every row that refers to it.
        """
        async with self._turn(), self.writer.connect() as connection:
            await self._enforce_keys(connection, keys)
            try:
                async with connection.begin():
                    yield connection
            finally:
                await self._enforce_keys(connection, True)

    async def _enforce_keys(self, connection: AsyncConnection, on: bool) -> None:
        """Outside a transaction, where alone it takes effect; PostgreSQL's ALTER TABLE has no need of it."""
        if self.is_sqlite:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute_fetchall(f"PRAGMA foreign_keys = {'ON' if on else 'OFF'}")

    async def write(self, groups: Sequence[tuple["Bulk", Sequence[tuple[Any, ...]]]]) -> None:
        """Many rows of several tables in one transaction, durable when it returns.

        On SQLite that is one visit to the connection's thread and one statement a table, run without the
        interpreter's lock: row by row the thread would queue for that lock behind the event loop at each.
        """
        if not self.is_sqlite:
            async with self.writer.begin() as connection:
                for bulk, rows in groups:
                    if rows:
                        await connection.exec_driver_sql(bulk.one, list(rows))
            return
        await self._visit(write_at_once, [piece for bulk, rows in groups for piece in bulk.pieces(rows)])

    async def execute(self, statements: Sequence[str]) -> None:
        """Statements without values, in one transaction, durable when it returns."""
        if self.is_sqlite:
            await self._visit(write_at_once, [(statement, []) for statement in statements])
            return
        async with self.writer.begin() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)

    async def give_back(self, pages: int) -> None:
        """Gives so many free pages back to the file system; on PostgreSQL that is for VACUUM.

        As a script: the driver would do the first page of a single statement only.
        """
        if self.is_sqlite:
            await self._visit(sqlite3.Connection.executescript, f"PRAGMA incremental_vacuum({pages})")

    async def _visit(self, work: Callable[[sqlite3.Connection, Any], Any], given: Any) -> None:
        """`work` in the thread of SQLite's writer, in its turn."""
        async with self.turn:
            if self._driver is None:
                async with self.writer.connect() as connection:
                    self._driver = (await connection.get_raw_connection()).driver_connection
            driver = self._driver
            try:
                await driver._execute(work, driver._conn, given)
            except BaseException:
                self._driver = None  # the pool may have made a new one; it costs ten rows to ask it each time
                raise

    def now(self) -> ColumnElement[float]:
        """Seconds since the epoch on the database's own clock, which all processes share: for leases."""
        if self.is_sqlite:
            return literal_column("((julianday('now') - 2440587.5) * 86400.0)")
        return literal_column("extract(epoch from clock_timestamp())::float8")

    async def close(self) -> None:
        await self.reader.dispose()
        if self.writer is not self.reader:
            await self.writer.dispose()


class Bulk:
    """An INSERT for many rows of a model, prepared once; `values` are tuples in the order of `columns`.

    What is there already is left alone, or brought up to date by the `key` that tells: repeating it does no harm.
    A column that counts by itself is not among `columns`.
    """

    def __init__(self, db: Database, model: Any, *, key: str | None = None) -> None:
        table: Table = model.__table__
        self.columns = tuple(column.name for column in table.columns if column is not table.autoincrement_column)
        insert = db.insert(table)
        if key:
            changed = {name: insert.excluded[name] for name in self.columns if name != key}
            insert = insert.on_conflict_do_update(index_elements=[key], set_=changed)
        else:
            insert = insert.on_conflict_do_nothing()
        compiled = insert.compile(dialect=db.writer.dialect, column_keys=list(self.columns))
        assert tuple(compiled.positiontup or ()) == self.columns
        self.one = str(compiled)
        self._head, _, rest = self.one.partition(" VALUES ")
        end = rest.index(")") + 1
        self._row, self._tail = rest[:end], rest[end:]
        self._many: dict[int, str] = {}

    def pieces(self, rows: Sequence[tuple[Any, ...]]) -> list[tuple[str, list[Any]]]:
        """Statements and their values for all rows, in powers of two: few different texts, so few to keep prepared."""
        made = []
        start = 0
        while start < len(rows):
            size = min(MOST_ROWS, 1 << (len(rows) - start).bit_length() - 1)
            values = [value for row in rows[start : start + size] for value in row]
            made.append((self.many(size), values))
            start += size
        return made

    def many(self, rows: int) -> str:
        found = self._many.get(rows)
        if found is None:
            found = self._many[rows] = f"{self._head} VALUES {', '.join([self._row] * rows)}{self._tail}"
        return found


def write_at_once(connection: sqlite3.Connection, work: Sequence[tuple[str, list[Any]]]) -> None:
    """In the connection's own thread: all of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement, values in work:
            connection.execute(statement, values)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def is_busy(error: Exception) -> bool:
    """Whether a write failed because others write (SQLITE_BUSY, SQLSTATE 55P03): the same may work in a moment."""
    inner = error.orig if isinstance(error, DBAPIError) else error
    code, state = getattr(inner, "sqlite_errorcode", None), getattr(inner, "sqlstate", None)
    return isinstance(error, WaitedTooLong) or code == sqlite3.SQLITE_BUSY or state == "55P03"
