"""History: found by every filter, read page by page, shown as the API shows it. On both databases."""

import asyncio
import base64
import hashlib
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select
from uuid_utils import uuid7

from quart_app import history
from quart_app.errors import Invalid, NotFound
from quart_app.history.indexer import Indexer
from quart_app.instants import instant
from quart_app.models import Body, Call
from quart_app.outbound.timings import Timings
from quart_app.recorder import Record
from quart_app.records import add_attempt, new_call
from quart_app.services import Services
from tests.outbound.targets import target

TARGET = target("http://api.example")


def record(**call: Any) -> Record:
    """A call that is done, with some columns as a test wants them; its id is of when it began."""
    id_ = str(uuid7())
    if "started_at" in call:
        id_ = history.first_id(call["started_at"])[:-12] + id_[-12:]
    made = new_call(
        TARGET, id_=id_, origin="api", actor="test", owner="h:1:2", method="GET", url="http://h/x", headers=[]
    )
    made.call |= {"state": "done", "status": 200, "response_headers": "[]", "duration_seconds": 0.1} | call
    return made


async def put(services: Services, *records: Record) -> list[str]:
    """Puts records on disk, together; their ids."""
    assert all(await asyncio.gather(*(services.recorder.write(one) for one in records)))
    return [str(one.call["id"]) for one in records]


async def index(services: Services) -> None:
    """Takes all calls into the search; on PostgreSQL there is none."""
    indexer = Indexer(services)
    while services.db.is_sqlite and await indexer.step():
        pass


async def found(services: Services, limit: int = 50, after: str | None = None, **filters: str) -> list[str]:
    async with services.db.session() as session:
        items = await history.search(session, filters, limit=limit, after=after)
    return [item["id"] for item in items]


NOON = 1_700_000_000.0

CALLS: dict[str, dict[str, Any]] = {
    "plain": {"started_at": NOON},
    "other": {"connection": "other", "started_at": NOON + 1},
    "post": {"method": "POST", "status": 201, "started_at": NOON + 2},
    "missing": {"status": 404, "origin": "proxy", "started_at": NOON + 3},
    "broken": {"status": 503, "origin": "run", "started_at": NOON + 4},
    "failed": {"state": "failed", "reason": "reset", "status": None, "started_at": NOON + 5},
    "open": {"state": "sending", "status": None, "method": "POST", "started_at": NOON + 6},
}

FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, list(CALLS)),
    ({"connection": "other"}, ["other"]),
    ({"connection": "othe"}, []),
    ({"connection": "OTHER"}, []),
    ({"method": "POST"}, ["post", "open"]),
    ({"method": "post"}, ["post", "open"]),
    ({"origin": "proxy"}, ["missing"]),
    ({"origin": "console"}, []),
    ({"state": "failed"}, ["failed"]),
    ({"state": "sending"}, ["open"]),
    ({"status": "404"}, ["missing"]),
    ({"status": "2xx"}, ["plain", "other", "post"]),
    ({"status": "5XX"}, ["broken"]),
    ({"status": "1xx"}, []),
    ({"since": instant(NOON + 4)}, ["broken", "failed", "open"]),
    ({"until": instant(NOON + 1)}, ["plain"]),
    ({"since": instant(NOON + 1), "until": instant(NOON + 3)}, ["other", "post"]),
    ({"since": "2023-11-14T22:13:24+00:00"}, ["broken", "failed", "open"]),
    ({"since": "2023-11-14T23:13:24+01:00"}, ["broken", "failed", "open"]),
    ({"method": "POST", "state": "done"}, ["post"]),
    ({"method": "POST", "status": "404"}, []),
]


async def test_each_filter_finds_what_it_names(services: Services) -> None:
    ids = dict(zip(CALLS, await put(services, *(record(**call) for call in CALLS.values())), strict=True))
    for _ in range(2):
        for filters, names in FILTERS:
            assert await found(services, **filters) == [ids[name] for name in reversed(names)], filters
        await index(services)


URLS = {
    "percent": "http://h/100%25/x",
    "other percent": "http://h/100/25/x",
    "under": "http://h/a_b",
    "not under": "http://h/aXb",
    "slash": "http://h/a/b",
    "back": "http://h/?q=a\\b",
    "quote": "http://h/?q=it's",
    "marks": "http://h/?q=[redacted]",
    "upper": "http://h/Path/UPPER",
}

