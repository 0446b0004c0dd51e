"""The views of /v1 that misbehave on purpose."""

import asyncio
import hashlib
import time

import pytest
from quart import Quart
from quart.testing import QuartClient

from .conftest import KEY, Clock


async def test_flaky_fails_as_often_as_asked_for_each_key_and_then_never_again(
    client: QuartClient,
) -> None:
    for key in ("a", "b"):
        url = f"/v1/flaky?failures=2&key={key}"
        answers = [await client.post(url, headers=KEY) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [503, 503, 200, 200, 200]


async def test_limited_answers_429_with_retry_after_until_its_window_ends(client: QuartClient, clock: Clock) -> None:
    url = "/v1/limited?budget=2&window_seconds=10"
    first, second = await client.get(url, headers=KEY), await client.get(url, headers=KEY)
    assert [answer.headers["RateLimit-Remaining"] for answer in (first, second)] == ["1", "0"]
    clock.now += 6.5
    third = await client.get(url, headers=KEY)
    assert third.status_code == 429
    assert (third.headers["Retry-After"], third.headers["RateLimit-Reset"]) == ("4", "4")
    assert third.headers["RateLimit-Limit"] == "2"
    assert (await client.get(f"{url}&key=other", headers=KEY)).status_code == 200
    clock.now += 4
    assert (await client.get(url, headers=KEY)).status_code == 200


async def test_slow_takes_its_time_within_bounds(client: QuartClient) -> None:
    started = time.monotonic()
    assert (await client.get("/v1/slow?seconds=0.1", headers=KEY)).status_code == 200
    assert time.monotonic() - started >= 0.1
    for wrong in ("301", "-1", "nan", "inf", "soon"):
        assert (await client.get(f"/v1/slow?seconds={wrong}", headers=KEY)).status_code == 400


async def test_a_stream_sends_numbered_events_and_goes_on_where_it_stopped(
    client: QuartClient,
) -> None:
    answer = await client.get("/v1/stream?events=3&every_seconds=0.01", headers=KEY)
    assert answer.mimetype == "text/event-stream"
    events = (await answer.get_data(as_text=True)).strip().split("\n\n")
    assert events[2] == 'id: 3\nevent: tick\ndata: {"number": 3, "of": 3}'
    rest = await client.get("/v1/stream?events=3&every_seconds=0", headers={**KEY, "Last-Event-ID": "2"})
    assert (await rest.get_data(as_text=True)).strip() == events[2]


async def test_the_first_event_comes_at_once(client: QuartClient) -> None:
    async with client.request("/v1/stream?events=9&every_seconds=60", headers=KEY) as connection:
        await connection.send_complete()
        assert (await asyncio.wait_for(connection.receive(), 5)).startswith(b"id: 1\n")
        await connection.disconnect()


@pytest.mark.parametrize("size_bytes", [0, 1, 65_536, 3_000_001])
async def test_a_large_answer_has_the_length_asked_for_and_known_bytes(client: QuartClient, size_bytes: int) -> None:
    answer = await client.get(f"/v1/large?bytes={size_bytes}", headers=KEY)
    body = await answer.get_data(as_text=False)
    assert answer.headers["Content-Length"] == str(size_bytes) == str(len(body))
    assert body == (bytes(range(256)) * (size_bytes // 256 + 1))[:size_bytes]


async def test_streams_are_not_cut_by_a_response_timeout(app: Quart, client: QuartClient) -> None:
    app.config["RESPONSE_TIMEOUT"] = 0.05
    answer = await client.get("/v1/stream?events=4&every_seconds=0.05", headers=KEY)
    assert (await answer.get_data(as_text=True)).count("id:") == 4


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE", "PROPFIND", "x-odd"])
async def test_echo_takes_any_method(client: QuartClient, method: str) -> None:
    answer = await client.open("/v1/echo", method=method, headers=KEY)
    assert (await answer.get_json())["method"] == method


async def test_echo_shows_path_query_headers_and_body_byte_for_byte(client: QuartClient) -> None:
    raw = b"/v1/echo//a/%2e%2E/%2f/%00%0a/;x=1/"
    answer = await client.open(
        "/v1/echo//a/.././/\x00\n/;x=1/",
        method="POST",
        headers={**KEY, "X-Twice": "1"},
        data="grüß",
        scope_base={"raw_path": raw, "query_string": b"a=1&a=%zz&&b+c=\xc3\xa4"},
    )
    seen = await answer.get_json()
    assert seen["path"] == raw.decode()
    assert seen["query"].encode("latin-1") == b"a=1&a=%zz&&b+c=\xc3\xa4"
    assert ["x-twice", "1"] in [[name.lower(), value] for name, value in seen["headers"]]
    assert (seen["body_bytes"], seen["body_text"]) == (6, "grüß")
    assert seen["body_sha256"] == hashlib.sha256("grüß".encode()).hexdigest()


@pytest.mark.parametrize("body", [b"\xff\x00", b"a" * 65_537, b"a" * 2_000_000])
async def test_echo_hashes_what_is_binary_or_large_without_showing_it(client: QuartClient, body: bytes) -> None:
    seen = await (await client.post("/v1/echo", data=body, headers=KEY)).get_json()
    assert (seen["body_bytes"], seen["body_text"]) == (len(body), None)
    assert seen["body_sha256"] == hashlib.sha256(body).hexdigest()
