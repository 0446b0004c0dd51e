"""The loops: they end at once, outlive a tick that fails, and tell of what other processes did."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, text

from quart_app import calls, connections, jobs
from quart_app.forms.calls import CallForm
from quart_app.forms.connections import ConnectionForm
from quart_app.jobs import Others, every
from quart_app.models import Call
from quart_app.outbound.target import Target
from quart_app.process import process_name
from quart_app.recorder import Record
from quart_app.records import new_call
from quart_app.services import Services, open_services
from quart_app.settings import Settings
from tests.outbound.targets import target
from tests.upstream import Upstream


async def test_one_tick_comes_after_another_also_after_one_that_failed() -> None:
    ticks: list[int] = []

    async def tick() -> None:
        ticks.append(len(ticks))
        if len(ticks) == 1:
            raise RuntimeError("the first one fails")

    loop = asyncio.create_task(every(0.01, tick))
    async with asyncio.timeout(2):
        while len(ticks) < 3:  # noqa: ASYNC110 - the loop tells nobody
            await asyncio.sleep(0.005)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    assert loop.cancelled()


async def test_ticks_of_one_loop_never_overlap() -> None:
    running = most = count = 0

    async def slow() -> None:
        nonlocal running, most, count
        running, count = running + 1, count + 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1

    loop = asyncio.create_task(every(0.001, slow))
    await asyncio.sleep(0.1)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    assert most == 1
    assert count > 1


async def test_the_loops_end_at_once_with_the_block_and_leave_no_task(services: Services) -> None:
    before = asyncio.all_tasks()
    began = time.monotonic()
    async with jobs.running(services):
        names = {task.get_name() for task in asyncio.all_tasks() - before}
        assert names == {"watch", "others", "settle", "tokens", "ahead", "log", "indexer", "webhooks", "prune"}
    assert time.monotonic() - began < 0.5
    assert asyncio.all_tasks() == before


async def test_an_error_of_the_block_goes_through_the_loops(services: Services) -> None:
    async def fail() -> None:
        async with jobs.running(services):
            raise LookupError("of the block")

    with pytest.raises(BaseExceptionGroup) as caught:
        await fail()
    assert caught.group_contains(LookupError)


async def test_the_start_settles_what_a_stop_left_open_before_anything_else(settings: Settings) -> None:
    async with open_services(settings) as before:
        await connections.create(before, form("http://127.0.0.1:9"))
        target = await connections.load(before, "orders")
        record = sending(target)
        await before.recorder.write(record)
    async with open_services(settings) as services, jobs.running(services), services.db.session() as session:
        row = await session.get_one(Call, record.call["id"])
        assert (row.state, row.reason) == ("interrupted", None)
        assert row.detail == "The app stopped; whether it was sent is unknown."


@pytest.mark.parametrize("database_url", [""])
async def test_a_start_where_nothing_can_be_written_leaves_it_to_the_loops(settings: Settings) -> None:
    async with open_services(settings) as before:
        await connections.create(before, form("http://127.0.0.1:9"))
        record = sending(await connections.load(before, "orders"))
        await before.recorder.write(record)
        async with before.db.begin() as session:
            await session.execute(
                text("CREATE TRIGGER no BEFORE UPDATE ON calls BEGIN SELECT raise(ABORT, 'full'); END")
            )
    (settings.data / "rescue").write_text("in the way")
    async with open_services(settings) as services:
        async with jobs.running(services), services.db.session() as session:
            assert (await session.get_one(Call, record.call["id"])).state == "sending"
        async with services.db.begin() as session:
            await session.execute(text("DROP TRIGGER no"))
        async with jobs.running(services), services.db.session() as session:
            assert (await session.get_one(Call, record.call["id"])).state == "interrupted"


def sending(target: Target) -> Record:
    """A call that a process which is gone was sending."""
    host, pid, _ = process_name().rsplit(":", 2)
    made = {"origin": "api", "actor": "test", "owner": f"{host}:{pid}:1", "method": "POST", "url": "http://x/"}
    return new_call(target, id_="left", headers=[], **made)


def form(url: str) -> ConnectionForm:
    given = {"name": "orders", "base_url": url, "policy": {"allow_private": True}}
    return ConnectionForm.model_validate(given)


async def send(services: Services, path: str) -> str:
    sent = await calls.send(services, CallForm(connection="orders", path=path), origin="api", actor="test")
    return str(sent.call["id"])


async def test_pages_hear_of_calls_that_other_processes_made_once_each(settings: Settings, upstream: Upstream) -> None:
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        await connections.create(ours, form(upstream.url))
        await theirs.watch()
        theirs.process = "elsewhere:1:1"
        others = Others(ours)
        await send(theirs, "/before-anyone-listens")
        await others.tell()
        with ours.events.listening() as events:
            await others.tell()
            await send(ours, "/our-own")
            assert isinstance((await heard(events))[1], Record), "our own come from the recorder"
            expected = [await send(theirs, f"/{number}") for number in range(3)]
            await others.tell()
            await others.tell()
            found = [await heard(events) for _ in expected]
            assert [(kind, item["id"]) for kind, item in found] == [("call", id_) for id_ in expected]
            ours.events.publish("end", None)
            assert await heard(events) == ("end", None)


async def heard(events: AsyncIterator[tuple[str, Any] | None]) -> tuple[str, Any]:
    async with asyncio.timeout(2):
        event = await anext(events)
    assert event is not None
    return event


async def test_calls_beyond_the_limits_go(services: Services) -> None:
    services.settings = replace(services.settings, keep_calls=2)
    await services.recorder.write(done("0192a000-0000-7000-8000-000000000001"))
    await services.recorder.write(done("0192a000-0000-7000-8000-000000000002"))
    await services.recorder.write(done("0192a000-0000-7000-8000-000000000003"))
    await jobs.prune(services)
    async with services.db.session() as session:
        ids = list(await session.scalars(select(Call.id).order_by(Call.id)))
    assert [id_[-1] for id_ in ids] == ["2", "3"]


def done(id_: str) -> Record:
    made = {"origin": "api", "actor": "test", "owner": "h:1:2", "method": "GET", "url": "http://x/"}
    record = new_call(target("http://x"), id_=id_, headers=[], **made)
    record.call["state"] = "done"
    return record
