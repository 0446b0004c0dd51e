"""What processes that are gone left behind: first the tokens in their slots, then exchanges that nobody will end.

A token in a slot is stored. An exchange that was only claimed never left, so it is closed. One that was sent may have
spent the refresh token: the same token is sent again at once, inside the grace that many providers give.
"""

from pathlib import Path

import structlog
from sqlalchemy import update

from quart_app import connections, ledger, rescue, tokens
from quart_app.errors import DataError
from quart_app.models import Connection, Token, TokenExchange
from quart_app.outbound.auth import OAuth2
from quart_app.outbound.target import Target
from quart_app.process import is_gone
from quart_app.services import Services
from quart_app.tokens.storing import commit, rescued

log = structlog.get_logger()


async def settle(services: Services) -> None:
    """Once at the start, and then each second for the sake of other processes. Raises what the database raises."""
    await settle_slots(services)
    for row in await ledger.left_open(services):
        if is_gone(row.owner, alone=services.db.is_sqlite and services.rescue.is_alone()):
            await settle_exchange(services, row)


async def settle_slots(services: Services) -> None:
    for path in rescue.files(services.rescue.path.parent):
        with rescue.held(path) as file:
            if file is None:
                continue
            stored = [await settle_slot(services, path, *slot) for slot in rescue.contents(file)]
            if all(stored):
                path.unlink(missing_ok=True)
            else:
                path.rename(path.with_suffix(".unreadable"))


async def settle_slot(services: Services, path: Path, exchange: str, content: bytes) -> bool:
    """Whether its token is stored now. One that a power cut left half written or half cleared is not readable."""
    try:
        where = await commit(services, rescued(services, exchange, content))
    except DataError as error:
        log.error("rescue_unreadable", file=str(path), detail=str(error))
        return False
    log.warning("token_rescued", exchange=exchange, place=where)
    return True


async def settle_exchange(services: Services, row: TokenExchange) -> None:
    target = await target_of(services, row.connection_id)
    if target is not None and row.state == "sent" and row.cause != "sign_in" and spends(target):
        log.warning("token_exchange_in_doubt", connection=row.connection, exchange=row.id)
        tokens.refreshing(services, target, row.generation, "settled")
        return
    async with services.db.begin() as session:
        query = update(Token).where(Token.connection_id == row.connection_id, Token.claim == row.id)
        await ledger.rows_changed(session, query.values(claim=None, lease_until=None))
        await ledger.close_left(session, services, TokenExchange.id == row.id)


async def target_of(services: Services, connection_id: str) -> Target | None:
    """None for a connection that is gone, and for one that does not open: nobody can dial for it either."""
    async with services.db.session() as session:
        row = await session.get(Connection, connection_id)
    try:
        return None if row is None else connections.target_of(services, row)
    except (DataError, ValueError) as error:
        log.error("connection_unreadable", connection=connection_id, kind=type(error).__name__)
        return None


def spends(target: Target) -> bool:
    return isinstance(target.auth, OAuth2) and target.auth.spends_refresh_tokens
