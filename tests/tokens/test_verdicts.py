"""What the protocol decides, without a server: when a token may be spent, what follows, where a late one belongs."""

from types import SimpleNamespace
from typing import Any

import pytest

from quart_app.outbound.client import AttemptFailed
from quart_app.outbound.oauth import GrantFailed
from quart_app.tokens.verdicts import LONGEST_TOLD_SECONDS, NEVER_SENT, DialFailed, judge, pause_after, place


def refused(code: str = "", state: Any = None, retry_after: float | None = None, status: int = 400) -> DialFailed:
    error = GrantFailed("No.", failure="provider_down", code=code, state=state, retry_after=retry_after)
    return DialFailed(error, status)


@pytest.mark.parametrize("reason", sorted(NEVER_SENT))
def test_what_never_left_spent_nothing(reason: str) -> None:
    failed = DialFailed(AttemptFailed(reason, "It did not leave."))
    assert (failed.is_doubtful, failed.failure, failed.state) == (False, "network", None)


@pytest.mark.parametrize("reason", ["reset", "first_byte_timeout", "idle_timeout", "total_timeout", "protocol_error"])
def test_what_left_and_was_not_answered_may_be_spent(reason: str) -> None:
    failed = DialFailed(AttemptFailed(reason, "It left."))
    assert (failed.is_doubtful, failed.failure) == (True, "provider_down")


@pytest.mark.parametrize(
    ("status", "code", "doubtful"),
    [
        (400, "invalid_grant", False),
        (200, "invalid_grant", False),
        (200, "", True),
        (500, "", True),
        (500, "server_error", True),
        (502, "", True),
        (504, "", True),
        (503, "", False),
        (429, "", False),
        (404, "", False),
    ],
)
def test_an_answer_without_a_token_leaves_a_doubt_where_it_may_have_come_after_the_deed(
    status: int, code: str, doubtful: bool
) -> None:
    assert refused(code, status=status).is_doubtful is doubtful


def test_a_lost_answer_is_asked_for_again_twice_and_no_more() -> None:
    lost = DialFailed(AttemptFailed("reset", "Lost."))
    steps = [judge(lost, spends=True, tries=tries, fresh=True, has_spare=False) for tries in range(3)]
    assert [(step.state, step.next, step.pause) for step in steps] == [
        ("in_doubt", "again", 0.0), ("in_doubt", "again", 1.0), ("in_doubt", "stop", 0.0)
    ]  # fmt: skip


def test_it_is_not_asked_again_at_once_after_an_earlier_failure_or_against_the_provider_s_word() -> None:
    lost = DialFailed(AttemptFailed("reset", "Lost."))
    assert judge(lost, spends=True, tries=0, fresh=False, has_spare=False).next == "stop"
    assert judge(refused(status=500, retry_after=9), spends=True, tries=0, fresh=True, has_spare=False).next == "stop"


def test_what_spends_nothing_is_never_in_doubt() -> None:
    step = judge(DialFailed(AttemptFailed("reset", "Lost.")), spends=False, tries=0, fresh=True, has_spare=False)
    assert (step.state, step.next) == ("failed", "stop")


def test_a_spare_is_tried_where_the_kept_one_is_refused_and_only_there() -> None:
    gone = refused("invalid_grant", "needs_sign_in")
    assert judge(gone, spends=True, tries=0, fresh=True, has_spare=True).next == "spare"
    assert judge(gone, spends=True, tries=0, fresh=True, has_spare=False).next == "stop"
    client = refused("invalid_client", "config_error")
    assert judge(client, spends=True, tries=0, fresh=True, has_spare=True).next == "stop"


def test_pauses_double_up_to_a_minute_and_heed_the_provider_up_to_an_hour() -> None:
    assert [pause_after(failures, None) for failures in (1, 2, 3, 7, 8, 1000)] == [1.0, 2.0, 4.0, 60.0, 60.0, 60.0]
    assert pause_after(1, 9.0) == 9.0
    assert pause_after(8, 9.0) == 60.0
    assert pause_after(1, 1e9) == LONGEST_TOLD_SECONDS


def token(generation: int = 3, sent_at: float | None = 100.0, signed_in_at: float | None = 10.0) -> Any:
    return SimpleNamespace(generation=generation, sent_at=sent_at, signed_in_at=signed_in_at)


def entry(state: str = "sent", reason: str | None = None) -> Any:
    return SimpleNamespace(state=state, reason=reason)


@pytest.mark.parametrize(
    ("token_", "entry_", "sent_at", "expected"),
    [
        (token(3), entry(), 101.0, "next"),
        (token(3), entry("in_doubt", "abandoned"), 101.0, "next"),
        (token(3), None, 101.0, "next"),
        (token(4, sent_at=100.0), entry("in_doubt", "abandoned"), 101.0, "newer"),
        (token(4, sent_at=102.0), entry("in_doubt", "abandoned"), 101.0, "older"),
        (token(4, sent_at=102.0), entry("stored"), 101.0, "stored"),
        (token(3), entry("failed", "superseded"), 101.0, "superseded"),
        (token(4, sent_at=None, signed_in_at=200.0), entry("in_doubt", "abandoned"), 101.0, "superseded"),
        (token(4, sent_at=None), entry("in_doubt"), 101.0, "newer"),
        (None, entry(), 101.0, "gone"),
    ],
)
def test_a_token_in_hand_has_a_place(token_: Any, entry_: Any, sent_at: float, expected: str) -> None:
    assert place(token_, entry_, generation=3, sent_at=sent_at, cause="expired") == expected


def test_what_a_person_signed_in_for_comes_next_whatever_happened_meanwhile() -> None:
    assert place(token(9, sent_at=500.0), entry(), generation=3, sent_at=101.0, cause="sign_in") == "next"
