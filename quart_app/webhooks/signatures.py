"""Signatures of webhooks: HMAC-SHA256 as the Standard Webhooks specification 1.0.0 has it. Pure."""

import base64
import hmac
import secrets
from collections.abc import Iterable

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """A secret in the form in which receivers' libraries take it: `whsec_` and base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(given: Iterable[str], delivery_id: str, at: float, body: bytes) -> list[tuple[str, str]]:
    """The three headers of one try at `at`, in seconds since the epoch, signed with each of the secrets given."""
    moment = str(int(at))
    signed = b".".join((delivery_id.encode(), moment.encode(), body))
    return [
        ("webhook-id", delivery_id),
        ("webhook-timestamp", moment),
        ("webhook-signature", " ".join(signature(secret, signed) for secret in given)),
    ]


def signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
