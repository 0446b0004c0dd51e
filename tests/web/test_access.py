"""Who may what: every route's rule, keys and their scopes, sign-ins, and what a browser's request must show."""

import re
import time

import pytest
from quart import Quart

from quart_app import accounts
from quart_app.accounts import Who
from quart_app.errors import Refused
from quart_app.models import Key
from quart_app.services import Services
from quart_app.settings import Settings
from quart_app.web import ROUTES
from quart_app.web.access import (
    CALL,
    MANAGE,
    METRICS,
    PAGE,
    PERSON,
    PUBLIC,
    READ,
    SIGN_IN,
    SIGNED_IN,
    SOCKET,
    Admission,
    Rule,
    admit,
    cookie_name,
    cookie_of,
    identify,
)
from tests.conftest import ALL_SCOPES
from tests.upstream import Upstream
from tests.web.conftest import OWN_PAGE, Asker, KeyMaker, problem_in

RULES: dict[str, Rule] = {
    "GET /": PUBLIC,
    "GET /sign-in": PUBLIC,
    "GET /connections": PAGE,
    "GET /connections/<name>": PAGE,
    "GET /send": PAGE,
    "GET /history": PAGE,
    "GET /history/<call_id>": PAGE,
    "GET /history/<call_id>/diffs/<other_id>": PAGE,
    "GET /webhooks": PAGE,
    "GET /docs": PUBLIC,
    "GET /docs/<name>": PUBLIC,
    "GET /static/<digest>/<path:name>": PUBLIC,
    "POST /api/sign-ins": SIGN_IN,
    "GET /api/sign-ins/current": SIGNED_IN,
    "DELETE /api/sign-ins/current": PERSON,
    "GET /api/connections": READ,
    "POST /api/connections": MANAGE,
    "GET /api/connections/<name>": READ,
    "PATCH /api/connections/<name>": MANAGE,
    "DELETE /api/connections/<name>": MANAGE,
    "GET /api/connections/<name>/limits": READ,
    "POST /api/connections/<name>/checks": CALL,
    "POST /api/connections/<name>/authorizations": MANAGE,
    "GET /oauth/callback/<name>": PUBLIC,
    "GET /oauth/done/<name>": PUBLIC,
    "POST /api/connections/<name>/token-refreshes": MANAGE,
    "GET /_token_refresh": MANAGE,
    "POST /api/calls": CALL,
    "GET /api/calls": READ,
    "GET /api/calls/<call_id>": READ,
    "GET /api/calls/<call_id>/request-body": READ,
    "GET /api/calls/<call_id>/response-body": READ,
    "GET /api/calls/<call_id>/diffs/<other_id>": READ,
    "POST /api/calls/<call_id>/replays": CALL,
    "POST /api/batches": CALL,
    "GET /api/events": READ,
    "GET /api/storage": READ,
    "GET /api/webhooks": READ,
    "POST /api/webhooks": MANAGE,
    "GET /api/webhooks/<webhook_id>": READ,
    "PATCH /api/webhooks/<webhook_id>": MANAGE,
    "DELETE /api/webhooks/<webhook_id>": MANAGE,
    "POST /api/webhooks/<webhook_id>/secrets": MANAGE,
    "GET /api/webhooks/<webhook_id>/deliveries": READ,
    "POST /api/webhooks/<webhook_id>/deliveries": MANAGE,
    "GET /api/connections/<name>/health": READ,
    "GET /api/connections/<name>/token-exchanges": READ,
    "GET /api/health": READ,
    "GET /api/presets": READ,
    "GET /api/presets/<preset_id>": READ,
    "GET /api/audit-entries": MANAGE,
    "GET /api/openapi.json": PUBLIC,
    "GET /metrics": METRICS,
    "GET /healthz": PUBLIC,
    "GET /readyz": PUBLIC,
}
"""Written down a second time on purpose: whoever adds a route says here who may take it."""

MAY: dict[Rule, set[str]] = {
    PUBLIC: {"nobody", "read", "call", "manage", "person"},
    SIGN_IN: {"nobody", "read", "call", "manage", "person"},
    PAGE: {"person"},
    SIGNED_IN: {"person"},
    PERSON: {"person"},
    READ: {"read", "person"},
    METRICS: {"read", "person"},
    CALL: {"call", "person"},
    MANAGE: {"manage", "person"},
}


def test_every_route_has_the_access_rule_that_is_written_down_for_it() -> None:
    assert {f"{route.method} {route.path}": route.rule for route in ROUTES} == RULES


async def test_each_may_do_what_the_table_says_and_nothing_else(nobody: Asker, person: Asker, key_of: KeyMaker) -> None:
    askers = {scope: await key_of(scope) for scope in ALL_SCOPES}
    askers |= {"nobody": Asker(nobody.app, OWN_PAGE), "person": person}
    signs_out = "DELETE /api/sign-ins/current"
    for name in sorted(RULES, key=lambda name: name == signs_out):
        method, path = name.split()
        method = "HEAD" if path == "/api/events" else method
        for who, asker in askers.items():
            answer = await asker.ask(method, re.sub(r"<[^>]+>", "x", path))
            led_away = path != "/" and answer.headers.get("Location") == "/sign-in"
            assert (led_away or answer.status_code in (401, 403)) == (who not in MAY[RULES[name]]), f"{who}: {name}"


