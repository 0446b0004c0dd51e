"""What to do about each class of failure."""

from typing import Any, get_args

import pytest

from quart_app.doctor.advice import next_step
from quart_app.doctor.facts import Facts
from quart_app.doctor.failures import Failure, Kind, failure_of
from quart_app.errors import REASONS
from tests.doctor.rows import KEY, connection, exchange, facts, failed, oauth, token, use


def told(looked_at: Facts) -> str:
    return next_step(looked_at, failure_of(looked_at))


def test_who_is_well_has_nothing_to_do() -> None:
    assert told(facts(None, token(), exchange())) == "Nothing."
    assert told(facts(connection(KEY))) == "Nothing."


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("auth", [oauth(), oauth("refresh_token"), oauth("jwt_bearer")], ids=lambda auth: auth["grant"])
@pytest.mark.parametrize("code", [None, "anything", *sorted(REASONS)])
def test_every_class_has_advice_in_one_to_three_sentences(kind: Kind, auth: dict[str, Any], code: str | None) -> None:
    said = next_step(facts(connection(auth), token()), Failure(kind, code))
    assert said.endswith(".")
    assert 1 <= said.count(". ") + 1 <= 3
    assert len(said) < 330


def test_a_scope_that_was_not_granted_is_named() -> None:
    row = connection(oauth(scope="read write"))
    missing = "The provider did not grant all of the scope: write is missing."
    assert told(facts(row, token(scope="read"), exchange())) == missing
    assert told(facts(row, token(scope="read"), exchange(), uses=[use(403)])) == missing


@pytest.mark.parametrize("state", ["ready", "needs_sign_in"])
def test_a_browser_s_grant_is_signed_in_by_the_button(state: str) -> None:
    said = told(facts(connection(state=state), None))
    assert "Sign in with the button" in said
    assert "POST /api/connections/orders/authorizations" in said


def test_a_given_refresh_token_is_given_anew() -> None:
    row = connection(oauth("refresh_token"), state="needs_sign_in")
    assert "new refresh token" in told(facts(row, token(), failed("signed_out", "invalid_grant")))


def test_a_refused_assertion_leads_to_the_key() -> None:
    row = connection(oauth("jwt_bearer"), state="needs_sign_in")
    assert "the key and the subject" in told(facts(row, token(), failed("signed_out", "invalid_grant")))


@pytest.mark.parametrize(
    ("code", "auth", "words"),
    [
        ("invalid_client", oauth(), "the client's secret and how it is shown (now basic)"),
        ("invalid_client", oauth(client_auth="post"), "(now post)"),
        ("invalid_client", oauth(client_auth="private_key_jwt"), "the key and its id"),
        ("invalid_scope", oauth(), "Change the scope"),
        ("unauthorized_client", oauth(), "Allow the grant"),
        ("unsupported_grant_type", oauth(), "Allow the grant"),
    ],
)
def test_a_refused_client_is_told_what_to_look_at(code: str, auth: dict[str, Any], words: str) -> None:
    assert words in told(facts(connection(auth), token(failures=1), failed("wrong_client", code)))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("egress_denied", "egress_allow"),
        ("dns_failed", "resolve names"),
        ("tls_failed", "certificate"),
        ("connect_timeout", "firewall"),
        ("connect_failed", "port"),
        ("reset", "get out"),
    ],
)
def test_each_network_failure_has_its_own_advice(code: str, words: str) -> None:
    assert words in told(facts(None, token(failures=1), failed("network", code)))


@pytest.mark.parametrize("failure", ["network", "provider_down"])
def test_what_passes_is_tried_again_by_itself_but_for_a_sign_in(failure: str) -> None:
    assert told(facts(None, token(failures=1), failed(failure))).endswith("It is tried again by itself.")
    empty = token(generation=0, sealed_access_token=None, sealed_refresh_token=None, expires_at=None)
    assert told(facts(None, empty, failed(failure, cause="sign_in", generation=0))).endswith("Then sign in again.")


def test_a_wrong_clock_leads_to_ntp() -> None:
    said = told(facts(None, token(failures=1), failed("clock", skew_seconds=90.0)))
    assert "NTP" in said
    assert "chrony" in said


def test_a_lost_answer_is_explained_by_the_grace() -> None:
    said = told(facts(None, token(), exchange("in_doubt", 60, failure="network", reason="reset")))
    assert said.startswith("Nothing for now")
    assert "grace" in said


@pytest.mark.parametrize(
    ("status", "auth", "words"),
    [
        (401, KEY, "enter a new one"),
        (403, KEY, "may do what is called"),
        (401, oauth("client_credentials"), "scope, audience and resource"),
    ],
)
def test_a_refused_credential_leads_to_where_it_came_from(status: int, auth: dict[str, Any], words: str) -> None:
    assert words in told(facts(connection(auth), token(), uses=[use(status)]))
