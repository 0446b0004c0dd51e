"""A token that came back: into its rescue slot, then into the database, and only then to those who wait.

Where the database does not take it, it lives in memory and in its slot, is used from there, and is tried again until
it is taken; `/readyz` says so meanwhile. A token in hand is never discarded for a claim that was lost.
"""

import asyncio
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app import audit, grants, ledger, rescue, webhooks
from quart_app.errors import CallFailed, DataError
from quart_app.ledger import Exchange
from quart_app.models import Connection, Token, TokenExchange
from quart_app.outbound.auth import OAuth2
from quart_app.outbound.oauth import Issued
from quart_app.outbound.target import Target
from quart_app.services import Services
from quart_app.tokens.held import OTHER, Held, credential_of, load, refresh_moment, sealed
from quart_app.tokens.revoking import revoke
from quart_app.tokens.verdicts import Place, place

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
DRAIN_SECONDS = 20.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Arrival:
    """A token, whose it is and the exchange it came by; `asked_at` is when that was sent on this process's clock.

    `actor` is the person who signed in, `skew_seconds` how far this clock is ahead of the provider's, `slot` where it
    is on disk already, if it is: see `keep_safe`.
    """

    connection_id: str
    exchange: Exchange
    issued: Issued
    asked_at: float
    actor: str = ""
    skew_seconds: float | None = None
    slot: int | None = None

    def __repr__(self) -> str:
        return f"Arrival({self.exchange.id})"


async def store(services: Services, target: Target, arrival: Arrival) -> Held:
    """The new tokens in the database; or in memory and in their slot, as long as it does not take them."""
    slot = arrival.slot
    try:
        where = await commit(services, arrival)
    except Exception as error:  # whatever it is: nothing may lose a token that is in hand
        log.warning("token_unstored", connection=target.name, kind=type(error).__name__)
        held = keep_in_memory(services, target, arrival)
        services.spawn(persist(services, target, arrival, slot, held), f"store {target.name}")
        return held
    finish(services, target, slot)
    services.reached("after_commit")
    if where == "gone":
        services.spawn(revoke(services, target, arrival.issued.access_token, arrival.issued.refresh_token), "revoke")
    return await stored(services, target, where)


def keep_safe(services: Services, arrival: Arrival) -> int | None:
    """The slot with the token, synced. There is no wait between the answer and this: nothing can come between.

    None for one that can be had again without a person, or when the disk fails.
    """
    if not arrival.issued.refresh_token and arrival.exchange.cause != "sign_in":
        return None
    content = msgspec.json.encode(asdict(arrival)).decode()
    place = {"table": "rescue", "column": "token", "row": arrival.exchange.id}
    try:
        return services.rescue.put(arrival.exchange.id, services.vault.seal(content, **place))
    except OSError as error:
        log.warning("token_not_rescued", kind=type(error).__name__)
        return None


def rescued(services: Services, exchange: str, content: bytes) -> Arrival:
    """What a slot holds. Raises DataError for one that was not written to its end, or with a key that is not here."""
    text = services.vault.unseal(content, table="rescue", column="token", row=exchange)
    return msgspec.json.decode(text.encode(), type=Arrival)


async def store_rescued(services: Services, exchange: str) -> bool:
    """Stores the token that another process has in a slot for its exchange; whether there is one.

    It may still live, and only stand still: what it stores when it wakes up is then there already.
    """
    content = rescue.find(services.rescue.path.parent, exchange)
    if content is None:
        return False
    try:
        arrival = rescued(services, exchange, content)
    except DataError:
        return False
    where = await commit(services, arrival)
    log.warning("token_rescued", exchange=exchange, place=where)
    return True


async def commit(services: Services, arrival: Arrival) -> Place:
    """Puts a token where it belongs, in one transaction with the ledger and the connection's state."""
    exchange, id_ = arrival.exchange, arrival.connection_id
    async with services.change(drop=False) as session:
        token = await session.get(Token, id_, with_for_update=True)
        entry = await session.get(TokenExchange, exchange.id)
        connection = await session.get(Connection, id_)
        state = connection.state if connection is not None else None
        where = place(
            token, entry, generation=exchange.generation, sent_at=exchange.sent_at or 0.0, cause=exchange.cause
        )
        if token is not None and connection is not None:
            if where == "older":
                token.sealed_spare_refresh_token = spare(services, token, arrival.issued.refresh_token)
            elif where in ("next", "newer"):
                await install(session, services, token, connection, arrival, where)
        if where not in ("stored", "superseded"):
            await ledger.end(session, services, exchange.id, told(arrival, where))
        is_other_state = connection is not None and connection.state != state
    services.caches.of(Held).pop(id_, None)
    if is_other_state:
        services.caches.drop()
    return where


def told(arrival: Arrival, where: Place) -> dict[str, Any]:
    """What the ledger says of it."""
    if where == "gone":
        return {"state": "failed", "reason": "deleted", "detail": "The connection was deleted meanwhile."}
    aside = "It came back after its claim was lost and a newer one was stored; it is kept aside."
    return {
        "state": "stored",
        "failure": None,
        "reason": None,  # it may have been closed as in doubt meanwhile
        "detail": aside if where == "older" else None,
        "oddities": list(arrival.issued.oddities),
        "skew_seconds": arrival.skew_seconds,
    }


