"""Instants: seconds since the epoch inside, RFC 3339 in UTC outside."""

from datetime import UTC, datetime


def instant(seconds: float | None) -> str | None:
    """RFC 3339 in UTC, to the microsecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_instant(value: str) -> float:
    """Seconds since the epoch from RFC 3339. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("must be an instant such as 2026-11-21T08:00:00Z") from None
