"""Connections by the API: made, changed and removed; their secrets go in and never come out; every fault at once."""

import asyncio
import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from quart_app.services import Services
from tests.upstream import Upstream
from tests.web.conftest import Asker, problem_in

PUBLIC_URL = "https://api.example.com/v1"
SECRET = "s3cret/+ val&ue"


def form(**more: Any) -> dict[str, Any]:
    return {"name": "orders", "base_url": PUBLIC_URL} | more


async def made(program: Asker, **more: Any) -> dict[str, Any]:
    answer = await program.post("/api/connections", json=form(**more))
    content: dict[str, Any] = await answer.get_json()
    assert answer.status_code == 201, content
    return content


async def patched(program: Asker, **change: Any) -> dict[str, Any]:
    answer = await program.ask("PATCH", "/api/connections/orders", json=change)
    content: dict[str, Any] = await answer.get_json()
    assert answer.status_code == 200, content
    return content


async def pointers(answer: Any) -> dict[str, str]:
    content = await answer.get_json()
    assert answer.status_code == 422, content
    return {fault["pointer"]: fault["detail"] for fault in content["errors"]}


async def test_a_connection_is_made_read_listed_changed_and_removed(program: Asker) -> None:
    answer = await program.post("/api/connections", json=form(tags=["a"], metadata={"team": ["x", 2**60]}))
    assert (answer.status_code, answer.headers["Location"]) == (201, "/api/connections/orders")
    shown = await answer.get_json()
    assert (shown["title"], shown["state"], shown["auth"]) == ("orders", "ready", {"scheme": "none"})
    assert (shown["policy"]["concurrency"], shown["policy"]["allow_private"]) == (32, False)
    assert await (await program.get("/api/connections/orders")).get_json() == shown
    assert await (await program.get("/api/connections")).get_json() == {"items": [shown], "next": None}
    changed = await patched(program, title="Orders", tags=[])
    assert changed["updated_at"] > shown["updated_at"]
    assert changed == shown | {"title": "Orders", "tags": [], "updated_at": changed["updated_at"]}
    removed = await program.ask("DELETE", "/api/connections/orders")
    assert (removed.status_code, await removed.get_data()) == (204, b"")
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/checks"), ("POST", "/token-refreshes")):
        gone = await program.ask(method, f"/api/connections/orders{path}")
        await problem_in(gone, 404, "unknown_connection")


async def test_a_name_is_taken_once_however_many_ask_at_once(program: Asker) -> None:
    answers = await asyncio.gather(*(program.post("/api/connections", json=form()) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    await problem_in(await program.post("/api/connections", json=form()), 409, "name_taken")


async def test_what_is_read_only_may_be_sent_back(program: Asker) -> None:
    shown = await made(program)
    again = {name: value for name, value in shown.items() if name not in ("name", "auth")} | {"name": "copy"}
    copy = await program.post("/api/connections", json=again)
    assert copy.status_code == 201
    assert (await copy.get_json())["id"] != shown["id"]


AUTHS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"scheme": "api_key", "in": "header", "name": "X-Api-Key", "value": SECRET}, ("value",)),
    ({"scheme": "api_key", "in": "query", "name": "key", "value": SECRET}, ("value",)),
    ({"scheme": "api_key", "in": "cookie", "name": "sid", "value": "s3cret-cookie-value"}, ("value",)),
    ({"scheme": "basic", "username": "me", "password": SECRET}, ("password",)),
    ({"scheme": "bearer", "token": SECRET}, ("token",)),
    (
        {
            "scheme": "oauth2",
            "grant": "refresh_token",
            "token_url": "https://login.example.com/token",
            "client_id": "me",
            "client_secret": SECRET,
            "refresh_token": f"{SECRET}-2",
        },
        ("client_secret", "refresh_token"),
    ),
]


async def test_a_secret_goes_in_and_never_comes_out(program: Asker) -> None:
    for auth, secrets in AUTHS:
        await keep_secret(program, auth, secrets)


