"""The page docs/benchmarks.md: plain data in, text out."""

from __future__ import annotations

import math
import os
import platform
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from figures import SWITCHBOARD, Batch, Figures, Row

RATIO_TARGETS = {"a": 10.0, "b": 8.0, "c": 3.2, "d": 0.75}
PATIENT_P50_SECONDS = 1.4
PATIENT_PEAK_MB = 160
FLOOR_SECONDS = 0.1
FANOUT_FLOORS = 5.0
FANOUT_CALLS = 1000
WIDTH = 118

T = TypeVar("T")
Subjects = Sequence[tuple[str, str]]  # letter and title, in order
Target = tuple[str, str, str, bool]  # what, target, reached, met

INTRODUCTION = """\
Switchboard beside the designs it replaces and beside the ceiling, all in one run on one machine. This part
is written by that run: `make bench`. Measured on {date}, on {cores} cores shared by the upstream, the load
and the subject, with Python {python} on {system}.
"""
BATCHES = """\
The floor is 100 ms: all calls at once, and nothing else. *First* is with cold connections to the upstream,
*then* is the median of those that follow. mitmdump has nothing of the kind.
"""
METHOD = """\
The upstream is nginx on loopback, which by itself gave wrk {upstream:,.0f} answers a second. Every subject
is started anew for each work and runs alone, in a virtual environment of its own. `wrk` drives it on one
thread for {seconds} s after a warm-up, at the slow upstream for twice as long. Rounds of the first work
over all subjects: {rounds}, each from another start; the table has the medians, the sum of the errors and
the highest peak. A batch is sent once, then again, times {batches}.
"""
TERMS = """\
*Errors* are socket errors, timeouts of 60 s and answers other than 2xx or 3xx. *On record* compares the
answers that were counted with the rows in the subject's database after it has ended. *Peak memory* is the
sum of `VmHWM` over the processes of the subject. (a) and (b) make one commit a call with write-ahead
logging and `synchronous=FULL`, the durability that Switchboard promises too. (a) gets as many threads as a
batch has calls. (d) runs on the same `hypercorn.toml` as Switchboard.
"""
REPEAT = """\
To repeat it on Debian: `apt-get install nginx-light libnginx-mod-http-echo wrk`, then `make bench`.
`python benchmarks/run.py --help` has shorter ways.
"""


@dataclass(frozen=True)
class Conditions:
    """What the figures hold for; `versions` are of the packages of each subject."""

    date: date
    seconds: int
    rounds: int
    batches: int
    versions: Mapping[str, Mapping[str, str]]


def is_clean(figures: Figures) -> bool:
    """Whether Switchboard answered every call and has every one on record; true if it was not measured."""
    rows = [part[SWITCHBOARD] for part in (figures.relayed, figures.patient) if SWITCHBOARD in part]
    results: list[Row | Batch] = [*rows, *figures.batches.get(SWITCHBOARD, [])]
    return all(row.per_second for row in rows) and not any(one.errors or one.lost for one in results)


def page(figures: Figures, conditions: Conditions, subjects: Subjects) -> str:
    """The whole page, as Markdown."""
    introduction = _prose(
        INTRODUCTION,
        date=conditions.date.isoformat(),
        cores=os.cpu_count(),
        python=platform.python_version(),
        system=platform.system(),
    )
    parts = [
        "# Benchmarks",
        introduction,
        "## A relayed GET of 60 bytes, 64 callers",
        _relayed(figures, subjects),
        "## 1,000 callers on an upstream that takes 1 s",
        _patient(figures, subjects),
        "## One request that fans out to calls of 100 ms",
        _prose(BATCHES),
        _batches(figures, subjects),
        *_targets(figures),
        "## How it is measured",
        _method(figures, conditions),
        _versions(conditions, subjects),
        _prose(REPEAT),
    ]
    return "\n\n".join(parts) + "\n"


def _relayed(figures: Figures, subjects: Subjects) -> str:
    ratios = {letter: _ratio(figures.ratio(letter)) for letter, _ in subjects if letter != SWITCHBOARD}
    return _table(
        ("", "subject", "calls/s", "p50", "p99", "errors", "on record", "peak memory", "Switchboard is"),
        [
            (letter, title, *_row(row), ratios.get(letter, ""))
            for letter, title, row in _measured(figures.relayed, subjects)
        ],
    )


def _patient(figures: Figures, subjects: Subjects) -> str:
    return _table(
        ("", "subject", "calls/s", "p50", "p99", "errors", "on record", "peak memory"),
        [(letter, title, *_row(row)) for letter, title, row in _measured(figures.patient, subjects)],
    )


