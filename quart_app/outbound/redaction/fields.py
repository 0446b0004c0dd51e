"""Fields of JSON and of forms whose names tell that their values are secrets."""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_plus

from quart_app.outbound.redaction.pieces import CONTEXT_BYTES

CURSOR = re.compile(r"page|next|prev|sync|continuation|cursor", re.IGNORECASE)
"""Names such as page_token are of a place in a list, not of a secret."""

WORDS = (
    "token",
    "secret",
    "password",
    "passwd",
    "assertion",
    "verifier",
    "samlresponse",
    "samlrequest",
    "api[-_]?key",
    "private[-_]?key",
)
"""What a telling name ends in; `token_type` and `max_tokens` tell nothing."""

HINTS = (b"token", b"secret", b"passw", b"assertion", b"verifier", b"saml", b"key")
"""One of them is in each telling name, in lower case."""

ENDING_HINTS = (b'token"', b'secret"', b"passw", b'assertion"', b'verifier"', b"saml", b'key"')
"""The same in JSON; what is common in other places is looked for at the end of a string only."""

HINTED_BYTES = 1024
LONGEST_VALUE = 8192
"""So much of a value is taken out; what is longer is no token, and the rest of it stays."""


@dataclass(frozen=True)
class Fields:
    """How telling fields are written: in the pattern, group 1 is the end of the name and group 2 the value."""

    pattern: re.Pattern[bytes]
    longest: int
    before_name: bytes
    hints: tuple[bytes, ...]

    def occur(self, data: bytes) -> bool:
        """Whether there is one. In larger content the hints are looked for first, which takes a third of the time."""
        if len(data) > HINTED_BYTES:
            lowered = data.lower()
            if not any(hint in lowered for hint in self.hints):
                return False
        return self.pattern.search(data) is not None

    def is_cursor(self, found: re.Match[bytes]) -> bool:
        """Whether the name, as far as it can be looked back on, is that of a place in a list."""
        start = max(0, found.start() - CONTEXT_BYTES)
        name = found.string[start : found.end(1)].rpartition(self.before_name)[2]
        return bool(CURSOR.search(name.decode("latin-1")))


@lru_cache(maxsize=256)
def fields_of(media_type: str) -> Fields | None:
    """How fields are written in a body of a media type (lower case, no parameters); None where they cannot be told."""
    if media_type.endswith("json"):
        return JSON
    return FORM if media_type == "application/x-www-form-urlencoded" else None


def plain(value: str, fields: Fields) -> str:
    """A form's value as it was before it was encoded; of JSON it is taken as it is."""
    return unquote_plus(value) if fields is FORM else value


def in_either_case(word: str) -> str:
    """A pattern for a word whose two beginnings are branches, so that the search can skip to one of them."""
    both = re.sub("(?<!\\[)[a-z](?![^\\[]*\\])", lambda letter: f"[{letter[0]}{letter[0].upper()}]", word[1:])
    return f"{word[0]}{both}|{word[0].upper()}{both}"


NAMES = "|".join(map(in_either_case, WORDS))
JSON = Fields(
    re.compile(rf'({NAMES})"\s{{0,8}}:\s{{0,8}}"((?:[^"\\]|\\.){{1,{LONGEST_VALUE // 2}}})'.encode(), re.DOTALL),
    longest=LONGEST_VALUE + 64,
    before_name=b'"',
    hints=ENDING_HINTS,
)
FORM = Fields(
    re.compile(rf"({NAMES})(?:%5[Dd]|\])?=([^&]{{1,{LONGEST_VALUE}}})".encode()),
    longest=LONGEST_VALUE + 64,
    before_name=b"&",
    hints=HINTS,
)
