"""What webhooks are told: the body of each event as it is signed and sent."""

from collections.abc import Mapping
from typing import Any

import msgspec

from quart_app.instants import instant
from quart_app.settings import Settings

TEST = "test"
"""An event that somebody asked for, to see whether a webhook gets it."""

DATA = ("state", "reason", "detail", "generation", "failure")
"""What is told of a connection beside its name and page; whatever else a caller has stays here."""


def body(settings: Settings, event: str, connection: str, data: Mapping[str, Any], *, at: float) -> str:
    """JSON as the Standard Webhooks specification has it: `type`, `timestamp` of the event, `data`."""
    told = {"connection": connection or None} | {name: data.get(name) for name in DATA}
    told["url"] = page_of(settings, connection) if connection else None
    return msgspec.json.encode({"type": type_of(event), "timestamp": instant(at), "data": told}).decode()


def type_of(event: str) -> str:
    """The event with its noun: `connection.needs_sign_in`."""
    return f"webhook.{event}" if event == TEST else f"connection.{event}"


def page_of(settings: Settings, connection: str) -> str:
    """Where a person sees the connection."""
    return f"{settings.own_url}/connections/{connection}"
