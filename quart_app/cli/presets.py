"""`switchboard preset`: list and show the well-known APIs that a connection can be begun from."""

import json
from collections.abc import Iterator

import click

from quart_app.cli.options import print_table
from quart_app.errors import NotFound
from quart_app.forms import presets
from quart_app.forms.presets import Preset

TYPED = {
    "api_key": ("value=-",),
    "basic": ("username=…", "password=-"),
    "bearer": ("token=-",),
    "authorization_code": ("client_id=…", "client_secret=-"),
    "client_credentials": ("client_id=…", "client_secret=-"),
    "refresh_token": ("client_id=…", "client_secret=-", "refresh_token=-"),
    "jwt_bearer": ("client_id=…", "key_id=…", "private_key=@key.pem"),
}
"""What a person has to give of each way to sign in."""


@click.group()
def preset() -> None:
    """List and show presets: well-known APIs, to add connections to."""


@preset.command("list")
@click.argument("text", default="")
def list_presets(text: str) -> None:
    """List the presets, or those whose title, aliases or id have TEXT in them."""
    rows = [(found.id, presets.way(found), found.title) for found in presets.search(text)]
    if not rows:
        raise click.ClickException(f"No preset has {text!r} in its name: give the base URL and the rest yourself.")
    print_table(("id", "signs in by", "title"), rows)


@preset.command()
@click.argument("id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="JSON as the API gives it.")
def show(id: str, as_json: bool) -> None:
    """Show what a preset knows, what it leaves open, and how a connection is added with it."""
    try:
        found = presets.find(id)
    except NotFound:
        raise click.ClickException(f"There is no preset {id!r}: see switchboard preset list.") from None
    click.echo(json.dumps(presets.view(found), indent=2) if as_json else "\n".join(described(found)))


def described(found: Preset) -> Iterator[str]:
    yield found.title
    yield f"  base URL       {found.base_url}"
    yield f"  signs in by    {presets.way(found)}"
    yield f"  documentation  {found.docs_url}"
    if found.register_url:
        yield f"  credentials    {found.register_url}"
    if found.credential_help:
        yield f"                 {found.credential_help}"
    if found.variables:
        yield "To be set:"
    for variable in found.variables:
        default = f" [{variable.default}]" if variable.default else ""
        yield f"  {variable.name}{default}: {variable.title}. {variable.help}".rstrip()
    if found.scopes:
        yield "Scopes, those with * unless you give others:"
    for scope in found.scopes:
        yield f"  {'*' if scope.chosen else ' '} {scope.name}: {scope.means}"
    if found.oddities:
        yield "To know:"
    for oddity in found.oddities:
        yield f"  {oddity}"
    yield "Add it:"
    yield f"  {command(found)}"


def command(found: Preset) -> str:
    """The command that adds a connection, with a gap for whatever only a person knows."""
    signed = found.auth.get("client_auth") == "private_key_jwt"
    typed = [item for item in TYPED[presets.way(found)] if item.partition("=")[0] not in found.auth]
    if signed:
        typed = [item for item in typed if not item.startswith("client_secret")] + ["key_id=…", "private_key=@key.pem"]
    parts = [f"--set {variable.name}=…" for variable in found.variables if not variable.default]
    parts += [f"--auth {item}" for item in typed]
    return " ".join([f"switchboard connection add NAME --preset {found.id}", *parts])
