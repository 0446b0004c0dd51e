"""Whether an attempt is followed by another, and when. Pure: what happened and what is allowed go in, a step comes out.

Only what may be sent twice is (RFC 9110 §9.2.2), and only after outcomes that another attempt may mend. The pause is
drawn at random from a growing range (full jitter), so that callers who failed together do not come back together.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from quart_app.outbound.headers import Headers
from quart_app.outbound.target import Policy

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
STATUSES = frozenset((429, 502, 503, 504))
FAILURES = frozenset(("dns_failed", "connect_timeout", "connect_failed", "reset"))
"""Failures of the connection. A handshake that failed fails again, and an answer that is late may yet be at work."""

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 60.0
"""A Retry-After beyond this is passed on to the caller with the answer, who knows whether to wait."""
LONGEST_HOLD_SECONDS = 3600.0
SECONDS = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: the answer's status or the reason of the failure, and the seconds it asks to wait."""

    status: int | None = None
    reason: str | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Another attempt, after a pause of `after` seconds: a `backoff` of ours, or as the API `told`."""

    after: float
    wait_reason: str = "backoff"


@dataclass(frozen=True, slots=True)
class Stop:
    """No other attempt; `reason` says why not, None where the outcome is not one to try again."""

    reason: str | None = None


def next_step(
    attempt: int,
    outcome: Outcome,
    policy: Policy,
    *,
    repeatable: bool,
    resendable: bool,
    left_seconds: float | None,
    spend: Callable[[], str | None],
    draw: Callable[[], float] = random.random,
) -> Retry | Stop:
    """What follows attempt number `attempt` (from 1).

    `repeatable` says that sending twice does no harm, `resendable` that the body is still there, `left_seconds` what
    is left of the call's total time, None without one. `spend` takes one from the retry budget, or says why not.
    """
    if outcome.status not in STATUSES and outcome.reason not in FAILURES:
        return Stop()
    if attempt >= policy.attempts:
        return Stop("attempts_spent")
    if not (repeatable or policy.retry_unsafe):
        return Stop("method_unsafe")
    if not resendable:
        return Stop("body_gone")
    told = outcome.retry_after or 0.0
    if told > LONGEST_WAIT_SECONDS:
        return Stop("told_to_wait_too_long")
    after = told + pause(attempt, draw)
    if left_seconds is not None and after >= left_seconds:
        return Stop("time_spent")
    refused = spend()
    return Stop(refused) if refused else Retry(after, "told" if told else "backoff")


def pause(attempt: int, draw: Callable[[], float]) -> float:
    """Seconds, at random between 0 and a bound that doubles with each attempt."""
    bound: float = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
    return draw() * bound


def repeatable(method: str, headers: Headers) -> bool:
    """Whether a request may be sent twice: by its method, or because it carries an idempotency key."""
    return method in IDEMPOTENT or any(name == b"idempotency-key" for name, _ in headers)


def retry_after_seconds(value: bytes, now: float, *, longest: float = LONGEST_HOLD_SECONDS) -> float | None:
    """Retry-After (RFC 9110 §10.2.3) in seconds from `now`, at most `longest`; None for what cannot be read.

    A fraction, as in `2.0`, breaks the RFC and is sent nevertheless.
    """
    text = value.decode("latin-1").strip()
    if SECONDS.fullmatch(text):
        return min(float(text), longest)
    try:
        moment = parsedate_to_datetime(text)
        seconds = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(seconds, 0.0), longest) if seconds > -LONGEST_HOLD_SECONDS else None
