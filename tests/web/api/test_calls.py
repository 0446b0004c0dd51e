"""Calls by the API: every form of body, query and header; found again, opened, sent again; and many at once."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec
import pytest
from aiohttp import web

from quart_app.services import Services
from tests.served import Served
from tests.upstream import Upstream
from tests.web.conftest import Asker, problem_in

KEY = "the-key-of-the-api"


@pytest.fixture
async def orders(program: Asker, upstream: Upstream) -> Asker:
    """A program with a connection `orders` to the upstream's /v1."""
    await add(program, "orders", f"{upstream.url}/v1")
    return program


async def add(program: Asker, name: str, base_url: str, **more: Any) -> None:
    policy = {"allow_private": True} | more.pop("policy", {})
    answer = await program.post("/api/connections", json={"name": name, "base_url": base_url, "policy": policy} | more)
    assert answer.status_code == 201, await answer.get_data()


async def send(program: Asker, **form: Any) -> dict[str, Any]:
    answer = await program.post("/api/calls", json={"connection": "orders"} | form)
    content: dict[str, Any] = await answer.get_json()
    assert answer.status_code == 201, content
    assert answer.headers["Location"] == f"/api/calls/{content['id']}"
    return content


async def replay(program: Asker, call: dict[str, Any], **changes: Any) -> Any:
    return await program.post(f"/api/calls/{call['id']}/replays", json=changes)


async def replayed(program: Asker, call: dict[str, Any], **changes: Any) -> dict[str, Any]:
    answer = await replay(program, call, **changes)
    content: dict[str, Any] = await answer.get_json()
    assert answer.status_code == 201, content
    assert content["replay_of"] == call["id"]
    return content


# --- what is sent

BODIES: list[tuple[dict[str, Any], bytes, str | None]] = [
    ({}, b"", None),
    ({"json": {"hoge": "val", "é": [1.5, None]}}, '{"hoge":"val","é":[1.5,null]}'.encode(), "application/json"),
    ({"json": None}, b"null", "application/json"),
    ({"json": False}, b"false", "application/json"),
    ({"json": 2**70}, str(2**70).encode(), "application/json"),
    ({"json": ""}, b'""', "application/json"),
    ({"text": "é\n"}, "é\n".encode(), "text/plain; charset=utf-8"),
    ({"text": ""}, b"", "text/plain; charset=utf-8"),
    ({"form": {"a b": "é&=", "n": 1}}, b"a+b=%C3%A9%26%3D&n=1", "application/x-www-form-urlencoded"),
    ({"form": [["a", "1"], ["a", "2"]]}, b"a=1&a=2", "application/x-www-form-urlencoded"),
    ({"base64": "AP8="}, b"\x00\xff", "application/octet-stream"),
    ({"json": {}, "headers": {"Content-Type": "application/vnd.x+json"}}, b"{}", "application/vnd.x+json"),
    ({"base64": "", "headers": [["content-type", "image/png"]]}, b"", "image/png"),
]


async def test_every_kind_of_body_is_sent_as_it_is_meant(orders: Asker, upstream: Upstream) -> None:
    for form, body, media in BODIES:
        call = await send(orders, method="POST", **form)
        seen = upstream.seen[-1]
        assert (seen.body, seen.header("content-type")) == (body, media), form
        assert seen.header("content-length") == str(len(body))
        assert seen.header("transfer-encoding") is None
        shown = call["request"]["body"]
        assert (shown and shown["size"]) == (len(body) if media else None)


QUERIES: list[tuple[dict[str, Any], str]] = [
    ({"path": "/a"}, "/v1/a"),
    ({"path": "a"}, "/v1/a"),
    ({"path": ""}, "/v1"),
    ({}, "/v1/"),
    ({"path": "/a?x=%2F&y"}, "/v1/a?x=%2F&y"),
    ({"path": "/a", "query": {"x": 1, "y z": "é/"}}, "/v1/a?x=1&y+z=%C3%A9%2F"),
    ({"path": "/a?x=0", "query": [["x", "1"], ["x", 2.5]]}, "/v1/a?x=0&x=1&x=2.5"),
    ({"path": "//a//b%20c;d"}, "/v1//a//b%20c;d"),
]


