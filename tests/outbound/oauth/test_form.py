"""The form of a connection that signs in by OAuth: what must go with what, and each fault at its place."""

from typing import Any

import pytest
from pydantic import ValidationError

from quart_app.outbound.oauth.form import is_safe
from tests.outbound.oauth.keys import filled, pem

LINE = "must be printable ASCII on one line"
CODE_GRANT = {"grant": "authorization_code", "authorize_url": "https://id.example.com/authorize"}
ISSUER = "https://id.example.com/tenant"
SIGNS = {"client_auth": "private_key_jwt", "private_key": pem("p256")}

FAULTS = [
    ({"grant": "password"}, "grant", "Input should be"),
    ({"token_url": "ftp://x/t"}, "token_url", "must start with"),
    ({"token_url": "https://u:p@x/t"}, "token_url", "user or password"),
    ({"token_url": "https://x/t#f"}, "token_url", "no fragment"),
    ({"token_url": "https://x/t?a=b#f"}, "token_url", "no fragment"),
    ({"token_url": "https://x/../t"}, "token_url", "dot segments"),
    ({"token_url": "https://x/t?a= b"}, "token_url", "must be escaped"),
    ({"token_url": "/token"}, "token_url", "must start with"),
    ({"token_url": "https://x/" + "t" * 2048}, "token_url", "at most 2048"),
    ({"token_url": None}, "token_url", "the issuer whose metadata names it"),
    ({"authorize_url": "javascript:alert(1)"}, "authorize_url", "must start with"),
    ({"revocation_url": "//x/r"}, "revocation_url", "must start with"),
    ({"grant": "authorization_code"}, "authorize_url", "the issuer whose metadata names it"),
    ({"issuer": "http://id.example.com"}, "issuer", "must start with https"),
    ({"issuer": "http://10.0.0.1"}, "issuer", "must start with https"),
    ({"issuer": "https://id.example.com?a=b"}, "issuer", "no query"),
    ({"issuer": "https://id.example.com#f"}, "issuer", "no fragment"),
    ({"issuer": "id.example.com"}, "issuer", "must start with"),
    ({"client_id": ""}, "client_id", "at least 1"),
    ({"client_id": None}, "client_id", "valid string"),
    ({"client_secret": "a\n"}, "client_secret", LINE),
    ({"client_auth": "tls"}, "client_auth", "Input should be"),
    ({"client_auth": "private_key_jwt"}, "private_key", "is missing: the client proves"),
    ({"grant": "jwt_bearer"}, "private_key", "is missing: the grant jwt_bearer"),
    (SIGNS | {"private_key": "hello"}, "private_key", "no private key in PEM"),
    (SIGNS | {"private_key": pem("rsa", locked=True)}, "private_key", "has a passphrase"),
    (SIGNS | {"private_key": pem("short")}, "private_key", "1024 bits"),
    (SIGNS | {"private_key": pem("secp256k1")}, "private_key", "signs no assertions"),
    ({"private_key": "left over"}, "private_key", "no private key in PEM"),
    (SIGNS | {"signing_alg": "RS256"}, "signing_alg", "does not fit the private key, which signs with ES256"),
    (SIGNS | {"signing_alg": "HS256"}, "signing_alg", "Input should be"),
    (SIGNS | {"signing_alg": "none"}, "signing_alg", "Input should be"),
    (SIGNS | {"key_id": "a\r\nb"}, "key_id", LINE),
    ({"scope": "a\nb"}, "scope", LINE),
    ({"scope_separator": "; "}, "scope_separator", "match pattern"),
    ({"scope_separator": ""}, "scope_separator", "match pattern"),
    ({"refresh_token": "ä"}, "refresh_token", LINE),
    ({"extra": {"grant_type": "password"}}, "extra", "must not set grant_type"),
    ({"extra": {"client_secret": "x", "scope": "y"}}, "extra", "client_secret, scope"),
    ({"extra": {"resource": "x", "audience": "y"}}, "extra", "audience, resource"),
    ({"extra": {"client_assertion": "x"}}, "extra", "client_assertion"),
    ({"extra": {"assertion": "x"}}, "extra", "assertion"),
    ({"extra": {"code_verifier": "x"}}, "extra", "code_verifier"),
    ({"extra": {str(number): "x" for number in range(51)}}, "extra", "at most 50"),
    ({"authorize_extra": {"state": "x"}}, "authorize_extra", "must not set state"),
    ({"authorize_extra": {"redirect_uri": "x"}}, "authorize_extra", "redirect_uri"),
    ({"authorize_extra": {"code_challenge_method": "plain"}}, "authorize_extra", "code_challenge_method"),
    ({"authorize_extra": {"response_type": "token"}}, "authorize_extra", "response_type"),
    ({"authorize_extra": {"response_mode": "fragment"}}, "authorize_extra", "response_mode"),
    ({"claims": {"exp": 1}}, "claims", "must not set exp"),
    ({"claims": {"sub": "x", "aud": "y"}}, "claims", "aud, sub"),
    ({"subject": ""}, "subject", "at least 1"),
    ({"refresh_token_seconds": 59}, "refresh_token_seconds", "greater than or equal to 60"),
    ({"refresh_token_seconds": "3600"}, "refresh_token_seconds", "valid integer"),
    ({"refresh_token_seconds": True}, "refresh_token_seconds", "valid integer"),
    ({"resources": "x"}, "resources", "Extra inputs"),
]


