"""What the doctor reads of a connection, on both kinds of database, and what he says of it."""

from typing import Any

import pytest
from sqlalchemy import event, update

from quart_app import connections, doctor
from quart_app.errors import NotFound
from quart_app.instants import instant
from quart_app.models import Call, Connection, Token
from quart_app.outbound.target import Target
from quart_app.services import Services
from tests.doctor.rows import KEY, exchange, oauth
from tests.flights import aim

CODE = oauth(
    "authorization_code",
    authorize_url="https://login.example/authorize",
    client_secret="very-secret",
    scope="read write",
)


async def seen(services: Services, name: str = "orders") -> dict[str, Any]:
    async with services.db.session() as session:
        return await doctor.show(services, session, name)


async def add(services: Services, *rows: Any) -> None:
    async with services.db.begin() as session:
        session.add_all(rows)


async def hold(services: Services, target: Target, **columns: Any) -> None:
    """A token, as the protocol would have stored it."""
    async with services.db.begin() as session:
        row = await session.get_one(Connection, target.id)
        row.state, row.state_reason = "ready", None
        query = update(Token).where(Token.connection_id == target.id)
        await session.execute(query.values(**columns).execution_options(synchronize_session=False))


def called(target: Target, number: int, started_at: float, **more: Any) -> Call:
    """The record of a call; its id is made of its number."""
    given = {
        "number": number,
        "id": f"00000000-0000-7000-8000-{number:012d}",
        "connection": target.name,
        "connection_id": target.id,
        "origin": "proxy",
        "actor": "key:shop",
        "owner": "host:1:1",
        "method": "GET",
        "url": "https://api.example/",
        "state": "done",
        "status": 200,
        "started_at": started_at,
        "waited_seconds": 0.0,
        "request_headers": [],
        "request_truncated": False,
        "request_exact": True,
        "response_truncated": False,
    }
    return Call(**given | more)


async def test_a_signed_in_connection_is_shown_whole(services: Services) -> None:
    target = await aim(services, "https://api.example", CODE)
    now = services.clock()
    await hold(
        services,
        target,
        generation=3,
        sealed_access_token=b"x",
        sealed_refresh_token=b"x",
        scope="read",
        expires_at=now + 600,
        refresh_at=now + 500,
        refreshed_at=now - 720,
        signed_in_at=now - 900,
        signed_in_by="account:admin",
    )
    last = exchange(id="00000000-0000-7000-8000-000000000002", skew_seconds=2.0, oddities=["A text, not a number."])
    last.connection_id = target.id
    last.claimed_at = last.sent_at = last.ended_at = now - 720
    await add(services, last, called(target, 1, now + 1), called(target, 2, now + 2, origin="token", status=400))
    shown = await seen(services)
    assert shown["summary"].startswith("Well: the token was refreshed 12 minutes ago and lasts until ")
    assert shown | {"summary": "", "sign_in_again": {}} == {
        "connection": "orders",
        "well": True,
        "state": "ready",
        "summary": "",
        "failure": None,
        "next": "The provider did not grant all of the scope: write is missing.",
        "retry_at": None,
        "last_exchange": {
            "id": "00000000-0000-7000-8000-000000000002",
            "generation": 2,
            "grant_type": "refresh_token",
            "cause": "ahead",
            "owner": "host:1:1",
            "state": "stored",
            "failure": None,
            "reason": None,
            "detail": None,
            "oddities": ["A text, not a number."],
            "skew_seconds": 2.0,
            "claimed_at": instant(now - 720),
            "sent_at": instant(now - 720),
            "ended_at": instant(now - 720),
        },
        "token": {
            "generation": 3,
            "expires_at": instant(now + 600),
            "refresh_at": instant(now + 500),
            "refreshed_at": instant(now - 720),
            "has_refresh_token": True,
            "scope": "read",
            "scope_missing": ["write"],
        },
        "sign_in_again": {},
        "signed_in": {"at": instant(now - 900), "by": "account:admin"},
        "last_used": {
            "at": instant(now + 1),
            "actor": "key:shop",
            "origin": "proxy",
            "call": "00000000-0000-7000-8000-000000000001",
            "status": 200,
        },
        "clock_skew_seconds": 2.0,
        "oddities": ["A text, not a number."],
        "calls_failing": {"failed": 0, "of": 1},
    }
    assert shown["sign_in_again"]["when"] == "unknown"
    assert "very-secret" not in str(shown)