async def test_path_and_query_arrive_as_they_are_given(orders: Asker, upstream: Upstream) -> None:
    for form, target in QUERIES:
        call = await send(orders, **form)
        assert upstream.seen[-1].path == target, form
        assert call["url"] == upstream.url + target


async def test_headers_arrive_in_order_beside_those_of_the_connection(program: Asker, upstream: Upstream) -> None:
    await add(program, "orders", upstream.url, headers={"X-Team": "blue", "Accept": "application/json"})
    await send(program, headers=[["X-A", "1"], ["X-A", 2], ["X-Team", "red"]], idempotency_key="once")
    headers = [(name.lower(), value) for name, value in upstream.seen[-1].headers]
    assert [value for name, value in headers if name == "x-a"] == ["1", "2"]
    assert [value for name, value in headers if name in ("x-team", "accept")] == ["blue", "application/json"]
    assert ("idempotency-key", "once") in headers
    assert ("user-agent", "Switchboard/0.1") in headers
    await send(program, headers={"User-Agent": "mine", "Accept-Encoding": "identity"})
    assert upstream.seen[-1].header("user-agent") == "mine"
    assert upstream.seen[-1].header("accept-encoding") == "identity"


async def test_any_method_is_sent(orders: Asker, upstream: Upstream) -> None:
    for method in ("get", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"):
        call = await send(orders, method=method)
        assert (call["method"], upstream.seen[-1].method) == (method.upper(), method.upper())
        assert (call["response"]["body"] is None) == (method == "HEAD")


WRONG: list[tuple[dict[str, Any], int, str, list[str]]] = [
    ({"json": 1, "text": "x"}, 422, "invalid_input", [""]),
    ({"base64": "not base64!"}, 422, "invalid_input", ["/base64"]),
    ({"method": "CONNECT"}, 422, "invalid_input", ["/method"]),
    (
        {"method": "A B", "query": {"a": [1]}, "total_seconds": 0},
        422,
        "invalid_input",
        ["/method", "/query/0/1", "/total_seconds"],
    ),
    ({"total_seconds": 1e9}, 422, "out_of_range", ["/total_seconds"]),
    ({"total_seconds": "5"}, 422, "invalid_input", ["/total_seconds"]),
    ({"idempotency_key": "a b"}, 422, "invalid_input", ["/idempotency_key"]),
    ({"form": [["a", "1", "2"]]}, 422, "invalid_input", ["/form/0"]),
    ({"connection": ""}, 404, "unknown_connection", []),
    ({"path": "/a/../b"}, 400, "dot_segment", []),
    ({"path": "http://evil.example/"}, 400, "absolute_url_not_allowed", []),
    ({"path": "/a b"}, 400, "invalid_path", []),
]


async def test_what_cannot_be_sent_is_refused_and_leaves_no_record(orders: Asker, upstream: Upstream) -> None:
    for form, status, code, pointers in WRONG:
        answer = await orders.post("/api/calls", json={"connection": "orders"} | form)
        problem = await problem_in(answer, status, code)
        assert [fault["pointer"] for fault in problem.errors] == pointers, form
    assert upstream.seen == []
    assert (await (await orders.get("/api/calls")).get_json())["items"] == []


# --- what comes back


async def test_a_call_that_fails_is_a_record_too(orders: Asker, upstream: Upstream) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(2)
        return web.Response()

    upstream.handler = never
    call = await send(orders, total_seconds=0.1)
    assert (call["state"], call["reason"], call["status"], call["response"]) == ("failed", "total_timeout", None, None)
    assert [attempt["reason"] for attempt in call["attempts"]] == ["total_timeout"]
    assert await (await orders.get(f"/api/calls/{call['id']}")).get_json() == call


async def test_an_address_that_is_not_allowed_is_never_dialled(program: Asker, upstream: Upstream) -> None:
    await add(program, "orders", upstream.url)
    inside = {"base_url": upstream.url.replace("127.0.0.1", "localhost"), "policy": {"allow_private": False}}
    refused = await program.ask("PATCH", "/api/connections/orders", json=inside)
    assert [fault["pointer"] for fault in (await refused.get_json())["errors"]] == ["/policy/allow_private"]
    assert upstream.seen == []


async def test_an_answer_is_whole_though_the_record_keeps_less(program: Asker, upstream: Upstream) -> None:
    async def long(_: web.Request) -> web.Response:
        return web.json_response({"text": "x" * 5000})

    upstream.handler = long
    await add(program, "orders", upstream.url, policy={"record_bytes": 1000})
    call = await send(program)
    assert call["response"]["body"]["json"] == {"text": "x" * 5000}
    assert call["response"]["body"]["truncated"] is False
    opened = await (await program.get(f"/api/calls/{call['id']}")).get_json()
    assert (opened["response"]["body"]["truncated"], len(opened["response"]["body"]["text"])) == (True, 1000)
    assert opened["response"]["body"]["sha256"] == call["response"]["body"]["sha256"]
    kept = await program.get(f"/api/calls/{call['id']}/response-body")
    assert len(await kept.get_data()) == 1000


async def test_bodies_are_given_as_bytes_to_keep_and_never_to_show(orders: Asker, upstream: Upstream) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<script>alert(1)</script>", content_type="text/html")

    upstream.handler = page
    call = await send(orders, method="POST", text="<b>")
    for side, content, media in (
        ("request", b"<b>", "text/plain"),
        ("response", b"<script>alert(1)</script>", "text/html"),
    ):
        answer = await orders.get(f"/api/calls/{call['id']}/{side}-body")
        assert await answer.get_data() == content
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{call["id"]}-{side}"'
        assert (answer.headers["X-Media-Type"], answer.headers["X-Content-Type-Options"]) == (media, "nosniff")
    bare = await send(orders, method="HEAD")
    for side in ("request", "response"):
        await problem_in(await orders.get(f"/api/calls/{bare['id']}/{side}-body"), 404, "no_body")


IDS = ("x", "%00" * 36, "0" * 36, "%C3%A9" * 36, "01900000-0000-7000-8000-00000000000%00", "0" * 300)


async def test_an_id_that_is_none_is_unknown(orders: Asker) -> None:
    for call_id in IDS:
        for path in ("", "/request-body", "/response-body"):
            await problem_in(await orders.get(f"/api/calls/{call_id}{path}"), 404, "unknown_call")
        await problem_in(await orders.post(f"/api/calls/{call_id}/replays"), 404, "unknown_call")


# --- found again


async def test_calls_are_found_by_every_filter(program: Asker, person: Asker, upstream: Upstream) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=int(request.query.get("status", 200)))

    upstream.handler = answer
    await add(program, "orders", upstream.url)
    await add(program, "other", upstream.url)
    await add(program, "dead", "http://127.0.0.1:1")
    sent = {
        "ok": await send(program, path="/items/a_b?100%25"),
        "missing": await send(program, method="DELETE", path="/items/axb?status=404"),
        "trouble": await send(program, connection="other", path="/?status=503"),
        "dead": await send(program, connection="dead"),
    }
    await program.get("/proxy/orders/through-the-proxy")
    by_person = await person.post("/api/calls", json={"connection": "other", "path": "/by-a-person"})
    sent["person"] = await by_person.get_json()
    ids = {call["id"]: name for name, call in sent.items()}
    third = sent["trouble"]["started_at"].replace("+00:00", "Z")
    expected = {
        "": ["person", "proxy", "dead", "trouble", "missing", "ok"],
        "connection=other": ["person", "trouble"],
        "origin=proxy": ["proxy"],
        "origin=console": ["person"],
        "method=delete": ["missing"],
        "state=failed": ["dead"],
        "state=done&connection=orders": ["proxy", "missing", "ok"],
        "status=404": ["missing"],
        "status=5xx": ["trouble"],
        "status=2XX&origin=api": ["ok"],
        f"since={third}": ["person", "proxy", "dead", "trouble"],
        f"until={third}": ["missing", "ok"],
        "q=ITEMS": ["missing", "ok"],
        "q=a_b": ["ok"],
        "q=%25": ["ok"],
        "q=' OR '1'='1": [],
        f"q={sent['dead']['id']}": ["dead"],
        "state=&q=": ["person", "proxy", "dead", "trouble", "missing", "ok"],
        "connection=absent": [],
    }
    for query, names in expected.items():
        found = await (await program.get(f"/api/calls?{query}")).get_json()
        assert [ids.get(item["id"], "proxy") for item in found["items"]] == names, query
    assert "text" not in str([item["response"] for item in found["items"]]), "a list shows no content"


