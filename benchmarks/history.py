"""The history at scale: how quickly calls are found among very many, and what those many cost each new one.

A history is made by SQL (past.py), then Switchboard is served on it as its users serve it. Each question is asked of
its API some times, with other values each time; then wrk drives the proxy on this history and on an empty one in turn.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import past
import sections
import upstream
from lineup import SWITCHBOARD, Server, Switchboard
from process import SCRATCH, BenchmarkError, end_on_sigterm, free_port, raise_open_files, running, wait_ready

TIMES = 20
WHOLE = 10_000_000
"""With fewer calls it is tried out, and the page is left as it is."""

PAGE_SECONDS, SEARCH_SECONDS, COST_RATIO = 0.05, 0.3, 0.9
CALLERS = 64
WARM_SECONDS = 3


@dataclass(frozen=True)
class Figure:
    """One question: how long its answers took, and how long they may."""

    name: str
    p50_seconds: float
    max_seconds: float
    found: int
    target_seconds: float


@dataclass(frozen=True)
class Cost:
    """Calls a second, of each round."""

    empty: list[float]
    full: list[float]

    @property
    def ratio(self) -> float:
        """Of the rounds' medians."""
        return statistics.median(self.full) / statistics.median(self.empty)


def main() -> int:
    """Make, measure, print, write; 2 if nothing could be run."""
    options = read_options()
    end_on_sigterm()
    raise_open_files()
    SCRATCH.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=options.folder or SCRATCH))
    try:
        with upstream.serving(folder) as port:
            text = measure(options, folder, port)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.calls >= WHOLE:
        sections.write("history", text)
    return 0


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure Switchboard on a long history.")
    parser.add_argument("--calls", type=int, default=WHOLE, metavar="N", help="of the history (10,000,000)")
    parser.add_argument("--folder", type=Path, help="where its files go meanwhile: 3 KB a call")
    parser.add_argument("--rounds", type=int, default=4, metavar="N", help="of the cost per call, on each history (4)")
    parser.add_argument("--seconds", type=int, default=10, metavar="N", help="of a round (10)")
    return parser.parse_args()


