"""Authorizations by the API: who may begin one, for what, and where from."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import pytest
from quart import Quart

from quart_app.services import Services
from tests.browsing import code_grant, query_of
from tests.sandboxed import Sandbox, serving_sandbox
from tests.web.conftest import Asker, problem_in

PATH = "/api/connections/items/authorizations"
OWN = {"Host": "127.0.0.1:8000", "Origin": "http://127.0.0.1:8000"}


@pytest.fixture
def database_url() -> str:
    """SQLite only: the use cases are tested on both."""
    return ""


@pytest.fixture
async def sandbox(program: Asker) -> AsyncIterator[Sandbox]:
    async with serving_sandbox() as served:
        answer = await program.post("/api/connections", json=code_grant(served))
        assert answer.status_code == 201
        yield served


async def test_a_sign_in_is_begun_with_all_that_a_browser_needs(program: Asker, sandbox: Sandbox) -> None:
    answer = await program.post(PATH)
    view = await answer.get_json()
    assert answer.status_code == 201
    assert view.keys() == {"authorize_url", "redirect_uri", "expires_at"}
    assert view["authorize_url"].startswith(f"{sandbox.url}/oauth/authorize?")
    shown = await (await program.get("/api/connections/items")).get_json()
    assert view["redirect_uri"] == shown["redirect_uri"] == query_of(view["authorize_url"])["redirect_uri"]
    assert datetime.fromisoformat(view["expires_at"]).tzinfo is not None
    assert answer.headers["Cache-Control"] == "no-store"
    assert "-flow-" in answer.headers["Set-Cookie"]


async def test_each_sign_in_has_secrets_of_its_own(program: Asker, sandbox: Sandbox) -> None:
    answers = await asyncio.gather(*(program.post(PATH) for _ in range(5)))
    sent = [query_of((await answer.get_json())["authorize_url"]) for answer in answers]
    for name in ("state", "code_challenge"):
        assert len({one[name] for one in sent}) == 5
    assert len({answer.headers["Set-Cookie"] for answer in answers}) == 5


async def test_the_redirect_uri_never_comes_from_the_host_that_was_asked(program: Asker, sandbox: Sandbox) -> None:
    for host in ("localhost", "127.0.0.1", "localhost:8000"):
        view = await (await program.ask("POST", PATH, headers={"Host": host})).get_json()
        assert view["redirect_uri"] == "http://127.0.0.1:8000/oauth/callback/items"


async def test_a_page_at_another_name_of_the_server_is_told_where_to_go(person: Asker, sandbox: Sandbox) -> None:
    """Its cookie would not go to the redirect URI, so that its sign-in could not be finished."""
    problem = await problem_in(await person.post(PATH), 409, "other_address")
    assert "http://127.0.0.1:8000" in problem.detail
    assert (await person.ask("POST", PATH, headers=OWN)).status_code == 201


async def test_another_site_s_page_cannot_begin_one(person: Asker, sandbox: Sandbox) -> None:
    evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    await problem_in(await person.ask("POST", PATH, headers=evil), 403, "cross_origin")
    answer = await person.ask("POST", PATH, headers=OWN | {"X-Requested-By": None})
    await problem_in(answer, 403, "requested_by_required")


async def test_what_has_no_sign_in_is_said_by_name(program: Asker, app: Quart, running: Services) -> None:
    await problem_in(await program.post(PATH), 404, "unknown_connection")
    form = {"name": "items", "base_url": "https://api.example.com"}
    await program.post("/api/connections", json=form)
    await problem_in(await program.post(PATH), 409, "no_authorization")
    for name in ("A", "%00", "a" * 300):
        await problem_in(await program.post(f"/api/connections/{name}/authorizations"), 404, "unknown_connection")