async def keep_secret(program: Asker, auth: dict[str, Any], secrets: tuple[str, ...]) -> None:
    said: list[str] = []

    async def ask(method: str, path: str = "", **options: Any) -> Any:
        answer = await program.ask(method, f"/api/connections{path}", **options)
        said.append(await answer.get_data(as_text=True) + str(answer.headers))
        return answer

    created = await (await ask("POST", json=form(auth=auth))).get_json()
    for name in secrets:
        assert set(created["auth"][name]) == {"set", "fingerprint"}
        assert created["auth"][name]["set"] is True
    assert {name: created["auth"][name] for name in auth if name not in secrets}.items() <= auth.items()
    await ask("GET", "/orders")
    await ask("GET")
    changed = await (await ask("PATCH", "/orders", json={"title": "x", "auth": created["auth"]})).get_json()
    assert changed["auth"] == created["auth"], "the answer may be sent back as it came"
    await ask("POST", json=form(auth=auth))
    await ask("POST", json=form(name="b", auth=auth | {"nope": SECRET, "scheme": f"{SECRET}"}))
    await ask("PATCH", "/orders", json={"auth": auth | {"nope": 1}})
    await ask("DELETE", "/orders")
    for secret in {auth[name] for name in secrets}:
        forms = {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode(), json.dumps(secret)[1:-1]}
        assert not [found for found in forms for text in said if found in text]


async def test_equal_secrets_show_equal_and_others_do_not(program: Asker) -> None:
    tokens = ["one-secret", "one-secret", "other-secret"]
    prints = []
    for number, token in enumerate(tokens):
        shown = await made(program, name=f"c{number}", auth={"scheme": "bearer", "token": token})
        prints.append(shown["auth"]["token"]["fingerprint"])
    assert prints[0] == prints[1] != prints[2]


async def test_a_change_keeps_the_secrets_that_it_does_not_name(program: Asker, upstream: Upstream) -> None:
    basic = {"scheme": "basic", "username": "me", "password": "old-password"}
    await made(program, base_url=upstream.url, policy={"allow_private": True}, auth=basic)

    async def sent() -> str:
        await program.post("/api/calls", json={"connection": "orders"})
        header = upstream.seen[-1].header("authorization") or " "
        return base64.b64decode(header.partition(" ")[2]).decode()

    steps: list[tuple[dict[str, Any], str]] = [
        ({"title": "Orders"}, "me:old-password"),
        ({"auth": {"scheme": "basic", "username": "you"}}, "you:old-password"),
        ({"auth": {"username": "they"}}, "they:old-password"),
        (
            {"auth": {"scheme": "basic", "username": "me", "password": {"set": True, "fingerprint": "x"}}},
            "me:old-password",
        ),
        ({"auth": {"scheme": "basic", "username": "me", "password": "new-password"}}, "me:new-password"),
        ({"auth": {"scheme": "none"}}, ""),
    ]
    for change, expected in steps:
        await patched(program, **change)
        assert await sent() == expected, change
    back = await program.ask("PATCH", "/api/connections/orders", json={"auth": {"scheme": "basic", "username": "me"}})
    assert list(await pointers(back)) == ["/auth/password"], "a scheme that was left has no secrets any more"


async def test_a_change_of_policy_keeps_its_other_parts(program: Asker) -> None:
    await made(program, policy={"concurrency": 5, "record_bodies": False})
    policy = (await patched(program, policy={"concurrency": 6}))["policy"]
    assert (policy["concurrency"], policy["record_bodies"], policy["attempts"]) == (6, False, 3)


async def test_a_paused_connection_takes_no_calls_until_it_is_ready(program: Asker, upstream: Upstream) -> None:
    await made(program, base_url=upstream.url, policy={"allow_private": True})
    assert (await patched(program, state="paused"))["state"] == "paused"
    await problem_in(await program.post("/api/calls", json={"connection": "orders"}), 409, "connection_paused")
    await problem_in(await program.get("/proxy/orders/x"), 409, "connection_paused")
    assert upstream.seen == []
    assert (await patched(program, title="x"))["state"] == "paused"
    assert (await patched(program, state="ready"))["state"] == "ready"
    assert (await program.get("/proxy/orders/x")).status_code == 200


