"""Secrets at rest: AES-256-GCM (NIST SP 800-38D), one random 96-bit nonce each.

A sealed value is `version (1) | key id (4) | nonce (12) | ciphertext and tag`. Its associated data is the table,
column, row id and key id, so that a value moved to another place does not open there.
"""

import base64
import binascii
import hashlib
import hmac
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from quart_app.errors import DataError, SettingsError

VERSION = b"\x01"
KEY_BYTES = 32


class Vault:
    """Seals and unseals with one key; also makes keyed fingerprints. Its repr says nothing."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._fingerprint_key = hmac.digest(key, b"switchboard fingerprint", "sha256")
        self.key_id = hmac.digest(key, b"switchboard key id", "sha256")[:4]

    def seal(self, text: str, *, table: str, column: str, row: str) -> bytes:
        nonce = os.urandom(12)
        sealed = self._cipher.encrypt(nonce, text.encode(), self._place(table, column, row))
        return VERSION + self.key_id + nonce + sealed

    def unseal(self, sealed: bytes, *, table: str, column: str, row: str) -> str:
        """The text. Raises DataError when the key is another one or the value was changed or moved."""
        if sealed[:1] != VERSION or sealed[1:5] != self.key_id:
            raise DataError(
                f"the key does not fit the database: {table}.{column} was sealed with key "
                f"{sealed[1:5].hex()}, this key is {self.key_id.hex()}"
            )
        try:
            place = self._place(table, column, row)
            return self._cipher.decrypt(sealed[5:17], sealed[17:], place).decode()
        except (InvalidTag, ValueError):
            raise DataError(f"{table}.{column} of {row} was changed or moved: it does not open") from None

    def fingerprint(self, secret: str) -> str:
        """12 hex digits: equal for equal secrets of this installation, and otherwise tells nothing."""
        return hmac.digest(self._fingerprint_key, secret.encode(), "sha256")[:6].hex()

    def _place(self, table: str, column: str, row: str) -> bytes:
        return "|".join((table, column, row, self.key_id.hex())).encode()


def open_vault(key: str, key_file: Path, *, make: bool = True) -> Vault:
    """The vault of the key given in base64, else of the key file.

    Where there is none it is made (0600) if it may be: a new key opens nothing that an old one sealed. Raises
    SettingsError for a key that is none, DataError for a file that others can read or that is not there.
    """
    if key:
        return Vault(decode_key(key, "the key given by SWITCHBOARD_SEALING_KEY"))
    if not make:
        return Vault(read_key(key_file))
    try:
        handle = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return Vault(read_key(key_file))
    except OSError as error:
        raise DataError(f"cannot make the key file {key_file}: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return Vault(read_key(key_file))


def read_key(path: Path) -> bytes:
    try:
        if path.stat().st_mode & 0o077:
            raise DataError(f"others can read the key file: chmod 600 {path}")
        text = path.read_text("ascii", errors="replace")
    except OSError as error:
        raise DataError(
            f"cannot read the key file {path}: {error.strerror}. Put the right key file back, or give the key as "
            "SWITCHBOARD_SEALING_KEY; without it what was sealed stays sealed."
        ) from None
    return decode_key(text, str(path))


def decode_key(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingsError(f"{where} is not the base64 of {KEY_BYTES} bytes")
    return key


def digest(secret: str) -> str:
    """SHA-256 in hex: how random secrets of 256 bits (keys, cookies, links) are kept."""
    return hashlib.sha256(secret.encode()).hexdigest()
