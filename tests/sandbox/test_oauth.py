"""The OAuth server's state, without a server."""

import base64
from typing import Any

import pytest

from quart_app.sandbox import AuthorizationServer, Client
from quart_app.sandbox.protocol import OAuthError

from .conftest import CHALLENGE, VERIFIER, Clock

ISSUER = "http://127.0.0.1:8099"
REDIRECT = "https://client.example/back?x=1"
FIRST = "first-token"


def make(clock: Clock, *, grace_seconds: float = 0) -> AuthorizationServer:
    client = Client(client_id="a", client_secret="s", redirect_uris=(REDIRECT,), refresh_token=FIRST)
    other = Client(client_id="b", client_secret="t", access_seconds=5, refresh_token="others-token")
    return AuthorizationServer([client, other], access_seconds=60, grace_seconds=grace_seconds, clock=clock)


@pytest.fixture
def oauth(clock: Clock) -> AuthorizationServer:
    return make(clock)


def ask(server: AuthorizationServer, authorization: str | None = None, **form: str) -> dict[str, Any]:
    own = {} if authorization else {"client_id": "a", "client_secret": "s"}
    return server.token(list({**own, **form}.items()), authorization)


def refresh(server: AuthorizationServer, token: str, **form: str) -> dict[str, Any]:
    return ask(server, grant_type="refresh_token", refresh_token=token, **form)


