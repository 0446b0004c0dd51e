"""What answers tell of limits: the headers that real APIs send, the drafts of the IETF, and all kinds of nonsense."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.outbound import told as module
from quart_app.outbound.retry import LONGEST_HOLD_SECONDS
from quart_app.outbound.told import Told, told

NOW = 1_800_000_000.0
Lines = list[tuple[bytes, bytes]]


def lines(**named: str) -> Lines:
    """Headers of an answer; `_` in a name stands for `-`."""
    return [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in named.items()]


def tell(status: int = 200, /, **named: str) -> Told:
    found = told(lines(Date="now", Content_Type="application/json", **named), status, NOW)
    assert found is not None
    return found


def in_seconds(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, UTC)


# --- APIs --------------------------------------------------------------------------------------------------------

API = {
    "GitHub": (
        {
            "x_ratelimit_limit": "5000",
            "x_ratelimit_remaining": "4987",
            "x_ratelimit_used": "13",
            "x_ratelimit_reset": "1800001234",
            "x_ratelimit_resource": "core",
        },
        Told(5000, 4987, 1234.0),
    ),
    "Twitter": (
        {"x_rate_limit_limit": "900", "x_rate_limit_remaining": "0", "x_rate_limit_reset": "1800000900"},
        Told(900, 0, 900.0),
    ),
    "Discord": (
        {
            "X_RateLimit_Limit": "5",
            "X_RateLimit_Remaining": "0",
            "X_RateLimit_Reset": "1800000001.499",
            "X_RateLimit_Reset_After": "1.5",
            "X_RateLimit_Bucket": "abcd1234",
        },
        Told(5, 0, 1.5),
    ),
    "GitLab": (
        {
            "RateLimit_Limit": "60",
            "RateLimit_Name": "throttle_unauthenticated_web",
            "RateLimit_Observed": "67",
            "RateLimit_Remaining": "0",
            "RateLimit_Reset": "1800000030",
            "RateLimit_ResetTime": "Fri, 15 Jan 2027 08:00:30 GMT",
        },
        Told(60, 0, 30.0),
    ),
    "Reddit": (
        {"x_ratelimit_remaining": "599.0", "x_ratelimit_used": "1", "x_ratelimit_reset": "373"},
        Told(None, 599, 373.0),
    ),
    "Linear, in milliseconds": (
        {"X_RateLimit_Limit": "1500", "X_RateLimit_Remaining": "1499", "X_RateLimit_Reset": "1800000360000"},
        Told(1500, 1499, 360.0),
    ),
    "an ISO date": (
        {"X_RateLimit_Remaining": "7", "X_RateLimit_Reset": "2027-01-15T08:00:45Z"},
        Told(None, 7, 45.0),
    ),
    "an ISO date without a zone": (
        {"X_RateLimit_Remaining": "7", "X_RateLimit_Reset": "2027-01-15 08:00:45"},
        Told(None, 7, 45.0),
    ),
    "an HTTP date": (
        {"X_RateLimit_Remaining": "7", "X_RateLimit_Reset": format_datetime(in_seconds(45), usegmt=True)},
        Told(None, 7, 45.0),
    ),
    "a list of windows": (
        {"X_RateLimit_Limit": "100, 100;window=60, 5000;window=3600", "X_RateLimit_Remaining": "99"},
        Told(100, 99, None),
    ),
    "draft 03": (
        {"RateLimit_Limit": "100, 100;w=60", "RateLimit_Remaining": "50", "RateLimit_Reset": "30"},
        Told(100, 50, 30.0),
    ),
    "draft 07": (
        {"RateLimit": "limit=100, remaining=50, reset=30", "RateLimit_Policy": "100;w=60"},
        Told(100, 50, 30.0),
    ),
    "draft 07 of two policies": (
        {"RateLimit": "limit=10, remaining=9, reset=1", "RateLimit_Policy": "10;w=1, 1000;w=3600"},
        Told(10, 9, 1.0),
    ),
    "draft 08": (
        {"RateLimit": '"default";r=50;t=30', "RateLimit_Policy": '"default";q=100;w=60'},
        Told(100, 50, 30.0),
    ),
    "draft 09 with spaces and a partition key": (
        {"RateLimit": '"default"; r=50 ;t=30;pk=:cHsdsRa894==:', "RateLimit_Policy": '"default"; q=100; w=60'},
        Told(100, 50, 30.0),
    ),
    "draft 10 of two policies, the nearest to its end": (
        {"RateLimit": '"day";r=900;t=3600, "burst";r=2;t=1', "RateLimit_Policy": '"burst";q=5;w=1, "day";q=9;w=86400'},
        Told(5, 2, 1.0),
    ),
    "draft 10 of two policies, the other way round": (
        {"RateLimit": '"burst";r=2;t=1, "day";r=0;t=3600', "RateLimit_Policy": '"day";q=1000;w=86400, "burst";q=5;w=1'},
        Told(1000, 0, 3600.0),
    ),
    "draft 10 without a time": ({"RateLimit": '"default";r=50'}, Told(None, 50, None)),
    "a policy alone": ({"RateLimit_Policy": '"default";q=100;w=60'}, Told(100, None, None)),
}  # fmt: skip


@pytest.mark.parametrize(("named", "expected"), API.values(), ids=API.keys())
def test_what_real_answers_tell(named: dict[str, str], expected: Told) -> None:
    found = tell(**named)
    assert (found.limit, found.remaining, found.hold_seconds) == (expected.limit, expected.remaining, None)
    assert found.reset_seconds == (None if expected.reset_seconds is None else pytest.approx(expected.reset_seconds))


@pytest.mark.parametrize(
    "spelling",
    [
        "x-ratelimit-remaining",
        "X-RateLimit-Remaining",
        "RATELIMIT-REMAINING",
        "X-Rate-Limit-Remaining",
        "Rate-Limit-Remaining",
    ],
)
def test_the_spelling_does_not_matter(spelling: str) -> None:
    found = told([(spelling.encode(), b"3")], 200, NOW)
    assert found == Told(remaining=3)


@pytest.mark.parametrize(
    "name",
    ["x-ratelimit-used", "x-ratelimit-bucket", "x-ratelimit-limit-tokens", "x-ratelimit-remaining-requests",
     "x-app-ratelimit-limit", "x-shopify-shop-api-call-limit", "ratelimit_limit", "retry-after-ms", "limit", "x-"],
)  # fmt: skip
def test_other_headers_tell_nothing(name: str) -> None:
    assert told([(name.encode(), b"3")], 429, NOW) is None


def test_an_answer_without_such_headers_tells_nothing() -> None:
    assert told([], 429, NOW) is None
    assert told(lines(Date="x", Content_Type="text/plain", Server="x"), 200, NOW) is None


# --- when to hold ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [
        (429, "30", 30),  # Stripe and most others
        (429, "2.0", 2),  # Shopify
        (429, "0.529", 0.529),  # Discord
        (403, "60", 60),  # GitHub's secondary limits
        (503, "120", 120),
        (502, "5", 5),
        (504, "5", 5),
        (503, format_datetime(in_seconds(90), usegmt=True), 90),
        (429, "315360000", LONGEST_HOLD_SECONDS),
        (429, format_datetime(in_seconds(10 * 365 * 86400), usegmt=True), LONGEST_HOLD_SECONDS),
        (429, format_datetime(in_seconds(-5), usegmt=True), 0),
    ],
)
def test_retry_after_of_a_refusal_holds_all_calls(status: int, value: str, seconds: float) -> None:
    found = tell(status, Retry_After=value)
    assert found.hold_seconds == pytest.approx(seconds)
    assert found.wait_seconds == pytest.approx(seconds)


@pytest.mark.parametrize("status", [200, 202, 301, 303, 400, 404, 413, 500])
def test_retry_after_of_another_answer_is_about_that_answer(status: int) -> None:
    assert tell(status, Retry_After="30") == Told()


@pytest.mark.parametrize("value", ["soon", "-1", "", "1e3", "30 s"])
def test_retry_after_that_cannot_be_read_holds_nothing(value: str) -> None:
    found = tell(429, Retry_After=value)
    assert (found, found.wait_seconds) == (Told(), 0.0)


def test_a_spent_budget_is_a_wait_until_its_reset_and_the_longer_word_counts() -> None:
    assert tell(429, X_RateLimit_Remaining="0", X_RateLimit_Reset="900").wait_seconds == 900
    assert tell(429, X_RateLimit_Remaining="0", X_RateLimit_Reset="900", Retry_After="5").wait_seconds == 900
    assert tell(429, X_RateLimit_Remaining="0", X_RateLimit_Reset="5", Retry_After="900").wait_seconds == 900
    assert tell(429, X_RateLimit_Remaining="1", X_RateLimit_Reset="900").wait_seconds == 0
    assert tell(429, X_RateLimit_Remaining="0").wait_seconds == 0


# --- nonsense ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("-30", 0),
        ("1799999000", 0),
        ("1799999000000", 0),
        ("315360000", LONGEST_HOLD_SECONDS),
        ("2115360000", LONGEST_HOLD_SECONDS),
        ("2115360000000", LONGEST_HOLD_SECONDS),
        ("2037-01-15T08:00:00+00:00", LONGEST_HOLD_SECONDS),
        ("2017-01-15T08:00:00+02:00", 0),
        ("9" * 15, LONGEST_HOLD_SECONDS),
    ],
)
def test_a_reset_is_never_before_now_nor_more_than_an_hour_away(value: str, seconds: float) -> None:
    assert tell(X_RateLimit_Reset=value).reset_seconds == seconds


@pytest.mark.parametrize("value", ["", "soon", "6m0s", "1s", "NaN", "tomorrow", "2027-13-45", "0x10", "²"])
def test_a_reset_that_cannot_be_read_is_none(value: str) -> None:
    assert tell(X_RateLimit_Reset=value).reset_seconds is None


@pytest.mark.parametrize("value", ["", "many", "-1", "-100", "unlimited", "∞".encode().decode("latin-1"), "x5", "=5"])
def test_a_count_that_cannot_be_read_or_is_negative_is_none(value: str) -> None:
    assert tell(X_RateLimit_Limit=value, X_RateLimit_Remaining=value) == Told()


@pytest.mark.parametrize("value", ["", ",,,", '"', '"default"', ";;;r", "r", "r=", "r=x", "=5", '"r=5', "ar=5", "r=-5"])
def test_a_structured_field_that_is_none_tells_nothing(value: str) -> None:
    found = tell(RateLimit=value, RateLimit_Policy=value)
    assert (found.limit, found.remaining, found.reset_seconds) == (None, None, None)


NAMES = [b"RateLimit", b"RateLimit-Policy", b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset",
         b"x-ratelimit-reset-after", b"Retry-After"]  # fmt: skip
VALUES = st.one_of(st.binary(max_size=40), st.text('0123456789.-;,="rtqwTZ: ', max_size=40).map(str.encode))


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), min_size=1, max_size=7), st.sampled_from([200, 429, 503]))
def test_whatever_an_upstream_sends_is_read_without_failing_and_within_bounds(headers: Lines, status: int) -> None:
    found = told(headers, status, NOW)
    assert found is not None
    for seconds in (found.reset_seconds, found.hold_seconds, found.wait_seconds):
        assert seconds is None or 0 <= seconds <= LONGEST_HOLD_SECONDS
    for count in (found.limit, found.remaining):
        assert count is None or count >= 0


def test_names_that_an_upstream_makes_up_are_not_kept_without_end() -> None:
    told([(b"x-%d" % number, b"") for number in range(5000)], 200, NOW)
    assert module.kind.cache_info().currsize <= 1000
    assert told([(b"X-RATELIMIT-rEmAiNiNg", b"3")], 200, NOW) == Told(remaining=3)
