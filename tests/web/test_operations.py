"""Alive and ready: told to anyone who asks, with the reasons when it is not."""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from quart_app import create_app
from quart_app.services import Services
from quart_app.settings import load_settings
from quart_app.vitals.watchdog import KEPT_SECONDS, TICK_SECONDS, UNWELL_SECONDS
from quart_app.web.shapes import Health
from tests.postgres import PostgresServer
from tests.web.conftest import Asker


async def health(asker: Asker, path: str) -> tuple[int, Health]:
    answer = await asker.get(path)
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status_code, Health.model_validate_json(await answer.get_data(), strict=True)


async def test_it_is_alive_and_ready_and_says_so_to_anyone(nobody: Asker) -> None:
    for path in ("/healthz", "/readyz"):
        assert await health(nobody, path) == (200, Health(status="ok", reasons=[]))


def drains(services: Services) -> None:
    services.draining = True


def fails_to_record(services: Services) -> None:
    services.recorder.failing = "records cannot be written since 08:00:00 UTC"


@pytest.mark.parametrize(
    ("happens", "says"),
    [
        (drains, "draining: the server is stopping"),
        (fails_to_record, "recorder: records cannot be written since 08:00:00 UTC"),
    ],
)
async def test_it_is_alive_but_not_ready_and_says_why(
    nobody: Asker, running: Services, happens: Callable[[Services], None], says: str
) -> None:
    happens(running)
    assert await health(nobody, "/readyz") == (503, Health(status="failing", reasons=[says]))
    assert (await health(nobody, "/healthz"))[0] == 200


async def test_it_is_not_ready_without_its_database(tmp_path: Path, postgres_server: PostgresServer) -> None:
    database = postgres_server.database()
    url = await asyncio.to_thread(database.__enter__)
    app = create_app(load_settings({"data": str(tmp_path / "data"), "database_url": url}, {}))
    name = url.partition("?")[0].rpartition("/")[2]
    async with app.test_app():
        assert (await health(Asker(app), "/readyz"))[0] == 200
        for statement in (
            f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        ):
            await asyncio.to_thread(postgres_server.execute, statement)
        status, said = await health(Asker(app), "/readyz")
        assert (status, said.reasons) == (503, ["database: it does not answer"])
        assert (await health(Asker(app), "/healthz"))[0] == 200
    await asyncio.to_thread(database.__exit__, None, None, None)


async def test_a_draining_server_takes_no_new_call_by_the_proxy_and_no_listener(
    program: Asker, running: Services
) -> None:
    running.draining = True
    for path in ("/proxy/orders/x", "/api/events"):
        answer = await program.get(path)
        assert answer.status_code == 503
        assert (await answer.get_json())["code"] == "draining"


async def test_a_loop_that_stood_still_is_said_for_a_while(nobody: Asker, running: Services) -> None:
    await asyncio.sleep(TICK_SECONDS)
    time.sleep(UNWELL_SECONDS + 2 * TICK_SECONDS)  # noqa: ASYNC251 - this is the fault
    await asyncio.sleep(TICK_SECONDS)
    status, told = await health(nobody, "/healthz")
    assert (status, told.status) == (503, "failing")
    assert re.fullmatch(r"loop: it stood still for \d\.\d s in the last 10 s", told.reasons[0])
    assert (await health(nobody, "/readyz"))[0] == 200
    running.watchdog._late[0] = (time.monotonic() - KEPT_SECONDS - 1, 3.0)
    assert (await health(nobody, "/healthz"))[0] == 200
