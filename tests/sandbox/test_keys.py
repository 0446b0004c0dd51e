"""Keys, and what is signed with them."""

import warnings

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from quart_app.sandbox.keys import Signer, new_private_key, public_key_of, unverified, verified

RSA = RSAKey.generate_key(2048)
KEYS: dict[str, RSAKey | ECKey | OKPKey] = {
    "RS256": RSA,
    "PS256": RSA,
    "ES256": ECKey.generate_key("P-256"),
    "EdDSA": OKPKey.generate_key("Ed25519"),
}


def sign(algorithm: str, key: RSAKey | ECKey | OKPKey | OctKey) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns of EdDSA by its old name, which most clients send
        return jwt.encode({"alg": algorithm}, {"sub": "me"}, key, algorithms=[algorithm])


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_token_is_verified_with_the_public_half_of_the_key(algorithm: str) -> None:
    key = KEYS[algorithm]
    public = public_key_of(key.as_pem(private=True).decode())
    assert "PUBLIC KEY" in public
    assert verified(sign(algorithm, key), public) == {"sub": "me"}


def test_no_other_key_and_no_other_kind_of_signature_will_do() -> None:
    public = public_key_of(new_private_key())
    unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9."
    by_secret = sign("HS256", OctKey.import_key("a secret that both sides would have to know"))
    for token in (sign("ES256", KEYS["ES256"]), sign("RS256", RSA), by_secret, unsigned, "", "a.b.c", "ü"):
        with pytest.raises(ValueError, match=r".+"):
            verified(token, public)


def test_what_is_no_key_is_refused() -> None:
    with pytest.raises(ValueError, match="PEM"):
        verified("a.b.c", "nothing")


def test_claims_can_be_read_from_any_token_and_nothing_from_what_is_none() -> None:
    assert unverified(sign("ES256", KEYS["ES256"])) == {"sub": "me"}
    assert [unverified(text) for text in ("", "x", "a.b.c", "eyJhbGciOiJub25lIn0.W10.", "ü.ü.ü")] == [{}] * 5


def test_what_the_server_signs_is_verified_with_the_keys_it_shows() -> None:
    signer = Signer()
    token = signer.sign({"sub": "me"})
    shown = signer.jwks()
    [key] = shown["keys"]
    assert "d" not in key
    assert (key["use"], key["alg"], key["kty"]) == ("sig", "RS256", "RSA")
    found = jwt.decode(token, RSAKey.import_key(key), algorithms=["RS256"])
    assert (found.claims, found.header["kid"]) == ({"sub": "me"}, key["kid"])
