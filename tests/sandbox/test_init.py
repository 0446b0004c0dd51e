"""The sandbox as a whole: its front page, its errors, its state."""

import json
from email.utils import parsedate_to_datetime

import pytest
from quart import Quart
from quart.testing import QuartClient

from quart_app.sandbox import create_sandbox

from .conftest import KEY, Clock


async def test_the_front_page_lists_every_route_as_json_or_html(client: QuartClient) -> None:
    listed = await (await client.get("/")).get_json()
    paths = {route["path"] for route in listed["routes"]}
    assert {
        "/v1/items",
        "/v1/echo",
        "/oauth/token",
        "/oauth/tricks",
        "/.well-known/oauth-authorization-server",
    } <= paths
    page = await client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    text = await page.get_data(as_text=True)
    assert page.mimetype == "text/html"
    assert all(path.replace("<", "&lt;").replace(">", "&gt;") in text for path in paths)
    assert (await client.get("/static/sandbox.css")).status_code == 200


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/oauth/token", 405)])
async def test_errors_are_problems_in_json(client: QuartClient, method: str, path: str, status: int) -> None:
    answer = await client.open(path, method=method)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert json.loads(await answer.get_data())["status"] == status


async def test_two_sandboxes_share_nothing(app: Quart) -> None:
    other = create_sandbox()
    await app.test_client().delete("/v1/items/1", headers=KEY)
    assert (await other.test_client().get("/v1/items/1", headers=KEY)).status_code == 200


async def test_a_path_that_is_nearly_right_is_404_and_not_a_redirect(client: QuartClient) -> None:
    for path in ("/v1//items", "/v1/items/", "/v1/items//1"):
        assert (await client.get(path, headers=KEY)).status_code == 404


@pytest.mark.parametrize("path", ["/", "/v1/items", "/nowhere"])
async def test_every_answer_says_what_the_sandboxs_clock_says(client: QuartClient, clock: Clock, path: str) -> None:
    date = (await client.get(path, headers=KEY)).headers["Date"]
    assert parsedate_to_datetime(date).timestamp() == clock.now
