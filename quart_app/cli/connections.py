"""`switchboard connection`: add, list, show, check and remove."""

import json
from typing import Any

import click

from quart_app import calls, connections
from quart_app.cli.options import STORE, actor, as_json, opened, pairs, print_table, run, secret, settings_options
from quart_app.forms import validate
from quart_app.forms.connections import ConnectionForm


@click.group()
def connection() -> None:
    """Add, list, show, check and remove connections."""


@connection.command("add")
@click.argument("name")
@click.argument("base_url")
@click.option("--scheme", default="none", show_default=True, help="none, api_key, basic, bearer or oauth2.")
@click.option("--auth", multiple=True, metavar="FIELD=VALUE", help="A field of the scheme; @FILE reads it, - asks.")
@click.option("--header", multiple=True, metavar="'NAME: VALUE'", help="Sent with every call.")
@click.option("--policy", multiple=True, metavar="FIELD=JSON", help="Such as concurrency=64.")
@click.option("--tls", multiple=True, metavar="FIELD=VALUE", help="ca, certificate, key as @FILE; verify=false.")
@click.option("--proxy", multiple=True, metavar="FIELD=VALUE", help="url, username, password of an outbound proxy.")
@click.option("--allow-private", is_flag=True, help="It is on a loopback or private address.")
@settings_options(*STORE)
def add(
    name: str,
    base_url: str,
    scheme: str,
    auth: tuple[str, ...],
    header: tuple[str, ...],
    policy: tuple[str, ...],
    tls: tuple[str, ...],
    proxy: tuple[str, ...],
    allow_private: bool,
    **options: str | None,
) -> None:
    """Add a connection NAME to the API at BASE_URL."""
    rules = {field: as_json(value) for field, value in pairs(policy, "=")}
    if allow_private:
        rules["allow_private"] = True
    given = {
        "name": name,
        "base_url": base_url,
        "auth": {"scheme": scheme} | {field: secret(field, value) for field, value in pairs(auth, "=")},
        "headers": dict(pairs(header, ":")),
        "policy": rules,
        "tls": {
            field: as_json(value) if field == "verify" else secret(field, value) for field, value in pairs(tls, "=")
        },
        "proxy": {field: secret(field, value) for field, value in pairs(proxy, "=")} or None,
    }

    async def work() -> None:
        async with opened(options) as services:
            await connections.create(services, validate(ConnectionForm, given, services.client.egress), actor=actor())

    run(work())
    click.echo(f"{name} is ready: switchboard call {name} GET /")


@connection.command("list")
@settings_options(*STORE)
def list_connections(**options: str | None) -> None:
    """List the connections."""

    async def work() -> list[Any]:
        async with opened(options) as services, services.db.session() as session:
            return await connections.page(session, limit=500, after=None)

    print_table(
        ("name", "state", "scheme", "base URL"),
        [(row.name, row.state, row.auth["scheme"], row.base_url) for row in run(work())],
    )


@connection.command()
@click.argument("name")
@settings_options(*STORE)
def show(name: str, **options: str | None) -> None:
    """Show a connection as JSON, its secrets only as fingerprints."""

    async def work() -> dict[str, Any]:
        async with opened(options) as services, services.db.session() as session:
            return connections.view(services, await connections.find(session, name))

    click.echo(json.dumps(run(work()), indent=2))


@connection.command()
@click.argument("name")
@settings_options(*STORE)
def remove(name: str, **options: str | None) -> None:
    """Remove a connection with its secrets; its calls stay on record."""

    async def work() -> None:
        async with opened(options) as services:
            await connections.delete(services, name, actor=actor())

    run(work())


@connection.command()
@click.argument("name")
@settings_options(*STORE)
def check(name: str, **options: str | None) -> None:
    """Send one call that tells whether a connection works."""

    async def work() -> tuple[bool, str]:
        async with opened(options) as services:
            ok, detail, _ = await calls.check(services, name, origin="api", actor=actor())
            return ok, detail

    ok, detail = run(work())
    if not ok:
        raise click.ClickException(detail)
    click.echo(detail)
