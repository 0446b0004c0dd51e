"""Lists in pages: limits, cursors, and every fault of a query at once."""

from typing import Any

import pytest
from uuid_utils import uuid7

from quart_app.errors import Invalid
from quart_app.web.api.pages import MOST, cursor, page, wanted
from tests.web.conftest import Asker

ID = "01900000-0000-7000-8000-000000000000"


@pytest.mark.parametrize("limit", ["0", "-1", "501", "1e9", "1000000000", "x", "", " 5", "5.0", "٣", "+5", "0x5"])
def test_a_limit_is_a_number_from_1_to_500(limit: str) -> None:
    with pytest.raises(Invalid) as raised:
        wanted({"limit": limit})
    assert (raised.value.status, raised.value.code) == (422, "invalid_query")
    assert [fault["pointer"] for fault in raised.value.errors] == ["/limit"]


@pytest.mark.parametrize(
    "text", ["x", "=", "é", "AAAA", cursor("' OR 1=1 --"), cursor(ID) + "A", cursor(ID + "0"), "a" * 5000]
)
def test_a_cursor_is_one_that_a_list_gave(text: str) -> None:
    with pytest.raises(Invalid) as raised:
        wanted({"cursor": text})
    assert [fault["pointer"] for fault in raised.value.errors] == ["/cursor"]


def test_every_fault_comes_at_once_and_a_long_name_is_cut() -> None:
    with pytest.raises(Invalid) as raised:
        wanted({"limit": "0", "cursor": "x", "a": "1", "n" * 500: "1"}, ("q",))
    assert [fault["pointer"] for fault in raised.value.errors] == ["/limit", "/cursor", "/a", "/" + "n" * 64]


def test_what_is_wanted_is_read_and_empty_filters_are_none() -> None:
    assert wanted({}) == (50, None, {})
    given = {"limit": "500", "cursor": cursor(ID), "q": "x", "state": ""}
    assert wanted(given, ("q", "state")) == (500, ID, {"q": "x"})


def test_only_a_full_page_has_a_next_one() -> None:
    items: list[dict[str, Any]] = [{"id": ID}]
    assert page(items, 1, ID) == {"items": items, "next": cursor(ID)}
    assert page(items, 2, ID) == {"items": items, "next": None}
    assert page([], 1, None) == {"items": [], "next": None}
    assert MOST == 500


async def test_pages_follow_one_another_newest_first_without_gap_or_double(program: Asker) -> None:
    names = [f"c{number}" for number in range(7)]
    for name in names:
        form = {"name": name, "base_url": "https://api.example.com"}
        assert (await program.post("/api/connections", json=form)).status_code == 201
    seen: list[str] = []
    path = "/api/connections?limit=3"
    while path:
        content = await (await program.get(path)).get_json()
        seen += [item["name"] for item in content["items"]]
        path = content["next"] and f"/api/connections?limit=3&cursor={content['next']}"
    assert seen == names[::-1]


async def test_a_cursor_of_something_that_is_gone_or_never_was_still_has_its_place(program: Asker) -> None:
    form = {"name": "here", "base_url": "https://api.example.com"}
    await program.post("/api/connections", json=form)
    for place, names in ((str(uuid7()), ["here"]), (ID, [])):
        content = await (await program.get(f"/api/connections?cursor={cursor(place)}")).get_json()
        assert [item["name"] for item in content["items"]] == names