def refused(server: AuthorizationServer, authorization: str | None = None, **form: str) -> str:
    with pytest.raises(OAuthError) as caught:
        ask(server, authorization, **form)
    return caught.value.code


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def code_for(server: AuthorizationServer, **changes: str) -> str:
    query = {
        "response_type": "code",
        "client_id": "a",
        "redirect_uri": REDIRECT,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    transaction = server.begin(list({**query, **changes}.items()), "browser")
    target = server.decide(transaction, "browser", approve=True, issuer=ISSUER)
    return target.split("code=")[1].split("&")[0]


def exchange(code: str, **changes: str) -> dict[str, str]:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
    return {**form, "code_verifier": VERIFIER, **changes}


def test_each_refresh_gives_a_new_refresh_token_and_the_next_generation(oauth: AuthorizationServer) -> None:
    first = refresh(oauth, FIRST)
    second = refresh(oauth, first["refresh_token"])
    assert len({FIRST, first["refresh_token"], second["refresh_token"]}) == 3
    found = oauth.access(second["access_token"])
    assert found is not None
    assert (found.generation, found.family.generation) == (2, 2)
    assert oauth.access(first["access_token"]) is not None


def test_a_refresh_token_used_twice_ends_its_whole_family_and_no_other(oauth: AuthorizationServer) -> None:
    first = refresh(oauth, FIRST)
    assert refused(oauth, grant_type="refresh_token", refresh_token=FIRST) == "invalid_grant"
    assert oauth.access(first["access_token"]) is None
    last = first["refresh_token"]
    assert refused(oauth, grant_type="refresh_token", refresh_token=last) == "invalid_grant"
    families = {family["client_id"]: family["revoked"] for family in oauth.stats()["families"]}
    assert families == {"a": "a refresh token was used twice", "b": None}
    assert oauth.stats()["reuse_detections"] == 1
    assert oauth.stats()["token_errors"] == {"invalid_grant": 2}


def test_within_the_grace_the_token_spent_last_gets_the_same_successor(clock: Clock) -> None:
    oauth = make(clock, grace_seconds=5)
    first = refresh(oauth, FIRST)
    clock.now += 4.9
    again = refresh(oauth, FIRST)
    assert again["refresh_token"] == first["refresh_token"]
    assert again["access_token"] != first["access_token"]
    assert oauth.stats()["grace_reuses"] == 1
    assert oauth.stats()["families"][0]["generation"] == 1


def test_after_the_grace_or_two_generations_back_a_spent_token_ends_the_family(clock: Clock) -> None:
    late, older = make(clock, grace_seconds=5), make(clock, grace_seconds=5)
    refresh(late, FIRST)
    refresh(older, refresh(older, FIRST)["refresh_token"])
    assert refused(older, grant_type="refresh_token", refresh_token=FIRST) == "invalid_grant"
    clock.now += 5
    assert refused(late, grant_type="refresh_token", refresh_token=FIRST) == "invalid_grant"
    assert (late.reuse_detections, older.reuse_detections) == (1, 1)


def test_another_clients_refresh_token_is_refused_and_left_alone(oauth: AuthorizationServer) -> None:
    assert refused(oauth, grant_type="refresh_token", refresh_token="others-token") == "invalid_grant"
    form = {"client_id": "b", "client_secret": "t"}
    assert refresh(oauth, "others-token", **form)["expires_in"] == 5


def test_a_refresh_may_narrow_the_scope_and_never_widen_it(clock: Clock) -> None:
    oauth = make(clock)
    narrow = refresh(oauth, FIRST, scope="items:read")
    assert narrow["scope"] == "items:read"
    last = narrow["refresh_token"]
    assert refused(oauth, grant_type="refresh_token", refresh_token=last, scope="admin") == "invalid_scope"
    assert refresh(oauth, last)["scope"] == "items:read items:write"


def test_an_access_token_lives_as_long_as_said_and_no_longer(oauth: AuthorizationServer, clock: Clock) -> None:
    answer = ask(oauth, grant_type="client_credentials")
    assert answer["expires_in"] == 60
    clock.now += 59.9
    assert oauth.access(answer["access_token"]) is not None
    clock.now += 0.1
    assert oauth.access(answer["access_token"]) is None


def test_client_credentials_give_no_refresh_token_and_count_generations(oauth: AuthorizationServer) -> None:
    answers = [ask(oauth, grant_type="client_credentials") for _ in range(3)]
    assert all("refresh_token" not in answer for answer in answers)
    found = oauth.access(answers[-1]["access_token"])
    assert found is not None
    assert (found.generation, found.family.subject) == (3, "a")
    assert oauth.stats()["token_requests"]["client_credentials"] == 3


def test_a_code_with_its_verifier_becomes_tokens(oauth: AuthorizationServer) -> None:
    answer = ask(oauth, **exchange(code_for(oauth, scope="items:read")))
    assert answer["scope"] == "items:read"
    assert refresh(oauth, answer["refresh_token"])["scope"] == "items:read"


@pytest.mark.parametrize("verifier", ["x" * 43, "short", VERIFIER + "é"])
def test_a_wrong_verifier_gets_nothing_and_uses_the_code_up(oauth: AuthorizationServer, verifier: str) -> None:
    code = code_for(oauth)
    assert refused(oauth, **exchange(code, code_verifier=verifier)) == "invalid_grant"
    assert refused(oauth, **exchange(code)) == "invalid_grant"


def test_a_code_used_twice_revokes_what_it_gave(oauth: AuthorizationServer) -> None:
    code = code_for(oauth)
    answer = ask(oauth, **exchange(code))
    assert refused(oauth, **exchange(code)) == "invalid_grant"
    assert oauth.access(answer["access_token"]) is None


def test_a_code_of_another_client_another_redirect_or_another_minute_is_refused(
    oauth: AuthorizationServer, clock: Clock
) -> None:
    code = code_for(oauth)
    other = {"client_id": "b", "client_secret": "t"}
    assert refused(oauth, **exchange(code), **other) == "invalid_grant"
    assert refused(oauth, **exchange(code_for(oauth), redirect_uri=REDIRECT + "&y=2")) == "invalid_grant"
    clock.now += 60
    assert refused(oauth, **exchange(code)) == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"scope": "items:read admin"}, "invalid_scope"),
    ],
)
def test_a_faulty_authorization_request_goes_back_to_the_client(
    oauth: AuthorizationServer, changes: dict[str, str], code: str
) -> None:
    with pytest.raises(OAuthError) as caught:
        code_for(oauth, state="7", **changes)
    assert (caught.value.code, caught.value.redirect_uri, caught.value.state) == (code, REDIRECT, "7")


