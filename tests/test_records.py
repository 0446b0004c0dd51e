"""What goes on record: copies with a cap, content in clear, rows that fit the tables."""

import hashlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.models import Attempt, Call
from quart_app.outbound.redaction.marks import MARK
from quart_app.outbound.timings import Timings
from quart_app.recorder import Record
from quart_app.records import Copy, add_attempt, content_headers, new_call, shown_url
from tests.outbound.targets import target

TEXT = b"The quick brown fox jumps over the lazy dog. " * 50


def record() -> Record:
    return new_call(
        target("http://127.0.0.1:9"),
        id_="0192a000-0000-7000-8000-000000000000",
        origin="api",
        actor="key:test",
        owner="host:1:2",
        method="GET",
        url="http://127.0.0.1:9/x",
        headers=[("Accept", "*/*")],
    )


def test_a_new_call_has_every_column_of_its_table_and_is_under_way() -> None:
    call = record().call
    assert set(call) == {column.name for column in Call.__table__.columns} - {"number"}, "the database counts"
    assert (call["state"], call["connection"], call["request_headers"]) == ("sending", "orders", '[["Accept","*/*"]]')
    assert abs(call["started_at"] - time.time()) < 5


def test_two_new_calls_share_nothing() -> None:
    one, other = record(), record()
    one.call["state"] = "done"
    one.keep(b"body")
    assert (other.call["state"], other.bodies) == ("sending", {})


def test_an_attempt_has_every_column_of_its_table_and_attempts_are_counted() -> None:
    made = record()
    timings = Timings()
    timings.peer = ("192.0.2.1", 443)
    add_attempt(made, timings, status=401, reason="unauthorized", waited_seconds=0.25, generation=3)
    add_attempt(made, Timings(), reason="dns_failed")
    first, second = made.attempts
    assert set(first) == {column.name for column in Attempt.__table__.columns}
    assert (first["number"], second["number"]) == (1, 2)
    assert (first["remote_address"], second["remote_address"]) == ("192.0.2.1", None)
    assert (first["waited_seconds"], first["token_generation"], first["status"]) == (0.25, 3, 401)


def test_an_attempt_that_ended_a_while_ago_began_when_it_began() -> None:
    made, timings = record(), Timings()
    began = time.time()
    timings.ended = timings.started + 0.001
    time.sleep(0.05)
    add_attempt(made, timings)
    assert abs(made.attempts[0]["started_at"] - began) < 0.03
    assert made.attempts[0]["duration_seconds"] == 0.001


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(0, 100))
def test_a_copy_keeps_the_start_and_knows_size_and_hash_of_all(pieces: list[bytes], cap: int) -> None:
    whole = b"".join(pieces)
    copy = Copy(cap)
    for piece in pieces:
        copy.add(piece)
    assert copy.content == whole[:cap]
    assert copy.size == len(whole)
    assert copy.whole == (len(whole) <= cap)
    assert copy.sha256() == hashlib.sha256(whole).hexdigest()


def test_a_copy_of_one_piece_is_that_piece() -> None:
    copy = Copy(1000)
    copy.add(TEXT[:1000])
    assert copy.sha256() == hashlib.sha256(TEXT[:1000]).hexdigest()
    piece = bytes(range(200))
    single = Copy(1000)
    single.add(piece)
    assert single.content is piece


@pytest.mark.parametrize(
    ("headers", "media_type", "coding"),
    [
        ([], None, None),
        ([(b"Content-Type", b"Application/JSON; charset=utf-8")], "application/json", None),
        ([(b"content-type", b" text/html ")], "text/html", None),
        ([(b"CONTENT-ENCODING", b"gzip")], None, b"gzip"),
        ([(b"content-encoding", b"gzip"), (b"Content-Encoding", b"identity")], None, b"gzip, identity"),
        ([(b"content-type", b"text/\xe9")], "text/é", None),
        ([(b"content-length", b"3"), (b"x-content-type", b"no")], None, None),
    ],
)
def test_media_type_and_coding_are_read_from_the_headers(
    headers: list[tuple[bytes, bytes]], media_type: str | None, coding: bytes | None
) -> None:
    assert content_headers(headers) == (media_type, coding)


@pytest.mark.parametrize(
    ("url", "query", "shown"),
    [
        ("http://h/x", "", "http://h/x"),
        ("http://h/x", "key=[redacted:value:0123456789ab]", "http://h/x?key=[redacted:value:0123456789ab]"),
        ("http://h/x", "key=secret", f"http://h/x?key={MARK}"),
        ("http://h/x?a=1", "key=secret%3D", f"http://h/x?a=1&key={MARK}"),
    ],
)
def test_the_connections_own_parameter_is_shown_as_a_mark(url: str, query: str, shown: str) -> None:
    assert shown_url(url, query) == shown


def test_equal_bodies_of_a_record_are_kept_once() -> None:
    made = record()
    key, again, given = made.keep(b"same"), made.keep(b"same"), made.keep(b"other", "given")
    assert key.partition("-")[2] == again.partition("-")[2] == hashlib.sha256(b"same").hexdigest()
    assert abs(int(key.partition("-")[0], 16) - time.time() / 3600) < 2, "it begins with the hour"
    assert given.endswith("-given")
    assert set(made.bodies.values()) == {b"same", b"other"}
