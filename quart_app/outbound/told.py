"""What an answer tells of the API's limits, from the many headers that are in use for it. Pure.

Retry-After (RFC 9110 §10.2.3); RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers, as structured
fields and as the older list of parameters); RateLimit-*, X-RateLimit-* and X-Rate-Limit-* as three headers each.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from quart_app.outbound.retry import LONGEST_HOLD_SECONDS, retry_after_seconds

SPELLED = re.compile(rb"(?:x-)?rate-?limit(?:-(limit|remaining|reset|reset-after|policy))?", re.IGNORECASE)
PARAMETER = re.compile(r"(?:^|[;,\s])(limit|remaining|reset|r|t|q|w)\s*=\s*\"?(\d{1,12})")
NUMBER = re.compile(r"\s*(-?\d{1,15})(?:\.(\d+))?")
EPOCH = 1_000_000_000
EPOCH_MILLISECONDS = 1_000_000_000_000
HELD_STATUSES = (403, 429, 502, 503, 504)
"""Answers whose Retry-After is meant for all calls; GitHub gives its secondary limit as 403."""


@dataclass(frozen=True, slots=True)
class Told:
    """`limit` calls a window, `remaining` of them, new ones in `reset_seconds`; `hold_seconds`: not before that."""

    limit: int | None = None
    remaining: int | None = None
    reset_seconds: float | None = None
    hold_seconds: float | None = None

    @property
    def wait_seconds(self) -> float:
        """Seconds before another call may go, 0 where nothing says that it must wait."""
        return max(self.hold_seconds or 0.0, (self.reset_seconds or 0.0) if self.remaining == 0 else 0.0)


@lru_cache(maxsize=1000)
def kind(name: bytes) -> str:
    """What a header of this name says, in whatever spelling; empty for one that says nothing of limits."""
    if name.lower() == b"retry-after":
        return "retry-after"
    match = SPELLED.fullmatch(name)
    return (match[1] or b"all").decode().lower() if match else ""


def told(headers: Sequence[tuple[bytes, bytes]], status: int, now: float) -> Told | None:
    """What the headers of an answer tell, `now` in seconds since the epoch; None where they tell nothing."""
    given = {found: value for name, value in headers if (found := kind(name))}
    if not given:
        return None
    hold = retry_after_seconds(given["retry-after"], now) if "retry-after" in given else None
    limit, remaining, reset = parameters(given)
    limit = number(given["limit"]) if "limit" in given else limit
    remaining = number(given["remaining"]) if "remaining" in given else remaining
    if "reset-after" in given or "reset" in given:
        reset = reset_seconds(given.get("reset-after", given.get("reset", b"")), now)
    return Told(
        limit=None if limit is None else int(limit),
        remaining=None if remaining is None else int(remaining),
        reset_seconds=reset,
        hold_seconds=hold if status in HELD_STATUSES else None,
    )


def parameters(given: dict[str, bytes]) -> tuple[float | None, float | None, float | None]:
    """Limit, remaining and reset out of RateLimit and RateLimit-Policy; of several policies the one nearest its end."""
    best: dict[str, int] = {}
    for item in given.get("all", b"").decode("latin-1").split(","):
        found = {name: int(value) for name, value in PARAMETER.findall(item)}
        known = {"limit": found.get("limit"), "r": found.get("r", found.get("remaining"))}
        known["t"] = found.get("t", found.get("reset"))
        there = {name: value for name, value in known.items() if value is not None}
        if "r" not in best or ("r" in there and there["r"] < best["r"]):
            best |= there
        else:
            best = there | best
    policy = given.get("policy", b"").decode("latin-1").partition(",")[0]
    quota = dict(PARAMETER.findall(policy)).get("q") or (NUMBER.match(policy) or [None, None])[1]
    limit = best.get("limit") if "limit" in best else (int(quota) if quota else None)
    reset = best.get("t")
    return limit, best.get("r"), None if reset is None else bounded(reset)


def number(value: bytes) -> float | None:
    """The first number of a value such as `100, 100;w=60`; None for a negative one, which some send for no limit."""
    match = NUMBER.match(value.decode("latin-1"))
    return float(match[1]) if match and not match[1].startswith("-") else None


def reset_seconds(value: bytes, now: float) -> float | None:
    """Seconds until a reset given as seconds from now, as an instant in seconds or milliseconds, or as a date."""
    text = value.decode("latin-1").strip()
    match = NUMBER.fullmatch(text)
    if match is None:
        return date_seconds(text, now)
    amount = float(text)
    if amount >= EPOCH_MILLISECONDS:
        amount = amount / 1000 - now
    elif amount >= EPOCH:
        amount -= now
    return bounded(amount)


def date_seconds(text: str, now: float) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return retry_after_seconds(text.encode("latin-1", "replace"), now)
    return bounded(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)


def bounded(seconds: float) -> float:
    return min(max(float(seconds), 0.0), LONGEST_HOLD_SECONDS)