def test_a_transaction_counts_once_and_only_in_the_browser_it_was_shown_in(
    oauth: AuthorizationServer, clock: Clock
) -> None:
    query = [("client_id", "a"), ("redirect_uri", REDIRECT), ("response_type", "code")]
    query += [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")]
    first, second = oauth.begin(query, "mine"), oauth.begin(query, "mine")
    with pytest.raises(OAuthError):
        oauth.decide(first, "another", approve=True, issuer=ISSUER)
    oauth.decide(first, "mine", approve=False, issuer=ISSUER)
    with pytest.raises(OAuthError):
        oauth.decide(first, "mine", approve=True, issuer=ISSUER)
    clock.now += 600
    with pytest.raises(OAuthError):
        oauth.decide(second, "mine", approve=True, issuer=ISSUER)


@pytest.mark.parametrize(
    ("authorization", "form", "code"),
    [
        (None, {"grant_type": "client_credentials", "client_secret": "no"}, "invalid_client"),
        (None, {"grant_type": "client_credentials", "client_id": "nobody"}, "invalid_client"),
        ("Bearer x", {"grant_type": "client_credentials"}, "invalid_client"),
        ("Basic ====", {"grant_type": "client_credentials"}, "invalid_client"),
        (basic("a", "no"), {"grant_type": "client_credentials"}, "invalid_client"),
        (basic("a", "s"), {"grant_type": "client_credentials", "client_secret": "s"}, "invalid_request"),
        (basic("a", "s"), {"grant_type": "client_credentials", "client_id": "b"}, "invalid_request"),
        (None, {"grant_type": "password"}, "unsupported_grant_type"),
        (None, {}, "invalid_request"),
        (None, {"grant_type": "refresh_token"}, "invalid_request"),
        (None, {"grant_type": "refresh_token", "refresh_token": "?"}, "invalid_grant"),
        (None, {"grant_type": "authorization_code", "code": "?"}, "invalid_grant"),
        (None, {"grant_type": "client_credentials", "scope": "admin"}, "invalid_scope"),
    ],
)
def test_token_errors_are_those_of_the_standard(
    oauth: AuthorizationServer, authorization: str | None, form: dict[str, str], code: str
) -> None:
    assert refused(oauth, authorization, **form) == code
    assert oauth.stats()["token_errors"] == {code: 1}


def test_a_repeated_parameter_is_refused_before_anything_is_spent(oauth: AuthorizationServer) -> None:
    form = [("client_id", "a"), ("client_secret", "s"), ("grant_type", "refresh_token")]
    with pytest.raises(OAuthError) as caught:
        oauth.token([*form, ("refresh_token", FIRST), ("refresh_token", FIRST)], None)
    assert caught.value.code == "invalid_request"
    assert refresh(oauth, FIRST)["expires_in"] == 60


def test_revoking_a_refresh_token_ends_the_family_and_an_access_token_only_itself(
    oauth: AuthorizationServer,
) -> None:
    own = [("client_id", "a"), ("client_secret", "s")]
    first = refresh(oauth, FIRST)
    oauth.revoke([*own, ("token", first["access_token"])], None)
    assert oauth.access(first["access_token"]) is None
    second = refresh(oauth, first["refresh_token"])
    oauth.revoke([*own, ("token", second["refresh_token"]), ("token_type_hint", "access_token")], None)
    assert oauth.access(second["access_token"]) is None
    last = second["refresh_token"]
    assert refused(oauth, grant_type="refresh_token", refresh_token=last) == "invalid_grant"
    oauth.revoke([*own, ("token", "never heard of")], None)
    with pytest.raises(OAuthError, match="another client"):
        oauth.revoke([*own, ("token", "others-token")], None)


def test_no_secret_is_in_the_stats_or_in_a_repr(oauth: AuthorizationServer) -> None:
    answer = refresh(oauth, FIRST)
    for token in (FIRST, answer["refresh_token"], answer["access_token"]):
        assert token not in str(oauth.stats())
        assert token not in repr(oauth.families)
