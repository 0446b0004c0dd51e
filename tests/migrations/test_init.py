"""A new database is made, an older one upgraded in one transaction after a copy, and any other one refused."""

import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from quart_app import migrations
from quart_app.db import Database
from quart_app.errors import DataError
from quart_app.migrations import SCHEMA, prepare, statements
from quart_app.models import Base
from quart_app.services import open_services
from quart_app.settings import load_settings

FOLDER = Path(migrations.__file__).parent
STEP = '''"""A step to come."""
import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("accounts", sa.Column("email", sa.Text(), nullable=True))
    op.execute("INSERT INTO accounts (id, name, created_at, email) VALUES ('2', 'second', 2.0, 'second@example.com')")
'''
REBUILD = """
    with op.batch_alter_table("connections") as batch:
        batch.alter_column("state_reason", new_column_name="reason")
"""


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    """The steps there are, and room for more."""
    return shutil.copytree(FOLDER, tmp_path / "steps", ignore=shutil.ignore_patterns("__pycache__"))


def add_step(steps: Path, text_: str) -> None:
    (steps / "versions" / "0004_next.py").write_text(text_)


async def versions(db: Database) -> list[str]:
    async with db.connect() as connection:
        return list((await connection.execute(text("SELECT version_num FROM alembic_version"))).scalars())


async def columns(db: Database, table: str) -> set[str]:
    async with db.connect() as connection:
        found = await connection.run_sync(lambda sync: inspect(sync).get_columns(table))
    return {column["name"] for column in found}


async def run(db: Database, statement: str) -> None:
    async with db.connect() as connection:
        await connection.execute(text(statement))


async def accounts(db: Database) -> list[str]:
    async with db.connect() as connection:
        return list((await connection.execute(text("SELECT name FROM accounts ORDER BY id"))).scalars())


async def test_a_new_database_has_every_table_and_the_newest_version(empty_db: Database) -> None:
    await prepare(empty_db)
    async with empty_db.connect() as connection:
        found = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
    assert found == {*Base.metadata.tables, "alembic_version"}
    assert await versions(empty_db) == [SCHEMA]


async def test_preparing_again_changes_nothing(empty_db: Database) -> None:
    await prepare(empty_db)
    await run(empty_db, "INSERT INTO accounts VALUES ('1', 'first', 1.0)")
    await prepare(empty_db)
    assert await accounts(empty_db) == ["first"]
    assert await versions(empty_db) == [SCHEMA]
    if empty_db.path:
        assert list(empty_db.path.parent.glob("*.before-*")) == []


async def test_an_older_database_is_upgraded_after_a_private_copy(empty_db: Database, steps: Path) -> None:
    await prepare(empty_db)
    await run(empty_db, "INSERT INTO accounts VALUES ('1', 'first', 1.0)")
    add_step(steps, STEP)
    await prepare(empty_db, steps=steps, newest="0004")
    assert await versions(empty_db) == ["0004"]
    assert await accounts(empty_db) == ["first", "second"]
    assert "email" in await columns(empty_db, "accounts")
    if not empty_db.path:
        return
    (copy,) = empty_db.path.parent.glob("switchboard.db.before-0004-*")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as old:
        assert old.execute("SELECT * FROM accounts").fetchall() == [("1", "first", 1.0)]
        assert old.execute("SELECT * FROM alembic_version").fetchall() == [(SCHEMA,)]


@pytest.mark.parametrize(
    "failure", ['    raise RuntimeError("half-way")\n', '    op.execute("INSERT INTO nowhere VALUES (1)")\n']
)
async def test_a_step_that_fails_leaves_schema_and_rows(empty_db: Database, steps: Path, failure: str) -> None:
    await prepare(empty_db)
    await run(empty_db, "INSERT INTO accounts VALUES ('1', 'first', 1.0)")
    add_step(steps, STEP + failure)
    with pytest.raises(DataError, match=r"The upgrade to schema 0004 failed: .*\. The database is as it was") as caught:
        await prepare(empty_db, steps=steps, newest="0004")
    assert ("switchboard.db.before-0004-" in str(caught.value)) == bool(empty_db.path)
    assert await versions(empty_db) == [SCHEMA]
    assert await accounts(empty_db) == ["first"]
    assert "email" not in await columns(empty_db, "accounts")


async def test_a_step_that_builds_a_table_anew_takes_nothing_away_from_those_that_refer_to_it(
    empty_db: Database, steps: Path
) -> None:
    await prepare(empty_db)
    values = "'1', 'orders', '', 'http://x', '[]', '{}', '{}', '', '{}', '{}', '{}', '{}', 'ready', NULL, 1.0, 1.0"
    await run(empty_db, f"INSERT INTO connections VALUES ({values})")
    await run(empty_db, "INSERT INTO tokens (connection_id, generation) VALUES ('1', 7)")
    add_step(steps, STEP + REBUILD)
    await prepare(empty_db, steps=steps, newest="0004")
    assert "reason" in await columns(empty_db, "connections")
    async with empty_db.connect() as connection:
        kept = (await connection.execute(text("SELECT connection_id, generation FROM tokens"))).all()
    assert [tuple(row) for row in kept] == [("1", 7)]
    await run(empty_db, "DELETE FROM connections")
    async with empty_db.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM tokens"))).scalar() == 0, "keys are in force again"


async def test_a_newer_schema_is_refused_and_left_alone(empty_db: Database) -> None:
    await prepare(empty_db)
    await run(empty_db, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DataError) as caught:
        await prepare(empty_db)
    assert str(caught.value) == (
        f"A newer Switchboard wrote this database (schema 9999; this one knows up to {SCHEMA}). "
        "Install the newer one again, or restore a backup made with this one."
    )
    assert await versions(empty_db) == ["9999"]


@pytest.mark.parametrize("table", ["connections", "keys", "calls"])
async def test_tables_of_another_program_are_refused_and_left_alone(empty_db: Database, table: str) -> None:
    await run(empty_db, f"CREATE TABLE {table} (mine INTEGER)")
    with pytest.raises(DataError, match="tables of another program; give Switchboard one of its own"):
        await prepare(empty_db)
    assert await columns(empty_db, table) == {"mine"}


async def test_tables_with_other_names_may_stay_beside_ours(empty_db: Database) -> None:
    await run(empty_db, "CREATE TABLE users (mine INTEGER)")
    await prepare(empty_db)
    assert await columns(empty_db, "users") == {"mine"}


@pytest.mark.parametrize(
    ("content", "url", "sentence"),
    [
        (b"not a database " * 500, "", r"^The database cannot be used: file is not a database\.$"),
        (b"", "postgresql://u:secret@127.0.0.1:1/name", "^The database cannot be used: "),
    ],
)
async def test_what_is_no_database_is_said(tmp_path: Path, content: bytes, url: str, sentence: str) -> None:
    (tmp_path / "switchboard.db").write_bytes(content)
    with pytest.raises(DataError, match=sentence) as caught:
        async with open_services(load_settings({"data": str(tmp_path), "database_url": url}, {})):
            pass
    assert "secret" not in str(caught.value)
    assert (tmp_path / "switchboard.db").read_bytes() == content


def test_schema_is_the_head_of_the_steps() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA]


def test_the_script_is_split_at_its_semicolons_and_without_comments() -> None:
    script = "-- one; two\nCREATE TABLE a (\n    b TEXT\n);\n\n-- more\nCREATE INDEX c ON a (b);\n"
    assert statements(script) == ["CREATE TABLE a (\n    b TEXT\n)", "CREATE INDEX c ON a (b);"]