async def test_home_leads_a_person_to_the_connections_and_anyone_else_to_the_sign_in(
    nobody: Asker, person: Asker
) -> None:
    assert (await nobody.get("/")).headers["Location"] == "/sign-in"
    assert (await person.get("/")).headers["Location"] == "/connections"


async def test_the_proxy_takes_a_key_with_the_scope_call_in_either_header(
    app: Quart, running: Services, program: Asker, key_of: KeyMaker, upstream: Upstream
) -> None:
    await add(program, upstream)
    key = program.headers["Authorization"].removeprefix("Bearer ")
    for headers in ({"Authorization": f"bearer {key}"}, {"X-Switchboard-Key": key, "Authorization": "Basic theirs"}):
        assert (await Asker(app, headers).get("/proxy/orders/x")).status_code == 200
    refused = await (await key_of("read", "manage")).get("/proxy/orders/x")
    await problem_in(refused, 403, "insufficient_scope")
    assert refused.headers["X-Switchboard-Source"] == "gateway"
    nothing = await Asker(app).get("/proxy/orders/x")
    await problem_in(nothing, 403, "cross_origin")
    await problem_in(await Asker(app, OWN_PAGE).get("/proxy/orders/x"), 401, "sign_in_required")
    assert len(upstream.seen) == 2
    assert all(seen.header("authorization") is None for seen in upstream.seen)


async def test_the_second_key_header_counts_for_the_proxy_only(program: Asker) -> None:
    key = program.headers["Authorization"].removeprefix("Bearer ")
    await problem_in(await Asker(program.app, {"X-Switchboard-Key": key}).get("/api/calls"), 401, "sign_in_required")


async def test_a_revoked_key_is_refused_at_once_though_it_was_known(key_of: KeyMaker, running: Services) -> None:
    asker = await key_of("read")
    assert (await asker.get("/api/calls")).status_code == 200
    await accounts.revoke_key(running, asker.headers["Authorization"].split("_")[1])
    await problem_in(await asker.get("/api/calls"), 401, "invalid_key")


async def test_a_key_is_good_until_it_expires(key_of: KeyMaker, running: Services) -> None:
    asker = await key_of("read")
    async with running.change() as session:
        row = await session.get_one(Key, asker.headers["Authorization"].split("_")[1])
        row.expires_at = running.clock() + 60
    assert (await asker.get("/api/calls")).status_code == 200
    now = running.clock()
    running.clock = lambda: now + 61
    await problem_in(await asker.get("/api/calls"), 401, "invalid_key")


async def test_a_key_that_is_one_letter_off_is_refused(program: Asker) -> None:
    key = program.headers["Authorization"]
    for wrong in (key[:-1] + ("0" if key[-1] != "0" else "1"), key[:25] + "x" + key[26:], key + "0", key.upper()):
        await problem_in(await Asker(program.app, {"Authorization": wrong}).get("/api/calls"), 401, "invalid_key")


async def test_a_cookie_and_a_key_together_are_refused_whatever_either_is_worth(person: Asker, program: Asker) -> None:
    for cookie in (person.headers["Cookie"], person.headers["Cookie"][:-3] + "xxx"):
        for path in ("/api/calls", "/connections", "/proxy/orders/x"):
            answer = await program.get(path, headers={"Cookie": cookie})
            await problem_in(answer, 400, "two_credentials")
    other = await program.get("/api/calls", headers={"Cookie": "theme=dark; switchboard-1=x"})
    assert other.status_code == 200


GOOD_ORIGINS = [
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
    {"Origin": "http://localhost"},
    {"Origin": "https://localhost"},
    {"Referer": "http://localhost/connections"},
]
BAD_ORIGINS = [
    {},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://localhost:8001"},
    {"Origin": "http://evil.example", "Referer": "http://localhost/"},
    {"Referer": "http://localhost@evil.example/"},
    {"Referer": "http://evil.example/?http://localhost/"},
    {"Referer": "localhost"},
]


async def test_what_acts_needs_our_own_page_and_the_scripts_own_header(person: Asker) -> None:
    cookie = {"Cookie": person.headers["Cookie"]}
    browser, script = Asker(person.app, cookie), {"X-Requested-By": "switchboard"}
    for headers in BAD_ORIGINS:
        await problem_in(await browser.post("/api/calls", headers=headers | script, json={}), 403, "cross_origin")
    for headers in GOOD_ORIGINS:
        assert (await browser.post("/api/calls", headers=headers | script, json={})).status_code == 422, headers
        for wrong in ({}, {"X-Requested-By": ""}, {"X-Requested-By": "XMLHttpRequest"}):
            answer = await browser.post("/api/calls", headers=headers | wrong, json={})
            await problem_in(answer, 403, "requested_by_required")