async def test_a_failure_has_its_class_its_words_and_the_next_try(services: Services) -> None:
    target = await aim(services, "https://api.example", CODE)
    now = services.clock()
    await hold(services, target, sealed_refresh_token=b"x", failures=2, retry_at=now + 40)
    last = exchange("failed", failure="network", reason="dns_failed", detail="login.example is unknown.")
    last.connection_id, last.ended_at = target.id, now + 1
    await add(services, last)
    shown = await seen(services)
    assert (shown["well"], shown["retry_at"]) == (False, instant(now + 40))
    assert shown["failure"] == {
        "class": "network",
        "code": "dns_failed",
        "detail": "login.example is unknown.",
        "at": instant(now + 1),
    }
    assert shown["next"].endswith("It is tried again by itself.")
    await hold(services, target, retry_at=now - 1)
    assert (await seen(services))["retry_at"] is None


async def test_a_clock_that_is_wrong_is_an_oddity_while_nothing_fails(services: Services) -> None:
    target = await aim(services, "https://api.example", oauth("client_credentials", client_secret="very-secret"))
    last = exchange(skew_seconds=3600.0)
    last.connection_id = target.id
    await add(services, last)
    shown = await seen(services)
    assert shown["well"]
    assert shown["oddities"] == [
        "This machine's clock is 1 hour ahead of the provider's: "
        "see whether chrony or systemd-timesyncd keeps it by NTP."
    ]


async def test_a_token_that_waits_for_the_database_is_seen(services: Services) -> None:
    target = await aim(services, "https://api.example", CODE)
    services.unstored[target.id] = object()
    assert (await seen(services))["failure"]["class"] == "storage"
    del services.unstored[target.id]
    assert (await seen(services))["failure"]["class"] == "not_signed_in"


async def test_a_connection_without_tokens_has_none_to_show(services: Services) -> None:
    await aim(services, "https://api.example", KEY | {"value": "very-secret"})
    shown = await seen(services)
    assert (shown["well"], shown["summary"], shown["next"]) == (True, "Nothing was sent through it yet.", "Nothing.")
    for name in ("token", "signed_in", "last_exchange", "last_used", "clock_skew_seconds", "calls_failing"):
        assert shown[name] is None, name


async def test_the_last_use_is_no_refresh_and_of_no_older_connection_of_the_name(services: Services) -> None:
    target = await aim(services, "https://api.example", KEY | {"value": "very-secret"})
    now = services.clock() + 1
    calls = [
        called(target, 1, now, status=401, actor="account:admin", origin="console"),
        called(target, 2, now, origin="token", status=400),
        called(target, 3, now, connection_id="an older one"),
        called(target, 4, now, connection="another"),
    ]
    await add(services, *calls)
    shown = await seen(services)
    assert shown["last_used"]["call"] == calls[0].id
    assert (shown["failure"]["class"], shown["calls_failing"]) == ("refused", {"failed": 1, "of": 1})


async def test_the_last_use_is_looked_for_among_a_thousand_calls(services: Services) -> None:
    target = await aim(services, "https://api.example", KEY | {"value": "very-secret"})
    now = services.clock() + 1
    await add(services, *(called(target, number, now, status=500) for number in range(1, 30)))
    assert (await seen(services))["calls_failing"] == {"failed": 20, "of": 20}
    await add(services, *(called(target, number, now, origin="token") for number in range(30, 1029)))
    assert (await seen(services))["last_used"]["call"].endswith("000000000029")
    await add(services, called(target, 1029, now, origin="token"))
    assert (await seen(services))["last_used"] is None


async def test_a_look_is_a_few_reads_and_no_write(services: Services) -> None:
    await aim(services, "https://api.example", CODE)
    said: list[str] = []
    event.listen(services.db.reader.sync_engine, "before_cursor_execute", lambda *seen: said.append(seen[2]))
    await seen(services)
    asked = [text for text in said if text.lstrip().upper().startswith("SELECT")]
    assert len(asked) == 4
    assert not [text for text in said if text.lstrip().upper().startswith(("UPDATE", "INSERT", "DELETE"))]


async def test_an_unknown_connection_is_not_found(services: Services) -> None:
    with pytest.raises(NotFound):
        await seen(services, "nothing")


async def test_all_connections_come_newest_first_and_in_pages(services: Services) -> None:
    for name in ("one", "two", "three"):
        await aim(services, "https://api.example", KEY | {"value": "very-secret"}, name=name)
    async with services.db.session() as session:
        items, last_id = await doctor.page(services, session, limit=2, after=None)
        rest, end = await doctor.page(services, session, limit=2, after=last_id)
        assert [item["connection"] for item in items + rest] == ["three", "two", "one"]
        assert end == (await connections.find(session, "one")).id
        assert await doctor.page(services, session, limit=2, after=end) == ([], None)


async def test_exchanges_of_other_connections_are_not_its_own(services: Services) -> None:
    await aim(services, "https://api.example", CODE)
    other = exchange("failed", failure="network")
    other.connection_id = "another"
    await add(services, other)
    assert (await seen(services))["last_exchange"] is None
