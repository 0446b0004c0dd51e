"""`switchboard serve` with a hand inside, for faults that loopback cannot inject from outside.

It answers on a socket in the data folder: it moves the wall clock, blocks the loop, fills the disk at a step of an
exchange, tells the tasks, the open files and how late the loop was. With `--names PORT` host names are asked of the
name server on that port of loopback. With `--steps FILE` the steps of token exchanges are written to it, and the
process kills or stops itself at the one that the hand names. Several on one folder have a socket each: `--hand FILE`.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from quart import Quart

import quart_app
from faults import disks
from faults.names import Resolver
from faults.steps import Steps
from quart_app import create_app
from quart_app.cli.options import run, settings_of, settings_options
from quart_app.outbound.client import Client
from quart_app.outbound.limits import Limits, Queue
from quart_app.services import Services, open_services
from quart_app.serving import serve_until_told
from quart_app.settings import Settings

TICK_SECONDS = 0.002


class Hand:
    """What can be done to the running server."""

    def __init__(self, services: Services, steps: Steps | None) -> None:
        self.services = services
        self.steps = steps
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

    def strike(self, label: str, times: int, after_seconds: float, number: int) -> None:
        """Signal `number` to the process itself, when it reaches that step for the nth time from now on."""
        assert self.steps is not None
        self.steps.strike(label, times, after_seconds, number)

    def fill(self, label: str) -> None:
        """Fills the disk of the data folder to its last byte, when an exchange reaches that step the next time."""
        before = self.services.reached

        def full_at(reached: str) -> None:
            before(reached)
            if reached == label:
                self.services.reached = before
                disks.fill(self.services.settings.data)

        self.services.reached = full_at

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


def with_hand(app: Quart, names: int | None, steps: Steps | None, at: Path | None) -> Quart:
    @app.while_serving
    async def hand_in() -> AsyncGenerator[None, None]:
        services: Services = app.extensions["services"][0]
        if names is not None:
            services.client = asking(services, names)
        hand = Hand(services, steps)
        server = await asyncio.start_unix_server(hand.serve, at or services.settings.data / "hand")
        ticking = asyncio.create_task(hand.tick(), name="hand")
        yield
        ticking.cancel()
        server.close()
        if names is not None:
            await services.client.close()

    return app


def note_steps(path: Path) -> Steps:
    """From the first one on: what was left open is settled before the app's own hooks run, so they come too late."""
    steps = Steps(path)

    @asynccontextmanager
    async def opened(settings: Settings, *, serves: bool = False) -> AsyncIterator[Services]:
        async with open_services(settings, serves=serves) as services:
            services.reached = steps
            yield services

    # create_app takes it from there, and what it opens has to know of the steps before anything runs on it
    quart_app.open_services = opened  # type: ignore[attr-defined]
    return steps


def asking(services: Services, port: int) -> Client:
    """The client as `open_services` makes it, with other names."""
    settings, before = services.settings, services.client
    limits = partial(Limits, Queue(float(settings.queue_seconds), settings.queue_calls))
    made = Client(limits, egress=before.egress, via=f"1.1 sb-{services.instance_id}", resolver=Resolver(port))
    made.on_denied = before.on_denied
    return made


@click.command()
@click.option("--names", type=int)
@click.option("--steps", type=click.Path(path_type=Path))
@click.option("--hand", type=click.Path(path_type=Path))
@settings_options()
def main(names: int | None, steps: Path | None, hand: Path | None, **options: Any) -> None:
    settings = settings_of(options)
    noted = note_steps(steps) if steps else None
    run(serve_until_told(with_hand(create_app(settings), names, noted, hand), settings.bind))


if __name__ == "__main__":
    main()
