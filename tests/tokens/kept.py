"""What the tests of tokens share: calls through a connection to the sandbox, the rows, a process that dies."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from quart_app import calls, connections
from quart_app.calls import Sent
from quart_app.forms.calls import CallForm
from quart_app.models import Call, Token, TokenExchange
from quart_app.recorder import Record
from quart_app.records import BLANK
from quart_app.services import Services

NOBODY = f"{socket.gethostname()}:1:1"
"""A process that is gone: no init has started in the boot's first tick."""


class Killed(BaseException):
    """As kill -9 at a step of an exchange: nothing that follows is done, and nothing is tidied up."""


def kill_at(services: Services, label: str) -> None:
    """The exchange ends there, and its process counts as gone."""
    services.process = NOBODY

    def reached(passed: str) -> None:
        if passed == label:
            raise Killed

    services.reached = reached


def later(services: Services, seconds: float) -> None:
    """Moves the clock that the app goes by."""
    services.clock = lambda: time.time() + seconds


async def send(services: Services, path: str = "/whoami", **more: Any) -> Sent:
    return await calls.send(services, CallForm(connection="items", path=path, **more), origin="api", actor="test")


def outcome(sent: Sent) -> Any:
    """The status, or the reason where there is none."""
    return sent.call["status"] or sent.call["reason"]


def generations(sent: Sent) -> list[int | None]:
    return [attempt["token_generation"] for attempt in sent.flight.record.attempts]


async def row(services: Services) -> Token:
    async with services.db.session() as session:
        return (await session.scalars(select(Token))).one()


async def state(services: Services) -> tuple[str, str | None]:
    target = await connections.load(services, "items")
    return target.state, target.state_reason


async def entries(services: Services) -> list[TokenExchange]:
    """The ledger, oldest first."""
    async with services.db.session() as session:
        return list(await session.scalars(select(TokenExchange).order_by(TokenExchange.id)))


async def told(services: Services) -> list[tuple[str, str, str | None]]:
    """Cause, state and reason of each exchange, oldest first."""
    return [(entry.cause, entry.state, entry.reason) for entry in await entries(services)]


async def recorded(services: Services) -> None:
    """Waits until what was handed to the recorder is on disk: a last record is, and so are those before it."""
    row_: dict[str, Any] = {"id": "last", "owner": services.process, "state": "done", "started_at": 1.0}
    texts = {"connection_id": "1", "connection": "x", "origin": "api", "actor": "test", "method": "GET", "url": "x"}
    await services.recorder.put(Record(BLANK | row_ | texts | {"request_headers": "[]"}))


async def on_record(services: Services) -> list[Call]:
    await recorded(services)
    async with services.db.session() as session:
        return list(await session.scalars(select(Call).where(Call.origin == "token").order_by(Call.id)))


async def eventually(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)
