"""When a delivery is tried again. Pure: what came of a try goes in, seconds to wait come out."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from quart_app.webhooks.events import TEST

WAITS_SECONDS = (5.0, 30.0, 120.0, 600.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
"""After the first try, the second and so on."""

MOST_TRIES = len(WAITS_SECONDS) + 1
JITTER_SHARE = 0.2
LONGEST_TOLD_SECONDS = 86400.0
GONE = 410


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one try: the answer's status, else the reason of the failure with a sentence."""

    status: int | None = None
    reason: str | None = None
    detail: str | None = None
    seconds: float = 0.0
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status <= 299


def most_tries(event: str) -> int:
    """A test is tried once: who asked for it looks at the outcome."""
    return 1 if event == TEST else MOST_TRIES


def wait_after(tries: int, event: str, outcome: Outcome, draw: Callable[[], float] = random.random) -> float | None:
    """Seconds until the next try after so many that failed, None for no other.

    With jitter, so that those which failed together do not come back together; never sooner than the receiver told.
    """
    if outcome.status == GONE or tries >= most_tries(event):
        return None
    wait = WAITS_SECONDS[tries - 1] * (1 + JITTER_SHARE * draw())
    return max(wait, min(outcome.retry_after or 0.0, LONGEST_TOLD_SECONDS))
