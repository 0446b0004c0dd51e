"""Times in words."""

import pytest

from quart_app.doctor.words import ago, clock_time, span
from tests.doctor.rows import NOW


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "1 second"),
        (1.4, "1 second"),
        (59.4, "59 seconds"),
        (60, "1 minute"),
        (720, "12 minutes"),
        (3600, "1 hour"),
        (5400, "2 hours"),
        (86_400, "1 day"),
        (30 * 86_400, "30 days"),
    ],
)
def test_a_length_of_time_is_said_in_its_largest_unit(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_what_is_to_come_on_our_clock_was_just_now() -> None:
    assert [ago(NOW, at) for at in (NOW + 5, NOW, NOW - 0.5, NOW - 3)] == ["just now"] * 3 + ["3 seconds ago"]


def test_a_time_has_its_date_where_it_is_not_today_s() -> None:
    assert clock_time(NOW, NOW + 3600) == "12:20 UTC"
    assert clock_time(NOW, NOW + 86_400) == "2026-11-22 11:20 UTC"
    assert clock_time(NOW, NOW - 43_200) == "2026-11-20 23:20 UTC"
