"""Driving a subject: wrk for many callers, and one request for a batch."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from figures import Load
from process import BenchmarkError, clean_environment, direct, need

PATIENCE_SECONDS = 60  # a slow answer is measured as slow; only after this is it an error
BATCH_SECONDS = 300
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class BatchAnswer:
    """The body of a batch's answer, and how long it took until its last byte was here."""

    body: bytes | None
    seconds: float


def drive(url: str, headers: Mapping[str, str], *, callers: int, seconds: int) -> Load:
    """Keep `callers` connections busy with GETs for `seconds` on one thread of wrk."""
    options = [f"-c{callers}", "-t1", f"-d{seconds}s", "--latency", "--timeout", f"{PATIENCE_SECONDS}s"]
    for name, value in headers.items():
        options += ["-H", f"{name}: {value}"]
    ran = subprocess.run(
        [need("wrk", "wrk"), *options, url],
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=seconds + 2 * PATIENCE_SECONDS,
    )
    if ran.returncode:
        raise BenchmarkError(f"wrk failed: {(ran.stderr or ran.stdout).strip()}")
    return parse(ran.stdout)


def parse(text: str) -> Load:
    """The numbers in what wrk prints; an error is of a socket, a timeout, or a status not 2xx or 3xx."""
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m|h),", text)
    if total is None:
        raise BenchmarkError(f"wrk printed no total:\n{text}")
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    bad = int(refused[1]) if refused else 0
    return Load(
        answers=int(total[1]) - bad,
        seconds=float(total[2]) * UNITS[total[3]],
        p50_seconds=_percentile(text, 50),
        p99_seconds=_percentile(text, 99),
        errors=bad + (sum(map(int, sockets.groups())) if sockets else 0),
    )


def _percentile(text: str, percent: int) -> float:
    """A line of wrk's latency distribution, such as `50%    1.18ms`; nan if nothing was answered."""
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m|h)\s*$", text, re.MULTILINE)
    return float(found[1]) * UNITS[found[2]] if found else float("nan")


def send_batch(request: urllib.request.Request) -> BatchAnswer:
    """Send one batch and read its answer to the end; a batch that is refused as a whole has no body."""
    started = time.perf_counter()
    try:
        with direct.open(request, timeout=BATCH_SECONDS) as answer:
            body: bytes | None = answer.read()
    except urllib.error.HTTPError:
        body = None
    return BatchAnswer(body, time.perf_counter() - started)
