"""Assertions: what clients sign themselves, as a grant or to authenticate (RFC 7521, RFC 7523)."""

from collections.abc import Callable, Mapping
from typing import Any

from quart_app.sandbox.clients import Client
from quart_app.sandbox.keys import verified
from quart_app.sandbox.protocol import OAuthError

BEARER_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIFE_SECONDS = 3600
LEEWAY_SECONDS = 10


class Assertions:
    """Checks them, and remembers those seen: each counts once. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.seen: dict[tuple[str, str], float] = {}

    def check_grant(self, client: Client, assertion: str, audiences: tuple[str, ...]) -> dict[str, Any]:
        """The claims of an authorization grant (RFC 7523 §3). Raises OAuthError `invalid_grant` (§3.1)."""
        try:
            claims = self._claims(client, assertion, audiences)
            self._use_up(client, claims)
        except ValueError as error:
            raise OAuthError("invalid_grant", f"The assertion is not good: {error}") from None
        return claims

    def check_client(self, client: Client, fields: Mapping[str, str], audiences: tuple[str, ...]) -> None:
        """Raises OAuthError `invalid_client` unless the client signed for itself, once (RFC 7523 §3, §3.2)."""
        try:
            if fields.get("client_assertion_type") != BEARER_TYPE:
                raise ValueError(f"client_assertion_type must be {BEARER_TYPE}.")
            claims = self._claims(client, fields["client_assertion"], audiences)
            if claims["sub"] != client.client_id:
                raise ValueError("its sub is not the client.")
            if "jti" not in claims:
                raise ValueError("it has no jti.")
            self._use_up(client, claims)
        except ValueError as error:
            detail = f"The client assertion is not good: {error}"
            raise OAuthError("invalid_client", detail, status=401) from None

    def _claims(self, client: Client, assertion: str, audiences: tuple[str, ...]) -> dict[str, Any]:
        """Those of RFC 7523 §3, each seen to be right. Raises ValueError that says which is not."""
        if not client.public_key:
            raise ValueError("the client has no key here.")
        claims = verified(assertion, client.public_key)
        if claims.get("iss") != client.client_id:
            raise ValueError("its iss is not the client.")
        if not isinstance(claims.get("sub"), str):
            raise ValueError("it has no sub.")
        named = claims.get("aud")
        if not any(value in audiences for value in (named if isinstance(named, list) else [named])):
            raise ValueError(f"its aud is none of {', '.join(audiences)}.")
        self._check_times(claims)
        return claims

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self.clock()
        exp, starts = claims.get("exp"), [claims.get(name, now) for name in ("iat", "nbf")]
        if not isinstance(exp, int | float) or not all(isinstance(value, int | float) for value in starts):
            raise ValueError("exp, iat and nbf must be seconds since 1970.")
        if not now - LEEWAY_SECONDS < exp <= now + LIFE_SECONDS + LEEWAY_SECONDS:
            raise ValueError("its exp is over, or more than an hour ahead. Is the client's clock right?")
        if not max(starts) <= now + LEEWAY_SECONDS:
            raise ValueError("its iat or nbf is in the future. Is the client's clock right?")

    def _use_up(self, client: Client, claims: Mapping[str, Any]) -> None:
        if "jti" not in claims:
            return
        now, name = self.clock(), (client.client_id, str(claims["jti"]))
        self.seen = {key: exp for key, exp in self.seen.items() if exp > now - LEEWAY_SECONDS}
        if name in self.seen:
            raise ValueError("its jti was used before.")
        self.seen[name] = claims["exp"]
