"""The audit: an entry with every change that matters, a chain that shows what was changed later."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from quart_app import accounts, audit, connections
from quart_app.errors import NotFound
from quart_app.forms.connections import ConnectionForm
from quart_app.models import AuditEntry
from quart_app.outbound.egress import EgressDenied
from quart_app.services import Services, open_services

SECRET = "planted-secret"


def form(**more: Any) -> ConnectionForm:
    return ConnectionForm.model_validate({"name": "orders", "base_url": "https://api.example.com"} | more)


async def entries(services: Services) -> list[tuple[str, str, str, str]]:
    """Actor, action, subject and detail, oldest first."""
    async with services.db.session() as session:
        rows = await session.scalars(select(AuditEntry).order_by(AuditEntry.number))
        return [(row.actor, row.action, row.subject, row.detail) for row in rows]


async def broken(services: Services) -> int | None:
    async with services.db.session() as session:
        found, _ = await audit.verify(session)
    return found.number if found else None


async def test_changes_of_a_connection_are_noted_with_their_fields_and_without_values(services: Services) -> None:
    await connections.create(services, form(auth={"scheme": "bearer", "token": SECRET}), actor="account:ann")
    await connections.update(services, "orders", {"auth": {"token": f"{SECRET}-2"}, "title": "X"}, actor="key:ci")
    await connections.update(services, "orders", {"title": "X"}, actor="key:ci")
    await connections.update(services, "orders", {"state": "paused"})
    await connections.delete(services, "orders", actor="account:ann")
    assert await entries(services) == [
        ("account:ann", "connection_created", "orders", "https://api.example.com"),
        ("key:ci", "connection_changed", "orders", "title, auth.token"),
        ("cli", "connection_changed", "orders", "state (paused)"),
        ("account:ann", "connection_deleted", "orders", ""),
    ]
    assert await broken(services) is None


async def test_what_makes_calls_less_safe_is_noted_by_its_own_name(services: Services) -> None:
    await connections.create(services, form(tls={"verify": False}, policy={"allow_private": True}))
    await connections.update(services, "orders", {"tls": {"verify": True}, "policy": {"allow_private": False}})
    await connections.update(services, "orders", {"tls": {"verify": False}})
    assert [action for _, action, _, _ in await entries(services)] == [
        "connection_created", "verification_turned_off", "allow_private_turned_on",
        "connection_changed", "verification_turned_on", "allow_private_turned_off",
        "connection_changed", "verification_turned_off",
    ]  # fmt: skip


async def test_keys_links_accounts_and_sign_ins_are_noted_without_their_secrets(services: Services) -> None:
    await accounts.create_account(services, "ann", actor="cli:root")
    link = await accounts.create_link(services, "ann", actor="cli:root")
    await accounts.sign_in(services, link, "a browser")
    key = await accounts.create_key(services, "ci", ["read", "call"], actor="account:ann")
    key_id = key.split("_")[1]
    await accounts.revoke_key(services, key_id, actor="account:ann")
    await accounts.revoke_key(services, key_id, actor="account:ann")
    found = await entries(services)
    assert found == [
        ("cli:root", "account_created", "ann", ""),
        ("cli:root", "link_created", "ann", ""),
        ("account:ann", "signed_in", "ann", ""),
        ("account:ann", "key_created", f"ci ({key_id})", "call read"),
        ("account:ann", "key_revoked", f"ci ({key_id})", ""),
    ]
    assert link not in str(found)
    assert key.split("_")[2] not in str(found)


async def test_a_change_that_fails_leaves_no_entry(services: Services) -> None:
    with pytest.raises(NotFound):
        await connections.delete(services, "orders")
    with pytest.raises(NotFound):
        await accounts.create_link(services, "nobody")
    assert await entries(services) == []


async def test_entries_of_many_at_once_and_of_several_processes_make_one_chain(services: Services) -> None:
    async with open_services(services.settings) as other:
        await asyncio.gather(
            *(
                accounts.create_account(one, f"{one is other}-{number}")
                for one in (services, other)
                for number in range(10)
            )
        )
    assert len(await entries(services)) == 20
    assert await broken(services) is None


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (update(AuditEntry).where(AuditEntry.number == 3).values(actor="nobody"), 3),
        (update(AuditEntry).where(AuditEntry.number == 3).values(at=0.0), 3),
        (update(AuditEntry).where(AuditEntry.number == 3).values(hash="0" * 64), 3),
        (delete(AuditEntry).where(AuditEntry.number == 3), 4),
        (delete(AuditEntry).where(AuditEntry.number == 1), 2),
    ],
    ids=["actor", "time", "hash", "taken out", "the first taken out"],
)
async def test_what_was_changed_later_shows(services: Services, change: Any, first: int) -> None:
    for number in range(5):
        await accounts.create_account(services, f"a{number}")
    assert await broken(services) is None
    async with services.db.begin() as session:
        await session.execute(change)
    assert await broken(services) == first


async def test_a_refusal_is_noted_once_a_minute_for_each_connection_and_address(services: Services) -> None:
    now = 1_000_000.0
    services.clock = lambda: now
    await connections.create(services, form())
    target = await connections.load(services, "orders")
    for _ in range(50):
        services.client.on_denied(target, EgressDenied("private", "10.0.0.1", 443))
        services.client.on_denied(target, EgressDenied("link_local", "169.254.169.254", 80))
    now += 61
    services.client.on_denied(target, EgressDenied("private", "10.0.0.1", 443))
    await services.finish()
    refused = [
        (actor, subject, detail) for actor, action, subject, detail in await entries(services) if "ref" in action
    ]
    assert len(refused) == 3
    assert all((actor, subject) == ("switchboard", "orders") for actor, subject, _ in refused)
    assert any("10.0.0.1 port 443" in detail for _, _, detail in refused)


async def test_pages_go_from_the_newest_to_the_oldest(services: Services) -> None:
    for number in range(5):
        await accounts.create_account(services, f"a{number}")
    found: list[AuditEntry] = []
    async with services.db.session() as session:
        while page := await audit.page(session, limit=2, before=found[-1].number if found else None):
            found += page
    assert [row.subject for row in found] == ["a4", "a3", "a2", "a1", "a0"]
    assert audit.view(found[-1])["number"] == 1
