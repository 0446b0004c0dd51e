"""What differs between two calls on record, whoever made them."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app import history
from quart_app.errors import Fault, Invalid
from quart_app.history.diffs import Pointer, compare, parse_pointer
from quart_app.models import Body
from quart_app.recorder import unpacked

INLINE_BYTES = 64 * 1024
MOST_IGNORED = 100
OTHER_EACH_TIME = ("id", "replay_of", "started_at", "duration_seconds", "waited_seconds")
OTHER_EACH_ATTEMPT = ("started_at", "duration_seconds", "waited_seconds", "timings")


async def diff(session: AsyncSession, call_id: str, other_id: str, ignore: Sequence[str]) -> dict[str, Any]:
    """The changes from one call to the other, but for what `ignore` points to and what is other each time.

    Pointers are those of a call as `history.get` shows it, with headers by their names in lower case and a text by its
    lines. Bodies are compared as JSON where both are, else as lines of text, else by their content's hash and size.
    Raises Invalid for what is no pointer, NotFound.
    """
    pointers = read_pointers(ignore)
    before, after = await load(session, call_id), await load(session, other_id)
    if sum(len(packed) for _, bodies in (before, after) for _, packed in bodies.values()) > INLINE_BYTES:
        found = await asyncio.to_thread(compare_calls, before, after, pointers)
    else:
        found = compare_calls(before, after, pointers)
    return {"from": call_id, "to": other_id, "same": not found["changes"] and not found["truncated"], **found}


def read_pointers(ignore: Sequence[str]) -> list[Pointer]:
    faults, pointers = [], []
    for text in ignore:
        try:
            pointers.append(parse_pointer(text))
        except ValueError as error:
            faults.append(Fault(pointer="/ignore", detail=str(error)))
    if len(ignore) > MOST_IGNORED:
        faults.append(Fault(pointer="/ignore", detail=f"must be at most {MOST_IGNORED}"))
    if faults:
        raise Invalid("invalid_query", "The query has faults; each is listed.", faults, status=422)
    return pointers


Loaded = tuple[dict[str, Any], dict[str, tuple[str, bytes]]]


async def load(session: AsyncSession, call_id: str) -> Loaded:
    """A call in the form of the API without content, and its bodies by side, as they are kept."""
    row = await history.find(session, call_id)
    attempts = await history.attempts_of(session, [row.id])
    shown = history.view(history.columns(row), attempts.get(row.id, []))
    keys = {"request": row.request_body, "response": row.response_body}
    query = select(Body).where(Body.hash.in_([key for key in keys.values() if key]))
    kept = {body.hash: (body.encoding, body.content) for body in await session.scalars(query)}
    return shown, {side: kept[key] for side, key in keys.items() if key in kept}


def compare_calls(before: Loaded, after: Loaded, ignore: Sequence[Pointer]) -> dict[str, Any]:
    """Seconds of work for large bodies: not for the loop."""
    old, new = plain(before[0]), plain(after[0])
    for side in ("request", "response"):
        one, other = old[side], new[side]
        if one and other and one["body"] and other["body"]:
            contents = [unpacked(*bodies[side]) if side in bodies else None for _, bodies in (before, after)]
            one["body"], other["body"] = comparable([one["body"], other["body"]], contents)
    found = compare(old, new, ignore)
    return {"truncated": found.truncated, "changes": found.changes}


def plain(shown: Mapping[str, Any]) -> dict[str, Any]:
    """A call without what is other each time; headers by name, several of a name as a list."""
    call = {name: value for name, value in shown.items() if name not in OTHER_EACH_TIME}
    call["attempts"] = [
        {name: value for name, value in attempt.items() if name not in OTHER_EACH_ATTEMPT}
        for attempt in shown["attempts"]
    ]
    for side in ("request", "response"):
        if shown[side]:
            call[side] = {"headers": by_name(shown[side]["headers"]), "body": shown[side]["body"]}
    return call


def by_name(headers: Sequence[Sequence[str]]) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name.lower() != "date":  # when it was said (RFC 9110 §6.6.1)
            found.setdefault(name.lower(), []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in sorted(found.items())}


def comparable(shown: Sequence[Mapping[str, Any]], contents: Sequence[bytes | None]) -> list[dict[str, Any]]:
    """Two bodies in the form that says most about both."""
    for form in (as_json, as_lines, as_hash):
        made = [form(body, content) for body, content in zip(shown, contents, strict=True)]
        if None not in made:
            break
    return [
        {"media_type": body["media_type"], "truncated": body["truncated"], **(form or {})}
        for body, form in zip(shown, made, strict=True)
    ]


def as_json(body: Mapping[str, Any], content: bytes | None) -> dict[str, Any] | None:
    if content is None or body["truncated"] or not history.is_json(body["media_type"]):
        return None
    try:
        return {"json": msgspec.json.decode(content)}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def as_lines(body: Mapping[str, Any], content: bytes | None) -> dict[str, Any] | None:
    text = history.view_content(content, body["media_type"] or "", as_json=False).get("text") if content else None
    return None if text is None else {"text": text.split("\n")}


def as_hash(body: Mapping[str, Any], content: bytes | None) -> dict[str, Any]:
    hashed = body.get("sha256") or (hashlib.sha256(content).hexdigest() if content is not None else None)
    return {"size": body["size"], "sha256": hashed}
