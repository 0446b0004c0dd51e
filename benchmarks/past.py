"""A long history, made by SQL: calls as a busy team would have made them, with bodies, attempts and the search."""

from __future__ import annotations

import contextlib
import sqlite3
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quart_app.db import inflated
from quart_app.history.indexer import take_next
from quart_app.history.search import VOLUME

DAYS = 80  # within the 90 that calls stay by default
CHUNK = 50_000
INDEX_CHUNK = 1 << 14  # divides VOLUME
BLOCKS = 500
SYLLABLES = [c + v for c, v in zip("bcdfghjklmnpqrstvwxz", "aeiouaeiouaeiouaeiou", strict=True)]
PRAGMAS = ("journal_mode = OFF", "synchronous = OFF", "cache_size = -262144", "temp_store = MEMORY")

# `i` is the call's number, `at` when it began, `r` and `s` two even spreads over 0..9999; four calls share an answer.
SPREAD = """
WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last}),
spread AS (
    SELECT i, i - i % 4 AS four, {start} + i * {step} AS at, {start} + (i - i % 4) * {step} AS four_at,
        (i * 7919) % 10000 AS r, (i * 104729) % 10000 AS s, (i * 2654435761) % 4294967296 AS h
    FROM n
)
"""
KEY = "printf('%06x-%064x', CAST(four_at / 3600 AS INTEGER), four)"
BODIES = (
    SPREAD
    + f"""INSERT INTO bodies SELECT
    {KEY},
    CASE WHEN block IS NULL THEN 'identity' ELSE 'deflate' END,
    coalesce(block, CAST(
        '{{{{"id": ' || i || ', "customer": "cust_' || (h % 50000) || '", "name": "' || one.word || '", "price": "'
        || (r / 100) || '.50", "stock": ' || (s % 300) || ', "tags": ["' || two.word || '", "steel"], "note": "'
        || three.word || ' ' || one.word || ' for ' || two.word || '"}}}}' AS BLOB))
FROM spread
JOIN words AS one ON one.k = h % 5000 JOIN words AS two ON two.k = r % 5000 JOIN words AS three ON three.k = s % 5000
LEFT JOIN blocks ON i % 80 = 0 AND blocks.k = (i / 80) % {BLOCKS}
WHERE i % 4 = 0
"""
)
CALLS = (
    SPREAD
    + f"""INSERT INTO calls (
    number, id, connection_id, connection, origin, actor, owner, method, url, state, reason, detail, status, started_at,
    duration_seconds, waited_seconds, request_headers, request_truncated, request_exact, response_headers,
    response_body, response_size, response_media_type, response_truncated, response_sha256
)
SELECT i,
    printf('%08x-%04x-7%03x-%04x-%012x', CAST(at * 1000 AS INTEGER) >> 16, CAST(at * 1000 AS INTEGER) & 65535,
        i & 4095, 32768 | ((i >> 12) & 16383), (h * 65537 + i) & 281474976710655),
    '1',
    CASE WHEN i % 10007 = 0 THEN 'rarely' WHEN r < 5000 THEN 'orders' WHEN r < 8000 THEN 'billing' ELSE 'shipping' END,
    CASE WHEN s < 9000 THEN 'proxy' WHEN s < 9800 THEN 'api' ELSE 'console' END,
    'key:robot', 'host:1:1',
    CASE WHEN s < 7000 THEN 'GET' WHEN s < 9000 THEN 'POST' WHEN s < 9500 THEN 'PATCH' ELSE 'DELETE' END,
    'https://api.example.com/v2/' || CASE r % 3 WHEN 0 THEN 'orders' WHEN 1 THEN 'invoices' ELSE 'parcels' END
        || '/ord_' || i || '?page=' || (s % 100) || '&customer=cust_' || (h % 50000),
    CASE WHEN r = 1 THEN 'failed' ELSE 'done' END, CASE WHEN r = 1 THEN 'connect_timeout' END,
    CASE WHEN r = 1 THEN 'The upstream did not take the connection within 5 s.' END,
    CASE WHEN r = 1 THEN NULL WHEN r < 10 THEN 500 WHEN r < 100 THEN 503 WHEN r < 300 THEN 429 WHEN r < 700 THEN 404
        WHEN r < 1200 THEN 201 ELSE 200 END,
    at, 0.05 + r / 50000.0, 0.0,
    '[["Accept","application/json"],["User-Agent","python-requests/2.32.3"],["Accept-Encoding","gzip, deflate"],'
        || '["X-Request-Id","' || printf('%08x%08x', h, i) || '"]]',
    0, 1,
    '[["Content-Type","application/json; charset=utf-8"],["Date","' || strftime('%d %m %Y %H:%M:%S', at, 'unixepoch')
        || ' GMT"],["Server","nginx"],["Content-Length","' || (200 + r % 90) || '"],["Cache-Control","no-store"],'
        || '["ETag","\\"' || printf('%08x', h) || '\\""]]',
    {KEY}, 200 + r % 90, 'application/json', 0, printf('%064x', four)
FROM spread
"""
)
ATTEMPTS = """
INSERT INTO attempts (call_id, number, status, started_at, duration_seconds, waited_seconds, first_byte_seconds,
    transfer_seconds, remote_address)
SELECT id, 1, status, started_at, duration_seconds, 0.0, 0.04, 0.01, '192.0.2.10'
FROM calls WHERE number BETWEEN {first} AND {last}
"""


