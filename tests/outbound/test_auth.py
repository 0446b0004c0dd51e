"""The schemes: what each puts onto a request, what it keeps out of records, and the faults of its form."""

import base64
from typing import Any

import pytest
from pydantic import ValidationError

from quart_app.outbound.auth import Credential, bearer, guarded
from quart_app.outbound.redaction.marks import MARK, MARKED
from tests.outbound.targets import scheme

OAUTH: dict[str, Any] = {
    "scheme": "oauth2",
    "grant": "client_credentials",
    "token_url": "https://id.example.com/token",
    "client_id": "me",
}

SENT = [
    ({"scheme": "none"}, (), ""),
    ({"scheme": "api_key", "in": "header", "name": "X-Api-Key", "value": "k 1"}, ((b"x-api-key", b"k 1"),), ""),
    ({"scheme": "api_key", "name": "X-Key", "value": "v"}, ((b"x-key", b"v"),), ""),
    ({"scheme": "api_key", "name": "Authorization", "value": "Token v"}, ((b"authorization", b"Token v"),), ""),
    ({"scheme": "api_key", "in": "query", "name": "api key!".replace(" ", "_"), "value": "a&b=c/d é".replace("é", "e")},
     (), "api_key%21=a%26b%3Dc%2Fd%20e"),
    ({"scheme": "api_key", "in": "query", "name": "host", "value": "v"}, (), "host=v"),
    ({"scheme": "api_key", "in": "cookie", "name": "sid", "value": "v=1"}, ((b"cookie", b"sid=v=1"),), ""),
    ({"scheme": "basic", "username": "Aladdin", "password": "open sesame"},
     ((b"authorization", b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),), ""),
    ({"scheme": "basic", "username": "test", "password": "123£"}, ((b"authorization", b"Basic dGVzdDoxMjPCow=="),), ""),
    ({"scheme": "basic", "username": "", "password": ""}, ((b"authorization", b"Basic Og=="),), ""),
    ({"scheme": "basic", "username": "u", "password": "p:q"}, ((b"authorization", b"Basic dTpwOnE="),), ""),
    ({"scheme": "bearer", "token": "mF_9.B5f-4.1JqM"}, ((b"authorization", b"Bearer mF_9.B5f-4.1JqM"),), ""),
    (OAUTH, (), ""),
]  # fmt: skip
"""The pairs of Basic are those of RFC 7617 §2 and §2.1, the token that of RFC 6750 §2.1."""