BAD_FILTERS = "state=odd&origin=x&status=40&since=yesterday&until=2026-13-01T00:00:00Z&q=" + "x" * 1001


async def test_every_filter_that_cannot_be_read_is_named(orders: Asker) -> None:
    problem = await problem_in(await orders.get(f"/api/calls?{BAD_FILTERS}&connection=%00"), 422, "invalid_filter")
    names = ["connection", "origin", "state", "status", "since", "until", "q"]
    assert [fault["pointer"] for fault in problem.errors] == [f"/{name}" for name in names]
    for status in ("6xx", "xx", "99", "1000", "-40", "%D9%A4%D9%A0%D9%A4"):
        await problem_in(await orders.get(f"/api/calls?status={status}"), 422, "invalid_filter")


# --- sent again


async def test_a_replay_sends_the_same_again(orders: Asker, upstream: Upstream) -> None:
    first = await send(
        orders, method="PUT", path="/items/1?x=1", query={"y": "2"}, headers={"X-A": "1"}, json={"hoge": ["val", 1.0]}
    )
    again = await replayed(orders, first)
    one, two = upstream.seen
    assert (one.method, one.path, one.body) == (two.method, two.path, two.body)
    assert sorted(one.headers) == sorted(two.headers)
    assert again["id"] != first["id"]
    opened = await (await orders.get(f"/api/calls/{again['id']}")).get_json()
    assert opened["replay_of"] == first["id"]
    bare = await orders.post(f"/api/calls/{again['id']}/replays")
    assert (bare.status_code, (await bare.get_json())["replay_of"]) == (201, again["id"])


