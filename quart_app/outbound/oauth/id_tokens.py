"""Whether an ID token is the one that was asked for (OpenID Connect Core §3.1.3.7), without I/O.

Nobody is signed in by it here. It is checked because one that is not right means that the tokens beside it are not
either: they came from somebody else's sign-in (the nonce), for another client, or from another provider.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import Key, import_key
from joserfc.jws import JWSRegistry

from quart_app.outbound.oauth.refusals import Failure, GrantFailed

LEEWAY_SECONDS = 60.0
VERIFIERS = {"RS256": "RS256", "PS256": "PS256", "ES256": "ES256", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}
"""What may sign one, by its name in the library, which has EdDSA under its newer name (RFC 9864). Neither `none` nor
the client's own secret (HS256): whoever has that, this app first of all, could make such a token."""

READ = frozenset(("kty", "use", "key_ops", "n", "e", "crv", "x", "y"))
MOST_KEYS = 30
"""A key's public members (RFC 7518 §6), and how many keys are tried. Private members are not for us to see, and to
check those of one long RSA key can hold this process up for a minute. Nor `alg`: the library knows only its own names.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """`nonce_hash` is the SHA-256, in hex, of the nonce that was sent; `issuer` None where nobody has said it."""

    issuer: str | None
    client_id: str
    nonce_hash: str


def check(token: str, expected: Expected, keys: Mapping[str, Any] | None, *, now: float) -> None:
    """Raises GrantFailed for a token that is not for this sign-in; `now` is in seconds since the epoch.

    `keys` is the provider's JWK Set (RFC 7517). Without one the signature stays unseen: the token came straight from
    the token endpoint, over TLS, which Core §3.1.3.7 no. 6 lets stand for it.
    """
    try:
        first, second, third = token.split(".")
        header, claims, signature = mapping(first), mapping(second), decoded(third)
    except ValueError:
        raise refused("is not one") from None
    name = VERIFIERS.get(str(header.get("alg")))
    if name is None or "crit" in header:
        raise refused("is not signed in a way that is taken here")
    if keys is not None and not signed(f"{first}.{second}".encode(), signature, name, candidates(header, keys)):
        raise refused("is not signed by the provider")
    check_claims(claims, expected)
    check_times(claims, now)


def check_claims(claims: Mapping[str, Any], expected: Expected) -> None:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if expected.issuer is not None and claims.get("iss") != expected.issuer:
        raise refused("is another provider's")
    if expected.client_id not in audiences:
        raise refused("is for another client")
    if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != expected.client_id:
        raise refused("was given to another client")
    nonce = claims.get("nonce")
    hashed = hashlib.sha256(nonce.encode()).hexdigest() if isinstance(nonce, str) else ""
    if not hmac.compare_digest(hashed, expected.nonce_hash):
        raise refused("is not from this sign-in")


def check_times(claims: Mapping[str, Any], now: float) -> None:
    if instant(claims, "exp") <= now - LEEWAY_SECONDS:
        raise refused("had ended already when it came", failure="clock")
    if instant(claims, "iat") > now + LEEWAY_SECONDS:
        raise refused("is from the future", failure="clock")


def instant(claims: Mapping[str, Any], name: str) -> float:
    """Seconds since the epoch (RFC 7519 §2, NumericDate)."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refused(f"lacks its {name}")
    return value


def candidates(header: Mapping[str, Any], keys: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The keys that the token may be signed with: the one it names, or any where it names none."""
    listed = keys.get("keys")
    for key in listed if isinstance(listed, list) else []:
        if not isinstance(key, dict) or ("kid" in header and key.get("kid") != header["kid"]):
            continue
        if key.get("alg", header["alg"]) == header["alg"]:
            yield {name: value for name, value in key.items() if name in READ}


def signed(content: bytes, signature: bytes, name: str, keys: Iterator[dict[str, Any]]) -> bool:
    """A key that is of another kind, for another use or no key at all is passed over (RFC 7517 §5)."""
    algorithm = JWSRegistry.algorithms[name]
    for given in islice(keys, MOST_KEYS):
        try:
            key: Key = import_key(given)
            algorithm.check_key(key)
            if algorithm.verify(content, signature, key):
                return True
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return False


def mapping(part: str) -> dict[str, Any]:
    """Raises ValueError."""
    try:
        value = msgspec.json.decode(decoded(part))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError from None
    if not isinstance(value, dict):
        raise ValueError
    return value


def decoded(part: str) -> bytes:
    """Base64url without padding (RFC 7515 §2). Raises ValueError."""
    if not part.isascii() or set(part) & set("+/="):
        raise ValueError
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError from None


def refused(why: str, *, failure: Failure = "odd_answer") -> GrantFailed:
    hint = " See whether this machine's clock is right." if failure == "clock" else ""
    return GrantFailed(
        f"The ID token beside the access token {why}, so none of it was kept.{hint}",
        failure=failure,
        code="invalid_id_token",
    )
