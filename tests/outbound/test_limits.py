"""Places, declared and learned rates, caps: never more than allowed, none lost, handed on in order, bounded."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.errors import CallFailed
from quart_app.outbound.limits import Caps, Limits, Queue, Slots
from quart_app.outbound.target import Policy
from quart_app.outbound.told import Told

NO_WAIT = (0.0, None)


async def waiter(slots: Slots, limit: int, done: list[int], number: int) -> None:
    await slots.take(limit)
    done.append(number)


async def test_a_free_place_is_taken_without_waiting() -> None:
    slots = Slots()
    assert [await slots.take(2), await slots.take(2)] == [NO_WAIT, NO_WAIT]
    assert slots.taken == 2


async def test_places_are_handed_on_in_the_order_of_asking_and_the_wait_is_told() -> None:
    slots = Slots()
    await slots.take(1)
    waiting = [asyncio.create_task(slots.take(1)) for _ in range(3)]
    await asyncio.sleep(0.02)
    for task in waiting:
        slots.give()
        seconds, what = await task
        assert (seconds > 0.01, what, slots.taken) == (True, "concurrency", 1)
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
    slots = Slots(Queue(0.02))
    await slots.take(1)
    with pytest.raises(CallFailed) as raised:
        await slots.take(1)
    assert (raised.value.code, raised.value.status) == ("limit_wait", 503)
    assert ("Retry-After", "1") in raised.value.headers
    slots.give()
    assert slots.taken == 0
    assert await slots.take(1) == NO_WAIT


async def test_too_many_waiters_are_refused_at_once() -> None:
    slots = Slots(Queue(calls=2))
    await slots.take(1)
    waiting = [asyncio.create_task(slots.take(1)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(CallFailed, match="2 calls wait already"):
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
    assert await slots.take(1) == NO_WAIT


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
    slots = Slots(Queue(0.004, 30))
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
    assert [await slots.take(3) for _ in range(3)] == [NO_WAIT] * 3


# --- people and runs ---------------------------------------------------------------------------------------------


async def test_people_go_ahead_of_runs_whoever_asked_first() -> None:
    slots = Slots()
    await slots.take(1)
    order: list[str] = []

    async def go(name: str, *, patient: bool) -> None:
        await slots.take(1, patient=patient)
        order.append(name)
        slots.give()

    tasks = []
    for name in ("run 1", "run 2", "person 1", "person 2"):
        tasks.append(asyncio.create_task(go(name, patient=name.startswith("run"))))
        await asyncio.sleep(0)
    slots.give()
    await asyncio.gather(*tasks)
    assert order == ["person 1", "person 2", "run 1", "run 2"]


async def test_runs_that_fill_the_queue_do_not_shut_people_out() -> None:
    slots = Slots(Queue(calls=3))
    await slots.take(1)
    runs = [asyncio.create_task(slots.take(1, patient=True)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(CallFailed, match="3 calls wait already"):
        await slots.take(1, patient=True)
    person = asyncio.create_task(slots.take(1))
    await asyncio.sleep(0)
    slots.give()
    await person
    for task in runs:
        task.cancel()
    await asyncio.gather(*runs, return_exceptions=True)
    assert (slots.taken, slots.waiting) == (1, 0)


# --- the limits of a connection ----------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limited(clock: Clock, queue: Queue | None = None, **policy: int) -> Limits:
    made = Limits(queue or Queue(0.2), clock)
    made.heed(Policy(**policy))
    return made


def go(limits: Limits) -> bool:
    return limits.take_now(limits.limit)


def burst(limits: Limits, most: int = 1000) -> int:
    """How many go at once; each gives its place back."""
    count = 0
    while count < most and go(limits):
        limits.give()
        count += 1
    return count


async def refusal(limits: Limits) -> CallFailed:
    with pytest.raises(CallFailed) as raised:
        await limits.take(limits.limit)
    assert (raised.value.code, raised.value.status) == ("limit_wait", 503)
    return raised.value


def test_without_a_declared_rate_nothing_is_counted() -> None:
    limits = limited(Clock())
    assert burst(limits) == 1000
    assert limits.sent_last_minute() == 0


def test_a_declared_rate_lets_so_many_go_in_a_minute_and_more_as_they_fall_out_of_it() -> None:
    clock = Clock()
    limits = limited(clock, per_minute=3)
    assert (burst(limits, 2), limits.sent_last_minute()) == (2, 2)
    clock.now += 30
    assert burst(limits) == 1
    assert limits.obstacle() == ("rate", 30.0)
    clock.now += 30
    assert (burst(limits), limits.obstacle()) == (2, ("rate", 30.0))


@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.floats(0, 70), st.integers(0, 15)), max_size=40),
    st.lists(st.integers(1, 12), max_size=3),
)
def test_no_minute_wherever_it_begins_sees_more_than_the_declared_rate(
    per_minute: int, steps: list[tuple[float, int]], later: list[int]
) -> None:
    clock = Clock()
    limits = limited(clock, per_minute=per_minute)
    sent: deque[float] = deque()
    for number, (seconds, count) in enumerate(steps):
        clock.now += seconds
        if number % 10 == 9 and later:
            per_minute = later.pop()
            limits.heed(Policy(per_minute=per_minute))
        for _ in range(count):
            before = sum(1 for moment in sent if moment > clock.now - 60)
            assert go(limits) is (before < per_minute)
            if before < per_minute:
                limits.give()
                sent.append(clock.now)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 40))
def test_the_wait_that_is_told_is_as_long_as_it_takes(first: int, second: int, sent: int) -> None:
    clock = Clock()
    limits = limited(clock, per_minute=first)
    for _ in range(min(sent, first)):
        assert go(limits)
        clock.now += 0.5
    limits.heed(Policy(per_minute=second, concurrency=100))
    found = limits.obstacle()
    if found is not None:
        clock.now += found[1] - 0.001
        assert limits.obstacle() is not None
        clock.now += 0.002
    assert limits.obstacle() is None


async def test_a_wait_for_the_rate_that_is_too_long_is_refused_at_once_with_its_seconds() -> None:
    clock = Clock()
    limits = limited(clock, per_minute=1)
    assert go(limits)
    clock.now += 17.5
    async with asyncio.timeout(0.1):
        failure = await refusal(limits)
    assert ("Retry-After", "43") in failure.headers
    assert "declared rate" in failure.detail


async def test_a_short_wait_for_the_rate_is_waited_and_told() -> None:
    limits = Limits(Queue(1.0))
    limits.heed(Policy(per_minute=1))
    limits._sent.append(asyncio.get_running_loop().time() - 59.95)
    seconds, what = await limits.take(32)
    assert (0.02 < seconds < 0.5, what) == (True, "rate")


async def test_told_to_hold_nothing_goes_until_then() -> None:
    clock = Clock()
    limits = limited(clock)
    limits.learn(Told(hold_seconds=600))
    failure = await refusal(limits)
    assert ("Retry-After", "600") in failure.headers
    assert "The API asked to wait" in failure.detail
    clock.now += 599
    assert not go(limits)
    clock.now += 1
    assert go(limits)
    assert limits.held_until == 0.0


def test_a_shorter_word_does_not_shorten_a_longer_one() -> None:
    clock = Clock()
    limits = limited(clock)
    limits.learn(Told(hold_seconds=30))
    limits.learn(Told(hold_seconds=1))
    clock.now += 29
    assert not go(limits)


async def test_those_who_wait_are_refused_as_soon_as_the_api_says_it_takes_too_long() -> None:
    limits = limited(Clock(), concurrency=1)
    assert go(limits)
    waiting = [asyncio.create_task(limits.take(1, patient=bool(number % 2))) for number in range(4)]
    await asyncio.sleep(0)
    limits.learn(Told(hold_seconds=90))
    limits.give()
    failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert {failure.code for failure in failures if isinstance(failure, CallFailed)} == {"limit_wait"}
    assert {failure.retry_after for failure in failures if isinstance(failure, CallFailed)} == {90.0}
    assert (limits.taken, limits.waiting) == (0, 0)


async def test_a_short_hold_is_waited_out_in_order() -> None:
    limits = Limits(Queue(1.0))
    limits.learn(Told(hold_seconds=0.05))
    waits = await asyncio.gather(*(limits.take(32) for _ in range(5)))
    assert {what for _, what in waits} == {"told"}
    assert all(0.04 < seconds < 0.5 for seconds, _ in waits)


def test_a_learned_budget_is_spent_and_renewed_at_its_reset() -> None:
    clock = Clock()
    limits = limited(clock)
    limits.learn(Told(limit=100, remaining=3, reset_seconds=40))
    assert (limits.quota, burst(limits)) == (100, 3)
    assert limits.obstacle() == ("told", 40.0)
    clock.now += 40
    assert burst(limits) == 1000


def test_a_budget_without_a_reset_and_an_empty_word_hold_nobody() -> None:
    limits = limited(Clock())
    limits.learn(Told(limit=100, remaining=0))
    limits.learn(Told())
    assert (burst(limits), limits.quota, limits.remaining) == (1000, 100, None)


def test_what_has_no_answer_yet_is_taken_off_what_the_api_says_is_left() -> None:
    limits = limited(Clock())
    limits.unanswered = 7
    limits.learn(Told(remaining=10, reset_seconds=60))
    assert (limits.remaining, burst(limits)) == (3, 3)


def test_a_stream_that_has_been_answered_takes_nothing_off() -> None:
    limits = limited(Clock())
    for _ in range(20):
        assert go(limits)
    limits.learn(Told(remaining=10, reset_seconds=60))
    assert limits.remaining == 10


async def test_calls_wait_for_answers_on_their_way_that_may_tell_of_more() -> None:
    limits = Limits(Queue(1.0))
    limits.unanswered = 30
    limits.learn(Told(remaining=20, reset_seconds=60))
    waiting = asyncio.create_task(limits.take(32))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    limits.unanswered = 0
    limits.learn(Told(remaining=5, reset_seconds=60))
    assert (await waiting)[1] == "told"
    assert limits.remaining == 4


async def test_where_the_api_itself_says_nothing_is_left_they_are_refused_at_once() -> None:
    limits = limited(Clock())
    limits.unanswered = 30
    limits.learn(Told(remaining=0, reset_seconds=60))
    async with asyncio.timeout(0.1):
        assert (await refusal(limits)).retry_after == 60.0


@given(st.integers(0, 30), st.integers(0, 10), st.lists(st.integers(1, 8), min_size=1, max_size=30))
def test_an_api_with_a_budget_sees_no_more_than_it_has_left(budget: int, in_flight: int, waves: list[int]) -> None:
    """It counts a request when it arrives; its answers come back in that order, some while others are under way."""
    clock = Clock()
    limits = limited(clock, concurrency=100)
    used = told_at = 0
    pending: deque[int] = deque()

    def send() -> None:
        nonlocal used
        used += 1
        limits.unanswered += 1
        pending.append(max(0, budget - used))

    def answer() -> None:
        nonlocal told_at
        limits.unanswered -= 1
        limits.give()
        told_at += 1
        limits.learn(Told(remaining=pending.popleft(), reset_seconds=30))

    for _ in range(in_flight):
        assert go(limits)
        send()
    for wave in waves:
        for _ in range(wave):
            if pending:
                answer()
        while len(pending) < 8 and go(limits):
            if told_at:
                assert used < budget
            send()


async def test_more_budget_lets_those_go_who_wait() -> None:
    limits = Limits(Queue(1.0))
    limits.learn(Told(remaining=0, reset_seconds=0.5))
    waiting = asyncio.create_task(limits.take(32))
    await asyncio.sleep(0.01)
    limits.learn(Told(remaining=5, reset_seconds=60))
    async with asyncio.timeout(0.1):
        await waiting


async def test_a_waiter_that_is_cancelled_while_a_rate_holds_it_takes_none_of_it() -> None:
    limits = Limits(Queue(1.0))
    limits.learn(Told(remaining=0, reset_seconds=0.05))
    gone, stays = asyncio.create_task(limits.take(32)), asyncio.create_task(limits.take(32))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    await stays
    assert (limits.taken, limits.waiting) == (1, 0)


def test_a_rate_that_is_taken_back_forgets_what_was_counted() -> None:
    limits = limited(Clock(), per_minute=2)
    assert burst(limits) == 2
    limits.heed(Policy())
    assert burst(limits) == 1000


def test_what_an_api_told_is_forgotten_once_it_is_over() -> None:
    clock = Clock()
    limits = limited(clock)
    limits.learn(Told(remaining=5, reset_seconds=10, hold_seconds=20))
    clock.now += 30
    limits.refresh()
    assert (limits.remaining, limits.held_until) == (None, 0.0)


# --- caps --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def caps() -> AsyncIterator[Caps]:
    made = Caps(Queue(0.05), overall=5, per_actor=3)
    yield made
    assert (made.overall.taken, made._actors) == (0, {})


async def test_one_key_has_its_own_cap_and_leaves_room_for_others(caps: Caps) -> None:
    assert [await caps.enter("one") for _ in range(3)] == [0.0] * 3
    with pytest.raises(CallFailed, match="All places were taken"):
        await caps.enter("one")
    assert await caps.enter("two") == 0.0
    for actor in ("one", "one", "one", "two"):
        caps.leave(actor)


async def test_the_cap_over_all_holds_for_all_and_gives_back_the_place_of_the_key(caps: Caps) -> None:
    for number in range(5):
        await caps.enter(f"key {number}")
    with pytest.raises(CallFailed) as raised:
        await caps.enter("key 5")
    assert raised.value.code == "limit_wait"
    for number in range(5):
        caps.leave(f"key {number}")


async def test_a_wait_for_a_cap_is_told_and_a_caller_that_goes_in_it_leaves_nothing(caps: Caps) -> None:
    for number in range(5):
        await caps.enter(f"key {number}")
    gone, stays = asyncio.create_task(caps.enter("gone")), asyncio.create_task(caps.enter("stays"))
    await asyncio.sleep(0.01)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    caps.leave("key 0")
    assert await stays >= 0.005
    for actor in ("key 1", "key 2", "key 3", "key 4", "stays"):
        caps.leave(actor)


@pytest.mark.parametrize("seed", range(10))
async def test_caps_are_kept_and_given_back_whatever_happens(seed: int) -> None:
    rolls = random.Random(seed)
    caps = Caps(Queue(0.003, 20), overall=5, per_actor=3)
    most = 0

    async def call(actor: str) -> None:
        nonlocal most
        try:
            await caps.enter(actor, patient=rolls.random() < 0.5)
        except CallFailed:
            return
        try:
            most = max(most, caps.overall.taken)
            for _ in range(rolls.randrange(4)):
                await asyncio.sleep(0)
        finally:
            caps.leave(actor)

    tasks = [asyncio.create_task(call(rolls.choice("abc"))) for _ in range(80)]
    for task in rolls.sample(tasks, 30):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (most, caps.overall.taken) == (5, 0)
    assert caps._actors == {}