async def test_a_replay_takes_changes_each_in_place_of_what_was(orders: Asker, upstream: Upstream) -> None:
    first = await send(orders, method="POST", path="/items?x=1", headers={"X-A": "1"}, json={"a": 1})
    await add(orders, "other", f"{upstream.url}/v1")
    changes: list[tuple[dict[str, Any], tuple[str, str, bytes]]] = [
        ({"method": "PUT"}, ("PUT", "/v1/items?x=1", b'{"a":1}')),
        ({"path": "/other"}, ("POST", "/v1/other", b'{"a":1}')),
        ({"query": {"y": "2"}}, ("POST", "/v1/items?y=2", b'{"a":1}')),
        ({"query": []}, ("POST", "/v1/items", b'{"a":1}')),
        ({"json": {"b": 2}}, ("POST", "/v1/items?x=1", b'{"b":2}')),
        ({"text": "t"}, ("POST", "/v1/items?x=1", b"t")),
        ({"base64": ""}, ("POST", "/v1/items?x=1", b"")),
        ({"connection": "other"}, ("POST", "/v1/items?x=1", b'{"a":1}')),
    ]
    for change, expected in changes:
        call = await replayed(orders, first, **change)
        seen = upstream.seen[-1]
        assert (seen.method, seen.path, seen.body) == expected, change
        assert call["connection"] == change.get("connection", "orders")
        assert seen.header("x-a") == "1"
    await replayed(orders, first, headers={"X-B": "2"})
    assert (upstream.seen[-1].header("x-a"), upstream.seen[-1].header("x-b")) == (None, "2")


