"""Credentials: what of them and of their scheme a record may not hold, and what it shows instead."""

import base64
from typing import Any

import pytest

from quart_app.outbound.credentials import Credential, bearer, guarded
from quart_app.outbound.redaction.marks import MARK, MARKED
from tests.outbound.oauth.keys import pem
from tests.outbound.targets import scheme

OAUTH: dict[str, Any] = {
    "scheme": "oauth2",
    "grant": "client_credentials",
    "token_url": "https://id.example.com/token",
    "client_id": "me",
}

GUARDED = [
    ({"scheme": "api_key", "name": "X-Key", "value": "swordfish"}, ["swordfish"]),
    ({"scheme": "api_key", "in": "query", "name": "key", "value": "sword&fish"}, ["sword&fish", "sword%26fish"]),
    ({"scheme": "bearer", "token": "swordfish"}, ["swordfish"]),
    (
        {"scheme": "basic", "username": "user", "password": "swordfish"},
        ["swordfish", "user:swordfish", base64.b64encode(b"user:swordfish").decode()],
    ),
    (OAUTH | {"client_secret": "swordfish", "refresh_token": "first-one"}, ["swordfish", "first-one"]),
]


@pytest.mark.parametrize(("given", "secrets"), GUARDED)
def test_a_guarded_credential_keeps_every_secret_of_its_scheme_out_of_records(
    given: dict[str, Any], secrets: list[str]
) -> None:
    auth = scheme(**given)
    credential = guarded(auth.credential(), auth)
    for secret in secrets:
        assert MARKED.sub(MARK, credential.redactor.text(f"<{secret}>")) == f"<{MARK}>"


def test_a_credential_shows_no_secret_when_it_is_printed() -> None:
    secrets = (("access_token", "swordfish"), ("refresh_token", "renewal"))
    credential = guarded(bearer(*secrets, generation=3), scheme(**OAUTH))
    assert repr(credential) == "Credential(generation=3)"
    assert credential.redactor.text("swordfish renewal") == "[redacted:access_token] [redacted:refresh_token]"


SHOWN = [
    ({"scheme": "none"}, (), ""),
    ({"scheme": "api_key", "name": "X-Key", "value": "swordfish"}, (("x-key", "[redacted:value:{0}]"),), ""),
    ({"scheme": "api_key", "name": "X-Key", "value": "a"}, (("x-key", "[redacted:value:{0}]"),), ""),
    (
        {"scheme": "api_key", "in": "cookie", "name": "sid", "value": "swordfish"},
        (("cookie", "sid=[redacted:value:{0}]"),),
        "",
    ),
    ({"scheme": "api_key", "in": "query", "name": "k&", "value": "sword&"}, (), "k%26=[redacted:value:{0}]"),
    ({"scheme": "bearer", "token": "swordfish"}, (("authorization", "Bearer [redacted:token:{0}]"),), ""),
    (
        {"scheme": "basic", "username": "user", "password": "swordfish"},
        (("authorization", "Basic [redacted:pair.base64:{0}]"),),
        "",
    ),
]


@pytest.mark.parametrize(("given", "headers", "query"), SHOWN)
def test_what_a_record_shows_of_a_credential_are_marks(
    given: dict[str, Any], headers: tuple[tuple[str, str], ...], query: str
) -> None:
    auth = scheme(**given)
    credential = guarded(auth.credential(), auth, lambda secret: f"{len(secret):012x}")
    told = f"{len(credential.secrets[0][1]):012x}" if credential.secrets else ""
    assert credential.shown == tuple((name, value.format(told)) for name, value in headers)
    assert credential.shown_query == query.format(told)


def test_the_live_secret_of_a_role_comes_first_and_further_ones_are_known_too() -> None:
    auth = scheme(**OAUTH | {"client_secret": "swordfish", "refresh_token": "first-one"})
    live = bearer(("access_token", "at-1234"), ("refresh_token", "rotated"))
    credential = guarded(live, auth, None, [("proxy_password", "at the proxy")])
    assert dict(reversed(credential.secrets)) == {
        "access_token": "at-1234",
        "refresh_token": "rotated",
        "client_secret": "swordfish",
        "proxy_password": "at the proxy",
    }
    assert credential.redactor.text("at the proxy, first-one") == "[redacted:proxy_password], [redacted:refresh_token]"


def test_an_empty_credential_redacts_nothing() -> None:
    assert Credential().redactor.text("anything") == "anything"


def test_a_secret_that_is_never_sent_is_one_that_records_are_not_searched_for() -> None:
    auth = scheme(**OAUTH | {"client_secret": "swordfish", "private_key": pem("rsa")})
    assert set(auth.NEVER_SENT) < set(auth.SECRETS)
    assert guarded(auth.credential(), auth).secrets == (("client_secret", "swordfish"),)
