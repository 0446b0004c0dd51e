"""Lists in pages: `{"items", "next"}`, newest first, with an opaque cursor."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from quart_app.errors import Fault, Invalid

DEFAULT_LIMIT = 50
MOST = 500
ID = re.compile(r"[0-9a-f-]{36}")
NUMBER = re.compile(r"[1-9][0-9]{0,17}")


def wanted(
    arguments: Mapping[str, str], filters: tuple[str, ...] = (), *, places: re.Pattern[str] = ID
) -> tuple[int, str | None, dict[str, str]]:
    """Limit, the id to go on after, and the filters given. Raises Invalid that names every fault.

    `places` is what the ids of this list look like.
    """
    faults: list[Fault] = []
    limit = arguments.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 3 and 1 <= int(limit) <= MOST):
        faults.append({"pointer": "/limit", "detail": f"must be from 1 to {MOST}"})
    after = None
    if arguments.get("cursor"):
        after = position(arguments["cursor"], places)
        if after is None:
            faults.append({"pointer": "/cursor", "detail": "is not a cursor of this list"})
    for name in arguments:
        if name not in ("limit", "cursor", *filters):
            faults.append({"pointer": f"/{name[:64]}", "detail": "unknown parameter"})
    if faults:
        raise Invalid("invalid_query", "The query has faults; each is listed.", faults, status=422)
    return int(limit), after, {name: arguments[name] for name in filters if arguments.get(name)}


def page(items: list[dict[str, Any]], limit: int, last_id: str | None) -> dict[str, Any]:
    """A full page may have another behind it; a short one is the last."""
    full = len(items) == limit and last_id is not None
    return {"items": items, "next": cursor(last_id) if full and last_id else None}


def cursor(last_id: str) -> str:
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def position(text: str, places: re.Pattern[str] = ID) -> str | None:
    try:
        decoded = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    return decoded if places.fullmatch(decoded) else None
