"""Webhooks by the API: made, changed, tested and removed; the secret comes out once."""

from typing import Any

import pytest

from quart_app.services import Services
from tests.upstream import Upstream
from tests.web.conftest import Asker, problem_in
from tests.webhooks.receiver import answering, send_beside, tell, verified

URL = "https://hooks.example.com/services/T0/key-in-path?key=in-query"


async def made(asker: Asker, **given: Any) -> dict[str, Any]:
    answer = await asker.post("/api/webhooks", json={"url": URL} | given)
    content: dict[str, Any] = await answer.get_json()
    assert answer.status_code == 201, content
    assert answer.headers["Location"] == f"/api/webhooks/{content['id']}"
    return content


async def test_a_webhook_is_made_read_listed_changed_and_removed(program: Asker) -> None:
    created = await made(program)
    assert created["secret"].pop("value").startswith("whsec_")
    path = f"/api/webhooks/{created['id']}"
    assert (created["url"], created["allow_private"]) == ("https://hooks.example.com/services/…", False)
    assert created["events"] == ["needs_sign_in", "recovered", "refresh_failed"]
    assert await (await program.get(path)).get_json() == created
    assert await (await program.get("/api/webhooks")).get_json() == {"items": [created], "next": None}
    patched = await program.ask("PATCH", path, json={"events": ["recovered"], "url": created["url"]})
    assert await patched.get_json() == created | {"events": ["recovered"]}
    removed = await program.ask("DELETE", path)
    assert (removed.status_code, await removed.get_data()) == (204, b"")
    for method, below in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/deliveries"), ("POST", "/deliveries"),
                          ("POST", "/secrets")):  # fmt: skip
        sent: dict[str, Any] = {"json": {}} if method == "PATCH" else {}
        await problem_in(await program.ask(method, path + below, **sent), 404, "unknown_webhook")


async def test_the_secret_and_the_url_come_out_nowhere_but_the_secret_once(program: Asker) -> None:
    created = await made(program)
    path = f"/api/webhooks/{created['id']}"
    secret = created["secret"]["value"].removeprefix("whsec_")
    renewed = await program.post(f"{path}/secrets")
    assert renewed.status_code == 201
    new = await renewed.get_json()
    assert new["value"] != created["secret"]["value"]
    assert new["fingerprint"] != created["secret"]["fingerprint"]
    await program.post(f"{path}/deliveries")
    said = ""
    for place in ("/api/webhooks", path, f"{path}/deliveries", "/api/audit-entries", "/api/openapi.json"):
        said += await (await program.get(place)).get_data(as_text=True)
    bad = {"url": f"{URL}#", "events": ["x"]}
    said += await (await program.ask("PATCH", path, json=bad)).get_data(as_text=True)
    assert "unknown field" not in said
    for one in (secret, new["value"].removeprefix("whsec_"), "key-in-path", "in-query"):
        assert one not in said
    assert new["fingerprint"] in said


async def test_every_fault_is_told_with_its_pointer(program: Asker) -> None:
    given = {"url": "http://127.0.0.1/", "events": ["recovered", "nope"]}
    answer = await program.post("/api/webhooks", json=given)
    faults = {fault["pointer"] for fault in (await answer.get_json())["errors"]}
    assert (answer.status_code, faults) == (422, {"/events/1", "/allow_private"})
    created = await made(program)
    answer = await program.ask("PATCH", f"/api/webhooks/{created['id']}", json={"url": "https://10.0.0.1/"})
    problem = await problem_in(answer, 422, "egress_denied")
    assert [fault["pointer"] for fault in problem.errors] == ["/allow_private"]


async def test_one_more_than_may_be_is_refused(program: Asker) -> None:
    for _ in range(20):
        await made(program)
    answer = await program.post("/api/webhooks", json={"url": URL})
    await problem_in(answer, 409, "too_many_webhooks")
    page = await (await program.get("/api/webhooks?limit=15")).get_json()
    rest = await (await program.get(f"/api/webhooks?limit=15&cursor={page['next']}")).get_json()
    assert (len(page["items"]), len(rest["items"]), rest["next"]) == (15, 5, None)


async def test_deliveries_tell_each_try_and_go_on_page_by_page(
    program: Asker, running: Services, upstream: Upstream
) -> None:
    upstream.handler = answering(500)
    created = await made(program, url=upstream.url, allow_private=True)
    path = f"/api/webhooks/{created['id']}/deliveries"
    for _ in range(3):
        await tell(running)
    await send_beside(running, created["id"])
    page = await (await program.get(f"{path}?limit=2")).get_json()
    rest = await (await program.get(f"{path}?limit=2&cursor={page['next']}")).get_json()
    shown = [*page["items"], *rest["items"]]
    assert [item["id"] for item in shown] == sorted((item["id"] for item in shown), reverse=True)
    assert (len(shown), rest["next"]) == (3, None)
    first = shown[-1]
    assert (first["event"], first["connection"], first["state"]) == ("needs_sign_in", "orders", "pending")
    assert first["body"]["data"]["reason"] == "invalid_grant"
    assert [(one["status"], one["reason"]) for one in first["tries"]] == [(500, None)]
    assert first["next_at"] > first["tries"][0]["at"] >= first["created_at"]
    await problem_in(await program.get(f"{path}?cursor=x"), 422, "invalid_query")


async def test_a_test_is_sent_and_an_ended_delivery_is_sent_again(
    program: Asker, running: Services, upstream: Upstream
) -> None:
    upstream.handler = answering(500, 200)
    created = await made(program, url=upstream.url, allow_private=True)
    path = f"/api/webhooks/{created['id']}/deliveries"
    asked = await program.post(path)
    assert asked.status_code == 201
    tested = await asked.get_json()
    assert (tested["event"], tested["connection"]) == ("test", None)
    await send_beside(running, created["id"])
    again = await program.post(path, json={"of": tested["id"]})
    assert again.status_code == 201
    await send_beside(running, created["id"])
    shown = (await (await program.get(path)).get_json())["items"]
    assert [item["state"] for item in shown] == ["delivered", "failed"]
    assert {verified(seen, created["secret"]["value"])["type"] for seen in upstream.seen} == {"webhook.test"}
    await problem_in(await program.post(path, json={"of": "x"}), 404, "unknown_delivery")
    await problem_in(await program.post(path, json={"of": 1}), 422, "invalid_input")
    await problem_in(await program.post(path, json={"fo": "x"}), 422, "unknown_field")


@pytest.mark.parametrize("body", ["[]", "0", "false", '""'])
async def test_a_body_that_is_no_object_sends_nothing(program: Asker, body: str) -> None:
    path = f"/api/webhooks/{(await made(program))['id']}/deliveries"
    asked = await program.ask("POST", path, data=body, headers={"Content-Type": "application/json"})
    await problem_in(asked, 422, "invalid_input")
    assert (await (await program.get(path)).get_json())["items"] == []


async def test_who_did_it_is_on_the_audit(program: Asker, person: Asker) -> None:
    created = await made(program)
    await person.ask("DELETE", f"/api/webhooks/{created['id']}")
    shown = (await (await program.get("/api/audit-entries?limit=2")).get_json())["items"]
    assert [(item["action"], item["actor"]) for item in shown] == [
        ("webhook_deleted", "account:admin"),
        ("webhook_created", "key:call-read-manage"),
    ]