async def test_a_get_that_acts_is_protected_as_a_post_is(person: Asker) -> None:
    browser = Asker(person.app, {"Cookie": person.headers["Cookie"]})
    for path in ("/_token_refresh?connection=orders", "/proxy/orders/x"):
        await problem_in(await browser.get(path, headers={"Sec-Fetch-Site": "cross-site"}), 403, "cross_origin")
        await problem_in(await browser.get(path), 403, "cross_origin")


async def test_reading_needs_no_origin_and_tells_other_origins_nothing(person: Asker) -> None:
    browser = Asker(person.app, {"Cookie": person.headers["Cookie"]})
    answer = await browser.get("/api/calls", headers={"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert "access-control-" not in str(answer.headers).lower()
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_the_proxy_answers_a_browser_only_for_fetch(person: Asker, program: Asker, upstream: Upstream) -> None:
    await add(program, upstream)
    for dest in (None, "empty"):
        answer = await person.get("/proxy/orders/x", headers={"Sec-Fetch-Dest": dest})
        assert answer.status_code == 200, dest
        assert answer.headers["Content-Security-Policy"].startswith("sandbox")
    seen = len(upstream.seen)
    for dest in (
        "document",
        "iframe",
        "script",
        "style",
        "image",
        "worker",
        "serviceworker",
        "object",
        "embed",
        "font",
    ):
        answer = await person.get("/proxy/orders/x", headers={"Sec-Fetch-Dest": dest})
        await problem_in(answer, 403, "navigation_not_allowed")
        assert (await program.get("/proxy/orders/x", headers={"Sec-Fetch-Dest": dest})).status_code == 200
    assert len(upstream.seen) == seen + 10


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("a=1; s=x; b=2", "x"),
        ("s=", ""),
        ("", None),
        ("t=x", None),
        ('s="quoted"', "quoted"),
        ("s=x; s=y", "y"),
        ("\x01;=", None),
    ],
)
def test_a_cookie_is_found_among_others_and_rubbish(header: str, value: str | None) -> None:
    assert cookie_of(header, "s") == value


async def add(program: Asker, upstream: Upstream) -> None:
    form = {"name": "orders", "base_url": upstream.url, "policy": {"allow_private": True}}
    assert (await program.post("/api/connections", json=form)).status_code == 201


# What lasts: a WebSocket, and being let in


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"origin": "http://localhost"}, True),
        ({"origin": "http://localhost", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://localhost", "sec-fetch-site": "same-site"}, False),
        ({"origin": "http://localhost:81"}, False),
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "same-origin", "x-requested-by": "switchboard"}, False),
        ({"referer": "http://localhost/", "x-requested-by": "switchboard"}, False),
        ({}, False),
    ],
)
def test_a_persons_websocket_needs_an_origin_that_is_ours_and_nothing_else(
    settings: Settings, headers: dict[str, str], passes: bool
) -> None:
    person = Who("account:ann", "ann", frozenset(), person=True, expires_at=None)
    refused = None
    try:
        admit(SOCKET, person, {"host": "localhost"} | headers, settings)
    except Refused as error:
        refused = error.code
    assert refused == (None if passes else "cross_origin")


async def admission(services: Services, headers: dict[str, str], rule: Rule) -> Admission:
    epoch = services.caches.epoch
    who = await identify(services, headers, proxied=True)
    assert who is not None
    return Admission(services, headers, who, rule, epoch)


async def test_an_admission_is_in_doubt_only_after_a_change_and_holds_until_its_key_is_revoked(
    services: Services,
) -> None:
    key, other = [await accounts.create_key(services, "robot", ("call",)) for _ in range(2)]
    made = await admission(services, {"x-switchboard-key": key}, CALL)
    assert not made.is_in_doubt()
    await accounts.revoke_key(services, other.split("_")[1])
    assert made.is_in_doubt()
    assert await made.holds()
    assert not made.is_in_doubt()
    await accounts.revoke_key(services, key.split("_")[1])
    assert made.is_in_doubt()
    assert not await made.holds()


async def test_an_admission_ends_with_the_sign_in_or_its_time(services: Services) -> None:
    cookie, _ = await accounts.sign_in(services, await accounts.create_link(services), "a browser")
    headers = {"host": "localhost", "origin": "http://localhost"}
    headers["cookie"] = f"{cookie_name(services.settings)}={cookie}"
    made = await admission(services, headers, SOCKET)
    assert not made.is_in_doubt()
    real, services.clock = services.clock, lambda: time.time() + 400 * 86400
    assert made.is_in_doubt()
    assert not await made.holds()
    services.clock = real
    assert await made.holds()
    await accounts.sign_out(services, cookie)
    assert made.is_in_doubt()
    assert not await made.holds()
