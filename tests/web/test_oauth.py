"""The way back from a provider: what comes is redeemed once, in the browser that began; anything else is a page."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from aiohttp import ClientSession, CookieJar
from quart import Quart
from sqlalchemy import select

from quart_app import accounts, connections, create_app
from quart_app.authorizations import LIFE_SECONDS
from quart_app.forms.connections import ConnectionForm
from quart_app.models import Call, Connection, Token
from quart_app.outbound.oauth.authorization import LONGEST_CODE
from quart_app.services import Services
from quart_app.settings import load_settings
from quart_app.web.oauth import flow_cookie
from quart_app.web.shapes import Problem
from tests.browsing import Person, Visit, code_grant, consent, query_of, serving_app
from tests.sandboxed import Sandbox, serving_sandbox
from tests.served import free_port
from tests.web.conftest import Asker, problem_in

JSON = {"Accept": "application/json"}


@dataclass
class World:
    """A served app, a provider that asks for consent, and a signed-in person's browser."""

    app: Quart
    sandbox: Sandbox
    person: Person
    url: str

    @property
    def services(self) -> Services:
        services: Services = self.app.extensions["services"][0]
        return services

    async def comes_back(self, decision: str = "approve", name: str = "items") -> str:
        """The callback's URL, to which the provider sends the browser."""
        return await consent(await self.person.begins(name), decision)

    async def row(self, table: type[Any]) -> Any:
        async with self.services.db.session() as session:
            return await session.scalar(select(table))

    async def nothing_was_sent(self) -> None:
        assert self.sandbox.token_requests == 0
        async with self.services.db.session() as session:
            sent = await session.scalars(select(Call).where(Call.method == "POST"))
        assert list(sent) == []
        assert (await self.row(Connection)).state == "needs_sign_in"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    bind = f"127.0.0.1:{free_port()}"
    settings = load_settings({"data": str(tmp_path / "data"), "bind": bind}, {})
    async with serving_sandbox(access_seconds=3600) as sandbox, serving_app(settings) as app:
        services: Services = app.extensions["services"][0]
        await connections.create(services, ConnectionForm.model_validate(code_grant(sandbox)))
        async with Person.at(app, f"http://{bind}") as person:
            yield World(app, sandbox, person, person.url)


def code_of(visit: Visit) -> str:
    """The stable code that a page shows."""
    found = re.search(r"Code: <code>(\w+)</code>", visit.text)
    assert found, visit.text
    return found[1]


def is_kept_by_nobody(visit: Visit) -> bool:
    return (visit.headers["Cache-Control"], visit.headers["Referrer-Policy"]) == ("no-store", "no-referrer")


async def test_a_person_signs_in_and_lands_on_an_address_without_code_and_state(world: World) -> None:
    callback = await world.comes_back()
    visit = await world.person.goes_to(callback)
    assert (visit.status, visit.headers["Location"]) == (303, "/oauth/done/items")
    assert is_kept_by_nobody(visit)
    for secret in query_of(callback).values():
        assert secret not in visit.text
        assert quote(secret, safe="") not in visit.text
    done = await world.person.goes_to(world.url + visit.headers["Location"])
    assert (done.status, done.media_type) == (200, "text/html")
    assert 'href="/connections/items"' in done.text
    assert (await world.row(Connection)).state == "ready"
    assert (await world.row(Token)).signed_in_by == "account:admin"
    assert world.sandbox.server.token_requests["authorization_code"] == world.sandbox.token_requests == 1


async def test_the_cookie_is_for_this_sign_in_only_and_goes_when_it_is_over(world: World) -> None:
    begun = await world.person.api("POST", "/api/connections/items/authorizations")
    ((name, cookie),) = begun.cookies.items()
    port = world.url.rpartition(":")[2]
    assert re.fullmatch(rf"switchboard-{port}-flow-[0-9a-f]{{12}}", name)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", cookie.value)
    assert (cookie["path"], cookie["samesite"], cookie["max-age"]) == ("/oauth/callback/items", "Lax", "600")
    assert (cookie["httponly"], cookie["secure"], cookie["domain"]) == (True, "", "")
    assert cookie.value not in begun.text
    visit = await world.person.goes_to(await consent(begun.json()["authorize_url"]))
    ((same, gone),) = visit.cookies.items()
    assert (same, gone.value, gone["max-age"], gone["path"]) == (name, "", "0", "/oauth/callback/items")


