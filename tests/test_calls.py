"""Calls, by the use case and by the API."""

from typing import Any

from quart_app import calls, connections
from quart_app.forms.calls import CallForm
from quart_app.forms.connections import ConnectionForm
from quart_app.services import Services
from tests.upstream import Upstream


def form(upstream: Upstream, **more: Any) -> ConnectionForm:
    given = {"name": "orders", "base_url": f"{upstream.url}/v1", "policy": {"allow_private": True}}
    return ConnectionForm.model_validate(given | more)


async def test_a_call_is_sent_and_on_record(services: Services, upstream: Upstream) -> None:
    await connections.create(services, form(upstream, auth={"scheme": "bearer", "token": "very-secret-token"}))
    sent = await calls.send(services, CallForm(connection="orders", path="/items"), origin="api", actor="test")
    assert sent.durable
    shown = sent.view()
    assert (shown["state"], shown["status"]) == ("done", 200)
    assert shown["response"]["body"]["json"] == {"hello": "world"}
    assert upstream.seen[0].path == "/v1/items"
    assert upstream.seen[0].header("authorization") == "Bearer very-secret-token"
    assert "very-secret-token" not in str(shown)


async def test_api_sends_lists_and_opens_a_call(client: Any, upstream: Upstream) -> None:
    created = await client.post("/api/connections", json=form(upstream).model_dump(by_alias=True, exclude_none=True))
    assert created.status_code == 201, await created.get_data()
    answer = await client.post("/api/calls", json={"connection": "orders", "method": "POST", "json": {"hoge": "val"}})
    assert answer.status_code == 201
    call = await answer.get_json()
    listed = await (await client.get("/api/calls")).get_json()
    assert [item["id"] for item in listed["items"]] == [call["id"]]
    opened = await (await client.get(f"/api/calls/{call['id']}")).get_json()
    assert opened == call
    assert upstream.seen[0].body == b'{"hoge":"val"}'


async def test_proxy_passes_the_answer_on_and_records_it(client: Any, upstream: Upstream) -> None:
    await client.post("/api/connections", json=form(upstream).model_dump(by_alias=True, exclude_none=True))
    answer = await client.get("/proxy/orders/items?x=1")
    assert answer.status_code == 200
    assert await answer.get_json() == {"hello": "world"}
    assert answer.headers["X-Switchboard-Source"] == "upstream"
    call = await (await client.get(f"/api/calls/{answer.headers['X-Switchboard-Call']}")).get_json()
    assert (call["origin"], call["state"], call["status"]) == ("proxy", "done", 200)
    assert upstream.seen[0].path == "/v1/items?x=1"
