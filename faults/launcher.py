"""`switchboard serve` with a hand inside, for faults that loopback cannot inject from outside.

It answers on a socket in the data folder: it moves the wall clock, blocks the loop, tells the tasks, the open files and
how late the loop was. With `--names PORT` host names are asked of the name server on that port of loopback.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import click
from quart import Quart

from faults.names import Resolver
from quart_app import create_app
from quart_app.cli.options import run, settings_of, settings_options
from quart_app.outbound.client import Client
from quart_app.outbound.limits import Limits, Queue
from quart_app.services import Services
from quart_app.serving import serve_until_told

TICK_SECONDS = 0.002


class Hand:
    """What can be done to the running server."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.late = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        given = json.loads(await reader.readline())
        answer = getattr(self, given.pop("do"))(**given)
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        writer.close()

    def clock(self, seconds: float) -> None:
        """The wall clock from now on, off by some seconds; the monotonic one goes on as it is."""
        self.services.clock = lambda: time.time() + seconds

    def block(self, seconds: float) -> float:
        """Blocks the loop, a moment from now; the instant at which that begins."""
        asyncio.get_running_loop().call_later(0.01, block_the_loop, seconds)
        return time.time() + 0.01

    def tasks(self) -> dict[str, int]:
        """How many tasks the loop has, by the first word of their names, or by what runs in those without one."""
        return Counter(name_of(task) for task in asyncio.all_tasks())

    def open_files(self) -> int:
        return len(os.listdir("/proc/self/fd"))  # from outside only root could look

    def lateness(self) -> float:
        """How late the loop was at most since this was asked last, in seconds."""
        late, self.late = self.late, 0.0
        return late

    async def tick(self) -> None:
        while True:
            due = time.monotonic() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self.late = max(self.late, time.monotonic() - due)


def name_of(task: "asyncio.Task[Any]") -> str:
    name = task.get_name().split()[0]
    return getattr(task.get_coro(), "__qualname__", name) if name.startswith("Task-") else name


def block_the_loop(seconds: float) -> None:
    time.sleep(seconds)


def with_hand(app: Quart, names: int | None) -> Quart:
    @app.while_serving
    async def hand_in() -> AsyncGenerator[None, None]:
        services: Services = app.extensions["services"][0]
        if names is not None:
            services.client = asking(services, names)
        hand = Hand(services)
        server = await asyncio.start_unix_server(hand.serve, services.settings.data / "hand")
        ticking = asyncio.create_task(hand.tick(), name="hand")
        yield
        ticking.cancel()
        server.close()
        if names is not None:
            await services.client.close()

    return app


def asking(services: Services, port: int) -> Client:
    """The client as `open_services` makes it, with other names."""
    settings, before = services.settings, services.client
    limits = partial(Limits, Queue(float(settings.queue_seconds), settings.queue_calls))
    made = Client(limits, egress=before.egress, via=f"1.1 sb-{services.instance_id}", resolver=Resolver(port))
    made.on_denied = before.on_denied
    return made


@click.command()
@click.option("--names", type=int)
@settings_options()
def main(names: int | None, **options: Any) -> None:
    settings = settings_of(options)
    run(serve_until_told(with_hand(create_app(settings), names), settings.bind))


if __name__ == "__main__":
    main()
