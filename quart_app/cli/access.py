"""`switchboard key` and `switchboard account`: who may ask."""

from typing import Any

import click

from quart_app import accounts
from quart_app.accounts import DEFAULT_SCOPES, SCOPES
from quart_app.cli.options import STORE, actor, opened, print_table, run, settings_options


@click.group()
def key() -> None:
    """Keys for programs."""


@key.command("create")
@click.argument("name")
@click.option("--scope", multiple=True, help=f"{', '.join(SCOPES)}; by default {' and '.join(DEFAULT_SCOPES)}.")
@settings_options(*STORE)
def create_key(name: str, scope: tuple[str, ...], **options: str | None) -> None:
    """Make a key and print it, once."""

    async def work() -> str:
        async with opened(options) as services:
            return await accounts.create_key(services, name, scope or DEFAULT_SCOPES, actor=actor())

    click.echo(run(work()))


@key.command("list")
@settings_options(*STORE)
def list_keys(**options: str | None) -> None:
    """List the keys, without their secrets."""

    async def work() -> list[Any]:
        async with opened(options) as services:
            return await accounts.list_keys(services)

    rows = [(row.id, row.name, " ".join(row.scopes), "revoked" if row.revoked_at else "good") for row in run(work())]
    print_table(("id", "name", "scopes", "state"), rows)


@key.command("revoke")
@click.argument("key_id", metavar="ID")
@settings_options(*STORE)
def revoke_key(key_id: str, **options: str | None) -> None:
    """Refuse a key from now on."""

    async def work() -> None:
        async with opened(options) as services:
            await accounts.revoke_key(services, key_id, actor=actor())

    run(work())


@click.group()
def account() -> None:
    """People."""


@account.command("create")
@click.argument("name")
@settings_options(*STORE)
def create_account(name: str, **options: str | None) -> None:
    """Add a person and print a link that signs them in."""
    run(make_link(name, options, create=True))


@account.command("link")
@click.argument("name")
@settings_options(*STORE)
def link(name: str, **options: str | None) -> None:
    """Print a new link that signs a person in."""
    run(make_link(name, options, create=False))


async def make_link(name: str, options: dict[str, str | None], *, create: bool) -> None:
    async with opened(options) as services:
        if create:
            await accounts.create_account(services, name, actor=actor())
        token = await accounts.create_link(services, name, actor=actor())
        click.echo(accounts.link_text(services.settings, token).strip())
