"""Keys and signed tokens (JWT, RFC 7519): the sandbox's own, for ID tokens, and the public ones of clients.

All are made when the sandbox starts; none is ever stored.
"""

import json
import warnings
from functools import cached_property
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

ALGORITHMS: dict[type[RSAKey | ECKey | OKPKey], tuple[str, ...]] = {
    RSAKey: ("RS256", "PS256"),
    ECKey: ("ES256", "ES384", "ES512"),
    OKPKey: ("EdDSA", "Ed25519"),
}
ALL_ALGORITHMS = [name for names in ALGORITHMS.values() for name in names]


def new_private_key() -> str:
    """A private key for ES256 as PEM."""
    return ECKey.generate_key("P-256", private=True).as_pem(private=True).decode()


def public_key_of(private_key: str) -> str:
    """The public half of a private key, both as PEM."""
    return imported(private_key).as_pem(private=False).decode()


def imported(pem: str) -> RSAKey | ECKey | OKPKey:
    """Raises ValueError for what is no key of a known type."""
    for kind in ALGORITHMS:
        try:
            return kind.import_key(pem)
        except (JoseError, ValueError):
            continue
    raise ValueError("This is not a PEM of an RSA, EC or Ed25519 key.")


def verified(token: str, public_key: str) -> dict[str, Any]:
    """The claims of a token that this key signed, by an algorithm of its type. Raises ValueError for any other."""
    key = imported(public_key)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # RFC 9864 prefers the name Ed25519 to EdDSA, which most clients send
            return jwt.decode(token, key, algorithms=ALGORITHMS[type(key)]).claims
    except (JoseError, ValueError) as error:
        raise ValueError(str(error)) from None


def unverified(token: str) -> dict[str, Any]:
    """What a token claims, whoever signed it; nothing for what is no token."""
    try:
        claims = json.loads(jws.extract_compact(token.encode()).payload)
    except (JoseError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


class Signer:
    """Signs ID tokens with RS256, which every client must know (OpenID Connect Core §15.1)."""

    algorithm = "RS256"

    @cached_property
    def key(self) -> RSAKey:
        """Made when first needed, as that takes a tenth of a second."""
        return RSAKey.generate_key(2048, {"use": "sig", "alg": self.algorithm}, auto_kid=True)

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": self.algorithm, "kid": self.key.kid}, claims, self.key)

    def jwks(self) -> dict[str, Any]:
        """The public keys (RFC 7517 §5)."""
        return {"keys": [self.key.as_dict(private=False)]}
