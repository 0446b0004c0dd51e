"""`switchboard connection`: add, list, show, check and remove."""

import json
from typing import Any

import click

from quart_app import calls, connections, removals
from quart_app.cli.options import STORE, actor, as_json, opened, pairs, print_table, run, secret, settings_options
from quart_app.forms import presets, validate
from quart_app.forms.connections import ConnectionForm

STRUCTURED = ("extra", "authorize_extra", "claims", "refresh_token_seconds")
"""Fields of auth that are no texts, and are given as JSON."""


@click.group()
def connection() -> None:
    """Add, list, show, check and remove connections."""


@connection.command("add")
@click.argument("name")
@click.argument("base_url", required=False)
@click.option("--preset", "preset_id", metavar="ID", help="Begin with a well-known API: see switchboard preset list.")
@click.option("--set", "values", multiple=True, metavar="NAME=VALUE", help="A variable of the preset.")
@click.option("--scheme", help="none, api_key, basic, bearer or oauth2. [default: the preset's, else none]")
@click.option("--auth", multiple=True, metavar="FIELD=VALUE", help="A field of the scheme; @FILE reads it, - asks.")
@click.option("--header", multiple=True, metavar="'NAME: VALUE'", help="Sent with every call.")
@click.option("--policy", multiple=True, metavar="FIELD=JSON", help="Such as concurrency=64.")
@click.option("--tls", multiple=True, metavar="FIELD=VALUE", help="ca, certificate, key as @FILE; verify=false.")
@click.option("--proxy", multiple=True, metavar="FIELD=VALUE", help="url, username, password of an outbound proxy.")
@click.option("--allow-private", is_flag=True, help="It is on a loopback or private address.")
@settings_options(*STORE)
def add(
    name: str,
    policy: tuple[str, ...],
    tls: tuple[str, ...],
    proxy: tuple[str, ...],
    allow_private: bool,
    **options: Any,
) -> None:
    """Add a connection NAME to the API at BASE_URL, or to one that a preset knows."""
    begin = {field: options.pop(field) for field in ("base_url", "preset_id", "values", "scheme", "auth", "header")}
    rules = {field: as_json(value) for field, value in pairs(policy, "=")}
    if allow_private:
        rules["allow_private"] = True
    given = {
        "name": name,
        "policy": rules,
        "tls": {
            field: as_json(value) if field == "verify" else secret(field, value) for field, value in pairs(tls, "=")
        },
        "proxy": {field: secret(field, value) for field, value in pairs(proxy, "=")} or None,
    }

    async def work() -> dict[str, Any]:
        form = given | begun(**begin)
        async with opened(options) as services:
            made = validate(ConnectionForm, form, services.client.egress)
            return connections.view(services, await connections.create(services, made, actor=actor()))

    click.echo(next_step(run(work())))


def begun(
    base_url: str | None,
    preset_id: str | None,
    values: tuple[str, ...],
    scheme: str | None,
    auth: tuple[str, ...],
    header: tuple[str, ...],
) -> dict[str, Any]:
    """Where it goes and how it signs in: what is given, in the place of what the preset has. Raises AppError."""
    own = {"scheme": scheme} if scheme else {}
    own |= {field: as_json(value) if field in STRUCTURED else secret(field, value) for field, value in pairs(auth, "=")}
    headers = dict(pairs(header, ":"))
    if preset_id is None:
        if base_url is None or values:
            raise click.UsageError(
                "--set is for presets." if base_url else "Give BASE_URL, or a --preset that knows it."
            )
        return {"base_url": base_url, "auth": {"scheme": "none"} | own, "headers": headers}
    parts = presets.filled(presets.find(preset_id), dict(pairs(values, "=")), own)
    return parts | {"base_url": base_url or parts["base_url"], "headers": parts["headers"] | headers}


def next_step(made: dict[str, Any]) -> str:
    name, redirect_uri = made["name"], made["redirect_uri"]
    if redirect_uri is None:
        return f"{name} is ready: switchboard call {name} GET /"
    page = redirect_uri.removesuffix(f"/oauth/callback/{name}") + f"/connections/{name}"
    return f"{name} waits for a person to sign in, at {page}\nThe provider has to know its redirect URI: {redirect_uri}"


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
    """Remove a connection with its secrets, and take its token back at the provider; its calls stay on record."""

    async def work() -> removals.Removal:
        async with opened(options) as services:
            return await removals.remove(services, name, actor=actor())

    removal = run(work())
    if removal.not_revoked:
        click.echo(f"{name} is removed, but its token was not taken back at the provider: {removal.not_revoked}")
    elif removal.had_token:
        click.echo(f"{name} is removed, and its token was taken back at the provider.")


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
