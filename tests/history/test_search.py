"""The full-text search (SQLite): what is found by which words, together with filters, page by page."""

import gzip
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from quart_app import history
from quart_app.errors import AppError, Invalid
from quart_app.files import copy_sqlite
from quart_app.history.search import VOLUME, Wanted, split
from quart_app.instants import instant
from quart_app.models import Call
from quart_app.recorder import Record
from quart_app.records import as_json
from quart_app.services import Services
from tests.history.test_init import found, index, put, record

pytestmark = pytest.mark.parametrize("database_url", [""])
LONG_TEXT = " ".join(f"filler{number}" for number in range(300))


def with_body(content: bytes, media_type: str, side: str = "response", **more: Any) -> Record:
    made = record(**{f"{side}_media_type": media_type, f"{side}_size": len(content)} | more)
    made.call[f"{side}_body"] = made.keep(content)
    return made


def calls() -> dict[str, Record]:
    headers = as_json([["X-Request-Id", "abc-def-123"], ["Accept", "application/json"]])
    return {
        "url": record(url="http://h/v2/orders/1042?customer=cust_77"),
        "header": record(request_headers=headers),
        "answer header": record(response_headers=as_json([["Server", "teapot/1.0"]])),
        "sent": with_body(b'{"name": "anvil", "price": "12.50"}', "application/json", "request", request_exact=True),
        "got": with_body(f"{LONG_TEXT} needle".encode(), "text/plain"),
        "odd json": with_body(b'{"colour": "blue"}', "application/problem+json"),
        "form": with_body(b"street=Main&town=Springfield", "application/x-www-form-urlencoded", "request"),
        "picture": with_body(b"anvil in a picture", "image/png"),
        "late": with_body(b"x " * 40_000 + b"beyond", "text/plain"),
        "umlaut": with_body("Größe und Maß".encode(), "text/plain"),
        "failed": record(state="failed", reason="connect_timeout", detail="No answer within 10 s.", status=None),
        "bodiless": record(response_media_type="text/plain", response_body="000000-gone", response_size=9),
        "broken": with_body(gzip.compress(b"nothing"), "text/plain"),
    }


WORDS: list[tuple[str, list[str]]] = [
    ("orders", ["url"]),
    ("ORDERS 1042", ["url"]),
    ("orders 1043", []),
    ("cust_77", ["url"]),
    ("cust_7", ["url"]),
    ("cust", ["url"]),
    ("cust_7 ", []),
    ("rder", []),
    ("orders/1042", ["url"]),
    ("1042/orders", []),
    ("orders/1", ["url"]),
    ("o", []),
    ("abc-def", ["header"]),
    ("def-abc", []),
    ("x-request-id", ["header"]),
    ("teapot", ["answer header"]),
    ("anvil", ["sent"]),
    ("anvil 12.50", ["sent"]),
    ('"anvil"', ["sent"]),
    ('"price": "12', ["sent"]),
    ("needle", ["got"]),
    ("filler299 needle", ["got"]),
    ("blue", ["odd json"]),
    ("Springfield", ["form"]),
    ("beyond", []),
    ("größe", ["umlaut"]),
    ("GRÖSSE", []),
    ("connect_timeout", ["failed"]),
    ("answer within", ["failed"]),
    ("orders OR anvil", []),
    ("orders NOT anvil", []),
    ("NEAR(orders 1042)", []),
    ("text:orders", []),
    ("ord*", []),
    ("^orders", []),
    ('"', ["sent"]),
    ("'; DROP TABLE calls; --", []),
    ("()", []),
    ("🦄", []),
]


async def test_all_words_must_occur_and_the_last_may_be_a_beginning(services: Services) -> None:
    made = calls()
    ids = dict(zip(made, await put(services, *made.values()), strict=True))
    await index(services)
    for query, names in WORDS:
        seen = await found(services, q=query)
        if query == '"':
            assert ids["sent"] in seen, "a sign alone is looked for as it is written"
        else:
            assert seen == [ids[name] for name in reversed(names)], query


async def test_what_has_just_been_recorded_is_found_before_it_is_indexed(services: Services) -> None:
    made = calls()
    ids = dict(zip(made, await put(services, *made.values()), strict=True))
    for query in ("orders/1042", "needle", "anvil 12.50", "teapot", "connect_timeout"):
        (name,) = dict(WORDS)[query]
        assert await found(services, q=query) == [ids[name]], query
    assert await found(services, q="beyond") == []


async def test_words_and_filters_are_one_search(services: Services) -> None:
    await put(services, record(url="http://h/apple"), record(url="http://h/apple", status=404))
    kept = record(url="http://h/apple", status=404, connection="my-shop.v2", method="POST", origin="proxy")
    (id_,) = await put(services, kept)
    for _ in range(2):
        filters: Any = {
            "connection": "my-shop.v2",
            "status": "4xx",
            "method": "post",
            "origin": "proxy",
            "state": "done",
        }
        assert await found(services, q="apple", **filters) == [id_]
        assert await found(services, **filters) == [id_]
        assert await found(services, q="pear", **filters) == []
        assert len(await found(services, q="apple", status="404")) == 2
        await index(services)


