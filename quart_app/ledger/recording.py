"""Exchanges with a provider on record: calls of origin `token`.

What is shown of a form or an answer is what is known to be harmless, by name; everything else is a mark. So a new
token, which no redactor can know yet, is never in it.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
import structlog
from uuid_utils import uuid7

from quart_app.outbound.client import Answer, AttemptFailed
from quart_app.outbound.oauth import GrantFailed
from quart_app.outbound.oauth.requests import PUBLIC
from quart_app.outbound.redaction.marks import MARK, NAMED
from quart_app.outbound.redaction.redactor import Redactor
from quart_app.outbound.target import Target
from quart_app.outbound.timings import Timings
from quart_app.recorder import Record
from quart_app.records import add_attempt, as_json, content_headers, new_call
from quart_app.services import Services

FORM = "application/x-www-form-urlencoded"
SHOWN = frozenset(("token_type", "expires_in", "scope", "refresh_token_expires_in", "refresh_expires_in", "error"))
"""Members of an answer; of a form it is what the grants say is public."""

SHOWN_HEADERS = frozenset(
    ("age", "allow", "cache-control", "connection", "content-encoding", "content-length", "content-type", "date",
     "expires", "keep-alive", "location", "pragma", "retry-after", "server", "transfer-encoding", "vary", "via",
     "www-authenticate", "x-correlation-id", "x-request-id")
)  # fmt: skip
"""Of an answer; of `location` the part before query and fragment, where some providers put tokens."""

SHORTEST_SECRET = 8
"""Shortest text of an answer that is looked for elsewhere in it: `"active": "yes"` is no secret."""

log = structlog.get_logger()


class Entry:
    """An exchange while it runs: its record, and the timings that the engine fills."""

    def __init__(self, record: Record, redactor: Redactor) -> None:
        self.record = record
        self.redactor = redactor
        self.timings = Timings()

    def sends(self, form: bytes) -> None:
        """The form of a request."""
        call, clean = self.record.call, shown_form(form)
        call["request_size"], call["request_media_type"] = len(form), FORM
        call["request_exact"] = clean == form
        call["request_body"] = self.record.keep(clean)

    def answered(self, answer: Answer, content: bytes) -> None:
        """The answer, whole; of one that is no JSON object only its size is kept.

        It may hold a token that is good only now, so whatever is odd about it must not stop what comes after.
        """
        try:
            self._fill(answer, content)
        except Exception as error:  # by whatever a provider thinks of
            log.warning("exchange_not_shown", kind=type(error).__name__)

    def _fill(self, answer: Answer, content: bytes) -> None:
        call, new = self.record.call, secrets_in(content)
        headers = [(name, shown_header(name, value, new)) for name, value in answer.headers]
        call["response_headers"] = as_json(self.redactor.headers(headers, NAMED))
        call["response_size"], call["response_media_type"] = len(content), content_headers(answer.headers)[0]
        shown = shown_answer(content, self.redactor)
        call["response_truncated"] = shown is None and bool(content)
        if shown is not None:
            call["response_body"] = self.record.keep(shown)


@contextmanager
def exchange(
    services: Services,
    target: Target,
    url: str,
    *,
    id_: str = "",
    method: str = "POST",
    headers: Iterable[tuple[str, str]] = (),
    secrets: tuple[str, ...] = (),
) -> Iterator[Entry]:
    """Records the exchange made inside it, whatever its outcome, without waiting for the disk.

    `secrets` are those that only this exchange has, beside the connection's own.
    """
    redactor = target.credential.redactor.also(secrets)
    record = new_call(
        target,
        id_=id_ or str(uuid7()),
        origin="token",
        actor="switchboard",
        owner=services.process,
        method=method,
        url=redactor.url(url),
        headers=redactor.headers([(name.encode(), value.encode()) for name, value in headers]),
    )
    entry = Entry(record, redactor)
    try:
        yield entry
    except (AttemptFailed, GrantFailed) as error:
        settle(services, entry, getattr(error, "reason", None), error.detail)
        raise
    except BaseException:
        settle(services, entry, "reset", "The exchange was cut off.")
        raise
    settle(services, entry, None, None)


def settle(services: Services, entry: Entry, reason: str | None, detail: str | None) -> None:
    record, timings = entry.record, entry.timings
    add_attempt(record, timings, status=record.call["status"], reason=reason)
    record.call |= {
        "state": "failed" if reason else "done",
        "reason": reason,
        "detail": detail,
        "duration_seconds": round(timings.duration, 6),
    }
    services.recorder.put(record)


def shown_form(form: bytes) -> bytes:
    """A form with marks for the values of all fields but harmless ones."""
    fields = parse_qsl(form.decode("latin-1"), keep_blank_values=True)
    return urlencode([(name, value if name in PUBLIC else MARK) for name, value in fields], safe="[]").encode()


def shown_answer(content: bytes, redactor: Redactor) -> bytes | None:
    """A JSON object with marks for the values of all members but harmless ones; None for anything else."""
    try:
        answer = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    new = texts_of(answer)
    return msgspec.json.encode(
        {redactor.text(name): shown(name, value, redactor, new) for name, value in answer.items()}
    )


def shown(name: str, value: Any, redactor: Redactor, new: Collection[str]) -> Any:
    if name not in SHOWN or not isinstance(value, str | int | float | None):
        return MARK
    if not isinstance(value, str):
        return value
    return MARK if any(text in value for text in new) else redactor.text(value)


def shown_header(name: bytes, value: bytes, new: Collection[str]) -> bytes:
    """The value of an answer's header, a mark for that of one that is not known or that repeats a secret."""
    known, text = name.decode("latin-1").lower(), value.decode("latin-1")
    if known == "location":
        text = re.split("[?#]", text, maxsplit=1)[0]
    if known not in SHOWN_HEADERS or any(secret in text for secret in new):
        return MARK.encode()
    return text.encode("latin-1")


def secrets_in(content: bytes) -> frozenset[str]:
    """What may be secret in an answer, as an object or a form; of anything else nobody can tell."""
    try:
        answer = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = dict(parse_qsl(content.decode("latin-1")))
    return texts_of(answer)


def texts_of(answer: Any) -> frozenset[str]:
    """All texts of an answer but those of the members that are shown."""
    found, left = set(), [answer]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            left += [value for name, value in part.items() if name not in SHOWN]
        elif isinstance(part, list):
            left += part
        elif isinstance(part, str) and len(part) >= SHORTEST_SECRET:
            found.add(part)
    return frozenset(found)
