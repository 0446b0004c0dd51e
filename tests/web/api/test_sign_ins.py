"""A browser's session: begun by a link that works once, ended on the server by signing out."""

import asyncio
from pathlib import Path
from typing import Any

from quart import Quart
from sqlalchemy import select

from quart_app import accounts, create_app
from quart_app.models import Key, SignIn, SignInLink
from quart_app.services import Services
from quart_app.settings import load_settings
from tests.web.conftest import OWN_PAGE, Asker, problem_in


async def sign_in(app: Quart, token: str, **headers: str) -> Any:
    return await Asker(app, OWN_PAGE).post("/api/sign-ins", json={"token": token}, headers=headers)


async def test_a_link_signs_in_once(app: Quart, running: Services) -> None:
    token = await accounts.create_link(running)
    first = await sign_in(app, token)
    assert first.status_code == 201
    assert await first.get_json() == {"account": {"name": "admin"}}
    refused = await sign_in(app, token)
    await problem_in(refused, 401, "invalid_link")
    assert "Set-Cookie" not in refused.headers


async def test_of_many_who_use_one_link_at_once_one_is_in(app: Quart, running: Services) -> None:
    token = await accounts.create_link(running)
    answers = await asyncio.gather(*(sign_in(app, token) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [401] * 7
    assert await accounts.count(running) == 1


async def test_of_two_first_links_only_one_makes_an_account(app: Quart, running: Services) -> None:
    tokens = [await accounts.create_link(running) for _ in range(2)]
    answers = [await sign_in(app, token) for token in tokens]
    assert [answer.status_code for answer in answers] == [201, 401]
    assert await accounts.count(running) == 1


async def test_a_link_is_good_for_its_minutes(app: Quart, running: Services) -> None:
    now = running.clock()
    tokens = [await accounts.create_link(running) for _ in range(2)]
    running.clock = lambda: now + 15 * 60 + 1
    await problem_in(await sign_in(app, tokens[0]), 401, "invalid_link")
    running.clock = lambda: now + 15 * 60 - 1
    assert (await sign_in(app, tokens[1])).status_code == 201


async def test_a_token_that_is_none_signs_nobody_in(app: Quart) -> None:
    for token in ("x", "x" * 200, "é", "' OR 1=1 --"):
        await problem_in(await sign_in(app, token), 401, "invalid_link")


async def test_a_link_is_not_used_up_by_a_foreign_page(app: Quart, running: Services) -> None:
    token = await accounts.create_link(running)
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    await problem_in(await sign_in(app, token, **foreign), 403, "cross_origin")
    assert (await sign_in(app, token)).status_code == 201


async def test_the_cookie_is_for_this_host_and_no_script(app: Quart, running: Services) -> None:
    answer = await sign_in(app, await accounts.create_link(running))
    value, *flags = answer.headers["Set-Cookie"].split("; ")
    assert value.startswith("switchboard-8000=")
    assert len(value.partition("=")[2]) >= 43
    assert set(flags) >= {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={336 * 3600}"}
    assert not {flag for flag in flags if flag.startswith("Domain")}


async def test_over_tls_the_cookie_is_secure_and_pinned_to_the_host(tmp_path: Path) -> None:
    public = {"data": str(tmp_path / "data"), "public_url": "https://switchboard.example/"}
    app = create_app(load_settings(public, {}))
    async with app.test_app():
        token = await accounts.create_link(app.extensions["services"][0])
        answer = await sign_in(app, token, Host="switchboard.example", Origin="https://switchboard.example")
        assert answer.status_code == 201
        value, *flags = answer.headers["Set-Cookie"].split("; ")
        assert value.startswith("__Host-switchboard=")
        assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(flags)


async def test_the_database_holds_neither_cookie_nor_link_nor_key(app: Quart, running: Services) -> None:
    token = await accounts.create_link(running)
    cookie = (await sign_in(app, token)).headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    key = await accounts.create_key(running, "test")
    async with running.db.session() as session:
        rows = [str(vars(row)) for table in (SignInLink, SignIn, Key) for row in await session.scalars(select(table))]
    assert len(rows) == 4, "the link of the first run, ours, the sign-in and the key"
    assert not [secret for secret in (token, cookie, key.split("_")[2]) if secret in "".join(rows)]


async def test_signing_out_ends_the_session_on_the_server_and_no_other(person: Asker, running: Services) -> None:
    cookie, _ = await accounts.sign_in(running, await accounts.create_link(running, "admin"), "another browser")
    other = Asker(person.app, person.headers | {"Cookie": f"switchboard-8000={cookie}"})
    assert (await person.get("/api/sign-ins/current")).status_code == 200
    answer = await person.ask("DELETE", "/api/sign-ins/current")
    assert answer.status_code == 204
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    await problem_in(await person.get("/api/sign-ins/current"), 401, "sign_in_required")
    assert await (await other.get("/api/sign-ins/current")).get_json() == {"account": {"name": "admin"}}


async def test_a_sign_in_ends_after_its_hours(person: Asker, running: Services) -> None:
    assert (await person.get("/api/calls")).status_code == 200
    now = running.clock()
    running.clock = lambda: now + 336 * 3600 + 1
    await problem_in(await person.get("/api/calls"), 401, "sign_in_required")


async def test_signing_in_never_takes_over_a_cookie_that_was_there(app: Quart, running: Services) -> None:
    answer = await sign_in(app, await accounts.create_link(running), Cookie="switchboard-8000=chosen-by-someone")
    assert answer.status_code == 201
    assert "chosen-by-someone" not in answer.headers["Set-Cookie"]
    await problem_in(
        await Asker(app, {"Cookie": "switchboard-8000=chosen-by-someone"}).get("/api/calls"), 401, "sign_in_required"
    )
