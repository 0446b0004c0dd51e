"""Bodies of several parts: `multipart/form-data` (RFC 7578), written as browsers write it."""

import secrets
from collections.abc import Iterable
from typing import NamedTuple

ESCAPED = str.maketrans({"\r": "%0D", "\n": "%0A", '"': "%22"})


class Part(NamedTuple):
    """One part; `filename` and `media_type` are left out of its head where they are None."""

    name: str
    content: bytes
    filename: str | None = None
    media_type: str | None = None


def new_boundary() -> str:
    """128 random bits, which occur in no content: so none need be searched for it."""
    return f"----switchboard{secrets.token_hex(16)}"


def encode(parts: Iterable[Part], boundary: str) -> bytes:
    """The body. Its media type is `multipart/form-data; boundary=<boundary>`."""
    pieces: list[bytes] = []
    for part in parts:
        pieces += [f"--{boundary}\r\n{head(part)}\r\n".encode(), part.content, b"\r\n"]
    return b"".join([*pieces, f"--{boundary}--\r\n".encode()])


def head(part: Part) -> str:
    """The part's header lines, in UTF-8 as they stand (§5.1); names are escaped as HTML says (multipart-form-data)."""
    filename = "" if part.filename is None else f'; filename="{part.filename.translate(ESCAPED)}"'
    lines = [f'Content-Disposition: form-data; name="{part.name.translate(ESCAPED)}"{filename}\r\n']
    if part.media_type is not None:
        lines.append(f"Content-Type: {part.media_type}\r\n")
    return "".join(lines)
