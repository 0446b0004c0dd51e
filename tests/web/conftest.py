"""Who asks: nobody, a key of some scopes, or a person whom a link signed in; each through guard and all the rest."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from quart import Quart

from quart_app import accounts
from quart_app.services import Services
from quart_app.web.access import cookie_name
from quart_app.web.shapes import Problem
from tests.conftest import ALL_SCOPES
from tests.web.proxied import switchboard as switchboard  # a fixture for the tests of the proxy
from tests.web.proxied import wire as wire

OWN_PAGE = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost", "X-Requested-By": "switchboard"}


@dataclass(frozen=True)
class Asker:
    """Sends requests that carry `headers`, and whatever else a request gives; one given as None is left out."""

    app: Quart
    headers: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, headers: Mapping[str, str | None] | None = None, **options: Any) -> Any:
        sent = {name: value for name, value in {**self.headers, **(headers or {})}.items() if value is not None}
        return await self.app.test_client(use_cookies=False).open(path, method=method, headers=sent, **options)

    async def get(self, path: str, **options: Any) -> Any:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Any:
        return await self.ask("POST", path, **options)


KeyMaker = Callable[..., Awaitable[Asker]]


@pytest.fixture
def nobody(app: Quart) -> Asker:
    return Asker(app)


@pytest.fixture
def key_of(app: Quart, running: Services) -> KeyMaker:
    """Makes a key of the scopes given and asks with it."""

    async def make(*scopes: str) -> Asker:
        key = await accounts.create_key(running, "-".join(scopes) or "none", scopes)
        return Asker(app, {"Authorization": f"Bearer {key}"})

    return make


@pytest.fixture
async def program(key_of: KeyMaker) -> Asker:
    """A key of all scopes."""
    return await key_of(*ALL_SCOPES)


@pytest.fixture
async def person(app: Quart, running: Services) -> Asker:
    """A signed-in browser on our own page."""
    cookie, _ = await accounts.sign_in(running, await accounts.create_link(running), "a browser")
    return Asker(app, {"Cookie": f"{cookie_name(running.settings)}={cookie}"} | OWN_PAGE)


async def problem_in(answer: Any, status: int, code: str) -> Problem:
    """The problem+json in an answer, which must be that and nothing else."""
    assert answer.status_code == status, await answer.get_data()
    assert answer.content_type == "application/problem+json"
    content = await answer.get_data()
    assert len(content) <= 2048
    problem = Problem.model_validate_json(content, strict=True)
    assert (problem.status, problem.code, problem.type) == (status, code, f"urn:switchboard:error:{code}")
    assert problem.detail
    assert problem.title
    return problem
