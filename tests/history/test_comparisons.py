"""Two calls compared: what a person would call other, and nothing that is other each time. On both databases."""

import asyncio
import time
from typing import Any

import msgspec
import pytest

from quart_app.errors import Invalid, NotFound
from quart_app.history import comparisons
from quart_app.outbound.timings import Timings
from quart_app.recorder import Record
from quart_app.records import add_attempt, as_json
from quart_app.services import Services
from tests.history.test_init import put, record


def answered(content: bytes | None, media_type: str = "application/json", **more: Any) -> Record:
    made = record(response_media_type=media_type, **more)
    if content is not None:
        made.call |= {"response_size": len(content), "response_sha256": f"{hash(content):x}"}
        made.call["response_body"] = made.keep(content) if content else None
    add_attempt(made, Timings(), status=200)
    return made


async def compared(services: Services, *made: Record, ignore: tuple[str, ...] = ()) -> dict[str, Any]:
    first, second = await put(services, *made)
    async with services.db.session() as session:
        return await comparisons.diff(session, first, second, ignore)


async def changes(services: Services, *made: Record, ignore: tuple[str, ...] = ()) -> list[tuple[str, str, Any, Any]]:
    found = await compared(services, *made, ignore=ignore)
    assert found["same"] == (not found["changes"])
    return [tuple(change.values()) for change in found["changes"]]


async def test_two_calls_that_went_alike_are_the_same(services: Services) -> None:
    later = answered(b'{"b": 2, "a": 1}', started_at=1_800_000_000.0, duration_seconds=9.0, replay_of="x" * 36)
    found = await compared(services, answered(b'{"a": 1, "b": 2}'), later)
    assert (found["same"], found["changes"], found["truncated"]) == (True, [], False)
    assert found.keys() == {"from", "to", "same", "truncated", "changes"}


async def test_json_is_compared_by_its_structure(services: Services) -> None:
    old = answered(b'{"items": [{"id": 1}, {"id": 2}], "at": 1}')
    new = answered(b'{"items": [{"id": 0}, {"id": 1}, {"id": 2, "name": "x"}], "at": 2}')
    assert await changes(services, old, new, ignore=("/response/body/json/at",)) == [
        ("/response/body/json/items/0", "added", None, {"id": 0}),
        ("/response/body/json/items/1/name", "added", None, "x"),
    ]


async def test_requests_too(services: Services) -> None:
    made = []
    for content in (b'{"a": 1}', b'{"a": 2}'):
        one = record(request_media_type="application/json", request_size=8, method="POST")
        one.call["request_body"] = one.keep(content)
        made.append(one)
    assert await changes(services, *made) == [("/request/body/json/a", "changed", 1, 2)]


async def test_text_is_compared_by_its_lines(services: Services) -> None:
    old, new = answered(b"one\ntwo\nthree\n", "text/plain"), answered(b"zero\none\ntwo\nthree\n", "text/plain")
    assert await changes(services, old, new) == [("/response/body/text/0", "added", None, "zero")]
    old, new = answered(b'{"a": 1}'), answered(b"<p>Busy</p>", "text/html")
    assert await changes(services, old, new) == [
        ("/response/body/media_type", "changed", "application/json", "text/html"),
        ("/response/body/text/0", "changed", '{"a": 1}', "<p>Busy</p>"),
    ]


async def test_other_content_is_compared_by_its_hash_and_size(services: Services) -> None:
    old, new = answered(b"\x89PNG\x00\x01", "image/png"), answered(b"\x89PNG\x00\x02\xff", "image/png")
    pointers = [change[0] for change in await changes(services, old, new)]
    assert pointers == ["/response/body/size", "/response/body/sha256"]


async def test_an_answer_that_is_missing_is_a_change(services: Services) -> None:
    failed = record(state="failed", reason="reset", status=None, response_headers=None)
    found = {change[0]: change[1] for change in await changes(services, answered(b"{}"), failed)}
    assert {"/state", "/reason", "/status", "/response", "/attempts/0"} <= found.keys()
    assert await changes(services, answered(None), answered(b"", "text/plain")) != []


async def test_headers_are_compared_by_name_in_any_case(services: Services) -> None:
    old = answered(b"{}", response_headers=as_json([["ETag", "1"], ["Set-Cookie", "a"], ["Set-Cookie", "b"]]))
    new = answered(b"{}", response_headers=as_json([["Set-Cookie", "a"], ["Set-Cookie", "c"], ["etag", "2"]]))
    assert await changes(services, old, new) == [
        ("/response/headers/etag", "changed", "1", "2"),
        ("/response/headers/set-cookie/1", "changed", "b", "c"),
    ]
    assert await changes(services, answered(b"{}"), answered(b"{}", method="POST", url="http://h/y")) == [
        ("/method", "changed", "GET", "POST"),
        ("/url", "changed", "http://h/x", "http://h/y"),
    ]


async def test_attempts_are_compared_without_their_times(services: Services) -> None:
    old, new = answered(b"{}"), record(response_media_type="application/json", response_size=2, response_sha256="x")
    new.call["response_body"] = new.keep(b"{}")
    add_attempt(new, Timings(), status=503, next_reason="retried")
    add_attempt(new, Timings(), status=200, waited_seconds=1.0, wait_reason="backoff")
    pointers = {change[0] for change in await changes(services, old, new)}
    assert pointers == {"/attempts/0/status", "/attempts/0/next_reason", "/attempts/1"}


async def test_what_is_no_pointer_and_what_is_no_call_is_said(services: Services) -> None:
    with pytest.raises(Invalid) as raised:
        await compared(services, record(), record(), ignore=("items", "/a"))
    assert (raised.value.status, [fault["pointer"] for fault in raised.value.errors]) == (422, ["/ignore"])
    with pytest.raises(Invalid):
        await compared(services, record(), record(), ignore=("/a",) * 101)
    async with services.db.session() as session:
        with pytest.raises(NotFound):
            await comparisons.diff(session, "0" * 36, "1" * 36, ())


@pytest.mark.parametrize("database_url", [""])
async def test_large_bodies_do_not_hold_up_the_loop(services: Services) -> None:
    items = [{"id": number, "name": f"item {number}", "tags": ["a", "b"]} for number in range(60_000)]
    old = answered(msgspec.json.encode({"items": items}))
    new = answered(msgspec.json.encode({"items": [{"id": -1}, *items]}))
    stalls: list[float] = []

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            stalls.append(time.perf_counter() - began - 0.01)

    watcher = asyncio.create_task(watch())
    found = await changes(services, old, new)
    watcher.cancel()
    assert [change[0] for change in found] == ["/response/body/json/items/0"]
    assert max(stalls) < 0.5
