"""The OAuth server's URLs."""

import asyncio
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from quart import Quart
from quart.testing import QuartClient

from quart_app.sandbox import DEMO, AuthorizationServer, Client, create_sandbox

from .conftest import CALLBACK, VERIFIER, Clock, Person, bearer


async def test_a_person_who_allows_it_gives_the_client_a_code_state_and_issuer(person: Person) -> None:
    back = await person.decide(await person.ask())
    assert (back["state"], back["iss"]) == ("s&=ü", "http://localhost")
    answer = await person.token(
        grant_type="authorization_code", code=back["code"], redirect_uri=CALLBACK, code_verifier=VERIFIER
    )
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("Bearer", 60, "items:read")
    who = await (await person.client.get("/v1/whoami", headers=bearer(answer["access_token"]))).get_json()
    assert (who["subject"], who["client_id"], who["generation"]) == ("demo-user", DEMO.client_id, 1)


async def test_a_person_who_says_no_sends_the_client_an_error(person: Person) -> None:
    back = await person.decide(await person.ask(), "deny")
    assert (back["error"], back["state"], back["iss"]) == ("access_denied", "s&=ü", "http://localhost")


async def test_the_consent_page_escapes_has_no_script_and_is_not_framed(app: Quart, person: Person) -> None:
    odd = Client(client_id="odd", client_secret="x", name="<b>Odd</b>", loopback_redirects=True)
    app.extensions["oauth"].clients["odd"] = odd
    query = urlencode({**person.request, "client_id": "odd"})
    page = await person.client.get(f"/oauth/authorize?{query}")
    text = await page.get_data(as_text=True)
    assert "&lt;b&gt;Odd" in text
    assert "<b>" not in text
    assert "<script" not in text
    assert "style=" not in text
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    cookie = page.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


async def test_a_decision_from_another_browser_is_refused_and_leaves_the_page_good(app: Quart, person: Person) -> None:
    transaction = await person.ask()
    stranger = app.test_client()
    form = {"transaction": transaction, "decision": "approve"}
    assert (await stranger.post("/oauth/authorize", form=form)).status_code == 400
    assert "code" in await person.decide(transaction)


async def test_a_decision_counts_once(person: Person) -> None:
    transaction = await person.ask()
    await person.decide(transaction)
    form = {"transaction": transaction, "decision": "approve"}
    assert (await person.client.post("/oauth/authorize", form=form)).status_code == 400


async def test_an_unknown_client_or_redirect_is_told_to_the_person_and_not_redirected(person: Person) -> None:
    for changes in ({"client_id": "?"}, {"redirect_uri": "https://evil.example/"}):
        query = urlencode({**person.request, **changes})
        answer = await person.client.get(f"/oauth/authorize?{query}")
        assert answer.status_code == 400
        assert "Location" not in answer.headers


async def test_a_request_without_pkce_is_sent_back_with_an_error(person: Person) -> None:
    query = urlencode({**person.request, "code_challenge_method": "plain"})
    answer = await person.client.get(f"/oauth/authorize?{query}")
    assert answer.status_code == 303
    back = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert (back["error"], back["state"], back["iss"]) == (
        ["invalid_request"],
        ["s&=ü"],
        ["http://localhost"],
    )


async def test_a_wrong_verifier_is_an_invalid_grant(person: Person) -> None:
    code = (await person.decide(await person.ask()))["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    assert (await person.token(400, **form, code_verifier="x" * 43))["error"] == "invalid_grant"


async def test_refresh_tokens_rotate_and_reuse_ends_the_family(person: Person) -> None:
    first = await person.token(grant_type="refresh_token", refresh_token=DEMO.refresh_token)
    refused = await person.token(400, grant_type="refresh_token", refresh_token=DEMO.refresh_token)
    assert refused["error"] == "invalid_grant"
    answer = await person.client.get("/v1/whoami", headers=bearer(first["access_token"]))
    assert answer.status_code == 401
    stats = await (await person.client.get("/oauth/stats")).get_json()
    assert (stats["token_requests"]["refresh_token"], stats["reuse_detections"]) == (2, 1)
    assert stats["families"][0]["generation"] == 1


async def test_two_refreshes_at_once_with_one_token_rotate_once(person: Person) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": DEMO.refresh_token}
    auth = (DEMO.client_id, DEMO.client_secret)
    answers = await asyncio.gather(*(person.client.post("/oauth/token", form=form, auth=auth) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 400]


async def test_a_caller_who_hangs_up_during_the_delay_has_spent_the_token(clock: Clock) -> None:
    app = create_sandbox(clock=clock, token_delay_seconds=60)
    form = urlencode({"grant_type": "refresh_token", "refresh_token": DEMO.refresh_token})
    form += "&" + urlencode({"client_id": DEMO.client_id, "client_secret": DEMO.client_secret})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    server: AuthorizationServer = app.extensions["oauth"]
    async with app.test_client().request("/oauth/token", method="POST", headers=headers) as connection:
        await connection.send(form.encode())
        await connection.send_complete()
        await asyncio.sleep(0.2)
        await connection.disconnect()
    assert server.families[0].generation == 1
    assert server.refresh_tokens[DEMO.refresh_token].spent_at == clock.now


async def test_a_wrong_client_secret_is_401_with_the_scheme_to_use(client: QuartClient) -> None:
    form = {"grant_type": "client_credentials"}
    answer = await client.post("/oauth/token", form=form, auth=(DEMO.client_id, "no"))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="sandbox"'
    assert (await answer.get_json())["error"] == "invalid_client"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"grant_type": "client_credentials"}'),
        ("application/x-www-form-urlencoded", b"grant_type=%ff"),
        ("application/x-www-form-urlencoded", b"\xff"),
        ("application/x-www-form-urlencoded", b"a=1&" * 60),
    ],
)
async def test_a_token_request_that_is_no_form_is_an_invalid_request(
    client: QuartClient, content_type: str, body: bytes
) -> None:
    answer = await client.post("/oauth/token", data=body, headers={"Content-Type": content_type})
    assert answer.status_code == 400
    assert (await answer.get_json())["error"] == "invalid_request"


async def test_a_revoked_token_is_refused_from_then_on(person: Person) -> None:
    tokens = await person.token(grant_type="refresh_token", refresh_token=DEMO.refresh_token)
    form = {"token": tokens["refresh_token"], "client_id": DEMO.client_id}
    refused = await person.client.post("/oauth/revoke", form=form)
    assert refused.status_code == 401
    form["client_secret"] = DEMO.client_secret
    assert (await person.client.post("/oauth/revoke", form=form)).status_code == 200
    answer = await person.client.get("/v1/whoami", headers=bearer(tokens["access_token"]))
    assert answer.status_code == 401


async def test_the_metadata_names_urls_that_answer(client: QuartClient) -> None:
    found = await (await client.get("/.well-known/oauth-authorization-server")).get_json()
    assert found["issuer"] == "http://localhost"
    for name in ("authorization_endpoint", "token_endpoint", "revocation_endpoint"):
        assert found[name].startswith(found["issuer"])
        answer = await client.post(found[name].removeprefix(found["issuer"]))
        assert answer.status_code not in (404, 405, 500)


async def test_the_issuer_is_the_public_url_when_there_is_one() -> None:
    client = create_sandbox(public_url="https://sandbox.example/").test_client()
    found = await (await client.get("/.well-known/oauth-authorization-server")).get_json()
    assert found["issuer"] == "https://sandbox.example"
    assert found["token_endpoint"] == "https://sandbox.example/oauth/token"
