"""The file of the sealing keys: one in base64 a line, the first one seals, the others are on their way out.

What is written is there whole or not at all, also after a power cut: beside the file, synced, then renamed. A key that
left the file is kept beside it under its id, `switchboard.key.a1b2c3d4`: backups of its time need it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from quart_app.errors import DataError, SettingsError
from quart_app.files import sync_folder
from quart_app.vault.keys import Key, content_of, keys_in, new_key, words_in


class KeyFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Key]:
        """Raises DataError for a file that others can read or that cannot be read, SettingsError for another text."""
        return [Key(content) for content in keys_in(self._text(), str(self.path))]

    def _text(self) -> str:
        try:
            return private_text(self.path)
        except OSError as error:
            raise DataError(
                f"cannot read the key file {self.path}: {error.strerror}. Put the right key file back, or give the "
                "key as SWITCHBOARD_SEALING_KEY; without it what was sealed stays sealed."
            ) from None

    def mark(self) -> tuple[int, ...] | None:
        """What tells the file from another one and from itself with other text; None where it is not there."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size

    def old_path(self, key_id: bytes) -> Path:
        """Where a key is kept once it left the file."""
        return self.path.with_name(f"{self.path.name}.{key_id.hex()}")

    def old(self, key_id: bytes) -> Key | None:
        """A key that left the file, if it is kept beside it. A file by its name with another key in it is none."""
        try:
            text = private_text(self.old_path(key_id))
            found = [Key(content) for content in keys_in(text, str(self.old_path(key_id)))]
        except (OSError, SettingsError):
            return None
        return next((key for key in found if key.id == key_id), None)

    def make(self) -> None:
        """A first key, unless there is a file already. Raises DataError where none can be made."""
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            write_whole(beside, new_key())
            try:
                os.link(beside, self.path)  # as a rename, but never over a key that is there
            except FileExistsError:
                return
            finally:
                beside.unlink()
            sync_folder(self.path.parent)
        except OSError as error:
            raise DataError(f"cannot make the key file {self.path}: {error.strerror}") from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Holds the file against other rotations (flock(2)). Raises DataError while there is one.

        Where nothing can be written beside it, nobody can change it by `add` either, so there is nothing to hold.
        """
        with ExitStack() as stack:
            with suppress(OSError):
                handle = os.open(self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
                stack.callback(os.close, handle)
                give_to(handle, self.path.stat())
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise DataError(f"the keys of {self.path} are being rotated already") from None
            yield

    def add(self) -> None:
        """A new key before those that are in it: it seals from now on, and all of them can be read."""
        self._replace([new_key(), *words_in(self._text())])

    def retire(self) -> list[Path]:
        """Leaves the first key alone in it. The others are kept beside it before that, under their ids."""
        first, *others = words_in(self._text())
        kept = []
        for word in others:
            path = self.old_path(Key(content_of(word, str(self.path))).id)
            with self._writing():
                write_beside(path, [word], self.path.stat())
            kept.append(path)
        if others:
            self._replace([first])
        return kept

    def _replace(self, words: list[str]) -> None:
        with self._writing():
            write_beside(self.path.resolve(), words, self.path.stat())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"cannot write beside the key file {self.path}: {error.strerror}") from None


def private_text(path: Path) -> str:
    """Raises DataError for a file that others can read, OSError for one that cannot be read at all."""
    if path.stat().st_mode & 0o077:
        raise DataError(f"others can read the key file: chmod 600 {path}")
    return path.read_text("ascii", errors="replace")


def write_beside(path: Path, words: list[str], owner: os.stat_result) -> None:
    """The file anew, with the owner of the one given."""
    beside = path.with_name(f"{path.name}.new")
    write_whole(beside, "\n".join(words), owner)
    beside.replace(path)
    sync_folder(path.parent)


def write_whole(path: Path, text: str, owner: os.stat_result | None = None) -> None:
    """A file of its own, for its owner only (0600), synced."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        if owner:
            give_to(file.fileno(), owner)
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def give_to(handle: int, owner: os.stat_result) -> None:
    """Root may rotate the keys of a server that is not root, and that must be able to read them then."""
    if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(handle, owner.st_uid, owner.st_gid)
