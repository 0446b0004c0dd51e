"""The history by the API: searched while calls come in, compared, measured. On both databases."""

import asyncio
from typing import Any

import pytest

from quart_app.services import Services
from tests.upstream import Upstream
from tests.web.conftest import Asker, problem_in


@pytest.fixture
async def orders(program: Asker, upstream: Upstream) -> Asker:
    """A program with a connection `orders` to an upstream that answers with what it was asked."""
    form = {"name": "orders", "base_url": upstream.url, "policy": {"allow_private": True}}
    assert (await program.post("/api/connections", json=form)).status_code == 201
    return program


async def send(program: Asker, **form: Any) -> str:
    answer = await program.post("/api/calls", json={"connection": "orders"} | form)
    return str((await answer.get_json())["id"])


async def ids(program: Asker, query: str) -> list[str]:
    answer = await program.get(f"/api/calls?{query}")
    return [item["id"] for item in (await answer.get_json())["items"]]


async def storage(program: Asker) -> dict[str, Any]:
    found: dict[str, Any] = await (await program.get("/api/storage")).get_json()
    return found


async def test_calls_are_found_by_words_of_their_url_before_and_after_they_are_indexed(
    orders: Asker, running: Services
) -> None:
    sent = [await send(orders, path=f"/fruits/{name}") for name in ("apple", "pear", "apple")]
    assert await ids(orders, "q=fruits/apple") == [sent[2], sent[0]]
    async with asyncio.timeout(10):
        while running.db.is_sqlite and (await storage(orders))["search"]["behind"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # the indexer tells nobody
    assert await ids(orders, "q=fruits/apple") == [sent[2], sent[0]]
    assert await ids(orders, "q=fruits/a&status=200&connection=orders&limit=1") == [sent[2]]
    first = await (await orders.get("/api/calls?q=fruits&limit=2")).get_json()
    assert [item["id"] for item in first["items"]] == [sent[2], sent[1]]
    assert await ids(orders, f"q=fruits&limit=2&cursor={first['next']}") == [sent[0]]


async def test_the_meter_counts_calls(orders: Asker) -> None:
    before = (await storage(orders))["calls"]
    await send(orders)
    found = await storage(orders)
    assert found["calls"] == before + 1
    assert found["oldest_at"]
    assert found["keep_days"] == 90


async def test_two_calls_are_compared(orders: Asker) -> None:
    first = await send(orders, method="POST", path="/a", json={"items": [1, 2]})
    second = await send(orders, method="POST", path="/a", json={"items": [1, 3], "more": True})
    answer = await orders.get(f"/api/calls/{first}/diffs/{second}?ignore=/response&ignore=/request/headers")
    content = await answer.get_json()
    assert (content["from"], content["to"], content["same"]) == (first, second, False)
    assert content["changes"] == [
        {"pointer": "/request/body/json/items/1", "kind": "changed", "before": 2, "after": 3},
        {"pointer": "/request/body/json/more", "kind": "added", "before": None, "after": True},
    ]
    answer = await orders.get(f"/api/calls/{first}/diffs/{second}?ignore=")
    assert (await answer.get_json())["same"] is True


async def test_faults_of_a_comparison_are_said(orders: Asker) -> None:
    id_ = await send(orders)
    for query, pointer in (("ignore=items", "/ignore"), ("ignored=/a", "/ignored")):
        problem = await problem_in(await orders.get(f"/api/calls/{id_}/diffs/{id_}?{query}"), 422, "invalid_query")
        assert [fault["pointer"] for fault in problem.errors] == [pointer]
    for path in (f"{id_}/diffs/{'0' * 36}", f"{'0' * 36}/diffs/{id_}", f"{id_}/diffs/x"):
        await problem_in(await orders.get(f"/api/calls/{path}"), 404, "unknown_call")
