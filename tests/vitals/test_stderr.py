"""Stderr: a reader that stops, or goes, holds nobody up; lines keep their order and their whole."""

import io
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from quart_app.vitals.stderr import HELD_BYTES, Stderr

LINE = b"x" * 99 + b"\n"


@contextmanager
def piped() -> Iterator[tuple[int, io.TextIOWrapper]]:
    """A pipe as stderr, and the end that is read."""
    read_end, write_end = os.pipe()
    with open(write_end, "w", encoding="utf-8") as stream, redirect_stderr(stream):
        try:
            yield read_end, stream
        finally:
            os.close(read_end)


def test_lines_come_out_as_they_are() -> None:
    with piped() as (reader, _):
        stderr = Stderr()
        stderr.write(b"one\ntwo\n")
        stderr.write(b"three\n")
        assert os.read(reader, 100) == b"one\ntwo\nthree\n"
        assert os.get_blocking(reader)


def test_a_file_takes_a_whole_group_at_once(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream, redirect_stderr(stream):
        Stderr().write(LINE * 5000)
    assert (tmp_path / "log").read_bytes() == LINE * 5000


def test_a_reader_that_stops_reading_is_not_waited_for_and_misses_the_newest_lines_only() -> None:
    with piped() as (reader, _):
        stderr = Stderr()
        began = time.monotonic()
        numbers = [b"%06d\n" % number for number in range(100_000)]
        for start in range(0, len(numbers), 100):
            stderr.write(b"".join(numbers[start : start + 100]))
        assert time.monotonic() - began < 1
        assert stderr.dropped > 0
        seen = b""
        while not seen.endswith(b"later\n"):
            seen += os.read(reader, 65536)
            stderr.write(b"later\n") if b"later" not in seen and len(seen) > HELD_BYTES else stderr.flush()
        lines = seen.split()
        assert lines[:-1] == [number.strip() for number in numbers[: len(lines) - 1]]
        assert len(lines) - 1 + stderr.dropped == len(numbers)


def test_a_reader_that_has_gone_is_no_error() -> None:
    read_end, write_end = os.pipe()
    with open(write_end, "w", encoding="utf-8") as stream, redirect_stderr(stream):
        os.close(read_end)
        stderr = Stderr()
        for _ in range(1000):
            stderr.write(LINE * 10)


def test_a_stderr_that_is_closed_or_none_or_in_memory_is_no_error() -> None:
    memory = io.StringIO()
    with redirect_stderr(memory):
        Stderr().write("grüße\n".encode())
    assert memory.getvalue() == "grüße\n"
    memory.close()
    with redirect_stderr(memory):
        Stderr().write(LINE)
    with redirect_stderr(None):
        Stderr().write(LINE)
    with piped() as (_, stream):
        stream.close()
        Stderr().write(LINE)
