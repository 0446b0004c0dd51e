"""Connections: what is taken, what is shown, what is kept when parts change."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from quart_app import connections, tokens
from quart_app.errors import AppError, NotFound
from quart_app.forms.connections import NAME_PATTERN, ConnectionForm
from quart_app.grants import UNSIGNED
from quart_app.models import Base, Connection, Token
from quart_app.outbound.auth import Bearer, OAuth2
from quart_app.outbound.target import Policy
from quart_app.outbound.ways import SHARED
from quart_app.services import Services
from tests.outbound.certificates import issued, server_context
from tests.outbound.proxies import proxy
from tests.outbound.upstreams import raw

BASE = "https://api.example.com/v1"
OAUTH = {
    "scheme": "oauth2",
    "grant": "refresh_token",
    "token_url": "https://api.example.com/token",
    "client_id": "client",
    "client_secret": "client-secret-value",
    "refresh_token": "first-refresh-token",
}
PUBLIC = {name: value for name, value in OAUTH.items() if name not in OAuth2.SECRETS}
SECRETS = {
    "api_key": {"scheme": "api_key", "in": "header", "name": "X-Api-Key", "value": "planted-secret-1"},
    "basic": {"scheme": "basic", "username": "ann", "password": "planted-secret-2"},
    "bearer": {"scheme": "bearer", "token": "planted-secret-3"},
    "oauth2": OAUTH | {"client_secret": "planted-secret-4", "refresh_token": "planted-secret-5"},
}


def form(**more: Any) -> ConnectionForm:
    return ConnectionForm.model_validate({"name": "orders", "base_url": BASE} | more)


async def shown(services: Services, name: str = "orders") -> dict[str, Any]:
    async with services.db.session() as session:
        return connections.view(services, await connections.find(session, name))


async def test_what_is_left_out_has_its_default(services: Services) -> None:
    await connections.create(services, form())
    view = await shown(services)
    created, updated, id_ = view.pop("created_at"), view.pop("updated_at"), view.pop("id")
    assert created <= updated
    assert created.endswith("Z")
    assert len(id_) == 36
    assert view == {
        "name": "orders",
        "title": "orders",
        "base_url": BASE,
        "tags": [],
        "metadata": {},
        "auth": {"scheme": "none"},
        "headers": {},
        "policy": Policy().model_dump(),
        "tls": {"verify": True, "ca": None, "certificate": None, "key": None},
        "proxy": None,
        "state": "ready",
        "state_reason": None,
        "redirect_uri": None,
    }


@pytest.mark.parametrize("scheme", SECRETS)
async def test_a_secret_goes_in_and_never_comes_out(services: Services, scheme: str) -> None:
    await connections.create(services, form(auth=SECRETS[scheme]))
    view = await shown(services)
    secret = [name for name, value in SECRETS[scheme].items() if value.startswith("planted")]
    for name in secret:
        assert view["auth"][name] == {
            "set": True,
            "fingerprint": services.vault.fingerprint(SECRETS[scheme][name]),
        }
    target = await connections.load(services, "orders")
    held: list[Any] = []
    async with services.db.session() as session:
        for table in Base.metadata.sorted_tables:
            held += list(await session.execute(select(table)))
    assert "planted" not in str(view) + str(held) + repr(target.credential)
    assert target.auth.model_dump(by_alias=True, exclude_none=True).items() >= SECRETS[scheme].items()


async def test_a_name_is_taken_once_and_the_first_one_stays(services: Services) -> None:
    await connections.create(services, form())
    with pytest.raises(AppError) as caught:
        await connections.create(services, form(base_url="https://other.example.com", auth=OAUTH))
    assert (caught.value.status, caught.value.code) == (409, "name_taken")
    assert (await shown(services))["base_url"] == BASE
    async with services.db.session() as session:
        assert list(await session.scalars(select(Token))) == []


@pytest.mark.parametrize("state", [None, "ready", "paused", "needs_sign_in"])
async def test_a_new_connection_is_ready_unless_it_is_given_as_paused(services: Services, state: str | None) -> None:
    await connections.create(services, form(state=state))
    assert (await shown(services))["state"] == ("paused" if state == "paused" else "ready")


@pytest.mark.parametrize("name", ["", "-a", "_a", "A", "a b", "a" * 64, "ä", "a/b", "a\n", "../x"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        form(name=name)


@pytest.mark.parametrize("name", ["a", "0", "a-b_c", "a" * 63])
def test_a_name_that_is_one_is_taken(name: str) -> None:
    assert form(name=name).name == name


@pytest.mark.parametrize("name", ["unknown", "", "../x", "A", "a" * 300, "\x00", "💥"])
async def test_a_connection_that_is_not_there_is_said_to_be_unknown(services: Services, name: str) -> None:
    with pytest.raises(NotFound) as caught:
        await connections.load(services, name)
    assert caught.value.code == "unknown_connection"


@pytest.mark.parametrize(
    ("base", "allow_private", "rule"),
    [
        ("http://127.0.0.1:9", False, "loopback"),
        ("http://localhost:9", False, "loopback"),
        ("http://api.localhost", False, "loopback"),
        ("http://[::1]", False, "loopback"),
        ("http://10.0.0.1", False, "private"),
        ("http://169.254.169.254", True, "may not be reached"),
        ("http://127.0.0.1:9", True, None),
        ("http://localhost", True, None),
        ("http://10.0.0.1", True, None),
    ],
)
def test_a_base_url_inside_the_network_needs_a_tick(base: str, allow_private: bool, rule: str | None) -> None:
    given = {"base_url": base, "policy": {"allow_private": allow_private}}
    if rule is None:
        assert form(**given).base_url == base
        return
    with pytest.raises(ValidationError, match=rule):
        form(**given)


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Connection", "a b", "X:Y", ""])
def test_a_header_that_is_not_the_connection_s_to_set_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        form(headers={name: "x"})


@pytest.mark.parametrize("value", ["a\r\nb: c", "ü", "a\0"])
def test_a_header_value_that_cannot_be_sent_is_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        form(headers={"X-Trace": value})


async def test_a_change_of_one_part_keeps_the_rest_and_the_secrets(services: Services) -> None:
    await connections.create(services, form(auth=SECRETS["bearer"], policy={"concurrency": 5}, tags=["a"]))
    before = await shown(services)
    await connections.update(services, "orders", {"title": "Orders", "policy": {"attempts": 1}})
    after = await shown(services)
    assert after["policy"] == before["policy"] | {"attempts": 1}
    assert after["updated_at"] > before["updated_at"]
    same = ("id", "created_at", "auth", "tags", "base_url", "state")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


async def test_an_answer_can_be_sent_back_and_changes_nothing(services: Services) -> None:
    await connections.create(services, form(auth=OAUTH))
    before = await shown(services)
    change = {name: before[name] for name in ("title", "base_url", "tags", "metadata", "auth", "headers", "policy")}
    await connections.update(services, "orders", change)
    assert await shown(services) | {"updated_at": None} == before | {"updated_at": None}
    target = await connections.load(services, "orders")
    assert isinstance(target.auth, OAuth2)
    assert target.auth.client_secret == OAUTH["client_secret"]


async def test_a_new_secret_replaces_the_old_one_and_another_scheme_drops_it(services: Services) -> None:
    await connections.create(services, form(auth=SECRETS["bearer"]))
    await connections.update(services, "orders", {"auth": {"token": "another-token"}})
    target = await connections.load(services, "orders")
    assert isinstance(target.auth, Bearer)
    assert target.auth.token == "another-token"
    await connections.update(services, "orders", {"auth": {"scheme": "none"}})
    assert (await shown(services))["auth"] == {"scheme": "none"}
    with pytest.raises(ValidationError):
        await connections.update(services, "orders", {"auth": {"scheme": "bearer"}})


async def test_a_change_that_makes_no_connection_changes_nothing(services: Services) -> None:
    await connections.create(services, form())
    before = await shown(services)
    with pytest.raises(ValidationError):
        await connections.update(services, "orders", {"title": "Other", "base_url": "ftp://x"})
    assert await shown(services) == before


async def token_row(services: Services) -> Token | None:
    async with services.db.session() as session:
        return (await session.scalars(select(Token))).one_or_none()


async def refreshed(services: Services) -> None:
    """As if the tokens had been refreshed seven times since the connection was made."""
    async with services.change() as session:
        row = (await session.scalars(select(Token))).one()
        row.generation, row.expires_at = 7, 2_000_000_000.0
        row.failures, row.retry_at = 3, 2_000_000_000.0
        for column, text in (("sealed_access_token", "access"), ("sealed_refresh_token", "rotated")):
            sealed = services.vault.seal(text, table="tokens", column=column, row=row.connection_id)
            setattr(row, column, sealed)


def refresh_token(services: Services, row: Token | None) -> str:
    assert row is not None
    assert row.sealed_refresh_token is not None
    place = {"table": "tokens", "column": "sealed_refresh_token", "row": row.connection_id}
    return services.vault.unseal(row.sealed_refresh_token, **place)


async def test_a_change_beside_auth_leaves_the_tokens_alone(services: Services) -> None:
    await connections.create(services, form(auth=OAUTH))
    await refreshed(services)
    await connections.update(services, "orders", {"title": "Orders", "auth": PUBLIC})
    row = await token_row(services)
    assert row is not None
    assert row.generation == 7
    assert row.sealed_access_token is not None
    assert refresh_token(services, row) == "rotated"


@pytest.mark.parametrize("change", [{"scope": "read"}, {"client_secret": "new-client-secret"}])
async def test_a_rotated_refresh_token_outlives_a_change_of_auth_that_gives_no_other(
    services: Services, change: dict[str, str]
) -> None:
    """The one that was given at first is spent: to send it again would end the whole family (RFC 9700 §4.14.2)."""
    await connections.create(services, form(auth=OAUTH))
    await refreshed(services)
    await connections.update(services, "orders", {"auth": PUBLIC | change})
    row = await token_row(services)
    assert row is not None
    assert row.sealed_access_token is None, "the next call gets one for the new auth"
    assert (row.failures, row.retry_at) == (0, None), "and at once, as what failed may be what was changed"
    assert refresh_token(services, row) == "rotated"


@pytest.mark.parametrize(
    "change",
    [
        {"refresh_token": "given-anew"},
        {"token_url": "https://other.example.com/token", "client_secret": "anew", "refresh_token": "given-anew"},
    ],
)
async def test_a_refresh_token_that_is_given_anew_takes_the_place_of_the_rotated_one(
    services: Services, change: dict[str, str]
) -> None:
    await connections.create(services, form(auth=OAUTH))
    await refreshed(services)
    await connections.update(services, "orders", {"auth": PUBLIC | change})
    row = await token_row(services)
    assert row is not None
    assert (refresh_token(services, row), row.sealed_access_token) == ("given-anew", None)


async def test_tokens_go_when_the_scheme_or_the_connection_does(services: Services) -> None:
    await connections.create(services, form(auth=OAUTH))
    await connections.update(services, "orders", {"auth": {"scheme": "none"}})
    assert await token_row(services) is None
    await connections.update(services, "orders", {"auth": OAUTH})
    assert await token_row(services) is not None
    await connections.delete(services, "orders")
    assert await token_row(services) is None
    with pytest.raises(NotFound):
        await connections.delete(services, "orders")


async def test_a_person_s_attention_is_asked_for_until_auth_changes(services: Services) -> None:
    await connections.create(services, form(auth=OAUTH))
    target = await connections.load(services, "orders")
    with services.events.listening() as events:
        await connections.set_state(services, target, "needs_sign_in", "Sign in again.")
        assert await anext(events) == ("connection", {"name": "orders", "state": "needs_sign_in"})
    await connections.update(services, "orders", {"title": "Orders"})
    view = await shown(services)
    assert (view["state"], view["state_reason"]) == ("needs_sign_in", "Sign in again.")
    assert (await connections.load(services, "orders")).state == "needs_sign_in"
    await connections.update(services, "orders", {"auth": PUBLIC | {"refresh_token": "new"}})
    view = await shown(services)
    assert (view["state"], view["state_reason"]) == ("ready", None)


CODE = {
    "scheme": "oauth2",
    "grant": "authorization_code",
    "authorize_url": "https://api.example.com/authorize",
    "token_url": "https://api.example.com/token",
    "client_id": "client",
}


async def test_a_connection_by_authorization_code_waits_for_a_person_and_says_where_they_come_back(
    services: Services,
) -> None:
    await connections.create(services, form(auth=CODE))
    view = await shown(services)
    assert (view["state"], view["state_reason"]) == ("needs_sign_in", UNSIGNED)
    assert view["redirect_uri"] == "http://127.0.0.1:8000/oauth/callback/orders"
    await connections.update(services, "orders", {"title": "Orders"})
    for state, left in (("paused", "paused"), ("ready", "needs_sign_in")):
        await connections.update(services, "orders", {"state": state})
        assert (await shown(services))["state"] == left
    await connections.update(services, "orders", {"auth": {"scheme": "none"}})
    view = await shown(services)
    assert (view["state"], view["state_reason"], view["redirect_uri"]) == ("ready", None, None)


async def test_a_refresh_token_that_is_given_stands_for_the_first_sign_in(services: Services) -> None:
    await connections.create(services, form(auth=CODE | {"refresh_token": "given"}))
    assert (await shown(services))["state"] == "ready"


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"client_secret": "another"}, "ready"),
        ({"scope": "read"}, "ready"),
        ({"client_id": "another"}, "needs_sign_in"),
        ({"token_url": "https://api.example.com/other"}, "ready"),
        ({"token_url": "https://other.example.com/token"}, "needs_sign_in"),
    ],
)
async def test_auth_that_leaves_no_token_waits_for_a_person_again(
    services: Services, change: dict[str, Any], state: str
) -> None:
    await connections.create(services, form(auth=CODE))
    await refreshed(services)
    await connections.update(services, "orders", {"auth": CODE | change})
    assert (await shown(services))["state"] == state


async def test_a_connection_is_paused_and_made_ready_by_a_change(services: Services) -> None:
    await connections.create(services, form())
    for state in ("paused", "ready"):
        await connections.update(services, "orders", {"state": state})
        assert (await connections.load(services, "orders")).state == state


async def test_a_loaded_connection_comes_from_memory_until_something_changes(services: Services) -> None:
    await connections.create(services, form())
    first = await connections.load(services, "orders")
    assert await connections.load(services, "orders") is first
    await connections.update(services, "orders", {"headers": {"X-Team": "blue"}})
    second = await connections.load(services, "orders")
    assert second.headers == [(b"x-team", b"blue")]
    assert b"x-team" in second.injected
    await connections.delete(services, "orders")
    with pytest.raises(NotFound):
        await connections.load(services, "orders")


async def test_pages_go_from_the_newest_to_the_oldest(services: Services) -> None:
    for number in range(5):
        await connections.create(services, form(name=f"c{number}"))
    found: list[Connection] = []
    async with services.db.session() as session:
        while page := await connections.page(session, limit=2, after=found[-1].id if found else None):
            found += page
    assert [row.name for row in found] == ["c4", "c3", "c2", "c1", "c0"]


# --- ways out ----------------------------------------------------------------------------------------------------

PAIR = issued("client.example")
WAY: dict[str, Any] = {
    "tls": {"verify": True, "ca": PAIR.certificate, "certificate": PAIR.certificate, "key": PAIR.key},
    "proxy": {"url": "http://proxy.example.com:3128", "username": "me", "password": "planted-proxy-password"},
}


async def test_tls_and_proxy_are_kept_sealed_shown_by_fingerprint_and_ready_to_use(services: Services) -> None:
    await connections.create(services, form(**WAY))
    view = await shown(services)
    prints = {
        "tls": services.vault.fingerprint(PAIR.key),
        "proxy": services.vault.fingerprint("planted-proxy-password"),
    }
    assert view["tls"] == WAY["tls"] | {"key": {"set": True, "fingerprint": prints["tls"]}}
    assert view["proxy"] == WAY["proxy"] | {"password": {"set": True, "fingerprint": prints["proxy"]}}
    assert view["auth"] == {"scheme": "none"}
    held: list[Any] = []
    async with services.db.session() as session:
        for table in Base.metadata.sorted_tables:
            held += list(await session.execute(select(table)))
    target = await connections.load(services, "orders")
    assert "planted" not in str(view) + str(held) + repr(target)
    assert "PRIVATE KEY" not in str(view) + str(held) + repr(target.way)
    assert (target.way.tls.key, target.way.proxy and target.way.proxy.password) == (PAIR.key, "planted-proxy-password")


async def test_a_view_with_tls_and_proxy_can_be_sent_back_and_keeps_the_way(services: Services) -> None:
    await connections.create(services, form(**WAY))
    before, pool = await shown(services), (await connections.load(services, "orders")).way.pool
    await connections.update(services, "orders", {"tls": before["tls"], "proxy": before["proxy"]})
    assert await shown(services) | {"updated_at": None} == before | {"updated_at": None}
    assert (await connections.load(services, "orders")).way.pool == pool
    await connections.update(services, "orders", {"tls": {"verify": False}})
    target = await connections.load(services, "orders")
    assert (target.way.tls.verify, target.way.tls.key) == (False, PAIR.key)
    assert target.way.pool != pool
    await connections.update(
        services, "orders", {"proxy": None, "tls": {"certificate": None, "ca": None, "verify": True}}
    )
    assert (await connections.load(services, "orders")).way is SHARED[False]
    assert (await shown(services))["proxy"] is None


async def test_a_token_is_fetched_over_the_connections_own_way(services: Services, tmp_path: Path) -> None:
    """A provider that wants a client certificate (RFC 8705), reached through the connection's proxy."""
    authority = issued("authority.example")
    client = issued("client.example", authority)
    server = issued("127.0.0.1", authority).file(tmp_path, "server")
    answer = b'{"access_token": "first", "token_type": "Bearer", "expires_in": 3600}'
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer)
    context = server_context(server, wants_from=authority.certificate)
    async with raw(reply, tls=context) as provider, proxy() as between:
        auth = OAUTH | {"token_url": f"{provider.url}/token"}
        tls = {"ca": authority.certificate, "certificate": client.certificate, "key": client.key}
        policy = {"allow_private": True}
        await connections.create(
            services, form(base_url=provider.url, auth=auth, tls=tls, proxy={"url": between.url}, policy=policy)
        )
        target = await connections.load(services, "orders")
        credential = await tokens.ensure_valid(services, target)
    assert credential.headers == ((b"authorization", b"Bearer first"),)
    assert [head.split(b" ")[0] for head in between.heads] == [b"CONNECT"]
    assert b"via: 1.1 sb-" in provider.heads[0]


def test_the_pattern_of_names_is_that_of_the_api() -> None:
    assert NAME_PATTERN == r"^[a-z0-9][a-z0-9_-]{0,62}$"
