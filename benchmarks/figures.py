"""What was measured, as plain data: made by `load` and `run`, read by `report`.

Durations are seconds, memory is megabytes (10^6 bytes). A subject is known by its letter, `a` to `e`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

SWITCHBOARD = "e"


@dataclass(frozen=True)
class Load:
    """One drive of wrk: whole answers of status 2xx, and everything else as errors."""

    answers: int
    seconds: float
    p50_seconds: float
    p99_seconds: float
    errors: int

    @property
    def per_second(self) -> float:
        """Good answers a second; a fast refusal earns nothing."""
        return self.answers / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Row:
    """What one subject did in one work; `lost`: answers without a record, None if not countable."""

    per_second: float
    p50_seconds: float
    p99_seconds: float
    errors: int
    peak_mb: float
    lost: int | None


@dataclass(frozen=True)
class Batch:
    """Batches of one size at one subject: the first with cold connections, then the median of the others."""

    calls: int
    first_seconds: float
    median_seconds: float
    errors: int
    peak_mb: float
    lost: int | None


@dataclass
class Figures:
    """Everything of one run, each part by the subject's letter."""

    upstream_per_second: float = 0.0
    relayed: dict[str, Row] = field(default_factory=dict)
    patient: dict[str, Row] = field(default_factory=dict)
    batches: dict[str, list[Batch]] = field(default_factory=dict)

    def ratio(self, letter: str) -> float | None:
        """How many times the subject's calls a second Switchboard makes; None if either was not measured."""
        ours, theirs = self.relayed.get(SWITCHBOARD), self.relayed.get(letter)
        if ours is None or theirs is None or not theirs.per_second:
            return None
        return ours.per_second / theirs.per_second


def middle(rows: Sequence[Row]) -> Row:
    """The rounds of one subject as one row: median speed, worst memory, sum of what went wrong."""
    lost = [row.lost for row in rows if row.lost is not None]
    return Row(
        per_second=statistics.median(row.per_second for row in rows),
        p50_seconds=statistics.median(row.p50_seconds for row in rows),
        p99_seconds=statistics.median(row.p99_seconds for row in rows),
        errors=sum(row.errors for row in rows),
        peak_mb=max(row.peak_mb for row in rows),
        lost=sum(lost) if lost else None,
    )
