"""The marks that stand in a record where a secret was: `[redacted:<role>:<fingerprint>]`.

The role is the field of the connection that holds the secret (`client_secret`, `access_token`, `value`, …), `pair` for
the user and password of Basic together, or one of OTHERS. `.base64` or `.escaped` follows it where the secret was not
spelled plainly. The fingerprint is keyed: it tells whether two marks stand for one secret and nothing else. Records of
earlier versions hold `[redacted]`.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Literal
from urllib.parse import quote

CALLER = "caller"
"""What a caller itself sent under a telling name."""

NAMED = "named"
"""What stood under a telling name in a body or an answer's header."""

LITERAL = "literal"
"""Text that looked like the beginning of a mark and was none."""

MARK = "[redacted]"
"""The mark of a record of an earlier version, and of a secret that is not known."""

OTHERS = (CALLER, NAMED, LITERAL)
BEGINNING = b"[redacted"
MARKED = re.compile(r"\[redacted(?::([a-z_0-9]+)(?:\.(base64|escaped))?(?::([0-9a-f]{12}))?)?\]")
ENTIRE = re.compile(rf"(?:[A-Za-z][\w-]* )?{MARKED.pattern}")
"""Nothing but a mark, or one behind the name of an authentication scheme."""

Fingerprint = Callable[[str], str]
Place = Literal["url", "form", "json", "text"]


def mark(role: str, secret: str | None = None, fingerprint: Fingerprint | None = None) -> str:
    """The mark of a role, with the secret's fingerprint where there is a way to make one."""
    if secret is None or fingerprint is None:
        return f"[redacted:{role}]"
    return f"[redacted:{role}:{fingerprint(secret)}]"


def restore(text: str, secrets: Mapping[str, str], place: Place) -> str | None:
    """The text with the live secrets, by role, in place of their marks, spelled as the place wants it.

    None where a mark cannot be put back: its secret is not one of these, or how it was spelled is not known.
    """
    wanted = [found.groups() for found in MARKED.finditer(text)]
    for role, spelling, _ in wanted:
        if role not in secrets or (spelling and (spelling, place) not in KNOWN_SPELLINGS):
            return None
    return MARKED.sub(lambda found: spell(secrets[found[1]], place, escaped=bool(found[2])), text)


KNOWN_SPELLINGS = (("escaped", "url"), ("escaped", "form"))
"""Elsewhere what was escaped may have been so in one of several ways."""


def spell(secret: str, place: Place, *, escaped: bool) -> str:
    """The secret as it may stand in a place; in a URL what stood there as it is keeps what a URL may hold."""
    if place == "json":
        return json.dumps(secret, ensure_ascii=False)[1:-1]
    if place == "text":
        return secret
    return quote(secret, safe="" if escaped or place == "form" else "/:@!$'()*,;")
