"""Content that comes in pieces, with the matches of patterns replaced, also those across a border."""

import re
from collections.abc import Callable

CONTEXT_BYTES = 64
"""What a match may look back on: the beginning of the name that it ends."""

Replace = Callable[[re.Match[bytes]], bytes]


class Stage:
    """The matches of one pattern, replaced.

    No match is longer than `longest` bytes, so one is known to be whole when that many are there: what is left is held
    back. `finish` is given the end of cut content, from the last match on.
    """

    def __init__(
        self,
        pattern: re.Pattern[bytes],
        longest: int,
        replace: Replace,
        finish: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._pattern, self._longest, self._replace, self._finish = pattern, longest, replace, finish
        self._held = b""
        self._done = 0  # so many of the held bytes were given already and are only looked back on
        self.changed = False

    def feed(self, piece: bytes) -> bytes:
        """The clean beginning of what has come so far, from where the last one ended."""
        self._held += piece
        if len(self._held) - self._done < 2 * self._longest:
            return b""
        return b"".join(self._taken(len(self._held) - self._longest + 1))

    def end(self, *, cut: bool = False) -> bytes:
        """The rest; `cut` says that more of the content was there and did not come."""
        *pieces, last = self._taken(len(self._held))
        if cut and self._finish:
            border = max(0, len(last) - self._longest + 1)
            finished = self._finish(last[border:])
            self.changed |= finished != last[border:]
            last = last[:border] + finished
        return b"".join((*pieces, last))

    def _taken(self, until: int) -> list[bytes]:
        """What there is up to a place, each match that starts before it replaced; last what follows the last match."""
        data, done, pieces = self._held, self._done, []
        found = self._pattern.search(data, done)
        while found and found.start() < until:
            pieces += [data[done : found.start()], self._replace(found)]
            self.changed |= pieces[-1] != found[0]
            done = found.end()
            found = self._pattern.search(data, done)
        given = max(done, until)
        pieces.append(data[done:given])
        begin = max(0, given - CONTEXT_BYTES)
        self._held, self._done = data[begin:], given - begin
        return pieces


class Stream:
    """Content made clean in pieces: each goes through one stage after the other."""

    def __init__(self, stages: list[Stage]) -> None:
        self._stages = stages

    @property
    def changed(self) -> bool:
        return any(stage.changed for stage in self._stages)

    def feed(self, piece: bytes) -> bytes:
        """The clean content that is sure by now; it may lag behind by twice the longest spelling of a secret."""
        for stage in self._stages:
            piece = stage.feed(piece)
        return piece

    def end(self, *, cut: bool = False) -> bytes:
        """The rest; `cut` says that more of the content was there and did not come."""
        rest = b""
        for stage in self._stages:
            rest = stage.feed(rest) + stage.end(cut=cut)
        return rest
