"""Families of tokens: how they are issued, rotate, come back within a grace, die, and are counted.

RFC 6749 §6 (refreshing), RFC 9700 §4.14.2 (refresh tokens rotate, and one that comes back ends its family).
Every method is synchronous, so within one event loop each is atomic.
"""

import secrets
from collections.abc import Callable
from math import inf
from typing import Any

from quart_app.sandbox.clients import Client, Rules
from quart_app.sandbox.grants import AccessToken, Family, RefreshToken, keep
from quart_app.sandbox.protocol import OAuthError, narrowed


class Families:
    """All tokens that are or were good. `rules` are those of clients without their own; `clock` returns seconds."""

    def __init__(self, rules: Rules, clock: Callable[[], float]) -> None:
        self.rules = rules
        self.clock = clock
        self.all: list[Family] = []
        self.access_tokens: dict[str, AccessToken] = {}
        self.refresh_tokens: dict[str, RefreshToken] = {}
        self.reuse_detections = 0
        self.grace_reuses = 0
        self.refused = 0

    def rules_of(self, family: Family) -> Rules:
        return family.client.rules or self.rules

    def start(self, client: Client, subject: str, scope: str, grant: str, audience: tuple[str, ...] = ()) -> Family:
        family = Family(
            family_id=f"{grant}:{client.client_id}:{len(self.all) + 1}",
            client=client,
            subject=subject,
            scope=scope,
            grant=grant,
            started_at=self.clock(),
            audience=audience,
        )
        self.all.append(family)
        return family

    def standing(self, client: Client, subject: str, scope: str, grant: str) -> Family:
        """The family of a grant that a client repeats by itself, made when there is none."""
        for family in self.all:
            if (family.client, family.subject, family.grant, family.revoked) == (client, subject, grant, None):
                return family
        return self.start(client, subject, scope, grant)

    def issue(self, family: Family, scope: str, audience: tuple[str, ...] = ()) -> dict[str, Any]:
        """The next generation's access token as RFC 6749 §5.1 has it, without a refresh token."""
        family.generation += 1
        return self._answer(family, scope, audience)

    def rotate(self, family: Family, scope: str, audience: tuple[str, ...] = ()) -> dict[str, Any]:
        """The next generation's access token and refresh token."""
        answer = self.issue(family, scope, audience)
        self.give_refresh_token(family, secrets.token_urlsafe(32))
        return answer | {"refresh_token": family.refresh_token} | self._expiry(family)

    def give_refresh_token(self, family: Family, value: str) -> None:
        family.refresh_token = value
        self.refresh_tokens[value] = RefreshToken(family, family.generation, self.clock())

    def refresh(self, client: Client, value: str, scope: str = "", audience: tuple[str, ...] = ()) -> dict[str, Any]:
        """New tokens for a refresh token. When it returns, one that rotates is spent, whoever gets the answer.

        Raises OAuthError `invalid_grant` for one that is not good, `invalid_scope` for a wider scope.
        """
        token = self.refresh_tokens.get(value)
        if token is None or token.family.client.client_id != client.client_id:
            raise OAuthError("invalid_grant", "The refresh token is unknown, or another client's.")
        self._check(token)
        family = token.family
        scope = narrowed(scope, family.scope)
        if token.spent_at is not None:
            return self._again(family, scope, audience)
        if self.rules_of(family).rotates:
            token.spent_at = self.clock()
            return self.rotate(family, scope, audience)
        token.used_at = self.clock()
        return self.issue(family, scope, audience) | self._expiry(family)

    def _check(self, token: RefreshToken) -> None:
        """Raises `invalid_grant` unless the token may be used now; ends its family when it was spent for good."""
        family = token.family
        if token.spent_at is not None and not self._within_grace(token, token.spent_at):
            self.reuse_detections += 1
            self.end(family, "a refresh token was used twice")
        if family.revoked is not None:
            raise OAuthError("invalid_grant", f"The grant was revoked: {family.revoked}.")
        if token.spent_at is None and self.clock() >= self._ends_at(token):
            raise OAuthError("invalid_grant", "The refresh token has expired.")

    def _within_grace(self, token: RefreshToken, spent_at: float) -> bool:
        spent_last = token.generation == token.family.generation - 1
        return spent_last and self.clock() - spent_at < self.rules_of(token.family).grace_seconds

    def _ends_at(self, token: RefreshToken) -> float:
        """When the token dies if it is not used before; infinity for never."""
        rules = self.rules_of(token.family)
        unused = inf if rules.refresh_seconds is None else token.used_at + rules.refresh_seconds
        in_all = inf if rules.family_seconds is None else token.family.started_at + rules.family_seconds
        return min(unused, in_all)

    def _again(self, family: Family, scope: str, audience: tuple[str, ...]) -> dict[str, Any]:
        """The answer to a token that was spent, within its grace: of the same generation as the first."""
        self.grace_reuses += 1
        if self.rules_of(family).fresh_successor:
            self.give_refresh_token(family, secrets.token_urlsafe(32))
        answer = self._answer(family, scope, audience)
        return answer | {"refresh_token": family.refresh_token} | self._expiry(family)

    def _answer(self, family: Family, scope: str, audience: tuple[str, ...]) -> dict[str, Any]:
        seconds = self.rules_of(family).access_seconds
        token = AccessToken(family, scope, audience or family.audience, family.generation, self.clock() + seconds)
        return {
            "access_token": keep(self.access_tokens, token, self.clock()),
            "token_type": "Bearer",
            "expires_in": seconds,
            "scope": scope,
        }

    def _expiry(self, family: Family) -> dict[str, Any]:
        """`refresh_token_expires_in`, which is in no standard, and which providers send whose tokens have an end."""
        ends_at = self._ends_at(self.refresh_tokens[family.refresh_token])
        return {} if ends_at == inf else {"refresh_token_expires_in": round(ends_at - self.clock())}

    def count(self, value: str) -> None:
        """A token request came with this refresh token: it counts for the generation that it would spend."""
        token = self.refresh_tokens.get(value)
        if token is not None:
            rotates = self.rules_of(token.family).rotates
            token.family.requests[token.generation if rotates else token.family.generation] += 1

    def find(self, access_token: str) -> AccessToken | None:
        """What an access token stands for; None, and counted, if it is unknown, expired or revoked."""
        found = self.access_tokens.get(access_token)
        if found is not None and found.expires_at > self.clock() and found.family.revoked is None:
            return found
        self.refused += 1
        if found is not None:
            found.family.refused += 1
        return None

    def end(self, family: Family, reason: str) -> None:
        family.revoked = family.revoked or reason

    def stats(self) -> dict[str, Any]:
        return {
            "reuse_detections": self.reuse_detections,
            "grace_reuses": self.grace_reuses,
            "refused_access_tokens": self.refused,
            "families": [shown(family) for family in self.all],
        }


def shown(family: Family) -> dict[str, Any]:
    """A family as JSON takes it, without its tokens."""
    return {
        "family_id": family.family_id,
        "client_id": family.client.client_id,
        "subject": family.subject,
        "scope": family.scope,
        "grant": family.grant,
        "generation": family.generation,
        "revoked": family.revoked,
        "requests": {str(generation): count for generation, count in sorted(family.requests.items())},
        "refused": family.refused,
    }
