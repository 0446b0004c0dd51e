"""`switchboard call`: one call, its answer on stdout or in a file."""

import base64
import sys
from mimetypes import guess_type
from pathlib import Path
from typing import Any

import click

from quart_app import calls
from quart_app.cli.options import STORE, actor, as_json, opened, pairs, run, settings_options
from quart_app.forms import validate
from quart_app.forms.calls import CallForm

MOST_FILE_BYTES = 100 * 1024**2
STDIN = "-"


class NewFile(click.Path):
    """A file that can be written, told before anything is sent."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Path:
        path = Path(str(super().convert(value, parameter, context)))
        if not path.parent.is_dir():
            self.fail(f"{path.parent} is not a folder.", parameter, context)
        return path


NEW_FILE = NewFile(dir_okay=False, writable=True)


@click.command()
@click.argument("connection_name", metavar="CONNECTION")
@click.argument("method")
@click.argument("path")
@click.option("--json", "json_", help="A JSON body.")
@click.option("--text", help="A text body.")
@click.option("--form", multiple=True, metavar="NAME=VALUE", help="A form body.")
@click.option("--part", multiple=True, metavar="NAME=VALUE", help="A multipart body; NAME=@FILE;type=TYPE for a file.")
@click.option("--file", metavar="FILE", help="A body of bytes, from a file or, with -, from stdin.")
@click.option("--query", multiple=True, metavar="NAME=VALUE", help="A parameter beside those in PATH.")
@click.option("--header", multiple=True, metavar="'NAME: VALUE'", help="A header beside the connection's own.")
@click.option("--output", metavar="FILE", type=NEW_FILE, help="Where the answer's body goes, instead of stdout.")
@settings_options(*STORE)
def call(
    connection_name: str,
    method: str,
    path: str,
    json_: str | None,
    text: str | None,
    form: tuple[str, ...],
    part: tuple[str, ...],
    file: str | None,
    query: tuple[str, ...],
    header: tuple[str, ...],
    output: Path | None,
    **options: str | None,
) -> None:
    """Send a call and print the answer's body; status and id go to stderr."""
    given: dict[str, Any] = {"connection": connection_name, "method": method, "path": path}
    given |= {"query": pairs(query, "="), "headers": pairs(header, ":")}
    given |= body_of(json_, text, form, part, file)

    async def work() -> tuple[calls.Sent, bytes]:
        async with opened(options) as services:
            sent = await calls.send(services, validate(CallForm, given), origin="api", actor=actor())
            return sent, (await sent.flight.clean(sent.answer))[0] if sent.answer else b""

    print_sent(*run(work()), output)


def body_of(
    json_: str | None, text: str | None, form: tuple[str, ...], part: tuple[str, ...], file: str | None
) -> dict[str, Any]:
    """The body in the form of the API, where one is given."""
    given: dict[str, Any] = {}
    if json_ is not None:
        given["json"] = as_json(json_)
    if text is not None:
        given["text"] = text
    if form:
        given["form"] = pairs(form, "=")
    if part:
        given["multipart"] = [part_of(*pair) for pair in pairs(part, "=")]
    if file is not None:
        given["base64"] = in_base64(file.removeprefix("@"))
    return given


def part_of(name: str, value: str) -> dict[str, Any]:
    """`@FILE` is a file under its own name, of the type given or the one that its ending tells."""
    if not value.startswith("@"):
        return {"name": name, "text": value}
    path, _, media_type = value[1:].partition(";type=")
    filename = None if path == STDIN else Path(path).name
    guessed = guess_type(filename or "")[0]
    return {"name": name, "filename": filename, "media_type": media_type or guessed, "base64": in_base64(path)}


def in_base64(path: str) -> str:
    """The bytes of a file, or of stdin. Raises ClickException for one that cannot be read or is too large to hold."""
    try:
        if path == STDIN:
            content = sys.stdin.buffer.read(MOST_FILE_BYTES + 1)
        else:
            with open(path, "rb") as file:
                content = file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    if len(content) > MOST_FILE_BYTES:
        raise click.ClickException(f"{path} has over {MOST_FILE_BYTES // 1024**2} MiB: send it through /proxy.")
    return base64.b64encode(content).decode()


def print_sent(sent: calls.Sent, content: bytes, output: Path | None) -> None:
    row = sent.call
    click.echo(f"{row['status'] or row['state']} in {row['duration_seconds']:.3f} s, call {row['id']}", err=True)
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
    elif row["state"] == "done":
        write(output, content)
    if row["state"] != "done":
        raise click.ClickException(f"{row['reason']}: {row['detail']}")


def write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
