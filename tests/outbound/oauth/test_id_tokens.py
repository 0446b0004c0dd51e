"""Which ID tokens are taken: the right provider, client and sign-in, in time, signed with a key of the provider's."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc.jwk import OctKey, import_key
from joserfc.jws import JWSRegistry

from quart_app.outbound.oauth.id_tokens import Expected, check
from quart_app.outbound.oauth.refusals import GrantFailed
from tests.outbound.oauth.keys import pem, public

NOW = 1_800_000_000.0
ISSUER = "https://id.example.com"
NONCE = "the-nonce"
EXPECTED = Expected(issuer=ISSUER, client_id="me", nonce_hash=hashlib.sha256(NONCE.encode()).hexdigest())
CLAIMS = {"iss": ISSUER, "sub": "ann", "aud": "me", "exp": NOW + 300, "iat": NOW, "nonce": NONCE}
KINDS = {"RS256": "rsa", "PS256": "rsa", "ES256": "p256", "EdDSA": "ed25519", "Ed25519": "ed25519"}
OTHER_CLIENTS = {"aud": ["me", "they"], "azp": "they"}


def coded(part: Any) -> str:
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def token(claims: Any = CLAIMS, *, alg: str = "RS256", kind: str = "", **header: Any) -> str:
    content = f"{coded({'alg': alg} | header)}.{coded(claims)}"
    key: Any = import_key(pem(kind or KINDS[alg]), "RSA" if "S256" in alg and alg[0] != "E" else key_type(alg))
    model = JWSRegistry.algorithms["Ed25519" if alg == "EdDSA" else alg]
    return f"{content}.{coded(model.sign(content.encode(), key))}"


def key_type(alg: str) -> Any:
    return "EC" if alg.startswith("ES") else "OKP"


def key_set(*kinds: str, **more: Any) -> dict[str, Any]:
    return {"keys": [public(kind) | {"kid": kind} | more for kind in kinds]}


def why(text: str, expected: Expected = EXPECTED, keys: Mapping[str, Any] | None = None) -> str:
    """What is wrong with it."""
    with pytest.raises(GrantFailed) as caught:
        check(text, expected, keys, now=NOW)
    assert caught.value.code == "invalid_id_token"
    assert caught.value.state is None
    return f"{caught.value.failure}: {caught.value.detail}"


@pytest.mark.parametrize("alg", KINDS)
def test_a_token_that_a_key_of_the_provider_signed_is_taken(alg: str) -> None:
    kind = KINDS[alg]
    check(token(alg=alg, kid=kind), EXPECTED, key_set("p384", kind, "rsa"), now=NOW)
    check(token(alg=alg), EXPECTED, key_set("p384", kind, "rsa"), now=NOW)
    check(token(alg=alg, kid=kind), EXPECTED, key_set(kind, alg=alg, use="sig"), now=NOW)


def test_keys_that_cannot_be_read_or_are_for_something_else_stand_in_nobody_s_way() -> None:
    odd: list[Any] = [1, None, {}, {"kty": "AKP"}, {"kty": "RSA"}, {"kty": "RSA", "n": 7, "e": "AQAB"}]
    odd += [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "OKP", "crv": "Ed25519", "x": "!"}]
    good = key_set("rsa")["keys"]
    check(token(), EXPECTED, {"keys": [*odd, *good]}, now=NOW)
    sets: list[dict[str, Any]] = [{"keys": odd}, {"keys": []}, {}, {"keys": "none"}]
    for keys in (*sets, key_set("rsa", use="enc"), key_set("rsa", alg="PS256")):
        assert "not signed by the provider" in why(token(), keys=keys)


def test_private_members_of_a_key_are_not_read_which_would_take_minutes_of_a_long_one() -> None:
    private = dict.fromkeys(("d", "p", "q", "dp", "dq", "qi"), "AA")
    listed = [key | private | {"kid": "rsa"} for key in key_set("rsa")["keys"]]
    assert all(key.keys() & private.keys() for key in listed)
    check(token(), EXPECTED, {"keys": listed}, now=NOW)


def test_no_more_than_thirty_keys_are_tried() -> None:
    others, good = key_set("p256")["keys"], key_set("rsa")["keys"]
    check(token(), EXPECTED, {"keys": others * 29 + good}, now=NOW)
    assert "not signed by the provider" in why(token(), keys={"keys": others * 30 + good})


def test_a_signature_by_another_s_key_or_over_something_else_is_refused() -> None:
    good = token()
    head, claims, signature = good.split(".")
    forged = f"{head}.{coded(CLAIMS | {'sub': 'eve'})}.{signature}"
    for text in (forged, f"{head}.{claims}.", f"{head}.{claims}.{signature[:-8]}", f"{head}.{claims}.AAAA"):
        assert "not signed by the provider" in why(text, keys=key_set("rsa"))
    assert "not signed by the provider" in why(good, keys=key_set("p256", "ed25519"))
    assert "not signed by the provider" in why(token(kid="other"), keys=key_set("rsa"))
    assert "not signed by the provider" in why(token(kid={"a": 1}), keys=key_set("rsa"))


def test_none_and_the_client_s_own_secret_sign_nothing() -> None:
    secret = OctKey.import_key("the-client-secret-of-enough-length")
    content = f"{coded({'alg': 'HS256'})}.{coded(CLAIMS)}"
    shared = f"{content}.{coded(JWSRegistry.algorithms['HS256'].sign(content.encode(), secret))}"
    unsigned = [f"{coded({'alg': alg})}.{coded(CLAIMS)}." for alg in ("none", "None", "NONE", 1, None)]
    public_pem = f"{coded({'alg': 'HS512'})}.{coded(CLAIMS)}.AAAA"
    for text in (shared, *unsigned, f"{coded({})}.{coded(CLAIMS)}.AAAA", public_pem, token(crit=["x"], x=1)):
        for keys in (None, key_set("rsa"), {"keys": [secret.as_dict(private=True)]}):
            assert "not signed in a way that is taken" in why(text, keys=keys)


@pytest.mark.parametrize(
    "text",
    ["", "a", "a.b", "a.b.c.d", "..", "!.!.!", f"{coded([])}.{coded({})}.", f"{coded({'alg': 'RS256'})}.{coded(b'{')}.",
     f"{coded({'alg': 'RS256'})}.{coded(b'[1]')}.AAAA", f"{coded({'alg': 'RS256'})}.{coded(b'[' * 5000)}.AAAA",
     f"{coded({'alg': 'RS256'})}.é.AAAA", f"{coded({'alg': 'RS256'})}.{coded(CLAIMS)}.a+b="],
)  # fmt: skip
def test_what_is_no_token_is_refused(text: str) -> None:
    assert "is not one" in why(text)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"iss": "https://evil.example"}, "another provider's"),
    ({"iss": f"{ISSUER}/"}, "another provider's"),
    ({"iss": None}, "another provider's"),
    ({"aud": "they"}, "for another client"),
    ({"aud": ["they"]}, "for another client"),
    ({"aud": None}, "for another client"),
    ({"aud": "me too"}, "for another client"),
    ({"aud": ["me", "they"]}, "given to another client"),
    (OTHER_CLIENTS, "given to another client"),
    ({"azp": "they"}, "given to another client"),
    ({"nonce": "another"}, "not from this sign-in"),
    ({"nonce": None}, "not from this sign-in"),
    ({"nonce": 7}, "not from this sign-in"),
    ({"exp": NOW - 60}, "clock: The ID token beside the access token had ended"),
    ({"iat": NOW + 61}, "clock: The ID token beside the access token is from the future"),
    ({"exp": None}, "lacks its exp"),
    ({"exp": "1800000300"}, "lacks its exp"),
    ({"iat": True}, "lacks its iat"),
]


@pytest.mark.parametrize(("claims", "said"), WRONG, ids=str)
def test_a_claim_that_does_not_fit_is_refused_whether_or_not_keys_are_known(claims: dict[str, Any], said: str) -> None:
    for keys in (None, key_set("rsa")):
        assert said in why(token(CLAIMS | claims), keys=keys)


def test_times_have_a_minute_s_leeway_and_several_audiences_name_us() -> None:
    for claims in ({"exp": NOW - 59}, {"iat": NOW + 60}, {"aud": ["me", "they"], "azp": "me"}, {"aud": ["me"]}):
        check(token(CLAIMS | claims), EXPECTED, key_set("rsa"), now=NOW)


def test_without_keys_or_issuer_the_rest_is_checked_all_the_same() -> None:
    """It came over TLS from the token endpoint (OpenID Connect Core §3.1.3.7 no. 6)."""
    nobody = Expected(issuer=None, client_id="me", nonce_hash=EXPECTED.nonce_hash)
    check(token(CLAIMS | {"iss": "https://any.example"}), nobody, None, now=NOW)
    assert "for another client" in why(token(CLAIMS | {"aud": "they"}), nobody)


def test_a_refusal_shows_nothing_of_the_token() -> None:
    said = why(token(CLAIMS | {"aud": "planted-audience"}))
    assert "planted" not in said
