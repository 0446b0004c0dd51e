"""Tokens: kept alive, and never spent twice.

One refresh per generation: joined by all callers in the process, claimed in the database before the token
endpoint is dialled (a lease on the database's clock, so that other processes wait), run in a task of its own that
no disconnecting caller can cancel, and committed before anyone uses the new token. A failed refresh deletes
nothing. RFC 9700 §4.14.2.
"""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from multidict import CIMultiDict
from sqlalchemy import or_, update
from sqlalchemy.exc import SQLAlchemyError
from uuid_utils import uuid7
from yarl import URL

from quart_app import connections, ledger
from quart_app.errors import CallFailed
from quart_app.models import Token
from quart_app.outbound import oauth
from quart_app.outbound.auth import Credential, OAuth2
from quart_app.outbound.client import Answer, AttemptFailed
from quart_app.outbound.oauth import GrantFailed, Issued
from quart_app.outbound.target import Target
from quart_app.services import Services

TOKEN_SECONDS = 30.0
LEASE_SECONDS = TOKEN_SECONDS + 15.0
POLL_SECONDS = 0.05
COOL_DOWN_SECONDS = 1.0
SKEW_SECONDS = 60.0
SKEW_SHARE = 0.1
UNSTORED = "The database fails, so no token can be claimed or kept; it is tried again with the next call."


@dataclass(frozen=True, slots=True)
class Held:
    """A connection's tokens as this process knows them; instants are seconds since the epoch."""

    generation: int
    access_token: str | None
    refresh_token: str | None
    expires_at: float | None
    refresh_at: float | None
    credential: Credential | None

    def __repr__(self) -> str:
        return f"Held(generation={self.generation})"


async def ensure_valid(services: Services, target: Target) -> Credential:
    """What goes onto a call now; refreshes first where the token has expired, beside the call where it soon will.

    Raises CallFailed `token_unavailable`.
    """
    if not isinstance(target.auth, OAuth2):
        return target.credential
    held = services.caches.of(Held).get(target.id) or await known(services, target)
    now = services.clock()
    if held.credential is None or (held.expires_at is not None and held.expires_at <= now):
        held = await refresh(services, target, after=held.generation)
    elif held.refresh_at is not None and held.refresh_at <= now and target.state == "ready":
        refreshing(services, target, held.generation)
    assert held.credential is not None
    return held.credential


async def refresh(services: Services, target: Target, *, after: int | None = None, forced: bool = False) -> Held:
    """The token that follows generation `after` (by default the present one); joins a refresh in flight.

    `forced` tries even when the connection is known to need a person. Raises CallFailed `token_unavailable`.
    """
    if target.state in ("needs_sign_in", "config_error") and not forced:
        raise CallFailed("token_unavailable", target.state_reason or "The connection needs attention.")
    held = services.caches.of(Held).get(target.id) or await known(services, target)
    if after is not None and held.generation > after and held.credential is not None:
        return held
    return await asyncio.shield(refreshing(services, target, held.generation))


def refresh_beside(services: Services, target: Target, refused: Credential) -> None:
    """A new token for the calls to come, after one that was refused but cannot be sent again."""
    if target.state == "ready" and refused.generation is not None:
        refreshing(services, target, refused.generation)


def refreshing(services: Services, target: Target, generation: int) -> asyncio.Task[Held]:
    """The one refresh of this connection in this process, begun now if none is on its way."""
    task = services.refreshes.get(target.id)
    if task is None:
        task = services.spawn(refresh_once(services, target, generation), f"refresh {target.name}")
        services.refreshes[target.id] = task
    return task


async def refresh_once(services: Services, target: Target, generation: int) -> Held:
    try:
        held = await claim_and_dial(services, target, generation)
    except (GrantFailed, AttemptFailed, SQLAlchemyError, OSError) as error:
        raise await failed(services, target, error) from None
    except BaseException:
        services.refreshes.pop(target.id, None)
        raise
    services.refreshes.pop(target.id, None)
    return held


async def failed(services: Services, target: Target, error: Exception) -> CallFailed:
    """What a failed refresh leaves: a state where a person is needed, else a pause in which all share the failure."""
    detail = error.detail if isinstance(error, GrantFailed | AttemptFailed) else UNSTORED
    state = error.state if isinstance(error, GrantFailed) else None
    if state:
        await connections.set_state(services, target, state, detail)
    pause = 0 if state else COOL_DOWN_SECONDS
    asyncio.get_running_loop().call_later(pause, services.refreshes.pop, target.id, None)
    return CallFailed("token_unavailable", detail)


async def claim_and_dial(services: Services, target: Target, generation: int) -> Held:
    """Claims the generation and dials; where another process has the claim, waits for its outcome."""
    claim = str(uuid7())
    for _ in range(int(LEASE_SECONDS / POLL_SECONDS) + 1):
        if await claimed(services, target, generation, claim):
            return await dial(services, target, claim)
        held = await load(services, target)
        if held.generation != generation and held.credential is not None:
            return held
        generation = held.generation
        await asyncio.sleep(POLL_SECONDS)
    raise GrantFailed("Another process has been refreshing this token for too long.")


async def claimed(services: Services, target: Target, generation: int, claim: str) -> bool:
    """Whether this process may dial: compare-and-set on the row, durable before the first byte leaves."""
    now = services.db.now()
    free = or_(Token.claim.is_(None), Token.lease_until < now)
    query = (
        update(Token)
        .where(Token.connection_id == target.id, Token.generation == generation, free)
        .values(claim=claim, lease_until=now + LEASE_SECONDS, sent_at=now)
        .execution_options(synchronize_session=False)
    )
    async with services.db.begin() as session:
        outcome: Any = await session.execute(query)
        return bool(outcome.rowcount)


