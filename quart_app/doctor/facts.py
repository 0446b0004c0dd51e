"""What the doctor knows of a connection: rows as they were read, and what follows from them at once. No I/O."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from quart_app.models import Connection, Token, TokenExchange

OPEN = ("claimed", "sent")
MOST_SKEW_SECONDS = 30.0
CUT_OFF_SECONDS = 60.0
"""An exchange lasts at most its lease; one that is open for longer was cut off with its process."""
UNATTENDED = ("client_credentials", "jwt_bearer")
"""Grants that need nobody: the connection's own secret is enough (RFC 6749 §4.4, RFC 7523 §2.1)."""


@dataclass(frozen=True, slots=True)
class Use:
    """A call through the connection, but for the exchanges with its token endpoint."""

    id: str
    actor: str
    origin: str
    state: str
    reason: str | None
    detail: str | None
    status: int | None
    started_at: float

    @property
    def failed(self) -> bool:
        """No answer, or one that says that it cannot be served or that the caller may not."""
        return self.state == "failed" or (self.status is not None and (self.status >= 500 or self.refused))

    @property
    def refused(self) -> bool:
        return self.status in (401, 403)


@dataclass(frozen=True)
class Facts:
    """`exchanges` and `uses` are the newest ones, newest first. `unstored`: a token waits for the database."""

    now: float
    connection: Connection
    token: Token | None
    exchanges: Sequence[TokenExchange]
    uses: Sequence[Use]
    unstored: bool

    @property
    def auth(self) -> dict[str, Any]:
        """How it signs in, without the secrets."""
        return self.connection.auth

    @property
    def is_oauth(self) -> bool:
        return bool(self.auth["scheme"] == "oauth2")

    @property
    def grant(self) -> str:
        return str(self.auth["grant"])

    @property
    def is_unattended(self) -> bool:
        return self.grant in UNATTENDED

    @property
    def is_by_browser(self) -> bool:
        """Whether a person signs in at the provider, in a browser (RFC 6749 §4.1)."""
        return self.grant == "authorization_code"

    @property
    def signs_assertions(self) -> bool:
        """Whether it signs what is good only around now (RFC 7523 §3), so that a wrong clock is refused."""
        return self.grant == "jwt_bearer" or self.auth.get("client_auth") == "private_key_jwt"

    @property
    def latest(self) -> TokenExchange | None:
        return self.exchanges[0] if self.exchanges else None

    @cached_property
    def judged(self) -> TokenExchange | None:
        """The newest exchange that tells of the provider: its outcome is known, or known to be lost."""
        return next((row for row in self.exchanges if self.tells(row)), None)

    def tells(self, row: TokenExchange) -> bool:
        """One that failed for no class of reasons never left, or was made pointless by a newer sign-in."""
        return row.state in ("stored", "in_doubt") or row.failure is not None or self.is_cut_off(row)

    def is_cut_off(self, row: TokenExchange) -> bool:
        return row.state in OPEN and self.now - row.claimed_at > CUT_OFF_SECONDS

    @property
    def skew_seconds(self) -> float | None:
        """How far our clock is ahead of the provider's, by the newest exchange that tells."""
        return next((row.skew_seconds for row in self.exchanges if row.skew_seconds is not None), None)

    @property
    def is_skewed(self) -> bool:
        return abs(self.skew_seconds or 0.0) > MOST_SKEW_SECONDS

    @property
    def is_renewing(self) -> bool:
        return self.latest is not None and self.latest.state in OPEN and not self.is_cut_off(self.latest)

    @property
    def has_access_token(self) -> bool:
        return self.token is not None and self.token.sealed_access_token is not None

    @property
    def has_refresh_token(self) -> bool:
        return self.token is not None and self.token.sealed_refresh_token is not None

    @property
    def expires_at(self) -> float | None:
        return self.token.expires_at if self.token else None

    @property
    def renews_itself(self) -> bool:
        """Whether a token can be got without a person."""
        return self.is_unattended or self.has_refresh_token

    @property
    def works_until(self) -> float | None:
        """When the access token in hand ends; None where there is none, it has ended, or it does not say."""
        return self.expires_at if self.has_access_token and (self.expires_at or 0) > self.now else None

    @property
    def has_lapsed(self) -> bool:
        """Whether the access token has ended and nothing but a person can bring another."""
        ended = self.has_access_token and self.expires_at is not None and self.expires_at <= self.now
        return ended and not self.renews_itself

    @property
    def scope_missing(self) -> list[str]:
        """What was asked for but not granted; an answer without a scope grants all of it (RFC 6749 §5.1)."""
        granted = self.token.scope if self.token and self.has_access_token else None
        if granted is None:
            return []
        given = set(re.split(r"[\s,]+", granted))  # some list them with commas, however they were asked for
        if self.has_refresh_token:
            given.add("offline_access")  # granted by the refresh token itself, and rarely said
        asked = (self.auth.get("scope") or "").replace(self.auth.get("scope_separator") or " ", " ")
        return [word for word in asked.split() if word not in given]

    @property
    def uses_of_this_credential(self) -> list[Use]:
        """Calls that began with the token in hand, and since the connection was last changed."""
        since = max(self.connection.updated_at, (self.token.refreshed_at if self.token else None) or 0.0)
        return [use for use in self.uses if use.started_at >= since]
