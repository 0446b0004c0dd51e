"""When a person will have to sign in again, and why."""

from typing import Any

import pytest

from quart_app.doctor.facts import Facts
from quart_app.doctor.failures import failure_of
from quart_app.doctor.sign_ins import SignInAgain, sign_in_again
from tests.doctor.rows import KEY, NOW, connection, facts, failed, oauth, token


def again(looked_at: Facts) -> SignInAgain:
    found = sign_in_again(looked_at, failure_of(looked_at))
    assert found.why.endswith(".")
    assert (found.at is not None) == (found.when == "at")
    return found


@pytest.mark.parametrize("auth", [KEY, oauth("client_credentials"), oauth("jwt_bearer")], ids=str)
def test_nobody_signs_in_where_the_connection_has_a_credential_of_its_own(auth: dict[str, Any]) -> None:
    assert again(facts(connection(auth))).when == "never"
    row = connection(auth, state="config_error", state_reason="No.")
    assert again(facts(row, None, failed("wrong_client"))).when == "never"


def test_a_connection_that_is_signed_out_needs_it_now() -> None:
    row = connection(state="needs_sign_in", state_reason="It is over.")
    assert again(facts(row, token(), failed("signed_out", "invalid_grant"))).when == "now"
    assert again(facts(connection(), token(expires_at=NOW - 1, sealed_refresh_token=None))).when == "now"
    assert again(facts(connection(), token(sealed_access_token=None, sealed_refresh_token=None))).when == "now"


def test_a_network_failure_is_no_reason_to_sign_in() -> None:
    assert again(facts(connection(), token(failures=1), failed("network", "dns_failed"))).when == "unknown"


def test_without_a_refresh_token_the_access_token_s_end_is_the_end() -> None:
    held = token(sealed_refresh_token=None)
    assert again(facts(connection(), held)) == SignInAgain("at", again(facts(connection(), held)).why, NOW + 2880)
    assert again(facts(connection(), token(sealed_refresh_token=None, expires_at=None))).when == "unknown"


def test_a_life_that_begins_anew_with_each_use_never_ends() -> None:
    auth = oauth(refresh_token_seconds=90 * 86_400)
    found = again(facts(connection(auth), token(refresh_expires_at=NOW + 90 * 86_400)))
    assert found.when == "never"
    assert "90 days unused" in found.why


def test_an_end_that_only_the_answers_tell_is_said_with_its_doubt() -> None:
    found = again(facts(connection(), token(refresh_expires_at=NOW + 600)))
    assert (found.when, found.at) == ("at", NOW + 600)
    assert "unless" in found.why
    assert again(facts(connection(), token(refresh_expires_at=None))).when == "unknown"