@pytest.mark.parametrize(("given", "place", "detail"), FAULTS, ids=range(len(FAULTS)))
def test_a_fault_is_named_at_its_place(given: dict[str, Any], place: str, detail: str) -> None:
    with pytest.raises(ValidationError) as raised:
        filled(**given)
    (fault,) = raised.value.errors()
    assert fault["loc"] == ("oauth2", place)
    assert detail in fault["msg"]


def test_several_faults_are_said_at_once() -> None:
    with pytest.raises(ValidationError) as raised:
        filled(grant="jwt_bearer", token_url=None, issuer="http://x.example", client_id="", extra={"scope": "x"})
    places = {fault["loc"][1] for fault in raised.value.errors()}
    assert places == {"issuer", "client_id", "private_key", "extra"}


TAKEN = [
    {"token_url": None, "issuer": ISSUER},
    {"token_url": None, "issuer": "http://127.0.0.1:9000/tenant"},
    {"grant": "authorization_code", "token_url": None, "issuer": ISSUER},
    CODE_GRANT,
    CODE_GRANT | {"authorize_url": "https://id.example.com/authorize?tenant=1"},
    {"grant": "refresh_token"},
    {"grant": "jwt_bearer", "private_key": pem("rsa"), "signing_alg": "PS512"},
    {"grant": "jwt_bearer", "private_key": pem("rsa", traditional=True)},
    SIGNS | {"private_key": pem("p256", traditional=True), "signing_alg": "ES256"},
    SIGNS | {"private_key": pem("ed25519"), "signing_alg": "EdDSA"},
    {"private_key": pem("rsa")},
    {"extra": {"tenant": "t", "prompt": "x"}, "authorize_extra": {"access_type": "offline", "prompt": "consent"}},
    {"claims": {"iss": "org", "nbf": 1, "deep": {"a": [None]}}},
    {"refresh_token_seconds": 7_776_000},
]


@pytest.mark.parametrize("given", TAKEN, ids=range(len(TAKEN)))
def test_what_fits_together_is_taken_and_comes_back_as_it_was_given(given: dict[str, Any]) -> None:
    auth = filled(**given)
    assert all(getattr(auth, name) == value for name, value in given.items())
    assert filled(**auth.model_dump()) == auth


@pytest.mark.parametrize(
    ("scope", "separator", "sent"),
    [
        (None, ",", None),
        ("a b", " ", "a b"),
        ("a   b", " ", "a b"),
        ("a b", ",", "a,b"),
        ("a,b c", ",", "a,b,c"),
        ("a,b", " ", "a,b"),
        ("a b", "+", "a+b"),
    ],
)
def test_a_scope_is_sent_with_the_providers_separator(scope: str | None, separator: str, sent: str | None) -> None:
    assert filled(scope=scope, scope_separator=separator).scope_as_sent == sent


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://id.example.com", True),
        ("http://127.0.0.1:8000/x", True),
        ("http://127.8.9.1", True),
        ("http://localhost", True),
        ("http://[::1]:80", True),
        ("http://id.localhost", True),
        ("http://id.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
        ("http://notlocalhost", False),
        ("http://[::2]", False),
    ],
)
def test_without_tls_only_this_host_is_safe(url: str, *, safe: bool) -> None:
    assert is_safe(url) is safe


def test_nothing_secret_is_shown_when_a_form_is_printed() -> None:
    auth = filled(client_secret="swordfish", refresh_token="renewal-1", **SIGNS)
    line = SIGNS["private_key"].splitlines()[1]
    assert not any(secret in repr(auth) + str(auth) for secret in ("swordfish", "renewal-1", line))
