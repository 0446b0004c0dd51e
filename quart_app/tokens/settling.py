"""What processes that are gone left behind: first the tokens in their slots, then exchanges that nobody will end.

A token in a slot is stored. An exchange that was only claimed never left, so it is closed. One that was sent may have
spent the refresh token: the same token is sent again at once, inside the grace that many providers give.
"""

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
        if is_gone(row.owner, alone=services.db.is_sqlite):
            await settle_exchange(services, row)


async def settle_slots(services: Services) -> None:
    for path in rescue.files(services.rescue.path.parent):
        with rescue.held(path) as file:
            if file is None:
                continue
            try:
                for exchange, content in rescue.contents(file):
                    arrival = rescued(services, exchange, content)
                    where = await commit(services, arrival)
                    log.warning("token_rescued", exchange=exchange, place=where)
            except DataError as error:
                log.error("rescue_unreadable", file=str(path), detail=str(error))
                path.rename(path.with_suffix(".unreadable"))
                continue
            path.unlink(missing_ok=True)


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
    async with services.db.session() as session:
        row = await session.get(Connection, connection_id)
    return None if row is None else connections.target_of(services, row)


def spends(target: Target) -> bool:
    return isinstance(target.auth, OAuth2) and target.auth.spends_refresh_tokens
