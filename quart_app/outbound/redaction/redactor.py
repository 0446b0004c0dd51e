"""What a record may hold: secrets are taken out by the name they stand under and by their value, and a mark put there.

By value means every known secret of the connection in each form it may come back in (`spellings.py`), wherever content
is cut into pieces (`pieces.py`).
"""

import asyncio
import re
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from io import BytesIO
from typing import NamedTuple
from urllib.parse import unquote

from quart_app.outbound.headers import SENSITIVE
from quart_app.outbound.redaction.fields import CURSOR, Fields, fields_of, plain
from quart_app.outbound.redaction.marks import BEGINNING, CALLER, ENTIRE, LITERAL, NAMED, Fingerprint, mark
from quart_app.outbound.redaction.pieces import Replace, Stage, Stream
from quart_app.outbound.redaction.spellings import SHORTEST, begun, forms_of, longest, pattern_of, spelled

Secrets = Iterable[tuple[str, str]]
"""Roles and values; a role may have several values."""

PARAMETER = re.compile(r"([?&;])([^=&;#]*)=([^&;#]*)")
SHORTEST_OWN = 8
"""Shortest value to look for of what only stands under a telling name: `?token_type=bearer` is no secret."""

SLICE_BYTES = 64 * 1024
TURN_SECONDS = 0.005


