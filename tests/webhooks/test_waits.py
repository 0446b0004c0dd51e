"""When a delivery is tried again: growing waits with jitter, what receivers tell, and when it is over."""

import pytest

from quart_app.webhooks.waits import MOST_TRIES, WAITS_SECONDS, Outcome, most_tries, wait_after

FAILED = Outcome(status=500)


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_each_wait_is_longer_than_the_one_before_and_within_its_jitter(draw: float) -> None:
    waits = [wait_after(tries, "recovered", FAILED, lambda: draw) for tries in range(1, MOST_TRIES)]
    for wait, least in zip(waits, WAITS_SECONDS, strict=True):
        assert wait is not None
        assert least <= wait <= 1.2 * least
    assert waits == sorted(waits, key=lambda wait: wait or 0)


def test_after_the_last_try_there_is_no_other() -> None:
    assert wait_after(MOST_TRIES, "recovered", FAILED) is None


def test_a_test_is_tried_once() -> None:
    assert most_tries("test") == 1
    assert wait_after(1, "test", FAILED) is None


def test_gone_ends_it_at_once() -> None:
    assert wait_after(1, "recovered", Outcome(status=410)) is None
    assert wait_after(1, "recovered", Outcome(status=404)) is not None


@pytest.mark.parametrize(("told", "wait"), [(1.0, 5.0), (300.0, 300.0), (86400.0, 86400.0), (90_000.0, 86400.0)])
def test_retry_after_is_honoured_up_to_a_day_and_never_shortens_a_wait(told: float, wait: float) -> None:
    outcome = Outcome(status=503, retry_after=told)
    assert wait_after(1, "recovered", outcome, lambda: 0.0) == wait


@pytest.mark.parametrize(("status", "delivered"), [(200, True), (204, True), (299, True), (302, False), (400, False)])
def test_any_2xx_is_delivered_and_nothing_else(status: int, delivered: bool) -> None:
    assert Outcome(status=status).delivered is delivered
    assert not Outcome(reason="reset").delivered
