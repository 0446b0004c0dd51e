"""One line of log for each call that ended, with its id and without its URL: a group of them is one write."""

import sys
from collections.abc import Sequence

import msgspec

from quart_app.recorder import Record
from quart_app.vitals.logs import STDERR, now

ENCODER = msgspec.json.Encoder()


def log_calls(records: Sequence[Record]) -> None:
    """Lines for the calls that are on record now; a call that only leaves has none yet."""
    write(records, "info")


def log_lost(records: Sequence[Record]) -> None:
    """Lines for the calls whose records were given up: this is all that is left of them."""
    write(records, "error", recorded=False)


class Line(msgspec.Struct, omit_defaults=True):
    """A line's fields in their order; a structure, because it is made for every call."""

    timestamp: str
    level: str
    event: str
    id: str
    connection: str
    origin: str
    method: str
    status: int | None
    state: str
    reason: str | None
    duration_seconds: float | None
    attempts: int
    waited_seconds: float
    recorded: bool = True


def write(records: Sequence[Record], level: str, *, recorded: bool = True) -> None:
    at = now()
    lines = [line(record, at, level, recorded) for record in records if record.call["state"] != "sending"]
    if lines:
        STDERR.write(readable(lines) if sys.stderr.isatty() else ENCODER.encode_lines(lines))


def line(record: Record, at: str, level: str, recorded: bool) -> Line:
    call = record.call
    return Line(
        at,
        level,
        "call",
        call["id"],
        call["connection"],
        call["origin"],
        call["method"],
        call["status"],
        call["state"],
        call["reason"],
        call["duration_seconds"],
        len(record.attempts),
        call["waited_seconds"],
        recorded,
    )


def readable(lines: Sequence[Line]) -> bytes:
    """For a person at a terminal."""
    return b"".join(f"{sentence(line)}\n".encode() for line in lines)


def sentence(line: Line) -> str:
    outcome = line.reason or line.status or line.state
    parts = [f"{line.duration_seconds or 0:.3f} s"]
    if line.attempts > 1:
        parts.append(f"{line.attempts} attempts")
    if line.waited_seconds:
        parts.append(f"{line.waited_seconds:.1f} s waited")
    if not line.recorded:
        parts.append("its record is lost")
    what = f"{line.connection} {line.method} {outcome}"
    return f"{line.timestamp[11:19]} call {what} ({line.origin}; {', '.join(parts)}) {line.id}"
