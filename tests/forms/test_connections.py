"""What a connection may be given as, and what a change makes of the one before."""

from typing import Any

import pytest
from pydantic import ValidationError

from quart_app.errors import Invalid
from quart_app.forms.connections import KEPT, ConnectionForm, changed_fields, merged
from quart_app.outbound.egress import Egress
from tests.outbound.certificates import issued

PAIR = issued("client.example")
BASE = {"name": "orders", "base_url": "https://api.example.com"}
PROXY = {"url": "http://proxy.example.com:3128", "username": "me", "password": "secret"}


def form(context: Any = None, **more: Any) -> ConnectionForm:
    return ConnectionForm.model_validate(BASE | more, context=context)


def kept(**more: Any) -> dict[str, Any]:
    """A connection as it is in the database, secrets in clear."""
    made: dict[str, Any] = form(**more).model_dump(by_alias=True)
    return made


@pytest.mark.parametrize("base_url", ["http://169.254.169.254", "http://db.example.com:6379", "http://metadata"])
def test_a_base_url_is_held_against_the_egress_of_the_settings(base_url: str) -> None:
    with pytest.raises(ValidationError, match="setting egress_allow"):
        form(base_url=base_url)
    allowed = Egress(["169.254.169.254/32:80", "host:db.example.com:6379", "host:metadata"])
    assert form(allowed, base_url=base_url).base_url == base_url


OAUTH = {"scheme": "oauth2", "grant": "client_credentials", "client_id": "me", "token_url": "https://id.example.com/t"}


@pytest.mark.parametrize(
    ("name", "url", "rule"),
    [
        ("token_url", "http://169.254.169.254/token?a=b", "link_local"),
        ("revocation_url", "https://169.254.169.254/revoke", "link_local"),
        ("issuer", "https://metadata.google.internal", "metadata"),
        ("issuer", "https://id.example.com:6379", "port"),
    ],
)
def test_an_oauth_endpoint_that_is_dialled_from_here_is_held_against_it_as_well(name: str, url: str, rule: str) -> None:
    with pytest.raises(ValidationError, match=f"egress rule {rule}") as raised:
        form(auth=OAUTH | {name: url})
    assert raised.value.errors()[0]["ctx"]["within"] == f"/{name}"
    assert form(KEPT, auth=OAUTH | {name: url})


def test_an_oauth_endpoint_that_only_a_browser_goes_to_may_be_anywhere() -> None:
    form(auth=OAUTH | {"authorize_url": "http://169.254.169.254/authorize", "token_url": "https://x.example/t?a=b"})


def test_neither_a_form_nor_its_faults_show_a_secret_when_they_are_printed() -> None:
    key = PAIR.key.splitlines()[1]
    schemes: list[dict[str, Any]] = [
        OAUTH | {"client_secret": "swordfish", "refresh_token": "swordfish", "private_key": PAIR.key},
        {"scheme": "bearer", "token": "swordfish"},
        {"scheme": "basic", "username": "me", "password": "swordfish"},
        {"scheme": "api_key", "name": "X-Key", "value": "swordfish"},
    ]
    proxy = PROXY | {"password": "swordfish"}
    for auth in schemes:
        filled = form(auth=auth, tls={"certificate": PAIR.certificate, "key": PAIR.key}, proxy=proxy)
        assert not any(secret in repr(filled) + str(filled) for secret in ("swordfish", key))
        broken = {name: f"{value}\n" if "swordfish" in str(value) else value for name, value in auth.items()}
        with pytest.raises(ValidationError) as raised:
            form(auth=broken, tls={"key": PAIR.key}, proxy=proxy | {"username": None})
        assert raised.value.error_count() >= 3
        assert not any(secret in str(raised.value) for secret in ("swordfish", key))


def test_a_private_key_is_kept_when_it_is_left_out_and_belongs_to_the_secrets() -> None:
    auth = OAUTH | {"client_auth": "private_key_jwt", "private_key": PAIR.key}
    change = {"auth": OAUTH | {"client_auth": "private_key_jwt", "private_key": {"set": True}, "scope": "a"}}
    after = ConnectionForm.model_validate(merged(kept(auth=auth), change, "orders"))
    assert after.auth.model_dump()["private_key"] == PAIR.key
    assert changed_fields(form(auth=auth), after) == ["auth.scope"]


def test_a_connection_that_is_kept_is_loaded_also_when_it_would_not_be_taken_any_more() -> None:
    assert form(KEPT, base_url="http://db.example.com:6379").base_url == "http://db.example.com:6379"


