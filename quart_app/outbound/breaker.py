"""A connection's last half minute, and the breaker that goes by it: an upstream in trouble is left in peace.

Open: no call is sent. Half open: one call at a time may try; the first that is answered closes it.
"""

import time
from collections.abc import Callable

from quart_app.errors import CallFailed

SPAN_SECONDS = 30
SHARE = 0.5
LEAST = 20
OPEN_SECONDS = 30.0
RETRY_SHARE = 0.2
RETRY_FLOOR = 10
FAILING = frozenset(
    (
        "dns_failed",
        "connect_timeout",
        "connect_failed",
        "tls_failed",
        "first_byte_timeout",
        "idle_timeout",
        "reset",
        "protocol_error",
    )
)
"""Failures that speak of the upstream; a total time that ran out speaks of the caller's patience."""


class Window:
    """Calls, retries, attempts and failures of the last SPAN_SECONDS, counted by the second."""

    __slots__ = ("_clock", "_seconds", "_slots")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds = [-SPAN_SECONDS] * SPAN_SECONDS
        self._slots = [[0, 0, 0, 0] for _ in range(SPAN_SECONDS)]

    def now(self) -> list[int]:
        """The counts of this second, to be added to: calls, retries, attempts, failures."""
        second = int(self._clock())
        place = second % SPAN_SECONDS
        if self._seconds[place] != second:
            self._seconds[place] = second
            self._slots[place] = [0, 0, 0, 0]
        return self._slots[place]

    def sums(self) -> tuple[int, int, int, int]:
        oldest = int(self._clock()) - SPAN_SECONDS
        within = [slot for second, slot in zip(self._seconds, self._slots, strict=True) if second > oldest]
        calls, retries, attempts, failures = map(sum, zip(*within, strict=True)) if within else (0, 0, 0, 0)
        return calls, retries, attempts, failures

    def clear(self) -> None:
        self._seconds = [-SPAN_SECONDS] * SPAN_SECONDS


class Breaker:
    """Told how each attempt ended; refuses calls while the upstream fails. Also keeps the retry budget.

    `clock` is monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.window = Window(clock)
        self.opened_at: float | None = None
        self.opened_count = 0
        self._clock = clock
        self._probe: object | None = None

    @property
    def state(self) -> str:
        if self.opened_at is None:
            return "closed"
        return "open" if self._clock() < self.probes_at else "half_open"

    @property
    def probes_at(self) -> float:
        """When a call may try again, on the monotonic clock."""
        return (self.opened_at or 0.0) + OPEN_SECONDS

    def admit(self, who: object, *, insists: bool = False) -> None:
        """Lets an attempt of `who` go; half open it is the probe, which `insists` may be at once.

        Raises CallFailed `circuit_open`.
        """
        if self.opened_at is None:
            return
        if (self.state == "half_open" and self._probe in (None, who)) or insists:
            self._probe = who
            return
        raise self.refusal()

    def check(self) -> None:
        """Before a call waits for a place: while no probe is due it need not. Raises CallFailed `circuit_open`."""
        if self.opened_at is not None and self.state == "open":
            raise self.refusal()

    def refusal(self) -> CallFailed:
        left = max(1.0, self.probes_at - self._clock())
        return CallFailed(
            "circuit_open",
            "Most calls of this connection failed in the last half minute, so it is left in peace; "
            f"the next one is tried in {left:.0f} s.",
            retry_after=left,
        )

    def ended(self, who: object, *, failed: bool, first: bool) -> None:
        """Counts an attempt; `first` says that it was the first of its call."""
        counts = self.window.now()
        counts[2] += 1
        if first:
            counts[0] += 1
        if failed:
            self.failed(who, counts)
        elif self.opened_at is not None and self._probe is who:
            self.opened_at = self._probe = None
            self.window.clear()

    def failed(self, who: object, counts: list[int] | None = None) -> None:
        """A failure: of an attempt that `ended`, or of an answer in its middle."""
        (counts or self.window.now())[3] += 1
        if self.opened_at is not None:
            if self._probe is who:
                self._open()
            return
        _, _, attempts, failures = self.window.sums()
        if attempts >= LEAST and failures >= attempts * SHARE:
            self._open()

    def _open(self) -> None:
        self.opened_at, self._probe = self._clock(), None
        self.opened_count += 1

    def forget(self, who: object) -> None:
        """The attempt of `who` ended without telling anything: another may be the probe."""
        if self._probe is who:
            self._probe = None

    def retries_left(self) -> int:
        """Retries that this half minute still has: a fifth of its calls, and never under a few."""
        calls, retries, _, _ = self.window.sums()
        return max(0, max(RETRY_FLOOR, int(calls * RETRY_SHARE)) - retries)

    def spend_retry(self) -> str | None:
        """Takes one retry; where there is none to take, says why."""
        if self.opened_at is not None:
            return "circuit_open"
        if self.retries_left() == 0:
            return "budget_spent"
        self.window.now()[1] += 1
        return None