class Redactor:
    """Takes a connection's secrets out of text; made anew when they change."""

    def __init__(self, secrets: Secrets = (), fingerprint: Fingerprint | None = None) -> None:
        self._secrets = tuple(secrets)
        self._fingerprint = fingerprint
        self._plain: dict[bytes, bytes] = {}
        self._marks: dict[str, bytes] = {}
        for role, secret in self._secrets:
            self._learn(role, secret)
        self._forms = tuple(sorted(self._marks, key=len, reverse=True))
        self._longest = max(longest(self._forms), len(BEGINNING))
        self._pattern = re.compile(b"|".join((*map(spelled, self._forms), re.escape(BEGINNING))))

    def _learn(self, role: str, secret: str) -> None:
        """The marks of a secret as it is, and in each other form and spelling."""
        if len(secret) < SHORTEST:
            return
        self._plain.setdefault(secret.encode(), self._mark(role, secret))
        for form, kind in forms_of(secret).items():
            self._marks.setdefault(form, self._mark(role + kind, secret))

    def _mark(self, role: str, secret: str) -> bytes:
        return mark(role, secret, self._fingerprint).encode()

    def also(self, secrets: tuple[str, ...]) -> "Redactor":
        """One that takes out as well what a caller itself sent; this one where that is nothing."""
        if not secrets:
            return self
        return redactor_of((*self._secrets, *((CALLER, secret) for secret in secrets)), self._fingerprint)

    def content(self, data: bytes, *, cut: bool = False, media_type: str | None = None) -> bytes:
        """The bytes with a mark for each secret; the same object when there was none. For 256 KiB and less.

        `cut` says that more followed where `data` ends: there a secret may stand in part. In JSON and in forms, by
        the media type (lower case, no parameters), what stands under a telling name is taken out too.
        """
        if cut:
            stream = self.stream(media_type)
            clean = stream.feed(data) + stream.end(cut=True)
            return clean if stream.changed else data
        if self._pattern.search(data):
            data = self._pattern.sub(self._found, data)
        fields = fields_of(media_type) if media_type else None
        if fields and fields.occur(data):
            named = fields.pattern.sub(self._field_found(fields), data)
            return data if named == data else named
        return data

    def _found(self, found: re.Match[bytes]) -> bytes:
        """The mark of a secret in one of its forms and spellings, or for what looks like a mark and is none."""
        text = found[0]
        if text in self._plain:
            return self._plain[text]
        for form in self._forms:
            if pattern_of(form).fullmatch(text):
                return self._marks[form]
        return mark(LITERAL).encode()

    def _field_found(self, fields: Fields) -> Replace:
        """How a telling field is replaced: its name stays, its value becomes a mark unless it is one."""

        def replaced(found: re.Match[bytes]) -> bytes:
            value = found[2].decode("utf-8", "replace")
            if ENTIRE.fullmatch(value) or fields.is_cursor(found):
                return found[0]
            return found.string[found.start() : found.start(2)] + self._mark(NAMED, plain(value, fields))

        return replaced

    def stream(self, media_type: str | None = None) -> Stream:
        """The same for content that comes in pieces."""
        stages = [Stage(self._pattern, self._longest, self._found, self._begun)]
        fields = fields_of(media_type) if media_type else None
        if fields:
            stages.append(Stage(fields.pattern, fields.longest, self._field_found(fields)))
        return Stream(stages)

    def _begun(self, tail: bytes) -> bytes:
        """The end of cut content, with a mark for a secret that begins there."""
        start, form = begun(self._forms, tail)
        return tail if start < 0 else tail[:start] + self._marks[form]

    async def clean(self, data: bytes, *, cut: bool = False, media_type: str | None = None) -> bytes:
        """What `content` gives, for content of any size; others have their turn meanwhile."""
        stream, clean = self.stream(media_type), BytesIO()
        began = time.perf_counter()
        for start in range(0, len(data), SLICE_BYTES):
            clean.write(stream.feed(data[start : start + SLICE_BYTES]))
            if time.perf_counter() - began > TURN_SECONDS:
                await asyncio.sleep(0)
                began = time.perf_counter()
        clean.write(stream.end(cut=cut))
        return clean.getvalue() if stream.changed else data

    def text(self, text: str) -> str:
        return self.content(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")

    def headers(self, headers: Sequence[tuple[bytes, bytes]], role: str = CALLER) -> list[tuple[str, str]]:
        """Headers as a record holds them: names as they are, values without secrets, bytes read as Latin-1.

        `role` is that of a value which is taken out for its name.
        """
        clean = self._pattern.search(b"\n".join([value for _, value in headers])) is None  # one search, not one each
        return [
            (
                read.text,
                self.whole(value, role)
                if read.sensitive
                else (value if clean else self.content(value)).decode("latin-1"),
            )
            for name, value in headers
            if (read := read_name(name))
        ]

    def whole(self, value: bytes, role: str) -> str:
        """The mark of a value that is a secret: of the known one that it is, behind its scheme, else of the role."""
        known = self.content(value).decode("latin-1")
        return known if ENTIRE.fullmatch(known) else mark(role, value.decode("latin-1"), self._fingerprint)

    def url(self, url: str) -> str:
        """A URL as a record holds it: known secrets and values of telling parameters replaced."""
        url = self.text(url)
        return PARAMETER.sub(self._parameter, url) if "?" in url else url

    def _parameter(self, found: re.Match[str]) -> str:
        before, name, value = found.groups()
        if not is_secret(found) or ENTIRE.fullmatch(value):
            return found[0]
        return f"{before}{name}={mark(CALLER, unquote(value), self._fingerprint)}"


@lru_cache(maxsize=256)
def redactor_of(secrets: tuple[tuple[str, str], ...], fingerprint: Fingerprint | None) -> Redactor:
    return Redactor(secrets, fingerprint)


def own_secrets(headers: Iterable[tuple[bytes, bytes]], url: str) -> tuple[str, ...]:
    """What a caller itself sends under telling names: an upstream may say it back anywhere."""
    values = [value.decode("latin-1") for name, value in headers if is_sensitive(name)]
    found = [*values, *(value.rpartition(" ")[2] for value in values)]  # with a scheme before it, and without
    if "?" in url:
        found += [unquote(match[3]) for match in PARAMETER.finditer(url) if is_secret(match)]
    return tuple(secret for secret in found if len(secret) >= SHORTEST_OWN)


def is_secret(match: re.Match[str]) -> bool:
    _, name, value = match.groups()
    return bool(value and SENSITIVE.search(name) and not CURSOR.search(name))


class Name(NamedTuple):
    """A header's name as text, and whether its value is never recorded."""

    text: str
    sensitive: bool


@lru_cache(maxsize=10_000)
def read_name(name: bytes) -> Name:
    text = name.decode("latin-1")
    return Name(text, bool(SENSITIVE.search(text)))


def is_sensitive(name: bytes) -> bool:
    """Whether a header of this name is never recorded."""
    return read_name(name).sensitive
