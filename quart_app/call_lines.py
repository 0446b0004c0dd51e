"""One line of log for each call that ended, with its id and without its URL: a group of them is one write."""

import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from quart_app.logs import STDERR, now
from quart_app.recorder import Record

ENCODER = msgspec.json.Encoder()


def log_calls(records: Sequence[Record]) -> None:
    """Lines for the calls that are on record now; a call that only leaves has none yet."""
    write(records, "info", {})


def log_lost(records: Sequence[Record]) -> None:
    """Lines for the calls whose records were given up: this is all that is left of them."""
    write(records, "error", {"recorded": False})


def write(records: Sequence[Record], level: str, more: dict[str, Any]) -> None:
    first = {"timestamp": now(), "level": level, "event": "call"}
    lines = [first | line(record) | more for record in records if record.call["state"] != "sending"]
    if lines:
        STDERR.write(readable(lines) if sys.stderr.isatty() else ENCODER.encode_lines(lines))


def line(record: Record) -> dict[str, Any]:
    call = record.call
    return {
        "id": call["id"],
        "connection": call["connection"],
        "origin": call["origin"],
        "method": call["method"],
        "status": call["status"],
        "state": call["state"],
        "reason": call["reason"],
        "duration_seconds": call["duration_seconds"],
        "attempts": len(record.attempts),
        "waited_seconds": call["waited_seconds"],
    }


def readable(lines: Sequence[dict[str, Any]]) -> bytes:
    """For a person at a terminal."""
    return b"".join(f"{sentence(line)}\n".encode() for line in lines)


def sentence(line: dict[str, Any]) -> str:
    outcome = line["reason"] or line["status"] or line["state"]
    parts = [f"{line['duration_seconds'] or 0:.3f} s"]
    if line["attempts"] > 1:
        parts.append(f"{line['attempts']} attempts")
    if line["waited_seconds"]:
        parts.append(f"{line['waited_seconds']:.1f} s waited")
    if not line.get("recorded", True):
        parts.append("its record is lost")
    what = f"{line['connection']} {line['method']} {outcome}"
    return f"{line['timestamp'][11:19]} call {what} ({line['origin']}; {', '.join(parts)}) {line['id']}"
