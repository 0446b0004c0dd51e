"""The OAuth server's state, without a server."""

import base64
from contextlib import suppress
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from quart_app.sandbox import DEMO, AuthorizationServer, Client, Rules
from quart_app.sandbox.assertions import BEARER_TYPE
from quart_app.sandbox.keys import public_key_of, unverified
from quart_app.sandbox.oauth import JWT_BEARER
from quart_app.sandbox.protocol import OAuthError

from .assertions import ISSUER, claims, signed
from .conftest import CHALLENGE, VERIFIER, Clock

REDIRECT = "https://client.example/back?x=1"
FIRST = "first-token"
PUBLIC = public_key_of(DEMO.private_key)


def make(clock: Clock, **rules: Any) -> AuthorizationServer:
    client = Client(client_id="a", client_secret="s", redirect_uris=(REDIRECT,), refresh_token=FIRST)
    short = Rules(access_seconds=5)
    other = Client(client_id="b", client_secret="t", rules=short, refresh_token="others-token")
    return AuthorizationServer([client, other], Rules(**rules), clock=clock)


@pytest.fixture
def oauth(clock: Clock) -> AuthorizationServer:
    return make(clock)


@pytest.fixture
def signing(clock: Clock) -> AuthorizationServer:
    return AuthorizationServer([Client(client_id=DEMO.client_id, public_key=PUBLIC)], Rules(), clock=clock)


def ask(server: AuthorizationServer, authorization: str | None = None, **form: str) -> dict[str, Any]:
    own = {} if authorization else {"client_id": "a", "client_secret": "s"}
    sent = list({**own, **form}.items())
    server.receive(sent, authorization)
    return server.token(sent, authorization, issuer=ISSUER)


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
    transaction = server.authorizations.begin(list({**query, **changes}.items()), "browser")
    return server.authorizations.decide(transaction, "browser", approve=True)[1]["code"]


def exchange(code: str, **changes: str) -> dict[str, str]:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
    return {**form, "code_verifier": VERIFIER, **changes}


def test_a_refresh_token_used_twice_ends_its_family_and_both_are_counted(oauth: AuthorizationServer) -> None:
    first = refresh(oauth, FIRST)
    assert refused(oauth, grant_type="refresh_token", refresh_token=FIRST) == "invalid_grant"
    assert oauth.access(first["access_token"]) is None
    stats = oauth.stats()
    assert (stats["reuse_detections"], stats["token_errors"]) == (1, {"invalid_grant": 1})
    families = {family["client_id"]: family for family in stats["families"]}
    assert (families["a"]["requests"], families["b"]["revoked"]) == ({"0": 2}, None)


def test_another_clients_refresh_token_is_refused_and_a_client_has_its_own_rules(oauth: AuthorizationServer) -> None:
    assert refused(oauth, grant_type="refresh_token", refresh_token="others-token") == "invalid_grant"
    form = {"client_id": "b", "client_secret": "t"}
    assert refresh(oauth, "others-token", **form)["expires_in"] == 5


def test_the_provider_may_end_a_family_at_any_time(oauth: AuthorizationServer) -> None:
    answer = refresh(oauth, FIRST)
    found = oauth.access(answer["access_token"])
    assert found is not None
    assert oauth.end_family(found.family.family_id)
    assert not oauth.end_family("unknown")
    assert oauth.access(answer["access_token"]) is None
    last = answer["refresh_token"]
    assert refused(oauth, grant_type="refresh_token", refresh_token=last) == "invalid_grant"
    assert oauth.stats()["families"][0]["revoked"] == "the provider ended it"


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
    assert "id_token" not in answer


def test_a_code_used_twice_revokes_what_it_gave(oauth: AuthorizationServer) -> None:
    code = code_for(oauth)
    answer = ask(oauth, **exchange(code))
    assert refused(oauth, **exchange(code)) == "invalid_grant"
    assert oauth.access(answer["access_token"]) is None


def test_the_scope_openid_gives_a_signed_id_token_with_the_nonce(oauth: AuthorizationServer, clock: Clock) -> None:
    answer = ask(oauth, **exchange(code_for(oauth, scope="openid", nonce="n")))
    [key] = oauth.signer.jwks()["keys"]
    token = jwt.decode(answer["id_token"], RSAKey.import_key(key), algorithms=["RS256"])
    expected = {"iss": ISSUER, "sub": "demo-user", "aud": "a", "iat": clock.now, "exp": clock.now + 60, "nonce": "n"}
    assert token.claims == expected