async def test_the_calls_of_a_removed_connection_stay(program: Asker, upstream: Upstream) -> None:
    await made(program, base_url=upstream.url, policy={"allow_private": True})
    call = await (await program.post("/api/calls", json={"connection": "orders"})).get_json()
    await program.ask("DELETE", "/api/connections/orders")
    assert await (await program.get(f"/api/calls/{call['id']}")).get_json() == call
    await problem_in(await program.post(f"/api/calls/{call['id']}/replays"), 404, "unknown_connection")


TOKEN_URL = "https://login.example.com/token"
OAUTH = {"scheme": "oauth2", "grant": "client_credentials", "client_id": "me"}
FAULTS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"name": "Orders!", "base_url": "ftp://x"}, {"/name": "pattern", "/base_url": "http"}),
    ({"name": ""}, {"/name": ""}),
    ({"name": "a" * 64}, {"/name": ""}),
    ({"title": "x" * 201, "tags": ["x" * 65]}, {"/title": "200", "/tags/0": "64"}),
    ({"base_url": "http://127.0.0.1:8001"}, {"/policy/allow_private": "egress rule loopback"}),
    ({"base_url": "http://127.0.0.1:8000", "policy": {"allow_private": True}}, {"/base_url": "own_listener"}),
    ({"base_url": "http://db.example.com:6379"}, {"/base_url": "host:db.example.com:6379"}),
    ({"base_url": "http://metadata.google.internal"}, {"/base_url": "egress rule metadata"}),
    ({"tls": {"verify": "no", "ca": "x", "certificate": "y", "key": "z", "nope": 1}},
     {"/tls/verify": "boolean", "/tls/ca": "PEM", "/tls/certificate": "PEM", "/tls/key": "PEM", "/tls/nope": ""}),
    ({"proxy": {"url": "http://u:p@proxy.example.com", "username": "u"}},
     {"/proxy/url": "user", "/proxy/password": "both"}),
    ({"proxy": {"url": "http://10.0.0.1:3128"}}, {"/proxy/url": "egress rule private"}),
    ({"base_url": "http://10.0.0.1", "policy": {"attempts": 1}}, {"/policy/allow_private": "egress rule private"}),
    (
        {"base_url": "http://169.254.169.254", "policy": {"allow_private": True}},
        {"/base_url": "egress rule link_local"},
    ),
    (
        {
            "base_url": "http://localhost",
            "name": "!",
            "auth": OAUTH | {"token_url": "nope"},
            "headers": {"a b": "c"},
            "nope": 1,
        },
        {
            "/name": "",
            "/auth/token_url": "http",
            "/headers/a b": "a name is",
            "/policy/allow_private": "egress rule loopback",
            "/nope": "unknown field",
        },
    ),
    ({"auth": OAUTH}, {"/auth/token_url": "is missing: give it, or the issuer"}),
    ({"auth": OAUTH | {"token_url": "https://user:x@login.example.com/"}}, {"/auth/token_url": "user"}),
    ({"auth": OAUTH | {"token_url": TOKEN_URL, "grant": "password"}}, {"/auth/grant": ""}),
    ({"auth": OAUTH | {"token_url": TOKEN_URL, "client_secret": "a\nb"}}, {"/auth/client_secret": "line"}),
    ({"auth": OAUTH | {"token_url": TOKEN_URL, "extra": {"scope": "x"}}}, {"/auth/extra": "scope"}),
    ({"auth": {"scheme": "basic", "username": "a:b"}}, {"/auth/username": "", "/auth/password": "required"}),
    ({"auth": {"scheme": "api_key", "name": "Host", "value": "x"}}, {"/auth/name": "cannot carry a key"}),
    ({"auth": {"scheme": "bearer", "token": "é"}}, {"/auth/token": "ASCII"}),
    ({"auth": {"scheme": "digest"}}, {"/auth": "scheme"}),
    ({"auth": {}}, {"/auth": "scheme"}),
    ({"auth": None}, {"/auth": ""}),
    ({"headers": {"X-A": "1", "Host": "x", "X-B": "a\nb"}}, {"/headers/Host": "is set by", "/headers/X-B": "one line"}),
    ({"headers": {"a/b": "x", "c~d": "é"}}, {"/headers/a~1b": "", "/headers/c~0d": ""}),
    ({"policy": {"connect_seconds": 0, "attempts": 11, "concurrency": "5"}},
     {"/policy/connect_seconds": "", "/policy/attempts": "", "/policy/concurrency": ""}),
    ({"policy": {"total_seconds": 1e9, "per_minute": 0, "follow_redirects": "yes"}},
     {"/policy/total_seconds": "", "/policy/per_minute": "", "/policy/follow_redirects": ""}),
]  # fmt: skip


