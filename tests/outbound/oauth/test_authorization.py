"""The authorization request, and what a provider's answer to it may be."""

import base64
import hashlib
import re
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest

from quart_app.errors import Invalid
from quart_app.outbound.oauth.authorization import (
    LONGEST_CODE,
    LONGEST_SAID,
    authorize_url,
    challenge,
    check_issuer,
    new_secret,
    read_callback,
    wants_id_token,
)
from tests.outbound.oauth.keys import filled

ENDPOINT = "https://id.example.com/authorize"
REDIRECT = "https://switchboard.example.com/oauth/callback/orders"
OWN = {"redirect_uri": REDIRECT, "state": "the-state", "nonce": "the-nonce", "verifier": "the-verifier"}


def request_of(endpoint: str = ENDPOINT, **given: Any) -> dict[str, str]:
    """The parameters as a provider reads them, none of them twice (RFC 6749 §3.1)."""
    auth = filled(grant="authorization_code", authorize_url=ENDPOINT, **given)
    url = authorize_url(auth, endpoint, **OWN)
    pairs = parse_qsl(urlsplit(url).query, strict_parsing=True)
    assert len(pairs) == len(dict(pairs))
    assert url.startswith(f"{ENDPOINT}?")
    assert "+" not in url, "some servers read a plus sign as one"
    return dict(pairs)


def test_a_request_asks_for_a_code_and_nothing_else_with_pkce_also_of_a_client_with_a_secret() -> None:
    for secret in ({}, {"client_secret": "s3cret"}):
        assert request_of(**secret) == {
            "response_type": "code",
            "client_id": "me",
            "redirect_uri": REDIRECT,
            "state": "the-state",
            "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(b"the-verifier").digest()).decode().rstrip("="),
            "code_challenge_method": "S256",
        }


def test_the_challenge_is_the_one_of_the_standard_s_example() -> None:
    """RFC 7636 appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_what_the_form_says_goes_along() -> None:
    sent = request_of(
        scope="items:read  items:write",
        resource="https://api.example.com",
        audience="https://aud.example.com",
        authorize_extra={"access_type": "offline", "prompt": "consent & more"},
    )
    assert sent["scope"] == "items:read items:write"
    assert sent["resource"] == "https://api.example.com"
    assert sent["audience"] == "https://aud.example.com"
    assert (sent["access_type"], sent["prompt"]) == ("offline", "consent & more")


def test_scopes_stand_apart_as_the_provider_wants_it() -> None:
    assert request_of(scope="read write", scope_separator=",")["scope"] == "read,write"


@pytest.mark.parametrize(
    ("form", "sent"),
    [
        ({"scope": "openid email"}, True),
        ({"scope": "email openid", "scope_separator": ","}, True),
        ({"scope": "email,openid", "scope_separator": ","}, True),
        ({"scope": "openid-like email"}, False),
        ({}, False),
    ],
)
def test_a_nonce_goes_along_where_it_is_openid_connect(form: dict[str, str], sent: bool) -> None:
    auth = filled(grant="authorization_code", authorize_url=ENDPOINT, **form)
    assert wants_id_token(auth) is sent
    assert request_of(**form).get("nonce") == ("the-nonce" if sent else None)


def test_an_endpoint_keeps_its_own_query_but_for_what_we_say() -> None:
    sent = request_of(f"{ENDPOINT}?tenant=a%20b&state=theirs&response%5Ftype=token")
    assert (sent["tenant"], sent["state"], sent["response_type"]) == ("a b", "the-state", "code")
    auth = filled(grant="authorization_code", authorize_url=ENDPOINT)
    assert "?tenant=a%20b&flag&" in authorize_url(auth, f"{ENDPOINT}?tenant=a%20b&flag", **OWN)


def test_secrets_are_256_bits_as_a_verifier_may_be_written() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", secret) for secret in made)


def test_an_answer_is_a_code_or_an_error_and_what_is_not_known_is_passed_over() -> None:
    found = read_callback(b"code=a%2Fb+c&state=s&iss=https%3A%2F%2Fid.example.com&session_state=1&session_state=2&x")
    assert (found.code, found.state, found.issuer, found.error) == ("a/b c", "s", "https://id.example.com", "")
    refused = read_callback(b"error=access_denied&error_description=No%20thanks&state=s&code=")
    assert (refused.error, refused.said, refused.code) == ("access_denied", "access_denied: No thanks", "")
    assert "a/b" not in repr(found)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (b"", "state_missing"),
        (b"code=c", "state_missing"),
        (b"code=c&state=", "state_missing"),
        (b"state=s", "code_missing"),
        (b"state=s&code=&error=", "code_missing"),
        (b"state=s&code=c&error=access_denied", "code_and_error"),
        (b"state=s&code=c&code=c", "duplicate_parameter"),
        (b"state=s&state=s&code=c", "duplicate_parameter"),
        (b"state=s&code=c&iss=a&iss=", "duplicate_parameter"),
        (b"state=s&code=" + b"c" * (LONGEST_CODE + 1), "invalid_code"),
        (b"state=s&code=c%0d%0aX:1", "invalid_code"),
        (b"state=s&code=%C3%A9", "invalid_code"),
        (b"state=s&code=%ff", "invalid_callback"),
        (b"state=s&code=\xff", "invalid_callback"),
        (b"state=s&code=c" + b"&a=1" * 50, "invalid_callback"),
    ],
)
def test_an_answer_that_no_provider_may_give_is_refused_by_name(query: bytes, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_callback(query)
    assert (caught.value.status, caught.value.code) == (400, code)


def test_a_code_may_be_as_long_as_codes_are() -> None:
    assert len(read_callback(b"state=s&code=" + b"c" * LONGEST_CODE).code) == LONGEST_CODE


def test_the_provider_s_words_are_short_and_on_one_line() -> None:
    said = "no\r\n\u202eway\x00 " + "x" * 1000
    found = read_callback(urlencode({"state": "s", "error": "e", "error_description": said}).encode())
    assert found.said.startswith("e: no   way  xxx")
    assert len(found.said) == LONGEST_SAID
    assert found.said.isprintable()


@pytest.mark.parametrize(
    ("given", "expected", "required", "code"),
    [
        ("https://a.example", "https://a.example", True, None),
        ("", "https://a.example", False, None),
        ("https://a.example", None, False, None),
        ("https://b.example", "https://a.example", False, "wrong_issuer"),
        ("https://a.example/", "https://a.example", False, "wrong_issuer"),
        ("", "https://a.example", True, "issuer_missing"),
    ],
)
def test_the_issuer_in_an_answer_is_the_one_that_was_asked(
    given: str, expected: str | None, required: bool, code: str | None
) -> None:
    """RFC 9207 §2.4: compared as it stands."""
    if code is None:
        check_issuer(given, expected, required=required)
        return
    with pytest.raises(Invalid) as caught:
        check_issuer(given, expected, required=required)
    assert caught.value.code == code


def test_an_answer_is_read_as_it_was_written() -> None:
    state = "a&b=c+d%"
    assert read_callback(f"state={quote(state, safe='')}&code=1".encode()).state == state
