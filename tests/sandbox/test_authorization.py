"""Authorization requests, decisions and codes, without a server."""

import pytest

from quart_app.sandbox import Client, Rules
from quart_app.sandbox.authorization import Authorizations
from quart_app.sandbox.families import Families
from quart_app.sandbox.protocol import API_SCOPE, Form, OAuthError

from .conftest import CHALLENGE, VERIFIER, Clock

REDIRECT = "https://client.example/back?x=1"
CLIENT = Client(client_id="a", client_secret="s", redirect_uris=(REDIRECT,))
EXCHANGE = {"redirect_uri": REDIRECT, "code_verifier": VERIFIER}


def make(clock: Clock, *, auto_approve: bool = False) -> Authorizations:
    return Authorizations({"a": CLIENT}, auto_approve=auto_approve, clock=clock)


@pytest.fixture
def waiting(clock: Clock) -> Authorizations:
    return make(clock)


@pytest.fixture
def families(clock: Clock) -> Families:
    return Families(Rules(), clock)


def query(**changes: str) -> Form:
    fields = {"client_id": "a", "redirect_uri": REDIRECT, "response_type": "code", "state": "7"}
    return list({**fields, "code_challenge": CHALLENGE, "code_challenge_method": "S256", **changes}.items())


def code_for(waiting: Authorizations) -> str:
    return waiting.decide(waiting.begin(query(), "mine"), "mine", approve=True)[1]["code"]


def refused(waiting: Authorizations, families: Families, client: Client = CLIENT, **fields: str) -> str:
    with pytest.raises(OAuthError) as caught:
        waiting.redeem(client, EXCHANGE | fields, families)
    return caught.value.code


def test_a_code_remembers_all_that_was_asked(waiting: Authorizations, families: Families) -> None:
    asked = [*query(scope="openid items:read", nonce="n", audience="c"), ("resource", "https://api.example")]
    decided, answer = waiting.decide(waiting.begin(asked, "mine"), "mine", approve=True)
    request = waiting.redeem(CLIENT, {**EXCHANGE, **answer}, families).request
    assert request is decided
    assert (request.scope, request.nonce, request.state) == ("openid items:read", "n", "7")
    assert request.audience == ("https://api.example", "c")


def test_a_scope_is_that_of_the_api_unless_more_is_asked(waiting: Authorizations) -> None:
    assert waiting.decide(waiting.begin(query(), "mine"), "mine", approve=True)[0].scope == API_SCOPE


@pytest.mark.parametrize("verifier", ["x" * 43, "short", VERIFIER + "é"])
def test_a_wrong_verifier_gets_nothing_and_uses_the_code_up(
    waiting: Authorizations, families: Families, verifier: str
) -> None:
    code = code_for(waiting)
    assert refused(waiting, families, code=code, code_verifier=verifier) == "invalid_grant"
    assert refused(waiting, families, code=code) == "invalid_grant"


def test_a_code_used_twice_ends_the_family_it_started(waiting: Authorizations, families: Families) -> None:
    value = code_for(waiting)
    code = waiting.redeem(CLIENT, {**EXCHANGE, "code": value}, families)
    code.family = families.start(CLIENT, "me", API_SCOPE, "authorization_code")
    assert refused(waiting, families, code=value) == "invalid_grant"
    assert code.family.revoked == "its code was used twice"


def test_a_code_of_another_client_another_redirect_or_another_minute_is_refused(
    waiting: Authorizations, families: Families, clock: Clock
) -> None:
    code = code_for(waiting)
    assert refused(waiting, families, Client(client_id="b"), code=code) == "invalid_grant"
    other = code_for(waiting)
    assert refused(waiting, families, code=other, redirect_uri=REDIRECT + "&y=2") == "invalid_grant"
    clock.now += 60
    assert refused(waiting, families, code=code) == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"scope": "items:read admin"}, "invalid_scope"),
        ({"resource": "no-uri"}, "invalid_target"),
        ({"prompt": "none"}, "consent_required"),
    ],
)
def test_a_faulty_authorization_request_goes_back_to_the_client(
    waiting: Authorizations, changes: dict[str, str], code: str
) -> None:
    with pytest.raises(OAuthError) as caught:
        waiting.begin(query(**changes), "mine")
    assert (caught.value.code, caught.value.redirect_uri, caught.value.state) == (code, REDIRECT, "7")


@pytest.mark.parametrize("changes", [{"client_id": "?"}, {"redirect_uri": "https://evil.example/"}])
def test_who_asks_without_being_known_is_sent_nowhere(waiting: Authorizations, changes: dict[str, str]) -> None:
    with pytest.raises(OAuthError) as caught:
        waiting.begin(query(**changes), "mine")
    assert caught.value.redirect_uri == ""


def test_where_nobody_is_asked_prompt_none_is_as_good_as_any(clock: Clock) -> None:
    assert make(clock, auto_approve=True).begin(query(prompt="none"), "mine")


def test_a_transaction_counts_once_and_only_in_the_browser_it_was_shown_in(
    waiting: Authorizations, clock: Clock
) -> None:
    first, second = waiting.begin(query(), "mine"), waiting.begin(query(), "mine")
    with pytest.raises(OAuthError):
        waiting.decide(first, "another", approve=True)
    assert waiting.decide(first, "mine", approve=False)[1]["error"] == "access_denied"
    with pytest.raises(OAuthError):
        waiting.decide(first, "mine", approve=True)
    clock.now += 600
    with pytest.raises(OAuthError):
        waiting.decide(second, "mine", approve=True)