async def test_every_fault_comes_at_once_each_with_its_pointer(program: Asker) -> None:
    for wrong, expected in FAULTS:
        found = await pointers(await program.post("/api/connections", json=form(**wrong)))
        assert found.keys() == expected.keys(), wrong
        assert not {pointer: found[pointer] for pointer, part in expected.items() if part not in found[pointer]}


async def test_a_change_is_checked_as_a_new_one_is_and_changes_nothing_when_it_is_wrong(program: Asker) -> None:
    before = await made(program)
    left_as_it_was: list[dict[str, Any]] = [{"auth": None}, {"auth": {}}]
    checked = 0
    for wrong, expected in FAULTS:
        if "name" not in wrong and wrong not in left_as_it_was:
            found = await pointers(await program.ask("PATCH", "/api/connections/orders", json=wrong))
            assert found.keys() == expected.keys(), wrong
            checked += 1
    assert checked > 15
    assert await (await program.get("/api/connections/orders")).get_json() == before
    for change in left_as_it_was:
        assert (await patched(program, **change))["auth"] == before["auth"]


MISSPELT: list[tuple[dict[str, Any], str, str]] = [
    ({"base_ulr": "x"}, "/base_ulr", "base_url"),
    ({"policy": {"concurency": 1}}, "/policy/concurency", "concurrency"),
    ({"policy": {"allow-private": True}}, "/policy/allow-private", "allow_private"),
    ({"auth": {"scheme": "bearer", "token": "x", "tokne": "x"}}, "/auth/tokne", "token"),
    ({"haeders": {}}, "/haeders", "headers"),
]


async def test_an_unknown_field_is_told_what_was_probably_meant(program: Asker) -> None:
    for wrong, pointer, meant in MISSPELT:
        problem = await problem_in(await program.post("/api/connections", json=form(**wrong)), 422, "unknown_field")
        assert problem.errors == [{"pointer": pointer, "detail": f"unknown field; did you mean {meant}?"}]


async def test_very_many_faults_are_cut_and_counted(program: Asker) -> None:
    answer = await program.post(
        "/api/connections", json=form(tags=[1] * 32, **{"n" * 300 + str(n): 1 for n in range(8)})
    )
    content = await answer.get_json()
    assert len(content["errors"]) == 21
    assert content["errors"][-1] == {"pointer": "", "detail": "and 20 more"}
    assert max(len(fault["pointer"]) for fault in content["errors"]) <= 65


# --- checks and tokens


VERDICTS = [
    (200, True, "The API answers (200)."),
    (404, True, "its base URL itself answers 404"),
    (401, False, "refused the credential (401)"),
    (403, False, "refused the credential (403)"),
    (500, False, "has trouble of its own (500)"),
]