async def test_changes_that_come_in_chunks_count_as_well(served: Served, upstream: Upstream) -> None:
    served.add_connection("orders", upstream.url)
    _, first = await asyncio.to_thread(served.request, "POST", "/api/calls", {"connection": "orders", "path": "/a"})
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    head = (
        f"POST /api/calls/{first['id']}/replays HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {served.key}\r\n"
    )
    head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + b'e\r\n{"path": "/b"}\r\n0\r\n\r\n')
    assert b" 201 " in (await reader.read()).partition(b"\r\n")[0]
    writer.close()
    assert upstream.seen[-1].path == "/b"


async def test_a_replay_refuses_changes_that_are_none(orders: Asker, upstream: Upstream) -> None:
    first = await send(orders)
    problem = await problem_in(await replay(orders, first, pathh="/x", method=5), 422, "invalid_input")
    assert {fault["pointer"] for fault in problem.errors} == {"/pathh", "/method"}
    for no_object in ("[]", '"x"', "1"):
        json_ = {"Content-Type": "application/json"}
        answer = await orders.post(f"/api/calls/{first['id']}/replays", data=no_object, headers=json_)
        await problem_in(answer, 422, "invalid_input")
    for connection in (5, ["orders"], {"a": 1}, None, "absent"):
        answer = await replay(orders, first, connection=connection)
        assert answer.status_code in (404, 422), connection
    await problem_in(await replay(orders, first, json=1, text="x"), 422, "invalid_input")
    assert len(upstream.seen) == 1


async def test_what_was_redacted_is_left_out_of_a_replay_or_asked_for(program: Asker, upstream: Upstream) -> None:
    await add(program, "orders", f"{upstream.url}/v1", auth={"scheme": "api_key", "name": "X-Api-Key", "value": KEY})
    headers = {"X-Session-Token": "abc", "X-Note": f"it is {KEY}!", "X-Plain": "kept"}
    first = await send(program, headers=headers)
    assert upstream.seen[-1].header("x-note") == f"it is {KEY}!"
    await replayed(program, first)
    seen = upstream.seen[-1]
    assert (seen.header("x-session-token"), seen.header("x-note")) == (None, f"it is {KEY}!")
    assert (seen.header("x-plain"), seen.header("x-api-key")) == ("kept", KEY)

    named = await send(program, path="/items?token=abc&x=1")
    await problem_in(await replay(program, named), 409, "path_not_kept")
    await replayed(program, named, query={"x": "1"})
    assert upstream.seen[-1].path == "/v1/items?x=1"
    await replayed(program, named, path="/items?token=abc")
    assert upstream.seen[-1].path == "/v1/items?token=abc"

    for body in ({"text": "[redacted:value]"}, {"json": base64.b64encode(KEY.encode()).decode()}):
        told = await send(program, method="POST", **body)
        await problem_in(await replay(program, told), 409, "body_not_kept")
        await replayed(program, told, json={"key": "other"})
        assert upstream.seen[-1].body == b'{"key":"other"}'
    assert "[redacted:" not in str([seen for seen in upstream.seen if seen.body != b"[redacted:value]"])


