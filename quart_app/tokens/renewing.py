"""One renewal: claimed in the database, noted as sent, dialled once, stored; or what its failure leaves behind.

Each step is durable before the next begins, so that wherever a process ends, the ledger says what may have happened.
"""

import asyncio
import time
from contextlib import suppress
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app import connections, ledger, webhooks
from quart_app.errors import CallFailed
from quart_app.forms.webhooks import Event
from quart_app.ledger import ClaimLost, Exchange, Standing
from quart_app.models import Connection, Token, TokenExchange
from quart_app.outbound.auth import OAuth2
from quart_app.outbound.client import AttemptFailed
from quart_app.outbound.oauth import GrantFailed
from quart_app.outbound.oauth.requests import renewal
from quart_app.outbound.target import Target
from quart_app.process import is_gone
from quart_app.services import Services
from quart_app.tokens.dialling import dial
from quart_app.tokens.discovery import endpoints as endpoints_of
from quart_app.tokens.held import Held, load
from quart_app.tokens.storing import Arrival, store, store_rescued
from quart_app.tokens.verdicts import DialFailed, Step, judge, pause_after

POLL_SECONDS = 0.05
GIVE_BACK_SECONDS = 0.5
TAKEOVER_SECONDS = 2.0
"""How long a lease that ran out is watched first: its owner may have its token ready and wait for the database."""

SOON_SECONDS = 10.0
"""While the app stops, an answer is asked for again only where it was lost so soon: the stop has to end in time.

The exchange is left in doubt, and the next one sends the same token.
"""

LOST = (
    "The answer to an earlier exchange was lost, and the provider had spent the refresh token by then: sign in again."
)
UNSTORED = "The database fails, so no token can be claimed or kept; it is tried again with the next call."


async def renew(services: Services, target: Target, generation: int, cause: str) -> Held:
    """The token after `generation`: by an exchange of this process, or what another one made of its own.

    Raises DialFailed, GrantFailed, CallFailed, and what the database raises.
    """
    assert isinstance(target.auth, OAuth2)
    spends = target.auth.spends_refresh_tokens
    if spends:
        services.rescue.prepare()
    while True:
        found = await claim_or_wait(services, target, generation, cause)
        if isinstance(found, Held):
            return found
        exchange, standing = found
        services.reached("after_claim")
        with suppress(ClaimLost):  # this process stood still for so long that another one took over: what did it get?
            return await carry_out(services, target, exchange, spends=spends, fresh=standing.failures == 0)


async def claim_or_wait(
    services: Services, target: Target, generation: int, cause: str
) -> Held | tuple[Exchange, Standing]:
    """The right to dial; where another process has it, the token that comes of it."""
    assert isinstance(target.auth, OAuth2)
    lapsed: tuple[str, float] | None = None
    deadline = time.monotonic() + ledger.LEASE_SECONDS + 2 * TAKEOVER_SECONDS  # so it outlasts lease and watch
    while time.monotonic() < deadline:
        found = await ledger.standing(services, target.id)
        if found is None or target.id in services.unstored:
            raise CallFailed("token_unavailable", UNSTORED if found else "The connection was deleted meanwhile.")
        if found.generation != generation:
            held = await load(services, target)
            serves = held.credential is not None if cause == "settled" else held.is_good(services.clock())
            if serves and held.generation != generation:
                return held
            generation = held.generation
            continue
        if found.wait_seconds and cause not in ("asked", "settled"):
            raise CallFailed("token_unavailable", f"The last refresh failed; next try in {found.wait_seconds:.0f} s.")
        if found.lapsed and found.claim and (lapsed is None or lapsed[0] != found.claim):
            lapsed = found.claim, time.monotonic()
        is_over = lapsed is not None and time.monotonic() - lapsed[1] >= TAKEOVER_SECONDS
        is_left = found.owner != "" and is_gone(found.owner, alone=services.db.is_sqlite and services.rescue.is_alone())
        if found.claim is None or is_over or is_left:
            if found.claim and await store_rescued(services, found.claim):
                continue
            exchange = await ledger.claim(services, target, found, grant_type=target.auth.grant, cause=cause)
            if exchange is not None:
                return exchange, found
        elif cause == "ahead":
            return await load(services, target)
        elif services.draining:
            raise CallFailed(
                "token_unavailable", "The server is stopping, and another process has this token's refresh."
            )
        await asyncio.sleep(POLL_SECONDS)
    raise CallFailed("token_unavailable", "Another process has been refreshing this token for too long.")


