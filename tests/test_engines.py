"""What a connection to the database is set up with, asked of the database itself."""

from typing import Any

from sqlalchemy import text

from quart_app.db import Database


async def asked(connection: Any, name: str) -> Any:
    return (await connection.execute(text(f"PRAGMA {name}"))).scalar()


async def test_what_is_written_is_durable_and_what_is_deleted_is_wiped(db: Database) -> None:
    async with db.connect() as connection:
        if db.is_sqlite:
            names = ("journal_mode", "synchronous", "secure_delete", "temp_store", "auto_vacuum")
            assert [await asked(connection, name) for name in names] == ["wal", 2, 1, 2, 2]
        else:
            assert (await connection.execute(text("SHOW synchronous_commit"))).scalar() == "on"
            assert (await connection.execute(text("SHOW lock_timeout"))).scalar() == "5s"


async def test_readers_cannot_write(db: Database) -> None:
    async with db.session() as session:
        if db.is_sqlite:
            assert (await session.execute(text("PRAGMA query_only"))).scalar() == 1
        else:
            assert (await session.execute(text("SHOW statement_timeout"))).scalar() == "30s"
