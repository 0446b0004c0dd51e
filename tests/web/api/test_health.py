"""The doctor's word and the ledger by the API: who may ask, what they get, in pages."""

from typing import Any

import pytest

from quart_app.models import TokenExchange
from quart_app.services import Services
from tests.doctor.rows import exchange
from tests.upstream import Upstream
from tests.web.conftest import Asker, KeyMaker, problem_in

AUTH = {
    "scheme": "oauth2",
    "grant": "client_credentials",
    "client_id": "me",
    "client_secret": "very-secret",
    "token_url": "http://127.0.0.1:9/token",
}


async def made(program: Asker, name: str = "orders", **more: Any) -> str:
    form = {"name": name, "base_url": "http://127.0.0.1:9", "policy": {"allow_private": True}, "auth": AUTH} | more
    answer = await program.post("/api/connections", json=form)
    assert answer.status_code == 201, await answer.get_data()
    id_: str = (await answer.get_json())["id"]
    return id_


async def exchanged(services: Services, connection_id: str, *numbers: int) -> None:
    rows = [exchange(id=f"00000000-0000-7000-8000-{number:012d}") for number in numbers]
    async with services.db.begin() as session:
        for row in rows:
            row.connection_id = connection_id
        session.add_all(rows)


async def got(asker: Asker, path: str) -> Any:
    answer = await asker.get(path)
    assert answer.status_code == 200, await answer.get_data()
    return await answer.get_json()


async def test_health_tells_how_a_connection_is(program: Asker) -> None:
    await made(program)
    shown = await got(program, "/api/connections/orders/health")
    assert (shown["connection"], shown["well"], shown["state"]) == ("orders", True, "ready")
    assert shown["summary"] == "Well: the first call gets a token."


async def test_health_dials_nobody(program: Asker, upstream: Upstream) -> None:
    await made(program, base_url=upstream.url, auth=AUTH | {"token_url": f"{upstream.url}/token"})
    await got(program, "/api/connections/orders/health")
    await got(program, "/api/health")
    assert upstream.seen == []


async def test_a_refresh_that_failed_is_told_and_is_in_the_ledger(program: Asker) -> None:
    await made(program)
    refused = await program.post("/api/connections/orders/token-refreshes")
    await problem_in(refused, 502, "token_unavailable")
    shown = await got(program, "/api/connections/orders/health")
    assert (shown["well"], shown["failure"]["class"], shown["failure"]["code"]) == (False, "network", "connect_failed")
    assert shown["retry_at"] > shown["failure"]["at"]
    ledger = await got(program, "/api/connections/orders/token-exchanges")
    assert ledger == {"items": [shown["last_exchange"]], "next": None}
    [row] = ledger["items"]
    assert (row["state"], row["cause"], row["generation"], row["failure"]) == ("failed", "asked", 0, "network")


async def test_the_ledger_comes_newest_first_and_in_pages(program: Asker, running: Services) -> None:
    await exchanged(running, await made(program), 1, 2, 3)
    first = await got(program, "/api/connections/orders/token-exchanges?limit=2")
    assert [row["id"][-1] for row in first["items"]] == ["3", "2"]
    path = f"/api/connections/orders/token-exchanges?limit=2&cursor={first['next']}"
    rest = await got(program, path)
    assert ([row["id"][-1] for row in rest["items"]], rest["next"]) == (["1"], None)


async def test_a_connection_made_anew_under_a_name_starts_with_an_empty_ledger(
    program: Asker, running: Services
) -> None:
    await exchanged(running, await made(program), 1)
    assert (await program.ask("DELETE", "/api/connections/orders")).status_code == 204
    await made(program)
    assert (await got(program, "/api/connections/orders/token-exchanges"))["items"] == []
    async with running.db.session() as session:
        assert await session.get(TokenExchange, "00000000-0000-7000-8000-000000000001"), "it stays on record"


async def test_all_connections_are_told_in_pages(program: Asker) -> None:
    for name in ("one", "two", "three"):
        await made(program, name, auth={"scheme": "none"})
    first = await got(program, "/api/health?limit=2")
    assert [item["connection"] for item in first["items"]] == ["three", "two"]
    rest = await got(program, f"/api/health?limit=2&cursor={first['next']}")
    assert ([item["connection"] for item in rest["items"]], rest["next"]) == (["one"], None)
    assert first["items"][0] == await got(program, "/api/connections/three/health")


@pytest.mark.parametrize("path", ["/api/health", "/api/connections/orders/token-exchanges"])
async def test_a_query_that_cannot_be_read_is_refused(program: Asker, path: str) -> None:
    await made(program)
    for query in ("limit=0", "cursor=x", "nope=1"):
        await problem_in(await program.get(f"{path}?{query}"), 422, "invalid_query")


@pytest.mark.parametrize("path", ["health", "token-exchanges"])
async def test_an_unknown_connection_is_not_found(program: Asker, path: str) -> None:
    await problem_in(await program.get(f"/api/connections/nothing/{path}"), 404, "unknown_connection")


@pytest.mark.parametrize("path", ["/api/health", "/api/connections/orders/health"])
async def test_it_takes_the_scope_to_read(nobody: Asker, key_of: KeyMaker, program: Asker, path: str) -> None:
    await made(program)
    await problem_in(await nobody.get(path), 401, "sign_in_required")
    await problem_in(await (await key_of("call")).get(path), 403, "insufficient_scope")
    await got(await key_of("read"), path)
