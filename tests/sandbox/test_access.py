"""Who may call /v1, and what they are told when they may not."""

import pytest
from quart.testing import QuartClient

from quart_app.sandbox import API_KEY_HEADER, DEMO

from .conftest import KEY, Clock, Person, bearer


@pytest.mark.parametrize(
    ("url", "headers", "via"),
    [
        ("/v1/whoami", KEY, "header"),
        (f"/v1/whoami?api_key={DEMO.api_key}", {}, "query"),
        ("/v1/whoami", {"Cookie": f"theme=dark; api_key={DEMO.api_key}"}, "cookie"),
    ],
)
async def test_the_api_key_is_taken_from_header_query_and_cookie(
    client: QuartClient, url: str, headers: dict[str, str], via: str
) -> None:
    answer = await client.get(url, headers=headers)
    who = await answer.get_json()
    assert (who["scheme"], who["via"], who["generation"]) == ("api_key", via, None)
    assert DEMO.api_key not in await answer.get_data(as_text=True)


async def test_basic_credentials_are_taken(client: QuartClient) -> None:
    answer = await client.get("/v1/whoami", auth=(DEMO.username, DEMO.password))
    who = await answer.get_json()
    assert (who["scheme"], who["subject"]) == ("basic", DEMO.username)
    assert ["authorization", "Basic …"] in [[name.lower(), value] for name, value in who["headers"]]


async def test_a_token_is_taken_until_it_expires(person: Person, clock: Clock) -> None:
    token = (await person.token(grant_type="client_credentials"))["access_token"]
    answer = await person.client.get("/v1/whoami", headers={**bearer(token), "X-Seen": "yes"})
    who = await answer.get_json()
    assert (who["scheme"], who["subject"], who["generation"]) == ("bearer", DEMO.client_id, 1)
    assert who["scope"] == "items:read items:write"
    assert ["x-seen", "yes"] in [[name.lower(), value] for name, value in who["headers"]]
    assert token not in await answer.get_data(as_text=True)
    clock.now += 60
    refused = await person.client.get("/v1/whoami", headers=bearer(token))
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Digest x"},
        {API_KEY_HEADER: "wrong"},
        {API_KEY_HEADER: "schlüssel"},
        {"Cookie": "api_key=wrong"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/items", "/v1/echo/x", "/v1/nothing-here", "//v1/slow", "/%76%31/slow"])
async def test_without_a_good_credential_everything_below_v1_is_401(
    client: QuartClient, path: str, headers: dict[str, str]
) -> None:
    answer = await client.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("value", ["Basic", "Basic ====", "Basic eDp5", "basic eDp5"])
async def test_wrong_basic_credentials_are_asked_for_again(client: QuartClient, value: str) -> None:
    answer = await client.get("/v1/whoami", headers={"Authorization": value})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")


async def test_a_token_without_the_scope_is_403_and_told_which(person: Person) -> None:
    token = (await person.token(grant_type="client_credentials", scope="items:read"))["access_token"]
    assert (await person.client.get("/v1/items/1", headers=bearer(token))).status_code == 200
    answer = await person.client.delete("/v1/items/1", headers=bearer(token))
    assert answer.status_code == 403
    challenge = 'Bearer error="insufficient_scope", scope="items:write"'
    assert answer.headers["WWW-Authenticate"] == challenge
