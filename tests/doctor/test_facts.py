"""What follows from a connection's rows at once."""

import pytest

from quart_app.doctor.facts import CUT_OFF_SECONDS
from tests.doctor.rows import NOW, connection, exchange, facts, failed, oauth, token, use


def test_the_last_exchange_that_tells_of_the_provider_is_judged() -> None:
    stored, lost = exchange(id="1"), exchange("in_doubt", id="2")
    never_left = exchange("failed", id="3", reason="abandoned")
    on_its_way = exchange("sent", seconds_ago=5, id="4")
    assert facts(None, None, on_its_way, never_left, lost, stored).judged is lost
    assert facts(None, None, on_its_way, never_left, stored).judged is stored
    assert facts(None, None, failed("network", "dns_failed"), stored).judged is not stored
    assert facts(None, None, never_left).judged is None
    assert facts().judged is None


def test_an_exchange_that_is_open_for_too_long_was_cut_off() -> None:
    young = exchange("sent", seconds_ago=CUT_OFF_SECONDS - 1)
    old = exchange("claimed", seconds_ago=CUT_OFF_SECONDS + 1)
    assert (facts(None, None, young).is_renewing, facts(None, None, young).judged) == (True, None)
    assert (facts(None, None, old).is_renewing, facts(None, None, old).judged) == (False, old)
    assert not facts(None, None, exchange()).is_renewing


def test_the_clock_is_judged_by_the_newest_exchange_that_tells_of_it() -> None:
    told, silent = exchange(skew_seconds=31.0), failed("network")
    assert (facts(None, None, silent, told).skew_seconds, facts(None, None, silent, told).is_skewed) == (31.0, True)
    assert not facts(None, None, exchange(skew_seconds=-30.0), told).is_skewed
    assert (facts(None, None, silent).skew_seconds, facts(None, None, silent).is_skewed) == (None, False)


@pytest.mark.parametrize(
    ("asked", "granted", "missing"),
    [
        ("read write", "read", ["write"]),
        ("read write", "write read", []),
        ("read write", None, []),
        ("read write", "", ["read", "write"]),
        ("read offline_access", "read", []),
        (None, "read", []),
        ("repo gist", "gist,repo", []),
    ],
)
def test_what_was_asked_for_and_not_granted_is_missing(
    asked: str | None, granted: str | None, missing: list[str]
) -> None:
    looked_at = facts(connection(oauth(scope=asked)), token(scope=granted))
    assert looked_at.scope_missing == missing


def test_scopes_are_told_apart_by_the_provider_s_own_separator() -> None:
    auth = oauth(scope="read,write,admin", scope_separator=",")
    assert facts(connection(auth), token(scope="admin,read")).scope_missing == ["write"]


def test_offline_access_is_missing_without_a_refresh_token() -> None:
    held = token(scope="read", sealed_refresh_token=None)
    assert facts(connection(oauth(scope="read offline_access")), held).scope_missing == ["offline_access"]


def test_nothing_is_missing_before_there_is_a_token() -> None:
    held = token(scope="", sealed_access_token=None)
    assert facts(connection(oauth(scope="read")), held).scope_missing == []


def test_a_token_works_until_it_ends() -> None:
    assert facts(None, token()).works_until == NOW + 2880
    for held in (None, token(expires_at=NOW), token(expires_at=None), token(sealed_access_token=None)):
        assert facts(None, held).works_until is None


def test_only_a_token_that_ended_and_that_only_a_person_can_renew_has_lapsed() -> None:
    ended = token(expires_at=NOW - 1, sealed_refresh_token=None)
    assert facts(connection(), ended).has_lapsed
    assert not facts(connection(oauth("client_credentials")), ended).has_lapsed
    assert not facts(connection(), token(expires_at=NOW - 1)).has_lapsed
    assert not facts(connection(), token(sealed_refresh_token=None)).has_lapsed


def test_calls_from_before_the_last_change_carried_another_credential() -> None:
    old, new = use(seconds_ago=100), use(seconds_ago=50)
    assert facts(connection(updated_at=NOW - 70), uses=[new, old]).uses_of_this_credential == [new]
    assert facts(None, token(refreshed_at=NOW - 70), uses=[new, old]).uses_of_this_credential == [new]
    assert facts(None, token(refreshed_at=None), uses=[new, old]).uses_of_this_credential == [new, old]


def test_a_call_failed_without_an_answer_or_with_one_that_refuses() -> None:
    fine = [use(200), use(404), use(429), use(None, state="cancelled"), use(None, state="sending")]
    bad = [use(500), use(401), use(403), use(None, state="failed", reason="dns_failed")]
    assert [one.failed for one in fine + bad] == [False] * 5 + [True] * 4
