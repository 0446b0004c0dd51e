"""The audit: who changed what that matters for safety, written with the change itself, in a chain of hashes.

Each entry's hash is the SHA-256 of the hash before it and of the entry, so that one that is changed or taken out later
shows. What was cut off at the end shows only to who has noted the last hash elsewhere: `switchboard audit --verify`
prints it.
"""

import hashlib
import math
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.db import Database
from quart_app.instants import instant
from quart_app.models import AuditEntry, Installation
from quart_app.outbound.egress import EgressDenied
from quart_app.outbound.target import Target

SYSTEM = "switchboard"
"""The actor of what no person or key did by itself."""

FIRST = ""
STEP = 500
QUIET_SECONDS = 60.0
MOST_PLACES = 1000


async def note(
    session: AsyncSession, clock: Callable[[], float], actor: str, action: str, subject: str, detail: str = ""
) -> None:
    """Adds an entry inside the caller's transaction: it is there if and only if the change is.

    The installation's row orders the writers of all processes, as `services.change` does: outside of that, note before
    other rows are locked, or two could wait for each other.
    """
    await session.execute(select(Installation.id).with_for_update())
    last = await session.scalar(select(AuditEntry).order_by(AuditEntry.number.desc()).limit(1))
    entry = AuditEntry(
        number=last.number + 1 if last else 1,
        at=round(clock(), 6),
        actor=actor,
        action=action,
        subject=subject,
        detail=detail,
    )
    entry.hash = chained(last.hash if last else FIRST, entry)
    session.add(entry)
    await session.flush()  # so that a further entry of this transaction goes on from it


def chained(before: str, entry: AuditEntry) -> str:
    parts = [before, entry.number, entry.at, entry.actor, entry.action, entry.subject, entry.detail]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


async def verify(session: AsyncSession) -> tuple[AuditEntry | None, AuditEntry | None]:
    """The first entry that does not fit the one before it, if there is one, and the last entry that holds."""
    good: AuditEntry | None = None
    while True:
        number = good.number if good else 0
        rows = list(await session.scalars(after(number)))
        for row in rows:
            if row.number != number + 1 or row.hash != chained(good.hash if good else FIRST, row):
                return row, good
            good, number = row, row.number
        if len(rows) < STEP:
            return None, good


def after(number: int) -> Any:
    return select(AuditEntry).where(AuditEntry.number > number).order_by(AuditEntry.number).limit(STEP)


async def page(session: AsyncSession, *, limit: int, before: int | None = None) -> list[AuditEntry]:
    """Entries, newest first; `before` is the number that the page before ended with."""
    query = select(AuditEntry).order_by(AuditEntry.number.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditEntry.number < before)
    return list(await session.scalars(query))


class Refusals:
    """Egress refusals on the audit: of one connection and address at most one entry a minute, by this process."""

    def __init__(self, db: Database, clock: Callable[[], float], spawn: Callable[..., Any]) -> None:
        self._db = db
        self._clock = clock
        self._spawn = spawn
        self._noted: dict[tuple[str, str], float] = {}

    def note(self, target: Target, denied: EgressDenied) -> None:
        """For `Client.on_denied`: waits for nothing."""
        now = self._clock()
        place = (target.id, denied.host)
        if now - self._noted.get(place, -math.inf) < QUIET_SECONDS:
            return
        if len(self._noted) >= MOST_PLACES:
            self._noted.clear()
        self._noted[place] = now
        self._spawn(self._write(target.name, denied), "audit")

    async def _write(self, name: str, denied: EgressDenied) -> None:
        async with self._db.begin() as session:
            await note(session, self._clock, SYSTEM, "egress_refused", name, str(denied))


def view(entry: AuditEntry) -> dict[str, Any]:
    """An entry in the form of the API."""
    return {
        "number": entry.number,
        "at": instant(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "detail": entry.detail,
    }
