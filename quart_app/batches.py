"""Batches: many calls at once, each answered as it ends. One bad item is that item's problem."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quart_app import calls
from quart_app.errors import AppError
from quart_app.forms import invalid_input
from quart_app.forms.calls import CallForm
from quart_app.services import Services

MOST_CALLS = 1000
UNFORESEEN = AppError(500, "internal_error", "Something went wrong here; the log says where.")

log = structlog.get_logger()


class BatchForm(BaseModel):
    """Up to MOST_CALLS calls, at most `concurrency` of them in flight."""

    model_config = ConfigDict(extra="forbid")
    calls: Annotated[list[Any], Field(min_length=1)]
    concurrency: Annotated[int, Field(ge=1, le=MOST_CALLS, strict=True)] = 32


@asynccontextmanager
async def send(
    services: Services, form: BatchForm, *, actor: str
) -> AsyncIterator[AsyncIterator[list[dict[str, Any]]]]:
    """The outcomes as they come, each `{"index", "call"}` or `{"index", "error"}`, together where they end together.

    Leaving the block early cancels what is still in flight.
    """
    outcomes: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    items = iter(enumerate(form.calls))

    async def work() -> None:
        for index, item in items:
            outcomes.put_nowait(await outcome(services, index, item, actor))

    async def work_all() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(form.concurrency, len(form.calls))):
                    group.create_task(work())
        finally:
            outcomes.put_nowait(None)

    whole = services.spawn(work_all(), "batch")
    try:
        yield gathered(outcomes)
    finally:
        whole.cancel()


async def gathered(outcomes: asyncio.Queue[dict[str, Any] | None]) -> AsyncIterator[list[dict[str, Any]]]:
    """The outcomes in the order in which they came, all that are there at once."""
    while (item := await outcomes.get()) is not None:
        ready: list[dict[str, Any]] = [item]
        ended = False
        while not (ended or outcomes.empty()):
            more = outcomes.get_nowait()
            ended = more is None
            ready += [more] if more else []
        yield ready
        if ended:
            return


async def outcome(services: Services, index: int, item: Any, actor: str) -> dict[str, Any]:
    try:
        form = CallForm.model_validate(item)
        sent = await calls.send(services, form, origin="api", actor=actor, patient=True)
    except ValidationError as error:
        return {"index": index, "error": problem(invalid_input(error, CallForm))}
    except AppError as error:
        return {"index": index, "error": problem(error)}
    except Exception as error:
        log.error("unforeseen", kind=type(error).__name__, batch_item=index)
        return {"index": index, "error": problem(UNFORESEEN)}
    return {"index": index, "call": sent.view()}


def problem(error: AppError) -> dict[str, Any]:
    return {"status": error.status, "code": error.code, "detail": error.detail, "errors": error.errors}
