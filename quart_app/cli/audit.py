"""`switchboard audit`: who changed what that matters for safety, and whether that record still holds."""

import json
from typing import Any

import click

from quart_app import audit
from quart_app.cli.options import STORE, opened, print_table, run, settings_options

SHOWN = ("number", "at", "actor", "action", "subject", "detail")


@click.command("audit")
@click.option("--limit", default=100, show_default=True, help="How many entries, the newest ones.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each.")
@click.option("--verify", is_flag=True, help="Check the chain of hashes instead, from the first entry to the last.")
@settings_options(*STORE)
def audit_entries(limit: int, as_json: bool, verify: bool, **options: str | None) -> None:
    """List who changed connections, keys and sign-ins, newest first."""
    if verify:
        click.echo(run(verdict(options)))
        return
    entries = run(listed(limit, options))
    if as_json:
        for entry in entries:
            click.echo(json.dumps(entry))
    else:
        print_table(SHOWN, [tuple(entry[name] for name in SHOWN) for entry in entries])


async def listed(limit: int, options: dict[str, str | None]) -> list[dict[str, Any]]:
    async with opened(options) as services, services.db.session() as session:
        return [audit.view(row) for row in await audit.page(session, limit=limit)]


async def verdict(options: dict[str, str | None]) -> str:
    """The sentence on a chain that holds. Raises ClickException that names the first entry that does not fit."""
    async with opened(options) as services, services.db.session() as session:
        broken, last = await audit.verify(session)
    if broken is not None:
        number = last.number if last else 0
        raise click.ClickException(
            f"The audit was changed: entry {broken.number} does not follow from entry {number}. "
            "It, or one between the two, was changed or taken out."
        )
    if last is None:
        return "The audit is empty."
    return f"All {last.number} entries hold. The last one's hash is {last.hash}."
