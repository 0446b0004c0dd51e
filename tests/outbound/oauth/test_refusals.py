"""Why there is no token: the kind of failure, who has to do something, and what of the provider's words is shown."""

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.outbound.oauth.answers import token_answer
from quart_app.outbound.oauth.refusals import LONGEST_DESCRIPTION, GrantFailed, gives_away, judged, told
from tests.outbound.oauth.keys import filled, pem


def failure_of(status: int, **options: Any) -> GrantFailed:
    given = {name: options.pop(name) for name in ("retry_after", "secrets") if name in options}
    with pytest.raises(GrantFailed) as raised:
        token_answer(status, json.dumps(options).encode(), **given)
    return raised.value


PERSON = [
    "invalid_grant", "access_denied", "bad_refresh_token", "bad_verification_code", "token_expired", "invalid_token",
    "interaction_required", "consent_required", "login_required", "token_revoked", "invalid_refresh_token",
]  # fmt: skip
CLIENT = [
    "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_request",
    "invalid_target", "incorrect_client_credentials", "redirect_uri_mismatch", "bad_client_secret",
]  # fmt: skip


@pytest.mark.parametrize("status", [200, 400, 401, 403])
@pytest.mark.parametrize(
    ("code", "failure", "state"),
    [(code, "signed_out", "needs_sign_in") for code in PERSON]
    + [(code, "wrong_client", "config_error") for code in CLIENT],
)
def test_an_error_by_its_name_says_who_has_to_do_something(status: int, code: str, failure: str, state: str) -> None:
    failed = failure_of(status, error=code, retry_after=5.0)
    assert (failed.failure, failed.state, failed.code) == (failure, state, code)
    assert code in failed.detail
    assert failed.retry_after is None


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
@pytest.mark.parametrize("code", ["invalid_grant", "invalid_client", "server_error", "", None, "odd"])
def test_a_provider_that_fails_is_not_believed_in_what_it_says_of_the_grant(status: int, code: str | None) -> None:
    failed = failure_of(status, error=code, retry_after=90.0)
    assert (failed.failure, failed.state, failed.code) == ("provider_down", None, "")
    assert (failed.retry_after, str(status) in failed.detail) == (90.0, True)


@pytest.mark.parametrize(
    ("code", "told_code"),
    [
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("slow_down", "slow_down"),
        ("server_error", ""),
        ("internal_error", ""),
    ],
)
def test_an_error_that_passes_is_one_at_any_status_and_has_a_name_only_if_nothing_was_begun(
    code: str, told_code: str
) -> None:
    failed = failure_of(400, error=code, retry_after=3.0)
    assert (failed.failure, failed.state, failed.code, failed.retry_after) == ("provider_down", None, told_code, 3.0)


ODD = [
    ("<script>", ""),
    ("", ""),
    (["invalid_grant"], ""),
    ({"code": 7}, ""),
    (7, ""),
    (True, ""),
    ("Invalid_Grant", ""),
    ("invalid_grant\n", ""),
    ("some_new_error", "some_new_error"),
    ("a_b_c_d_e_f_g", ""),
    ("a" * 65, ""),
]


@pytest.mark.parametrize(("code", "known_as"), ODD)
def test_an_error_that_nobody_knows_is_no_verdict_and_shows_no_more_than_a_name(code: Any, known_as: str) -> None:
    failed = failure_of(400, error=code)
    assert (failed.failure, failed.state, failed.code) == ("odd_answer", None, known_as)
    assert "400" in failed.detail
    assert not any(part in failed.detail for part in ("<script>", "Invalid", "_g"))


def test_a_secret_in_place_of_an_errors_name_is_not_shown() -> None:
    failed = failure_of(400, error="very_secret_words", secrets=("very_secret_words",))
    assert "very" not in failed.code + failed.detail


def test_a_known_error_is_known_also_when_a_secret_looks_like_it() -> None:
    assert failure_of(400, error="invalid_grant", secrets=("invalid_grant", "a")).failure == "signed_out"


SAID = [
    ("Token has been expired or revoked.", "Token has been expired or revoked."),
    ("AADSTS700082: expired.\r\nTrace ID: 1a2b", "AADSTS700082: expired. Trace ID: 1a2b"),
    ('say "please"', 'say "please"'),
    ("Ungültiges Token\u202e\x00\x1b[31m", "Ungültiges Token [31m"),
    ("if a < b", "if a < b"),
    ("x" * 500, "x" * (LONGEST_DESCRIPTION - 1) + "…"),
]


@pytest.mark.parametrize(("description", "shown"), SAID)
def test_the_providers_own_words_are_shown_apart_from_ours_short_and_printable(description: str, shown: str) -> None:
    failed = failure_of(400, error="invalid_grant", error_description=description, secrets=("rt-secret",))
    assert failed.said == shown
    assert failed.said.isprintable()
    assert failed.detail.endswith("sign in again.")