async def test_a_replay_puts_the_live_secret_where_the_old_one_was(program: Asker, upstream: Upstream) -> None:
    key = {"scheme": "api_key", "name": "X-Api-Key"}
    await add(program, "orders", upstream.url, auth=key | {"value": KEY})
    await add(program, "others", upstream.url, auth=key | {"value": KEY})
    note = {"X-Note": f"it is {KEY}"}
    first = await send(program, method="POST", path=f"/{KEY}?a=b", headers=note, json={"key": KEY})
    form = await send(program, method="POST", form={"key": f"{KEY}&"})
    assert KEY not in str(first)
    new = 'new/key "2+'
    await program.ask("PATCH", "/api/connections/orders", json={"auth": key | {"value": new}})
    again = await replayed(program, first)
    seen = upstream.seen[-1]
    assert unquote(seen.path) == f"/{new}?a=b"
    assert (seen.header("x-note"), seen.header("x-api-key")) == (f"it is {new}", new)
    assert json.loads(seen.body) == {"key": new}
    assert new not in str(again)
    assert again["request"]["headers"] != first["request"]["headers"]
    await replayed(program, form)
    assert parse_qs(upstream.seen[-1].body.decode()) == {"key": [f"{new}&"]}
    await problem_in(await replay(program, first, connection="others"), 409, "path_not_kept")
    await problem_in(await replay(program, first, connection="others", path="/x"), 409, "body_not_kept")


async def test_a_key_in_the_query_is_put_in_anew(program: Asker, upstream: Upstream) -> None:
    auth = {"scheme": "api_key", "in": "query", "name": "key", "value": KEY}
    await add(program, "orders", f"{upstream.url}/v1", auth=auth)
    for path in ("/items?x=1", "/items"):
        first = await send(program, path=path)
        assert KEY not in str(first)
        await replayed(program, first)
        assert upstream.seen[-1].path == upstream.seen[-2].path
        assert upstream.seen[-1].path.count("key=") == 1


async def test_a_body_that_was_cut_is_asked_for(program: Asker, upstream: Upstream) -> None:
    await add(program, "orders", upstream.url, policy={"record_bytes": 10})
    first = await send(program, method="POST", text="x" * 11)
    await problem_in(await replay(program, first), 409, "body_not_kept")
    await replayed(program, first, text="y")
    whole = await send(program, method="POST", text="x" * 10)
    await replayed(program, whole)
    assert upstream.seen[-1].body == b"x" * 10


async def test_a_replay_after_the_base_url_moved_needs_a_path(orders: Asker, upstream: Upstream) -> None:
    first = await send(orders, path="/items")
    for base in ("/v2", "/v1/items/deeper", "/v"):
        await orders.ask("PATCH", "/api/connections/orders", json={"base_url": upstream.url + base})
        await problem_in(await replay(orders, first), 409, "path_not_kept")
    await replayed(orders, first, path="/items")
    assert [seen.path for seen in upstream.seen] == ["/v1/items", "/v/items"]


# --- many at once


async def lines_of(program: Asker, calls: list[Any], **more: Any) -> list[dict[str, Any]]:
    answer = await program.post("/api/batches", json={"calls": calls} | more)
    content = await answer.get_data()
    assert (answer.status_code, answer.content_type) == (200, "application/x-ndjson"), content
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


async def slow(request: web.Request) -> web.Response:
    await asyncio.sleep(float(request.query.get("wait", 0)))
    return web.Response(text=request.query.get("wait", ""))


async def test_a_batch_answers_in_the_order_in_which_its_calls_end(orders: Asker, upstream: Upstream) -> None:
    upstream.handler = slow
    waits = [0.3, 0.0, 0.2, 0.1]
    lines = await lines_of(orders, [{"connection": "orders", "query": {"wait": wait}} for wait in waits])
    assert [line["index"] for line in lines] == [1, 3, 2, 0]
    assert [float(line["call"]["response"]["body"]["text"]) for line in lines] == sorted(waits)
    listed = (await (await orders.get("/api/calls")).get_json())["items"]
    assert {item["id"] for item in listed} == {line["call"]["id"] for line in lines}