async def install(
    session: AsyncSession, services: Services, token: Token, connection: Connection, arrival: Arrival, where: Place
) -> None:
    """Makes it the connection's token, one generation on; an answer without a refresh token keeps the old one."""
    issued, exchange, before = arrival.issued, arrival.exchange, token.sealed_refresh_token
    form = connection.auth
    life, renewal_life = issued.lifetime_seconds, issued.refresh_lifetime_seconds or form.get("refresh_token_seconds")
    token.generation += 1
    token.sealed_access_token = sealed(services, token.connection_id, "sealed_access_token", issued.access_token)
    if issued.refresh_token:
        token.sealed_refresh_token = sealed(services, token.connection_id, "sealed_refresh_token", issued.refresh_token)
    token.sealed_spare_refresh_token = None
    if where == "newer" and before is not None and issued.refresh_token:
        old = services.vault.unseal(before, table="tokens", column="sealed_refresh_token", row=token.connection_id)
        token.sealed_spare_refresh_token = spare(services, token, old)
    has_renewal = token.sealed_refresh_token is not None
    token.scope = issued.scope if issued.scope is not None else token.scope
    token.lifetime_seconds, token.expires_at = life, None if life is None else arrival.asked_at + life
    token.refresh_at = refresh_moment(arrival.asked_at, life, renewal_life if has_renewal else None)
    token.refresh_expires_at = arrival.asked_at + renewal_life if has_renewal and renewal_life else None
    token.refreshed_at, token.sent_at = services.clock(), exchange.sent_at
    token.claim = token.lease_until = token.retry_at = None
    failed, token.failures = token.failures > 0, 0
    if exchange.cause == "sign_in":
        token.signed_in_at, token.signed_in_by = exchange.sent_at, arrival.actor
        await audit.note(session, services.clock, arrival.actor, "signed_in", connection.name)
        await grants.supersede(session, services, token.connection_id, but=exchange.id)
    await recover(session, services, connection, token.generation, failed=failed)


async def recover(
    session: AsyncSession, services: Services, connection: Connection, generation: int, *, failed: bool
) -> None:
    """The connection is ready again, unless a person paused it; whoever was told that it was not well is told so."""
    waited = connection.state in ("needs_sign_in", "config_error")
    if waited:
        connection.state, connection.state_reason = "ready", None
    if failed or (waited and generation > 1):  # one that was never signed in before was not told of
        said = {"state": connection.state, "generation": generation}
        await webhooks.enqueue(session, services, "recovered", connection.name, said)


def spare(services: Services, token: Token, refresh_token: str | None) -> bytes | None:
    if not refresh_token:
        return token.sealed_spare_refresh_token
    return sealed(services, token.connection_id, "sealed_spare_refresh_token", refresh_token)


def finish(services: Services, target: Target, slot: int | None) -> None:
    if slot is not None:
        services.rescue.clear(slot)
    services.events.publish("connection", {"name": target.name, "state": "ready"})


async def stored(services: Services, target: Target, where: Place) -> Held:
    """What is there now for those who wait. Raises CallFailed when that is no token of this auth."""
    kept = await load(services, target)
    if where in ("gone", "superseded") or kept.credential is None:
        raise CallFailed("token_unavailable", OTHER)
    return kept


def keep_in_memory(services: Services, target: Target, arrival: Arrival) -> Held:
    """The token as it will be stored, used from memory until then."""
    issued, exchange = arrival.issued, arrival.exchange
    before = services.caches.of(Held).get(target.id)
    renewal = issued.refresh_token or (before.refresh_token if before else None)
    life, generation = issued.lifetime_seconds, exchange.generation + 1
    expires_at = None if life is None else arrival.asked_at + life
    assert isinstance(target.auth, OAuth2)
    held = Held(
        generation=generation,
        access_token=issued.access_token,
        refresh_token=renewal,
        spare_refresh_token=None,
        expires_at=expires_at,
        lifetime_seconds=life,
        refresh_at=None,
        credential=credential_of(services, target, issued.access_token, renewal, generation, expires_at),
        auth=target.auth,
    )
    services.unstored[target.id] = services.caches.of(Held)[target.id] = held
    return held


async def persist(services: Services, target: Target, arrival: Arrival, slot: int | None, held: Held) -> None:
    """Tries until the database takes it. A stop of the app leaves it to its slot, which the next start finds."""
    pause, began = FIRST_PAUSE_SECONDS, None
    while services.unstored.get(target.id) is held:
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        if slot is None:
            slot = keep_safe(services, arrival)
        try:
            await commit(services, arrival)
        except Exception:  # as above
            if services.draining:
                now = asyncio.get_running_loop().time()
                began = began or now
                if slot is not None or now - began > DRAIN_SECONDS:
                    return
            continue
        del services.unstored[target.id]
        finish(services, target, slot)