def test_the_proxys_address_is_held_against_the_connections_policy() -> None:
    given = {"url": "http://10.0.0.1:3128"}
    with pytest.raises(ValidationError, match="egress rule private: the proxy"):
        form(proxy=given)
    assert form(proxy=given, policy={"allow_private": True}).proxy is not None
    assert form(Egress(["10.0.0.1/32:3128"]), proxy=given).proxy is not None
    with pytest.raises(ValidationError, match="egress rule link_local: the proxy"):
        form(proxy={"url": "http://169.254.169.254"}, policy={"allow_private": True})


@pytest.mark.parametrize("name", ["Via", "Host", "Connection"])
def test_headers_that_switchboard_sets_are_not_the_connections_to_set(name: str) -> None:
    with pytest.raises(ValidationError, match="is set by Switchboard"):
        form(headers={name: "x"})


def test_secrets_of_tls_and_proxy_are_kept_when_they_are_left_out_or_sent_back_as_shown() -> None:
    shown = {"set": True, "fingerprint": "0123456789ab"}
    before = kept(tls={"certificate": PAIR.certificate, "key": PAIR.key}, proxy=PROXY)
    for tls, proxy in (
        ({"verify": True}, {"url": PROXY["url"]}),
        ({"certificate": PAIR.certificate, "key": shown}, PROXY | {"password": shown}),
    ):
        after = ConnectionForm.model_validate(merged(before, {"tls": tls, "proxy": proxy}, "orders"))
        assert (after.tls.key, after.proxy and after.proxy.password) == (PAIR.key, "secret")


def test_a_certificate_that_is_taken_away_takes_its_key_along_and_null_takes_the_proxy_away() -> None:
    before = kept(tls={"certificate": PAIR.certificate, "key": PAIR.key}, proxy=PROXY)
    after = ConnectionForm.model_validate(merged(before, {"tls": {"certificate": None}, "proxy": None}, "orders"))
    assert (after.tls.certificate, after.tls.key, after.proxy) == (None, None, None)
    left = ConnectionForm.model_validate(merged(before, {"title": "x"}, "orders"))
    assert left.proxy is not None


def test_what_differs_is_named_and_not_its_value() -> None:
    before = form(auth={"scheme": "bearer", "token": "first"})
    after = form(
        title="Orders",
        auth={"scheme": "bearer", "token": "second"},
        policy={"attempts": 1, "allow_private": True},
        tls={"verify": False},
        proxy=PROXY,
    )
    assert changed_fields(before, after) == [
        "title", "auth.token", "policy.attempts", "policy.allow_private", "tls.verify", "proxy",
    ]  # fmt: skip
    assert changed_fields(before, form(auth={"scheme": "none"})) == ["auth"]
    assert changed_fields(before, before) == []


OAUTH_SECRET = OAUTH | {"client_secret": "secret", "refresh_token": "first"}


@pytest.mark.parametrize("name", ["token_url", "issuer", "revocation_url"])
def test_secrets_do_not_follow_to_another_host_unseen(name: str) -> None:
    before = kept(auth=OAUTH_SECRET)
    with pytest.raises(Invalid) as caught:
        merged(before, {"auth": OAUTH | {name: "https://elsewhere.example.com/x"}}, "orders")
    assert [fault["pointer"] for fault in caught.value.errors] == ["/auth/client_secret", "/auth/refresh_token"]
    given = OAUTH_SECRET | {name: "https://elsewhere.example.com/x"}
    assert merged(before, {"auth": given}, "orders")["auth"]["client_secret"] == "secret"


def test_secrets_stay_where_only_the_path_is_another_or_an_endpoint_of_the_same_host_is_added() -> None:
    before, host = kept(auth=OAUTH_SECRET), OAUTH["token_url"].rpartition("/")[0]
    change = OAUTH | {"token_url": f"{host}/v2/token", "revocation_url": f"{host}/revoke"}
    assert merged(before, {"auth": change}, "orders")["auth"]["refresh_token"] == "first"


def test_secrets_go_in_clear_only_inside_the_own_network() -> None:
    plain = OAUTH | {"token_url": "http://login.example.com/token"}
    with pytest.raises(ValidationError, match="token_url would get secrets in clear"):
        form(auth=plain)
    assert form(auth=plain, policy={"allow_private": True}).auth
    assert form(auth=OAUTH | {"token_url": "http://127.0.0.1:8099/token"}, policy={"allow_private": True}).auth
    assert form(KEPT, auth=plain).auth
