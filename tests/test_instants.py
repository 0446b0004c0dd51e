"""Instants: seconds inside, RFC 3339 in UTC outside."""

import pytest

from quart_app.instants import instant, parse_instant


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000000Z"),
        (1_800_000_000.25, "2027-01-15T08:00:00.250000Z"),
        (None, None),
    ],
)
def test_an_instant_is_said_in_utc_to_the_microsecond(seconds: float | None, text: str | None) -> None:
    assert instant(seconds) == text


@pytest.mark.parametrize(
    "text",
    [
        "2027-01-15T08:00:00.250000Z",
        "2027-01-15T08:00:00.25+00:00",
        "2027-01-15T09:30:00.25+01:30",
        "2027-01-15 08:00:00.25",
    ],
)
def test_an_instant_is_read_in_any_zone_and_without_one_as_utc(text: str) -> None:
    assert parse_instant(text) == 1_800_000_000.25


@pytest.mark.parametrize("text", ["", "yesterday", "1800000000", "2027-13-01T00:00:00Z"])
def test_what_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="must be an instant such as"):
        parse_instant(text)


def test_what_was_said_is_read_back() -> None:
    for seconds in (0.0, 1.5, 1_795_230_821.123456):
        said = instant(seconds)
        assert said is not None
        assert parse_instant(said) == pytest.approx(seconds, abs=1e-6)
