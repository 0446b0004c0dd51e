"""How a connection is, in one sentence."""

import pytest

from quart_app.doctor.facts import Facts
from quart_app.doctor.failures import failure_of
from quart_app.doctor.summaries import summary
from quart_app.models import TokenExchange
from tests.doctor.rows import KEY, NOW, connection, exchange, facts, failed, oauth, token, use


def said(looked_at: Facts) -> str:
    sentence = summary(looked_at, failure_of(looked_at))
    assert sentence.endswith(".")
    assert ".." not in sentence
    assert "None" not in sentence
    return sentence


def test_a_good_token_is_told_with_its_age_and_its_end() -> None:
    assert said(facts(None, token(), exchange())) == (
        "Well: the token was refreshed 12 minutes ago and lasts until 12:08 UTC."
    )


def test_a_token_without_a_known_end_is_told_as_such() -> None:
    assert said(facts(None, token(expires_at=None), exchange())) == (
        "Well: the token was refreshed 12 minutes ago, and the provider does not say when it ends."
    )


def test_a_token_that_ended_is_replaced_by_the_next_call_or_just_now() -> None:
    ended = token(expires_at=NOW - 7200)
    assert said(facts(None, ended, exchange())) == (
        "Well: the token ended 2 hours ago, and the next call gets a new one."
    )
    renewing = exchange("sent", seconds_ago=1)
    assert said(facts(None, ended, renewing, exchange())) == (
        "Well: the token ended 2 hours ago, and a new one is on its way."
    )


def test_a_connection_without_its_first_token_says_when_it_comes() -> None:
    row = connection(oauth("client_credentials"))
    assert said(facts(row, token(sealed_access_token=None))) == "Well: the first call gets a token."
    renewing = exchange("claimed", seconds_ago=1)
    assert said(facts(row, token(sealed_access_token=None), renewing)) == "Well: the first token is on its way."


def test_without_tokens_the_last_call_tells() -> None:
    row = connection(KEY)
    assert said(facts(row)) == "Nothing was sent through it yet."
    assert said(facts(row, uses=[use(200)])) == "Well: the last call, 5 minutes ago, was answered 200."
    assert said(facts(row, uses=[use(503)])) == (
        "Its credential is in place; the last call, 5 minutes ago, was answered 503."
    )
    assert said(facts(row, uses=[use(None, state="failed", reason="dns_failed")])) == (
        "Its credential is in place; the last call, 5 minutes ago, got no answer (dns_failed)."
    )
    assert said(facts(row, uses=[use(None, 1, state="sending")])) == (
        "Its credential is in place; the last call, 1 second ago, is on its way."
    )
    assert said(facts(row, uses=[use(401), use(401)])) == (
        "The API refuses the credential: the last 2 calls were answered 401."
    )


def test_a_paused_connection_says_so() -> None:
    assert said(facts(connection(state="paused"), token())) == "Paused by a person: no call goes through it."


def test_who_never_signed_in_is_told_what_is_missing() -> None:
    assert said(facts(connection(), None)) == "Nobody has signed in yet."
    assert said(facts(connection(oauth("refresh_token")), None)) == "There is no refresh token yet."


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        (
            failed("network", "dns_failed"),
            "The token endpoint was not reached 1 minute ago: its name cannot be resolved",
        ),
        (
            failed("network", "egress_denied"),
            "The token endpoint was not reached 1 minute ago: this installation does not allow its address",
        ),
        (failed("network", "reset"), "The token endpoint was not reached 1 minute ago: the connection to it broke"),
        (
            failed("provider_down", "first_byte_timeout"),
            "The provider was in trouble 1 minute ago (first_byte_timeout)",
        ),
        (failed("provider_down", "provider_down"), "The provider was in trouble 1 minute ago"),
        (failed("provider_down"), "The provider was in trouble 1 minute ago"),
        (failed("odd_answer"), "What the provider answered 1 minute ago is no token"),
        (failed("wrong_client", "invalid_client"), "The provider does not take this client (invalid_client)"),
        (
            failed("wrong_client", "invalid_scope"),
            "The provider does not grant the scope that is asked for (invalid_scope)",
        ),
        (
            failed("clock", skew_seconds=75.0),
            "This machine's clock is 1 minute ahead of the provider's, "
            "and the provider refuses what depends on the time",
        ),
        (
            failed("clock", skew_seconds=-7200.0),
            "This machine's clock is 2 hours behind the provider's, and the provider refuses what depends on the time",
        ),
        (
            failed("clock"),
            "This machine's clock and the provider's differ, and the provider refuses what depends on the time",
        ),
        (
            exchange("in_doubt", 60, failure="provider_down"),
            "The answer to the last token request was lost, so nobody can know whether the provider gave a new token",
        ),
        (
            failed("signed_out", "invalid_grant"),
            "The provider ended the sign-in 1 minute ago: it no longer takes the refresh token",
        ),
        (
            failed("signed_out", "lost_rotation"),
            "The sign-in was lost 1 minute ago: an answer with its new refresh token never arrived",
        ),
    ],
)
def test_a_failure_is_told_with_the_time_that_is_left(last: TokenExchange, sentence: str) -> None:
    assert said(facts(connection(), token(failures=1), last)) == f"{sentence}; the token it has lasts until 12:08 UTC."
    assert said(facts(connection(), token(failures=1, expires_at=NOW - 1), last)) == f"{sentence}."


def test_a_token_that_the_api_refused_is_not_said_to_last() -> None:
    last = failed("signed_out", "invalid_grant", cause="refused")
    assert said(facts(connection(state="needs_sign_in"), token(), last)) == (
        "The provider ended the sign-in 1 minute ago: it no longer takes the refresh token."
    )


def test_a_call_without_a_token_is_told_where_no_exchange_tells() -> None:
    last = use(None, 60, state="failed", reason="token_unavailable", detail="No metadata.")
    row = connection(oauth("client_credentials"))
    assert said(facts(row, token(sealed_access_token=None, refreshed_at=None), uses=[last])) == (
        "The last call 1 minute ago got no token."
    )


def test_a_refused_assertion_is_no_ended_sign_in() -> None:
    row = connection(oauth("jwt_bearer"), state="needs_sign_in", state_reason="No.")
    assert said(facts(row, token(sealed_access_token=None), failed("signed_out", "invalid_grant"))) == (
        "The provider refused the grant 1 minute ago (invalid_grant)."
    )


def test_a_token_that_waits_for_the_database_is_told() -> None:
    assert said(facts(None, token(expires_at=NOW - 1), exchange("sent", 5), unstored=True)) == (
        "The database fails, so a token waits in memory until it can be stored."
    )


def test_a_token_that_ended_for_good_is_told() -> None:
    ended = token(expires_at=NOW - 3600, sealed_refresh_token=None)
    assert said(facts(connection(), ended, exchange())) == "The access token ended 1 hour ago and cannot be renewed."
