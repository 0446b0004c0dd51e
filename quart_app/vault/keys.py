"""Sealing keys: 32 random bytes each, written in base64, told apart by an id that says nothing of them."""

import base64
import binascii
import hmac
import os
import re

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from quart_app.errors import SettingsError

KEY_BYTES = 32


class Key:
    """A sealing key by what it does: the bytes are not kept, and its repr is its id."""

    __slots__ = ("cipher", "fingerprint_key", "id")

    def __init__(self, content: bytes) -> None:
        self.cipher = AESGCM(content)
        self.fingerprint_key = hmac.digest(content, b"switchboard fingerprint", "sha256")
        self.id = hmac.digest(content, b"switchboard key id", "sha256")[:4]

    def __repr__(self) -> str:
        return f"Key({self.id.hex()})"


def keys_in(text: str, where: str) -> list[bytes]:
    """The keys of a text, one a line or separated by commas or spaces; the first one seals.

    Raises SettingsError that says `where`, and nothing of the text, when one of them is none or there is none.
    """
    return [content_of(word, where) for word in words_in(text) or [""]]


def words_in(text: str) -> list[str]:
    return [word for word in re.split(r"[,\s]+", text) if word]


def content_of(word: str, where: str) -> bytes:
    try:
        content = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if len(content) != KEY_BYTES:
        raise SettingsError(f"{where} is not the base64 of {KEY_BYTES} bytes")
    return content


def new_key() -> str:
    """Another key, in base64."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()
