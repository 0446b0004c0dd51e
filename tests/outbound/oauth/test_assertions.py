"""Signed assertions: what stands in them, and which keys sign which algorithm."""

import warnings

import pytest
from joserfc import jwt
from joserfc.jwk import import_key

from quart_app.outbound.oauth.assertions import LIFE_SECONDS, algorithms_of, assertion
from tests.outbound.oauth.keys import pem, public

NOW = 1_800_000_000.9
CLAIMS = {"iss": "me", "sub": "me", "aud": "https://id.example.com/"}

FITTING = [
    ("rsa", "RS256"),
    ("rsa", "PS256"),
    ("rsa", "RS512"),
    ("p256", "ES256"),
    ("p384", "ES384"),
    ("p521", "ES512"),
    ("ed25519", "EdDSA"),
    ("ed25519", "Ed25519"),
]


def read(token: str, kind: str, algorithm: str) -> jwt.Token:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # EdDSA under its older name
        return jwt.decode(token, import_key(public(kind)), [algorithm])


@pytest.mark.parametrize(("kind", "algorithm"), FITTING)
def test_an_assertion_is_signed_by_the_key_and_says_which_one(kind: str, algorithm: str) -> None:
    token = assertion(CLAIMS, private_key=pem(kind), algorithm=algorithm, key_id="key-1", now=NOW)
    found = read(token, kind, algorithm)
    assert found.header == {"typ": "JWT", "alg": algorithm, "kid": "key-1"}
    assert found.claims.pop("jti")
    assert found.claims == CLAIMS | {"iat": 1_800_000_000, "exp": 1_800_000_000 + LIFE_SECONDS}


@pytest.mark.parametrize(("kind", "usual"), [("rsa", "RS256"), ("p256", "ES256"), ("ed25519", "EdDSA")])
@pytest.mark.parametrize("traditional", [False, True])
def test_without_an_algorithm_the_usual_one_of_the_key_is_taken(kind: str, usual: str, *, traditional: bool) -> None:
    text = pem(kind, traditional=traditional and kind != "ed25519")
    token = assertion(CLAIMS, private_key=text, algorithm=None, key_id=None, now=NOW)
    assert read(token, kind, usual).header == {"typ": "JWT", "alg": usual}


def test_each_assertion_has_an_id_of_its_own_and_lives_one_to_five_minutes() -> None:
    first, second = (assertion(CLAIMS, private_key=pem("p256"), algorithm=None, key_id=None, now=NOW) for _ in "12")
    assert read(first, "p256", "ES256").claims["jti"] != read(second, "p256", "ES256").claims["jti"]
    assert 60 <= LIFE_SECONDS <= 300


def test_times_and_id_are_not_the_claims_to_set() -> None:
    claims = CLAIMS | {"exp": 1, "iat": 1, "jti": "mine", "iss": "another"}
    token = assertion(claims, private_key=pem("p256"), algorithm=None, key_id=None, now=NOW)
    found = read(token, "p256", "ES256").claims
    assert found["iss"] == "another"
    assert found["exp"] - found["iat"] == LIFE_SECONDS
    assert found["jti"] != "mine"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (pem("short"), "1024 bits; signatures need 2048"),
        (pem("dsa"), "signs no assertions"),
        (pem("ed448"), "signs no assertions"),
        (pem("secp256k1"), "signs no assertions"),
        (pem("rsa", locked=True), "has a passphrase"),
        ("hello", "no private key in PEM"),
        ("", "no private key in PEM"),
        (pem("p256")[:100], "no private key in PEM"),
    ],
    ids=["short", "dsa", "ed448", "secp256k1", "locked", "text", "empty", "cut"],
)
def test_a_key_that_cannot_sign_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        algorithms_of(text)


def test_an_algorithm_of_another_key_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot sign with ES256"):
        assertion(CLAIMS, private_key=pem("rsa"), algorithm="ES256", key_id=None, now=NOW)


def test_signing_with_the_older_name_of_eddsa_does_not_warn() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assertion(CLAIMS, private_key=pem("ed25519"), algorithm="EdDSA", key_id=None, now=NOW)
    assert caught == []
