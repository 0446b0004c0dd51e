"""What a record may hold: secrets are taken out by the name they stand under and by their value.

By value means every known secret of the connection in each form it may come back in: plain, URL-encoded,
JSON-escaped, Base64 in all three alignments, and the pair of Basic (RFC 7617).
"""

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from quart_app.outbound.headers import SENSITIVE

MARK = "[redacted]"
SHORTEST = 4
"""Shorter secrets are not looked for by value: they would blot out ordinary text."""

PARAMETER = re.compile(r"([?&;])([^=&;#]*)=([^&;#]*)")
CURSOR = re.compile(r"page|next|prev|sync|continuation|cursor", re.IGNORECASE)
"""Parameters such as page_token name a place in a list, not a secret."""


class Redactor:
    """Takes a connection's secrets out of text; made anew when they change."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= SHORTEST for form in forms_of(secret)}
        ordered = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered)).encode()) if ordered else None

    def content(self, data: bytes) -> bytes:
        """The bytes with each secret replaced; the same object when there was none."""
        if self._pattern is None or not self._pattern.search(data):
            return data
        return self._pattern.sub(MARK.encode(), data)

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


def redact_parameter(match: re.Match[str]) -> str:
    mark, name, value = match.groups()
    secret = value and SENSITIVE.search(name) and not CURSOR.search(name)
    return f"{mark}{name}={MARK if secret else value}"


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
    """Every form in which a secret may come back, each at least SHORTEST long."""
    data = secret.encode()
    forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), json.dumps(secret)[1:-1]}
    forms |= {re.sub("%[0-9A-F]{2}", lambda found: found.group().lower(), form) for form in forms}
    forms.add(json.dumps(secret, ensure_ascii=False)[1:-1].replace("/", "\\/"))
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            text = encode(b"\0" * shift + data).decode().rstrip("=")
            whole = (shift + len(data)) * 8 // 6
            forms.add(text[(shift * 8 + 5) // 6 : whole])
    return {form for form in forms if len(form) >= SHORTEST}