def test_claims_of_an_id_token_can_be_replaced_by_a_trick(oauth: AuthorizationServer) -> None:
    fields = exchange(code_for(oauth, scope="openid", nonce="n")) | {"client_id": "a", "client_secret": "s"}
    answer = oauth.token(list(fields.items()), None, issuer=ISSUER, claims={"nonce": "other"})
    assert unverified(answer["id_token"])["nonce"] == "other"


def test_a_client_may_ask_for_tokens_with_a_key_instead_of_a_secret(signing: AuthorizationServer, clock: Clock) -> None:
    form = {"client_assertion_type": BEARER_TYPE, "client_assertion": signed(claims(clock.now))}
    answer = signing.token(list({"grant_type": "client_credentials", **form}.items()), None, issuer=ISSUER)
    found = signing.access(answer["access_token"])
    assert found is not None
    assert found.family.client.client_id == DEMO.client_id
    for wrong, code in (
        (form, "invalid_client"),
        (form | {"client_id": "another"}, "invalid_client"),
        (form | {"client_secret": "s"}, "invalid_request"),
    ):
        with pytest.raises(OAuthError) as caught:
            signing.token(list({"grant_type": "client_credentials", **wrong}.items()), None, issuer=ISSUER)
        assert caught.value.code == code


def test_a_signed_assertion_is_a_grant_for_its_subject(signing: AuthorizationServer, clock: Clock) -> None:
    def grant(**changes: Any) -> dict[str, Any]:
        assertion = signed(claims(clock.now, sub="someone", jti=None, **changes))
        return signing.token([("grant_type", JWT_BEARER), ("assertion", assertion)], None, issuer=ISSUER)

    answers = [grant(), grant(scope="items:read")]
    assert [answer["scope"] for answer in answers] == ["items:read items:write", "items:read"]
    assert all("refresh_token" not in answer for answer in answers)
    found = signing.access(answers[1]["access_token"])
    assert found is not None
    assert (found.family.subject, found.generation) == ("someone", 2)
    for wrong in ({"iss": "nobody"}, {"aud": "https://other.example"}):
        with pytest.raises(OAuthError) as caught:
            grant(**wrong)
        assert caught.value.code == "invalid_grant"


@pytest.mark.parametrize("method", ["client_secret_basic", "private_key_jwt"])
def test_a_client_may_be_held_to_one_method(clock: Clock, method: str) -> None:
    client = Client(client_id=DEMO.client_id, client_secret="s", public_key=PUBLIC, auth_methods=(method,))
    server = AuthorizationServer([client], Rules(), clock=clock)
    grant = [("grant_type", "client_credentials")]
    by_key = [("client_assertion_type", BEARER_TYPE), ("client_assertion", signed(claims(clock.now)))]
    taken = []
    for form, authorization in ((grant, basic(DEMO.client_id, "s")), (grant + by_key, None)):
        with suppress(OAuthError):
            taken.append(server.token(form, authorization, issuer=ISSUER))
    assert (len(taken), server.token_errors) == (1, {"invalid_client": 1})


def test_a_trick_is_for_the_client_and_grant_that_a_request_claims(signing: AuthorizationServer, clock: Clock) -> None:
    assertion = signed(claims(clock.now))
    ways: list[tuple[list[tuple[str, str]], str | None]] = [
        ([("grant_type", "client_credentials"), ("client_id", DEMO.client_id)], None),
        ([("grant_type", "client_credentials")], basic(DEMO.client_id, "wrong")),
        ([("grant_type", "client_credentials"), ("client_assertion", assertion)], None),
    ]
    signing.tricks.add("status_503", client_id=DEMO.client_id, grant="client_credentials", times=None)
    assert [signing.receive(*way).name for way in ways] == ["status_503"] * 3
    other: list[tuple[list[tuple[str, str]], str | None]] = [
        ([("grant_type", "client_credentials"), ("client_id", "another")], None),
        ([("grant_type", "refresh_token"), ("client_id", DEMO.client_id)], None),
        ([("grant_type", "client_credentials")], "nonsense"),
    ]
    assert [signing.receive(*way).name for way in other] == [""] * 3
    assert signing.stats()["token_requests"]["client_credentials"] == 5


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
