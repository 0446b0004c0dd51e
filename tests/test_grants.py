"""What a change of auth leaves of a connection's tokens, and in which state a connection begins."""

from typing import Any

import pytest

from quart_app import grants
from quart_app.outbound.auth import NoAuth, OAuth2
from quart_app.services import Services

FORM: dict[str, Any] = {
    "scheme": "oauth2", "grant": "refresh_token", "token_url": "https://login.example.com/token",
    "client_id": "client", "refresh_token": "first",
}  # fmt: skip


def auth(**changes: Any) -> OAuth2:
    return OAuth2.model_validate(FORM | changes)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"scope": "items:read"}, True),
        ({"client_secret": "corrected"}, True),
        ({"client_id": "another"}, False),
        ({"token_url": "https://elsewhere.example.com/token"}, False),
        ({"token_url": "https://login.example.com/v2/token"}, True),
        ({"token_url": "https://login.example.com:8443/token"}, False),
        ({"token_url": None, "issuer": "https://login.example.com"}, True),
        ({"grant": "client_credentials"}, False),
        ({"refresh_token": "another"}, False),
    ],
)
def test_tokens_outlive_a_change_only_where_they_are_still_good_for_the_same_client_and_place(
    changes: dict[str, Any], same: bool
) -> None:
    assert grants.same_grant(auth(), auth(**changes)) is same


async def test_a_connection_that_nobody_has_signed_in_for_waits_for_that(services: Services) -> None:
    code = auth(grant="authorization_code", authorize_url="https://login.example.com/authorize", refresh_token=None)
    unsigned = grants.first_token(services, "1", code)
    assert grants.state_at_rest(code, unsigned, paused=False) == ("needs_sign_in", grants.UNSIGNED)
    assert grants.state_at_rest(code, unsigned, paused=True) == ("paused", None)
    given = auth()
    assert grants.state_at_rest(given, grants.first_token(services, "1", given), paused=False) == ("ready", None)
    assert grants.state_at_rest(NoAuth(), None, paused=False) == ("ready", None)


async def test_the_first_refresh_token_is_sealed_in_its_own_place(services: Services) -> None:
    token = grants.first_token(services, "1", auth(), generation=4)
    place = {"table": "tokens", "column": "sealed_refresh_token", "row": "1"}
    assert token.sealed_refresh_token is not None
    assert services.vault.unseal(token.sealed_refresh_token, **place) == "first"
    assert (token.generation, token.sealed_access_token) == (4, None)
