"""`python -m faults.torture`: kills, takeovers, freezes and a crowd, a line of JSON for each, and docs/torture.md.

Exits 1 where something did not hold. `--only kills,crowd` runs some of it and writes no page.
"""

import argparse
import asyncio
import math
import random
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from faults.harness import Bench, Fault, Finding, inject
from faults.runs import ROOT, about, numbers, raise_open_files, tell
from faults.steps import LABELS
from faults.switchboard import prepare
from faults.torture import crowd, freezes, kills, neighbours, page, takeovers
from faults.torture.crowd import Rush
from faults.torture.freezes import Thaw
from faults.torture.kills import Tally
from faults.torture.page import Results
from faults.torture.takeovers import Takeover
from tests.postgres import PostgresServer

PAGE = ROOT / "docs" / "torture.md"
PARTS = ("crowd", "freezes", "takeovers", "kills")
KILLS = 1050
QUIET_REFRESHES = 500
AT_ONCE = 2
MOST_SECONDS = 2 * 3600.0

T = TypeVar("T")


def main() -> int:
    options = read_options()
    raise_open_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end as well
    told = about(options.seed)
    results = asyncio.run(Run(options, told).all())
    if not options.only:
        PAGE.write_text(page.text(results, told, datetime.now(UTC).date()), encoding="utf-8")
        print(f"written to {PAGE.relative_to(ROOT)}", file=sys.stderr)
    return 1 if any(finding.count for finding in results.findings) else 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="faults.torture", description="Kill what keeps tokens, and look at them.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="to replay a run")
    parser.add_argument("--kills", type=int, default=KILLS, help="kill -9 in all, at least; 1,050 by default")
    parser.add_argument("--only", type=numbers, default=(), metavar="kills,crowd", help="only these; writes no page")
    options = parser.parse_args()
    if unknown := sorted(set(options.only) - set(PARTS)):
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return options


class Run:
    """One run: its parts one after the other, the cells of a part a few at once."""

    def __init__(self, options: argparse.Namespace, told: dict[str, object]) -> None:
        self.options = options
        self.told = told
        self.results = Results()
        self.places = asyncio.Semaphore(AT_ONCE)
        self.template = Path()
        self.key = ""

    async def all(self) -> Results:
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "crowd": self.crowd,
            "freezes": self.freezes,
            "takeovers": self.takeovers,
            "kills": self.kills,
        }
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            self.template = Path(folder) / "template"
            self.key = await asyncio.to_thread(prepare, self.template)
            for name, part in parts.items():
                if not self.options.only or name in self.options.only:
                    await part()
        return self.results

    async def inject(self, id_: str, unit: str, work: Callable[[Bench], Awaitable[T]]) -> T | None:
        """Does one piece of work and tells what came of it; None where it broke."""
        done: list[T] = []

        async def injection(bench: Bench) -> None:
            done.append(await work(bench))

        fault = Fault(id_, id_, "", "", unit, injection)
        finding = await inject(
            fault, seed=self.options.seed, template=self.template, key=self.key, most_seconds=MOST_SECONDS
        )
        tell(finding, self.told)
        self.results.findings.append(finding)
        return done[0] if done else None

    async def each(self, work: list[Coroutine[Any, Any, T | None]], *, at_once: bool = False) -> list[T]:
        """All of them, a few at once, or all; what came of those that did not break."""

        async def placed(one: Coroutine[Any, Any, T | None]) -> T | None:
            if at_once:
                return await one
            async with self.places:
                return await one

        return [one for one in await asyncio.gather(*(placed(one) for one in work)) if one is not None]

    async def crowd(self) -> None:
        async def work(bench: Bench) -> Rush:
            async with neighbours.postgres() as server:
                rushed = await crowd.rush(bench, server)
            bench.sample(*rushed.waits)
            bench.figure(rushed.requests_per_generation)
            return rushed

        self.results.rush = await self.inject("crowd", "token requests a generation; wait in s", work)

    async def freezes(self) -> None:
        async with neighbours.postgres() as server:
            self.results.thaws = await self.each(
                [self.freeze(server, label, grace) for label in LABELS for grace in freezes.GRACES], at_once=True
            )

    async def freeze(self, server: PostgresServer, label: str, grace_seconds: int) -> Thaw | None:
        async def work(bench: Bench) -> Thaw:
            thaw = await freezes.freeze(bench, server, label, grace_seconds)
            bench.figure(thaw.double_dials)
            return thaw

        return await self.inject(f"freeze {label}, grace {grace_seconds} s", "double requests", work)

    async def takeovers(self) -> None:
        async with neighbours.postgres() as server:
            self.results.takeovers = await self.each(
                [self.take_over(server, label, grace) for label in LABELS for grace in takeovers.GRACES]
            )

    async def take_over(self, server: PostgresServer, label: str, grace_seconds: int) -> Takeover | None:
        async def work(bench: Bench) -> Takeover:
            taken = await takeovers.take_over(bench, server, label, grace_seconds)
            bench.sample(*taken.seconds)
            bench.figure(taken.lost)
            return taken

        return await self.inject(f"takeover {label}, grace {grace_seconds} s", "tokens lost; seconds", work)

    async def kills(self) -> None:
        self.results.quiet_ms = await self.inject("window", "ms from answer to slot", self.window) or []
        number = math.ceil(self.options.kills / len(LABELS) / len(kills.GRACES))
        self.results.tallies = await self.each(
            [self.kill(label, grace, number) for label in LABELS for grace in kills.GRACES]
        )
        tell_all(self.results, self.told)

    async def window(self, bench: Bench) -> list[float]:
        found = await kills.windows_ms(bench, QUIET_REFRESHES)
        bench.sample(*found)
        return found

    async def kill(self, label: str, grace_seconds: int, number: int) -> Tally | None:
        async def work(bench: Bench) -> Tally:
            tally = await kills.torture(bench, Random(bench.random.random()), label, grace_seconds, number)
            bench.sample(*tally.rescue_ms)
            bench.figure(tally.lost.total())
            return tally

        return await self.inject(f"kill {label}, grace {grace_seconds} s", "tokens lost; ms from answer to slot", work)


def tell_all(results: Results, told: dict[str, object]) -> None:
    """Two lines over all cells: the window, and how long a restart took."""
    for id_, unit, samples in (
        ("window between kills", "ms from answer to slot", results.rescue_ms),
        ("restart", "s from kill to ready", results.ready_seconds),
    ):
        tell(Finding(Fault(id_, id_, "", "", unit, nothing), runs=len(samples), samples=samples), told)


async def nothing(bench: Bench) -> None:
    """What a line that only sums up injects."""


if __name__ == "__main__":
    sys.exit(main())
