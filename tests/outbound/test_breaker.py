"""The breaker and the retry budget, on a clock that a test moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.errors import REASONS, CallFailed
from quart_app.outbound.breaker import FAILING, LEAST, OPEN_SECONDS, RETRY_FLOOR, SPAN_SECONDS, Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def attempts(breaker: Breaker, count: int, *, failed: bool, first: bool = True) -> None:
    """So many calls of one attempt each."""
    for _ in range(count):
        who = object()
        breaker.admit(who)
        breaker.ended(who, failed=failed, first=first)


def opened(breaker: Breaker) -> Breaker:
    attempts(breaker, LEAST, failed=True)
    assert breaker.state == "open"
    return breaker


def refused(breaker: Breaker, who: object | None = None) -> CallFailed:
    with pytest.raises(CallFailed) as raised:
        breaker.admit(who or object())
    assert (raised.value.code, raised.value.status) == ("circuit_open", 503)
    return raised.value


# --- opening -----------------------------------------------------------------------------------------------------


def test_twenty_failures_open_it_and_nineteen_do_not(breaker: Breaker) -> None:
    attempts(breaker, 19, failed=True)
    assert breaker.state == "closed"
    attempts(breaker, 1, failed=True)
    assert (breaker.state, breaker.opened_count) == ("open", 1)


@pytest.mark.parametrize(("good", "bad", "state"), [(21, 20, "closed"), (20, 20, "open"), (10, 10, "open"),
                                                    (10, 9, "closed"), (100, 99, "closed")])  # fmt: skip
def test_half_of_the_attempts_open_it(breaker: Breaker, good: int, bad: int, state: str) -> None:
    attempts(breaker, good, failed=False)
    attempts(breaker, bad, failed=True)
    assert breaker.state == state


def test_answers_never_open_it(breaker: Breaker) -> None:
    attempts(breaker, 1000, failed=False)
    assert breaker.state == "closed"


def test_failures_of_more_than_half_a_minute_ago_do_not_count(breaker: Breaker, clock: Clock) -> None:
    attempts(breaker, 19, failed=True)
    clock.now += SPAN_SECONDS
    attempts(breaker, 19, failed=True)
    assert breaker.state == "closed"
    assert breaker.window.sums() == (19, 0, 19, 19)
    clock.now += SPAN_SECONDS - 1
    attempts(breaker, 1, failed=True)
    assert breaker.state == "open"


def test_an_answer_that_breaks_off_counts_as_a_failure_of_its_attempt(breaker: Breaker) -> None:
    for _ in range(LEAST):
        who = object()
        breaker.ended(who, failed=False, first=True)
        breaker.failed(who)
    assert breaker.state == "open"
    assert breaker.window.sums() == (LEAST, 0, LEAST, LEAST)


def test_what_says_nothing_of_the_upstream_is_no_failure() -> None:
    assert set(REASONS) - FAILING == {
        "egress_denied",
        "total_timeout",
        "too_large",
        "token_unavailable",
        "circuit_open",
        "limit_wait",
    }


# --- open --------------------------------------------------------------------------------------------------------


def test_while_open_nothing_goes_and_the_refusal_says_when(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 12
    refusal = refused(breaker)
    assert ("Retry-After", "18") in refusal.headers
    assert "18 s" in refusal.detail
    with pytest.raises(CallFailed, match="left in peace"):
        breaker.check()
    clock.now += 17.5
    assert ("Retry-After", "1") in refused(breaker).headers


def test_failures_of_calls_that_left_before_do_not_prolong_it(breaker: Breaker, clock: Clock) -> None:
    late = object()
    breaker.admit(late)
    opened(breaker)
    clock.now += 20
    breaker.ended(late, failed=True, first=True)
    assert (breaker.opened_at, breaker.opened_count) == (1000.0, 1)


def test_an_answer_to_a_call_that_left_before_does_not_close_it(breaker: Breaker) -> None:
    late = object()
    breaker.admit(late)
    opened(breaker)
    breaker.ended(late, failed=False, first=True)
    assert breaker.state == "open"


# --- half open ---------------------------------------------------------------------------------------------------


def test_after_half_a_minute_one_call_at_a_time_may_try(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += OPEN_SECONDS
    assert breaker.state == "half_open"
    breaker.check()
    probe = object()
    breaker.admit(probe)
    breaker.admit(probe)  # its next attempt, after a redirect for one
    refused(breaker)


def test_a_probe_that_is_answered_closes_it_with_a_clean_slate(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += OPEN_SECONDS
    probe = object()
    breaker.admit(probe)
    breaker.ended(probe, failed=False, first=True)
    assert (breaker.state, breaker.window.sums()) == ("closed", (0, 0, 0, 0))
    attempts(breaker, LEAST - 1, failed=True)
    assert breaker.state == "closed"


def test_a_probe_that_fails_opens_it_for_another_half_minute(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += OPEN_SECONDS + 5
    probe = object()
    breaker.admit(probe)
    breaker.ended(probe, failed=True, first=True)
    assert (breaker.state, breaker.opened_count) == ("open", 2)
    assert breaker.probes_at == clock.now + OPEN_SECONDS
    refused(breaker, probe)


def test_a_probe_that_tells_nothing_leaves_the_try_to_another(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += OPEN_SECONDS
    gone, other = object(), object()
    breaker.admit(gone)
    breaker.forget(other)
    refused(breaker, other)
    breaker.forget(gone)
    breaker.admit(other)
    refused(breaker, gone)


def test_who_insists_may_try_at_once_and_closes_it(breaker: Breaker) -> None:
    opened(breaker)
    person = object()
    breaker.admit(person, insists=True)
    refused(breaker)
    breaker.ended(person, failed=False, first=True)
    assert breaker.state == "closed"


def test_a_failed_try_of_who_insists_starts_the_half_minute_again(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 25
    person = object()
    breaker.admit(person, insists=True)
    breaker.ended(person, failed=True, first=True)
    assert (breaker.state, breaker.probes_at) == ("open", clock.now + OPEN_SECONDS)


# --- the retry budget --------------------------------------------------------------------------------------------


def spent(breaker: Breaker) -> int:
    """How many retries there are to be had."""
    count = 0
    while breaker.spend_retry() is None:
        count += 1
    return count


def test_a_fifth_of_the_calls_may_be_tried_again_and_never_fewer_than_a_few(breaker: Breaker) -> None:
    assert spent(breaker) == RETRY_FLOOR
    assert breaker.spend_retry() == "budget_spent"
    attempts(breaker, 200, failed=False)
    assert breaker.retries_left() == 40 - RETRY_FLOOR
    assert spent(breaker) == 30


def test_attempts_after_the_first_earn_no_budget(breaker: Breaker) -> None:
    attempts(breaker, 1000, failed=False, first=False)
    assert spent(breaker) == RETRY_FLOOR


def test_the_budget_comes_back_after_half_a_minute(breaker: Breaker, clock: Clock) -> None:
    assert spent(breaker) == RETRY_FLOOR
    clock.now += SPAN_SECONDS - 1
    assert breaker.spend_retry() == "budget_spent"
    clock.now += 1
    assert spent(breaker) == RETRY_FLOOR


def test_no_retry_while_it_is_open(breaker: Breaker) -> None:
    assert opened(breaker).spend_retry() == "circuit_open"


@given(st.lists(st.tuples(st.sampled_from(["call", "retry", "wait"]), st.integers(0, 40)), max_size=60))
def test_in_any_half_minute_retries_stay_within_a_fifth_of_the_calls_or_the_floor(steps: list[tuple[str, int]]) -> None:
    clock = Clock()
    breaker = Breaker(clock)
    calls: list[float] = []
    retries: list[float] = []
    for what, count in steps:
        if what == "wait":
            clock.now += count / 2
        for _ in range(count):
            if what == "call":
                attempts(breaker, 1, failed=False)
                calls.append(clock.now)
            elif what == "retry" and breaker.spend_retry() is None:
                retries.append(clock.now)
                within = [moment for moment in calls if int(moment) > int(clock.now) - SPAN_SECONDS]
                recent = [moment for moment in retries if int(moment) > int(clock.now) - SPAN_SECONDS]
                assert len(recent) <= max(RETRY_FLOOR, len(within) * 0.2)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=200))
def test_the_window_counts_what_a_list_would(outcomes: list[tuple[bool, int]]) -> None:
    clock = Clock()
    breaker = Breaker(clock)
    seen: list[tuple[float, bool]] = []
    for good, seconds in outcomes:
        clock.now += seconds
        counts = breaker.window.now()
        counts[2] += 1
        counts[3] += not good
        seen.append((clock.now, good))
        within = [fine for moment, fine in seen if int(moment) > int(clock.now) - SPAN_SECONDS]
        assert breaker.window.sums() == (0, 0, len(within), within.count(False))
