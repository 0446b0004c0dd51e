"""Secrets at rest: AES-256-GCM (NIST SP 800-38D), one random 96-bit nonce each.

A sealed value is `version (1) | key id (4) | nonce (12) | ciphertext and tag`. Its associated data is the table,
column, row id and key id, so that a value moved to another place does not open there. There may be several keys: the
first one seals, and the key id in a value tells which one opens it.
"""

import hashlib
import hmac
import os
from pathlib import Path

import structlog
from cryptography.exceptions import InvalidTag

from quart_app.errors import DataError, SettingsError
from quart_app.vault.key_file import KeyFile
from quart_app.vault.keys import Key, keys_in

VERSION = b"\x01"
log = structlog.get_logger()


class Vault:
    """Seals with the first of its keys and unseals with all; also makes keyed fingerprints. Its repr says the key id.

    A key file is looked at again before anything is sealed, and where a value needs a key that is not known: so a
    running process takes up a new key at once. A key that was known is known as long as the process lives.
    """

    def __init__(self, *contents: bytes, file: KeyFile | None = None) -> None:
        """With the keys themselves (32 bytes each), else those of the file."""
        self.file = file
        self._seen = file and file.mark()  # before the reading: what changes in between is read again
        self._known: dict[bytes, Key] = {}
        self._first = self._learn(file.read() if file else [Key(content) for content in contents])
        self.fingerprint_by(self._first.fingerprint_key)

    def __repr__(self) -> str:
        return f"Vault({self.key_id.hex()})"

    @property
    def key_id(self) -> bytes:
        """The id of the key that seals."""
        return self._first.id

    @property
    def key_ids(self) -> list[bytes]:
        """The ids of all keys that are known."""
        return list(self._known)

    def seal(self, text: str, *, table: str, column: str, row: str) -> bytes:
        self.look_again()
        key, nonce = self._first, os.urandom(12)
        return VERSION + key.id + nonce + key.cipher.encrypt(nonce, text.encode(), place(table, column, row, key.id))

    def unseal(self, sealed: bytes, *, table: str, column: str, row: str) -> str:
        """The text. Raises DataError when its key is not here or the value was changed or moved."""
        key_id = sealed[1:5]
        try:
            if sealed[:1] != VERSION:
                raise InvalidTag
            if (key := self._find(key_id)) is None:
                raise DataError(f"{table}.{column} was sealed with key {key_id.hex()}. {self.missing(key_id)}")
            return key.cipher.decrypt(sealed[5:17], sealed[17:], place(table, column, row, key_id)).decode()
        except (InvalidTag, ValueError):
            raise DataError(f"{table}.{column} of {row} was changed or moved: it does not open.") from None

    def _find(self, key_id: bytes) -> Key | None:
        """A key by its id: a known one, one that the file has by now, or an old one that is kept beside the file."""
        if key_id not in self._known:
            self.look_again()
        if key_id not in self._known and self.file and (old := self.file.old(key_id)):
            self._known[key_id] = old
        return self._known.get(key_id)

    def look_again(self) -> None:
        """Takes up the keys of a file that changed; a file that is not good changes nothing and is logged once.

        One in which the key in use is missing is only believed where that key is kept beside it, as rotation leaves
        it: what a wrong file sealed could not be read once the right one is back.
        """
        mark = self.file and self.file.mark()
        if self.file is None or mark is None or mark == self._seen:
            return
        self._seen = mark
        try:
            keys = self.file.read()
            if self._first.id not in [key.id for key in keys] and self.file.old(self._first.id) is None:
                raise DataError(f"{self.file.path} holds other keys than {self._first.id.hex()}, which is in use")
        except SettingsError as error:
            log.warning("key_file", note=str(error))
            return
        self._first = self._learn(keys)

    def _learn(self, keys: list[Key]) -> Key:
        self._known |= {key.id: key for key in keys}
        return keys[0]

    def missing(self, key_id: bytes) -> str:
        """What to do about a key that is not here."""
        if self.file is None:
            return "It is not among those of SWITCHBOARD_SEALING_KEY: give it there as well, behind the one that seals."
        return f"It is not here: put the file of that key back as {self.file.old_path(key_id)}."

    def fingerprint_by(self, key: bytes) -> None:
        """Fingerprints are made with this key from now on."""
        self._fingerprints = hmac.new(key, digestmod="sha256")

    def fingerprint(self, secret: str) -> str:
        """12 hex digits: equal for equal secrets of this installation, and otherwise tells nothing."""
        made = self._fingerprints.copy()
        made.update(secret.encode())
        return made.digest()[:6].hex()

    def fingerprint_key_of(self, key_id: bytes) -> bytes:
        """The one that comes of a sealing key. Raises DataError when that key is not here."""
        key = self._find(key_id)
        if key is None:
            raise DataError(self.missing(key_id))
        return key.fingerprint_key


def place(table: str, column: str, row: str, key_id: bytes) -> bytes:
    return "|".join((table, column, row, key_id.hex())).encode()


def open_vault(given: str, key_file: Path, *, needed: bytes | None = None) -> Vault:
    """The vault of the keys given in base64, else of the key file; `needed` is the id of the key the database is
    sealed with, and None for a new one.

    For a new database the file is made if there is none: a new key opens nothing that an old one sealed. Raises
    SettingsError for a key that is none, DataError for a file that others can read or that is not there.
    """
    if given:
        return Vault(*keys_in(given, "what SWITCHBOARD_SEALING_KEY gives"))
    file = KeyFile(key_file)
    if needed is None:
        file.make()
    elif not key_file.exists():
        raise DataError(
            f"There is no key file {key_file}, and the database was sealed with key {needed.hex()}. Put the file of "
            "that key back there, or give it as SWITCHBOARD_SEALING_KEY; without it what was sealed stays sealed."
        )
    return Vault(file=file)


def digest(secret: str) -> str:
    """SHA-256 in hex: how random secrets of 256 bits (keys, cookies, links) are kept."""
    return hashlib.sha256(secret.encode()).hexdigest()