async def test_lines_come_as_they_are_ready_and_not_at_the_end(orders: Asker, upstream: Upstream) -> None:
    let_go = asyncio.Event()

    async def hold(request: web.Request) -> web.Response:
        if request.path.endswith("/held"):
            await let_go.wait()
        return web.Response()

    upstream.handler = hold
    async with stream(orders, [{"connection": "orders", "path": path} for path in ("/held", "/quick")]) as batch:
        assert msgspec.json.decode(await asyncio.wait_for(batch.receive(), 5))["index"] == 1
        let_go.set()
        assert msgspec.json.decode(await asyncio.wait_for(batch.receive(), 5))["index"] == 0


def stream(program: Asker, calls: list[Any], **more: Any) -> Any:
    """A batch whose lines are read one by one, and which can be left."""
    return Batch(program, {"calls": calls} | more)


class Batch:
    def __init__(self, program: Asker, form: dict[str, Any]) -> None:
        headers = {**program.headers, "Content-Type": "application/json"}
        self.request = program.app.test_client().request("/api/batches", method="POST", headers=headers)
        self.form = form

    async def __aenter__(self) -> Any:
        opened = await self.request.__aenter__()
        await opened.send(json.dumps(self.form).encode())
        await opened.send_complete()
        return opened

    async def __aexit__(self, *error: Any) -> None:
        await self.request.__aexit__(*error)


async def test_one_bad_item_is_that_lines_problem(orders: Asker, upstream: Upstream) -> None:
    good = {"connection": "orders"}
    bad: list[Any] = [
        {"connection": "absent"},
        {"connection": "orders", "path": "/.."},
        {"nope": 1},
        5,
        None,
        [],
        {"calls": []},
    ]
    lines = sorted(await lines_of(orders, [good, *bad, good]), key=lambda line: line["index"])
    assert [line["index"] for line in lines] == list(range(len(bad) + 2))
    assert [line["call"]["state"] for line in (lines[0], lines[-1])] == ["done", "done"]
    found = [(line["error"]["status"], line["error"]["code"]) for line in lines[1:-1]]
    assert found[:2] == [(404, "unknown_connection"), (400, "dot_segment")]
    assert {status for status, _ in found[2:]} == {422}
    assert {fault["pointer"] for fault in lines[3]["error"]["errors"]} == {"/connection", "/nope"}
    assert len(upstream.seen) == 2


