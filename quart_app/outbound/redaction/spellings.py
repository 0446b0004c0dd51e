"""How a secret may be spelled in what comes back: plain, URL-encoded, JSON-escaped and HTML-escaped in whichever way,
and Base64 in all three alignments.
"""

import base64
import re
from collections.abc import Iterable
from functools import lru_cache

SHORTEST = 4
"""Shorter secrets are not looked for by value: they would blot out ordinary text."""

ZEROS = 6
"""The most leading zeros of a numeric character reference of HTML that are looked for."""

WIDEST = 16
"""The most bytes that one character is spelled with: a character reference, as `&#x000000` `10ffff;`."""

ALSO = {
    " ": (b"+",),
    "/": (b"\\/",),
    "&": (b"&amp;",),
    "<": (b"&lt;",),
    ">": (b"&gt;",),
    "'": (b"&apos;",),
    '"': (b"&quot;",),
}


ESCAPE_BEGUN = re.compile(
    rb"(?i:(?:%[0-9a-f]{2}){0,3}%[0-9a-f]{0,2}|(?:\\u[0-9a-f]{4})?\\(?:u[0-9a-f]{0,4})?|&(?:#[x0-9a-f]*|[a-z]*))"
)
"""A percent-encoding, a JSON escape or a character reference of which more may follow."""


def forms_of(secret: str) -> dict[str, str]:
    """What to look for, each at least SHORTEST long, with what a mark says of it: `.escaped` or `.base64`.

    The secret itself counts as escaped: where it is found as it is, no form needs to be told.
    """
    forms = {secret: ".escaped", secret.replace("\\", "\\\\").replace('"', '\\"'): ".escaped"}
    data = secret.encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            text = encode(b"\0" * shift + data).decode()
            texts = [text[(shift * 8 + 5) // 6 : (shift + len(data)) * 8 // 6]]
            texts += [text, text.rstrip("=")] if not shift else []
            for form in texts:
                forms.setdefault(form, ".base64")
    return {form: kind for form, kind in forms.items() if len(form) >= SHORTEST}


def longest(forms: Iterable[str]) -> int:
    """The most bytes that one of the forms is spelled with."""
    return max((sum(1 if plain(character) else WIDEST for character in form) for form in forms), default=0)


def spelled(form: str) -> bytes:
    """A pattern for a form in whatever spelling, as each library escapes other characters of it.

    The first character's spellings are branches of their own, so that the search can skip to one of them.
    """
    first, *rest = [spellings(character) for character in form]
    tail = b"".join(ways[0] if len(ways) == 1 else b"(?:%b)" % b"|".join(ways) for ways in rest)
    return b"|".join(way + tail for way in first)


@lru_cache(maxsize=512)
def pattern_of(form: str) -> re.Pattern[bytes]:
    """To tell which of several forms was found."""
    return re.compile(spelled(form))


@lru_cache(maxsize=512)
def spellings(character: str) -> list[bytes]:
    """Patterns for one character: as it is, percent-encoded, JSON-escaped, HTML-escaped, in Latin-1."""
    if plain(character):
        return [re.escape(character.encode())]
    raw = {character.encode()}
    if "\x80" <= character <= "\xff":
        raw.add(character.encode("latin-1"))
    units = character.encode("utf-16-be").hex()
    ways = [b"(?i:%b)" % "".join(f"%{byte:02x}" for byte in data).encode() for data in raw]
    ways.append(b"".join(rb"\\(?i:u%b)" % units[i : i + 4].encode() for i in range(0, len(units), 4)))
    ways.append(b"&#(?i:0{0,%d}%d|x0{0,%d}%x);" % (ZEROS, ord(character), ZEROS, ord(character)))
    ways += [re.escape(text) for text in ALSO.get(character, ())]
    return ways + [re.escape(data) for data in raw]  # last: where % is looked for, %25 is taken whole


def plain(character: str) -> bool:
    """Whether every library leaves the character as it is."""
    return character.isascii() and (character.isalnum() or character in "-._")


def begun(forms: Iterable[str], tail: bytes) -> tuple[int, str]:
    """Where the bytes end in a part of a form, from its beginning, of SHORTEST characters or more, and of which form.

    -1 and nothing where they do not.
    """
    forms = tuple(forms)
    starts = beginnings(forms)
    found = starts.search(tail) if starts else None
    while starts and found:
        for form in forms:
            if ends_within(form, tail, found.start()):
                return found.start(), form
        found = starts.search(tail, found.start() + 1)
    return -1, ""


@lru_cache(maxsize=64)
def beginnings(forms: tuple[str, ...]) -> re.Pattern[bytes] | None:
    """A pattern for the first characters of any of the forms."""
    return re.compile(b"|".join(spelled(form[:SHORTEST]) for form in forms)) if forms else None


def ends_within(form: str, data: bytes, position: int) -> bool:
    """Whether the data from the position on are a form that stops short, if need be amid an escape."""
    for count, character in enumerate(form):
        rest = data[position : position + WIDEST]
        if not rest or ESCAPE_BEGUN.fullmatch(rest) or rest in beginnings_of(character):
            return count >= SHORTEST
        found = one(character).match(data, position)
        if found is None:
            return False
        position = found.end()
    return False


def beginnings_of(character: str) -> list[bytes]:
    """The parts of its UTF-8 that are not all of it."""
    data = character.encode()
    return [data[:length] for length in range(1, len(data))]


@lru_cache(maxsize=512)
def one(character: str) -> re.Pattern[bytes]:
    return re.compile(b"|".join(spellings(character)))
