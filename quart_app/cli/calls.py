"""`switchboard call`: one call, its answer on stdout."""

import sys
from typing import Any

import click

from quart_app import calls
from quart_app.calls import CallForm
from quart_app.cli.options import STORE, actor, as_json, opened, pairs, run, settings_options
from quart_app.forms import validate


@click.command()
@click.argument("connection_name", metavar="CONNECTION")
@click.argument("method")
@click.argument("path")
@click.option("--json", "json_", help="A JSON body.")
@click.option("--text", help="A text body.")
@click.option("--form", multiple=True, metavar="NAME=VALUE", help="A form body.")
@click.option("--query", multiple=True, metavar="NAME=VALUE", help="A parameter beside those in PATH.")
@click.option("--header", multiple=True, metavar="'NAME: VALUE'", help="A header beside the connection's own.")
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
        content, _ = sent.flight.clean(sent.answer)
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
    if row["state"] != "done":
        raise click.ClickException(f"{row['reason']}: {row['detail']}")
