"""The failure that Switchboard was made for, once more, and then the same load on Switchboard.

A page of a Flask app lists its connections. The view only reads. It reads through a global `scoped_session`,
as the tutorials of its day had it, and nobody closes that session. For one person at a desk it works for
years. Then 32 callers come at once, and the log fills with "SQLite objects created in a thread can only be
used in that same thread".

    python benchmarks/seed_failure.py [--seconds 10]

prints what both logs say, and ends with 1 if Switchboard's has any such line or an answer of it failed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import load
import venvs
from figures import Load
from lineup import SUBJECTS, Switchboard
from process import (
    BenchmarkError,
    end_on_sigterm,
    free_port,
    need,
    raise_open_files,
    running,
    scratch_folder,
    wait_ready,
)

COMPLAINT = "SQLite objects created in a thread can only be used in that same thread"
CALLERS = 32
SEED_REQUIREMENTS = [
    "Flask==2.0.1",
    "Werkzeug==2.0.3",
    "Jinja2==3.0.3",
    "itsdangerous==2.0.1",
    "click==8.0.4",
    "SQLAlchemy==1.4.25",
]


@dataclass(frozen=True)
class Outcome:
    """What the callers saw, and how often the log has the complaint."""

    load: Load
    complaints: int


def main() -> int:
    """Tell the story; 1 if Switchboard failed in it, 2 if it could not be told."""
    parser = argparse.ArgumentParser(description="The old design under 32 callers, then Switchboard.")
    parser.add_argument("--seconds", type=int, default=10, metavar="N", help="for each of the two (10)")
    seconds = max(1, min(parser.parse_args().seconds, 600))
    end_on_sigterm()
    raise_open_files()
    try:
        need("wrk", "wrk")
        with scratch_folder() as scratch:
            print(f"{CALLERS} callers list the connections for {seconds} s.", flush=True)
            tell("Flask 2.0.1, SQLAlchemy 1.4.25, a global scoped_session", then(scratch, seconds))
            now = today(scratch, seconds)
            tell("Switchboard", now)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if now.complaints or now.load.errors else 0


def then(scratch: Path, seconds: int) -> Outcome:
    """The app that people had."""
    venv, data, port = venvs.ensure("seed", SEED_REQUIREMENTS), scratch / "then", free_port()
    data.mkdir()
    env = {"BENCH_PORT": str(port), "BENCH_DATA": str(data)}
    log, url = data / "log", f"http://127.0.0.1:{port}/connections"
    with running([venv / "bin" / "python", "seed_app.py"], log=log, env=env, cwd=SUBJECTS) as child:
        wait_ready(child, url)
        driven = load.drive(url, {}, callers=CALLERS, seconds=seconds)
    return Outcome(driven, complaints(log))


def today(scratch: Path, seconds: int) -> Outcome:
    """Switchboard, which keeps one session per request on its one event loop."""
    with Switchboard().serving(free_port(), scratch / "today") as server:
        url = f"http://127.0.0.1:{server.port}/api/connections"
        driven = load.drive(url, server.headers, callers=CALLERS, seconds=seconds)
    return Outcome(driven, complaints(server.child.log))


def complaints(log: Path) -> int:
    """The lines of a log that hold the complaint."""
    with log.open(errors="replace") as lines:
        return sum(COMPLAINT in line for line in lines)


def tell(who: str, outcome: Outcome) -> None:
    """One paragraph about one of the two."""
    driven = outcome.load
    print(
        f"\n{who}\n"
        f"  {driven.answers:,} good answers, {driven.per_second:,.0f} a second, {driven.errors:,} errors\n"
        f'  {outcome.complaints:,} times in the log: "{COMPLAINT}"',
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