def _batches(figures: Figures, subjects: Subjects) -> str:
    return _table(
        ("", "subject", "calls", "first", "then", "of the floor", "errors", "on record", "peak memory"),
        [
            (letter, title, *_batch(batch))
            for letter, title, batches in _measured(figures.batches, subjects)
            for batch in batches
        ],
    )


def _targets(figures: Figures) -> list[str]:
    """What was to be reached beside what was; nothing if Switchboard was not measured."""
    if SWITCHBOARD not in figures.relayed:
        return []
    clean = is_clean(figures)
    targets = [
        *_ratio_targets(figures),
        *_patient_targets(figures.patient[SWITCHBOARD]),
        *_fanout_targets(figures.batches[SWITCHBOARD]),
        ("errors, and calls that are not on record", "0", "0" if clean else "some", clean),
    ]
    rows = [(*what, "yes" if met else "**no**") for *what, met in targets]
    return ["## Targets", _table(("of Switchboard", "target", "reached", "met"), rows)]


def _ratio_targets(figures: Figures) -> list[Target]:
    return [
        (f"calls a second, times those of ({letter})", f"≥ {target:g}", f"{ratio:.2f}", ratio >= target)
        for letter, target in RATIO_TARGETS.items()
        if (ratio := figures.ratio(letter)) is not None
    ]


def _patient_targets(row: Row) -> list[Target]:
    fast, small = row.p50_seconds <= PATIENT_P50_SECONDS, row.peak_mb <= PATIENT_PEAK_MB
    return [
        ("1,000 callers at 1 s: p50", f"≤ {PATIENT_P50_SECONDS} s", _time(row.p50_seconds), fast),
        ("1,000 callers at 1 s: peak memory", f"≤ {PATIENT_PEAK_MB} MB", _memory(row.peak_mb), small),
    ]


def _fanout_targets(batches: Iterable[Batch]) -> list[Target]:
    return [
        (
            "fan-out of 1,000, times its floor",
            f"≤ {FANOUT_FLOORS:g}",
            f"{floors:.1f}",
            floors <= FANOUT_FLOORS,
        )
        for batch in batches
        if batch.calls == FANOUT_CALLS
        for floors in (batch.median_seconds / FLOOR_SECONDS,)
    ]


def _method(figures: Figures, conditions: Conditions) -> str:
    method = _prose(
        METHOD,
        upstream=figures.upstream_per_second,
        seconds=conditions.seconds,
        rounds=conditions.rounds,
        batches=conditions.batches,
    )
    return method + "\n\n" + _prose(TERMS)


def _versions(conditions: Conditions, subjects: Subjects) -> str:
    lines = [
        f"- ({letter}) " + ", ".join(f"{name} {version}" for name, version in versions.items())
        for letter, _, versions in _measured(conditions.versions, subjects)
    ]
    return "Versions:\n\n" + "\n".join(lines)


def _row(row: Row) -> tuple[str, ...]:
    times = (_time(row.p50_seconds), _time(row.p99_seconds))
    return (f"{row.per_second:,.0f}", *times, f"{row.errors:,}", _record(row.lost), _memory(row.peak_mb))


def _batch(batch: Batch) -> tuple[str, ...]:
    floors = f"{batch.median_seconds / FLOOR_SECONDS:.1f}×"
    times = (_time(batch.first_seconds), _time(batch.median_seconds), floors)
    return (f"{batch.calls:,}", *times, f"{batch.errors:,}", _record(batch.lost), _memory(batch.peak_mb))


def _measured(part: Mapping[str, T], subjects: Subjects) -> list[tuple[str, str, T]]:
    """What there is of one part, in the order of the subjects."""
    return [(letter, title, part[letter]) for letter, title in subjects if letter in part]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the names are aligned right."""
    rule = ["---" if name in ("", "subject", "of Switchboard") else "---:" for name in head]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _prose(text: str, **values: object) -> str:
    """A paragraph with its values filled in, wrapped again."""
    return textwrap.fill(" ".join(text.format(**values).split()), WIDTH, break_on_hyphens=False)


def _time(seconds: float) -> str:
    """Seconds as people read them; a dash if nothing was answered."""
    if math.isnan(seconds):
        return "–"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _memory(megabytes: float) -> str:
    return f"{megabytes:,.0f} MB"


def _record(lost: int | None) -> str:
    """A dash stands for a subject whose records are not counted."""
    if lost is None:
        return "–"
    return f"{lost:,} lost" if lost else "all"


def _ratio(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}×"
