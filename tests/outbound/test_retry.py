"""Whether an attempt is followed by another: by outcome, method, body, time and budget; and after which pause."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.errors import REASONS
from quart_app.outbound import retry
from quart_app.outbound.retry import FAILURES, LONGEST_HOLD_SECONDS, STATUSES, Outcome, Retry, Stop, next_step
from quart_app.outbound.target import Policy

NOW = 1_800_000_000.0
THREE = Policy(attempts=3)


def granted() -> str | None:
    return None


def step(
    outcome: Outcome,
    attempt: int = 1,
    policy: Policy = THREE,
    *,
    repeatable: bool = True,
    resendable: bool = True,
    left_seconds: float | None = None,
    spend: Callable[[], str | None] = granted,
    draw: float = 0.5,
) -> Retry | Stop:
    return next_step(
        attempt,
        outcome,
        policy,
        repeatable=repeatable,
        resendable=resendable,
        left_seconds=left_seconds,
        spend=spend,
        draw=lambda: draw,
    )


UNAVAILABLE = Outcome(status=503)


# --- which outcomes ----------------------------------------------------------------------------------------------


def test_only_four_statuses_are_tried_again() -> None:
    tried = {status for status in range(200, 600) if step(Outcome(status=status)) == Retry(0.125)}
    assert tried == {429, 502, 503, 504}
    assert all(step(Outcome(status=status)) == Stop() for status in range(200, 600) if status not in tried)


@pytest.mark.parametrize("reason", REASONS)
def test_only_failures_of_the_connection_are_tried_again(reason: str) -> None:
    mendable = {"dns_failed", "connect_timeout", "connect_failed", "reset"}
    assert step(Outcome(reason=reason)) == (Retry(0.125) if reason in mendable else Stop())


def test_every_reason_to_try_again_is_one_that_the_api_names() -> None:
    assert set(REASONS) > FAILURES


# --- why none follows --------------------------------------------------------------------------------------------


def test_the_attempts_of_the_policy_are_all_there_are() -> None:
    assert isinstance(step(UNAVAILABLE, 2), Retry)
    assert step(UNAVAILABLE, 3) == Stop("attempts_spent")
    assert step(UNAVAILABLE, 1, Policy(attempts=1)) == Stop("attempts_spent")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"repeatable": False}, "method_unsafe"),
        ({"resendable": False}, "body_gone"),
        ({"left_seconds": 0.125}, "time_spent"),
        ({"spend": lambda: "budget_spent"}, "budget_spent"),
        ({"spend": lambda: "circuit_open"}, "circuit_open"),
    ],
)
def test_what_may_not_be_sent_again_says_why(given: dict[str, Any], why: str) -> None:
    assert step(UNAVAILABLE, **given) == Stop(why)
    assert step(Outcome(status=404), **given) == Stop()


def test_the_policy_can_allow_what_is_not_repeatable() -> None:
    assert step(UNAVAILABLE, policy=Policy(retry_unsafe=True), repeatable=False) == Retry(0.125)


def test_a_body_that_is_gone_stays_gone_whatever_the_policy_allows() -> None:
    assert step(UNAVAILABLE, policy=Policy(retry_unsafe=True), resendable=False) == Stop("body_gone")


def test_the_budget_is_asked_last_so_that_nothing_is_taken_for_a_retry_that_is_not_made() -> None:
    taken: list[int] = []

    def spend() -> str | None:
        taken.append(1)
        return None

    for hindrance in ({"repeatable": False}, {"resendable": False}, {"left_seconds": 0.01}, {"attempt": 3}):
        step(UNAVAILABLE, spend=spend, **hindrance)
    step(Outcome(status=503, retry_after=600), spend=spend)
    step(Outcome(status=200), spend=spend)
    assert taken == []
    assert step(UNAVAILABLE, spend=spend) == Retry(0.125)
    assert taken == [1]


# --- pauses ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 10), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_drawn_from_nothing_to_a_bound_that_doubles_up_to_ten_seconds(attempt: int, draw: float) -> None:
    bound = min(10.0, 0.25 * 2 ** (attempt - 1))
    assert 0 <= retry.pause(attempt, lambda: draw) == draw * bound <= bound


def test_callers_that_failed_together_come_back_apart() -> None:
    pauses = {next_step(1, UNAVAILABLE, THREE, repeatable=True, resendable=True, left_seconds=None, spend=granted)
              for _ in range(50)}  # fmt: skip
    assert len(pauses) == 50
    told = {step(Outcome(status=429, retry_after=5), draw=draw / 50) for draw in range(50)}
    assert len(told) == 50


@pytest.mark.parametrize("seconds", [0.5, 1, 59, 60])
def test_the_api_s_own_word_is_waited_for_and_never_undercut(seconds: float) -> None:
    for draw in (0.0, 0.5, 0.99):
        found = step(Outcome(status=429, retry_after=seconds), draw=draw)
        assert isinstance(found, Retry)
        assert seconds <= found.after <= seconds + 0.25
        assert found.wait_reason == "told"


def test_no_seconds_at_all_are_a_pause_of_our_own_and_no_busy_loop() -> None:
    assert step(Outcome(status=429, retry_after=0.0)) == Retry(0.125, "backoff")
    assert step(Outcome(status=429)) == Retry(0.125, "backoff")


@pytest.mark.parametrize("seconds", [60.1, 600, LONGEST_HOLD_SECONDS])
def test_a_longer_wait_than_a_minute_is_the_caller_s_to_decide(seconds: float) -> None:
    assert step(Outcome(status=503, retry_after=seconds)) == Stop("told_to_wait_too_long")


def test_a_wait_beyond_the_call_s_total_time_is_not_begun() -> None:
    assert step(Outcome(status=503, retry_after=5), left_seconds=5) == Stop("time_spent")
    assert isinstance(step(Outcome(status=503, retry_after=5), left_seconds=6), Retry)


@given(
    st.sampled_from(sorted(STATUSES)),
    st.one_of(st.none(), st.floats(0, LONGEST_HOLD_SECONDS)),
    st.integers(1, 10),
    st.integers(1, 10),
    st.one_of(st.none(), st.floats(0.001, 400)),
    st.floats(0, 1, exclude_max=True),
)
def test_a_retry_is_within_its_attempts_its_time_and_not_before_it_may(
    status: int, told: float | None, attempt: int, most: int, left: float | None, draw: float
) -> None:
    found = step(Outcome(status, None, told), attempt, Policy(attempts=most), left_seconds=left, draw=draw)
    if isinstance(found, Stop):
        assert found.reason in ("attempts_spent", "told_to_wait_too_long", "time_spent")
    else:
        assert attempt < most
        assert (told or 0) <= found.after <= 70
        assert left is None or found.after < left


# --- what may be sent twice --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH", "PURGE"])
def test_a_method_is_repeatable_by_its_kind_or_with_a_key(method: str) -> None:
    assert retry.repeatable(method, []) is (method not in ("POST", "PATCH", "PURGE"))
    assert retry.repeatable(method, [(b"idempotency-key", b"1")]) is True


# --- Retry-After -------------------------------------------------------------------------------------------------


def http_date(offset: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + offset, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("1", 1),
        (" 120 ", 120),
        ("0000000000000000005", 5),
        ("2.0", 2),
        ("0.35", 0.35),
        ("315360000", LONGEST_HOLD_SECONDS),
        ("9" * 500, LONGEST_HOLD_SECONDS),
        (http_date(30), 30),
        (http_date(-30), 0),
        (http_date(10 * 365 * 86400), LONGEST_HOLD_SECONDS),
        (datetime.fromtimestamp(NOW + 30, UTC).strftime("%A, %d-%b-%y %H:%M:%S GMT"), 30),
        (datetime.fromtimestamp(NOW + 30, UTC).strftime("%a %b %d %H:%M:%S %Y"), 30),
        (format_datetime(datetime.fromtimestamp(NOW + 30, UTC)).replace("+0000", "-0000"), 30),
    ],
)
def test_retry_after_is_read_in_each_form_and_capped_at_an_hour(value: str, seconds: float) -> None:
    assert retry.retry_after_seconds(value.encode(), NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    ["", "soon", "-5", "-0", "+5", "1e9", "0x10", "10 years", "1, 2", "5s", "NaN", "inf", "²", "٣",
     "Fri, 31 Dec 99999 23:59:59 GMT", "Mon, 99 Foo 2030 99:99:99 GMT", "\x00", http_date(-100_000)],
)  # fmt: skip
def test_retry_after_that_says_nothing_is_nothing(value: str) -> None:
    assert retry.retry_after_seconds(value.encode(), NOW) is None


@given(st.binary(max_size=60), st.floats(0, 4e9))
def test_any_bytes_are_a_number_within_the_hour_or_nothing(value: bytes, now: float) -> None:
    found = retry.retry_after_seconds(value, now)
    assert found is None or 0 <= found <= LONGEST_HOLD_SECONDS


def test_draws_are_made_one_for_each_retry() -> None:
    draws = itertools.count()

    def draw() -> float:
        return next(draws) / 10

    for outcome in (UNAVAILABLE, Outcome(status=200), UNAVAILABLE):
        next_step(1, outcome, THREE, repeatable=True, resendable=True, left_seconds=None, spend=granted, draw=draw)
    assert next(draws) == 2
