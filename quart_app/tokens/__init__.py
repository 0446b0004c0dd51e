"""Tokens: kept alive, never spent twice and never lost.

One renewal per generation: joined by all callers in the process, claimed in the database before the token endpoint
is dialled, run in a task of its own that no disconnecting caller can cancel, and safe on disk before anyone uses the
new token. A failure deletes nothing. RFC 9700 §4.14.2.

    held        what this process knows of a connection's tokens      verdicts    what the protocol decides, pure
    renewing    claim, dial, store; what a failure leaves             dialling    one request to a token endpoint
    storing     rescue slot, then database                            discovery   where the endpoints are
    redeeming   a code for the first tokens                           revoking    tokens that are wanted no more
    settling    what stopped processes left                           ahead       before they expire
"""

import asyncio
import time

from sqlalchemy.exc import SQLAlchemyError

from quart_app.errors import CallFailed
from quart_app.outbound.auth import Credential, OAuth2
from quart_app.outbound.target import Target
from quart_app.services import Services
from quart_app.tokens.held import Held, known
from quart_app.tokens.redeeming import redeem as redeem
from quart_app.tokens.renewing import UNSTORED, renew
from quart_app.tokens.revoking import revoke as revoke
from quart_app.tokens.verdicts import DialFailed

COOL_DOWN_SECONDS = 1.0
REFUSED_SECONDS = 30.0
"""How long a token that was got because of a 401 is not got again for another: some APIs answer 401 to every token."""


async def ensure_valid(services: Services, target: Target) -> Credential:
    """What goes onto a call now; refreshes first where the token has expired, beside the call where it soon will.

    Raises CallFailed `token_unavailable`.
    """
    if not isinstance(target.auth, OAuth2):
        return target.credential
    held = services.caches.of(Held).get(target.id)
    if held is None or held.auth is not target.auth:
        held = await known(services, target)
    now = services.used[target.id] = services.clock()
    if not held.is_good(now):
        held = await refresh(services, target, after=held.generation, cause="expired")
    elif held.refresh_at is not None and held.refresh_at <= now and target.state == "ready":
        refreshing(services, target, held.generation, "ahead")
    assert held.credential is not None
    return held.credential


async def refresh(
    services: Services, target: Target, *, after: int | None = None, forced: bool = False, cause: str = "asked"
) -> Held:
    """The token that follows generation `after` (by default the present one); joins a refresh in flight.

    `forced` tries even when the connection is known to need a person, and before a pause is over. Raises CallFailed
    `token_unavailable`.
    """
    if target.state in ("needs_sign_in", "config_error") and not forced:
        raise CallFailed("token_unavailable", target.state_reason or "The connection needs attention.")
    held = await known(services, target)
    if after is not None and held.generation > after and held.is_good(services.clock()):
        return held
    if forced and (task := services.refreshes.get(target.id)) is not None and task.done():
        del services.refreshes[target.id]
    held = await asyncio.shield(refreshing(services, target, held.generation, cause))
    if after is not None and held.generation <= after:  # it was one ahead of time that left it to another process
        held = await asyncio.shield(refreshing(services, target, held.generation, cause))
    return held


async def refresh_after_401(services: Services, target: Target, refused: Credential) -> Held:
    """The token for one more try, after an API refused the one before. Raises CallFailed `token_unavailable`."""
    if is_refused_again(services, target, refused):
        raise CallFailed("token_unavailable", "The API refused a token that is new as well.")
    return await refresh(services, target, after=refused.generation, cause="refused")


def refresh_beside(services: Services, target: Target, refused: Credential) -> None:
    """A new token for the calls to come, after one that was refused but cannot be sent again."""
    if target.state == "ready" and refused.generation is not None and not is_refused_again(services, target, refused):
        refreshing(services, target, refused.generation, "refused")


def is_refused_again(services: Services, target: Target, refused: Credential) -> bool:
    """Whether this token was itself got because of a 401, just now and not at its end: then one more would not help."""
    held = services.caches.of(Held).get(target.id)
    if held is None or held.generation != refused.generation or refused.is_over(services.clock()):
        return False
    is_young = held.lifetime_seconds is None or held.lifetime_seconds > REFUSED_SECONDS
    return is_young and time.monotonic() - services.refused.get(target.id, -REFUSED_SECONDS) < REFUSED_SECONDS


def refreshing(services: Services, target: Target, generation: int, cause: str) -> "asyncio.Task[Held]":
    """The one refresh of this connection in this process, begun now if none is on its way."""
    task = services.refreshes.get(target.id)
    if task is None:
        task = services.spawn(refresh_once(services, target, generation, cause), f"refresh {target.name}")
        services.refreshes[target.id] = task
    return task


async def refresh_once(services: Services, target: Target, generation: int, cause: str) -> Held:
    """A refresh, and after a failure a pause in which all who ask share it."""
    pause = 0.0
    try:
        held = await renew(services, target, generation, cause)
    except (DialFailed, CallFailed, SQLAlchemyError, OSError) as error:
        pause = COOL_DOWN_SECONDS  # how long nobody dials is in the database, where whatever ends it is as well
        detail = UNSTORED if isinstance(error, SQLAlchemyError | OSError) else getattr(error, "detail", str(error))
        raise CallFailed("token_unavailable", detail) from None
    finally:
        asyncio.get_running_loop().call_later(pause, forget, services, target.id, asyncio.current_task())
    if cause == "refused":
        services.refused[target.id] = time.monotonic()
    else:
        services.refused.pop(target.id, None)
    return held


def forget(services: Services, connection_id: str, task: "asyncio.Task[Held] | None") -> None:
    """From now on another refresh may begin, unless it has already."""
    if services.refreshes.get(connection_id) is task:
        del services.refreshes[connection_id]


def unstored(services: Services, connection_id: str) -> bool:
    """Whether its token waits in memory, and in its rescue slot, because the database fails."""
    return connection_id in services.unstored
