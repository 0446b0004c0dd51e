"""Private keys as people have them, made on the spot, and filled-in OAuth forms that use them."""

from collections.abc import Callable
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey, OKPKey, RSAKey

from quart_app.outbound.auth import OAuth2
from tests.outbound.targets import scheme

MAKERS: dict[str, Callable[[], Any]] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "short": lambda: rsa.generate_private_key(65537, 1024),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "dsa": lambda: dsa.generate_private_key(2048),
}


@cache
def private(kind: str) -> Any:
    return MAKERS[kind]()


def pem(kind: str, *, traditional: bool = False, locked: bool = False) -> str:
    """PKCS#8, or the older form that `openssl rsa` and `openssl ec` write."""
    form = PrivateFormat.TraditionalOpenSSL if traditional else PrivateFormat.PKCS8
    sealed = BestAvailableEncryption(b"swordfish") if locked else NoEncryption()
    made: bytes = private(kind).private_bytes(Encoding.PEM, form, sealed)
    return made.decode()


def public(kind: str) -> dict[str, Any]:
    """The public half as a JWK."""
    reader: Any = RSAKey if kind == "rsa" else OKPKey if kind == "ed25519" else ECKey
    return dict(reader.import_key(pem(kind)).as_dict(private=False))


def filled(**given: Any) -> OAuth2:
    """The form of a client that has no secret, unless one is given."""
    form = {"grant": "client_credentials", "token_url": "https://id.example.com/token", "client_id": "me"}
    auth: OAuth2 = scheme(**({"scheme": "oauth2"} | form | given))
    return auth
