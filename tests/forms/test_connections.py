"""What a connection may be given as, and what a change makes of the one before."""

from typing import Any

import pytest
from pydantic import ValidationError

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


def test_a_token_endpoint_is_held_against_it_as_well() -> None:
    auth = {"scheme": "oauth2", "grant": "client_credentials", "client_id": "me"}
    with pytest.raises(ValidationError, match="egress rule link_local") as raised:
        form(auth=auth | {"token_url": "http://169.254.169.254/token?a=b"})
    assert raised.value.errors()[0]["ctx"]["within"] == "/token_url"
    form(auth=auth | {"token_url": "https://login.example.com/token?a=b"})


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
