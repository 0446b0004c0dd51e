"""The sandbox as a program, on Hypercorn and uvloop: `switchboard sandbox`, and `python -m quart_app.sandbox`."""

from typing import Any

import click
import uvloop
from hypercorn.asyncio import serve
from hypercorn.config import Config

from quart_app.sandbox import API_KEY_HEADER, DEMO, create_sandbox

SECONDS = click.FloatRange(min=0)


@click.command()
@click.option("--bind", default="127.0.0.1:8099", show_default=True, help="Address and port to listen on.")
@click.option("--public-url", default="", help="The issuer; by default what each request was addressed to.")
@click.option(
    "--access-seconds", type=click.IntRange(min=0), default=60, show_default=True, help="Life of access tokens."
)
@click.option("--refresh-seconds", type=SECONDS, help="How long a refresh token lives unused; by default for ever.")
@click.option("--family-seconds", type=SECONDS, help="How long a sign-in lives in all; by default for ever.")
@click.option("--grace-seconds", type=SECONDS, default=0, help="How long a spent refresh token may come back.")
@click.option("--fresh-successor", is_flag=True, help="One that comes back gets another successor, not the same.")
@click.option("--rotation/--no-rotation", "rotates", default=True, help="Whether a refresh token is spent by its use.")
@click.option("--token-delay-seconds", type=SECONDS, default=0, help="Wait after a token is spent, before the answer.")
@click.option("--auto-approve", is_flag=True, help="Nobody is asked for consent.")
def sandbox(bind: str, **options: Any) -> None:
    """Serve a small API with an OAuth server that misbehaves when told to, to try clients on.

    Its credentials are public, and what it holds is forgotten when it stops.
    """
    config = Config()
    config.bind = [bind]
    config.include_server_header = False
    config.include_date_header = False  # the sandbox says its own, also a wrong one
    config.graceful_timeout = 1
    introduce(options["public_url"].rstrip("/") or f"http://{listen(config)}")
    uvloop.run(serve(create_sandbox(**options), config))


def listen(config: Config) -> str:
    """Takes the address now, so that one that cannot be had is said at once; where it listens, with its port."""
    try:
        [sock] = config.create_sockets().insecure_sockets
    except (OSError, OverflowError) as error:
        raise click.ClickException(f"Cannot listen on {config.bind[0]}: {error}.") from None
    host, port = sock.getsockname()[:2]
    config.bind = [f"fd://{sock.detach()}"]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def introduce(url: str) -> None:
    click.echo(
        f"""\
API            {url}/v1, see {url}/
API key        {API_KEY_HEADER}: {DEMO.api_key}
Basic          {DEMO.username}:{DEMO.password}
OAuth client   {DEMO.client_id}:{DEMO.client_secret} at {url}/oauth/token
Refresh token  {DEMO.refresh_token}
Private key    curl {url}/oauth/demo-key

Have it misbehave, see what it can, have it behave again:
  curl -X PUT {url}/oauth/tricks -H 'Content-Type: application/json' -d '{{"tricks": ["lost_answer"]}}'
  curl {url}/oauth/tricks
  curl -X DELETE {url}/oauth/tricks
"""
    )
