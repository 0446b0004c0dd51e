"""The schemes: what each puts onto a request, what no caller can set then, and the faults of its form."""

from typing import Any

import pytest
from pydantic import ValidationError

from quart_app.outbound.auth import NoAuth, Scheme
from quart_app.outbound.ways import Proxy, Tls
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


def test_every_secret_of_a_form_is_one_of_its_fields_and_not_shown_when_that_is_printed() -> None:
    kinds: set[type[Any]] = {*Scheme.__subclasses__(), Tls, Proxy}
    assert len(kinds) >= 7
    for kind in kinds:
        assert set(kind.SECRETS) == {name for name, field in kind.model_fields.items() if not field.repr}
        assert kind.SECRETS or kind is NoAuth