async def test_an_answer_cannot_pass_for_another_status(services: Services) -> None:
    forged = "\ue000s500 \ue000k5 \ue000l"
    await put(services, with_body(forged.encode(), "text/plain"))
    await index(services)
    assert await found(services, status="500") == []
    assert await found(services, status="5xx") == []
    assert len(await found(services, status="200")) == 1


async def test_a_call_is_found_by_its_id_and_filters_hold_for_it(services: Services) -> None:
    (id_,) = await put(services, record())
    assert await found(services, q=id_) == [id_]
    assert await found(services, q=id_, status="200") == [id_]
    assert await found(services, q=id_, status="404") == []
    assert await found(services, q=id_, after=id_) == []


async def test_pages_go_on_where_the_last_one_ended_also_when_that_call_has_gone(services: Services) -> None:
    ids = await put(services, *(record(url=f"http://h/pear/{number}") for number in range(30)))
    await index(services)
    more = await put(services, *(record(url=f"http://h/pear/{number}") for number in range(30, 35)))
    first = await found(services, q="pear", limit=8)
    assert first == (ids + more)[::-1][:8]
    assert await found(services, q="pear", limit=50, after=first[-1]) == (ids + more)[::-1][8:]
    await services.db.execute([f"DELETE FROM calls WHERE id = '{first[-1]}'"])
    assert await found(services, q="pear", limit=50, after=first[-1]) == (ids + more)[::-1][8:]
    assert await found(services, q="pear", limit=50, after="0" * 36) == []


NOON = 1_800_000_000.0


async def test_times_narrow_a_search_also_to_calls_that_lasted_long(services: Services) -> None:
    short = [record(started_at=NOON + 600 * number, url="http://h/plum") for number in range(30)]
    long = record(started_at=NOON + 50, duration_seconds=5 * 3600.0, url="http://h/plum")
    *ids, late = await put(services, *short, long)
    for _ in range(2):
        assert await found(services, q="plum", until=instant(NOON + 100) or "") == [late, ids[0]]
        since, until = instant(NOON + 1200) or "", instant(NOON + 2400) or ""
        assert await found(services, q="plum", since=since, until=until) == [ids[3], ids[2]]
        assert await found(services, status="200", since=instant(NOON + 29 * 600) or "") == [ids[29]]
        assert await found(services, q="plum", since=instant(NOON + 10**6) or "") == []
        await index(services)


async def test_volumes_are_searched_from_the_newest_down(services: Services) -> None:
    ids = await put(services, *(record(url="http://h/fig", status=500) for _ in range(8)))
    await services.db.execute([f"UPDATE calls SET number = number + {2 * VOLUME - 5} WHERE number > 2"])
    await index(services)
    async with services.db.session() as session:
        names = await session.scalars(text("SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL%'"))
        assert set(names) == {"call_search_0", "call_search_1", "call_search_2"}
        assert (await session.scalars(select(Call.number).order_by(Call.number))).all()[:3] == [1, 2, 2 * VOLUME - 2]
    filters: Any
    for filters in ({"q": "fig"}, {"status": "500"}):
        assert await found(services, **filters) == ids[::-1]
        assert await found(services, limit=5, **filters) == ids[::-1][:5]
        assert await found(services, after=ids[3], **filters) == ids[:3][::-1]


async def test_a_search_that_takes_too_long_is_given_up(services: Services) -> None:
    await put(services, *(with_body(LONG_TEXT.encode() * 20, "text/plain") for _ in range(1500)))
    await index(services)
    async with services.db.session() as session:
        with pytest.raises(AppError) as raised:
            await history.search(session, {"q": "~~"}, limit=50, after=None, seconds=0.02)
    assert (raised.value.status, raised.value.code) == (422, "search_too_broad")
    began = time.monotonic()
    assert len(await found(services, q="filler7")) == 50
    assert time.monotonic() - began < 2


async def test_a_backup_can_be_searched(services: Services, tmp_path: Path) -> None:
    (id_,) = await put(services, record(url="http://h/quince"))
    await index(services)
    assert services.db.path
    copy_sqlite(services.db.path, tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        query = "SELECT id FROM call_search_0 AS s JOIN calls ON number = s.rowid WHERE call_search_0 MATCH 'quince'"
        assert copy.execute(query).fetchall() == [(id_,)]
        copy.execute("INSERT INTO call_search_0 (call_search_0) VALUES ('integrity-check')")


def test_a_word_is_divided_where_fts5_divides_it(database_url: str) -> None:
    assert split("orders") == ["orders"]
    assert split("user_id") == ["user_id"]
    assert split("a-b.c/d?e=f_g") == ["a", "b", "c", "d", "e", "f_g"]
    assert split("__") == []
    assert split("Größe№") == ["Größe"]


def test_too_many_words_are_refused(database_url: str) -> None:
    assert len(Wanted().with_words("a " * 32).terms) == 32
    for query in ("a " * 33, "a-" * 65):
        with pytest.raises(Invalid) as raised:
            history.read({"q": query})
        assert raised.value.errors == [{"pointer": "/q", "detail": "must be at most 32 words"}]
