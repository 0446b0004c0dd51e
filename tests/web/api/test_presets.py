"""The catalogue by the API, and a check that goes where a preset says."""

from typing import Any

import pytest
from aiohttp import web

from quart_app.forms import presets
from quart_app.web.shapes.presets import PresetPage, PresetView
from tests.upstream import Upstream
from tests.web.conftest import Asker, KeyMaker, problem_in


async def listed(asker: Asker, query: str = "") -> list[Any]:
    answer = await asker.get(f"/api/presets{query}")
    assert answer.status_code == 200
    page = PresetPage.model_validate_json(await answer.get_data(), strict=True)
    return page.items


async def test_all_are_listed_or_those_that_a_text_finds(program: Asker) -> None:
    assert [item.id for item in await listed(program)] == list(presets.catalogue())
    assert [(item.id, item.way) for item in await listed(program, "?q=SLACK")] == [
        ("slack", "authorization_code"),
        ("slack-token", "bearer"),
    ]
    assert await listed(program, "?q=%00%25'") == []


async def test_one_is_shown_whole_without_a_secret(program: Asker) -> None:
    answer = await program.get("/api/presets/zendesk")
    content = await answer.get_json()
    PresetView.model_validate_json(await answer.get_data(), strict=True)
    assert content["base_url"] == "https://{subdomain}.zendesk.com/api/v2"
    assert [variable["name"] for variable in content["variables"]] == ["subdomain"]
    assert content["auth"]["token_url"] == "https://{subdomain}.zendesk.com/oauth/tokens"
    assert "client_secret" not in content["auth"]


async def test_who_may_read_may_look_at_them(person: Asker, nobody: Asker, key_of: KeyMaker) -> None:
    assert len(await listed(await key_of("read"), "?q=github")) == len(await listed(person, "?q=github")) == 3
    assert (await nobody.get("/api/presets")).status_code == 401
    await problem_in(await (await key_of("call")).get("/api/presets"), 403, "insufficient_scope")
    await problem_in(await (await key_of("call")).get("/api/presets/github"), 403, "insufficient_scope")


@pytest.mark.parametrize("path", ["nope", "GitHub", "x" * 300, "..%2fzendesk", "github.toml", "%00"])
async def test_an_id_that_is_none_finds_nothing(program: Asker, path: str) -> None:
    answer = await program.get(f"/api/presets/{path}")
    assert answer.status_code == 404
    assert (await answer.get_json())["code"] in ("unknown_preset", "not_found")


async def test_a_parameter_that_is_none_is_refused(program: Asker) -> None:
    problem = await problem_in(await program.get("/api/presets?query=git"), 422, "invalid_query")
    assert [fault["pointer"] for fault in problem.errors] == ["/query"]


async def test_a_check_asks_for_the_path_that_the_preset_put_into_the_metadata(
    program: Asker, upstream: Upstream
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=401 if request.raw_path == "/v1/me?full=1" else 200)

    upstream.handler = handler
    form = {"name": "orders", "base_url": f"{upstream.url}/v1", "policy": {"allow_private": True}}
    await program.post("/api/connections", json=form | {"metadata": {"check": "/me?full=1"}})
    content = await (await program.post("/api/connections/orders/checks")).get_json()
    assert (content["ok"], upstream.seen[-1].path) == (False, "/v1/me?full=1")


@pytest.mark.parametrize("path", ["/a b", "http://elsewhere.example/", "/../x"])
async def test_a_path_that_cannot_be_asked_for_is_said_to_be_so(program: Asker, upstream: Upstream, path: str) -> None:
    form = {"name": "orders", "base_url": f"{upstream.url}/v1", "policy": {"allow_private": True}}
    await program.post("/api/connections", json=form | {"metadata": {"check": path}})
    answer = await program.post("/api/connections/orders/checks")
    assert 400 <= answer.status_code < 500
    assert upstream.seen == []
