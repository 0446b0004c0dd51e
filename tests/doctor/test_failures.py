"""Which class a failure is of, and that there is one only where something is wrong."""

from typing import Any

import pytest

from quart_app.doctor.facts import Facts
from quart_app.doctor.failures import Failure, failure_of
from quart_app.models import TokenExchange
from tests.doctor.rows import KEY, NOW, connection, exchange, facts, failed, oauth, token, use


def kind(looked_at: Facts) -> str | None:
    found = failure_of(looked_at)
    return found.kind if found else None


def test_a_connection_whose_last_exchange_was_stored_is_well() -> None:
    assert failure_of(facts(connection(), token(), exchange())) is None


def test_a_connection_that_has_what_it_needs_and_was_never_used_is_well() -> None:
    unused = token(generation=0, sealed_access_token=None, expires_at=None, refreshed_at=None)
    assert failure_of(facts(connection(oauth("refresh_token")), unused)) is None
    unused.sealed_refresh_token = None
    assert failure_of(facts(connection(oauth("client_credentials")), unused)) is None
    assert failure_of(facts(connection(KEY))) is None


def test_a_paused_one_is_paused_whatever_else_is_wrong() -> None:
    assert kind(facts(connection(state="paused"), token(failures=2), failed("network"), unstored=True)) == "paused"
    assert kind(facts(connection(KEY, state="paused"), uses=[use(401)])) == "paused"


def test_a_token_that_waits_for_the_database_comes_before_what_the_provider_said() -> None:
    row = connection(state="needs_sign_in", state_reason="It is over.")
    assert kind(facts(row, token(), failed("signed_out"), unstored=True)) == "storage"


@pytest.mark.parametrize("grant", ["authorization_code", "refresh_token"])
@pytest.mark.parametrize("state", ["ready", "needs_sign_in"])
def test_who_never_signed_in_is_told_so(grant: str, state: str) -> None:
    empty = token(generation=0, sealed_access_token=None, sealed_refresh_token=None, expires_at=None)
    row = connection(oauth(grant), state=state, state_reason=None if state == "ready" else "Sign in.")
    assert kind(facts(row, empty)) == "not_signed_in"
    assert kind(facts(row, None)) == "not_signed_in"


def test_a_first_sign_in_that_failed_tells_why() -> None:
    empty = token(generation=0, sealed_access_token=None, sealed_refresh_token=None, expires_at=None)
    tried = failed("wrong_client", "invalid_client", cause="sign_in", generation=0)
    assert kind(facts(connection(state="config_error", state_reason="No."), empty, tried)) == "wrong_client"
    assert kind(facts(connection(state="needs_sign_in"), empty, tried)) == "wrong_client"
    assert kind(facts(connection(), empty, tried)) == "wrong_client"


def test_signed_out_by_the_provider_has_its_code_its_detail_and_its_time() -> None:
    row = connection(state="needs_sign_in", state_reason="Somebody has to sign in.")
    last = failed("signed_out", "invalid_grant", detail="The provider takes it no more.")
    assert failure_of(facts(row, token(), last, exchange())) == Failure(
        "signed_out", "invalid_grant", "The provider takes it no more.", NOW - 60
    )


def test_other_auth_that_nobody_signed_in_with_yet_is_not_signed_out() -> None:
    row = connection(state="needs_sign_in", state_reason="Nobody has signed in.")
    anew = token(generation=4, sealed_access_token=None, sealed_refresh_token=None, expires_at=None)
    assert kind(facts(row, anew, failed("signed_out", "invalid_grant"))) == "not_signed_in"


def test_a_state_without_an_exchange_that_tells_of_it_has_its_own_reason() -> None:
    needs = connection(state="needs_sign_in", state_reason="Somebody has to sign in.")
    assert failure_of(facts(needs, token())) == Failure("signed_out", None, "Somebody has to sign in.")
    wrong = connection(oauth("client_credentials"), state="config_error", state_reason="The client is wrong.")
    assert failure_of(facts(wrong, token())) == Failure("wrong_client", None, "The client is wrong.")


@pytest.mark.parametrize("failure", ["network", "provider_down", "odd_answer", "clock", "storage", "wrong_client"])
def test_a_failure_of_the_last_exchange_keeps_its_class(failure: str) -> None:
    assert kind(facts(connection(), token(failures=1), failed(failure), exchange())) == failure


@pytest.mark.parametrize("failure", ["signed_out", "wrong_client", "odd_answer"])
@pytest.mark.parametrize(
    ("auth", "skew", "refined"),
    [
        (oauth("jwt_bearer"), 31.0, True),
        (oauth("jwt_bearer"), -31.0, True),
        (oauth("jwt_bearer"), 29.0, False),
        (oauth("jwt_bearer"), None, False),
        (oauth("client_credentials", client_auth="private_key_jwt"), 3600.0, True),
        (oauth("client_credentials"), 3600.0, False),
    ],
)
def test_a_signature_refused_by_a_wrong_clock_is_the_clock_s_failure(
    failure: str, auth: dict[str, Any], skew: float | None, refined: bool
) -> None:
    last = failed(failure, skew_seconds=skew)
    assert kind(facts(connection(auth), token(failures=1), last)) == ("clock" if refined else failure)


