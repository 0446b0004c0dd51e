"""What is asked of a token endpoint by each grant, and how the client says who it is."""

import base64
from typing import Any
from urllib.parse import parse_qsl

import pytest
from joserfc import jwt
from joserfc.jwk import import_key

from quart_app.outbound.oauth.endpoints import Endpoints, of_form
from quart_app.outbound.oauth.form import OAuth2
from quart_app.outbound.oauth.refusals import GrantFailed
from quart_app.outbound.oauth.requests import (
    CLIENT_ASSERTION,
    JWT_BEARER,
    TokenRequest,
    redemption,
    renewal,
    revocation,
)
from tests.outbound.oauth.keys import filled, pem, public

TOKEN_URL = "https://id.example.com/token"
CODE_GRANT = {"grant": "authorization_code", "authorize_url": "https://id.example.com/authorize"}
NOW = 1_800_000_000.0
COMMON = [("Accept", "application/json"), ("Content-Type", "application/x-www-form-urlencoded")]


def endpoints(auth: OAuth2) -> Endpoints:
    found = of_form(auth)
    assert found is not None
    return found


def renewed(auth: OAuth2, refresh_token: str | None = None) -> TokenRequest:
    return renewal(auth, endpoints(auth), refresh_token, now=NOW)


def form_of(request: TokenRequest) -> dict[str, str]:
    """The form as it is sent, in which no parameter may stand twice (RFC 6749 §3.2)."""
    pairs = parse_qsl(request.body.decode("ascii"), strict_parsing=True)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def claims_of(token: str, kind: str = "p256", algorithm: str = "ES256") -> dict[str, Any]:
    claims = dict(jwt.decode(token, import_key(public(kind)), [algorithm]).claims)
    assert claims.pop("jti")
    assert (claims.pop("iat"), claims.pop("exp")) == (NOW, NOW + 120)
    return claims


def basic(pair: str) -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(pair.encode()).decode()


REQUESTS = [
    # RFC 6749 §4.4.2 with §2.3.1: id and secret form-encoded, then Base64
    ({"client_secret": "s3"}, None, [basic("me:s3")], {"grant_type": "client_credentials"}),
    (
        {"client_id": "a b:c", "client_secret": "p%&=+/ x"},
        None,
        [basic("a+b%3Ac:p%25%26%3D%2B%2F+x")],
        {"grant_type": "client_credentials"},
    ),
    (
        {"client_secret": "s&3", "client_auth": "post"},
        None,
        [],
        {"grant_type": "client_credentials", "client_id": "me", "client_secret": "s&3"},
    ),
    ({}, None, [], {"grant_type": "client_credentials", "client_id": "me"}),
    (
        {"client_secret": "s", "scope": "a b", "audience": "urn:x", "resource": "https://r/", "extra": {"to": "t&1"}},
        None,
        [basic("me:s")],
        {
            "grant_type": "client_credentials",
            "scope": "a b",
            "audience": "urn:x",
            "resource": "https://r/",
            "to": "t&1",
        },
    ),
    (
        {"scope": "a  b,c", "scope_separator": ","},
        None,
        [],
        {"grant_type": "client_credentials", "client_id": "me", "scope": "a,b,c"},
    ),
    # §6
    (
        {"grant": "refresh_token", "client_secret": "s", "scope": "a"},
        "rt+1/=",
        [basic("me:s")],
        {"grant_type": "refresh_token", "refresh_token": "rt+1/=", "scope": "a"},
    ),
    # what a person granted may be less than what was asked for, and to ask for all of it again is invalid_scope
    (
        CODE_GRANT | {"client_secret": "s", "scope": "a", "resource": "https://r/"},
        "rt-1",
        [basic("me:s")],
        {"grant_type": "refresh_token", "refresh_token": "rt-1", "resource": "https://r/"},
    ),
    ({"client_secret": "s"}, "left-over", [basic("me:s")], {"grant_type": "client_credentials"}),
]


@pytest.mark.parametrize(("given", "refresh_token", "headers", "form"), REQUESTS)
def test_a_renewal_is_what_the_standard_asks_for(
    given: dict[str, Any], refresh_token: str | None, headers: list[tuple[str, str]], form: dict[str, str]
) -> None:
    request = renewed(filled(**given), refresh_token)
    assert request.url == TOKEN_URL
    assert list(request.headers) == COMMON + headers
    assert form_of(request) == form


@pytest.mark.parametrize("missing", [None, ""])
@pytest.mark.parametrize("given", [{"grant": "refresh_token"}, CODE_GRANT], ids=["refresh_token", "code"])
def test_without_a_refresh_token_nothing_is_asked_and_a_person_is_needed(
    given: dict[str, str], missing: str | None
) -> None:
    with pytest.raises(GrantFailed, match="sign in") as raised:
        renewed(filled(**given), missing)
    assert (raised.value.failure, raised.value.state) == ("signed_out", "needs_sign_in")


def test_a_code_is_redeemed_with_its_verifier_and_without_the_scope() -> None:
    auth = filled(**CODE_GRANT, scope="a b", resource="https://r/", client_secret="s", extra={"to": "t"})
    request = redemption(auth, endpoints(auth), code="c+1", verifier="v" * 43, redirect_uri="https://x/cb?a=1", now=NOW)
    assert request.headers[-1] == basic("me:s")
    assert form_of(request) == {
        "grant_type": "authorization_code",
        "code": "c+1",
        "redirect_uri": "https://x/cb?a=1",
        "code_verifier": "v" * 43,
        "resource": "https://r/",
        "to": "t",
    }


