"""Content codings undone for what is shown and recorded: gzip, deflate, br, zstd and lists of them, within bounds.

Pure and lazy: each step takes and gives 64 KiB at most, so that whoever takes the steps decides when others have their
turn. What passes through the relay is never decoded.
"""

import asyncio
import sys
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ACCEPTED = b"gzip, deflate, br, zstd"
"""The Accept-Encoding of a request whose answer is to be shown."""

SLICE_BYTES = 64 * 1024
FED_BYTES = 16 * 1024
BROTLI_BYTES = 31 * 1024
"""Its limit is one that a block of output passes; the first block is of just under 32 KiB, the next one of 64."""

LARGEST_BYTES = 50 * 1024**2
RATIO = 200
RATIO_FROM_BYTES = 1024**2
MEMBERS = 100
"""The most gzip members or zstd frames that one content may have."""

CODINGS = 2
"""The most codings in a list: br and zstd hold windows of 16 and 8 MiB each."""

TURN_SECONDS = 0.005

Pieces = Iterable[bytes]


class NotAll(Exception):
    """The content ends early, is not in its coding, or is larger than it may be."""


class Unknown(Exception):
    """The coding cannot be looked into."""


async def clear(content: bytes, coding: bytes, cap: int) -> tuple[bytes, bool]:
    """Coded content in clear, at most `cap` bytes, and whether that is all of it; others have their turn meanwhile.

    `coding` is the value of Content-Encoding. One that cannot be looked into gives nothing: a secret could hide in it.
    """
    if not codings_in(coding):
        return content[:cap], len(content) <= cap
    found = Found(cap)
    began = time.perf_counter()
    for _ in found.steps(content, coding):
        if time.perf_counter() - began > TURN_SECONDS:
            await asyncio.sleep(0)
            began = time.perf_counter()
    return found.outcome()


def clear_at_once(content: bytes, coding: bytes, cap: int) -> tuple[bytes, bool]:
    """The same in one go, for what is small: some 64 KiB of content."""
    if not codings_in(coding):
        return content[:cap], len(content) <= cap
    found = Found(cap)
    for _ in found.steps(content, coding):
        pass
    return found.outcome()


class Found:
    """What was decoded so far, up to `cap` bytes, in a buffer that gives its content without a copy."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._clear = BytesIO()
        self._whole = False

    def steps(self, content: bytes, coding: bytes) -> Iterator[None]:
        size = 0
        try:
            for piece in decoded(pieces_of(content), coding) if content else ():
                size += len(piece)
                self._clear.write(piece[: self._cap - size] if size > self._cap else piece)
                if size > self._cap:
                    return
                yield
        except (NotAll, Unknown):
            return
        self._whole = True

    def outcome(self) -> tuple[bytes, bool]:
        return self._clear.getvalue(), self._whole


def pieces_of(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), FED_BYTES):
        yield content[start : start + FED_BYTES]


def decoded(pieces: Pieces, coding: bytes) -> Iterator[bytes]:
    """The content in clear, in pieces of 64 KiB at most, of which some are empty: they only mark a step.

    A list of codings is undone from the right (RFC 9110 §8.4). Raises Unknown before the first piece, NotAll after
    the last good one.
    """
    names = codings_in(coding)
    if len(names) > CODINGS or not all(name in MACHINES for name in names):
        raise Unknown
    given = Given(pieces)
    pieces = given.pieces()
    for name in reversed(names):
        pieces = undone(pieces, given, *MACHINES[name])
    yield from pieces


class Given:
    """How much of a coded content was taken so far: what comes out is measured by it, whatever lies between."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self.size = 0

    def pieces(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.size += len(piece)
            yield piece


def codings_in(header: bytes) -> list[bytes]:
    """The codings that a Content-Encoding lists, in the order in which they were put on."""
    return [name for part in header.lower().split(b",") if (name := part.strip()) not in (b"", b"identity")]


def undone(pieces: Pieces, given: Given, make: "Callable[[bytes], Machine]", members: int) -> Iterator[bytes]:
    """One coding undone, of a content with at most `members` parts of their own; a piece for each step."""
    machine: Machine | None = None
    size = 0
    for piece in pieces:
        if not piece:
            yield piece
        while piece or (machine and machine.full):
            if machine is None or machine.ended:
                machine, members = make(piece), members - 1
                if members < 0:
                    raise NotAll
            clear, piece = machine.take(piece)
            size += len(clear)
            yield clear
            if size > min(LARGEST_BYTES, max(RATIO_FROM_BYTES, RATIO * given.size)):
                raise NotAll
    if machine is None or not machine.ended:
        raise NotAll


class Machine(ABC):
    """A coding's own decoder behind one face. `full` says that it may have more to give before it is given more."""

    ended = full = False

    @abstractmethod
    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """At most 64 KiB in clear, and what it left of the data. Raises NotAll for what is not in the coding."""


class Inflate(Machine):
    """gzip (RFC 1952) and zlib (RFC 1950), told apart by their heads, and the raw form that some send as deflate."""

    def __init__(self, *, raw: bool = False) -> None:
        self._inner = zlib.decompressobj(wbits=-15 if raw else 47)

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        try:
            clear = self._inner.decompress(data, SLICE_BYTES)
        except zlib.error:
            raise NotAll from None
        self.ended = self._inner.eof
        self.full = len(clear) == SLICE_BYTES and not self.ended
        return clear, self._inner.unused_data if self.ended else self._inner.unconsumed_tail


class Brotli(Machine):
    """RFC 7932. What follows its end makes it fail."""

    def __init__(self) -> None:
        self._inner = brotli.Decompressor()

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        try:
            clear = self._inner.process(data, output_buffer_limit=BROTLI_BYTES)
        except brotli.error:
            raise NotAll from None
        self.ended = self._inner.is_finished()
        self.full = not self.ended and (len(clear) >= BROTLI_BYTES or not self._inner.can_accept_more_data())
        return clear, b""


class Zstandard(Machine):
    """RFC 8878, with a window of 8 MiB at most (RFC 9659 §3)."""

    def __init__(self) -> None:
        self._inner = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 23})

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        try:
            clear = self._inner.decompress(data, SLICE_BYTES)
        except zstd.ZstdError:
            raise NotAll from None
        self.ended = self._inner.eof
        self.full = not self.ended and not self._inner.needs_input
        return clear, self._inner.unused_data if self.ended else b""


def is_raw(data: bytes) -> bool:
    """Whether deflate came without its zlib head, whose first byte names method 8 (RFC 1950 §2.2)."""
    return data[0] & 0x0F != 8


MACHINES: dict[bytes, tuple[Callable[[bytes], Machine], int]] = {
    b"gzip": (lambda _: Inflate(), MEMBERS),
    b"x-gzip": (lambda _: Inflate(), MEMBERS),
    b"deflate": (lambda data: Inflate(raw=is_raw(data)), 1),
    b"br": (lambda _: Brotli(), 1),
    b"zstd": (lambda _: Zstandard(), MEMBERS),
}
