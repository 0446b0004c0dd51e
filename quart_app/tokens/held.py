"""A connection's tokens as this process knows them, from memory unless they changed."""

import random
from dataclasses import dataclass, replace

from quart_app import connections
from quart_app.errors import CallFailed
from quart_app.models import Connection, Token
from quart_app.outbound import oauth
from quart_app.outbound.auth import Credential, OAuth2, Scheme
from quart_app.outbound.target import Target
from quart_app.services import Services

SKEW_SECONDS = 60.0
SKEW_SHARE = 0.1
RENEWAL_SHARE = 0.5
OTHER = "The connection was given other auth meanwhile, or signed in anew; the next call goes by that."


@dataclass(frozen=True, slots=True)
class Held:
    """Instants are seconds since the epoch; `credential` is what goes onto calls, None before the first token.

    `auth` is what they were got by.
    """

    generation: int
    access_token: str | None
    refresh_token: str | None
    spare_refresh_token: str | None
    expires_at: float | None
    lifetime_seconds: float | None
    refresh_at: float | None
    credential: Credential | None
    auth: Scheme

    def __repr__(self) -> str:
        return f"Held(generation={self.generation})"

    def is_good(self, now: float) -> bool:
        """Whether there is an access token that has not expired, as far as is known."""
        return self.credential is not None and (self.expires_at is None or self.expires_at > now)


async def known(services: Services, target: Target) -> Held:
    """The tokens from memory, else from the database, in one read for all who ask at once.

    Raises CallFailed when they are of other auth than the target has: then they are for another place.
    """
    found = services.caches.of(Held).get(target.id)
    if found is None:
        found = await services.caches.read(Held, target.id, lambda: load(services, target))
    if found.auth is not target.auth:
        if found.auth != target.auth:
            raise CallFailed("token_unavailable", OTHER)
        found = services.caches.of(Held)[target.id] = replace(found, auth=target.auth)
    return found


async def load(services: Services, target: Target) -> Held:
    """The tokens as the database has them, or ahead of it where it could not take them yet.

    Raises CallFailed when the connection was deleted meanwhile, or given other auth than the target has.
    """
    ahead: Held | None = services.unstored.get(target.id)
    if ahead is not None:
        return ahead
    epoch = services.caches.epoch
    async with services.db.session() as session:
        row, connection = await session.get(Token, target.id), await session.get(Connection, target.id)
    if row is None:
        raise CallFailed("token_unavailable", "The connection has no token any more; it was changed or deleted.")
    if not connections.is_current(services, connection, target):
        raise CallFailed("token_unavailable", OTHER)
    return services.caches.keep(Held, target.id, held_of(services, target, row), epoch)


def held_of(services: Services, target: Target, row: Token) -> Held:
    access, renewal, spare = (
        unsealed(services, row, column)
        for column in ("sealed_access_token", "sealed_refresh_token", "sealed_spare_refresh_token")
    )
    return Held(
        generation=row.generation,
        access_token=access,
        refresh_token=renewal,
        spare_refresh_token=spare,
        expires_at=row.expires_at,
        lifetime_seconds=row.lifetime_seconds,
        refresh_at=row.refresh_at,
        credential=credential_of(services, target, access, renewal, row.generation, row.expires_at) if access else None,
        auth=target.auth,
    )


def credential_of(
    services: Services,
    target: Target,
    access_token: str,
    refresh_token: str | None,
    generation: int,
    expires_at: float | None,
) -> Credential:
    assert isinstance(target.auth, OAuth2)
    secrets, fingerprint = target.credential.secrets, services.vault.fingerprint
    made = oauth.credential(target.auth, access_token, refresh_token, generation, fingerprint, secrets)
    return replace(made, expires_at=expires_at)


def sealed(services: Services, connection_id: str, column: str, token: str) -> bytes:
    return services.vault.seal(token, table="tokens", column=column, row=connection_id)


def unsealed(services: Services, row: Token, column: str) -> str | None:
    value = getattr(row, column)
    return value and services.vault.unseal(value, table="tokens", column=column, row=row.connection_id)


def refresh_moment(now: float, life: float | None, renewal_life: float | None) -> float | None:
    """When to refresh ahead, with jitter, so that many tokens of one moment do not come due in one.

    The sooner of a minute and a tenth of its `life` before it ends; and never later than half of the time that the
    refresh token lives unused, where that is known (`renewal_life`). All are seconds.
    """
    moments = []
    if life is not None:
        moments.append(now + life - min(SKEW_SECONDS, SKEW_SHARE * life) * random.uniform(1.0, 1.2))
    if renewal_life is not None:
        moments.append(now + RENEWAL_SHARE * renewal_life * random.uniform(0.9, 1.0))
    return min(moments, default=None)