async def test_two_sign_ins_of_one_browser_both_succeed(world: World) -> None:
    first, second = await world.comes_back(), await world.comes_back()
    for callback in (second, first):
        assert (await world.person.goes_to(callback)).status == 303
    assert (await world.row(Token)).generation == 2


async def test_an_answer_that_arrives_twice_at_once_is_redeemed_once(world: World) -> None:
    callback = await world.comes_back()
    visits = await asyncio.gather(*(world.person.goes_to(callback) for _ in range(6)))
    assert sorted(visit.status for visit in visits) == [303, *[400] * 5]
    assert {code_of(visit) for visit in visits if visit.status == 400} == {"used_state"}
    assert world.sandbox.token_requests == 1
    again = await world.person.goes_to(callback)
    assert (again.status, code_of(again), world.sandbox.token_requests) == (400, "used_state", 1)


BAD: list[tuple[str, dict[str, Any], str, bool]] = [
    # what is wrong, what of the query is changed, the code, whether the sign-in is over with it
    ("no state", {"state": None}, "state_missing", False),
    ("an empty state", {"state": ""}, "state_missing", False),
    ("an unknown state", {"state": "a" * 43}, "unknown_state", False),
    ("neither code nor error", {"code": None}, "code_missing", False),
    ("both code and error", {"error": "access_denied"}, "code_and_error", False),
    ("a code that is too long", {"code": "c" * (LONGEST_CODE + 1)}, "invalid_code", False),
    ("a code with a line break", {"code": "a\r\nb"}, "invalid_code", False),
    ("a wrong issuer", {"iss": "https://evil.example"}, "wrong_issuer", True),
    ("no issuer", {"iss": None}, "issuer_missing", True),
    ("no consent", {"code": None, "error": "access_denied"}, "access_denied", True),
    ("another error", {"code": None, "error": "temporarily_unavailable"}, "provider_refused", True),
]


