"""How a connection stands in this process: what its limits allow now, as a person would ask."""

import time
from typing import Any

from quart_app import connections
from quart_app.instants import instant
from quart_app.outbound.breaker import Breaker
from quart_app.outbound.limits import Limits
from quart_app.services import Services


async def show(services: Services, name: str) -> dict[str, Any]:
    """The limits of a connection in the form of the API. Raises NotFound."""
    target = await connections.load(services, name)
    limits = services.client.limits_of(target)
    limits.heed(target.policy)
    limits.refresh()

    def at(moment: float) -> str | None:
        """An instant of the monotonic clock on the wall's."""
        return instant(services.clock() + moment - time.monotonic())

    return {
        "connection": name,
        "in_flight": limits.taken,
        "waiting": limits.waiting,
        "concurrency": limits.limit,
        "per_minute": limits.per_minute,
        "sent_last_minute": limits.sent_last_minute() if limits.per_minute else None,
        "learned": learned(limits, at),
        "held_until": at(limits.held_until) if limits.held_until else None,
        "breaker": breaker(limits.breaker, at),
        "retries": retries(limits.breaker),
    }


def learned(limits: Limits, at: Any) -> dict[str, Any] | None:
    """What the API itself has told of its limits, None where it told nothing."""
    if limits.quota is None and limits.remaining is None:
        return None
    left = limits.remaining
    return {
        "limit": limits.quota,
        "remaining": None if left is None else max(0, left),
        "resets_at": None if left is None else at(limits.resets_at),
    }


def breaker(of: Breaker, at: Any) -> dict[str, Any]:
    _, _, attempts, failures = of.window.sums()
    opened = of.opened_at is not None
    return {
        "state": of.state,
        "calls": attempts,
        "failures": failures,
        "opened_at": at(of.opened_at) if opened else None,
        "probes_at": at(of.probes_at) if opened else None,
        "opened_count": of.opened_count,
    }


def retries(of: Breaker) -> dict[str, int]:
    calls, spent, _, _ = of.window.sums()
    return {"calls": calls, "retries": spent, "left": of.retries_left()}
