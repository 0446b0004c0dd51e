"""Writes calls in groups: one commit for all that are waiting, and each waiter goes on when its own is on disk.

The group is whatever came while the last commit ran, so a lone call waits for one commit and a thousand share a
few. Ids are made by the app and every statement can be repeated, so a group whose outcome is unknown is written
again. While the database cannot be written the records wait here, bounded, and readiness says so.
"""

import asyncio
import hashlib
import sqlite3
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import structlog

from quart_app.db import Bulk, Database
from quart_app.models import Attempt, Body, Call

GROUP = 500
RETRY_SECONDS = 0.5
WORTH_COMPRESSING_BYTES = 512

log = structlog.get_logger()


@dataclass(slots=True)
class Record:
    """A call on its way to the database: rows as column to value, JSON already as text, bodies by key."""

    call: dict[str, Any]
    attempts: list[dict[str, Any]] = field(default_factory=list)
    bodies: dict[str, bytes] = field(default_factory=dict)

    def keep(self, content: bytes, hashed: str | None = None) -> str:
        """Takes a body along and returns the key it is kept under; `hashed` is its SHA-256 where it is known."""
        key = f"{hour_key(time.time())}-{hashed or hashlib.sha256(content).hexdigest()}"
        self.bodies[key] = content
        return key


def hour_key(at: float) -> str:
    """The hour of an instant (seconds since the epoch), as the keys of bodies begin: in order of time as text."""
    return f"{int(at // 3600):06x}"


def ignore(told: Any) -> None:
    pass


@dataclass
class Listener:
    """Told of records: `taken` as each comes, `written` of a group that is on disk, `lost` of those that never will be.

    A call with an unsafe method comes twice, first as `sending`; every call that ends comes once as that.
    """

    taken: Callable[[Record], None] = ignore
    written: Callable[[Sequence[Record]], None] = ignore
    lost: Callable[[Sequence[Record]], None] = ignore


class Recorder:
    """`write` returns when the record is on disk. Runs inside `async with recorder.running()`."""

    def __init__(self, db: Database, *, entries: int, listener: Listener) -> None:
        self._db = db
        self._entries = entries
        self._listener = listener
        self._waiting: deque[tuple[Record, asyncio.Future[bool]]] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closing = False
        self.failing: str | None = None
        self.dropped = 0
        self.written_count = 0
        self._calls = Bulk(db, Call, key="id")
        self._attempts = Bulk(db, Attempt)
        self._bodies = Bulk(db, Body)

    @property
    def lag(self) -> int:
        """How many records wait to be written."""
        return len(self._waiting)

    async def write(self, record: Record) -> bool:
        """True when the record is on disk; False when the database fails and the record waits in memory.

        Waits for room first when too many records wait already. A caller that is cancelled loses nothing:
        the record is written all the same.
        """
        try:
            while len(self._waiting) >= self._entries and not self.failing:
                self._room.clear()
                await self._room.wait()
        except asyncio.CancelledError:
            self.put(record)
            raise
        return await self.put(record)

    def put(self, record: Record) -> asyncio.Future[bool]:
        """Queues the record at once, without waiting for room; the future tells what `write` tells."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        with suppress(Exception):
            self._listener.taken(record)
        if self.failing:
            done.set_result(False)
            if len(self._waiting) >= self._entries:
                self._lose(self._waiting.popleft()[0])
        self._waiting.append((record, done))
        self._arrived.set()
        return done

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Recorder"]:
        """Writes until the block ends, then writes what is left."""
        loop = asyncio.create_task(self._run(), name="recorder")
        try:
            yield self
        finally:
            self._closing = True
            self._arrived.set()
            await loop

    async def _run(self) -> None:
        tries_left = 6
        alone = 0  # how many come one by one, because one of them cannot be kept
        while self._waiting or not self._closing:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            group = [self._waiting.popleft() for _ in range(min(1 if alone else GROUP, len(self._waiting)))]
            error = await self._commit([record for record, _ in group])
            if error is None or (len(group) == 1 and is_of_data(error)):
                alone = max(0, alone - 1)
                self._release(group, error)
                continue
            self._waiting.extendleft(reversed(group))
            if is_of_data(error):
                alone = len(group)
                continue
            self._fail(error)
            if self._closing and not (tries_left := tries_left - 1):
                log.error("records_lost_at_shutdown", count=len(self._waiting))
                for record, _ in self._waiting:
                    self._lose(record)
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _commit(self, records: Sequence[Record]) -> Exception | None:
        bodies = {hashed: content for record in records for hashed, content in record.bodies.items()}
        latest = {record.call["id"]: record.call for record in records}
        attempts = [attempt for record in records for attempt in record.attempts]
        call_row, attempt_row = itemgetter(*self._calls.columns), itemgetter(*self._attempts.columns)
        try:
            await self._db.write(
                [
                    (self._bodies, [(hashed, *packed(content)) for hashed, content in bodies.items()]),
                    (self._calls, list(map(call_row, latest.values()))),
                    (self._attempts, list(map(attempt_row, attempts))),
                ]
            )
        except Exception as error:
            return error
        if self.failing:
            log.info("record_recovered", written=len(records))
        self.failing = None
        return None

    def _release(self, group: list[tuple[Record, asyncio.Future[bool]]], error: Exception | None) -> None:
        """Lets the waiters go on: their records are on disk or, with an error, can never be."""
        self.written_count += len(group)
        for record, done in group:
            if not done.done():
                done.set_result(error is None)
            if error is not None:
                log.error("record_given_up", kind=type(error).__name__, call=record.call["id"])
                self._lose(record)
        if error is None:
            with suppress(Exception):
                self._listener.written([record for record, _ in group])
        if len(self._waiting) < self._entries:
            self._room.set()

    def _lose(self, record: Record) -> None:
        self.dropped += 1
        with suppress(Exception):
            self._listener.lost([record])

    def _fail(self, error: Exception) -> None:
        """Nothing can be written now: says so, and lets all waiters go on without."""
        if not self.failing:
            log.error("record_failed", kind=type(error).__name__, waiting=len(self._waiting))
            self.failing = f"records cannot be written since {time.strftime('%H:%M:%S', time.gmtime())} UTC"
        for _, done in self._waiting:
            if not done.done():
                done.set_result(False)
        self._room.set()


def is_of_data(error: Exception) -> bool:
    """Whether it is a value that no database takes, rather than the database that fails (SQLSTATE classes 22, 23)."""
    inner = getattr(error, "orig", None) or error
    state = getattr(inner, "sqlstate", None) or ""
    kinds = (ValueError, OverflowError, sqlite3.IntegrityError)
    return state[:2] in ("22", "23") or isinstance(inner, kinds) or isinstance(inner.__cause__, kinds)


def packed(content: bytes) -> tuple[str, bytes]:
    """How a body is kept: deflated (RFC 1950) where that saves an eighth, else as it is."""
    if len(content) >= WORTH_COMPRESSING_BYTES:
        smaller = zlib.compress(content, 1)
        if len(smaller) < len(content) * 7 // 8:
            return "deflate", smaller
    return "identity", content


def unpacked(encoding: str, content: bytes) -> bytes:
    return zlib.decompress(content) if encoding == "deflate" else bytes(content)
