"""The audit: who changed what."""

from quart import Response, request
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app import audit
from quart_app.web.api import pages
from quart_app.web.bodies import answer


async def get_audit_entries(session: AsyncSession) -> Response:
    """List who changed what that matters for safety, newest first."""
    limit, after, _ = pages.wanted(request.args, places=pages.NUMBER)
    rows = await audit.page(session, limit=limit, before=int(after) if after else None)
    return answer(pages.page([audit.view(row) for row in rows], limit, str(rows[-1].number) if rows else None))
