"""History: every call on record, found again and shown."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import Select, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import AppError, Fault, Invalid, NotFound
from quart_app.history.search import Wanted, facet, find_numbers
from quart_app.history.time_box import at_most, is_sqlite
from quart_app.instants import instant, parse_instant
from quart_app.models import Attempt, Body, Call
from quart_app.recorder import Record, unpacked
from quart_app.records import TEXTUAL

ID = re.compile(r"[0-9a-f-]{36}")
STATES = ("sending", "done", "failed", "cancelled", "interrupted")
ORIGINS = ("console", "api", "proxy", "run", "token")
SEARCHED = frozenset(("q", "origin", "method", "state", "status"))
SEARCH_SECONDS = 2.0
LAG_SECONDS = 60


async def search(
    session: AsyncSession,
    filters: Mapping[str, str],
    *,
    limit: int,
    after: str | None,
    seconds: float = SEARCH_SECONDS,
) -> list[dict[str, Any]]:
    """Calls as lists show them (without body content), newest first; `after` is the id the page before ended with.

    `filters` are connection, origin, method, state, status (`404` or `5xx`), since, until (RFC 3339) and q: words that
    all occur in a call's URL, headers or textual bodies, the last of them perhaps only begun, or a call's id. (On
    PostgreSQL q is text in the URL.) Raises Invalid that names every filter that cannot be read, AppError
    `search_too_broad` after `seconds`.
    """
    wanted = read(filters)
    try:
        async with at_most(session, seconds):
            query = await chosen(session, wanted, filters, limit=limit, after=after)
            rows: list[Call] = list(await session.scalars(query))
    except TimeoutError:
        raise AppError(422, "search_too_broad", "The search takes too long: narrow it, by a time or a word.") from None
    attempts = await attempts_of(session, [row.id for row in rows])
    return [view(columns(row), attempts.get(row.id, [])) for row in rows]


async def chosen(
    session: AsyncSession, wanted: Wanted, filters: Mapping[str, str], *, limit: int, after: str | None
) -> Select[Any]:
    """The query of a page: straight through the calls where ids and connections lead, else by what the search finds."""
    if await is_of_one_call(session, filters):
        return select(Call).where(Call.id == filters["q"], *wanted.conditions).limit(0 if after else 1)
    if is_sqlite(session) and SEARCHED & filters.keys() and filters.get("state") != "sending":
        before = await number_of(session, after) if after else None
        numbers = await find_numbers(session, wanted, limit=limit, before=before)
        return select(Call).where(Call.number.in_(numbers)).order_by(Call.number.desc())
    query = select(Call).where(*wanted.conditions, *bounds(wanted, after)).order_by(Call.id.desc()).limit(limit)
    return query.where(Call.url.icontains(filters["q"], autoescape=True)) if "q" in filters else query


async def is_of_one_call(session: AsyncSession, filters: Mapping[str, str]) -> bool:
    id_ = filters.get("q", "")
    return ID.fullmatch(id_) is not None and await session.get(Call, id_) is not None


async def number_of(session: AsyncSession, id_: str) -> int:
    """A call's number; if it has gone meanwhile, of where it was."""
    query = select(Call.id, Call.number).where(Call.id <= id_).order_by(Call.id.desc()).limit(1)
    row = (await session.execute(query)).first()
    return 0 if row is None else row.number + (row.id != id_)


def bounds(wanted: Wanted, after: str | None) -> list[Any]:
    """Where the ids of a page lie: a call's id is made when it begins, give or take LAG_SECONDS."""
    made: list[Any] = [Call.id < after] if after else []
    if wanted.since is not None:
        made.append(Call.id >= first_id(wanted.since - LAG_SECONDS))
    if wanted.until is not None:
        made.append(Call.id < first_id(wanted.until + LAG_SECONDS))
    return made


async def made_by_others(session: AsyncSession, process: str, since: float) -> list[dict[str, Any]]:
    """Calls of other processes that began after `since` (seconds) and have ended, as lists show them."""
    query = select(Call).where(Call.id > first_id(since), Call.owner != process, Call.state != "sending")
    rows = list(await session.scalars(query.order_by(Call.id).limit(500)))
    attempts = await attempts_of(session, [row.id for row in rows])
    return [view(columns(row), attempts.get(row.id, [])) for row in rows]


def first_id(since: float) -> str:
    """The least UUIDv7 of an instant: its milliseconds in hex (RFC 9562 §5.7)."""
    text = f"{min(max(0, int(since * 1000)), 2**48 - 1):012x}"
    return f"{text[:8]}-{text[8:]}-7000-8000-000000000000"


def read(filters: Mapping[str, str]) -> Wanted:
    """What the filters want of a call. Raises Invalid that names every filter that cannot be read."""
    wanted, faults = Wanted(), []
    for name, value in filters.items():
        try:
            wanted = narrowed(wanted, name, value)
        except ValueError as error:
            faults.append(Fault(pointer=f"/{name}", detail=str(error)))
    if faults:
        raise Invalid("invalid_filter", "A filter cannot be read.", faults, status=422)
    return wanted


def narrowed(wanted: Wanted, name: str, value: str) -> Wanted:
    """What is wanted, and this filter as well; text is matched literally. Raises ValueError with the reason."""
    if "\0" in value or len(value) > 1000:
        raise ValueError("must be at most 1,000 characters without NUL")
    if name == "q":
        return wanted.with_words(value)
    if name in ("since", "until"):
        moment = parse_instant(value)
        condition = Call.started_at >= moment if name == "since" else Call.started_at < moment
        bound: dict[str, Any] = {name: moment}
        return replace(wanted, conditions=[*wanted.conditions, condition], **bound)
    return replace(
        wanted,
        conditions=[*wanted.conditions, *conditions(name, value)],
        terms=(*wanted.terms, facet(name, value)),
    )


def conditions(name: str, value: str) -> list[Any]:
    """The WHERE of a filter that the search knows by a term."""
    if name == "status":
        return status_condition(value)
    known = {"state": STATES, "origin": ORIGINS}.get(name)
    if known and value not in known:
        raise ValueError(f"must be one of {', '.join(known)}")
    if value == "sending":
        return [Call.state == literal_column("'sending'")]  # as the partial index has it
    return [getattr(Call, name) == (value.upper() if name == "method" else value)]


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


def is_json(media_type: str | None) -> bool:
    return media_type == "application/json" or (media_type or "").endswith("+json")


def view_content(content: bytes, media_type: str, *, as_json: bool) -> dict[str, Any]:
    """`json` for whole JSON, `text` for what reads as UTF-8 text, else `base64`: also with a NUL, which no text has."""
    if as_json and is_json(media_type):
        try:
            return {"json": msgspec.json.decode(content)}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    if b"\0" in content:
        return {"base64": base64.b64encode(content).decode()}
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
