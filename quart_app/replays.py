"""A recorded call as a form again, with the secrets that are live now where the record has marks of theirs. Pure."""

import base64
import re
from collections.abc import Mapping
from typing import Any

from quart_app.errors import AppError
from quart_app.models import Call
from quart_app.outbound.headers import normal
from quart_app.outbound.redaction.marks import BEGINNING, MARKED, Place, restore
from quart_app.outbound.target import Target


def has_marks(row: Call, body: bytes | None, target: Target) -> bool:
    """Whether anything that is to be sent again has a mark in it."""
    texts = [own_url(row, target), *(value for _, value in kept_headers(row, target))]
    return any(MARKED.search(text) for text in texts) or (not row.request_exact and BEGINNING in (body or b""))


def own_url(row: Call, target: Target) -> str:
    """The recorded URL without the connection's own parameter, which is put in anew."""
    name = target.credential.query.partition("=")[0]
    return re.sub(rf"[?&]{re.escape(name)}={MARKED.pattern}$", "", row.url) if name else row.url


def kept_headers(row: Call, target: Target) -> list[tuple[str, str]]:
    """The recorded headers without those that the connection sets, and without the key of that one call."""
    left_out = (*target.injected, b"idempotency-key")
    return [(name, value) for name, value in row.request_headers if normal(name.encode()) not in left_out]


def recorded_form(
    row: Call, body: bytes | None, target: Target, live: Mapping[str, str], changes: dict[str, Any]
) -> dict[str, Any]:
    """The form that a recorded call came from, changes in place of its parts.

    `live` are the connection's secrets by role. A header whose secret cannot be put back is left out. Raises AppError
    409 where a URL's or a body's cannot.
    """
    restored = ((name, restore(value, live, "text")) for name, value in kept_headers(row, target))
    headers = [(name, value) for name, value in restored if value is not None]
    form = {"connection": target.name, "method": row.method, "headers": headers} | changes
    if "path" not in changes:
        form["path"] = recorded_path(own_url(row, target), str(target.base), live, whole="query" not in changes)
    if body is not None:
        form["base64"] = base64.b64encode(recorded_body(row, body, live)).decode()
    return form


def recorded_path(url: str, base: str, live: Mapping[str, str], *, whole: bool) -> str:
    """The path, and the query where the `whole` is wanted, below the connection's base URL."""
    rest = url.removeprefix(base)
    path = restore(rest if whole else rest.partition("?")[0], live, "url")
    if path is None or not url.startswith(base) or rest[:1] not in ("", "/", "?"):
        raise AppError(409, "path_not_kept", "The recorded URL has a secret in it or another base URL; give a path.")
    return path


def recorded_body(row: Call, body: bytes, live: Mapping[str, str]) -> bytes:
    if row.request_exact:
        return body
    text = restore(body.decode("utf-8", "surrogateescape"), live, place_of(row.request_media_type or ""))
    if text is None or row.request_truncated:
        raise AppError(409, "body_not_kept", "The request's body is not on record whole; give one.")
    return text.encode("utf-8", "surrogateescape")


def place_of(media_type: str) -> Place:
    if media_type.endswith("json"):
        return "json"
    return "form" if media_type == "application/x-www-form-urlencoded" else "text"
