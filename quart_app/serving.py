"""Serves an app on Hypercorn and uvloop in this process, as `hypercorn.toml` says, until it is told to stop."""

import asyncio
import signal
from importlib import resources
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.utils import LifespanFailureError, UnexpectedMessageError
from quart import Quart

from quart_app import create_app
from quart_app.errors import SettingsError
from quart_app.services import check_free
from quart_app.settings import Settings
from quart_app.vitals.logs import server_logger

LOOPBACK = ("127.", "localhost:", "[::1]:")
CUT = (asyncio.CancelledError, UnexpectedMessageError)
"""What is left of a request whose connection is cut at the stop: it is cancelled, or answers when nobody is there."""


async def serve_app(settings: Settings) -> None:
    """Raises SettingsError for a bind that others can reach when nothing protects it."""
    if not settings.bind.startswith(LOOPBACK) and not settings.behind_proxy:
        raise SettingsError(
            f"{settings.bind} can be reached by others, in clear. Put a TLS proxy in front and say "
            "--behind-proxy true, or bind to 127.0.0.1."
        )
    check_free(settings)
    await serve_until_told(create_app(settings), settings.bind)


async def serve_until_told(app: Quart, bind: str) -> None:
    """Until SIGINT or SIGTERM: streams of events end at once, then calls in flight get their grace.

    Raises SettingsError for an address that cannot be had, and what the app says when it cannot start.
    """
    made = listening(config(bind))
    made.errorlog = server_logger()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(report)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    async def told() -> None:
        await stop.wait()
        for services in app.extensions.get("services", ()):
            services.drain()

    try:
        await serve(app, made, shutdown_trigger=told)
    except LifespanFailureError as error:
        if isinstance(error.__context__, SettingsError):
            raise error.__context__ from None
        raise


def listening(made: Config) -> Config:
    """Takes the addresses now: one that cannot be had is said before the app opens anything."""
    try:
        made.bind = [f"fd://{sock.detach()}" for sock in made.create_sockets().insecure_sockets]
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "that is no address"
        raise SettingsError(f"Cannot listen on {made.bind[0]}: {reason}.") from None
    return made


def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What no task took care of; not what a connection leaves that is cut at the stop."""
    if not isinstance(context.get("exception"), CUT):
        loop.default_exception_handler(context)


def config(bind: str) -> Config:
    """Hypercorn's settings: the file's, at another address."""
    made: Config = Config.from_toml(str(config_path()))
    made.bind = [bind]
    return made


def config_path() -> Any:
    packaged = Path(str(resources.files("quart_app") / "hypercorn.toml"))
    return packaged if packaged.is_file() else Path(__file__).parents[1] / "hypercorn.toml"