def measure(options: argparse.Namespace, folder: Path, port: int) -> str:
    """All of it, as Markdown; a line of JSON for each figure goes to stdout."""
    now = time.time()
    servers = [first_life(folder / name, port) for name in ("empty", "full")]
    made = past.make(folder / "full" / "switchboard.db", options.calls, now=now)
    tell("made", asdict(made))
    with again(servers[1]) as server:
        figures = list(ask_all(server, options.calls, now))
    rounds: list[list[float]] = [[], []]
    for number in range(options.rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            with again(servers[which]) as server:
                server.drive("/fast", callers=CALLERS, seconds=WARM_SECONDS)
                speed = server.drive("/fast", callers=CALLERS, seconds=options.seconds).per_second
            rounds[which].append(speed)
            tell("round", {"history": ("empty", "full")[which], "calls_per_second": speed})
    cost = Cost(*rounds)
    tell("cost", {**asdict(cost), "ratio": cost.ratio})
    return report(made, figures, cost)


def first_life(data: Path, port: int) -> Server:
    """Makes the folder, a key and the connection to the upstream; the server has ended when this returns."""
    with Switchboard().serving(port, data) as server:
        return server


@contextlib.contextmanager
def again(server: Server) -> Iterator[Server]:
    """The same folder, served anew; its size is no reason to prune it."""
    port = free_port()
    command = [SWITCHBOARD, "serve", "--bind", f"127.0.0.1:{port}", "--data", server.data, "--keep-bytes", "0"]
    with running(command, log=server.data.with_suffix(".again.log")) as child:
        wait_ready(child, f"http://127.0.0.1:{port}/readyz")
        yield replace(server, child=child, port=port)


Question = tuple[str, float, Callable[[int], dict[str, str]]]


def questions(calls: int, now: float) -> list[Question]:
    """Name, target and parameters; each time asks for something else, where that can be."""

    def at(share: float) -> str:
        moment = now - past.DAYS * 86400 * (1 - share)
        return datetime.fromtimestamp(moment, UTC).isoformat()

    def cursor(share: float) -> str:
        milliseconds = f"{int((now - past.DAYS * 86400 * (1 - share)) * 1000):012x}"
        id_ = f"{milliseconds[:8]}-{milliseconds[8:]}-7000-8000-000000000000"
        return base64.urlsafe_b64encode(id_.encode()).decode().rstrip("=")

    def number(k: int) -> int:
        return 1 + (k * 611_953 + 17) % calls

    page, search = PAGE_SECONDS, SEARCH_SECONDS
    return [
        ("first page", page, lambda k: {}),
        ("a page from the middle", page, lambda k: {"cursor": cursor(0.1 + k / 25)}),
        ("one connection", page, lambda k: {"connection": ("orders", "billing", "shipping", "rarely")[k % 4]}),
        ("since an instant", page, lambda k: {"since": at(0.1 + k / 25)}),
        ("a day of one connection", page, lambda k: {"connection": "orders", "until": at(0.1 + k / 25)}),
        ("status 500", page, lambda k: {"status": "500"}),
        ("status 5xx of a connection", page, lambda k: {"status": "5xx", "connection": ("orders", "rarely")[k % 2]}),
        ("failed ones", page, lambda k: {"state": "failed"}),
        ("DELETE from the console, 404", page, lambda k: {"method": "DELETE", "origin": "console", "status": "404"}),
        ("status 500 before an instant", page, lambda k: {"status": "500", "until": at(0.1 + k / 25)}),
        ("search: an order's number", search, lambda k: {"q": f"ord_{number(k)}"}),
        ("search: a word of every call", search, lambda k: {"q": "json"}),
        ("search: two words seldom together", search, lambda k: {"q": f"{word(k)} {word(k + 7)}"}),
        ("search: a word and a status", search, lambda k: {"q": word(k), "status": "404"}),
        ("search: as it is typed", search, lambda k: {"q": "application/json"[: 2 + k % 15]}),
        ("search: a customer as typed", search, lambda k: {"q": f"cust_{number(k) % 50000}"[: 3 + k % 8]}),
        ("search: with signs", search, lambda k: {"q": f"orders/ord_{number(k) // 30_000 * 30_000}"}),
        ("search: nothing has it", search, lambda k: {"q": f"absent{k}"}),
        ("search: a call's id", search, lambda k: {"q": f"0192a000-0000-7000-8000-{number(k):012x}"}),
    ]


def word(k: int) -> str:
    syllables = past.SYLLABLES
    return syllables[k % 20] + syllables[(k * 3) % 20] + syllables[(k * 7) % 12]


def ask_all(server: Server, calls: int, now: float) -> Iterator[Figure]:
    """Every question TIMES times, one at a time."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for name, target, parameters in questions(calls, now):
        spent, found = [], 0
        for k in range(TIMES):
            began = time.perf_counter()
            connection.request("GET", f"/api/calls?{urlencode(parameters(k))}", headers=dict(server.headers))
            answer = connection.getresponse()
            content = answer.read()
            spent.append(time.perf_counter() - began)
            if answer.status == 422 and b"search_too_broad" in content:
                tell("given_up", {"name": name, "asked": parameters(k), "seconds": spent[-1]})
            elif answer.status != 200:
                raise BenchmarkError(f"{name}, {parameters(k)}: {answer.status} {content[:300]!r}")
            found += len(json.loads(content).get("items", ()))
        figure = Figure(name, statistics.median(spent), max(spent), found // TIMES, target)
        tell("question", asdict(figure))
        yield figure


def report(made: past.Past, figures: list[Figure], cost: Cost) -> str:
    """A section for docs/benchmarks.md."""
    rows = [
        f"| {one.name} | {one.p50_seconds * 1000:,.1f} ms | {one.max_seconds * 1000:,.1f} ms "
        f"| ≤ {one.target_seconds * 1000:.0f} ms | {'yes' if one.p50_seconds <= one.target_seconds else '**no**'} |"
        for one in figures
    ]
    empty, full = (statistics.median(rounds) for rounds in (cost.empty, cost.full))
    return f"""## A history of {made.calls:,} calls

Made by SQL in {made.rows_seconds:,.0f} s, taken into the full-text search in {made.search_seconds:,.0f} s \
({made.calls / made.search_seconds:,.0f} calls a second); the file has {made.file_bytes / 1e9:,.1f} GB. \
Each question is asked of `GET /api/calls` {TIMES} times, with other values each time, one after another.

| question | p50 | longest | target (p50) | met |
|---|---|---|---|---|
{chr(10).join(rows)}

Proxied calls a second, {CALLERS} callers, medians of {len(cost.full)} rounds in turn: {empty:,.0f} on an empty \
history, {full:,.0f} on this one: **{cost.ratio:.2f}** (target ≥ {COST_RATIO}).
"""


def tell(kind: str, figures: dict[str, object]) -> None:
    """A line of JSON."""
    print(json.dumps({"figure": kind, **figures}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