async def dial(services: Services, target: Target, claim: str) -> Held:
    """One token request and its outcome in the database; the claim is given back either way."""
    held = await load(services, target)
    try:
        issued = await request_token(services, target, held.refresh_token)
    except BaseException:
        await release(services, target, claim)
        raise
    return await store(services, target, held, issued)


async def request_token(services: Services, target: Target, refresh_token: str | None) -> Issued:
    """Dials the token endpoint once: no redirect, no repetition. Bodies of this exchange are never recorded."""
    auth = target.auth
    assert isinstance(auth, OAuth2)
    headers, body = oauth.token_request(auth, refresh_token)
    with ledger.exchange(services, target, auth.token_url) as entry:
        answer = await services.client.request(
            target,
            "POST",
            URL(auth.token_url, encoded=True),
            CIMultiDict(headers),
            body,
            entry.timings,
            total_seconds=TOKEN_SECONDS,
        )
        entry.record.call["status"] = answer.status
        try:
            return oauth.token_answer(answer.status, await whole(answer))
        finally:
            answer.close()


async def whole(answer: Answer) -> bytes:
    pieces = bytearray()
    while piece := await answer.read():
        pieces += piece
        if len(pieces) > oauth.ANSWER_BYTES:
            raise GrantFailed("The token endpoint's answer is too long to be one.")
    return bytes(pieces)


async def release(services: Services, target: Target, claim: str) -> None:
    """Where it cannot be stored, the lease ends by itself."""
    query = (
        update(Token)
        .where(Token.connection_id == target.id, Token.claim == claim)
        .values(claim=None, lease_until=None)
        .execution_options(synchronize_session=False)
    )
    with suppress(SQLAlchemyError, OSError):
        async with services.db.begin() as session:
            await session.execute(query)


async def store(services: Services, target: Target, held: Held, issued: Issued) -> Held:
    """Commits the new tokens, generation counted up; an answer without a refresh token keeps the old one.

    It is the generation that is compared, not the claim: a token in hand is kept also when the lease ran out.
    """
    now = services.clock()
    life = issued.lifetime_seconds
    values: dict[str, Any] = {
        "generation": held.generation + 1,
        "sealed_access_token": sealed(services, target, "sealed_access_token", issued.access_token),
        "scope": issued.scope,
        "expires_at": None if life is None else now + life,
        "lifetime_seconds": life,
        "refreshed_at": now,
        "claim": None,
        "lease_until": None,
    }
    if issued.refresh_token:
        values["sealed_refresh_token"] = sealed(services, target, "sealed_refresh_token", issued.refresh_token)
    async with services.change(drop=False) as session:
        await session.execute(
            update(Token)
            .where(Token.connection_id == target.id, Token.generation == held.generation)
            .values(**values)
            .execution_options(synchronize_session=False)
        )
    services.caches.of(Held).pop(target.id, None)
    if target.state in ("needs_sign_in", "config_error"):
        await connections.set_state(services, target, "ready", None)
    kept = await load(services, target)
    if kept.credential is None:
        raise GrantFailed("The connection was given other auth meanwhile; the next call goes by that.")
    return kept


def sealed(services: Services, target: Target, column: str, token: str) -> bytes:
    return services.vault.seal(token, table="tokens", column=column, row=target.id)


async def known(services: Services, target: Target) -> Held:
    """The tokens from the database, one read for all who ask at once."""
    return await services.caches.read(Held, target.id, lambda: load(services, target))


async def load(services: Services, target: Target) -> Held:
    """The tokens as the database has them. Raises CallFailed when the connection was deleted meanwhile."""
    epoch = services.caches.epoch
    async with services.db.session() as session:
        row = await session.get(Token, target.id)
    if row is None:
        raise CallFailed("token_unavailable", "The connection has no token any more; it was changed or deleted.")
    access, renewal = (
        unsealed(services, row, "sealed_access_token"),
        unsealed(services, row, "sealed_refresh_token"),
    )
    held = Held(
        generation=row.generation,
        access_token=access,
        refresh_token=renewal,
        expires_at=row.expires_at,
        refresh_at=refresh_moment(row.expires_at, row.lifetime_seconds),
        credential=credential_of(services, target, access, renewal, row.generation) if access else None,
    )
    return services.caches.keep(Held, target.id, held, epoch)


def credential_of(
    services: Services, target: Target, access_token: str, refresh_token: str | None, generation: int
) -> Credential:
    assert isinstance(target.auth, OAuth2)
    known, fingerprint = target.credential.secrets, services.vault.fingerprint
    return oauth.credential(target.auth, access_token, refresh_token, generation, fingerprint, known)


def unsealed(services: Services, row: Token, column: str) -> str | None:
    value = getattr(row, column)
    return value and services.vault.unseal(value, table="tokens", column=column, row=row.connection_id)


def refresh_moment(expires_at: float | None, lifetime: float | None) -> float | None:
    """When to refresh ahead: the sooner of a minute and a tenth of its life before the end, with jitter."""
    if expires_at is None or lifetime is None:
        return None
    early = min(SKEW_SECONDS, SKEW_SHARE * lifetime)
    return expires_at - early * random.uniform(1.0, 1.2)
