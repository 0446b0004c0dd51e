"""Is it alive, is it ready, what can it do: for supervisors, load balancers and programs."""

import shutil

from quart import Response
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.history import storage
from quart_app.services import Services
from quart_app.vitals.watchdog import KEPT_SECONDS, UNWELL_SECONDS
from quart_app.web.bodies import answer

LEAST_FREE_BYTES = 64 * 1024**2


async def get_healthz(services: Services) -> Response:
    """The process is alive and its loop turns."""
    lag = services.watchdog.worst_lag()
    reasons = [f"loop: it stood still for {lag:.1f} s in the last {KEPT_SECONDS:.0f} s"] if lag > UNWELL_SECONDS else []
    status = "failing" if reasons else "ok"
    return answer({"status": status, "reasons": reasons}, 503 if reasons else 200)


async def get_readyz(services: Services, session: AsyncSession) -> Response:
    """Whether calls should be sent here, and if not, why."""
    reasons = []
    if services.draining:
        reasons.append("draining: the server is stopping")
    try:
        await session.execute(select(text("1")))
    except (SQLAlchemyError, OSError):  # OSError: asyncpg's, when nothing listens
        reasons.append("database: it does not answer")
    if services.recorder.failing:
        reasons.append(f"recorder: {services.recorder.failing}")
    if services.unstored:
        reasons.append(f"tokens: {len(services.unstored)} new ones wait in their rescue slots for the database")
    if shutil.disk_usage(services.settings.data).free < LEAST_FREE_BYTES:
        reasons.append("disk: less than 64 MiB are free")
    status = "failing" if reasons else "ok"
    return answer({"status": status, "reasons": reasons}, 503 if reasons else 200)


async def get_storage(services: Services, session: AsyncSession) -> Response:
    """What the record takes up, and its limits."""
    return answer(await storage.measure(services, session))