LINE = "must be printable ASCII on one line"
FAULTS = [
    ({"scheme": "digest"}, (), "does not match any of the expected tags"),
    ({}, (), "Unable to extract tag"),
    ({"scheme": "none", "token": "x"}, ("none", "token"), "Extra inputs"),
    ({"scheme": "bearer"}, ("bearer", "token"), "Field required"),
    ({"scheme": "bearer", "token": ""}, ("bearer", "token"), "at least 1"),
    ({"scheme": "bearer", "token": "a\r\nX: y"}, ("bearer", "token"), LINE),
    ({"scheme": "bearer", "token": "a\x00"}, ("bearer", "token"), LINE),
    ({"scheme": "bearer", "token": "schlüssel"}, ("bearer", "token"), LINE),
    ({"scheme": "bearer", "token": "abc "}, ("bearer", "token"), "begin or end with a space"),
    ({"scheme": "bearer", "token": "x" * 8193}, ("bearer", "token"), "at most 8192"),
    ({"scheme": "bearer", "token": 7}, ("bearer", "token"), "valid string"),
    ({"scheme": "api_key", "name": "X-Key", "value": ""}, ("api_key", "value"), "at least 1"),
    ({"scheme": "api_key", "name": "X-Key", "value": " k"}, ("api_key", "value"), "begin or end with a space"),
    ({"scheme": "api_key", "name": "X Key", "value": "v"}, ("api_key", "name"), "without spaces"),
    ({"scheme": "api_key", "name": "X-Key:", "value": "v"}, ("api_key", "name"), "without spaces"),
    ({"scheme": "api_key", "name": "a=b", "in": "query", "value": "v"}, ("api_key", "name"), "without spaces"),
    ({"scheme": "api_key", "name": "x" * 129, "value": "v"}, ("api_key", "name"), "without spaces"),
    ({"scheme": "api_key", "name": "Host", "value": "v"}, ("api_key", "name"), "cannot carry a key"),
    ({"scheme": "api_key", "name": "content_length", "value": "v"}, ("api_key", "name"), "cannot carry a key"),
    ({"scheme": "api_key", "name": "Transfer-Encoding", "value": "v"}, ("api_key", "name"), "cannot carry a key"),
    ({"scheme": "api_key", "name": "X-Key", "value": "v", "in": "body"}, ("api_key", "in"), "Input should be"),
    ({"scheme": "basic", "username": "a:b", "password": "x"}, ("basic", "username"), "match pattern"),
    ({"scheme": "basic", "username": "a", "password": "x\n"}, ("basic", "password"), "match pattern"),
    ({"scheme": "basic", "username": "a\x7f", "password": "x"}, ("basic", "username"), "match pattern"),
    (OAUTH | {"grant": "password"}, ("oauth2", "grant"), "Input should be"),
    (OAUTH | {"token_url": "ftp://x/t"}, ("oauth2", "token_url"), "must start with"),
    (OAUTH | {"token_url": "https://u:p@x/t"}, ("oauth2", "token_url"), "user or password"),
    (OAUTH | {"token_url": "https://x/t#f"}, ("oauth2", "token_url"), "no fragment"),
    (OAUTH | {"token_url": "https://x/../t"}, ("oauth2", "token_url"), "dot segments"),
    (OAUTH | {"token_url": "/token"}, ("oauth2", "token_url"), "must start with"),
    (OAUTH | {"client_id": ""}, ("oauth2", "client_id"), "at least 1"),
    (OAUTH | {"client_secret": "a\n"}, ("oauth2", "client_secret"), LINE),
    (OAUTH | {"client_auth": "tls"}, ("oauth2", "client_auth"), "Input should be"),
    (OAUTH | {"extra": {"grant_type": "password"}}, ("oauth2", "extra"), "must not set grant_type"),
    (OAUTH | {"extra": {"client_secret": "x", "scope": "y"}}, ("oauth2", "extra"), "client_secret, scope"),
    (OAUTH | {"resources": "x"}, ("oauth2", "resources"), "Extra inputs"),
]


@pytest.mark.parametrize(("given", "headers", "query"), SENT)
def test_a_scheme_puts_its_credential_where_its_standard_says(
    given: dict[str, Any], headers: tuple[tuple[bytes, bytes], ...], query: str
) -> None:
    credential = scheme(**given).credential()
    assert (credential.headers, credential.query) == (headers, query)


@pytest.mark.parametrize(("given", "place", "detail"), FAULTS)
def test_a_fault_of_the_form_is_named_at_its_place(given: dict[str, Any], place: tuple[str, ...], detail: str) -> None:
    with pytest.raises(ValidationError) as raised:
        scheme(**given)
    (fault,) = raised.value.errors()
    assert fault["loc"] == place
    assert detail in fault["msg"]


def test_several_faults_are_said_at_once() -> None:
    with pytest.raises(ValidationError) as raised:
        scheme(scheme="api_key", name="X Key", value="", unknown=1)
    assert raised.value.error_count() == 3


@pytest.mark.parametrize(
    ("given", "injected"),
    [
        ({"scheme": "none"}, set()),
        ({"scheme": "api_key", "name": "X_Api_Key", "value": "v"}, {b"x-api-key"}),
        ({"scheme": "api_key", "in": "cookie", "name": "sid", "value": "v"}, {b"cookie"}),
        ({"scheme": "api_key", "in": "query", "name": "k", "value": "v"}, set()),
        ({"scheme": "basic", "username": "u", "password": "p"}, {b"authorization"}),
        ({"scheme": "bearer", "token": "t"}, {b"authorization"}),
        (OAUTH, {b"authorization"}),
    ],
)
def test_what_a_scheme_sets_a_caller_cannot(given: dict[str, Any], injected: set[bytes]) -> None:
    assert scheme(**given).injected() == injected


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


def test_every_secret_field_of_a_scheme_is_one_of_its_fields() -> None:
    for given, *_ in GUARDED:
        auth = scheme(**given)
        assert set(auth.SECRETS) <= set(type(auth).model_fields)
        assert auth.SECRETS
