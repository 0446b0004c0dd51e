"""The engines below the database: how a connection to SQLite or PostgreSQL is made and set up."""

import zlib
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from quart_app.errors import SettingsError

READERS = 4
BUSY_MILLISECONDS = 5000
SEARCHED_BYTES = 64 * 1024

NEW_FILE_PRAGMAS = ("auto_vacuum = INCREMENTAL",)
"""In force only for a file that is still empty, and any other one they would write to."""

WRITER_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "journal_size_limit = 67108864",
    "secure_delete = ON",
    "temp_store = MEMORY",
    "trusted_schema = OFF",
    "mmap_size = 0",
)
READER_PRAGMAS = ("query_only = ON", "wal_autocheckpoint = 0", "temp_store = MEMORY", "mmap_size = 0")


def inflated(content: bytes) -> bytes | None:
    """The first bytes of a deflated body, in SQL, for the search; NULL for what is none."""
    try:
        return zlib.decompressobj().decompress(content, SEARCHED_BYTES)
    except zlib.error:
        return None


def sqlite_engine(url: URL, pragmas: tuple[str, ...], begin: str, *, size: int) -> AsyncEngine:
    """An engine whose driver never begins by itself: pysqlite's own BEGIN comes too late to be atomic."""
    engine = create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=30,
        pool_reset_on_return=None,  # every use ends in a commit or a rollback of its own
        connect_args={"isolation_level": None, "timeout": BUSY_MILLISECONDS / 1000},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def set_pragmas(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        is_new = Path(url.database or "").stat().st_size == 0
        for pragma in (*(NEW_FILE_PRAGMAS if is_new else ()), *pragmas):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        connection.create_function("inflated", 1, inflated, deterministic=True)

    @event.listens_for(engine.sync_engine, "begin")
    def begin_now(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def postgres_engine(url: URL) -> AsyncEngine:
    try:
        return create_async_engine(
            url,
            pool_size=8,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={
                "server_settings": {
                    "statement_timeout": "30000",
                    "lock_timeout": "5000",
                    "idle_in_transaction_session_timeout": "30000",
                }
            },
        )
    except ModuleNotFoundError:
        raise SettingsError("PostgreSQL needs the driver: pip install 'switchboard-gateway[postgres]'") from None
