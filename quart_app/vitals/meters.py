"""What is counted of calls, by connection: plain numbers, because each is counted on the way of a call.

A call is counted once, when its record is handed to the recorder: also one that was abandoned, and one whose record
waits or is lost because the database fails.
"""

from bisect import bisect_left
from typing import Any

import msgspec

from quart_app.recorder import Record

DURATION_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
WAIT_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
MOST_CONNECTIONS = 1000
OTHERS = "_others"
"""Under this name, which no connection can have, all beyond MOST_CONNECTIONS are counted together."""


class Histogram:
    """How many values fell up to each bound and beyond the last, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Series:
    """The counts of one connection. `calls` goes by origin, state and class of status (0 for none)."""

    __slots__ = (
        "attempts",
        "bytes_received",
        "bytes_sent",
        "calls",
        "durations",
        "next_steps",
        "reasons",
        "refreshes",
        "waits",
    )

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str, int], int] = {}
        self.reasons: dict[str, int] = {}
        self.durations = Histogram(DURATION_SECONDS)
        self.attempts = 0
        self.next_steps: dict[str, int] = {}
        self.waits: dict[str, Histogram] = {}
        self.refreshes: dict[str, int] = {}
        self.bytes_sent = 0
        self.bytes_received = 0

    def count(self, record: Record) -> None:
        call = record.call
        kind = (call["origin"], call["state"], (call["status"] or 0) // 100)
        self.calls[kind] = self.calls.get(kind, 0) + 1
        if call["reason"] is not None:
            self.reasons[call["reason"]] = self.reasons.get(call["reason"], 0) + 1
        self.durations.add(call["duration_seconds"] or 0.0)
        self.bytes_sent += call["request_size"] or 0
        self.bytes_received += call["response_size"] or 0
        if call["websocket"] is not None:
            carried = msgspec.json.decode(call["websocket"])
            self.bytes_sent += carried["bytes_sent"]
            self.bytes_received += carried["bytes_received"]
        if call["origin"] == "token":
            self.count_refresh(call)
        for attempt in record.attempts:
            self.attempts += 1
            if attempt["next_reason"] is not None or attempt["wait_reason"] is not None:
                self.count_detour(attempt)

    def count_refresh(self, call: dict[str, Any]) -> None:
        """A token exchange; one that was answered, but not with a token, has a `detail` that says why."""
        outcome = "failed" if call["reason"] else "refused" if call["detail"] else "renewed"
        self.refreshes[outcome] = self.refreshes.get(outcome, 0) + 1

    def count_detour(self, attempt: dict[str, Any]) -> None:
        """What an attempt waited for, and what came of one that was not the end of it."""
        step, wait = attempt["next_reason"], attempt["wait_reason"]
        if step is not None:
            self.next_steps[step] = self.next_steps.get(step, 0) + 1
        if wait is not None:
            if wait not in self.waits:
                self.waits[wait] = Histogram(WAIT_SECONDS)
            self.waits[wait].add(attempt["waited_seconds"])


class Meters:
    """The series of all connections, by name. `names` are the connections there are, by id, as last looked up."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        self.names: dict[str, str] = {}

    def settled(self, record: Record) -> None:
        """Counts a call that ended; one that only leaves is not counted yet."""
        if record.call["state"] == "sending":
            return
        found = self.series.get(record.call["connection"])
        if found is None:
            found = self.add(record.call["connection"])
        found.count(record)

    def add(self, name: str) -> Series:
        if len(self.series) >= MOST_CONNECTIONS:
            name = OTHERS
        return self.series.setdefault(name, Series())

    def keep(self, names: dict[str, str]) -> None:
        """Takes over which connections there are, and drops the series of those that were deleted."""
        self.names = names
        for name in self.series.keys() - names.values() - {OTHERS}:
            del self.series[name]
