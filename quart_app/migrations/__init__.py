"""Brings a database to the schema of this code: makes a new one, upgrades an older one, refuses a newer one.

An upgrade runs inside one transaction, after a copy of the file (SQLite) was put beside it. The steps are
Alembic's, in `versions/`; Alembic itself is loaded only when there is something to upgrade.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from quart_app.db import Database
from quart_app.errors import DataError
from quart_app.files import copy_sqlite
from quart_app.models import Base

SCHEMA = "0003"
"""The newest step in `versions/`, which a new database has from the start."""

log = structlog.get_logger()


async def prepare(db: Database, *, steps: Path | None = None, newest: str = SCHEMA) -> None:
    """Makes or upgrades the tables. Raises DataError when a newer Switchboard wrote them.

    `steps` and `newest` are for tests of upgrades to come.
    """
    try:
        async with alone(db) as connection:
            version = await connection.run_sync(version_of)
            if version is None:
                await create(db, connection)
                return
    except (SQLAlchemyError, OSError) as error:
        raise DataError(f"The database cannot be used: {in_short(error)}.") from None
    if version != newest:
        await upgrade(db, version, newest, steps or Path(__file__).parent)


@asynccontextmanager
async def alone(db: Database, *, keys: bool = True) -> AsyncIterator[AsyncConnection]:
    """A write transaction that no other process's start shares; on SQLite that is any."""
    async with db.connect(keys=keys) as connection:
        if not db.is_sqlite:
            await connection.execute(text("SELECT pg_advisory_xact_lock(7305281)"))
        yield connection


def in_short(error: Exception) -> str:
    """The database's own words, without the statement and its values."""
    return (str(getattr(error, "orig", error)).splitlines() or [""])[0].rstrip(".") or type(error).__name__


def version_of(connection: Connection) -> str | None:
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return found
    if Base.metadata.tables.keys() & set(tables):
        raise DataError("The database has tables of another program; give Switchboard one of its own.")
    return None


async def create(db: Database, connection: AsyncConnection) -> None:
    if db.is_sqlite:
        for statement in statements(schema_sql()):
            await connection.exec_driver_sql(statement)
    else:
        await connection.run_sync(Base.metadata.create_all)
    await connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
    await connection.execute(text("INSERT INTO alembic_version VALUES (:version)"), {"version": SCHEMA})


def schema_sql() -> str:
    """The text of `schema.sql`: from the wheel, or from the checkout it was built from."""
    packaged = resources.files("quart_app") / "schema.sql"
    if packaged.is_file():
        return packaged.read_text("utf-8")
    return (Path(__file__).parents[2] / "schema.sql").read_text("utf-8")


def statements(script: str) -> list[str]:
    lines = [line for line in script.splitlines() if not line.startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";\n") if part.strip()]


async def upgrade(db: Database, version: str, newest: str, steps: Path) -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(steps))
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    if version not in known:
        raise DataError(
            f"A newer Switchboard wrote this database (schema {version}; this one knows up to {newest}). "
            "Install the newer one again, or restore a backup made with this one."
        )
    place = ""
    if db.path:
        copy = db.path.with_name(f"{db.path.name}.before-{newest}-{int(time.time())}")
        copy_sqlite(db.path, copy)
        log.info("upgrade", copied_to=str(copy), schema=newest)
        place = f"; a copy of it is {copy}"
    try:
        async with alone(db, keys=False) as connection:
            await connection.run_sync(run_steps, config, newest)
    except Exception as error:
        raise DataError(
            f"The upgrade to schema {newest} failed: {in_short(error)}. The database is as it was{place}."
        ) from error


def run_steps(connection: Connection, config: Any, newest: str) -> None:
    from alembic import command

    config.attributes["connection"] = connection
    command.upgrade(config, newest)
