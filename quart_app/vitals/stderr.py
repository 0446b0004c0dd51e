"""Lines to stderr, without ever waiting for whoever reads it: what it does not take now is held back, then dropped.

Nothing is set on the stream itself (O_NONBLOCK would hold for every process that shares it). It is asked before each
piece instead: a pipe, socket or terminal that says it is writable takes that much at once (pipe(7), PIPE_BUF).
"""

import os
import select
import stat
import sys
import threading
from contextlib import suppress

PIECE_BYTES = 4096
HELD_BYTES = 256 * 1024


class Stderr:
    """`write` takes whole lines from any thread; `dropped` counts the lines that found no room."""

    def __init__(self) -> None:
        self.dropped = 0
        self._held = bytearray()
        self._lock = threading.Lock()

    def write(self, lines: bytes) -> None:
        """Writes to the stderr of the moment, which may be replaced. Never raises: a log has nobody to tell."""
        with self._lock:
            if self._held and len(self._held) + len(lines) > HELD_BYTES:
                self.dropped += lines.count(b"\n")
                lines = b""
            if self._held:
                self._held += lines
                lines = bytes(self._held)
                self._held.clear()
            self._held += written_rest(lines)

    def flush(self) -> None:
        """Tries again what is held back."""
        if self._held:
            self.write(b"")


def written_rest(lines: bytes) -> bytes:
    """Writes as much as the stream takes now; returns the rest, which is empty for a stream that is no more."""
    try:
        fd = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # none, or one in memory
        with suppress(Exception):
            sys.stderr.write(lines.decode())
        return b""
    try:
        return write_now(fd, lines)
    except OSError:  # closed, or its reader has gone
        return b""


def write_now(fd: int, lines: bytes) -> bytes:
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return lines[os.write(fd, lines) :]
    ready = select.poll()
    ready.register(fd, select.POLLOUT)
    with suppress(BlockingIOError):  # another process that shares the stream set O_NONBLOCK, and was faster
        while lines and ready.poll(0):
            lines = lines[os.write(fd, lines[:PIECE_BYTES]) :]
    return lines
