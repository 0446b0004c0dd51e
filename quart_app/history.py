"""History: every call on record, found again and shown."""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import Invalid, NotFound
from quart_app.instants import instant, parse_instant
from quart_app.models import Attempt, Body, Call
from quart_app.recorder import Record, unpacked
from quart_app.records import TEXTUAL

ID = re.compile(r"[0-9a-f-]{36}")
STATES = ("sending", "done", "failed", "cancelled", "interrupted")
ORIGINS = ("console", "api", "proxy", "run", "token")


async def search(
    session: AsyncSession, filters: Mapping[str, str], *, limit: int, after: str | None
) -> list[dict[str, Any]]:
    """Calls as lists show them (without body content), newest first; `after` is the id the page before ended with.

    `filters` are connection, origin, method, state, status (`404` or `5xx`), since, until (RFC 3339) and q, text
    in the URL. Raises Invalid that names every filter that cannot be read.
    """
    query = select(Call).order_by(Call.id.desc()).limit(limit)
    if after:
        query = query.where(Call.id < after)
    rows = list(await session.scalars(narrowed(query, filters)))
    attempts = await attempts_of(session, [row.id for row in rows])
    return [view(columns(row), attempts.get(row.id, [])) for row in rows]


async def made_by_others(session: AsyncSession, process: str, since: float) -> list[dict[str, Any]]:
    """Calls of other processes that began after `since` (seconds) and have ended, as lists show them."""
    query = select(Call).where(Call.id > first_id(since), Call.owner != process, Call.state != "sending")
    rows = list(await session.scalars(query.order_by(Call.id).limit(500)))
    attempts = await attempts_of(session, [row.id for row in rows])
    return [view(columns(row), attempts.get(row.id, [])) for row in rows]


def first_id(since: float) -> str:
    """The least UUIDv7 of an instant: its milliseconds in hex (RFC 9562 §5.7)."""
    text = f"{int(since * 1000):012x}"
    return f"{text[:8]}-{text[8:]}-7000-8000-000000000000"


def narrowed(query: Select[Any], filters: Mapping[str, str]) -> Select[Any]:
    faults: list[Any] = []
    for name, value in filters.items():
        try:
            query = query.where(*condition(name, value))
        except ValueError as error:
            faults.append({"pointer": f"/{name}", "detail": str(error)})
    if faults:
        raise Invalid("invalid_filter", "A filter cannot be read.", faults, status=422)
    return query


def condition(name: str, value: str) -> list[Any]:
    """The WHERE of one filter; text is matched literally. Raises ValueError with the reason."""
    if "\0" in value or len(value) > 1000:
        raise ValueError("must be at most 1,000 characters without NUL")
    if name in ("connection", "method"):
        return [getattr(Call, name) == (value.upper() if name == "method" else value)]
    if name in ("state", "origin"):
        known = STATES if name == "state" else ORIGINS
        if value not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return [getattr(Call, name) == value]
    if name == "status":
        return status_condition(value)
    if name in ("since", "until"):
        moment = parse_instant(value)
        return [Call.started_at >= moment if name == "since" else Call.started_at < moment]
    return [or_(Call.url.icontains(value, autoescape=True), Call.id == value)]


def status_condition(value: str) -> list[Any]:
    if len(value) == 3 and value[0] in "12345" and value[1:].lower() == "xx":
        low = int(value[0]) * 100
        return [Call.status >= low, Call.status < low + 100]
    if not (value.isascii() and value.isdigit() and len(value) == 3):
        raise ValueError("must be a status such as 404, or a class such as 5xx")
    return [Call.status == int(value)]