@dataclass(frozen=True)
class Past:
    """What was made, and how long it took."""

    calls: int
    rows_seconds: float
    search_seconds: float
    file_bytes: int


def make(database: Path, calls: int, *, now: float) -> Past:
    """Fills the tables of a new database that nobody serves."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.create_function("inflated", 1, inflated, deterministic=True)
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").fetchall()
        make_words(connection)
        began = time.monotonic()
        step = DAYS * 86400 / calls
        for first, last in chunks(calls, CHUNK):
            values = {"first": first, "last": last, "start": now - DAYS * 86400, "step": step}
            for statement in (BODIES, CALLS, ATTEMPTS):
                connection.execute(statement.format(**values))
        rows_seconds, began = time.monotonic() - began, time.monotonic()
        connection.execute("INSERT OR IGNORE INTO search_progress VALUES (1, 0)")
        for first, last in chunks(calls, INDEX_CHUNK):
            connection.execute("BEGIN")
            for statement in take_next(first, last):
                connection.execute(statement)
            connection.execute("COMMIT")
        return Past(calls, rows_seconds, time.monotonic() - began, database.stat().st_size)


def chunks(calls: int, size: int) -> Iterator[tuple[int, int]]:
    """First and last number of each chunk; none reaches over a volume's end."""
    assert size == CHUNK or VOLUME % size == 0
    first = 1
    while first <= calls:
        last = min(calls, (first // size + 1) * size - 1)
        yield first, last
        first = last + 1


def make_words(connection: sqlite3.Connection) -> None:
    """5,000 words for the bodies, and some compressed bodies of about 4 KB."""
    words = [SYLLABLES[k % 20] + SYLLABLES[k // 20 % 20] + SYLLABLES[k // 400 % 20] for k in range(5000)]
    connection.execute("CREATE TEMP TABLE words (k INTEGER PRIMARY KEY, word TEXT)")
    connection.executemany("INSERT INTO words VALUES (?, ?)", enumerate(words))
    connection.execute("CREATE TEMP TABLE blocks (k INTEGER PRIMARY KEY, block BLOB)")
    for k in range(BLOCKS):
        text = " ".join(f'{{"line": {n}, "name": "{words[(k * 131 + n * 17) % 5000]}"}},' for n in range(120))
        connection.execute("INSERT INTO blocks VALUES (?, ?)", (k, zlib.compress(f"[{text} 0]".encode(), 1)))
