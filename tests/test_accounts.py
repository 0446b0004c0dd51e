"""Who is asking: links that work once, cookies and keys that are kept as hashes only."""

import asyncio
import re
from typing import Any

import pytest
from sqlalchemy import select

from quart_app import accounts
from quart_app.accounts import DEFAULT_SCOPES, SCOPES, Who
from quart_app.errors import AppError, NotFound, Refused
from quart_app.models import Account, Base, Key, SignIn, SignInLink
from quart_app.services import Services
from quart_app.settings import load_settings


async def test_a_key_is_shown_once_and_kept_as_a_hash(services: Services) -> None:
    key = await accounts.create_key(services, "laptop")
    assert re.fullmatch(r"sb_[0-9a-f]{12}_[0-9a-f]{64}_[0-9a-f]{8}", key)
    who = await accounts.who_has_key(services, key)
    assert who == Who("key:laptop", "laptop", frozenset(DEFAULT_SCOPES), person=False, expires_at=None)
    (row,) = await accounts.list_keys(services)
    assert row.id == key.split("_")[1]
    assert key.split("_")[2] not in str(vars(row))


async def test_what_a_key_may_do_is_what_it_was_made_for(services: Services) -> None:
    key = await accounts.create_key(services, "reader", ["read"])
    who = await accounts.who_has_key(services, key)
    assert [scope for scope in SCOPES if who.may(scope)] == ["read"]
    person = Who("account:ann", "ann", frozenset(), person=True, expires_at=None)
    assert all(person.may(scope) for scope in SCOPES)


def changed(key: str) -> list[str]:
    """A good key with something of it wrong, and things that are none."""
    prefix, id_, secret, crc = key.split("_")
    other = ("0" if secret[0] != "0" else "1") + secret[1:]
    return [
        "",
        "sb",
        key[:-1],
        key + "0",
        key.upper(),
        f" {key}",
        f"{prefix}_{id_}_{other}_{crc}",
        f"{prefix}_{id_}_{other}_{accounts.checksum(other)}",
        f"{prefix}_{'0' * 12}_{secret}_{crc}",
        "x" * 100_000,
        "sb_é",
    ]


async def test_nothing_but_the_key_itself_is_taken_before_and_after_it_was_used(services: Services) -> None:
    key = await accounts.create_key(services, "laptop")
    for _ in range(2):
        for wrong in changed(key):
            with pytest.raises(Refused) as caught:
                await accounts.who_has_key(services, wrong)
            assert (caught.value.status, caught.value.code) == (401, "invalid_key")
            assert caught.value.headers == [("WWW-Authenticate", 'Bearer error="invalid_token"')]
        await accounts.who_has_key(services, key)


async def test_a_revoked_key_is_refused_at_once_and_others_stay_good(services: Services) -> None:
    keys = [await accounts.create_key(services, name) for name in ("lost", "kept")]
    for key in keys:
        await accounts.who_has_key(services, key)
    await accounts.revoke_key(services, keys[0].split("_")[1])
    with pytest.raises(Refused, match="it was revoked"):
        await accounts.who_has_key(services, keys[0])
    assert (await accounts.who_has_key(services, keys[1])).name == "kept"
    with pytest.raises(NotFound):
        await accounts.revoke_key(services, "0" * 12)


async def test_revoking_twice_keeps_the_first_moment(services: Services) -> None:
    key_id = (await accounts.create_key(services, "lost")).split("_")[1]
    moments = []
    for _ in range(2):
        await accounts.revoke_key(services, key_id)
        (row,) = await accounts.list_keys(services)
        moments.append(row.revoked_at)
    assert moments[0] == moments[1] is not None


async def test_a_key_that_expires_is_refused_from_then_on_also_from_memory(services: Services) -> None:
    key = await accounts.create_key(services, "short")
    async with services.change() as session:
        (await session.scalars(select(Key))).one().expires_at = 1000.0
    services.clock = lambda: 999.0
    await accounts.who_has_key(services, key)
    services.clock = lambda: 1000.0
    with pytest.raises(Refused, match="This key has expired"):
        await accounts.who_has_key(services, key)


@pytest.mark.parametrize(
    ("name", "scopes"),
    [("", ["read"]), ("x" * 101, ["read"]), ("a\nb", ["read"]), ("ok", ["read", "everything"])],
)
async def test_a_key_needs_a_name_and_scopes_that_there_are(services: Services, name: str, scopes: list[str]) -> None:
    with pytest.raises(AppError) as caught:
        await accounts.create_key(services, name, scopes)
    assert (caught.value.status, caught.value.code) == (422, "invalid_key")
    assert await accounts.list_keys(services) == []


async def signed_in(services: Services, name: str | None = None) -> str:
    cookie, _ = await accounts.sign_in(services, await accounts.create_link(services, name), "Browser/1.0")
    return cookie


async def test_the_first_link_makes_the_first_account_and_signs_in(services: Services) -> None:
    assert await accounts.count(services) == 0
    cookie, name = await accounts.sign_in(services, await accounts.create_link(services), "Browser/1.0")
    assert name == "admin"
    assert await accounts.count(services) == 1
    who = await accounts.who_is_signed_in(services, cookie)
    assert who is not None
    assert (who.actor, who.person) == ("account:admin", True)


