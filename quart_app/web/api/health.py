"""The doctor's word on connections, and the ledger of their token exchanges."""

from quart import Response, request
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app import connections, doctor, ledger
from quart_app.services import Services
from quart_app.web.api import pages
from quart_app.web.bodies import answer


async def get_health(services: Services, session: AsyncSession) -> Response:
    """How all connections are, newest first."""
    limit, after, _ = pages.wanted(request.args)
    items, last_id = await doctor.page(services, session, limit=limit, after=after)
    return answer(pages.page(items, limit, last_id))


async def get_connection_health(services: Services, session: AsyncSession, name: str) -> Response:
    """Whether a connection is well, what happened last, and what to do; nothing is dialled for it."""
    return answer(await doctor.show(services, session, name))


async def get_token_exchanges(session: AsyncSession, name: str) -> Response:
    """Every exchange of a connection with its token endpoint, newest first."""
    limit, after, _ = pages.wanted(request.args)
    row = await connections.find(session, name)
    rows = await ledger.page(session, row.id, limit=limit, after=after)
    return answer(pages.page([ledger.view(found) for found in rows], limit, rows[-1].id if rows else None))