@pytest.mark.parametrize(("changes", "code", "over"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
async def test_a_bad_answer_is_a_page_with_its_code_and_nothing_is_sent(
    world: World, changes: dict[str, Any], code: str, over: bool
) -> None:
    good = await world.comes_back()
    query = {name: value for name, value in (query_of(good) | changes).items() if value is not None}
    bad = f"{good.partition('?')[0]}?{urlencode(query)}"
    visit = await world.person.goes_to(bad)
    assert (visit.status, visit.media_type, code_of(visit)) == (400, "text/html", code)
    assert is_kept_by_nobody(visit)
    assert 'href="/connections/items"' in visit.text
    await world.nothing_was_sent()
    assert (await world.person.goes_to(good)).status == (400 if over else 303)


async def test_a_parameter_that_is_there_twice_is_refused(world: World) -> None:
    good = await world.comes_back()
    for name in ("code", "state", "iss", "error_description"):
        doubled = f"{good}&{name}=x" + ("&error_description=y" if name == "error_description" else "")
        assert code_of(await world.person.goes_to(doubled)) == "duplicate_parameter"
    await world.nothing_was_sent()
    assert (await world.person.goes_to(good)).status == 303


async def test_a_code_of_ten_kilobytes_is_refused_before_anything_looks_at_it(world: World) -> None:
    good = await world.comes_back()
    visit = await world.person.goes_to(good.replace("code=", f"code={'c' * 10240}"))
    assert visit.status == 414
    await world.nothing_was_sent()


async def test_an_old_state_is_refused(world: World) -> None:
    callback = await world.comes_back()
    clock = world.services.clock
    world.services.clock = lambda: clock() + LIFE_SECONDS
    assert code_of(await world.person.goes_to(callback)) == "expired_state"
    await world.nothing_was_sent()


async def test_another_browser_is_refused_and_the_right_one_can_still_finish(world: World) -> None:
    callback = await world.comes_back()
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        other = Person(world.url, session)
        assert code_of(await other.goes_to(callback)) == "other_browser"
        name, _ = flow_cookie(world.services.settings, "items", query_of(callback)["state"])
        visit = await other.goes_to(callback, Cookie=f"{name}=guessed")
        assert code_of(visit) == "other_browser"
    await world.nothing_was_sent()
    assert (await world.person.goes_to(callback)).status == 303


async def test_an_answer_to_another_connection_s_address_is_refused(world: World) -> None:
    other = code_grant(world.sandbox) | {"name": "other"}
    await connections.create(world.services, ConnectionForm.model_validate(other))
    good = await world.comes_back()
    cookie, _ = flow_cookie(world.services.settings, "items", query_of(good)["state"])
    jar = {c.key: c.value for c in world.person.session.cookie_jar}
    elsewhere = good.replace("/oauth/callback/items", "/oauth/callback/other")
    visit = await world.person.goes_to(elsewhere, Cookie=f"{cookie}={jar[cookie]}")
    assert code_of(visit) == "other_connection"
    assert world.sandbox.token_requests == 0
    assert (await world.person.goes_to(good)).status == 303


async def test_the_provider_s_words_are_shown_as_text_and_short(world: World) -> None:
    good = await world.comes_back()
    said = "<script>alert(1)</script>\u202e" + "x" * 5000
    query = {"state": query_of(good)["state"], "error": "server_error", "error_description": said[:4000]}
    visit = await world.person.goes_to(f"{good.partition('?')[0]}?{urlencode(query)}&iss={quote(world.sandbox.url)}")
    assert code_of(visit) == "provider_refused"
    assert "<script>alert" not in visit.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; xxx" in visit.text
    assert "x" * 200 not in visit.text
    assert "script-src" in visit.headers["Content-Security-Policy"]


async def test_a_person_who_says_no_reads_that_nothing_was_changed(world: World) -> None:
    visit = await world.person.goes_to(await world.comes_back("deny"))
    assert (visit.status, code_of(visit)) == (400, "access_denied")
    assert "nothing was changed" in visit.text
    await world.nothing_was_sent()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_only_get_finishes_a_sign_in(world: World, method: str) -> None:
    callback = await world.comes_back()
    visit = await world.person.goes_to(callback, method)
    assert (visit.status, visit.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert Problem.model_validate_json(visit.text, strict=True).code == "method_not_allowed"
    await world.nothing_was_sent()


async def test_a_look_by_head_does_not_use_the_code_up(world: World) -> None:
    callback = await world.comes_back()
    visit = await world.person.goes_to(callback, "HEAD")
    assert (visit.status, visit.headers["Allow"]) == (405, "GET")
    await world.nothing_was_sent()
    assert (await world.person.goes_to(callback)).status == 303


@pytest.mark.parametrize(
    ("trick", "status", "code"),
    [
        ("invalid_grant", 400, "code_refused"),
        ("invalid_client", 400, "client_refused"),
        ("status_503", 502, "provider_failed"),
        ("html_ok", 502, "odd_answer"),
        ("reset", 502, "provider_failed"),
    ],
)
async def test_an_exchange_that_fails_is_a_page_that_says_so(world: World, trick: str, status: int, code: str) -> None:
    callback = await world.comes_back()
    world.sandbox.server.tricks.add(trick)
    visit = await world.person.goes_to(callback)
    assert (visit.status, visit.media_type, code_of(visit)) == (status, "text/html", code)
    assert 'href="/connections/items"' in visit.text
    assert query_of(callback)["code"] not in visit.text
    assert (await world.row(Connection)).state == "needs_sign_in"


async def test_a_program_gets_problems_instead_of_pages(world: World) -> None:
    callback = await world.comes_back("deny")
    visit = await world.person.goes_to(callback, **JSON)
    problem = Problem.model_validate_json(visit.text, strict=True)
    assert (visit.status, visit.media_type) == (400, "application/problem+json")
    assert (problem.code, problem.errors[0]["pointer"]) == ("access_denied", "/error")
    assert len(visit.text) <= 2048


async def test_a_program_signs_in_with_the_cookie_that_it_was_given(
    app: Quart, program: Asker, running: Services
) -> None:
    """The browser that opens the URL must be the one that has it; a program carries it on itself."""
    async with serving_sandbox() as sandbox:
        assert (await program.post("/api/connections", json=code_grant(sandbox))).status_code == 201
        begun = await program.post("/api/connections/items/authorizations")
        cookie = begun.headers["Set-Cookie"].partition(";")[0]
        parts = urlsplit(await consent((await begun.get_json())["authorize_url"]))
        callback = f"{parts.path}?{parts.query}"
        await problem_in(await Asker(app).get(callback), 400, "other_browser")
        assert (await Asker(app, {"Cookie": cookie}).get(callback)).status_code == 303
    async with running.db.session() as session:
        token = await session.scalar(select(Token))
    assert token is not None
    assert token.signed_in_by == "key:call-read-manage"


@pytest.mark.parametrize("where", ["//evil.example", "/\\evil.example", "https:evil.example", "%09//evil.example"])
async def test_nothing_in_a_query_leads_elsewhere(world: World, where: str) -> None:
    for name in ("return_to", "next", "redirect_uri"):
        visit = await world.person.goes_to(f"{await world.comes_back()}&{name}={where}")
        assert (visit.status, visit.headers["Location"]) == (303, "/oauth/done/items")
        done = await world.person.goes_to(f"{world.url}/oauth/done/items?{name}={where}")
        assert "evil" not in done.text


@pytest.mark.parametrize("name", ["%2F%2Fevil.example", "..%2Fx", "A", "a" * 64, "%00", "x%22onload", "%F0%9F%92%A5"])
@pytest.mark.parametrize("path", ["/oauth/done", "/oauth/callback"])
async def test_a_name_that_can_be_no_connection_s_has_no_page(nobody: Asker, path: str, name: str) -> None:
    answer = await nobody.get(f"{path}/{name}", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert "evil" not in await answer.get_data(as_text=True)


async def test_the_landing_page_tells_nobody_whether_there_is_such_a_connection(nobody: Asker) -> None:
    first, second = await nobody.get("/oauth/done/aaa"), await nobody.get("/oauth/done/bbb")
    assert first.status_code == 200
    texts = [await answer.get_data(as_text=True) for answer in (first, second)]
    assert texts[0].replace("aaa", "bbb") == texts[1]


async def test_the_page_names_the_connection_only_where_it_could_be_one(nobody: Asker) -> None:
    """What a stranger puts into the address, with no state of ours, is told the same for every name."""
    await problem_in(await nobody.get(f"/oauth/callback/absent?state={'a' * 43}&code=c"), 400, "unknown_state")


async def test_over_tls_the_cookie_is_pinned_to_the_host(tmp_path: Path) -> None:
    options = {"data": str(tmp_path / "tls"), "public_url": "https://switchboard.example.com"}
    made = create_app(load_settings(options, {}))
    async with serving_sandbox() as sandbox, made.test_app():
        services: Services = made.extensions["services"][0]
        await connections.create(services, ConnectionForm.model_validate(code_grant(sandbox)))
        key = await accounts.create_key(services, "test", ["manage"])
        asker = Asker(made, {"Authorization": f"Bearer {key}", "Host": "switchboard.example.com"})
        begun = await asker.post("/api/connections/items/authorizations")
        assert (await begun.get_json())["redirect_uri"] == "https://switchboard.example.com/oauth/callback/items"
    cookie = begun.headers["Set-Cookie"]
    assert re.match(r"__Host-switchboard-flow-[0-9a-f]{12}=[\w-]{43}; ", cookie)
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=600"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


async def test_code_and_state_are_in_nobody_s_log_or_record(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    callback = await world.comes_back()
    await world.person.goes_to(callback)
    secrets = [query_of(callback)[name] for name in ("code", "state")]
    async with asyncio.timeout(5):
        while (shown := await world.person.api("GET", "/api/calls")).text.count('"origin"') < 2:  # noqa: ASYNC110 - as a page does
            await asyncio.sleep(0.01)
    assert {call["origin"] for call in shown.json()["items"]} == {"token"}
    written = capfd.readouterr()
    for secret in secrets:
        assert secret not in shown.text + written.out + written.err