TEXTS = [
    ("%", ["percent"]),
    ("%25", ["percent"]),
    ("100%", ["percent"]),
    ("_", ["under"]),
    ("a_b", ["under"]),
    ("/a/", ["slash"]),
    ("\\", ["back"]),
    ("a\\b", ["back"]),
    ("'", ["quote"]),
    ("' OR 1=1 --", []),
    ("[redacted]", ["marks"]),
    ("upper", ["upper"]),
    ("PATH/upper", ["upper"]),
    ("*", []),
    ("http://h/", list(URLS)),
]


async def test_text_is_looked_for_as_it_is_written_in_any_case(services: Services) -> None:
    ids = dict(zip(URLS, await put(services, *(record(url=url) for url in URLS.values())), strict=True))
    for _ in range(2):
        for text, names in TEXTS:
            assert await found(services, q=text) == [ids[name] for name in reversed(names)], text
        assert await found(services, q=ids["slash"]) == [ids["slash"]]
        await index(services)


FAULTS = [
    ({"state": "gone"}, "must be one of sending"),
    ({"origin": "elsewhere"}, "must be one of console"),
    ({"status": "40"}, "such as 404"),
    ({"status": "4x"}, "such as 404"),
    ({"status": "9xx"}, "such as 404"),
    ({"status": "٤٠٤"}, "such as 404"),
    ({"status": "-404"}, "such as 404"),
    ({"since": "yesterday"}, "must be an instant"),
    ({"until": "2026-13-01T00:00:00Z"}, "must be an instant"),
    ({"since": ""}, "must be an instant"),
    ({"q": "a\0b"}, "without NUL"),
    ({"q": "x" * 1001}, "at most 1,000"),
    ({"connection": "a\0"}, "without NUL"),
    ({"method": "x" * 1001}, "at most 1,000"),
]


@pytest.mark.parametrize(("filters", "detail"), FAULTS)
def test_a_filter_that_cannot_be_read_is_named(filters: dict[str, str], detail: str) -> None:
    with pytest.raises(Invalid) as raised:
        history.read(filters)
    assert (raised.value.status, raised.value.code) == (422, "invalid_filter")
    (fault,) = raised.value.errors
    assert fault["pointer"] == f"/{next(iter(filters))}"
    assert detail in fault["detail"]


def test_all_faults_of_filters_are_said_at_once() -> None:
    with pytest.raises(Invalid) as raised:
        history.read({"state": "x", "method": "GET", "status": "x", "since": "x"})
    assert [fault["pointer"] for fault in raised.value.errors] == ["/state", "/status", "/since"]


async def test_pages_have_no_gap_and_no_double_while_calls_arrive(services: Services) -> None:
    before = await put(services, *(record() for _ in range(25)))
    seen: list[str] = []
    after = None
    while page := await found(services, limit=4, after=after):
        assert len(page) == 4 or len(seen) + len(page) == 25
        seen += page
        after = page[-1]
        await put(services, *(record() for _ in range(3)))
    assert seen == before[::-1]
    assert len(await found(services, limit=500)) == 25 + 7 * 3


async def test_pages_of_a_filter_have_no_gap_either(services: Services) -> None:
    ids = await put(services, *(record(method="POST" if number % 3 else "GET") for number in range(20)))
    posts = [id_ for number, id_ in enumerate(ids) if number % 3]
    first = await found(services, limit=5, method="POST")
    rest = await found(services, limit=50, after=first[-1], method="POST")
    assert first + rest == posts[::-1]


async def test_a_call_that_changes_its_state_keeps_its_place(services: Services) -> None:
    calls = [record(state="sending") for _ in range(3)]
    ids = await put(services, *calls)
    calls[0].call |= {"state": "done", "status": 204}
    await put(services, calls[0])
    assert await found(services) == ids[::-1]
    assert await found(services, state="done") == ids[:1]


async def test_a_list_shows_attempts_in_order_and_no_content(services: Services) -> None:
    made = record(request_size=4, request_media_type="text/plain", response_size=2, response_sha256="x")
    made.call["request_body"] = made.keep(b"sent")
    for status in (500, 502, 200):
        add_attempt(made, Timings(), status=status)
    other = record()
    add_attempt(other, Timings(), status=204)
    await put(services, made, other)
    async with services.db.session() as session:
        second, first = await history.search(session, {}, limit=10, after=None)
    assert [attempt["status"] for attempt in first["attempts"]] == [500, 502, 200]
    assert [attempt["status"] for attempt in second["attempts"]] == [204]
    assert first["request"]["body"] == {"size": 4, "media_type": "text/plain", "truncated": False}
    assert first == history.view_record(made, content=False)


