"""Side by side: Switchboard, the designs it replaces, and the ceiling, in one run on one machine.

Each subject runs alone, on a new data folder, in front of the same nginx, and is driven by the same wrk.
Three works: many small relayed GETs; 1,000 callers at an upstream that takes a second; and one request that
fans out to many calls. A full run writes docs/benchmarks.md; a partial one only prints.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import load
import report
import sections
import upstream
import venvs
from figures import Batch, Figures, Load, Row, middle
from lineup import LINEUP, Server, Subject
from process import BenchmarkError, end_on_sigterm, need, raise_open_files, scratch_folder

CALLERS = 64
PATIENT_CALLERS = 1000
BATCH_SIZES = (100, 1000)


@dataclass(frozen=True)
class Plan:
    """How much is measured; `--quick` is for seeing that it works, not for figures to quote."""

    subjects: tuple[Subject, ...]
    seconds: int
    warm_seconds: int
    rounds: int
    batches: int  # of each size, after a first one


def main() -> int:
    """Measure, print, write; 1 if Switchboard made an error or lost a record, 2 if nothing could be run."""
    options = read_options()
    plan = read_plan(options)
    end_on_sigterm()
    raise_open_files()
    try:
        need("wrk", "wrk")
        for subject in plan.subjects:
            say(f"preparing {subject.letter}: {subject.title}")
            subject.install()
        figures = measure(plan)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    text = report.page(figures, conditions(plan), [(subject.letter, subject.title) for subject in LINEUP])
    print(text)
    if not options.quick and options.only is None:
        sections.write("side by side", text)
        say("written to docs/benchmarks.md")
    return 0 if report.is_clean(figures) else 1


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure Switchboard beside the designs it replaces.")
    parser.add_argument("--quick", action="store_true", help="one short round; prints, and writes no page")
    parser.add_argument("--only", metavar="a,b,c,d,e", help="only these; prints, and writes no page")
    parser.add_argument("--seconds", type=int, metavar="N", help="of a drive (10, with --quick 3)")
    options = parser.parse_args()
    unknown = set((options.only or "").split(",")) - {"", *(subject.letter for subject in LINEUP)}
    if unknown:
        parser.error(f"there is no subject {', '.join(sorted(unknown))}")
    if options.seconds is not None and not 1 <= options.seconds <= 600:
        parser.error("--seconds must be 1 to 600")
    return options


def read_plan(options: argparse.Namespace) -> Plan:
    """What the options ask for."""
    wanted = options.only.split(",") if options.only else [subject.letter for subject in LINEUP]
    subjects = tuple(subject for subject in LINEUP if subject.letter in wanted)
    if options.quick:
        return Plan(subjects, seconds=options.seconds or 3, warm_seconds=1, rounds=1, batches=1)
    return Plan(subjects, seconds=options.seconds or 10, warm_seconds=3, rounds=3, batches=4)


def measure(plan: Plan) -> Figures:
    """All works, one subject at a time."""
    figures = Figures()
    with scratch_folder() as scratch, upstream.serving(scratch) as port:
        bench = Bench(plan, port, scratch)
        figures.upstream_per_second = load.drive(
            f"http://127.0.0.1:{port}/fast", {}, callers=CALLERS, seconds=plan.warm_seconds
        ).per_second
        rounds = [bench.round(number) for number in range(plan.rounds)]
        for subject in plan.subjects:
            figures.relayed[subject.letter] = middle([rows[subject.letter] for rows in rounds])
            figures.patient[subject.letter] = bench.patient(subject)
            if subject.takes_batches:
                figures.batches[subject.letter] = [bench.batch(subject, calls) for calls in BATCH_SIZES]
    return figures


class Bench:
    """The works; each starts its subject anew, so that its peak of memory and its records are its own."""

    def __init__(self, plan: Plan, upstream_port: int, scratch: Path) -> None:
        """Remember the plan, and where the upstream and the scratch folder are."""
        self.plan, self.upstream_port, self.scratch = plan, upstream_port, scratch
        self.started = 0

    def round(self, number: int) -> dict[str, Row]:
        """Every subject once, each round from another start, so that a drift of the machine favours none."""
        subjects = self.plan.subjects
        first = number % len(subjects)
        return {
            subject.letter: self.drive(subject, "/fast", CALLERS, self.plan.seconds)
            for subject in (*subjects[first:], *subjects[:first])
        }

    def patient(self, subject: Subject) -> Row:
        """A thousand callers at the slow upstream, for long enough that each asks a few times."""
        return self.drive(subject, "/slow1s", PATIENT_CALLERS, 2 * self.plan.seconds)

    def drive(self, subject: Subject, path: str, callers: int, seconds: int) -> Row:
        """Warm a new server up, drive it with wrk, and count its records when it has ended.

        The warm-up is always on the fast upstream: wrk breaks off what is in flight at its end, and a slow
        subject would go on working at a thousand of those.
        """
        data = self.new_folder(subject)
        with subject.serving(self.upstream_port, data) as server:
            warm = server.drive("/fast", callers=CALLERS, seconds=self.plan.warm_seconds)
            result = server.drive(path, callers=callers, seconds=seconds)
            peak_mb = server.child.peak_mb()
        row = Row(
            result.per_second,
            result.p50_seconds,
            result.p99_seconds,
            result.errors,
            peak_mb,
            lost(subject, data, warm, result),
        )
        speed = f"{row.per_second:,.0f}/s, p50 {row.p50_seconds:.3f} s, {row.errors} errors"
        say(f"{subject.letter} {callers:5,} callers: {speed}")
        return row

    def batch(self, subject: Subject, calls: int) -> Batch:
        """One batch to open the connections and then some more, on a new server."""
        data = self.new_folder(subject)
        with subject.serving(self.upstream_port, data) as server:
            done = [self.one_batch(subject, server, calls) for _ in range(1 + self.plan.batches)]
            peak_mb = server.child.peak_mb()
        good = sum(good for good, _ in done)
        records = subject.on_record(data)
        first, *others = [seconds for _, seconds in done]
        batch = Batch(
            calls,
            first,
            statistics.median(others),
            len(done) * calls - good,
            peak_mb,
            None if records is None else max(0, good - records),
        )
        say(f"{subject.letter} {calls:5,} in a batch: {batch.median_seconds:.2f} s, {batch.errors} errors")
        return batch

    def one_batch(self, subject: Subject, server: Server, calls: int) -> tuple[int, float]:
        """The good calls of one batch, and its seconds."""
        answer = load.send_batch(subject.batch_request(server, calls, "/slow100ms"))
        return subject.good_in_batch(answer.body) if answer.body else 0, answer.seconds

    def new_folder(self, subject: Subject) -> Path:
        """A folder nobody has used, for one life of one subject."""
        self.started += 1
        return self.scratch / f"{self.started:03}-{subject.letter}"


def lost(subject: Subject, data: Path, *driven: Load) -> int | None:
    """Answers that wrk got and the record does not hold; what wrk broke off may be there besides."""
    records = subject.on_record(data)
    return None if records is None else max(0, sum(drive.answers for drive in driven) - records)


def conditions(plan: Plan) -> report.Conditions:
    """When and on what it was measured."""
    versions = {one.letter: venvs.versions(one.install(), one.packages) for one in plan.subjects}
    return report.Conditions(
        date=datetime.now(UTC).date(),
        seconds=plan.seconds,
        rounds=plan.rounds,
        batches=plan.batches,
        versions=versions,
    )


def say(text: str) -> None:
    """Progress, on stderr, so that stdout is the page and nothing else."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
