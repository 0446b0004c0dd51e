"""The record of deliveries: who may send, what is written down of each try, and how long it stays."""

import asyncio
from dataclasses import replace

from sqlalchemy import event

from quart_app.models import Delivery
from quart_app.services import Services, open_services
from quart_app.settings import Settings
from quart_app.webhooks import deliveries
from quart_app.webhooks.deliveries import CLAIM_SECONDS, claim, settle
from quart_app.webhooks.waits import MOST_TRIES, Outcome
from tests.webhooks.receiver import Clock, add, listed, only, tell

NOBODY = "http://127.0.0.1:1/hook"
DAY = 86400.0


async def test_two_processes_never_claim_the_same_delivery(settings: Settings) -> None:
    async with open_services(settings) as one, open_services(settings) as other:
        webhook_id, _ = await add(one, NOBODY)
        for _ in range(10):
            await tell(one)
        claims = await asyncio.gather(*(claim(each, webhook_id) for _ in range(10) for each in (one, other)))
        ids = [made.id for made in claims if made]
        assert len(ids) == len(set(ids))
        while made := await claim(other, webhook_id):  # what was locked by the other one when it was looked for
            ids.append(made.id)
        assert sorted(ids) == sorted(row.id for row in await listed(one, webhook_id))


async def test_a_claimed_delivery_is_due_for_nobody_until_its_claim_ends(services: Services) -> None:
    services.clock = clock = Clock()
    webhook_id, _ = await add(services, NOBODY)
    await tell(services)
    first = await claim(services, webhook_id)
    assert first is not None
    clock.now += CLAIM_SECONDS - 1
    assert await claim(services, webhook_id) is None
    clock.now += 1
    again = await claim(services, webhook_id)
    assert again is not None
    assert (again.id, again.number) == (first.id, 1)
    row = await only(services, webhook_id)
    assert [one["reason"] for one in row.tries] == ["interrupted", None]
    await settle(services, again, Outcome(status=204, seconds=0.5))
    row = await only(services, webhook_id)
    assert (row.state, row.next_at, row.ended_at) == ("delivered", None, clock.now)
    assert row.tries[1] == {"at": clock.now, "status": 204, "reason": None, "detail": None, "seconds": 0.5}


async def test_a_late_failure_decides_nothing_and_a_late_success_counts(services: Services) -> None:
    services.clock = clock = Clock()
    webhook_id, _ = await add(services, NOBODY)
    await tell(services)
    stalled = await claim(services, webhook_id)
    clock.now += CLAIM_SECONDS
    present = await claim(services, webhook_id)
    assert stalled is not None
    assert present is not None
    due = (await only(services, webhook_id)).next_at
    assert await settle(services, stalled, Outcome(status=500)) == "pending"
    row = await only(services, webhook_id)
    assert ([one["status"] for one in row.tries], row.next_at) == ([500, None], due)
    await settle(services, present, Outcome(reason="reset"))
    assert await settle(services, stalled, Outcome(status=200)) == "delivered"
    assert (await only(services, webhook_id)).next_at is None


async def test_a_delivery_that_no_try_is_left_for_fails_without_being_sent(services: Services) -> None:
    services.clock = clock = Clock()
    webhook_id, _ = await add(services, NOBODY)
    await tell(services)
    for _ in range(MOST_TRIES):
        assert await claim(services, webhook_id), "a stop in the middle of each"
        clock.now += CLAIM_SECONDS
    assert await claim(services, webhook_id) is None
    row = await only(services, webhook_id)
    assert (row.state, len(row.tries), row.tries[-1]["reason"]) == ("failed", MOST_TRIES, "interrupted")


async def test_what_was_removed_meanwhile_is_not_settled(services: Services) -> None:
    webhook_id, _ = await add(services, NOBODY)
    await tell(services)
    made = await claim(services, webhook_id)
    assert made is not None
    async with services.db.begin() as session:
        await session.delete(await session.get_one(Delivery, made.id))
    assert await settle(services, made, Outcome(status=200)) is None


async def test_only_webhooks_with_something_to_send_now_are_due(services: Services) -> None:
    services.clock = clock = Clock()
    one, _ = await add(services, NOBODY)
    other, _ = await add(services, NOBODY, events=["recovered"])
    await tell(services, "needs_sign_in")
    async with services.db.session() as session:
        assert await deliveries.due(session, clock.now) == {one}
        assert await deliveries.due(session, clock.now - 1) == set()
    await tell(services, "recovered")
    async with services.db.session() as session:
        assert await deliveries.due(session, clock.now) == {one, other}


async def test_sqlite_finds_what_is_due_by_its_index(services: Services) -> None:
    """Else each look, once a second, would go through all deliveries that were ever made."""
    if not services.db.is_sqlite:
        return
    asked: list[str] = []
    event.listen(services.db.reader.sync_engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    event.listen(services.db.writer.sync_engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    async with services.db.session() as session:
        await deliveries.due(session, 1.0)
    await claim(services, "x")
    queries = [statement for statement in asked if "FROM deliveries" in statement]
    async with services.db.session() as session:
        connection = await session.connection()
        for query in queries:
            values = tuple(1 for _ in range(query.count("?")))
            plan = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values)).all()
            assert "INDEX deliveries_due" in str(plan), (query, plan)
    assert len(queries) == 2


async def test_those_that_are_not_through_yet_are_counted(services: Services) -> None:
    webhook_id, _ = await add(services, NOBODY)
    await tell(services)
    await tell(services)
    made = await claim(services, webhook_id)
    assert made is not None
    async with services.db.session() as session:
        assert await deliveries.count_waiting(session) == 2, "one on its way is not through"
    await settle(services, made, Outcome(status=200))
    async with services.db.session() as session:
        assert await deliveries.count_waiting(session) == 1


async def test_pages_are_newest_first_and_go_on_where_the_one_before_ended(services: Services) -> None:
    webhook_id, _ = await add(services, NOBODY)
    for _ in range(5):
        await tell(services)
    rows = await listed(services, webhook_id)
    assert [row.id for row in rows] == sorted((row.id for row in rows), reverse=True)
    async with services.db.session() as session:
        page = await deliveries.page(session, webhook_id, limit=2, after=rows[1].id)
    assert [row.id for row in page] == [row.id for row in rows[2:4]]


async def test_what_ended_longer_ago_than_calls_are_kept_goes_and_what_waits_stays(services: Services) -> None:
    services.clock = clock = Clock()
    services.settings = replace(services.settings, keep_days=30)
    webhook_id, _ = await add(services, NOBODY)
    for outcome in (Outcome(status=200), Outcome(status=410), None):
        await tell(services)
        made = await claim(services, webhook_id)
        if made and outcome:
            await settle(services, made, outcome)
    clock.now += 30 * DAY - 1
    assert await deliveries.prune(services) == 0
    clock.now += 2
    assert await deliveries.prune(services) == 2
    assert (await only(services, webhook_id)).state == "pending"
    services.settings = replace(services.settings, keep_days=0)
    clock.now += 1000 * DAY
    assert await deliveries.prune(services) == 0


async def test_pruning_goes_on_until_nothing_old_is_left(services: Services) -> None:
    services.clock = clock = Clock()
    webhook_id, _ = await add(services, NOBODY)
    made = [deliveries.pending(webhook_id, "recovered", "orders", "{}", clock.now) for _ in range(450)]
    for row in made:
        deliveries.end(row, "delivered", clock.now)
    async with services.db.begin() as session:
        session.add_all(made)
    clock.now += 91 * DAY
    assert await deliveries.prune(services) == 450
