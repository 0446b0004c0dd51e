"""Times as people say them."""

from datetime import UTC, datetime

UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def span(seconds: float) -> str:
    """A length of time in its largest unit: `12 minutes`."""
    whole = max(1, round(seconds))
    unit, size = next((unit, size) for unit, size in UNITS if whole >= size)
    count = round(whole / size)
    return f"{count} {unit}{'' if count == 1 else 's'}"


def ago(now: float, at: float) -> str:
    """How long ago an instant was; one that is still to come on our clock was just now."""
    return f"{span(now - at)} ago" if now - at >= 1 else "just now"


def clock_time(now: float, at: float) -> str:
    """An instant in UTC, to the minute, with the date where it is not today's."""
    moment, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC).date()
    return moment.strftime("%H:%M UTC" if moment.date() == today else "%Y-%m-%d %H:%M UTC")
