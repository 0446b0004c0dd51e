"""`schema.sql` and the models say the same, and the schema says what each table is for."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from quart_app.migrations import schema_sql
from quart_app.models import Base, Connection

TABLES = sorted(Base.metadata.tables)


@pytest.fixture(scope="module")
def by_schema() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema_sql())
        yield connection


@pytest.fixture(scope="module")
def by_models() -> Iterator[sqlite3.Connection]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    connection = engine.raw_connection()
    try:
        yield connection.driver_connection  # type: ignore[misc]
    finally:
        connection.close()
        engine.dispose()


def tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def test_the_tables_are_the_same(by_schema: sqlite3.Connection, by_models: sqlite3.Connection) -> None:
    assert tables(by_schema) == tables(by_models) == set(TABLES)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("pragma", ["table_xinfo", "foreign_key_list"])
def test_columns_types_nullability_and_keys_are_the_same(
    by_schema: sqlite3.Connection, by_models: sqlite3.Connection, table: str, pragma: str
) -> None:
    """Rows of the pragma: order, name, type, NOT NULL, default and place in the primary key; the references."""
    query = f"PRAGMA {pragma}({table})"
    assert by_schema.execute(query).fetchall() == by_models.execute(query).fetchall()


def indexes(connection: sqlite3.Connection, table: str) -> set[Any]:
    """Each index: its name unless SQLite gave it, unique, origin, condition, columns in order."""
    found = set()
    for _, name, unique, origin, partial in connection.execute(f"PRAGMA index_list({table})").fetchall():
        columns = tuple(row[2] for row in connection.execute(f"PRAGMA index_info({name})"))
        sql = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
        condition = sql[0].partition(" WHERE ")[2] if sql and partial else None
        found.add((name if origin == "c" else None, unique, origin, condition, columns))
    return found


@pytest.mark.parametrize("table", TABLES)
def test_indexes_are_the_same(by_schema: sqlite3.Connection, by_models: sqlite3.Connection, table: str) -> None:
    assert indexes(by_schema, table) == indexes(by_models, table)


def test_a_table_without_rowids_is_one_in_both(by_schema: sqlite3.Connection, by_models: sqlite3.Connection) -> None:
    query = "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' ORDER BY name"
    assert by_schema.execute(query).fetchall() == by_models.execute(query).fetchall()


def test_the_models_stand_in_the_order_of_the_schema() -> None:
    in_schema = re.findall(r"^CREATE TABLE (\w+)", schema_sql(), re.MULTILINE)
    assert in_schema == list(Base.metadata.tables)


@pytest.mark.parametrize("kind", ["TABLE", "INDEX"])
def test_every_table_and_index_has_a_comment_above_it(kind: str) -> None:
    lines = schema_sql().splitlines()
    places = [number for number, line in enumerate(lines) if line.startswith(f"CREATE {kind}")]
    assert places
    assert [lines[number] for number in places if not lines[number - 1].startswith("-- ")] == []


def test_columns_of_json_keep_integers_of_any_size() -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    given = {"large": 2**70, "text": "ü", "nothing": None}
    row = Connection(
        id="1", name="n", title="", base_url="", tags=[1], metadata_json=given, auth={}, sealed_secrets=b"",
        headers={}, policy={}, tls={}, proxy={}, state="ready", created_at=0.0, updated_at=0.0,
    )  # fmt: skip
    with Session(engine) as session:
        session.add(row)
        session.commit()
        session.expire_all()
        kept = session.get_one(Connection, "1")
        assert (kept.metadata_json, kept.tags) == (given, [1])
    engine.dispose()


def test_sealed_columns_are_bytes_in_both_databases() -> None:
    sealed = [column for table in Base.metadata.tables.values() for column in table.columns if "sealed" in column.name]
    assert {column.name for column in sealed} >= {"sealed_secrets", "sealed_access_token", "sealed_refresh_token"}
    assert all(column.type.python_type is bytes for column in sealed)
