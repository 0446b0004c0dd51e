"""Switchboard: holds a team's connections to other people's HTTP APIs, sends the calls and remembers them."""

import gc
import sys
from collections.abc import AsyncGenerator

from quart import Quart
from sqlalchemy.exc import SQLAlchemyError

from quart_app import accounts, audit, intake, jobs, web
from quart_app.services import Services, open_services
from quart_app.settings import Settings, load_settings
from quart_app.vitals import logs

YOUNG_OBJECTS = 20_000
"""How many more objects must be made than freed before the collector looks at them."""

NO_LINK = "The link that makes the first account was not made: nothing can be written now. The next start makes it."


def create_app(settings: Settings | None = None) -> Quart:
    """The app, ready for an ASGI server; without settings they come from the environment and switchboard.toml.

    Everything it owns is opened when it starts and closed when it stops, in `serving`.
    """
    settings = settings or load_settings()
    logs.configure(settings.log_level)
    app = Quart(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.body_bytes
    app.config["PUBLIC_URL"] = settings.public_url.rstrip("/")
    opened: list[Services] = app.extensions.setdefault("services", [])

    @app.while_serving
    async def serving() -> AsyncGenerator[None, None]:
        async with (
            open_services(settings, serves=True) as services,
            services.watchdog.running(),
            jobs.running(services),
        ):
            opened.append(services)
            await welcome(services)
            settle_memory()
            with intake.limited(services.clients, settings.client_connections):
                yield
            services.drain()
            opened.clear()

    web.register(app, settings, lambda: opened[0])
    return app


def settle_memory() -> None:
    """What is there at the start stays: the collector need not look at it again, and need not look often.

    A call leaves no cycles behind: at 64 callers a tenth of its time went into collections that found nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


async def welcome(services: Services) -> None:
    """At first run: the link that makes the first account, on the terminal and nowhere else."""
    if await accounts.count(services) == 0:
        try:
            text = accounts.link_text(services.settings, await accounts.create_link(services, actor=audit.SYSTEM))
        except (SQLAlchemyError, OSError):  # on a full disk, say, where calls can be sent all the same
            text = NO_LINK
        print(text, file=sys.stderr, flush=True)
