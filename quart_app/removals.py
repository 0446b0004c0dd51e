"""A connection taken away, and its tokens taken back at the provider where it can do that (RFC 7009)."""

import asyncio
from dataclasses import dataclass

from quart_app import audit, connections, tokens
from quart_app.outbound.target import Target
from quart_app.services import Services
from quart_app.tokens.held import Held, held_of

REVOKE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Removal:
    """`had_token`: there was one to take back; `not_revoked` says why the provider did not, empty if it did."""

    had_token: bool = False
    not_revoked: str = ""


async def remove(services: Services, name: str, *, actor: str) -> Removal:
    """Removes a connection with its secrets, then tells the provider, for at most five seconds. Raises NotFound.

    In this order, so that a provider that hangs keeps nobody's secrets here; that it was told goes on the audit.
    """
    target = await connections.read(services, name)  # as it is now: its tokens go to no provider of before
    row = await connections.delete(services, name, actor=actor)
    held = services.unstored.get(target.id) or (held_of(services, target, row) if row else None)
    if held is None or not (held.refresh_token or held.access_token):
        return Removal()
    return await asyncio.shield(services.spawn(take_back(services, target, held, actor), f"revoke {name}"))


async def take_back(services: Services, target: Target, held: Held, actor: str) -> Removal:
    try:
        async with asyncio.timeout(REVOKE_SECONDS):
            why = await tokens.revoke(services, target, held.access_token, held.refresh_token)
    except TimeoutError:
        why = f"The provider did not answer within {REVOKE_SECONDS:.0f} seconds."
    action = "token_not_revoked" if why else "token_revoked"
    async with services.db.begin() as session:
        await audit.note(session, services.clock, actor, action, target.name, why)
    return Removal(had_token=True, not_revoked=why)
