"""Files: private from the start, copied whole while in use."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from quart_app.errors import DataError
from quart_app.files import copy_sqlite, make_private_file, make_private_folder
from quart_app.migrations import prepare
from tests.test_db import account, sqlite_database


@pytest.mark.parametrize("make", [make_private_folder, lambda path: make_private_file(path / "switchboard.db")])
def test_a_place_that_cannot_be_is_said(tmp_path: Path, make: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot (make|open) the"):
        make(tmp_path / "file" / "folder")


async def test_a_copy_is_whole_private_and_never_over_something(tmp_path: Path) -> None:
    db = sqlite_database(tmp_path)
    await prepare(db)
    try:
        async with db.begin() as session:
            session.add(account("copied"))
        copy_sqlite(tmp_path / "switchboard.db", tmp_path / "copy.db")
    finally:
        await db.close()
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT name FROM accounts").fetchall() == [("copied",)]
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    with pytest.raises(DataError, match=r"cannot write the copy .*: File exists"):
        copy_sqlite(tmp_path / "switchboard.db", tmp_path / "copy.db")
