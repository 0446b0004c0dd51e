"""Rescue slots: a token that came back is on disk before anything else can go wrong with it.

Each process has a file of its own, written full before the first token is asked for. So a slot is one write into
blocks that are there already and one fdatasync: neither a full disk nor a database that fails keeps a token from
it. What is in a slot is sealed. The file is held by flock(2) as long as its process lives; one that nobody holds was
left behind, and whoever gets hold of it reads what is in it.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from quart_app.files import sync_folder

SLOT_BYTES = 80 * 1024
HEAD = struct.Struct(">4s36sI")
MAGIC = b"SBR1"
SUFFIX = ".slots"


class Rescue:
    """The slots of this process, in a file of its own in `folder`."""

    def __init__(self, folder: Path, *, slots: int) -> None:
        self.path = folder / f"{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
        self.slots = slots
        self._file: int | None = None
        self._taken: set[int] = set()

    def prepare(self) -> None:
        """Makes the file, all of it on disk; once. Raises OSError."""
        if self._file is not None:
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = open_locked(self.path)
        try:
            for slot in range(self.slots):
                write(file, bytes(SLOT_BYTES), slot * SLOT_BYTES)
            os.fsync(file)
            sync_folder(self.path.parent)
        except OSError:
            os.close(file)
            self.path.unlink(missing_ok=True)
            raise
        self._file = file

    def put(self, exchange: str, sealed: bytes) -> int:
        """The slot that holds it, synced when this returns. Raises OSError when there is no room or no disk."""
        self.prepare()
        slot = next((number for number in range(self.slots) if number not in self._taken), None)
        if slot is None or self._file is None or HEAD.size + len(sealed) > SLOT_BYTES:
            raise OSError("no rescue slot is free for it")
        self._taken.add(slot)
        content = HEAD.pack(MAGIC, exchange.encode(), len(sealed)) + sealed
        try:
            write(self._file, content, slot * SLOT_BYTES)
            os.fdatasync(self._file)
        except OSError:
            self._taken.discard(slot)
            raise
        return slot

    def clear(self, slot: int) -> None:
        """Empties a slot whose token is in the database. Not synced: who finds it again sees that it is stored."""
        if self._file is not None:
            with suppress(OSError):
                write(self._file, bytes(SLOT_BYTES), slot * SLOT_BYTES)
        self._taken.discard(slot)

    def is_alone(self) -> bool:
        """Whether no other process has slots here now, on whatever host or in whatever container it runs."""
        for path in files(self.path.parent):
            if path != self.path:
                with held(path) as file:
                    if file is None and path.exists():
                        return False
        return True

    def close(self) -> None:
        """Lets go of the file, and takes it away unless a token is in it."""
        if self._file is not None:
            if not self._taken:
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None


def open_locked(path: Path) -> int:
    """The file, held until it is closed; made again where another process took it away meanwhile."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.fstat(file).st_ino == path.stat().st_ino:
                return file
        os.close(file)


def write(file: int, content: bytes, at: int) -> None:
    """All of it, in one write: a disk that is nearly full takes a part and says how much. Raises OSError."""
    if os.pwrite(file, content, at) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def files(folder: Path) -> list[Path]:
    """The slot files of all processes, also of those that are gone."""
    return sorted(folder.glob(f"*{SUFFIX}"))


@contextmanager
def held(path: Path) -> Iterator[int | None]:
    """The file that was left behind, held meanwhile; None where its process, or another that looks, has it."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        yield None
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
            return
        yield file
    finally:
        os.close(file)


def contents(file: int) -> list[tuple[str, bytes]]:
    """The exchange and the sealed token of each slot that is taken."""
    found = []
    for start in range(0, os.fstat(file).st_size, SLOT_BYTES):
        head = os.pread(file, HEAD.size, start)
        if len(head) < HEAD.size:
            break
        magic, exchange, length = HEAD.unpack(head)
        if magic == MAGIC and length <= SLOT_BYTES - HEAD.size:
            found.append((exchange.decode("ascii", "replace"), os.pread(file, length, start + HEAD.size)))
    return found


def find(folder: Path, exchange: str) -> bytes | None:
    """The sealed token of an exchange, wherever it is: also in the file of a process that lives but stands still."""
    for path in files(folder):
        with suppress(OSError):
            file = os.open(path, os.O_RDONLY)
            try:
                found = next((sealed for id_, sealed in contents(file) if id_ == exchange), None)
            finally:
                os.close(file)
            if found is not None:
                return found
    return None


def key_ids(folder: Path) -> set[bytes]:
    """The ids of the keys that tokens in slots are sealed with, also in those of processes that run."""
    found = set()
    for path in files(folder):
        with suppress(OSError):
            file = os.open(path, os.O_RDONLY)
            try:
                found |= {sealed[1:5] for _, sealed in contents(file)}
            finally:
                os.close(file)
    return found