class Crowd:
    """An upstream's handler that counts how many calls are in it; the first ones stay until `size` are there."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.inside = 0
        self.most = 0
        self.full = asyncio.Event()

    async def __call__(self, _: web.Request) -> web.Response:
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside == self.size:
            self.full.set()
        await asyncio.wait_for(self.full.wait(), 10)
        await asyncio.sleep(0.002)
        self.inside -= 1
        return web.Response()


async def test_a_batch_sends_as_many_at_once_as_it_says_and_never_more(orders: Asker, upstream: Upstream) -> None:
    await orders.ask("PATCH", "/api/connections/orders", json={"policy": {"concurrency": 1000}})
    upstream.handler = crowd = Crowd(7)
    lines = await lines_of(orders, [{"connection": "orders"}] * 200, concurrency=7)
    assert {line["call"]["state"] for line in lines} == {"done"}
    assert sorted(line["index"] for line in lines) == list(range(200))
    assert crowd.most == 7


async def test_the_connections_own_bound_holds_in_a_batch(orders: Asker, upstream: Upstream) -> None:
    await orders.ask("PATCH", "/api/connections/orders", json={"policy": {"concurrency": 2}})
    upstream.handler = crowd = Crowd(2)
    lines = await lines_of(orders, [{"connection": "orders"}] * 12)
    assert (len(lines), crowd.most) == (12, 2)
    assert max(line["call"]["attempts"][0]["waited_seconds"] for line in lines) > 0


async def test_a_caller_that_leaves_cancels_the_rest(orders: Asker, running: Services, upstream: Upstream) -> None:
    upstream.handler = slow
    calls = [{"connection": "orders", "query": {"wait": 0 if number == 0 else 30}} for number in range(40)]
    async with stream(orders, calls, concurrency=5) as batch:
        assert msgspec.json.decode(await asyncio.wait_for(batch.receive(), 5))["index"] == 0
        await until(lambda: len(upstream.seen) == 6)
        await batch.disconnect()
    await until(lambda: not running.tasks)
    assert len(upstream.seen) == 6, "what had not begun was never sent"
    items: list[dict[str, Any]] = []
    for _ in range(500):
        items = (await (await orders.get("/api/calls")).get_json())["items"]
        if len(items) == 6:
            break
        await asyncio.sleep(0.01)
    assert sorted(item["state"] for item in items) == ["cancelled"] * 5 + ["done"]


async def until(happened: Callable[[], object]) -> None:
    for _ in range(500):
        if happened():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen in five seconds")


async def test_a_batch_that_is_none_is_refused_whole(orders: Asker, upstream: Upstream) -> None:
    good = {"connection": "orders"}
    cases: list[tuple[Any, int, str]] = [
        ({"calls": []}, 422, "invalid_input"),
        ({}, 422, "invalid_input"),
        ([good], 422, "invalid_input"),
        ({"calls": {"a": good}}, 422, "invalid_input"),
        ({"calls": [good], "nope": 1}, 422, "unknown_field"),
        ({"calls": [good], "concurrency": 0}, 422, "out_of_range"),
        ({"calls": [good], "concurrency": 1001}, 422, "out_of_range"),
        ({"calls": [good], "concurrency": True}, 422, "invalid_input"),
        ({"calls": [good] * 1001}, 413, "batch_too_large"),
    ]
    for form, status, code in cases:
        await problem_in(await orders.post("/api/batches", json=form), status, code)
    assert upstream.seen == []


async def test_base64_of_an_answer_is_its_bytes(orders: Asker, upstream: Upstream) -> None:
    content = bytes(range(256))

    async def binary(_: web.Request) -> web.StreamResponse:
        return web.Response(body=chunks(content), content_type="image/png")

    upstream.handler = binary
    body = (await send(orders))["response"]["body"]
    assert base64.b64decode(body["base64"]) == content
    assert (body["size"], body["media_type"]) == (256, "image/png")


async def test_parts_arrive_as_a_form_of_files_and_fields(orders: Asker, upstream: Upstream) -> None:
    found: list[tuple[Any, ...]] = []

    async def parsed(request: web.Request) -> web.StreamResponse:
        for name, value in (await request.post()).items():
            if isinstance(value, web.FileField):
                found.append((name, value.filename, value.content_type, value.file.read()))
            else:
                found.append((name, value))
        return web.json_response({})

    upstream.handler, upstream.reads_body = parsed, False
    content = base64.b64encode(bytes(range(256))).decode()
    parts = [
        {"name": "note", "text": "Übung"},
        {"name": "file", "filename": 'a"b.png', "media_type": "image/png", "base64": content},
    ]
    call = await send(orders, method="POST", multipart=parts, headers={"content-type": "text/plain"})
    assert found == [("note", "Übung"), ("file", "a%22b.png", "image/png", bytes(range(256)))]
    body = call["request"]["body"]
    assert body["media_type"].startswith("multipart/form-data")
    assert len(base64.b64decode(body["base64"])) == body["size"]


async def test_a_replay_takes_parts_in_place_of_the_recorded_body(orders: Asker, upstream: Upstream) -> None:
    first = await send(orders, method="POST", json={"a": 1}, headers={"content-type": "application/json"})
    changes = {"multipart": [{"name": "a", "text": "2"}]}
    answer = await orders.post(f"/api/calls/{first['id']}/replays", json=changes)
    assert answer.status_code == 201
    assert (upstream.seen[1].header("content-type") or "").startswith("multipart/form-data; boundary=")
    again = await orders.post(f"/api/calls/{(await answer.get_json())['id']}/replays")
    assert again.status_code == 201
    assert upstream.seen[2].body == upstream.seen[1].body
    assert upstream.seen[2].header("content-type") == upstream.seen[1].header("content-type")


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 100):
        yield content[start : start + 100]
