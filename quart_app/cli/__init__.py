"""The command line: the same use cases, printed. Works beside a running server as well as without one.

What is wrong goes to stderr and the exit code is 1; what was asked for goes to stdout.
"""

import asyncio
from pathlib import Path

import click

from quart_app.cli.access import account, key
from quart_app.cli.audit import audit_entries
from quart_app.cli.calls import call
from quart_app.cli.connections import connection
from quart_app.cli.doctor import examine
from quart_app.cli.options import STORE, opened, run, settings_of, settings_options
from quart_app.cli.presets import preset
from quart_app.cli.rotation import rotate_key
from quart_app.cli.webhooks import webhook
from quart_app.errors import SettingsError
from quart_app.files import copy_sqlite
from quart_app.migrations import schema_sql
from quart_app.rekeying import keys_of_copy
from quart_app.sandbox.command import sandbox


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

    options["database_url"] = ""  # never one that the environment names: the demo remakes its connections
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
    keys = " and ".join(keys_of_copy(file))
    click.echo(f"{file}: {file.stat().st_size} bytes. It needs key {keys}, which is not in it.", err=True)


for command in (connection, call, key, account, audit_entries, webhook, examine, preset, rotate_key, sandbox):
    main.add_command(command)