async def attempts_of(session: AsyncSession, call_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    query = select(Attempt).where(Attempt.call_id.in_(call_ids)).order_by(Attempt.call_id, Attempt.number)
    for row in await session.scalars(query):
        found.setdefault(row.call_id, []).append(columns(row))
    return found


async def get(session: AsyncSession, call_id: str) -> dict[str, Any]:
    """A call, whole. Raises NotFound."""
    row = await find(session, call_id)
    hashes = [hashed for hashed in (row.request_body, row.response_body) if hashed]
    bodies = {
        body.hash: unpacked(body.encoding, body.content)
        for body in await session.scalars(select(Body).where(Body.hash.in_(hashes)))
    }
    attempts = await attempts_of(session, [row.id])
    return view(columns(row), attempts.get(row.id, []), bodies)


async def find(session: AsyncSession, call_id: str) -> Call:
    """Raises NotFound `unknown_call`."""
    row = await session.get(Call, call_id) if ID.fullmatch(call_id) else None
    if row is None:
        raise NotFound("unknown_call", "There is no call of this id.")
    return row


async def body(session: AsyncSession, call_id: str, side: str) -> tuple[bytes, str | None]:
    """The kept bytes of one `side`, request or response, and their media type. Raises NotFound."""
    row = await find(session, call_id)
    hashed = getattr(row, f"{side}_body")
    kept = await session.get(Body, hashed) if hashed else None
    if kept is None:
        raise NotFound("no_body", f"No {side} body is kept for this call.")
    return unpacked(kept.encoding, kept.content), getattr(row, f"{side}_media_type")


def columns(row: Any) -> dict[str, Any]:
    return {column.name: getattr(row, column.name) for column in row.__table__.columns}


def view_record(record: Record, *, content: bool = True) -> dict[str, Any]:
    """A record that may not be on disk yet, as `get` or (without content) `search` would show it."""
    row = dict(record.call)
    for name in ("request_headers", "response_headers", "websocket"):
        row[name] = msgspec.json.decode(row[name]) if row[name] else None
    return view(row, record.attempts, record.bodies if content else None)


def view(
    row: Mapping[str, Any],
    attempts: Sequence[Mapping[str, Any]],
    bodies: Mapping[str, bytes] | None = None,
) -> dict[str, Any]:
    """A call in the form of the API; `bodies` by hash, or None for a list, which shows no content."""
    answered = row["response_headers"] is not None
    return {
        "id": row["id"],
        "connection": row["connection"],
        "origin": row["origin"],
        "actor": row["actor"],
        "replay_of": row["replay_of"],
        "method": row["method"],
        "url": row["url"],
        "state": row["state"],
        "reason": row["reason"],
        "detail": row["detail"],
        "status": row["status"],
        "started_at": instant(row["started_at"]),
        "duration_seconds": row["duration_seconds"],
        "waited_seconds": row["waited_seconds"],
        "websocket": row["websocket"],
        "request": {"headers": row["request_headers"], "body": view_body(row, "request", bodies)},
        "response": {"headers": row["response_headers"], "body": view_body(row, "response", bodies)}
        if answered
        else None,
        "attempts": [view_attempt(attempt) for attempt in attempts],
    }


def view_body(row: Mapping[str, Any], side: str, bodies: Mapping[str, bytes] | None) -> dict[str, Any] | None:
    size = row[f"{side}_size"]
    if size is None:
        return None
    media_type, truncated = row[f"{side}_media_type"], row[f"{side}_truncated"]
    shown = {"size": size, "media_type": media_type, "truncated": truncated}
    if side == "response":
        shown["sha256"] = row["response_sha256"]
    content = (bodies or {}).get(row[f"{side}_body"] or "")
    if content is not None:
        shown |= view_content(content, media_type or "", as_json=side == "response" and not truncated)
    return shown


def view_content(content: bytes, media_type: str, *, as_json: bool) -> dict[str, Any]:
    """`json` for whole JSON, `text` for what reads as UTF-8 text, else `base64`."""
    if as_json and (media_type == "application/json" or media_type.endswith("+json")):
        try:
            return {"json": msgspec.json.decode(content)}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        if not media_type.startswith(TEXTUAL) and error.start < len(content) - 4:
            return {"base64": base64.b64encode(content).decode()}
        text = content.decode(errors="replace")
    return {"text": text}


def view_attempt(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "number": row["number"],
        "status": row["status"],
        "reason": row["reason"],
        "started_at": instant(row["started_at"]),
        "duration_seconds": row["duration_seconds"],
        "waited_seconds": row["waited_seconds"],
        "wait_reason": row["wait_reason"],
        "next_reason": row["next_reason"],
        "url": row["url"],
        "timings": {phase: row[f"{phase}_seconds"] for phase in ("dns", "connect", "tls", "first_byte", "transfer")},
        "remote_address": row["remote_address"],
        "token_generation": row["token_generation"],
    }
