"""A fault and what is found: each is a function under its number that injects it and checks what must hold."""

import asyncio
import contextlib
import math
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.switchboard import Switchboard

MOST_TOLD = 20
MOST_SECONDS = 180.0
Injection = Callable[["Bench"], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """`figure` says what is measured, in `unit`; `note` where the row of the list is done otherwise, and why.

    One that mostly `waits` runs beside others of its kind.
    """

    id: str
    title: str
    invariant: str
    figure: str
    unit: str
    inject: Injection
    note: str = ""
    waits: bool = False


FAULTS: dict[str, Fault] = {}
"""All of them, by number."""


def fault(
    id_: str, title: str, *, invariant: str, figure: str, unit: str, note: str = "", waits: bool = False
) -> Callable[[Injection], Injection]:
    """Enters a function into the list."""

    def enter(inject: Injection) -> Injection:
        FAULTS[id_] = Fault(id_, title, invariant, figure, unit, inject, note, waits)
        return inject

    return enter


@dataclass
class Finding:
    """What came of a fault: how often it was injected, what did not hold, and the figure with its samples."""

    fault: Fault
    runs: int = 0
    violations: list[str] = field(default_factory=list)
    count: int = 0
    figure: float | None = None
    samples: list[float] = field(default_factory=list)
    seconds: float = 0.0
    remarks: list[str] = field(default_factory=list)

    def line(self) -> dict[str, Any]:
        """The figures of the report's line."""
        figure = self.figure if self.figure is not None else percentile(self.samples, 99)
        return {
            "id": self.fault.id,
            "fault": self.fault.title,
            "runs": self.runs,
            "violations": self.count,
            "figure": rounded(figure),
            "unit": self.fault.unit,
            "p50": rounded(percentile(self.samples, 50)),
            "p99": rounded(percentile(self.samples, 99)),
        }


class Bench:
    """What a fault works with: chance that can be replayed, servers to injure, and where it says what it saw."""

    def __init__(self, finding: Finding, seed: int, folder: Path, template: Path, key: str) -> None:
        self.finding = finding
        self.random = random.Random(f"{seed} {finding.fault.id}")
        self.folder = folder
        self._template = template
        self._key = key
        self._served = 0

    def ran(self, times: int = 1) -> None:
        self.finding.runs += times

    def check(self, holds: object, said: str) -> bool:
        """Notes a violation unless it `holds`; returns whether it does."""
        if not holds:
            self.finding.count += 1
            if len(self.finding.violations) < MOST_TOLD:
                self.finding.violations.append(said)
        return bool(holds)

    def sample(self, *values: float) -> None:
        self.finding.samples.extend(values)

    def figure(self, value: float) -> None:
        """The figure itself; without it, it is the 99th percentile of the samples."""
        self.finding.figure = value

    def remark(self, text: str) -> None:
        """Something worth a sentence in the report that is no violation."""
        self.finding.remarks.append(text)

    def switchboard(self, *, prefix: Sequence[str] = (), hand: Sequence[str] | None = None) -> Switchboard:
        """A server that is yet to be started, on a data folder of its own with one key."""
        self._served += 1
        data = self.folder / f"data{self._served}"
        return Switchboard.prepared(self._template, data, self._key, prefix=prefix, hand=hand)

    @asynccontextmanager
    async def serving(
        self, *options: str, prefix: Sequence[str] = (), hand: Sequence[str] | None = None, kept: Sequence[str] = ()
    ) -> AsyncIterator[Switchboard]:
        """A server with one key; `hand` are options of the launcher, `prefix` is what it is started through.

        At the end it is looked over: the database whole, no call left open, nothing in its log that nobody foresaw.
        `kept` are events that this fault may leave in the log.
        """
        switchboard = self.switchboard(prefix=prefix, hand=hand)
        async with switchboard.up(*options):
            yield switchboard
        for said in switchboard.looked_over(kept):
            self.check(False, said)


async def inject(of: Fault, *, seed: int, template: Path, key: str, most_seconds: float = MOST_SECONDS) -> Finding:
    """Injects one fault. What breaks the injection itself is a violation as well."""
    finding = Finding(of)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        bench = Bench(finding, seed, Path(folder), template, key)
        try:
            async with asyncio.timeout(most_seconds):
                await of.inject(bench)
        except Exception as error:
            bench.check(False, f"the fault could not be injected: {type(error).__name__}: {error}")
            with contextlib.suppress(OSError):
                for log in sorted(Path(folder).glob("*.log")):
                    print(log.read_text(errors="replace")[-1500:], file=sys.stderr)
    finding.seconds = time.monotonic() - began
    return finding


def percentile(samples: Sequence[float], share: int) -> float | None:
    """The smallest sample that `share` percent of them do not exceed; None of none."""
    if not samples:
        return None
    ranked = sorted(samples)
    return ranked[max(0, math.ceil(len(ranked) * share / 100) - 1)]


def rounded(value: float | None) -> float | None:
    """Three digits are what such figures are worth."""
    if value is None or value == 0:
        return value
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return round(value, min(digits, 6))
