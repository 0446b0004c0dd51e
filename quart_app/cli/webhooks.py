"""`switchboard webhook`: add, list and remove; what became of each delivery."""

from typing import Any

import click

from quart_app import webhooks
from quart_app.cli.options import STORE, actor, opened, print_table, run, secret, settings_options
from quart_app.forms import validate
from quart_app.forms.webhooks import EVENTS, WebhookForm
from quart_app.instants import instant
from quart_app.models import Delivery
from quart_app.webhooks import deliveries


@click.group()
def webhook() -> None:
    """Tell other programs what happens to connections."""


@webhook.command("add")
@click.argument("url")
@click.option("--event", multiple=True, help=f"{', '.join(EVENTS)}; by default all of them.")
@click.option("--allow-private", is_flag=True, help="It is on a loopback or private address.")
@settings_options(*STORE)
def add(url: str, event: tuple[str, ...], allow_private: bool, **options: str | None) -> None:
    """Add a webhook that is told at URL and print its secret, once. @FILE reads the URL, - asks for it."""
    given: dict[str, Any] = {"url": secret("URL", url), "allow_private": allow_private}
    if event:
        given["events"] = list(event)

    async def work() -> tuple[str, str]:
        async with opened(options) as services:
            form = validate(WebhookForm, given, services.client.egress)
            row, made = await webhooks.create(services, form, actor=actor())
            return row.id, made

    webhook_id, made = run(work())
    click.echo(f"{webhook_id} is added. Its secret, with which receivers check what they get:", err=True)
    click.echo(made)


@webhook.command("list")
@settings_options(*STORE)
def list_webhooks(**options: str | None) -> None:
    """List the webhooks, without their secrets."""

    async def work() -> list[Any]:
        async with opened(options) as services, services.db.session() as session:
            return await webhooks.page(session)

    print_table(("id", "url", "events"), [(row.id, row.url, " ".join(row.events)) for row in run(work())])


@webhook.command("remove")
@click.argument("webhook_id", metavar="ID")
@settings_options(*STORE)
def remove(webhook_id: str, **options: str | None) -> None:
    """Remove a webhook with its deliveries, also those that wait."""

    async def work() -> None:
        async with opened(options) as services:
            await webhooks.delete(services, webhook_id, actor=actor())

    run(work())


@webhook.command("deliveries")
@click.argument("webhook_id", metavar="ID")
@click.option("--limit", default=50, show_default=True, help="How many, the newest ones.")
@settings_options(*STORE)
def list_deliveries(webhook_id: str, limit: int, **options: str | None) -> None:
    """List what was sent to a webhook or waits for it, newest first."""

    async def work() -> list[Delivery]:
        async with opened(options) as services, services.db.session() as session:
            await webhooks.find(session, webhook_id)
            return await deliveries.page(session, webhook_id, limit=limit)

    rows = [
        (row.id, row.event, row.connection or "-", row.state, len(row.tries), outcome(row), instant(row.next_at) or "-")
        for row in run(work())
    ]
    print_table(("id", "event", "connection", "state", "tries", "last outcome", "next try"), rows)


def outcome(row: Delivery) -> str:
    """Of the last try: the status of its answer, or why there was none."""
    last = row.tries[-1] if row.tries else {}
    return str(last.get("status") or last.get("reason") or "-")
