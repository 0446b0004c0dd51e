"""The one builder of error answers: `application/problem+json` (RFC 9457), for views, guard and relay alike."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from uuid_utils import uuid7

from quart_app.errors import AppError

MEDIA_TYPE = "application/problem+json"
TYPE_BASE = "urn:switchboard:error:"

Pairs = list[tuple[str, str]]


def problem(error: AppError, request_id: str | None = None) -> tuple[int, Pairs, bytes]:
    """Status, headers and body of an error's answer."""
    body = {
        "type": TYPE_BASE + error.code,
        "title": title(error.status),
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "errors": error.errors,
        "request_id": request_id or str(uuid7()),
    }
    headers = [("Content-Type", MEDIA_TYPE), ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
    return error.status, headers + list(error.headers), msgspec.json.encode(body)


def title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


async def send_problem(send: Any, error: AppError, more: Sequence[tuple[str, str]] = (), *, head: bool = False) -> None:
    """The same as ASGI messages, for what runs in front of Quart."""
    status, headers, body = problem(error)
    raw = [(name.lower().encode(), value.encode()) for name, value in (*headers, *more)]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if head else body, "more_body": False})
