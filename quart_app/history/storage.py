"""What the record takes up, and how far the limits are."""

import shutil
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.history import indexer, retention
from quart_app.instants import instant
from quart_app.models import Call
from quart_app.services import Services


async def measure(services: Services, session: AsyncSession) -> dict[str, Any]:
    """Bytes of the database (on SQLite of its pages in use, which `keep_bytes` is about), its WAL, and the disk's rest.

    PostgreSQL keeps its WAL and its disk to itself: null.
    """
    db, settings = services.db, services.settings
    calls = await retention.count_calls(session)
    oldest_at = await session.scalar(select(Call.started_at).order_by(Call.number).limit(1))
    figures: dict[str, Any] = {"database_bytes": None, "wal_bytes": None, "free_bytes": None}
    if db.path:
        wal = db.path.with_name(db.path.name + "-wal")
        figures["database_bytes"] = await retention.used_bytes(session)
        figures["wal_bytes"] = wal.stat().st_size if wal.exists() else 0
        figures["free_bytes"] = shutil.disk_usage(db.path.parent).free
    else:
        figures["database_bytes"] = await session.scalar(text("SELECT pg_database_size(current_database())"))
    behind = await indexer.lag(session) if db.is_sqlite else 0
    return figures | {
        "calls": calls,
        "oldest_at": instant(oldest_at),
        "keep_days": settings.keep_days,
        "keep_calls": settings.keep_calls,
        "keep_bytes": settings.keep_bytes,
        "search": {"indexed": max(0, calls - behind), "behind": behind} if db.is_sqlite else None,
    }
