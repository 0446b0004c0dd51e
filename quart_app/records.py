"""What a record holds: rows of `calls` and `attempts` as they go to the recorder, without any secret."""

import hashlib
import time
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from quart_app.outbound.redaction.marks import MARK, MARKED
from quart_app.outbound.target import Target
from quart_app.outbound.timings import Timings
from quart_app.recorder import Record

TEXTUAL = ("text/", "application/json", "application/xml", "application/x-www-form-urlencoded")

BLANK: dict[str, Any] = {
    "replay_of": None,
    "state": "sending",
    "reason": None,
    "detail": None,
    "status": None,
    "duration_seconds": None,
    "waited_seconds": 0.0,
    "request_body": None,
    "request_size": None,
    "request_media_type": None,
    "request_truncated": False,
    "request_exact": True,
    "response_headers": None,
    "response_body": None,
    "response_size": None,
    "response_media_type": None,
    "response_truncated": False,
    "response_sha256": None,
    "websocket": None,
}


def as_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def new_call(
    target: Target,
    *,
    id_: str,
    origin: str,
    actor: str,
    owner: str,
    method: str,
    url: str,
    headers: Sequence[tuple[str, str]],
) -> Record:
    """A record of a call that begins now; `url` and `headers` without secrets."""
    call = BLANK.copy()
    call["id"] = id_
    call["connection_id"], call["connection"] = target.id, target.name
    call["origin"], call["actor"], call["owner"] = origin, actor, owner
    call["method"], call["url"] = method, url
    call["started_at"] = round(time.time(), 6)  # as exact as it is shown, so that `since` finds the call itself
    call["request_headers"] = as_json(headers)
    return Record(call)


def add_attempt(
    record: Record,
    timings: Timings,
    *,
    status: int | None = None,
    reason: str | None = None,
    waited_seconds: float = 0.0,
    wait_reason: str | None = None,
    next_reason: str | None = None,
    url: str | None = None,
    generation: int | None = None,
) -> None:
    """`wait_reason` says what was waited for before it, `next_reason` why another follows or none does."""
    dns, connect, tls, first_byte, transfer = timings.spans()
    duration = timings.duration
    record.attempts.append(
        {
            "call_id": record.call["id"],
            "number": len(record.attempts) + 1,
            "status": status,
            "reason": reason,
            "started_at": time.time() - (time.perf_counter() - timings.started),
            "duration_seconds": round(duration, 6),
            "waited_seconds": round(waited_seconds, 6),
            "wait_reason": wait_reason,
            "next_reason": next_reason,
            "url": url,
            "dns_seconds": dns,
            "connect_seconds": connect,
            "tls_seconds": tls,
            "first_byte_seconds": first_byte,
            "transfer_seconds": transfer,
            "remote_address": timings.peer[0] if timings.peer else None,
            "token_generation": generation,
        }
    )


class Copy:
    """A body's start, up to `cap` bytes, and the size and SHA-256 of all of it, taken as it passes."""

    __slots__ = ("_hash", "cap", "content", "size")

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.content = b""
        self.size = 0
        self._hash: Any = None

    def add(self, piece: bytes) -> None:
        if self._hash is None and self.size:
            self._hash = hashlib.sha256(self.content)
        if self._hash is None and len(piece) <= self.cap:
            self.content = piece  # most bodies are one piece: kept as it is, hashed once
        else:
            self._hash = self._hash or hashlib.sha256()
            self._hash.update(piece)
            if len(self.content) < self.cap:
                self.content = b"".join((self.content, piece[: self.cap - len(self.content)]))
        self.size += len(piece)

    @property
    def whole(self) -> bool:
        return len(self.content) == self.size

    def sha256(self) -> str:
        digest: str = (self._hash or hashlib.sha256(self.content)).hexdigest()
        return digest


def content_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str | None, bytes | None]:
    """The media type (type and subtype in lower case, without parameters) and the Content-Encoding."""
    media_type = coding = None
    for name, value in headers:
        if len(name) == 12 and name.lower() == b"content-type":
            media_type = value.partition(b";")[0].strip().lower().decode("latin-1")
        elif len(name) == 16 and name.lower() == b"content-encoding":
            coding = value if coding is None else coding + b", " + value
    return media_type, coding


def shown_url(url: str, shown_query: str) -> str:
    """The URL as recorded, with the connection's own parameter as it may be shown: with a mark for its value."""
    if not shown_query:
        return url
    name, _, value = shown_query.partition("=")
    return f"{url}{'&' if urlsplit(url).query else '?'}{name}={value if MARKED.fullmatch(value) else MARK}"
