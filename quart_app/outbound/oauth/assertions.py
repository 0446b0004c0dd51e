"""JWTs that a connection signs with its private key (RFC 7523), and which algorithms fit which key (RFC 7518)."""

import warnings
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey
from uuid_utils import uuid7

from quart_app.outbound import pem

LIFE_SECONDS = 120
"""Long enough for a slow exchange and clocks that differ by a minute; many providers take no more than five minutes."""

RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
EC_ALGORITHMS = {"secp256r1": ("ES256",), "secp384r1": ("ES384",), "secp521r1": ("ES512",)}
ED25519_ALGORITHMS = ("EdDSA", "Ed25519")
"""The name of RFC 8037, which servers know, and that of RFC 9864, which stands in its place."""
SHORTEST_RSA_BITS = 2048


def algorithms_of(text: str) -> tuple[str, ...]:
    """What a private key in PEM can sign with, the usual algorithm first. Raises ValueError with the reason."""
    key = pem.loaded(text)
    if isinstance(key, RSAPrivateKey):
        if key.key_size < SHORTEST_RSA_BITS:  # RFC 7518 §3.3
            raise ValueError(f"is an RSA key of {key.key_size} bits; signatures need {SHORTEST_RSA_BITS} or more")
        return RSA_ALGORITHMS
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in EC_ALGORITHMS:
        return EC_ALGORITHMS[key.curve.name]
    if isinstance(key, Ed25519PrivateKey):
        return ED25519_ALGORITHMS
    raise ValueError("is a key of a kind that signs no assertions: give RSA, EC P-256 or Ed25519")


def assertion(
    claims: Mapping[str, Any], *, private_key: str, algorithm: str | None, key_id: str | None, now: float
) -> str:
    """A signed JWT with `claims`, and with `iat`, `exp` and a `jti` of its own; `now` is seconds since the epoch.

    Raises ValueError where the key and the algorithm do not fit, which the form has refused before.
    """
    fitting = algorithms_of(private_key)
    chosen = algorithm or fitting[0]
    if chosen not in fitting:
        raise ValueError(f"cannot sign with {chosen}")
    header = {"alg": chosen} | ({"kid": key_id} if key_id else {})
    stamped = {**claims, "iat": int(now), "exp": int(now) + LIFE_SECONDS, "jti": str(uuid7())}
    kind = RSAKey if fitting is RSA_ALGORITHMS else OKPKey if fitting is ED25519_ALGORITHMS else ECKey
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # of EdDSA, which RFC 9864 renames: the signature is the same
        return jwt.encode(header, stamped, kind.import_key(private_key), [chosen])
