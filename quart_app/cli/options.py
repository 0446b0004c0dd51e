"""What the commands share: settings as options, running a use case, reading inputs, printing outcomes."""

import getpass
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import uvloop

from quart_app.errors import AppError, SettingsError
from quart_app.services import Services, open_services
from quart_app.settings import PREFIX, Settings, load_settings, table
from quart_app.vitals import logs

STORE = ("data", "database_url", "key_file")
T = TypeVar("T")


def settings_options(*only: str) -> Callable[[Any], Any]:
    """An option for each setting of the table, or for those named; they arrive as `options`."""

    def decorate(command: Any) -> Any:
        for item in reversed(table()):
            if not only or item.name in only:
                name = "--" + item.name.replace("_", "-")
                help_ = f"{item.metadata['help']} [env {PREFIX}{item.name.upper()}]"
                refused = None if item.metadata["option"] else not_here
                command = click.option(
                    name, item.name, help=help_, metavar="VALUE", callback=refused, hidden=bool(refused)
                )(command)
        return command

    return decorate


def not_here(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Raises UsageError for a setting that every user of the machine would see in the list of processes."""
    if value is not None:
        variable = f"{PREFIX}{str(parameter.name).upper()}"
        raise click.UsageError(f"{parameter.opts[0]} would show in the list of processes: give it as {variable}.")


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


def pairs(items: tuple[str, ...], separator: str) -> list[tuple[str, str]]:
    """Names and values; space around a header's value is none of it (RFC 9110 §5.5), any other is kept."""
    for item in items:
        if separator not in item:
            raise click.UsageError(f"{item!r} is not NAME{separator}VALUE")
    split = [item.partition(separator) for item in items]
    return [(name.strip(), value.strip() if separator == ":" else value) for name, _, value in split]


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


def print_table(titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    cells = [tuple(map(str, row)) for row in (titles, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def actor() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"
