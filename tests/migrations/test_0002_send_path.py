"""From schema 0001, as the first release made it (`0001.sql`): every row stays, and the tables become the new ones."""

from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, inspect, select, text

from quart_app import history
from quart_app.db import Bulk, Database
from quart_app.migrations import SCHEMA, prepare, statements
from quart_app.models import Call
from tests.test_recorder import record

FIRST = (Path(__file__).parent / "0001.sql").read_text("utf-8")
OF_POSTGRES = {" REAL": " DOUBLE PRECISION", " BLOB": " BYTEA", ") WITHOUT ROWID": ")"}
IDS = [f"0192a000-0000-7000-8000-00000000000{digit}" for digit in "215"]
HASH = "ab" * 32


async def run(db: Database, *made: str) -> None:
    async with db.connect() as connection:
        for statement in made:
            await connection.exec_driver_sql(statement)


async def make_first(db: Database) -> None:
    script = FIRST
    for sqlite, postgres in OF_POSTGRES.items() if not db.is_sqlite else ():
        script = script.replace(sqlite, postgres)
    await run(db, *statements(script), "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
    await run(db, "INSERT INTO alembic_version VALUES ('0001')")


def insert(table: str, **values: Any) -> str:
    shown = ", ".join("NULL" if value is None else repr(value) for value in values.values())
    return f"INSERT INTO {table} ({', '.join(values)}) VALUES ({shown})"


def old_call(id_: str, **more: Any) -> str:
    row: dict[str, Any] = dict.fromkeys(("replay_of", "reason", "detail", "request_size", "response_size"))
    row |= {"id": id_, "connection_id": "1", "connection": "orders", "origin": "api", "actor": "test", "owner": "h:1:2"}
    row |= {"method": "POST", "url": "http://h/a?b=:c", "state": "done", "status": 200, "started_at": 1.5}
    row |= {"duration_seconds": 0.5, "request_headers": '[["a", "b"]]', "request_body": HASH, "response_body": None}
    row |= {"request_truncated": False, "request_exact": True, "response_truncated": False, "response_headers": "[]"}
    return insert("calls", **row | more)


async def fill(db: Database) -> None:
    blob = "x'6869'" if db.is_sqlite else "'\\x6869'"
    await run(
        db,
        insert("bodies", hash=HASH, encoding="identity", content=0).replace("0)", f"{blob})"),
        *(old_call(id_) for id_ in IDS[:2]),
        old_call(IDS[2], state="sending", request_body=None),
    )
    for number, waited in enumerate((0.25, 0.5), 1):
        times = {"started_at": 1.0, "duration_seconds": 0.1, "waited_seconds": waited}
        await run(db, insert("attempts", call_id=IDS[0], number=number, status=200, **times))


async def shape(db: Database) -> dict[str, Any]:
    """Columns with types and nullability, keys and indexes of each table."""

    def look(connection: Any) -> dict[str, Any]:
        found, inspector = {}, inspect(connection)
        for table in inspector.get_table_names():
            found[table] = {
                "columns": {(one["name"], str(one["type"]), one["nullable"]) for one in inspector.get_columns(table)},
                "key": inspector.get_pk_constraint(table)["constrained_columns"],
                "unique": sorted(one["column_names"] for one in inspector.get_unique_constraints(table)),
                "indexes": sorted((one["name"], tuple(one["column_names"])) for one in inspector.get_indexes(table)),
                "counts": "nextval" in str([one["default"] for one in inspector.get_columns(table)]),
            }
        return found

    async with db.connect() as connection:
        return await connection.run_sync(look)


async def drop_all(db: Database) -> None:
    tables = await shape(db)
    for table in sorted(tables, key=lambda name: name in ("accounts", "connections", "webhooks")):
        await run(db, f"DROP TABLE {table}")


async def test_an_upgraded_database_is_as_a_new_one(empty_db: Database) -> None:
    await prepare(empty_db)
    new = await shape(empty_db)
    await drop_all(empty_db)
    await make_first(empty_db)
    assert await shape(empty_db) != new
    await prepare(empty_db)
    upgraded = await shape(empty_db)
    for table in new:
        assert upgraded[table] == new[table], table
    assert upgraded.keys() == new.keys()


async def test_rows_stay_and_calls_are_counted_in_the_order_they_were_made(empty_db: Database) -> None:
    await make_first(empty_db)
    await fill(empty_db)
    await prepare(empty_db)
    async with empty_db.session() as session:
        rows = list(await session.scalars(select(Call).order_by(Call.number)))
        assert [row.id for row in rows] == sorted(IDS)
        assert [row.number for row in rows] == [1, 2, 3]
        assert [row.state for row in rows] == ["done", "done", "sending"]
        assert [row.waited_seconds for row in rows] == [0.0, 0.75, 0.0]
        shown = await history.get(session, IDS[0])
        version = await session.scalar(text("SELECT version_num FROM alembic_version"))
    assert version == SCHEMA
    assert shown["url"] == "http://h/a?b=:c"
    assert [attempt["waited_seconds"] for attempt in shown["attempts"]] == [0.25, 0.5]


async def test_bodies_of_before_are_still_found(empty_db: Database) -> None:
    await make_first(empty_db)
    await fill(empty_db)
    await run(empty_db, "UPDATE calls SET request_size = 2, request_media_type = 'text/plain'")
    await prepare(empty_db)
    async with empty_db.session() as session:
        shown = await history.get(session, IDS[0])
        row = await session.get_one(Call, IDS[0])
    assert shown["request"]["body"]["text"] == "hi"
    assert (row.request_body or "").partition("-")[2] == HASH


@pytest.mark.parametrize("filled", [True, False])
async def test_counting_goes_on_after_the_upgrade(empty_db: Database, filled: bool) -> None:
    await make_first(empty_db)
    if filled:
        await fill(empty_db)
    await prepare(empty_db)
    calls = Bulk(empty_db, Call, key="id")
    row = itemgetter(*calls.columns)(record().call)
    await empty_db.write([(calls, [row])])
    async with empty_db.session() as session:
        assert (await session.scalar(select(func.max(Call.number)))) == (4 if filled else 1)
