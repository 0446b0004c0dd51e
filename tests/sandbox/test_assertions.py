"""What a client signs, as a grant and to authenticate."""

from typing import Any

import pytest

from quart_app.sandbox import DEMO, Client
from quart_app.sandbox.assertions import BEARER_TYPE, Assertions
from quart_app.sandbox.keys import new_private_key, public_key_of
from quart_app.sandbox.protocol import OAuthError

from .assertions import ISSUER, claims, signed
from .conftest import Clock

CLIENT = Client(client_id=DEMO.client_id, public_key=public_key_of(DEMO.private_key))
AUDIENCES = (ISSUER, f"{ISSUER}/oauth/token")


@pytest.fixture
def assertions(clock: Clock) -> Assertions:
    return Assertions(clock)


def authenticate(assertions: Assertions, assertion: str, kind: str = BEARER_TYPE) -> None:
    fields = {"client_assertion_type": kind, "client_assertion": assertion}
    assertions.check_client(CLIENT, fields, AUDIENCES)


@pytest.mark.parametrize("aud", [*AUDIENCES, [*AUDIENCES], ["https://other.example", ISSUER]])
def test_a_client_authenticates_with_what_it_signed_for_this_server(
    assertions: Assertions, clock: Clock, aud: Any
) -> None:
    authenticate(assertions, signed(claims(clock.now, aud=aud)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"iss": "another"}, "iss"),
        ({"iss": None}, "iss"),
        ({"sub": None}, "sub"),
        ({"sub": "another"}, "sub"),
        ({"aud": None}, "aud"),
        ({"aud": "https://other.example"}, "aud"),
        ({"aud": [{}]}, "aud"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"exp": float("nan")}, "clock"),
        ({"exp": 999_000}, "clock"),
        ({"exp": 1_000_000 + 3611}, "clock"),
        ({"iat": 1_000_011}, "clock"),
        ({"nbf": 1_000_011}, "clock"),
        ({"jti": None}, "jti"),
    ],
)
def test_a_client_that_signed_something_else_is_told_what_is_wrong(
    assertions: Assertions, clock: Clock, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(OAuthError, match=said) as caught:
        authenticate(assertions, signed(claims(clock.now, **changes)))
    assert (caught.value.code, caught.value.status) == ("invalid_client", 401)


def test_a_clients_assertion_of_another_kind_or_another_key_is_refused(assertions: Assertions, clock: Clock) -> None:
    good = claims(clock.now)
    for assertion, kind in ((signed(good), "saml"), (signed(good, new_private_key()), BEARER_TYPE), ("x", BEARER_TYPE)):
        with pytest.raises(OAuthError) as caught:
            authenticate(assertions, assertion, kind)
        assert caught.value.code == "invalid_client"
    authenticate(assertions, signed(good))


def test_a_client_without_a_key_here_cannot_sign(assertions: Assertions, clock: Clock) -> None:
    with pytest.raises(OAuthError, match="no key"):
        assertions.check_grant(Client(client_id=DEMO.client_id), signed(claims(clock.now)), AUDIENCES)


def test_an_assertion_counts_once_for_as_long_as_it_is_good(assertions: Assertions, clock: Clock) -> None:
    first = signed(claims(clock.now))
    authenticate(assertions, first)
    with pytest.raises(OAuthError, match="jti"):
        authenticate(assertions, first)
    clock.now += 71
    authenticate(assertions, signed(claims(clock.now)))
    assert len(assertions.seen) == 1


def test_a_grant_is_for_any_subject_and_needs_no_jti(assertions: Assertions, clock: Clock) -> None:
    assertion = signed(claims(clock.now, sub="someone", jti=None))
    for _ in range(2):
        assert assertions.check_grant(CLIENT, assertion, AUDIENCES)["sub"] == "someone"
    with pytest.raises(OAuthError) as caught:
        assertions.check_grant(CLIENT, signed(claims(clock.now, aud="x")), AUDIENCES)
    assert caught.value.code == "invalid_grant"
