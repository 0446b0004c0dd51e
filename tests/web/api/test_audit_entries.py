"""The audit by the API: who may read it, in pages, newest first."""

from typing import Any

import pytest

from quart_app import connections
from quart_app.services import Services
from quart_app.web.shapes import AuditPage
from tests.upstream import Upstream
from tests.web.conftest import Asker, KeyMaker, problem_in

FORM = {"name": "orders", "base_url": "https://api.example.com/v1"}


async def listed(program: Asker, query: str = "") -> Any:
    answer = await program.get(f"/api/audit-entries{query}")
    assert answer.status_code == 200
    content = await answer.get_json()
    AuditPage.model_validate(content)
    return content


async def test_who_did_what_is_listed_newest_first_in_pages(program: Asker) -> None:
    await program.post("/api/connections", json=FORM)
    await program.ask("PATCH", "/api/connections/orders", json={"policy": {"attempts": 1}})
    await program.ask("DELETE", "/api/connections/orders")
    first = await listed(program, "?limit=2")
    rest = await listed(program, f"?limit=50&cursor={first['next']}")
    found = [(item["actor"], item["action"], item["detail"]) for item in [*first["items"], *rest["items"]]]
    assert found[:3] == [
        ("key:call-read-manage", "connection_deleted", ""),
        ("key:call-read-manage", "connection_changed", "policy.attempts"),
        ("key:call-read-manage", "connection_created", "https://api.example.com/v1"),
    ]
    assert rest["next"] is None


@pytest.mark.parametrize("query", ["?cursor=x", "?cursor=MDAw", "?limit=0", "?nope=1"])
async def test_a_query_that_is_none_is_refused(program: Asker, query: str) -> None:
    await problem_in(await program.get(f"/api/audit-entries{query}"), 422, "invalid_query")


async def test_only_who_manages_may_read_it(nobody: Asker, key_of: KeyMaker) -> None:
    await problem_in(await nobody.get("/api/audit-entries"), 403, "cross_origin")
    await problem_in(await (await key_of("read", "call")).get("/api/audit-entries"), 403, "insufficient_scope")


async def test_a_refused_address_is_on_the_audit_with_how_to_allow_it(
    program: Asker, running: Services, upstream: Upstream
) -> None:
    port = upstream.url.rpartition(":")[2]
    created = await program.post(
        "/api/connections",
        json=FORM | {"name": "here", "base_url": upstream.url, "policy": {"allow_private": True}},
    )
    assert created.status_code == 201
    async with running.change() as session:  # as if its policy were an older one
        row = await connections.find(session, "here")
        row.policy = row.policy | {"allow_private": False}
    for _ in range(5):
        call = await (await program.post("/api/calls", json={"connection": "here"})).get_json()
        assert call["reason"] == "egress_denied"
    assert "set allow_private on the connection" in call["detail"]
    await running.finish()
    refused = [item for item in (await listed(program))["items"] if item["action"] == "egress_refused"]
    assert [(item["subject"], f"127.0.0.1/32:{port}" in item["detail"]) for item in refused] == [("here", True)]
    assert upstream.seen == []
