"""`python -m tests.rotating DATA LABEL NUMBER`: `switchboard rotate-key`, killed when it reaches a label that often.

It kills itself with SIGKILL, so that neither Python nor the database is told; with NUMBER 0 it comes to its end.
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from quart_app import rekeying
from quart_app.files import copy_sqlite, plain_sqlite
from quart_app.rekeying import sealed_columns
from quart_app.services import open_services
from quart_app.settings import load_settings
from quart_app.vault import Vault
from quart_app.vault.key_file import KeyFile
from tests.served import clean_environment


class Killer:
    def __init__(self, label: str, number: int) -> None:
        self.label = label
        self.left = number

    def __call__(self, label: str) -> None:
        if label == self.label:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


async def rotate(data: str, label: str, number: int) -> None:
    async with open_services(load_settings({"data": data}, {})) as services:
        services.reached = Killer(label, number)
        await rekeying.rotate(services, actor="test", progress=lambda *_: None)


def run(data: Path, label: str, number: int) -> int:
    """The exit code of such a process; negative is the signal that ended it."""
    command = [sys.executable, "-m", "tests.rotating", str(data), label, str(number)]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def texts_of_copy(data: Path, into: Path) -> dict[tuple[str, str, str], str]:
    """Everything sealed, opened in a copy with the keys that the key file has; fails where one value does not open."""
    into.mkdir()
    (into / "switchboard.key").write_text((data / "switchboard.key").read_text())
    (into / "switchboard.key").chmod(0o600)
    copy_sqlite(data / "switchboard.db", into / "switchboard.db")
    return texts(into / "switchboard.db", Vault(file=KeyFile(into / "switchboard.key")))


def texts(database: Path, vault: Vault) -> dict[tuple[str, str, str], str]:
    """Everything sealed in an SQLite database in clear, by its place."""
    found = {}
    with plain_sqlite(database) as connection:
        for key, column in sealed_columns():
            table = column.table.name
            query = f"SELECT {key.name}, {column.name} FROM {table} WHERE {column.name} IS NOT NULL"
            for row, sealed in connection.execute(query):
                text = vault.unseal(sealed, table=table, column=column.name, row=str(row))
                found[table, column.name, str(row)] = text
    return found


if __name__ == "__main__":
    asyncio.run(rotate(sys.argv[1], sys.argv[2], int(sys.argv[3])))