async def carry_out(services: Services, target: Target, exchange: Exchange, *, spends: bool, fresh: bool) -> Held:
    """Dials under the claim, again where the answer was lost, and stores what comes."""
    tries, spare, began = 0, False, time.monotonic()
    try:
        while True:
            held = await load(services, target)
            try:
                arrival = await dial_with(services, target, exchange, held, spare=spare)
                break
            except DialFailed as failed:
                has_spare = held.spare_refresh_token is not None and not spare
                in_time = not services.draining or time.monotonic() - began < SOON_SECONDS
                step = judge(failed, spends=spends, tries=tries, fresh=fresh and in_time, has_spare=has_spare)
                if step.next == "stop":
                    return await fail(services, target, exchange, failed, step)
                tries, spare = tries + 1, spare or step.next == "spare"
                await asyncio.sleep(step.pause)
                cause = "in_doubt" if step.next == "again" else "spare"
                exchange = await ledger.again(services, target, exchange, cause, said(failed, step))
    except ClaimLost:
        raise
    except Exception:  # of a failure that is on the ledger the claim is back already
        services.spawn(give_back(services, target, exchange), f"give back {target.name}")
        raise
    return await store(services, target, arrival)


async def dial_with(services: Services, target: Target, exchange: Exchange, held: Held, *, spare: bool) -> Arrival:
    """Asks for what the grant gives. Raises DialFailed, also where there is nothing to ask with, or nobody known."""
    assert isinstance(target.auth, OAuth2)
    token = held.spare_refresh_token if spare else held.refresh_token
    try:
        endpoints = await endpoints_of(services, target)
        request = renewal(target.auth, endpoints, token, now=services.clock())
    except (GrantFailed, AttemptFailed) as error:
        raise DialFailed(error) from None
    return await dial(services, target, exchange, request)


async def fail(services: Services, target: Target, exchange: Exchange, failed: DialFailed, step: Step) -> Held:
    """What a failure leaves: the ledger's row, a pause for all processes, a state where a person is needed.

    Nothing is deleted. If another exchange stored a token meanwhile, that one counts. Raises the failure else.
    """
    words, detail = said(failed, step), failed.detail
    if failed.state == "needs_sign_in" and await ledger.was_in_doubt(services, target.id, exchange.generation):
        detail = LOST
        words |= {"reason": "lost_rotation", "detail": LOST}
    opened = services.change() if failed.state else services.db.begin()
    async with opened as session:
        token = await session.get(Token, target.id, with_for_update=True)  # first, as all who lock both
        await ledger.end(session, services, exchange.id, words)
        if token is not None and token.claim == exchange.id:
            token.claim = token.lease_until = None
            is_mine = connections.is_current(services, await session.get(Connection, target.id), target)
        else:
            is_mine = False
        if token is not None and is_mine:  # else it says nothing of what the connection is now
            token.failures += 1
            failed.pause_seconds = pause_after(token.failures, failed.retry_after)
            token.retry_at = services.db.now() + failed.pause_seconds
            await tell(session, services, target, failed, detail, failures=token.failures)
    held = await load(services, target)
    if held.generation != exchange.generation and held.credential is not None:
        return held
    services.events.publish("connection", {"name": target.name, "state": failed.state or target.state})
    failed.detail = detail
    raise failed


async def tell(
    session: AsyncSession, services: Services, target: Target, failed: DialFailed, detail: str, *, failures: int
) -> None:
    """The connection's state, and whoever listens: of a row of failures only the first is an event."""
    connection = await session.get_one(Connection, target.id)
    was = connection.state
    if failed.state and was != "paused":
        connection.state, connection.state_reason = failed.state, detail
    event: Event = "needs_sign_in" if failed.state == "needs_sign_in" else "refresh_failed"
    if connection.state != was or (failures == 1 and event == "refresh_failed"):
        data = {"state": connection.state, "reason": failed.reason, "detail": detail, "failure": failed.failure}
        await webhooks.enqueue(session, services, event, target.name, data)


def said(failed: DialFailed, step: Step) -> dict[str, Any]:
    """A failed exchange in the ledger's columns."""
    words = {"state": step.state, "failure": failed.failure, "reason": failed.reason, "detail": failed.full_detail}
    return words | {"skew_seconds": failed.skew_seconds}


async def give_back(services: Services, target: Target, exchange: Exchange) -> None:
    """The claim, when the database failed under it: as soon as it can be written, else the lease ends by itself."""
    while not services.draining:
        with suppress(SQLAlchemyError, OSError):
            async with services.db.begin() as session:
                if await ledger.release(session, target.id, exchange):
                    await ledger.close_left(session, services, TokenExchange.id == exchange.id)
            return
        await asyncio.sleep(GIVE_BACK_SECONDS)
