"""Files that only their owner may read: folders, databases, and copies of databases in use."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quart_app.errors import DataError

BUSY_SECONDS = 5


def make_private_folder(folder: Path) -> None:
    """Makes the folder, readable by its owner only (0700)."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {folder}: {error.strerror}") from None


def make_private_file(path: Path) -> None:
    """Makes the file 0600 before SQLite does; its -wal and -shm take over the mode."""
    if not path.parent.exists():
        make_private_folder(path.parent)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise DataError(f"cannot open the database {path}: {error.strerror}") from None


@contextmanager
def plain_sqlite(path: Path) -> Iterator[sqlite3.Connection]:
    """The file by the standard library, for copies."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        yield connection
    finally:
        connection.close()


def copy_sqlite(source: Path, target: Path) -> None:
    """A whole, consistent copy of a database in use (SQLite's online backup), mode 0600.

    Raises DataError when the target exists already.
    """
    try:
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise DataError(f"cannot write the copy {target}: {error.strerror}") from None
    with plain_sqlite(source) as origin, plain_sqlite(target) as copy:
        origin.backup(copy)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable: a file that was made, renamed or taken away (fsync(2))."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