async def refused(services: Services, token: str) -> None:
    with pytest.raises(Refused) as caught:
        await accounts.sign_in(services, token, "Browser/1.0")
    assert (caught.value.status, caught.value.code) == (401, "invalid_link")


async def test_a_link_works_once_also_for_many_at_once(services: Services) -> None:
    token = await accounts.create_link(services)
    tries = (accounts.sign_in(services, token, "Browser/1.0") for _ in range(8))
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert len([outcome for outcome in outcomes if isinstance(outcome, tuple)]) == 1
    assert len([outcome for outcome in outcomes if isinstance(outcome, Refused)]) == 7
    assert await accounts.count(services) == 1
    await refused(services, token)


async def test_a_link_is_good_for_the_minutes_of_the_settings(services: Services) -> None:
    now = 1_000_000.0
    services.clock = lambda: now
    token = await accounts.create_link(services)
    now += services.settings.link_minutes * 60
    await refused(services, token)
    token = await accounts.create_link(services)
    now += services.settings.link_minutes * 60 - 1
    await accounts.sign_in(services, token, "Browser/1.0")


async def test_a_first_link_that_was_left_over_makes_no_second_account(services: Services) -> None:
    left_over = await accounts.create_link(services)
    await signed_in(services)
    await refused(services, left_over)
    await refused(services, "")
    await refused(services, "x" * 43)
    assert await accounts.count(services) == 1


async def test_a_link_for_an_account_signs_that_person_in(services: Services) -> None:
    await accounts.create_account(services, "ann")
    who = await accounts.who_is_signed_in(services, await signed_in(services, "ann"))
    assert who is not None
    assert who.name == "ann"
    with pytest.raises(NotFound):
        await accounts.create_link(services, "bob")


async def test_links_that_are_too_old_are_swept_out_with_the_next(services: Services) -> None:
    now = 1_000_000.0
    services.clock = lambda: now
    await accounts.create_link(services)
    now += 3600
    await accounts.create_link(services)
    async with services.db.session() as session:
        assert len(list(await session.scalars(select(SignInLink)))) == 1


async def test_an_account_s_name_is_taken_once(services: Services) -> None:
    await accounts.create_account(services, "ann")
    with pytest.raises(AppError) as caught:
        await accounts.create_account(services, "ann")
    assert (caught.value.status, caught.value.code) == (409, "name_taken")
    for name in ("", "a\tb", "x" * 101):
        with pytest.raises(AppError) as caught:
            await accounts.create_account(services, name)
        assert caught.value.code == "invalid_name"


async def test_a_session_ends_on_the_server_when_its_person_signs_out(services: Services) -> None:
    cookie, other = await signed_in(services), None
    await accounts.create_account(services, "ann")
    other = await signed_in(services, "ann")
    await accounts.who_is_signed_in(services, cookie)
    await accounts.sign_out(services, cookie)
    assert await accounts.who_is_signed_in(services, cookie) is None
    assert await accounts.who_is_signed_in(services, other) is not None


async def test_a_session_ends_after_the_hours_of_the_settings_also_in_memory(services: Services) -> None:
    now = 1_000_000.0
    services.clock = lambda: now
    cookie = await signed_in(services)
    now += services.settings.sign_in_hours * 3600 - 1
    assert await accounts.who_is_signed_in(services, cookie) is not None
    now += 1
    assert await accounts.who_is_signed_in(services, cookie) is None
    services.caches.drop()
    assert await accounts.who_is_signed_in(services, cookie) is None


async def test_a_deleted_account_takes_its_sessions_and_links_along(services: Services) -> None:
    cookie = await signed_in(services)
    await accounts.create_link(services, "admin")
    async with services.change() as session:
        await session.delete((await session.scalars(select(Account))).one())
    assert await accounts.who_is_signed_in(services, cookie) is None
    async with services.db.session() as session:
        assert list(await session.scalars(select(SignIn))) == []
        assert [row for row in await session.scalars(select(SignInLink)) if row.account_id] == []


async def test_no_key_cookie_or_link_is_in_the_database(services: Services) -> None:
    key = await accounts.create_key(services, "laptop")
    token = await accounts.create_link(services)
    cookie, _ = await accounts.sign_in(services, token, "Browser/1.0" * 100)
    held: list[Any] = []
    async with services.db.session() as session:
        for table in Base.metadata.sorted_tables:
            held += list(await session.execute(select(table)))
    text = str(held)
    assert "laptop" in text
    assert [secret for secret in (key, key.split("_")[2], token, cookie) if secret in text] == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "http://127.0.0.1:8000/sign-in#abc"),
        ({"bind": "127.0.0.1:9000"}, "http://127.0.0.1:9000/sign-in#abc"),
        ({"public_url": "https://board.example/"}, "https://board.example/sign-in#abc"),
    ],
)
def test_a_link_carries_its_token_behind_the_hash_sign(tmp_path: Any, given: dict[str, str], expected: str) -> None:
    text = accounts.link_text(load_settings({"data": str(tmp_path), **given}, {}), "abc")
    assert text.split()[-1] == expected
    assert "within 15 minutes" in text
