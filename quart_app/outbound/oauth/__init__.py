"""The OAuth2 grants and their answers, without I/O (RFC 6749; the checks of RFC 9700)."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode

import msgspec

from quart_app.outbound.auth import Credential as Credential
from quart_app.outbound.auth import OAuth2, bearer, guarded
from quart_app.outbound.redaction.marks import Fingerprint

ANSWER_BYTES = 64 * 1024
LONGEST_LIFE_SECONDS = 10 * 365 * 86400


class GrantFailed(Exception):
    """The token endpoint did not give a token. `state` is what that makes of the connection, None for no change."""

    def __init__(self, detail: str, *, code: str = "", state: Any = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.state = state


@dataclass(frozen=True, slots=True)
class Issued:
    """A token as it was given: life in seconds, None where the answer does not say."""

    access_token: str
    refresh_token: str | None
    lifetime_seconds: float | None
    scope: str | None

    def __repr__(self) -> str:
        return f"Issued(lifetime_seconds={self.lifetime_seconds})"


def token_request(auth: OAuth2, refresh_token: str | None) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and form body of the token request (RFC 6749 §4.4.2 and §6; client authentication §2.3.1)."""
    form: dict[str, str] = dict(auth.extra)
    if auth.grant == "refresh_token":
        if not refresh_token:
            raise GrantFailed("There is no refresh token; sign in again or enter one.", state="needs_sign_in")
        form |= {"grant_type": "refresh_token", "refresh_token": refresh_token}
    else:
        form |= {"grant_type": "client_credentials"}
    for name in ("scope", "audience", "resource"):
        if getattr(auth, name):
            form[name] = getattr(auth, name)
    headers = [("Accept", "application/json"), ("Content-Type", "application/x-www-form-urlencoded")]
    if auth.client_secret and auth.client_auth == "basic":
        pair = f"{quote_plus(auth.client_id)}:{quote_plus(auth.client_secret)}"
        headers.append(("Authorization", "Basic " + base64.b64encode(pair.encode()).decode()))
    else:
        form["client_id"] = auth.client_id
        if auth.client_secret:
            form["client_secret"] = auth.client_secret
    return headers, urlencode(form).encode()


def token_answer(status: int, body: bytes) -> Issued:
    """The token in an answer. Raises GrantFailed that says what kind of failure it is."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise GrantFailed(f"The token endpoint answered {status} with something that is not a JSON object.")
    if answer.get("error") or not 200 <= status <= 299:
        raise refused(status, answer)
    return Issued(
        access_token=token_in(answer, "access_token"),
        refresh_token=token_in(answer, "refresh_token") if answer.get("refresh_token") else None,
        lifetime_seconds=lifetime(answer.get("expires_in")),
        scope=answer["scope"] if isinstance(answer.get("scope"), str) else None,
    )


def refused(status: int, answer: dict[str, Any]) -> GrantFailed:
    """What an error answer means (RFC 6749 §5.2): who has to do something about it."""
    code = answer.get("error")
    if code == "invalid_grant":
        return GrantFailed(
            "The provider no longer takes the refresh token: sign in again.", code=code, state="needs_sign_in"
        )
    if code in (
        "invalid_client",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "invalid_request",
    ):
        return GrantFailed(
            f"The provider refused the client ({code}): check client id, secret, scope and client_auth.",
            code=code,
            state="config_error",
        )
    return GrantFailed(f"The token endpoint answered {status}; it is tried again with the next call.")


def token_in(answer: dict[str, Any], name: str) -> str:
    token = answer.get(name)
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
        raise GrantFailed(f"The token endpoint's answer has no usable {name}.")
    kind = answer.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise GrantFailed("The token endpoint gave a token that is not a bearer token.", state="config_error")
    return token


def lifetime(value: Any) -> float | None:
    """Seconds from a number or a numeric string, between 0 and ten years; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), float(LONGEST_LIFE_SECONDS)) if seconds == seconds else None


def credential(
    auth: OAuth2,
    access_token: str,
    refresh_token: str | None,
    generation: int,
    fingerprint: Fingerprint | None = None,
    more: Iterable[tuple[str, str]] = (),
) -> Credential:
    """The credential of a token, whose redactor knows both tokens, the client's secret and `more` of the connection."""
    renewal = (("refresh_token", refresh_token),) if refresh_token else ()
    return guarded(bearer(("access_token", access_token), *renewal, generation=generation), auth, fingerprint, more)
