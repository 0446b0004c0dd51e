"""Tokens are refreshed before they expire, also those of connections that nobody uses, so that these stay signed in.

A grant without a refresh token has nothing to keep alive: its token is renewed ahead only while calls use it, because
some providers bill each one.
"""

from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import or_, select

from quart_app import connections, tokens
from quart_app.models import Connection, Token
from quart_app.services import Services

MOST_AT_ONCE = 16

log = structlog.get_logger()


async def tick(services: Services) -> None:
    """Begins what is due and not under way, in this process or another; a few at a time."""
    begun = 0
    for name, id_, generation, renews, refreshed_at in await due(services):
        is_used = services.used.get(id_, 0.0) > (refreshed_at or 0.0)
        if id_ in services.refreshes or not (renews or is_used):
            continue
        try:
            target = await connections.load(services, name)
        except Exception as error:  # one that does not open, or was just deleted, holds up no other
            log.warning("not_refreshed_ahead", connection=name, kind=type(error).__name__)
            continue
        tokens.refreshing(services, target, generation, "ahead")
        begun += 1
        if begun == MOST_AT_ONCE:
            return


async def due(services: Services) -> Sequence[Any]:
    """Name and id of connections, the generation, whether there is a refresh token, when it was refreshed last."""
    now = services.db.now()
    query = (
        select(
            Connection.name,
            Token.connection_id,
            Token.generation,
            Token.sealed_refresh_token.is_not(None),
            Token.refreshed_at,
        )
        .join(Token, Token.connection_id == Connection.id)
        .where(Connection.state == "ready", Token.refresh_at <= services.clock())
        .where(or_(Token.retry_at.is_(None), Token.retry_at <= now))
        .where(or_(Token.claim.is_(None), Token.lease_until < now))
        .order_by(Token.refresh_at)
    )
    async with services.db.session() as session:
        return (await session.execute(query)).all()