async def test_equal_bodies_are_stored_once_and_read_back_by_each_call(services: Services) -> None:
    large, small = b"a long body " * 1000, b"\x00\xff\x01"
    made = [record(request_size=1, response_size=1, response_sha256="x") for _ in range(5)]
    for number, one in enumerate(made):
        one.call["request_body"] = one.keep(large)
        one.call["response_body"] = one.keep(small if number % 2 else large)
    ids = await put(services, *made[:3])
    ids += await put(services, *made[3:])
    async with services.db.session() as session:
        rows = {row.hash.partition("-")[2]: row for row in await session.scalars(select(Body))}
        assert set(rows) == {hashlib.sha256(large).hexdigest(), hashlib.sha256(small).hexdigest()}
        assert rows[hashlib.sha256(large).hexdigest()].encoding == "deflate"
        assert len(rows[hashlib.sha256(large).hexdigest()].content) < len(large) / 10
        assert rows[hashlib.sha256(small).hexdigest()].encoding == "identity"
        for number, id_ in enumerate(ids):
            assert (await history.body(session, id_, "request"))[0] == large
            assert (await history.body(session, id_, "response"))[0] == (small if number % 2 else large)
            assert (await history.get(session, id_))["request"]["body"]["text"] == large.decode()


async def test_a_body_that_is_not_there_is_not_found(services: Services) -> None:
    (id_,) = await put(services, record())
    async with services.db.session() as session:
        for side in ("request", "response"):
            with pytest.raises(NotFound) as raised:
                await history.body(session, id_, side)
            assert raised.value.code == "no_body"


@pytest.mark.parametrize(
    "id_",
    [
        "",
        "x",
        "0192a000-0000-7000-8000-000000000000",
        "é" * 36,
        "\0" * 36,
        "'" * 36,
        "0" * 37,
        "../../etc/passwd",
        "%" * 36,
    ],
)
async def test_an_id_that_is_none_is_not_found(services: Services, id_: str) -> None:
    async with services.db.session() as session:
        with pytest.raises(NotFound) as raised:
            await history.get(session, id_)
    assert raised.value.code == "unknown_call"


async def test_a_search_of_many_calls_is_quick(services: Services) -> None:
    await put(services, *(record(url=f"http://h/{number}") for number in range(3000)))
    await index(services)
    began = time.perf_counter()
    page = await found(services, limit=50, q="/299")
    assert len(page) == 11
    assert time.perf_counter() - began < 2
    async with services.db.session() as session:
        assert await session.scalar(select(func.count()).select_from(Call)) == 3000


CONTENTS = [
    (b'{"a": [1, 2.5, null]}', "application/json", {"json": {"a": [1, 2.5, None]}}),
    (b'{"a": 1}', "application/problem+json", {"json": {"a": 1}}),
    (b"9" * 30, "application/json", {"json": int("9" * 30)}),
    (b'{"a": ', "application/json", {"text": '{"a": '}),
    (b"NaN", "application/json", {"text": "NaN"}),
    (b"[" * 5000, "application/json", {"text": "[" * 5000}),
    (b'{"a": 1}', "text/plain", {"text": '{"a": 1}'}),
    (b'{"a": 1}', "", {"text": '{"a": 1}'}),
    ("grüße".encode(), "text/plain", {"text": "grüße"}),
    (b"gr\xfc\xdfe and more", "text/plain", {"text": "gr��e and more"}),
    (b"\x89PNG\r\n\x1a\n\x00\x00", "image/png", {"base64": base64.b64encode(b"\x89PNG\r\n\x1a\n\x00\x00").decode()}),
    (b"plain text", "image/png", {"text": "plain text"}),
    ("cut in a char ü".encode()[:-1], "application/x-unknown", {"text": "cut in a char �"}),
    (b"", "application/octet-stream", {"text": ""}),
]


@pytest.mark.parametrize(("content", "media_type", "shown"), CONTENTS)
def test_content_is_shown_as_json_text_or_base64(content: bytes, media_type: str, shown: dict[str, Any]) -> None:
    assert history.view_content(content, media_type, as_json=True) == shown


def test_json_is_shown_as_text_where_it_must_stay_as_it_was_sent() -> None:
    assert history.view_content(b'{"a":  1}', "application/json", as_json=False) == {"text": '{"a":  1}'}


@given(st.binary(max_size=64), st.sampled_from(["application/json", "text/html", "", "image/png", "a/b+json"]))
def test_any_content_can_be_shown_in_json(content: bytes, media_type: str) -> None:
    shown = history.view_content(content, media_type, as_json=True)
    assert len(shown) == 1
    assert msgspec.json.decode(msgspec.json.encode(shown)) == shown
