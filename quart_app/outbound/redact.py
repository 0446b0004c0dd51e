"""What a record may hold: secrets are taken out by the name they stand under and by their value.

By value means every known secret of the connection in each form it may come back in: plain, URL-encoded,
JSON-escaped and HTML-escaped in whichever way, Base64 in all three alignments, and the pair of Basic (RFC 7617).
"""

import base64
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote

from quart_app.outbound.headers import SENSITIVE

MARK = "[redacted]"
SHORTEST = 4
"""Shorter secrets are not looked for by value: they would blot out ordinary text."""

PARAMETER = re.compile(r"([?&;])([^=&;#]*)=([^&;#]*)")
SHORTEST_OWN = 8
"""The same for what only stands under a telling name: `?token_type=bearer` is no secret."""

CURSOR = re.compile(r"page|next|prev|sync|continuation|cursor", re.IGNORECASE)
"""Parameters such as page_token name a place in a list, not a secret."""


class Redactor:
    """Takes a connection's secrets out of text; made anew when they change."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secrets)
        forms = {form for secret in self._secrets if len(secret) >= SHORTEST for form in forms_of(secret)}
        ordered = sorted(forms, key=len, reverse=True)
        self._forms = [form.encode() for form in ordered]
        self._pattern = re.compile(b"|".join(map(spelled, ordered))) if ordered else None

    def also(self, secrets: tuple[str, ...]) -> "Redactor":
        """One that takes further secrets out as well; this one where there are none."""
        return redactor_of((*self._secrets, *secrets)) if secrets else self

    def content(self, data: bytes, *, cut: bool = False) -> bytes:
        """The bytes with each secret replaced; the same object when there was none.

        `cut` says that more followed where `data` ends: there a secret may stand in part.
        """
        if self._pattern is None:
            return data
        if self._pattern.search(data):
            data = self._pattern.sub(MARK.encode(), data)
        begun = min((start for form in self._forms if (start := begins(form, data)) >= 0), default=-1) if cut else -1
        return data if begun < 0 else data[:begun] + MARK.encode()

    def text(self, text: str) -> str:
        return self.content(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")

    def headers(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
        """Headers as a record holds them: names as they are, values without secrets, bytes read as Latin-1."""
        return [
            (
                name.decode("latin-1"),
                MARK if is_sensitive(name) else self.content(value).decode("latin-1"),
            )
            for name, value in headers
        ]

    def url(self, url: str) -> str:
        """A URL as a record holds it: values of telling parameters and known secrets replaced."""
        if "?" in url:
            url = PARAMETER.sub(redact_parameter, url)
        return self.text(url)


@lru_cache(maxsize=256)
def redactor_of(secrets: tuple[str, ...]) -> Redactor:
    return Redactor(secrets)


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


def redact_parameter(match: re.Match[str]) -> str:
    mark, name, value = match.groups()
    return f"{mark}{name}={MARK if is_secret(match) else value}"


SENSITIVE_NAMES: dict[bytes, bool] = {}


def is_sensitive(name: bytes) -> bool:
    """Whether a header of this name is never recorded; remembered, as the names that come are few."""
    known = SENSITIVE_NAMES.get(name)
    if known is None:
        known = bool(SENSITIVE.search(name.decode("latin-1")))
        if len(SENSITIVE_NAMES) < 10_000:
            SENSITIVE_NAMES[name] = known
    return known


def forms_of(secret: str) -> set[str]:
    """What to look for: the secret, its JSON escape, its Base64 in all alignments; each at least SHORTEST long."""
    forms = {secret, secret.replace("\\", "\\\\").replace('"', '\\"')}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            text = encode(b"\0" * shift + secret.encode()).decode().rstrip("=")
            whole = (shift + len(secret.encode())) * 8 // 6
            forms.add(text[(shift * 8 + 5) // 6 : whole])
    return {form for form in forms if len(form) >= SHORTEST}


def spelled(form: str) -> bytes:
    """A pattern for a form in whatever spelling, as each library escapes other characters of it.

    The first character's spellings are branches of their own, so that the search can skip to one of them.
    """
    first, *rest = [spellings(character) for character in form]
    tail = b"".join(ways[0] if len(ways) == 1 else b"(?:%b)" % b"|".join(ways) for ways in rest)
    return b"|".join(way + tail for way in first)


@lru_cache(maxsize=512)
def spellings(character: str) -> list[bytes]:
    """Patterns for one character: as it is, percent-encoded, JSON-escaped, HTML-escaped, in Latin-1."""
    if character.isascii() and (character.isalnum() or character in "-._"):
        return [re.escape(character.encode())]
    raw = {character.encode()}
    if "\x80" <= character <= "\xff":
        raw.add(character.encode("latin-1"))
    units = character.encode("utf-16-be").hex()
    ways = [b"(?i:%b)" % "".join(f"%{byte:02x}" for byte in data).encode() for data in raw]
    ways.append(b"".join(rb"\\(?i:u%b)" % units[i : i + 4].encode() for i in range(0, len(units), 4)))
    ways.append(b"&#(?i:0*%d|x0*%x);" % (ord(character), ord(character)))
    ways += [re.escape(text) for text in ALSO.get(character, ())]
    return ways + [re.escape(data) for data in raw]  # last: where % is looked for, %25 is taken whole


ALSO = {
    " ": (b"+",),
    "/": (b"\\/",),
    "&": (b"&amp;",),
    "<": (b"&lt;",),
    ">": (b"&gt;",),
    "'": (b"&apos;",),
    '"': (b"&quot;",),
}


def begins(form: bytes, data: bytes) -> int:
    """Where `data` ends in a start of `form` of at least SHORTEST bytes; -1 where it does not."""
    start = data.find(form[:SHORTEST], max(0, len(data) - len(form) + 1))
    while start >= 0 and not form.startswith(data[start:]):
        start = data.find(form[:SHORTEST], start + 1)
    return start
