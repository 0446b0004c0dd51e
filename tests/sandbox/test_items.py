"""/v1/items."""

from typing import Any

import pytest
from quart.testing import QuartClient

from .conftest import KEY


async def test_following_next_finds_every_item_once(client: QuartClient) -> None:
    url, names = "/v1/items?limit=10", []
    while url:
        answer = await client.get(url, headers=KEY)
        page = await answer.get_json()
        names += [item["name"] for item in page["items"]]
        link = f'<{page["next"]}>; rel="next"' if page["next"] else None
        assert answer.headers.get("Link") == link
        url = page["next"]
    assert len(names) == len(set(names)) == 25


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=-1", "after=1.5", "limit=٣"])
async def test_a_page_that_cannot_be_is_400(client: QuartClient, query: str) -> None:
    answer = await client.get("/v1/items", query_string=dict([query.split("=")]), headers=KEY)
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"


async def test_an_item_is_added_read_changed_and_deleted(client: QuartClient) -> None:
    added = await client.post("/v1/items", json={"name": "Kite", "price_cents": 2500}, headers=KEY)
    assert added.status_code == 201
    url = added.headers["Location"]
    assert await added.get_json() == {"id": 26, "name": "Kite", "price_cents": 2500, "stock": 0, "tags": []}
    changed = await client.patch(url, json={"stock": 3, "tags": ["games"]}, headers=KEY)
    assert (await changed.get_json())["stock"] == 3
    replaced = await client.put(url, json={"name": "Box kite", "price_cents": 2600}, headers=KEY)
    item = {"id": 26, "name": "Box kite", "price_cents": 2600, "stock": 0, "tags": []}
    assert await replaced.get_json() == item
    assert await (await client.get(url, headers=KEY)).get_json() == item
    deleted = await client.delete(url, headers=KEY)
    assert (deleted.status_code, await deleted.get_data()) == (204, b"")
    assert (await client.get(url, headers=KEY)).status_code == 404


async def test_an_etag_that_still_fits_is_304_and_one_that_does_not_is_200(
    client: QuartClient,
) -> None:
    first = await client.get("/v1/items/1", headers=KEY)
    etag = first.headers["ETag"]
    for known in (etag, f'"other", W/{etag}', "*"):
        answer = await client.get("/v1/items/1", headers={**KEY, "If-None-Match": known})
        assert (answer.status_code, await answer.get_data()) == (304, b"")
        assert answer.headers["ETag"] == etag
    await client.patch("/v1/items/1", json={"stock": 1}, headers=KEY)
    answer = await client.get("/v1/items/1", headers={**KEY, "If-None-Match": etag})
    assert answer.status_code == 200
    assert answer.headers["ETag"] != etag


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_change_to_another_version_is_412_and_changes_nothing(client: QuartClient, method: str) -> None:
    before = await client.get("/v1/items/2", headers=KEY)
    etag = before.headers["ETag"]
    body = {"name": "New", "price_cents": 1}
    for wrong in ('"2-99"', f"W/{etag}"):
        headers = {**KEY, "If-Match": wrong}
        assert (await client.open("/v1/items/2", method=method, json=body, headers=headers)).status_code == 412
    assert (await (await client.get("/v1/items/2", headers=KEY)).get_json()) == await before.get_json()
    headers = {**KEY, "If-Match": etag}
    assert (await client.open("/v1/items/2", method=method, json=body, headers=headers)).status_code < 300


async def test_head_says_what_get_would(client: QuartClient) -> None:
    head, get = await client.head("/v1/items/3", headers=KEY), await client.get("/v1/items/3", headers=KEY)
    for name in ("ETag", "Content-Length", "Content-Type"):
        assert head.headers[name] == get.headers[name]


async def test_every_fault_of_an_item_is_named_at_once(client: QuartClient) -> None:
    body: dict[str, Any] = {"name": "", "stock": True, "tags": [1], "a/b": 1}
    answer = await client.post("/v1/items", json=body, headers=KEY)
    assert answer.status_code == 422
    pointers = [error["pointer"] for error in (await answer.get_json())["errors"]]
    assert sorted(pointers) == ["/a~1b", "/name", "/price_cents", "/stock", "/tags"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"stock": NaN}', b'"\xff"', b"[" * 100_000])
async def test_a_body_that_is_no_json_object_is_400(client: QuartClient, body: bytes) -> None:
    headers = {**KEY, "Content-Type": "application/json"}
    assert (await client.patch("/v1/items/1", data=body, headers=headers)).status_code == 400


async def test_a_body_of_another_type_is_415_and_one_too_large_413(client: QuartClient) -> None:
    assert (await client.post("/v1/items", form={"name": "x"}, headers=KEY)).status_code == 415
    headers = {**KEY, "Content-Type": "application/json"}
    answer = await client.post("/v1/items", data=b" " * (1024**2 + 1), headers=headers)
    assert answer.status_code == 413
