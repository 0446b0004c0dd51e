"""Records: grouped, bounded, kept through a failing database, never lost and never doubled."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import func, select, text
from uuid_utils import uuid7

from quart_app.db import Database
from quart_app.models import Attempt, Body, Call
from quart_app.recorder import GROUP, Listener, Record, Recorder, packed, unpacked
from quart_app.records import BLANK
from quart_app.services import Services


@asynccontextmanager
async def recording(db: Database, *, entries: int = 2000, **listener: Callable[[Any], None]) -> AsyncIterator[Recorder]:
    async with Recorder(db, entries=entries, listener=Listener(**listener)).running() as recorder:
        yield recorder


def record(**more: Any) -> Record:
    call: dict[str, Any] = {
        "id": str(uuid7()),
        "connection_id": "1",
        "connection": "orders",
        "origin": "api",
        "actor": "test",
        "owner": "here",
        "method": "GET",
        "url": "http://x/",
        "started_at": 1.0,
        "request_headers": "[]",
        "state": "done",
    }
    return Record(BLANK | call | more)


def attempt(call_id: str, number: int) -> dict[str, Any]:
    empty = dict.fromkeys(column.name for column in Attempt.__table__.columns)
    times = {"started_at": 1.0, "duration_seconds": 0.5, "waited_seconds": 0.0}
    return empty | times | {"call_id": call_id, "number": number, "status": 200}


def ids(records: Sequence[Record]) -> list[str]:
    return [record.call["id"] for record in records]


async def count(db: Database, model: Any = Call) -> int:
    async with db.session() as session:
        return int(await session.scalar(select(func.count()).select_from(model)) or 0)


@asynccontextmanager
async def commits(db: Database) -> AsyncIterator[list[int]]:
    """How many transactions wrote calls inside the block, in a list of one."""
    seen = [0]

    def trace(statement: str) -> None:
        seen[0] += statement == "COMMIT"

    if db.is_sqlite:
        async with db.writer.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.set_trace_callback(trace)
        yield seen
        await driver.set_trace_callback(None)
    else:
        yield seen
        async with db.session() as session:
            seen[0] = await session.scalar(text("SELECT count(DISTINCT xmin::text) FROM calls")) or 0


@asynccontextmanager
async def held(db: Database) -> AsyncIterator[None]:
    """Nobody writes a call while the block runs; writers wait."""
    async with db.begin() as session:
        if not db.is_sqlite:
            await session.execute(text("LOCK TABLE calls IN EXCLUSIVE MODE"))
        yield


@asynccontextmanager
async def broken(db: Database) -> AsyncIterator[None]:
    """Writing a call fails at once while the block runs."""
    await rename(db, "calls", "calls_away")
    try:
        yield
    finally:
        await rename(db, "calls_away", "calls")


async def rename(db: Database, table: str, to: str) -> None:
    async with db.connect() as connection:
        await connection.execute(text(f"ALTER TABLE {table} RENAME TO {to}"))


async def eventually(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


async def test_a_thousand_records_share_a_few_commits_and_each_is_on_disk_when_its_writer_goes_on(db: Database) -> None:
    async with recording(db) as recorder, commits(db) as seen:

        async def write() -> None:
            one = record()
            assert await recorder.write(one)
            if one.call["id"].endswith("0"):
                async with db.session() as session:
                    assert await session.get(Call, one.call["id"]) is not None

        await asyncio.gather(*(write() for _ in range(1000)))
    assert await count(db) == 1000
    assert 2 <= seen[0] <= 20


async def test_a_lone_record_waits_for_no_group(db: Database) -> None:
    async with recording(db) as recorder, commits(db) as seen:
        for _ in range(3):
            assert await recorder.write(record())
    assert seen[0] == 3


async def test_a_group_is_bounded(db: Database) -> None:
    async with commits(db) as seen, recording(db, entries=5000) as recorder, held(db):
        for _ in range(3 * GROUP):
            recorder.put(record())
    assert await count(db) == 3 * GROUP
    assert seen[0] >= 3


async def test_writers_wait_at_the_bound_and_none_is_lost(db: Database) -> None:
    async with recording(db, entries=10) as recorder:
        async with held(db):
            first = asyncio.create_task(recorder.write(record()))
            await asyncio.sleep(0.05)
            writers = [asyncio.create_task(recorder.write(record())) for _ in range(40)]
            await asyncio.sleep(0.05)
            assert recorder.lag == 10
            assert not any(writer.done() for writer in (first, *writers))
        assert all(await asyncio.gather(first, *writers))
    assert await count(db) == 41


async def test_a_writer_that_is_cancelled_loses_no_record_also_while_it_waits_for_room(db: Database) -> None:
    async with recording(db, entries=2) as recorder, held(db):
        writers = [asyncio.create_task(recorder.write(record())) for _ in range(6)]
        await asyncio.sleep(0.05)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
    assert await count(db) == 6


async def test_while_the_database_fails_waiters_get_false_and_everything_is_written_later(db: Database) -> None:
    told: list[str] = []
    async with recording(db, written=lambda group: told.extend(ids(group))) as recorder:
        async with broken(db):
            assert await asyncio.gather(*(recorder.write(record()) for _ in range(20))) == [False] * 20
            assert recorder.failing is not None
            assert "records cannot be written since" in recorder.failing
            async with asyncio.timeout(0.1):
                assert await recorder.write(record()) is False, "nobody waits for a database that is known to fail"
            assert recorder.lag == 21
            assert told == []
        await eventually(lambda: recorder.failing is None)
        assert await recorder.write(record())
        assert len(set(told)) == len(told) == 22
    assert await count(db) == 22


async def test_memory_is_bounded_while_the_database_fails_and_the_oldest_go_first(db: Database) -> None:
    async with recording(db, entries=5) as recorder:
        async with broken(db):
            records = [record() for _ in range(9)]
            for one in records:
                assert await recorder.write(one) is False
            assert recorder.lag == 5
            assert recorder.dropped == 4
        await eventually(lambda: recorder.failing is None)
    async with db.session() as session:
        kept = set(await session.scalars(select(Call.id)))
    assert kept == {one.call["id"] for one in records[4:]}


@pytest.mark.parametrize("database_url", [""])
async def test_a_file_that_another_process_locks_for_longer_than_the_timeout_is_outlasted(db: Database) -> None:
    assert db.path
    async with db.connect() as connection:
        await connection.exec_driver_sql("PRAGMA busy_timeout = 100")
    async with recording(db) as recorder:
        with closing(sqlite3.connect(db.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await recorder.write(record()) is False
            assert recorder.failing
            other.execute("COMMIT")
        await eventually(lambda: recorder.failing is None)
    assert await count(db) == 1


async def test_readiness_says_that_records_cannot_be_written_until_they_can(
    app: Quart, running: Services, client: Any
) -> None:
    async with broken(running.db):
        assert await running.recorder.write(record()) is False
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        (reason,) = (await answer.get_json())["reasons"]
        assert reason.startswith("recorder: records cannot be written since")
    await eventually(lambda: running.recorder.failing is None)
    assert (await client.get("/readyz")).status_code == 200


async def test_one_record_that_cannot_be_kept_does_not_hold_up_the_others(db: Database) -> None:
    async with recording(db) as recorder:
        poison = record(url="http://x/\ud800")
        done = await asyncio.gather(*map(recorder.write, (record(), poison, record())))
        assert done == [True, False, True]
        assert (recorder.lag, recorder.dropped, recorder.failing) == (0, 1, None)
        assert await recorder.write(record())
    assert await count(db) == 3


async def test_everything_that_waits_at_the_end_is_written(db: Database) -> None:
    async with recording(db, entries=5000) as recorder:
        futures = [recorder.put(record()) for _ in range(1200)]
    assert await count(db) == 1200
    assert all(future.result() for future in futures)


@pytest.mark.parametrize("database_url", [""])
async def test_the_end_is_not_waited_for_without_end_when_the_database_fails(db: Database) -> None:
    async with asyncio.timeout(6), broken(db), recording(db) as recorder:
        recorder.put(record())
    assert recorder.lag == 1


async def test_a_record_written_again_brings_its_call_up_to_date_and_doubles_nothing(db: Database) -> None:
    async with recording(db) as recorder:
        before = record(state="sending")
        assert await recorder.write(Record(dict(before.call)))
        before.call |= {"state": "done", "status": 200}
        before.call["response_body"] = before.keep(b"answer")
        before.attempts.append(attempt(before.call["id"], 1))
        for _ in range(3):
            assert await recorder.write(before)
    async with db.session() as session:
        call = await session.get_one(Call, before.call["id"])
        assert (call.state, call.status) == ("done", 200)
    assert (await count(db), await count(db, Attempt), await count(db, Body)) == (1, 1, 1)


async def test_the_last_state_wins_within_a_group(db: Database) -> None:
    one = record(state="sending")
    async with recording(db) as recorder, held(db):
        recorder.put(record())
        await asyncio.sleep(0.02)
        recorder.put(Record(dict(one.call)))
        recorder.put(Record(one.call | {"state": "done"}))
    async with db.session() as session:
        assert (await session.get_one(Call, one.call["id"])).state == "done"


async def test_equal_bodies_are_kept_once_and_come_back_as_they_were(db: Database) -> None:
    contents = [b"", b"short", b"x" * 10_000, bytes(range(256)) * 4]
    async with recording(db) as recorder:
        for content in contents * 2:
            one = record()
            one.call["response_body"] = one.keep(content)
            assert await recorder.write(one)
    async with db.session() as session:
        rows = list(await session.scalars(select(Body)))
    assert sorted(unpacked(row.encoding, row.content) for row in rows) == sorted(contents)
    assert {row.encoding for row in rows} == {"identity", "deflate"}


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"", "identity"),
        (b"a" * 511, "identity"),
        (b"a" * 512, "deflate"),
        (b"%d" * 3000, "deflate"),
        (uuid7().bytes * 1 + bytes(range(256)) * 2, "deflate"),
    ],
)
def test_a_body_is_compressed_where_that_helps(content: bytes, encoding: str) -> None:
    kept = packed(content)
    assert kept[0] == encoding
    assert unpacked(*kept) == content


def test_what_does_not_shrink_is_kept_as_it_is() -> None:
    import random

    content = random.Random(1).randbytes(5000)
    assert packed(content) == ("identity", content)


async def test_a_listener_that_raises_does_not_stop_the_recorder(db: Database) -> None:
    def raises(told: Any) -> None:
        raise RuntimeError

    async with recording(db, taken=raises, written=raises) as recorder:
        assert await recorder.write(record())
        assert await recorder.write(record())


async def test_each_record_is_told_as_it_comes_and_again_with_its_group_once_it_is_on_disk(db: Database) -> None:
    taken: list[str] = []
    groups: list[list[str]] = []
    async with recording(
        db, taken=lambda one: taken.append(one.call["id"]), written=lambda group: groups.append(ids(group))
    ) as recorder:
        first = record()
        async with held(db):
            waits = [recorder.put(first), *(recorder.put(record()) for _ in range(30))]
            await asyncio.sleep(0.05)
            assert taken[0] == first.call["id"]
            assert len(set(taken)) == len(taken) == 31
            assert groups == []
        assert all(await asyncio.gather(*waits))
    assert [one for group in groups for one in group] == taken
    assert len(groups) <= 2


async def test_what_is_lost_is_told_once_and_told_as_taken_like_any_other(db: Database) -> None:
    taken: list[str] = []
    lost: list[str] = []
    async with recording(
        db, entries=3, taken=lambda one: taken.append(one.call["id"]), lost=lambda records: lost.extend(ids(records))
    ) as recorder:
        async with broken(db):
            await recorder.write(record())
            for _ in range(5):
                recorder.put(record())
            assert len(taken) == 6
            assert lost == taken[:3]
        await eventually(lambda: recorder.failing is None)
        assert await recorder.put(record(url="\x00" if not db.is_sqlite else 2**70)) is False
    assert lost == [*taken[:3], taken[-1]]
    assert recorder.dropped == 4