def test_a_network_failure_stays_one_whatever_the_clock() -> None:
    last = failed("network", skew_seconds=99.0)
    assert kind(facts(connection(oauth("jwt_bearer")), token(failures=1), last)) == "network"


@pytest.mark.parametrize(
    "last",
    [
        exchange("in_doubt", reason="first_byte_timeout", failure="provider_down"),
        exchange("in_doubt", reason="abandoned"),
        exchange("sent", seconds_ago=300),
    ],
)
def test_a_lost_answer_is_in_doubt(last: TokenExchange) -> None:
    found = failure_of(facts(connection(), token(failures=0), last))
    assert found
    assert (found.kind, found.in_doubt) == (last.failure or "network", True)


def test_a_lost_answer_that_was_followed_by_a_token_is_over() -> None:
    assert failure_of(facts(connection(), token(), exchange(id="2"), exchange("in_doubt", id="1"))) is None


def test_a_failure_of_other_auth_than_the_present_one_does_not_count() -> None:
    row = connection(oauth("client_credentials"))
    assert kind(facts(row, token(failures=1), failed("network"))) == "network"
    assert failure_of(facts(row, token(failures=0), failed("network"))) is None, "the same grant with another secret"
    assert failure_of(facts(row, token(failures=1), failed("network", generation=2))) is None, "another grant"


def test_a_sign_in_that_failed_beside_a_good_token_is_no_failure() -> None:
    assert failure_of(facts(connection(), token(), failed("signed_out", "invalid_grant", cause="sign_in"))) is None


def test_an_access_token_that_ended_and_cannot_be_renewed_is_signed_out() -> None:
    ended = token(expires_at=NOW - 100, sealed_refresh_token=None)
    found = failure_of(facts(connection(), ended, exchange()))
    assert found
    assert (found.kind, found.code, found.at) == ("signed_out", "expired", NOW - 100)


def test_a_sign_in_whose_answer_was_lost_leaves_nothing_in_doubt_but_is_to_be_done_again() -> None:
    empty = token(generation=0, sealed_access_token=None, sealed_refresh_token=None, expires_at=None)
    lost = exchange("in_doubt", 60, cause="sign_in", failure="provider_down", generation=0)
    found = failure_of(facts(connection(), empty, lost))
    assert found
    assert (found.kind, found.in_doubt) == ("provider_down", False)


def test_a_call_that_got_no_token_tells_where_no_exchange_does() -> None:
    row, ended = connection(oauth("client_credentials")), token(expires_at=NOW - 1, refreshed_at=NOW - 3600)
    last = use(None, 60, state="failed", reason="token_unavailable", detail="No metadata.")
    assert failure_of(facts(row, ended, exchange(), uses=[last])) == Failure(
        "network", "token_unavailable", "No metadata.", NOW - 60
    )
    assert failure_of(facts(row, token(refreshed_at=NOW - 30), exchange(), uses=[last])) is None
    assert failure_of(facts(row, ended, exchange(), uses=[use(200, 30), last])) is None
    changed = connection(oauth("client_credentials"), updated_at=NOW - 30)
    assert failure_of(facts(changed, ended, exchange(), uses=[last])) is None


def test_the_newest_exchange_that_tells_the_skew_counts() -> None:
    last, before = failed("wrong_client"), exchange(skew_seconds=-90.0)
    assert kind(facts(connection(oauth("jwt_bearer")), token(failures=1), last, before)) == "clock"


@pytest.mark.parametrize(
    ("statuses", "refused"),
    [
        ([], False),
        ([401], True),
        ([403], True),
        ([401, 401, 403, 200], True),
        ([401, 401, 200], False),
        ([200, 401, 401], False),
        ([None, 401, None], True),
        ([None, None], False),
        ([500, 401], False),
    ],
)
@pytest.mark.parametrize("auth", [KEY, oauth("client_credentials")], ids=["key", "oauth"])
def test_an_api_that_refuses_the_newest_calls_refuses_the_credential(
    statuses: list[int | None], refused: bool, auth: dict[str, Any]
) -> None:
    uses = [use(status, state="done" if status else "failed") for status in statuses]
    found = failure_of(facts(connection(auth), token(), exchange(), uses=uses))
    assert (found.kind if found else None) == ("refused" if refused else None)


def test_refusals_name_the_statuses_and_how_many_they_were() -> None:
    found = failure_of(facts(connection(KEY), uses=[use(401), use(403), use(401)]))
    assert found == Failure("refused", "401", "The last 3 calls were answered 401 and 403.", NOW - 300)
    alone = failure_of(facts(connection(KEY), uses=[use(403)]))
    assert alone
    assert alone.detail == "The last call was answered 403."


def test_refusals_of_a_credential_that_was_changed_since_do_not_count() -> None:
    assert failure_of(facts(connection(KEY, updated_at=NOW - 100), uses=[use(401, seconds_ago=200)])) is None
    anew = token(refreshed_at=NOW - 100)
    assert failure_of(facts(connection(), anew, exchange(), uses=[use(401, seconds_ago=200)])) is None
