"""Batches: every item answered once, as it ends; one bad item is that item's problem."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError
from sqlalchemy import func, select, text

from quart_app import batches, connections
from quart_app.batches import BatchForm
from quart_app.forms.connections import ConnectionForm
from quart_app.models import Call
from quart_app.recorder import Record
from quart_app.records import BLANK
from quart_app.services import Services
from tests.upstream import Upstream

SQLITE = pytest.mark.parametrize("database_url", [""])


@pytest.fixture
async def orders(services: Services, upstream: Upstream) -> Upstream:
    """A connection `orders` to an upstream whose path `/slow/<seconds>` takes that long."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/slow/"):
            await asyncio.sleep(float(request.path.rpartition("/")[2]))
        return web.json_response({"path": request.path})

    upstream.handler = answer
    given = {"name": "orders", "base_url": upstream.url, "policy": {"allow_private": True, "concurrency": 500}}
    await connections.create(services, ConnectionForm.model_validate(given))
    return upstream


def form(*paths: str, concurrency: int = 32) -> BatchForm:
    items = [{"connection": "orders", "path": path} for path in paths]
    return BatchForm(calls=items, concurrency=concurrency)


async def outcomes(services: Services, batch: BatchForm) -> list[dict[str, Any]]:
    async with batches.send(services, batch, actor="test") as pieces:
        return [item async for piece in pieces for item in piece]


async def test_a_thousand_calls_are_each_answered_once_and_on_record(services: Services, orders: Upstream) -> None:
    found = await outcomes(services, form(*(f"/{number}" for number in range(1000)), concurrency=200))
    assert sorted(item["index"] for item in found) == list(range(1000))
    for item in found:
        assert item["call"]["response"]["body"]["json"] == {"path": f"/{item['index']}"}
    async with services.db.session() as session:
        assert await session.scalar(select(func.count()).select_from(Call).where(Call.state == "done")) == 1000
    assert services.tasks == set()


@SQLITE
async def test_answers_come_as_they_end_and_not_as_they_were_given(services: Services, orders: Upstream) -> None:
    seen = []
    async with batches.send(services, form("/slow/0.3", "/fast"), actor="test") as pieces:
        async for piece in pieces:
            seen.append([item["index"] for item in piece])
    assert seen == [[1], [0]]


@SQLITE
async def test_no_more_than_its_concurrency_is_in_flight(services: Services, orders: Upstream) -> None:
    running = most = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return web.Response()

    orders.handler = answer
    await outcomes(services, form(*["/"] * 30, concurrency=4))
    assert most == 4


async def test_a_bad_item_is_that_item_s_problem(services: Services, orders: Upstream) -> None:
    items: list[Any] = [
        {"connection": "orders", "path": "/good"},
        {"connection": "unknown", "path": "/"},
        {"connection": "orders", "path": "/../up"},
        {"connection": "orders", "path": "/", "colour": "red"},
        {"path": "/", "method": "NO METHOD"},
        "not an object",
        None,
        {"connection": "orders", "path": "/also-good"},
    ]
    found = {item["index"]: item for item in await outcomes(services, BatchForm(calls=items))}
    shown = {index: item.get("error", {}).get("code", "sent") for index, item in found.items()}
    assert shown == {
        0: "sent",
        1: "unknown_connection",
        2: "dot_segment",
        3: "unknown_field",
        4: "invalid_input",
        5: "invalid_input",
        6: "invalid_input",
        7: "sent",
    }
    assert [fault["pointer"] for fault in found[4]["error"]["errors"]] == ["/connection", "/method"]
    assert len(orders.seen) == 2


async def test_a_call_that_failed_is_still_a_call(services: Services) -> None:
    given = {"name": "orders", "base_url": "http://127.0.0.1:1", "policy": {"allow_private": True}}
    await connections.create(services, ConnectionForm.model_validate(given))
    (item,) = await outcomes(services, form("/"))
    assert (item["call"]["state"], item["call"]["reason"]) == ("failed", "connect_failed")


async def test_an_item_that_meets_an_error_of_ours_ends_neither_the_others_nor_the_batch(
    services: Services, orders: Upstream
) -> None:
    await outcomes(services, form("/known"))
    async with services.db.connect() as connection:
        await connection.execute(text("ALTER TABLE connections RENAME TO connections_away"))
    items = [{"connection": name, "path": "/"} for name in ("orders", "not-in-memory", "orders")]
    found = {item["index"]: item for item in await outcomes(services, BatchForm(calls=items))}
    assert sorted(found) == [0, 1, 2]
    assert found[1]["error"] == {
        "status": 500,
        "code": "internal_error",
        "detail": "Something went wrong here; the log says where.",
        "errors": [],
    }
    assert [found[index]["call"]["status"] for index in (0, 2)] == [200, 200]


@SQLITE
async def test_who_leaves_early_cancels_what_is_in_flight_and_sends_no_more(
    services: Services, orders: Upstream
) -> None:
    batch = form("/fast", *["/slow/30"] * 5, *["/never"] * 5, concurrency=3)
    async with asyncio.timeout(5):
        async with batches.send(services, batch, actor="test") as pieces:
            assert [item["index"] for item in await anext(pieces)] == [0]
        await services.finish()
    await services.recorder.put(services_end(services))
    async with services.db.session() as session:
        states = list(await session.scalars(select(Call.state).where(Call.connection == "orders").order_by(Call.id)))
    assert states == ["done", "cancelled", "cancelled", "cancelled"]
    assert not [seen for seen in orders.seen if seen.path == "/never"]


def services_end(services: Services) -> Any:
    """A last record: when it is on disk, so are those before it."""
    row: dict[str, Any] = {"id": "last", "owner": services.process, "state": "done", "started_at": 1.0}
    texts = {"connection_id": "1", "connection": "x", "origin": "api", "actor": "test", "method": "GET", "url": "x"}
    return Record(BLANK | row | texts | {"request_headers": "[]"})


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"calls": []},
        {"calls": {}},
        {"calls": [{}], "concurrency": 0},
        {"calls": [{}], "concurrency": 1001},
        {"calls": [{}], "concurrency": "4"},
        {"calls": [{}], "more": 1},
    ],
)
def test_a_form_that_is_no_batch_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BatchForm.model_validate(given)
