"""The command line: the same use cases, printed. Works beside a running server as well as without one.

What is wrong goes to stderr and the exit code is 1; what was asked for goes to stdout.
"""

import asyncio
import getpass
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import uvloop

from quart_app import accounts, calls, connections, logs
from quart_app.accounts import DEFAULT_SCOPES, SCOPES
from quart_app.calls import CallForm
from quart_app.connections import ConnectionForm
from quart_app.db import copy_sqlite
from quart_app.errors import AppError, SettingsError
from quart_app.forms import validate
from quart_app.migrations import schema_sql
from quart_app.services import Services, open_services
from quart_app.settings import PREFIX, Settings, load_settings, table

STORE = ("data", "database_url", "key_file")
T = TypeVar("T")


def settings_options(*only: str) -> Callable[[Any], Any]:
    """An option for each setting of the table, or for those named; they arrive as `options`."""

    def decorate(command: Any) -> Any:
        for item in reversed(table()):
            if not only or item.name in only:
                name = "--" + item.name.replace("_", "-")
                help_ = f"{item.metadata['help']} [env {PREFIX}{item.name.upper()}]"
                command = click.option(name, item.name, help=help_, metavar="VALUE")(command)
        return command

    return decorate


def settings_of(options: dict[str, str | None]) -> Settings:
    try:
        return load_settings(options)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a use case; what it says on purpose becomes the message, with every fault on a line of its own."""
    try:
        return uvloop.run(work)
    except AppError as error:
        faults = [f"  {fault['pointer'] or '/'}: {fault['detail']}" for fault in error.errors]
        raise click.ClickException("\n".join([error.detail, *faults])) from None
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


@asynccontextmanager
async def opened(options: dict[str, str | None]) -> AsyncIterator[Services]:
    settings = settings_of(options)
    logs.configure("warning")
    async with open_services(settings) as services:
        yield services


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="switchboard-gateway")
def main() -> None:
    """Switchboard: connections to other people's HTTP APIs, their tokens, their calls, on record."""


@main.command()
@settings_options()
def serve(**options: str | None) -> None:
    """Serve the pages, the API and the proxy."""
    from quart_app.serving import serve_app

    run(serve_app(settings_of(options)))


@main.command()
@click.option("--sandbox-bind", default="127.0.0.1:8099", show_default=True, help="Where the sandbox API listens.")
@settings_options("bind", "data")
def demo(sandbox_bind: str, **options: str | None) -> None:
    """Serve with a sandbox API and three ready connections to it."""
    from quart_app.demo import serve_demo

    if options["data"] is None:
        options["data"] = str(settings_of({}).data) + "-demo"
    run(serve_demo(settings_of(options), sandbox_bind))


@main.command()
def schema() -> None:
    """Print the tables (SQLite)."""
    click.echo(schema_sql(), nl=False)


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@settings_options(*STORE)
def backup(file: Path, **options: str | None) -> None:
    """Copy the database, whole and consistent, to a new FILE. The key file is not in it: keep that elsewhere."""

    async def work() -> None:
        async with opened(options) as services:
            if services.db.path is None:
                raise SettingsError("This database is PostgreSQL: back it up with pg_dump.")
            await asyncio.to_thread(copy_sqlite, services.db.path, file)

    run(work())
    click.echo(f"{file}: {file.stat().st_size} bytes. Without its key file it cannot be read.", err=True)


@main.group()
def connection() -> None:
    """Add, list, show, check and remove connections."""


@connection.command("add")
@click.argument("name")
@click.argument("base_url")
@click.option("--scheme", default="none", show_default=True, help="none, api_key, basic, bearer or oauth2.")
@click.option("--auth", multiple=True, metavar="FIELD=VALUE", help="A field of the scheme; @FILE reads it, - asks.")
@click.option("--header", multiple=True, metavar="'NAME: VALUE'", help="Sent with every call.")
@click.option("--policy", multiple=True, metavar="FIELD=JSON", help="Such as concurrency=64.")
@click.option("--allow-private", is_flag=True, help="It is on a loopback or private address.")
@settings_options(*STORE)
def add(
    name: str,
    base_url: str,
    scheme: str,
    auth: tuple[str, ...],
    header: tuple[str, ...],
    policy: tuple[str, ...],
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
    }

    async def work() -> None:
        async with opened(options) as services:
            await connections.create(services, validate(ConnectionForm, given))

    run(work())
    click.echo(f"{name} is ready: switchboard call {name} GET /")


def pairs(items: tuple[str, ...], separator: str) -> list[tuple[str, str]]:
    for item in items:
        if separator not in item:
            raise click.UsageError(f"{item!r} is not NAME{separator}VALUE")
    return [(name.strip(), value.strip()) for name, _, value in (item.partition(separator) for item in items)]


def secret(field: str, value: str) -> str:
    """A value as it stands, from a file, or typed unseen: so that a secret need not be in the shell's history."""
    if value == "-":
        return getpass.getpass(f"{field}: ")
    if value.startswith("@"):
        try:
            return Path(value[1:]).read_text("utf-8").strip()
        except OSError as error:
            raise click.ClickException(f"{value[1:]}: {error.strerror}") from None
    return value


def as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is not JSON") from None


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


def print_table(titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    cells = [tuple(map(str, row)) for row in (titles, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


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
            await connections.delete(services, name)

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


def actor() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


@main.command()
@click.argument("connection_name", metavar="CONNECTION")
@click.argument("method")
@click.argument("path")
@click.option("--json", "json_", help="A JSON body.")
@click.option("--text", help="A text body.")
@click.option("--form", multiple=True, metavar="NAME=VALUE", help="A form body.")
@click.option("--query", multiple=True, metavar="NAME=VALUE")
@click.option("--header", multiple=True, metavar="'NAME: VALUE'")
@settings_options(*STORE)
def call(
    connection_name: str,
    method: str,
    path: str,
    json_: str | None,
    text: str | None,
    form: tuple[str, ...],
    query: tuple[str, ...],
    header: tuple[str, ...],
    **options: str | None,
) -> None:
    """Send a call and print the answer's body; status and id go to stderr."""
    given: dict[str, Any] = {"connection": connection_name, "method": method, "path": path}
    given |= {"query": pairs(query, "="), "headers": pairs(header, ":")}
    if json_ is not None:
        given["json"] = as_json(json_)
    if text is not None:
        given["text"] = text
    if form:
        given["form"] = pairs(form, "=")

    async def work() -> calls.Sent:
        async with opened(options) as services:
            return await calls.send(services, validate(CallForm, given), origin="api", actor=actor())

    print_sent(run(work()))


def print_sent(sent: calls.Sent) -> None:
    row = sent.call
    click.echo(f"{row['status'] or row['state']} in {row['duration_seconds']:.3f} s, call {row['id']}", err=True)
    if sent.answer:
        sys.stdout.buffer.write(sent.flight.clean(sent.answer))
        sys.stdout.flush()
    if row["state"] != "done":
        raise click.ClickException(f"{row['reason']}: {row['detail']}")


@main.group()
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
            return await accounts.create_key(services, name, scope or DEFAULT_SCOPES)

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
            await accounts.revoke_key(services, key_id)

    run(work())


@main.group()
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
            await accounts.create_account(services, name)
        click.echo(accounts.link_text(services.settings, await accounts.create_link(services, name)).strip())