def test_a_token_is_revoked_where_the_provider_says_and_by_the_same_client() -> None:
    auth = filled(client_secret="s", client_auth="post", extra={"to": "t"}, revocation_url="https://id.example.com/r")
    request = revocation(auth, endpoints(auth), "rt-1", hint="refresh_token", now=NOW)
    assert request.url == "https://id.example.com/r"
    assert form_of(request) == {
        "token": "rt-1",
        "token_type_hint": "refresh_token",
        "client_id": "me",
        "client_secret": "s",
    }


def test_without_an_endpoint_for_it_nothing_is_revoked() -> None:
    with pytest.raises(GrantFailed, match="no endpoint"):
        revocation(filled(), endpoints(filled()), "rt-1", hint="refresh_token", now=NOW)


AUDIENCES = [
    ({}, TOKEN_URL),
    ({"issuer": "https://id.example.com/tenant"}, "https://id.example.com/tenant"),
    ({"issuer": "https://id.example.com", "assertion_audience": "urn:theirs"}, "urn:theirs"),
]


@pytest.mark.parametrize(("given", "audience"), AUDIENCES)
def test_a_client_proves_itself_with_its_key_to_the_issuer_or_else_to_the_token_endpoint(
    given: dict[str, str], audience: str
) -> None:
    key = pem("p256")
    auth = filled(client_auth="private_key_jwt", private_key=key, client_secret="unused", key_id="k1", **given)
    request = renewed(auth)
    form = form_of(request)
    assert list(request.headers) == COMMON
    assert jwt.decode(form["client_assertion"], import_key(public("p256")), ["ES256"]).header["kid"] == "k1"
    assert claims_of(form.pop("client_assertion")) == {"iss": "me", "sub": "me", "aud": audience}
    assert form == {
        "grant_type": "client_credentials",
        "client_id": "me",
        "client_assertion_type": CLIENT_ASSERTION,
    }


def test_the_client_proves_itself_the_same_way_when_it_redeems_and_revokes() -> None:
    auth = filled(**CODE_GRANT, client_auth="private_key_jwt", private_key=pem("p256"), revocation_url="https://x/r")
    redeemed = redemption(auth, endpoints(auth), code="c", verifier="v", redirect_uri="https://x/cb", now=NOW)
    revoked = revocation(auth, endpoints(auth), "at", hint="access_token", now=NOW)
    for request in (redeemed, revoked):
        assert claims_of(form_of(request)["client_assertion"])["aud"] == TOKEN_URL


BEARER = {"grant": "jwt_bearer", "private_key": pem("rsa")}
ASSERTED = [
    ({}, {"iss": "me", "sub": "me", "aud": TOKEN_URL}),
    ({"subject": "ada@example.com"}, {"iss": "me", "sub": "ada@example.com", "aud": TOKEN_URL}),
    ({"assertion_audience": "account.example.com"}, {"iss": "me", "sub": "me", "aud": "account.example.com"}),
    ({"scope": "a b"}, {"iss": "me", "sub": "me", "aud": TOKEN_URL, "scope": "a b"}),
    (
        {"claims": {"iss": "org", "box_sub_type": "enterprise", "n": [1]}},
        {"iss": "org", "sub": "me", "aud": TOKEN_URL, "box_sub_type": "enterprise", "n": [1]},
    ),
]


@pytest.mark.parametrize(("given", "claims"), ASSERTED)
def test_a_jwt_bearer_grant_asserts_whom_it_speaks_for(given: dict[str, Any], claims: dict[str, Any]) -> None:
    request = renewed(filled(**BEARER, **given), "left-over")
    form = form_of(request)
    assert claims_of(form.pop("assertion"), "rsa", "RS256") == claims
    assert form == {"grant_type": JWT_BEARER} | ({"scope": given["scope"]} if "scope" in given else {})


def test_a_jwt_bearer_grant_goes_with_the_clients_own_proof_where_there_is_one() -> None:
    assert renewed(filled(**BEARER, client_secret="s")).headers[-1] == basic("me:s")
    posted = form_of(renewed(filled(**BEARER, client_secret="s", client_auth="post")))
    assert (posted["client_id"], posted["client_secret"]) == ("me", "s")
    signed = form_of(renewed(filled(**BEARER, client_auth="private_key_jwt", subject="ada")))
    assert claims_of(signed["client_assertion"], "rsa", "RS256")["sub"] == "me"
    assert claims_of(signed["assertion"], "rsa", "RS256")["sub"] == "ada"


def test_a_request_knows_its_secrets_and_shows_none_when_it_is_printed() -> None:
    posted = renewed(
        filled(
            grant="refresh_token", client_secret="client-secret", client_auth="post", scope="a", extra={"k": "extra-1"}
        ),
        "rt-1",
    )
    assert set(posted.secrets) == {"client-secret", "extra-1", "rt-1"}
    headed = renewed(filled(client_secret="client&secret", audience="urn:x"))
    pair = headed.headers[-1][1].removeprefix("Basic ")
    assert set(headed.secrets) == {pair, "client&secret"}
    assert repr(headed) == f"TokenRequest(url={TOKEN_URL!r})"
    signed = renewed(filled(client_auth="private_key_jwt", private_key=pem("p256")))
    assert signed.secrets == (form_of(signed)["client_assertion"],)
