"""What the app owns, opened and closed in one place: used alike by the web, the command line and the tests."""

import asyncio
import fcntl
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.audit import Refusals
from quart_app.broadcast import Broadcast
from quart_app.clients import Clients
from quart_app.db import Database, parse_url
from quart_app.errors import DataError
from quart_app.files import make_private_folder
from quart_app.migrations import prepare
from quart_app.models import Installation
from quart_app.outbound.client import Client
from quart_app.outbound.egress import Egress
from quart_app.outbound.limits import Caps, Limits, Queue
from quart_app.process import no_core_dumps, process_name
from quart_app.recorder import Listener, Record, Recorder, ignore
from quart_app.rescue import Rescue
from quart_app.settings import Settings
from quart_app.vault import Vault, open_vault
from quart_app.vitals.call_lines import log_calls, log_lost
from quart_app.vitals.meters import Meters
from quart_app.vitals.watchdog import Watchdog

CANARY = {"table": "installation", "column": "sealed_canary", "row": "1"}
FINGERPRINT_KEY = {"table": "installation", "column": "sealed_fingerprint_key", "row": "1"}

T = TypeVar("T")
SERVER_SLOTS = 32
CLI_SLOTS = 2

log = structlog.get_logger()


class Caches:
    """What the hot path needs of the database, by kind and name; emptied whenever any of it changes.

    `epoch` counts the emptyings: what was read before one is not kept after it.
    """

    def __init__(self) -> None:
        self._kinds: dict[type, dict[str, Any]] = {}
        self._reads: dict[tuple[type, str], asyncio.Task[Any]] = {}
        self.epoch = 0

    def of(self, kind: type[T]) -> dict[str, T]:
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = {}
        return found

    def keep(self, kind: type[T], name: str, item: T, epoch: int) -> T:
        if epoch == self.epoch:
            self.of(kind)[name] = item
        return item

    async def read(self, kind: type[T], name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The outcome of `work`, kept; all who ask while it runs share it, so that a cold start is one read."""
        task = self._reads.get((kind, name))
        if task is None:
            task = self._reads[kind, name] = asyncio.create_task(self._read(kind, name, work), name="read")
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return cast(T, await asyncio.shield(task))

    async def _read(self, kind: type[T], name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        epoch = self.epoch
        try:
            return self.keep(kind, name, await work(), epoch)
        finally:
            if epoch == self.epoch:
                self._reads.pop((kind, name), None)

    def drop(self) -> None:
        self.epoch += 1
        self._reads.clear()
        for items in self._kinds.values():
            items.clear()


@dataclass
class Services:
    """`clock` gives seconds since the epoch; `process` names this process among all that share the database.

    Of tokens, by connection: `refreshes` under way, those `unstored` while the database fails, when one was got
    because of a 401 (`refused`, monotonic), when one was `used` last. `reached` is told of the steps of an exchange:
    tests kill the process there.
    """

    settings: Settings
    db: Database
    vault: Vault
    client: Client
    recorder: Recorder
    events: Broadcast
    caps: Caps
    rescue: Rescue
    process: str
    instance_id: str
    clock: Callable[[], float] = time.time
    caches: Caches = field(default_factory=Caches)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    refreshes: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    unstored: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, float] = field(default_factory=dict)
    used: dict[str, float] = field(default_factory=dict)
    reached: Callable[[str], None] = ignore
    meters: Meters = field(default_factory=Meters)
    watchdog: Watchdog = field(default_factory=Watchdog)
    clients: Clients = field(default_factory=Clients)
    draining: bool = False
    revision: int = 0

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """A task of its own for work that must outlive its request; waited for when the app closes."""
        task = asyncio.create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.debug("task_failed", task=task.get_name(), kind=type(task.exception()).__name__)

    @asynccontextmanager
    async def change(self, *, drop: bool = True) -> AsyncIterator[AsyncSession]:
        """A write transaction on what is cached: counts the revision up, so that other processes look again.

        This process's caches are emptied at its end, unless the caller puts the one changed item right itself.
        """
        async with self.db.begin() as session:
            row = await session.get_one(Installation, 1, with_for_update=True)
            yield session
            row.revision += 1
            revision = row.revision
        if drop or revision != self.revision + 1:
            self.caches.drop()
        self.revision = revision

    async def watch(self) -> None:
        """Empties the caches when another process has changed something; called once a second."""
        async with self.db.session() as session:
            row = await session.get(Installation, 1)
        if row is not None and row.revision != self.revision:
            self.revision = row.revision
            self.caches.drop()

    def drain(self) -> None:
        """No new calls, and event streams end; `finish` then waits for what must outlive its request."""
        self.draining = True
        self.events.close()

    async def finish(self) -> None:
        """Waits for the tasks that outlive their requests, so that no rotated token and no record is lost."""
        while self.tasks:
            await asyncio.wait(list(self.tasks))


@asynccontextmanager
async def open_services(settings: Settings, *, serves: bool = False) -> AsyncIterator[Services]:
    """Opens everything and closes it in reverse. Only the one that `serves` takes the folder's lock.

    A process that holds the secrets leaves none of its memory behind from here on: see `no_core_dumps`.

    Raises DataError or SettingsError with a sentence that says what to do.
    """
    url, note = parse_url(settings.database_url, settings.sqlite_path)
    if note and serves:
        log.warning("database_url", note=note)
    no_core_dumps()
    make_private_folder(settings.data)
    async with AsyncExitStack() as stack:
        db = Database(url, serves=serves)
        if serves and db.path:
            stack.enter_context(lock(db.path))
        stack.push_async_callback(db.close)
        await prepare(db)
        vault = open_vault(settings.sealing_key, key_path(settings), needed=await sealed_with(db))
        installation = await enter(db, vault)
        queue = Queue(float(settings.queue_seconds), settings.queue_calls)
        egress = Egress(settings.egress_allow, bind=settings.bind if serves else "")
        client = Client(partial(Limits, queue), egress=egress, via=f"1.1 sb-{installation.instance_id}")
        caps = Caps(queue, overall=settings.in_flight, per_actor=settings.in_flight_per_key)
        stack.push_async_callback(client.close)
        events = Broadcast()
        meters = Meters()
        listener = listening(settings, events, meters, serves=serves)
        recorder = Recorder(db, entries=settings.recorder_entries, listener=listener)
        await stack.enter_async_context(recorder.running())
        rescue = Rescue(settings.data / "rescue", slots=SERVER_SLOTS if serves else CLI_SLOTS)
        stack.callback(rescue.close)
        services = Services(
            settings, db, vault, client, recorder, events, caps, rescue, process_name(), installation.instance_id
        )
        services.meters = meters
        services.revision = installation.revision
        client.on_denied = Refusals(db, lambda: services.clock(), services.spawn).note
        stack.push_async_callback(services.finish)
        yield services


def listening(settings: Settings, events: Broadcast, meters: Meters, *, serves: bool) -> Listener:
    """Who is told of records: the meters, the pages, and the server's log."""
    logs = serves and settings.log_level in ("debug", "info")

    def written(records: Sequence[Record]) -> None:
        if events.count:
            for record in records:
                events.publish("call", record)
        if logs:
            log_calls(records)

    return Listener(meters.settled, written, log_lost if serves else ignore)


def key_path(settings: Settings) -> Path:
    return Path(settings.key_file).expanduser() if settings.key_file else settings.data / "switchboard.key"


async def sealed_with(db: Database) -> bytes | None:
    """The id of the key that a database needs; None for a new one."""
    async with db.session() as session:
        row = await session.get(Installation, 1)
    return None if row is None else row.sealed_canary[1:5]


async def enter(db: Database, vault: Vault) -> Installation:
    """The installation's row, made at first run; its canary proves that the key fits the database.

    Fingerprints are made with a key of their own, which the row holds: they stay what they are when the sealing key
    is another one. A row from before it had one goes on with the one that came of its sealing key.
    """
    async with db.begin() as session:
        row = await session.get(Installation, 1, with_for_update=True)
        if row is None:
            first = db.insert(Installation).values(first_row(vault))
            await session.execute(first.on_conflict_do_nothing())  # another process may be the first one
            row = await session.get_one(Installation, 1)
        try:
            vault.unseal(row.sealed_canary, **CANARY)
            if row.sealed_fingerprint_key is None:
                key = vault.fingerprint_key_of(row.sealed_canary[1:5])
                row.sealed_fingerprint_key = vault.seal(key.hex(), **FINGERPRINT_KEY)
            vault.fingerprint_by(bytes.fromhex(vault.unseal(row.sealed_fingerprint_key, **FINGERPRINT_KEY)))
        except DataError as error:
            raise DataError(f"The database does not open with this key. {error} Nothing in it was changed.") from None
    return row


def first_row(vault: Vault) -> dict[str, Any]:
    return {
        "id": 1,
        "instance_id": secrets.token_hex(8),
        "revision": 0,
        "sealed_canary": vault.seal("canary", **CANARY),
        "sealed_fingerprint_key": vault.seal(secrets.token_hex(32), **FINGERPRINT_KEY),
        "created_at": time.time(),
    }


def check_free(settings: Settings) -> None:
    """Raises DataError that names the server on this folder, if there is one."""
    url, _ = parse_url(settings.database_url, settings.sqlite_path)
    path = Path(url.database or "").absolute()
    if url.get_backend_name() == "sqlite" and path.exists():
        with lock(path):
            pass


@contextmanager
def lock(database: Path) -> Iterator[None]:
    """Holds the folder for the one server on it (flock). Raises DataError that names who holds it."""
    path = database.with_name("switchboard.lock")
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(handle, 200).decode(errors="replace").strip() or "another process"
            raise DataError(f"{database.parent} is in use: {holder} serves it already") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