SECRET = "rt+1/SECRET=é".replace("é", "e") + "0123456789"
HOSTILE = [
    "<html><body>Sign in</body></html>",
    "<img src=x onerror=alert(1)>",
    "see <!-- here",
    f"Refresh token {SECRET} is spent",
    f"Refresh token {SECRET[:12]}… is spent",
    f"token=...{SECRET[-8:]}",
    f"at https://id.example.com/?t={quote(SECRET, safe='')}",
    base64.b64encode(SECRET.encode()).decode(),
    SECRET[:6] + "\r\n" + SECRET[6:],
    "".join(f"{letter}\x00" for letter in SECRET),
    "x" * 3_900 + SECRET,
    "",
    "\x00\x01\r\n",
    7,
    ["text"],
    None,
]


@pytest.mark.parametrize("description", HOSTILE, ids=range(len(HOSTILE)))
def test_words_with_mark_up_or_a_piece_of_a_secret_are_not_shown(description: Any) -> None:
    failed = failure_of(400, error="invalid_grant", error_description=description, secrets=(SECRET,))
    assert failed.said == ""
    assert failed.detail.endswith("sign in again.")


def test_words_are_not_shown_where_nobody_knows_the_secrets() -> None:
    assert failure_of(400, error="invalid_grant", error_description="Expired.").said == ""


@given(
    st.text(max_size=40),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=30),
    st.text(max_size=40),
)
def test_no_words_around_a_secret_bring_it_out(before: str, secret: str, after: str) -> None:
    said = told(before + secret + after, (secret,))
    assert secret not in said
    assert said.isprintable()


def test_a_short_secret_is_looked_for_as_a_whole() -> None:
    assert gives_away("pin 12 34", ("12 34",))
    assert not gives_away("pin 12", ("1234",))


ASSERTING = [
    {"grant": "jwt_bearer", "private_key": pem("p256")},
    {"grant": "client_credentials", "client_auth": "private_key_jwt", "private_key": pem("p256")},
]


REFRESHING = {"grant": "refresh_token", "client_auth": "private_key_jwt", "private_key": pem("p256")}
SPOILT = [
    (ASSERTING[0], "invalid_grant"),
    (ASSERTING[1], "invalid_grant"),
    (ASSERTING[1], "invalid_client"),
    (REFRESHING, "invalid_client"),
]


@pytest.mark.parametrize(("form", "code"), SPOILT, ids=range(len(SPOILT)))
@pytest.mark.parametrize(("skew", "way"), [(61.0, "61 s ahead of"), (-3600.0, "3600 s behind")])
def test_a_refused_assertion_is_the_clocks_fault_where_that_is_wrong(
    form: dict[str, str], code: str, skew: float, way: str
) -> None:
    found = judged(failure_of(400, error=code, error_description="Too late.", secrets=()), filled(**form), skew)
    assert (found.failure, found.state, found.code) == ("clock", None, code)
    assert way in found.detail
    assert found.said == "Too late."


def test_a_refused_refresh_token_or_secret_is_not_the_clocks_fault() -> None:
    refusal = failure_of(400, error="invalid_grant")
    assert judged(refusal, filled(**REFRESHING), 3600.0) is refusal
    refusal = failure_of(400, error="invalid_client")
    assert judged(refusal, filled(**ASSERTING[0], client_secret="s"), 3600.0) is refusal


@pytest.mark.parametrize("skew", [None, 0.0, 60.0, -60.0])
def test_where_nobody_can_sign_in_again_it_is_the_client_that_is_wrong(skew: float | None) -> None:
    refusal = failure_of(400, error="consent_required", error_description="Ask ada.", secrets=())
    for form, hint in (({"client_secret": "s"}, "still allowed"), (ASSERTING[0], "check key")):
        found = judged(refusal, filled(**form), skew)
        assert (found.failure, found.state, found.code) == ("wrong_client", "config_error", "consent_required")
        assert hint in found.detail
        assert found.said == "Ask ada."


@pytest.mark.parametrize("skew", [None, 0.0, 7200.0])
def test_what_the_grant_has_no_part_in_stays_as_it_is(skew: float | None) -> None:
    rotating = filled(grant="refresh_token", client_secret="s")
    for status, code in ((400, "invalid_grant"), (400, "invalid_client"), (503, "x"), (400, "odd")):
        failed = failure_of(status, error=code)
        assert judged(failed, rotating, skew) is failed
    for status, code in ((400, "invalid_scope"), (503, "x")):
        failed = failure_of(status, error=code)
        assert judged(failed, filled(**ASSERTING[0]), skew) is failed
