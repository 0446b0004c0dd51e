"""The ledger: every exchange with a token endpoint is a row, from the claim to what came of it.

A claim is a compare-and-set on the connection's tokens, durable before anything is dialled, with a lease on the
database's clock, which all processes share. What a claim finds left open, by one whose lease ran out or whose process
is gone, it closes: an exchange that was sent is in doubt, one that was only claimed never left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils import uuid7

from quart_app import connections
from quart_app.errors import CallFailed
from quart_app.instants import instant
from quart_app.models import Connection, Token, TokenExchange
from quart_app.outbound.target import Target
from quart_app.services import Services

TOKEN_SECONDS = 30.0
LATE_SECONDS = 15.0
"""How long a process may stand still between noting that it sends and sending, so that its lease outlasts the dial."""

LEASE_SECONDS = TOKEN_SECONDS + LATE_SECONDS
LONGEST_WAIT_SECONDS = 3600.0
OPEN = ("claimed", "sent")


class ClaimLost(Exception):
    """Another process has the right to dial by now."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange under way: the generation it set out from, and when it was sent, on the database's clock."""

    id: str
    generation: int
    grant_type: str
    cause: str
    sent_at: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Who may dial now: `claim` is the exchange that has the right, `owner` its process, `lapsed` its lease.

    `wait_seconds` is what a failure before still holds the next dial back for.
    """

    generation: int
    claim: str | None
    owner: str
    lapsed: bool
    wait_seconds: float
    failures: int


async def standing(services: Services, connection_id: str) -> Standing | None:
    """None when the connection has no tokens any more."""
    now = services.db.now()
    query = (
        select(Token.generation, Token.claim, TokenExchange.owner, Token.lease_until - now, Token.retry_at - now)
        .add_columns(Token.failures)
        .outerjoin(TokenExchange, TokenExchange.id == Token.claim)
        .where(Token.connection_id == connection_id)
    )
    async with services.db.session() as session:
        row = (await session.execute(query)).one_or_none()
    if row is None:
        return None
    generation, claim, owner, lease, wait, failures = row
    held_back = wait if wait is not None and 0 < wait <= LONGEST_WAIT_SECONDS else 0.0  # else a clock was set back
    return Standing(generation, claim, owner or "", lease is None or lease < 0, held_back, failures)


async def claim(services: Services, target: Target, found: Standing, *, grant_type: str, cause: str) -> Exchange | None:
    """The right to dial, if nobody took it since it was `found` free; durable when this returns."""
    made = Exchange(str(uuid7()), found.generation, grant_type, cause)
    now = services.db.now()
    query = (
        update(Token)
        .where(Token.connection_id == target.id, Token.generation == found.generation)
        .where(Token.claim.is_(None) if found.claim is None else Token.claim == found.claim)
        .values(claim=made.id, lease_until=now + LEASE_SECONDS)
    )
    async with services.db.begin() as session:
        if not await rows_changed(session, query):
            return None
        if found.claim is not None:
            await close_left(session, services, TokenExchange.id == found.claim)
        await enter(session, services, target, made)
    return made


async def again(services: Services, target: Target, before: Exchange, cause: str, said: dict[str, Any]) -> Exchange:
    """Another exchange under the same claim; `said` is what became of the one before. Raises ClaimLost."""
    made = Exchange(str(uuid7()), before.generation, before.grant_type, cause)
    query = (
        update(Token)
        .where(Token.connection_id == target.id, Token.claim == before.id)
        .values(claim=made.id, lease_until=services.db.now() + LEASE_SECONDS)
    )
    async with services.db.begin() as session:
        kept = await rows_changed(session, query)
        await end(session, services, before.id, said)
        if kept:
            await enter(session, services, target, made)
    if not kept:
        raise ClaimLost
    return made


async def begin(services: Services, target: Target, generation: int, *, grant_type: str, cause: str) -> Exchange:
    """An exchange that needs no claim, because it spends nothing that another could: a code, which is good once.

    Raises CallFailed when the connection has other auth than the target by now.
    """
    made = Exchange(str(uuid7()), generation, grant_type, cause)
    async with services.db.begin() as session:
        row = await session.get(Connection, target.id, with_for_update=True)
        if not connections.is_current(services, row, target):
            raise CallFailed("token_unavailable", "The connection was given other auth meanwhile: sign in again.")
        await enter(session, services, target, made)
    return made


async def sent(services: Services, target: Target, exchange: Exchange) -> Exchange | None:
    """Notes, durably, that from now on the provider may have it; None if the claim was lost, and it must not go."""
    now, claims = services.db.now(), exchange.cause != "sign_in"
    lease = (
        update(Token)
        .where(Token.connection_id == target.id, Token.claim == exchange.id, Token.lease_until >= now)
        .values(lease_until=now + LEASE_SECONDS)
    )
    note = update(TokenExchange).where(TokenExchange.id == exchange.id).values(state="sent", sent_at=now)
    async with services.db.begin() as session:
        if claims and not await rows_changed(session, lease):
            return None
        sent_at = await session.scalar(
            note.returning(TokenExchange.sent_at).execution_options(synchronize_session=False)
        )
    return Exchange(exchange.id, exchange.generation, exchange.grant_type, exchange.cause, sent_at)


async def enter(session: AsyncSession, services: Services, target: Target, exchange: Exchange) -> None:
    now: Any = services.db.now()
    session.add(
        TokenExchange(
            id=exchange.id,
            connection_id=target.id,
            connection=target.name,
            generation=exchange.generation,
            grant_type=exchange.grant_type,
            cause=exchange.cause,
            owner=services.process,
            state="claimed",
            oddities=[],
            claimed_at=now,
        )
    )
    await session.flush()


async def end(session: AsyncSession, services: Services, id_: str, said: dict[str, Any]) -> None:
    """What became of an exchange; one that was closed before is left as it is."""
    query = update(TokenExchange).where(TokenExchange.id == id_, TokenExchange.state.in_((*OPEN, "in_doubt")))
    await rows_changed(session, query.values(ended_at=services.db.now(), **said))


async def close_left(session: AsyncSession, services: Services, which: ColumnElement[bool]) -> None:
    """Closes what nobody will end any more."""
    ended: dict[str, Any] = {"ended_at": services.db.now()}
    never = {"state": "failed", "reason": "abandoned", "detail": "It was claimed and never sent."}
    doubt = {
        "state": "in_doubt",
        "reason": "abandoned",
        "detail": "It was sent, and its process did not live to end it.",
    }
    for state, values in (("claimed", never), ("sent", doubt)):
        query = update(TokenExchange).where(which, TokenExchange.state == state)
        await rows_changed(session, query.values(**ended | values))


async def release(session: AsyncSession, connection_id: str, exchange: Exchange) -> bool:
    """Gives the claim back; False if it was lost before."""
    query = update(Token).where(Token.connection_id == connection_id, Token.claim == exchange.id)
    return bool(await rows_changed(session, query.values(claim=None, lease_until=None)))


async def was_in_doubt(services: Services, connection_id: str, generation: int) -> bool:
    """Whether an answer was lost since this generation: then its refresh token may be spent."""
    query = select(TokenExchange.id).where(
        TokenExchange.connection_id == connection_id,
        TokenExchange.generation == generation,
        TokenExchange.state == "in_doubt",
    )
    async with services.db.session() as session:
        return await session.scalar(query.limit(1)) is not None


async def left_open(services: Services) -> Sequence[TokenExchange]:
    """Exchanges that other processes have open, or had when they went."""
    query = select(TokenExchange).where(TokenExchange.state.in_(OPEN), TokenExchange.owner != services.process)
    async with services.db.session() as session:
        return list(await session.scalars(query))


async def prune(services: Services) -> None:
    """Takes out what ended before the calls that are kept; the last exchange of each connection stays."""
    if not services.settings.keep_days:
        return
    before = services.clock() - services.settings.keep_days * 86400.0
    last = select(func.max(TokenExchange.id)).group_by(TokenExchange.connection_id)
    async with services.db.begin() as session:
        query = delete(TokenExchange).where(TokenExchange.ended_at < before, TokenExchange.id.not_in(last))
        await rows_changed(session, query)


async def page(session: AsyncSession, connection_id: str, *, limit: int, after: str | None) -> list[TokenExchange]:
    """Exchanges of a connection, newest first; `after` is the id that the page before ended with."""
    query = select(TokenExchange).where(TokenExchange.connection_id == connection_id)
    if after:
        query = query.where(TokenExchange.id < after)
    return list(await session.scalars(query.order_by(TokenExchange.id.desc()).limit(limit)))


def view(row: TokenExchange) -> dict[str, Any]:
    """An exchange in the form of the API; its `id` is that of the call which shows it on the wire."""
    return {
        "id": row.id,
        "generation": row.generation,
        "grant_type": row.grant_type,
        "cause": row.cause,
        "owner": row.owner,
        "state": row.state,
        "failure": row.failure,
        "reason": row.reason,
        "detail": row.detail,
        "oddities": row.oddities,
        "skew_seconds": row.skew_seconds,
        "claimed_at": instant(row.claimed_at),
        "sent_at": instant(row.sent_at),
        "ended_at": instant(row.ended_at),
    }


async def rows_changed(session: AsyncSession, query: Any) -> int:
    outcome: Any = await session.execute(query.execution_options(synchronize_session=False))
    return int(outcome.rowcount)
