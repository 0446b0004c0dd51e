"""The places of a connection: never more taken than there are, none lost, handed on in order."""

import asyncio
import random

import pytest

from quart_app.errors import CallFailed
from quart_app.outbound.limits import Slots


async def waiter(slots: Slots, limit: int, done: list[int], number: int) -> None:
    await slots.take(limit)
    done.append(number)


async def test_a_free_place_is_taken_without_waiting() -> None:
    slots = Slots()
    assert [await slots.take(2), await slots.take(2)] == [0.0, 0.0]
    assert slots.taken == 2


async def test_places_are_handed_on_in_the_order_of_asking_and_the_wait_is_told() -> None:
    slots = Slots()
    await slots.take(1)
    waiting = [asyncio.create_task(slots.take(1)) for _ in range(3)]
    await asyncio.sleep(0.02)
    for task in waiting:
        slots.give()
        assert await task > 0.01
        assert slots.taken == 1
    slots.give()
    assert slots.taken == 0


async def test_a_newcomer_does_not_overtake_those_who_wait() -> None:
    slots = Slots()
    done: list[int] = []
    await slots.take(1)
    first = asyncio.create_task(waiter(slots, 1, done, 1))
    await asyncio.sleep(0)
    slots.give()
    second = asyncio.create_task(waiter(slots, 1, done, 2))
    await first
    assert done == [1]
    slots.give()
    await second
    assert done == [1, 2]


async def test_waiting_too_long_is_a_failed_call_and_takes_no_place() -> None:
    slots = Slots(wait_seconds=0.02)
    await slots.take(1)
    with pytest.raises(CallFailed) as raised:
        await slots.take(1)
    assert (raised.value.code, raised.value.status) == ("limit_wait", 503)
    assert ("Retry-After", "1") in raised.value.headers
    slots.give()
    assert slots.taken == 0
    assert await slots.take(1) == 0.0


async def test_too_many_waiters_are_refused_at_once() -> None:
    slots = Slots(waiters=2)
    await slots.take(1)
    waiting = [asyncio.create_task(slots.take(1)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(CallFailed, match="Too many"):
        await slots.take(1)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert slots.taken == 1


async def test_a_waiter_that_is_cancelled_leaves_the_queue() -> None:
    slots = Slots()
    await slots.take(1)
    gone, next_ = asyncio.create_task(slots.take(1)), asyncio.create_task(slots.take(1))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    slots.give()
    await next_
    assert slots.taken == 1


async def test_a_waiter_cancelled_in_the_moment_of_its_turn_hands_the_place_on() -> None:
    slots = Slots()
    await slots.take(1)
    gone, next_ = asyncio.create_task(slots.take(1)), asyncio.create_task(slots.take(1))
    await asyncio.sleep(0)
    slots.give()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    await next_
    slots.give()
    assert slots.taken == 0


async def test_the_last_waiter_cancelled_in_the_moment_of_its_turn_frees_the_place() -> None:
    slots = Slots()
    await slots.take(1)
    gone = asyncio.create_task(slots.take(1))
    await asyncio.sleep(0)
    slots.give()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert slots.taken == 0
    assert await slots.take(1) == 0.0


async def test_a_raised_limit_lets_those_in_who_wait() -> None:
    slots = Slots()
    done: list[int] = []
    await slots.take(1)
    tasks = [asyncio.create_task(waiter(slots, 1, done, number)) for number in range(3)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(waiter(slots, 5, done, 3)))
    await asyncio.gather(*tasks)
    assert sorted(done) == [0, 1, 2, 3]
    assert slots.taken == 5


async def test_a_lowered_limit_holds_as_soon_as_places_are_given_back() -> None:
    slots = Slots()
    for _ in range(4):
        await slots.take(4)
    done: list[int] = []
    task = asyncio.create_task(waiter(slots, 2, done, 1))
    await asyncio.sleep(0)
    slots.give()
    slots.give()
    await asyncio.sleep(0)
    assert (done, slots.taken) == ([], 2)
    slots.give()
    await task
    assert slots.taken == 2


async def busy(slots: Slots, limit: int, rolls: random.Random, most: list[int]) -> None:
    try:
        await slots.take(limit)
    except CallFailed:
        return
    try:
        most[0] = max(most[0], slots.taken)
        for _ in range(rolls.randrange(4)):
            await asyncio.sleep(0)
    finally:
        slots.give()


@pytest.mark.parametrize("seed", range(20))
async def test_no_place_is_lost_or_doubled_under_cancellation_and_time_outs(seed: int) -> None:
    rolls = random.Random(seed)
    slots = Slots(wait_seconds=0.004, waiters=30)
    most = [0]
    tasks = [asyncio.create_task(busy(slots, 3, rolls, most)) for _ in range(60)]

    async def disturb(task: asyncio.Task[None]) -> None:
        for _ in range(rolls.randrange(12)):
            await asyncio.sleep(0)
        if rolls.random() < 0.5:
            task.cancel()

    await asyncio.gather(*(disturb(task) for task in tasks))
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most[0] == 3
    assert slots.taken == 0
    assert [await slots.take(3) for _ in range(3)] == [0.0] * 3
