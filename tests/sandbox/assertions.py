"""Assertions as clients sign them."""

from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from quart_app.sandbox import DEMO

ISSUER = "http://127.0.0.1:8099"


def claims(now: float, **changes: Any) -> dict[str, Any]:
    """Those of the demo client, good for a minute; a change to None leaves one out."""
    own = {
        "iss": DEMO.client_id,
        "sub": DEMO.client_id,
        "aud": ISSUER,
        "exp": int(now) + 60,
        "iat": int(now),
        "jti": "1",
    }
    return {name: value for name, value in (own | changes).items() if value is not None}


def signed(claimed: dict[str, Any], private_key: str = DEMO.private_key) -> str:
    return jwt.encode({"alg": "ES256"}, claimed, ECKey.import_key(private_key))
