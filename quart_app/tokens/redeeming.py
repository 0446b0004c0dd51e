"""A code, which a sign-in at the provider gave, for the connection's first tokens (RFC 6749 §4.1.3)."""

import asyncio
from collections.abc import Callable

from quart_app import audit, ledger
from quart_app.outbound.oauth import Issued
from quart_app.outbound.oauth.requests import TokenRequest
from quart_app.outbound.target import Target
from quart_app.services import Services
from quart_app.tokens.dialling import dial
from quart_app.tokens.held import Held, known
from quart_app.tokens.renewing import said
from quart_app.tokens.storing import store
from quart_app.tokens.verdicts import DialFailed, Step


async def redeem(
    services: Services, target: Target, request: TokenRequest, *, actor: str, check: Callable[[Issued], Issued]
) -> Held:
    """Exchanges the code and stores what comes, in a task that the browser's leaving does not cut off.

    It is sent once: a provider that sees a code twice may revoke what it gave for it. `check` may refuse the answer
    before anything is stored, or add to its oddities. The connection is ready then, and what was still open for it
    counts no more. Raises GrantFailed, AttemptFailed, CallFailed, and what the database raises.
    """
    work = exchange(services, target, request, actor, check)
    return await asyncio.shield(services.spawn(work, f"sign-in {target.name}"))


async def exchange(
    services: Services, target: Target, request: TokenRequest, actor: str, check: Callable[[Issued], Issued]
) -> Held:
    services.rescue.prepare()
    held = await known(services, target)
    grant = "authorization_code"
    begun = await ledger.begin(services, target, held.generation, grant_type=grant, cause="sign_in")
    services.reached("after_claim")
    try:
        arrival = await dial(services, target, begun, request, check=check, actor=actor)
    except DialFailed as failed:
        step = Step("in_doubt" if failed.is_doubtful and failed.status != 200 else "failed")
        async with services.db.begin() as session:
            await audit.note(session, services.clock, actor, "sign_in_failed", target.name, failed.reason)
            await ledger.end(session, services, begun.id, said(failed, step))  # after the note, in everybody's order
        raise failed.error from None
    return await store(services, target, arrival)
