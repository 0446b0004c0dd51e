"""The sandbox as a whole: its front page, its errors, its state, its program."""

import json
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec

import pytest
from quart import Quart
from quart.testing import QuartClient

from quart_app.sandbox import create_sandbox

from .conftest import KEY


async def test_the_front_page_lists_every_route_as_json_or_html(client: QuartClient) -> None:
    listed = await (await client.get("/")).get_json()
    paths = {route["path"] for route in listed["routes"]}
    assert {"/v1/items", "/v1/echo", "/oauth/token", "/.well-known/oauth-authorization-server"} <= paths
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


async def test_it_runs_as_a_program_of_its_own_and_stops_when_told() -> None:
    command = (sys.executable, "-m", "quart_app.sandbox", "--bind", "127.0.0.1:0")
    process = await create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    assert process.stderr is not None
    assert b"Running on http://127.0.0.1:" in await process.stderr.readline()
    process.terminate()
    said, _ = await process.communicate()
    assert b"X-Api-Key: sandbox-api-key" in said
    assert process.returncode == 0