async def test_a_check_tells_whether_the_connection_works(program: Asker, upstream: Upstream) -> None:
    await made(program, base_url=f"{upstream.url}/v1", policy={"allow_private": True})
    for status, ok, says in VERDICTS:

        async def handler(_: web.Request, status: int = status) -> web.Response:
            return web.Response(status=status)

        upstream.handler = handler
        answer = await program.post("/api/connections/orders/checks")
        content = await answer.get_json()
        assert (answer.status_code, content["ok"]) == (201, ok)
        assert says in content["detail"]
        assert (content["call"]["method"], content["call"]["status"]) == ("GET", status)
        assert upstream.seen[-1].path == "/v1"


async def test_a_check_of_what_cannot_be_reached_says_why(program: Asker, upstream: Upstream) -> None:
    await made(program, base_url="http://127.0.0.1:1", policy={"allow_private": True})
    content = await (await program.post("/api/connections/orders/checks")).get_json()
    assert content["ok"] is False
    assert content["detail"] == "The upstream refused the connection."


async def with_token(program: Asker, upstream: Upstream) -> None:
    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        return web.json_response(
            {"access_token": f"token-{len(upstream.seen)}", "token_type": "Bearer", "expires_in": 60}
        )

    upstream.handler = handler
    auth = OAUTH | {"token_url": f"{upstream.url}/token", "client_secret": "very-secret"}
    await made(program, base_url=upstream.url, policy={"allow_private": True}, auth=auth)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/connections/orders/token-refreshes"), ("GET", "/_token_refresh?connection=orders")],
)
async def test_a_token_is_refreshed_and_many_who_ask_join_one_refresh(
    program: Asker, upstream: Upstream, running: Services, method: str, path: str
) -> None:
    await with_token(program, upstream)
    answers = await asyncio.gather(*(program.ask(method, path) for _ in range(5)))
    contents = [await answer.get_json() for answer in answers]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert {content["generation"] for content in contents} == {1}
    assert {(content["connection"], content["state"]) for content in contents} == {("orders", "ready")}
    assert [seen.path for seen in upstream.seen] == ["/token"]
    assert "token-" not in str(contents)
    again = await (await program.ask(method, path)).get_json()
    assert again["generation"] == 2
    assert again["expires_at"] >= contents[0]["expires_at"]


async def test_the_fingerprint_of_the_token_in_use_tells_the_marks_of_today_from_those_of_yesterday(
    program: Asker, upstream: Upstream
) -> None:
    await with_token(program, upstream)

    async def mark_and_live() -> tuple[str, str]:
        call = await (await program.post("/api/calls", json={"connection": "orders", "path": "/"})).get_json()
        shown = await (await program.get("/api/connections/orders")).get_json()
        mark = next(value for name, value in call["request"]["headers"] if name == "authorization")
        return mark, f"Bearer [redacted:access_token:{shown['auth']['access_token']['fingerprint']}]"

    before, live = await mark_and_live()
    assert before == live
    await program.post("/api/connections/orders/token-refreshes")
    after, live = await mark_and_live()
    assert after == live != before


async def test_a_refresh_of_nothing_says_so(program: Asker) -> None:
    await made(program)
    await problem_in(await program.post("/api/connections/orders/token-refreshes"), 409, "no_token")
    problem = await problem_in(await program.get("/_token_refresh"), 400, "connection_required")
    assert [fault["pointer"] for fault in problem.errors] == ["/connection"]
    await problem_in(await program.get("/_token_refresh?connection=%00"), 404, "unknown_connection")


async def test_a_refresh_that_fails_says_so_and_the_connection_shows_it(program: Asker, upstream: Upstream) -> None:
    await with_token(program, upstream)

    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"error": "invalid_client", "error_description": "kilroy"}, status=401)

    upstream.handler = refuse
    problem = await problem_in(await program.post("/api/connections/orders/token-refreshes"), 502, "token_unavailable")
    assert "kilroy" not in str(problem)
    shown = await (await program.get("/api/connections/orders")).get_json()
    assert shown["state"] == "config_error"
    assert shown["state_reason"]
