"""The loops beside the requests: each in one TaskGroup, each catching what a tick of it raises."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

from quart_app import authorizations, calls, history, ledger
from quart_app.history import retention
from quart_app.history.indexer import Indexer
from quart_app.process import is_gone
from quart_app.services import Services
from quart_app.tokens import ahead, settling
from quart_app.vitals import logs
from quart_app.webhooks import deliveries
from quart_app.webhooks.sender import Sender

WATCH_SECONDS = 1.0
SETTLE_SECONDS = 60.0
TOKEN_SECONDS = 1.0
OTHERS_SECONDS = 30.0
PRUNE_SECONDS = 60.0

log = structlog.get_logger()


@asynccontextmanager
async def running(services: Services) -> AsyncIterator[None]:
    """Settles what a stop left open, then runs the loops until the block ends."""
    await at_start(services, settle)
    await at_start(services, settle_tokens)
    async with asyncio.TaskGroup() as group:
        loops = [
            group.create_task(every(WATCH_SECONDS, services.watch), name="watch"),
            group.create_task(every(WATCH_SECONDS, Others(services).tell), name="others"),
            group.create_task(every(SETTLE_SECONDS, lambda: settle(services)), name="settle"),
            group.create_task(every(TOKEN_SECONDS, lambda: settling.settle(services)), name="tokens"),
            group.create_task(every(TOKEN_SECONDS, lambda: ahead.tick(services)), name="ahead"),
            group.create_task(every(WATCH_SECONDS, logs.tell_suppressed), name="log"),
            group.create_task(every(WATCH_SECONDS, Indexer(services).tick), name="indexer"),
            group.create_task(every(WATCH_SECONDS, Sender(services).tick), name="webhooks"),
            group.create_task(every(PRUNE_SECONDS, lambda: prune(services)), name="prune"),
        ]
        try:
            yield
        finally:
            for loop in loops:
                loop.cancel()


async def at_start(services: Services, work: Callable[[Services], Awaitable[None]]) -> None:
    """The first tick of a loop. Where nothing can be written, on a full disk say, the server starts all the same."""
    try:
        await work(services)
    except (SQLAlchemyError, OSError) as error:
        log.warning("tick_failed", kind=type(error).__name__)


async def every(seconds: float, tick: Callable[[], Awaitable[None]]) -> None:
    """One tick after another; a tick that fails is logged by kind, and the next one comes all the same."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await tick()
        except Exception as error:
            log.warning("tick_failed", kind=type(error).__name__)


class Others:
    """Calls that other processes made, the command line's say, told to the pages of this one."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.told: set[str] | None = None

    async def tell(self) -> None:
        if not self.services.events.count:
            self.told = None
            return
        async with self.services.db.session() as session:
            since = self.services.clock() - OTHERS_SECONDS
            items = await history.made_by_others(session, self.services.process, since)
        for item in items:
            if self.told is not None and item["id"] not in self.told:
                self.services.events.publish("call", item)
        self.told = {item["id"] for item in items}


async def settle(services: Services) -> None:
    """Calls of processes that are gone become `interrupted`."""
    alone = services.db.is_sqlite and services.rescue.is_alone()
    gone = [owner for owner in await calls.owners_sending(services) if is_gone(owner, alone=alone)]
    if gone:
        count = await calls.settle_interrupted(services, gone)
        log.warning("calls_interrupted", count=count)


async def settle_tokens(services: Services) -> None:
    """What stopped processes left of exchanges; the slots are made here, while there is room for them."""
    services.rescue.prepare()
    await settling.settle(services)


async def prune(services: Services) -> None:
    """Calls beyond the limits of the settings go, deliveries with them, and authorizations that ended."""
    await ledger.prune(services)
    if count := await retention.prune(services):
        log.info("calls_pruned", count=count)
    if count := await deliveries.prune(services):
        log.info("deliveries_pruned", count=count)
    if count := await authorizations.prune(services):
        log.info("authorizations_pruned", count=count)
