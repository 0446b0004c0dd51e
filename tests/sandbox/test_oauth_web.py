"""The OAuth server's URLs."""

import asyncio
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from quart import Quart
from quart.testing import QuartClient

from quart_app.sandbox import DEMO, AuthorizationServer, Client, create_sandbox
from quart_app.sandbox.assertions import BEARER_TYPE
from quart_app.sandbox.catalogue import CATALOGUE
from quart_app.sandbox.keys import unverified
from quart_app.sandbox.oauth import JWT_BEARER

from .assertions import claims, signed
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
    assert server.store.refresh_tokens[DEMO.refresh_token].spent_at == clock.now


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
    keys = await (await client.get(found["jwks_uri"].removeprefix(found["issuer"]))).get_json()
    assert [key["alg"] for key in keys["keys"]] == found["id_token_signing_alg_values_supported"]
    assert await (await client.get("/.well-known/openid-configuration")).get_json() == found


async def test_the_issuer_is_the_public_url_when_there_is_one() -> None:
    client = create_sandbox(public_url="https://sandbox.example/").test_client()
    found = await (await client.get("/.well-known/oauth-authorization-server")).get_json()
    assert found["issuer"] == "https://sandbox.example"
    assert found["token_endpoint"] == "https://sandbox.example/oauth/token"


async def test_where_nobody_is_asked_a_program_follows_one_redirect_to_its_code(clock: Clock) -> None:
    client = create_sandbox(clock=clock, auto_approve=True).test_client()
    assert isinstance(client, QuartClient)
    person = Person(client)
    answer = await person.client.get(f"/oauth/authorize?{urlencode(person.request)}")
    assert answer.status_code == 303
    back = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}
    assert (back["state"], back["iss"]) == ("s&=ü", "http://localhost")
    form = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    assert "refresh_token" in await person.token(code=back["code"], **form)


async def test_the_scope_openid_is_on_the_consent_page_and_gives_an_id_token(person: Person) -> None:
    query = urlencode({**person.request, "scope": "openid items:read", "nonce": "n"})
    assert "Know who you are" in await (await person.client.get(f"/oauth/authorize?{query}")).get_data(as_text=True)
    code = (await person.decide(await person.ask(scope="openid", nonce="n")))["code"]
    form = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    claims = unverified((await person.token(code=code, **form))["id_token"])
    assert (claims["iss"], claims["nonce"], claims["aud"]) == ("http://localhost", "n", DEMO.client_id)


async def test_a_trick_replaces_claims_of_an_id_token(person: Person, server: AuthorizationServer) -> None:
    server.tricks.add("wrong_nonce")
    code = (await person.decide(await person.ask(scope="openid", nonce="n")))["code"]
    form = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    assert unverified((await person.token(code=code, **form))["id_token"])["nonce"] == "another"


async def test_the_demo_key_signs_in_the_demo_client_and_grants_by_assertion(client: QuartClient, clock: Clock) -> None:
    served = await client.get("/oauth/demo-key")
    key = await served.get_data(as_text=True)
    assert (key, served.headers["Cache-Control"]) == (DEMO.private_key, "no-store")
    here = "http://localhost/oauth/token"
    by_key = {
        "grant_type": "client_credentials",
        "client_assertion_type": BEARER_TYPE,
        "client_assertion": signed(claims(clock.now, aud=here), key),
    }
    granted = {"grant_type": JWT_BEARER, "assertion": signed(claims(clock.now, aud=here, jti="2"), key)}
    for form in (by_key, granted):
        answer = await client.post("/oauth/token", form=form)
        token = (await answer.get_json())["access_token"]
        who = await (await client.get("/v1/whoami", headers=bearer(token))).get_json()
        assert (who["client_id"], who["scope"]) == (DEMO.client_id, "items:read items:write")
    assert (await client.post("/oauth/token", form=by_key)).status_code == 401


async def test_who_a_token_is_for_is_shown(person: Person) -> None:
    form = {"resource": "https://api.example", "audience": "orders"}
    token = (await person.token(grant_type="client_credentials", **form))["access_token"]
    who = await (await person.client.get("/v1/whoami", headers=bearer(token))).get_json()
    assert who["aud"] == ["https://api.example", "orders"]


async def test_a_family_is_ended_from_outside(person: Person) -> None:
    answer = await person.token(grant_type="refresh_token", refresh_token=DEMO.refresh_token)
    families = (await (await person.client.get("/oauth/stats")).get_json())["families"]
    assert (await person.client.delete(f"/oauth/families/{families[0]['family_id']}")).status_code == 204
    assert (await person.client.get("/v1/whoami", headers=bearer(answer["access_token"]))).status_code == 401
    await person.token(400, grant_type="refresh_token", refresh_token=answer["refresh_token"])
    assert (await person.client.delete("/oauth/families/unknown")).status_code == 404
    stats = await (await person.client.get("/oauth/stats")).get_json()
    assert (stats["families"][0]["revoked"], stats["refused_access_tokens"]) == ("the provider ended it", 1)
    assert stats["families"][0]["requests"] == {"0": 1, "1": 1}


async def test_tricks_are_set_seen_played_and_cleared_from_outside(person: Person) -> None:
    put = await person.client.put("/oauth/tricks", json={"tricks": ["expires_in_string", {"error": "slow_down"}]})
    assert [trick["played"] for trick in (await put.get_json())["tricks"]] == [0, 0]
    form = {"grant_type": "client_credentials"}
    assert (await person.token(**form))["expires_in"] == "3600"
    seen = await (await person.client.get("/oauth/tricks")).get_json()
    assert [trick["played"] for trick in seen["tricks"]] == [1, 0]
    assert seen["catalogue"]["lost_answer"] == CATALOGUE["lost_answer"].says
    assert (await person.client.delete("/oauth/tricks")).status_code == 204
    assert (await person.token(**form))["expires_in"] == 60


async def test_tricks_that_are_not_right_are_refused_and_leave_those_before(person: Person) -> None:
    await person.client.put("/oauth/tricks", json={"tricks": ["slow_down"]})
    answer = await person.client.put("/oauth/tricks", json={"tricks": ["empty", {"name": "empty", "times": 0}]})
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert [fault["pointer"] for fault in (await answer.get_json())["errors"]] == ["/tricks/1/times"]
    assert (await person.client.put("/oauth/tricks", data=b"[]")).status_code == 415
    assert (await person.client.put("/oauth/tricks", json=[])).status_code == 400
    assert (await person.token(400, grant_type="client_credentials"))["error"] == "slow_down"
