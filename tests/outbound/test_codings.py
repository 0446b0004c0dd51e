"""Content codings are undone in small steps, within bounds, and never kept by halves without saying so."""

import gzip
import sys
import zlib

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.outbound.codings import (
    MEMBERS,
    RATIO,
    RATIO_FROM_BYTES,
    SLICE_BYTES,
    NotAll,
    Unknown,
    clear,
    clear_at_once,
    decoded,
)
from tests.watch import Watch

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b"The quick brown fox jumps over the lazy dog. " * 50
MIB = 1024**2


def deflated(content: bytes, *, raw: bool) -> bytes:
    machine = zlib.compressobj(wbits=-15 if raw else 15)
    return machine.compress(content) + machine.flush()


def zeros(mib: int) -> bytes:
    """A gzip file of this many MiB of nothing."""
    machine = zlib.compressobj(9, wbits=31)
    return b"".join(machine.compress(bytes(MIB)) for _ in range(mib)) + machine.flush()


CODED = {
    "gzip": gzip.compress(TEXT),
    " GZIP ": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT),
    "deflate": deflated(TEXT, raw=False),
    "Deflate": deflated(TEXT, raw=True),
    "br": brotli.compress(TEXT),
    "zstd": zstd.compress(TEXT),
    "gzip, br": brotli.compress(gzip.compress(TEXT)),
    "identity,zstd ,, gzip": gzip.compress(zstd.compress(TEXT)),
    "identity": TEXT,
    "": TEXT,
}


async def both(content: bytes, coding: bytes, cap: int) -> tuple[bytes, bool]:
    """The outcome, which is the same with turns for others and in one go."""
    found = clear_at_once(content, coding, cap)
    assert await clear(content, coding, cap) == found
    return found


@pytest.mark.parametrize("coding", CODED)
async def test_coded_content_is_given_in_clear(coding: str) -> None:
    assert await both(CODED[coding], coding.encode(), 10_000) == (TEXT, True)
    assert await both(CODED[coding], coding.encode(), len(TEXT)) == (TEXT, True)


@pytest.mark.parametrize("coding", ["compress", "gzip;q=1", "\xff", "compress, gzip", "gzip, compress", "gzip," * 3])
async def test_a_coding_that_cannot_be_looked_into_gives_nothing(coding: str) -> None:
    assert await both(gzip.compress(TEXT), coding.encode("latin-1"), 10_000) == (b"", False)


def test_an_unknown_coding_is_told_before_anything_is_decoded() -> None:
    with pytest.raises(Unknown):
        next(decoded([b"x"], b"aes128gcm"))


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd"])
@pytest.mark.parametrize("content", [b"no compression at all", b"\x1f\x8b\x08\x00", b"\x78\x9c\xff\xff\xff", b"\x00"])
async def test_content_that_is_not_in_its_coding_gives_nothing(coding: bytes, content: bytes) -> None:
    assert await both(content, coding, 10_000) == (b"", False)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "Deflate", "br", "zstd", "gzip, br"])
@given(data=st.data())
def test_a_cut_copy_gives_the_start_in_clear_and_says_so(coding: str, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, len(CODED[coding]) - 1))
    found, whole = clear_at_once(CODED[coding][:length], coding.encode(), 10_000)
    assert TEXT.startswith(found)
    assert not whole


@given(st.sampled_from(sorted(CODED)), st.binary(max_size=200), st.integers(0, 300))
def test_any_content_in_any_coding_has_an_end(coding: str, content: bytes, cap: int) -> None:
    found, _ = clear_at_once(content, coding.encode(), cap)
    assert len(found) <= cap


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize(("cap", "whole"), [(0, False), (1, False), (len(TEXT) - 1, False), (len(TEXT), True)])
async def test_no_more_than_the_cap_is_given(coding: str, cap: int, whole: bool) -> None:
    assert await both(CODED[coding], coding.encode(), cap) == (TEXT[:cap], whole)


async def test_nothing_at_all_is_whole_in_every_coding() -> None:
    for coding in CODED:
        assert await both(b"", coding.encode(), 10) == (b"", True)


async def test_all_members_of_a_gzip_file_and_frames_of_zstd_are_read_up_to_a_bound() -> None:
    for coding, compress in ((b"gzip", gzip.compress), (b"zstd", zstd.compress)):
        assert await both(compress(b"one ") + compress(b"two"), coding, 1000) == (b"one two", True)
        assert await both(compress(b"ab") * MEMBERS, coding, 1000) == (b"ab" * MEMBERS, True)
        assert await both(compress(b"ab") * (MEMBERS + 1), coding, 1000) == (b"ab" * MEMBERS, False)


async def test_what_follows_the_end_and_is_none_is_not_kept() -> None:
    for coding in ("gzip", "deflate", "Deflate", "zstd"):
        assert await both(CODED[coding] + b"secret", coding.encode(), 10_000) == (TEXT, False)
    assert (await both(CODED["br"] + b"secret", b"br", 10_000))[1] is False


def test_each_step_is_small() -> None:
    content = b"".join(b"%d, " % number for number in range(500_000))
    for coding, compressed in ((b"gzip", gzip.compress(content)), (b"br", brotli.compress(content, quality=4))):
        steps = list(decoded([compressed], coding))
        assert b"".join(steps) == content
        assert max(map(len, steps)) <= SLICE_BYTES
    assert len(list(decoded([zstd.compress(content)], b"zstd"))) >= len(content) // SLICE_BYTES


BOMBS = {
    "gzip": zeros(64),
    "br": brotli.compress(bytes(64 * MIB), quality=5),
    "zstd": zstd.compress(bytes(64 * MIB)),
    "gzip, gzip": gzip.compress(zeros(64)),
}


@pytest.mark.parametrize("coding", BOMBS)
async def test_a_bomb_ends_by_its_ratio(coding: str) -> None:
    found, whole = await clear(BOMBS[coding], coding.encode(), 64 * MIB)
    assert not whole
    assert RATIO_FROM_BYTES < len(found) <= max(RATIO_FROM_BYTES, RATIO * len(BOMBS[coding])) + SLICE_BYTES


def test_what_shrinks_much_but_is_small_is_no_bomb() -> None:
    assert clear_at_once(gzip.compress(bytes(RATIO_FROM_BYTES)), b"gzip", 2 * MIB) == (bytes(RATIO_FROM_BYTES), True)


def test_a_frame_of_zstd_that_wants_a_larger_window_than_http_allows_is_refused() -> None:
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    machine = zstd.ZstdCompressor(options=options)
    content = machine.compress(b"x" * 100) + machine.flush()
    with pytest.raises(NotAll):
        list(decoded([content], b"zstd"))


@pytest.mark.slow
async def test_a_bomb_of_a_gibibyte_takes_little_memory_and_never_stops_the_loop() -> None:
    bomb = zeros(1024)
    async with Watch() as watch:
        _, whole = await clear(bomb, b"gzip", 20 * MIB)
    assert not whole
    assert watch.most < 32 * MIB
    assert watch.worst < 0.05


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_others_have_their_turn_while_much_is_decoded(coding: str) -> None:
    content = b"".join(b"%x " % (number * 2654435761 % 2**32) for number in range(1_000_000))
    compress = {"gzip": gzip.compress, "br": lambda data: brotli.compress(data, quality=2), "zstd": zstd.compress}
    compressed = compress[coding](content)
    async with Watch() as watch:
        found, whole = await clear(compressed, coding.encode(), 20 * MIB)
    assert (found == content, whole) == (True, True)
    assert watch.worst < 0.05
