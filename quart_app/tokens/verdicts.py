"""What the protocol decides, without I/O: after a dial, and of a token that comes back."""

from dataclasses import dataclass
from typing import Any, Literal

from quart_app.outbound.client import AttemptFailed
from quart_app.outbound.oauth import GrantFailed

NEVER_SENT = frozenset(("egress_denied", "dns_failed", "connect_timeout", "connect_failed", "tls_failed"))
DOUBTFUL_STATUSES = frozenset((500, 502, 504))
PAUSES = (0.0, 1.0)
"""Seconds before the tries that follow an answer that was lost, all inside the grace that providers give."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
LONGEST_TOLD_SECONDS = 3600.0

Next = Literal["stop", "again", "spare"]
Place = Literal["next", "newer", "older", "stored", "superseded", "gone"]


class DialFailed(Exception):
    """No token came. `status` is that of an answer that was none, None where no whole answer came.

    `pause_seconds` is how long nobody dials again, `skew_seconds` how far our clock is ahead, where an answer told.
    """

    def __init__(
        self, error: AttemptFailed | GrantFailed, status: int | None = None, skew_seconds: float | None = None
    ) -> None:
        super().__init__(error.detail)
        self.error = error
        self.status = status
        self.detail = error.detail
        self.pause_seconds = 0.0
        self.skew_seconds = skew_seconds

    @property
    def is_doubtful(self) -> bool:
        """Whether the provider may have done what it was asked for: then the refresh token may be spent.

        What was refused by name was not done; neither was what never left, nor what was put off (429, 503).
        """
        if isinstance(self.error, AttemptFailed):
            return self.error.reason not in NEVER_SENT
        if self.status is None:
            return False
        return self.status in DOUBTFUL_STATUSES or (self.status < 300 and not self.error.code)

    @property
    def state(self) -> str | None:
        """The connection's state that follows; None for no change."""
        return self.error.state if isinstance(self.error, GrantFailed) else None

    @property
    def reason(self) -> str:
        if isinstance(self.error, AttemptFailed):
            return self.error.reason
        return self.error.code or self.error.failure

    @property
    def full_detail(self) -> str:
        """With the provider's own words, for people who manage the connection."""
        said = self.error.said if isinstance(self.error, GrantFailed) else ""
        return f"{self.detail} The provider says: {said}" if said else self.detail

    @property
    def failure(self) -> str:
        """The class of what went wrong."""
        if isinstance(self.error, GrantFailed):
            return self.error.failure
        return "provider_down" if self.is_doubtful else "network"

    @property
    def retry_after(self) -> float | None:
        return self.error.retry_after if isinstance(self.error, GrantFailed) else None


@dataclass(frozen=True, slots=True)
class Step:
    """How an exchange ended, and whether another follows under the same claim, after a pause in seconds."""

    state: Literal["failed", "in_doubt"]
    next: Next = "stop"
    pause: float = 0.0


def judge(failed: DialFailed, *, spends: bool, tries: int, fresh: bool, has_spare: bool) -> Step:
    """What follows a dial without a token.

    `spends`: it sent a refresh token, of which nobody knows after a lost answer whether it is spent: it is sent again
    at once, twice, because many providers allow that for some seconds (RFC 9700 §4.14.2), `tries` having been made.
    `fresh`: nothing failed before, so those seconds may not be over. `has_spare`: another one came back too late once.
    """
    if failed.is_doubtful and spends:
        if fresh and tries < len(PAUSES) and failed.retry_after is None:
            return Step("in_doubt", "again", PAUSES[tries])
        return Step("in_doubt")
    if spends and has_spare and failed.state == "needs_sign_in":
        return Step("failed", "spare")
    return Step("failed")


def pause_after(failures: int, retry_after: float | None) -> float:
    """Seconds in which nobody dials again after so many failures in a row; what the provider says counts more."""
    backoff = min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 10), LONGEST_PAUSE_SECONDS)
    return max(backoff, min(retry_after or 0.0, LONGEST_TOLD_SECONDS))


def place(token: Any, entry: Any, *, generation: int, sent_at: float, cause: str) -> Place:
    """Where a token that came back belongs; `token` and `entry` are the rows as they are now, None if they are gone.

    One whose claim was lost meanwhile is kept all the same: as the newest, if it was sent after the one that is
    there, else aside.
    """
    if token is None:
        return "gone"
    if entry is not None and entry.state == "stored":
        return "stored"
    if entry is not None and entry.reason == "superseded":
        return "superseded"
    if cause == "sign_in" or token.generation == generation:
        return "next"
    if token.signed_in_at is not None and sent_at < token.signed_in_at:
        return "superseded"
    return "newer" if token.sent_at is None or sent_at > token.sent_at else "older"
