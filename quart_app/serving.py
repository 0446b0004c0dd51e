"""Serves an app on Hypercorn and uvloop in this process, as `hypercorn.toml` says, until it is told to stop."""

import asyncio
import signal
from importlib import resources
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart

from quart_app import create_app
from quart_app.errors import SettingsError
from quart_app.settings import Settings

LOOPBACK = ("127.", "localhost:", "[::1]:")


async def serve_app(settings: Settings) -> None:
    """Raises SettingsError for a bind that others can reach when nothing protects it."""
    if not settings.bind.startswith(LOOPBACK) and not settings.behind_proxy:
        raise SettingsError(
            f"{settings.bind} can be reached by others, in clear. Put a TLS proxy in front and say "
            "--behind-proxy true, or bind to 127.0.0.1."
        )
    await serve_until_told(create_app(settings), settings.bind)


async def serve_until_told(app: Quart, bind: str) -> None:
    """Until SIGINT or SIGTERM: streams of events end at once, then calls in flight get their grace."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    async def told() -> None:
        await stop.wait()
        for services in app.extensions.get("services", ()):
            services.draining = True
            services.events.close()

    await serve(app, config(bind), shutdown_trigger=told)


def config(bind: str) -> Config:
    """Hypercorn's settings: the file's, at another address."""
    made: Config = Config.from_toml(str(config_path()))
    made.bind = [bind]
    return made


def config_path() -> Any:
    packaged = Path(str(resources.files("quart_app") / "hypercorn.toml"))
    return packaged if packaged.is_file() else Path(__file__).parents[1] / "hypercorn.toml"
