"""`python -m quart_app.sandbox`: the sandbox as a program of its own, on Hypercorn and uvloop."""

import click
import uvloop
from hypercorn.asyncio import serve
from hypercorn.config import Config

from quart_app.sandbox import API_KEY_HEADER, DEMO, create_sandbox


@click.command()
@click.option("--bind", default="127.0.0.1:8099", show_default=True, help="Address and port to listen on.")
@click.option("--access-seconds", default=60, show_default=True, help="Life of access tokens.")
@click.option("--token-delay-seconds", default=0.0, show_default=True, help="Wait before a token is answered.")
@click.option("--grace-seconds", default=0.0, show_default=True, help="How long a spent token may come back.")
def main(bind: str, access_seconds: int, token_delay_seconds: float, grace_seconds: float) -> None:
    """A small HTTP API with an OAuth server, to try clients on. Its credentials are public."""
    app = create_sandbox(
        access_seconds=access_seconds, token_delay_seconds=token_delay_seconds, grace_seconds=grace_seconds
    )
    config = Config()
    config.bind = [bind]
    config.include_server_header = False
    config.graceful_timeout = 1
    click.echo(f"API key       {API_KEY_HEADER}: {DEMO.api_key}")
    click.echo(f"Basic         {DEMO.username}:{DEMO.password}")
    click.echo(f"OAuth client  {DEMO.client_id}:{DEMO.client_secret} at http://{bind}/oauth/token")
    uvloop.run(serve(app, config))


if __name__ == "__main__":
    main()
